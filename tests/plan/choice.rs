//! Which kernel is chosen, pinned by name, and why the others were not.

use tachylite::ops::linear_attention::LinearAttention;
use tachylite::ops::matmul::MATMUL;
use tachylite::plan::{Determinism, Numerics, Plan, Policy, Step, plan};
use tachylite::profile::{DeviceKind, Speeds};
use tachylite::quirks::{Avoid, Pattern, Quirk};
use tachylite::{DType, Error, Graph, Profile};

use crate::fixed;

fn profile(kind: DeviceKind) -> Profile {
    Profile { name: kind.name().into(), kind, speeds: Speeds::guess(kind), ..Profile::portable() }
}

/// x [M ≤ m, k] by w [n, k].
fn matmul(m: u64, n: usize, k: usize, w: DType) -> Graph {
    let mut g = Graph::new();
    let rows = g.dim("M", m).unwrap();
    let x = g.input("x", DType::F32, &[rows, k.into()]).unwrap();
    let w = g.weight("w", w, &[n, k]).unwrap();
    let y = g.matmul(x, w).unwrap();
    g.output("y", y).unwrap();
    g
}

fn chosen(g: &Graph, profile: &Profile, policy: &Policy) -> String {
    step(&plan(g, profile, policy).unwrap()).kernel_name.to_string()
}

/// The last dispatch of a plan of one matmul, which the choice is told with.
fn step(p: &Plan) -> &Step {
    p.steps.last().unwrap()
}

#[test]
fn few_rows_take_the_vector_kernel_and_many_a_tile() {
    use DType::{F32, Q8_0};
    let cases = [
        (DeviceKind::Discrete, 1, F32, "matmul.vector"),
        (DeviceKind::Discrete, 1, Q8_0, "matmul.vector"),
        (DeviceKind::Discrete, 4096, F32, "matmul.shared"),
        (DeviceKind::Integrated, 1, F32, "matmul.vector"),
        (DeviceKind::Integrated, 4096, F32, "matmul.tile"),
        (DeviceKind::Integrated, 4096, Q8_0, "matmul.tile"),
        (DeviceKind::Cpu, 1, F32, "matmul.vector"),
        (DeviceKind::Cpu, 4096, F32, "matmul.tile"),
    ];
    for (kind, m, dtype, expected) in cases {
        let g = matmul(m, 1024, 1024, dtype);
        assert_eq!(chosen(&g, &profile(kind), &Policy::default()), expected, "{} {m} {dtype}", kind.name());
    }
}

#[test]
fn a_processor_with_subgroups_of_one_size_lets_lanes_share_what_they_load() {
    let mut software = profile(DeviceKind::Cpu);
    software.features.subgroup = true;
    for (sizes, m, expected) in [
        ((8, 8), 512, "matmul.broadcast"),
        ((4, 4), 512, "matmul.broadcast"),
        ((8, 8), 1, "matmul.vector"),
        ((64, 64), 512, "matmul.tile"),
        ((8, 32), 512, "matmul.tile"),
    ] {
        software.subgroup_sizes = sizes;
        let g = matmul(m, 512, 512, DType::F32);
        assert_eq!(chosen(&g, &software, &Policy::default()), expected, "{sizes:?} {m}");
    }
}

/// The recurrence of RWKV-7 over so many positions, two heads of 64.
fn recurrence(t: u64) -> Graph {
    let mut g = Graph::new();
    let inputs = ["r", "w", "k", "v", "a", "b"];
    let [r, w, k, v, a, b] =
        inputs.map(|name| g.input(name, DType::F32, &[1.into(), t.into(), 2.into(), 64.into()]).unwrap());
    let state = g.input("state", DType::F32, &fixed(&[1, 2, 64, 64])).unwrap();
    let (y, left) = g.wkv7(r, w, k, v, a, b, state).unwrap();
    g.output("y", y).unwrap();
    g.output("left", left).unwrap();
    g
}

/// The gated delta rule over so many positions, two heads of 64.
fn gated_delta(t: u64) -> Graph {
    let mut g = Graph::new();
    let dims = [1.into(), t.into(), 2.into(), 64.into()];
    let [q, k, v] = ["q", "k", "v"].map(|name| g.input(name, DType::F32, &dims).unwrap());
    let [decay, beta] = ["decay", "beta"].map(|name| Some(g.input(name, DType::F32, &dims[..3]).unwrap()));
    let how = LinearAttention { decay, beta, delta: true, ..LinearAttention::default() };
    let (y, left) = g.linear_attention(q, k, v, how).unwrap();
    g.output("y", y).unwrap();
    g.output("left", left).unwrap();
    g
}

#[test]
fn on_gpus_many_positions_are_taken_in_chunks_unless_their_number_must_not_show() {
    let (faster, invariant) =
        (Policy::default(), Policy { determinism: Determinism::BatchInvariant, ..Policy::default() });
    for (kind, t, policy, in_chunks) in [
        (DeviceKind::Discrete, 1, &faster, false),
        (DeviceKind::Discrete, 64, &faster, true),
        (DeviceKind::Integrated, 1, &faster, false),
        (DeviceKind::Integrated, 1024, &faster, true),
        (DeviceKind::Integrated, 1024, &invariant, false),
        (DeviceKind::Cpu, 1024, &faster, false),
    ] {
        for (g, kernels) in [
            (recurrence(t), ["wkv7.rows", "wkv7.chunked"]),
            (gated_delta(t), ["linear_attention.columns", "linear_attention.chunked"]),
        ] {
            let expected = kernels[usize::from(in_chunks)];
            assert_eq!(chosen(&g, &profile(kind), policy), expected, "{} {t}", kind.name());
        }
    }
}

#[test]
fn every_candidate_is_logged_best_first() {
    let g = matmul(4096, 1024, 1024, DType::F32);
    let p = plan(&g, &profile(DeviceKind::Discrete), &Policy::default()).unwrap();
    let candidates = &step(&p).candidates;
    assert_eq!(candidates.len(), MATMUL.kernels.len());
    let estimates: Vec<_> = candidates.iter().map_while(|c| c.estimate.clone().ok()).collect();
    assert!(estimates.len() > 2 && estimates.is_sorted());
    assert!(candidates[estimates.len()..].iter().all(|c| c.estimate.is_err()));
    assert_eq!(candidates[0].kernel, step(&p).kernel_name);
}

#[test]
fn a_kernel_asked_for_by_name_is_the_only_one() {
    let g = matmul(4096, 64, 64, DType::F32);
    let policy = Policy { kernel: Some("matmul.vector".into()), ..Policy::default() };
    let p = plan(&g, &Profile::portable(), &policy).unwrap();
    assert_eq!(step(&p).kernel_name, "matmul.vector");
    assert_eq!(step(&p).candidates.len(), 1);
    let other = Policy { kernel: Some("layer_norm.row".into()), ..Policy::default() };
    let p = plan(&g, &Profile::portable(), &other).unwrap();
    assert_eq!(step(&p).candidates.len(), MATMUL.kernels.len());
}

#[test]
fn batch_invariant_choices_do_not_see_the_number_of_rows() {
    let policy = Policy { determinism: Determinism::BatchInvariant, ..Policy::default() };
    for kind in [DeviceKind::Discrete, DeviceKind::Integrated, DeviceKind::Cpu] {
        let choices = [1, 7, 64, 4096].map(|m| {
            let p = plan(&matmul(m, 1024, 1024, DType::F32), &profile(kind), &policy).unwrap();
            step(&p).candidates.clone()
        });
        assert!(choices.iter().all(|c| *c == choices[0]), "{}: {choices:?}", kind.name());
    }
    // three axes of x folded into M, and none
    let folded = |shape: &[usize]| {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &fixed(shape)).unwrap();
        let w = g.weight("w", DType::F32, &[512, 64]).unwrap();
        let y = g.matmul(x, w).unwrap();
        g.output("y", y).unwrap();
        plan(&g, &Profile::portable(), &policy).unwrap().steps.pop().unwrap().candidates
    };
    assert_eq!(folded(&[64]), folded(&[9, 5, 7, 64]));
}

#[test]
fn kernels_past_a_limit_are_refused_with_both_numbers() {
    let g = matmul(1, 1024, 1024, DType::F32);
    let mut small = Profile::portable();
    small.limits.workgroup_bytes = 512;
    let p: Plan = plan(&g, &small, &Policy::default()).unwrap();
    assert_ne!(step(&p).kernel_name, "matmul.vector");
    let refused = step(&p).candidates.iter().find(|c| c.kernel == "matmul.vector").unwrap();
    let why = refused.estimate.as_ref().unwrap_err();
    assert!(why.ends_with("bytes of workgroup memory, but the device grants 512"), "{why}");

    small.limits.storage_buffers_per_stage = 2;
    let error = plan(&g, &small, &Policy::default()).unwrap_err();
    assert!(matches!(error, Error::NoKernel(_)));
    let text = error.to_string();
    for part in ["matmul: no kernel can run this on `portable`", "matmul.tile: it needs 3 storage buffers"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_weight_of_blocks_can_only_be_a_whole_matmul_weight() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &fixed(&[2, 3, 32])).unwrap();
    let w = g.weight("w", DType::Q8_0, &[2, 8, 32]).unwrap();
    let Ok(y) = g.matmul(x, w) else { return };
    g.output("y", y).unwrap();
    let error = plan(&g, &Profile::portable(), &Policy::default()).unwrap_err();
    assert!(error.to_string().contains("weight `w`: q8_0 [2, 8, 32]"), "{error}");
}

/// The softmax of rows of so many elements.
fn softmax(rows: u64, width: u64) -> Graph {
    let mut g = Graph::new();
    let rows = g.dim("R", rows).unwrap();
    let x = g.input("x", DType::F32, &[rows, width.into()]).unwrap();
    let y = g.softmax(x, 1).unwrap();
    g.output("y", y).unwrap();
    g
}

#[test]
fn few_long_rows_are_cut_into_shares_where_rows_alone_do_not_fill_the_device() {
    for (kind, rows, width, expected) in [
        (DeviceKind::Discrete, 1, 65536, "softmax.split"),
        (DeviceKind::Discrete, 16, 65536, "softmax.split"),
        (DeviceKind::Discrete, 448, 65536, "softmax.row"),
        (DeviceKind::Discrete, 1, 4096, "softmax.row"),
        (DeviceKind::Integrated, 1, 65536, "softmax.split"),
        (DeviceKind::Integrated, 256, 65536, "softmax.row"),
        (DeviceKind::Cpu, 1, 65536, "softmax.row"),
        (DeviceKind::Cpu, 16, 65536, "softmax.row"),
    ] {
        let (g, profile) = (softmax(rows, width), profile(kind));
        assert_eq!(chosen(&g, &profile, &Policy::default()), expected, "{} {rows} x {width}", kind.name());
        // A choice that may not see the rows is the same for any number of them.
        let policy = Policy { determinism: Determinism::BatchInvariant, ..Policy::default() };
        let one = chosen(&softmax(1, width), &profile, &policy);
        assert_eq!(chosen(&g, &profile, &policy), one, "{} {rows} x {width}", kind.name());
    }
}

#[test]
fn a_row_that_one_team_holds_is_not_cut() {
    for rows in [1, 16, 128] {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &[rows.into(), 4096.into()]).unwrap();
        let w = g.weight("w", DType::F32, &[4096]).unwrap();
        let y = g.rms_norm(x, w, 1e-5).unwrap();
        g.output("y", y).unwrap();
        let z = g.l2_normalize(x, 1e-12).unwrap();
        g.output("z", z).unwrap();
        for kind in [DeviceKind::Discrete, DeviceKind::Integrated, DeviceKind::Cpu] {
            let p = plan(&g, &profile(kind), &Policy::default()).unwrap();
            let names: Vec<&str> = p.steps.iter().map(|s| &*s.kernel_name).collect();
            assert_eq!(names, ["rms_norm.row", "l2_normalize.row"], "{} {rows}", kind.name());
        }
    }
}

#[test]
fn a_tile_finds_weights_that_were_taken_apart_in_the_place_of_those_of_the_graph() {
    let g = matmul(512, 256, 64, DType::Q8_0);
    let named = Policy { kernel: Some("matmul.staged".into()), ..Policy::default() };
    let refused = plan(&g, &Profile::portable(), &named).unwrap_err().to_string();
    assert!(refused.contains("it computes as F16Staged, but only F32 was asked for"), "{refused}");
    let p = plan(&g, &Profile::portable(), &Policy { numerics: Numerics::F16Staged, ..named }).unwrap();
    let [first, last] = p.steps.as_slice() else { panic!("{} dispatches", p.steps.len()) };
    assert_eq!([&*first.kernel_name, &*last.kernel_name], ["matmul.staged_w", "matmul.staged"]);
    let of = |step: &Step, name: &str| step.bindings.iter().find(|b| b.name == name).map(|b| b.buffer);
    assert_eq!(of(last, "w"), of(first, "wh"));
    assert_eq!(of(last, "w_scale"), of(first, "ws"));
    assert_ne!(of(last, "w"), of(first, "w"));
    assert_eq!(first.reads.len(), 1, "w and not x");
}

static SLOW: Quirk = Quirk {
    pattern: Pattern::ANY,
    avoid: &[Avoid { kernel: "matmul.tile", why: "its compiler takes a minute" }],
    ..Quirk::NONE
};
static HOPELESS: Quirk = Quirk {
    pattern: Pattern::ANY,
    avoid: &[
        Avoid { kernel: "matmul.vector", why: "its sums are wrong" },
        Avoid { kernel: "matmul.tile_small", why: "its sums are wrong" },
        Avoid { kernel: "matmul.split", why: "its sums are wrong" },
        Avoid { kernel: "matmul.shared", why: "its sums are wrong" },
        Avoid { kernel: "matmul.shared_large", why: "its sums are wrong" },
    ],
    ..Quirk::NONE
};

#[test]
fn a_kernel_that_a_quirk_avoids_is_refused_with_its_reason() {
    let (g, policy) = (matmul(4096, 1024, 1024, DType::F32), Policy::default());
    let mut quirky = profile(DeviceKind::Integrated);
    assert_eq!(chosen(&g, &quirky, &policy), "matmul.tile");
    quirky.quirks.push(&SLOW);
    let p = plan(&g, &quirky, &policy).unwrap();
    assert_eq!(step(&p).kernel_name, "matmul.tile_small");
    let said =
        "over     matmul.tile, which was refused: it is avoided on this device: its compiler takes a minute";
    assert!(p.explain(&g).contains(said), "{}", p.explain(&g));
    // Whoever names it gets it: that is how `check` sees whether the quirk still holds.
    let named = Policy { kernel: Some("matmul.tile".into()), ..Policy::default() };
    assert_eq!(chosen(&g, &quirky, &named), "matmul.tile");
    // Nothing falls back on a kernel that is known to be wrong.
    quirky.quirks.push(&HOPELESS);
    let error = plan(&g, &quirky, &policy).unwrap_err();
    assert!(matches!(error, Error::NoKernel(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("matmul.vector: it is avoided on this device: its sums are wrong"), "{text}");
    quirky.quirks.clear();
    assert_eq!(chosen(&g, &quirky, &policy), "matmul.tile");
}
