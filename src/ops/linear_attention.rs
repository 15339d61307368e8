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
use crate::ops::teams::{BLOCK, LANES, Teams, WAIT};
use crate::plan::Numerics;
use crate::profile::DeviceKind;

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
    kernels: &[&COLUMNS, &CHUNKED],
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

/// Groups of four rows of the state that an invocation holds at most, and on processors.
const HELD: [u64; 2] = [4, 32];

static COLUMNS: Kernel = Kernel {
    name: "linear_attention.columns",
    file: "linear_attention.wgsl",
    source: include_str!("../../shaders/linear_attention.wgsl"),
    blocks: &[(D, 4 * HELD[0] * LANES.0), (C, 4 * BLOCK / LANES.0)],
    fits: |s| match s.size(D) as u64 {
        0..=1024 => Ok(()),
        d => Err(format!("`k` has D = {d}, but its registers hold at most 1024")),
    },
    knobs: |s| {
        let teams = teams(s);
        let own = [("WIDTH", format!("{}u", teams.lanes * teams.held))];
        given(s).into_iter().chain(teams.knobs()).chain(own).collect()
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(G)).times(&Dim::from(teams(s).blocks))),
    cost: |s| {
        let reads = Reads::of(s);
        let each = 3 + 2 * reads.heads + 3 * usize::from(reads.key);
        let flops = s.sizes.product(&[B, G, T, D, C]) * each as f64;
        work(s, teams(s), flops, reads.all() as f64 * s.sizes.product(&[T]))
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// Chunks start at a call's first position, so that the bits show how positions are shared out among calls.
static CHUNKED: Kernel = Kernel {
    name: "linear_attention.chunked",
    file: "linear_attention_chunked.wgsl",
    source: include_str!("../../shaders/linear_attention_chunked.wgsl"),
    blocks: &[(T, CHUNK), (D, 4 * HELD[0] * LANES.0), (C, 4 * BLOCK / LANES.0)],
    fits: |s| match Reads::of(s) {
        reads if reads.chunk(s.size(D)) == 0 => Err(format!(
            "`k` has D = {} and {} heads of `q` each, but workgroup memory does not hold two positions of that",
            s.size(D),
            reads.heads
        )),
        _ => Ok(()),
    },
    knobs: |s| {
        let (teams, reads) = (teams_in_chunks(s), Reads::of(s));
        let chunk = reads.chunk(s.size(D)) as u64;
        let own = [
            ("HEADS", reads.heads as u64),
            ("READS", reads.all() as u64),
            ("VECTORS", reads.heads as u64 + 1),
            ("WIDTH", teams.lanes * teams.held),
            ("CHUNK", chunk),
            ("PAIRS", chunk * (chunk + 1) / 2),
        ];
        let own = own.map(|(name, n)| (name, format!("{n}u")));
        given(s).into_iter().chain(teams.knobs()).chain(own).collect()
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(G)).times(&Dim::from(teams_in_chunks(s).blocks))),
    cost: |s| {
        let (teams, reads) = (teams_in_chunks(s), Reads::of(s));
        let length = reads.chunk(s.size(D)).max(1);
        let chunks = s.size(T).div_ceil(length) as f64;
        let positions = chunks * length as f64 * s.sizes.product(&[B, G]);
        let (reads, length) = (reads.all() as f64, length as f64);
        // A product with the state for each result and one to change it; beside those with the rows of a position,
        // so many pairs of positions.
        let flops = positions * s.sizes.product(&[D, C]) * (2.0 * reads + 2.0 + 1.0 / length)
            + positions * s.sizes.product(&[D]) * (reads + 1.0) * (length + 1.0) * teams.blocks as f64;
        // Measured on processors, where nothing waits: 1.5 times as long for a product as columns take.
        let slower = if s.profile.kind == DeviceKind::Cpu { 1.5 } else { 1.0 };
        work(s, teams, slower * flops, 3.0 * chunks)
    },
    numerics: Numerics::F32,
    batch_invariant: false,
    ..Kernel::PLAIN
};

/// Positions of a chunk at most: see benches/log.md.
const CHUNK: u64 = 4;

/// What is multiplied with the state at each position.
struct Reads {
    /// Heads of q of a head of the state.
    heads: usize,
    /// Whether k is, too.
    key: bool,
}

impl Reads {
    fn of(s: &Site<'_>) -> Self {
        Self { heads: s.size(H) / s.size(G).max(1), key: s.attr_u32("delta") == 1 }
    }

    fn all(&self) -> usize {
        self.heads + usize::from(self.key)
    }

    /// Positions of a chunk for a state of `d` rows: as many as 16 KiB of workgroup memory have room for; 0 where
    /// two are too many.
    fn chunk(&self, d: usize) -> usize {
        let Teams { lanes, held, .. } = Teams::new(d, 1, HELD[0]);
        let (width, reads) = (lanes * held, self.all() as u64);
        let bytes = |n: u64| {
            // Queries; keys, what is left of them, decays; the products of pairs; and those with the state.
            16 * n * width * (self.heads as u64 + 3)
                + n * (n + 1) * 2 * width * reads
                + 16 * n * reads * BLOCK
        };
        (2..=CHUNK).rev().find(|n| bytes(*n) <= 16_384).unwrap_or(0) as usize
    }
}

/// What both kernels are told of what there is.
fn given(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let given = |name| s.arg(name).is_some();
    let each = s.arg("decay").is_some_and(|a| a.strides.len() == 4);
    let knobs = [
        ("DELTA", s.attr_u32("delta") == 1),
        ("DECAY", given("decay")),
        ("EACH", each),
        ("BETA", given("beta")),
        ("PAST", given("state")),
    ];
    knobs.map(|(name, is)| (name, is.to_string())).into()
}

/// Who has which rows of a head's columns.
fn teams(s: &Site<'_>) -> Teams {
    Teams::walking(s.profile.kind, s.size(D), s.size(C), HELD)
}

/// Likewise of chunks of positions.
fn teams_in_chunks(s: &Site<'_>) -> Teams {
    if s.profile.kind == DeviceKind::Cpu {
        return teams(s);
    }
    Teams::in_chunks(s.size(D), s.size(C), HELD[0], Reads::of(s).chunk(s.size(D)))
}

/// What a kernel does that computes so much, and of which every invocation waits so many times.
fn work(s: &Site<'_>, teams: Teams, flops: f64, waits: f64) -> Work {
    let invocations = s.sizes.product(&[B, G]) * (teams.blocks * teams.size) as f64;
    let vectors = s.bytes("q") + s.bytes("k") + s.bytes("decay") + s.bytes("beta");
    let once = s.bytes("v") + s.bytes("y") + s.bytes("state") + s.bytes("state_out");
    let decays = 20.0 * s.bytes("decay") / 4.0 * teams.blocks as f64;
    // A processor knows no barriers, and has no other lanes to wait for.
    let wait = if s.profile.kind == DeviceKind::Cpu { 0.0 } else { WAIT };
    Work {
        flops: flops + decays + wait * waits * invocations,
        bytes: vectors * teams.blocks as f64 + once,
        invocations,
    }
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
