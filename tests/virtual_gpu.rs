//! Every kernel on virtual GPUs: inside its allowance under every preset, with nothing found; and what is
//! found where a kernel is broken on purpose. Needs no driver. `check --personality all` runs whole lists.
#![cfg(feature = "virtual")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tachylite::check::{Case, Event, Machine, Outcome, cases, run_altered};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{DType, Plan};

/// Cases of the short list that take part: all kernels, each of its types and variants once for every second
/// personality, others for others. Weights in blocks are shared out by tests/formats.rs.
fn share(number: usize) -> Vec<Case> {
    let blocks: Vec<_> = DType::ALL.into_iter().filter(|d| d.is_blocks()).map(|d| format!(".{d}/")).collect();
    let in_blocks = |c: &Case| blocks.iter().any(|part| c.plan_name().contains(part));
    let quick: Vec<Case> = cases().into_iter().filter(|c| c.quick && !in_blocks(c)).collect();
    let mut families: Vec<Vec<Case>> = Vec::new();
    for case in quick {
        let name = case.plan_name();
        let family = name.rsplit_once('/').map_or(name.as_str(), |(family, _)| family).to_owned();
        match families.last_mut().filter(|f| f[0].plan_name().starts_with(&format!("{family}/"))) {
            Some(cases) => cases.push(case),
            None => families.push(vec![case]),
        }
    }
    let every_second = families.iter().skip(number % 2).step_by(2);
    every_second.map(|cases| cases[number / 2 % cases.len()].clone()).collect()
}

fn outcomes(gpu: &VirtualGpu, cases: &[Case], alter: &dyn Fn(&mut Plan)) -> Vec<(String, Outcome)> {
    let mut ended = Vec::new();
    run_altered(gpu, cases, None, alter, &mut |event| {
        if let Event::End(case, outcome) = event {
            ended.push((case.to_string(), outcome.clone()));
        }
    });
    ended
}

#[test]
fn every_kernel_is_right_under_every_preset() {
    let ran = AtomicUsize::new(0);
    let queue = Mutex::new(Personality::presets().into_iter().enumerate());
    // One test is one thread of the harness, and this one takes longer than all others together.
    let worker = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some((number, personality)) = next() {
            let gpu = VirtualGpu::new(personality).with_threads(1);
            for (name, outcome) in outcomes(&gpu, &share(number), &|_| ()) {
                let failures = &outcome.failures;
                assert!(failures.is_empty(), "{name} on {}: {failures:?}", gpu.profile().name);
                ran.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from))
            .for_each(|_| drop(scope.spawn(worker)));
    });
    let ran = ran.into_inner();
    assert!(ran > 1000, "{ran}");
}

#[test]
fn threads_change_nothing() {
    let cases = share(3);
    let personality = Personality::hostile();
    let one = outcomes(&VirtualGpu::new(personality.clone()).with_threads(1), &cases[..40], &|_| ());
    let three = outcomes(&VirtualGpu::new(personality).with_threads(3), &cases[..40], &|_| ());
    for ((name, one), (_, three)) in one.iter().zip(&three) {
        assert_eq!((one.worst, &one.failures), (three.worst, &three.failures), "{name}");
    }
}

/// What is found in the first case whose name begins so, when a text is replaced in its kernels.
fn found(case: &str, from: &str, to: &str) -> String {
    let case = cases().into_iter().find(|c| c.to_string().starts_with(case)).expect("there is such a case");
    let gpu = VirtualGpu::new(Personality::hostile());
    let alter = |plan: &mut Plan| {
        for kernel in &mut plan.kernels {
            assert!(kernel.wgsl.contains(from), "{from}");
            kernel.wgsl = kernel.wgsl.replace(from, to);
        }
    };
    let whole = outcomes(&gpu, std::slice::from_ref(&case), &|_| ());
    assert!(whole[0].1.failures.is_empty(), "unbroken: {:?}", whole[0].1.failures);
    let broken = outcomes(&gpu, &[case], &alter);
    broken[0].1.failures.iter().map(|f| format!("{}\n", f.what)).collect()
}

#[test]
fn what_a_driver_may_forgive_is_found_with_its_line() {
    for (case, from, to, says) in [
        (
            "reduce.row/f32/sum",
            "workgroupBarrier(); // every invocation's part is there",
            "",
            "race-workgroup",
        ),
        ("softmax.row/f32/plain", "|| c4 < groups {", "|| true {", "out-of-bounds"),
        (
            "reduce.row/f32/max",
            "let lane = index % LANES;",
            "let lane = index % LANES;\n    if lane == 3u {\n        return;\n    }",
            "non-uniform",
        ),
        (
            "relu/elementwise.rows/f32/plain",
            "    store4_y(p.y_offset",
            "    if c4 % 2u == 1u { return; }\n    store4_y(p.y_offset",
            "never-written",
        ),
    ] {
        let what = found(case, from, to);
        let line =
            what.lines().find(|l| l.contains(says)).unwrap_or_else(|| panic!("{case}: no {says}: {what}"));
        let (file, rest) = line.split_once(".wgsl:").expect("a file");
        assert!(!file.contains(' ') && rest.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    }
}
