//! Depthwise convolution over time that looks back only, with the inputs before the first as a state
//! (Mamba's, Gated DeltaNet's and LFM2's short convolution; ONNX CausalConvWithState).
//!
//! Bound by memory. Channels are the last axis, as products leave them.

use crate::dim::{Dim, Expr};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::{Approx, Sum};
use crate::op::Axis::{B, C, K, S, T};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes, Unary,
};
use crate::ops::elementwise::unary;
use crate::ops::{for_each_row, past_one_axis};
use crate::plan::Numerics;

/// y[b, t] is a weighted sum of x[b, t] and the K - 1 rows before it, channel by channel.
pub static CAUSAL_CONV: Op = Op {
    name: "causal_conv",
    formula: "y[b, t, c] = act(bias[c] + Σ_k w[c, k] z[b, t + k, c]), state_out[b, s, c] = z[b, T + s, c], \
              where z is the K - 1 = S rows of `state` (zeros if left out), then the T of x; act is silu or \
              nothing",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[B, T, C], FLOATS),
        Arg::new("w", &[C, K], FLOATS),
        Arg::optional("bias", &[C], FLOATS),
        Arg::optional("state", &[B, S, C], FLOATS),
    ],
    outputs: &[Arg::new("y", &[B, T, C], FLOATS), Arg::new("state_out", &[B, S, C], FLOATS)],
    attrs: &[("silu", AttrKind::U32)],
    infer,
    reference,
    flops: |s| 2.0 * s.product(&[B, T, C, K]),
    kernels: &[&RUNS],
    cases: Cases {
        axes: &[(B, 2), (T, 6), (C, 7)],
        weights: FLOATS,
        variants: &["state_bias_silu", "plain", "one_tap_bias", "six_taps_state"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1)), (T, 1), (C, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

/// Positions that an invocation does at a time, and the most workgroups that share those of a sequence.
const RUN: u64 = 4;
const MOST_PARTS: u64 = 64;

static RUNS: Kernel = Kernel {
    name: "causal_conv.runs",
    file: "causal_conv.wgsl",
    source: include_str!("../../shaders/causal_conv.wgsl"),
    blocks: &[(T, RUN), (C, 256)],
    knobs: |s| {
        vec![
            ("BIAS", s.arg("bias").is_some().to_string()),
            ("PAST", s.arg("state").is_some().to_string()),
            ("SILU", (s.attr_u32("silu") == 1).to_string()),
            ("PARTS", format!("{}u", parts(s))),
        ]
    },
    workgroups: |s| {
        let blocks = s.size(C).div_ceil(256) as u64;
        Expr::Dim(s.dim(B).times(&Dim::from(blocks * parts(s))))
    },
    cost: |s| Work {
        flops: 2.0 * s.sizes.product(&[B, T, C, K]),
        bytes: s.bytes("x") * 1.5
            + s.bytes("y")
            + s.bytes("state")
            + s.bytes("state_out")
            + s.bytes("w") * s.sizes.product(&[B]) * parts(s) as f64,
        invocations: s.sizes.product(&[B]) * (s.size(C).div_ceil(4) as u64 * parts(s)) as f64,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn parts(s: &Site<'_>) -> u64 {
    (s.size(T) as u64).div_ceil(RUN).clamp(1, MOST_PARTS)
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (x, w) = (i.rank(0, 3)?.to_vec(), i.rank(1, 2)?.to_vec());
    i.same(C, (0, &x[2]), (1, &w[0]))?;
    let Some(taps @ 1..) = w[1].constant() else {
        return Err(Error::Shape(format!(
            "causal_conv: `w` has K = {}, but it must be at least 1",
            w[1].show(i.scalars)
        )));
    };
    let before = Dim::from(taps - 1);
    let mut carried = i.operand(0)?.dtype;
    if i.inputs.get(2).is_some_and(Option::is_some) {
        i.same(C, (0, &x[2]), (2, &i.rank(2, 1)?[0]))?;
    }
    if let Some(Some(state)) = i.inputs.get(3) {
        carried = state.dtype;
        let state = i.rank(3, 3)?;
        i.same(B, (0, &x[0]), (3, &state[0]))?;
        i.same(C, (0, &x[2]), (3, &state[2]))?;
        if state[1] != before {
            return Err(Error::Shape(format!(
                "causal_conv: `state` has S = {}, but `w` has K = {taps}: S must be K - 1",
                state[1].show(i.scalars)
            )));
        }
    }
    if i.attr_u32("silu").unwrap_or(0) > 1 {
        return Err(Error::Argument("causal_conv: `silu` must be 0 or 1".into()));
    }
    let state = vec![x[0].clone(), before.clone(), x[2].clone()];
    let outputs = vec![(x.clone(), i.operand(0)?.dtype), (state, carried)];
    let sizes = [(B, &x[0]), (T, &x[1]), (C, &x[2]), (K, &w[1]), (S, &before)];
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// The sum's bound, the bias a term of it; silu's own. The state is moved, not computed.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, t, width, taps, before] = [B, T, C, K, S].map(|a| c.sizes.get(a));
    let (x, w, bias, state) = (c.input(0), c.input(1), c.inputs[2], c.inputs[3]);
    let z = |batch: usize, row: usize, i: usize| match row.checked_sub(before) {
        Some(row) => x.at((batch * t + row) * width + i),
        None => state.map_or((0.0, 0.0), |s| s.at((batch * before + row) * width + i)),
    };
    let mut y = Approx::exact(&[b, t, width], vec![0.0; b * t * width]);
    for_each_row(width, &mut y.value, &mut y.error, b * t * width * taps, |row, value, error| {
        for i in 0..width {
            let mut sum = Sum::new();
            for k in 0..taps {
                let ((a, ea), (v, e)) = (w.at(i * taps + k), z(row / t, row % t + k, i));
                sum.add(a * v, a.abs() * e + ea * (v.abs() + e));
            }
            if let Some(bias) = bias {
                sum.add(bias.value[i], bias.error[i]);
            }
            let total = sum.finish();
            let silu = c.attr("silu") == 1.0;
            (value[i], error[i]) =
                if silu { unary::of(Unary::Silu, total, [0.0; 2], crate::DType::F32) } else { total };
        }
    });
    let mut out = Approx::exact(&[b, before, width], vec![0.0; b * before * width]);
    for_each_row(width.max(1), &mut out.value, &mut out.error, 0, |row, value, error| {
        for (i, (v, e)) in value.iter_mut().zip(error).enumerate() {
            (*v, *e) = z(row / before, t + row % before, i);
        }
    });
    vec![y, out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, t, c] = [B, T, C].map(|a| Dim::from(shape.sizes.get(a)));
    let taps = [4, 4, 1, 6][shape.variant];
    let x = g.input("x", shape.x, &[b.clone(), t, c.clone()])?;
    let w = g.weight("w", shape.w, &[shape.sizes.get(C), taps])?;
    let mut how = CausalConv { silu: shape.variant == 0, ..CausalConv::default() };
    if matches!(shape.variant, 0 | 2) {
        how.bias = Some(g.weight("bias", shape.w, &[shape.sizes.get(C)])?);
    }
    if matches!(shape.variant, 0 | 3) {
        how.state = Some(g.input("state", shape.x, &[b, (taps - 1).into(), c])?);
    }
    let (y, state) = g.causal_conv(x, w, how)?;
    g.output("y", y)?;
    g.output("state_out", state)
}

/// What a causal convolution takes besides its input and weights.
#[derive(Debug, Clone, Copy, Default)]
pub struct CausalConv {
    /// Added to every position: `[C]`.
    pub bias: Option<ValueId>,
    /// The K - 1 rows before the first, oldest first: `[B, K - 1, C]`. Zeros unless given.
    pub state: Option<ValueId>,
    /// Whether x·sigmoid(x) is taken of the result.
    pub silu: bool,
}

impl Graph {
    /// Each channel's weighted sum of a row and the K - 1 rows before it: `x [B, T, C]`, `w [C, K]`, whose
    /// last tap is that of the row itself. Returns y `[B, T, C]` and the state for the call after this one
    /// `[B, K - 1, C]`, in the type of the state, or of `x` without one. K is fixed, and at least 1.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, or the state has not K - 1 rows.
    pub fn causal_conv(&mut self, x: ValueId, w: ValueId, how: CausalConv) -> Result<(ValueId, ValueId)> {
        let silu = [("silu", Attr::U32(u32::from(how.silu)))];
        let made = self.apply(&CAUSAL_CONV, &[Some(x), Some(w), how.bias, how.state], &silu)?;
        Ok((made[0], made[1]))
    }
}
