//! What RWKV-7's time-mix does between its projections: gates, the recurrence, and what is read from it, in one
//! dispatch (Peng et al. 2025; BlinkDL/RWKV-LM, `RWKV-v7/rwkv_v7_demo_rnn.py`). [`wkv7`](crate::ops::wkv7) is the
//! recurrence alone.
//!
//! Bound by memory where there is one position, the state being read and written; else by the walk over positions.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{B, C, D, H, N, T, U, V};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, Shape, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;
use crate::profile::DeviceKind;

mod reference;

/// y = (norm(S r) + (r·k·r_k) v) · g, S being the state of RWKV-7 after each position.
pub static RWKV7: Op = Op {
    name: "rwkv7",
    formula: "r, k, v = rkv[b, t]; v += (first - v) sigmoid(v0 + gates[v]) with a first; d = exp(-e^(-1/2) \
              sigmoid(w0 + gates[w])); a = sigmoid(a0 + gates[a]); u = k k_k / max(‖k k_k‖, norm_eps); k *= 1 + \
              (a - 1) k_a; S = S diag(d) + v kᵀ - (S u) (u a)ᵀ from state[b, h] to state[b, h]; o = S r; \
              y[b, t, h] = ((o - mean o) / sqrt(var o + eps) gain + shift + (Σ r k r_k) v) gates[g] \
              (BlinkDL/RWKV-LM, RWKV-v7/rwkv_v7_demo_rnn.py)",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("rkv", &[B, T, U, H, D], FLOATS),
        Arg::new("gates", &[N, B, T, H, D], FLOATS),
        Arg::new("vectors", &[V, H, D], FLOATS),
        Arg::optional("first", &[B, T, H, D], FLOATS),
        Arg::new("state", &[B, H, C, D], FLOATS),
    ],
    outputs: &[Arg::new("y", &[B, T, H, C], FLOATS), Arg::new("state", &[B, H, C, D], FLOATS)],
    attrs: &[("eps", AttrKind::F32), ("norm_eps", AttrKind::F32)],
    infer,
    reference: reference::reference,
    flops: |s| s.product(&[B, T, H, D]) * (9.0 * s.product(&[D]) + 30.0),
    kernels: &[&HEADS],
    cases: Cases {
        axes: &[(B, 2), (T, 3), (D, 12)],
        weights: &[DType::F32],
        variants: &["first", "plain", "other_type"],
        applies: |_| true,
        // A workgroup for each of two heads.
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1) / 2), (T, 1), (D, 1)])),
        build,
        fill,
    },
};

/// The widest head.
const WIDEST: u64 = 128;

static HEADS: Kernel = Kernel {
    name: "rwkv7.heads",
    file: "rwkv7.wgsl",
    source: include_str!("../../shaders/rwkv7.wgsl"),
    blocks: &[(D, 64)],
    knobs: |s| {
        let [lanes, teams, held] = teams(s);
        [("LANES", lanes), ("TEAMS", teams), ("HELD", held), ("ROWS", 4 * held), ("SIZE", lanes * teams)]
            .map(|(name, n)| (name, format!("{n}u")))
            .into_iter()
            .chain([("FIRST", s.arg("first").is_some().to_string())])
            .collect()
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(H))),
    cost: |s| {
        let [lanes, teams, _] = teams(s);
        let inputs = s.bytes("rkv") + s.bytes("gates") + s.bytes("first");
        Work {
            flops: s.sizes.product(&[B, T, H, D]) * (9.0 * s.sizes.product(&[D]) + 60.0),
            bytes: inputs
                + s.bytes("vectors") * s.sizes.product(&[B, T])
                + s.bytes("y")
                + 2.0 * s.bytes("state"),
            invocations: s.sizes.product(&[B, H]) * (lanes * teams) as f64,
        }
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// Invocations that share four rows, how many fours of rows there are, and groups of four columns of an
/// invocation. On a GPU as many invocations as there may be; a processor walks over them in turn, so that a few
/// are better.
fn teams(s: &Site<'_>) -> [u64; 3] {
    let groups = (s.size(D) as u64).div_ceil(4).max(1);
    let teams = groups.next_power_of_two();
    let lanes = match s.profile.kind {
        DeviceKind::Cpu => groups.div_ceil(4).next_power_of_two(),
        _ => (256 / teams).clamp(1, teams),
    };
    [lanes, teams, groups.div_ceil(lanes)]
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rkv, gates, vectors) = (i.rank(0, 5)?.to_vec(), i.rank(1, 5)?.to_vec(), i.rank(2, 3)?.to_vec());
    let state = i.rank(4, 4)?.to_vec();
    let first = i.inputs.get(3).is_some_and(Option::is_some);
    for (axis, at, to) in [(B, 0, 1), (T, 1, 2), (H, 3, 3), (D, 4, 4)] {
        i.same(axis, (0, &rkv[at]), (1, &gates[to]))?;
    }
    i.same(H, (0, &rkv[3]), (2, &vectors[1]))?;
    i.same(D, (0, &rkv[4]), (2, &vectors[2]))?;
    if first {
        let own = i.rank(3, 4)?;
        for ((axis, at), own) in [(B, 0), (T, 1), (H, 3), (D, 4)].into_iter().zip(own) {
            i.same(axis, (0, &rkv[at]), (3, own))?;
        }
    }
    for ((axis, at), own) in [(B, 0), (H, 3), (C, 4), (D, 4)].into_iter().zip(&state) {
        i.same(axis, (0, &rkv[at]), (4, own))?;
    }
    let with = if first { "with" } else { "without" };
    for (name, axis, size, wanted) in [
        ("rkv", "U", &rkv[2], 3),
        ("gates", "N", &gates[0], if first { 4 } else { 3 }),
        ("vectors", "V", &vectors[0], 8),
    ] {
        if size.constant() != Some(wanted) {
            let size = size.show(i.scalars);
            let text = format!("`{name}` has {axis} = {size}, but {with} `first` it must be {wanted}");
            return Err(Error::Shape(format!("rwkv7: {text}")));
        }
    }
    match (rkv[3].constant(), rkv[4].constant()) {
        (Some(_), Some(0..=WIDEST)) => {}
        (Some(_), Some(d)) => {
            let text = format!("rwkv7: `rkv` has D = {d}, but heads are at most {WIDEST} wide");
            return Err(Error::Shape(text));
        }
        _ => return Err(Error::Shape("rwkv7: H and D must be fixed, not dims of the call".into())),
    }
    for (name, least) in [("eps", 1e-30), ("norm_eps", 1e-18)] {
        if let Some((_, Attr::F32(eps))) = i.attrs.iter().find(|(n, _)| *n == name)
            && !(least..1.0 / least).contains(eps)
        {
            return Err(Error::Argument(format!(
                "rwkv7: `{name}` is {eps}, but it must be at least {least:e}"
            )));
        }
    }
    let y = vec![rkv[0].clone(), rkv[1].clone(), rkv[3].clone(), rkv[4].clone()];
    let sizes = [(B, &rkv[0]), (T, &rkv[1]), (H, &rkv[3]), (C, &rkv[4]), (D, &rkv[4])];
    let own = [(U, &rkv[2]), (N, &gates[0]), (V, &vectors[0])];
    let axes =
        Axes::new(&[&sizes[..], &own].concat().iter().map(|(a, d)| (*a, (*d).clone())).collect::<Vec<_>>());
    let outputs = vec![(y, i.operand(0)?.dtype), (state, i.operand(4)?.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, t, d] = [B, T, D].map(|a| Dim::from(shape.sizes.get(a)));
    let other = if shape.x == DType::F32 { DType::F16 } else { DType::F32 };
    let has_first = shape.variant != 1;
    let heads = [b.clone(), t.clone(), 2.into(), d.clone()];
    let rkv = g.input("rkv", shape.x, &[b.clone(), t, 3.into(), 2.into(), d.clone()])?;
    let gates = Dim::from(if has_first { 4 } else { 3 });
    let gates = g.input("gates", shape.x, &[std::slice::from_ref(&gates), &heads[..]].concat())?;
    let vectors = g.weight("vectors", shape.w, &[8, 2, shape.sizes.get(D)])?;
    let first = if has_first { Some(g.input("first", shape.x, &heads)?) } else { None };
    let state =
        g.state("state", if shape.variant == 2 { other } else { shape.x }, &[b, 2.into(), d.clone(), d])?;
    let (y, _) = g.rwkv7(Rwkv7 { rkv, gates, vectors, first, eps: 1e-3, norm_eps: 1e-12 }, state)?;
    g.output("y", y)
}

/// Decays of all speeds.
fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [b, t, d] = [B, T, D].map(|a| shape.sizes.get(a));
    let gates = if shape.variant == 1 { 3 } else { 4 };
    (name == "gates")
        .then(|| (0..gates * b * t * 2 * d).map(|_| rng.below(1024) as f64 / 64.0 - 8.0).collect())
}

/// What [`Graph::rwkv7`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Rwkv7 {
    /// The projections of receptance, key and value, `[B, T, 3, H, D]`.
    pub rkv: ValueId,
    /// What the low ranks lead to, of the decay, the rate of learning and the output's gate, in this order:
    /// `[3, B, T, H, D]`; with `first` that of the value comes before them: `[4, B, T, H, D]`.
    pub gates: ValueId,
    /// What there is of each channel, in this order: the biases of the decay, the rate and the value's gate (not
    /// read without `first`), `k_k`, `k_a`, `r_k`, and gain and shift of the norm: `[8, H, D]`.
    pub vectors: ValueId,
    /// The values of the model's first layer, `[B, T, H, D]`; that layer has none.
    pub first: Option<ValueId>,
    /// What is added to the variance of a head: 64e-5 in the published models.
    pub eps: f32,
    /// The least length by which keys are divided: 1e-12 there.
    pub norm_eps: f32,
}

impl Graph {
    /// RWKV-7's time-mix between its projections: the gates, the recurrence over a state `[B, H, D, D]` that
    /// changes where it lies, its rows those of values and its columns those of keys, the norm of each head, the
    /// bonus and the output's gate. D at most 128. Returns y `[B, T, H, D]`, which the output's projection reads,
    /// and the state from then on.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ or D is more; [`Error::Argument`] if `state` is no
    /// [`state`](Self::state).
    pub fn rwkv7(&mut self, of: Rwkv7, state: ValueId) -> Result<(ValueId, ValueId)> {
        let attrs = [("eps", Attr::F32(of.eps)), ("norm_eps", Attr::F32(of.norm_eps))];
        let inputs = [Some(of.rkv), Some(of.gates), Some(of.vectors), of.first, Some(state)];
        let made = self.apply(&RWKV7, &inputs, &attrs)?;
        Ok((made[0], made[1]))
    }
}
