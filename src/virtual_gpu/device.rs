//! The device: plans, and single shaders, on a personality.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::exec::{Dispatch, Log, Seen, coordinates, writes};
use super::finding::{Access, Finding, Kind};
use super::lower::{Rejected, Rewrites, lower};
use super::math::Numbers;
use super::memory::Memory;
use super::personality::{Fma, Personality, Reassociation};
use super::program::{Place, Program};
use crate::check::{Fill, Machine};
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::kernel::{Composed, extensions};
use crate::plan::host::fold_otherwise;
use crate::plan::prepare::{Weights, prepare};
use crate::plan::{Plan, Role, Step};
use crate::profile::Profile;

/// Workgroups times lanes times instructions from which on several threads are worth starting.
const WORTH_THREADS: u64 = 1 << 18;

/// A virtual GPU. Clones share what was compiled.
#[derive(Debug, Clone)]
pub struct VirtualGpu {
    pub(super) personality: Personality,
    profile: Profile,
    pub(super) numbers: Arc<Numbers>,
    threads: usize,
    programs: Arc<Mutex<HashMap<String, Arc<Program>>>>,
}

impl VirtualGpu {
    /// A virtual GPU of this personality, on all cores.
    pub fn new(personality: Personality) -> Self {
        Self {
            profile: personality.profile(),
            numbers: Arc::new(Numbers::new(&personality)),
            personality,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            programs: Arc::default(),
        }
    }

    /// The same, on this many threads.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// What it does with every freedom.
    pub fn personality(&self) -> &Personality {
        &self.personality
    }

    /// The program of a text, compiled once.
    pub(super) fn program(
        &self,
        source: &str,
        overrides: &[(String, f64)],
        entry: Option<&str>,
    ) -> Result<Arc<Program>, Rejected> {
        let key = format!("{entry:?} {overrides:?}\n{source}");
        let lock = || self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = lock().get(&key) {
            return Ok(program.clone());
        }
        let how = Rewrites {
            contract: self.personality.fma == Fma::Contracted,
            reassociate: self.personality.reassociation == Reassociation::Constants,
        };
        let program = Arc::new(lower(source, overrides, entry, how)?);
        let limits = &self.profile.limits;
        let wants = [
            ("invocations in a workgroup", program.lanes(), limits.workgroup_invocations),
            ("bytes of workgroup memory", program.workgroup_bytes, limits.workgroup_bytes),
        ];
        if let Some((what, wanted, granted)) = wants.into_iter().find(|(_, wanted, granted)| wanted > granted)
        {
            let message = format!("{wanted} {what}, but WebGPU grants no more than {granted} everywhere");
            return Err(Rejected { place: None, message });
        }
        lock().insert(key, program.clone());
        Ok(program)
    }

    /// Runs one dispatch on what is bound, in the order of the program's buffers; who used those that it
    /// writes must be forgotten.
    pub(super) fn dispatch(
        &self,
        program: &Program,
        grid: [u32; 3],
        step: u32,
        bound: &[&Memory],
        log: &Log,
    ) {
        let workgroups: u64 = grid.iter().map(|n| u64::from(*n)).product();
        let work = workgroups * u64::from(program.lanes()) * program.sites.len() as u64;
        let threads = if work < WORTH_THREADS { 1 } else { self.threads };
        let run = |threads: usize| {
            let dispatch = Dispatch {
                program,
                personality: &self.personality,
                numbers: &self.numbers,
                buffers: bound,
                grid,
                step,
                log,
            };
            dispatch.run(threads);
        };
        if threads == 1 {
            return run(1);
        }
        let written = bound.iter().zip(&program.buffers).filter(|(_, decl)| writes(decl.kind));
        let saved: Vec<_> = written.map(|(memory, _)| (memory, memory.copy())).collect();
        run(threads);
        // Workgroups that race may have run in any order: what is reported is what one thread does.
        if log.seen().iter().any(|(kind, seen)| *kind == Kind::RaceDispatch && seen.step == step) {
            saved.iter().for_each(|(memory, before)| memory.restore(before));
            log.forget_step(step);
            run(1);
        }
    }
}

/// A plan on a virtual GPU.
#[derive(Debug)]
pub struct VirtualPlan {
    plan: Plan,
    programs: Vec<Arc<Program>>,
    /// Of each step, which of the plan's buffers are the program's, in its order; `None` for parameters.
    bound: Vec<Vec<Option<usize>>>,
    buffers: Vec<Memory>,
    log: Log,
    grids: Vec<[u32; 3]>,
}

impl Machine for VirtualGpu {
    type Loaded = VirtualPlan;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn load(&self, plan: &Plan, weights: &Weights, guard_bytes: u64) -> Result<VirtualPlan> {
        let programs: Vec<Arc<Program>> =
            plan.kernels.iter().map(|kernel| self.kernel(kernel)).collect::<Result<_>>()?;
        let mut buffers: Vec<Memory> = (plan.buffers.iter())
            .map(|spec| Memory::new(spec.bytes.max(16) + guard_bytes, spec.bytes.max(16)))
            .collect();
        for (spec, buffer) in plan.buffers.iter().zip(&mut buffers) {
            if let Role::Weight(weight) = spec.role {
                buffer.write(&prepare(&plan.weights[weight], weights)?);
            }
        }
        let bound = plan.steps.iter().map(|step| bindings(step, plan, &programs)).collect::<Result<_>>()?;
        Ok(VirtualPlan {
            grids: vec![[0, 1, 1]; plan.steps.len()],
            plan: plan.clone(),
            programs,
            bound,
            buffers,
            log: Log::default(),
        })
    }

    fn run(
        &self,
        loaded: &mut VirtualPlan,
        call: &Call,
        fills: &[(usize, Fill<'_>)],
        reads: &[usize],
    ) -> Result<Vec<Vec<u8>>> {
        loaded.log.forget_seen();
        for (buffer, fill) in fills {
            let Some(buffer) = loaded.buffers.get_mut(*buffer) else { continue };
            match fill {
                Fill::Bytes(bytes) => buffer.write(bytes),
                Fill::Pattern(pattern) => buffer.unwrite(u32::from_le_bytes(*pattern)),
            }
        }
        for (number, step) in loaded.plan.steps.iter().enumerate() {
            let Some(program) = loaded.programs.get(step.kernel) else { continue };
            let workgroups = step.workgroups.eval(call);
            let limit = self.profile.limits.workgroups_per_axis;
            // Kernels must not notice how workgroups are folded, nor that there are more than they need.
            let Some(grid) = fold_otherwise(workgroups, limit) else {
                return Err(Error::Limit(format!(
                    "{}: {workgroups} workgroups, but the device grants {limit} along an axis",
                    step.kernel_name
                )));
            };
            loaded.grids[number] = grid;
            if workgroups == 0 {
                continue;
            }
            let mut params = vec![0; (step.params.len() * 4).max(16)];
            step.write_params(call, &mut params)?;
            let bound = &loaded.bound[number];
            for (_, buffer) in program.buffers.iter().zip(bound).filter(|(decl, _)| writes(decl.kind)) {
                if let Some(memory) = buffer.and_then(|b| loaded.buffers.get_mut(b)) {
                    memory.forget_users(program.per_word());
                }
            }
            let mut parameters = Memory::new(params.len() as u64, params.len() as u64);
            parameters.write(&params);
            let memories: Vec<&Memory> = bound
                .iter()
                .map(|at| at.and_then(|b| loaded.buffers.get(b)).unwrap_or(&parameters))
                .collect();
            self.dispatch(program, grid, number as u32, &memories, &loaded.log);
        }
        Ok(reads.iter().map(|b| loaded.buffers.get(*b).map_or_else(Vec::new, Memory::read)).collect())
    }

    fn findings(&self, loaded: &VirtualPlan, holds: &dyn Fn(usize) -> Vec<bool>) -> Vec<String> {
        for (i, spec) in loaded.plan.buffers.iter().enumerate() {
            if matches!(spec.role, Role::Output(_) | Role::State(_) | Role::Scratch) {
                loaded.judge(i, &holds(i));
            }
        }
        // That a result is past the largest f16 is the inputs' doing, not a kernel's: the judge knows the value.
        let wrong = |kind: Kind| !kind.is_warning() && kind != Kind::F16Overflow;
        let found = loaded.log.seen().into_iter().filter(|(kind, _)| wrong(*kind));
        let found = found.filter_map(|(kind, seen)| loaded.finding(kind, seen, &self.personality.name));
        found.map(|f| format!("{}:{}: {}: {f}", f.file, f.place.line, f.kind)).collect()
    }
}

impl VirtualGpu {
    fn kernel(&self, kernel: &Composed) -> Result<Arc<Program>> {
        let text = extensions::for_naga(&kernel.extensions) + &kernel.wgsl;
        self.program(&text, &[], None).map_err(|rejected| {
            let at = rejected.place.map_or_else(String::new, |place| {
                let (file, place) = located(kernel, place);
                format!(" at {file}:{place}")
            });
            Error::Validation(format!("{}{at}: {}", kernel.name, rejected.message))
        })
    }
}

/// Which buffers of the plan a step's program binds.
fn bindings(step: &Step, plan: &Plan, programs: &[Arc<Program>]) -> Result<Vec<Option<usize>>> {
    let program = programs.get(step.kernel).ok_or_else(|| {
        Error::Argument(format!("{}: the plan has no kernel {}", step.kernel_name, step.kernel))
    })?;
    let buffer = |decl: &super::program::BufferDecl| {
        let (group, number) = decl.binding.unwrap_or((1, 0));
        if group == 1 {
            return Ok(None);
        }
        let found = step.bindings.get(number as usize).map(|b| b.buffer).filter(|b| *b < plan.buffers.len());
        found.map(Some).ok_or_else(|| {
            Error::Validation(format!("{}: `{}` is bound to nothing", step.kernel_name, decl.name))
        })
    };
    program.buffers.iter().map(buffer).collect()
}

impl VirtualPlan {
    /// Reports elements that nothing wrote, or that come of what is not to be trusted.
    fn judge(&self, buffer: usize, holds: &[bool]) {
        let writes = |step: &Step| step.bindings.iter().position(|b| b.buffer == buffer && b.write);
        let last =
            self.plan.steps.iter().enumerate().rev().find_map(|(n, step)| Some((n, step, writes(step)?)));
        let Some((number, step, binding)) = last else { return };
        let Some(program) = self.programs.get(step.kernel) else { return };
        let held = |word: usize| {
            let holds = |i: &usize| holds.get(word * 4 + i).copied().unwrap_or(false);
            (0..4).filter(holds).fold(0, |flags, i| flags | 0x1000_0000 << i)
        };
        let name = &step.bindings[binding].name;
        self.log.judge(&self.buffers[buffer], held, number as u32, program, name);
    }

    /// Where a step's program has a site, in the files that its kernel was made from.
    fn locate(&self, step: u32, site: u32) -> (String, Place) {
        let kernel = self.plan.steps.get(step as usize).map_or(usize::MAX, |step| step.kernel);
        let place = self.programs.get(kernel).and_then(|p| p.sites.get(site as usize)).copied();
        self.plan.kernels.get(kernel).map_or_else(Default::default, |k| located(k, place.unwrap_or_default()))
    }

    fn finding(&self, kind: Kind, seen: Seen, personality: &str) -> Option<Finding> {
        let number = seen.step as usize;
        let step = self.plan.steps.get(number)?;
        let program = self.programs.get(step.kernel)?;
        let locate = |step, site| self.locate(step, site);
        Some(told((kind, seen), program, self.grids[number], (&step.kernel_name, personality), &locate))
    }
}

/// Something seen, in words and places of the source: `locate` knows where a dispatch's site stands.
pub(super) fn told(
    (kind, seen): (Kind, Seen),
    program: &Program,
    grid: [u32; 3],
    (kernel, personality): (&str, &str),
    locate: &dyn Fn(u32, u32) -> (String, Place),
) -> Finding {
    let at = |site: u32| locate(seen.step, site);
    let (file, place) = at(seen.site);
    Finding {
        kind,
        kernel: kernel.to_owned(),
        file,
        place,
        workgroup: coordinates(seen.workgroup, grid),
        lane: seen.lane,
        buffer: seen.name.and_then(|n| program.names.get(n as usize).cloned()),
        index: seen.index,
        count: seen.count,
        writes: seen.writes,
        other: seen.other.map(|(write, site, workgroup, lane)| {
            let (file, place) = at(site);
            Access { write, file, place, workgroup: coordinates(workgroup, grid), lane }
        }),
        used: seen.used.map(|(step, site)| locate(step, site)),
        personality: personality.to_owned(),
        detail: seen.detail.to_owned(),
    }
}

/// Where a line of a kernel's text comes from.
fn located(kernel: &Composed, place: Place) -> (String, Place) {
    match kernel.lines.get((place.line as usize).wrapping_sub(1)) {
        Some((file, line)) => (Cow::into_owned(file.clone()), Place { line: *line, ..place }),
        None => (kernel.name.clone().into_owned(), place),
    }
}
