//! What this library promises of caches that ops append to, on virtual GPUs. Needs no driver.
#![cfg(feature = "virtual")]

use tachylite::check::{Fill, Machine};
use tachylite::formats::CacheForm;
use tachylite::ops::append::At;
use tachylite::ops::rope::{Positions, Rope};
use tachylite::plan::{Policy, plan};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{Call, DType, Dim, Graph, Tensor};

const S: usize = 5;
/// Heads of queries, of keys and of values.
const HEADS: [usize; 3] = [3, 2, 2];

fn numbers(shape: &[usize]) -> Tensor {
    let value = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / 4e9 - 0.5;
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_f32(shape, &values).unwrap()
}

/// The outputs of a graph over tokens of packed heads and two caches, and how many steps its plan has.
fn outputs(gpu: &VirtualGpu, graph: &Graph, rope: &Rope) -> (usize, Vec<Tensor>) {
    let plan = plan(graph, gpu.profile(), &Policy::default()).unwrap();
    let call = Call::default();
    let weights = [("turns".to_owned(), rope.tensor().unwrap())].into();
    let mut loaded = gpu.load(&plan, &weights, 0).unwrap();
    let packed: Vec<_> = plan
        .inputs
        .iter()
        .map(|port| {
            let shape: Vec<usize> = port.shape.iter().map(|d| d.constant().unwrap() as usize).collect();
            let bytes = shape.iter().product::<usize>();
            let tensor = match port.dtype {
                DType::U8 => Tensor::new(DType::U8, &shape, vec![0x5a; bytes]).unwrap(),
                _ => numbers(&shape),
            };
            (port.buffer, port.pack(&plan.scalars, &call, &tensor).unwrap())
        })
        .collect();
    let fills: Vec<_> = packed.iter().map(|(buffer, bytes)| (*buffer, Fill::Bytes(bytes))).collect();
    let reads: Vec<_> = plan.outputs.iter().map(|port| port.buffer).collect();
    let read = gpu.run(&mut loaded, &call, &fills, &reads).unwrap();
    let outputs = plan.outputs.iter().zip(&read).map(|(port, bytes)| port.unpack(&call, bytes).unwrap());
    (plan.steps.len(), outputs.collect())
}

/// q, k and v are parts of one tensor: turned and appended at once, or one after the other.
fn appended(d: usize, rope: &Rope, at: &At, at_once: bool) -> Graph {
    let mut g = Graph::new();
    let dims = |shape: &[usize]| shape.iter().map(|n| Dim::from(*n)).collect::<Vec<_>>();
    let x = g.input("x", DType::F32, &dims(&[2, S, HEADS.iter().sum(), d])).unwrap();
    let mut first = 0;
    let [q, k, v] = HEADS.map(|n| {
        first += n;
        g.slice(x, 2, first - n, n).unwrap()
    });
    let turns = rope.weight(&mut g, "turns").unwrap();
    let (dtype, row) = at.form.map_or((DType::F32, d), |form| (DType::U8, form.row_bytes(d)));
    let caches = ["keys", "values"].map(|name| g.state(name, dtype, &dims(&[2, 7, 2, row])).unwrap());
    let q = if at_once {
        g.rope_append((q, k, v), caches.into(), (turns, rope), at.clone()).unwrap().0
    } else {
        let position = || Positions::From(at.start.clone());
        let k = g.rope(k, turns, rope, position()).unwrap();
        g.append_both(caches.into(), (k, v), at.clone()).unwrap();
        g.rope(q, turns, rope, position()).unwrap()
    };
    g.output("q", q).unwrap();
    g
}

#[test]
fn at_once_is_bit_for_bit_what_it_is_one_after_the_other() {
    let gpu = VirtualGpu::new(Personality::plain()).with_threads(1);
    for (d, rope, ring, form) in [
        (24, Rope::new(24, 1e4), false, None),
        (20, Rope::new(20, 1e4), true, None),
        (24, Rope::new(16, 1e4).neighbours(), false, None),
        (40, Rope::new(40, 1e4), false, Some(CacheForm::Int8)),
        (40, Rope::new(40, 1e4), false, Some(CacheForm::Q4_0)),
    ] {
        let at = At { start: 4.into(), ring, form, ..At::default() };
        let [one, three] =
            [true, false].map(|at_once| outputs(&gpu, &appended(d, &rope, &at, at_once), &rope));
        assert_eq!((one.0, three.0), (1, 3), "{d}");
        let bytes = |tensors: &[Tensor]| tensors.iter().map(Tensor::to_bytes).collect::<Vec<_>>();
        assert_eq!(bytes(&one.1), bytes(&three.1), "{d}");
    }
}
