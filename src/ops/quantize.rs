//! To int8 and uint8 and back, by scales and zero points. Not ops of their own: they are chains of
//! elementwise ops, which the planner makes one kernel of, or a part of their neighbours.
//!
//! A scale goes with a whole tensor (`[1]`), with a channel (`[C, 1, …]` and whatever else
//! broadcasts), or with a group of neighbours along the last axis: then it has the shape of `x`, the
//! last axis divided by the size of a group.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};

/// How halves are rounded, which is a part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rounding {
    /// To the even neighbour, as ONNX does.
    #[default]
    HalfToEven,
    /// Away from zero, as GGUF does.
    HalfAway,
}

impl Graph {
    /// q = saturate(round(x / scale) + zero) as `dtype`, i8 or u8. `zero` is of any type that holds
    /// whole numbers, and 0 if it is not given.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dtype` is neither i8 nor u8; [`Error::Shape`] if `scale` or `zero`
    /// neither broadcasts to `x` nor divides its last axis into groups.
    pub fn quantize(
        &mut self,
        x: ValueId,
        scale: ValueId,
        zero: Option<ValueId>,
        dtype: DType,
        rounding: Rounding,
    ) -> Result<ValueId> {
        if dtype.integer_range().is_none() {
            return Err(Error::Argument(format!("quantize: to {dtype}, but it must be to i8 or u8")));
        }
        self.has(x)?;
        let shape = self.value(x).shape.clone();
        let (x, [scale, zero]) = self.grouped("quantize", x, [Some(scale), zero])?;
        // In f32 whatever x is, so that only its own rounding stands between it and a tie.
        let mut y = self.cast(x, DType::F32)?;
        if let Some(scale) = scale {
            y = self.div(y, scale)?;
        }
        y = match rounding {
            Rounding::HalfToEven => self.round(y)?,
            Rounding::HalfAway => self.round_away(y)?,
        };
        if let Some(zero) = zero {
            y = self.add(y, zero)?;
        }
        let y = self.cast(y, dtype)?;
        self.as_shape(y, &shape)
    }

    /// x = (q - zero)·scale as `dtype`, f32 or f16.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dtype` is no float type; [`Error::Shape`] as [`Graph::quantize`].
    pub fn dequantize(
        &mut self,
        q: ValueId,
        scale: ValueId,
        zero: Option<ValueId>,
        dtype: DType,
    ) -> Result<ValueId> {
        if !dtype.is_float() {
            return Err(Error::Argument(format!("dequantize: to {dtype}, but it must be to f32 or f16")));
        }
        self.has(q)?;
        let shape = self.value(q).shape.clone();
        let (q, [scale, zero]) = self.grouped("dequantize", q, [Some(scale), zero])?;
        let mut y = self.cast(q, DType::F32)?;
        if let Some(zero) = zero {
            y = self.sub(y, zero)?;
        }
        if let Some(scale) = scale {
            y = self.mul(y, scale)?;
        }
        let y = self.cast(y, dtype)?;
        self.as_shape(y, &shape)
    }

    /// Rows of `x`, which are its last axis, as i8 or u8 with a scale each, found from the row: `(q, scale,
    /// zero)`, of the shapes `[.., K]`, `[.., 1]` f32 and, of u8, `[.., 1]`.
    ///
    /// i8: scale = max|x| / 127, and no zero point. u8: scale = (max - min) / 255 and zero = round(-min /
    /// scale), of a range that is made to hold 0, as ONNX's `DynamicQuantizeLinear` has it for a tensor. A row
    /// of zeros has the scale 1. Halves go to the even neighbour.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dtype` is neither i8 nor u8, or `x` no float; [`Error::Shape`] if it has no axis.
    pub fn quantize_rows(&mut self, x: ValueId, dtype: DType) -> Result<(ValueId, ValueId, Option<ValueId>)> {
        self.has(x)?;
        let Some(last) = self.value(x).shape.len().checked_sub(1) else {
            return Err(Error::Shape("quantize_rows: `x` needs at least 1 axis, but it has none".into()));
        };
        let x = self.cast(x, DType::F32)?;
        // Kept between a number and itself, anything is that number.
        let number = |g: &mut Self, like, v| g.clamp(like, v, v);
        let (span, low, levels) = if dtype == DType::U8 {
            let (high, low) = (self.max(x, &[last], true)?, self.min(x, &[last], true)?);
            let (high, low) = (self.clamp(high, 0.0, f32::MAX)?, self.clamp(low, f32::MIN, 0.0)?);
            (self.sub(high, low)?, Some(low), 255.0)
        } else {
            let size = self.abs(x)?;
            (self.max(size, &[last], true)?, None, 127.0)
        };
        let (levels, one) = (number(self, span, levels)?, number(self, span, 1.0)?);
        let scale = self.div(span, levels)?;
        let scale = self.select(span, scale, one)?;
        let zero = match low {
            None => None,
            Some(low) => {
                let zero = self.div(low, scale)?;
                let zero = self.neg(zero)?;
                let zero = self.round(zero)?;
                Some(self.cast(zero, dtype)?)
            }
        };
        let q = self.quantize(x, scale, zero, dtype, Rounding::HalfToEven)?;
        Ok((q, scale, zero))
    }

    fn as_shape(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        if self.value(x).shape == shape { Ok(x) } else { self.reshape(x, shape) }
    }

    /// `x` and what goes with it, so that they broadcast: where a group of neighbours shares a scale,
    /// the groups become an axis.
    fn grouped<const N: usize>(
        &mut self,
        op: &str,
        x: ValueId,
        others: [Option<ValueId>; N],
    ) -> Result<(ValueId, [Option<ValueId>; N])> {
        others.iter().flatten().try_for_each(|other| self.has(*other))?;
        let shape = self.value(x).shape.clone();
        let Some(groups) = others.iter().flatten().find_map(|o| self.groups(&shape, *o)) else {
            for other in others.iter().flatten() {
                self.broadcasts(op, x, *other)?;
            }
            return Ok((x, others));
        };
        let (last, leading) = shape.split_last().expect("what has groups has an axis");
        let split = |last: Dim, size: Dim| [leading, &[last, size]].concat();
        let size = last.constant().unwrap_or(0) / groups;
        let x = self.reshape(x, &split(groups.into(), size.into()))?;
        let mut out = others;
        for other in out.iter_mut().flatten() {
            let own = self.value(*other).shape.clone();
            if self.groups(&shape, *other) == Some(groups) {
                *other = self.reshape(*other, &split(groups.into(), Dim::ONE))?;
            } else if own.iter().any(|d| d.constant() != Some(1)) {
                return Err(Error::Shape(format!(
                    "{op}: `{}` is {}, but another scale or zero point makes {groups} groups of the last axis",
                    self.value(*other).name,
                    self.show_dims(&own)
                )));
            }
        }
        Ok((x, out))
    }

    /// How many groups of the last axis a scale is for, if it is for groups.
    fn groups(&self, shape: &[Dim], scale: ValueId) -> Option<u64> {
        let own = &self.values().get(scale.index())?.shape;
        let (last, leading) = shape.split_last()?;
        let (groups, size) = (own.last()?.constant()?, last.constant()?);
        let divides = groups > 1 && groups < size && size.is_multiple_of(groups);
        (divides && own.len() == shape.len() && own[..leading.len()] == *leading).then_some(groups)
    }

    fn broadcasts(&self, op: &str, x: ValueId, other: ValueId) -> Result<()> {
        let shape = self.broadcast_shape(op, &[x, other])?;
        if shape == self.value(x).shape {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "{op}: `{}` is {}, which is larger than what it goes with, {}",
            self.value(other).name,
            self.show_shape(other),
            self.show_shape(x)
        )))
    }
}
