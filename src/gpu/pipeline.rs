//! Pipelines: made once for each text on a device, several at a time, and shared while an
//! executable holds them. An error of the shader compiler points at the line of the shader's file.

use std::future::Future;
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::gpu::scope::one_line;
use crate::gpu::timings::{Clock, LoadTimings};
use crate::gpu::{Gpu, lock};
use crate::kernel::{Access, Composed, extensions};
use crate::plan::Trusted;

/// A kernel made ready, with the layout of its group 0.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) tensors: wgpu::BindGroupLayout,
}

/// The layout of group 1: the parameters, at a dynamic offset.
pub(super) fn params_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("params"),
        entries: &[entry(0, wgpu::BufferBindingType::Uniform)],
    })
}

fn entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: ty == wgpu::BufferBindingType::Uniform,
            min_binding_size: None,
        },
        count: None,
    }
}

impl Gpu {
    /// The pipelines of a plan's kernels, in order; those that exist already are shared.
    pub(super) async fn pipelines(
        &self,
        kernels: &[Composed],
        trusted: Trusted,
        times: &mut LoadTimings,
    ) -> Result<Vec<Arc<Pipeline>>> {
        let which = usize::from(trusted.is_yes());
        let mut out: Vec<Option<Arc<Pipeline>>> = {
            let known = &lock(&self.0.pipelines)[which];
            kernels.iter().map(|k| known.get(&k.wgsl)?.upgrade()).collect()
        };
        let missing: Vec<usize> = (0..kernels.len()).filter(|i| out[*i].is_none()).collect();
        let made = self.make(&missing.iter().map(|i| &kernels[*i]).collect::<Vec<_>>(), trusted).await;
        let known = &mut lock(&self.0.pipelines)[which];
        known.retain(|_, p| p.strong_count() > 0);
        for (i, made) in missing.into_iter().zip(made) {
            // The first error in the plan's order, whichever thread met one first.
            let Made { pipeline, shader, compiling } = made?;
            times.pipelines_made += 1;
            times.shaders += shader;
            times.compiling += compiling;
            let pipeline = Arc::new(pipeline);
            known.insert(kernels[i].wgsl.clone(), Arc::downgrade(&pipeline));
            out[i] = Some(pipeline);
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// Makes pipelines on as many threads as there are cores, since drivers compile on the caller's.
    /// Each thread takes the longest text that is left: what takes long must not come last.
    #[cfg(not(target_arch = "wasm32"))]
    async fn make(&self, kernels: &[&Composed], trusted: Trusted) -> Vec<Result<Made>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
        let mut order: Vec<usize> = (0..kernels.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(kernels[*i].wgsl.len()));
        let next = AtomicUsize::new(0);
        let work = || {
            let taken = std::iter::from_fn(|| order.get(next.fetch_add(1, Ordering::Relaxed)));
            taken.map(|i| (*i, pollster::block_on(begin(self, kernels[*i], trusted)))).collect::<Vec<_>>()
        };
        let mut made = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut made = work();
            for other in others {
                made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            made
        });
        made.sort_by_key(|(i, _)| *i);
        made.into_iter().map(|(_, made)| made).collect()
    }

    /// Begins all before it waits for the first: a browser compiles elsewhere.
    #[cfg(target_arch = "wasm32")]
    async fn make(&self, kernels: &[&Composed], trusted: Trusted) -> Vec<Result<Made>> {
        let mut made = Vec::with_capacity(kernels.len());
        for begun in kernels.iter().map(|k| begin(self, k, trusted)).collect::<Vec<_>>() {
            made.push(begun.await);
        }
        made
    }
}

/// A pipeline, and how long its two halves took.
struct Made {
    pipeline: Pipeline,
    shader: Duration,
    compiling: Duration,
}

/// Makes a pipeline now; the future has it, or what was wrong. Error scopes belong to a thread, so
/// every pipeline has its own, pushed and popped where it is made.
fn begin(gpu: &Gpu, kernel: &Composed, trusted: Trusted) -> impl Future<Output = Result<Made>> {
    let ((module, made), said) = gpu.scoped(move || make_one(gpu, kernel, trusted));
    async move {
        let Err(error) = said.await else { return Ok(made) };
        let info = module.get_compilation_info().await;
        let is_error = |m: &&wgpu::CompilationMessage| m.message_type == wgpu::CompilationMessageType::Error;
        match info.messages.iter().find(is_error) {
            Some(message) => Err(Error::Validation(blame(kernel, message))),
            None => Err(error),
        }
    }
}

fn make_one(gpu: &Gpu, kernel: &Composed, trusted: Trusted) -> (wgpu::ShaderModule, Made) {
    let (device, label, mut clock) = (gpu.device(), Some(&*kernel.name), Clock::start());
    let text = extensions::for_naga(&kernel.extensions) + &kernel.wgsl;
    let module = module(
        device,
        wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(text.into()) },
        trusted,
    );
    let shader = clock.lap();
    let entries: Vec<_> = (0..)
        .zip(&kernel.bindings)
        .map(|(i, b)| entry(i, wgpu::BufferBindingType::Storage { read_only: b.access == Access::Read }))
        .collect();
    let tensors =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let params = params_layout(device);
    let groups = [Some(&tensors), Some(&params)];
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: if kernel.params.is_empty() { &groups[..1] } else { &groups },
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: !trusted.is_yes(),
            ..Default::default()
        },
        cache: gpu.0.cache.get(),
    });
    let pipeline = Pipeline { pipeline, tensors };
    (module, Made { pipeline, shader, compiling: clock.lap() })
}

/// A shader, with the checks that keep a wrong one from harm unless it is trusted.
#[allow(unsafe_code, reason = "the only way to do without checks that the caller does not want")]
fn module(
    device: &wgpu::Device,
    text: wgpu::ShaderModuleDescriptor<'_>,
    trusted: Trusted,
) -> wgpu::ShaderModule {
    if trusted.is_yes() {
        // SAFETY: who made `Trusted` vouches for the shaders of the plan.
        return unsafe { device.create_shader_module_trusted(text, wgpu::ShaderRuntimeChecks::unchecked()) };
    }
    device.create_shader_module(text)
}

/// One sentence that names the kernel, the line of its file, and what the compiler says of it.
fn blame(kernel: &Composed, message: &wgpu::CompilationMessage) -> String {
    let line = message.location.map(|l| (l.line_number as usize).saturating_sub(1));
    let place = match line.and_then(|l| kernel.lines.get(l)) {
        Some((file, number)) => format!(" at {file}:{number}"),
        None => String::new(),
    };
    let text = match line.and_then(|l| kernel.wgsl.lines().nth(l)) {
        Some(text) => format!(" (`{}`)", text.trim()),
        None => String::new(),
    };
    format!("kernel {}{place}{text}: {}", kernel.name, one_line(&message.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_message_points_at_the_file() {
        let kernel = Composed {
            name: "copy.plain".into(),
            wgsl: "fn a() {}\n  let x = ;\n".into(),
            bindings: Vec::new(),
            params: Vec::new(),
            workgroup_size: 1,
            workgroup_bytes: 0,
            lines: vec![("lib/load.wgsl".into(), 3), ("copy.wgsl".into(), 17)],
            extensions: Vec::new(),
        };
        let location =
            Some(wgpu::SourceLocation { line_number: 2, line_position: 11, offset: 20, length: 1 });
        let message = wgpu::CompilationMessage {
            message: "expected expression\n found ;".into(),
            message_type: wgpu::CompilationMessageType::Error,
            location,
        };
        let said = blame(&kernel, &message);
        assert_eq!(said, "kernel copy.plain at copy.wgsl:17 (`let x = ;`): expected expression: found ;");
    }
}
