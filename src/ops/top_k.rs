//! The largest or smallest elements of rows, in order, and where they are.
//!
//! Bound by memory. Comparing is exact, so indices are exact where inputs are: a kernel compares bits and never
//! rounds. Where inputs carry an error e, another element within 2e may be the k-th as well, and only then.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, K, R};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::past_one_axis;
use crate::plan::Numerics;
use crate::profile::DeviceKind;

/// The k largest or smallest elements of each row and their indices, the best first; of equal ones the lowest
/// index first.
pub static TOP_K: Op = Op {
    name: "top_k",
    formula: "y[r, k] = x[r, idx[r, k]], idx[r] the K first c in the order of falling (of the smallest: rising) \
              x[r, c], then of rising c",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, K], FLOATS), Arg::new("idx", &[R, K], INDEX)],
    attrs: &[("k", AttrKind::U32), ("smallest", AttrKind::U32)],
    infer,
    reference,
    flops: |s| s.product(&[R, C]),
    kernels: &[&SELECT, &SPLIT],
    cases: Cases {
        axes: &[(R, 3), (C, 70), (K, 5)],
        weights: &[DType::F32],
        variants: &["largest", "smallest", "zeros"],
        applies: |_| true,
        many_workgroups: |kernel| {
            let rows = if kernel.first.is_empty() { past_one_axis(1) } else { past_one_axis(1) / LEAST };
            Some(Sizes::new(&[(R, rows), (C, 1), (K, 1)]))
        },
        build,
        fill: |name, shape, rng| (name == "x" && shape.variant == 2).then(|| zeros(shape, &[R, C], rng)),
    },
};

/// The most elements that are selected: so many fit into workgroup memory.
const MOST: u64 = 1024;
/// Elements of a row that are worth a share, and how often as many as are selected.
const WORTH: u64 = 2048;
const TIMES: u64 = 4;
/// The least and the most shares.
const LEAST: u64 = 2;
const SHARES: u64 = 32;

static SELECT: Kernel = Kernel {
    name: "top_k.select",
    file: "top_k.wgsl",
    source: include_str!("../../shaders/top_k.wgsl"),
    blocks: &[(C, 256), (K, 64)],
    fits,
    knobs: |s| knobs(s, 1),
    workgroups: |s| Expr::from(rows(s)),
    // It reads a row once for each of the first digits, and once more.
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 40.0 + s.sizes.product(&[R]) * 2e4,
        bytes: s.bytes("x") * 4.0 + s.bytes("y") + s.bytes("idx"),
        invocations: s.sizes.product(&[R]) * 256.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static SPLIT: Kernel = Kernel {
    name: "top_k.split",
    file: "top_k_split.wgsl",
    source: include_str!("../../shaders/top_k_split.wgsl"),
    // Past the first, a row has more shares than the least.
    blocks: &[(C, (LEAST + 1) * WORTH), (K, 16)],
    knobs: |s| [knobs(s, 1), vec![("SPLITS", format!("{}u", shares(s)))]].concat(),
    cost: |s| {
        let row = (SELECT.cost)(s);
        // On processors a row at once keeps a core as busy as shares of it.
        let filled = if s.profile.kind == DeviceKind::Cpu { 1 } else { wanted(s) };
        Work { flops: row.flops * 1.25, invocations: row.invocations * filled as f64, ..row }
    },
    scratch: &[Scratch::new("part", DType::U32, |s| {
        vec![s.dim(R).times(&Dim::from(shares(s))), (2 * s.size(K)).into()]
    })],
    first: &[&SHARE],
    ..SELECT
};

static SHARE: Kernel = Kernel {
    name: "top_k.split_share",
    file: "top_k_share.wgsl",
    source: include_str!("../../shaders/top_k_share.wgsl"),
    knobs: |s| [knobs(s, shares(s)), vec![("SPLITS", format!("{}u", shares(s)))]].concat(),
    workgroups: |s| Expr::from(rows(s).times(&Dim::from(shares(s)))),
    scratch: &[],
    first: &[],
    ..SPLIT
};

fn fits(s: &Site<'_>) -> std::result::Result<(), String> {
    match s.size(K) as u64 {
        0..=MOST => Ok(()),
        k => Err(format!("it is asked for the first {k}, but its memory holds {MOST}")),
    }
}

/// Where nothing is asked for, nothing is done.
fn rows(s: &Site<'_>) -> Dim {
    s.dim(R).times(&Dim::from(s.size(K).min(1)))
}

/// Knobs of a dispatch whose workgroups do a row cut in `parts`.
fn knobs(s: &Site<'_>, parts: u64) -> Vec<(&'static str, String)> {
    let slots = s.size(K).next_power_of_two() as u64;
    let block = (s.size(C) as u64 / (4 * parts)).max(slots).next_power_of_two().clamp(16, 256);
    let smallest = s.attr_u32("smallest") != 0;
    vec![("SLOTS", format!("{slots}u")), ("BLOCK", format!("{block}u")), ("SMALLEST", smallest.to_string())]
}

/// Shares that a row is long enough for.
fn wanted(s: &Site<'_>) -> u64 {
    let each = WORTH.max(TIMES * s.size(K) as u64);
    (s.size(C) as u64 / each).clamp(1, SHARES)
}

fn shares(s: &Site<'_>) -> u64 {
    wanted(s).max(LEAST)
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, width) = i.rows_and_channels(0)?;
    let k = u64::from(i.attr_u32("k").unwrap_or(0));
    if width.constant().is_none_or(|n| n < k) {
        return Err(Error::Shape(format!(
            "top_k: `x` has C = {}, of which {k} were asked for; C must be fixed and not less",
            width.show(i.scalars)
        )));
    }
    let x = i.operand(0)?;
    let shape = [&x.shape[..x.shape.len() - 1], &[k.into()]].concat();
    let outputs = vec![(shape.clone(), x.dtype), (shape, DType::U32)];
    Ok(Inferred {
        axes: Axes::new(&[(R, rows), (C, width), (K, k.into())]),
        folds: i.folds(&outputs),
        outputs,
    })
}

/// What may be among the first of a row: places in their order, and how far off elements may be at most.
pub(super) struct Ranked {
    order: Vec<usize>,
    off: f64,
}

impl Ranked {
    /// The elements of a row, the first `k` of which are looked at.
    pub(super) fn of(x: &Approx, row: std::ops::Range<usize>, smallest: bool, last: bool) -> Self {
        let (value, error) = (&x.value[row.clone()], &x.error[row]);
        let mut order: Vec<usize> = (0..value.len()).collect();
        let sign = if smallest { -1.0 } else { 1.0 };
        let falling = |a: &usize, b: &usize| (sign * value[*b]).total_cmp(&(sign * value[*a]));
        // Of -0 and 0 neither is larger.
        let falling = |a: &usize, b: &usize| if value[*a] == value[*b] { a.cmp(b) } else { falling(a, b) };
        let latest = |a: &usize, b: &usize| if value[*a] == value[*b] { b.cmp(a) } else { falling(a, b) };
        if last {
            order.sort_by(latest)
        } else {
            order.sort_by(falling)
        }
        Self { order, off: error.iter().fold(0f64, |m, e| m.max(*e)) }
    }

    /// The place of the k-th, and what else may be there. If elements are off by e at most, then the k-th largest
    /// of them is, and so whoever is that lies within 2e of it.
    pub(super) fn place(&self, k: usize, value: impl Fn(usize) -> f64, mut also: impl FnMut(f64)) -> usize {
        let own = value(self.order[k]);
        let near = |i: &&usize| (value(**i) - own).abs() <= 2.0 * self.off;
        if self.off > 0.0 {
            self.order[..k].iter().rev().take_while(near).for_each(|i| also(*i as f64));
            self.order[k + 1..].iter().take_while(near).for_each(|i| also(*i as f64));
        }
        self.order[k]
    }
}

// Comparing is exact; the k-th largest of numbers that are off by e at most is off by e at most.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, smallest) = (c.input(0), c.attr("smallest") != 0.0);
    let [rows, width, k] = [R, C, K].map(|a| c.sizes.get(a));
    let mut y = Approx::exact(&[rows, k], Vec::with_capacity(rows * k));
    let mut idx = y.clone();
    for r in 0..rows {
        let row = r * width..(r + 1) * width;
        let ranked = Ranked::of(x, row.clone(), smallest, false);
        for rank in 0..k {
            let element = r * k + rank;
            let place = ranked.place(rank, |i| x.value[row.start + i], |i| idx.also.push((element, i)));
            y.value.push(x.value[row.start + place]);
            y.error.push(ranked.off);
            idx.value.push(place as f64);
            idx.error.push(0.0);
        }
    }
    vec![y, idx]
}

/// Zeros of both signs among others, which are equal.
pub(super) fn zeros(shape: &Shape, axes: &[crate::op::Axis], rng: &mut crate::rng::Rng) -> Vec<f64> {
    let elements: usize = axes.iter().map(|a| shape.sizes.get(*a)).product();
    (0..elements).map(|_| [-0.0, 0.0, -1.0, 0.5][rng.below(4) as usize]).collect()
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [rows, width, k] = [R, C, K].map(|a| shape.sizes.get(a));
    let x = g.input("x", shape.x, &[rows.into(), width.into()])?;
    let k = k.min(width);
    let (y, idx) = if shape.variant == 1 { g.bottom_k(x, k)? } else { g.top_k(x, k)? };
    g.output("y", y)?;
    g.output("idx", idx)
}

impl Graph {
    /// The `k` largest elements along the last axis, largest first, and their indices (u32): of equal ones the
    /// lowest index first. `x [.., C]` gives `[.., k]` twice. `k` is at most 1024.
    ///
    /// # Errors
    /// [`Error::Shape`] if C is a dim of the call or less than `k`.
    pub fn top_k(&mut self, x: ValueId, k: usize) -> Result<(ValueId, ValueId)> {
        self.select_k(x, k, 0)
    }

    /// The `k` smallest elements, as [`top_k`](Self::top_k) has the largest.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k).
    pub fn bottom_k(&mut self, x: ValueId, k: usize) -> Result<(ValueId, ValueId)> {
        self.select_k(x, k, 1)
    }

    fn select_k(&mut self, x: ValueId, k: usize, smallest: u32) -> Result<(ValueId, ValueId)> {
        let attrs = [("k", crate::ops::view::number(k)), ("smallest", Attr::U32(smallest))];
        let both = self.apply(&TOP_K, &[Some(x)], &attrs)?;
        Ok((both[0], both[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_twice_the_error_may_be_there_too_and_nothing_else() {
        let x = Approx { error: vec![0.1; 5], ..Approx::exact(&[5], vec![1.0, 3.0, 1.15, 2.0, 1.25]) };
        let of = |x: &Approx, k: usize| {
            let (ranked, mut also) = (Ranked::of(x, 0..5, false, false), Vec::new());
            let place = ranked.place(k, |i| x.value[i], |i| also.push(i));
            (place, also)
        };
        assert_eq!(of(&x, 0), (1, vec![]));
        assert_eq!(of(&x, 3), (2, vec![4.0, 0.0]));
        assert_eq!(of(&x, 4), (0, vec![2.0]));
        let exact = Approx::exact(&[5], vec![1.0, 2.0, 2.0, 1.0, -0.0]);
        assert_eq!([0, 1, 2, 3].map(|k| of(&exact, k).0), [1, 2, 0, 3]);
        assert!((0..5).all(|k| of(&exact, k).1.is_empty()));
        let last = Ranked::of(&exact, 0..5, false, true);
        assert_eq!(last.order, [2, 1, 3, 0, 4]);
    }
}
