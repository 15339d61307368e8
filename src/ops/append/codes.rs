//! The bytes of a row that is kept as codes, and which others are as right.

use crate::dtype::DType;
use crate::formats::CacheForm;
use crate::ops::quantize_blocks::reference::Block;

/// Elements that share a scale.
const BLOCK: usize = 32;

/// What each byte of a row may be: first what the host makes, then what is as right.
// As blocks in a file: see the reference of `quantize_blocks`. A row with one scale is a block of 8 bits, whose
// scale is rounded to f32 only.
pub(super) fn row(form: CacheForm, x: &[f64], error: &[f64]) -> Vec<Vec<u8>> {
    let values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
    let made = form.encode(&values);
    let mut right: Vec<Vec<u8>> = made.iter().map(|byte| vec![*byte]).collect();
    let scales = form.code_bytes(x.len());
    let (dtype, size) = form.blocks().map_or((DType::Q8_0, x.len().max(1)), |dtype| (dtype, BLOCK));
    let each = if form == CacheForm::Q4_0 { 2 } else { 1 };
    let bytes = if form == CacheForm::Int8 { 4 } else { 2 };
    for (at, (x, error)) in x.chunks(size).zip(error.chunks(size)).enumerate() {
        let first = at * size;
        let scale = scales + bytes * at;
        let Some(block) = Block::of(dtype, x, error) else {
            let any: Vec<u8> = (0..=255).collect();
            right[first / each..(first + x.len()).div_ceil(each)].fill(any.clone());
            right[scale..scale + bytes].fill(any);
            continue;
        };
        for i in 0..x.len() {
            let (byte, shift) = ((first + i) / each, 4 * (i % each));
            let mask = if each == 2 { 15 << shift } else { 255 };
            // Beside each other code of the byte's other half, if it has one.
            let others = right[byte].clone();
            for code in block.codes(i, &[]) {
                let with = |other: &u8| (other & !mask) | (code as u8) << shift;
                add(&mut right[byte], others.iter().map(with));
            }
        }
        let (v, off) = (block.scale.abs(), block.scale.abs() * block.of_scale());
        let bits = |v: f64| match form {
            CacheForm::Int8 => (v as f32).to_bits(),
            _ => u32::from(half::f16::from_f64(v).to_bits()),
        };
        let sign = if block.scale < 0.0 { 1 << (8 * bytes - 1) } else { 0 };
        // What is exact is as the host has it, also a zero with a sign.
        let (low, high) = (bits(v - off) | sign, bits(v + off) | sign);
        for (i, right) in right[scale..scale + bytes].iter_mut().enumerate().filter(|_| off > 0.0) {
            let (low, high) = (low >> (8 * i), high >> (8 * i));
            add(right, (low..=high.min(low.saturating_add(255))).map(|part| part as u8));
        }
    }
    right
}

fn add(right: &mut Vec<u8>, others: impl Iterator<Item = u8>) {
    others.for_each(|other| {
        if !right.contains(&other) {
            right.push(other);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_at_the_middle_of_two_codes_may_have_either() {
        let mut x = [1.0; 34];
        (x[0], x[5], x[6], x[33]) = (-8.0, 1.5, 1.4999, -8.0);
        let right = row(CacheForm::Q4_0, &x, &[0.0; 34]);
        let several: Vec<_> = right.iter().enumerate().filter(|(_, right)| right.len() > 1).collect();
        assert_eq!(several, [(2, &vec![0xa9, 0x99])]);
        (x[0], x[33]) = (-127.0, 0.5);
        let right = row(CacheForm::Int8, &x, &[0.0; 34]);
        assert_eq!((&right[5][..], &right[6][..], &right[33][..]), (&[2, 1][..], &[1][..], &[1, 0][..]));
        // 1, or a neighbour of it.
        assert!(right[36].contains(&0) && right[36].contains(&1) && right[36].contains(&255));
        assert_eq!((right[35][0], right[39][0], right[39].len()), (0, 0x3f, 1));
    }
}
