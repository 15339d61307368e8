//! What is there to measure: the steps of a graph, each as a case of `check` that stands for it.

use std::collections::BTreeMap;

use crate::check::{Case, Inputs, Subject};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kernel::{Kernel, Site};
use crate::op::{Axis, Op, Shape, Sizes};
use crate::ops;
use crate::plan::{Determinism, Policy, plan_watched};
use crate::profile::Profile;
use crate::tune::{Key, types};

/// The rows that batch-invariant choices are measured with, since their keys have none.
const NOMINAL_ROWS: u64 = 256;

/// An op at a shape, of which the kernels are to be compared: a case of `check` whose plan has a step
/// of the key.
#[derive(Debug, Clone)]
pub struct Task {
    /// The op.
    pub op: &'static Op,
    /// Sizes, types and variant.
    pub shape: Shape,
    /// What its plans are made under, no kernel named.
    pub policy: Policy,
    /// What it stands for.
    pub key: Key,
    /// The kernels that fit, the estimate's choice first.
    pub kernels: Vec<&'static Kernel>,
    /// The types of the step's tensors, as in its key.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code))]
    pub(crate) types: String,
    /// The estimated time of all steps that it stands for, in seconds: what comes first.
    pub seconds: f64,
}

/// What a graph gives to measure.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    /// Steps that more than one kernel can do, by what their kernels share, those first that take longest.
    pub tasks: Vec<Task>,
    /// Keys that no case of `check` stands for: there the estimate decides.
    pub others: Vec<Key>,
}

/// A step as it was planned.
struct Seen {
    key: Key,
    types: String,
    kernels: &'static [&'static Kernel],
    dtypes: Vec<DType>,
    sizes: Sizes,
    seconds: f64,
    /// Those that fit, the estimate's choice first.
    fit: Vec<&'static Kernel>,
}

impl Task {
    /// An op at a shape.
    ///
    /// # Errors
    /// Those of building the case's graph and of planning it.
    pub fn new(op: &'static Op, shape: Shape, profile: &Profile, policy: &Policy) -> Result<Option<Self>> {
        let mut graph = Graph::new();
        (op.cases.build)(&mut graph, &shape)?;
        let policy = Policy { kernel: None, ..policy.clone() };
        let steps = steps(&graph, profile, &policy)?;
        let own = steps.into_iter().find(|s| s.kernels == op.kernels);
        let task = |s: Seen| {
            let Seen { key, types, seconds, fit: kernels, .. } = s;
            Self { op, shape, policy, key, kernels, types, seconds }
        };
        Ok(own.map(task))
    }

    /// The case that one of its kernels is judged with.
    pub fn case(&self, kernel: &'static Kernel) -> Case {
        let subject = Subject::Kernel { op: self.op, kernel, shape: self.shape };
        Case { subject, inputs: Inputs::Random, aliased: false, quick: false }
    }
}

impl Tasks {
    /// What there is to measure of a graph on a device, at the bounds of the call's dims.
    ///
    /// # Errors
    /// Those of [`plan`](crate::plan::plan).
    pub fn of_graph(graph: &Graph, profile: &Profile, policy: &Policy) -> Result<Self> {
        let mut by_key: BTreeMap<Key, Seen> = BTreeMap::new();
        for step in steps(graph, profile, policy)?.into_iter().filter(|s| s.fit.len() > 1) {
            let seconds = step.seconds;
            by_key.entry(step.key.clone()).and_modify(|s| s.seconds += seconds).or_insert(step);
        }
        let mut out = Self::default();
        for step in by_key.into_values() {
            match stands_for(&step, profile, policy) {
                Some(task) => out.tasks.push(Task { seconds: step.seconds, ..task }),
                None => out.others.push(step.key),
            }
        }
        out.tasks.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(out)
    }

    /// Adds what another graph or suite gives; of two of one key the first stays.
    pub fn push(&mut self, task: Task) {
        if self.tasks.iter().all(|t| t.key != task.key) {
            self.tasks.push(task);
        }
    }
}

fn steps(graph: &Graph, profile: &Profile, policy: &Policy) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    // As if nothing were known: what is to be measured is what the estimate ranks.
    let profile = Profile { tuning: None, ..profile.clone() };
    plan_watched(graph, &profile, policy, &mut |site: &Site<'_>, candidates| {
        let fit = candidates.iter().filter(|c| c.estimate.is_ok());
        let kernel = |name: &str| site.op.kernels.iter().copied().find(|k| k.name == name);
        seen.push(Seen {
            key: Key::of(site),
            types: types(site),
            kernels: site.op.kernels,
            dtypes: site.args.iter().map(|a| a.dtype).collect(),
            sizes: site.sizes,
            seconds: fit.clone().find_map(|c| c.estimate.clone().ok()).unwrap_or(0.0),
            fit: fit.filter_map(|c| kernel(&c.kernel)).collect(),
        });
    })?;
    Ok(seen)
}

/// The first case that gives a step of the same key.
fn stands_for(step: &Seen, profile: &Profile, policy: &Policy) -> Option<Task> {
    for op in ops::ALL.iter().filter(|op| op.kernels == step.kernels) {
        let mut sizes = Sizes::default();
        for (axis, _) in op.cases.axes {
            let rows = matches!(axis, Axis::M | Axis::R) && policy.determinism == Determinism::BatchInvariant;
            sizes.set(*axis, if rows { NOMINAL_ROWS } else { step.sizes.get(*axis) as u64 });
        }
        let has = |dtype: &DType| step.dtypes.contains(dtype);
        for variant in 0..op.cases.variants.len().max(1) {
            for x in [DType::F32, DType::F16].into_iter().filter(has) {
                for &w in op.cases.weights.iter().filter(|w| op.cases.weights.len() == 1 || has(w)) {
                    let shape = Shape { sizes, x, w, variant };
                    if !(op.cases.applies)(&shape) {
                        continue;
                    }
                    let task = Task::new(op, shape, profile, policy).ok().flatten();
                    if let Some(task) = task.filter(|t| t.key == step.key) {
                        return Some(task);
                    }
                }
            }
        }
    }
    None
}
