//! The recurrence of RWKV-7: a state that decays, forgets along one vector what it learns along another, and
//! learns outer products (Peng et al. 2025; BlinkDL/RWKV-LM, `RWKV-v7/cuda/wkv7.cu`).
//!
//! Bound by memory where there is one position, the state being read and written; else by the walk over positions.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::Approx;
use crate::numerics::recurrence::{Number, Row, Step};
use crate::op::Axis::{B, C, D, H, T, U};
use crate::op::{Arg, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::elementwise::unary::{FLOOR, ROUND, exp_error};
use crate::ops::teams::{BLOCK, LANES, Teams, WAIT};
use crate::ops::{for_each_row, past_one_axis};
use crate::plan::Numerics;
use crate::profile::DeviceKind;

/// y[b, t, h] = S_t r[b, t, h], S_t = S_{t-1} diag(exp(-exp(w))) + (S_{t-1} a) bᵀ + v kᵀ.
pub static WKV7: Op = Op {
    name: "wkv7",
    formula: "y[b, t, h, i] = Σ_j S_t[i, j] r[j], S_t[i, j] = exp(-exp(w[j])) S_{t-1}[i, j] + v[i] k[j] + \
              (Σ_l a[l] S_{t-1}[i, l]) b[j], each of r, w, k, v, a = ab[0], b = ab[1] at [b, t, h], from \
              S_{-1} = state[b, h] to state_out[b, h] (BlinkDL/RWKV-LM, RWKV-v7/cuda/wkv7.cu)",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("r", &[B, T, H, D], FLOATS),
        Arg::new("w", &[B, T, H, D], FLOATS),
        Arg::new("k", &[B, T, H, D], FLOATS),
        Arg::new("v", &[B, T, H, C], FLOATS),
        Arg::new("ab", &[B, T, H, U, D], FLOATS),
        Arg::new("state", &[B, H, C, D], FLOATS),
    ],
    outputs: &[Arg::new("y", &[B, T, H, C], FLOATS), Arg::new("state_out", &[B, H, C, D], FLOATS)],
    attrs: &[],
    infer,
    reference,
    flops: |s| 9.0 * s.product(&[B, T, H, C, D]),
    kernels: &[&ROWS, &CHUNKED],
    cases: Cases {
        axes: &[(B, 2), (T, 5), (C, 7), (D, 12)],
        weights: &[DType::F32],
        variants: &["plain", "all_or_nothing"],
        applies: |_| true,
        // A workgroup for each of two heads.
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1) / 2), (T, 1), (C, 1), (D, 1)])),
        build,
        fill,
    },
};

/// Groups of four columns of the state that an invocation holds of each of four rows at most, and on processors.
const HELD: [u64; 2] = [2, 16];

static ROWS: Kernel = Kernel {
    name: "wkv7.rows",
    file: "wkv7.wgsl",
    source: include_str!("../../shaders/wkv7.wgsl"),
    blocks: &[(C, 4 * BLOCK / LANES.0), (D, 4 * HELD[0] * LANES.0)],
    fits: |s| match s.size(D) as u64 {
        0..=512 => Ok(()),
        d => Err(format!("`r` has D = {d}, but its registers hold at most 512")),
    },
    knobs: |s| {
        let width = (s.size(D) as u64).div_ceil(4).max(1);
        teams(s).knobs().into_iter().chain([("WIDTH", format!("{width}u"))]).collect()
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(H)).times(&Dim::from(teams(s).blocks))),
    cost: |s| {
        let teams = teams(s);
        let flops = 9.0 * s.sizes.product(&[B, T, H, C, D])
            + 40.0 * s.sizes.product(&[B, T, H, D]) * teams.blocks as f64;
        // A processor knows no barriers, and has no other lanes to wait for.
        let waits = if s.profile.kind == DeviceKind::Cpu { 0.0 } else { 2.0 * s.sizes.product(&[T]) };
        work(s, teams, flops, waits)
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// Chunks start at a call's first position, so that the bits show how positions are shared out among calls.
static CHUNKED: Kernel = Kernel {
    name: "wkv7.chunked",
    file: "wkv7_chunked.wgsl",
    source: include_str!("../../shaders/wkv7_chunked.wgsl"),
    // Past 64 columns chunks are shorter. Of four rows and no more, the groups behind them are nobody's.
    blocks: &[(T, 4), (C, 4), (C, 4 * BLOCK / LANES.0), (D, 4 * HELD[0] * LANES.0), (D, 64)],
    fits: |s| match s.size(D) {
        d if chunk(d) == 0 => {
            Err(format!("`r` has D = {d}, but workgroup memory holds chunks of at most 128 columns"))
        }
        _ => Ok(()),
    },
    knobs: |s| {
        let (teams, chunk) = (teams_in_chunks(s), chunk(s.size(D)) as u64);
        let own = [("WIDTH", teams.lanes * teams.held), ("CHUNK", chunk), ("PAIRS", chunk * (chunk + 1) / 2)];
        teams.knobs().into_iter().chain(own.map(|(name, n)| (name, format!("{n}u")))).collect()
    },
    workgroups: |s| Expr::Dim(s.dim(B).times(&s.dim(H)).times(&Dim::from(teams_in_chunks(s).blocks))),
    cost: |s| {
        let (teams, length) = (teams_in_chunks(s), chunk(s.size(D)).max(1));
        let chunks = s.size(T).div_ceil(length) as f64;
        let positions = chunks * length as f64 * s.sizes.product(&[B, H]);
        // Two products with the state for results and two to change it; beside those with the columns of a
        // position, so many pairs of positions.
        let flops = positions * s.sizes.product(&[C, D]) * (8.0 + 1.0 / length as f64)
            + positions
                * s.sizes.product(&[D])
                * (40.0 + 10.0 * (length + 1) as f64 / 2.0)
                * teams.blocks as f64;
        // On processors lanes take turns at every barrier: measured, 4 times as long as rows that nobody shares.
        let by_turns = if s.profile.kind == DeviceKind::Cpu { 4.0 } else { 1.0 };
        work(s, teams, flops * by_turns, 3.0 * chunks)
    },
    numerics: Numerics::F32,
    batch_invariant: false,
    ..Kernel::PLAIN
};

/// Positions of a chunk for rows of `d` columns: as many as 16 KiB of workgroup memory have room for; 0 where two
/// are too many.
fn chunk(d: usize) -> usize {
    match d {
        0..=64 => 4,
        65..=128 => 2,
        _ => 0,
    }
}

/// Who has which columns of a head's rows.
fn teams(s: &Site<'_>) -> Teams {
    Teams::walking(s.profile.kind, s.size(D), s.size(C), HELD)
}

/// The same on all devices.
fn teams_in_chunks(s: &Site<'_>) -> Teams {
    Teams::in_chunks(s.size(D), s.size(C), HELD[0], chunk(s.size(D)))
}

/// What a kernel does that computes so much, and of which every invocation waits so many times.
fn work(s: &Site<'_>, teams: Teams, flops: f64, waits: f64) -> Work {
    let invocations = s.sizes.product(&[B, H]) * (teams.blocks * teams.size) as f64;
    let vectors = s.bytes("r") + s.bytes("w") + s.bytes("k") + s.bytes("ab");
    let once = s.bytes("v") + s.bytes("y") + s.bytes("state") + s.bytes("state_out");
    Work {
        flops: flops + WAIT * waits * invocations,
        bytes: vectors * teams.blocks as f64 + once,
        invocations,
    }
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let r = i.rank(0, 4)?.to_vec();
    for arg in [1, 2] {
        let own = i.rank(arg, 4)?;
        for (at, axis) in [B, T, H, D].into_iter().enumerate() {
            i.same(axis, (0, &r[at]), (arg, &own[at]))?;
        }
    }
    let (v, ab, state) = (i.rank(3, 4)?.to_vec(), i.rank(4, 5)?, i.rank(5, 4)?.to_vec());
    for (at, axis) in [B, T, H].into_iter().enumerate() {
        i.same(axis, (0, &r[at]), (3, &v[at]))?;
        i.same(axis, (0, &r[at]), (4, &ab[at]))?;
    }
    i.same(D, (0, &r[3]), (4, &ab[4]))?;
    for ((axis, from, size), own) in
        [(B, 0, &r[0]), (H, 0, &r[2]), (C, 3, &v[3]), (D, 0, &r[3])].into_iter().zip(&state)
    {
        i.same(axis, (from, size), (5, own))?;
    }
    if ab[3].constant() != Some(2) {
        return Err(Error::Shape(format!(
            "wkv7: `ab` has {} along axis 3, but it holds 2: a and b",
            ab[3].show(i.scalars)
        )));
    }
    if [&r[2], &r[3], &v[3]].iter().any(|d| d.constant().is_none()) {
        return Err(Error::Shape("wkv7: H, C and D must be fixed, not dims of the call".into()));
    }
    let sizes = [(B, &r[0]), (T, &r[1]), (H, &r[2]), (C, &v[3]), (D, &r[3]), (U, &ab[3])];
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    let outputs = vec![(v, i.operand(0)?.dtype), (state, i.operand(5)?.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

/// exp(-exp(w)) with what the kernel may be off, and how far an error of w carries.
fn decay((w, e): Number) -> (Number, f64) {
    let at = |w: f64| (-w.exp()).exp();
    let (x, d) = (w.exp(), at(w));
    // What the inner exponential is off is what the outer one is off for it, relative to it.
    let inner = 1.01 * x * exp_error(w.clamp(-87.0, 87.0)) + FLOOR;
    // At 2⁻²⁵ and at 2⁻⁶, or a little off, one form ends and the next begins: there the larger error of both.
    let own = if x < 2f64.powi(-26) {
        x
    } else if x < 2f64.powi(-7) {
        // Three steps of Horner's, the last a difference from 1; the series' next term.
        d * (inner + 3.0 * ROUND * x + ROUND + x.powi(4) / 24.0)
    } else if x < 88.0 {
        d * (inner + exp_error(x)) + FLOOR
    } else {
        d
    };
    let carried = if e == 0.0 { 0.0 } else { (at(w - e) - d).abs().max((at(w + e) - d).abs()) };
    ((d, own), carried)
}

// A recurrence, row by row; the decay's own error is that of its two exponentials. Kernels take positions one by
// one or in chunks: the larger bound of both orders.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, t, h, rows, d] = [B, T, H, C, D].map(|a| c.sizes.get(a));
    let (r, w, k, v) = (c.input(0), c.input(1), c.input(2), c.input(3));
    let (ab, state) = (c.input(4), c.input(5));
    let step = |at: usize| {
        let (decay, decay_given) = (at * d..at * d + d).map(|j| decay(w.at(j))).unzip();
        let erase = (0..d).map(|j| (ab.at(2 * at * d + j), ab.at((2 * at + 1) * d + j))).collect();
        Step { decay, decay_given, erase, key: (at * d..at * d + d).map(|j| k.at(j)).collect() }
    };
    let steps: Vec<Step> = (0..b * t * h).map(step).collect();
    // For each row: its results of all positions, then what is left of it.
    let long = t + d;
    let all = b * h * rows;
    let (mut value, mut error) = (vec![0.0; all * long], vec![0.0; all * long]);
    for_each_row(long, &mut value, &mut error, 2 * all * t * d * d, |at, value, error| {
        let (head, i) = (at / rows, at % rows);
        let before = || (at * d..at * d + d).map(|j| state.at(j));
        let chunked = (chunk(d) > 0).then(|| Row::in_chunks(before(), chunk(d)));
        for mut row in [Row::new(before())].into_iter().chain(chunked) {
            for s in 0..t {
                let from = (head / h * t + s) * h + head % h;
                row.step(&steps[from], v.at(from * rows + i), None);
                let (y, e) = row.read((from * d..from * d + d).map(|j| r.at(j)));
                (value[s], error[s]) = (y, error[s].max(e));
            }
            row.finish();
            for j in 0..d {
                let (left, e) = row.at(j);
                (value[t + j], error[t + j]) = (left, error[t + j].max(e));
            }
        }
    });
    let mut y = Approx::exact(&[b, t, h, rows], vec![0.0; b * t * h * rows]);
    let mut left = Approx::exact(&[b, h, rows, d], vec![0.0; all * d]);
    for at in 0..all {
        let (head, i) = (at / rows, at % rows);
        for s in 0..t {
            let to = ((head / h * t + s) * h + head % h) * rows + i;
            (y.value[to], y.error[to]) = (value[at * long + s], error[at * long + s]);
        }
        left.value[at * d..at * d + d].copy_from_slice(&value[at * long + t..(at + 1) * long]);
        left.error[at * d..at * d + d].copy_from_slice(&error[at * long + t..(at + 1) * long]);
    }
    vec![y, left]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, t, c, d] = [B, T, C, D].map(|a| Dim::from(shape.sizes.get(a)));
    let keys = [b.clone(), t.clone(), 2.into(), d.clone()];
    let [r, w, k] = ["r", "w", "k"].map(|name| g.input(name, shape.x, &keys));
    let v = g.input("v", shape.x, &[b.clone(), t.clone(), 2.into(), c.clone()])?;
    let ab = g.input("ab", shape.x, &[b.clone(), t, 2.into(), 2.into(), d.clone()])?;
    let state = g.input("state", shape.x, &[b, 2.into(), c, d])?;
    let made = g.apply(&WKV7, &[Some(r?), Some(w?), Some(k?), Some(v), Some(ab), Some(state)], &[])?;
    g.output("y", made[0])?;
    g.output("state_out", made[1])
}

/// Decays of all speeds, or with exact results: none, and all at once. b is small where the state would grow.
fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [b, t, d] = [B, T, D].map(|a| shape.sizes.get(a));
    match name {
        "w" if shape.variant == 1 => {
            Some((0..b * t * 2 * d).map(|_| [-800.0, -800.0, 800.0][rng.below(3) as usize]).collect())
        }
        "w" => Some((0..b * t * 2 * d).map(|_| rng.below(896) as f64 / 64.0 - 11.0).collect()),
        "ab" if d > 16 => {
            let size = |i: usize| if (i / d).is_multiple_of(2) { 1.0 } else { 4.0 / d as f64 };
            Some((0..b * t * 4 * d).map(|i| size(i) * rng.signed()).collect())
        }
        _ => None,
    }
}

impl Graph {
    /// The recurrence of RWKV-7, position by position: S ← S·diag(exp(-exp(w))) + (S·a)·bᵀ + v·kᵀ, y = S·r,
    /// of `r`, `w`, `k`, `a` and `b` `[B, T, H, D]`, `v [B, T, H, C]` and the state before `[B, H, C, D]`; D at
    /// most 512. Returns y `[B, T, H, C]`, in the type of `r`, and the state after the last position, in the
    /// type of the state. In the model a is minus the normalised key, and b that key times its gate.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ; [`Error::Argument`] if `a` and `b` are not of one type.
    #[allow(clippy::too_many_arguments)] // as many as the formula has
    pub fn wkv7(
        &mut self,
        r: ValueId,
        w: ValueId,
        k: ValueId,
        v: ValueId,
        a: ValueId,
        b: ValueId,
        state: ValueId,
    ) -> Result<(ValueId, ValueId)> {
        // Eight tensors are all that every device binds, so that a and b are one.
        let mut pair = [a, b];
        for x in &mut pair {
            self.has(*x)?;
            let mut shape = self.value(*x).shape.clone();
            if shape.len() != 4 {
                return Err(Error::Shape(format!(
                    "wkv7: `a` and `b` need 4 axes [B, T, H, D], but one has {}",
                    shape.len()
                )));
            }
            shape.insert(3, Dim::ONE);
            *x = self.reshape(*x, &shape)?;
        }
        let ab = self.concat(&pair, 3)?;
        let made = self.apply(&WKV7, &[Some(r), Some(w), Some(k), Some(v), Some(ab), Some(state)], &[])?;
        Ok((made[0], made[1]))
    }
}
