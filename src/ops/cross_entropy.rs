//! Cross entropy of logits and labels: minus the logarithm of the probability that softmax gives the label.
//!
//! Bound by memory. Probabilities are never stored. What is added or scaled before it joins its load.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, round_error, sum_of};
use crate::op::Axis::{C, R};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::softmax::log_mass;
use crate::ops::{past_one_axis, rows};
use crate::plan::Numerics;

/// The loss of each row, and what it counts in a mean.
pub static CROSS_ENTROPY: Op = Op {
    name: "cross_entropy",
    formula: "y[r] = weight[r] (log Σ_c exp(x[r, c]) - x[r, labels[r]]), weight[r] = counts[labels[r]] or 1; of \
              `given` logarithms of probabilities y[r] = -weight[r] x[r, labels[r]]; both 0 where labels[r] is \
              `ignore` or past the end",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[R, C], FLOATS),
        Arg::new("labels", &[R], INDEX),
        Arg::optional("counts", &[C], &[DType::F32]),
    ],
    outputs: &[Arg::new("y", &[R], &[DType::F32]), Arg::new("weight", &[R], &[DType::F32])],
    attrs: &[("given", AttrKind::U32), ("ignore", AttrKind::U32)],
    infer,
    reference,
    flops: |s| 5.0 * s.product(&[R, C]),
    kernels: &[&ROW],
    cases: Cases {
        axes: &[(R, 5), (C, 70)],
        weights: &[DType::F32],
        variants: &["plain", "weighted_ignore", "given", "far_apart_scaled"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(rows::MOST)), (C, 3)])),
        build,
        fill,
    },
};

static ROW: Kernel = Kernel {
    name: "cross_entropy.row",
    file: "cross_entropy.wgsl",
    source: include_str!("../../shaders/cross_entropy.wgsl"),
    blocks: &[(R, 16), (C, 256)],
    knobs: |s| {
        let given = s.attr_u32("given") != 0;
        [rows::knobs_apart(s, C), vec![("GIVEN", given.to_string())]].concat()
    },
    workgroups: |s| rows::workgroups_apart(s, C),
    cost: |s| Work {
        flops: 15.0 * s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * 2.0 + s.bytes("y") * 2.0,
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, classes) = i.rows_and_channels(0)?;
    let x = i.operand(0)?.shape.clone();
    let leading = &x[..x.len() - 1];
    let labels = i.operand(1)?.shape.clone();
    if labels != leading {
        return Err(Error::Shape(format!(
            "cross_entropy: `labels` is {}, but the rows of `x` are {}",
            i.show(&labels),
            i.show(leading)
        )));
    }
    if let Some(Some(_)) = i.inputs.get(2) {
        i.same(C, (0, &classes), (2, &i.rank(2, 1)?[0]))?;
    }
    let one = vec![(R, leading.len())];
    let w = if i.inputs.get(2).is_some_and(Option::is_some) { vec![(C, 1)] } else { Vec::new() };
    Ok(Inferred {
        axes: Axes::new(&[(R, rows.clone()), (C, classes)]),
        folds: vec![vec![(R, leading.len()), (C, 1)], one, w, vec![(R, 1)], vec![(R, 1)]],
        outputs: vec![(vec![rows.clone()], DType::F32), (vec![rows], DType::F32)],
    })
}

// x - m rounds, and so do its difference from log Σ and the product with the weight. What x inherits moves both.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, labels, w) = (c.input(0), c.input(1), c.inputs[2]);
    let (rows, width) = (c.sizes.get(R), c.sizes.get(C));
    let (given, ignore) = (c.attr("given") != 0.0, c.attr("ignore"));
    let mut loss = Approx::exact(&[rows], vec![0.0; rows]);
    let mut weight = loss.clone();
    for r in 0..rows {
        let label = labels.value[r];
        if label >= width as f64 || label == ignore {
            continue;
        }
        let row = r * width..(r + 1) * width;
        let own = x.at(row.start + label as usize);
        let (top, mass) = match given {
            true => (0.0, (0.0, 0.0)),
            false => log_mass(&x.value[row.clone()], &x.error[row]),
        };
        // The largest is one of them, and what it is off by is in the sum's bound.
        let below = sum_of(own, (-top, 0.0));
        let (v, e) = sum_of(mass, (-below.0, below.1));
        let (wv, we) = w.map_or((1.0, 0.0), |w| w.at(label as usize));
        (weight.value[r], weight.error[r]) = (wv, we);
        let off = e * (wv.abs() + we) + v.abs() * we;
        (loss.value[r], loss.error[r]) = (wv * v, round_error(wv * v, off));
    }
    vec![loss, weight]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [rows, classes] = [R, C].map(|a| Dim::from(shape.sizes.get(a)));
    let mut x = g.input("x", shape.x, &[rows.clone(), classes])?;
    let labels = g.input("labels", DType::U32, &[rows])?;
    let weights = match shape.variant {
        1 => Some(g.weight("counts", DType::F32, &[shape.sizes.get(C)])?),
        _ => None,
    };
    if shape.variant == 3 {
        x = g.scale(x, Attr::F32(0.5))?;
    }
    let how = CrossEntropy { weights, ignore: (shape.variant == 1).then_some(1), given: shape.variant == 2 };
    let (y, weight) = g.cross_entropy(x, labels, how)?;
    g.output("y", y)?;
    g.output("weight", weight)
}

fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [rows, classes] = [R, C].map(|a| shape.sizes.get(a));
    match name {
        // One class past the end, and sometimes -100 as others have it.
        "labels" => Some(
            (0..rows)
                .map(|r| match r % 5 {
                    3 => 4_294_967_196.0,
                    4 => 1.0,
                    _ => rng.below(classes as u64 + 1) as f64,
                })
                .collect(),
        ),
        "x" if shape.variant == 3 => Some((0..rows * classes).map(|_| 120.0 * rng.signed()).collect()),
        _ => None,
    }
}

/// What cross entropy takes besides logits and labels.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrossEntropy {
    /// f32 `[C]`: what each class counts.
    pub weights: Option<ValueId>,
    /// A label whose rows do not count. Labels from C on never do: so a label of -100, as u32, does not either.
    pub ignore: Option<u32>,
    /// Whether the logits are logarithms of probabilities already.
    pub given: bool,
}

impl Graph {
    /// `-log softmax(x)[label]` for each row, times what its class counts: `x [.., C]`, u32 labels `[..]`. Gives
    /// the losses and what each counts (0 of a label that is ignored), both f32 `[R]` over all rows; a mean is the
    /// quotient of their sums.
    ///
    /// # Errors
    /// [`Error::Shape`] if labels do not go with rows, or weights not with classes.
    pub fn cross_entropy(
        &mut self,
        x: ValueId,
        labels: ValueId,
        how: CrossEntropy,
    ) -> Result<(ValueId, ValueId)> {
        let attrs = [
            ("given", Attr::U32(u32::from(how.given))),
            ("ignore", Attr::U32(how.ignore.unwrap_or(u32::MAX))),
        ];
        let both = self.apply(&CROSS_ENTROPY, &[Some(x), Some(labels), how.weights], &attrs)?;
        Ok((both[0], both[1]))
    }
}
