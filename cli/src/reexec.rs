//! Starts this program a second time, as it was started itself.

use std::ffi::OsString;
use std::io::Result;
use std::process::Command;

/// A command that starts this program with other arguments.
///
/// On Linux a program may have been started by a loader that was named on the command line, with
/// arguments of its own before the program's; then the second is started by it too.
pub(crate) fn this_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(before_own_arguments());
    Ok(command)
}

#[cfg(target_os = "linux")]
fn before_own_arguments() -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let Ok(line) = std::fs::read("/proc/self/cmdline") else { return Vec::new() };
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let all: Vec<_> = line.split(|b| *b == 0).map(|a| OsString::from_vec(a.to_vec())).collect();
    let own = std::env::args_os().count().saturating_sub(1);
    all[1..].get(..all.len().saturating_sub(1 + own)).unwrap_or_default().to_vec()
}

#[cfg(not(target_os = "linux"))]
fn before_own_arguments() -> Vec<OsString> {
    Vec::new()
}
