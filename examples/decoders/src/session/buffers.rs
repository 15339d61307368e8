//! The buffers of a session, and plans bound to them.

use std::collections::BTreeMap;

use tachylite::gpu::{Executable, Io};
use tachylite::plan::Port;
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

/// What both plans bind: of each name as large as either needs; of what is carried two.
pub(super) fn buffers(
    gpu: &Gpu,
    plans: [&Plan; 2],
    carried: &[(String, String)],
) -> BTreeMap<String, [wgpu::Buffer; 2]> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for plan in plans {
        for port in plan.inputs.iter().chain(&plan.outputs) {
            let size = sizes.entry(&port.name).or_default();
            *size = (*size).max(plan.buffers[port.buffer].bytes);
        }
    }
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let make = |(name, size): (&str, u64)| {
        let one = buffer(gpu, name, size, usage);
        let twice = carried.iter().any(|(input, _)| input == name);
        let other = if twice { buffer(gpu, name, size, usage) } else { one.clone() };
        (name.to_owned(), [one, other])
    };
    sizes.into_iter().filter(|(name, _)| carried.iter().all(|(_, after)| after != name)).map(make).collect()
}

/// Binds a plan: a single token is read where the token that comes next is written.
pub(super) fn bind(
    executable: &Executable,
    buffers: &BTreeMap<String, [wgpu::Buffer; 2]>,
    carried: &[(String, String)],
    (turn, single): (usize, bool),
) -> Result<Io> {
    let plan = executable.plan();
    let lies = |port: &Port| {
        let name = port.name.as_str();
        let after = carried.iter().find(|(_, after)| after == name);
        let buffer = match (after, name) {
            (Some((input, _)), _) => &buffers[input][1 - turn],
            (None, "ids") if single => &buffers["next"][0],
            (None, _) => &buffers[name][turn],
        };
        buffer.as_entire_buffer_binding()
    };
    let ports = plan.inputs.iter().chain(&plan.outputs);
    let bound: Vec<_> = ports.map(|port| (port.name.as_str(), lies(port))).collect();
    Ok(executable.bind(&bound)?)
}
