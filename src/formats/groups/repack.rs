//! From one number for each weight to the form that kernels read, and back.

use super::{Grouped, UNIT};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Weights, a number each.
pub(super) struct Codes {
    /// Bits of a number, 4 or 8.
    pub bits: usize,
    /// Rows of W.
    pub n: usize,
    /// Its columns.
    pub k: usize,
    /// Groups of columns.
    pub groups: usize,
    /// The group of each column.
    pub group_of: Vec<usize>,
    /// The numbers, `[N, K]`.
    pub codes: Vec<u8>,
    /// The zero points, `[N, G]`; without them they are the middle.
    pub zeros: Option<Vec<u8>>,
    /// `[N, G]`, of any float type.
    pub scales: Tensor,
}

/// What a column that nothing goes with points at: past the end of every row.
const NOTHING: u32 = u32::MAX;

impl Codes {
    /// Groups side by side, all of one length, the numbers packed.
    pub fn grouped(self) -> Result<Grouped> {
        let middle = 1u8 << (self.bits - 1);
        let zeros = self.zeros.as_ref().filter(|zeros| zeros.iter().any(|z| *z != middle));
        let order = self.order()?;
        // What nothing goes with is multiplied with 0: any number will do.
        let code = |row: &[u8], from: u32| row.get(from as usize).copied().unwrap_or(middle);
        let mut out = Vec::with_capacity(self.n * order.len() * self.bits / 8);
        for row in self.codes.chunks_exact(self.k.max(1)) {
            match (self.bits, zeros) {
                (4, _) => out.extend(order.chunks_exact(2).map(|p| code(row, p[0]) | code(row, p[1]) << 4)),
                (_, Some(_)) => out.extend(order.iter().map(|from| code(row, *from))),
                (_, None) => out.extend(order.iter().map(|from| code(row, *from) ^ middle)),
            }
        }
        let dtype = match (self.bits, zeros) {
            (4, _) => DType::U4,
            (_, Some(_)) => DType::U8,
            (_, None) => DType::I8,
        };
        let zero = zeros.map(|zeros| self.zero(zeros)).transpose()?;
        let in_order = order.iter().zip(0..).all(|(from, k)| *from == k || k as usize >= self.k);
        let given = Tensor::from_u32(&[order.len()], &order)?;
        let scale = match self.scales.dtype() {
            DType::F16 | DType::F32 => self.scales,
            _ => self.scales.cast(DType::F32)?,
        };
        let w = Tensor::new(dtype, &[self.n, order.len()], out)?;
        Ok(Grouped { w, scale, zero, order: (!in_order).then_some(given), k: self.k })
    }

    /// The column of W for each place: those of the first group, filled up, then of the next.
    fn order(&self) -> Result<Vec<u32>> {
        let mut members = vec![Vec::new(); self.groups];
        self.group_of.iter().zip(0..).for_each(|(g, k)| members[*g].push(k));
        let longest = members.iter().map(Vec::len).max().unwrap_or(0);
        let length = longest.next_multiple_of(UNIT);
        // What a file says must not take more memory than its bytes warrant.
        if longest > UNIT && self.groups.saturating_mul(longest) > 4 * self.k {
            return Err(Error::Shape(format!(
                "groups: the longest of {} has {longest} of K = {}, and as much for each is more than \
                 four times K",
                self.groups, self.k
            )));
        }
        members.iter_mut().for_each(|group| group.resize(length, NOTHING));
        Ok(members.concat())
    }

    fn zero(&self, zeros: &[u8]) -> Result<Tensor> {
        if self.bits == 8 {
            return Tensor::new(DType::U8, &[self.n, self.groups], zeros.to_vec());
        }
        let pair = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |z| z << 4);
        let bytes: Vec<u8> =
            zeros.chunks(self.groups.max(1)).flat_map(|row| row.chunks(2).map(pair)).collect();
        Tensor::new(DType::U4, &[self.n, self.groups.next_multiple_of(2)], bytes)
    }
}

impl Grouped {
    /// W as f32 `[N, K]`, in the order of x: what the numbers stand for, each rounded once where it has to be.
    ///
    /// # Errors
    /// [`Error::Shape`] if the parts do not go together, which those of this module do.
    pub fn dequantize(&self) -> Result<Tensor> {
        let [n, padded] = [self.w.shape()[0], self.w.shape()[1]];
        let groups = self.scale.shape()[1];
        let length = padded / groups.max(1);
        let (codes, scales) = (self.w.to_f64(), self.scale.to_f64());
        let zeros = self.zero.as_ref().map(|z| (z.to_f64(), z.shape()[1]));
        let middle = if self.w.dtype() == DType::U4 { 8.0 } else { 0.0 };
        let order = self.order.as_ref().map(Tensor::to_u32).transpose()?;
        let mut out = vec![0f32; n * self.k];
        for row in 0..n {
            for place in 0..padded {
                let k = order.as_ref().map_or(place, |order| order[place] as usize);
                if k >= self.k {
                    continue;
                }
                let g = place / length;
                let zero = zeros.as_ref().map_or(middle, |(z, width)| z[row * width + g]);
                let v = (codes[row * padded + place] - zero) * scales[row * groups + g];
                out[row * self.k + k] = v as f32;
            }
        }
        Tensor::from_f32(&[n, self.k], &out)
    }
}
