//! Weights of whole numbers with a scale and a zero point for each group along K, from the packings in which files
//! have them: `W[n, k] = (q[n, k] - zero[n, g]) · scale[n, g]`, g the group of k.
//!
//! | packing | q | zero points | scales |
//! |---|---|---|---|
//! | GPTQ | words `[K/p, N]` | words `[G, N/p]`, in version 1 less 1 | `[G, N]` |
//! | AWQ | words `[K, N/8]` | words `[G, N/8]` | `[G, N]` |
//! | onnxruntime's `MatMulNBits` | bytes `[N, G, size·bits/8]` | bytes `[N, G·bits/8]` | `[N, G]` |
//! | rows | words `[N, K/p]` | bytes `[N, G]` | `[N, G]` |
//!
//! A word holds p = 32/bits numbers, the first lowest; in AWQ the columns 0 2 4 6 1 3 5 7 of eight. Each is
//! repacked once, on the host, into the form that kernels read: see [`Grouped`].

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

mod repack;

use repack::Codes;

/// Groups that kernels read are whole multiples of this.
const UNIT: usize = 32;
/// The columns of an AWQ word's eight numbers, the lowest first.
const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// Group-wise weights as kernels read them: what [`Graph::matmul_grouped`](crate::Graph::matmul_grouped) takes.
///
/// 4 bits stay 4 bits. Groups are neighbours along K, all of one length, a multiple of 32: where a file has
/// them in another order (`g_idx`) or cut short, columns of W are moved and filled up with zeros, and x has to
/// follow.
#[derive(Debug, Clone)]
pub struct Grouped {
    /// The numbers, `[N, K']`: u4 or u8; i8 where the zero point of 8 bits is 128 throughout, which is taken off.
    pub w: Tensor,
    /// `[N, G]`, f16 or f32.
    pub scale: Tensor,
    /// Zero points: u4 `[N, G]`, one column more where G is odd, or u8 `[N, G]`. `None` where that of u4 is 8
    /// throughout, or `w` is i8.
    pub zero: Option<Tensor>,
    /// Which column of x goes with each column of `w`, u32 `[K']`; past the end where none does. `None` where the
    /// first K go with those of x in their order.
    pub order: Option<Tensor>,
    /// Columns of x.
    pub k: usize,
}

/// The two ways in which GPTQ files hold zero points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GptqVersion {
    /// Less 1 (`gptq`).
    V1,
    /// As they are (`gptq_v2`).
    V2,
}

/// Weights of GPTQ: `qweight` and `qzeros` of i32 or u32, `scales` of floats, of 4 or 8 bits. `g_idx` says the
/// group of each k, in any order; without it, groups are neighbours of one length.
///
/// # Errors
/// [`Error::Argument`] for types and bits, [`Error::Shape`] where shapes do not go together or a group does
/// not exist.
pub fn from_gptq(
    version: GptqVersion,
    bits: usize,
    [qweight, qzeros, scales]: [&Tensor; 3],
    g_idx: Option<&Tensor>,
) -> Result<Grouped> {
    let who = Who("gptq");
    let each = who.numbers_in_a_word(bits)?;
    let [rows, n] = who.axes("qweight", qweight)?;
    let [groups, _] = who.axes("scales", scales)?;
    let k = rows * each;
    who.shape("scales", scales, &[groups, n])?;
    who.shape("qzeros", qzeros, &[groups, n.div_ceil(each)])?;
    let (q, zeros) = (who.words("qweight", qweight)?, who.words("qzeros", qzeros)?);
    let mask = (1u32 << bits) - 1;
    let number = |word: u32, i: usize| (word >> (i * bits) & mask) as u8;
    let off = u8::from(version == GptqVersion::V1);
    let zero = |n: usize, g: usize| {
        number(zeros[g * qzeros.shape()[1] + n / each], n % each).wrapping_add(off) & mask as u8
    };
    let codes = Codes {
        bits,
        n,
        k,
        groups,
        group_of: match g_idx {
            Some(g_idx) => who.groups_of(g_idx, k, groups)?,
            None => who.even_groups(k, groups)?,
        },
        codes: (0..n * k).map(|i| number(q[i % k / each * n + i / k], i % k % each)).collect(),
        zeros: Some((0..n * groups).map(|i| zero(i / groups, i % groups)).collect()),
        scales: transposed(scales)?,
    };
    codes.grouped()
}

/// Weights of AWQ, 4 bits: `qweight` and `qzeros` of i32 or u32, `scales` of floats.
///
/// # Errors
/// As [`from_gptq`].
pub fn from_awq([qweight, qzeros, scales]: [&Tensor; 3]) -> Result<Grouped> {
    let who = Who("awq");
    let [k, words] = who.axes("qweight", qweight)?;
    let [groups, _] = who.axes("scales", scales)?;
    let n = words * 8;
    who.shape("scales", scales, &[groups, n])?;
    who.shape("qzeros", qzeros, &[groups, words])?;
    let (q, zeros) = (who.words("qweight", qweight)?, who.words("qzeros", qzeros)?);
    let place = |column: usize| AWQ_ORDER.iter().position(|c| *c == column % 8).unwrap_or(0);
    let number = |of: &[u32], row: usize, n: usize| (of[row * words + n / 8] >> (place(n) * 4) & 15) as u8;
    let codes = Codes {
        bits: 4,
        n,
        k,
        groups,
        group_of: who.even_groups(k, groups)?,
        codes: (0..n * k).map(|i| number(&q, i % k, i / k)).collect(),
        zeros: Some((0..n * groups).map(|i| number(&zeros, i % groups, i / groups)).collect()),
        scales: transposed(scales)?,
    };
    codes.grouped()
}

/// Weights of onnxruntime's `MatMulNBits`, 4 or 8 bits, with so many columns of x: `b` u8 `[N, G, bytes]`,
/// `scales` and `zero_points` (u8, packed as `b`) of as many elements as they need, in any shape. Without zero
/// points those are the middle.
///
/// # Errors
/// As [`from_gptq`].
pub fn from_matmul_nbits(
    bits: usize,
    k: usize,
    [b, scales]: [&Tensor; 2],
    zero_points: Option<&Tensor>,
) -> Result<Grouped> {
    let who = Who("matmul_nbits");
    let each = who.numbers_in_a_word(bits)? / 4;
    let &[n, groups, bytes] = b.shape() else { return who.wrong_axes("b", b, 3) };
    let length = bytes * each;
    if length == 0 || k.div_ceil(length) != groups {
        return Err(Error::Shape(format!(
            "matmul_nbits: `b` is {:?}, {groups} groups of {length}, but K is {k}",
            b.shape()
        )));
    }
    let q = who.bytes("b", b, b.len())?;
    let row = groups.div_ceil(each);
    let zeros = zero_points.map(|z| who.bytes("zero_points", z, n * row)).transpose()?;
    who.count("scales", scales, n * groups)?;
    let number =
        |of: &[u8], row: usize, i: usize| of[row + i / each] >> (i % each * bits) & (0xff >> (8 - bits));
    let code = |i: usize| number(&q, (i / k * groups + i % k / length) * bytes, i % k % length);
    let zero = |z: &[u8], i: usize| number(z, i / groups * row, i % groups);
    let codes = Codes {
        bits,
        n,
        k,
        groups,
        group_of: (0..k).map(|k| k / length).collect(),
        codes: (0..n * k).map(code).collect(),
        zeros: zeros.map(|z| (0..n * groups).map(|i| zero(&z, i)).collect()),
        scales: scales.reshape(&[n, groups])?,
    };
    codes.grouped()
}

/// Weights in rows of words, 4 or 8 bits: `words` i32 or u32 `[N, K/p]`, `scales` `[N, G]`, `zeros` u8 `[N,
/// G]`; without them they are the middle. `g_idx` as of [`from_gptq`].
///
/// # Errors
/// As [`from_gptq`].
pub fn from_rows(
    bits: usize,
    [words, scales]: [&Tensor; 2],
    zeros: Option<&Tensor>,
    g_idx: Option<&Tensor>,
) -> Result<Grouped> {
    let who = Who("rows");
    let each = who.numbers_in_a_word(bits)?;
    let [n, row] = who.axes("words", words)?;
    let [_, groups] = who.axes("scales", scales)?;
    let k = row * each;
    who.shape("scales", scales, &[n, groups])?;
    let q = who.words("words", words)?;
    let mask = (1u32 << bits) - 1;
    let codes = Codes {
        bits,
        n,
        k,
        groups,
        group_of: match g_idx {
            Some(g_idx) => who.groups_of(g_idx, k, groups)?,
            None => who.even_groups(k, groups)?,
        },
        codes: (0..n * k).map(|i| (q[i / each] >> (i % each * bits) & mask) as u8).collect(),
        zeros: zeros.map(|z| who.bytes("zeros", z, n * groups)).transpose()?,
        scales: scales.clone(),
    };
    codes.grouped()
}

/// `[G, N]` as `[N, G]`.
fn transposed(scales: &Tensor) -> Result<Tensor> {
    let &[groups, n] = scales.shape() else { return Ok(scales.clone()) };
    let values = scales.to_f64();
    let turned: Vec<f64> = (0..n * groups).map(|i| values[i % groups * n + i / groups]).collect();
    Tensor::from_f64(scales.dtype(), &[n, groups], &turned)
}

/// The packing, in messages.
struct Who(&'static str);

impl Who {
    fn numbers_in_a_word(&self, bits: usize) -> Result<usize> {
        if bits == 4 || bits == 8 {
            return Ok(32 / bits);
        }
        Err(Error::Argument(format!("{}: weights of {bits} bits, but only 4 and 8 are read", self.0)))
    }

    fn wrong_axes<T>(&self, name: &str, t: &Tensor, rank: usize) -> Result<T> {
        Err(Error::Shape(format!("{}: `{name}` is {:?}, but needs {rank} axes", self.0, t.shape())))
    }

    fn axes(&self, name: &str, t: &Tensor) -> Result<[usize; 2]> {
        match *t.shape() {
            [a, b] => Ok([a, b]),
            _ => self.wrong_axes(name, t, 2),
        }
    }

    fn shape(&self, name: &str, t: &Tensor, wanted: &[usize]) -> Result<()> {
        if t.shape() == wanted {
            return Ok(());
        }
        Err(Error::Shape(format!("{}: `{name}` is {:?}, but it must be {wanted:?}", self.0, t.shape())))
    }

    fn count(&self, name: &str, t: &Tensor, wanted: usize) -> Result<()> {
        if t.len() == wanted {
            return Ok(());
        }
        let own = t.len();
        Err(Error::Shape(format!("{}: `{name}` has {own} elements, but it must have {wanted}", self.0)))
    }

    fn words(&self, name: &str, t: &Tensor) -> Result<Vec<u32>> {
        if !matches!(t.dtype(), DType::I32 | DType::U32) {
            let own = t.dtype();
            return Err(Error::Argument(format!("{}: `{name}` is {own}, but it must be i32 or u32", self.0)));
        }
        Ok(t.to_bytes().as_chunks().0.iter().map(|c| u32::from_le_bytes(*c)).collect())
    }

    fn bytes(&self, name: &str, t: &Tensor, wanted: usize) -> Result<Vec<u8>> {
        if t.dtype() != DType::U8 {
            let own = t.dtype();
            return Err(Error::Argument(format!("{}: `{name}` is {own}, but it must be u8", self.0)));
        }
        self.count(name, t, wanted)?;
        Ok(t.to_bytes())
    }

    /// The group of each k, of groups of one length.
    fn even_groups(&self, k: usize, groups: usize) -> Result<Vec<usize>> {
        if groups == 0 || !k.is_multiple_of(groups) {
            return Err(Error::Shape(format!(
                "{}: K = {k} is not {groups} groups of one length, and nothing says which group a k is of",
                self.0
            )));
        }
        Ok((0..k).map(|i| i / (k / groups)).collect())
    }

    /// The group of each k, as it is given.
    fn groups_of(&self, g_idx: &Tensor, k: usize, groups: usize) -> Result<Vec<usize>> {
        let all = self.words("g_idx", g_idx)?;
        self.count("g_idx", g_idx, k)?;
        match all.iter().position(|g| *g as usize >= groups) {
            None => Ok(all.into_iter().map(|g| g as usize).collect()),
            Some(at) => Err(Error::Shape(format!(
                "{}: `g_idx` of {at} is {}, but there are {groups} groups",
                self.0, all[at] as i32
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
