//! Is every kernel right on this device? The cases, by rule, and how one is run and judged.
//!
//! A case is judged three ways: each step against the references of the nodes it covers, given the
//! device's own inputs to that step; the whole graph end to end; and buffer reuse on against reuse
//! off, bit for bit. Around that every buffer is fenced: outputs are poisoned, what follows inputs
//! is NaN, and what a step has no business with must stay as it was. The list is pure; only the
//! runner needs a device, and it takes any that is a [`Machine`].

use std::fmt;

use crate::dim::Call;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::op::{Op, Shape};
use crate::ops::attention::ATTENTION;
use crate::ops::attention::drawn::Combination;
use crate::plan::Policy;
use crate::rng::Rng;

mod alias;
mod drawn;
#[cfg(not(target_arch = "wasm32"))]
mod fence;
mod graphs;
mod inputs;
#[cfg(not(target_arch = "wasm32"))]
mod known;
#[cfg(not(target_arch = "wasm32"))]
mod machine;
mod named;
mod rule;
#[cfg(not(target_arch = "wasm32"))]
mod run;
#[cfg(not(target_arch = "wasm32"))]
mod verdicts;
#[cfg(not(target_arch = "wasm32"))]
mod walk;

pub use drawn::{Drawn, drawn};
pub use graphs::GraphCase;
pub use inputs::Prepared;
#[cfg(not(target_arch = "wasm32"))]
pub use machine::{Fill, Machine};
pub use rule::cases;
#[cfg(not(target_arch = "wasm32"))]
pub use run::{Event, Failure, Outcome, Status, run, run_altered};
#[cfg(not(target_arch = "wasm32"))]
pub use walk::{Judged, Walk};

/// Which numbers a case is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inputs {
    /// Between -1 and 1.
    Random,
    /// Whole numbers from -3 to 3, of which sums are exact in any order: no error is allowed.
    Exact,
    /// As large as it goes without an overflow: up to 1e12, or 1e4 for f16.
    Large,
    /// Neighbours that cancel but for a few bits, and rows that barely vary.
    Cancelling,
    /// Rows of the four kinds in turn, for sizes so large that four cases would take long. What all
    /// rows share is exact.
    InTurn,
}

impl Inputs {
    /// Every kind of its own.
    pub const ALL: [Self; 4] = [Self::Random, Self::Exact, Self::Large, Self::Cancelling];

    /// Its name in cases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Exact => "exact",
            Self::Large => "large",
            Self::Cancelling => "cancelling",
            Self::InTurn => "in_turn",
        }
    }
}

/// What a case runs.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// One kernel of an op, at one shape.
    Kernel {
        /// The op.
        op: &'static Op,
        /// The only kernel of it that the planner may choose.
        kernel: &'static Kernel,
        /// The sizes, types and variant.
        shape: Shape,
    },
    /// A graph of several nodes, as the planner likes it.
    Graph {
        /// The graph.
        graph: &'static GraphCase,
        /// The type of its activations.
        dtype: DType,
        /// Which of its calls: an index into [`GraphCase::calls`].
        call: usize,
    },
    /// A combination of features that was drawn, with one kernel.
    Drawn(Drawn),
}

/// One thing to check.
#[derive(Debug, Clone)]
pub struct Case {
    /// What runs.
    pub subject: Subject,
    /// What it is fed with.
    pub inputs: Inputs,
    /// Whether its inputs are views that overlap in one tensor.
    pub aliased: bool,
    /// Whether it belongs to the short list.
    pub quick: bool,
}

impl Case {
    /// The op's name, or `graph`.
    pub fn op(&self) -> &'static str {
        match self.subject {
            Subject::Kernel { op, .. } => op.name,
            Subject::Graph { .. } => "graph",
            Subject::Drawn(_) => ATTENTION.name,
        }
    }

    /// The kernel's name, or the graph's.
    pub fn kernel(&self) -> &'static str {
        match self.subject {
            Subject::Kernel { kernel, .. } => kernel.name,
            Subject::Graph { graph, .. } => graph.name,
            Subject::Drawn(Drawn(drawn)) => drawn.kernel.name,
        }
    }

    /// Types of activations and weights: `f16.q8_0`, or `f16` alone for ops without weights.
    pub fn dtype(&self) -> String {
        match self.subject {
            Subject::Kernel { op, shape, .. } if op.cases.weights.len() > 1 => {
                format!("{}.{}", shape.x, shape.w)
            }
            Subject::Kernel { shape, .. } => shape.x.to_string(),
            Subject::Graph { dtype, .. } => dtype.to_string(),
            Subject::Drawn(Drawn(drawn)) => drawn.x.to_string(),
        }
    }

    /// Everything that a plan of it depends on: cases that differ in their inputs alone share it.
    pub fn plan_name(&self) -> String {
        let (kernel, dtype) = (self.kernel(), self.dtype());
        match self.subject {
            Subject::Kernel { op, shape, .. } => {
                let sizes =
                    op.cases.axes.iter().map(|(a, _)| format!("{}={}", a.name(), shape.sizes.get(*a)));
                let sizes = sizes.collect::<Vec<_>>().join(",");
                let variant = rule::variants(op)[shape.variant];
                // Kernels that serve several ops do not name theirs.
                let own = kernel.strip_prefix(op.name).is_some_and(|rest| rest.starts_with('.'));
                let op = if own { String::new() } else { format!("{}/", op.name) };
                let views = if self.aliased { "/views" } else { "" };
                format!("{op}{kernel}/{dtype}/{variant}/{sizes}{views}")
            }
            Subject::Graph { graph, call, .. } => {
                let dims = graph.calls[call].iter().map(|(name, v)| format!("{name}={v}"));
                format!("{kernel}/{dtype}/{}", dims.collect::<Vec<_>>().join(","))
            }
            Subject::Drawn(Drawn(drawn)) => format!("{kernel}/{dtype}/{drawn}"),
        }
    }

    /// The seed of its inputs: a hash of its name, the same on every machine.
    pub fn seed(&self) -> u64 {
        Rng::hash(&self.to_string())
    }

    /// Its graph, and the call that it is run with.
    ///
    /// # Errors
    /// Those of building a graph: then the case is wrong.
    pub fn build(&self) -> Result<(Graph, Call)> {
        let mut g = Graph::new();
        let call = match self.subject {
            Subject::Kernel { op, shape, .. } => {
                (op.cases.build)(&mut g, &shape)?;
                if self.aliased {
                    g = self.aliased(&g)?;
                }
                Call::default()
            }
            Subject::Graph { graph, dtype, call } => {
                (graph.build)(&mut g, dtype)?;
                Call::new(g.scalars(), graph.calls[call])?
            }
            Subject::Drawn(Drawn(drawn)) => {
                drawn.build(&mut g)?;
                Call::default()
            }
        };
        Ok((g, call))
    }

    /// The policy that its plan is made under: its kernel and no other, whatever function it computes.
    pub fn policy(&self) -> Policy {
        match self.subject {
            Subject::Kernel { kernel, .. } | Subject::Drawn(Drawn(Combination { kernel, .. })) => {
                let (numerics, kernel) = (kernel.numerics, Some(kernel.name.to_owned()));
                Policy { numerics, kernel, ..Policy::default() }
            }
            Subject::Graph { graph, .. } => {
                Policy { weight_bytes: graph.weight_bytes(), ..Policy::default() }
            }
        }
    }
}

impl fmt::Display for Case {
    /// The case's name: stable text, by which it can be asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.plan_name(), self.inputs.name())
    }
}

#[cfg(test)]
mod tests;
