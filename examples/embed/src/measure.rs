//! What recording costs, what fusion gains and what batch invariance costs, on the encoder's plans.
//!
//! Times of variants are taken in turn, run by run, so that a machine that slows down slows all of
//! them; a ratio is the median of the runs' ratios.

use std::fmt::Write;
use std::time::Instant;

use tachylite::gpu::LoadOptions;
use tachylite::plan::{Determinism, Policy};
use tachylite::rng::Rng;
use tachylite::{Gpu, Plan, wgpu};

use crate::encoder::{Batch, device_name};
use crate::model::{Model, VOCABULARY};
use crate::{Error, Result, WeightType, graph};

/// Batches that are timed: lines, tokens of each, runs of each variant.
const BATCHES: [(usize, usize, usize); 2] = [(1, 16, 51), (8, 32, 21)];
/// How often a call is recorded.
const RECORDINGS: usize = 1000;

/// One way to plan the encoder, and how it did.
#[derive(Debug)]
pub struct Variant {
    /// Its name in reports.
    pub name: &'static str,
    /// Its plan, made for the batch and no more.
    pub plan: Plan,
    /// Seconds of each call, from host tensors to host tensors.
    pub seconds: Vec<f64>,
}

impl Variant {
    /// Bytes that its steps read and write.
    pub fn bytes(&self) -> u64 {
        self.plan.steps.iter().map(|s| s.bytes).sum()
    }

    /// How many times longer it took than another of the same comparison.
    pub fn times(&self, other: &Self) -> f64 {
        median(self.seconds.iter().zip(&other.seconds).map(|(a, b)| a / b).collect())
    }
}

/// The policies that are compared.
pub fn policies() -> [(&'static str, Policy); 3] {
    let invariant = Policy { determinism: Determinism::BatchInvariant, ..Policy::default() };
    let plain = Policy { fuse: false, ..Policy::default() };
    [("fused", Policy::default()), ("not fused", plain), ("batch-invariant", invariant)]
}

/// Everything there is to measure, as text.
///
/// # Errors
/// If there is no such device, or it cannot run the model.
pub fn report(model: &Model, device: &str, weight_type: WeightType) -> Result<String> {
    if device == "cpu" {
        return Err(Error::new(
            "there is nothing to measure on `cpu`: it evaluates the graph and has no plan",
        ));
    }
    let gpu = Gpu::open_blocking(device)?;
    let mut text = format!("{}; {} weights\n", device_name(gpu.profile()), weight_type.name());
    for (lines, tokens, runs) in BATCHES {
        let variants = compare(&gpu, model, weight_type, (lines, tokens), runs)?;
        let _ = writeln!(text, "\n{lines} x {tokens} tokens, {runs} interleaved runs, medians");
        for v in &variants {
            let _ = writeln!(
                text,
                "  {:<16} {:>4} dispatches {:>9.2} MB moved {:>10.3} ms  {:.3} x fused",
                v.name,
                v.plan.steps.len(),
                v.bytes() as f64 / 1e6,
                median(v.seconds.clone()) * 1e3,
                v.times(&variants[0])
            );
        }
    }
    let (dispatches, recorded, whole) = recording(&gpu, model, weight_type)?;
    let _ = writeln!(
        text,
        "\nrecording, median of {RECORDINGS}, submit excluded: {recorded:.3} µs a dispatch \
         ({dispatches} in all); {whole:.3} µs with the pass and the command buffer around them"
    );
    Ok(text)
}

/// Runs a batch of `lines` lines of `tokens` tokens under each of [`policies`], in turn.
///
/// # Errors
/// If the device cannot run the model.
pub fn compare(
    gpu: &Gpu,
    model: &Model,
    weight_type: WeightType,
    (lines, tokens): (usize, usize),
    runs: usize,
) -> Result<Vec<Variant>> {
    let weights = model.weights(weight_type, None)?;
    let graph = graph::encoder(lines, tokens, &model.types(weight_type))?;
    let batch = some_batch(lines, tokens)?;
    let mut loaded = Vec::new();
    for (name, policy) in policies() {
        let plan = tachylite::plan::plan(&graph, gpu.profile(), &policy)?;
        let mut executable = gpu.load_blocking(&plan, &weights, LoadOptions::default())?;
        let call = plan.call(&batch.dims())?;
        executable.run_blocking(&batch.inputs(), &call)?; // the first call makes its buffers
        loaded.push((executable, call, Variant { name, plan, seconds: Vec::with_capacity(runs) }));
    }
    for run in 0..runs {
        for i in 0..loaded.len() {
            let (executable, call, variant) = &mut loaded[(i + run) % 3];
            let begun = Instant::now();
            executable.run_blocking(&batch.inputs(), call)?;
            variant.seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    Ok(loaded.into_iter().map(|(_, _, variant)| variant).collect())
}

/// Dispatches of the encoder's plan, and microseconds that each takes to record: alone, and with
/// what wgpu does for the pass and the command buffer.
fn recording(gpu: &Gpu, model: &Model, weight_type: WeightType) -> Result<(usize, f64, f64)> {
    let (lines, tokens) = (8, 32);
    let graph = graph::encoder(lines, tokens, &model.types(weight_type))?;
    let plan = tachylite::plan::plan(&graph, gpu.profile(), &Policy::default())?;
    let mut executable =
        gpu.load_blocking(&plan, &model.weights(weight_type, None)?, LoadOptions::default())?;
    let call = plan.call(&[("B", lines as f64), ("S", tokens as f64)])?;
    let buffers = ports(gpu, &plan);
    let bound: Vec<_> = buffers.iter().map(|(name, b)| (*name, b.as_entire_buffer_binding())).collect();
    let io = executable.bind(&bound)?;
    let (mut recorded, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..RECORDINGS {
        let begun = Instant::now();
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let recording = Instant::now();
        executable.record(&mut pass, &io, &call)?;
        recorded.push(recording.elapsed().as_secs_f64());
        drop(pass);
        drop(encoder.finish());
        whole.push(begun.elapsed().as_secs_f64());
        gpu.queue().submit([]); // takes away the parameters that were written; the dispatches are dropped
        executable.submitted();
    }
    let steps = plan.steps.len();
    let each = |seconds| median(seconds) * 1e6 / steps as f64;
    Ok((steps, each(recorded), each(whole)))
}

/// A buffer for every input and output, as a caller would bring them.
fn ports<'a>(gpu: &Gpu, plan: &'a Plan) -> Vec<(&'a str, wgpu::Buffer)> {
    let buffer = |port: &'a tachylite::plan::Port| {
        let descriptor = wgpu::BufferDescriptor {
            label: Some(port.name.as_str()),
            size: plan.buffers[port.buffer].bytes.max(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        (port.name.as_str(), gpu.device().create_buffer(&descriptor))
    };
    plan.inputs.iter().chain(&plan.outputs).map(buffer).collect()
}

fn some_batch(lines: usize, tokens: usize) -> Result<Batch> {
    let ids = some_tokens(lines, tokens);
    Batch::new(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Lines of arbitrary tokens, all of one length.
pub(crate) fn some_tokens(lines: usize, tokens: usize) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(1);
    let mut line = || (0..tokens).map(|_| rng.below(VOCABULARY as u64) as u32).collect();
    (0..lines).map(|_| line()).collect()
}

/// The middle of some numbers; the upper one of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
