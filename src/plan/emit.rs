//! From placed steps to dispatches: kernels composed, bindings and parameters resolved by name,
//! segments cut.

use std::ops::Range;

use crate::dim::{Dim, Expr, ScalarKind};
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{
    Access, BindingDecl, Chain, Composed, Layout, Link, ParamDecl, Side, Site, SiteArg, chain,
};
use crate::op::{Attr, Axis, Fold};
use crate::ops::view::COPY_AXES;
use crate::plan::buffers::Buffers;
use crate::plan::choose::{Chosen, Dispatch, choose, in_place};
use crate::plan::draft::{Program, links};
use crate::plan::place::{Home, Placed, PlacedArg, Placement};
use crate::plan::strides::{Lay, merge};
use crate::plan::{Binding, Candidate, Param, Policy, Port, Step, strides};
use crate::profile::Profile;

mod values;

use values::{bytes, reads, writes};

/// Dispatches with what they share.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    /// The kernels, each text once.
    pub kernels: Vec<Composed>,
    /// The dispatches.
    pub steps: Vec<Step>,
    /// Which steps go into one submit.
    pub segments: Vec<Range<usize>>,
}

/// The kernel of every placed step.
///
/// # Errors
/// As [`choose`].
pub(super) fn choose_all(
    program: &Program<'_>,
    placement: &Placement,
    profile: &Profile,
    policy: &Policy,
    watch: &mut dyn FnMut(&Site<'_>, &[Candidate]),
) -> Result<Vec<Chosen>> {
    let mut before: Option<&'static str> = None;
    let choose_one = |placed: &Placed| {
        let chains = [links(&placed.draft.pre), links(&placed.draft.post)];
        let args: Vec<SiteArg> = placed.args.iter().map(|a| a.site.clone()).collect();
        let folds: Vec<Fold> = placed.args.iter().map(|a| a.fold.clone()).collect();
        let site = site(program, placed, &args, &chains, profile, policy);
        // All that make parts of a result do so by one kernel, so that it is one function that is judged.
        let like = before.map(|kernel| Policy { kernel: Some(kernel.into()), ..policy.clone() });
        let chosen = like.and_then(|policy| choose(&Site { policy: &policy, ..site }, &folds).ok());
        let chosen = chosen.map_or_else(|| choose(&site, &folds), Ok)?;
        before = placed.draft.unfinished.then_some(chosen.kernel.name);
        watch(&site, &chosen.candidates);
        Ok(chosen)
    };
    placement.steps.iter().map(choose_one).collect()
}

/// Makes the dispatches of all steps, whose kernels are `chosen`.
pub(super) fn emit(
    program: &Program<'_>,
    placement: &Placement,
    chosen: Vec<Chosen>,
    buffers: &Buffers,
    profile: &Profile,
    policy: &Policy,
) -> Emitted {
    let mut out = Emitted::default();
    let (mut start, mut since) = (0, 0.0);
    for (i, (placed, chosen)) in placement.steps.iter().zip(chosen).enumerate() {
        let first = out.steps.len();
        if first > start && (since + chosen.seconds) * 1e3 > policy.segment_ms {
            out.segments.push(start..first);
            (start, since) = (first, 0.0);
        }
        since += chosen.seconds;
        let chains = [links(&placed.draft.pre), links(&placed.draft.post)];
        let args: Vec<SiteArg> = placed.args.iter().map(|a| a.site.clone()).collect();
        let site = site(program, placed, &args, &chains, profile, policy);
        let step = |dispatch: &Dispatch, kernel| {
            let args = in_place(&args, &dispatch.instead);
            let site = Site { args: &args, ..site };
            let instead = &dispatch.instead;
            Place { number: i, placed, site: &site, chosen: &chosen, instead, buffers, program }
                .step(dispatch, kernel)
        };
        let (last, earlier) =
            chosen.dispatches.split_last().unwrap_or_else(|| unreachable!("none dispatched"));
        for dispatch in earlier {
            let kernel = out.kernel(&dispatch.composed);
            out.steps.push(step(dispatch, kernel));
        }
        let step = step(last, out.kernel(&last.composed));
        out.steps.push(Step {
            nodes: placed.draft.nodes.clone(),
            reads: reads(program, placed, |_| true),
            writes: writes(program, placed, buffers),
            fused: placed.draft.fused.clone(),
            bytes: bytes(program, placed),
            candidates: chosen.candidates,
            ..step
        });
    }
    if start < out.steps.len() {
        out.segments.push(start..out.steps.len());
    }
    out
}

impl Emitted {
    /// The place of a text among the kernels, where it is put unless it is there.
    fn kernel(&mut self, composed: &Composed) -> usize {
        let known = self.kernels.iter().position(|k| k == composed);
        known.unwrap_or_else(|| {
            self.kernels.push(composed.clone());
            self.kernels.len() - 1
        })
    }
}

fn site<'a>(
    program: &'a Program<'_>,
    placed: &'a Placed,
    args: &'a [SiteArg],
    chains: &'a [Chain; 2],
    profile: &'a Profile,
    policy: &'a Policy,
) -> Site<'a> {
    let scalars = program.graph.scalars();
    Site {
        op: placed.draft.op,
        axes: &placed.draft.axes,
        sizes: placed.draft.axes.sizes(|d| d.max(scalars)),
        args,
        attrs: &placed.draft.attrs,
        pre: &chains[0],
        post: &chains[1],
        scalars,
        profile,
        policy,
    }
}

/// A layout whose offset is known, as everybody may see it.
pub(super) fn layout(lay: &Lay) -> Layout {
    Layout { offset: lay.offset.constant().unwrap_or(0), strides: lay.strides.clone() }
}

/// A step whose kernel is known: what the names in it stand for.
struct Place<'a> {
    number: usize,
    placed: &'a Placed,
    site: &'a Site<'a>,
    chosen: &'a Chosen,
    instead: &'a [(&'static str, SiteArg)],
    buffers: &'a Buffers,
    program: &'a Program<'a>,
}

impl Place<'_> {
    fn fail(&self, what: &str, name: &str) -> ! {
        panic!("{}: nobody knows what the {what} `{name}` is", self.chosen.kernel.name)
    }

    /// A dispatch that covers no nodes and leaves no values: what all dispatches of a kernel are but the last.
    fn step(&self, dispatch: &Dispatch, kernel: usize) -> Step {
        let composed = &dispatch.composed;
        let bindings: Vec<_> = composed.bindings.iter().map(|b| self.binding(b)).collect();
        let binds = |name: &str| bindings.iter().any(|b| b.name == name);
        let leaves = |name: &str| bindings.iter().any(|b| b.name == name && b.write);
        let scratch = (0..).zip(&self.chosen.scratch).filter(|(_, arg)| leaves(arg.name));
        let scratch: Vec<_> = scratch.map(|(i, arg)| self.scratch(i, arg)).collect();
        let scalars = self.site.scalars;
        Step {
            kernel_name: dispatch.name.into(),
            kernel,
            reads: reads(self.program, self.placed, binds),
            bytes: scratch.iter().map(|s| strides::bytes(s.dtype, &s.shape, scalars)).sum(),
            scratch,
            numerics: self.chosen.kernel.numerics,
            params: composed.params.iter().map(|p| self.param(p)).collect(),
            workgroups: dispatch.workgroups.clone(),
            bindings,
            nodes: Vec::new(),
            writes: Vec::new(),
            fused: Vec::new(),
            candidates: Vec::new(),
        }
    }

    fn scratch(&self, i: usize, arg: &SiteArg) -> Port {
        Port {
            name: arg.name.to_owned(),
            dtype: arg.dtype,
            shape: arg.shape.clone(),
            layout: layout(&strides::normal(arg.dtype, &arg.shape, self.site.scalars)),
            buffer: self.buffers.within(self.number, i),
            below: None,
        }
    }

    fn binding(&self, decl: &BindingDecl) -> Binding {
        let name = decl.name.as_str();
        let instead = self.instead.iter().find(|(_, arg)| arg.name == name).map(|(scratch, _)| *scratch);
        let arg = self.placed.args.iter().find(|a| a.site.name == name).map(|a| a.home);
        let scales = || {
            let of = |a: &PlacedArg| name.strip_suffix("_scale") == Some(a.site.name);
            self.placed.args.iter().find(|a| of(a)).and_then(|a| a.scales).map(Home::Weight)
        };
        let operand = || {
            ["pre", "post"].iter().zip(&self.placed.operands).find_map(|(hook, operands)| {
                let i: usize = name.strip_prefix(hook)?.parse().ok()?;
                operands.get(i).map(|o| o.home)
            })
        };
        let home = || arg.or_else(scales).or_else(operand).map(|home| self.buffers.of(home));
        let within = |name: &str| {
            let at = self.chosen.scratch.iter().position(|s| s.name == name)?;
            Some(self.buffers.within(self.number, at))
        };
        let buffer = instead.map_or_else(|| home().or_else(|| within(name)), within);
        let buffer = buffer.unwrap_or_else(|| self.fail("binding", name));
        Binding { name: name.to_owned(), buffer, write: decl.access == Access::Write }
    }

    fn param(&self, decl: &ParamDecl) -> Param {
        let name = decl.name.as_str();
        let found = self.copy_param(name).or_else(|| self.attr(name));
        let found = found.or_else(|| self.chain_param(name)).or_else(|| self.size(name).map(whole));
        let found = found.or_else(|| self.arg_param(name)).or_else(|| self.scratch_row(name));
        found.unwrap_or_else(|| self.fail("param", name))
    }

    /// `n0` to `n5`, `s0` to `s5` and `x_offset` of a copy, in elements.
    fn copy_param(&self, name: &str) -> Option<Param> {
        let (shape, lay) = self.placed.draft.copies.as_ref()?;
        if name == "x_offset" {
            return Some(whole(lay.offset.clone()));
        }
        let axes = merge(shape, &lay.strides);
        let (kind, number) = name.split_at_checked(1)?;
        let i = number.parse::<usize>().ok().filter(|i| *i < COPY_AXES)?;
        let axis = (i + axes.len()).checked_sub(COPY_AXES).map(|i| axes[i].clone());
        match kind {
            "n" => Some(whole(axis.map_or(Dim::ONE, |(size, _)| size))),
            "s" => Some(whole(axis.map_or(Dim::from(0), |(_, stride)| stride))),
            _ => None,
        }
    }

    fn attr(&self, name: &str) -> Option<Param> {
        self.site.attrs.iter().find(|(n, _)| *n == name).map(|(_, a)| match *a {
            Attr::U32(v) => whole(Dim::from(u64::from(v))),
            Attr::F32(v) => Param::F32(v),
            Attr::Scalar(id) => match self.site.scalars[id.0 as usize].kind {
                ScalarKind::Dim { .. } => whole(Dim::var(id)),
                ScalarKind::F32 => Param::Scalar(id),
            },
        })
    }

    /// `post0_offset`, `post0_R`, `post_number2_0`, and the like of `pre`.
    fn chain_param(&self, name: &str) -> Option<Param> {
        let chains = ["pre", "post"].iter().zip([self.site.pre, self.site.post]).zip(&self.placed.operands);
        for ((hook, chain), operands) in chains {
            let Some(rest) = name.strip_prefix(hook) else { continue };
            if let Some(rest) = rest.strip_prefix("_number") {
                let (i, j) = rest.split_once('_')?;
                let Link::Unary(_, numbers) = chain.get(i.parse::<usize>().ok()?)? else { return None };
                return match numbers.get(j.parse::<usize>().ok()?)? {
                    Some(Attr::F32(v)) => Some(Param::F32(*v)),
                    Some(Attr::Scalar(id)) => Some(Param::Scalar(*id)),
                    _ => None,
                };
            }
            let (i, what) = rest.split_once('_')?;
            let i = i.parse::<usize>().ok()?;
            let operand = operands.get(i)?;
            let unit = if chain::sides(chain).nth(i)? == Side::Column { 1 } else { 4 };
            return match what {
                "offset" => Some(whole(Dim::from(operand.offset / unit))),
                "R" => Some(whole(operand.row.divided_by(unit)?)),
                _ => None,
            };
        }
        None
    }

    /// `M`: the size of an axis; `V1`: that of the tensor whose name ends in 1, or 0 if it was left out.
    fn size(&self, name: &str) -> Option<Dim> {
        let (letter, number) = name.split_at_checked(1)?;
        let axis = Axis::ALL.into_iter().find(|a| a.name() == letter)?;
        if number.is_empty() {
            return Some(self.site.axes.get(axis));
        }
        number.parse::<u32>().ok()?;
        let declared =
            self.site.op.inputs.iter().find(|a| a.name.ends_with(number) && a.axes.contains(&axis))?;
        let given = self.placed.args.iter().find(|a| a.site.name == declared.name);
        Some(given.map_or(0.into(), |a| {
            let covers = |at: usize| a.fold[..at].iter().map(|(_, count)| count).sum::<usize>();
            let at = a.fold.iter().position(|(x, _)| *x == axis).unwrap_or(0);
            Dim::product(&a.site.shape[covers(at)..covers(at + 1)])
        }))
    }

    /// `part_row` of the scratch tensor `part`: from one row to the next, in groups of four; elements for u32.
    fn scratch_row(&self, name: &str) -> Option<Param> {
        let name = name.strip_suffix("_row")?;
        let SiteArg { dtype, shape, .. } = self.chosen.scratch.iter().find(|s| s.name == name)?;
        let groups = if *dtype == DType::U32 { 1 } else { 4 };
        Some(whole(strides::row(*dtype, shape, self.site.scalars).divided_by(groups)?))
    }

    /// `x_offset` and `x_M`: in groups of four, or in elements for indices and planes beside weights.
    fn arg_param(&self, name: &str) -> Option<Param> {
        let (arg, what) = name.rsplit_once('_')?;
        let op = self.site.op;
        let declared = op.inputs.iter().chain(op.outputs).find(|a| a.name == arg)?;
        let axis = Axis::ALL.into_iter().find(|a| a.name() == what);
        if ["first", "whole"].contains(&what) {
            let part = self.site.arg(declared.name).and_then(|a| a.part);
            return Some(whole(part.map_or(0, |p| if what == "first" { p.first } else { p.whole }).into()));
        }
        if what != "offset" && axis.is_none() {
            return None;
        }
        let Some(given) = self.site.arg(declared.name) else { return Some(whole(0.into())) };
        let groups = if given.dtype == DType::U32 || is_plane(arg) { 1 } else { 4 };
        let Some(axis) = axis else { return Some(whole(Dim::from(given.offset / groups))) };
        let last = given.strides.len().saturating_sub(1);
        Some(whole(match given.strides.iter().position(|(a, _)| *a == axis) {
            None => 0.into(),
            // four elements to a group, and four steps of one element to the next group
            Some(i) if i == last => given.strides[i].1.clone(),
            Some(i) => given.strides[i].1.divided_by(groups)?,
        }))
    }
}

/// Whether a tensor holds what belongs to groups of a weight's elements.
fn is_plane(name: &str) -> bool {
    ["w_scale", "w_zero"].contains(&name)
}

fn whole(d: Dim) -> Param {
    Param::U32(Expr::from(d))
}
