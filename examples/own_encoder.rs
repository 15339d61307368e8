//! Tachylite in a program that owns its device, its buffers and its encoder.
//!
//! One encoder, one submit:
//!
//! 1. a pass of the program's own fills `x`;
//! 2. a Tachylite plan, `y = gelu(x·wᵀ + b) · s`, twice: other rows and another `s` each time;
//! 3. one Tachylite kernel bound by hand, `z = y / |y|` row by row, without an `Executable`;
//! 4. a pass of the program's own sums the squares of each row of `z`.
//!
//! Then the numbers are compared with Tachylite's plain CPU kernels. Run it with
//! `cargo run --example own_encoder`.

use std::collections::BTreeMap;
use std::error::Error;

use tachylite::gpu::LoadOptions;
use tachylite::kernel::Access;
use tachylite::plan::host::fold_workgroups;
use tachylite::plan::{Plan, Policy, plan};
use tachylite::wgpu::{self, BufferUsages as Usage, util::DeviceExt as _};
use tachylite::{Call, DType, Dim, Gpu, Graph, Profile, Tensor, cpu};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Channels of `x` and of `y`. A row of `y` takes 8 elements: rows start at multiples of 16 bytes.
const K: usize = 8;
const N: usize = 6;
const ROWS_MAX: u64 = 32;

/// The program's own work before: element `i` of `x` becomes sin(i).
const FILL: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) { x[id.x] = sin(f32(id.x)); }
}
";

/// The program's own work after: Σ z² of each row, whose 6 elements take 8.
const SQUARES: &str = "
@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&out) { return; }
    var sum = 0.0;
    for (var c = 0u; c < 6u; c += 1u) {
        let v = z[id.x * 8u + c];
        sum += v * v;
    }
    out[id.x] = sum;
}
";

fn main() -> Fallible<()> {
    // The device is the program's. It asks for nothing that Tachylite needs.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let gpu = Gpu::adopt(device.clone(), queue.clone())?;
    println!("device: {} ({}), handed over", gpu.profile().name, gpu.profile().backend);

    // The plan, loaded once, and the program's buffers bound once for each place of the results.
    let dense = dense()?;
    let dense_plan = plan(&dense, gpu.profile(), &Policy::default())?;
    let weights = weights()?;
    let mut executable = gpu.load_blocking(&dense_plan, &weights, LoadOptions::default())?;
    let bytes = |buffer: usize, plan: &Plan| plan.buffers[buffer].bytes;
    let x = buffer(&device, bytes(dense_plan.inputs[0].buffer, &dense_plan));
    let y: [_; 2] = [(); 2].map(|()| buffer(&device, bytes(dense_plan.outputs[0].buffer, &dense_plan)));
    let bind = |y: &wgpu::Buffer| {
        executable.bind(&[("x", x.as_entire_buffer_binding()), ("y", y.as_entire_buffer_binding())])
    };
    let io = [bind(&y[0])?, bind(&y[1])?];
    let calls = [dense_plan.call(&[("R", 5.0), ("s", 0.5)])?, dense_plan.call(&[("R", 19.0), ("s", -2.0)])?];

    // The single kernel: the text, bindings and parameters of a plan of one step.
    let unit = unit()?;
    let unit_plan = one_step(&unit, gpu.profile())?;
    let z = buffer(&device, bytes(unit_plan.outputs[0].buffer, &unit_plan));
    let unit_call = unit_plan.call(&[("R", 19.0)])?;
    let by_hand = ByHand::new(&device, &unit_plan, &[("y", &y[1]), ("z", &z)], &unit_call)?;
    let sums = buffer(&device, 19 * 4);
    let fill = own_pass(&device, "fill", FILL, &[&x]);
    let squares = own_pass(&device, "squares", SQUARES, &[&z, &sums]);

    // One encoder of the program's, with everything in it. Tachylite only adds dispatches.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    fill.record(&mut pass, (ROWS_MAX as u32 * K as u32).div_ceil(64));
    for (io, call) in io.iter().zip(&calls) {
        executable.record(&mut pass, io, call)?;
    }
    by_hand.record(&mut pass);
    squares.record(&mut pass, 1);
    drop(pass);
    let read = [&x, &y[0], &y[1], &z, &sums].map(|b| read_back(&device, &mut encoder, b));
    queue.submit([encoder.finish()]);
    executable.submitted();
    println!(
        "one submit: fill, the plan ({} dispatch) twice, {} by hand, squares",
        dense_plan.steps.len(),
        unit_plan.steps[0].kernel_name
    );

    for staging in &read {
        staging.map_async(wgpu::MapMode::Read, .., |answer| answer.expect("the device answers"));
    }
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = read.iter().map(|b| Ok(b.get_mapped_range(..)?.to_vec())).collect::<Fallible<Vec<_>>>()?;

    // What the device made of it, against the CPU kernels on the same x.
    for (i, call) in calls.iter().enumerate() {
        let mut given = weights.clone();
        given.insert("x".into(), dense_plan.inputs[0].unpack(call, &bytes[0])?);
        let found = dense_plan.outputs[0].unpack(call, &bytes[1 + i])?;
        compare(&format!("call {}, y", i + 1), &found, &cpu::evaluate(&dense, &given, call)?[0])?;
    }
    let given = BTreeMap::from([("y".to_owned(), unit_plan.inputs[0].unpack(&unit_call, &bytes[2])?)]);
    let found = unit_plan.outputs[0].unpack(&unit_call, &bytes[3])?;
    compare("by hand, z", &found, &cpu::evaluate(&unit, &given, &unit_call)?[0])?;
    let ones = Tensor::from_f32(&[19], &[1.0; 19])?;
    compare("own pass, Σ z²", &Tensor::new(DType::F32, &[19], bytes[4].clone())?, &ones)
}

/// `y = gelu(x·wᵀ + b) · s`, with the dim `R` and the float `s` given by each call.
fn dense() -> Fallible<Graph> {
    let mut graph = Graph::new();
    let rows = graph.dim("R", ROWS_MAX)?;
    let s = graph.scalar("s")?;
    let x = graph.input("x", DType::F32, &[rows, Dim::from(K)])?;
    let w = graph.weight("w", DType::F32, &[N, K])?;
    let b = graph.weight("b", DType::F32, &[N])?;
    let product = graph.matmul(x, w)?;
    let sum = graph.add(product, b)?;
    let activated = graph.gelu(sum)?;
    let y = graph.scale(activated, s)?;
    graph.output("y", y)?;
    Ok(graph)
}

fn weights() -> Fallible<BTreeMap<String, Tensor>> {
    let w: Vec<f32> = (0..N * K).map(|i| (i as f32 * 0.37).cos()).collect();
    let b: Vec<f32> = (0..N).map(|i| i as f32 * 0.1 - 0.2).collect();
    Ok(BTreeMap::from([
        ("w".to_owned(), Tensor::from_f32(&[N, K], &w)?),
        ("b".to_owned(), Tensor::from_f32(&[N], &b)?),
    ]))
}

/// `z[r, ·] = y[r, ·] / |y[r, ·]|`.
fn unit() -> Fallible<Graph> {
    let mut graph = Graph::new();
    let rows = graph.dim("R", ROWS_MAX)?;
    let y = graph.input("y", DType::F32, &[rows, Dim::from(N)])?;
    let z = graph.l2_normalize(y, 1e-12)?;
    graph.output("z", z)?;
    Ok(graph)
}

/// The plan of a graph that is one kernel.
fn one_step(graph: &Graph, profile: &Profile) -> Fallible<Plan> {
    let plan = plan(graph, profile, &Policy::default())?;
    match plan.steps.len() {
        1 => Ok(plan),
        n => Err(format!("the graph took {n} steps, not one").into()),
    }
}

/// A Tachylite kernel with everything around it made by the program.
struct ByHand {
    pipeline: wgpu::ComputePipeline,
    tensors: wgpu::BindGroup,
    params: wgpu::BindGroup,
    grid: [u32; 3],
}

impl ByHand {
    /// Binds the only step of a plan to buffers by name, for one call.
    fn new(
        device: &wgpu::Device,
        plan: &Plan,
        buffers: &[(&str, &wgpu::Buffer)],
        call: &Call,
    ) -> Fallible<Self> {
        let (step, kernel) = (&plan.steps[0], &plan.kernels[0]);
        // Group 0 is the kernel's bindings in order; a port says which buffer of the plan it is.
        let ty = |access| wgpu::BufferBindingType::Storage { read_only: access == Access::Read };
        let types: Vec<_> = kernel.bindings.iter().map(|b| ty(b.access)).collect();
        let ports = || plan.inputs.iter().chain(&plan.outputs);
        let lies = |binding: &tachylite::plan::Binding| {
            let port = ports().find(|p| p.buffer == binding.buffer)?;
            buffers.iter().find(|(name, _)| *name == port.name).map(|(_, buffer)| *buffer)
        };
        let bound: Option<Vec<_>> = step.bindings.iter().map(lies).collect();
        let (layout, tensors) = group(device, &types, &bound.ok_or("a binding has no buffer")?);
        // Group 1 is the parameters of one call.
        let mut bytes = vec![0; (step.params.len() * 4).next_multiple_of(16)];
        step.write_params(call, &mut bytes)?;
        let params = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("params"),
            contents: &bytes,
            usage: Usage::UNIFORM,
        });
        let (params_layout, params) = group(device, &[wgpu::BufferBindingType::Uniform], &[&params]);
        let limit = device.limits().max_compute_workgroups_per_dimension;
        let grid = fold_workgroups(step.workgroups.eval(call), limit).ok_or("too many workgroups")?;
        let pipeline = pipeline(device, &kernel.name, &kernel.wgsl, &[Some(&layout), Some(&params_layout)]);
        Ok(Self { pipeline, tensors, params, grid })
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.tensors, &[]);
        pass.set_bind_group(1, &self.params, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Work of the program's own: the last buffer is written, the others are read.
struct OwnPass {
    pipeline: wgpu::ComputePipeline,
    buffers: wgpu::BindGroup,
}

fn own_pass(device: &wgpu::Device, label: &str, wgsl: &str, buffers: &[&wgpu::Buffer]) -> OwnPass {
    let last = buffers.len() - 1;
    let types: Vec<_> =
        (0..=last).map(|i| wgpu::BufferBindingType::Storage { read_only: i != last }).collect();
    let (layout, buffers) = group(device, &types, buffers);
    OwnPass { pipeline: pipeline(device, label, wgsl, &[Some(&layout)]), buffers }
}

impl OwnPass {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>, workgroups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.buffers, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
    }
}

fn pipeline(
    device: &wgpu::Device,
    label: &str,
    wgsl: &str,
    groups: &[Option<&wgpu::BindGroupLayout>],
) -> wgpu::ComputePipeline {
    let label = Some(label);
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: groups,
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn group(
    device: &wgpu::Device,
    types: &[wgpu::BufferBindingType],
    buffers: &[&wgpu::Buffer],
) -> (wgpu::BindGroupLayout, wgpu::BindGroup) {
    let entry = |(binding, ty): (u32, &wgpu::BufferBindingType)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty: *ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let entries: Vec<_> = (0..).zip(types).map(entry).collect();
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let resources = buffers.iter().map(|b| b.as_entire_binding());
    let bind = |(binding, resource)| wgpu::BindGroupEntry { binding, resource };
    let entries: Vec<_> = (0..).zip(resources).map(bind).collect();
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
    let group = device.create_bind_group(&descriptor);
    (layout, group)
}

fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    let usage = Usage::STORAGE | Usage::COPY_SRC;
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// A buffer that the host can map, into which the encoder copies.
fn read_back(device: &wgpu::Device, encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer) -> wgpu::Buffer {
    let to = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: from.size(),
        usage: Usage::MAP_READ | Usage::COPY_DST,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
    to
}

/// Says how far the device is from the CPU, and fails if that is more than a rounding or two.
fn compare(what: &str, found: &Tensor, right: &Tensor) -> Fallible<()> {
    let pairs = found.to_f64().into_iter().zip(right.to_f64());
    let worst = pairs.map(|(f, r)| (f - r).abs() / r.abs().max(1.0)).fold(0.0, f64::max);
    println!("{what} {:?}: differs from the CPU by {worst:.1e} at most", found.shape());
    // NaN fails, too.
    if worst < 1e-5 && found.shape() == right.shape() && found.to_f64().iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(format!("{what}: differs by {worst}").into())
}
