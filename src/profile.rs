//! What a device is, as data: planning needs nothing else of it.

use std::sync::Arc;

use crate::quirks::Quirk;
use crate::tune::Tuning;

/// What kind of machine an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU lent by a hypervisor.
    Virtual,
    /// A software implementation.
    Cpu,
    /// Not said.
    Other,
}

impl DeviceKind {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Cpu => "cpu",
            Self::Other => "other",
        }
    }
}

/// Optional abilities that kernels may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// The WGSL type `f16`.
    pub shader_f16: bool,
    /// The WGSL type `u64`, which naga has and WebGPU has not.
    pub shader_int64: bool,
    /// Subgroup operations.
    pub subgroup: bool,
    /// Timestamps at the start and end of a pass.
    pub timestamp_query: bool,
    /// Cooperative matrices of 8 x 8 f16, multiplied into f32.
    pub matrix_8: bool,
    /// Cooperative matrices of 16 x 16 f16, multiplied into f32.
    pub matrix_16: bool,
}

/// The limits that plans are made within; WebGPU's defaults are [`Limits::WEBGPU`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers that one kernel may bind.
    pub storage_buffers_per_stage: u32,
    /// Largest range of a buffer that a kernel may bind, in bytes.
    pub storage_binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Invocations in a workgroup.
    pub workgroup_invocations: u32,
    /// Workgroups along one axis of a dispatch.
    pub workgroups_per_axis: u32,
    /// Alignment of dynamic uniform offsets, in bytes.
    pub uniform_offset_alignment: u32,
}

impl Limits {
    /// The limits that every WebGPU implementation grants.
    pub const WEBGPU: Self = Self {
        storage_buffers_per_stage: 8,
        storage_binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroup_bytes: 16384,
        workgroup_invocations: 256,
        workgroups_per_axis: 65535,
        uniform_offset_alignment: 256,
    };
}

/// How fast a device is. Until it is measured these are guesses by kind, good enough to rank
/// kernels that differ by several times. Each is what a [probe](crate::probe) reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speeds {
    /// f32 operations per second; a multiplication with an addition is two.
    pub flops_per_s: f64,
    /// f16 operations per second, likewise; 0 where there is no f16.
    pub f16_flops_per_s: f64,
    /// Operations per second on packed int8: a dot product of four with an addition is eight.
    pub dp4a_ops_per_s: f64,
    /// f16 operations per second of cooperative matrices that sum in f32; 0 where there are none.
    pub matrix_flops_per_s: f64,
    /// Exponentials per second.
    pub exps_per_s: f64,
    /// int8 numbers made f32 of per second.
    pub unpacked_i8_per_s: f64,
    /// f16 numbers made f32 of per second.
    pub unpacked_f16_per_s: f64,
    /// Bytes per second read, of more than any cache holds.
    pub bytes_per_s: f64,
    /// Bytes per second read, of what is in a cache.
    pub cached_bytes_per_s: f64,
    /// Bytes per second copied, each read and written: the sum of both, of more than any cache holds.
    pub copy_bytes_per_s: f64,
    /// Bytes per second copied within a cache.
    pub cached_copy_bytes_per_s: f64,
    /// Bytes per second of workgroup memory read.
    pub workgroup_bytes_per_s: f64,
    /// Loads per second of four f32 each, of what is in the nearest cache.
    pub loads_per_s: f64,
    /// Invocations that must be in flight before either speed is reached.
    pub busy_invocations: f64,
    /// Cost of one more dispatch in a pass, in seconds.
    pub dispatch_s: f64,
    /// Cost beyond that where it waits for the one before it, in seconds.
    pub barrier_s: f64,
    /// Cost of one more pass, in seconds.
    pub pass_s: f64,
    /// A submit of nothing and the wait for it, in seconds.
    pub submit_s: f64,
    /// Bytes per second from the host into a buffer.
    pub upload_bytes_per_s: f64,
    /// Bytes per second from a buffer to the host.
    pub readback_bytes_per_s: f64,
}

impl Speeds {
    /// Guesses for a kind of device.
    pub const fn guess(kind: DeviceKind) -> Self {
        let (flops, bytes, busy_invocations, dispatch_s) = match kind {
            DeviceKind::Cpu => (2e10, 5e9, 16.0, 1e-5),
            DeviceKind::Discrete => (1e13, 5e11, 1e5, 2e-6),
            _ => (1e12, 5e10, 1e4, 4e-6),
        };
        let is_cpu = matches!(kind, DeviceKind::Cpu);
        Self {
            flops_per_s: flops,
            f16_flops_per_s: if is_cpu { flops / 12.0 } else { flops },
            dp4a_ops_per_s: flops,
            matrix_flops_per_s: 0.0,
            exps_per_s: flops / 32.0,
            unpacked_i8_per_s: flops / 4.0,
            unpacked_f16_per_s: flops / 4.0,
            bytes_per_s: bytes,
            cached_bytes_per_s: bytes * 2.0,
            copy_bytes_per_s: bytes,
            cached_copy_bytes_per_s: bytes * 2.0,
            workgroup_bytes_per_s: bytes * if is_cpu { 1.0 } else { 8.0 },
            loads_per_s: bytes / 16.0 * if is_cpu { 1.0 } else { 4.0 },
            busy_invocations,
            dispatch_s,
            barrier_s: dispatch_s,
            pass_s: dispatch_s,
            submit_s: dispatch_s * 10.0,
            upload_bytes_per_s: 5e9,
            readback_bytes_per_s: 5e9,
        }
    }
}

/// A device as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The adapter's name.
    pub name: String,
    /// The backend: `vulkan`, `gl`, `metal`, `dx12`, `browser`.
    pub backend: String,
    /// The driver and its version, as it calls itself.
    pub driver: String,
    /// PCI vendor, or 0.
    pub vendor: u32,
    /// PCI device, or 0.
    pub device: u32,
    /// What kind of machine it is.
    pub kind: DeviceKind,
    /// What it can do beyond the default.
    pub features: Features,
    /// How much of everything it grants.
    pub limits: Limits,
    /// Smallest and largest subgroup; (0, 0) without subgroups.
    pub subgroup_sizes: (u32, u32),
    /// How fast it is.
    pub speeds: Speeds,
    /// What is known to go wrong on it. Clear it to plan as if nothing were.
    pub quirks: Vec<&'static Quirk>,
    /// Which kernels won on it, and which are wrong there; [`Profile::with_tuning`] puts it there.
    pub tuning: Option<Arc<Tuning>>,
}

impl Profile {
    /// The device that every plan for the web must suit: default limits, no feature.
    pub fn portable() -> Self {
        Self {
            name: "portable".into(),
            backend: "any".into(),
            driver: String::new(),
            vendor: 0,
            device: 0,
            kind: DeviceKind::Other,
            features: Features::default(),
            limits: Limits::WEBGPU,
            subgroup_sizes: (0, 0),
            speeds: Speeds::guess(DeviceKind::Other),
            quirks: Vec::new(),
            tuning: None,
        }
    }

    /// A device with every feature, within the default limits: what every kernel fits that anything fits.
    pub fn capable() -> Self {
        let features = Features {
            shader_f16: true,
            shader_int64: true,
            subgroup: true,
            timestamp_query: true,
            matrix_8: true,
            matrix_16: true,
        };
        Self { name: "capable".into(), features, subgroup_sizes: (32, 32), ..Self::portable() }
    }
}
