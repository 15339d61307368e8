//! Which type each weight has, in a file and on the device, and the conversion to it.

use std::collections::BTreeMap;
use std::str::FromStr;

use tachylite::formats::{self, Feedback, i8};
use tachylite::ops::matmul::MATMUL;
use tachylite::{DType, Tensor};

use crate::model;
use crate::{Error, Result};

/// The types of weights by the names they were published under.
pub type Types = BTreeMap<String, DType>;

/// The types that weights can be made in, from the most bytes to the fewest.
pub const MADE: [DType; 19] = [
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::Q8_0,
    DType::I8,
    DType::Q6K,
    DType::Q5_1,
    DType::Q5K,
    DType::Q5_0,
    DType::Q4_1,
    DType::Q4K,
    DType::Q4_0,
    DType::Iq4Nl,
    DType::Iq4Xs,
    DType::Mxfp4,
    DType::Q3K,
    DType::Q2K,
    DType::Tq2_0,
    DType::Tq1_0,
];

/// How the weights are stored. Activations are f32 whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeightType {
    /// The type of the 36 matrices; as the file has them, if none is given. A matrix whose rows are no whole
    /// number of blocks gets [`formats::fallback`]'s.
    pub matrices: Option<DType>,
    /// The type of the word and position tables; if none is given f32 beside f32, bf16 beside bf16, and f16
    /// beside all others. With blocks in the word table the position table, which is small, is f16.
    pub tables: Option<DType>,
}

impl WeightType {
    /// All in f32.
    pub const F32: Self = Self::of(DType::F32);
    /// Matrices and tables in f16.
    pub const F16: Self = Self::of(DType::F16);
    /// Matrices in int8 with one scale for each output channel.
    pub const INT8: Self = Self::of(DType::I8);
    /// Matrices in `Q8_0`.
    pub const Q8_0: Self = Self::of(DType::Q8_0);

    /// Matrices of this type.
    pub const fn of(matrices: DType) -> Self {
        Self { matrices: Some(matrices), tables: None }
    }

    /// The same with tables of another type.
    pub const fn with_tables(self, tables: DType) -> Self {
        Self { tables: Some(tables), ..self }
    }

    /// The type that a weight of this name and shape has in a file, if it was `from` before.
    pub fn file_type(self, name: &str, shape: &[usize], from: DType) -> DType {
        let width = shape.last().copied().unwrap_or(1);
        if model::is_linear(name) {
            return self.matrices.map_or(from, |d| formats::fallback(d, width));
        }
        if !model::is_table(name) {
            return DType::F32;
        }
        let beside = match self.matrices {
            Some(plain @ (DType::F32 | DType::Bf16)) => Some(plain),
            Some(_) => Some(DType::F16),
            None => None,
        };
        match self.tables.or(beside).map_or(from, |d| formats::fallback(d, width)) {
            blocks if blocks.is_blocks() && !model::is_word_table(name) => DType::F16,
            dtype => dtype,
        }
    }

    /// The type of every weight on a device, of the model as it was published.
    pub fn published(self) -> Types {
        let types = model::published().into_iter();
        types
            .map(|(name, shape)| {
                let dtype = device_type(self.file_type(&name, &shape, DType::F32));
                (name, dtype)
            })
            .collect()
    }

    /// Its name on the command line; `the file's` for what a file has.
    pub fn name(self) -> &'static str {
        self.matrices.map_or("the file's", name)
    }
}

/// The name of a type on the command line.
pub const fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::I8 => "int8",
        other => other.name(),
    }
}

/// The type of that name, if weights can be made in it.
///
/// # Errors
/// With the names that there are.
pub fn parse(text: &str) -> Result<DType> {
    let named = |d: &DType| name(*d) == text || d.name() == text;
    if let Some(found) = MADE.into_iter().find(named) {
        return Ok(found);
    }
    let what = match DType::parse(text) {
        Some(d) if formats::of(d).is_some() => "can be read from a file, but not made",
        _ => "is no type of weights",
    };
    Err(Error::new(format!("`{text}` {what}; there are {}", MADE.map(name).join(" "))))
}

impl FromStr for WeightType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map(Self::of)
    }
}

/// The type in which a device holds what a file has in another: the same if a kernel reads it, else f32,
/// unpacked exactly.
pub fn device_type(dtype: DType) -> DType {
    let read = MATMUL.inputs.iter().any(|arg| arg.name == "w" && arg.dtypes.contains(&dtype));
    if read { dtype } else { DType::F32 }
}

/// A tensor, in the type that a file would have, as a device holds it, and the scales that go with it if any;
/// made for known inputs, if there are `inputs`.
///
/// # Errors
/// If a value is not finite, so that no block can hold it.
pub fn convert(
    name: &str,
    tensor: &Tensor,
    to: DType,
    inputs: Option<&Feedback>,
) -> Result<Vec<(String, Tensor)>> {
    let mut weights = Vec::new();
    let stored = if to == tensor.dtype() {
        tensor.clone()
    } else if to == DType::I8 {
        let (values, scales) =
            inputs.map_or_else(|| i8::quantize(tensor), |known| known.quantize_i8(tensor))?;
        weights.push((scale_name(name), scales));
        values
    } else {
        // Blocks are made of finite values only, and named if they are not.
        if to.is_blocks()
            && let Some(v) = tensor.to_f32().iter().find(|v| !v.is_finite())
        {
            return Err(Error::new(format!("`{name}` has a value {v}, which no block of {to} can hold")));
        }
        inputs.map_or_else(|| formats::quantize(to, tensor), |known| known.quantize(to, tensor))?
    };
    let device = device_type(to);
    weights.push((name.to_owned(), if device == to { stored } else { stored.cast(device)? }));
    Ok(weights)
}

/// The name of the scales that go with an int8 weight.
pub fn scale_name(weight: &str) -> String {
    weight.strip_suffix("weight").unwrap_or(weight).to_owned() + "scale"
}

/// Bytes that a file of these types takes for tensors, int8's scales included.
pub fn file_bytes(types: &Types) -> u64 {
    let bytes = |(name, shape): (String, Vec<usize>)| {
        let dtype = types.get(&name).copied().unwrap_or(DType::F32);
        let elements: usize = shape.iter().product();
        let scales = if dtype == DType::I8 { 4 * shape[0] } else { 0 };
        (elements / dtype.block() * dtype.block_bytes() + scales) as u64
    };
    model::published().into_iter().map(bytes).sum()
}

/// How many of the matrices have which type: `6 q4_k, 30 q5_0`.
pub fn census(types: &Types) -> String {
    let mut counts: Vec<(DType, usize)> = Vec::new();
    for (_, dtype) in types.iter().filter(|(name, _)| model::is_linear(name)) {
        match counts.iter_mut().find(|(d, _)| d == dtype) {
            Some((_, n)) => *n += 1,
            None => counts.push((*dtype, 1)),
        }
    }
    counts.sort_by_key(|(_, n)| *n);
    counts.iter().map(|(d, n)| format!("{n} {}", name(*d))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_made_has_a_name_and_a_quantiser_and_no_other_is() {
        for dtype in DType::ALL {
            let plain = matches!(dtype, DType::F32 | DType::F16 | DType::Bf16 | DType::I8);
            let made = plain || formats::of(dtype).is_some_and(formats::Format::can_quantize);
            assert_eq!(MADE.contains(&dtype), made, "{dtype}");
            assert_eq!(parse(name(dtype)).is_ok(), made, "{dtype}");
        }
        let said = parse("iq2_s").unwrap_err().to_string();
        assert!(
            said.starts_with("`iq2_s` can be read from a file, but not made; there are f32 f16"),
            "{said}"
        );
        assert!(parse("q9").unwrap_err().to_string().starts_with("`q9` is no type of weights"));
        assert_eq!("i8".parse::<WeightType>().unwrap(), WeightType::INT8);
    }

    #[test]
    fn matrices_whose_rows_are_no_whole_blocks_fall_back_as_elsewhere() {
        let count = |dtype| {
            let types = model::published().into_iter();
            let of = |(n, s): (String, Vec<usize>)| {
                (n.clone(), WeightType::of(dtype).file_type(&n, &s, DType::F32))
            };
            census(&types.map(of).collect())
        };
        assert_eq!(count(DType::Q4K), "6 q4_k, 30 q5_0");
        assert_eq!(count(DType::Q6K), "6 q6_k, 30 q8_0");
        assert_eq!(count(DType::Q2K), "6 q2_k, 30 iq4_nl");
        assert_eq!(count(DType::Q5_0), "36 q5_0");
        let tables = |w: WeightType| {
            let types = w.published();
            ["word", "position", "token_type"].map(|t| types[&format!("embeddings.{t}_embeddings.weight")])
        };
        assert_eq!(tables(WeightType::F32), [DType::F32; 3]);
        assert_eq!(tables(WeightType::Q8_0), [DType::F16, DType::F16, DType::F32]);
        let q4_k = WeightType::Q8_0.with_tables(DType::Q4K);
        assert_eq!(tables(q4_k), [DType::Q5_0, DType::F16, DType::F32]);
        // No kernel reads ternary weights: a device holds them unpacked.
        assert_eq!(
            WeightType::of(DType::Tq2_0).published()["encoder.layer.0.output.dense.weight"],
            DType::F32
        );
    }
}
