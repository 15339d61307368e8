//! What this library promises of blocks on a device, on virtual GPUs that round, flush and sign zeros as they
//! may: a scale that is a denormal f16 counts in full; a result below f32's normal numbers may be 0; a code that
//! a device makes is the one that the host gives, or the element lies at the middle of two. Needs no driver.
#![cfg(feature = "virtual")]

use tachylite::check::{Fill, Machine};
use tachylite::plan::{Policy, Role, plan};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{Call, DType, Graph, Tensor, formats};

/// Every type with an f16 in its blocks, and where in a block they are: the scale, and the least if it has one.
/// That of IQ1_M is in four pieces, see [`put`].
const HALVES: [(DType, &[usize]); 21] = [
    (DType::Q8_0, &[0]),
    (DType::Q4_0, &[0]),
    (DType::Q4_1, &[0, 2]),
    (DType::Q5_0, &[0]),
    (DType::Q5_1, &[0, 2]),
    (DType::Q2K, &[80, 82]),
    (DType::Q3K, &[108]),
    (DType::Q4K, &[0, 2]),
    (DType::Q5K, &[0, 2]),
    (DType::Q6K, &[208]),
    (DType::Iq4Nl, &[0]),
    (DType::Iq4Xs, &[0]),
    (DType::Tq1_0, &[52]),
    (DType::Tq2_0, &[64]),
    (DType::Iq1S, &[0]),
    (DType::Iq1M, &[48]),
    (DType::Iq2Xxs, &[0]),
    (DType::Iq2Xs, &[0]),
    (DType::Iq2S, &[0]),
    (DType::Iq3Xxs, &[0]),
    (DType::Iq3S, &[0]),
];

/// Writes an f16 into a block: of IQ1_M four bits of it, the lowest first, on top of each of four words.
fn put(dtype: DType, block: &mut [u8], at: usize, half: u16) {
    if dtype == DType::Iq1M {
        for i in 0..4 {
            let top = &mut block[at + 2 * i + 1];
            *top = *top & 15 | ((half >> (4 * i)) as u8 & 15) << 4;
        }
    } else {
        block[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
}

/// What a device makes of rows of one block each.
fn dequantized(gpu: &VirtualGpu, dtype: DType, rows: usize, blocks: &[u8]) -> Vec<f32> {
    let mut graph = Graph::new();
    let x = graph.input("blocks", DType::U8, &[rows.into(), (blocks.len() / rows).into()]).unwrap();
    let y = graph.dequantize_blocks(x, dtype, DType::F32).unwrap();
    graph.output("y", y).unwrap();
    let plan = plan(&graph, gpu.profile(), &Policy::default()).unwrap();
    let call = Call::default();
    let tensor = Tensor::new(DType::U8, &[rows, blocks.len() / rows], blocks.to_vec()).unwrap();
    let input = plan.inputs[0].pack(&plan.scalars, &call, &tensor).unwrap();
    let place = plan.buffers.iter().position(|b| matches!(b.role, Role::Input(_))).unwrap();
    let mut loaded = gpu.load(&plan, &Default::default(), 0).unwrap();
    let read =
        gpu.run(&mut loaded, &call, &[(place, Fill::Bytes(&input))], &[plan.outputs[0].buffer]).unwrap();
    plan.outputs[0].unpack(&call, &read[0]).unwrap().to_f32()
}

/// Types that kernels take apart as they read weights.
const FUSED: [DType; 12] = [
    DType::Q8_0,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q2K,
    DType::Q3K,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
    DType::Iq4Nl,
    DType::Iq4Xs,
];

/// What a device makes of rows of one block each as it looks them up, and as it multiplies them by ones and zeros:
/// in tiles, and in the kernel for few rows.
fn in_kernels(gpu: &VirtualGpu, dtype: DType, rows: usize, blocks: &[u8]) -> Vec<Vec<f32>> {
    let k = dtype.block();
    let weights = [("w".to_owned(), Tensor::new(dtype, &[rows, k], blocks.to_vec()).unwrap())].into();
    let each: Vec<u32> = (0..rows as u32).collect();
    let ones: Vec<f32> = (0..k * k).map(|i| f32::from(u8::from(i / k == i % k))).collect();
    let run = |kernel: Option<&str>| {
        let mut graph = Graph::new();
        let w = graph.weight("w", dtype, &[rows, k]).unwrap();
        let (input, y) = if kernel == Some("embed.rows") {
            let ids = graph.input("ids", DType::U32, &[rows.into()]).unwrap();
            (Tensor::from_u32(&[rows], &each).unwrap(), graph.embed(&[(ids, w)]).unwrap())
        } else {
            let x = graph.input("x", DType::F32, &[k.into(), k.into()]).unwrap();
            (Tensor::from_f32(&[k, k], &ones).unwrap(), graph.matmul(x, w).unwrap())
        };
        graph.output("y", y).unwrap();
        let policy = Policy { kernel: kernel.map(Into::into), ..Policy::default() };
        let plan = plan(&graph, gpu.profile(), &policy).unwrap();
        let call = Call::default();
        let input = plan.inputs[0].pack(&plan.scalars, &call, &input).unwrap();
        let mut loaded = gpu.load(&plan, &weights, 0).unwrap();
        let given = [(plan.inputs[0].buffer, Fill::Bytes(&input))];
        let read = gpu.run(&mut loaded, &call, &given, &[plan.outputs[0].buffer]).unwrap();
        plan.outputs[0].unpack(&call, &read[0]).unwrap().to_f32()
    };
    let turned = |y: Vec<f32>| (0..rows * k).map(|i| y[i % k * rows + i / k]).collect();
    vec![run(Some("embed.rows")), turned(run(None)), turned(run(Some("matmul.vector")))]
}

fn gpus() -> Vec<VirtualGpu> {
    [Personality::plain(), Personality::hostile()].map(|p| VirtualGpu::new(p).with_threads(1)).into()
}

/// Bytes that look like any.
fn payload(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn a_scale_that_is_a_denormal_f16_counts() {
    let halves = [0x0001u16, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x0155];
    for gpu in gpus() {
        for (dtype, places) in HALVES {
            let mut blocks = payload(halves.len() * dtype.block_bytes());
            for (block, half) in blocks.chunks_exact_mut(dtype.block_bytes()).zip(halves) {
                places.iter().for_each(|at| put(dtype, block, *at, half));
            }
            let mut ways = vec![dequantized(&gpu, dtype, halves.len(), &blocks)];
            let want = formats::dequantize(dtype, &blocks);
            // Kernels that take blocks apart themselves have other texts for scales.
            if FUSED.contains(&dtype) {
                ways.extend(in_kernels(&gpu, dtype, halves.len(), &blocks));
            }
            assert!(want.iter().filter(|v| **v != 0.0).count() * 4 > want.len(), "{dtype}: nothing to lose");
            // Scale and least are multiples of 2^-24 and small: nothing is rounded.
            for (way, got) in ways.iter().enumerate() {
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let name = &gpu.profile().name;
                    assert_eq!(f64::from(*got), *want, "{dtype}: element {i} on {name}, way {way}");
                }
            }
        }
    }
}

#[test]
fn a_value_below_the_normal_numbers_is_itself_or_0() {
    let size = DType::Mxfp4.block_bytes();
    let mut blocks = payload(4 * size);
    blocks.chunks_exact_mut(size).zip([0, 1, 2, 3]).for_each(|(block, e)| block[0] = e);
    let want = formats::dequantize(DType::Mxfp4, &blocks);
    for gpu in gpus() {
        let got = dequantized(&gpu, DType::Mxfp4, 4, &blocks);
        for (got, want) in got.iter().zip(&want) {
            let may_be_0 = want.abs() < f64::from(f32::MIN_POSITIVE);
            assert!(f64::from(*got) == *want || may_be_0 && *got == 0.0, "{got}, not {want}");
        }
    }
}

/// What a type's blocks are made of where only codes count: a scale of 1, or of MXFP4 of 2, and no least.
fn numbers(dtype: DType, blocks: &[u8]) -> Vec<f64> {
    let mut blocks = blocks.to_vec();
    let places = HALVES.iter().find(|(d, _)| *d == dtype).map(|(_, places)| *places);
    for block in blocks.chunks_exact_mut(dtype.block_bytes()) {
        match places {
            Some(places) => places.iter().zip([0x3c00u16, 0]).for_each(|(at, half)| {
                block[*at..at + 2].copy_from_slice(&half.to_le_bytes());
            }),
            None => block[0] = 128,
        }
    }
    formats::dequantize(dtype, &blocks)
}

/// What a device makes of one row.
fn quantized(gpu: &VirtualGpu, dtype: DType, x: &Tensor) -> Vec<u8> {
    let mut graph = Graph::new();
    let input = graph.input("x", DType::F32, &[1.into(), x.len().into()]).unwrap();
    let y = graph.quantize_blocks(input, dtype).unwrap();
    graph.output("y", y).unwrap();
    let plan = plan(&graph, gpu.profile(), &Policy::default()).unwrap();
    let call = Call::default();
    let input = plan.inputs[0].pack(&plan.scalars, &call, x).unwrap();
    let place = plan.buffers.iter().position(|b| matches!(b.role, Role::Input(_))).unwrap();
    let mut loaded = gpu.load(&plan, &Default::default(), 0).unwrap();
    let read =
        gpu.run(&mut loaded, &call, &[(place, Fill::Bytes(&input))], &[plan.outputs[0].buffer]).unwrap();
    plan.outputs[0].unpack(&call, &read[0]).unwrap().to_bytes()
}

/// Small whole numbers, of which many lie at the middle of two codes; others; blocks of zeros and of one number.
fn rows(block: usize) -> Vec<f32> {
    let mut x: Vec<f32> = Vec::new();
    for (range, unit) in [(7, 1.0), (9, 1.0), (31, 0.37), (1, 0.0), (1, 1.0)] {
        x.extend(payload(block).iter().map(|v| (f32::from(*v % range) - f32::from(range / 2)) * unit));
    }
    x.extend([[1.5f32, -1.5]; 2].as_flattened().iter().cycle().take(block));
    x.extend(std::iter::repeat_n(-3.0, block));
    x
}

/// Code by code, since bytes hold several: one that differs from the host's is its neighbour, and the element
/// lies at the middle of the two.
#[test]
fn a_code_is_the_one_that_the_host_gives_or_lies_at_the_middle() {
    let types = [DType::Q8_0, DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Tq1_0, DType::Tq2_0];
    for (gpu, dtype) in
        gpus().iter().flat_map(|gpu| types.into_iter().chain([DType::Mxfp4]).map(move |d| (gpu, d)))
    {
        let block = dtype.block();
        let x = rows(block);
        let x = Tensor::from_f32(&[1, x.len()], &x).unwrap();
        let host = formats::quantize(dtype, &x).unwrap().to_bytes();
        let got = quantized(gpu, dtype, &x);
        assert_eq!(got.len(), host.len());
        let (got, want, x) = (numbers(dtype, &got), numbers(dtype, &host), x.to_f64());
        for (i, x4) in x.chunks_exact(block).enumerate() {
            let fold = |f: fn(f64, f64) -> f64| x4.iter().copied().reduce(f).unwrap();
            let farthest = x4.iter().fold(0f64, |m, v| if v.abs() > m.abs() { *v } else { m });
            let range = fold(f64::max) - fold(f64::min);
            let (scale, least) = match dtype {
                DType::Q4_0 => (-farthest / 8.0, 0.0),
                DType::Q5_0 => (-farthest / 16.0, 0.0),
                DType::Q4_1 => (range / 15.0, fold(f64::min)),
                DType::Q5_1 => (range / 31.0, fold(f64::min)),
                DType::Q8_0 => (farthest.abs() / 127.0, 0.0),
                _ => (farthest.abs(), 0.0),
            };
            for (j, x) in x4.iter().enumerate() {
                let (got, want) = (got[i * block + j], want[i * block + j]);
                let r = (x - least) / scale;
                let at_middle = ((got + want) / 2.0 - r).abs() < 1e-5 * (r.abs() + 16.0);
                let may = dtype != DType::Mxfp4 && (got - want).abs() == 1.0 && at_middle;
                assert!(got == want || may, "{dtype}: {x} has {got}, not {want}, of {}", gpu.profile().name);
            }
        }
    }
}
