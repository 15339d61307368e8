//! A whole model with random weights: how fast it reads a prompt, and how fast it generates.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use decoders::session::Options;
use decoders::{Config, Model, Session, cost};
use serde_json::json;
use tachylite::bench::Samples;
use tachylite::gpu::{Effort, Subject};
use tachylite::{DType, Gpu, probe};

use crate::{device, note, say, will_write, write};

/// Tokens of the prompt, and tokens that are generated.
const WHOLE: (usize, usize) = (512, 128);
/// The type of the cache.
const CACHE: DType = DType::F16;

/// What is measured, and on what.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub dtype: &'a str,
    /// Fewer layers than the model has.
    pub layers: Option<usize>,
    /// Fewer tokens than 128, and of the prompt four times as many.
    pub tokens: Option<usize>,
    pub quick: bool,
    pub adapter: &'a str,
    pub json: Option<&'a PathBuf>,
}

/// What was measured.
struct Rates {
    /// Tokens per second of each run: of the prompt, and of generation.
    prompt: Samples,
    single: Samples,
    /// Microseconds that recording and encoding a token took the host while the device had nothing to do.
    host: [f64; 2],
}

pub(super) fn run(wanted: &Wanted<'_>) -> Result<ExitCode, String> {
    let text = |e: decoders::Error| e.to_string();
    let whole = Config::named(wanted.name).map_err(text)?;
    let dtype = DType::parse(wanted.dtype).ok_or_else(|| format!("there is no type `{}`", wanted.dtype))?;
    let single = wanted.tokens.unwrap_or(WHOLE.1).clamp(1, WHOLE.1);
    let prompt = (4 * single).min(WHOLE.0);
    if let Some(n) = wanted.layers.filter(|n| !(1..=whole.layers()).contains(n)) {
        return Err(format!("--layers {n}: {} has {} layers", wanted.name, whole.layers()));
    }
    let config = whole.clone().shortened(wanted.layers.unwrap_or(usize::MAX));
    if let Some(path) = wanted.json {
        will_write(path)?;
    }
    let gpu = Gpu::open_blocking(wanted.adapter).map_err(|e| e.to_string())?;
    super::head(&gpu);
    let shortened = shortened(&whole, &config, (prompt, single));
    say(&format!("{}, {dtype} matrices, random; a cache is {CACHE}, a state f32\n", wanted.name));
    if !shortened.is_empty() {
        say(&format!("SHORTENED: {}; nothing is extrapolated\n", shortened.join(", ")));
    }
    note("loading\n");
    let model = Model::random(config, dtype, 1);
    let options =
        Options { chunk: prompt, positions: prompt.max(single + 2), cache: CACHE, ..Options::default() };
    let begun = Instant::now();
    let mut session = Session::new(&gpu, &model, &options).map_err(text)?;
    say(&format!("loaded in {:.1} s\n", begun.elapsed().as_secs_f64()));
    // Before and after: what else the machine does slows either down.
    let read = bandwidth(&gpu, wanted.quick)?;
    let runs = if wanted.quick { 1 } else { 3 };
    let rates = measure(&mut session, (prompt, single), runs, model.config().vocabulary()).map_err(text)?;
    let read = read.max(bandwidth(&gpu, wanted.quick)?);

    let dispatches = session.plan().steps.len();
    let bytes = cost::bytes_per_token(session.plan(), model.config(), CACHE, 1.0 + single as f64 / 2.0);
    let bound = rates.single.median() * bytes / read * 100.0;
    for (name, rates) in [(format!("pp{prompt}"), &rates.prompt), (format!("tg{single}"), &rates.single)] {
        let (least, most) = (rates.min(), rates.seconds().iter().copied().fold(0.0, f64::max));
        say(&format!(
            "  {name:<8} {:>12.2} tokens/s   {least:.2} to {most:.2} in {runs} run(s)\n",
            rates.median()
        ));
    }
    say(&format!(
        "  {dispatches} dispatches a token; {} for the prompt\n",
        session.prompt_plan().steps.len()
    ));
    let [recording, encoding] = rates.host.map(|us| us / dispatches as f64);
    say(&format!(
        "  {recording:.2} µs a dispatch of the host to record it, {encoding:.2} more for WebGPU to check and \
         encode it, while the device waits\n"
    ));
    say(&format!(
        "  {:.1} MB read a token; {bound:.1} % of the bound that reading {:.2} GB/s sets (probe `read`, \
         the better of before and after)\n",
        bytes / 1e6,
        read / 1e9
    ));
    if let Some(path) = wanted.json {
        let report = json!({
            "device": device::to_json(gpu.profile()), "model": wanted.name, "type": dtype.name(),
            "layers": model.config().layers(), "shortened": shortened,
            "prompt_tokens": prompt, "prompt_tokens_per_s": rates.prompt.seconds(),
            "tokens": single, "tokens_per_s": rates.single.seconds(),
            "dispatches": dispatches, "recording_us": rates.host[0], "encoding_us": rates.host[1],
            "bytes_per_token": bytes, "read_bytes_per_s": read, "percent_of_bound": bound,
        });
        write(path, &format!("{report:#}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is less than the whole.
fn shortened(whole: &Config, config: &Config, (prompt, single): (usize, usize)) -> Vec<String> {
    let mut out = Vec::new();
    if config.layers() < whole.layers() {
        out.push(format!("{} of {} layers", config.layers(), whole.layers()));
    }
    for (what, n, all) in [("prompt", prompt, WHOLE.0), ("generated", single, WHOLE.1)] {
        if n < all {
            out.push(format!("{n} of {all} tokens {what}"));
        }
    }
    out
}

/// Bytes that the device reads in a second, of more data than caches hold.
fn bandwidth(gpu: &Gpu, quick: bool) -> Result<f64, String> {
    let effort = if quick { Effort::quick() } else { Effort::default() };
    let read = probe::all(gpu.profile()).into_iter().flatten().find(|p| p.name == "probe.read");
    let read = read.ok_or("there is no probe `read` of this device")?;
    let work = || -> tachylite::Result<f64> {
        let mut runs = gpu.load_probe(&read)?;
        let call = read.plan.call(&[])?;
        let subject = Subject { runs: &mut runs, call: &call, repeats: None };
        let measured = gpu.measure(&mut [subject], &effort)?;
        Ok(measured.first().map_or(f64::NAN, |m| read.work / m.samples.median()))
    };
    work().map_err(|e| e.to_string())
}

/// Prompts and generated tokens in turn, after a first of each that is not counted.
fn measure(
    session: &mut Session,
    (prompt, single): (usize, usize),
    runs: usize,
    vocabulary: usize,
) -> decoders::Result<Rates> {
    let ids: Vec<u32> = (0..prompt).map(|i| (i * 7919 % vocabulary) as u32).collect();
    session.prefill(&ids[..1])?;
    session.step()?;
    session.wait()?;
    let mut rates = [Vec::new(), Vec::new()];
    for run in 0..runs {
        session.reset();
        session.wait()?;
        let begun = Instant::now();
        session.prefill(&ids)?;
        session.wait()?;
        rates[0].push(prompt as f64 / begun.elapsed().as_secs_f64());
        session.reset();
        session.prefill(&ids[run..=run])?;
        session.wait()?;
        let begun = Instant::now();
        // Each token is found, and read by the next step, on the device.
        for _ in 0..single {
            session.step()?;
        }
        session.wait()?;
        rates[1].push(single as f64 / begun.elapsed().as_secs_f64());
    }
    session.reset();
    let mut host = [Vec::new(), Vec::new()];
    for _ in 0..single {
        session.wait()?; // a device that is a processor would have the host wait for a core
        session.take_host();
        session.step()?;
        let took = session.take_host();
        host[0].push(took.recording.as_secs_f64() * 1e6);
        host[1].push(took.encoding.as_secs_f64() * 1e6);
    }
    session.wait()?;
    let [prompts, singles] = rates.map(Samples::new);
    Ok(Rates { prompt: prompts, single: singles, host: host.map(|us| Samples::new(us).median()) })
}
