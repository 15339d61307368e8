//! Numbers to blocks as they lie in a file, on the device: the types whose blocks are made by a formula. Those
//! that are made by a search, the K formats and IQ4_NL, are made on the host, by
//! [`formats::quantize`].
//!
//! Bound by memory: x is read twice, and the scales between. A scale is found by one invocation for a block, since
//! of elements that are as far from 0 the first counts; then every word of the result by itself.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::{self, Format};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{C, K, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, Sizes};
use crate::ops::past_one_axis;

pub(crate) mod reference;

/// The types that are made.
const TYPES: &[DType] = &[
    DType::Q8_0,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Mxfp4,
    DType::Tq1_0,
    DType::Tq2_0,
];

/// y = blocks of x, whose type is an attribute.
pub static QUANTIZE_BLOCKS: Op = Op {
    name: "quantize_blocks",
    formula: "y[r] = the bytes of x[r, c] in blocks, as ggml makes them; `type` as GGUF files number it",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, K], &[DType::U8])],
    attrs: &[("type", AttrKind::U32)],
    infer,
    reference: reference::reference,
    flops: |s| 4.0 * s.product(&[R, C]),
    kernels: &[&BYTES],
    cases: Cases {
        axes: &[(R, 3), (C, 32)],
        weights: TYPES,
        variants: &["plain"],
        // One type will do for many workgroups.
        applies: |s| s.w == DType::Q4_0 || s.sizes.get(R) < 1000,
        // A row of one block of Q4_0 has five words.
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64) / 5 + 1), (C, 32)])),
        build: |g, shape| {
            let block = shape.w.block();
            let channels = shape.sizes.get(C).next_multiple_of(block);
            let x = g.input("x", shape.x, &[shape.sizes.get(R).into(), channels.into()])?;
            let y = g.quantize_blocks(x, shape.w)?;
            g.output("y", y)
        },
        fill: |_, _, _| None,
    },
};

static BYTES: Kernel = Kernel {
    name: "quantize_blocks.bytes",
    file: "quantize_blocks.wgsl",
    source: include_str!("../../shaders/quantize_blocks.wgsl"),
    blocks: &[(R, 2), (C, 256)],
    knobs,
    workgroups: |s| {
        let words = (s.size(K) as u64).div_ceil(4);
        Expr::Mul(vec![s.dim(R).into(), Expr::from(Dim::from(words))]).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 16.0,
        bytes: s.bytes("x") * 5.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, K]) / 4.0,
    },
    scratch: &[Scratch::new("scale", DType::U32, |s| vec![blocks(s), 4.into()])],
    first: &[&SCALES],
    ..Kernel::PLAIN
};

static SCALES: Kernel = Kernel {
    name: "quantize_blocks.scales",
    file: "quantize_blocks_scales.wgsl",
    source: include_str!("../../shaders/quantize_blocks_scales.wgsl"),
    knobs: |s| {
        let (how, per) = how(of(s));
        let elements = format!("{}u", of(s).block());
        vec![("ELEMENTS", elements), ("HOW", format!("{}u", how as u32)), ("PER", format!("{per:?}"))]
    },
    workgroups: |s| Expr::from(blocks(s)).ceil_div(64),
    ..Kernel::PLAIN
};

/// How codes are made, as the shaders number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The nearest whole number of scales, of which the element that is farthest from 0 has so many.
    Nearest,
    /// That above the code of 0, which the farthest element has on the side where there is one code more.
    AroundZero,
    /// The nearest above the least element, of which the largest has so many.
    FromLeast,
    /// -1, 0 or 1, of which the farthest element is one.
    Ternary,
    /// The nearest e2m1 times a power of two.
    E2m1,
}

/// How a type's codes are made, and the number that its scales are a fraction of.
const fn how(dtype: DType) -> (How, f32) {
    match dtype {
        DType::Q4_0 => (How::AroundZero, 8.0),
        DType::Q5_0 => (How::AroundZero, 16.0),
        DType::Q4_1 => (How::FromLeast, 15.0),
        DType::Q5_1 => (How::FromLeast, 31.0),
        DType::Tq1_0 | DType::Tq2_0 => (How::Ternary, 1.0),
        DType::Mxfp4 => (How::E2m1, 1.0),
        _ => (How::Nearest, 127.0),
    }
}

/// The type of a site's blocks, which the graph checked.
fn of(s: &Site<'_>) -> DType {
    DType::from_ggml_type(s.attr_u32("type")).unwrap_or(DType::Q8_0)
}

fn blocks(s: &Site<'_>) -> Dim {
    s.dim(R).times(&Dim::from((s.size(C) / of(s).block()) as u64))
}

/// Where the scale of a block of `TQ1_0` lies, whose codes are in no planes.
const DIGITS_END: usize = 52;

fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let (dtype, whole) = (of(s), |n: usize| format!("{n}u"));
    let mut knobs = (SCALES.knobs)(s);
    knobs.push(("BYTES", whole(dtype.block_bytes())));
    let Some(packed) = formats::of(dtype).and_then(Format::packed) else {
        knobs.extend([("DIGITS", "true".into()), ("D_AT", whole(DIGITS_END))]);
        return knobs;
    };
    let scale = packed.halves.first().or(packed.exponent.as_ref()).copied().unwrap_or(0);
    let bytes = if packed.exponent.is_some() { 1 } else { 2 * packed.halves.len() };
    knobs.extend([("D_AT", whole(scale)), ("D_BYTES", whole(bytes))]);
    for (plane, names) in
        packed.planes.iter().zip([["AT", "BITS", "RUN"], ["HIGH_AT", "HIGH_BITS", "HIGH_RUN"]])
    {
        knobs.extend(names.into_iter().zip([plane.at, plane.bits, plane.run].map(whole)));
    }
    knobs
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?.clone();
    let (rows, width) = i.rows_and_channels(0)?;
    let number = i.attr_u32("type").unwrap_or(u32::MAX);
    let Some(dtype) = DType::from_ggml_type(number).filter(|d| TYPES.contains(d)) else {
        return Err(Error::Argument(format!(
            "quantize_blocks: blocks of type {number} are not made on a device"
        )));
    };
    let block = dtype.block() as u64;
    let Some(count) = width.constant().filter(|n| n.is_multiple_of(block)).map(|n| n / block) else {
        return Err(Error::Shape(format!(
            "quantize_blocks: `x` is {}, but its last axis must be a fixed multiple of {block}, the elements of a \
             block of {dtype}",
            i.show(&x.shape)
        )));
    };
    let bytes = Dim::from(count.saturating_mul(dtype.block_bytes() as u64));
    let mut shape = x.shape;
    if let Some(last) = shape.last_mut() {
        *last = bytes.clone();
    }
    let outputs = vec![(shape, DType::U8)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (K, bytes), (C, width)]), folds: i.folds(&outputs), outputs })
}

impl Graph {
    /// The blocks of the type `to` that rows of `x [.., C]`, f32 or f16, make, as the bytes that a GGUF file has:
    /// u8 `[.., C / to.block() * to.block_bytes()]`. They are those of
    /// [`formats::quantize`], but where the quotient of an element and the scale lies so
    /// near to the middle of two codes that the device's roundings decide, either may be there; and of the scale,
    /// where it lies so near to the middle of two f16. A block whose scale is below f32's normal numbers may have
    /// any codes; a scale beyond f16 is infinite, as on the host. Made are `Q8_0`, `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`,
    /// `MXFP4`, `TQ1_0` and `TQ2_0`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another type, or if `x` is no float; [`Error::Shape`] if its last axis is no fixed
    /// multiple of a block.
    pub fn quantize_blocks(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        let number = to.ggml_type().filter(|_| TYPES.contains(&to));
        let Some(number) = number else {
            return Err(Error::Argument(format!(
                "quantize_blocks: {to} is not made on a device; `formats::quantize` makes blocks of every type \
                 that can be made"
            )));
        };
        self.apply_one(&QUANTIZE_BLOCKS, &[Some(x)], &[("type", Attr::U32(number))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_made_is_refused_with_both_sides() {
        let mut g = Graph::new();
        let x = g.input("x", DType::F16, &[2.into(), 96.into()]).unwrap();
        let y = g.quantize_blocks(x, DType::Q5_1).unwrap();
        assert_eq!((g.value(y).dtype, g.value(y).shape.clone()), (DType::U8, vec![2.into(), 72.into()]));
        let mut say = |to| g.quantize_blocks(x, to).unwrap_err().to_string();
        let size = "quantize_blocks: `x` is [2, 96], but its last axis must be a fixed multiple of 256, the \
                    elements of a block of tq2_0";
        assert_eq!(say(DType::Tq2_0), size);
        assert!(say(DType::Q4K).starts_with("quantize_blocks: q4_k is not made on a device"));
    }
}
