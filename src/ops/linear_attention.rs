//! Linear attention with a state: the plain sum of outer products, decayed, by the delta rule, or both
//! (Katharopoulos et al. 2020; Yang et al. 2024, Gated DeltaNet; ONNX LinearAttention).
//!
//! Bound by memory where there is one position, the state being read and written; else by the walk over positions.

use crate::dim::{Dim, Expr};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{B, C, D, G, H, T};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, Shape, Sizes};
use crate::ops::past_one_axis;
use crate::ops::teams::{BLOCK, LANES, Teams};
use crate::plan::Numerics;

mod reference;

/// y[b, t, h] = scale · Sᵀ q[b, t, h], S being a sum over positions of outer products of k and v.
pub static LINEAR_ATTENTION: Op = Op {
    name: "linear_attention",
    formula: "y[b, t, h, c] = scale · Σ_d q[b, t, h, d] S_t[d, c], g = h·G/H, where S_t[d, c] = \
              exp(decay[b, t, g, d]) S_{t-1}[d, c] + k[b, t, g, d] u[c] from S_{-1} = state[b, g] (zeros if \
              left out) to state_out[b, g], and u = v[b, t, g], or with the delta rule u = beta[b, t, g] \
              (v[b, t, g] - k·exp(decay) S_{t-1})",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, T, H, D], FLOATS),
        Arg::new("k", &[B, T, G, D], FLOATS),
        Arg::new("v", &[B, T, G, C], FLOATS),
        Arg::optional("decay", &[B, T, G, D], FLOATS),
        Arg::optional("beta", &[B, T, G], FLOATS),
        Arg::optional("state", &[B, G, D, C], FLOATS),
    ],
    outputs: &[Arg::new("y", &[B, T, H, C], FLOATS), Arg::new("state_out", &[B, G, D, C], FLOATS)],
    attrs: &[("delta", AttrKind::U32), ("scale", AttrKind::Float)],
    infer,
    reference: reference::reference,
    flops: |s| s.product(&[B, T, D, C]) * (2.0 * s.product(&[H]) + 2.0 * s.product(&[G])),
    kernels: &[&COLUMNS],
    cases: Cases {
        axes: &[(B, 2), (T, 5), (D, 8), (C, 12)],
        weights: &[crate::DType::F32],
        variants: &["gated_delta", "linear", "delta", "gated", "head_decay_grouped"],
        applies: |_| true,
        // A workgroup for each of two heads.
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1) / 2), (T, 1), (D, 1), (C, 1)])),
        build,
        fill,
    },
};

/// Groups of four rows of the state that an invocation holds at most.
const HELD: u64 = 4;

static COLUMNS: Kernel = Kernel {
    name: "linear_attention.columns",
    file: "linear_attention.wgsl",
    source: include_str!("../../shaders/linear_attention.wgsl"),
    blocks: &[(D, 4 * HELD * LANES.0), (C, 4 * BLOCK / LANES.0)],
    fits: |s| match s.size(D) as u64 {
        0..=1024 => Ok(()),
        d => Err(format!("`k` has D = {d}, but its registers hold at most 1024")),
    },
    knobs: |s| {
        let Teams { lanes, held, .. } = teams(s);
        let given = |name| s.arg(name).is_some();
        let each = s.arg("decay").is_some_and(|a| a.strides.len() == 4);
        vec![
            ("DELTA", (s.attr_u32("delta") == 1).to_string()),
            ("DECAY", given("decay").to_string()),
            ("EACH", each.to_string()),
            ("BETA", given("beta").to_string()),
            ("PAST", given("state").to_string()),
            ("LANES", format!("{lanes}u")),
            ("TEAMS", format!("{}u", BLOCK / lanes)),
            ("HELD", format!("{held}u")),
            ("ROWS", format!("{}u", 4 * held)),
        ]
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(G)).times(&Dim::from(teams(s).blocks))),
    cost: |s| {
        let Teams { lanes, blocks, .. } = teams(s);
        let per_position = s.bytes("q") + s.bytes("k") + s.bytes("decay") + s.bytes("beta");
        Work {
            flops: s.sizes.product(&[B, T, D, C]) * 2.0 * (s.sizes.product(&[H]) + s.sizes.product(&[G])),
            bytes: per_position * blocks as f64
                + s.bytes("v") * lanes as f64
                + s.bytes("y")
                + s.bytes("state")
                + s.bytes("state_out"),
            invocations: s.sizes.product(&[B, G]) * (blocks * BLOCK) as f64,
        }
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// Who has which rows of a head's columns.
fn teams(s: &Site<'_>) -> Teams {
    Teams::new(s.size(D), s.size(C), HELD)
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (q, k, v) = (i.rank(0, 4)?.to_vec(), i.rank(1, 4)?.to_vec(), i.rank(2, 4)?.to_vec());
    for (at, axis) in [(0, B), (1, T), (3, D)] {
        i.same(axis, (0, &q[at]), (1, &k[at]))?;
    }
    for (at, axis) in [B, T, G].into_iter().enumerate() {
        i.same(axis, (1, &k[at]), (2, &v[at]))?;
    }
    let given = |arg: usize| i.inputs.get(arg).and_then(Option::as_ref);
    let by_head = given(3).is_some_and(|decay| decay.shape.len() == 3);
    let all = [(B, 1, &q[0]), (T, 1, &q[1]), (G, 1, &k[2]), (D, 1, &k[3])];
    for (arg, axes) in [(3, if by_head { &all[..3] } else { &all }), (4, &all[..3])] {
        if given(arg).is_some() {
            let shape = i.rank(arg, axes.len())?;
            axes.iter().zip(shape).try_for_each(|((a, from, d), own)| i.same(*a, (*from, d), (arg, own)))?;
        }
    }
    let state = vec![q[0].clone(), k[2].clone(), k[3].clone(), v[3].clone()];
    let mut carried = i.operand(0)?.dtype;
    if let Some(past) = given(5) {
        carried = past.dtype;
        let from = [(B, 0), (G, 1), (D, 1), (C, 2)].into_iter().zip(&state).zip(i.rank(5, 4)?);
        for (((axis, from), d), own) in from {
            i.same(axis, (from, d), (5, own))?;
        }
    }
    let (Some(h), Some(g), Some(_), Some(_)) =
        (q[2].constant(), k[2].constant(), k[3].constant(), v[3].constant())
    else {
        return Err(Error::Shape(
            "linear_attention: H, G, D and C must be fixed, not dims of the call".into(),
        ));
    };
    if g == 0 || !h.is_multiple_of(g) {
        return Err(Error::Shape(format!(
            "linear_attention: `q` has H = {h}, which is no multiple of G = {g} of `k`"
        )));
    }
    match i.attr_u32("delta").unwrap_or(0) {
        0 if given(4).is_some() => {
            Err(Error::Argument("linear_attention: `beta` is for the delta rule only".into()))?;
        }
        0 | 1 => {}
        n => Err(Error::Argument(format!("linear_attention: `delta` is {n}, but it must be 0 or 1")))?,
    }
    let outputs = vec![([&q[..3], &v[3..]].concat(), i.operand(0)?.dtype), (state, carried)];
    let mut folds = i.folds(&outputs);
    if by_head {
        folds[3] = [B, T, G].map(|a| (a, 1)).into();
    }
    let sizes = [(B, &q[0]), (T, &q[1]), (H, &q[2]), (G, &k[2]), (D, &k[3]), (C, &v[3])];
    Ok(Inferred { axes: Axes::new(&sizes.map(|(a, d)| (a, d.clone()))), folds, outputs })
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, t, d, c] = [B, T, D, C].map(|a| Dim::from(shape.sizes.get(a)));
    let (h, kv) = if shape.variant == 4 { (4, 2) } else { (2, 2) };
    let mut input = |name: &str, dims: &[Dim]| g.input(name, shape.x, dims);
    let q = input("q", &[b.clone(), t.clone(), h.into(), d.clone()])?;
    let k = input("k", &[b.clone(), t.clone(), kv.into(), d.clone()])?;
    let v = input("v", &[b.clone(), t.clone(), kv.into(), c.clone()])?;
    let by_head = [b.clone(), t, kv.into()];
    let mut how = LinearAttention { scale: Some(0.5), ..LinearAttention::default() };
    how.decay = match shape.variant {
        0 | 3 => Some(input("decay", &[&by_head[..], std::slice::from_ref(&d)].concat())?),
        4 => Some(input("decay", &by_head)?),
        _ => None,
    };
    how.delta = matches!(shape.variant, 0 | 2 | 4);
    if matches!(shape.variant, 0 | 2) {
        how.beta = Some(input("beta", &by_head)?);
    }
    if shape.variant != 1 {
        how.state = Some(input("state", &[b, kv.into(), d, c])?);
    }
    let (y, state) = g.linear_attention(q, k, v, how)?;
    g.output("y", y)?;
    g.output("state_out", state)
}

/// A decay remembers; it is a multiple of a power of two, so that f16 holds it. Where keys are long, little of
/// them is learnt, or the state would grow past f16.
fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [b, t, d] = [B, T, D].map(|a| shape.sizes.get(a));
    match name {
        "decay" => {
            let each = if shape.variant == 4 { 1 } else { d };
            Some((0..b * t * 2 * each).map(|_| rng.below(96) as f64 / -64.0).collect())
        }
        "beta" if d > 16 => Some((0..b * t * 2).map(|_| rng.below(64) as f64 / 512.0).collect()),
        _ => None,
    }
}

/// What linear attention takes besides queries, keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearAttention {
    /// Logarithms of what the state is multiplied by before each position: `[B, T, G, D]`, or `[B, T, G]`
    /// for all of a head alike.
    pub decay: Option<ValueId>,
    /// Whether what the state holds under a key is taken off its value first: the delta rule.
    pub delta: bool,
    /// How much of that difference the state learns, `[B, T, G]`: 1 unless given; for the delta rule only.
    pub beta: Option<ValueId>,
    /// The state before the first position, `[B, G, D, C]`: zeros unless given.
    pub state: Option<ValueId>,
    /// What results are multiplied by: 1/√D unless given.
    pub scale: Option<f32>,
}

impl Graph {
    /// Linear attention of queries `q [B, T, H, D]` over a state that learns keys `k [B, T, G, D]` with values
    /// `v [B, T, G, C]`, position by position; H a multiple of G, D at most 1024. Returns y `[B, T, H, C]` and
    /// the state after the last position `[B, G, D, C]`, in the type of the state, or of `q` without one.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, or H is no multiple of G; [`Error::Argument`] for `beta` without
    /// `delta`.
    pub fn linear_attention(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        how: LinearAttention,
    ) -> Result<(ValueId, ValueId)> {
        self.has(q)?;
        let width = self.value(q).shape.get(3).and_then(Dim::constant).unwrap_or(1).max(1);
        let scale = how.scale.unwrap_or_else(|| (1.0 / (width as f64).sqrt()) as f32);
        let attrs = [("delta", Attr::U32(u32::from(how.delta))), ("scale", Attr::F32(scale))];
        let inputs = [Some(q), Some(k), Some(v), how.decay, how.beta, how.state];
        let made = self.apply(&LINEAR_ATTENTION, &inputs, &attrs)?;
        Ok((made[0], made[1]))
    }
}
