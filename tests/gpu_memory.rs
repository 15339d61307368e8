//! Running out of memory comes back as a value, and the device lives on. Alone in its process,
//! because it takes the process's address space away while it asks for buffers.
#![cfg(all(feature = "gpu", target_os = "linux"))]

use std::io::Write;
use std::process::Command;

use tachylite::gpu::LoadOptions;
use tachylite::plan::{BufferSpec, Role};
use tachylite::{Error, Gpu};

mod hand;

/// What the process may still map; some of it is the driver's, for compiling.
const ROOM_BYTES: u64 = 2 << 30;

/// Limits this process's address space; `None` lifts the limit.
fn limit(bytes: Option<u64>) -> bool {
    let soft = bytes.map_or("unlimited".to_owned(), |b| b.to_string());
    let pid = std::process::id().to_string();
    Command::new("prlimit")
        .args(["--pid", &pid, &format!("--as={soft}:")])
        .status()
        .is_ok_and(|s| s.success())
}

fn mapped_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// What the machine has: a driver that maps lazily runs into this, or its own budget, instead.
fn memory_bytes() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    info.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn out_of_memory_is_a_value_and_the_device_lives_on() {
    let mut out = std::io::stdout();
    // wgpu does not ask OpenGL whether an allocation worked (wgpu-hal 30, gles/device.rs).
    let software =
        |a: &tachylite::Profile| a.kind == tachylite::profile::DeviceKind::Cpu && a.backend != "gl";
    let adapters: Vec<_> = Gpu::adapters_blocking().into_iter().filter(software).collect();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    assert!(!adapters.is_empty() || !required.contains("mesa22"), "TACHYLITE_REQUIRE asks for mesa22");
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: out_of_memory (no adapter that lives in host memory)").unwrap();
    }
    for a in adapters {
        writeln!(out, "out_of_memory on {} {} ({})", a.backend, a.name, a.driver).unwrap();
        let gpu = Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
        let small = hand::plan();
        let mut large = hand::plan();
        let bytes = a.limits.storage_binding_bytes.min(a.limits.buffer_bytes).min(128 << 20) / 16 * 16;
        let many = 2 * memory_bytes() / bytes;
        large.buffers.extend((0..many).map(|_| BufferSpec { role: Role::Scratch, bytes }));
        assert!(limit(Some(mapped_bytes() + ROOM_BYTES)), "prlimit, of util-linux, is needed");
        let loaded = gpu.load_blocking(&large, &hand::weights(), LoadOptions::default());
        assert!(limit(None));
        let honest = a.driver.contains("Mesa 22") || a.driver.contains("SwiftShader");
        match loaded {
            Err(error) => assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}"),
            Ok(_) if honest => panic!("{many} buffers of {bytes} bytes fit into {}", memory_bytes()),
            Ok(_) => {
                writeln!(out, "SKIPPED 1 test: out_of_memory ({} grants what it lacks)", a.driver).unwrap()
            }
        }
        let mut exe = gpu.load_blocking(&small, &hand::weights(), LoadOptions::default()).unwrap();
        let call = small.call(&[("R", 5.0), ("s", 2.0)]).unwrap();
        let x = hand::input(5);
        assert_eq!(exe.run_blocking(&[("x", &x)], &call).unwrap()[0].to_f32(), hand::expected(&x, 2.0));
    }
}
