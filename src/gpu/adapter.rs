//! Which adapters there are, what each is as data, and which one a name means. Never opens one.

use crate::error::{Error, Result};
use crate::profile::{DeviceKind, Features, Limits, Profile, Speeds};
use crate::quirks;

/// How much of a device's memory budget may be taken before a buffer is refused, in percent. A
/// refusal is an error that the caller can handle; running out is the end of the process or device.
const BUDGET_PERCENT: u8 = 95;

/// What kernels, measurements or start-up can use beyond the default.
pub(super) fn used_features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::SUBGROUP
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::PIPELINE_CACHE
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
}

/// Leave to use what wgpu calls experimental.
#[allow(unsafe_code, reason = "wgpu asks for it where its own checks are not complete")]
pub(super) fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the only such feature that is used are cooperative matrices, in kernels of this library, which
    // are checked on every device and interpreted by the virtual GPU: they lie within their buffers.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// Adds which cooperative matrices an adapter has, on a device that may use them.
pub(super) fn add_matrices(profile: &mut Profile, adapter: &wgpu::Adapter, features: wgpu::Features) {
    use wgpu::CooperativeScalarType::{F16, F32};
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return;
    }
    let all = adapter.cooperative_matrix_properties();
    let has = |n: u32| {
        let square = all.iter().filter(|p| [p.m_size, p.n_size, p.k_size] == [n; 3]);
        square.into_iter().any(|p| p.ab_type == F16 && p.cr_type == F32)
    };
    (profile.features.matrix_8, profile.features.matrix_16) = (has(8), has(16));
}

/// The adapters of some backends that can compute, best first.
pub(super) async fn all(backends: wgpu::Backends) -> Vec<(Profile, wgpu::Adapter)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.memory_budget_thresholds.for_resource_creation = Some(BUDGET_PERCENT);
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters: Vec<_> = instance
        .enumerate_adapters(backends)
        .await
        .into_iter()
        .map(|a| {
            let features = a.features() & used_features();
            let mut profile = profile(&a.get_info(), features, &a.limits());
            add_matrices(&mut profile, &a, features);
            (profile, a)
        })
        .filter(|(p, a)| {
            let flags = a.get_downlevel_capabilities().flags;
            flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) && p.limits.storage_buffers_per_stage > 0
        })
        .collect();
    adapters.sort_by_key(|(p, _)| rank(p));
    adapters
}

/// The best adapter that a name means.
pub(super) async fn find(name: &str) -> Result<(Profile, wgpu::Adapter)> {
    // Drivers of other backends need not be loaded, unless to say what there is instead.
    let one = name.split_once(':').map_or(wgpu::Backends::all(), |(backend, _)| backends(backend));
    if one != wgpu::Backends::all()
        && let Some(found) = all(one).await.into_iter().find(|(p, _)| is_named(p, name))
    {
        return Ok(found);
    }
    let mut adapters = all(wgpu::Backends::all()).await;
    match adapters.iter().position(|(p, _)| is_named(p, name)) {
        Some(i) => Ok(adapters.swap_remove(i)),
        None if adapters.is_empty() => Err(Error::Adapter(format!(
            "there is no adapter, so none that is `{name}`; a software one comes with a Vulkan driver for \
             the CPU (Debian: apt-get install mesa-vulkan-drivers)"
        ))),
        None => {
            let there: Vec<_> =
                adapters.iter().map(|(p, _)| format!("{}:{} ({})", p.backend, p.name, p.driver)).collect();
            Err(Error::Adapter(format!("no adapter is `{name}`; there are {}", there.join("; "))))
        }
    }
}

/// Better adapters have smaller ranks.
fn rank(p: &Profile) -> (u8, bool) {
    let kind = match p.kind {
        DeviceKind::Discrete => 0,
        DeviceKind::Integrated => 1,
        DeviceKind::Virtual => 2,
        DeviceKind::Other => 3,
        DeviceKind::Cpu => 4,
    };
    (kind, p.backend == "gl")
}

/// The backend of a name, or all of them.
fn backends(name: &str) -> wgpu::Backends {
    match name {
        "vulkan" => wgpu::Backends::VULKAN,
        "metal" => wgpu::Backends::METAL,
        "dx12" => wgpu::Backends::DX12,
        "gl" => wgpu::Backends::GL,
        "browser" => wgpu::Backends::BROWSER_WEBGPU,
        _ => wgpu::Backends::all(),
    }
}

fn is_named(p: &Profile, name: &str) -> bool {
    if name == "gpu" {
        return true;
    }
    let part = match name.split_once(':') {
        Some((backend, part)) if backends(backend) != wgpu::Backends::all() => {
            if p.backend != backend {
                return false;
            }
            part
        }
        _ => name,
    };
    let part = part.to_lowercase();
    p.backend == part || p.name.to_lowercase().contains(&part) || p.driver.to_lowercase().contains(&part)
}

/// An adapter or device as data.
pub(super) fn profile(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Profile {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
        wgpu::DeviceType::VirtualGpu => DeviceKind::Virtual,
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
        wgpu::DeviceType::Other => DeviceKind::Other,
    };
    let backend = match info.backend {
        wgpu::Backend::BrowserWebGpu => "browser",
        other => other.to_str(),
    };
    let subgroup = features.contains(wgpu::Features::SUBGROUP);
    let mut profile = Profile {
        name: info.name.clone(),
        backend: backend.to_owned(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        vendor: info.vendor,
        device: info.device,
        kind,
        features: Features {
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            subgroup,
            timestamp_query: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            // Only the adapter knows.
            matrix_8: false,
            matrix_16: false,
        },
        limits: Limits {
            storage_buffers_per_stage: limits.max_storage_buffers_per_shader_stage,
            storage_binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            workgroups_per_axis: limits.max_compute_workgroups_per_dimension,
            uniform_offset_alignment: limits.min_uniform_buffer_offset_alignment,
        },
        subgroup_sizes: if subgroup { (info.subgroup_min_size, info.subgroup_max_size) } else { (0, 0) },
        speeds: Speeds::guess(kind),
        quirks: Vec::new(),
        tuning: None,
    };
    profile.quirks = quirks::of(&profile);
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_a_backend_and_part_of_a_name_or_driver() {
        let mut p = Profile::portable();
        p.name = "llvmpipe (LLVM 15.0.6, 256 bits)".into();
        p.backend = "vulkan".into();
        p.driver = "llvmpipe Mesa 22.3.6".into();
        for name in ["gpu", "vulkan:llvmpipe", "vulkan:", "LLVMpipe", "vulkan:mesa 22.3", "llvmpipe (LLVM"] {
            assert!(is_named(&p, name), "{name}");
        }
        for name in ["gl:llvmpipe", "vulkan:swiftshader", "nvidia", "cuda:llvmpipe"] {
            assert!(!is_named(&p, name), "{name}");
        }
    }

    #[test]
    fn hardware_ranks_before_software_and_gl_last_within_a_kind() {
        let of =
            |kind, backend: &str| rank(&Profile { kind, backend: backend.into(), ..Profile::portable() });
        assert!(of(DeviceKind::Discrete, "gl") < of(DeviceKind::Integrated, "vulkan"));
        assert!(of(DeviceKind::Virtual, "vulkan") < of(DeviceKind::Cpu, "vulkan"));
        assert!(of(DeviceKind::Cpu, "vulkan") < of(DeviceKind::Cpu, "gl"));
    }
}
