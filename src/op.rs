//! The vocabulary of ops: axes, signatures, attributes, cost, and error analysis.
//!
//! An [`Op`] is a value: it can be listed, printed and tested. What it means is its reference.

use crate::dim::{Dim, ScalarId};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::plan::Numerics;

mod functions;
mod infer;

pub use crate::numerics::Approx;
pub use functions::{Binary, Unary};
pub use infer::{Fold, Infer, Inferred, Operand};

/// The alphabet of axes, used alike in Rust, WGSL, tests and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// Batch.
    B,
    /// Query positions.
    S,
    /// Key and value positions.
    T,
    /// Query heads.
    H,
    /// Key and value heads; `H` is a multiple of `G`.
    G,
    /// Width of a head.
    D,
    /// Rows of a matmul.
    M,
    /// Columns of a matmul's result; pages of a cache.
    N,
    /// The summed axis of a matmul.
    K,
    /// Rows of a table.
    V,
    /// Rows: all leading axes together.
    R,
    /// Channels: the last axis.
    C,
    /// Experts.
    E,
    /// Experts that a token goes to.
    U,
    /// Pages that the keys of a sequence lie in.
    P,
}

impl Axis {
    /// How many there are.
    pub const COUNT: usize = 15;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::B,
        Self::S,
        Self::T,
        Self::H,
        Self::G,
        Self::D,
        Self::M,
        Self::N,
        Self::K,
        Self::V,
        Self::R,
        Self::C,
        Self::E,
        Self::U,
        Self::P,
    ];

    /// Its letter.
    pub const fn name(self) -> &'static str {
        ["B", "S", "T", "H", "G", "D", "M", "N", "K", "V", "R", "C", "E", "U", "P"][self as usize]
    }
}

/// The size of each axis that an op has, as dims.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axes([Option<Dim>; Axis::COUNT]);

impl Axes {
    /// Axes of these sizes.
    pub fn new<D: Into<Dim> + Clone>(sizes: &[(Axis, D)]) -> Self {
        let mut axes = Self::default();
        for (axis, dim) in sizes {
            axes.0[*axis as usize] = Some(dim.clone().into());
        }
        axes
    }

    /// The size of an axis; 1 where the op does not have it.
    pub fn get(&self, axis: Axis) -> Dim {
        self.0[axis as usize].clone().unwrap_or(Dim::ONE)
    }

    /// The axes the op has.
    pub fn iter(&self) -> impl Iterator<Item = (Axis, &Dim)> {
        Axis::ALL.into_iter().filter_map(|a| self.0[a as usize].as_ref().map(|d| (a, d)))
    }

    /// Numbers instead of dims.
    pub fn sizes(&self, eval: impl Fn(&Dim) -> u64) -> Sizes {
        let mut sizes = Sizes::default();
        for (axis, dim) in self.iter() {
            sizes.set(axis, eval(dim));
        }
        sizes
    }
}

/// The size of each axis, as numbers; 1 where the op does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sizes([u64; Axis::COUNT]);

impl Default for Sizes {
    fn default() -> Self {
        Self([1; Axis::COUNT])
    }
}

impl Sizes {
    /// Sizes of these axes.
    pub fn new(sizes: &[(Axis, u64)]) -> Self {
        let mut out = Self::default();
        for (axis, n) in sizes {
            out.set(*axis, *n);
        }
        out
    }

    /// The size of an axis.
    pub fn get(&self, axis: Axis) -> usize {
        usize::try_from(self.0[axis as usize]).unwrap_or(usize::MAX)
    }

    /// Sets the size of an axis.
    pub fn set(&mut self, axis: Axis, n: u64) {
        self.0[axis as usize] = n;
    }

    /// The product of some axes, for costs.
    pub fn product(&self, axes: &[Axis]) -> f64 {
        axes.iter().map(|a| self.0[*a as usize] as f64).product()
    }
}

/// A tensor in an op's signature.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// The name it has in messages and in the shader.
    pub name: &'static str,
    /// Its axes, outermost first; `R` first stands for any number of leading axes.
    pub axes: &'static [Axis],
    /// The types it may have.
    pub dtypes: &'static [DType],
    /// Whether it may be left out.
    pub optional: bool,
}

impl Arg {
    /// An argument that must be given.
    pub const fn new(name: &'static str, axes: &'static [Axis], dtypes: &'static [DType]) -> Self {
        Self { name, axes, dtypes, optional: false }
    }

    /// An argument that may be left out.
    pub const fn optional(name: &'static str, axes: &'static [Axis], dtypes: &'static [DType]) -> Self {
        Self { name, axes, dtypes, optional: true }
    }
}

/// The types of activations.
pub const FLOATS: &[DType] = &[DType::F32, DType::F16];
/// Types that kernels read four elements of at a time, and compute with in f32.
pub const NUMBERS: &[DType] = &[DType::F32, DType::F16, DType::I8, DType::U8];
/// The type of indices and lengths.
pub const INDEX: &[DType] = &[DType::U32];

/// An attribute of a node: fixed in the graph, or a scalar of the call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attr {
    /// A number that becomes part of the kernel.
    U32(u32),
    /// A float passed to the kernel.
    F32(f32),
    /// A float or, where a whole number may be one, a dim that each call gives.
    Scalar(ScalarId),
}

/// What an attribute may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttrKind {
    /// A whole number, fixed in the graph.
    U32,
    /// A float, fixed in the graph.
    F32,
    /// A float, fixed in the graph or given by each call.
    Float,
    /// A whole number that is passed to the kernel: fixed in the graph, or a dim of the call.
    Whole,
}

impl AttrKind {
    /// Whether an attribute is of this kind.
    pub const fn admits(self, attr: &Attr) -> bool {
        match attr {
            Attr::U32(_) => matches!(self, Self::U32 | Self::Whole),
            Attr::F32(_) => matches!(self, Self::F32 | Self::Float),
            Attr::Scalar(_) => matches!(self, Self::Float | Self::Whole),
        }
    }
}

/// What kind of work an op is, which is what the planner's fusion asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has kernels of its own.
    Compute,
    /// Element by element, one operand: can join its producer or its consumer.
    Unary(Unary),
    /// Element by element, two operands.
    Binary(Binary),
    /// Names the same elements otherwise: no work where strides can say it.
    View,
}

/// What a reference sees: sizes, attributes as numbers, and its inputs with their errors.
#[derive(Debug)]
pub struct RefCall<'a> {
    /// The size of every axis.
    pub sizes: Sizes,
    /// The attributes, by name.
    pub attrs: Vec<(&'static str, f64)>,
    /// One per argument of the signature.
    pub inputs: Vec<Option<&'a Approx>>,
    /// The types of the inputs, as they are stored.
    pub dtypes: Vec<Option<DType>>,
    /// The shape of the first output.
    pub shape: Vec<usize>,
    /// Which function is asked for: that of kernels which round inputs is another.
    pub numerics: Numerics,
}

impl RefCall<'_> {
    /// An input that the signature says must be there. The graph was checked before.
    pub fn input(&self, i: usize) -> &Approx {
        self.inputs[i].expect("the graph checked that this input is there")
    }

    /// An attribute; 0 where it was not given.
    pub fn attr(&self, name: &str) -> f64 {
        self.attrs.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, v)| *v)
    }
}

/// What a case of an op is made of, besides its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The size of every axis.
    pub sizes: Sizes,
    /// Type of the activations.
    pub x: DType,
    /// Type of the weights, for ops that have some.
    pub w: DType,
    /// Which of the op's variants: an index into [`Cases::variants`].
    pub variant: usize,
}

/// An op: what it means, what it takes, how it is done, where it is tested.
#[derive(Debug)]
pub struct Op {
    /// Its name.
    pub name: &'static str,
    /// What it computes, in index notation, with the source of the formula where there is one.
    pub formula: &'static str,
    /// What kind of work it is.
    pub kind: Kind,
    /// The tensors it takes.
    pub inputs: &'static [Arg],
    /// The tensors it makes.
    pub outputs: &'static [Arg],
    /// The attributes it takes, all of which must be given.
    pub attrs: &'static [(&'static str, AttrKind)],
    /// Checks a node and finds its axes and outputs.
    pub infer: fn(&Infer<'_>) -> Result<Inferred>,
    /// The answer in f64, with the error it allows for each element.
    pub reference: fn(&RefCall<'_>) -> Vec<Approx>,
    /// The fewest floating-point operations that any kernel could do.
    pub flops: fn(&Sizes) -> f64,
    /// The ways to do it; the portable one first.
    pub kernels: &'static [&'static Kernel],
    /// How it is tested.
    pub cases: Cases,
}

/// How an op is tested: what the rule in [`check`](crate::check) makes cases from.
#[derive(Debug)]
pub struct Cases {
    /// Axes to sweep, each with the size it has while others are swept.
    pub axes: &'static [(Axis, u64)],
    /// Types of the weights, if it has some; otherwise `[F32]`.
    pub weights: &'static [DType],
    /// Names of the ways in which a case can be built (with post-ops, causal, …).
    pub variants: &'static [&'static str],
    /// Whether a variant says something of these types, or repeats another.
    pub applies: fn(&Shape) -> bool,
    /// Sizes that make a kernel run more than 65,535 workgroups; of the ops that share a kernel, one
    /// gives them.
    pub many_workgroups: fn(&Kernel) -> Option<Sizes>,
    /// Builds the case's graph; its inputs are named as in the signature.
    pub build: fn(&mut Graph, &Shape) -> Result<()>,
    /// Values of an input that cannot be any numbers: indices, lengths.
    pub fill: fn(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>>,
}

impl Op {
    /// The tensors that it changes where they lie: an output of an input's name is that input, changed. Pairs of
    /// their places in the signature.
    pub fn changes(&self) -> impl Iterator<Item = (usize, usize)> {
        let place = |name| self.inputs.iter().position(|i| i.name == name);
        self.outputs.iter().enumerate().filter_map(move |(o, arg)| Some((place(arg.name)?, o)))
    }
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.name == other.name
    }
}

impl Eq for Op {}
