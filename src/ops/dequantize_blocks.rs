//! Blocks as they lie in a file, to the numbers that they stand for: once, on the device, before a product that
//! does not read them, or for formats that no other kernel reads.
//!
//! Bound by memory. Blocks are a `u8` tensor of their bytes, so that any of them can be an input, a weight, or
//! made by [`Graph::quantize_blocks`].

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::{self, Codes, FORMATS, Format, Packed};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, K, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::{by_groups, past_one_axis};
use crate::rng::Rng;

/// The types of blocks.
const TYPES: &[DType] = &{
    let mut all = [DType::Q8_0; FORMATS.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = FORMATS[i].dtype;
        i += 1;
    }
    all
};

/// y = the values of blocks, whose type is an attribute.
pub static DEQUANTIZE_BLOCKS: Op = Op {
    name: "dequantize_blocks",
    formula: "y[r, c] = what element c of the blocks in row r stands for; `type` as GGUF files number it",
    kind: Kind::Compute,
    inputs: &[Arg::new("blocks", &[R, K], &[DType::U8])],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("type", AttrKind::U32)],
    infer,
    reference,
    flops: |s| s.product(&[R, C]),
    kernels: &[&FOURS],
    cases: Cases {
        axes: &[(R, 3), (C, 32)],
        weights: TYPES,
        variants: &["plain"],
        // One type will do for many workgroups.
        applies: |s| s.w == DType::Q8_0 || s.sizes.get(R) < 1000,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(8)), (C, 32)])),
        build,
        fill,
    },
};

static FOURS: Kernel = Kernel {
    name: "dequantize_blocks.fours",
    file: "dequantize_blocks.wgsl",
    source: include_str!("../../shaders/dequantize_blocks.wgsl"),
    blocks: &[(R, 2), (C, 256)],
    knobs,
    workgroups: by_groups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 8.0,
        bytes: s.bytes("blocks") * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    scratch: &[Scratch::new("list", DType::U32, |s| vec![(words(s).len() as u64).into()])],
    first: &[&LIST],
    ..Kernel::PLAIN
};

/// Formats without a list run no workgroup of it.
static LIST: Kernel = Kernel {
    name: "dequantize_blocks.list",
    file: "dequantize_blocks_list.wgsl",
    source: include_str!("../../shaders/dequantize_blocks_list.wgsl"),
    knobs: |s| {
        let words = words(s);
        if words.is_empty() {
            return Vec::new();
        }
        let four = |w: &[u32]| format!("vec4<u32>({:#x}u, {:#x}u, {:#x}u, {:#x}u)", w[0], w[1], w[2], w[3]);
        let fours: Vec<_> = words.chunks_exact(4).map(four).collect();
        let array = format!("array<vec4<u32>, {}>({})", fours.len(), fours.join(", "));
        vec![("FOURS", format!("{}u", fours.len())), ("WORDS", array)]
    },
    workgroups: |s| Expr::from(Dim::from(u64::from(!words(s).is_empty()))),
    ..Kernel::PLAIN
};

/// The type of a site's blocks, which the graph checked.
fn of(s: &Site<'_>) -> DType {
    DType::from_ggml_type(s.attr_u32("type")).unwrap_or(DType::Q8_0)
}

/// The list of a format's vectors, two in a word.
fn words(s: &Site<'_>) -> Vec<u32> {
    let pairs = formats::list(of(s)).chunks_exact(2);
    pairs.map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let dtype = of(s);
    let whole = |n: usize| format!("{n}u");
    let mut knobs = vec![("ELEMENTS", whole(dtype.block())), ("BYTES", whole(dtype.block_bytes()))];
    if let Some(packed) = formats::of(dtype).and_then(Format::packed) {
        knobs.extend(plane_knobs(packed));
    }
    knobs
}

fn plane_knobs(packed: &Packed) -> Vec<(&'static str, String)> {
    let whole = |n: usize| format!("{n}u");
    let low = packed.planes[0];
    let numbers = if matches!(packed.codes, Codes::Signed) { 3 } else { packed.table() as usize };
    let mut knobs = vec![("AT", whole(low.at)), ("BITS", whole(low.bits)), ("RUN", whole(low.run))];
    if let Some(high) = packed.planes.get(1) {
        let names = ["HIGH_AT", "HIGH_BITS", "HIGH_RUN"];
        knobs.extend(names.into_iter().zip([high.at, high.bits, high.run].map(whole)));
    }
    knobs.extend([("PART", whole(packed.part)), ("NUMBERS", whole(numbers))]);
    knobs.push(("ZERO", format!("{:?}", f64::from(packed.zero()))));
    knobs.push(("LEAST", packed.has_least().to_string()));
    knobs
}

/// The text of `four_of` for a type, or of formats of planes that of `part_scale`, in terms of the functions of
/// `shaders/lib/blocks.wgsl`.
pub(crate) fn reading(s: &Site<'_>) -> String {
    let dtype = of(s);
    let name = match dtype {
        DType::Q5K => "q4_k",
        _ => dtype.name(),
    };
    let Some(packed) = formats::of(dtype).and_then(Format::packed) else {
        return format!(
            "fn four_of(first: u32, element: u32) -> vec4<f32> {{\n    return four_{name}(first, element);\n}}\n"
        );
    };
    let scale = match (dtype.block() / packed.part, packed.halves) {
        (1, [d]) => format!("vec2<f32>(half_at(first + {d}u), 0.0)"),
        (1, [d, least]) => format!("vec2<f32>(half_at(first + {d}u), half_at(first + {least}u))"),
        _ => format!("part_{name}(first, part)"),
    };
    format!("fn part_scale(first: u32, part: u32) -> vec2<f32> {{\n    return {scale};\n}}\n")
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let blocks = i.operand(0)?.clone();
    let (rows, bytes) = i.rows_and_channels(0)?;
    let number = i.attr_u32("type").unwrap_or(u32::MAX);
    let Some(dtype) = DType::from_ggml_type(number).filter(|d| d.is_blocks()) else {
        return Err(Error::Argument(format!("dequantize_blocks: type {number} is no type of blocks")));
    };
    let size = dtype.block_bytes() as u64;
    let Some(count) = bytes.constant().filter(|n| n.is_multiple_of(size)) else {
        return Err(Error::Shape(format!(
            "dequantize_blocks: `blocks` is {}, but its last axis must be a fixed multiple of {size}, the \
             bytes of a block of {dtype}",
            i.show(&blocks.shape)
        )));
    };
    let mut shape = blocks.shape.clone();
    let width = Dim::from((count / size).saturating_mul(dtype.block() as u64));
    if let Some(last) = shape.last_mut() {
        *last = width.clone();
    }
    let outputs = vec![(shape, DType::F32)];
    let axes = Axes::new(&[(R, rows), (K, bytes), (C, width)]);
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// Values are exact but for one rounding to f32, where a least is added and where the smallest of MXFP4 are no
// normal numbers. Bytes that are uncertain may stand for anything: nothing is said of their blocks.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let blocks = c.input(0);
    let dtype = DType::from_ggml_type(c.attr("type") as u32).unwrap_or(DType::Q8_0);
    let bytes: Vec<u8> = blocks.value.iter().map(|v| *v as u8).collect();
    let mut out = Approx::exact(&c.shape, formats::dequantize(dtype, &bytes));
    let uncertain = blocks.error.chunks(dtype.block_bytes()).map(|e| e.iter().any(|e| *e > 0.0));
    for (errors, _) in out.error.chunks_mut(dtype.block()).zip(uncertain).filter(|(_, is)| *is) {
        errors.fill(DType::F32.max_finite());
    }
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let bytes = channels.div_ceil(shape.w.block()) * shape.w.block_bytes();
    let blocks = g.input("blocks", DType::U8, &[rows.into(), bytes.into()])?;
    let y = g.dequantize_blocks(blocks, shape.w, shape.x)?;
    g.output("y", y)
}

/// Any bytes that stand for finite numbers.
fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    if name != "blocks" {
        return None;
    }
    let count = shape.sizes.get(R) * shape.sizes.get(C).div_ceil(shape.w.block());
    let mut block = vec![0; shape.w.block_bytes()];
    let mut out = Vec::with_capacity(count * block.len());
    // What is larger than the result's type holds is infinite there, and values must be finite.
    let fits = |block: &[u8]| {
        let most = if shape.x == DType::F16 { 65504.0 } else { f64::from(f32::MAX) };
        formats::first_not_finite(shape.w, block).is_none()
            && formats::dequantize(shape.w, block).iter().all(|v| v.abs() <= most)
    };
    for _ in 0..count {
        block.fill_with(|| rng.below(256) as u8);
        while !fits(&block) {
            block.fill_with(|| rng.below(256) as u8);
        }
        out.extend(block.iter().map(|b| f64::from(*b)));
    }
    Some(out)
}

impl Graph {
    /// The numbers that blocks of the type `of` stand for, as `to`, f32 or f16. `blocks [.., bytes]` is u8: the
    /// bytes of rows of blocks as they lie in a GGUF file, so of a tensor `[.., C]` of the type those of
    /// [`Tensor::to_bytes`](crate::Tensor::to_bytes) under the shape `[.., C / of.block() * of.block_bytes()]`.
    /// The result is `[.., C]`. In f32 it is the format's value exactly, but for one rounding where a least is
    /// added, and results below f32's normal numbers, the smallest of MXFP4, may be 0. Scales that are denormal
    /// f16 count.
    ///
    /// # Errors
    /// [`Error::Argument`] if `of` is no type of blocks, `to` no float type, or `blocks` not u8;
    /// [`Error::Shape`] if its last axis is no fixed multiple of a block's bytes.
    pub fn dequantize_blocks(&mut self, blocks: ValueId, of: DType, to: DType) -> Result<ValueId> {
        if !to.is_float() {
            return Err(Error::Argument(format!("dequantize_blocks: to {to}, but it must be to f32 or f16")));
        }
        let Some(number) = of.ggml_type().filter(|_| of.is_blocks()) else {
            return Err(Error::Argument(format!("dequantize_blocks: {of} is no type of blocks")));
        };
        let y = self.apply_one(&DEQUANTIZE_BLOCKS, &[Some(blocks)], &[("type", Attr::U32(number))])?;
        self.cast(y, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_other_sizes_and_types_are_refused_with_both() {
        let mut g = Graph::new();
        let blocks = g.input("blocks", DType::U8, &[3.into(), 68.into()]).unwrap();
        let y = g.dequantize_blocks(blocks, DType::Q8_0, DType::F16).unwrap();
        assert_eq!((g.value(y).dtype, g.value(y).shape.clone()), (DType::F16, vec![3.into(), 64.into()]));
        let mut say = |of, to| g.dequantize_blocks(blocks, of, to).unwrap_err().to_string();
        let size = "dequantize_blocks: `blocks` is [3, 68], but its last axis must be a fixed multiple of 18, the \
                    bytes of a block of q4_0";
        assert_eq!(say(DType::Q4_0, DType::F32), size);
        assert_eq!(say(DType::F16, DType::F32), "dequantize_blocks: f16 is no type of blocks");
        assert_eq!(say(DType::Q8_0, DType::I8), "dequantize_blocks: to i8, but it must be to f32 or f16");
    }
}
