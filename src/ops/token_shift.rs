//! Each position mixed with the one before it, channel by channel, the last one of a call being kept for the next
//! (RWKV; Peng et al. 2025). A layer normalisation before it is part of it, since what is kept is its result.
//!
//! Bound by memory; of a single position there is one row to read for all mixes.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, round_error, sum_of};
use crate::op::Axis::{B, C, N, T};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::layer_norm::{normal_row, scaled};
use crate::ops::{for_each_row, past_one_axis, rows};
use crate::plan::Numerics;

/// `y[n] = z + (z one position before - z) · mix[n]`, z being x or its layer norm; the state is what lies before.
pub static TOKEN_SHIFT: Op = Op {
    name: "token_shift",
    formula: "y[n, b, t, c] = z[b, t, c] + (z[b, t - 1, c] - z[b, t, c]) mix[n, c], z[b, -1] = state[b], then \
              state[b] = z[b, T - 1]; z is x, or (x - mean_c x) / sqrt(var_c x + eps) gain[c] + shift[c] \
              (BlinkDL/RWKV-LM, RWKV-v7/rwkv_v7_demo_rnn.py)",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[B, T, C], FLOATS),
        Arg::optional("gain", &[C], FLOATS),
        Arg::optional("shift", &[C], FLOATS),
        Arg::new("mix", &[N, C], FLOATS),
        Arg::new("state", &[B, C], FLOATS),
    ],
    outputs: &[Arg::new("y", &[N, B, T, C], FLOATS), Arg::new("state", &[B, C], FLOATS)],
    attrs: &[("eps", AttrKind::F32)],
    infer,
    reference,
    flops: |s| 3.0 * s.product(&[N, B, T, C]),
    kernels: &[&RUNS],
    cases: Cases {
        axes: &[(B, 2), (T, 5), (C, 7)],
        weights: &[DType::F32],
        variants: &["normed", "plain", "other_type"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1)), (T, 1), (C, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

/// Positions of a workgroup.
const RUN: u64 = 8;

static RUNS: Kernel = Kernel {
    name: "token_shift.runs",
    file: "token_shift.wgsl",
    source: include_str!("../../shaders/token_shift.wgsl"),
    blocks: &[(T, RUN), (C, 256)],
    knobs: |s| {
        let lanes = rows::knobs_apart(s, C).into_iter().filter(|(name, _)| *name == "LANES");
        lanes.chain([("NORM", s.arg("gain").is_some().to_string())]).collect()
    },
    workgroups: |s| Expr::Mul(vec![s.dim(B).into(), Expr::from(s.dim(T)).ceil_div(RUN)]),
    cost: |s| Work {
        flops: (3.0 * s.sizes.product(&[N]) + 12.0) * s.sizes.product(&[B, T, C]),
        bytes: s.bytes("x") * (1.0 + 1.0 / RUN as f64)
            + s.bytes("y")
            + s.bytes("mix")
            + 2.0 * s.bytes("state"),
        invocations: s.sizes.product(&[B]) * (s.size(T) as f64 / RUN as f64).ceil() * 32.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (x, mix, state) = (i.rank(0, 3)?.to_vec(), i.rank(3, 2)?.to_vec(), i.rank(4, 2)?.to_vec());
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    if given(1) != given(2) {
        return Err(Error::Argument("token_shift: `gain` and `shift` are given both or neither".into()));
    }
    for arg in [1, 2].into_iter().filter(|arg| given(*arg)) {
        i.same(C, (0, &x[2]), (arg, &i.rank(arg, 1)?[0]))?;
    }
    i.same(C, (0, &x[2]), (3, &mix[1]))?;
    i.same(B, (0, &x[0]), (4, &state[0]))?;
    i.same(C, (0, &x[2]), (4, &state[1]))?;
    if let Some((_, Attr::F32(eps))) = i.attrs.iter().find(|(name, _)| *name == "eps")
        && !(1e-30..1e30).contains(eps)
    {
        return Err(Error::Argument(format!("token_shift: `eps` is {eps}, but it must be at least 1e-30")));
    }
    let y = vec![mix[0].clone(), x[0].clone(), x[1].clone(), x[2].clone()];
    let outputs = vec![(y, i.operand(0)?.dtype), (state, i.operand(4)?.dtype)];
    let sizes = [(B, &x[0]), (T, &x[1]), (C, &x[2]), (N, &mix[0])];
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// z as a layer norm; then a difference, a product and a sum.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, t, width, mixes] = [B, T, C, N].map(|a| c.sizes.get(a));
    let (mix, state) = (c.input(3), c.input(4));
    let mut z = c.input(0).clone();
    if let (Some(gain), Some(shift)) = (c.inputs[1], c.inputs[2]) {
        let eps = c.attr("eps");
        for_each_row(width, &mut z.value, &mut z.error, b * t * width * 8, |_, value, error| {
            if normal_row(value, error, eps) {
                (0..width).for_each(|j| {
                    (value[j], error[j]) = scaled((value[j], error[j]), gain.at(j), shift.at(j));
                });
            }
        });
    }
    let mut y = Approx::exact(&[mixes, b, t, width], vec![0.0; mixes * b * t * width]);
    for_each_row(width, &mut y.value, &mut y.error, mixes * b * t * width, |row, value, error| {
        let (n, at) = (row / (b * t), row % (b * t));
        for j in 0..width {
            let here = z.at(at * width + j);
            let before = if at % t > 0 { z.at((at - 1) * width + j) } else { state.at(at / t * width + j) };
            let ((m, em), (d, e)) = (mix.at(n * width + j), sum_of(before, (-here.0, here.1)));
            let part = d * m;
            let part = (part, round_error(part, e * (m.abs() + em) + d.abs() * em));
            (value[j], error[j]) = sum_of(here, part);
        }
    });
    let mut left = state.clone();
    for batch in (0..b).filter(|_| t > 0) {
        let (from, to) = ((batch * t + t - 1) * width, batch * width);
        left.value[to..to + width].copy_from_slice(&z.value[from..from + width]);
        left.error[to..to + width].copy_from_slice(&z.error[from..from + width]);
    }
    vec![y, left]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, t, c] = [B, T, C].map(|a| Dim::from(shape.sizes.get(a)));
    let other = if shape.x == DType::F32 { DType::F16 } else { DType::F32 };
    let x = g.input("x", shape.x, &[b.clone(), t, c.clone()])?;
    let mix = g.weight("mix", shape.w, &[3, shape.sizes.get(C)])?;
    let state = g.state("state", if shape.variant == 2 { other } else { shape.x }, &[b, c])?;
    let norm = if shape.variant == 0 {
        let gain = g.weight("gain", shape.w, &[shape.sizes.get(C)])?;
        Some((gain, g.weight("shift", shape.w, &[shape.sizes.get(C)])?, 1e-5))
    } else {
        None
    };
    let (y, _) = g.token_shift(x, norm, mix, state)?;
    g.output("y", y)
}

impl Graph {
    /// Mixes each position of `x [B, T, C]` with the one before it: `y[n] = z + (z before - z)·mix[n]` with
    /// `mix [N, C]`, so that 0 is the position itself and 1 the one before. z is x, or with a gain `[C]`, a shift
    /// `[C]` and an eps its layer norm. Before the first position lies the state `[B, C]`, which becomes z at the
    /// last one. Returns y `[N, B, T, C]`, whose slices are what projections read, and the state from then on.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, [`Error::Argument`] if `state` is no [`state`](Self::state).
    pub fn token_shift(
        &mut self,
        x: ValueId,
        norm: Option<(ValueId, ValueId, f32)>,
        mix: ValueId,
        state: ValueId,
    ) -> Result<(ValueId, ValueId)> {
        let eps = [("eps", Attr::F32(norm.map_or(1e-5, |n| n.2)))];
        let inputs = [Some(x), norm.map(|n| n.0), norm.map(|n| n.1), Some(mix), Some(state)];
        let made = self.apply(&TOKEN_SHIFT, &inputs, &eps)?;
        Ok((made[0], made[1]))
    }
}
