//! What the tests share: adapters, and small models of every family.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::Write;

use decoders::config::Family;
use decoders::session::Options;
use decoders::{Config, Model};
use tachylite::plan::{Determinism, Policy};
use tachylite::{DType, Gpu};

/// Every family, with the type of its matrices.
pub const FAMILIES: [(Family, DType); 6] = [
    (Family::Llama, DType::Q8_0),
    (Family::Qwen3, DType::Q4K),
    (Family::Qwen3Moe, DType::Q6K),
    (Family::Gemma2, DType::F16),
    (Family::Gemma3, DType::Q4_0),
    (Family::Rwkv7, DType::F32),
];

/// A small model, whose weights are random.
pub fn tiny(family: Family, dtype: DType) -> Model {
    Model::random(Config::tiny(family), dtype, 5)
}

/// Few positions, and chunks that prompts do not fill.
pub fn options(batch: usize) -> Options {
    let policy = Policy { determinism: Determinism::BatchInvariant, ..Policy::default() };
    Options { batch, chunk: 6, positions: 24, cache: DType::F16, draw: None, policy }
}

/// Runs a test on Mesa 22's llvmpipe, which is on every machine that judges; without it, on any Vulkan adapter.
pub fn on_mesa22(test: &str, run: impl FnOnce(&Gpu)) {
    let adapters = Gpu::adapters_blocking();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    // Past the harness's capture, which would hide it from whoever reads only the summary.
    let mut out = std::io::stdout();
    let mut vulkan = adapters.iter().filter(|a| a.backend == "vulkan");
    let mesa22 = vulkan.clone().find(|a| a.driver.contains("Mesa 22"));
    assert!(
        mesa22.is_some() || !required.contains("mesa22"),
        "{test}: TACHYLITE_REQUIRE asks for mesa22, but there are {adapters:?}"
    );
    match mesa22.or_else(|| vulkan.next()) {
        Some(a) => {
            let gpu = Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
            writeln!(out, "{test} on {} {} ({})", a.backend, a.name, a.driver).unwrap();
            run(&gpu);
        }
        None => writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap(),
    }
}
