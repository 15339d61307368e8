//! A plan: everything a machine needs to run a graph, as data. Making one is a pure function of
//! the graph, the device's profile and the policy: no GPU, no I/O, no clock.

use std::borrow::Cow;
use std::ops::Range;

use crate::dim::{Call, Dim, Expr, ScalarId, ScalarSpec};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kernel::{Composed, Layout, Site};
use crate::profile::Profile;

mod buffers;
mod choose;
mod cut;
mod draft;
mod emit;
mod explain;
mod few_rows;
mod fuse;
pub mod host;
#[cfg(feature = "json")]
mod json;
mod place;
mod ports;
pub mod prepare;
mod siblings;
mod slices;
mod strides;
mod whole;

#[cfg(feature = "json")]
pub use json::Requirements;

use draft::Program;
use place::Home;

/// Which function kernels may compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Numerics {
    /// Inputs as given, sums in f32.
    #[default]
    F32,
    /// What is multiplied may first be rounded to f16, relative to the largest of its row: 11 bits remain of 24.
    /// Sums are f32, of products up to 2^15 times as large: inputs times K must stay below 1e34.
    F16Staged,
    /// Each row of activations is first rounded to whole multiples, at most 127, of a step of its own, which
    /// is its largest element over 127; int8 weights are multiplied with these whole numbers exactly.
    Int8Activations,
}

/// Whether devices run a plan's shaders without the checks that keep a wrong one from harm: bounds of buffers
/// and arrays, ends of loops, workgroup memory that starts as zeros. Who says so must vouch for the plan:
/// see `Trusted::yes`, which comes with the feature `gpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Trusted(pub(crate) bool);

impl Trusted {
    /// Whether the checks are off.
    pub const fn is_yes(self) -> bool {
        self.0
    }
}

/// What two runs owe each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Determinism {
    /// The same plan on the same device gives the same bits.
    #[default]
    Repeatable,
    /// A row's bits do not depend on the other rows, nor on how many there are: kernels are chosen
    /// without looking at the number of rows.
    BatchInvariant,
}

/// What the caller asks of a plan, besides the graph.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Policy {
    /// Which function kernels may compute, besides [`Numerics::F32`], which they always may.
    pub numerics: Numerics,
    /// What two runs owe each other.
    pub determinism: Determinism,
    /// The most bytes the plan may hold at its peak, weights and inputs included.
    pub budget_bytes: Option<u64>,
    /// The most bytes that a buffer of a weight may have, if less than the device binds: larger ones are cut, each
    /// piece a step. For tests and measurements.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Option::is_none"))]
    pub weight_bytes: Option<u64>,
    /// How long one submit may take, by the estimate, before the plan is cut into another segment.
    #[cfg_attr(feature = "json", serde(with = "json::float"))]
    pub segment_ms: f64,
    /// Whether elementwise work joins its neighbours, and siblings become one. Off only to compare.
    pub fuse: bool,
    /// Whether values whose lives do not overlap share buffers. Off only to compare.
    pub reuse: bool,
    /// Whether devices run it without checks. Files do not carry it: who reads a plan decides anew.
    #[cfg_attr(feature = "json", serde(skip))]
    pub trusted: Trusted,
    /// The only kernel of its op that may be chosen, by name. For tests and measurements.
    pub kernel: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            numerics: Numerics::F32,
            determinism: Determinism::Repeatable,
            budget_bytes: None,
            weight_bytes: None,
            segment_ms: 100.0,
            fuse: true,
            reuse: true,
            trusted: Trusted::default(),
            kernel: None,
        }
    }
}

/// What a buffer of a plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Role {
    /// Input `plan.inputs[i]`: the caller's.
    Input(usize),
    /// Output `plan.outputs[i]`: the caller's.
    Output(usize),
    /// Input `plan.inputs[i]`, which steps change where it lies: an output of the same name is in the same buffer,
    /// the caller's.
    State(usize),
    /// Weight `plan.weights[i]`: filled once.
    Weight(usize),
    /// Whatever steps leave for later steps.
    Scratch,
}

/// A buffer that a plan needs.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BufferSpec {
    /// What it is for.
    pub role: Role,
    /// Its size at the bounds of the call's dims; a multiple of 16.
    pub bytes: u64,
}

/// An input or output, a tensor in a caller's buffer; or what a kernel's dispatches leave for each other.
///
/// Rows of floats start at multiples of 16 bytes: the stride of the last axis but one is the last
/// axis rounded up to 4 (f32) or 8 (f16) elements. `u32` tensors are tight.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Where its elements lie.
    pub layout: Layout,
    /// Its place in [`Plan::buffers`].
    pub buffer: usize,
    /// For indices into a table: how many rows the table has, so that hosts can check.
    pub below: Option<u64>,
}

/// How a weight's buffer is made from the tensors that the user gives.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct WeightSpec {
    /// The tensors, joined along their first axis, by name.
    pub sources: Vec<WeightSource>,
    /// How their elements are laid out.
    pub form: WeightForm,
    /// The only rows of what is joined that the buffer has, where all are more than a kernel may bind.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Option::is_none"))]
    pub rows: Option<Range<usize>>,
    /// Its size in bytes; a multiple of 16.
    pub bytes: u64,
}

/// A tensor that the user gives.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct WeightSource {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// How a weight's elements are laid out in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum WeightForm {
    /// Rows padded with zeros to 16 bytes, as every other float tensor.
    Rows,
    /// `w[N, K]` of a matmul in groups of four along `K`, `K` padded with zeros to a multiple of 4, in panels of
    /// 128 columns (rows of `w`): in a panel the groups of all its columns side by side, then those next along
    /// `K`. Element `(n, k)` lies in group `⌊n/128⌋·⌈K/4⌉·128 + ⌊k/4⌋·128 + n mod 128`, place `k mod 4`; the
    /// last panel is padded with zeros to 128 columns. Of fewer than 128 columns there is one panel, as
    /// wide as they are. Of blocks, it is the codes: one plane of bits after another, each in such groups.
    Panels,
    /// The bytes of blocks that hold scales, in the same panels: of one piece of the block after another, the unit
    /// `u` of row `n` (1, 2 or 4 bytes of `U` in a row) is unit `⌊n/128⌋·U·128 + u·128 + n mod 128`.
    BlockScales,
    /// What belongs to groups along `K`, `[N, G]`, group-major and tight: the element of group `g` of row
    /// `n` is number `g·N + n`.
    GroupMajor,
}

/// A tensor that a step binds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Binding {
    /// Its name in the shader.
    pub name: String,
    /// Its place in [`Plan::buffers`].
    pub buffer: usize,
    /// Whether the step writes it.
    pub write: bool,
}

/// A parameter of a step, in the order of the kernel's `Params`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Param {
    /// A whole number.
    U32(Expr),
    /// A float.
    F32(#[cfg_attr(feature = "json", serde(with = "json::float32"))] f32),
    /// A float that each call gives.
    Scalar(ScalarId),
}

/// A kernel that was considered for a step.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Candidate {
    /// Its name.
    pub kernel: Cow<'static, str>,
    /// The estimated time in seconds, or why it does not fit.
    #[cfg_attr(feature = "json", serde(with = "json::estimate"))]
    pub estimate: Result<f64, String>,
    /// If measuring decided, and not the estimates: the time measured, in seconds, for its
    /// [`Key`](crate::tune::Key).
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Option::is_none"))]
    pub tuned: Option<f64>,
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Step {
    /// The kernel's name.
    pub kernel_name: Cow<'static, str>,
    /// Its place in [`Plan::kernels`].
    pub kernel: usize,
    /// What it binds, in the order of the kernel's bindings.
    pub bindings: Vec<Binding>,
    /// Its parameters, in the order of the kernel's `Params`.
    pub params: Vec<Param>,
    /// How many workgroups; 0 for some calls, which then skip the step.
    pub workgroups: Expr,
    /// The graph's nodes that it covers, in order: none, if it only prepares for the next step.
    pub nodes: Vec<usize>,
    /// The graph's values that it reads, by index; of the last of a kernel's dispatches, those that all read.
    pub reads: Vec<usize>,
    /// The graph's values that it leaves in buffers: (value, buffer, layout).
    pub writes: Vec<(usize, usize, Layout)>,
    /// The tensors that it leaves for the kernel's next dispatches, and that nobody else reads.
    #[cfg_attr(feature = "json", serde(default))]
    pub scratch: Vec<Port>,
    /// Which function its kernel computes.
    #[cfg_attr(feature = "json", serde(default))]
    pub numerics: Numerics,
    /// What was fused, and why, a sentence each.
    pub fused: Vec<String>,
    /// The kernels that were considered, best first.
    pub candidates: Vec<Candidate>,
    /// Bytes that the step must at least read and write, at the bounds.
    pub bytes: u64,
}

/// Everything a machine needs to run a graph.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Plan {
    /// What each call gives.
    pub scalars: Vec<ScalarSpec>,
    /// The kernels, each text once.
    pub kernels: Vec<Composed>,
    /// The buffers.
    pub buffers: Vec<BufferSpec>,
    /// How weights' buffers are made.
    pub weights: Vec<WeightSpec>,
    /// The tensors that a call gives.
    pub inputs: Vec<Port>,
    /// The tensors that a call returns.
    pub outputs: Vec<Port>,
    /// The dispatches, in order.
    pub steps: Vec<Step>,
    /// Which steps go into one submit.
    pub segments: Vec<Range<usize>>,
    /// Where the value of the graph, by index, lies while it lives: (buffer, layout). `None` for
    /// values that never reach memory.
    pub values: Vec<Option<(usize, Layout)>>,
    /// Bytes held while it runs: inputs, outputs, weights and scratch.
    pub peak_bytes: u64,
    /// The policy it was made under.
    pub policy: Policy,
}

impl Plan {
    /// The scalars of one call, by name.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if one is unknown, missing or above its bound.
    pub fn call(&self, values: &[(&str, f64)]) -> Result<Call> {
        Call::new(&self.scalars, values)
    }
}

/// Plans a graph for a device.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the graph has no outputs,
/// [`Error::Shape`](crate::Error::Shape) for a view that neither strides nor the copy kernel can
/// express, [`Error::Limit`](crate::Error::Limit) for a tensor or dispatch that the device has no
/// room for, [`Error::Budget`](crate::Error::Budget) if all buffers together exceed the budget,
/// [`Error::NoKernel`](crate::Error::NoKernel) with each kernel's reason if none can do a step.
pub fn plan(graph: &Graph, profile: &Profile, policy: &Policy) -> Result<Plan> {
    plan_watched(graph, profile, policy, &mut |_, _| ())
}

/// [`plan`], which shows every place that a kernel is chosen for, with those considered, best first.
pub(crate) fn plan_watched(
    graph: &Graph,
    profile: &Profile,
    policy: &Policy,
    watch: &mut dyn FnMut(&Site<'_>, &[Candidate]),
) -> Result<Plan> {
    let mut program = Program::new(graph)?;
    fuse::fuse(&mut program, profile, policy);
    slices::part(&mut program, profile, policy);
    cut::cut(&mut program, profile, policy);
    buffers::check_sizes(&program, profile)?;
    let placement = place::place(&mut program)?;
    buffers::check_sizes(&program, profile)?; // of copies too
    let chosen = emit::choose_all(&program, &placement, profile, policy, watch)?;
    let buffers = buffers::assign(&program, &placement, &chosen, profile, policy)?;
    let emitted = emit::emit(&program, &placement, chosen, &buffers, profile, policy);
    let lies = |at: &Option<(Home, _)>| at.as_ref().map(|(home, lay)| (buffers.of(*home), emit::layout(lay)));
    Ok(Plan {
        scalars: graph.scalars().to_vec(),
        kernels: emitted.kernels,
        inputs: ports::inputs(&program, &buffers),
        outputs: ports::outputs(&program, &placement, &buffers),
        steps: emitted.steps,
        segments: emitted.segments,
        values: placement.values.iter().map(lies).collect(),
        peak_bytes: buffers.total_bytes(),
        buffers: buffers.specs,
        weights: placement.weights,
        policy: policy.clone(),
    })
}
