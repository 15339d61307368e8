//! SwiftShader over Vulkan. It keeps no compiled code between runs, so that every process compiles.

use super::{Avoid, Pattern, Quirk};

/// Found on the SwiftShader of Debian 12's chromium; the figures are in benches/log.md.
pub(super) static QUIRK: Quirk = Quirk {
    pattern: Pattern { backend: Some("vulkan"), name: "swiftshader", ..Pattern::ANY },
    avoid: &[Avoid {
        kernel: "matmul.tile",
        why: "its 16 rows in registers take SwiftShader twice as long to compile as the 8 of \
              matmul.tile_small, which every process pays, and save at most a quarter of a run",
    }],
    packs_nan: true, // seen on gguf/F16/dequantise, whose table holds infinities
    ..Quirk::NONE
};
