//! Plans, without a GPU: what joins what, where things lie, which kernel is chosen, what is refused.

use tachylite::op::Attr;
use tachylite::ops::attention::Attention;
use tachylite::plan::{Plan, Policy, plan};
use tachylite::{DType, Dim, Graph, Profile, ValueId};

mod choice;
mod cut;
mod few_rows;
mod fusion;
mod memory;
mod random;
mod rwkv7;
mod simulate;
mod states;
mod views;

/// A plan for the portable profile under the default policy.
fn portable(graph: &Graph) -> Plan {
    plan(graph, &Profile::portable(), &Policy::default()).unwrap()
}

/// The kernels of a plan, in order.
fn kernels(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|s| &*s.kernel_name).collect()
}

/// The names of the ops that a step covers.
fn ops(graph: &Graph, plan: &Plan, step: usize) -> Vec<&'static str> {
    plan.steps[step].nodes.iter().map(|n| graph.nodes()[*n].op.name).collect()
}

/// `[n, m, …]` as dims.
fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|n| Dim::from(*n)).collect()
}

/// y = x·wᵀ + b with weights named after `name`.
fn linear(g: &mut Graph, x: ValueId, name: &str, n: usize) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let w = g.weight(&format!("{name}.w"), DType::F32, &[n, k]).unwrap();
    let b = g.weight(&format!("{name}.b"), DType::F32, &[n]).unwrap();
    let y = g.matmul(x, w).unwrap();
    g.add(y, b).unwrap()
}

fn norm(g: &mut Graph, x: ValueId, name: &str, c: usize) -> ValueId {
    let w = g.weight(&format!("{name}.w"), DType::F32, &[c]).unwrap();
    let b = g.weight(&format!("{name}.b"), DType::F32, &[c]).unwrap();
    g.layer_norm(x, w, b, 1e-5).unwrap()
}

/// One layer of a sentence encoder (post-norm, as BERT), of width `c` with `h` heads.
fn encoder(c: usize, h: usize, max: (u64, u64)) -> Graph {
    let mut g = Graph::new();
    let (b, s) = (g.dim("B", max.0).unwrap(), g.dim("S", max.1).unwrap());
    let ids = g.input("ids", DType::U32, &[b.clone(), s.clone()]).unwrap();
    let places = g.input("places", DType::U32, &[b.clone(), s.clone()]).unwrap();
    let lengths = g.input("lengths", DType::U32, std::slice::from_ref(&b)).unwrap();
    let words = g.weight("words", DType::F32, &[100, c]).unwrap();
    let positions = g.weight("positions", DType::F32, &[max.1 as usize, c]).unwrap();
    let x = g.embed(&[(ids, words), (places, positions)]).unwrap();
    let x = norm(&mut g, x, "embed.norm", c);
    let heads = [b.clone(), s.clone(), h.into(), (c / h).into()];
    let qkv = ["q", "k", "v"].map(|name| {
        let y = linear(&mut g, x, name, c);
        g.reshape(y, &heads).unwrap()
    });
    let a = g
        .attention(qkv[0], qkv[1], qkv[2], Attention { lengths: Some(lengths), ..Default::default() })
        .unwrap();
    let a = g.reshape(a, &[b.clone(), s.clone(), c.into()]).unwrap();
    let a = linear(&mut g, a, "o", c);
    let a = g.add(a, x).unwrap();
    let x = norm(&mut g, a, "attention.norm", c);
    let up = linear(&mut g, x, "up", 4 * c);
    let up = g.gelu(up).unwrap();
    let down = linear(&mut g, up, "down", c);
    let y = g.add(down, x).unwrap();
    let y = norm(&mut g, y, "norm", c);
    let y = g.mean_pool(y, lengths).unwrap();
    let y = g.l2_normalize(y, 1e-12).unwrap();
    g.output("embedding", y).unwrap();
    g
}

#[test]
fn an_encoder_layer_is_eight_dispatches_and_reads_heads_in_place() {
    let g = encoder(32, 4, (8, 64));
    let p = portable(&g);
    let expected = [
        "embed.rows",
        "layer_norm.row",
        "matmul",
        "attention.online",
        "matmul",
        "layer_norm.row",
        "matmul",
        "matmul",
        "layer_norm.row",
        "mean_pool",
        "l2_normalize.row",
    ];
    for (got, expected) in kernels(&p).iter().zip(expected) {
        assert!(got.starts_with(expected), "{:?}\n{}", kernels(&p), p.explain(&g));
    }
    assert_eq!(p.steps.len(), expected.len());
    assert_eq!(ops(&g, &p, 2), ["matmul", "add", "matmul", "add", "matmul", "add"]);
    assert_eq!(ops(&g, &p, 6), ["matmul", "add", "gelu"]);
    assert_eq!(ops(&g, &p, 7), ["matmul", "add", "add"]);
    assert_eq!(p.segments.len(), 1);
    assert_eq!(p.inputs[0].below, Some(100));
    assert_eq!(p.inputs[1].below, Some(64));
    assert_eq!(p.inputs[2].below, None);
}

#[test]
fn planning_twice_gives_the_same_plan_and_the_same_report() {
    let g = encoder(32, 4, (8, 64));
    let (a, b) = (portable(&g), portable(&g));
    assert_eq!(a, b);
    assert_eq!(a.explain(&g), b.explain(&g));
}

#[test]
fn the_report_names_kernels_reasons_and_totals() {
    let mut g = Graph::new();
    let b = g.dim("B", 8).unwrap();
    let x = g.input("x", DType::F32, &[b, 12.into()]).unwrap();
    let y = linear(&mut g, x, "up", 20);
    let y = g.scale(y, Attr::F32(0.5)).unwrap();
    g.output("y", y).unwrap();
    let text = portable(&g).explain(&g);
    for part in [
        "scalars   B ≤ 8",
        "M = B, N = 20, K = 12",
        "`add` joined the store of `matmul`: nothing else reads `matmul0.y`",
        "chosen   matmul.",
        "over     matmul.",
        "weight 0: up.w f32 [20, 12] as Panels",
        "1 dispatches of 1 kernels in 1 submits",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}
