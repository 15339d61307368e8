//! A model on a GPU: a plan for prompts and one for single tokens, both loaded once, over the same caches.
//!
//! A step changes two scalars of a call, writes the lengths of the sequences, and records: nothing is planned,
//! bound or allocated. The token that a step finds likeliest, or draws, is where the next step reads it: no host
//! is needed in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tachylite::gpu::{Executable, Io, LoadOptions};
use tachylite::plan::Policy;
use tachylite::{Call, DType, Gpu, Plan, wgpu};

use crate::graph::{Decoder, Draw, Shape, Tokens};
use crate::{Error, Model, Result};

mod buffers;
mod saved;

use buffers::{READ_MOST, bind, buffer, buffers};
use saved::Kept;
pub use saved::Saved;

/// How a model is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Sequences, which all are of one length.
    pub batch: usize,
    /// The most tokens of a prompt that are read at once.
    pub chunk: usize,
    /// The most positions of a sequence.
    pub positions: usize,
    /// The type of the cache: f32 or f16.
    pub cache: DType,
    /// How tokens are drawn; the likeliest are taken, unless given.
    pub draw: Option<Draw>,
    /// How plans are made.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 1,
            chunk: 512,
            positions: 4096,
            cache: DType::F16,
            draw: None,
            policy: Policy::default(),
        }
    }
}

/// A plan that is loaded, and bound to the session's buffers.
struct Part {
    executable: Executable,
    io: Io,
    call: Call,
}

/// A model on a GPU, and where its sequences are.
pub struct Session {
    gpu: Gpu,
    options: Options,
    prompt: Part,
    single: Part,
    /// By name: what plans bind.
    buffers: BTreeMap<String, wgpu::Buffer>,
    /// Names of states that a token changes all of.
    carried: Vec<String>,
    vocabulary: usize,
    staging: wgpu::Buffer,
    position: usize,
    kept: Kept,
    host: Host,
}

/// What calls take the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host {
    /// Parameters worked out and handed over, and commands recorded.
    pub recording: Duration,
    /// What WebGPU does then to check commands and make them a command buffer, which is not yet submitted.
    pub encoding: Duration,
}

impl Session {
    /// Plans and loads.
    ///
    /// # Errors
    /// If the model cannot be read, planned or loaded.
    pub fn new(gpu: &Gpu, model: &Model, options: &Options) -> Result<Self> {
        let shape = |tokens| {
            let Options { batch, positions, cache, draw, .. } = *options;
            Shape { batch, tokens, positions, cache, draw }
        };
        let &Options { batch, chunk, positions, .. } = options;
        if batch.checked_mul(chunk).and_then(|n| n.checked_mul(positions)).is_none_or(|n| n == 0) {
            return Err(Error::new(format!(
                "a session needs a sequence, a position, and a chunk of a token at least, and no more than can be \
                 counted, not {batch}, {positions} and {chunk}"
            )));
        }
        let load = |tokens| -> Result<(Decoder, Executable)> {
            let decoder = model.decoder(shape(tokens))?;
            let plan = tachylite::plan::plan(&decoder.graph, gpu.profile(), &options.policy)?;
            let slots = LoadOptions { slots: 1, ..LoadOptions::default() };
            let executable = model.with_weights(&decoder, |w| Ok(gpu.load_blocking(&plan, w, slots)?))?;
            Ok((decoder, executable))
        };
        let (_, prompt) = load(Tokens::UpTo(options.chunk))?;
        let (decoder, single) = load(Tokens::One)?;
        let carried = decoder.carried;
        let buffers = buffers(gpu, [prompt.plan(), single.plan()]);
        let part = |executable: Executable, single: bool| -> Result<Part> {
            let io = bind(&executable, &buffers, single)?;
            let dims: Vec<_> = executable.plan().scalars.iter().map(|s| (s.name.clone(), 1.0)).collect();
            let dims: Vec<_> = dims.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let call = executable.plan().call(&dims)?;
            Ok(Part { io, call, executable })
        };
        let vocabulary = model.config().vocabulary();
        let widest = buffers.values().map(wgpu::Buffer::size).filter(|n| *n <= READ_MOST).max().unwrap_or(16);
        Ok(Self {
            prompt: part(prompt, false)?,
            single: part(single, true)?,
            staging: buffer(gpu, "read back", widest, wgpu::BufferUsages::MAP_READ),
            gpu: gpu.clone(),
            options: options.clone(),
            carried,
            buffers,
            vocabulary,
            position: 0,
            kept: Kept::default(),
            host: Host::default(),
        })
    }

    /// The plan for single tokens.
    pub fn plan(&self) -> &Plan {
        self.single.executable.plan()
    }

    /// The plan for prompts.
    pub fn prompt_plan(&self) -> &Plan {
        self.prompt.executable.plan()
    }

    /// What a step calls its plan with, and the executable, to look at what recording takes.
    pub fn parts(&mut self) -> (&mut Executable, &Call) {
        (&mut self.single.executable, &self.single.call)
    }

    /// Tokens that every sequence has.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What calls took the host since this was asked last.
    pub fn take_host(&mut self) -> Host {
        std::mem::take(&mut self.host)
    }

    /// Reads tokens: as many of every sequence, sequence by sequence.
    ///
    /// # Errors
    /// If they are no whole number of tokens for each sequence, one is past the vocabulary, or they would go past
    /// the last position; those of the device.
    pub fn prefill(&mut self, ids: &[u32]) -> Result<()> {
        let (batch, chunk) = (self.options.batch, self.options.chunk);
        let each = ids.len() / batch;
        if each == 0 || !ids.len().is_multiple_of(batch) {
            return Err(Error::new(format!("{} tokens were given for {batch} sequences", ids.len())));
        }
        self.check_ids(ids)?;
        self.check_room(each)?;
        for from in (0..each).step_by(chunk) {
            let n = chunk.min(each - from);
            let rows: Vec<u32> =
                ids.chunks_exact(each).flat_map(|row| row[from..from + n].iter().copied()).collect();
            let last: Vec<u32> = (1..=batch).map(|b| (b * n - 1) as u32).collect();
            self.write("ids", &rows);
            self.write("last", &last);
            self.advance(n, false)?;
        }
        Ok(())
    }

    /// Takes in the token that comes next, and finds the one after it.
    ///
    /// # Errors
    /// If there is no position left; those of the device.
    pub fn step(&mut self) -> Result<()> {
        self.check_room(1)?;
        self.advance(1, true)
    }

    /// Says which token comes next in each sequence.
    ///
    /// # Errors
    /// If there is not one for each sequence, or one is past the vocabulary.
    pub fn give(&mut self, ids: &[u32]) -> Result<()> {
        if ids.len() != self.options.batch {
            return Err(Error::new(format!("{} tokens for {} sequences", ids.len(), self.options.batch)));
        }
        self.check_ids(ids)?;
        self.write("next", ids);
        Ok(())
    }

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => {
                Err(Error::new(format!("token {id} is past the {} of the vocabulary", self.vocabulary)))
            }
            None => Ok(()),
        }
    }

    fn check_room(&self, n: usize) -> Result<()> {
        let (at, most) = (self.position, self.options.positions);
        if at + n <= most {
            return Ok(());
        }
        Err(Error::new(format!("{n} more tokens after {at} are more than the {most} positions there are")))
    }

    fn write(&self, name: &str, values: &[u32]) {
        if let Some(buffer) = self.buffers.get(name) {
            // Little-endian on every host that wgpu runs on.
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.gpu.queue().write_buffer(buffer, 0, &bytes);
        }
    }

    /// Calls a plan for `n` tokens.
    fn advance(&mut self, n: usize, single: bool) -> Result<()> {
        let end = (self.position + n) as u32;
        if let Some(lengths) = self.buffers.get("lengths") {
            for b in 0..self.options.batch as u64 {
                self.gpu.queue().write_buffer(lengths, 4 * b, &end.to_le_bytes());
            }
        }
        let part = if single { &mut self.single } else { &mut self.prompt };
        set(part, "at", self.position)?;
        set(part, "S", n)?;
        let (device, queue) = (self.gpu.device(), self.gpu.queue());
        for i in 0..part.executable.plan().segments.len() {
            let steps = part.executable.plan().segments[i].clone();
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let begun = Instant::now();
            part.executable.record_segment(&mut pass, &part.io, &part.call, steps)?;
            self.host.recording += begun.elapsed();
            let begun = Instant::now();
            drop(pass);
            let recorded = encoder.finish();
            self.host.encoding += begun.elapsed();
            queue.submit([recorded]);
            part.executable.submitted();
        }
        self.position += n;
        Ok(())
    }

    /// The token that comes next in each sequence: waits for the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn next_tokens(&mut self) -> Result<Vec<u32>> {
        let bytes = self.read("next", self.options.batch * 4)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    /// The logits that follow, sequence by sequence: waits for the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn logits(&mut self) -> Result<Vec<f32>> {
        let row = self.vocabulary.next_multiple_of(4);
        let bytes = self.read("logits", self.options.batch * row * 4)?;
        let all: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(all.chunks_exact(row).flat_map(|row| row[..self.vocabulary].iter().copied()).collect())
    }

    /// Waits until the device has done all that was submitted.
    ///
    /// # Errors
    /// Those of the device.
    pub fn wait(&self) -> Result<()> {
        let done = self.gpu.device().poll(wgpu::PollType::wait_indefinitely());
        done.map(|_| ()).map_err(|e| Error::new(format!("the device does not finish: {e}")))
    }

    fn read(&mut self, name: &str, bytes: usize) -> Result<Vec<u8>> {
        let Some(from) = self.buffers.get(name) else {
            return Err(Error::new(format!("there is no buffer `{name}`")));
        };
        if bytes as u64 > self.staging.size() {
            let most = self.staging.size();
            return Err(Error::new(format!("`{name}` has {bytes} bytes, but at most {most} are read back")));
        }
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(from, 0, &self.staging, 0, bytes as u64);
        self.gpu.queue().submit([encoder.finish()]);
        let slice = self.staging.slice(..bytes as u64);
        let (tell, told) = std::sync::mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |mapped| drop(tell.send(mapped)));
        self.wait()?;
        match told.try_recv() {
            Ok(Ok(())) => {}
            _ => return Err(Error::new(format!("`{name}` cannot be read back"))),
        }
        let out = slice.get_mapped_range().map(|view| view.to_vec());
        let out = out.map_err(|e| Error::new(format!("`{name}` cannot be read back: {e}")));
        self.staging.unmap();
        out
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for buffer in self.carried.iter().map(|name| &self.buffers[name]) {
            encoder.clear_buffer(buffer, 0, None);
        }
        self.gpu.queue().submit([encoder.finish()]);
        self.position = 0;
        self.kept.cut(0);
    }
}

/// Sets a dim of a part's call, if its plan has it.
fn set(part: &mut Part, name: &str, value: usize) -> Result<()> {
    let specs = &part.executable.plan().scalars;
    if specs.iter().any(|s| s.name == name) {
        part.call.set(specs, name, value as f64)?;
    }
    Ok(())
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session(at {}, {:?})", self.position, self.single.executable)
    }
}
