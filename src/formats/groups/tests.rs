//! Packings made here, number by number, and what is wrong with broken ones. The cases of `check --cases` have
//! packings that others made.

use super::*;
use crate::rng::Rng;

const N: usize = 16;
const K: usize = 96;
const GROUPS: usize = 3;

/// Numbers, zero points and scales of a weight, and what it is.
struct Made {
    bits: usize,
    q: Vec<u8>,
    zeros: Vec<u8>,
    scales: Vec<f64>,
    group_of: Vec<usize>,
}

impl Made {
    fn new(bits: usize, group_of: Vec<usize>) -> Self {
        let mut rng = Rng::new(bits as u64);
        let mut draw = |n: usize| (0..n).map(|_| rng.below(1 << bits) as u8).collect::<Vec<_>>();
        let (q, zeros) = (draw(N * K), draw(N * GROUPS));
        let scales = (0..N * GROUPS).map(|_| (1.0 + rng.below(64) as f64) / 1024.0).collect();
        Self { bits, q, zeros, scales, group_of }
    }

    fn w(&self, zeros: &[u8]) -> Vec<f32> {
        let one = |i: usize| {
            let g = i / K * GROUPS + self.group_of[i % K];
            ((f64::from(self.q[i]) - f64::from(zeros[g])) * self.scales[g]) as f32
        };
        (0..N * K).map(one).collect()
    }

    /// `[rows, columns]` of words that hold neighbours, or the rows below each other.
    fn words(&self, rows: usize, columns: usize, number: impl Fn(usize, usize, usize) -> u8) -> Tensor {
        let each = 32 / self.bits;
        let word = |i: usize| {
            (0..each).fold(0u32, |word, j| {
                word | u32::from(number(i / columns, i % columns, j)) << (j * self.bits)
            })
        };
        Tensor::from_u32(&[rows, columns], &(0..rows * columns).map(word).collect::<Vec<_>>()).unwrap()
    }

    fn gptq(&self, less: u8) -> [Tensor; 3] {
        let each = 32 / self.bits;
        let mask = (0xff_u32 >> (8 - self.bits)) as u8;
        let zero =
            |g: usize, c: usize, j: usize| self.zeros[(c * each + j) * GROUPS + g].wrapping_sub(less) & mask;
        let q = self.words(K / each, N, |k, n, j| self.q[n * K + k * each + j]);
        let scales: Vec<f64> = (0..GROUPS * N).map(|i| self.scales[i % N * GROUPS + i / N]).collect();
        let scales = Tensor::from_f64(DType::F16, &[GROUPS, N], &scales).unwrap();
        [q, self.words(GROUPS, N / each, zero), scales]
    }

    fn scales(&self, dtype: DType) -> Tensor {
        Tensor::from_f64(dtype, &[N, GROUPS], &self.scales).unwrap()
    }
}

fn even() -> Vec<usize> {
    (0..K).map(|k| k / 32).collect()
}

fn check(grouped: Result<Grouped>, w: &[f32], dtype: DType) -> Grouped {
    let grouped = grouped.unwrap();
    assert_eq!(grouped.w.dtype(), dtype);
    assert_eq!(grouped.dequantize().unwrap().to_f32(), w);
    grouped
}

#[test]
fn all_packings_of_a_weight_are_the_same_weight() {
    for (bits, dtype) in [(4, DType::U4), (8, DType::U8)] {
        let made = Made::new(bits, even());
        let w = made.w(&made.zeros);
        for (version, less) in [(GptqVersion::V1, 1), (GptqVersion::V2, 0)] {
            let [q, z, s] = made.gptq(less);
            let grouped = check(from_gptq(version, bits, [&q, &z, &s], None), &w, dtype);
            assert!(grouped.order.is_none() && grouped.scale.dtype() == DType::F16);
        }
        let each = 32 / bits;
        let rows = made.words(N, K / each, |n, c, j| made.q[n * K + c * each + j]);
        let zeros = Tensor::new(DType::U8, &[N, GROUPS], made.zeros.clone()).unwrap();
        check(from_rows(bits, [&rows, &made.scales(DType::F32)], Some(&zeros), None), &w, dtype);
    }
    let made = Made::new(4, even());
    let order = |c: usize, j: usize| 8 * c + [0, 2, 4, 6, 1, 3, 5, 7][j];
    let q = made.words(K, N / 8, |k, c, j| made.q[order(c, j) * K + k]);
    let z = made.words(GROUPS, N / 8, |g, c, j| made.zeros[order(c, j) * GROUPS + g]);
    let [_, _, s] = made.gptq(0);
    check(from_awq([&q, &z, &s]), &made.w(&made.zeros), DType::U4);
}

#[test]
fn a_last_group_is_filled_up_and_the_middle_is_no_zero_point() {
    for bits in [4, 8] {
        let k = K - 13;
        let made = Made::new(bits, even());
        let each = 8 / bits;
        // What fills the last group up is anything.
        let number = |n: usize, k: usize| made.q[n * K + k];
        let byte = |i: usize| {
            let (n, first) = (i / (K / each), i % (K / each) * each);
            (0..each).fold(0u8, |byte, j| byte | number(n, first + j) << (j * bits))
        };
        let bytes: Vec<u8> = (0..N * K / each).map(byte).collect();
        let b = Tensor::new(DType::U8, &[N, GROUPS, 32 / each], bytes).unwrap();
        let pack = |zeros: &[u8]| {
            let pair = |pair: &[u8]| (0..pair.len()).fold(0u8, |byte, j| byte | pair[j] << (j * bits));
            let all: Vec<u8> = zeros.chunks(GROUPS).flat_map(|row| row.chunks(each).map(pair)).collect();
            Tensor::new(DType::U8, &[all.len()], all).unwrap()
        };
        let cut = |w: Vec<f32>| w.chunks(K).flat_map(|row| row[..k].to_vec()).collect::<Vec<_>>();
        let scales = made.scales(DType::F16);
        let dtype = if bits == 4 { DType::U4 } else { DType::U8 };
        let grouped = from_matmul_nbits(bits, k, [&b, &scales], Some(&pack(&made.zeros)));
        let grouped = check(grouped, &cut(made.w(&made.zeros)), dtype);
        assert_eq!((grouped.w.shape(), grouped.k, grouped.order.is_some()), (&[N, K][..], k, false));
        let middle = vec![1u8 << (bits - 1); N * GROUPS];
        let dtype = if bits == 4 { DType::U4 } else { DType::I8 };
        for zeros in [Some(pack(&middle)), None] {
            let grouped = from_matmul_nbits(bits, k, [&b, &scales], zeros.as_ref());
            assert!(check(grouped, &cut(made.w(&middle)), dtype).zero.is_none());
        }
    }
}

#[test]
fn columns_are_moved_to_their_groups() {
    let mut rng = Rng::new(9);
    let mut group_of = even();
    for i in (1..K).rev() {
        group_of.swap(i, rng.below(i as u64 + 1) as usize);
    }
    // One group has more than its share, so that the others are filled up.
    let more = group_of.iter().position(|g| *g == 1).unwrap();
    group_of[more] = 0;
    let made = Made::new(4, group_of.clone());
    let g_idx: Vec<f64> = group_of.iter().map(|g| *g as f64).collect();
    let g_idx = Tensor::from_f64(DType::I32, &[K], &g_idx).unwrap();
    let [q, z, s] = made.gptq(1);
    let grouped = from_gptq(GptqVersion::V1, 4, [&q, &z, &s], Some(&g_idx));
    let grouped = check(grouped, &made.w(&made.zeros), DType::U4);
    assert_eq!(grouped.w.shape(), [N, GROUPS * 64]);
    let order = grouped.order.unwrap().to_u32().unwrap();
    assert_eq!(order.iter().filter(|k| (**k as usize) < K).count(), K);
    assert!(order.iter().enumerate().all(|(i, k)| group_of.get(*k as usize).is_none_or(|g| *g == i / 64)));
}

#[test]
fn what_does_not_go_together_is_named() {
    let made = Made::new(4, even());
    let [q, z, s] = made.gptq(1);
    let say = |parts: [&Tensor; 3], bits, g_idx: Option<&Tensor>| {
        from_gptq(GptqVersion::V1, bits, parts, g_idx).unwrap_err().to_string()
    };
    assert_eq!(say([&q, &z, &s], 3, None), "gptq: weights of 3 bits, but only 4 and 8 are read");
    let halves = Tensor::zeros(DType::F16, &[12, 16]).unwrap();
    assert_eq!(say([&halves, &z, &s], 4, None), "gptq: `qweight` is f16, but it must be i32 or u32");
    assert_eq!(say([&q, &q, &s], 4, None), "gptq: `qzeros` is [12, 16], but it must be [3, 2]");
    let few = Tensor::zeros(DType::F16, &[3, 8]).unwrap();
    assert_eq!(say([&q, &z, &few], 4, None), "gptq: `scales` is [3, 8], but it must be [3, 16]");
    let flat = Tensor::zeros(DType::F16, &[48]).unwrap();
    assert_eq!(say([&q, &z, &flat], 4, None), "gptq: `scales` is [48], but needs 2 axes");
    let five = Tensor::zeros(DType::F16, &[5, 16]).unwrap();
    let z5 = Tensor::zeros(DType::I32, &[5, 2]).unwrap();
    assert!(say([&q, &z5, &five], 4, None).starts_with("gptq: K = 96 is not 5 groups of one length"));
    let g = Tensor::from_f64(DType::I32, &[K], &[-1.0; K]).unwrap();
    assert_eq!(say([&q, &z, &s], 4, Some(&g)), "gptq: `g_idx` of 0 is -1, but there are 3 groups");
    let [q9, z9] =
        [Tensor::zeros(DType::I32, &[12, 8]).unwrap(), Tensor::zeros(DType::I32, &[9, 1]).unwrap()];
    let (s9, one) = (Tensor::zeros(DType::F16, &[9, 8]).unwrap(), Tensor::zeros(DType::I32, &[K]).unwrap());
    let uneven = "groups: the longest of 9 has 96 of K = 96, and as much for each is more than four times K";
    assert_eq!(say([&q9, &z9, &s9], 4, Some(&one)), uneven);
    let short = Tensor::zeros(DType::I32, &[4]).unwrap();
    assert_eq!(say([&q, &z, &s], 4, Some(&short)), "gptq: `g_idx` has 4 elements, but it must have 96");
    let b = Tensor::zeros(DType::U8, &[4, 3, 16]).unwrap();
    let nbits = |k, scales: &Tensor| from_matmul_nbits(4, k, [&b, scales], None).unwrap_err().to_string();
    assert_eq!(nbits(97, &few), "matmul_nbits: `b` is [4, 3, 16], 3 groups of 32, but K is 97");
    assert_eq!(nbits(96, &few), "matmul_nbits: `scales` has 24 elements, but it must have 12");
}
