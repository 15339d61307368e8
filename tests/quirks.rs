//! Known failures, held against what a device really does: one that is there, one that is not. On the
//! first adapter; without one this says `SKIPPED`.
#![cfg(feature = "gpu")]

use std::io::Write;

use tachylite::Gpu;
use tachylite::check::{Case, Event, Status, cases, run_altered};
use tachylite::quirks::{Failing, Pattern, Quirk};

const BROKEN: &str = "relu/elementwise.rows/f32/plain/R=3,C=5/random";
const WHOLE: &str = "relu/elementwise.rows/f32/plain/R=3,C=5/exact";
const WHY: &str = "this test breaks every plan of it";

static QUIRK: Quirk = Quirk {
    pattern: Pattern::ANY,
    avoid: &[],
    failing: &[Failing { cases: BROKEN, why: WHY }],
    ..Quirk::NONE
};
static WRONG: Quirk = Quirk {
    pattern: Pattern::ANY,
    avoid: &[],
    failing: &[Failing { cases: WHOLE, why: WHY }],
    ..Quirk::NONE
};

fn status(gpu: &Gpu, name: &str, broken: bool) -> Status {
    let case: Vec<Case> = cases().into_iter().filter(|c| c.to_string() == name).collect();
    let mut status = None;
    let alter = |plan: &mut tachylite::Plan| {
        if broken {
            plan.kernels[0].wgsl = plan.kernels[0].wgsl.replace("max(v, vec4<f32>(0.0))", "v");
        }
    };
    run_altered(gpu, &case, None, &alter, &mut |event| {
        if let Event::End(_, outcome) = event {
            status = Some(outcome.status.clone());
        }
    });
    status.unwrap_or_else(|| panic!("there is no case {name}"))
}

#[test]
fn expected_failures_are_told_from_failures_and_unexpected_passes() {
    let Some(adapter) = Gpu::adapters_blocking().into_iter().next() else {
        let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
        assert!(!required.contains("mesa22"), "TACHYLITE_REQUIRE asks for an adapter, but there is none");
        writeln!(std::io::stdout(), "SKIPPED 1 test: expected_failures (no adapter)").unwrap();
        return;
    };
    let gpu = Gpu::open_blocking(&format!("{}:{}", adapter.backend, adapter.name)).unwrap();
    let plain = gpu.with_quirks(Vec::new());
    assert_eq!(status(&plain, BROKEN, true), Status::Fail);
    assert_eq!(status(&plain, BROKEN, false), Status::Pass);
    let quirky = gpu.with_quirks(vec![&QUIRK]);
    assert_eq!(status(&quirky, BROKEN, true), Status::ExpectedFailure(WHY.into()));
    assert_eq!(status(&quirky, WHOLE, false), Status::Pass);
    assert!(status(&quirky, BROKEN, false).is_wrong());
    let wrong = status(&gpu.with_quirks(vec![&WRONG]), WHOLE, false);
    assert!(matches!(&wrong, Status::UnexpectedPass(why) if why.contains(WHY)), "{wrong:?}");
}
