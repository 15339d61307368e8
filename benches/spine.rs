//! `cargo bench`: the tile kernel as a fraction of what an FMA probe reaches in the same run.
//!
//! Interleaved, medians. `TACHYLITE_ADAPTER` names the adapter, `gpu` by default. Every product is
//! compared with `cpu` before anything is timed.

use std::time::Instant;

use tachylite::plan::{Plan, Policy, plan};
use tachylite::rng::Rng;
use tachylite::{Call, DType, Gpu, Graph, Tensor, cpu, wgpu};

const ROUNDS: usize = 15;
const PROBE_WORKGROUPS: u32 = 64;
const PROBE_LOOPS: u32 = 256;

fn main() -> tachylite::Result<()> {
    let name = std::env::var("TACHYLITE_ADAPTER").unwrap_or_else(|_| "gpu".into());
    let gpu = match Gpu::open_blocking(&name) {
        Ok(gpu) => gpu,
        Err(e) => {
            println!("SKIPPED the bench: {e}");
            return Ok(());
        }
    };
    println!("{} {} ({})", gpu.profile().backend, gpu.profile().name, gpu.profile().driver);
    let probe = Probe::new(&gpu);
    for n in [256, 512] {
        let (mut exe, tensors, call) = product(&gpu, "matmul.tile", n)?;
        let x = &tensors["x"];
        let got = exe.run_blocking(&[("x", x)], &call)?[0].to_f32();
        verify(&got, &tensors, n);
        let io = own_io(&mut exe)?;
        let (mut tile_s, mut probe_s) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            probe_s.push(timed(&gpu, &mut |pass| probe.record(pass)));
            tile_s.push(timed(&gpu, &mut |pass| exe.record(pass, &io, &call).expect("recorded one call")));
            exe.submitted();
        }
        let flops = 2.0 * (n as f64).powi(3);
        let rates = probe_s.iter().zip(&tile_s).map(|(p, t)| (flops / t) / (probe.flops / p));
        let fraction = median(&mut rates.collect::<Vec<_>>());
        println!(
            "matmul.tile f32 {n}³: {:.1} GFLOP/s, FMA probe {:.1} GFLOP/s, fraction {fraction:.3} \
             (medians of {ROUNDS} rounds; checks on)",
            flops / median(&mut tile_s) / 1e9,
            probe.flops / median(&mut probe_s) / 1e9,
        );
    }
    Ok(())
}

fn own_io(exe: &mut tachylite::gpu::Executable) -> tachylite::Result<tachylite::gpu::Io> {
    pollster::block_on(exe.own_io())
}

type Product = (tachylite::gpu::Executable, std::collections::BTreeMap<String, Tensor>, Call);

fn product(gpu: &Gpu, kernel: &str, n: usize) -> tachylite::Result<Product> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, &[n.into(), n.into()])?;
    let w = graph.weight("w", DType::F32, &[n, n])?;
    let y = graph.matmul(x, w)?;
    graph.output("y", y)?;
    let policy = Policy { kernel: Some(kernel.into()), ..Policy::default() };
    let plan: Plan = plan(&graph, gpu.profile(), &policy)?;
    let mut rng = Rng::new(Rng::hash(kernel));
    let mut random = || (0..n * n).map(|_| rng.signed() as f32).collect::<Vec<_>>();
    let tensors = [
        ("x".to_owned(), Tensor::from_f32(&[n, n], &random())?),
        ("w".to_owned(), Tensor::from_f32(&[n, n], &random())?),
    ]
    .into();
    let exe = gpu.load_blocking(&plan, &tensors, Default::default())?;
    let call = plan.call(&[])?;
    Ok((exe, tensors, call))
}

/// The first rows against the reference: a number that is wrong is not timed.
fn verify(got: &[f32], tensors: &std::collections::BTreeMap<String, Tensor>, n: usize) {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, &[4.into(), n.into()]).expect("a new graph");
    let w = graph.weight("w", DType::F32, &[n, n]).expect("a new graph");
    let y = graph.matmul(x, w).expect("K is K");
    graph.output("y", y).expect("a new output");
    let mut few = tensors.clone();
    few.insert("x".into(), tensors["x"].slice(0, 0, 4).expect("4 rows"));
    let call = Call::new(graph.scalars(), &[]).expect("no scalars");
    let want = cpu::evaluate(&graph, &few, &call).expect("evaluates")[0].to_f32();
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(worst < 1e-3, "the product is off by {worst}: not timed");
}

/// Register-resident FMAs: 16 scalar accumulators, unrolled 32 times so that naga's loop bounding
/// does not show.
struct Probe {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    flops: f64,
}

impl Probe {
    fn new(gpu: &Gpu) -> Self {
        let device = gpu.device();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("fma probe"),
            source: wgpu::ShaderSource::Wgsl(Self::text().into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("fma probe"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let y = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("fma probe"),
            size: u64::from(PROBE_WORKGROUPS) * 64 * 4,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("fma probe"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: y.as_entire_binding() }],
        });
        let fmas = f64::from(PROBE_WORKGROUPS) * 64.0 * f64::from(PROBE_LOOPS) * 32.0 * 16.0;
        Self { pipeline, group, flops: 2.0 * fmas }
    }

    fn text() -> String {
        let lines = |f: &dyn Fn(u32) -> String| (0..16).map(f).collect::<String>();
        format!(
            "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n\
             @compute @workgroup_size(64)\n\
             fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
             let a = f32(id.x) * 1e-9 + 0.999;\n let b = 1e-6 * f32(id.x & 7u);\n{}\
             for (var k = 0u; k < {PROBE_LOOPS}u; k++) {{\n{}}}\ny[id.x] = 0.0{};\n}}\n",
            lines(&|i| format!("var c{i} = f32({i});\n")),
            lines(&|i| format!("c{i} = fma(c{i}, a, b);\n")).repeat(32),
            lines(&|i| format!(" + c{i}")),
        )
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(PROBE_WORKGROUPS, 1, 1);
    }
}

/// Seconds from submit until the device is idle.
fn timed(gpu: &Gpu, record: &mut dyn FnMut(&mut wgpu::ComputePass<'_>)) -> f64 {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    record(&mut encoder.begin_compute_pass(&Default::default()));
    let commands = encoder.finish();
    let begun = Instant::now();
    gpu.queue().submit([commands]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
    begun.elapsed().as_secs_f64()
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
