//! A plan loaded on a device, and how calls of it are recorded. Recording makes no wgpu object,
//! allocates nothing of ours, never submits and never polls.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dim::Call;
use crate::error::{Error, Result};
use crate::gpu::fresh::Fresh;
use crate::gpu::pipeline::{Pipeline, params_layout};
use crate::gpu::scope::answer_now;
use crate::gpu::{Gpu, LoadOptions, LoadTimings};
use crate::plan::host::{fold_otherwise, fold_workgroups};
use crate::plan::{Plan, Step};

/// What an executable shares with its forks.
pub(super) struct Loaded {
    pub(super) gpu: Gpu,
    pub(super) plan: Plan,
    pub(super) pipelines: Vec<Arc<Pipeline>>,
    pub(super) weights: Vec<Arc<wgpu::Buffer>>,
    pub(super) options: LoadOptions,
}

/// A plan loaded on a device. One call at a time: its scratch is its own, so calls recorded into
/// one submit run one after the other; [`fork`](Self::fork) it for calls that overlap.
pub struct Executable {
    pub(super) loaded: Arc<Loaded>,
    /// What its [`Io`]s are known by.
    id: u64,
    /// By place in the plan; `None` for inputs and outputs until there are buffers of our own.
    pub(super) buffers: Vec<Option<wgpu::Buffer>>,
    /// One per step; `None` where the step binds an input or output.
    groups: Vec<Option<wgpu::BindGroup>>,
    /// `slots` times `steps` times `stride` bytes.
    params: wgpu::Buffer,
    params_group: wgpu::BindGroup,
    /// Bytes from one step's parameters to the next's.
    stride: usize,
    /// The parameters of the call being recorded, laid out as one slot.
    staged: Vec<u8>,
    /// The grids of the call being recorded.
    grids: Vec<[u32; 3]>,
    /// What of these is still that of the last call.
    fresh: Fresh,
    /// Whether workgroups are folded as no host would, to see that kernels do not notice.
    otherwise: bool,
    /// Slots taken since the last submit.
    pub(super) pending: u32,
    /// Our own inputs and outputs, bound.
    pub(super) own: Option<Io>,
    /// Where our own outputs are read back through.
    pub(super) staging: Option<wgpu::Buffer>,
    pub(super) timings: LoadTimings,
}

/// An executable's inputs and outputs, bound to buffers. Cloning is cheap.
#[derive(Clone)]
pub struct Io {
    owner: u64,
    /// One per step; `None` where the step binds no input or output.
    groups: Arc<[Option<wgpu::BindGroup>]>,
}

impl Executable {
    pub(super) async fn new(loaded: Arc<Loaded>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let limits = &loaded.gpu.profile().limits;
        let (steps, alignment) = (loaded.plan.steps.len(), u64::from(limits.uniform_offset_alignment).max(4));
        let widest = loaded.plan.kernels.iter().map(|k| k.params.len() as u64 * 4).max().unwrap_or(0);
        let stride = widest.max(16).next_multiple_of(alignment);
        let ring = stride.saturating_mul(steps.max(1) as u64).saturating_mul(u64::from(loaded.options.slots));
        if ring > limits.buffer_bytes.min(u64::from(u32::MAX)) {
            return Err(Error::Limit(format!(
                "the parameters of {steps} steps in {} slots need {ring} bytes, \
                 but the device grants {} in one buffer",
                loaded.options.slots,
                limits.buffer_bytes.min(u64::from(u32::MAX))
            )));
        }
        let buffers = loaded.buffers().await?;
        let ((params, params_group, groups), said) = loaded.gpu.scoped(|| {
            let device = loaded.gpu.device();
            let params = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size: ring,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let one_step =
                wgpu::BufferBinding { buffer: &params, offset: 0, size: wgpu::BufferSize::new(stride) };
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("params"),
                layout: &params_layout(device),
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(one_step),
                }],
            });
            let whole = |i: usize| buffers[i].as_ref().map(wgpu::Buffer::as_entire_buffer_binding);
            let groups: Vec<_> = loaded.plan.steps.iter().map(|s| loaded.group(s, whole)).collect();
            (params, group, groups)
        });
        said.await?;
        loaded.gpu.alive()?;
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            buffers,
            groups,
            params,
            params_group,
            stride: stride as usize,
            staged: vec![0; steps * stride as usize],
            grids: vec![[0, 1, 1]; steps],
            fresh: Fresh::new(&loaded.plan, loaded.options.slots),
            otherwise: false,
            pending: 0,
            own: None,
            staging: None,
            timings: LoadTimings::default(),
            loaded,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.loaded.plan
    }

    /// The device it is loaded on.
    pub fn gpu(&self) -> &Gpu {
        &self.loaded.gpu
    }

    /// Where loading it spent its time; zero for a fork, which shares all that takes long.
    pub fn timings(&self) -> &LoadTimings {
        &self.timings
    }

    /// Another executable of the same plan, for calls that overlap with this one's: it shares
    /// pipelines and weights, and has its own scratch and parameters.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub async fn fork(&self) -> Result<Self> {
        self.loaded.gpu.alive()?;
        Self::new(self.loaded.clone()).await
    }

    /// [`Executable::fork`], blocking.
    ///
    /// # Errors
    /// As [`Executable::fork`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fork_blocking(&self) -> Result<Self> {
        pollster::block_on(self.fork())
    }

    /// Binds buffers of the caller's as inputs and outputs, by name. Each must have `STORAGE` usage
    /// and hold the tensor at the bounds of the call's dims, laid out as its
    /// [`Port`](crate::plan::Port) says.
    ///
    /// # Errors
    /// [`Error::Argument`] if a name is unknown, missing or given twice, or a buffer does not fit:
    /// the message has the tensor, the bytes needed and given, or the alignment.
    /// [`Error::Validation`] if WebGPU refuses, as for a buffer of another device.
    pub fn bind(&self, tensors: &[(&str, wgpu::BufferBinding<'_>)]) -> Result<Io> {
        let given = self.given(tensors)?;
        self.check_aliases(&given)?;
        let (groups, said) = self.loaded.gpu.scoped(|| {
            let lies = |i: usize| match &given.get(&i) {
                Some(slice) => Some((*slice).clone()),
                None => self.buffers[i].as_ref().map(wgpu::Buffer::as_entire_buffer_binding),
            };
            let bind = |(step, own): (&Step, &Option<wgpu::BindGroup>)| match own {
                Some(_) => None,
                None => self.loaded.group(step, lies),
            };
            self.loaded.plan.steps.iter().zip(&self.groups).map(bind).collect()
        });
        answer_now(said)?;
        Ok(Io { owner: self.id, groups })
    }

    /// Records one call into a pass of the caller's: dispatches only. Takes one slot.
    ///
    /// The parameters travel by `queue.write_buffer`, so the pass must be submitted to the same
    /// queue, and after the submit [`submitted`](Self::submitted) be called.
    ///
    /// # Errors
    /// [`Error::SlotsExhausted`] if no slot is left, [`Error::Argument`] if the call is not of this
    /// plan or `io` not of this executable, [`Error::DeviceLost`]. Then nothing was recorded.
    pub fn record(&mut self, pass: &mut wgpu::ComputePass<'_>, io: &Io, call: &Call) -> Result<()> {
        self.record_segment(pass, io, call, 0..self.loaded.plan.steps.len())
    }

    /// Records some of the steps, so that [`Plan::segments`](crate::Plan::segments) can go into one
    /// submit each. Takes one slot.
    ///
    /// # Errors
    /// As [`record`](Self::record); [`Error::Argument`] if there are no such steps.
    pub fn record_segment(
        &mut self,
        pass: &mut wgpu::ComputePass<'_>,
        io: &Io,
        call: &Call,
        steps: Range<usize>,
    ) -> Result<()> {
        self.check(io)?;
        self.check_steps(&steps)?;
        self.stage(call)?;
        self.issue(pass, io, steps);
        self.pending += 1;
        Ok(())
    }

    /// The first part of [`record_segment`](Self::record_segment): works out the parameters and
    /// grids of some steps, in memory that is there already. Of use alone only to measure it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the call is not of this plan or there are no such steps.
    pub fn resolve(&mut self, call: &Call, steps: Range<usize>) -> Result<()> {
        let plan = &self.loaded.plan;
        plan.check_call(call)?;
        self.check_steps(&steps)?;
        let limit = self.loaded.gpu.profile().limits.workgroups_per_axis;
        self.fresh.called(call);
        for i in steps {
            if self.fresh.resolved[i] {
                continue;
            }
            let step = &plan.steps[i];
            step.write_params(call, &mut self.staged[i * self.stride..(i + 1) * self.stride])?;
            let n = step.workgroups.eval(call);
            let grid = if self.otherwise { fold_otherwise(n, limit) } else { fold_workgroups(n, limit) };
            self.grids[i] = grid.ok_or_else(|| {
                Error::Limit(format!("{}: {n} workgroups are more than {limit} x {limit}", step.kernel_name))
            })?;
            self.fresh.changed(i);
        }
        Ok(())
    }

    fn check_steps(&self, steps: &Range<usize>) -> Result<()> {
        let all = self.loaded.plan.steps.len();
        if steps.start <= steps.end && steps.end <= all {
            return Ok(());
        }
        Err(Error::Argument(format!("record: {steps:?} leaves the plan's {all} steps")))
    }

    /// Whether a call with these buffers can be recorded now.
    fn check(&self, io: &Io) -> Result<()> {
        self.loaded.gpu.alive()?;
        if io.owner != self.id {
            return Err(Error::Argument(
                "record: these inputs and outputs were bound by another executable".into(),
            ));
        }
        if self.pending >= self.loaded.options.slots {
            return Err(Error::SlotsExhausted { slots: self.loaded.options.slots });
        }
        Ok(())
    }

    /// Makes a whole call ready to be [issued](Self::issue), any number of times, from a slot that stays free.
    pub(super) fn stage_alone(&mut self, io: &Io, call: &Call) -> Result<()> {
        self.check(io)?;
        self.stage(call)
    }

    /// Works out parameters and grids, and writes the parameters that the next slot lacks, in one write: those of
    /// all steps, since a call's other segments follow, and a write takes wgpu 20 µs.
    pub(super) fn stage(&mut self, call: &Call) -> Result<()> {
        let slot = self.pending as usize;
        self.resolve(call, 0..self.loaded.plan.steps.len())?;
        if let Some(steps) = self.fresh.send(slot) {
            let staged = steps.start * self.stride..steps.end * self.stride;
            let at = (slot * self.staged.len() + staged.start) as u64;
            self.loaded.gpu.queue().write_buffer(&self.params, at, &self.staged[staged]);
        }
        Ok(())
    }

    /// Folds workgroups the other way from now on.
    pub(crate) fn fold_otherwise(&mut self) {
        self.otherwise = !self.otherwise;
        self.fresh.resolved.fill(false);
    }

    /// Dispatches what was [staged](Self::stage) last.
    pub(super) fn issue(&self, pass: &mut wgpu::ComputePass<'_>, io: &Io, steps: Range<usize>) {
        let slot = self.pending as usize * self.staged.len();
        let mut bound = None;
        for i in steps {
            let ([x, y, z], step) = (self.grids[i], &self.loaded.plan.steps[i]);
            if x == 0 {
                continue;
            }
            if bound != Some(step.kernel) {
                pass.set_pipeline(&self.loaded.pipelines[step.kernel].pipeline);
                bound = Some(step.kernel);
            }
            pass.set_bind_group(0, self.groups[i].as_ref().or(io.groups[i].as_ref()), &[]);
            if !step.params.is_empty() {
                pass.set_bind_group(1, &self.params_group, &[(slot + i * self.stride) as u32]);
            }
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Says that everything recorded so far was submitted: its slots are free again.
    pub fn submitted(&mut self) {
        self.pending = 0;
    }
}

impl Loaded {
    /// How long a buffer of the plan is, guard bytes included.
    pub(super) fn bytes(&self, buffer: usize) -> u64 {
        self.plan.buffers[buffer].bytes.max(16) + self.options.guard_bytes
    }

    /// The bind group of a step; `None` if one of its buffers is not there.
    fn group<'a>(
        &self,
        step: &Step,
        lies: impl Fn(usize) -> Option<wgpu::BufferBinding<'a>>,
    ) -> Option<wgpu::BindGroup> {
        let entry = |(i, b): (u32, &crate::plan::Binding)| {
            let resource = wgpu::BindingResource::Buffer(lies(b.buffer)?);
            Some(wgpu::BindGroupEntry { binding: i, resource })
        };
        let entries: Option<Vec<_>> = (0..).zip(&step.bindings).map(entry).collect();
        Some(self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&*step.kernel_name),
            layout: &self.pipelines[step.kernel].tensors,
            entries: &entries?,
        }))
    }
}

impl std::fmt::Debug for Executable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executable({} steps on {:?})", self.loaded.plan.steps.len(), self.loaded.gpu)
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Io({} steps)", self.groups.len())
    }
}
