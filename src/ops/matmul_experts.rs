//! y[m, u, c] = Σ_k x[m, u, k] · w[ids[m, u], c, k]: products of tokens with the experts that each goes to.
//!
//! With a few tokens it is bound by reading the weights of their experts, and reads no others. With many the
//! pairs of a token and an expert are sorted by expert on the device, so that a tile's rows share weights.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::op::Axis::{C, E, K, M, N, U};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, Operand, Unary};

mod cases;
mod reference;
mod tile;
mod vector;

use tile::{BROADCAST, TILE, TILE_SMALL};
use vector::VECTOR;

const WEIGHTS: &[DType] = crate::ops::matmul::BLOCKS_AND_FLOATS;

/// The functions that may gate, by the number that the attribute `act` has for them.
pub(crate) const GATES: [Unary; 4] = [Unary::Silu, Unary::Gelu, Unary::GeluTanh, Unary::Relu];

/// y[.., U, C] = the products of x[.., K], or x[.., U, K], with w[e, C, K] for the experts e = ids[.., U]; with
/// `up`, act(those) times the products with it. An id that is no expert gives a product of 0.
pub static MATMUL_EXPERTS: Op = Op {
    name: "matmul_experts",
    formula: "y[m, u, c] = Σ_k x[m, u, k] · w[e, c, k], e = ids[m, u], or with `up` act(that) · Σ_k x[m, u, k] · \
              up[e, c, k]; products with an e past the last are 0",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[M, K], FLOATS),
        Arg::new("w", &[N, K], WEIGHTS),
        Arg::optional("up", &[N, K], WEIGHTS),
        Arg::new("ids", &[M, U], INDEX),
    ],
    outputs: &[Arg::new("y", &[M, U, C], FLOATS)],
    attrs: &[("act", AttrKind::U32)],
    infer,
    reference: reference::reference,
    flops: |s| 2.0 * s.product(&[M, U, C, K]),
    kernels: &[&TILE, &TILE_SMALL, &BROADCAST, &VECTOR],
    cases: Cases {
        axes: &[(M, 5), (U, 2), (E, 3), (C, 8), (K, 36)],
        weights: WEIGHTS,
        variants: cases::VARIANTS,
        applies: cases::applies,
        many_workgroups: cases::many_workgroups,
        build: cases::build,
        fill: cases::fill,
    },
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (x, w, ids) = (i.operand(0)?, i.operand(1)?, i.operand(3)?);
    let argument = |text: String| Err(Error::Argument(format!("matmul_experts: {text}")));
    let [experts, c, k] = w.shape.as_slice() else {
        let axes = w.shape.len();
        return Err(Error::Shape(format!("matmul_experts: `w` needs 3 axes [E, C, K], but it has {axes}")));
    };
    let Some(e) = experts.constant() else {
        return argument("E must be fixed, not a dim of the call".into());
    };
    let (tokens, u) = i.rows_and_channels(3)?;
    let leading = ids.shape.len() - 1;
    let x_fold = rows(i, x, &ids.shape)?;
    i.same(K, (0, &x.shape[x.shape.len() - 1]), (1, k))?;
    let up = i.inputs.get(2).and_then(Option::as_ref);
    let act = i.attr_u32("act").unwrap_or(0) as usize;
    match up {
        Some(up) if up.dtype != w.dtype => {
            return argument(format!("`up` is {}, but `w` is {}", up.dtype, w.dtype));
        }
        Some(up) if up.shape != w.shape => {
            let (up, w) = (i.show(&up.shape), i.show(&w.shape));
            return Err(Error::Shape(format!("matmul_experts: `up` is {up}, but `w` is {w}")));
        }
        Some(_) if act >= GATES.len() => {
            return argument(format!("there is no function {act}, only 0 to {}", GATES.len() - 1));
        }
        None if act != 0 => {
            return argument(format!("function {act} gates nothing, since `up` was not given"));
        }
        _ => {}
    }
    let columns = c.times(&Dim::from(e)).times(&Dim::from(if up.is_some() { 2 } else { 1 }));
    let w_fold = vec![(N, 2), (K, 1)];
    let up_fold = if up.is_some() { w_fold.clone() } else { Vec::new() };
    let (ids_fold, y_fold) = (vec![(M, leading), (U, 1)], vec![(M, leading), (U, 1), (C, 1)]);
    let shape = [ids.shape.as_slice(), std::slice::from_ref(c)].concat();
    let axes = [(M, tokens), (N, columns), (K, k.clone()), (C, c.clone()), (E, experts.clone()), (U, u)];
    Ok(Inferred {
        axes: Axes::new(&axes),
        folds: vec![x_fold, w_fold, up_fold, ids_fold, y_fold],
        outputs: vec![(shape, x.dtype)],
    })
}

/// How x reads: a row for each token, or for each pair of a token and one of its experts.
fn rows(i: &Infer<'_>, x: &Operand, ids: &[Dim]) -> Result<crate::op::Fold> {
    let leading = ids.len() - 1;
    if x.shape.len() == ids.len() && x.shape[..leading] == ids[..leading] {
        return Ok(vec![(M, leading), (K, 1)]);
    }
    if x.shape.len() == ids.len() + 1 && x.shape[..=leading] == *ids {
        return Ok(vec![(M, leading), (U, 1), (K, 1)]);
    }
    Err(Error::Shape(format!(
        "matmul_experts: `x` is {}, but with `ids` {} it must have the same axes before the last, or all of \
         them, and K",
        i.show(&x.shape),
        i.show(ids)
    )))
}

/// A feed-forward network of experts, for [`Graph::experts`].
#[derive(Debug, Clone, Copy)]
pub struct Experts {
    /// What gates: `[E, F, K]`, a weight.
    pub gate: ValueId,
    /// What is gated: a weight of the same shape and type.
    pub up: ValueId,
    /// What leads back: `[E, C, F]`.
    pub down: ValueId,
    /// The function of what gates: silu, gelu, gelu_tanh or relu.
    pub act: Unary,
}

impl Graph {
    /// y[.., u] = x · w[ids[.., u]]ᵀ: `x [.., K]`, or `[.., U, K]` with a row for each expert of a token, with
    /// `w [E, C, K]` and `ids [.., U]` u32 gives `[.., U, C]`. `w` may be f32, f16, or a weight of bf16 or
    /// blocks; sums are f32. An id from E on gives zeros. The host never sees the ids.
    ///
    /// # Errors
    /// [`Error::Shape`] where the K of both differ, or `ids` does not go with `x`; [`Error::Argument`] where E
    /// is a dim of the call.
    pub fn matmul_experts(&mut self, x: ValueId, w: ValueId, ids: ValueId) -> Result<ValueId> {
        self.apply_one(&MATMUL_EXPERTS, &[Some(x), Some(w), None, Some(ids)], &[("act", Attr::U32(0))])
    }

    /// act(x · gate\[e\]ᵀ) · (x · up\[e\]ᵀ) for e = ids[.., u], in one pass over `x`, as
    /// [`matmul_experts`](Self::matmul_experts) twice. `gate` and `up` are weights `[E, C, K]` of one type.
    ///
    /// # Errors
    /// As [`matmul_experts`](Self::matmul_experts); [`Error::Argument`] where `act` is none of silu, gelu,
    /// gelu_tanh and relu, and when a plan is made if `gate` or `up` is no weight.
    pub fn gated_experts(
        &mut self,
        x: ValueId,
        (gate, up): (ValueId, ValueId),
        ids: ValueId,
        act: Unary,
    ) -> Result<ValueId> {
        let Some(number) = GATES.iter().position(|g| *g == act) else {
            let names = "silu, gelu, gelu_tanh or relu";
            return Err(Error::Argument(format!("matmul_experts: {act:?} gates nothing, only {names}")));
        };
        let inputs = [Some(x), Some(gate), Some(up), Some(ids)];
        self.apply_one(&MATMUL_EXPERTS, &inputs, &[("act", Attr::U32(number as u32))])
    }

    /// A mixture of experts: y[..] = Σ_u weights[.., u] · down\[e\] · (act(gate\[e\] · x) · (up\[e\] · x)), where
    /// e is ids[.., u]. `x [.., K]`, `ids [.., U]` u32 and `weights [.., U]` give `[.., C]`. Sums over u go in
    /// order. An id from E on adds 0 times its weight, which must be finite. `gate` and `up` lie in one buffer, so
    /// both together, like `down`, may be no larger than what the device binds.
    ///
    /// ```
    /// use tachylite::ops::matmul_experts::Experts;
    /// use tachylite::{DType, Graph, op::Unary};
    /// # fn main() -> tachylite::Result<()> {
    /// let (experts, used, width, hidden) = (64, 8, 2048, 1024);
    /// let mut g = Graph::new();
    /// let tokens = g.dim("T", 512)?;
    /// let x = g.input("x", DType::F32, &[tokens.clone(), width.into()])?;
    /// let ids = g.input("ids", DType::U32, &[tokens.clone(), used.into()])?;
    /// let weights = g.input("weights", DType::F32, &[tokens, used.into()])?;
    /// let gate = g.weight("ffn_gate_exps.weight", DType::Q4K, &[experts, hidden, width])?;
    /// let up = g.weight("ffn_up_exps.weight", DType::Q4K, &[experts, hidden, width])?;
    /// let down = g.weight("ffn_down_exps.weight", DType::Q6K, &[experts, width, hidden])?;
    /// let y = g.experts(x, ids, weights, Experts { gate, up, down, act: Unary::Silu })?;
    /// g.output("y", y)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`gated_experts`](Self::gated_experts); [`Error::Shape`] where `weights` does not go with `ids`, or the
    /// E or F of `down` is another.
    pub fn experts(&mut self, x: ValueId, ids: ValueId, weights: ValueId, how: Experts) -> Result<ValueId> {
        [ids, weights, how.gate, how.down].into_iter().try_for_each(|v| self.has(v))?;
        let pairs = self.value(ids).shape.clone();
        let wrong = |text: String| Err(Error::Shape(format!("experts: {text}")));
        if self.value(weights).shape != pairs {
            let (weights, ids) = (self.show_shape(weights), self.show_dims(&pairs));
            return wrong(format!("`weights` is {weights}, but `ids` is {ids}"));
        }
        let [gates, downs] = [how.gate, how.down].map(|v| self.value(v).shape.first().cloned());
        if gates != downs {
            let [gate, down] = [how.gate, how.down].map(|v| self.show_shape(v));
            return wrong(format!("`down` is {down}, but `gate` is {gate}: E must be the same"));
        }
        let h = self.gated_experts(x, (how.gate, how.up), ids, how.act)?;
        let each = self.matmul_experts(h, how.down, ids)?;
        let column = [pairs.as_slice(), &[Dim::ONE]].concat();
        let weights = self.reshape(weights, &column)?;
        let weighted = self.mul(each, weights)?;
        self.sum(weighted, &[pairs.len() - 1], false)
    }
}

#[cfg(test)]
mod tests;
