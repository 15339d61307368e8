//! Blocks and numbers that others made (`../shared/conformance/gguf`, PyPI gguf 0.19): every block stands for
//! the same numbers, bit for bit, and blocks of the types that have a reference quantiser are the same bytes.
//!
//! The files lie outside of the repository. Where they are missing that is said, and with `CI=true` a failure.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tachylite::{DType, Tensor, formats};

/// The suite's manifest, and the bytes of its tensors by name.
struct Suite {
    types: Value,
    index: Value,
    data: Vec<u8>,
}

impl Suite {
    fn open() -> Option<Self> {
        let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/gguf");
        if !dir.is_dir() {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "there is no {}", dir.display());
            eprintln!("SKIPPED: there is no {}", dir.display());
            return None;
        }
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
        let file = std::fs::read(dir.join("vectors.safetensors")).unwrap();
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let index = serde_json::from_slice(&file[8..8 + header]).unwrap();
        Some(Self { types: manifest["types"].clone(), index, data: file[8 + header..].to_vec() })
    }

    fn bytes(&self, key: &Value) -> &[u8] {
        let offsets = &self.index[key.as_str().unwrap()]["data_offsets"];
        &self.data[offsets[0].as_u64().unwrap() as usize..offsets[1].as_u64().unwrap() as usize]
    }

    fn f32s(&self, key: &Value) -> Vec<f32> {
        self.bytes(key).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn types(&self) -> impl Iterator<Item = (DType, &Value)> {
        self.types.as_object().unwrap().iter().map(|(name, facts)| {
            let dtype = DType::parse(&name.to_lowercase()).unwrap_or_else(|| panic!("there is no {name}"));
            (dtype, facts)
        })
    }
}

#[test]
fn blocks_stand_for_the_same_numbers() {
    let Some(suite) = Suite::open() else { return };
    let (mut types, mut values) = (0, 0);
    for (dtype, facts) in suite.types() {
        let (block, size) = (dtype.block() as u64, dtype.block_bytes() as u64);
        assert_eq!((facts["block_size"].as_u64(), facts["type_size"].as_u64()), (Some(block), Some(size)));
        assert_eq!(facts["ggml_type_id"].as_u64(), dtype.ggml_type().map(u64::from), "{dtype}");
        let (blocks, expected) = (suite.bytes(&facts["blocks"]), suite.f32s(&facts["expected"]));
        let got = Tensor::new(dtype, &[expected.len()], blocks).unwrap().to_f32();
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got.to_bits(), expected.to_bits(), "{dtype}: element {i}: {got} for {expected}");
        }
        (types, values) = (types + 1, values + got.len());
    }
    assert!(types == 25 && values > 150_000, "{types} types, {values} values");
}

#[test]
fn products_with_blocks_are_those_of_the_graph() {
    let Some(suite) = Suite::open() else { return };
    for (dtype, facts) in suite.types() {
        let facts = &facts["matmul"];
        let [m, n, k] = ["m", "n", "k"].map(|axis| facts[axis].as_u64().unwrap() as usize);
        let w = Tensor::new(dtype, &[n, k], suite.bytes(&facts["w_blocks"])).unwrap().to_f64();
        let x = suite.f32s(&facts["x"]);
        let f64s = |key: &str| -> Vec<f64> {
            let bytes = suite.bytes(&facts[key]);
            bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let (y, absdot) = (f64s("y"), f64s("absdot"));
        for i in 0..m * n {
            let (x, w) = (&x[i / n * k..][..k], &w[i % n * k..][..k]);
            let got: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * w).sum();
            // The expected values are products with numbers rounded to f32.
            assert!((got - y[i]).abs() <= absdot[i] * 1e-7, "{dtype}: {got} for {}", y[i]);
        }
    }
}

#[test]
fn made_blocks_are_the_same_bytes() {
    let Some(suite) = Suite::open() else { return };
    let mut types = 0;
    for (dtype, facts) in suite.types().filter(|(_, facts)| !facts["quantise"].is_null()) {
        let (x, expected) =
            (suite.f32s(&facts["quantise"]["x"]), suite.bytes(&facts["quantise"]["expected_blocks"]));
        let made = formats::quantize(dtype, &Tensor::from_f32(&[x.len()], &x).unwrap()).unwrap();
        let made = made.to_bytes();
        let size = dtype.block_bytes();
        for (i, (made, expected)) in made.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(made, expected, "{dtype}: block {i}");
        }
        assert_eq!(made.len(), expected.len());
        types += 1;
    }
    assert_eq!(types, 10);
}

#[cfg(feature = "virtual")]
mod on_virtual_gpus {
    use tachylite::DType;
    use tachylite::check::{Case, Event, cases, run_altered};
    use tachylite::kernel::{sources, with_source};
    use tachylite::virtual_gpu::{Personality, VirtualGpu};

    /// What fails of some cases on a virtual GPU, and how many ran.
    fn failures(personality: Personality, cases: &[Case]) -> (Vec<String>, usize) {
        let gpu = VirtualGpu::new(personality).with_threads(1);
        let (mut failed, mut ran) = (Vec::new(), 0);
        run_altered(&gpu, cases, None, &|_| (), &mut |event| {
            if let Event::End(case, outcome) = event {
                ran += 1;
                failed.extend(outcome.failures.iter().map(|f| format!("{case}: {}", f.what)));
            }
        });
        (failed, ran)
    }

    fn quick() -> Vec<Case> {
        cases().into_iter().filter(|c| c.quick).collect()
    }

    fn is_of(case: &Case, dtype: DType) -> bool {
        case.to_string().contains(&format!(".{dtype}/"))
    }

    /// Of the short list's cases of weights in blocks each personality has a share, others for others.
    #[test]
    fn blocks_are_multiplied_and_looked_up_right() {
        let types: Vec<_> = DType::ALL.into_iter().filter(|d| d.is_blocks() || *d == DType::Bf16).collect();
        let cases: Vec<_> = quick().into_iter().filter(|c| types.iter().any(|d| is_of(c, *d))).collect();
        let mut all = 0;
        for (number, personality) in Personality::presets().into_iter().enumerate() {
            let share: Vec<_> = cases.iter().skip(number % 10).step_by(10).cloned().collect();
            let (failed, ran) = failures(personality, &share);
            assert!(failed.is_empty(), "{}", failed.join("\n"));
            all += ran;
        }
        assert!(all >= cases.len(), "{all} of {}", cases.len());
    }

    /// A text that is broken on purpose is noticed by the cases of the type that reads it.
    #[test]
    fn broken_texts_are_noticed() {
        let cases = quick();
        for (dtype, file, from, to) in [
            (DType::U4, "lib/load_u4.wgsl", "i % 2u * 16u", "0u"),
            (DType::U4, "lib/zero_given.wgsl", "at % 8u * 4u, 4u", "at % 8u * 4u, 3u"),
            (DType::U4, "lib/scale_int8.wgsl", "at % 2u * 16u, 16u", "0u, 16u"),
            (DType::Q5_0, "lib/weight_planes.wgsl", "<< vec4<u32>(LOW)", "<< vec4<u32>(3u)"),
            (DType::Q3K, "lib/weight_planes.wgsl", "(p.K / 32u) * LOW", "(p.K / 16u) * LOW"),
            (DType::Iq4Nl, "lib/weight_planes.wgsl", "code >= vec4<u32>(8u)", "code > vec4<u32>(8u)"),
            (DType::Q4_0, "lib/functions.wgsl", "5.9604644775390625e-8", "0.0"),
            (DType::Q4_1, "lib/scales_pair.wgsl", "word >> 16u", "word >> 17u"),
            (DType::Mxfp4, "lib/scales_power.wgsl", "max(e, 2u) - 1u", "max(e, 2u)"),
            (DType::Q2K, "lib/scales_q2_k.wgsl", "block / 16u", "block / 32u"),
            (DType::Q3K, "lib/scales_q3_k.wgsl", "- 32", "- 31"),
            (DType::Q4K, "lib/scales_q4_k.wgsl", "(low >> 2u) & 48u", "(low >> 2u) & 16u"),
            (DType::Q6K, "lib/scales_q6_k.wgsl", "block % 4u", "block % 2u"),
            (DType::Iq4Xs, "lib/scales_iq4_xs.wgsl", "part * 2u", "part"),
            (DType::Bf16, "lib/load_bf16.wgsl", "words.y << 16u", "words.x << 16u"),
        ] {
            let whole = sources().into_iter().find(|(name, _)| *name == file).unwrap().1;
            assert!(whole.contains(from), "{file}: {from}");
            let of_type = |c: &&Case| is_of(c, dtype) && c.to_string().starts_with("matmul.tile/f32");
            let some: Vec<_> = cases.iter().filter(of_type).cloned().collect();
            let run = || failures(Personality::hostile(), &some);
            let (failed, ran) = with_source(file, &whole.replace(from, to), run);
            assert!(ran > 0 && !failed.is_empty(), "{dtype}: {file}: nobody notices `{to}`");
        }
    }
}

#[test]
fn bf16_is_not_multiplied_in_batches() {
    let mut g = tachylite::Graph::new();
    let x = g.input("x", DType::F32, &[2.into(), 3.into(), 8.into()]).unwrap();
    let w = g.weight("w", DType::Bf16, &[2, 5, 8]).unwrap();
    let e = g.matmul(x, w).unwrap_err().to_string();
    assert_eq!(e, "matmul: `w` is bf16 [2, 5, 8], which is not read in batches");
}

#[test]
fn values_below_the_smallest_scale_become_their_mean() {
    let mut rng = tachylite::rng::Rng::new(7);
    for dtype in [DType::Q4K, DType::Q5K] {
        for shift in [0.0, -1e-6, 1e-6] {
            let values: Vec<f32> = (0..2560).map(|_| (rng.signed() * 3e-6) as f32 + shift).collect();
            let x = Tensor::from_f32(&[10, 256], &values).unwrap();
            let made = tachylite::formats::quantize(dtype, &x).unwrap().to_f32();
            let error = |to: &dyn Fn(usize) -> f32| -> f64 {
                values.iter().enumerate().map(|(i, v)| f64::from(v - to(i)).powi(2)).sum()
            };
            let (made, zeros) = (error(&|i| made[i]), error(&|_| 0.0));
            assert!(made <= zeros, "{dtype}, {shift}: {made:e}, but zeros {zeros:e}");
        }
    }
}
