//! llvmpipe over Vulkan, of newer Mesas.

use super::{Pattern, Quirk};

/// Found on Mesa 26.2.6 (LLVM 22), and not on 22.3.6: lanes that load side by side there are gathered, and
/// memory then comes at a quarter of what it gives one lane; the figures are in benches/log.md.
pub(crate) static QUIRK: Quirk = Quirk {
    pattern: Pattern { backend: Some("vulkan"), name: "llvmpipe", driver: "mesa 26", ..Pattern::ANY },
    untrained: true,
    ..Quirk::NONE
};
