//! What joins what.

use tachylite::op::Attr;
use tachylite::plan::{Param, Plan, Policy, plan};
use tachylite::profile::Limits;
use tachylite::{DType, Dim, Graph, Profile, ValueId};

use crate::{fixed, kernels, linear, norm, ops, portable};

fn x(g: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    g.input(name, DType::F32, &fixed(shape)).unwrap()
}

fn told(p: &Plan, part: &str) -> bool {
    p.steps.iter().flat_map(|s| &s.fused).any(|f| f.contains(part))
}

#[test]
fn bias_activation_scale_and_residual_join_the_matmul() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 12]);
    let r = x(&mut g, "r", &[5, 8]);
    let y = linear(&mut g, a, "l", 8);
    let y = g.gelu(y).unwrap();
    let factor = g.scalar("factor").unwrap();
    let y = g.scale(y, factor).unwrap();
    let y = g.sub(r, y).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps.len(), 1, "{}", p.explain(&g));
    assert_eq!(ops(&g, &p, 0), ["matmul", "add", "gelu", "scale", "sub"]);
    let wgsl = &p.kernels[0].wgsl;
    assert!(wgsl.contains("v = load4_post1(p.post1_offset + r * p.post1_R + c4) - v;"), "{wgsl}");
    let param =
        |name: &str| &p.steps[0].params[p.kernels[0].params.iter().position(|d| d.name == name).unwrap()];
    assert!(matches!(param("post_number2_0"), Param::Scalar(_)));
    assert_eq!(*param("post0_R"), Param::U32(Dim::from(0).into()));
    assert_eq!(*param("post1_R"), Param::U32(Dim::from(2).into()));
}

#[test]
fn a_value_that_somebody_else_needs_ends_the_chain() {
    let build = |output: bool| {
        let mut g = Graph::new();
        let a = x(&mut g, "a", &[5, 8]);
        let h = linear(&mut g, a, "l", 8);
        let y = g.relu(h).unwrap();
        if output {
            g.output("h", h).unwrap();
        } else {
            let z = g.silu(h).unwrap();
            g.output("z", z).unwrap();
        }
        g.output("y", y).unwrap();
        g
    };
    for output in [true, false] {
        let g = build(output);
        let p = portable(&g);
        assert_eq!(ops(&g, &p, 0), ["matmul", "add"]);
        assert_eq!(ops(&g, &p, 1), ["relu"]);
        assert_eq!(p.steps[1].kernel_name, "elementwise.rows");
    }
}

#[test]
fn an_operand_used_twice_is_read_from_memory() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let h = linear(&mut g, a, "l", 8);
    let y = g.mul(h, h).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(ops(&g, &p, 1), ["mul"]);
    assert_eq!(p.steps[1].bindings[0].buffer, p.steps[1].bindings[2].buffer, "{:?}", p.steps[1].bindings);
}

#[test]
fn of_two_producers_the_later_takes_the_link() {
    let mut g = Graph::new();
    let (a, b) = (x(&mut g, "a", &[5, 12]), x(&mut g, "b", &[5, 16]));
    let up = linear(&mut g, a, "up", 8);
    let up = g.silu(up).unwrap();
    let gate = linear(&mut g, b, "gate", 8);
    let y = g.sub(up, gate).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(ops(&g, &p, 0), ["matmul", "add", "silu"]);
    assert_eq!(ops(&g, &p, 1), ["matmul", "add", "sub"]);
    assert!(told(&p, "of its two producers that is the later"));
    assert!(
        p.kernels[p.steps[1].kernel].wgsl.contains("v = load4_post1("),
        "swapped: it is the second operand"
    );
}

#[test]
fn a_chain_waits_for_its_other_operand() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let early = linear(&mut g, a, "early", 8);
    let base = norm(&mut g, a, "n", 8);
    let late = g.l2_normalize(base, 1e-6).unwrap();
    let keep = g.relu(late).unwrap();
    let y = g.add(early, late).unwrap();
    g.output("y", y).unwrap();
    g.output("keep", keep).unwrap();
    let p = portable(&g);
    let at = |op: &str| (0..p.steps.len()).find(|i| ops(&g, &p, *i).contains(&op)).unwrap();
    assert!(at("matmul") > at("l2_normalize"), "{:?}", kernels(&p));
    assert_eq!(ops(&g, &p, at("matmul")), ["matmul", "add", "add"]);
}

#[test]
fn chains_are_cut_where_the_device_has_no_more_storage_buffers() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let mut y = linear(&mut g, a, "l", 8);
    for i in 0..12 {
        let r = x(&mut g, &format!("r{i}"), &[5, 8]);
        y = g.add(y, r).unwrap();
    }
    g.output("y", y).unwrap();
    let p = portable(&g);
    let bound: Vec<_> = p.steps.iter().map(|s| s.bindings.len()).collect();
    // x, w, y, bias and four; then twice x, y and six or what is left
    assert_eq!(bound, [8, 8, 4]);
    assert!(told(
        &p,
        "`add` starts a step of its own: with it `matmul` would bind more than the 8 storage buffers"
    ));
    let mut roomy = Profile::portable();
    roomy.limits.storage_buffers_per_stage = 16;
    assert_eq!(plan(&g, &roomy, &Policy::default()).unwrap().steps.len(), 1);
    let tight =
        Profile { limits: Limits { storage_buffers_per_stage: 3, ..Limits::WEBGPU }, ..Profile::portable() };
    let p = plan(&g, &tight, &Policy::default()).unwrap();
    assert!(p.steps.iter().all(|s| s.bindings.len() <= 3));
}

#[test]
fn the_scales_of_blocks_count_as_a_buffer() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 32]);
    let w = g.weight("w", DType::Q8_0, &[8, 32]).unwrap();
    let mut y = g.matmul(a, w).unwrap();
    for i in 0..5 {
        let r = x(&mut g, &format!("r{i}"), &[5, 8]);
        y = g.add(y, r).unwrap();
    }
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps.iter().map(|s| s.bindings.len()).collect::<Vec<_>>(), [8, 3]);
    assert!(p.steps[0].bindings.iter().any(|b| b.name == "w_scale"));
}

#[test]
fn a_residual_without_a_producer_joins_the_load_of_the_norm() {
    let mut g = Graph::new();
    let (a, b) = (x(&mut g, "a", &[5, 8]), x(&mut g, "b", &[5, 8]));
    let s = g.add(a, b).unwrap();
    let s = g.scale(s, Attr::F32(0.5)).unwrap();
    let y = norm(&mut g, s, "n", 8);
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps.len(), 1);
    assert_eq!(ops(&g, &p, 0), ["add", "scale", "layer_norm"]);
    assert!(told(&p, "`add`, `scale` joined the load of `layer_norm`"));
}

#[test]
fn costly_or_shared_work_does_not_join_a_load() {
    let costly = |f: fn(&mut Graph, ValueId) -> ValueId| {
        let mut g = Graph::new();
        let a = x(&mut g, "a", &[5, 8]);
        let s = f(&mut g, a);
        let y = norm(&mut g, s, "n", 8);
        g.output("y", y).unwrap();
        kernels(&portable(&g)).len()
    };
    assert_eq!(costly(|g, a| g.gelu(a).unwrap()), 2);
    assert_eq!(costly(|g, a| g.scale(a, Attr::F32(2.0)).unwrap()), 1);
    let shared = |g: &mut Graph, a| {
        let s = g.scale(a, Attr::F32(2.0)).unwrap();
        g.output("s", s).unwrap();
        s
    };
    assert_eq!(costly(shared), 2);
}

#[test]
fn siblings_become_one_matmul_and_their_results_slices() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    for name in ["q", "k", "v"] {
        let part = linear(&mut g, a, name, 12);
        let y = g.l2_normalize(part, 1e-6).unwrap();
        g.output(name, y).unwrap();
    }
    let p = portable(&g);
    assert_eq!(ops(&g, &p, 0), ["matmul", "add", "matmul", "add", "matmul", "add"]);
    assert_eq!(kernels(&p)[1..], ["l2_normalize.row"; 3], "{}", p.explain(&g));
    assert_eq!(p.steps[0].writes.iter().map(|(_, _, l)| l.offset).collect::<Vec<_>>(), [0, 12, 24]);
    assert_eq!(p.weights.len(), 2);
    assert_eq!(p.weights[0].sources.len(), 3);
    assert_eq!(p.weights[1].bytes, 36 * 4);
}

#[test]
fn who_differs_or_cannot_be_sliced_or_is_returned_is_no_sibling() {
    let count = |widths: &[usize], act: bool, output: bool| {
        let mut g = Graph::new();
        let a = x(&mut g, "a", &[5, 8]);
        for (i, n) in widths.iter().enumerate() {
            let mut y = linear(&mut g, a, &format!("l{i}"), *n);
            if act && i == 0 {
                y = g.relu(y).unwrap();
            }
            if !output || i > 0 {
                let z = norm(&mut g, y, &format!("n{i}"), *n);
                y = g.l2_normalize(z, 1e-6).unwrap();
            }
            g.output(&format!("y{i}"), y).unwrap();
        }
        let p = portable(&g);
        let told = told(&p, "N = 6 is no multiple of 4");
        (kernels(&p).iter().filter(|k| k.starts_with("matmul")).count(), told)
    };
    assert_eq!(count(&[8, 12], false, false), (1, false));
    assert_eq!(count(&[8, 6, 12], false, false), (2, true));
    assert_eq!(count(&[8, 12], true, false), (2, false));
    assert_eq!(count(&[8, 12], false, true), (2, false));
}

#[test]
fn siblings_too_large_to_bind_together_stay_apart() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[64, 8]);
    for name in ["q", "k"] {
        let y = linear(&mut g, a, name, 32);
        let y = norm(&mut g, y, &format!("n{name}"), 32);
        g.output(name, y).unwrap();
    }
    let mut small = Profile::portable();
    small.limits.storage_binding_bytes = 64 * 32 * 4;
    let p = plan(&g, &small, &Policy::default()).unwrap();
    assert_eq!(kernels(&p).iter().filter(|k| k.starts_with("matmul")).count(), 2);
}

#[test]
fn without_fusion_every_node_is_a_step() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let parts = ["q", "k"].map(|name| linear(&mut g, a, name, 8));
    let y = g.add(parts[0], parts[1]).unwrap();
    let y = norm(&mut g, y, "n", 8);
    g.output("y", y).unwrap();
    let p = plan(&g, &Profile::portable(), &Policy { fuse: false, ..Policy::default() }).unwrap();
    assert_eq!(p.steps.len(), g.nodes().len());
    assert!(p.steps.iter().all(|s| s.nodes.len() == 1 && s.fused.is_empty()));
}

#[test]
fn nodes_that_no_output_needs_are_left_out() {
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let _dead = linear(&mut g, a, "dead", 8);
    let y = g.relu(a).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps.len(), 1);
    assert!(p.weights.is_empty());
    let empty = plan(&Graph::new(), &Profile::portable(), &Policy::default()).unwrap_err();
    assert!(empty.to_string().contains("no outputs"));
}

#[test]
fn attributes_are_known_by_name_in_whatever_order_they_are_given() {
    use tachylite::op::Attr;
    use tachylite::ops::elementwise::CLAMP;
    let limits = |attrs: &[(&'static str, Attr)]| {
        let mut g = Graph::new();
        let a = x(&mut g, "a", &[5, 8]);
        let y = g.apply(&CLAMP, &[Some(a)], attrs).unwrap()[0];
        g.output("y", y).unwrap();
        let p = portable(&g);
        let place = p.kernels[0].params.iter().position(|d| d.name == "post_number0_0").unwrap();
        p.steps[0].params[place..place + 2].to_vec()
    };
    let (min, max) = (("min", Attr::F32(-1.0)), ("max", Attr::F32(2.0)));
    assert_eq!(limits(&[max, min]), [Param::F32(-1.0), Param::F32(2.0)]);
    assert_eq!(limits(&[max, min]), limits(&[min, max]));
    let mut g = Graph::new();
    let a = x(&mut g, "a", &[5, 8]);
    let wrong = g.apply(&CLAMP, &[Some(a)], &[min, ("max", Attr::F32(f32::INFINITY))]).unwrap_err();
    assert_eq!(wrong.to_string(), "clamp: attribute `max` is inf, but it must be finite");
}
