//! The adapters that there are.

use std::io::Write as _;

use tachylite::{Gpu, wgpu};

use super::{N, compare_all, known, shader};

/// Runs a shader on an adapter, over rows of operands; gives rows of results, or why it is refused.
fn run(gpu: &Gpu, text: &str, operands: &[u32], results: usize) -> Result<Vec<u32>, String> {
    let device = gpu.device();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let buffer = |bytes: usize, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let input = buffer(operands.len() * 4, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
    let output = buffer(results * N * 4, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(results * N * 4, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    gpu.queue().write_buffer(&input, 0, bytemuck::cast_slice(operands));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    if let Some(error) = pollster::block_on(scope.pop()) {
        return Err(error.to_string());
    }
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(N as u32 / 64, 1, 1);
    drop(pass);
    encoder.copy_buffer_to_buffer(&output, 0, &staging, 0, output.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |r| r.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap()))
}

#[test]
fn every_adapter_gives_what_wgsl_accepts() {
    let adapters = Gpu::adapters_blocking();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    assert!(!required.contains("mesa22") || !adapters.is_empty(), "TACHYLITE_REQUIRE asks for an adapter");
    let mut failures = Vec::new();
    if adapters.is_empty() {
        writeln!(std::io::stdout(), "SKIPPED 1 test: no adapter to compare with").unwrap();
    }
    for a in adapters {
        let gpu = Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
        let device = known::Device { backend: a.backend, name: a.name, driver: a.driver };
        let f16 = gpu.profile().features.shader_f16;
        failures.extend(compare_all(&device, f16, |case, operands| {
            run(&gpu, &shader(case), operands, case.results)
        }));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
