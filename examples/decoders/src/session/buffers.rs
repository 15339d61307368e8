//! The buffers of a session, and plans bound to them.

use std::collections::BTreeMap;

use tachylite::gpu::{Executable, Io};
use tachylite::{Gpu, Plan, wgpu};

use crate::Result;

/// The largest buffer that is read back.
pub(super) const READ_MOST: u64 = 64 << 20;

/// A buffer that can be written.
pub(super) fn buffer(gpu: &Gpu, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let usage = usage | wgpu::BufferUsages::COPY_DST;
    let descriptor =
        wgpu::BufferDescriptor { label: Some(label), size: size.max(16), usage, mapped_at_creation: false };
    gpu.device().create_buffer(&descriptor)
}

/// What both plans bind: of each name as large as either needs.
pub(super) fn buffers(gpu: &Gpu, plans: [&Plan; 2]) -> BTreeMap<String, wgpu::Buffer> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for plan in plans {
        for port in plan.inputs.iter().chain(&plan.outputs) {
            let size = sizes.entry(&port.name).or_default();
            *size = (*size).max(plan.buffers[port.buffer].bytes);
        }
    }
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    sizes.into_iter().map(|(name, size)| (name.to_owned(), buffer(gpu, name, size, usage))).collect()
}

/// Binds a plan: a single token is read where the token that comes next is written.
pub(super) fn bind(
    executable: &Executable,
    buffers: &BTreeMap<String, wgpu::Buffer>,
    single: bool,
) -> Result<Io> {
    let plan = executable.plan();
    let lies = |name: &str| &buffers[if single && name == "ids" { "next" } else { name }];
    let ports = plan.inputs.iter().chain(&plan.outputs).map(|port| port.name.as_str());
    let bound: Vec<_> = ports.map(|name| (name, lies(name).as_entire_buffer_binding())).collect();
    Ok(executable.bind(&bound)?)
}
