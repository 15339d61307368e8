//! What a matmul of few rows does besides, since all it waits for is its weights: the norm of its input, and the
//! product of two matmuls of which one gates the other.
//!
//! With few rows a step takes little longer than the dispatch and the wait before it, so that a step less is
//! worth doing some of its work in every workgroup. Only kernels whose texts call for it can; where none may be
//! chosen, steps stay apart. Under `BatchInvariant` they do, so that a row has the same bits with many.

use crate::dim::Dim;
use crate::kernel::{Chain, Link, Side};
use crate::op::{Attr, Axes, Axis, Binary};
use crate::ops::matmul::MATMUL;
use crate::ops::matmul_experts::GATES;
use crate::ops::rms_norm::RMS_NORM;
use crate::plan::draft::{Draft, Origin, Program, Use, links};
use crate::plan::prepare::{PANEL, form_bytes, joined};
use crate::plan::siblings::{join_weights, kin};
use crate::plan::{Determinism, Numerics, Policy, WeightForm};
use crate::profile::Profile;

/// So many rows, whose sums a workgroup of any device has room for twice.
const ROWS: u64 = 4;
/// The kernel that can.
const KERNEL: &str = "matmul.vector";
/// The least that is added to a mean of squares: with less the factor grows so large that products which f32 has
/// rounded to 0 could be seen again.
const LEAST_EPS: f32 = 1e-12;

/// Whether a matmul may do more than its products.
fn may(program: &Program<'_>, profile: &Profile, policy: &Policy, draft: &Draft) -> bool {
    let rows = draft.axes.get(Axis::M).max(program.graph.scalars());
    let [Some(x), Some(w), ..] = draft.inputs.as_slice() else { return false };
    let dtype = |v: usize| program.vals[v].dtype;
    let types = || format!("x={},w={},y={}", dtype(x.value), dtype(w.value), dtype(draft.outputs[0].value));
    draft.op == &MATMUL
        && rows <= ROWS
        && draft.axes.get(Axis::B).constant() == Some(1)
        && draft.axes.get(Axis::K).constant().is_some_and(|k| k > 0)
        && matches!(program.vals[w.value].origin, Origin::Weight(..))
        && draft.attrs.is_empty()
        && policy.determinism != Determinism::BatchInvariant
        && policy.numerics != Numerics::Int8Activations
        && policy.kernel.as_deref().is_none_or(|name| name == KERNEL)
        && profile.avoids(KERNEL).is_none()
        && profile.tuning.as_ref().is_none_or(|t| t.rejection(KERNEL, &types()).is_none())
}

/// Makes one matmul of two by the same rows, where the product of both is all that is wanted of them and one is
/// gated by a function: `act(x · gate) · (x · up)`.
pub(super) fn join_gates(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let mut late = 0;
    while late < program.drafts.len() {
        match gated(program, profile, policy, late) {
            Some((early, pair)) => {
                program.drafts[late] = pair;
                program.drafts.remove(early);
                late -= usize::from(early < late);
            }
            None => late += 1,
        }
    }
}

/// The other half of a draft that multiplies by it, and what both become.
fn gated(
    program: &mut Program<'_>,
    profile: &Profile,
    policy: &Policy,
    late: usize,
) -> Option<(usize, Draft)> {
    let own = program.drafts[late].clone();
    let at = own.post.iter().position(|j| matches!(j.link, Link::Binary { .. }))?;
    let (Link::Binary { op: Binary::Mul, side: Side::Full, .. }, Some(other)) =
        (own.post[at].link, own.post[at].other)
    else {
        return None;
    };
    let early = program.drafts.iter().position(|d| d.outputs[0].value == other)?;
    let before = program.drafts[early].clone();
    let act = |chain: Chain| match chain.as_slice() {
        [Link::Unary(f, _)] => GATES.iter().position(|g| g == f),
        _ => None,
    };
    let first = links(&own.post[..at]);
    let (act, gate, up) = match (act(first.clone()), before.post.is_empty()) {
        (Some(act), true) => (act, &own, &before),
        (None, false) if first.is_empty() => (act(links(&before.post))?, &before, &own),
        _ => return None,
    };
    let n = gate.axes.get(Axis::N).constant().filter(|n| n.is_multiple_of(PANEL))?;
    let suits = program.uses[other] == 1
        && may(program, profile, policy, gate)
        && may(program, profile, policy, up)
        && up.axes.get(Axis::N).constant() == Some(n)
        && program.may_wait(&before, own.when);
    // But for what follows their sums.
    let outputs = &before.outputs;
    let plain =
        |draft: &Draft| kin(program, &Draft { post: Vec::new(), outputs: outputs.clone(), ..draft.clone() });
    if !suits || plain(gate)? != plain(up)? {
        return None;
    }
    let halves = [gate.clone(), up.clone()];
    let limit = profile.limits.storage_binding_bytes.min(profile.limits.buffer_bytes);
    let limit = policy.weight_bytes.map_or(limit, |bytes| bytes.min(limit));
    let mut pair = gate.clone();
    for i in 1..pair.inputs.len() {
        let value = join_weights(program, &halves, |d| d.inputs[i].as_ref().map(|u| u.value));
        if let (Some(used), Some(value)) = (&mut pair.inputs[i], value) {
            used.value = value;
        }
    }
    let Origin::Weight(sources, None) = &program.vals[pair.inputs[1].as_ref()?.value].origin else {
        return None;
    };
    let (dtype, shape) = joined(sources, &None).ok()?;
    if form_bytes(WeightForm::Panels, dtype, &shape).is_ok_and(|bytes| bytes > limit) {
        return None;
    }
    let wide = |(axis, dim): (Axis, &Dim)| (axis, if axis == Axis::N { (2 * n).into() } else { dim.clone() });
    pair.axes = Axes::new(&gate.axes.iter().map(wide).collect::<Vec<_>>());
    pair.attrs = vec![("gates", Attr::U32(1 + act as u32))];
    pair.outputs.clone_from(&own.outputs);
    pair.post = own.post[at + 1..].to_vec();
    pair.nodes = [before.nodes.as_slice(), &own.nodes].concat();
    pair.nodes.sort_unstable();
    pair.when = own.when;
    pair.fused = [before.fused.as_slice(), &own.fused].concat();
    pair.fused.push(format!(
        "two matmuls of `{}` are one, by both weights joined along N: the first half of the sums gates the \
         second, and only their product is written",
        program.vals[gate.inputs[0].as_ref()?.value].name
    ));
    Some((early, pair))
}

/// Lets matmuls normalise their input themselves, where nothing else reads what is normalised.
pub(super) fn join_norms(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let mut at = 0;
    while at < program.drafts.len() {
        if join_norm(program, profile, policy, at).is_some() {
            program.drafts.remove(at);
        } else {
            at += 1;
        }
    }
}

fn join_norm(program: &mut Program<'_>, profile: &Profile, policy: &Policy, at: usize) -> Option<()> {
    let norm = program.drafts[at].clone();
    let [(_, Attr::F32(eps))] = norm.attrs.as_slice() else { return None };
    if norm.op != &RMS_NORM || !norm.pre.is_empty() || !norm.post.is_empty() || *eps < LEAST_EPS {
        return None;
    }
    let made = norm.outputs[0].value;
    let (Some(x), Some(gain)) = (&norm.inputs[0], &norm.inputs[1]) else { return None };
    let reads = |d: &Draft| d.inputs.first().is_some_and(|x| x.as_ref().is_some_and(|x| x.value == made));
    let consumer = program.drafts.iter().position(reads)?;
    let draft = &program.drafts[consumer];
    let mut whole = draft.clone();
    whole.attrs.retain(|(name, _)| *name != "gates");
    let nodes = program.graph.nodes();
    let inputs = draft.nodes.iter().flat_map(|n| nodes[*n].inputs.iter().flatten());
    let alone = inputs.filter(|v| v.index() == made).count() == program.uses[made];
    let fits = draft.buffers(&program.vals) < profile.limits.storage_buffers_per_stage as usize;
    let suits = alone && fits && may(program, profile, policy, &whole) && program.may_wait(&norm, draft.when);
    if !suits {
        return None;
    }
    let (x, gain) = (x.value, Use { value: gain.value, fold: vec![(Axis::K, 1)] });
    let (name, from) = (program.vals[made].name.clone(), norm.nodes.clone());
    let draft = &mut program.drafts[consumer];
    draft.inputs[0].as_mut()?.value = x;
    *draft.inputs.last_mut()? = Some(gain);
    draft.attrs.push(("eps", Attr::F32(*eps)));
    draft.nodes.splice(0..0, from);
    draft.nodes.sort_unstable();
    draft.fused.splice(0..0, norm.fused);
    draft.fused.push(format!(
        "`rms_norm` joined the load of `matmul`: of few rows, finding the norm takes less than a step of its own, \
         and nothing else reads `{name}`"
    ));
    Some(())
}
