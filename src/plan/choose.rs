//! Choice: of the kernels that can do a step, the one that won where it was measured, or else the one
//! with the least estimated time.
//!
//! Pure, and logged: every kernel that was not chosen has an estimate or a reason.

use crate::dim::{Dim, Expr};
use crate::error::{Error, Result};
use crate::kernel::compose::{compose, has_hook};
use crate::kernel::{Composed, Kernel, Site, SiteArg};
use crate::op::{Axes, Axis, Fold};
use crate::ops::matmul::MATMUL;
use crate::plan::draft::kernels;
use crate::plan::{Candidate, Determinism, Numerics, buffers, strides};
use crate::tune::{Key, types};

/// The number of rows that batch-invariant choices are made for, whatever the call's number is.
const NOMINAL_ROWS: u64 = 256;
/// Axes that count rows.
const ROW_AXES: [Axis; 4] = [Axis::M, Axis::R, Axis::B, Axis::S];

/// The kernel of a step.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Which.
    pub kernel: &'static Kernel,
    /// What is dispatched for it, in order.
    pub dispatches: Vec<Dispatch>,
    /// The tensors that live within it.
    pub scratch: Vec<SiteArg>,
    /// All that were considered, best first.
    pub candidates: Vec<Candidate>,
    /// The estimated time at the bounds, in seconds.
    pub seconds: f64,
}

/// One dispatch of a kernel.
#[derive(Debug)]
pub(super) struct Dispatch {
    /// The kernel of this dispatch.
    pub name: &'static str,
    /// Its text for this place.
    pub composed: Composed,
    /// How many workgroups.
    pub workgroups: Expr,
    /// The tensors within the kernel, by name, that this dispatch finds in the place of some of the op's.
    pub instead: Vec<(&'static str, SiteArg)>,
}

/// Why a kernel cannot stand at a site.
enum Unfit {
    Refused(String),
    TooManyWorkgroups(String),
}

/// Chooses a kernel for a site. `folds` says how each of its tensors reads as axes of the op.
///
/// # Errors
/// [`Error::NoKernel`] with every reason, also if a quirk forbids the last kernel that could do it, or
/// [`Error::Limit`] if only the number of workgroups is in the way.
pub(super) fn choose(site: &Site<'_>, folds: &[Fold]) -> Result<Chosen> {
    let invariant = site.policy.determinism == Determinism::BatchInvariant;
    let nominal = Nominal::of(site, folds);
    let judged = if invariant { nominal.site(site) } else { Site { ..*site } };
    let (mut ranked, mut refused) = (Vec::new(), Vec::new());
    for kernel in kernels(site.op, site.policy) {
        match suits(kernel, &judged) {
            Ok(()) => ranked.push((kernel, seconds(kernel, &judged))),
            Err(why) => refused.push(Candidate::refused(kernel, why)),
        }
    }
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    let winner = site.profile.tuning.as_ref().and_then(|t| t.winner(&Key::of(site)));
    if let Some(at) = winner.and_then(|w| ranked.iter().position(|(k, _)| k.name == w.kernel)) {
        ranked[..=at].rotate_right(1);
    }
    let candidate = |(k, s): &(&Kernel, f64)| Candidate {
        kernel: k.name.into(),
        estimate: Ok(*s),
        tuned: winner.filter(|w| w.kernel == k.name).map(|w| w.seconds),
    };
    let mut too_many = None;
    for at in 0..ranked.len() {
        let (kernel, _) = ranked[at];
        let scratch = scratch(kernel, site);
        let why = match dispatches(kernel, site, &scratch) {
            Ok(dispatches) => {
                let candidates = ranked[at..].iter().map(candidate).chain(refused).collect();
                let seconds = seconds(kernel, site);
                return Ok(Chosen { kernel, dispatches, scratch, candidates, seconds });
            }
            Err(Unfit::Refused(why)) => why,
            Err(Unfit::TooManyWorkgroups(why)) => too_many.get_or_insert(why).clone(),
        };
        refused.push(Candidate::refused(kernel, why));
        if invariant {
            break; // another kernel, taken for this number of rows, would be other bits
        }
    }
    if let Some(why) = too_many {
        return Err(Error::Limit(format!("{}: {why}", site.op.name)));
    }
    let reasons = refused
        .iter()
        .map(|c| format!("{}: {}", c.kernel, c.estimate.as_ref().map_or_else(|e| e.as_str(), |_| "")));
    Err(Error::NoKernel(format!(
        "{}: no kernel can run this on `{}` under this policy ({})",
        site.op.name,
        site.profile.name,
        reasons.collect::<Vec<_>>().join("; ")
    )))
}

impl Candidate {
    fn refused(kernel: &Kernel, why: String) -> Self {
        Self { kernel: kernel.name.into(), estimate: Err(why), tuned: None }
    }
}

/// The estimated time of a kernel, with each of its dispatches, and the wait for the one before.
fn seconds(kernel: &Kernel, site: &Site<'_>) -> f64 {
    let speeds = &site.profile.speeds;
    let before = kernel.first.len() as f64 * (speeds.dispatch_s + speeds.barrier_s);
    (kernel.cost)(site).seconds(site.profile) + before
}

/// What can be asked of a kernel before it is composed.
fn suits(kernel: &Kernel, site: &Site<'_>) -> Result<(), String> {
    // Asked for by name it runs all the same: that is how `check` finds out whether a quirk still holds.
    if site.policy.kernel.as_deref() != Some(kernel.name) {
        if let Some(why) = kernel.stages().find_map(|k| site.profile.avoids(k.name)) {
            return Err(format!("it is avoided on this device: {why}"));
        }
        let tuning = site.profile.tuning.as_ref();
        if let Some(wrong) = tuning.and_then(|t| t.rejection(kernel.name, &types(site))) {
            return Err(format!("it was wrong on this device: {} (`{}`)", wrong.why, wrong.case));
        }
    }
    for (hook, chain) in [("pre", site.pre), ("post", site.post)] {
        if !chain.is_empty() && !has_hook(kernel, hook) {
            return Err(format!("it has no `{hook}` hook, and elementwise work was fused into the step"));
        }
    }
    let asked = [
        (site.op == &MATMUL && site.arg("gain").is_some(), "gained4("),
        (site.attr_u32("gates") > 0, "gated("),
    ];
    if let Some((_, call)) = asked.iter().find(|(asked, call)| *asked && !kernel.source.contains(call)) {
        let what = if *call == "gated(" { "gate its sums" } else { "normalise its input" };
        return Err(format!("it does not {what}, which was joined with the step"));
    }
    if kernel.numerics != Numerics::F32 && kernel.numerics != site.policy.numerics {
        return Err(format!(
            "it computes as {:?}, but only {:?} was asked for",
            kernel.numerics, site.policy.numerics
        ));
    }
    if site.policy.determinism == Determinism::BatchInvariant && !kernel.batch_invariant {
        return Err("a row's bits would depend on the other rows".into());
    }
    (kernel.fits)(site)
}

/// The tensors that live within a kernel, as its shaders meet them.
fn scratch(kernel: &Kernel, site: &Site<'_>) -> Vec<SiteArg> {
    kernel.scratch.iter().map(|s| SiteArg::new(s.name, s.dtype, (s.shape)(site))).collect()
}

/// Composes what a kernel dispatches, if the device has room for all of it.
fn dispatches(kernel: &'static Kernel, site: &Site<'_>, scratch: &[SiteArg]) -> Result<Vec<Dispatch>, Unfit> {
    for arg in scratch {
        let bytes = strides::reach_bytes(arg.dtype, &arg.shape, site.scalars);
        buffers::check(arg.name, bytes, &site.profile.limits).map_err(|e| Unfit::Refused(e.to_string()))?;
    }
    let args = [site.args, scratch].concat();
    let site = &Site { args: &args, ..*site };
    let instead: Vec<_> =
        kernel.scratch.iter().filter_map(|s| Some((s.name, s.instead.map(|arg| arg(site))?))).collect();
    let last = kernel;
    let dispatch = |kernel: &Kernel| {
        let instead = if kernel == last { instead.clone() } else { Vec::new() };
        let composed = compose(kernel, &Site { args: &in_place(&args, &instead), ..*site });
        within_limits(&composed, site).and_then(|()| (kernel.fits)(site)).map_err(Unfit::Refused)?;
        let workgroups = (kernel.workgroups)(site);
        match too_many_workgroups(kernel.name, &workgroups, site) {
            None => Ok(Dispatch { name: kernel.name, composed, workgroups, instead }),
            Some(why) => Err(Unfit::TooManyWorkgroups(why)),
        }
    };
    kernel.stages().map(dispatch).collect()
}

/// Tensors with those in the place of others that a dispatch finds there.
pub(super) fn in_place(args: &[SiteArg], instead: &[(&'static str, SiteArg)]) -> Vec<SiteArg> {
    let taken = |a: &&SiteArg| !instead.iter().any(|(_, other)| other.name == a.name);
    args.iter().filter(taken).chain(instead.iter().map(|(_, other)| other)).cloned().collect()
}

fn within_limits(composed: &Composed, site: &Site<'_>) -> Result<(), String> {
    let limits = &site.profile.limits;
    let asked = [
        (composed.bindings.len() as u64, limits.storage_buffers_per_stage, "storage buffers"),
        (composed.workgroup_size.into(), limits.workgroup_invocations, "invocations in a workgroup"),
        (composed.workgroup_bytes.into(), limits.workgroup_bytes, "bytes of workgroup memory"),
    ];
    match asked.iter().find(|(n, limit, _)| *n > u64::from(*limit)) {
        Some((n, limit, what)) => Err(format!("it needs {n} {what}, but the device grants {limit}")),
        None => Ok(()),
    }
}

fn too_many_workgroups(kernel: &str, workgroups: &Expr, site: &Site<'_>) -> Option<String> {
    let count = workgroups.max(site.scalars);
    let per_axis = u64::from(site.profile.limits.workgroups_per_axis);
    let limit = per_axis.saturating_mul(per_axis);
    (count > limit)
        .then(|| format!("{kernel} would need {count} workgroups, but two axes of {per_axis} hold {limit}"))
}

/// A site with every row-like axis at a fixed size, so that estimates do not see how many rows there are.
struct Nominal {
    axes: Axes,
    args: Vec<SiteArg>,
}

impl Nominal {
    fn of(site: &Site<'_>, folds: &[Fold]) -> Self {
        let is_row = |axis: &Axis| ROW_AXES.contains(axis);
        let fixed =
            |(axis, dim): (Axis, &Dim)| (axis, if is_row(&axis) { NOMINAL_ROWS.into() } else { dim.clone() });
        let axes = Axes::new(&site.axes.iter().map(fixed).collect::<Vec<_>>());
        let mut args = site.args.to_vec();
        for (arg, fold) in args.iter_mut().zip(folds) {
            let mut at = 0;
            for (axis, count) in fold {
                for i in at..at + count {
                    if is_row(axis) {
                        arg.shape[i] = if i == at { NOMINAL_ROWS.into() } else { Dim::ONE };
                    }
                }
                at += count;
            }
        }
        Self { axes, args }
    }

    fn site<'a>(&'a self, site: &Site<'a>) -> Site<'a> {
        Site { axes: &self.axes, args: &self.args, sizes: self.axes.sizes(|d| d.max(site.scalars)), ..*site }
    }
}
