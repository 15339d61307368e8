//! SwiftShader over Vulkan. It keeps no compiled code between runs, so that every process compiles.

use super::{Avoid, Failing, Pattern, Quirk};

/// Found on the SwiftShader of Debian 12's chromium; the figures are in benches/log.md.
pub(super) static QUIRK: Quirk = Quirk {
    pattern: Pattern { backend: Some("vulkan"), name: "swiftshader", ..Pattern::ANY },
    avoid: &[Avoid {
        kernel: "matmul.tile",
        why: "its 16 rows in registers take SwiftShader twice as long to compile as the 8 of \
              matmul.tile_small, which every process pays, and save at most a quarter of a run",
    }],
    failing: &[Failing {
        cases: "gguf/F16/dequantise",
        why: "its pack2x16float makes a NaN of an infinity, which tables of f16 in that suite hold",
    }],
    ..Quirk::NONE
};
