//! Choosing by measurement, on the first adapter there is: who is right and faster wins, who is wrong
//! and faster is refused. Without an adapter each test says `SKIPPED`.
#![cfg(feature = "gpu")]

use std::io::Write;
use std::time::Duration;

use tachylite::gpu::Tuned;
use tachylite::kernel::with_source;
use tachylite::op::{Axis, Shape, Sizes};
use tachylite::ops::matmul::MATMUL;
use tachylite::plan::{Policy, plan};
use tachylite::tune::{Task, Tuning};
use tachylite::{DType, Error, Gpu, Kernel, Profile};

fn gpu(test: &str) -> Option<Gpu> {
    let gpu = Gpu::open_blocking("gpu").ok();
    if gpu.is_none() {
        // Past the harness's capture, which would hide it from whoever reads only the summary.
        let mut out = std::io::stdout();
        writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap();
    }
    gpu
}

/// A product of one row, between the first two kernels of this list.
fn task(gpu: &Gpu, kernels: &[&'static Kernel]) -> Task {
    let sizes = Sizes::new(&[(Axis::M, 1), (Axis::N, 512), (Axis::K, 2048)]);
    let shape = Shape { sizes, x: DType::F32, w: DType::F32, variant: 0 };
    let mut task = Task::new(&MATMUL, shape, gpu.profile(), &Policy::default()).unwrap().unwrap();
    task.kernels = kernels.to_vec();
    task
}

fn tune(gpu: &Gpu, task: &Task, tuning: &mut Tuning) -> Tuned {
    let mut out = None;
    // More than it takes where nobody else computes: it ends once it is sure.
    let budget = Duration::from_secs(6);
    let done = gpu.tune(std::slice::from_ref(task), budget, tuning, &mut |_, t, _| out = Some(t.clone()));
    assert_eq!(done, Ok(1));
    out.unwrap()
}

/// The slow one first, where the estimate's choice stands, and the fast one: a tile does rows that are not
/// there. As they are called, whichever files they come from.
fn slow_and_fast() -> [&'static Kernel; 2] {
    let find = |name: &str| *MATMUL.kernels.iter().find(|k| k.name == name).unwrap();
    [find("matmul.tile"), find("matmul.vector")]
}

/// The text of a kernel that sums up only the first quarter of its terms: faster, and wrong.
fn hasty(kernel: &Kernel) -> String {
    let text = kernel.source.replace("p.K", "(p.K / 4u)");
    assert_ne!(text, kernel.source);
    text
}

#[test]
fn who_is_right_and_faster_wins_and_is_planned_with() {
    let Some(gpu) = gpu("who_is_right_and_faster_wins_and_is_planned_with") else { return };
    let [slow, fast] = slow_and_fast();
    let task = task(&gpu, &[slow, fast]);
    let mut tuning = Tuning::new(gpu.profile());
    let tuned = tune(&gpu, &task, &mut tuning);
    assert_eq!((tuned.winner.as_deref(), tuned.estimate.as_str()), (Some(fast.name), slow.name), "{tuned:?}");
    assert!(tuned.ratio() < 1.0 && tuned.rejected.is_empty());
    let profile = gpu.profile().with_tuning(tuning).unwrap();
    let p = plan(&task.case(slow).build().unwrap().0, &profile, &Policy::default()).unwrap();
    let chosen = &p.steps.last().unwrap().candidates[0];
    assert_eq!((&*chosen.kernel, chosen.tuned), (fast.name, Some(tuned.seconds)));
}

#[test]
fn who_is_wrong_is_refused_however_fast_and_reported_with_a_case() {
    let Some(gpu) = gpu("who_is_wrong_is_refused_however_fast_and_reported_with_a_case") else { return };
    let [slow, fast] = slow_and_fast();
    let task = task(&gpu, &[slow, fast]);
    let mut tuning = Tuning::new(gpu.profile());
    with_source(fast.file, &hasty(fast), || {
        let tuned = tune(&gpu, &task, &mut tuning);
        assert_eq!(tuned.winner.as_deref(), Some(slow.name), "{tuned:?}");
        let [(kernel, rejected)] = &tuned.rejected[..] else { panic!("{tuned:?}") };
        assert_eq!((kernel.as_str(), &rejected.case), (fast.name, &task.case(fast).to_string()));
        assert!(rejected.why.starts_with("`y` is off in "), "{}", rejected.why);
        // It is not measured again, and no plan takes it.
        let again = tune(&gpu, &task, &mut tuning);
        assert!(again.rejected.is_empty() && again.left_out[0].0 == fast.name, "{again:?}");
    });
    let profile = gpu.profile().with_tuning(tuning.clone()).unwrap();
    let p = plan(&task.case(fast).build().unwrap().0, &profile, &Policy::default()).unwrap();
    assert_ne!(p.steps.last().unwrap().kernel_name, fast.name);
}

#[test]
fn a_tuning_of_another_device_is_refused_and_no_time_measures_nothing() {
    let Some(gpu) = gpu("a_tuning_of_another_device_is_refused_and_no_time_measures_nothing") else { return };
    let task = task(&gpu, &slow_and_fast());
    let mut other = Tuning::new(&Profile::portable());
    let mut tell = |_: &Task, _: &Tuned, _: &Tuning| panic!("nothing was to be measured");
    let tasks = std::slice::from_ref(&task);
    let refused = gpu.tune(tasks, Duration::from_secs(1), &mut other, &mut tell);
    assert!(matches!(refused, Err(Error::Argument(_))), "{refused:?}");
    let mut own = Tuning::new(gpu.profile());
    assert_eq!(gpu.tune(tasks, Duration::ZERO, &mut own, &mut tell), Ok(0));
}
