//! A single compute shader on a virtual GPU, on buffers of the caller's.

use std::sync::Arc;

use super::device::{VirtualGpu, told};
use super::exec::{Log, coordinates, writes};
use super::finding::Finding;
use super::lower::Rejected;
use super::memory::Memory;
use super::personality::Personality;
use super::program::{BufferDecl, Place, Program, Ty};

/// More workgroups than this would take hours.
const MOST_WORKGROUPS: u128 = 1 << 24;

/// Why a shader cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrunnable {
    /// Where it stands, if that is known.
    pub place: Option<Place>,
    /// Why, in a sentence without its end.
    pub message: String,
}

impl From<Rejected> for Unrunnable {
    fn from(rejected: Rejected) -> Self {
        Self { place: rejected.place, message: rejected.message }
    }
}

/// A compute shader, compiled for a virtual GPU.
#[derive(Debug, Clone)]
pub struct Shader {
    gpu: VirtualGpu,
    program: Arc<Program>,
    file: String,
}

/// What a buffer holds before a dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes that nothing wrote.
    Unwritten(u64),
}

/// What a dispatch left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The bytes of every buffer.
    pub buffers: Vec<Vec<u8>>,
    /// What was found, in order of place.
    pub findings: Vec<Finding>,
}

/// What a dispatch left, and who wrote it.
pub(super) struct Ran {
    pub left: Left,
    memories: Vec<Memory>,
    program: Arc<Program>,
    grid: [u32; 3],
}

impl Ran {
    /// Where a byte of a buffer was written last, by which workgroup and lane.
    pub fn writer(&self, buffer: usize, byte: u32) -> Option<(Place, [u32; 3], u32)> {
        let location = self.program.location(byte);
        let who = self.memories.get(buffer)?.users(location)?.writer()?;
        let place = self.program.sites.get(who.site as usize).copied()?;
        Some((place, coordinates(who.workgroup, self.grid), who.lane))
    }
}

impl VirtualGpu {
    /// Compiles a shader; `entry` may be left out if there is one. `file` is what findings call it.
    ///
    /// # Errors
    /// [`Unrunnable`] if it is no valid WGSL, an override has no value, or it uses what this does not know.
    pub fn shader(
        &self,
        file: &str,
        source: &str,
        overrides: &[(String, f64)],
        entry: Option<&str>,
    ) -> Result<Shader, Unrunnable> {
        let program = self.program(source, overrides, entry)?;
        Ok(Shader { gpu: self.clone(), program, file: file.to_owned() })
    }
}

impl Shader {
    /// What it binds.
    pub fn buffers(&self) -> &[BufferDecl] {
        &self.program.buffers
    }

    /// What it runs on.
    pub fn personality(&self) -> &Personality {
        self.gpu.personality()
    }

    /// The entry point's name.
    pub fn entry(&self) -> &str {
        &self.program.name
    }

    /// Lanes in a workgroup along each axis.
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.program.workgroup_size
    }

    /// Runs a dispatch of `grid` workgroups on buffers in the order of [`Shader::buffers`]. Elements that
    /// nothing wrote, in a buffer that the shader writes, are findings: every one of them is an output.
    ///
    /// # Errors
    /// [`Unrunnable`] if there are fewer or smaller buffers than it binds.
    pub fn run(&self, grid: [u32; 3], contents: &[Contents]) -> Result<Left, Unrunnable> {
        Ok(self.dispatched(grid, contents)?.left)
    }

    /// Like [`Shader::run`], and who wrote what.
    pub(super) fn dispatched(&self, grid: [u32; 3], contents: &[Contents]) -> Result<Ran, Unrunnable> {
        let wrong = |message: String| Unrunnable { place: None, message };
        let workgroups = grid.iter().map(|n| u128::from(*n)).product::<u128>();
        if workgroups > MOST_WORKGROUPS {
            return Err(wrong(format!(
                "{workgroups} workgroups, but no more than {MOST_WORKGROUPS} are run"
            )));
        }
        if contents.len() != self.program.buffers.len() {
            let (given, wanted) = (contents.len(), self.program.buffers.len());
            return Err(wrong(format!("{given} buffers were given, but it binds {wanted}")));
        }
        let mut memories = Vec::new();
        for (decl, contents) in self.program.buffers.iter().zip(contents) {
            let bytes = match contents {
                Contents::Bytes(bytes) => bytes.len() as u64,
                Contents::Unwritten(bytes) => *bytes,
            };
            if bytes < u64::from(decl.min_bytes) {
                let (name, least) = (&decl.name, decl.min_bytes);
                return Err(wrong(format!(
                    "`{name}` has {bytes} bytes, but the shader needs at least {least}"
                )));
            }
            let mut memory = Memory::new(bytes, bytes);
            if let Contents::Bytes(bytes) = contents {
                memory.write(bytes);
            }
            memories.push(memory);
        }
        let log = Log::default();
        for (memory, _) in
            memories.iter_mut().zip(&self.program.buffers).filter(|(_, decl)| writes(decl.kind))
        {
            memory.forget_users(self.program.per_word());
        }
        self.gpu.dispatch(&self.program, grid, 0, &memories.iter().collect::<Vec<_>>(), &log);
        for (memory, decl) in memories.iter().zip(&self.program.buffers) {
            // A workgroup that was given up leaves things out.
            if writes(decl.kind) && !log.gave_up(0) {
                log.judge(memory, elements(decl, memory.bound()), 0, &self.program, &decl.name);
            }
        }
        let name = &self.gpu.personality().name;
        let sites = &self.program.sites;
        let locate =
            |_: u32, site: u32| (self.file.clone(), sites.get(site as usize).copied().unwrap_or_default());
        let found = log.seen().into_iter();
        let findings =
            found.map(|seen| told(seen, &self.program, grid, (self.entry(), name), &locate)).collect();
        let left = Left { buffers: memories.iter().map(Memory::read).collect(), findings };
        Ok(Ran { left, memories, program: self.program.clone(), grid })
    }
}

/// Which bytes of a word of a buffer are of elements, as flags of a taint; what is before a runtime-sized
/// array is not looked at.
fn elements(decl: &BufferDecl, bytes: u64) -> impl Fn(usize) -> u32 {
    let (start, stride) = decl.runtime.unwrap_or((0, decl.min_bytes));
    let (start, stride) = (start as usize, stride.max(1) as usize);
    let mut held = vec![false; stride];
    for (offset, ty) in &decl.scalars {
        let size = if *ty == Ty::F16 { 2 } else { 4 };
        held.iter_mut().skip(*offset as usize).take(size).for_each(|held| *held = true);
    }
    let end = start + (bytes as usize).saturating_sub(start) / stride * stride;
    move |word| {
        let holds = |byte: usize| (start..end).contains(&byte) && held[(byte - start) % stride];
        (0..4).filter(|i| holds(word * 4 + i)).fold(0, |flags, i| flags | 0x1000_0000 << i)
    }
}
