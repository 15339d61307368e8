use super::*;
use crate::cpu;
use crate::dim::Call;
use crate::plan::prepare::Weights;
use crate::plan::{Policy, plan};
use crate::{Profile, Tensor};

/// A graph with `x [4, 8]`, `w [3, 6, 8]` and `ids [4, 2]`.
fn graph() -> (Graph, [ValueId; 3]) {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[4.into(), 8.into()]).unwrap();
    let w = g.weight("w", DType::F32, &[3, 6, 8]).unwrap();
    let ids = g.input("ids", DType::U32, &[4.into(), 2.into()]).unwrap();
    (g, [x, w, ids])
}

#[test]
fn what_does_not_go_together_is_named_with_both_sides() {
    let (g, [x, w, ids]) = graph();
    let say =
        |change: &dyn Fn(&mut Graph) -> Result<ValueId>| change(&mut g.clone()).unwrap_err().to_string();
    let other = |g: &mut Graph, shape: &[usize]| g.weight("other", DType::F32, shape);
    assert_eq!(
        say(&|g| other(g, &[3, 6, 4]).and_then(|w| g.matmul_experts(x, w, ids))),
        "matmul_experts: `w` has K = 4, but `x` has 8"
    );
    assert_eq!(
        say(&|g| other(g, &[6, 8]).and_then(|w| g.matmul_experts(x, w, ids))),
        "matmul_experts: `w` needs 3 axes [E, C, K], but it has 2"
    );
    assert_eq!(
        say(&|g| {
            let ids = g.input("i", DType::U32, &[5.into(), 2.into()])?;
            g.matmul_experts(x, w, ids)
        }),
        "matmul_experts: `x` is [4, 8], but with `ids` [5, 2] it must have the same axes before the last, or all \
         of them, and K"
    );
    assert_eq!(
        say(&|g| other(g, &[3, 5, 8]).and_then(|up| g.gated_experts(x, (w, up), ids, Unary::Silu))),
        "matmul_experts: `up` is [3, 5, 8], but `w` is [3, 6, 8]"
    );
    assert_eq!(
        say(&|g| {
            let up = g.weight("up", DType::F16, &[3, 6, 8])?;
            g.gated_experts(x, (w, up), ids, Unary::Silu)
        }),
        "matmul_experts: `up` is f16, but `w` is f32"
    );
    assert_eq!(
        say(&|g| g.gated_experts(x, (w, w), ids, Unary::Sqrt)),
        "matmul_experts: Sqrt gates nothing, only silu, gelu, gelu_tanh or relu"
    );
    assert_eq!(
        say(&|g| {
            let e = g.dim("E", 9)?;
            let w = g.input("v", DType::F32, &[e, 6.into(), 8.into()])?;
            g.matmul_experts(x, w, ids)
        }),
        "matmul_experts: E must be fixed, not a dim of the call"
    );
    assert_eq!(
        say(&|g| {
            let down = g.weight("down", DType::F32, &[3, 8, 6])?;
            let weights = g.input("p", DType::F32, &[4.into()])?;
            g.experts(x, ids, weights, Experts { gate: w, up: w, down, act: Unary::Relu })
        }),
        "experts: `weights` is [4], but `ids` is [4, 2]"
    );
    assert_eq!(
        say(&|g| {
            let down = g.weight("down", DType::F32, &[2, 8, 6])?;
            let weights = g.input("p", DType::F32, &[4.into(), 2.into()])?;
            g.experts(x, ids, weights, Experts { gate: w, up: w, down, act: Unary::Relu })
        }),
        "experts: `down` is [2, 8, 6], but `gate` is [3, 6, 8]: E must be the same"
    );
}

#[test]
fn a_gate_that_each_call_gives_has_no_plan() {
    let (mut g, [x, w, ids]) = graph();
    let up = g.input("up", DType::F32, &[3.into(), 6.into(), 8.into()]).unwrap();
    let y = g.gated_experts(x, (w, up), ids, Unary::Silu).unwrap();
    g.output("y", y).unwrap();
    let error = plan(&g, &Profile::portable(), &Policy::default()).unwrap_err().to_string();
    let both = "`w` and `up` lie side by side on the device, so both must be weights of the graph";
    assert_eq!(error, format!("matmul_experts: {both}"));
}

#[test]
fn the_reference_is_the_formula_by_hand() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[2.into(), 2.into()]).unwrap();
    let ids = g.input("ids", DType::U32, &[2.into(), 2.into()]).unwrap();
    let weights = g.input("weights", DType::F32, &[2.into(), 2.into()]).unwrap();
    let [gate, up] = ["gate", "up"].map(|name| g.weight(name, DType::F32, &[2, 1, 2]).unwrap());
    let down = g.weight("down", DType::F32, &[2, 1, 1]).unwrap();
    let y = g.experts(x, ids, weights, Experts { gate, up, down, act: Unary::Relu }).unwrap();
    g.output("y", y).unwrap();
    let f32s = |shape: &[usize], v: &[f32]| Tensor::from_f32(shape, v).unwrap();
    let tensors: Weights = [
        ("x", f32s(&[2, 2], &[1.0, 2.0, -1.0, 3.0])),
        // The second token's second expert does not exist.
        ("ids", Tensor::from_u32(&[2, 2], &[1, 0, 1, 2]).unwrap()),
        ("weights", f32s(&[2, 2], &[0.5, 2.0, 4.0, 100.0])),
        ("gate", f32s(&[2, 1, 2], &[1.0, 1.0, 1.0, 0.5])),
        ("up", f32s(&[2, 1, 2], &[2.0, 0.0, 0.0, 1.0])),
        ("down", f32s(&[2, 1, 1], &[10.0, -1.0])),
    ]
    .map(|(name, t)| (name.to_owned(), t))
    .into();
    let y = cpu::evaluate(&g, &tensors, &Call::default()).unwrap();
    // Token 0: expert 1: relu(2) · 2 · -1 · 0.5 = -2; expert 0: relu(3) · 2 · 10 · 2 = 120. Token 1: expert 1:
    // relu(0.5) · 3 · -1 · 4 = -6.
    assert_eq!(y[0].to_f32(), [118.0, -6.0]);
}

#[test]
fn a_mixture_is_four_kernels_and_what_sorts_for_two_of_them() {
    let steps = |tokens: u64| {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &[tokens.into(), 256.into()]).unwrap();
        let ids = g.input("ids", DType::U32, &[tokens.into(), 8.into()]).unwrap();
        let weights = g.input("weights", DType::F32, &[tokens.into(), 8.into()]).unwrap();
        let [gate, up] = ["gate", "up"].map(|name| g.weight(name, DType::Q4K, &[64, 512, 256]).unwrap());
        let down = g.weight("down", DType::Q6K, &[64, 256, 512]).unwrap();
        let y = g.experts(x, ids, weights, Experts { gate, up, down, act: Unary::Silu }).unwrap();
        g.output("y", y).unwrap();
        let plan = plan(&g, &Profile::portable(), &Policy::default()).unwrap();
        plan.steps.iter().map(|s| s.kernel_name.to_string()).collect::<Vec<_>>()
    };
    let vector = "matmul_experts.vector";
    assert_eq!(steps(1), [vector, vector, "reduce_columns.walk"]);
    let [order, tile] = ["matmul_experts.order", "matmul_experts.tile"];
    assert_eq!(steps(512), [order, tile, order, tile, "reduce_columns.walk"]);
}
