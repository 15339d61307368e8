//! `tachylite quantize`: a model file with its weights in another type, and what that cost.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tachylite::files::{
    Encoding, GgufWriter, Loss, ModelFiles, TensorInfo, TensorSpec, dequantize, gguf_header, quantize,
};

use crate::inspect::{plain, shape, size, table};
use crate::{cannot_run, say};

mod choose;

use choose::{Choice, Override};

/// Values that are converted at once: what is held in memory is a few times their bytes.
const VALUES: u64 = 1 << 18;
/// The block of types that have none, where the worst is looked for.
const PLAIN_BLOCK: usize = 32;
/// How often the line of progress changes.
const OFTEN: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = choose::help())]
pub(crate) struct Arguments {
    /// A GGUF or safetensors file; of a split model any of its GGUF files, or its *.safetensors.index.json
    r#in: PathBuf,
    /// The GGUF file to write; one that is there already is never replaced
    out: PathBuf,
    /// The type that weights get: those of two axes or more whose last one is a whole number of blocks
    #[arg(long, value_name = "TYPE")]
    to: String,
    /// The type of tensors whose name matches, `*` for any characters and `?` for one; `keep` leaves them as they
    /// are, `drop` leaves them out; may be repeated, and the last that matches counts
    #[arg(long = "override", value_name = "PATTERN=TYPE")]
    overrides: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match quantized(arguments) {
        Ok(report) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Err(why) => cannot_run(&why),
    }
}

fn quantized(arguments: &Arguments) -> Result<String, String> {
    let out = &arguments.out;
    if fs::symlink_metadata(out).is_ok() {
        return Err(format!("{} is there already", out.display()));
    }
    if let Some(folder) = out.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
        return Err(format!("{}: there is no folder {}", out.display(), folder.display()));
    }
    let to = choose::made(&arguments.to)?;
    let overrides = arguments.overrides.iter().map(|text| Override::parse(text));
    let overrides: Vec<_> = overrides.collect::<Result<_, _>>()?;
    let model = ModelFiles::open(&arguments.r#in).map_err(|e| e.to_string())?;
    let all = model.contents().tensors();
    let choices = choose::choose(all, to, &overrides)?;
    let dropped: Vec<_> = all.iter().zip(&choices).filter(|(_, c)| c.dropped).map(|(t, _)| t).collect();
    let (tensors, choices): (Vec<&TensorInfo>, Vec<Choice>) =
        all.iter().zip(choices).filter(|(_, c)| !c.dropped).unzip();
    let specs = specs(&model, &tensors, &choices)?;
    say_leftovers(out);
    let metadata = choose::metadata(model.contents(), &specs);
    let mut writer = GgufWriter::create(out, &metadata, &specs).map_err(|e| match e {
        tachylite::Error::Argument(why) => format!("{}: {why}", arguments.r#in.display()),
        other => other.to_string(),
    })?;
    let mut progress = Progress::new(&tensors);
    let mut losses = Vec::new();
    for (tensor, choice) in tensors.iter().copied().zip(&choices) {
        let loss = convert(&model, tensor, choice.encoding, &mut writer, &mut progress);
        losses.push(loss.inspect_err(|_| progress.clear())?);
    }
    progress.clear();
    let bytes = writer.finish().map_err(|e| e.to_string())?;
    let before: u64 = model.contents().parts().iter().map(|p| p.bytes).sum();
    let left_out: String = dropped.iter().map(|t| format!("  left out: {}\n", plain(&t.name))).collect();
    Ok(report(&tensors, &choices, &losses)
        + &left_out
        + &left(&tensors, &choices)
        + &format!(
            "{}: {} before, {} after, {:.3} of it\n",
            out.display(),
            size(before),
            size(bytes),
            bytes as f64 / before as f64
        ))
}

/// The tensors of the file to write; what GGUF cannot hold is said with the way out.
fn specs(model: &ModelFiles, tensors: &[&TensorInfo], choices: &[Choice]) -> Result<Vec<TensorSpec>, String> {
    let mut specs = Vec::with_capacity(tensors.len());
    for (t, c) in tensors.iter().zip(choices) {
        let spec = TensorSpec { name: t.name.clone(), encoding: c.encoding, shape: t.shape.clone() };
        gguf_header(&[], std::slice::from_ref(&spec))
            .map_err(|e| format!("{}: {e}; --override PATTERN=drop leaves a tensor out", file(model, t)))?;
        specs.push(spec);
    }
    Ok(specs)
}

/// The file that a tensor lies in.
fn file<'a>(model: &'a ModelFiles, tensor: &TensorInfo) -> &'a str {
    model.contents().parts().get(tensor.part).map_or("", |part| &part.name)
}

/// Values are finite where blocks take or held them, or the first that is not is named. `at` is where the first of
/// them lies in the file.
fn is_finite([from, to]: [&Encoding; 2], before: &[f32], first: u64, at: u64) -> Result<(), String> {
    let Some(i) = before.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let (block, v) = (i as u64 / from.block, before[i]);
    let at = at + block * from.block_bytes;
    if from.block > 1 {
        let number = first / from.block + block;
        return Err(format!("block {number}, at offset {at}, stands for {v}, not for finite values"));
    }
    if to.block > 1 {
        let number = first + i as u64;
        return Err(format!("value {number}, at offset {at}, is {v}, which no block of {to} can hold"));
    }
    Ok(())
}

/// What was finite still is, or the first value that is not is named.
fn stays_finite(to: &Encoding, before: &[f32], after: &[f32], first: u64) -> Result<(), String> {
    let lost = before.iter().zip(after).position(|(b, a)| b.is_finite() && !a.is_finite());
    let Some(i) = lost else { return Ok(()) };
    let (number, v, a, block) = (first + i as u64, before[i], after[i], to.block as usize);
    let its_block = before[i - i % block..].iter().take(block);
    let large = its_block.fold(v, |m, v| if v.abs() > m.abs() { *v } else { m });
    let why = if block > 1 { format!(" (its block holds {large:e})") } else { String::new() };
    Err(format!("value {number} is {v:e}, which {to} makes {a}{why}"))
}

/// Converts one tensor piece by piece; says what it lost, unless its bytes stay as they are.
fn convert(
    model: &ModelFiles,
    tensor: &TensorInfo,
    to: &Encoding,
    writer: &mut GgufWriter,
    progress: &mut Progress,
) -> Result<Option<Loss>, String> {
    let from = tensor.encoding;
    let total = tensor.range.end - tensor.range.start;
    // Every block has a power of two of values, at most 256, so each piece is whole blocks of both types.
    let piece = VALUES / from.block * from.block_bytes;
    let mut loss = Loss::default();
    let mut buffer = Vec::new();
    let mut at = 0;
    let label = format!("{}: `{}`", file(model, tensor), plain(&tensor.name));
    while at < total {
        let n = piece.min(total - at);
        buffer.resize(usize::try_from(n).map_err(|e| e.to_string())?, 0);
        model.read(tensor, at, &mut buffer).map_err(|e| e.to_string())?;
        if from == to {
            writer.write(&buffer).map_err(|e| e.to_string())?;
        } else {
            let dtype = to.dtype().ok_or_else(|| format!("{to}: there is nothing yet that makes it"))?;
            let first = at / from.block_bytes * from.block;
            let way = "; to leave the tensor as it is, add --override";
            let way = format!("{way} '{}=keep'", plain(&tensor.name));
            let said = |e: tachylite::Error| format!("{label}, values from {first}: {e}{way}");
            let named = |e: String| format!("{label}: {e}{way}");
            let before = dequantize(from, &buffer).map_err(said)?;
            is_finite([from, to], &before, first, tensor.range.start + at).map_err(named)?;
            let made = quantize(dtype, &before).map_err(said)?;
            let after = dequantize(to, &made).map_err(said)?;
            stays_finite(to, &before, &after, first).map_err(named)?;
            let block = if dtype.block() > 1 { dtype.block() } else { PLAIN_BLOCK };
            loss.add(block, &before, &after);
            writer.write(&made).map_err(|e| e.to_string())?;
        }
        at += n;
        progress.add(n, &tensor.name);
    }
    Ok((from != to).then_some(loss))
}

/// What was lost as a part of what was there; of values that are not finite there is no number.
fn part(e: f64) -> String {
    if e.is_finite() { format!("{e:.3e}") } else { "no number".to_owned() }
}

/// The same in decibels; without a loss there is no number either.
fn decibels(db: f64) -> String {
    match db {
        db if db.is_finite() => format!("{db:.1} dB"),
        f64::INFINITY => "no loss".to_owned(),
        _ => "no number".to_owned(),
    }
}

/// How many matrices did not become what was asked for.
fn left(tensors: &[&TensorInfo], choices: &[Choice]) -> String {
    let matrices = tensors.iter().zip(choices).filter(|(t, _)| t.shape.len() > 1);
    let of = matrices.clone().count();
    let line = |n: usize, what: &str| match n {
        0 => String::new(),
        n => format!(
            "{n} of {of} tensors of two axes or more could not become what was asked for, and {what}\n"
        ),
    };
    let (stay, other): (Vec<_>, Vec<_>) =
        matrices.filter(|(_, c)| c.why.is_some()).partition(|(t, c)| t.encoding == c.encoding);
    line(other.len(), "are of smaller blocks, as in llama.cpp") + &line(stay.len(), "stay as they are")
}

fn report(tensors: &[&TensorInfo], choices: &[Choice], losses: &[Option<Loss>]) -> String {
    let head = ["tensor", "shape", "from", "to", "before", "after", "rel. RMS", "worst block", "SNR", ""];
    let mut rows = vec![head.map(String::from)];
    for ((t, choice), loss) in tensors.iter().zip(choices).zip(losses) {
        let after = choice.encoding.byte_len(&t.shape).unwrap_or_default();
        let lost = match loss {
            None => [String::from("as it is"), String::new(), String::new()],
            Some(loss) => [
                part(loss.relative_rms()),
                loss.worst_block().map_or(String::new(), |(i, e)| format!("{} (#{i})", part(e))),
                decibels(loss.snr_db()),
            ],
        };
        let [rms, worst, snr] = lost;
        rows.push([
            plain(&t.name),
            shape(&t.shape),
            t.encoding.to_string(),
            choice.encoding.to_string(),
            size(t.range.end - t.range.start),
            size(after),
            rms,
            worst,
            snr,
            choice.why.clone().unwrap_or_default(),
        ]);
    }
    let mut out = Vec::new();
    // Into memory, which takes everything.
    let _ =
        table(rows.into_iter(), [false, false, false, false, true, true, true, true, true, false], &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// What runs that were interrupted have left beside the file.
fn say_leftovers(out: &Path) {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let left = entry.file_name().to_string_lossy().into_owned();
        let number = left.strip_prefix(&format!("{name}.")).and_then(|rest| rest.strip_suffix(".partial"));
        if number.is_some_and(|n| n.split('.').all(|n| n.parse::<u32>().is_ok())) {
            let path = folder.join(left);
            eprintln!("{} is of another run: interrupted, unless it still writes", path.display());
        }
    }
}

/// How far it is, in a line that changes on a terminal; nothing elsewhere.
struct Progress {
    total: u64,
    done: u64,
    terminal: bool,
    last: Instant,
}

impl Progress {
    fn new(tensors: &[&TensorInfo]) -> Self {
        let total = tensors.iter().map(|t| t.range.end - t.range.start).sum();
        Self { total, done: 0, terminal: std::io::stderr().is_terminal(), last: Instant::now() }
    }

    fn add(&mut self, bytes: u64, name: &str) {
        self.done += bytes;
        if self.terminal && self.last.elapsed() >= OFTEN {
            self.last = Instant::now();
            let (done, total) = (size(self.done), size(self.total));
            eprint!("\r\x1b[K{done} of {total}: {}", plain(name).chars().take(60).collect::<String>());
            let _ = std::io::stderr().flush();
        }
    }

    /// Wipes the line.
    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
