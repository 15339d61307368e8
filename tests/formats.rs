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

/// The short list's cases of weights in blocks, each type and kernel once for each personality, others for others.
#[cfg(feature = "virtual")]
#[test]
fn blocks_are_multiplied_right_on_virtual_gpus() {
    use tachylite::check::{Case, Event, Machine, cases, run_altered};
    use tachylite::virtual_gpu::{Personality, VirtualGpu};

    let names: Vec<_> = DType::ALL.into_iter().filter(|d| d.is_blocks() || *d == DType::Bf16).collect();
    let of_blocks = |case: &Case| names.iter().any(|d| case.to_string().contains(&format!(".{d}/")));
    let all = cases();
    let quick: Vec<_> = all.iter().filter(|c| c.quick && of_blocks(c)).cloned().collect();
    eprintln!(
        "{} of {} cases, quick {} of {}",
        all.iter().filter(|c| of_blocks(c)).count(),
        all.len(),
        quick.len(),
        all.iter().filter(|c| c.quick).count()
    );
    let mut ran = 0;
    for (number, personality) in Personality::presets().into_iter().enumerate() {
        let gpu = VirtualGpu::new(personality).with_threads(1);
        let share: Vec<_> = quick.iter().skip(number % 5).step_by(5).cloned().collect();
        run_altered(&gpu, &share, None, &|_| (), &mut |event| {
            if let Event::End(case, outcome) = event {
                assert!(
                    outcome.failures.is_empty(),
                    "{case} on {}: {:?}",
                    gpu.profile().name,
                    outcome.failures
                );
                ran += 1;
            }
        });
    }
    assert!(ran > 200, "{ran}");
}
