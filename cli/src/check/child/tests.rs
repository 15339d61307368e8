//! Children that crash, hang, refuse and chatter, played by shell scripts.

use super::*;

/// Runs eight cases, all of one share, on children that a script plays.
fn played(script: fn() -> std::io::Result<Command>) -> Ran {
    let names: Vec<String> = (0..8).map(|i| format!("case/{i}")).collect();
    let timeout = Duration::from_millis(1500);
    let shares = std::iter::once(0..names.len()).collect();
    check(Work {
        adapter: "played",
        names: &names,
        shares,
        timeout,
        patience: Duration::ZERO,
        jobs: 1,
        program: &script,
    })
}

/// A child that opens, then does `body` for each case that it is told: `$name` is the case, `$n` counts.
macro_rules! child {
    ($body:literal) => {
        || {
            let script = concat!(
                "begin() { printf '{\"begin\":\"%s\"}\\n' \"$name\"; }\n",
                "pass() { begin; printf '{\"end\":{\"case\":\"%s\",\"status\":\"pass\",\"seed\":\"1\",",
                "\"worst\":0.5,\"seconds\":0.1,\"failures\":[]}}\\n' \"$name\"; }\n",
                "echo '{\"opened\":{\"name\":\"n\",\"backend\":\"b\",\"driver\":\"d\"}}'\n",
                "n=0\n",
                "while read -r name; do\n",
                "if [ -z \"$name\" ]; then echo '{\"idle\":true}'; continue; fi\n",
                "n=$((n + 1))\n",
                $body,
                "\ndone\n"
            );
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Ok(command)
        }
    };
}

/// Why a case was lost.
fn reason(end: &Ended) -> &str {
    match end {
        Ended::Lost(_, reason) => reason,
        Ended::Said(end) => panic!("{end}"),
    }
}

fn statuses(ran: Ran) -> Vec<&'static str> {
    match ran {
        Ran::On { ends, .. } => ends.iter().map(|end| end.status().name()).collect(),
        Ran::Not(why) => panic!("{why}"),
    }
}

#[test]
fn a_child_that_works_runs_everything() {
    assert_eq!(statuses(played(child!("pass"))), ["pass"; 8]);
    assert_eq!(statuses(played(child!("echo 'a driver chatters {'; pass"))), ["pass"; 8]);
}

#[test]
fn a_crash_is_the_result_of_its_case_and_the_next_child_goes_on_behind_it() {
    let ran = played(child!("[ $n != 4 ] || { begin; echo 'so it ended' >&2; kill -SEGV $$; }; pass"));
    if let Ran::On { ends, .. } = &ran {
        assert_eq!(reason(&ends[3]), "the process ended with signal 11: so it ended");
    }
    assert_eq!(statuses(ran), ["pass", "pass", "pass", "crash", "pass", "pass", "pass", "crash"]);
}

#[test]
fn a_hang_is_the_result_of_its_case() {
    let all = statuses(played(child!("[ $n != 3 ] || { begin; exec sleep 60; }; pass")));
    assert_eq!(all, ["pass", "pass", "hang", "pass", "pass", "hang", "pass", "pass"]);
}

#[test]
fn a_lost_device_ends_the_child_and_not_the_check() {
    let all = statuses(played(child!(
        "begin; printf '{\"end\":{\"case\":\"%s\",\"status\":\"fail\",\"seed\":\"1\",' \"$name\"; \
         printf '\"device_lost\":true}}\\n'; exit"
    )));
    assert_eq!(all, ["fail"; 8]);
}

#[test]
fn a_driver_on_which_every_case_crashes_is_given_up() {
    let Ran::On { ends, .. } = played(child!("begin; exit 7")) else { panic!("it opened") };
    assert_eq!(reason(&ends[4]), "the process ended with exit code 7");
    assert_eq!(reason(&ends[5]), "not run: 5 children in a row did not finish a case");
    assert!(ends.iter().all(|end| end.status().is_wrong()));
}

#[test]
fn an_adapter_that_does_not_open_was_not_run() {
    let refuse = || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo '{\"refused\":\"no adapter is `played`\"}'; exit 2"]);
        Ok(command)
    };
    let Ran::Not(why) = played(refuse) else { panic!("it did not open") };
    assert_eq!(why, "no adapter is `played`");
    let crash = || {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -ABRT $$"]);
        Ok(command)
    };
    let Ran::Not(why) = played(crash) else { panic!("it did not open") };
    assert_eq!(why, "the process ended with signal 6");
}
