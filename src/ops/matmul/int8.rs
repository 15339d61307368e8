//! Weights of int8 and uint8: (q - zero) · scale, of the tensor, of a column, or of a group along K.

use std::borrow::Cow;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats;
use crate::formats::packed::Packed;
use crate::kernel::Site;
use crate::numerics::{Approx, round_error};
use crate::op::Axis::{B, K, N};
use crate::op::{Fold, Infer, Operand, RefCall};

/// How weights of blocks lie, and how int8 and uint8 weights are scaled.
pub(super) fn weight_knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    if let Some(packed) = s.arg("w").and_then(|w| packed(w.dtype)) {
        return block_knobs(packed);
    }
    let (Some(w), Some(scale)) = (s.arg("w"), s.arg("w_scale")) else { return Vec::new() };
    let groups = scale.shape.get(1).map(|g| g.max(s.scalars).max(1) as usize);
    let zeros = s.arg("w_zero").is_some();
    let mut knobs = vec![("GROUPED", groups.is_some().to_string()), ("ZEROS", zeros.to_string())];
    if zeros {
        knobs.push(("SIGNED", (w.dtype == DType::I8).to_string()));
    }
    if let Some(groups) = groups {
        knobs.push(("BLOCK4", format!("{}u", (s.size(K) / groups / 4).max(8))));
    }
    knobs
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
    if !matches!(w.dtype, DType::I8 | DType::U8) {
        return match (scale, zero) {
            (None, None) => Ok([Vec::new(), Vec::new()]),
            (Some(_), _) => argument(format!("`w_scale` is for i8 and u8 weights, but `w` is {}", w.dtype)),
            (None, _) => argument(format!("`w_zero` is for i8 and u8 weights, but `w` is {}", w.dtype)),
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
    if zero.dtype != w.dtype {
        return argument(format!("`w_zero` is {}, but `w` is {}", zero.dtype, w.dtype));
    }
    if zero.shape != scale.shape {
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

/// What belongs to element `i` of `w [.., N, K]` in a plane of it.
fn of(plane: &Approx, i: usize, n: usize, k: usize) -> (f64, f64) {
    let (column, at) = (i / k % n, i % k);
    match plane.shape.as_slice() {
        [_, groups] => plane.at(column * groups + at / (k / groups)),
        _ => plane.at(column % plane.value.len()),
    }
}

/// The weights less their zero points.
pub(super) fn less_zero<'a>(c: &RefCall<'a>) -> Cow<'a, Approx> {
    let w = c.inputs[1].expect("the graph checked that `w` is there");
    let Some(zero) = c.inputs[3] else { return Cow::Borrowed(w) };
    let (n, k) = (c.sizes.get(N), c.sizes.get(K));
    let mut out = w.clone();
    for (i, v) in out.value.iter_mut().enumerate() {
        *v -= of(zero, i, n, k).0;
    }
    Cow::Owned(out)
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
    let (n, k) = (c.sizes.get(N), c.sizes.get(K));
    let Approx { value, error, .. } = out.to_mut();
    for (i, (v, e)) in value.iter_mut().zip(error).enumerate() {
        let (s, s_error) = of(scale, i, n, k);
        (*v, *e) = (*v * s, round_error(*v * s, v.abs() * s_error));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;

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
        assert_eq!(message, "matmul: `w_scale` is for i8 and u8 weights, but `w` is f16");
    }
}
