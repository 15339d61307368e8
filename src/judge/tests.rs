//! The judge, judged: what must fail fails, and what is right passes.

use half::f16;

use super::*;
use crate::numerics::{Sum, store_error};
use crate::rng::Rng;

const K: usize = 14336;

fn approx(value: &[f64], error: f64) -> Approx {
    Approx { error: vec![error; value.len()], ..Approx::exact(&[value.len()], value.to_vec()) }
}

fn fails(got: f64, value: f64, error: f64, dtype: DType) -> bool {
    let verdict = judge(&[got], &approx(&[value], error), dtype);
    assert_eq!(verdict.passed(), verdict.worst <= 1.0, "{verdict:?}");
    assert!(!verdict.worst.is_nan());
    !verdict.passed()
}

/// A dot product at K with its allowance, stored as f16; `term` gives x·w of each place.
fn dot(term: impl Fn(usize) -> f64) -> Approx {
    let mut sum = Sum::new();
    (0..K).for_each(|k| sum.add(term(k), 0.0));
    let (value, error) = sum.finish();
    approx(&[value], store_error(value, error, DType::F16))
}

#[test]
fn nan_fails_where_the_reference_is_finite_and_is_required_where_it_is_not() {
    assert!(fails(f64::NAN, 1.0, 0.5, DType::F32));
    assert!(fails(f64::NAN, 1.0, f64::INFINITY, DType::F32));
    assert!(fails(f64::NAN, 0.0, f64::NAN, DType::F32));
    assert!(fails(f64::NAN, f64::INFINITY, 0.0, DType::F32));
    assert!(fails(1.0, f64::NAN, f64::INFINITY, DType::F32));
    assert!(!fails(f64::NAN, f64::NAN, 0.0, DType::F32));
}

#[test]
fn infinity_passes_only_where_the_result_may_overflow_and_with_its_sign() {
    for got in [f64::INFINITY, f64::NEG_INFINITY] {
        assert!(fails(got, 1.0, 0.5, DType::F32));
        assert!(fails(got, 1.0, f64::INFINITY, DType::F32));
        assert!(fails(got, 60000.0 * got.signum(), 100.0, DType::F16));
        assert!(!fails(got, 65500.0 * got.signum(), 100.0, DType::F16));
        assert!(fails(got, -65500.0 * got.signum(), 100.0, DType::F16));
        assert!(!fails(got, got, 0.0, DType::F32));
        assert!(fails(-got, got, 0.0, DType::F32));
    }
    assert!(!fails(65504.0, 70000.0, 0.0, DType::F16), "an overflow may give the largest number");
    assert!(fails(65472.0, 70000.0, 0.0, DType::F16));
    assert!(fails(-65504.0, 70000.0, 0.0, DType::F16));
}

#[test]
fn an_allowance_that_is_no_finite_number_allows_nothing() {
    for error in [f64::INFINITY, f64::NAN, -1.0] {
        assert!(fails(2.0, 1.0, error, DType::F32), "{error}");
        assert!(!fails(1.0, 1.0, error, DType::F32), "{error}");
    }
    assert!(fails(5.0, f64::INFINITY, f64::INFINITY, DType::F32));
}

#[test]
fn one_ulp_too_far_fails_and_the_allowance_itself_passes() {
    let value = 1.0;
    let error = 4.0 * f64::from(f32::EPSILON);
    let edge = (value + error) as f32;
    assert!(!fails(f64::from(edge), value, error, DType::F32));
    assert!(fails(f64::from(edge.next_up()), value, error, DType::F32));
    let edge = (value - error) as f32;
    assert!(!fails(f64::from(edge), value, error, DType::F32));
    assert!(fails(f64::from(edge.next_down()), value, error, DType::F32));
    // The next f64 after the edge, where the quotient alone would round to 1.
    assert!(fails(error.next_up(), 0.0, error, DType::F32));
}

#[test]
fn no_allowance_asks_for_equality() {
    assert!(!fails(3.0, 3.0, 0.0, DType::F32));
    assert!(!fails(-0.0, 0.0, 0.0, DType::F32));
    assert!(fails(3.0 + f64::from(f32::EPSILON), 3.0, 0.0, DType::F32));
    let verdict = judge(&[3.0, 4.0], &approx(&[3.0, 3.0], 0.0), DType::F32);
    assert_eq!(verdict.worst, f64::INFINITY);
    assert_eq!(verdict.first_bad, Some(Bad { index: 1, got: 4.0, want: 3.0, allowed: 0.0 }));
}

#[test]
fn a_wrong_length_fails() {
    for got in [&[][..], &[1.0], &[1.0, 1.0, 1.0]] {
        let verdict = judge(got, &approx(&[1.0, 1.0], 1.0), DType::F32);
        assert!(!verdict.passed() && verdict.bad == 2, "{verdict:?}");
    }
    assert!(!judge(&[1.0], &approx(&[], 1.0), DType::F32).passed());
    assert!(judge(&[], &approx(&[], 1.0), DType::F32).passed());
}

#[test]
fn a_poisoned_output_fails_at_every_element() {
    let poison = f64::from(f32::from_bits(0x7fa5_7fa5));
    let want = approx(&[0.0; 64], 1e30);
    let verdict = judge(&[poison; 64], &want, DType::F32);
    assert_eq!(verdict.bad, 64);
    assert_eq!(verdict.pattern, "every element of [64]");
}

#[test]
fn one_bad_element_in_a_million_fails() {
    let mut rng = Rng::new(1);
    let value: Vec<f64> = (0..1 << 20).map(|_| rng.signed()).collect();
    let mut want = approx(&value, 1e-6);
    want.shape = vec![1 << 10, 1 << 10];
    let mut got = value;
    got[777_777] += 2e-6;
    let verdict = judge(&got, &want, DType::F32);
    assert_eq!(verdict.bad, 1);
    assert_eq!(verdict.first_bad.unwrap().index, 777_777);
    assert_eq!(verdict.pattern, "1 of 1048576 in [1024, 1024]: rows 759 of 1024, columns 561 of 1024");
    assert!(verdict.nmse < 1e-15, "a norm would not have seen it: {}", verdict.nmse);
}

#[test]
fn all_zero_fails_for_a_long_random_sum_in_f16() {
    for seed in 0..32 {
        let mut rng = Rng::new(seed);
        let terms: Vec<f64> = (0..K).map(|_| rng.signed() * rng.signed()).collect();
        let want = dot(|k| terms[k]);
        let (value, error) = want.at(0);
        assert!(!fails(f16::from_f64(value).to_f64(), value, error, DType::F16));
        assert!(fails(0.0, value, error, DType::F16), "seed {seed}: {value} ± {error}");
    }
}

#[test]
fn one_dropped_term_fails_in_the_exact_case_of_a_long_sum_in_f16() {
    let mut rng = Rng::new(14336);
    let mut integer = || rng.below(7) as f64 - 3.0;
    let terms: Vec<f64> = (0..K).map(|_| integer() * integer()).collect();
    let want = dot(|k| terms[k]);
    let (value, error) = want.at(0);
    assert_eq!(error, 0.0, "{value} is an integer below 2048");
    let dropped = terms.iter().rposition(|t| *t != 0.0).unwrap();
    let got: f64 = terms.iter().enumerate().filter(|(k, _)| *k != dropped).map(|(_, t)| t).sum();
    assert!(!fails(f16::from_f64(value).to_f64(), value, error, DType::F16));
    assert!(fails(f16::from_f64(got).to_f64(), value, error, DType::F16));
}

#[test]
fn a_given_tolerance_is_kept_to_the_letter() {
    let want = within(&[4], &[2.0, -2.0, 0.0, f64::NEG_INFINITY], 1e-3, 1e-7);
    let bad = |got: &[f64; 4]| judge(got, &want, DType::F32).bad;
    assert_eq!(bad(&[2.002, -2.002, 1e-7, f64::NEG_INFINITY]), 0);
    assert_eq!(bad(&[2.0021, -2.0, 0.0, f64::NEG_INFINITY]), 1);
    assert_eq!(bad(&[2.0, -1.9979, 2e-7, f64::NEG_INFINITY]), 2);
    assert_eq!(bad(&[2.0, -2.0, 0.0, 3.0]), 1, "an infinity allows nothing");
    assert_eq!(bad(&[f64::NAN, f64::INFINITY, 0.0, f64::INFINITY]), 3);
    let exact = within(&[2], &[1.0, 0.0], 0.0, 0.0);
    assert_eq!(judge(&[1.0, 1e-30], &exact, DType::F32).bad, 1);
}

#[test]
fn another_index_passes_where_the_reference_names_it_and_nowhere_else() {
    let want = Approx { also: vec![(1, 7.0), (1, 9.0), (2, 4.0)], ..approx(&[3.0, 5.0, 6.0], 0.0) };
    let bad = |got: [f64; 3]| judge(&got, &want, DType::U32).bad;
    assert_eq!([bad([3.0, 5.0, 6.0]), bad([3.0, 9.0, 4.0]), bad([3.0, 8.0, 6.0])], [0, 0, 1]);
    assert_eq!([bad([7.0, 5.0, 6.0]), bad([3.0, 4.0, 6.0]), bad([3.0, 5.0, 7.0])], [1, 1, 1]);
}
