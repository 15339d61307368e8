//! The rule by which cases are made, stated a second time and held against the list.

use std::collections::{BTreeMap, HashSet};

use super::rule::on_the_ablest;
use super::*;
use crate::op::{Shape, Sizes};
use crate::ops;
use crate::plan::Numerics;

/// What an op × kernel × types × inputs lacks of the sizes that the rule asks for.
fn uncovered(cases: &[Case]) -> Vec<String> {
    let mut seen: BTreeMap<String, Vec<Sizes>> = BTreeMap::new();
    for case in cases {
        if let Subject::Kernel { op, kernel, shape } = case.subject
            && shape.variant == 0
            && !case.aliased
        {
            let kinds = if case.inputs == Inputs::InTurn { &Inputs::ALL[..] } else { &[case.inputs] };
            for inputs in kinds {
                seen.entry(key(op, kernel, shape.x, shape.w, *inputs)).or_default().push(shape.sizes);
            }
        }
    }
    let mut lacking = Vec::new();
    for op in ops::ALL {
        for (kernel, x) in op.kernels.iter().flat_map(|k| [(*k, DType::F32), (*k, DType::F16)]) {
            let weights = op.cases.weights.iter().filter(|w| rule::suits(op, kernel, x, **w, 0));
            for (w, inputs) in weights.flat_map(|w| Inputs::ALL.map(|i| (*w, i))) {
                let key = key(op, kernel, x, w, inputs);
                let sizes = seen.get(&key).map_or(&[][..], Vec::as_slice);
                if x == DType::F16 && w.is_blocks() && w != DType::Q8_0 {
                    if sizes.len() < 2 {
                        lacking.push(format!("{key}: the op's sizes, and past a block"));
                    }
                    continue;
                }
                lacking
                    .extend(lacking_sizes(op, kernel, w, sizes).into_iter().map(|s| format!("{key}: {s}")));
            }
        }
    }
    lacking
}

fn key(op: &Op, kernel: &Kernel, x: DType, w: DType, inputs: Inputs) -> String {
    format!("{} {} {x} {w} {}", op.name, kernel.name, inputs.name())
}

fn lacking_sizes(op: &Op, kernel: &Kernel, w: DType, sizes: &[Sizes]) -> Vec<String> {
    let mut lacking = Vec::new();
    let is_prime = |n: usize| n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    for (axis, _) in op.cases.axes {
        let blocks: Vec<_> =
            kernel.blocks.iter().filter(|(a, _)| a == axis).map(|(_, n)| *n as usize).collect();
        let mut wanted = vec![0, 1];
        wanted.extend(blocks.iter().flat_map(|b| [b - 1, *b, b + 1]));
        let largest = blocks.iter().max().copied().unwrap_or(4);
        // An axis whose weights lie in blocks has no other sizes than whole blocks.
        let whole = op.inputs.iter().any(|a| a.dtypes.contains(&w) && a.axes.last() == Some(axis));
        let unit = if whole { w.block() } else { 1 };
        for n in wanted {
            if !sizes.iter().any(|s| s.get(*axis) == n.next_multiple_of(unit)) {
                lacking.push(format!("{} = {n}", axis.name()));
            }
        }
        if unit > 1 && !sizes.iter().any(|s| s.get(*axis) > unit) {
            lacking.push(format!("{}: more than one block of {w}", axis.name()));
        }
        if unit == 1 && !sizes.iter().any(|s| s.get(*axis) > largest && is_prime(s.get(*axis))) {
            lacking.push(format!("{} a prime", axis.name()));
        }
    }
    match (op.cases.many_workgroups)(kernel) {
        Some(many) if !sizes.contains(&many) && w.block() == 1 => lacking.push("many workgroups".into()),
        None if !gives_sizes(kernel) => {
            lacking.push("many workgroups: no op of the kernel gives sizes".into())
        }
        _ => {}
    }
    lacking
}

#[test]
fn every_kernel_meets_views_with_every_type_and_kind_of_input() {
    let all = cases();
    let with_views = all.iter().filter(|c| c.aliased);
    let seen: HashSet<String> = with_views.filter_map(variant_key).collect();
    for op in ops::ALL {
        for (kernel, x) in op.kernels.iter().flat_map(|k| [(*k, DType::F32), (*k, DType::F16)]) {
            let weights = op.cases.weights.iter().filter(|w| rule::suits(op, kernel, x, **w, 0));
            let weights = weights.filter(|w| alias::has_views(op, **w));
            for (w, inputs) in weights.flat_map(|w| Inputs::ALL.map(|i| (*w, i))) {
                let key = format!("{} 0", key(op, kernel, x, w, inputs));
                assert!(seen.contains(&key), "{key}");
            }
        }
    }
    // And they are views: of every such case's inputs that kernels read by groups, none is whole.
    for case in all.iter().filter(|c| c.aliased && c.quick) {
        let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
        assert!(graph.nodes().iter().any(|n| n.op.name == "slice"), "{case}");
    }
}

/// Whether an op says at which sizes a kernel needs many workgroups.
fn gives_sizes(kernel: &Kernel) -> bool {
    let with = ops::ALL.iter().filter(|op| op.kernels.iter().any(|k| k.name == kernel.name));
    with.into_iter().any(|op| (op.cases.many_workgroups)(kernel).is_some())
}

#[test]
fn every_kernel_suits_something() {
    let all = cases();
    let has = |name: &str| all.iter().any(|c| c.kernel() == name && c.quick);
    let kernels = ops::ALL.iter().flat_map(|op| op.kernels);
    assert_eq!(kernels.filter(|k| !has(k.name)).map(|k| k.name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn every_kernel_meets_the_rule() {
    assert_eq!(uncovered(&cases()), Vec::<String>::new());
}

#[test]
fn the_rule_notices_what_is_missing() {
    let all = cases();
    for (name, lacking) in [
        ("matmul.tile/f16.i8/plain/M=15,N=8,K=36/exact", "matmul matmul.tile f16 i8 exact: M = 15"),
        ("matmul.vector/f32.q8_0/plain/M=5,N=8,K=0/large", "matmul matmul.vector f32 q8_0 large: K = 0"),
        ("relu/elementwise.rows/f32/plain/R=3,C=63/random", "relu elementwise.rows f32 f32 random: C = 63"),
    ] {
        let fewer: Vec<_> = all.iter().filter(|c| c.to_string() != name).cloned().collect();
        assert_eq!(fewer.len() + 1, all.len(), "there is no case {name}");
        assert_eq!(uncovered(&fewer), [lacking]);
    }
    let no_many: Vec<_> = all.iter().filter(|c| c.inputs != Inputs::InTurn).cloned().collect();
    let lacking = "attention attention.online f32 f32 large: many workgroups".to_owned();
    assert!(uncovered(&no_many).contains(&lacking));
    assert!(!uncovered(&[]).is_empty());
}

#[test]
fn what_is_to_need_many_workgroups_does() {
    let many = cases().into_iter().filter(|c| c.inputs == Inputs::InTurn);
    for case in many {
        let (graph, call) = case.build().unwrap();
        let plan = on_the_ablest(|profile| crate::plan::plan(&graph, profile, &case.policy()));
        let plan = plan.unwrap_or_else(|e| panic!("{case}: {e}"));
        let most = plan.steps.iter().map(|s| s.workgroups.eval(&call)).max().unwrap();
        assert!(most > 65535, "{case}: {most} workgroups");
    }
}

#[test]
fn every_variant_meets_every_type_and_every_kind_of_input() {
    let seen: HashSet<String> = cases().iter().filter_map(variant_key).collect();
    for op in ops::ALL {
        for (kernel, x) in op.kernels.iter().flat_map(|k| [(*k, DType::F32), (*k, DType::F16)]) {
            for (w, inputs) in op.cases.weights.iter().flat_map(|w| Inputs::ALL.map(|i| (*w, i))) {
                for variant in 0..op.cases.variants.len() {
                    let applies = (op.cases.applies)(&Shape { sizes: Sizes::default(), x, w, variant });
                    if !applies || !rule::suits(op, kernel, x, w, variant) {
                        continue;
                    }
                    let key = format!("{} {variant}", key(op, kernel, x, w, inputs));
                    assert!(seen.contains(&key), "{key}");
                }
            }
        }
    }
}

fn variant_key(case: &Case) -> Option<String> {
    match case.subject {
        Subject::Kernel { op, kernel, shape } => {
            Some(format!("{} {}", key(op, kernel, shape.x, shape.w, case.inputs), shape.variant))
        }
        Subject::Graph { .. } | Subject::Drawn(_) => None,
    }
}

#[test]
fn names_are_unique_and_stable() {
    let all = cases();
    let names: HashSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), all.len());
    for name in [
        "matmul.tile/f32.q8_0/plain/M=17,N=8,K=64/random",
        "layer_norm.row/f16.f32/plain/R=3,C=8193/cancelling",
        "relu/elementwise.rows/f16/plain/R=3,C=64/large",
        "graph.encoder_layer/f32/B=3,S=7/random",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn every_case_builds_and_its_answer_is_finite() {
    let mut last = String::new();
    let mut built = None;
    for case in cases().iter().filter(|c| c.quick) {
        if case.plan_name() != last {
            last = case.plan_name();
            built = Some(case.build().unwrap_or_else(|e| panic!("{case}: {e}")));
        }
        let Some((graph, call)) = &built else { continue };
        let prepared = case.prepare(graph, call, case.seed()).unwrap_or_else(|e| panic!("{case}: {e}"));
        for (value, approx) in graph.values().iter().zip(&prepared.values) {
            let approx = approx.as_ref().unwrap();
            let fine = |(v, e): (&f64, &f64)| v.is_finite() && e.is_finite() || is_masked(*v, *e);
            let finite = approx.value.iter().zip(&approx.error).all(fine);
            assert!(finite, "{case}: `{}` is not finite", value.name);
        }
    }
}

/// -∞ hides an element from a softmax, and is what its logarithm is.
fn is_masked(v: f64, e: f64) -> bool {
    v == f64::NEG_INFINITY && e == 0.0
}

#[test]
fn sums_of_exact_inputs_allow_no_error() {
    let plain = |c: &Case| match c.subject {
        // What is rounded first is not exact.
        Subject::Kernel { op, kernel, shape } => {
            op.name == "matmul" && shape.variant == 0 && kernel.numerics == Numerics::F32
        }
        Subject::Graph { .. } | Subject::Drawn(_) => false,
    };
    let exact = cases().into_iter().filter(|c| c.quick && c.inputs == Inputs::Exact && plain(c));
    let mut judged = 0;
    for case in exact {
        let (graph, call) = case.build().unwrap();
        let prepared = case.prepare(&graph, &call, case.seed()).unwrap();
        let y = prepared.values.last().unwrap().as_ref().unwrap();
        assert!(y.error.iter().all(|e| *e == 0.0), "{case}");
        judged += y.error.len();
    }
    assert!(judged > 0);
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let case = cases().into_iter().find(|c| c.inputs == Inputs::Cancelling).unwrap();
    let (graph, call) = case.build().unwrap();
    let tensors = |seed| case.prepare(&graph, &call, seed).unwrap().tensors;
    assert_eq!(tensors(7), tensors(7));
    assert_ne!(tensors(7), tensors(8));
}

#[test]
fn cancelling_sums_are_small_next_to_their_terms() {
    let name = "matmul.tile/f32.f32/plain/M=5,N=8,K=36/cancelling";
    let case = cases().into_iter().find(|c| c.to_string() == name).unwrap();
    let (graph, call) = case.build().unwrap();
    let prepared = case.prepare(&graph, &call, case.seed()).unwrap();
    let y = prepared.values.last().unwrap().as_ref().unwrap();
    assert!(y.value[..8].iter().all(|v| v.abs() < 0.01), "{:?}", &y.value[..8]);
    assert!(y.value[8..16].iter().any(|v| v.abs() > 1.0), "{:?}", &y.value[8..16]);
}
