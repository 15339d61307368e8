//! Which rows of experts meet which tokens: exact at every number of experts, experts per token and tokens that
//! matters, with every kernel, on a virtual GPU and every adapter. Inputs are small integers, so that a row that
//! meets the wrong weights, is done twice or not at all shows in every bit.
#![cfg(feature = "virtual")]

use tachylite::check::{Case, Event, Inputs, Machine, Status, Subject, run};
use tachylite::op::{Axis, Shape, Sizes};
use tachylite::ops::matmul_experts::MATMUL_EXPERTS;
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{DType, Profile};

/// Experts, experts per token, tokens.
fn shapes() -> Vec<[u64; 3]> {
    let mut out = Vec::new();
    for (experts, used) in [(1, [1, 1]), (2, [1, 2]), (8, [1, 8]), (64, [3, 8]), (128, [2, 8]), (256, [1, 8])]
    {
        for used in if experts == 1 { &used[..1] } else { &used[..] } {
            // Without a token, fewer pairs than experts, as many, and more.
            out.extend([0, 1, 7, 64].map(|tokens| [experts, *used, tokens]));
        }
    }
    out.extend([[1, 1, 512], [8, 2, 512], [64, 8, 512], [256, 4, 512]]);
    out
}

/// Ids drawn, also those that are no experts, all tokens to one, and two products at once.
const VARIANTS: [&str; 4] = ["plain", "past_the_end", "one_expert", "gated_relu"];

/// Every shape with every kernel: drawn ids, and in turn those of one of the other variants.
fn cases(others: bool) -> Vec<Case> {
    let mut out = Vec::new();
    for (number, [experts, used, tokens]) in shapes().into_iter().enumerate() {
        // Of some shapes more than one strip of columns, and of some blocks, in whole panels.
        let (w, columns, depth) = match number % 5 {
            2 => (DType::F32, 260, 9),
            4 if tokens < 64 => (DType::Q8_0, 128, 64),
            0 if tokens < 64 && experts < 128 => (DType::Q4K, 128, 256),
            _ => (DType::F32, 6, 9),
        };
        let sizes =
            [(Axis::M, tokens), (Axis::U, used), (Axis::E, experts), (Axis::C, columns), (Axis::K, depth)];
        for name in [VARIANTS[0], VARIANTS[1 + number % 3]].into_iter().take(1 + usize::from(others)) {
            let variant = MATMUL_EXPERTS.cases.variants.iter().position(|v| *v == name).unwrap();
            let shape = Shape { sizes: Sizes::new(&sizes), x: DType::F32, w, variant };
            for kernel in MATMUL_EXPERTS.kernels.iter().copied() {
                let subject = Subject::Kernel { op: &MATMUL_EXPERTS, kernel, shape };
                out.push(Case { subject, inputs: Inputs::Exact, aliased: false, quick: false });
            }
        }
    }
    out
}

/// Runs all cases; how many passed. No kernel is left out of a device but the one that needs subgroups.
fn right_on(machine: &impl Machine, profile: &Profile, cases: &[Case]) -> usize {
    let mut passed = 0;
    run(machine, cases, None, &mut |event| {
        let Event::End(case, outcome) = event else { return };
        match &outcome.status {
            Status::Pass => passed += 1,
            Status::Unsupported(_) if case.kernel() == "matmul_experts.broadcast" => {}
            status => panic!("{case} on {}: {status:?} {:?}", profile.name, outcome.failures),
        }
        // Sums of products of K-quants' numbers round, and are judged by their bound: another row is far off.
        let Subject::Kernel { shape, .. } = &case.subject else { return };
        assert!(outcome.worst == 0.0 || shape.w == DType::Q4K, "{case}: only exact is right");
    });
    passed
}

#[test]
fn routing_is_exact_on_a_virtual_gpu() {
    assert!(shapes().len() >= 40, "{}", shapes().len());
    let gpu = VirtualGpu::new(Personality::hostile()).with_threads(2);
    let (profile, all) = (gpu.profile().clone(), cases(false));
    assert!(right_on(&gpu, &profile, &all) >= all.len() / 4 * 3);
}

#[cfg(feature = "gpu")]
#[test]
fn routing_is_exact_on_adapters() {
    use std::io::Write;

    let adapters = tachylite::Gpu::adapters_blocking();
    let mut out = std::io::stdout();
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: routing_is_exact_on_adapters (no adapter)").unwrap();
    }
    for a in adapters {
        let gpu = tachylite::Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
        let passed = right_on(&gpu, &a, &cases(true));
        assert!(passed > 0);
        writeln!(out, "{passed} cases are exact on {} {} ({})", a.backend, a.name, a.driver).unwrap();
    }
}
