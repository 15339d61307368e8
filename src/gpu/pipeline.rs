//! Pipelines: made once for each text on a device, several at a time, and shared while an
//! executable holds them. An error of the shader compiler points at the line of the shader's file.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gpu::scope::one_line;
use crate::gpu::{Gpu, lock};
use crate::kernel::{Access, Composed};

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
    pub(super) async fn pipelines(&self, kernels: &[Composed]) -> Result<Vec<Arc<Pipeline>>> {
        let mut out: Vec<Option<Arc<Pipeline>>> = {
            let known = lock(&self.0.pipelines);
            kernels.iter().map(|k| known.get(&k.wgsl)?.upgrade()).collect()
        };
        let missing: Vec<usize> = (0..kernels.len()).filter(|i| out[*i].is_none()).collect();
        let made = self.make(&missing.iter().map(|i| &kernels[*i]).collect::<Vec<_>>()).await?;
        let mut known = lock(&self.0.pipelines);
        known.retain(|_, p| p.strong_count() > 0);
        for (i, pipeline) in missing.into_iter().zip(made) {
            let pipeline = Arc::new(pipeline);
            known.insert(kernels[i].wgsl.clone(), Arc::downgrade(&pipeline));
            out[i] = Some(pipeline);
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// Makes pipelines on as many threads as there are, since drivers compile on the caller's.
    #[cfg(not(target_arch = "wasm32"))]
    async fn make(&self, kernels: &[&Composed]) -> Result<Vec<Pipeline>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
        if threads < 2 {
            return make_some(self, kernels).await;
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = kernels
                .chunks(kernels.len().div_ceil(threads))
                .map(|some| scope.spawn(move || pollster::block_on(make_some(self, some))))
                .collect();
            let made = threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            Ok(made.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    #[cfg(target_arch = "wasm32")]
    async fn make(&self, kernels: &[&Composed]) -> Result<Vec<Pipeline>> {
        make_some(self, kernels).await
    }
}

/// Makes pipelines within one set of error scopes.
async fn make_some(gpu: &Gpu, kernels: &[&Composed]) -> Result<Vec<Pipeline>> {
    let (made, said) = gpu.scoped(|| kernels.iter().map(|k| make_one(gpu.device(), k)).collect::<Vec<_>>());
    let Err(error) = said.await else {
        return Ok(made.into_iter().map(|(_, pipeline)| pipeline).collect());
    };
    for (kernel, (module, _)) in kernels.iter().zip(made) {
        let info = module.get_compilation_info().await;
        let is_error = |m: &&wgpu::CompilationMessage| m.message_type == wgpu::CompilationMessageType::Error;
        if let Some(message) = info.messages.iter().find(is_error) {
            return Err(Error::Validation(blame(kernel, message)));
        }
    }
    Err(error)
}

fn make_one(device: &wgpu::Device, kernel: &Composed) -> (wgpu::ShaderModule, Pipeline) {
    let label = Some(&*kernel.name);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Wgsl(kernel.wgsl.as_str().into()),
    });
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
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    (module, Pipeline { pipeline, tensors })
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
