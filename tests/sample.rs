//! Whether tokens are drawn as often as they should be, by the kernel itself, on a virtual GPU: that each draw is
//! right is what `check` says.
#![cfg(feature = "virtual")]

use tachylite::check::{Fill, Machine};
use tachylite::op::Attr;
use tachylite::ops::sample::Sampling;
use tachylite::plan::{Policy, Role, plan};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{Call, DType, Graph, Tensor};

/// The tokens drawn for rows that all have these logits.
fn drawn(rows: usize, logits: &[f32], how: &Sampling) -> Vec<u32> {
    let gpu = VirtualGpu::new(Personality::hostile());
    let (mut graph, shape) = (Graph::new(), [rows, logits.len()]);
    let x = graph.input("x", DType::F32, &shape.map(Into::into)).unwrap();
    let y = graph.sample(x, how.clone()).unwrap();
    graph.output("y", y).unwrap();
    let plan = plan(&graph, gpu.profile(), &Policy::default()).unwrap();
    let (call, tensor) = (Call::default(), Tensor::from_f32(&shape, &logits.repeat(rows)).unwrap());
    let input = plan.inputs[0].pack(&plan.scalars, &call, &tensor).unwrap();
    let place = plan.buffers.iter().position(|b| matches!(b.role, Role::Input(_))).unwrap();
    let mut loaded = gpu.load(&plan, &Default::default(), 0).unwrap();
    let read =
        gpu.run(&mut loaded, &call, &[(place, Fill::Bytes(&input))], &[plan.outputs[0].buffer]).unwrap();
    plan.outputs[0].unpack(&call, &read[0]).unwrap().to_u32().unwrap()
}

#[test]
fn tokens_are_drawn_as_often_as_they_are_likely() {
    let logits = [0.5f32, 2.0, -1.0, 1.5, 2.0, 0.0, f32::NEG_INFINITY, 1.0];
    let how =
        Sampling { temperature: Attr::F32(0.8), top_k: 6.into(), seed: 5.into(), ..Sampling::default() };
    let tokens = drawn(2000, &logits, &how);
    let mass = |c: usize| if [2, 6].contains(&c) { 0.0 } else { (f64::from(logits[c]) / 0.8).exp() };
    let all: f64 = (0..8).map(mass).sum();
    let chi2: f64 = (0..8)
        .map(|c| {
            let seen = tokens.iter().filter(|t| **t == c as u32).count() as f64;
            let expected = 2000.0 * mass(c) / all;
            assert!(expected > 0.0 || seen == 0.0, "token {c} was drawn");
            if expected > 0.0 { (seen - expected).powi(2) / expected } else { 0.0 }
        })
        .sum();
    // One in a thousand is above 20.5 with five degrees of freedom; the draws are always the same.
    assert!(chi2 < 20.5, "{chi2}");
}

#[test]
fn a_vocabulary_of_150_thousand_has_the_token_that_arithmetic_says() {
    // Masses are powers of two: token 0 and 151,935 have 1/4 of all each, the others together a half.
    let mut logits = vec![0.0f32; 151_936];
    let high = (151_934f32 / 2.0).ln();
    (logits[0], logits[151_935]) = (high, high);
    let cold = Sampling { temperature: Attr::F32(0.0), ..Sampling::default() };
    assert_eq!(drawn(1, &logits, &cold), [0]);
    let two = Sampling { top_p: Attr::F32(0.4375), ..Sampling::default() };
    let mut seen = [0, 0];
    for step in 0..4u32 {
        let token = drawn(1, &logits, &Sampling { step: (step as usize).into(), ..two.clone() })[0];
        seen[usize::from(token != 0)] += 1;
        assert!([0, 151_935].contains(&token), "{token}");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn what_makes_no_sense_is_refused_in_one_sentence() {
    let said = |how: Sampling, rows: usize| {
        let mut g = Graph::new();
        let x = g.input("x", DType::F32, &[2.into(), 9.into()]).unwrap();
        let recent = g.input("recent", DType::U32, &[rows.into(), 4.into()]).unwrap();
        g.sample(x, Sampling { recent: Some(recent), ..how }).unwrap_err().to_string()
    };
    let plain = Sampling::default();
    for (how, rows, text) in [
        (Sampling { top_p: Attr::F32(0.0), ..plain.clone() }, 2, "`top_p` is 0, but it must be above 0"),
        (
            Sampling { min_p: Attr::F32(1.5), ..plain.clone() },
            2,
            "`min_p` is 1.5, but it must be from 0 to 1",
        ),
        (Sampling { penalty: Attr::F32(0.0), ..plain.clone() }, 2, "`penalty` is 0, but it must be above 0"),
        (Sampling { temperature: Attr::F32(-1.0), ..plain.clone() }, 2, "`temperature` is -1, but it must"),
        (Sampling { seed: (1usize << 32).into(), ..plain.clone() }, 2, "`seed` must be a dim of the call"),
        (plain, 3, "`recent` is [3, 4], but the rows of `x` are [2]"),
    ] {
        let said = said(how, rows);
        assert!(said.contains(&format!("sample: {text}")), "{said}");
    }
}
