//! What is not a number, and what is not finite, reaches who sees it, through every kernel of attention and in
//! however many shares keys are; on the virtual GPU, which computes with such as IEEE 754 says.
#![cfg(feature = "virtual")]

use tachylite::check::{Fill, Machine};
use tachylite::ops::attention::Attention;
use tachylite::plan::{Numerics, Policy, plan};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{Call, DType, Graph, Tensor, ValueId};

/// Queries, all the same.
const S: usize = 4;
const D: usize = 8;

/// What a graph's outputs are of f32 inputs, by a kernel.
fn run(
    kernel: &str,
    inputs: &[(&str, &[usize], Vec<f32>)],
    build: impl FnOnce(&mut Graph, &[ValueId]) -> [ValueId; 2],
) -> [Vec<f32>; 2] {
    let processors = matches!(kernel, "attention.lanes" | "attention.rows");
    let personality = Personality::named(if processors { "software-8" } else { "plain" }).unwrap();
    let gpu = VirtualGpu::new(personality).with_threads(2);
    let mut g = Graph::new();
    let input = |(name, shape, _): &(&str, &[usize], Vec<f32>)| {
        let shape: Vec<_> = shape.iter().map(|n| (*n).into()).collect();
        g.input(name, DType::F32, &shape).unwrap()
    };
    let ids: Vec<_> = inputs.iter().map(input).collect();
    let [o, lse] = build(&mut g, &ids);
    g.output("o", o).unwrap();
    g.output("lse", lse).unwrap();
    let numerics = if kernel.contains(".matrix_") { Numerics::F16Staged } else { Numerics::F32 };
    let policy = Policy { kernel: Some(kernel.into()), numerics, ..Policy::default() };
    let plan = plan(&g, gpu.profile(), &policy).unwrap();
    let call = Call::default();
    let pack = |(port, (_, shape, x)): (&tachylite::plan::Port, &(&str, &[usize], Vec<f32>))| {
        port.pack(&plan.scalars, &call, &Tensor::from_f32(shape, x).unwrap()).unwrap()
    };
    let packed: Vec<_> = plan.inputs.iter().zip(inputs).map(pack).collect();
    let fills: Vec<_> =
        plan.inputs.iter().zip(&packed).map(|(port, bytes)| (port.buffer, Fill::Bytes(bytes))).collect();
    let mut loaded = gpu.load(&plan, &Default::default(), 0).unwrap();
    let reads: Vec<_> = plan.outputs.iter().map(|port| port.buffer).collect();
    let read = gpu.run(&mut loaded, &call, &fills, &reads).unwrap();
    [0, 1].map(|i| plan.outputs[i].unpack(&call, &read[i]).unwrap().to_f32())
}

/// What one query is given over `t` keys, of which q, k and v are as `spoil` leaves them.
fn attend(
    kernel: &str,
    t: usize,
    how: Attention,
    spoil: impl Fn(&mut [f32], &mut [f32], &mut [f32]),
) -> [Vec<f32>; 2] {
    let numbers =
        |seed: usize, n: usize| (0..n).map(|i| ((i * 7919 + seed) % 2003) as f32 / 1e3 - 1.0).collect();
    let (mut q, mut k, mut v): (Vec<f32>, Vec<f32>, Vec<f32>) =
        (numbers(1, D), numbers(2, t * D), numbers(3, t * D));
    spoil(&mut q, &mut k, &mut v);
    let (queries, many): (&[usize], &[usize]) = (&[1, S, 1, D], &[1, t, 1, D]);
    let [o, lse] = run(kernel, &[("q", queries, q.repeat(S)), ("k", many, k), ("v", many, v)], |g, ids| {
        let (o, lse) = g.attention_lse(ids[0], ids[1], ids[2], how).unwrap();
        [o, lse]
    });
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(o.chunks(D).all(|row| bits(row) == bits(&o[..D])), "{kernel}: {o:?}");
    [o[..D].to_vec(), lse[..1].to_vec()]
}

const KERNELS: [&str; 6] = [
    "attention.online",
    "attention.split",
    "attention.lanes",
    "attention.rows",
    "attention.matrix_8",
    "attention.matrix_16",
];

#[test]
fn a_score_that_is_no_number_makes_the_row_none() {
    let softcap = Attention { softcap: Some(5.0), ..Attention::default() };
    for kernel in KERNELS {
        // Of shares of 256 keys all scores, those of the first and those of the last.
        for (t, how) in [(300, Attention::default()), (300, softcap), (5, softcap)] {
            let [o, lse] = attend(kernel, t, how, |q, _, _| q[3] = f32::NAN);
            assert!(o.iter().chain(&lse).all(|x| x.is_nan()), "{kernel} T = {t}: {o:?} {lse:?}");
        }
        for keys in [0..256, 256..257] {
            let spoilt = keys.clone();
            let [o, lse] = attend(kernel, 257, Attention::default(), |_, k, _| {
                k[spoilt.start * D..spoilt.end * D].fill(f32::NAN);
            });
            assert!(o.iter().chain(&lse).all(|x| x.is_nan()), "{kernel} {keys:?}: {o:?} {lse:?}");
        }
    }
}

#[test]
fn an_infinite_value_is_infinite_in_its_column_alone() {
    for kernel in KERNELS {
        for t in [5, 40, 300] {
            let last = (t - 1) * D;
            let [o, lse] = attend(kernel, t, Attention::default(), |_, _, v| v[last + 2] = f32::INFINITY);
            assert!(lse[0].is_finite() && o[2] == f32::INFINITY, "{kernel} T = {t}: {o:?} {lse:?}");
            assert!(o.iter().enumerate().all(|(c, x)| c == 2 || x.is_finite()), "{kernel} T = {t}: {o:?}");
        }
    }
}

#[test]
fn queries_and_keys_too_small_to_tell_from_nothing_see_all_keys_alike() {
    for kernel in KERNELS {
        for (of_q, of_k) in [(1e-39, 1.0), (1.0, 1e-39), (1e-33, 1e-33), (0.0, 0.0)] {
            let [o, lse] = attend(kernel, 40, Attention::default(), |q, k, v| {
                q.iter_mut().for_each(|x| *x *= of_q);
                k.iter_mut().for_each(|x| *x *= of_k);
                v.fill(0.5);
            });
            let off = (lse[0] - 40f32.ln()).abs();
            assert!(off < 1e-5 && o.iter().all(|x| (x - 0.5).abs() < 1e-6), "{kernel}: {o:?} {lse:?}");
        }
    }
}

#[test]
fn an_element_may_be_much_larger_than_the_rest_of_its_row() {
    for kernel in KERNELS {
        for at in 0..D {
            let [o, lse] = attend(kernel, 5, Attention::default(), |q, k, _| {
                q[at] = 1e30;
                k.chunks_mut(D).for_each(|row| row[at] = -1e-30);
            });
            assert!(o.iter().chain(&lse).all(|x| x.is_finite()), "{kernel} {at}: {o:?} {lse:?}");
        }
    }
}

#[test]
fn masks_and_sinks_that_are_no_numbers_make_the_row_none() {
    for kernel in KERNELS {
        for (name, shape) in [("mask", &[1usize, 1, 1, 5] as &[usize]), ("sinks", &[1])] {
            let inputs = [
                ("q", &[1usize, S, 1, D] as &[usize], vec![0.5; S * D]),
                ("k", &[1, 5, 1, D], vec![0.25; 5 * D]),
                ("v", &[1, 5, 1, D], vec![1.0; 5 * D]),
                (name, shape, vec![f32::NAN; shape.iter().product()]),
            ];
            let [o, lse] = run(kernel, &inputs, |g, ids| {
                let other = Some(ids[3]);
                let how = if name == "mask" {
                    Attention { mask: other, ..Attention::default() }
                } else {
                    Attention { sinks: other, ..Attention::default() }
                };
                let (o, lse) = g.attention_lse(ids[0], ids[1], ids[2], how).unwrap();
                [o, lse]
            });
            assert!(o.iter().chain(&lse).all(|x| x.is_nan()), "{kernel} {name}: {o:?} {lse:?}");
        }
    }
}

#[test]
fn parts_that_are_no_numbers_stay_so_merged() {
    let part = |o: f32, lse: f32| (vec![o; 4], vec![lse]);
    for ((o1, lse1), (o2, lse2), all) in [
        (part(f32::NAN, f32::NAN), part(2.0, 0.5), f32::NAN),
        (part(2.0, 0.5), part(f32::NAN, f32::NAN), f32::NAN),
        (part(f32::NAN, f32::NEG_INFINITY), part(2.0, 0.5), 2.0),
    ] {
        let (wide, one): (&[usize], &[usize]) = (&[1, 1, 1, 4], &[1, 1, 1]);
        let inputs = [("o1", wide, o1), ("lse1", one, lse1), ("o2", wide, o2), ("lse2", one, lse2)];
        let [o, lse] = run("merge.rows", &inputs, |g, ids| {
            let (o, lse) = g.merge((ids[0], ids[1]), (ids[2], ids[3])).unwrap();
            [o, lse]
        });
        let is_all = |x: f32| x.to_bits() == all.to_bits() || (x.is_nan() && all.is_nan());
        assert!(o.iter().all(|x| is_all(*x)) && lse[0].is_nan() == all.is_nan(), "{o:?} {lse:?}");
    }
}
