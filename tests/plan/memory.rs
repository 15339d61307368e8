//! How much memory a plan takes, and what it refuses.

use tachylite::plan::{Policy, Role, plan};
use tachylite::{DType, Error, Graph, Profile};

use crate::{encoder, fixed, linear, portable};

#[test]
fn many_layers_take_as_much_scratch_as_one() {
    let scratch = |layers: usize| {
        let mut g = Graph::new();
        let mut y = g.input("x", DType::F32, &fixed(&[64, 32])).unwrap();
        for i in 0..layers {
            let up = linear(&mut g, y, &format!("up{i}"), 128);
            let up = g.gelu(up).unwrap();
            let down = linear(&mut g, up, &format!("down{i}"), 32);
            y = g.add(down, y).unwrap();
        }
        g.output("y", y).unwrap();
        let p = portable(&g);
        let sizes = p.buffers.iter().filter(|b| b.role == Role::Scratch).map(|b| b.bytes);
        let sizes: Vec<_> = sizes.collect();
        (sizes.len(), sizes.iter().sum::<u64>())
    };
    // the wide value, the residual that is read and the one that is written
    assert_eq!(scratch(3), scratch(12));
    assert_eq!(scratch(3), (3, 64 * 4 * (128 + 32 + 32)));
}

#[test]
fn peak_bytes_are_the_sum_of_all_buffers_and_all_are_multiples_of_16() {
    let p = portable(&encoder(20, 5, (3, 7)));
    assert_eq!(p.peak_bytes, p.buffers.iter().map(|b| b.bytes).sum::<u64>());
    assert!(p.buffers.iter().all(|b| b.bytes >= 16 && b.bytes.is_multiple_of(16)));
}

#[test]
fn a_budget_is_kept_or_refused_with_both_numbers() {
    let g = encoder(32, 4, (8, 64));
    let needed_bytes = portable(&g).peak_bytes;
    let with = |budget: u64| {
        plan(&g, &Profile::portable(), &Policy { budget_bytes: Some(budget), ..Policy::default() })
    };
    assert!(with(needed_bytes).is_ok());
    let budget_bytes = needed_bytes - 1;
    assert_eq!(with(budget_bytes).unwrap_err(), Error::Budget { needed_bytes, budget_bytes });
}

#[test]
fn tensors_past_a_limit_are_named_with_both_numbers() {
    let build = |weight: bool| {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &fixed(&[if weight { 1 } else { 4 }, 64])).unwrap();
        let y = if weight { linear(&mut g, x, "big", 8) } else { g.relu(x).unwrap() };
        g.output("y", y).unwrap();
        g
    };
    let mut small = Profile::portable();
    // Weights are cut, but not to less than four columns.
    small.limits.storage_binding_bytes = 512;
    let message = plan(&build(true), &small, &Policy::default()).unwrap_err();
    let expected = "tensor `big.w` takes 2048 bytes, but the device's limit on what a kernel may bind is 512";
    assert_eq!(message, Error::Limit(expected.into()));
    small.limits.storage_binding_bytes = 4096;
    small.limits.buffer_bytes = 512;
    let message = plan(&build(false), &small, &Policy::default()).unwrap_err();
    let expected = "tensor `x` takes 1024 bytes, but the device's limit on what a buffer may have is 512";
    assert_eq!(message, Error::Limit(expected.into()));
}

#[test]
fn dispatches_past_two_axes_are_refused() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &fixed(&[16000, 4])).unwrap();
    let y = g.l2_normalize(x, 1e-6).unwrap();
    g.output("y", y).unwrap();
    let mut small = Profile::portable();
    small.limits.workgroups_per_axis = 31;
    let message = plan(&g, &small, &Policy::default()).unwrap_err();
    let expected = "l2_normalize: l2_normalize.row would need 1000 workgroups, but two axes of 31 hold 961";
    assert_eq!(message, Error::Limit(expected.into()));
    small.limits.workgroups_per_axis = 32;
    assert!(plan(&g, &small, &Policy::default()).is_ok());
}

#[test]
fn sizes_at_the_edge_of_u64_are_refused_and_not_wrapped() {
    let big = 1 << 40;
    for sizes in
        [&[u64::MAX, u64::MAX][..], &[0, big, big], &[big, big, big, 1], &[1, u64::MAX], &[3, 0, u64::MAX]]
    {
        for bounded in [true, false] {
            let mut g = Graph::new();
            let dim = |(i, n): (usize, &u64)| {
                if bounded { g.dim(&format!("D{i}"), *n).unwrap() } else { (*n).into() }
            };
            let dims: Vec<_> = sizes.iter().enumerate().map(dim).collect();
            let x = g.input("x", DType::F32, &dims).unwrap();
            let y = g.l2_normalize(x, 1e-6).unwrap();
            g.output("y", y).unwrap();
            let refused = plan(&g, &Profile::portable(), &Policy::default());
            assert!(matches!(refused, Err(Error::Limit(_))), "{sizes:?}");
        }
    }
}

#[test]
fn empty_tensors_are_planned() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &fixed(&[0, 8])).unwrap();
    let y = linear(&mut g, x, "l", 4);
    let y = g.reshape(y, &fixed(&[4, 0])).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps[0].workgroups.max(&[]), 0);
}

#[test]
fn long_plans_are_cut_into_submits() {
    let g = encoder(32, 4, (8, 64));
    let with = |segment_ms: f64| {
        plan(&g, &Profile::portable(), &Policy { segment_ms, ..Policy::default() }).unwrap()
    };
    let p = with(0.0);
    assert_eq!(p.segments.len(), p.steps.len());
    let p = with(0.1);
    assert!(p.segments.len() > 1 && p.segments.len() < p.steps.len(), "{:?}", p.segments);
    assert_eq!(
        p.segments.iter().flat_map(Clone::clone).collect::<Vec<_>>(),
        (0..p.steps.len()).collect::<Vec<_>>()
    );
    for s in &p.segments[..p.segments.len() - 1] {
        let ms: f64 =
            p.steps[s.clone()].iter().map(|s| s.candidates[0].estimate.clone().unwrap() * 1e3).sum();
        assert!(ms <= 0.1 || s.len() == 1, "{s:?} takes {ms} ms");
    }
}
