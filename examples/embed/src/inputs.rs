//! What the model's matrices are multiplied with, so that they can be made for it: second moments over lines of
//! arbitrary words, found by the device that is to run them.

use std::collections::BTreeMap;

use tachylite::Gpu;
use tachylite::formats::Feedback;
use tachylite::gpu::LoadOptions;
use tachylite::plan::Policy;
use tachylite::rng::Rng;

use crate::encoder::Batch;
use crate::model::{Model, VOCABULARY};
use crate::{Result, WeightType, graph};

/// Lines of a batch, all of one length.
const LINES: usize = 8;
/// Lengths of lines in tokens, each a batch.
const LENGTHS: std::ops::RangeInclusive<usize> = 3..=48;
/// The tokens before and after a line's words, and the first that is a word.
const AROUND: [u32; 2] = [101, 102];
const FIRST_WORD: u32 = 999;

/// What is known of the inputs of every matrix.
#[derive(Debug, Clone)]
pub struct Inputs(BTreeMap<String, Feedback>);

impl Inputs {
    /// Runs the model in f32 on some ten thousand arbitrary words: whatever text comes, its inputs are of that
    /// kind, and no text has to be brought along.
    ///
    /// # Errors
    /// If the device cannot run the model.
    pub fn measure(gpu: &Gpu, model: &Model) -> Result<Self> {
        let graph = graph::moments(LINES, *LENGTHS.end(), &model.types(WeightType::F32))?;
        let plan = tachylite::plan::plan(&graph, gpu.profile(), &Policy::default())?;
        let weights = model.weights(WeightType::F32, None)?;
        let mut executable = gpu.load_blocking(&plan, &weights, LoadOptions::default())?;
        let names: Vec<_> = plan.outputs.iter().map(|port| port.name.clone()).collect();
        let mut sums: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut rng = Rng::new(1);
        for length in LENGTHS {
            let line = |_| {
                let word = || FIRST_WORD + rng.below(u64::from(VOCABULARY as u32 - FIRST_WORD)) as u32;
                let words = std::iter::repeat_with(word).take(length - 2).collect::<Vec<_>>();
                [&AROUND[..1], &words, &AROUND[1..]].concat()
            };
            let lines: Vec<_> = (0..LINES).map(line).collect();
            let batch = Batch::new(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            let outputs = executable.run_blocking(&batch.inputs(), &plan.call(&batch.dims())?)?;
            for (name, output) in names.iter().zip(outputs).filter(|(name, _)| *name != graph::OUTPUT) {
                let sum = sums.entry(name).or_insert_with(|| vec![0.0; output.len()]);
                sum.iter_mut().zip(output.to_f64()).for_each(|(sum, v)| *sum += v);
            }
        }
        let feedback =
            |(name, sum): (&str, Vec<f64>)| Ok((name.to_owned(), Feedback::new(sum.len().isqrt(), &sum)?));
        Ok(Self(in_parallel(sums.into_iter().collect(), feedback)?.into_iter().collect()))
    }

    /// Of the matrix of that name.
    pub fn of(&self, weight: &str) -> Option<&Feedback> {
        self.0.get(graph::input_of(weight))
    }
}

/// Does something with each item, on as many threads as there are cores; results in order.
///
/// # Errors
/// The first error of any.
pub fn in_parallel<T: Send, U: Send>(items: Vec<T>, work: impl Fn(T) -> Result<U> + Sync) -> Result<Vec<U>> {
    let count = items.len();
    let queue = std::sync::Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let worker =
        || std::iter::from_fn(next).map(|(i, item)| Ok((i, work(item)?))).collect::<Result<Vec<_>>>();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let all: Vec<Result<Vec<(usize, U)>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    let mut done: Vec<_> = all.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    done.sort_by_key(|(i, _)| *i);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}
