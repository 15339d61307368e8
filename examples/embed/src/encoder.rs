//! Runs the model on lines of text: tokens, batches of lines of like length, one call a batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachylite::Gpu;
use tachylite::gpu::{Executable, LoadOptions, LoadTimings};
use tachylite::plan::prepare::Weights;
use tachylite::plan::{Determinism, Policy, Role};
use tachylite::{Call, DType, Graph, Profile, Tensor, cpu};

use crate::inputs::Inputs;
use crate::model::{HIDDEN, Model};
use crate::startup::Timeline;
use crate::weights::{Types, WeightType};
use crate::{Error, Result, graph};

/// The largest batches that plans are made for: (lines, tokens of the longest), smallest first. A
/// plan's kernels suit its largest batch, so that one short line does not pay for a large tile; its
/// scratch is that large too, so one plan for 32 long lines would hold 100 MB to no use.
pub const SHAPES: [(usize, usize); 3] = [(1, 16), (32, 32), (8, crate::model::MAX_TOKENS)];

/// Lines up to this many tokens share a batch whatever their lengths: a call costs more than padding.
const SHORT: usize = 32;

/// What the user chooses.
#[derive(Debug, Clone)]
pub struct Options {
    /// `gpu` for the best adapter, `cpu` for the reference kernels, or an adapter's name, such as
    /// `vulkan:llvmpipe`.
    pub device: String,
    /// How weights are stored.
    pub weights: WeightType,
    /// Whether matrices are made for what they are multiplied with, which is found first.
    pub feedback: bool,
    /// Whether a line's bits may not depend on the lines that share its batch.
    pub batch_invariant: bool,
    /// The largest batches: (lines, tokens), smallest first; the last must take 256 tokens.
    pub shapes: Vec<(usize, usize)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device: "gpu".to_owned(),
            weights: WeightType::default(),
            feedback: false,
            batch_invariant: false,
            shapes: SHAPES.to_vec(),
        }
    }
}

impl Options {
    /// The policy that plans are made under.
    pub fn policy(&self) -> Policy {
        let determinism =
            if self.batch_invariant { Determinism::BatchInvariant } else { Determinism::Repeatable };
        Policy { determinism, ..Policy::default() }
    }
}

/// A model on a device.
#[derive(Debug)]
pub struct Encoder {
    model: Model,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    /// The reference kernels; the weights are among the inputs.
    Cpu { graph: Graph, weights: Weights },
    /// One plan per shape; they share pipelines and weights.
    Gpu { gpu: Gpu, weights: Weights, types: Types, options: Options, buckets: Vec<Bucket> },
}

/// A plan for batches up to some shape, made and loaded when the first such batch comes: whoever
/// encodes one line does not wait for the pipelines of many.
#[derive(Debug)]
struct Bucket {
    lines: usize,
    tokens: usize,
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    executable: Executable,
    /// How long planning took.
    planning: Duration,
}

impl Loaded {
    fn new(
        gpu: &Gpu,
        weights: &Weights,
        types: &Types,
        policy: &Policy,
        (lines, tokens): (usize, usize),
    ) -> Result<Self> {
        let begun = Instant::now();
        let graph = graph::encoder(lines, tokens, types)?;
        let plan = tachylite::plan::plan(&graph, gpu.profile(), policy)?;
        let planning = begun.elapsed();
        Ok(Self { executable: gpu.load_blocking(&plan, weights, LoadOptions::default())?, planning })
    }
}

impl Encoder {
    /// Opens the device.
    ///
    /// # Errors
    /// If there is no such device, or the weights cannot be converted.
    pub fn new(model: Model, options: &Options) -> Result<Self> {
        let gpu = match options.device.as_str() {
            "cpu" => None,
            name => Some(Gpu::open_blocking(name)?),
        };
        Self::on(model, gpu, options, &Timeline::begin())
    }

    /// Encodes on a device that is open; without one, with the reference kernels.
    ///
    /// # Errors
    /// If the weights cannot be converted.
    pub fn on(model: Model, gpu: Option<Gpu>, options: &Options, times: &Timeline) -> Result<Self> {
        let known = match (&gpu, options.feedback) {
            (Some(gpu), true) => {
                Some(times.time("see what weights are multiplied with", || Inputs::measure(gpu, &model))?)
            }
            (None, true) => {
                return Err(Error::new("`cpu` takes too long to find what weights are multiplied with"));
            }
            (_, false) => None,
        };
        let weights = times.time("convert the weights", || model.weights(options.weights, known.as_ref()))?;
        Self::with(model, gpu, options, weights)
    }

    /// Encodes with weights that are ready, as [`Model::weights`] has them of the options' type.
    ///
    /// # Errors
    /// Only if Tachylite refuses the graph.
    pub fn with(model: Model, gpu: Option<Gpu>, options: &Options, weights: Weights) -> Result<Self> {
        let types = model.types(options.weights);
        let Some(gpu) = gpu else {
            let (lines, tokens) = largest(&options.shapes);
            let graph = graph::encoder(lines, tokens, &types)?;
            return Ok(Self { model, machine: Machine::Cpu { graph, weights } });
        };
        let bucket = |&(lines, tokens): &(usize, usize)| Bucket { lines, tokens, loaded: None };
        let buckets = options.shapes.iter().map(bucket).collect();
        Ok(Self { model, machine: Machine::Gpu { gpu, weights, types, options: options.clone(), buckets } })
    }

    /// The device, as people read it.
    pub fn device(&self) -> String {
        match &self.machine {
            Machine::Cpu { .. } => "cpu, the reference kernels in f64".to_owned(),
            Machine::Gpu { gpu, .. } => device_name(gpu.profile()),
        }
    }

    /// The device; none is behind `cpu`.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.machine {
            Machine::Cpu { .. } => None,
            Machine::Gpu { gpu, .. } => Some(gpu),
        }
    }

    /// How long the plans that were needed so far took to make, and where loading them spent its time.
    pub fn loads(&self) -> Vec<(Duration, &LoadTimings)> {
        match &self.machine {
            Machine::Cpu { .. } => Vec::new(),
            Machine::Gpu { buckets, .. } => {
                let loaded = buckets.iter().filter_map(|b| b.loaded.as_ref());
                loaded.map(|l| (l.planning, l.executable.timings())).collect()
            }
        }
    }

    /// The sizes that buffers of weights were made with for the largest batch so far, in bytes; 0 if there
    /// was none.
    pub fn weight_bytes(&self) -> u64 {
        let Machine::Gpu { buckets, .. } = &self.machine else { return 0 };
        let held = |loaded: &Loaded| -> u64 {
            let executable = &loaded.executable;
            let buffers = executable.plan().buffers.iter().enumerate();
            let weights = buffers.filter(|(_, b)| matches!(b.role, Role::Weight(_)));
            weights.filter_map(|(i, _)| executable.buffer_bytes(i).ok()).sum()
        };
        buckets.iter().filter_map(|b| b.loaded.as_ref()).map(held).max().unwrap_or(0)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The embeddings of some lines, in their order; `progress` hears how many are done.
    ///
    /// # Errors
    /// If a line cannot be tokenized, or a batch fails as [`encode_batch`](Self::encode_batch) says.
    pub fn encode<T: AsRef<str>>(
        &mut self,
        lines: &[T],
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Vec<f32>>> {
        let tokens = lines.iter().map(|l| self.model.tokens(l.as_ref())).collect::<Result<Vec<_>>>()?;
        let lengths: Vec<_> = tokens.iter().map(Vec::len).collect();
        let mut out = vec![Vec::new(); lines.len()];
        let mut done = 0;
        for batch in self.batches(&lengths) {
            let rows: Vec<_> = batch.iter().map(|line| tokens[*line].as_slice()).collect();
            for (line, row) in batch.iter().zip(self.encode_batch(&rows)?) {
                out[*line] = row;
            }
            done += batch.len();
            progress(done);
        }
        Ok(out)
    }

    /// Which lines share a call: lines of like length, longest first.
    fn batches(&self, lengths: &[usize]) -> Vec<Vec<usize>> {
        match &self.machine {
            // On `cpu` a call costs nothing to speak of, and every padded token costs as a real one.
            Machine::Cpu { .. } => group(lengths, |_| CPU_LINES, |longest, length| length == longest),
            Machine::Gpu { buckets, .. } => {
                let room = |longest| buckets.iter().filter(|b| b.tokens >= longest).map(|b| b.lines).max();
                let alike = |longest: usize, length| longest <= SHORT || 2 * length >= longest;
                group(lengths, |longest| room(longest).unwrap_or(1), alike)
            }
        }
    }

    /// The embeddings of lines of tokens that share one call.
    ///
    /// # Errors
    /// If no plan has room for the batch, the device cannot run the model or fails, memory runs out, or
    /// a result is not finite.
    pub fn encode_batch(&mut self, lines: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let batch = Batch::new(lines)?;
        let result = match &mut self.machine {
            Machine::Cpu { graph, weights } => {
                let mut inputs: BTreeMap<_, _> = weights.clone();
                inputs.extend(batch.inputs.iter().map(|(name, t)| ((*name).to_owned(), t.clone())));
                cpu::evaluate(graph, &inputs, &Call::new(graph.scalars(), &batch.dims())?)?
            }
            Machine::Gpu { gpu, weights, types, options, buckets } => {
                let fits = |b: &&mut Bucket| b.lines >= batch.lines && b.tokens >= batch.tokens;
                let Some(bucket) = buckets.iter_mut().find(fits) else {
                    return Err(Error::new(format!(
                        "no plan takes {} lines of up to {} tokens",
                        batch.lines, batch.tokens
                    )));
                };
                let loaded = match bucket.loaded.take() {
                    Some(loaded) => loaded,
                    None => {
                        let batch = (bucket.lines, bucket.tokens);
                        Loaded::new(gpu, weights, types, &options.policy(), batch)?
                    }
                };
                let executable = &mut bucket.loaded.insert(loaded).executable;
                let call = executable.plan().call(&batch.dims())?;
                executable.run_blocking(&batch.inputs(), &call)?
            }
        };
        let values = result[0].to_f32();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::new(
                "an embedding is not finite: either the model's weights are not, or the device is wrong; \
                 `tachylite check` tells",
            ));
        }
        Ok(values.chunks_exact(HIDDEN).map(<[f32]>::to_vec).collect())
    }
}

/// Writes the encoder as files that any WebGPU can run, planned for what every WebGPU grants and for the
/// longest lines of [`SHAPES`]. Files that are there stay. Gives what was written.
///
/// # Errors
/// If the model lacks a weight, or a file is there or cannot be written.
pub fn export(model: &Model, options: &Options, path: &Path) -> Result<Vec<PathBuf>> {
    let [.., (lines, tokens)] = SHAPES;
    let graph = graph::encoder(lines, tokens, &model.types(options.weights))?;
    let plan = tachylite::plan::plan(&graph, &Profile::portable(), &options.policy())?;
    Ok(tachylite::export::write(&plan, Some(&model.weights(options.weights, None)?), path, false)?)
}

/// Lines of one length that `cpu` evaluates together, to convert the weights once for all of them.
const CPU_LINES: usize = 8;

/// A device as people read it.
pub(crate) fn device_name(profile: &tachylite::Profile) -> String {
    format!("{}:{}, {}", profile.backend, profile.name, profile.driver)
}

fn largest(shapes: &[(usize, usize)]) -> (usize, usize) {
    let lines = shapes.iter().map(|s| s.0).max().unwrap_or(0).max(CPU_LINES);
    (lines, shapes.iter().map(|s| s.1).max().unwrap_or(0))
}

/// Lines in batches, the longest first: each batch takes as many as there is `room` for next to its
/// longest line, as long as they are `alike`.
fn group(
    lengths: &[usize],
    room: impl Fn(usize) -> usize,
    alike: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..lengths.len()).collect();
    order.sort_by_key(|line| std::cmp::Reverse(lengths[*line]));
    let mut batches = Vec::new();
    while let Some(first) = order.first() {
        let longest = lengths[*first];
        let most = room(longest).min(order.len());
        let unlike = order[..most].iter().position(|line| !alike(longest, lengths[*line]));
        let rest = order.split_off(unlike.unwrap_or(most).max(1));
        batches.push(std::mem::replace(&mut order, rest));
    }
    batches
}

/// Lines of tokens as the graph's inputs, padded to the longest.
pub(crate) struct Batch {
    lines: usize,
    tokens: usize,
    inputs: [(&'static str, Tensor); 4],
}

impl Batch {
    pub(crate) fn new(lines: &[&[u32]]) -> Result<Self> {
        let tokens = lines.iter().map(|l| l.len()).max().unwrap_or(0);
        let shape = [lines.len(), tokens];
        let mut ids = vec![0; lines.len() * tokens];
        for (line, row) in lines.iter().zip(ids.chunks_exact_mut(tokens.max(1))) {
            row[..line.len()].copy_from_slice(line);
        }
        let positions: Vec<_> = lines.iter().flat_map(|_| 0..tokens as u32).collect();
        let lengths: Vec<_> = lines.iter().map(|l| l.len() as u32).collect();
        Ok(Self {
            lines: lines.len(),
            tokens,
            inputs: [
                ("ids", Tensor::from_u32(&shape, &ids)?),
                ("positions", Tensor::from_u32(&shape, &positions)?),
                ("types", Tensor::zeros(DType::U32, &shape)?),
                ("lengths", Tensor::from_u32(&shape[..1], &lengths)?),
            ],
        })
    }

    /// The inputs as a call on a device takes them.
    pub(crate) fn inputs(&self) -> [(&str, &Tensor); 4] {
        self.inputs.each_ref().map(|(name, tensor)| (*name, tensor))
    }

    /// The dims of the call.
    pub(crate) fn dims(&self) -> [(&'static str, f64); 2] {
        [("B", self.lines as f64), ("S", self.tokens as f64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_one_batch_with_lines_of_like_length() {
        let lengths = [256, 4, 8, 130, 120, 33, 3, 12, 0];
        let batches = group(&lengths, |_| 3, |longest, length| longest <= SHORT || 2 * length >= longest);
        assert_eq!(batches, [vec![0, 3], vec![4], vec![5], vec![7, 2, 1], vec![6, 8]]);
        assert!(group(&[], |_| 3, |_, _| true).is_empty());
    }

    #[test]
    fn a_batch_is_padded_to_its_longest_line() {
        let batch = Batch::new(&[&[5, 6, 7], &[8]]).unwrap();
        assert_eq!(batch.inputs[0].1.to_u32().unwrap(), [5, 6, 7, 8, 0, 0]);
        assert_eq!(batch.inputs[1].1.to_u32().unwrap(), [0, 1, 2, 0, 1, 2]);
        assert_eq!(batch.inputs[3].1.to_u32().unwrap(), [3, 1]);
        assert_eq!(Batch::new(&[&[], &[]]).unwrap().inputs[0].1.shape(), [2, 0]);
    }
}
