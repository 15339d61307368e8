//! Two results of attention over parts of the keys, joined by their log-sum-exps: what attention over all of the
//! keys gives.
//!
//! Bound by memory: each result is read once.

use crate::dim::Expr;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, C, H, S};
use crate::op::{Arg, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::attention::reference::{Score, log_sum_exp, weigh};
use crate::ops::{for_each_row, past_one_axis};
use crate::rng::Rng;

/// o = (e^lse1 · o1 + e^lse2 · o2) / (e^lse1 + e^lse2), lse = log(e^lse1 + e^lse2).
pub static MERGE: Op = Op {
    name: "merge",
    formula: "o[b, s, h] = (w1 o1[b, s, h] + w2 o2[b, s, h]) / (w1 + w2), wi = exp(lsei[b, h, s]), lse[b, h, s] = \
              log(w1 + w2); of two lse of -∞, o = 0 and lse = -∞. As FlashInfer's merge_state (Ye et al. 2025)",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("o1", &[B, S, H, C], FLOATS),
        Arg::new("lse1", &[B, H, S], &[DType::F32]),
        Arg::new("o2", &[B, S, H, C], FLOATS),
        Arg::new("lse2", &[B, H, S], &[DType::F32]),
    ],
    outputs: &[Arg::new("o", &[B, S, H, C], FLOATS), Arg::new("lse", &[B, H, S], &[DType::F32])],
    attrs: &[],
    infer,
    reference,
    flops: |s| 3.0 * s.product(&[B, S, H, C]),
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(B, 2), (S, 5), (H, 3), (C, 20)],
        weights: &[DType::F32],
        variants: &["plain"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(64)), (S, 1), (H, 1), (C, 3)])),
        build: |g, shape| {
            let [b, s, h, c] = [B, S, H, C].map(|a| shape.sizes.get(a));
            let (rows, parts) = ([b, h, s].map(|n: usize| n.into()), [b, s, h, c].map(|n: usize| n.into()));
            let o1 = g.input("o1", shape.x, &parts)?;
            let lse1 = g.input("lse1", DType::F32, &rows)?;
            let o2 = g.input("o2", shape.x, &parts)?;
            let lse2 = g.input("lse2", DType::F32, &rows)?;
            let (o, lse) = g.merge((o1, lse1), (o2, lse2))?;
            g.output("lse", lse)?;
            g.output("o", o)
        },
        fill,
    },
};

static ROWS: Kernel = Kernel {
    name: "merge.rows",
    file: "merge.wgsl",
    source: include_str!("../../shaders/merge.wgsl"),
    blocks: &[(C, 4)],
    workgroups: |s| {
        let groups = s.size(C).div_ceil(4).max(1);
        Expr::from(s.dim(B).times(&s.dim(S)).times(&s.dim(H)).times(&groups.into())).ceil_div(64)
    },
    cost: |s| Work {
        flops: 4.0 * s.sizes.product(&[B, S, H, C]),
        bytes: s.bytes("o1") + s.bytes("o2") + s.bytes("o") + 3.0 * s.bytes("lse1"),
        invocations: s.bytes("o1") / 16.0,
    },
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let o = i.rank(0, 4)?.to_vec();
    for (at, axis) in [B, S, H, C].into_iter().enumerate() {
        i.same(axis, (0, &o[at]), (2, &i.rank(2, 4)?[at]))?;
    }
    for (at, axis, from) in [(0, B, 0), (1, H, 2), (2, S, 1)] {
        i.same(axis, (0, &o[from]), (1, &i.rank(1, 3)?[at]))?;
        i.same(axis, (0, &o[from]), (3, &i.rank(3, 3)?[at]))?;
    }
    if o[3].constant().is_none() {
        return Err(Error::Shape(format!("merge: `o1` is {}, but C must be fixed", i.show(&o))));
    }
    let lse = [&o[0], &o[2], &o[1]].map(Clone::clone).to_vec();
    let axes = Axes::new(&[B, S, H, C].into_iter().zip(o.iter().cloned()).collect::<Vec<_>>());
    let outputs = vec![(o, i.operand(0)?.dtype), (lse, DType::F32)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// As attention over two keys, whose scores are the log-sum-exps with the errors that these have, in one tile: a
// part that sees no key is not there.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, s, h, width] = [B, S, H, C].map(|a| c.sizes.get(a));
    let parts = [c.input(0), c.input(2)];
    let scores = |at: usize| -> Vec<Score> {
        let score = |(key, lse): (usize, &Approx)| {
            let (value, error) = lse.at(at);
            (value != f64::NEG_INFINITY).then_some(Score { key: Some(key), value, error })
        };
        [c.input(1), c.input(3)].into_iter().enumerate().filter_map(score).collect()
    };
    let mut out = Approx::exact(&[b, s, h, width], vec![0.0; b * s * h * width]);
    for_each_row(width, &mut out.value, &mut out.error, b * s * h * width, |row, value, error| {
        let at = (row / (s * h) * h + row % h) * s + row / h % s;
        let v = |key: Option<usize>, i| key.map_or((0.0, 0.0), |key| parts[key].at(row * width + i));
        weigh(&scores(at), 1.0, v, value, error);
    });
    let mut lse = Approx::exact(&[b, h, s], vec![0.0; b * h * s]);
    for (at, (value, error)) in lse.value.iter_mut().zip(&mut lse.error).enumerate() {
        (*value, *error) = log_sum_exp(&scores(at), 1.0);
    }
    vec![out, lse]
}

/// Log-sum-exps near each other and far apart, and -∞ of the one, the other, and both.
fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let rows = [B, H, S].map(|a| shape.sizes.get(a)).iter().product();
    let one = |i: usize| match i % 7 {
        2 => f64::NEG_INFINITY,
        4 if name == "lse1" => f64::NEG_INFINITY,
        5 => 200.0 * rng.signed(),
        _ => 3.0 * rng.signed(),
    };
    name.starts_with("lse").then(|| (0..rows).map(one).collect())
}

impl Graph {
    /// Joins two results of [`attention_lse`](Self::attention_lse) over different keys: `(o, lse)`, each
    /// `[B, S, H, C]` and f32 `[B, H, S]`, to what attention over the keys of both gives, in the type of the
    /// first. A part that sees no key, whose lse is -∞, counts for nothing; where both see none, o is 0 and lse
    /// -∞.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ.
    pub fn merge(&mut self, a: (ValueId, ValueId), b: (ValueId, ValueId)) -> Result<(ValueId, ValueId)> {
        let both = self.apply(&MERGE, &[Some(a.0), Some(a.1), Some(b.0), Some(b.1)], &[])?;
        Ok((both[0], both[1]))
    }
}
