//! What the bytes of a run are held against: each step against the references of its nodes, given
//! the device's own inputs to that step; every output against the graph; one run against another.

use super::fence::Place;
use super::inputs::Prepared;
use super::run::Found;
use crate::cpu;
use crate::dim::Call;
use crate::error::Result;
use crate::graph::{Graph, Source, ValueId};
use crate::judge::judge;
use crate::kernel::Layout;
use crate::numerics::Approx;
use crate::plan::{Numerics, Plan, Role, Step};
use crate::tensor::Tensor;

/// A plan that writes an input or a weight is wrong whatever comes of it.
pub(super) fn plan_writes_no_input(plan: &Plan, found: &mut Found) {
    for (i, step) in plan.steps.iter().enumerate() {
        for binding in step.bindings.iter().filter(|b| b.write) {
            if matches!(plan.buffers[binding.buffer].role, Role::Input(_) | Role::Weight(_)) {
                found.fail(format!(
                    "step {i} ({}) writes {}",
                    step.kernel_name,
                    plan.buffer_name(binding.buffer)
                ));
            }
        }
    }
}

/// Judges every value that a step leaves in memory, then every output of the graph. `buffers` are
/// those of a run in which no two values shared one.
pub(super) fn steps(
    graph: &Graph,
    call: &Call,
    plan: &Plan,
    buffers: &[Vec<u8>],
    prepared: &Prepared,
    found: &mut Found,
) -> Result<()> {
    let own;
    let prepared = if plan.policy.numerics == Numerics::F32 {
        prepared
    } else {
        own = Prepared { tensors: prepared.tensors.clone(), values: by_class(graph, call, plan, prepared)? };
        &own
    };
    let known = |value: usize| Ok(prepared.values[value].clone());
    let run = Run { graph, call, plan, buffers, known: &known };
    // Values already judged against the graph's own inputs, which is what end to end means.
    let mut settled = vec![false; graph.values().len()];
    for (i, step) in plan.steps.iter().enumerate().filter(|(_, step)| !step.writes.is_empty()) {
        let is_given = |v: &usize| {
            let past = graph.is_past(ValueId(*v as u32));
            past || !matches!(graph.values()[*v].source, Source::Node { .. })
        };
        let from_given = step.reads.iter().all(is_given);
        let own = if from_given { None } else { run.references(i, step, found)? };
        for (value, buffer, layout) in &step.writes {
            if graph.is_past(ValueId(*value as u32)) {
                continue; // a later step changed it, and is judged
            }
            let want = match &own {
                None if from_given => &prepared.values[*value],
                None => continue,
                Some(own) => &own[*value],
            };
            let what = format!("step {i} ({}): `{}`", step.kernel_name, graph.values()[*value].name);
            run.judge(&what, *value, *buffer, layout, want.as_ref(), found);
            settled[*value] |= from_given;
        }
    }
    for (id, port) in graph.outputs().iter().zip(&plan.outputs) {
        if !settled[id.index()] {
            let what = format!("end to end: `{}`", port.name);
            let want = prepared.values[id.index()].as_ref();
            run.judge(&what, id.index(), port.buffer, &port.layout, want, found);
        }
    }
    Ok(())
}

/// Every value of the graph, each node's of the function that the kernel computes which covers it.
fn by_class(graph: &Graph, call: &Call, plan: &Plan, prepared: &Prepared) -> Result<Vec<Option<Approx>>> {
    let mut values = cpu::load(graph, &prepared.tensors, call)?;
    for node in 0..graph.nodes().len() {
        let step = plan.steps.iter().find(|s| s.nodes.contains(&node));
        cpu::evaluate_nodes(graph, &[node], &mut values, call, step.map_or(Numerics::F32, |s| s.numerics))?;
    }
    Ok(values)
}

/// One run, with what it is held against.
pub(super) struct Run<'a> {
    pub graph: &'a Graph,
    pub call: &'a Call,
    pub plan: &'a Plan,
    /// Of a run in which no two values shared one.
    pub buffers: &'a [Vec<u8>],
    /// What a value is that lies in no buffer of its own any more, or never did.
    pub known: &'a dyn Fn(usize) -> Result<Option<Approx>>,
}

impl Run<'_> {
    /// Judges every value that a step leaves in memory by what the device itself had before that step.
    pub fn each_step(&self, found: &mut Found) -> Result<()> {
        for (i, step) in self.plan.steps.iter().enumerate().filter(|(_, step)| !step.writes.is_empty()) {
            let Some(own) = self.references(i, step, found)? else { continue };
            for (value, buffer, layout) in &step.writes {
                if self.graph.is_past(ValueId(*value as u32)) {
                    continue; // a later step changed it, and is judged
                }
                let what = format!("step {i} ({}): `{}`", step.kernel_name, self.graph.values()[*value].name);
                self.judge(&what, *value, *buffer, layout, own[*value].as_ref(), found);
            }
        }
        Ok(())
    }

    /// What a step's nodes make of what the device had before that step.
    fn references(&self, i: usize, step: &Step, found: &mut Found) -> Result<Option<Vec<Option<Approx>>>> {
        let mut values = vec![None; self.graph.values().len()];
        for &read in &step.reads {
            let value = &self.graph.values()[read];
            let given = !matches!(value.source, Source::Node { .. });
            let place = self.plan.values[read].as_ref();
            let of_weight = |b: &usize| matches!(self.plan.buffers[*b].role, Role::Weight(_));
            values[read] = match place {
                // Inputs and weights, and views of weights, are what they were given as.
                _ if given => (self.known)(read)?,
                // What it was when the step read it is gone.
                _ if self.graph.is_past(ValueId(read as u32)) => (self.known)(read)?,
                Some((buffer, _)) if of_weight(buffer) => (self.known)(read)?,
                Some((buffer, layout)) => self
                    .read(read, *buffer, layout)
                    .map(|t| Approx::exact(t.shape(), t.to_f64()).loaded(value.dtype)),
                None => None,
            };
            if values[read].is_none() {
                found.fail(format!(
                    "step {i} ({}) reads `{}`, which lies in no buffer, or behind the end of one",
                    step.kernel_name, value.name
                ));
                return Ok(None);
            }
        }
        cpu::evaluate_nodes(self.graph, &step.nodes, &mut values, self.call, step.numerics)?;
        Ok(Some(values))
    }

    fn read(&self, value: usize, buffer: usize, layout: &Layout) -> Option<Tensor> {
        let value = &self.graph.values()[value];
        Place::new(value.dtype, &value.shape, layout, self.call).read(&self.buffers[buffer])
    }

    fn judge(
        &self,
        what: &str,
        value: usize,
        buffer: usize,
        layout: &Layout,
        want: Option<&Approx>,
        found: &mut Found,
    ) {
        match (self.read(value, buffer, layout), want) {
            (Some(got), Some(want)) => {
                found.judged(what, judge(&got.to_f64(), want, self.graph.values()[value].dtype));
            }
            (None, _) => found.fail(format!("{what} lies behind the end of its buffer")),
            (_, None) => found.fail(format!("{what} is none of what the step's nodes make")),
        }
    }
}

/// Whether two plans of one graph gave the same outputs, bit for bit.
pub(super) fn same_outputs(
    call: &Call,
    apart: (&Plan, &[Vec<u8>]),
    shared: (&Plan, &[Vec<u8>]),
    found: &mut Found,
) {
    for (a, b) in apart.0.outputs.iter().zip(&shared.0.outputs) {
        let bytes = |port: &crate::plan::Port, buffers: &[Vec<u8>]| {
            let place = Place::new(port.dtype, &port.shape, &port.layout, call);
            place.read(&buffers[port.buffer]).map(|t| t.to_bytes())
        };
        let (a_bytes, b_bytes) = (bytes(a, apart.1), bytes(b, shared.1));
        let at = match (&a_bytes, &b_bytes) {
            (Some(x), Some(y)) => x.iter().zip(y).position(|(x, y)| x != y),
            _ => Some(0),
        };
        if let Some(at) = at {
            found.fail(format!(
                "`{}` differs when buffers are used again: element {}",
                a.name,
                at / a.dtype.block_bytes()
            ));
        }
    }
}

/// The first byte in which two runs differ, with its buffer; what the second did not read is as it was.
pub(super) fn first_difference(a: &[Vec<u8>], b: &[Vec<u8>]) -> Option<(usize, usize)> {
    let (i, (a, b)) = a.iter().zip(b).enumerate().find(|(_, (a, b))| !b.is_empty() && a != b)?;
    Some((i, a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))))
}
