//! Suites of shapes.

use tachylite::op::{Axis, Shape, Sizes};
use tachylite::plan::Policy;
use tachylite::tune::{Task, Tasks};
use tachylite::{DType, Profile, ops};

/// What `--suite` may be.
pub(super) const NAMES: [&str; 2] = ["quick", "all"];

/// What there is to measure in a suite.
pub(super) fn tasks(name: &str, profile: &Profile, policy: &Policy) -> Result<Tasks, String> {
    let mut all = Tasks::default();
    let mut push = |op: &str, shape: Shape| -> Result<(), String> {
        let op = ops::by_name(op).ok_or_else(|| format!("there is no op `{op}`"))?;
        match Task::new(op, shape, profile, policy) {
            Ok(Some(task)) if task.kernels.len() > 1 => all.push(task),
            // Too large for this device, or nothing to choose.
            _ => {}
        }
        Ok(())
    };
    for (m, n, k) in products(name) {
        for w in [DType::F32, DType::F16, DType::I8, DType::Q8_0] {
            let sizes = Sizes::new(&[(Axis::M, m), (Axis::N, n), (Axis::K, k)]);
            push("matmul", Shape { sizes, x: DType::F32, w, variant: 0 })?;
        }
    }
    for op in ["layer_norm", "rms_norm", "softmax", "reduce", "add"] {
        for (r, c) in [(4096, 1024), (65536, 64), (16, 65536)] {
            let sizes = Sizes::new(&[(Axis::R, r), (Axis::C, c)]);
            push(op, Shape { sizes, x: DType::F32, w: DType::F32, variant: 0 })?;
        }
    }
    all.tasks.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(all)
}

/// M, N and K.
fn products(name: &str) -> Vec<(u64, u64, u64)> {
    let mut all = vec![(1, 4096, 4096), (8, 4096, 4096), (512, 512, 512), (128, 768, 768), (127, 515, 333)];
    if name == "all" {
        all.extend([(1024, 1024, 1024), (4096, 64, 1024), (64, 64, 8192), (4, 768, 768)]);
        // The layers of BERT-base, Llama-3.2-1B and Qwen3-0.6B.
        for m in [1, 128] {
            all.extend([(m, 3072, 768), (m, 768, 3072), (m, 2048, 2048), (m, 512, 2048)]);
            all.extend([(m, 8192, 2048), (m, 2048, 8192), (m, 1024, 1024), (m, 3072, 1024), (m, 1024, 3072)]);
        }
    }
    all
}
