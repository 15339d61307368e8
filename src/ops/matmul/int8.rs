//! Weights of int8, uint8 and uint4: (q - zero) · scale, of the tensor, of a column, or of a group along K.

use std::borrow::Cow;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats;
use crate::formats::packed::Packed;
use crate::graph::{Graph, ValueId};
use crate::kernel::Site;
use crate::numerics::{Approx, round_error};
use crate::op::Axis::{B, K, N};
use crate::op::{Fold, Infer, Operand, RefCall, Shape};

/// How weights of blocks lie, and how int8 and uint8 weights are scaled.
pub(super) fn weight_knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    if let Some(packed) = s.arg("w").and_then(|w| packed(w.dtype)) {
        return block_knobs(packed);
    }
    let (Some(w), Some(scale)) = (s.arg("w"), s.arg("w_scale")) else { return Vec::new() };
    let groups = scale.shape.get(1).map(|g| g.max(s.scalars).max(1) as usize);
    let zero = s.arg("w_zero");
    let mut knobs = scale_knobs(s);
    knobs.push(("ZEROS", (zero.is_some() || w.dtype == DType::U4).to_string()));
    match zero {
        Some(zero) => {
            knobs.push(("SIGNED", (zero.dtype == DType::I8).to_string()));
            knobs.push(("NIBBLES", (zero.dtype == DType::U4).to_string()));
        }
        None => knobs.push(("NONE", format!("{:?}", own_zero(w.dtype)))),
    }
    if let Some(groups) = groups {
        knobs.push(("BLOCK4", format!("{}u", (s.size(K) / groups / 4).max(8))));
    }
    knobs
}

/// How scales beside weights of whole numbers are read.
pub(super) fn scale_knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let Some(scale) = s.arg("w_scale") else { return Vec::new() };
    let (grouped, half) = (scale.shape.len() == 2, scale.dtype == DType::F16);
    vec![("GROUPED", grouped.to_string()), ("HALF", half.to_string())]
}

/// Whether weights of a type have scales beside them.
pub(super) const fn is_whole(w: DType) -> bool {
    matches!(w, DType::I8 | DType::U8 | DType::U4)
}

/// The zero point of weights that none is given for: that of uint4 is the middle, as in onnxruntime's
/// `MatMulNBits`.
const fn own_zero(w: DType) -> f64 {
    if matches!(w, DType::U4) { 8.0 } else { 0.0 }
}

/// The format of blocks whose codes lie in planes of a few bits.
pub(in crate::ops) fn packed(dtype: DType) -> Option<&'static Packed> {
    formats::of(dtype).filter(|_| dtype != DType::Q8_0).and_then(formats::Format::packed)
}

pub(in crate::ops) fn block_knobs(packed: &Packed) -> Vec<(&'static str, String)> {
    let bits = |i: usize| packed.planes.get(i).map_or(0, |plane| plane.bits);
    let mut knobs = vec![("LOW", format!("{}u", bits(0))), ("HIGH", format!("{}u", bits(1)))];
    knobs.push(("ZERO", format!("{:?}", f64::from(packed.zero()))));
    knobs.push(("TABLE", format!("{}u", packed.table())));
    if packed.part < 32 {
        knobs.push(("BLOCK4", format!("{}u", packed.part / 4)));
    }
    knobs
}

/// How the scale and the zero point of a weight read: by tensor, `[1]`; by channel, `[N]`; or by groups
/// of a multiple of 32 along K, `[N, G]`.
pub(super) fn plane_folds(i: &Infer<'_>, w: &Operand, n: &Dim, k: &Dim) -> Result<[Fold; 2]> {
    let plane = |at: usize| i.inputs.get(at).and_then(Option::as_ref);
    let (scale, zero) = (plane(2), plane(3));
    let argument = |text: String| Err(Error::Argument(format!("matmul: {text}")));
    if !is_whole(w.dtype) {
        return match (scale, zero) {
            (None, None) => Ok([Vec::new(), Vec::new()]),
            (Some(_), _) => {
                argument(format!("`w_scale` is for i8, u8 and u4 weights, but `w` is {}", w.dtype))
            }
            (None, _) => argument(format!("`w_zero` is for i8, u8 and u4 weights, but `w` is {}", w.dtype)),
        };
    }
    let scale = i.operand(2)?;
    let fold = match scale.shape.as_slice() {
        [one] if one == &Dim::ONE => vec![(B, 1)],
        [channels] => {
            i.same(N, (1, n), (2, channels))?;
            vec![(N, 1)]
        }
        [channels, groups] => {
            i.same(N, (1, n), (2, channels))?;
            check_groups(k, groups)?;
            vec![(N, 1), (K, 1)]
        }
        _ => i.rank(2, 2).map(|_| Vec::new())?,
    };
    let Some(zero) = zero else { return Ok([fold, Vec::new()]) };
    if zero.dtype != w.dtype && (w.dtype, zero.dtype) != (DType::U4, DType::U8) {
        return argument(format!("`w_zero` is {}, but `w` is {}", zero.dtype, w.dtype));
    }
    let mut wanted = scale.shape.clone();
    if let (DType::U4, Some(last)) = (zero.dtype, wanted.last_mut()) {
        *last = last.constant().map_or(Dim::from(0), |n| n.next_multiple_of(2).into());
    }
    if zero.shape != wanted {
        let (zero, scale) = (i.show(&zero.shape), i.show(&scale.shape));
        return Err(Error::Shape(format!("matmul: `w_zero` is {zero}, but `w_scale` is {scale}")));
    }
    Ok([fold.clone(), fold])
}

/// Fails unless K is so many groups of a multiple of 32.
fn check_groups(k: &Dim, groups: &Dim) -> Result<()> {
    let fits =
        |k: u64, g: u64| if g == 0 { k == 0 } else { k.is_multiple_of(g) && (k / g).is_multiple_of(32) };
    match (k.constant(), groups.constant()) {
        (Some(k), Some(g)) if fits(k, g) => Ok(()),
        (Some(k), Some(g)) => Err(Error::Shape(format!(
            "matmul: `w_scale` has {g} groups, but K = {k} is not {g} groups of a multiple of 32"
        ))),
        _ => {
            Err(Error::Shape("matmul: with scales of groups, K must be fixed, not a dim of the call".into()))
        }
    }
}

/// What belongs to element `i` of `w [.., N, K]` in a plane of it, of groups of a length.
fn of(plane: &Approx, i: usize, (n, k): (usize, usize), length: usize) -> (f64, f64) {
    let (column, at) = (i / k % n, i % k);
    match plane.shape.as_slice() {
        [_, row] => plane.at(column * row + at / length),
        _ => plane.at(column % plane.value.len()),
    }
}

/// The weights less their zero points.
pub(super) fn less_zero<'a>(c: &RefCall<'a>) -> Cow<'a, Approx> {
    let w = c.inputs[1].expect("the graph checked that `w` is there");
    let own = c.dtypes[1].map_or(0.0, own_zero);
    if c.inputs[3].is_none() && own == 0.0 {
        return Cow::Borrowed(w);
    }
    let (size, length) = ((c.sizes.get(N), c.sizes.get(K)), group_length(c));
    let mut out = w.clone();
    for (i, v) in out.value.iter_mut().enumerate() {
        *v -= c.inputs[3].map_or(own, |zero| of(zero, i, size, length).0);
    }
    Cow::Owned(out)
}

/// Elements of a group along K.
fn group_length(c: &RefCall<'_>) -> usize {
    let groups = c.inputs[2].filter(|s| s.shape.len() == 2).map_or(1, |s| s.shape[1]);
    (c.sizes.get(K) / groups.max(1)).max(1)
}

/// The weights that are multiplied with: less their zero points, and times the scales of their groups.
pub(super) fn dequantized<'a>(c: &RefCall<'a>) -> Cow<'a, Approx> {
    let mut out = less_zero(c);
    if c.dtypes[1].is_some_and(|w| w.is_blocks() || w == DType::Bf16) {
        let Approx { value, error, .. } = out.to_mut();
        error.iter_mut().zip(value).for_each(|(e, v)| *e = round_error(*v, *e));
        return out;
    }
    let Some(scale) = c.inputs[2].filter(|s| s.shape.len() == 2) else { return out };
    let (size, length) = ((c.sizes.get(N), c.sizes.get(K)), group_length(c));
    let Approx { value, error, .. } = out.to_mut();
    for (i, (v, e)) in value.iter_mut().zip(error).enumerate() {
        let (s, s_error) = of(scale, i, size, length);
        (*v, *e) = (*v * s, round_error(*v * s, v.abs() * s_error));
    }
    out
}

/// The scales and zero points that a case's weights have: elements that share them, none for a whole column,
/// all for a tensor.
pub(super) enum CasePlanes {
    None,
    Tensor {
        zero: bool,
    },
    Channels {
        zero: bool,
    },
    /// Of u4 `packed` as files have them: scales of f16, zero points of half a byte.
    Groups {
        length: usize,
        zero: bool,
        packed: bool,
    },
}

impl CasePlanes {
    pub fn of(shape: &Shape) -> Self {
        let groups = |length, zero| Self::Groups { length, zero, packed: false };
        let signed = shape.w == DType::I8;
        match shape.variant {
            _ if !is_whole(shape.w) => Self::None,
            0 if shape.w == DType::U4 => Self::Groups { length: 32, zero: true, packed: true },
            5 => Self::Tensor { zero: true },
            7 => groups(if signed { 32 } else { 64 }, false),
            8 => groups(if signed { 128 } else { 32 }, true),
            _ => Self::Channels { zero: shape.variant == 6 },
        }
    }

    /// What K is a multiple of.
    pub fn unit(&self, w: DType) -> usize {
        if let Self::Groups { length, .. } = self { *length } else { w.block() }
    }

    /// The weights that hold them, for `w [N, K]`.
    pub fn weights(
        &self,
        g: &mut Graph,
        w: DType,
        (n, k): (usize, usize),
    ) -> Result<Option<(ValueId, Option<ValueId>)>> {
        let (plane, zero, packed) = match *self {
            Self::None => return Ok(None),
            Self::Tensor { zero } => (vec![1], zero, false),
            Self::Channels { zero } => (vec![n], zero, false),
            Self::Groups { length, zero, packed } => (vec![n, k / length], zero, packed),
        };
        let scale = g.weight("w_scale", if packed { DType::F16 } else { DType::F32 }, &plane)?;
        let (dtype, plane) = match w {
            DType::U4 if packed => (DType::U4, vec![n, plane[1].next_multiple_of(2)]),
            DType::U4 => (DType::U8, plane),
            other => (other, plane),
        };
        let zero = zero.then(|| g.weight("w_zero", dtype, &plane)).transpose()?;
        Ok(Some((scale, zero)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_that_do_not_fit_are_named_with_both_sides() {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &[3.into(), 96.into()]).unwrap();
        let w = g.weight("w", DType::U8, &[8, 96]).unwrap();
        let say = |scale: &[usize], zero: Option<(DType, &[usize])>| {
            let mut g = g.clone();
            let scale = g.weight("scale", DType::F32, scale).unwrap();
            let zero = zero.map(|(dtype, shape)| g.weight("zero", dtype, shape).unwrap());
            g.matmul_int8(x, w, scale, zero).err().map(|e| e.to_string())
        };
        assert_eq!(say(&[8, 3], Some((DType::U8, &[8, 3]))), None);
        assert_eq!(say(&[1], None), None);
        let groups = "matmul: `w_scale` has 2 groups, but K = 96 is not 2 groups of a multiple of 32";
        assert_eq!(say(&[8, 2], None).as_deref(), Some(groups));
        let channels = "matmul: `w_scale` has N = 7, but `w` has 8";
        assert_eq!(say(&[7], None).as_deref(), Some(channels));
        let type_ = "matmul: `w_zero` is i8, but `w` is u8";
        assert_eq!(say(&[8], Some((DType::I8, &[8]))).as_deref(), Some(type_));
        let shape = "matmul: `w_zero` is [1], but `w_scale` is [8]";
        assert_eq!(say(&[8], Some((DType::U8, &[1]))).as_deref(), Some(shape));
        let other = g.weight("f", DType::F16, &[8, 96]).unwrap();
        let scale = g.weight("s", DType::F32, &[8]).unwrap();
        let message = g.matmul_int8(x, other, scale, None).unwrap_err().to_string();
        assert_eq!(message, "matmul: `w_scale` is for i8, u8 and u4 weights, but `w` is f16");
    }
}
