//! What each type of weights costs and gains: bytes, what becomes of the embeddings, and speed.
//!
//! All types are loaded at once and timed in turn, round by round, so that a machine that slows down slows
//! all of them; a ratio is the median of the rounds' ratios.

use std::fmt::Write;
use std::time::Instant;

use tachylite::{DType, Gpu};

use crate::encoder::device_name;
use crate::inputs::Inputs;
use crate::measure::{median, some_tokens};
use crate::weights::{MADE, census, file_bytes, name};
use crate::{Encoder, Error, Model, Options, Result, WeightType, search};

/// Batches that are timed: lines, and tokens of each.
pub const BATCHES: [(usize, usize); 2] = [(1, 16), (8, 32)];

/// Sentences to compare on, for who has none at hand.
pub const SENTENCES: [&str; 16] = [
    "A man is eating food.",
    "A woman is playing the violin while her friend sings.",
    "How many people live in Berlin?",
    "The train to the coast was late again, so we missed the last ferry.",
    "Please reset my password; the link in your e-mail has expired.",
    "Interest rates rose by a quarter of a percent in March.",
    "The cat sleeps on the warm stones beside the well.",
    "Water boils at a lower temperature on a mountain.",
    "She wrote her first novel in a small flat above a bakery.",
    "The function returns an error if the file does not exist.",
    "Two teams of engineers are rebuilding the old bridge over the river.",
    "I would not recommend this hotel to anyone who likes quiet.",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "What is the difference between a lease and a rental agreement?",
    "The recipe asks for three eggs, a cup of flour and a pinch of salt.",
    "Astronomers found a planet that circles two stars.",
];

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The types, f32 among them or not; it is what others are compared with.
    pub types: Vec<WeightType>,
    /// How often each batch is timed.
    pub rounds: usize,
}

/// How one type did.
#[derive(Debug, Clone)]
pub struct Row {
    /// The type.
    pub weights: WeightType,
    /// Which types the 36 matrices have: `6 q4_k, 30 q5_0`.
    pub matrices: String,
    /// Bytes of the tensors in a file of these types, the tables included.
    pub file_bytes: u64,
    /// Bytes of the weights on the device.
    pub device_bytes: u64,
    /// Cosine to the embedding with f32 weights: the mean over all sentences.
    pub cosine_mean: f64,
    /// And the sentence that has it least.
    pub cosine_least: f64,
    /// The same with matrices made for what they are multiplied with; none of plain types.
    pub feedback: Option<[f64; 2]>,
    /// Tokens in a second, of each of [`BATCHES`].
    pub tokens_per_second: [f64; 2],
    /// As a multiple of what f32 weights do in the same rounds.
    pub speed: [f64; 2],
}

/// A list of types by name, comma between them; `all` for those that weights can be made in.
///
/// # Errors
/// If there is no such type.
pub fn parse(list: &str) -> Result<Vec<WeightType>> {
    if list == "all" {
        return Ok(MADE.map(WeightType::of).to_vec());
    }
    list.split(',').map(|text| text.trim().parse()).collect()
}

/// Encodes sentences with every type, and times it; `tell` hears which type it is at.
///
/// # Errors
/// If there is nothing to compare on, or the device cannot run the model.
pub fn compare(
    gpu: &Gpu,
    model: &Model,
    options: &Options,
    what: &Comparison,
    sentences: &[&str],
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Row>> {
    if sentences.is_empty() {
        return Err(Error::new("there is no sentence to compare on"));
    }
    let mut types = vec![WeightType::F32];
    types.extend(what.types.iter().filter(|t| **t != WeightType::F32));
    // The widest lines have a plan of their own: one for all would be timed with scratch that it does not need.
    let shapes = [BATCHES.as_slice(), &[(1, crate::model::MAX_TOKENS)]].concat();
    tell("what the matrices are multiplied with");
    let inputs = Inputs::measure(gpu, model)?;
    let (mut encoders, mut rows, mut exact) = (Vec::new(), Vec::<Row>::new(), Vec::new());
    for base in types {
        let weights =
            WeightType { tables: options.weights.tables.filter(|_| base != WeightType::F32), ..base };
        tell(weights.name());
        let options = Options { weights, shapes: shapes.clone(), ..options.clone() };
        let encoder = |inputs| {
            Encoder::with(model.clone(), Some(gpu.clone()), &options, model.weights(weights, inputs)?)
        };
        let mut plain = encoder(None)?;
        let embeddings = plain.encode(sentences, |_| {})?;
        if exact.is_empty() {
            exact.clone_from(&embeddings);
        }
        let file = model.file_types(weights);
        let coarse = weights.matrices.is_some_and(|d| d.is_blocks() || d == DType::I8);
        let feedback = if coarse {
            Some(cosines(&exact, &encoder(Some(&inputs))?.encode(sentences, |_| {})?))
        } else {
            None
        };
        let [cosine_mean, cosine_least] = cosines(&exact, &embeddings);
        rows.push(Row {
            weights,
            matrices: census(&file),
            file_bytes: file_bytes(&file),
            device_bytes: 0,
            cosine_mean,
            cosine_least,
            feedback,
            tokens_per_second: [f64::NAN; 2],
            speed: [f64::NAN; 2],
        });
        encoders.push(plain);
    }
    for (at, batch) in BATCHES.into_iter().enumerate() {
        tell("speed");
        let seconds = time(&mut encoders, batch, what.rounds)?;
        for (row, own) in rows.iter_mut().zip(&seconds) {
            row.tokens_per_second[at] = (batch.0 * batch.1) as f64 / median(own.clone());
            row.speed[at] = median(seconds[0].iter().zip(own).map(|(f32, own)| f32 / own).collect());
        }
    }
    for (row, encoder) in rows.iter_mut().zip(&encoders) {
        row.device_bytes = encoder.weight_bytes();
    }
    Ok(rows)
}

/// Mean and least cosine of embeddings to those that they stand for.
fn cosines(exact: &[Vec<f32>], found: &[Vec<f32>]) -> [f64; 2] {
    let all: Vec<_> = exact.iter().zip(found).map(|(a, b)| search::cosine(a, b)).collect();
    [all.iter().sum::<f64>() / all.len() as f64, all.into_iter().fold(f64::INFINITY, f64::min)]
}

/// Seconds of every encoder in every round.
fn time(encoders: &mut [Encoder], (lines, tokens): (usize, usize), rounds: usize) -> Result<Vec<Vec<f64>>> {
    let ids = some_tokens(lines, tokens);
    let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
    let count = encoders.len();
    for encoder in &mut *encoders {
        encoder.encode_batch(&ids)?; // the first call makes plan, pipelines and buffers
    }
    let mut seconds = vec![Vec::with_capacity(rounds); count];
    for round in 0..rounds {
        for i in 0..count {
            let which = (i + round) % count;
            let begun = Instant::now();
            encoders[which].encode_batch(&ids)?;
            seconds[which].push(begun.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

/// The rows as a table, with what its columns mean.
pub fn table(gpu: &Gpu, rows: &[Row], sentences: usize, rounds: usize) -> String {
    let [(a, b), (c, d)] = BATCHES;
    let mut text = format!(
        "{}; {sentences} sentences; tokens a second of {a} line of {b} and of {c} lines of {d}, {rounds} \
         interleaved rounds, medians\n\n",
        device_name(gpu.profile())
    );
    let _ = writeln!(
        text,
        "{:<8} {:>8} {:>10}  {:>8} {:>8}  {:>8} {:>8}  {:>8} {:>5}  {:>8} {:>5}  36 matrices",
        "weights",
        "file MB",
        "device MB",
        "cosine",
        "least",
        "feedback",
        "least",
        format!("{a}x{b} t/s"),
        "x f32",
        format!("{c}x{d} t/s"),
        "x f32"
    );
    let mb = |bytes: u64| bytes as f64 / 1e6;
    for r in rows {
        let [small, large] = r.tokens_per_second;
        let [mean, least] = r.feedback.map_or(["", ""].map(String::from), |f| f.map(|c| format!("{c:.5}")));
        let _ = writeln!(
            text,
            "{:<8} {:>8.2} {:>10.2}  {:>8.5} {:>8.5}  {:>8} {:>8}  {:>8.0} {:>5.2}  {:>8.0} {:>5.2}  {}",
            r.weights.name(),
            mb(r.file_bytes),
            mb(r.device_bytes),
            r.cosine_mean,
            r.cosine_least,
            mean,
            least,
            small,
            r.speed[0],
            large,
            r.speed[1],
            r.matrices
        );
    }
    let lacking: Vec<_> =
        DType::ALL.into_iter().filter(|d| d.is_blocks() && !MADE.contains(d)).map(name).collect();
    let _ = write!(
        text,
        "\ncosine: of an embedding to that with f32 weights, 1 is the same: mean of all, and the least.\n\
         feedback: the same after --feedback, matrices made for what they are multiplied with.\n\
         A matrix whose rows of 384 are no whole blocks has the type that llama.cpp falls back to.\n\
         Read from files, but not made here: {}.\n",
        lacking.join(" ")
    );
    text
}

/// The rows as JSON.
pub fn json(gpu: &Gpu, rows: &[Row], sentences: usize, rounds: usize) -> String {
    let row = |r: &Row| {
        serde_json::json!({
            "weights": r.weights.name(),
            "matrices": r.matrices,
            "file_bytes": r.file_bytes,
            "device_bytes": r.device_bytes,
            "cosine_mean": r.cosine_mean,
            "cosine_least": r.cosine_least,
            "cosine_feedback": r.feedback,
            "tokens_per_second": r.tokens_per_second,
            "speed_of_f32": r.speed,
        })
    };
    let report = serde_json::json!({
        "device": device_name(gpu.profile()),
        "sentences": sentences,
        "rounds": rounds,
        "batches": BATCHES,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}
