//! `cargo bench`: the tile kernel as a fraction of what an FMA probe reaches in the same run.
//!
//! Interleaved, medians. `TACHYLITE_ADAPTER` names the adapter, `gpu` by default. Every product is
//! compared with `cpu` before anything is timed.

use std::time::Instant;

use tachylite::gpu::{Executable, Io};
use tachylite::plan::{Plan, Policy, plan};
use tachylite::rng::Rng;
use tachylite::{Call, DType, Gpu, Graph, Tensor, cpu, wgpu};

const ROUNDS: usize = 15;

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
    let (mut fma, fma_io, fma_flops) = probe(&gpu)?;
    let nothing = Call::default();
    for n in [256, 512] {
        let (mut exe, tensors, call) = product(&gpu, "matmul.tile", n)?;
        let x = &tensors["x"];
        let got = exe.run_blocking(&[("x", x)], &call)?[0].to_f32();
        verify(&got, &tensors, n);
        let io = own_io(&mut exe)?;
        let (mut tile_s, mut probe_s) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            probe_s.push(timed(&gpu, &mut fma, &fma_io, &nothing));
            tile_s.push(timed(&gpu, &mut exe, &io, &call));
        }
        let flops = 2.0 * (n as f64).powi(3);
        let rates = probe_s.iter().zip(&tile_s).map(|(p, t)| (flops / t) / (fma_flops / p));
        let fraction = median(&mut rates.collect::<Vec<_>>());
        println!(
            "matmul.tile f32 {n}³: {:.1} GFLOP/s, FMA probe {:.1} GFLOP/s, fraction {fraction:.3} \
             (medians of {ROUNDS} rounds; checks on)",
            flops / median(&mut tile_s) / 1e9,
            fma_flops / median(&mut probe_s) / 1e9,
        );
    }
    Ok(())
}

fn own_io(exe: &mut Executable) -> tachylite::Result<Io> {
    pollster::block_on(exe.own_io())
}

type Product = (Executable, std::collections::BTreeMap<String, Tensor>, Call);

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

/// The library's FMA probe, with what it does in a run.
fn probe(gpu: &Gpu) -> tachylite::Result<(Executable, Io, f64)> {
    let all = tachylite::probe::all(gpu.profile()).into_iter().flatten();
    let probe = all.into_iter().find(|p| p.name == "probe.fma").expect("every device multiplies");
    let (exe, io) = gpu.load_probe(&probe)?.remove(0);
    Ok((exe, io, probe.work))
}

/// Seconds from submit until the device is idle.
fn timed(gpu: &Gpu, exe: &mut Executable, io: &Io, call: &Call) -> f64 {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    exe.record(&mut pass, io, call).expect("recorded one call");
    drop(pass);
    let commands = encoder.finish();
    let begun = Instant::now();
    gpu.queue().submit([commands]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
    let seconds = begun.elapsed().as_secs_f64();
    exe.submitted();
    seconds
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
