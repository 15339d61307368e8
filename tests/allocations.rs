//! Recording a call allocates nothing of ours and makes no wgpu object: it takes exactly as many
//! allocations as the same wgpu calls written out by hand, and its first half takes none. Alone in
//! its process, because it counts what the allocator is asked for.
#![cfg(feature = "gpu")]

use std::io::Write;

use tachylite::gpu::{Executable, Io, LoadOptions};
use tachylite::kernel::Access;
use tachylite::plan::prepare::Weights;
use tachylite::{Call, Gpu, Plan, wgpu};

mod counting;
mod hand;

use counting::allocations;

/// A plan's dispatches with wgpu alone: what an embedder would write for its kernels.
struct ByHand {
    params: wgpu::Buffer,
    params_group: wgpu::BindGroup,
    steps: Vec<(wgpu::ComputePipeline, wgpu::BindGroup)>,
    bytes: Vec<u8>,
}

fn storage(device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn layout(device: &wgpu::Device, types: &[wgpu::BufferBindingType]) -> wgpu::BindGroupLayout {
    let entry = |(binding, ty): (u32, &wgpu::BufferBindingType)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: *ty,
            has_dynamic_offset: *ty == wgpu::BufferBindingType::Uniform,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..).zip(types).map(entry).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
}

fn group<'a>(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    resources: impl IntoIterator<Item = wgpu::BindingResource<'a>>,
) -> wgpu::BindGroup {
    let entries: Vec<_> =
        (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

impl ByHand {
    fn new(device: &wgpu::Device, plan: &Plan) -> Self {
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 256 * plan.steps.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let params_layout = layout(device, &[wgpu::BufferBindingType::Uniform]);
        let one = wgpu::BufferBinding { buffer: &params, offset: 0, size: wgpu::BufferSize::new(256) };
        let params_group = group(device, &params_layout, [wgpu::BindingResource::Buffer(one)]);
        let buffers: Vec<_> = plan.buffers.iter().map(|b| storage(device, b.bytes)).collect();
        let make = |step: &tachylite::plan::Step| {
            let kernel = &plan.kernels[step.kernel];
            let ty = |a| wgpu::BufferBindingType::Storage { read_only: a == Access::Read };
            let tensors = layout(device, &kernel.bindings.iter().map(|b| ty(b.access)).collect::<Vec<_>>());
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(kernel.wgsl.as_str().into()),
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: None,
                    bind_group_layouts: &[Some(&tensors), Some(&params_layout)],
                    immediate_size: 0,
                })),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            let bound = step.bindings.iter().map(|b| buffers[b.buffer].as_entire_binding());
            (pipeline, group(device, &tensors, bound))
        };
        let bytes = vec![0; 256 * plan.steps.len()];
        Self { params_group, steps: plan.steps.iter().map(make).collect(), bytes, params }
    }

    fn record(&self, queue: &wgpu::Queue, pass: &mut wgpu::ComputePass<'_>) {
        queue.write_buffer(&self.params, 0, &self.bytes);
        for (i, (pipeline, tensors)) in self.steps.iter().enumerate() {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, tensors, &[]);
            pass.set_bind_group(1, &self.params_group, &[i as u32 * 256]);
            pass.dispatch_workgroups(1, 1, 1);
        }
    }
}

/// The allocations of `record` in one submit.
fn in_one_submit(gpu: &Gpu, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> u64 {
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let n = allocations(|| record(&mut pass));
    drop(pass);
    gpu.queue().submit([encoder.finish()]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    n
}

fn ours(gpu: &Gpu, exe: &mut Executable, io: &Io, call: &Call) -> u64 {
    let n = in_one_submit(gpu, |pass| exe.record(pass, io, call).unwrap());
    exe.submitted();
    n
}

#[test]
fn a_recorded_call_takes_no_more_allocations_than_wgpu_alone() {
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    let mut out = std::io::stdout();
    let Ok(gpu) = Gpu::open_blocking("gpu") else {
        assert!(!required.contains("mesa22"), "TACHYLITE_REQUIRE asks for mesa22");
        writeln!(out, "SKIPPED 1 test: allocations (no adapter)").unwrap();
        return;
    };
    let plan = hand::plan();
    let calls = [5.0, 64.0, 99.0].map(|r| plan.call(&[("R", r), ("s", r)]).unwrap());
    compare(&gpu, "a plan by hand", &plan, &hand::weights(), &calls);

    let encoder =
        tachylite::check::cases().into_iter().find(|c| c.kernel() == "graph.encoder_layer").unwrap();
    let (graph, call) = encoder.build().unwrap();
    let tensors = encoder.prepare(&graph, &call, 0).unwrap().tensors;
    let plan = tachylite::plan::plan(&graph, gpu.profile(), &Default::default()).unwrap();
    compare(&gpu, "an encoder layer", &plan, &tensors, &[call]);
}

/// Ours against by hand, for a plan and some calls of it.
fn compare(gpu: &Gpu, what: &str, plan: &Plan, weights: &Weights, calls: &[Call]) {
    let mut out = std::io::stdout();
    let options = LoadOptions { slots: 1, ..LoadOptions::default() };
    let mut exe = gpu.load_blocking(plan, weights, options).unwrap();
    let io = pollster::block_on(exe.own_io()).unwrap();
    let by_hand = ByHand::new(gpu.device(), plan);
    ours(gpu, &mut exe, &io, &calls[0]);
    in_one_submit(gpu, |pass| by_hand.record(gpu.queue(), pass));
    for (call, other) in calls.iter().zip(calls.iter().cycle().skip(1)) {
        assert_eq!(allocations(|| exe.resolve(call, 0..plan.steps.len()).unwrap()), 0);
        // wgpu keeps lists that grow now and then, so a single pair may differ.
        let least = |mut n: Box<dyn FnMut() -> u64 + '_>| (0..5).map(|_| n()).min();
        let again = least(Box::new(|| ours(gpu, &mut exe, &io, call)));
        let ours = least(Box::new(|| {
            ours(gpu, &mut exe, &io, other);
            ours(gpu, &mut exe, &io, call)
        }));
        let theirs = least(Box::new(|| in_one_submit(gpu, |pass| by_hand.record(gpu.queue(), pass))));
        writeln!(
            out,
            "{what}: allocations of one call: {ours:?}, the same again {again:?}, by hand {theirs:?}"
        )
        .unwrap();
        // wgpu takes memory for each write of parameters, and what did not change is not written.
        assert!(again < theirs, "{again:?} {theirs:?}");
        assert_eq!(ours, if call == other { again } else { theirs });
    }
}
