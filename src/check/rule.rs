//! The list of cases, by rule and not by taste: op × kernel × types × variant × size × inputs.
//!
//! Sizes: along each axis that the op sweeps 0, 1, one less than a block, a block, one more, and a
//! prime, for every block that the kernel cuts the axis into; all axes at one more than a block; all
//! at their primes; and, at the op's own sizes and past a block, inputs that are views which overlap in
//! one tensor. Each is run with inputs of every kind. And one that needs more than 65,535
//! workgroups, whose rows are of every kind in turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::alias::has_views;
use super::graphs;
use super::{Case, Inputs, Subject};
use crate::dtype::DType;
use crate::error::Error;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::op::{Arg, Axis, Op, Shape, Sizes};
use crate::ops;
use crate::plan::{Numerics, Policy, plan};
use crate::profile::{DeviceKind, Profile};
use crate::rng::Rng;

/// Every case, those that share a plan side by side. They are made once in a process, which takes seconds.
pub fn cases() -> Vec<Case> {
    static ALL: OnceLock<Vec<Case>> = OnceLock::new();
    ALL.get_or_init(made).clone()
}

fn made() -> Vec<Case> {
    let kernels: Vec<_> = ops::ALL.iter().flat_map(|op| op.kernels.iter().map(move |k| (*op, *k))).collect();
    let of = |(op, kernel): (&'static Op, &'static Kernel)| {
        let mut all = Vec::new();
        for x in [DType::F32, DType::F16] {
            for w in op.cases.weights {
                kernel_cases(op, kernel, x, *w, &mut all);
            }
        }
        all
    };
    let mut all: Vec<_> = on_all_cores(&kernels, of).into_iter().flatten().collect();
    graphs::cases(&mut all);
    all
}

/// What a function makes of each, in their order, by as many threads as there are cores.
fn on_all_cores<T: Copy + Sync, R: Send>(given: &[T], make: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (next, made) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = given.get(at) else { break };
            let result = make(*one);
            made.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
        }
    };
    if cores == 1 {
        // Where there may be no threads at all, as on the web.
        work();
    } else {
        std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    }
    made.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// The names of an op's variants; at least one.
pub(super) fn variants(op: &Op) -> &'static [&'static str] {
    if op.cases.variants.is_empty() { &["plain"] } else { op.cases.variants }
}

/// Op, kernel, types of x and w, and variant.
type Asked = (&'static str, &'static str, DType, DType, usize);

/// Whether a kernel can do a variant of its op with these types at all, on a device that can do everything.
pub(super) fn suits(op: &'static Op, kernel: &'static Kernel, x: DType, w: DType, variant: usize) -> bool {
    /// What was found out already: each is asked for by many neighbours, and takes a plan.
    static KNOWN: Mutex<BTreeMap<Asked, bool>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (op.name, kernel.name, x, w, variant);
    if let Some(suits) = known().get(&key) {
        return *suits;
    }
    let shape = Shape { sizes: Sizes::new(op.cases.axes), x, w, variant };
    let suits = !matches!(planned(op, kernel, shape), Err(Error::NoKernel(_)));
    known().insert(key, suits);
    suits
}

/// Plans a case for a device that can do everything, or for a processor that can, within the default limits.
/// Errors other than `NoKernel` and `Limit` are the case's own, and told when it is run.
fn planned(op: &Op, kernel: &Kernel, shape: Shape) -> Result<(), Error> {
    let policy = Policy { kernel: Some(kernel.name.into()), numerics: kernel.numerics, ..Policy::default() };
    let mut graph = Graph::new();
    (op.cases.build)(&mut graph, &shape)?;
    on_the_ablest(|profile| plan(&graph, profile, &policy)).map(drop)
}

/// What is planned for a device that can do everything or, if no kernel can on that one, for a processor that can.
pub(crate) fn on_the_ablest<T>(plan: impl Fn(&Profile) -> Result<T, Error>) -> Result<T, Error> {
    let gpu = Profile::capable();
    match plan(&gpu) {
        Err(Error::NoKernel(_)) => plan(&Profile { kind: DeviceKind::Cpu, subgroup_sizes: (8, 8), ..gpu }),
        planned => planned,
    }
}

/// Sizes with what they are good for.
struct Size {
    sizes: Sizes,
    /// Variants but the first run it too.
    all_variants: bool,
    quick: bool,
    /// Views run it too.
    views: bool,
    inputs: &'static [Inputs],
}

/// More than these are many.
const MANY_VARIANTS: usize = 12;

fn kernel_cases(op: &'static Op, kernel: &'static Kernel, x: DType, w: DType, all: &mut Vec<Case>) {
    let sizes = sizes(op, kernel, x, w);
    // What an op fills by itself is the same for every kind of inputs.
    let (default, mut rng) = (Shape { sizes: Sizes::new(op.cases.axes), x, w, variant: 0 }, Rng::new(0));
    let fills = |arg: &Arg| (op.cases.fill)(arg.name, &default, &mut rng).is_some();
    let filled = op.inputs.iter().all(fills);
    for variant in (0..variants(op).len()).filter(|v| suits(op, kernel, x, w, *v)) {
        let short = in_short(op, kernel, (x, w), variant);
        for size in sizes.iter().filter(|s| variant == 0 || s.all_variants) {
            let shape = Shape { sizes: size.sizes, x, w, variant };
            // Rows of f16 meet blocks at the op's own sizes and past a block.
            let few = x == DType::F16 && w.is_blocks() && w != DType::Q8_0;
            if !(op.cases.applies)(&shape) || few && !size.views {
                continue;
            }
            for &inputs in size.inputs {
                // Large numbers show at any size what saturates, and what is rescaled by the wrong number.
                let kind = match inputs {
                    Inputs::Random => true,
                    Inputs::Exact => !filled,
                    Inputs::Large => !filled && size.sizes == default.sizes,
                    _ => false,
                };
                // Where there is nothing, one type of blocks will do.
                let plain = (x, w) == (DType::F32, DType::F32);
                let there = size.views || plain || !shares_pieces(op) && (!w.is_blocks() || w == DType::Q8_0);
                // Of many variants those of further kernels are texts enough past a block, where most happens.
                let further = variant > 0 && op.kernels.first().is_none_or(|k| k.name != kernel.name);
                let crowded = further && variants(op).len() > MANY_VARIANTS;
                let there = there && (!crowded || size.views && size.sizes != default.sizes);
                let quick = size.quick && short && kind && there;
                let subject = Subject::Kernel { op, kernel, shape };
                all.push(Case { subject, inputs, aliased: false, quick });
            }
            if size.views && variant == 0 && has_views(op, w) {
                for inputs in Inputs::ALL {
                    let quick = inputs == Inputs::Random && size.sizes == Sizes::new(op.cases.axes) && short;
                    let subject = Subject::Kernel { op, kernel, shape };
                    all.push(Case { subject, inputs, aliased: true, quick });
                }
            }
        }
    }
}

/// Whether a variant of some types is on the short list. Each is another text to compile, which is what that
/// list saves. The op's first kernel meets every type, and every variant in f32. Others meet each type of x and of
/// w with the first of the other, and each variant with the first types that have it; and a kernel that shares its
/// files with earlier ones, so that only knobs differ, meets the first types and two variants. Where another op
/// has met all types, kernels but the first meet the first type of w.
fn in_short(op: &'static Op, kernel: &'static Kernel, (x, w): (DType, DType), variant: usize) -> bool {
    let has = |w: &DType| {
        let shape = Shape { sizes: Sizes::new(op.cases.axes), x: DType::F32, w: *w, variant };
        (op.cases.applies)(&shape) && suits(op, kernel, DType::F32, *w, variant)
    };
    let is_first_type = || op.cases.weights.iter().find(|w| has(w)) == Some(&w);
    let before = || op.kernels.iter().take_while(|k| k.name != kernel.name);
    if w.is_blocks() && w != DType::Q8_0 {
        // Blocks differ in what is linked only: the first kernel meets all, one of each other file the two that
        // have all that there is in blocks, a least and a second plane; one that reads codes its own way also
        // codes of other bits, and both tables.
        let as_int8 = kernel.numerics == Numerics::Int8Activations
            && [DType::Q3K, DType::Mxfp4, DType::Iq4Nl].contains(&w);
        // One that keeps the scales of a block of 256 reads them its own way, of each such type.
        let keeps =
            kernel.source.contains("scales_of(") && [DType::Q2K, DType::Q3K, DType::Iq4Xs].contains(&w);
        let first = before().next().is_none() && !shares_pieces(op);
        let meets = first || [DType::Q4K, DType::Q6K].contains(&w) || as_int8 || keeps;
        return variant == 0 && x == DType::F32 && meets && !before().any(|k| k.file == kernel.file);
    }
    let is_first = before().next().is_none();
    if is_first && !shares_pieces(op) {
        return variant == 0 || x == DType::F32;
    }
    if !is_first && shares_pieces(op) {
        // What weights are read by has been met, and of functions that gate one is linked as any other.
        let gates = |v: usize| op.cases.variants[v].starts_with("gated_");
        return is_first_type() && !gates(variant) && (x == DType::F32 || variant == 0);
    }
    let known = |file: &str| before().flat_map(|k| k.stages()).any(|k| k.file == file);
    if kernel.stages().all(|k| known(k.file)) {
        return variant < 2 && x == DType::F32 && is_first_type();
    }
    if variant == 0 { x == DType::F32 || is_first_type() } else { x == DType::F32 && is_first_type() }
}

/// Whether an op reads weights by pieces that the first kernel of an op before it meets with every type.
fn shares_pieces(op: &Op) -> bool {
    let reads = |op: &Op| op.kernels.iter().any(|k| k.source.contains("load_w("));
    reads(op) && ops::ALL.iter().find(|o| reads(o)).is_some_and(|first| first.name != op.name)
}

fn sizes(op: &Op, kernel: &Kernel, x: DType, w: DType) -> Vec<Size> {
    let legal = |mut sizes: Sizes| {
        if let Some(axis) = blocked_axis(op, w) {
            sizes.set(axis, (sizes.get(axis) as u64).next_multiple_of(w.block() as u64));
        }
        sizes
    };
    let default = Sizes::new(op.cases.axes);
    let mut out: Vec<Size> = Vec::new();
    let mut add = |sizes: Sizes, all_variants: bool, quick: bool, views: bool| {
        let sizes = legal(sizes);
        match out.iter_mut().find(|s| s.sizes == sizes) {
            Some(same) => {
                same.all_variants |= all_variants;
                same.quick |= quick;
                same.views |= views;
            }
            None => out.push(Size { sizes, all_variants, quick, views, inputs: &Inputs::ALL }),
        }
    };
    add(default, true, true, true);
    let (mut past, mut primes) = (default, default);
    for (axis, _) in op.cases.axes {
        let along = along(kernel, *axis);
        // Past a block of the kernel, and past one of weights.
        let block = if blocked_axis(op, w) == Some(*axis) { w.block() as u64 } else { 0 };
        past.set(*axis, along.past_block.max(block + 1));
        primes.set(*axis, along.prime);
        for n in along.swept {
            let mut sizes = default;
            sizes.set(*axis, n);
            add(sizes, n == 0, n == 0, false);
        }
    }
    add(past, true, true, true);
    add(primes, false, false, false);
    if let Some(many) = (op.cases.many_workgroups)(kernel) {
        let sizes = legal(many);
        // Whole blocks of a weight can make that more than a device binds.
        if !matches!(planned(op, kernel, Shape { sizes, x, w, variant: 0 }), Err(Error::Limit(_))) {
            let inputs = &[Inputs::InTurn];
            out.push(Size { sizes, all_variants: false, quick: false, views: false, inputs });
        }
    }
    out
}

/// The axis along which weights of a block format lie in blocks.
fn blocked_axis(op: &Op, w: DType) -> Option<Axis> {
    let arg = op.inputs.iter().find(|a| w.block() > 1 && a.dtypes.contains(&w))?;
    arg.axes.last().copied()
}

/// The sizes of one axis.
pub(super) struct Along {
    /// All that the rule asks for.
    pub swept: Vec<u64>,
    /// One more than the largest block.
    pub past_block: u64,
    /// A prime past the largest block.
    pub prime: u64,
}

/// An axis that a kernel does not cut is swept as if its block were 4: floats travel in fours.
const UNCUT: u64 = 4;

/// The sizes of one axis that the rule asks of one kernel.
pub(super) fn along(kernel: &Kernel, axis: Axis) -> Along {
    let mut blocks: Vec<u64> = kernel.blocks.iter().filter(|(a, _)| *a == axis).map(|(_, n)| *n).collect();
    if blocks.is_empty() {
        blocks.push(UNCUT);
    }
    let mut swept = vec![0, 1];
    for block in &blocks {
        swept.extend([block - 1, *block, block + 1]);
    }
    let largest = blocks.into_iter().max().unwrap_or(UNCUT);
    let prime = next_prime(largest + largest / 2);
    swept.push(prime);
    if largest == UNCUT {
        swept.push(13);
    }
    swept.sort_unstable();
    swept.dedup();
    Along { swept, past_block: largest + 1, prime }
}

fn next_prime(above: u64) -> u64 {
    let is_prime = |n: u64| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (above + 1..).find(|n| is_prime(*n)).unwrap_or(above)
}
