//! A device's profile as JSON and as text.

use serde_json::{Value, json};
use tachylite::Profile;

/// What a user gets when there is no adapter.
pub(crate) const NO_ADAPTER: &str = "there is no GPU adapter; a Vulkan driver for the CPU is one \
    (Debian and Ubuntu: `apt-get install mesa-vulkan-drivers`)";

/// What a user gets when there is no adapter, and something else is run instead.
pub(crate) const NO_ADAPTER_BUT_VIRTUAL: &str = "there is no GPU adapter: this is `virtual`, an interpreter \
    of the kernels, which proves them and says nothing of a GPU or its driver (`--adapter gpu` asks for one)";

/// The name by which an adapter can be asked for.
pub(crate) fn full_name(p: &Profile) -> String {
    format!("{}:{}", p.backend, p.name)
}

/// The profile as JSON.
pub(crate) fn to_json(p: &Profile) -> Value {
    let (f, l) = (&p.features, &p.limits);
    json!({
        "name": p.name,
        "backend": p.backend,
        "driver": p.driver,
        "kind": p.kind.name(),
        "vendor": p.vendor,
        "device": p.device,
        "features": {
            "shader_f16": f.shader_f16,
            "shader_int64": f.shader_int64,
            "subgroup": f.subgroup,
            "timestamp_query": f.timestamp_query,
            "matrix_8": f.matrix_8,
            "matrix_16": f.matrix_16,
        },
        "subgroup_sizes": [p.subgroup_sizes.0, p.subgroup_sizes.1],
        "limits": {
            "storage_buffers_per_stage": l.storage_buffers_per_stage,
            "storage_binding_bytes": l.storage_binding_bytes,
            "buffer_bytes": l.buffer_bytes,
            "workgroup_bytes": l.workgroup_bytes,
            "workgroup_invocations": l.workgroup_invocations,
            "workgroups_per_axis": l.workgroups_per_axis,
            "uniform_offset_alignment": l.uniform_offset_alignment,
        },
    })
}

/// As much of a profile as says which device it is, with its quirks.
pub(crate) fn from_json(device: &Value) -> Profile {
    let text = |field: &str| device[field].as_str().unwrap_or_default().to_owned();
    let id = |field: &str| device[field].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let mut profile = Profile {
        name: text("name"),
        backend: text("backend"),
        driver: text("driver"),
        vendor: id("vendor"),
        device: id("device"),
        ..Profile::portable()
    };
    profile.quirks = tachylite::quirks::of(&profile);
    profile
}

/// The profile as a few lines of text.
pub(crate) fn to_text(p: &Profile) -> String {
    let (f, l) = (&p.features, &p.limits);
    let features = [
        ("f16", f.shader_f16),
        ("int64", f.shader_int64),
        ("subgroups", f.subgroup),
        ("timestamps", f.timestamp_query),
        ("matrices of 8", f.matrix_8),
        ("matrices of 16", f.matrix_16),
    ];
    let features: Vec<_> = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let subgroups = match p.subgroup_sizes {
        (0, 0) => "unknown".to_owned(),
        (a, b) if a == b => a.to_string(),
        (a, b) => format!("{a} to {b}"),
    };
    let rows = [
        ("driver", p.driver.clone()),
        ("kind", format!("{}, vendor {:#06x}, device {:#06x}", p.kind.name(), p.vendor, p.device)),
        ("features", features),
        ("subgroup size", subgroups),
        ("buffers", format!("{}, bound {}", mebibytes(l.buffer_bytes), mebibytes(l.storage_binding_bytes))),
        ("bindings", format!("{} storage buffers a kernel", l.storage_buffers_per_stage)),
        (
            "workgroups",
            format!(
                "{} invocations, {} KiB, {} along an axis",
                l.workgroup_invocations,
                l.workgroup_bytes / 1024,
                l.workgroups_per_axis
            ),
        ),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("  {name:<14} {value}\n")).collect();
    format!("{}\n{rows}", full_name(p))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
