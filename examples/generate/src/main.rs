//! `generate`: a prompt in, what a language model makes of it out, token by token.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use decoders::session::Options;
use decoders::{Config, Draw, Error, Model, Result, Session, config};
use tachylite::{DType, Gpu};

mod text;

use text::Text;

/// Generates text with a language model.
#[derive(Debug, Parser)]
#[command(version, group = clap::ArgGroup::new("weights").required(true).args(["model", "random"]))]
struct Arguments {
    /// A GGUF file, or a folder with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_name = "FILE.gguf|DIR")]
    model: Option<PathBuf>,
    /// Random weights in the shapes of a model: llama-3.2-1b, qwen3-0.6b, gemma-3-270m, rwkv7-0.4b, ...; what it
    /// says means nothing
    #[arg(long, value_name = "NAME")]
    random: Option<String>,
    /// The type of random matrices: f32 f16 q8_0 q4_0 q4_k q6_k ...
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0", conflicts_with = "model")]
    dtype: String,
    /// Text; or, where no tokenizer is, token ids with commas. Text without a digit is a token for each byte then
    #[arg(long, default_value = "Once upon a time")]
    prompt: String,
    /// The most tokens that are generated
    #[arg(long, value_name = "N", default_value_t = 64)]
    tokens: usize,
    /// 0 takes the likeliest token; more draws one
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Draw among so many of the likeliest only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 40)]
    top_k: u32,
    /// Of those, among the fewest that have this much of their probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Of those, among what has this much of the likeliest one's probability
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// The seed of what is drawn, and of random weights
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// The most tokens of the prompt that are read at once
    #[arg(long, value_name = "N", default_value_t = 512)]
    chunk: usize,
    /// `gpu` for the best adapter, or an adapter by name
    #[arg(long, value_name = "gpu|NAME", default_value = "gpu")]
    device: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("generate: {e}\n"));
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let (model, text) = open(arguments)?;
    let prompt = text.ids(&arguments.prompt)?;
    if prompt.is_empty() {
        return Err(Error::new("the prompt has no token"));
    }
    if arguments.chunk == 0 {
        return Err(Error::new("--chunk is 0, but the prompt is read at least a token at a time"));
    }
    let gpu = Gpu::open_blocking(&arguments.device)?;
    let options = Options {
        chunk: arguments.chunk.min(prompt.len()),
        positions: prompt.len() + arguments.tokens,
        draw: draw(arguments)?,
        ..Options::default()
    };
    let begun = Instant::now();
    let mut session = Session::new(&gpu, &model, &options)?;
    let loaded = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    session.prefill(&prompt)?;
    session.wait()?;
    let read = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let steps = generate(arguments, &mut session, &text)?;
    let generated = begun.elapsed().as_secs_f64();

    let profile = gpu.profile();
    let mut told = format!("\n{}:{} ({})\n", profile.backend, profile.name, profile.driver);
    told += &format!("loaded in {loaded:.1} s; {}\n", text.about());
    told += &format!("prompt: {} tokens, {:.2} tokens/s\n", prompt.len(), prompt.len() as f64 / read);
    if steps > 0 {
        told += &format!("generated: {steps} steps, {:.2} tokens/s\n", steps as f64 / generated);
        let each = session.take_host().recording.as_secs_f64() * 1e6 / steps as f64;
        let dispatches = session.plan().steps.len();
        told += &format!("{dispatches} dispatches a token, recorded in {each:.0} µs\n");
    }
    say(&told);
    Ok(())
}

/// How tokens are drawn; of a temperature of 0 the likeliest are taken.
fn draw(arguments: &Arguments) -> Result<Option<Draw>> {
    let &Arguments { temperature, top_k, top_p, min_p, seed, .. } = arguments;
    let ranges = [("temperature", temperature, 1e6), ("top-p", top_p, 1.0), ("min-p", min_p, 1.0)];
    if let Some((name, value, most)) =
        ranges.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value))
    {
        return Err(Error::new(format!("--{name} is {value}, but it must be from 0 to {most}")));
    }
    Ok((temperature > 0.0).then_some(Draw { temperature, top_k, top_p, min_p, seed }))
}

/// The model, and what turns its tokens into text.
fn open(arguments: &Arguments) -> Result<(Model, Text)> {
    if let Some(path) = &arguments.model {
        let model = Model::open(path)?;
        let text = Text::beside(path, model.config().vocabulary())?;
        return Ok((model, text));
    }
    let name = arguments.random.as_deref().unwrap_or(config::NAMES[0]);
    let dtype = DType::parse(&arguments.dtype).ok_or_else(|| {
        Error::new(format!("there is no type `{}`; there are f32, f16, q8_0 …", arguments.dtype))
    })?;
    Ok((
        Model::random(Config::named(name)?, dtype, arguments.seed.into()),
        Text::ids_only("weights are random"),
    ))
}

/// Says token after token, until one ends the text or there are as many as were asked for;
/// how many steps that took.
fn generate(arguments: &Arguments, session: &mut Session, text: &Text) -> Result<usize> {
    let mut said = Vec::new();
    let mut shown = String::new();
    session.take_host();
    for step in 0..arguments.tokens {
        let token = session.next_tokens()?[0];
        if text.ends(token) {
            return Ok(step);
        }
        said.push(token);
        // A character may take several tokens, so that only what is whole is shown.
        let whole = text.text(&said)?;
        if let Some(more) = whole.strip_prefix(shown.as_str())
            && !more.ends_with('\u{fffd}')
        {
            print(more)?;
            shown = whole;
        }
        if step + 1 == arguments.tokens {
            return Ok(step);
        }
        session.step()?;
    }
    Ok(0)
}

/// Prints at once; a reader that has gone away has read enough.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Error::new(format!("standard output: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// Says something on standard error; nobody is left to tell if this fails.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
