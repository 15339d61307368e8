//! The planner's working form: values that may join or split, and drafts of steps.
//!
//! It starts as a copy of what the graph's outputs need, one draft per node, and is rewritten by
//! fusion; it never says where anything lies.

use std::ops::Range;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Source, ValueId};
use crate::kernel::compose::has_hook;
use crate::kernel::{Chain, Kernel, Link, Side};
use crate::op::{Attr, Axes, Axis, Fold, Kind, Op};
use crate::plan::strides::Lay;
use crate::plan::{Policy, WeightSource};

/// Where a value comes from, in the plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// Input `i` of the plan.
    Input(usize),
    /// A weight, made of these tensors joined along their first axis, or only of these rows of that.
    Weight(Vec<WeightSource>, Option<Range<usize>>),
    /// A step writes it.
    Step,
    /// It names elements of another value.
    View(usize, View),
    /// A step makes it of another value, in its place: that is a state.
    Changed(usize),
    /// It lives within a step, or nothing needs it.
    Nowhere,
}

/// How a view names the elements of its parent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum View {
    /// All of them, in order.
    Reshape,
    /// Those from `start` on along `axis`.
    Slice { axis: usize, start: u64 },
    /// All of them, two axes exchanged.
    Swap { a: usize, b: usize },
    /// Each as often as it takes along axes of size 1, which are 1 no more, or that were not there.
    Expand,
}

/// A value of the plan. The first ones are the graph's, at the same index.
#[derive(Debug, Clone)]
pub(super) struct Val {
    /// Its name, for messages.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Where it comes from.
    pub origin: Origin,
    /// The graph's values that it holds, by index.
    pub holds: Vec<usize>,
}

/// A link of a chain with its other operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Joined {
    /// The link.
    pub link: Link,
    /// The other operand's value.
    pub other: Option<usize>,
}

/// A tensor that a draft takes or makes, and how its shape reads as axes of the op.
#[derive(Debug, Clone)]
pub(super) struct Use {
    /// The value.
    pub value: usize,
    /// How its shape reads.
    pub fold: Fold,
}

/// A step before anybody knows its kernel, or where anything lies.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// What it does.
    pub op: &'static Op,
    /// The graph's nodes that it covers.
    pub nodes: Vec<usize>,
    /// The size of every axis of the op.
    pub axes: Axes,
    /// The op's attributes.
    pub attrs: Vec<(&'static str, Attr)>,
    /// One per input of the signature.
    pub inputs: Vec<Option<Use>>,
    /// One per output.
    pub outputs: Vec<Use>,
    /// What happens to each element of the first input.
    pub pre: Vec<Joined>,
    /// What happens to each element of the only output.
    pub post: Vec<Joined>,
    /// What was fused and why.
    pub fused: Vec<String>,
    /// Whether it makes only a part of its outputs, and a draft after it the rest.
    pub unfinished: bool,
    /// When it runs: drafts run in this order, which is that of the last node that needs inputs.
    pub when: usize,
    /// For a copy: how its source lies, over the source's shape.
    pub copies: Option<(Vec<Dim>, Lay)>,
}

impl Draft {
    /// A draft that is one node of the graph.
    pub fn of_node(index: usize, node: &Node) -> Self {
        let (inputs, outputs) = node.folds.split_at(node.op.inputs.len());
        let given = |(value, fold): (&Option<crate::ValueId>, &Fold)| {
            value.map(|v| Use { value: v.index(), fold: fold.clone() })
        };
        let made = |(v, fold): (&crate::ValueId, &Fold)| Use { value: v.index(), fold: fold.clone() };
        Self {
            op: node.op,
            nodes: vec![index],
            axes: node.axes.clone(),
            attrs: node.attrs.clone(),
            inputs: node.inputs.iter().zip(inputs).map(given).collect(),
            outputs: node.outputs.iter().zip(outputs).map(made).collect(),
            pre: Vec::new(),
            post: Vec::new(),
            fused: Vec::new(),
            unfinished: false,
            when: index,
            copies: None,
        }
    }

    /// A draft that takes rows `[R, C]` to rows `[R, C]`: a chain on its own, or a copy.
    pub fn of_rows(op: &'static Op, nodes: Vec<usize>, from: usize, to: usize, shape: &[Dim]) -> Self {
        let (last, leading) = shape.split_last().map_or((Dim::ONE, &[][..]), |(l, rest)| (l.clone(), rest));
        let rows = |value| Use { value, fold: rows_fold(shape) };
        Self {
            op,
            axes: Axes::new(&[(Axis::R, Dim::product(leading)), (Axis::C, last)]),
            attrs: Vec::new(),
            inputs: vec![Some(rows(from))],
            outputs: vec![rows(to)],
            pre: Vec::new(),
            post: Vec::new(),
            fused: Vec::new(),
            unfinished: false,
            when: nodes.last().copied().unwrap_or(usize::MAX),
            copies: None,
            nodes,
        }
    }

    /// Every value that it reads.
    pub fn reads(&self) -> impl Iterator<Item = usize> {
        let chains = self.pre.iter().chain(&self.post).filter_map(|j| j.other);
        self.inputs.iter().flatten().map(|u| u.value).chain(chains)
    }

    /// How many storage buffers its kernel binds.
    pub fn buffers(&self, vals: &[Val]) -> usize {
        let is_blocks = |u: &&Use| vals[u.value].dtype.is_blocks();
        let scales = self.inputs.iter().flatten().filter(is_blocks).count();
        if let Some(first) = self.op.kernels.first().filter(|k| !k.scratch.is_empty()) {
            // It reads what was left for it in the place of some of the op's tensors.
            let chains = self.pre.iter().chain(&self.post).filter(|j| j.other.is_some()).count();
            return first.source.matches("var<storage").count() + scales.min(1) + chains;
        }
        self.reads().count() + self.outputs.len() - self.op.changes().count() + scales
    }

    /// Whether every kernel that may be chosen has the hook, so that joining takes no choice away.
    pub fn has_hook(&self, hook: &str, policy: &Policy) -> bool {
        kernels(self.op, policy).all(|k| has_hook(k, hook))
    }
}

/// `[R, C]` over a shape.
pub(super) fn rows_fold(shape: &[Dim]) -> Fold {
    vec![(Axis::R, shape.len().saturating_sub(1)), (Axis::C, shape.len().min(1))]
}

/// The kernels of an op that the policy lets be chosen: all, or the only one it names.
pub(super) fn kernels<'a>(
    op: &'static Op,
    policy: &'a Policy,
) -> impl Iterator<Item = &'static Kernel> + use<'a> {
    let named = policy.kernel.as_deref();
    let named = named.filter(|name| op.kernels.iter().any(|k| k.name == *name));
    op.kernels.iter().copied().filter(move |k| named.is_none_or(|name| k.name == name))
}

/// The links alone.
pub(super) fn links(chain: &[Joined]) -> Chain {
    chain.iter().map(|j| j.link).collect()
}

/// Values and drafts, with what the planner was asked.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub graph: &'a Graph,
    pub vals: Vec<Val>,
    pub drafts: Vec<Draft>,
    /// The nodes that outputs need, in order.
    pub live: Vec<usize>,
    /// How often each value is used: by nodes that are live, and as an output.
    pub uses: Vec<usize>,
}

impl<'a> Program<'a> {
    /// The values of a graph, and which of its nodes are needed; no drafts yet.
    pub fn new(graph: &'a Graph) -> Result<Self> {
        if graph.outputs().is_empty() {
            return Err(Error::Argument("plan: the graph has no outputs, so there is nothing to do".into()));
        }
        if let Some(v) = graph.outputs().iter().find(|v| graph.is_past(**v)) {
            return Err(Error::Argument(format!(
                "plan: output `{}` is what a state was before an op changed it",
                graph.value(*v).name
            )));
        }
        let mut uses = vec![0; graph.values().len()];
        graph.outputs().iter().for_each(|v| uses[v.index()] += 1);
        let mut live = Vec::new();
        for (i, node) in graph.nodes().iter().enumerate().rev() {
            if node.outputs.iter().any(|v| uses[v.index()] > 0) {
                node.inputs.iter().flatten().for_each(|v| uses[v.index()] += 1);
                live.push(i);
            }
        }
        live.reverse();
        let mut program = Self { graph, vals: Vec::new(), drafts: Vec::new(), live, uses };
        let mut inputs = 0;
        for (i, value) in graph.values().iter().enumerate() {
            let origin = match value.source {
                Source::Input => {
                    inputs += 1;
                    Origin::Input(inputs - 1)
                }
                Source::Weight => {
                    let shape = value.shape.iter().map(|d| d.constant().unwrap_or(0) as usize).collect();
                    let (name, dtype) = (value.name.clone(), value.dtype);
                    Origin::Weight(vec![WeightSource { name, dtype, shape }], None)
                }
                Source::Node { node, output } => view_of(&graph.nodes()[node], output),
            };
            let (name, shape) = (value.name.clone(), value.shape.clone());
            program.vals.push(Val { name, dtype: value.dtype, shape, origin, holds: vec![i] });
        }
        Ok(program)
    }

    /// Adds a value.
    pub fn push(&mut self, val: Val) -> usize {
        self.vals.push(val);
        self.uses.push(0);
        self.vals.len() - 1
    }

    /// How an operand of a chain lies over a result of this shape.
    pub fn side(&self, operand: usize, shape: &[Dim]) -> Side {
        let val = &self.vals[operand];
        let Some((last, leading)) = shape.split_last().filter(|_| val.shape == *shape) else {
            return Side::Row;
        };
        match val.origin {
            Origin::View(parent, View::Expand) if last.constant() != Some(1) => {
                let parent = &self.vals[parent].shape;
                let is_column = parent.len() == shape.len()
                    && parent[..leading.len()] == *leading
                    && parent[leading.len()].constant() == Some(1);
                if is_column { Side::Column } else { Side::Full }
            }
            _ => Side::Full,
        }
    }

    /// Whether what a draft reads is still the same after the node `until`: no node in between changes a state
    /// that it reads.
    pub fn may_wait(&self, draft: &Draft, until: usize) -> bool {
        let between = self.live.iter().filter(|n| (draft.when + 1..=until).contains(n));
        let mut changed = between.flat_map(|n| {
            let node = &self.graph.nodes()[*n];
            node.op.changes().filter_map(|(i, _)| self.graph.state_of(node.inputs[i]?))
        });
        let count = self.graph.values().len();
        let of = |v: usize| (v < count).then(|| self.graph.state_of(ValueId(v as u32))).flatten();
        let read: Vec<usize> = draft.reads().filter_map(of).collect();
        changed.all(|state| !read.contains(&state))
    }

    /// Whether the graph returns a value.
    pub fn is_output(&self, value: usize) -> bool {
        self.graph.outputs().iter().any(|o| o.index() == value)
    }
}

/// What the results of a node are before it is known which step makes them.
fn view_of(node: &Node, output: usize) -> Origin {
    if let Some((i, _)) = node.op.changes().find(|(_, o)| *o == output)
        && let Some(Some(state)) = node.inputs.get(i)
    {
        return Origin::Changed(state.index());
    }
    let number = |name: &str| {
        node.attrs.iter().find_map(|(n, a)| match a {
            Attr::U32(v) if *n == name => Some(u64::from(*v)),
            _ => None,
        })
    };
    match (node.op.kind, node.inputs.first()) {
        (Kind::View, Some(Some(parent))) => {
            let attr = |name: &str| number(name).unwrap_or(0);
            let view = match node.op.name {
                "slice" => View::Slice { axis: attr("axis") as usize, start: attr("start") },
                "swap" => View::Swap { a: attr("a") as usize, b: attr("b") as usize },
                "expand" => View::Expand,
                "reshape" => View::Reshape,
                other => unreachable!("{other} is no view that plans know"),
            };
            Origin::View(parent.index(), view)
        }
        _ => Origin::Nowhere,
    }
}
