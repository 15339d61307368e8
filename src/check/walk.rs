//! A plan called again and again, as a decoder's is, its states staying where they are; and every step of a call
//! judged by itself, given the device's own inputs to it.
//!
//! A case is one call, and its numbers come from a seed. Here the numbers are those that a model meets on a text.

use super::fence::{POISON, Place, filled};
use super::machine::{Fill, Machine};
use super::run::Found;
use super::{Failure, verdicts};
use crate::cpu;
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::graph::{Graph, Source};
use crate::numerics::Approx;
use crate::plan::prepare::Weights;
use crate::plan::{Numerics, Plan, Policy, Role, plan};
use crate::tensor::Tensor;

/// A plan on a machine, and what its calls so far have left.
pub struct Walk<'a, M: Machine> {
    machine: &'a M,
    graph: &'a Graph,
    /// Of inputs that are no states only what the last call was given.
    tensors: Weights,
    plan: Plan,
    loaded: M::Loaded,
    /// Calls so far.
    calls: usize,
}

/// What the judge says of the steps of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Outputs of the call, by name.
    pub outputs: Weights,
    /// Elements that were judged.
    pub elements: usize,
    /// The worst error of all steps as a fraction of its allowance.
    pub worst: f64,
    /// What is wrong, if something is.
    pub failures: Vec<Failure>,
}

impl<'a, M: Machine> Walk<'a, M> {
    /// Plans so that no two values share a buffer, and loads; `weights` are all that the graph has. States are 0.
    ///
    /// # Errors
    /// Those of planning, and of [`Machine::load`].
    pub fn new(machine: &'a M, graph: &'a Graph, weights: &Weights, policy: &Policy) -> Result<Self> {
        let plan = plan(graph, machine.profile(), &Policy { reuse: false, ..policy.clone() })?;
        let loaded = machine.load(&plan, weights, 0)?;
        Ok(Self { machine, graph, tensors: weights.clone(), plan, loaded, calls: 0 })
    }

    /// The plan that is called.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Calls the plan with these inputs, and states as the call before left them. Returns outputs, without states.
    ///
    /// # Errors
    /// If an input is missing; those of [`Machine::run`].
    pub fn call(&mut self, call: &Call, inputs: &Weights) -> Result<Weights> {
        self.give(inputs);
        let buffers = self.run(call, false)?;
        self.keep(call, &buffers)
    }

    /// [`call`](Self::call); and what each step wrote is judged against the references of its nodes, given what
    /// the device had before that step.
    ///
    /// # Errors
    /// Those of [`call`](Self::call), and of the references.
    pub fn judged(&mut self, call: &Call, inputs: &Weights) -> Result<Judged> {
        self.give(inputs);
        let buffers = self.run(call, true)?;
        let (graph, plan) = (self.graph, &self.plan);
        let known = |value: usize| known(graph, value, &self.tensors, call);
        let run = verdicts::Run { graph, call, plan, buffers: &buffers, known: &known };
        let mut found = Found::default();
        verdicts::plan_writes_no_input(plan, &mut found);
        run.each_step(&mut found)?;
        let Found { failures, elements, worst } = found;
        Ok(Judged { outputs: self.keep(call, &buffers)?, elements, worst, failures })
    }

    fn give(&mut self, inputs: &Weights) {
        self.tensors.extend(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
    }

    /// Remembers states as they are now, and returns outputs.
    fn keep(&mut self, call: &Call, buffers: &[Vec<u8>]) -> Result<Weights> {
        let mut outputs = Weights::new();
        for port in self.plan.inputs.iter().chain(&self.plan.outputs) {
            let to = match self.plan.buffers[port.buffer].role {
                Role::State(_) => &mut self.tensors,
                Role::Output(_) => &mut outputs,
                _ => continue,
            };
            let read = Place::new(port.dtype, &port.shape, &port.layout, call).read(&buffers[port.buffer]);
            let short =
                || Error::Argument(format!("walk: `{}` lies behind the end of its buffer", port.name));
            to.insert(port.name.clone(), read.ok_or_else(short)?);
        }
        Ok(outputs)
    }

    /// Fills what is not on the device yet, poisons what steps write, and reads states and outputs, or `all` but
    /// weights.
    fn run(&mut self, call: &Call, all: bool) -> Result<Vec<Vec<u8>>> {
        let first = self.calls == 0;
        self.calls += 1;
        let (mut bytes, mut reads) = (Vec::new(), Vec::new());
        for (i, spec) in self.plan.buffers.iter().enumerate() {
            match spec.role {
                Role::Weight(_) => continue,
                Role::State(port) if first => {
                    let port = &self.plan.inputs[port];
                    let shape: Vec<_> = port.shape.iter().map(|d| d.eval(call) as usize).collect();
                    self.tensors.insert(port.name.clone(), Tensor::zeros(port.dtype, &shape)?);
                    bytes.push((i, filled([0; 4], spec.bytes.max(16) as usize)));
                }
                Role::State(_) => {}
                Role::Input(port) => {
                    let port = &self.plan.inputs[port];
                    let given = self.tensors.get(&port.name);
                    let tensor = given.ok_or_else(|| {
                        Error::Argument(format!("walk: no input `{}` was given", port.name))
                    })?;
                    let mut at = vec![0; spec.bytes.max(16) as usize];
                    Place::new(port.dtype, &port.shape, &port.layout, call).write(tensor, &mut at);
                    bytes.push((i, at));
                }
                Role::Output(_) | Role::Scratch => bytes.push((i, Vec::new())),
            }
            if all || !matches!(spec.role, Role::Input(_) | Role::Scratch) {
                reads.push(i);
            }
        }
        let poison = Fill::Pattern(POISON);
        let fills = bytes.iter().map(|(i, b)| (*i, if b.is_empty() { poison } else { Fill::Bytes(b) }));
        let fills: Vec<_> = fills.collect();
        let read = self.machine.run(&mut self.loaded, call, &fills, &reads)?;
        let mut buffers = vec![Vec::new(); self.plan.buffers.len()];
        reads.into_iter().zip(read).for_each(|(i, bytes)| buffers[i] = bytes);
        Ok(buffers)
    }
}

impl<M: Machine> std::fmt::Debug for Walk<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Walk(of {} steps, called {} times)", self.plan.steps.len(), self.calls)
    }
}

/// A value as the references have it, from what the graph is given.
fn known(graph: &Graph, value: usize, tensors: &Weights, call: &Call) -> Result<Option<Approx>> {
    let mut values = vec![None; graph.values().len()];
    let (mut nodes, mut wanted) = (Vec::new(), vec![value]);
    while let Some(value) = wanted.pop() {
        match graph.values()[value].source {
            Source::Node { node, .. } => {
                nodes.push(node);
                wanted.extend(graph.nodes()[node].inputs.iter().flatten().map(|id| id.index()));
            }
            _ if values[value].is_none() => {
                values[value] = Some(cpu::given(&graph.values()[value], tensors, call)?);
            }
            _ => {}
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    cpu::evaluate_nodes(graph, &nodes, &mut values, call, Numerics::F32)?;
    Ok(values.swap_remove(value))
}
