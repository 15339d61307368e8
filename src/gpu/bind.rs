//! What callers bind as inputs and outputs: buffers that hold the tensors, and do not lie over
//! each other where WebGPU or the plan forbids it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::gpu::Executable;
use crate::plan::{Plan, Role};

impl Executable {
    /// The caller's buffers by place in the plan, each cut to the bytes that the plan needs.
    pub(super) fn given<'a>(
        &self,
        tensors: &[(&str, wgpu::BufferBinding<'a>)],
    ) -> Result<BTreeMap<usize, wgpu::BufferBinding<'a>>> {
        let plan = &self.loaded.plan;
        let mut given = BTreeMap::new();
        for (name, slice) in tensors {
            let Some(port) = plan.inputs.iter().chain(&plan.outputs).find(|p| p.name == *name) else {
                return Err(Error::Argument(format!("bind: there is no input or output `{name}`")));
            };
            let bytes = self.loaded.bytes(port.buffer);
            let mut slice = slice.clone();
            check_slice(
                name,
                &slice,
                bytes,
                self.loaded.gpu.device().limits().min_storage_buffer_offset_alignment,
            )?;
            slice.size = wgpu::BufferSize::new(bytes);
            match given.insert(port.buffer, slice.clone()) {
                Some(other) if (other.buffer, other.offset) != (slice.buffer, slice.offset) => {
                    return Err(Error::Argument(format!("bind: `{name}` was given twice, in two places")));
                }
                _ => {}
            }
        }
        let ours = |r: &Role| matches!(r, Role::Weight(_) | Role::Scratch);
        match (0..plan.buffers.len()).find(|i| !ours(&plan.buffers[*i].role) && !given.contains_key(i)) {
            Some(i) => Err(Error::Argument(format!("bind: {} was not given", plan.buffer_name(i)))),
            None => Ok(given),
        }
    }

    /// WebGPU forbids a buffer that a dispatch writes to appear in it a second time, whatever the
    /// ranges.
    pub(super) fn check_aliases(&self, given: &BTreeMap<usize, wgpu::BufferBinding<'_>>) -> Result<()> {
        let plan = &self.loaded.plan;
        for (i, a) in given {
            for (j, b) in given {
                let written =
                    [i, j].iter().all(|b| matches!(plan.buffers[**b].role, Role::Output(_) | Role::State(_)));
                if i != j && written && a.buffer == b.buffer && overlap(plan, (*i, a), (*j, b)) {
                    return Err(Error::Argument(format!(
                        "bind: {} lies over {}, which it would overwrite",
                        plan.buffer_name(*i),
                        plan.buffer_name(*j)
                    )));
                }
            }
        }
        for step in &self.loaded.plan.steps {
            for (i, a) in step.bindings.iter().enumerate() {
                for b in &step.bindings[i + 1..] {
                    let (Some(x), Some(y)) = (given.get(&a.buffer), given.get(&b.buffer)) else { continue };
                    if a.buffer != b.buffer && (a.write || b.write) && x.buffer == y.buffer {
                        return Err(Error::Argument(format!(
                            "bind: {} and {} lie in one buffer, but {} writes to it, so they need two",
                            self.loaded.plan.buffer_name(a.buffer),
                            self.loaded.plan.buffer_name(b.buffer),
                            step.kernel_name
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a slice of a caller's buffer can hold `bytes` bytes of a tensor.
fn check_slice(name: &str, slice: &wgpu::BufferBinding<'_>, bytes: u64, alignment: u32) -> Result<()> {
    let rest = slice.buffer.size().saturating_sub(slice.offset);
    let given = slice.size.map_or(rest, |s| rest.min(s.get()));
    if !slice.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return Err(Error::Argument(format!("bind: the buffer of `{name}` was made without STORAGE usage")));
    }
    if !slice.offset.is_multiple_of(u64::from(alignment)) {
        return Err(Error::Argument(format!(
            "bind: `{name}` starts at byte {}, but the device binds at multiples of {alignment}",
            slice.offset
        )));
    }
    if given < bytes {
        return Err(Error::Argument(format!(
            "bind: `{name}` needs {bytes} bytes, but its buffer gives {given}"
        )));
    }
    Ok(())
}

/// Whether two tensors of a plan share bytes of the one buffer that both are bound in.
fn overlap(plan: &Plan, a: (usize, &wgpu::BufferBinding<'_>), b: (usize, &wgpu::BufferBinding<'_>)) -> bool {
    let end = |(i, binding): (usize, &wgpu::BufferBinding<'_>)| binding.offset + plan.buffers[i].bytes;
    a.1.offset < end(b) && b.1.offset < end(a)
}
