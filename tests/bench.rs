//! A bench on every adapter there is: what is right is timed beside a probe, what is wrong is not timed.
//! Nothing here says how fast anything is. Without an adapter each test says `SKIPPED`.
#![cfg(feature = "gpu")]

use std::io::Write;
use std::time::Duration;

use tachylite::bench::{Entry, Outcome, Row, changes};
use tachylite::gpu::{Bench, BenchOptions, Cold, Effort};
use tachylite::kernel::with_source;
use tachylite::op::{Axis, Shape, Sizes};
use tachylite::plan::{Numerics, Policy};
use tachylite::tune::Task;
use tachylite::{DType, Gpu, Kernel, ops};

fn on_each_gpu(test: &str, run: impl Fn(Gpu)) {
    let adapters = Gpu::adapters_blocking();
    let mut out = std::io::stdout();
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap();
    }
    for a in adapters {
        writeln!(out, "{test} on {} {} ({})", a.backend, a.name, a.driver).unwrap();
        run(Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap());
    }
}

/// One look at everything.
fn bench(gpu: &Gpu) -> Bench {
    let effort = Effort { warmup: 1, least: 2, most: 2, budget: Duration::ZERO, ..Effort::quick() };
    let mut probes = 0;
    let bench = gpu
        .bench(BenchOptions { effort, rounds: 2, sittings: 2, cold: Cold::All, trusted: true }, &mut |_| {
            probes += 1
        })
        .unwrap();
    assert_eq!((probes, probes > 10), (bench.readings().len(), true));
    bench
}

fn entry(gpu: &Gpu, op: &str, sizes: &[(Axis, u64)], w: DType) -> Entry {
    let shape = Shape { sizes: Sizes::new(sizes), x: DType::F32, w, variant: 0 };
    let op = ops::by_name(op).unwrap();
    let task = Task::new(op, shape, gpu.profile(), &Policy::default()).unwrap().unwrap();
    let kernel = task.kernels[0];
    assert_eq!(kernel.numerics, Numerics::F32);
    Entry { group: "test", task, kernel, chosen: true }
}

/// Of each row, whether it is cold and whether unchecked.
fn heats(rows: &[Row]) -> Vec<(bool, bool)> {
    rows.iter().map(|r| (r.cold, r.trusted)).collect()
}

#[test]
fn what_is_right_is_timed_and_what_is_wrong_is_not() {
    on_each_gpu("what_is_right_is_timed_and_what_is_wrong_is_not", |gpu| {
        let mut bench = bench(&gpu);
        right(&gpu, &mut bench);
        wrong(&gpu, &mut bench);
        other_texts(&gpu, &mut bench);
    });
}

/// Warm and cold, checked and not, with the same bits.
fn right(gpu: &Gpu, bench: &mut Bench) {
    // Large enough for a few copies, and of odd widths.
    let large = entry(gpu, "add", &[(Axis::R, 4097), (Axis::C, 1023)], DType::F32);
    let rows = bench.rows(&large).unwrap();
    assert_eq!(heats(&rows), [(false, false), (false, true), (true, false), (true, true)]);
    for row in &rows {
        let timed = row.timed().unwrap_or_else(|| panic!("{row:?}"));
        let beside = timed.beside.as_ref().unwrap();
        assert_eq!((timed.seconds.len(), beside.seconds.len(), &timed.rounds[..]), (2, 2, &[1, 1][..]));
        assert_eq!(timed.sittings, [1, 1]);
        assert!(timed.fraction().unwrap() > 0.0 && timed.rate().0 > 0.0);
        assert!(timed.error <= 1.0 && timed.bits == rows[0].timed().unwrap().bits);
        assert_eq!(timed.bytes, 4097.0 * 1023.0 * 12.0);
    }
    // Next to nothing is not measured cold, and the probe that was there before is there again.
    let small = entry(gpu, "matmul", &[(Axis::M, 3), (Axis::N, 33), (Axis::K, 64)], DType::Q8_0);
    let mut rows = bench.rows(&small).unwrap();
    assert_eq!(heats(&rows), [(false, false), (false, true)]);
    if let Outcome::Timed(timed) = &mut rows[0].outcome {
        timed.beside.as_mut().unwrap().probe = "probe.unpack_i8".into();
    }
    bench.prefer_those_of(&rows);
    let again = bench.rows(&small).unwrap();
    assert_eq!(again[0].timed().unwrap().beside.as_ref().unwrap().probe, "probe.unpack_i8");
    assert_eq!(changes(&rows, &again).len(), 2);
}

/// The text of a kernel that sums up only the first quarter of its terms: faster, and wrong.
fn hasty(kernel: &Kernel) -> String {
    let text = kernel.source.replace("p.K", "(p.K / 4u)");
    assert_ne!(text, kernel.source);
    text
}

/// A product, by a kernel whose text says how many terms there are.
fn product(gpu: &Gpu) -> Entry {
    let mut entry = entry(gpu, "matmul", &[(Axis::M, 8), (Axis::N, 64), (Axis::K, 256)], DType::F32);
    entry.kernel = entry.task.kernels.iter().find(|k| k.source.contains("p.K")).unwrap();
    entry
}

fn wrong(gpu: &Gpu, bench: &mut Bench) {
    let entry = product(gpu);
    with_source(entry.kernel.file, &hasty(entry.kernel), || {
        let rows = bench.rows(&entry).unwrap();
        let [Row { outcome: Outcome::Wrong(why), case, .. }] = &rows[..] else { panic!("{rows:?}") };
        assert!(why.starts_with("`y` is off in ") && case.starts_with(entry.kernel.name), "{why}");
    });
}

/// What is not the library's own text runs with checks or not at all.
fn other_texts(gpu: &Gpu, bench: &mut Bench) {
    let entry = product(gpu);
    with_source(entry.kernel.file, entry.kernel.source, || {
        let rows = bench.rows(&entry).unwrap();
        let unable = rows.iter().find(|r| r.trusted).map(|r| &r.outcome);
        assert!(rows[0].timed().is_some() && matches!(unable, Some(Outcome::Unable(_))), "{rows:?}");
    });
}
