//! A kernel: a shader file with knobs, linked pieces and hooks, and the facts that choosing needs.
//!
//! Composing is text in, text out: knob lines are replaced, `//@if` and `//@unroll` followed, accessors
//! and chains appended, bindings numbered. The result is data that any WebGPU can run.

use crate::dim::{Dim, Expr, ScalarSpec};
use crate::dtype::DType;
use crate::op::{Attr, Axes, Axis, Op, Sizes};
use crate::plan::{Numerics, Policy};
use crate::profile::Profile;

pub mod chain;
pub mod compose;
mod declared;
pub mod extensions;
mod link;
pub mod source;
mod unroll;

pub(crate) use compose::{WIDE, WIDE_X, compose_alone};

pub use chain::{Chain, Link, Side};
pub use compose::{Access, BindingDecl, Composed, ParamDecl, ParamKind, compose, has_hook};
pub use source::{sources, with_source};

/// One way to do an op.
pub struct Kernel {
    /// `<op>.<idea>`.
    pub name: &'static str,
    /// The file's name under `shaders/`.
    pub file: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// Along which axes it cuts the work, and how large a block is: what cases straddle.
    pub blocks: &'static [(Axis, u64)],
    /// Whether it can do this, and if not, why not.
    pub fits: fn(&Site<'_>) -> Result<(), String>,
    /// The value of each knob that differs from the file's default.
    pub knobs: fn(&Site<'_>) -> Vec<(&'static str, String)>,
    /// How many workgroups; the recorder folds the count over two axes, and the kernel folds it back.
    pub workgroups: fn(&Site<'_>) -> Expr,
    /// What it costs, at most this plan's sizes.
    pub cost: fn(&Site<'_>) -> Work,
    /// Which function it computes.
    pub numerics: Numerics,
    /// Whether a row's bits depend on that row alone.
    pub batch_invariant: bool,
    /// Tensors that live while it runs.
    pub scratch: &'static [Scratch],
    /// Kernels that are dispatched before it at the same place, in order. They are in no op's list.
    pub first: &'static [&'static Kernel],
}

/// A tensor that lives within a kernel of several dispatches: one leaves it for the next. Its rows are padded
/// to 16 bytes unless it is u32, and lie tight one behind the other; `<name>_row` is the parameter that
/// says how far apart, in groups of four or, for u32, in elements.
#[derive(Debug)]
pub struct Scratch {
    /// The name it has in the shaders, unlike that of any tensor of the op.
    pub name: &'static str,
    /// Its type.
    pub dtype: DType,
    /// Its shape.
    pub shape: fn(&Site<'_>) -> Vec<Dim>,
    /// The tensor of the op in whose place the kernel itself, the last dispatch, finds it, and how it lies as that
    /// one; what is dispatched before still meets both. So a kernel can prepare an operand and leave the rest to a
    /// text that knows nothing of it.
    pub instead: Option<fn(&Site<'_>) -> SiteArg>,
}

impl Scratch {
    /// A tensor that every dispatch meets under its own name.
    pub const fn new(name: &'static str, dtype: DType, shape: fn(&Site<'_>) -> Vec<Dim>) -> Self {
        Self { name, dtype, shape, instead: None }
    }
}

impl Kernel {
    /// A kernel of a single dispatch that fits everything and has no knobs, for what others do not say.
    pub const PLAIN: Self = Self {
        name: "",
        file: "",
        source: "",
        blocks: &[],
        fits: |_| Ok(()),
        knobs: |_| Vec::new(),
        workgroups: |_| Expr::Dim(Dim::ONE),
        cost: |_| Work { flops: 0.0, bytes: 0.0, invocations: 1.0 },
        numerics: Numerics::F32,
        batch_invariant: true,
        scratch: &[],
        first: &[],
    };

    /// The kernels that are dispatched for it, in order: itself last.
    pub fn stages(&self) -> impl Iterator<Item = &Self> {
        self.first.iter().copied().chain([self])
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernel({})", self.name)
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a kernel does, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes that its loads and stores move, counting what it reads again.
    pub bytes: f64,
    /// Invocations that run at once.
    pub invocations: f64,
}

impl Work {
    /// The time this takes on a device, in seconds: the larger of arithmetic and traffic, longer
    /// where the device is not filled, plus the dispatch.
    pub fn seconds(&self, profile: &Profile) -> f64 {
        let s = &profile.speeds;
        let filled = (self.invocations / s.busy_invocations).clamp(1e-6, 1.0);
        (self.flops / s.flops_per_s).max(self.bytes / s.bytes_per_s) / filled + s.dispatch_s
    }
}

/// Where the elements of a tensor lie in its buffer, in elements.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Layout {
    /// Where the first element lies.
    pub offset: u64,
    /// Distance between neighbours along each axis of the tensor's shape.
    pub strides: Vec<Dim>,
}

/// A tensor as a kernel meets it.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteArg {
    /// Its name in the signature.
    pub name: &'static str,
    /// Its type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Where its first element lies, in elements.
    pub offset: u64,
    /// Distance between neighbours along each axis of the op that it has, in elements; in panels, between
    /// neighbours in one.
    pub strides: Vec<(Axis, Dim)>,
    /// Whether it is a weight in panels of columns, [`WeightForm::Panels`](crate::plan::WeightForm::Panels).
    pub panels: bool,
    /// Which rows it has of a weight that no binding holds as a whole.
    pub part: Option<Part>,
}

/// Some rows of a weight: as many as the tensor has that stands for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first of them.
    pub first: u64,
    /// How many the weight has.
    pub whole: u64,
}

impl SiteArg {
    /// A tensor from the start of a buffer, of which nothing has said yet how it lies.
    pub(crate) const fn new(name: &'static str, dtype: DType, shape: Vec<Dim>) -> Self {
        Self { name, dtype, shape, offset: 0, strides: Vec::new(), panels: false, part: None }
    }
}

/// One place in a graph where a kernel could stand.
#[derive(Debug)]
pub struct Site<'a> {
    /// The op, which is `elementwise` for a chain that has no producer.
    pub op: &'static Op,
    /// The size of every axis.
    pub axes: &'a Axes,
    /// The size of every axis at the bounds of the call's dims.
    pub sizes: Sizes,
    /// The tensors, in signature order; those left out are missing.
    pub args: &'a [SiteArg],
    /// The attributes.
    pub attrs: &'a [(&'static str, Attr)],
    /// What happens to each element after it is read.
    pub pre: &'a Chain,
    /// What happens to each element before it is written.
    pub post: &'a Chain,
    /// The scalars of the call.
    pub scalars: &'a [ScalarSpec],
    /// The device.
    pub profile: &'a Profile,
    /// What the caller asks for.
    pub policy: &'a Policy,
}

impl Site<'_> {
    /// A tensor of the signature, if it was given.
    pub fn arg(&self, name: &str) -> Option<&SiteArg> {
        self.args.iter().find(|a| a.name == name)
    }

    /// The size of an axis, as a dim.
    pub fn dim(&self, axis: Axis) -> Dim {
        self.axes.get(axis)
    }

    /// The largest size of an axis.
    pub fn size(&self, axis: Axis) -> usize {
        self.sizes.get(axis)
    }

    /// A whole-number attribute; 0 where it was not given.
    pub fn attr_u32(&self, name: &str) -> u32 {
        self.attrs
            .iter()
            .find_map(|(n, a)| match a {
                Attr::U32(v) if *n == name => Some(*v),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// The bytes of a tensor at the bounds; 0 if it was left out.
    pub fn bytes(&self, name: &str) -> f64 {
        self.arg(name).map_or(0.0, |a| {
            let n: f64 = a.shape.iter().map(|d| d.max(self.scalars) as f64).product();
            n / a.dtype.block() as f64 * a.dtype.block_bytes() as f64
        })
    }
}
