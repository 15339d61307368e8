//! Built-ins that sum, in the order that a personality has.

use super::super::Sums;
use super::super::program::{Binary, Fold, Ternary, Ty};
use super::{Numbers, int};

/// How many lanes of a dot product are summed together.
const TOGETHER: usize = 64;

impl Numbers {
    /// A sum of products, of vectors whose components are rows.
    pub fn dot(&self, ty: Ty, a: &[&[u32]], b: &[&[u32]], dst: &mut [u32]) {
        let n = a.len();
        let (mut products, mut sums) = ([0; TOGETHER], [0; TOGETHER]);
        for start in (0..dst.len()).step_by(TOGETHER) {
            let lanes = start..(start + TOGETHER).min(dst.len());
            let part = lanes.len();
            let term = |i: usize| (&a[i][lanes.clone()], &b[i][lanes.clone()]);
            let dst = &mut dst[lanes.clone()];
            if self.sums == Sums::Pairwise && n == 4 {
                // (0 + 1) + (2 + 3); shorter ones have no other pairs than those in order.
                self.two_products(ty, [term(0), term(1)], &mut products[..part], &mut sums[..part]);
                let first = sums;
                self.two_products(ty, [term(2), term(3)], &mut products[..part], &mut sums[..part]);
                self.binary(Binary::Add, ty, &first[..part], &sums[..part], dst);
                continue;
            }
            let order = |i: usize| if self.sums == Sums::Backward { n - 1 - i } else { i };
            let (x, y) = term(order(0));
            self.binary(Binary::Mul, ty, x, y, dst);
            for i in 1..n {
                let (x, y) = term(order(i));
                sums[..part].copy_from_slice(dst);
                self.add_product(ty, [x, y, &sums[..part]], &mut products[..part], dst);
            }
        }
    }

    /// `fma` of f32 that rounds twice.
    pub(super) fn split(&self, [x, y, z]: [&[u32]; 3], dst: &mut [u32]) {
        let mut product = [0; TOGETHER];
        let parts = x.chunks(TOGETHER).zip(y.chunks(TOGETHER)).zip(z.chunks(TOGETHER));
        for (((x, y), z), dst) in parts.zip(dst.chunks_mut(TOGETHER)) {
            let product = &mut product[..dst.len()];
            self.binary(Binary::Mul, Ty::F32, x, y, product);
            self.binary(Binary::Add, Ty::F32, product, z, dst);
        }
    }

    /// `x * y + z`, rounded once or twice.
    fn add_product(&self, ty: Ty, [x, y, z]: [&[u32]; 3], product: &mut [u32], dst: &mut [u32]) {
        if self.contracted && matches!(ty, Ty::F32 | Ty::F16) {
            return self.ternary(Ternary::Fma, ty, x, y, z, dst);
        }
        self.binary(Binary::Mul, ty, x, y, product);
        self.binary(Binary::Add, ty, z, product, dst);
    }

    fn two_products(&self, ty: Ty, terms: [(&[u32], &[u32]); 2], product: &mut [u32], dst: &mut [u32]) {
        let [(a, b), (c, d)] = terms;
        let mut first = [0; TOGETHER];
        let first = &mut first[..dst.len()];
        self.binary(Binary::Mul, ty, a, b, first);
        self.add_product(ty, [c, d, first], product, dst);
    }

    /// All values as one, in the order of sums; the neutral element if there are none.
    pub fn fold(&self, fold: Fold, ty: Ty, values: &[u32]) -> u32 {
        let Some((first, rest)) = values.split_first() else { return neutral(fold, ty) };
        match self.sums {
            Sums::Forward => rest.iter().fold(*first, |sum, v| self.pair(fold, ty, sum, *v)),
            Sums::Backward => {
                values.iter().rev().copied().reduce(|sum, v| self.pair(fold, ty, sum, v)).unwrap_or(*first)
            }
            Sums::Pairwise if values.len() == 1 => *first,
            Sums::Pairwise => {
                let (low, high) = values.split_at(values.len().div_ceil(2));
                self.pair(fold, ty, self.fold(fold, ty, low), self.fold(fold, ty, high))
            }
        }
    }

    fn pair(&self, fold: Fold, ty: Ty, a: u32, b: u32) -> u32 {
        let op = match fold {
            Fold::Add => Binary::Add,
            Fold::Mul => Binary::Mul,
            Fold::Min => Binary::Min,
            Fold::Max => Binary::Max,
            Fold::And => Binary::And,
            Fold::Or => Binary::Or,
            Fold::Xor => Binary::Xor,
        };
        let mut result = [0];
        match ty {
            Ty::F32 | Ty::F16 => self.binary(op, ty, &[a], &[b], &mut result),
            _ => int::binary(op, ty == Ty::I32, &[a], &[b], &mut result),
        }
        result[0]
    }
}

/// What changes nothing.
fn neutral(fold: Fold, ty: Ty) -> u32 {
    let (float, signed) = (matches!(ty, Ty::F32 | Ty::F16), ty == Ty::I32);
    match fold {
        Fold::Mul if float => 1.0f32.to_bits(),
        Fold::Mul => 1,
        Fold::Min if float => f32::INFINITY.to_bits(),
        Fold::Max if float => f32::NEG_INFINITY.to_bits(),
        Fold::Min if signed => i32::MAX as u32,
        Fold::Max if signed => i32::MIN as u32,
        Fold::Min | Fold::And => u32::MAX,
        Fold::Add | Fold::Max | Fold::Or | Fold::Xor => 0,
    }
}
