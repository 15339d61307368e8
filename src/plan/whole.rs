//! Whether a plan is whole: every index in it points at something, every dim is one, every tensor
//! lies inside its buffer. Plans of the planner are; a plan that somebody else wrote may not be.

use crate::dim::{Dim, Expr, ScalarId, ScalarKind};
use crate::error::{Error, Result};
use crate::kernel::{Access, Layout, ParamKind};
use crate::plan::{Param, Plan, Port, Role, Step, emit, prepare, strides};

/// Up to here every whole number is an f64 too, and thus JavaScript's; no memory is as large.
const LARGEST: u64 = 1 << 53;

fn wrong<T>(what: String) -> Result<T> {
    Err(Error::Argument(format!("plan: {what}")))
}

impl Plan {
    /// Whether every index in the plan points at something and every tensor lies inside its
    /// buffer, for plans that were not made by the planner.
    ///
    /// # Errors
    /// [`Error::Argument`] with the step or tensor that points nowhere.
    pub fn check_references(&self) -> Result<()> {
        for (i, step) in self.steps.iter().enumerate() {
            self.check_step(i, step)?;
        }
        for port in self.inputs.iter().chain(&self.outputs) {
            self.check_port(port)?;
        }
        self.check_buffers()?;
        for (i, value) in self.values.iter().enumerate() {
            if let Some((buffer, layout)) = value {
                self.check_place(&format!("value {i}"), *buffer, layout)?;
            }
        }
        let covered =
            self.segments.iter().try_fold(0, |at, s| (s.start == at && s.end >= at).then_some(s.end));
        if covered != Some(self.steps.len()) {
            return wrong(format!(
                "segments {:?} are not the {} steps in order",
                self.segments,
                self.steps.len()
            ));
        }
        Ok(())
    }

    fn check_step(&self, i: usize, step: &Step) -> Result<()> {
        let Some(kernel) = self.kernels.get(step.kernel) else {
            return wrong(format!(
                "step {i} runs kernel {}, but there are {}",
                step.kernel,
                self.kernels.len()
            ));
        };
        if step.bindings.len() != kernel.bindings.len() || step.params.len() != kernel.params.len() {
            return wrong(format!(
                "step {i} gives {} bindings and {} parameters, but {} takes {} and {}",
                step.bindings.len(),
                step.params.len(),
                kernel.name,
                kernel.bindings.len(),
                kernel.params.len()
            ));
        }
        for (b, declared) in step.bindings.iter().zip(&kernel.bindings) {
            if b.buffer >= self.buffers.len() {
                return wrong(format!(
                    "step {i} binds `{}` to buffer {}, which is not there",
                    b.name, b.buffer
                ));
            }
            if b.write != (declared.access == Access::Write) {
                return wrong(format!(
                    "step {i} says of `{}` that it writes it: {}, but {} says {:?}",
                    b.name, b.write, kernel.name, declared.access
                ));
            }
            let role = &self.buffers[b.buffer].role;
            if b.write && matches!(role, Role::Input(_) | Role::Weight(_)) {
                return wrong(format!("step {i} writes `{}`, which is {role:?}", b.name));
            }
            let others = step.bindings.iter().filter(|other| other.buffer == b.buffer);
            if b.write && others.count() > 1 {
                return wrong(format!(
                    "step {i} writes `{}`, whose buffer {} it binds a second time",
                    b.name, b.buffer
                ));
            }
        }
        for (param, declared) in step.params.iter().zip(&kernel.params) {
            let fits = match param {
                Param::U32(e) => declared.kind == ParamKind::U32 && self.is_size(e),
                Param::F32(_) => declared.kind == ParamKind::F32,
                Param::Scalar(id) => {
                    declared.kind == ParamKind::F32 && self.kind(*id) == Some(ScalarKind::F32)
                }
            };
            if !fits {
                return wrong(format!("step {i}: the parameter `{}` cannot be {param:?}", declared.name));
            }
        }
        if !self.is_size(&step.workgroups) {
            return wrong(format!("step {i} has {:?} workgroups, which is no number", step.workgroups));
        }
        for (value, buffer, layout) in &step.writes {
            self.check_place(&format!("step {i}: value {value}"), *buffer, layout)?;
        }
        for port in &step.scratch {
            self.check_scratch(i, step, port)?;
        }
        let values = step.reads.iter().chain(step.writes.iter().map(|(value, _, _)| value));
        match values.copied().find(|v| *v >= self.values.len()) {
            Some(v) => wrong(format!("step {i} has value {v}, but there are {}", self.values.len())),
            None => Ok(()),
        }
    }

    fn check_scratch(&self, i: usize, step: &Step, port: &Port) -> Result<()> {
        let lies = step.bindings.iter().any(|b| b.write && b.buffer == port.buffer);
        if !lies || self.buffers[port.buffer].role != Role::Scratch {
            return wrong(format!(
                "step {i} leaves `{}` in a buffer that is no scratch of its own",
                port.name
            ));
        }
        self.check_lies(port)
    }

    fn check_port(&self, port: &Port) -> Result<()> {
        let Port { name, buffer, .. } = port;
        match self.buffers.get(*buffer) {
            Some(spec) if !matches!(spec.role, Role::Weight(_) | Role::Scratch) => self.check_lies(port),
            _ => wrong(format!("`{name}` lies in buffer {buffer}, which is not a caller's")),
        }
    }

    /// Whether a tensor lies as it must in its buffer, which is there.
    fn check_lies(&self, port: &Port) -> Result<()> {
        let Port { name, dtype, shape, layout, buffer, .. } = port;
        let spec = &self.buffers[*buffer];
        if let Some(dim) = shape.iter().find(|d| !self.is_dim(d)) {
            return wrong(format!("`{name}` has the size {dim:?}, which is not of dims of the call"));
        }
        let reach = strides::reach_bytes(*dtype, shape, &self.scalars);
        let bytes = strides::bytes(*dtype, shape, &self.scalars);
        if reach > LARGEST || bytes > spec.bytes {
            return wrong(format!("`{name}` takes {bytes} bytes, but its buffer has {}", spec.bytes));
        }
        let normal = emit::layout(&strides::normal(*dtype, shape, &self.scalars));
        if *layout != normal {
            return wrong(format!("`{name}` lies as {layout:?}, but tensors of calls lie as {normal:?}"));
        }
        Ok(())
    }

    fn check_buffers(&self) -> Result<()> {
        for (i, weight) in self.weights.iter().enumerate() {
            let (dtype, shape) = prepare::joined(&weight.sources, &weight.rows)?;
            let needed = prepare::form_bytes(weight.form, dtype, &shape)?;
            if needed != weight.bytes {
                return wrong(format!("weight {i} has {} bytes, but its form takes {needed}", weight.bytes));
            }
        }
        for (i, buffer) in self.buffers.iter().enumerate() {
            let known = match buffer.role {
                Role::Input(n) | Role::State(n) => n < self.inputs.len(),
                Role::Output(n) => n < self.outputs.len(),
                Role::Weight(n) => self.weights.get(n).is_some_and(|w| w.bytes == buffer.bytes),
                Role::Scratch => true,
            };
            if !known {
                return wrong(format!("buffer {i} is {:?}, which is not there or not as long", buffer.role));
            }
            if buffer.bytes > LARGEST || !buffer.bytes.is_multiple_of(16) {
                return wrong(format!(
                    "buffer {i} has {} bytes, which must be a multiple of 16 and at most 2^53",
                    buffer.bytes
                ));
            }
        }
        Ok(())
    }

    fn check_place(&self, what: &str, buffer: usize, layout: &Layout) -> Result<()> {
        if buffer >= self.buffers.len() {
            return wrong(format!("{what} lies in buffer {buffer}, which is not there"));
        }
        match layout.strides.iter().find(|d| !self.is_dim(d)) {
            Some(dim) => wrong(format!("{what} has the stride {dim:?}, which is not of dims of the call")),
            None => Ok(()),
        }
    }

    fn kind(&self, id: ScalarId) -> Option<ScalarKind> {
        self.scalars.get(id.0 as usize).map(|s| s.kind)
    }

    fn is_dim(&self, dim: &Dim) -> bool {
        dim.vars().iter().all(|v| matches!(self.kind(*v), Some(ScalarKind::Dim { .. })))
    }

    fn is_size(&self, e: &Expr) -> bool {
        match e {
            Expr::Dim(d) => self.is_dim(d),
            Expr::Mul(parts) => parts.iter().all(|p| self.is_size(p)),
            Expr::CeilDiv(e, n) => *n > 0 && self.is_size(e),
        }
    }
}
