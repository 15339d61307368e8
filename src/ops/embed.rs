//! Rows of tables by index, summed over up to three tables.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, round_error, sum_of};
use crate::op::Axis::{C, R, V};
use crate::op::{Arg, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::matmul::{block_knobs, packed};
use crate::ops::{parts, past_one_axis};
use crate::plan::Numerics;

/// The types of tables, and of those that are added to the first.
const WEIGHTS: &[DType] = crate::ops::matmul::BLOCKS_AND_FLOATS;
const PLAIN: &[DType] = &[DType::F32, DType::F16, DType::Bf16];

/// `y[r] = Σ_i table_i[idx_i[r]]`; an index past the end of its table counts as a row of zeros.
pub static EMBED: Op = Op {
    name: "embed",
    formula: "y[r, c] = Σ_i table_i[idx_i[r], c], an index past the end giving 0",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("idx0", &[R], INDEX),
        Arg::new("table0", &[V, C], WEIGHTS),
        Arg::optional("idx1", &[R], INDEX),
        Arg::optional("table1", &[V, C], PLAIN),
        Arg::optional("idx2", &[R], INDEX),
        Arg::optional("table2", &[V, C], PLAIN),
    ],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer,
    reference,
    flops: |s| s.product(&[R, C]),
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(R, 5), (C, 7), (V, 11)],
        weights: WEIGHTS,
        variants: &["one", "two", "three", "past_the_end"],
        // Of blocks there is one table.
        applies: |shape| !shape.w.is_blocks() || matches!(shape.variant, 0 | 3),
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1), (V, 7)])),
        build,
        fill: |name, shape, rng| {
            let rows = shape.sizes.get(V) as u64 + u64::from(shape.variant == 3);
            let one = |_| rng.below(rows) as f64;
            name.starts_with("idx").then(|| (0..shape.sizes.get(R)).map(one).collect())
        },
    },
};

static ROWS: Kernel = Kernel {
    name: "embed.rows",
    file: "embed.wgsl",
    source: include_str!("../../shaders/embed.wgsl"),
    blocks: &[(R, 16), (C, 64), (C, 1024)],
    fits: |_| Ok(()),
    knobs: |s| {
        let blocks = s.arg("table0").and_then(|table| packed(table.dtype)).map(block_knobs);
        let part = s.args.iter().any(|a| a.part.is_some());
        [vec![("PART", part.to_string())], parts::knobs(s), blocks.unwrap_or_default()].concat()
    },
    workgroups: parts::workgroups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 3.0,
        bytes: s.bytes("y") * 2.0,
        invocations: parts::invocations(s),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let idx = i.operand(0)?.shape.clone();
    let table = i.rank(1, 2)?.to_vec();
    let rows = crate::Dim::product(&idx);
    for pair in [2, 4] {
        let given = |at: usize| i.inputs.get(at).is_some_and(Option::is_some);
        match (given(pair), given(pair + 1)) {
            (false, false) => {}
            (true, true) => {
                i.same(R, (0, &rows), (pair, &crate::Dim::product(&i.operand(pair)?.shape)))?;
                i.same(C, (1, &table[1]), (pair + 1, &i.rank(pair + 1, 2)?[1]))?;
            }
            _ => {
                return Err(Error::Argument(format!("embed: `idx{0}` and `table{0}` go together", pair / 2)));
            }
        }
    }
    let first = i.operand(1)?.dtype;
    if first.is_blocks() && i.inputs.get(2).is_some_and(Option::is_some) {
        return Err(Error::Argument(format!(
            "embed: `table0` is {first}, and a table of blocks is the only one"
        )));
    }
    let shape = [idx.as_slice(), &table[1..]].concat();
    let outputs = vec![(shape, if first.is_float() { first } else { DType::F32 })];
    let axes = Axes::new(&[(R, rows), (C, table[1].clone()), (V, table[0].clone())]);
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// One table is a copy, but for weights of blocks that are no f32. Each further one is an f32 sum.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (rows, width) = (c.sizes.get(R), c.sizes.get(C));
    let mut out = Approx::exact(&[rows, width], vec![0.0; rows * width]);
    for (number, pair) in c.inputs.chunks(2).enumerate() {
        let &[Some(idx), Some(table)] = pair else { continue };
        for r in 0..rows {
            let row = idx.value[r] as usize;
            for i in 0..width {
                let at = r * width + i;
                let (v, e) = if (row + 1) * width <= table.value.len() {
                    let (v, e) = table.at(row * width + i);
                    let is_float = c.dtypes[1 + 2 * number].is_none_or(DType::is_float);
                    (v, if is_float { e } else { round_error(v, e) })
                } else {
                    (0.0, 0.0)
                };
                (out.value[at], out.error[at]) =
                    if number == 0 { (v, e) } else { sum_of(out.at(at), (v, e)) };
            }
        }
    }
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let tables = [1, 2, 3, 1][shape.variant];
    let mut pairs = Vec::new();
    for i in 0..tables {
        let idx = g.input(&format!("idx{i}"), DType::U32, &[rows.into()])?;
        let dtype = if i == 1 { DType::F32 } else { shape.w };
        // Tables of several heights, all indexed up to the end of the first and one past it.
        let height = shape.sizes.get(V).saturating_sub(2 * i);
        pairs.push((idx, g.weight(&format!("table{i}"), dtype, &[height, channels])?));
    }
    let y = g.embed(&pairs)?;
    g.output("y", y)
}

impl Graph {
    /// Slices of `x` along an axis, by index: the axis becomes the shape of `idx` (u32). An index past
    /// the end gives zeros. Rows of a table are read in place; along other axes, `x` is transposed.
    ///
    /// # Errors
    /// [`Error::Shape`] if the axis does not exist; [`Error::Argument`] if `idx` is not u32, or the type of `x`
    /// is none that [`embed`](Self::embed) reads or, along another axis than the first, that transposes.
    pub fn gather(&mut self, x: ValueId, idx: ValueId, axis: usize) -> Result<ValueId> {
        self.has(x)?;
        self.has(idx)?;
        let shape = self.value(x).shape.clone();
        let indices = self.value(idx).shape.clone();
        let rank = shape.len();
        if axis >= rank {
            return Err(Error::Shape(format!("gather: `x` has {rank} axes, but axis {axis} was asked for")));
        }
        let mut to_front: Vec<usize> = (0..rank).collect();
        to_front[..=axis].rotate_right(1);
        let x = self.transpose(x, &to_front)?;
        let inner: Vec<_> = to_front[1..].iter().map(|i| shape[*i].clone()).collect();
        let table = self.reshape(x, &[shape[axis].clone(), crate::Dim::product(&inner)])?;
        let rows = self.embed(&[(idx, table)])?;
        let y = self.reshape(rows, &[indices.as_slice(), &inner].concat())?;
        let mut back: Vec<usize> = (0..indices.len() + inner.len()).collect();
        back[..indices.len() + axis].rotate_left(indices.len());
        self.transpose(y, &back)
    }

    /// The sum of `table[idx]` over one to three pairs `(idx, table)`: `idx` u32 of any shape, `table`
    /// `[V, C]`; the result has the first index's shape and C, and the first table's type;
    /// f32, if that is bf16 or blocks. A table of blocks is the only one.
    ///
    /// # Errors
    /// [`Error::Shape`] if the C of two tables or the counts of two index tensors differ;
    /// [`Error::Argument`] for no pair, or more than three.
    pub fn embed(&mut self, pairs: &[(ValueId, ValueId)]) -> Result<ValueId> {
        if pairs.is_empty() || pairs.len() > 3 {
            return Err(Error::Argument(format!(
                "embed: takes 1 to 3 tables, but {} were given",
                pairs.len()
            )));
        }
        let inputs: Vec<_> = pairs.iter().flat_map(|(i, t)| [Some(*i), Some(*t)]).collect();
        self.apply_one(&EMBED, &inputs, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_give_their_type_or_f32_and_blocks_stand_alone() {
        let mut g = Graph::new();
        let idx = g.input("idx", DType::U32, &[3.into()]).unwrap();
        let mut table = |dtype: DType| g.weight(dtype.name(), dtype, &[5, 64]).unwrap();
        let [f16, bf16, q8] = [table(DType::F16), table(DType::Bf16), table(DType::Q8_0)];
        for (table, dtype) in [(f16, DType::F16), (bf16, DType::F32), (q8, DType::F32)] {
            let y = g.embed(&[(idx, table)]).unwrap();
            assert_eq!(g.value(y).dtype, dtype);
        }
        let e = g.embed(&[(idx, q8), (idx, f16)]).unwrap_err();
        assert_eq!(e.to_string(), "embed: `table0` is q8_0, and a table of blocks is the only one");
        assert!(g.embed(&[(idx, f16), (idx, q8)]).is_err());
    }
}
