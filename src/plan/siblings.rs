//! Siblings: matmuls of the same rows by several weights become one, by the weights joined.
//!
//! It never moves a result: the originals become slices of the joined one.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::kernel::{Chain, Link, Side};
use crate::op::{Axes, Axis};
use crate::ops::matmul::MATMUL;
use crate::plan::draft::{Draft, Joined, Origin, Program, Val, View, links};
use crate::plan::prepare::{form_bytes, joined};
use crate::plan::{WeightForm, WeightSource, strides};
use crate::profile::Profile;

/// What siblings have in common.
#[derive(PartialEq)]
pub(super) struct Kin {
    x: usize,
    w: DType,
    /// How many elements a row has of each plane beside the weight.
    planes: Vec<Option<Vec<Dim>>>,
    y: DType,
    chain: Chain,
}

/// Joins all siblings.
pub(super) fn join(program: &mut Program<'_>, profile: &Profile) {
    let kin: Vec<_> = program.drafts.iter().map(|d| kin(program, d)).collect();
    let mut gone = vec![false; kin.len()];
    for i in 0..kin.len() {
        if kin[i].is_none() || gone[i] || (0..i).any(|j| kin[j] == kin[i]) {
            continue;
        }
        let family: Vec<_> = (i..kin.len()).filter(|j| kin[*j] == kin[i]).collect();
        let (whole, cut): (Vec<_>, Vec<_>) =
            family.into_iter().partition(|j| columns(&program.drafts[*j]).is_multiple_of(4));
        if whole.len() + cut.len() > 1 {
            for j in cut {
                let n = columns(&program.drafts[j]);
                program.drafts[j].fused.push(format!(
                    "not joined with the other matmuls of its input: N = {n} is no multiple of 4, and \
                     slices of the joined result must start at one"
                ));
            }
        }
        if whole.len() > 1 && merge(program, profile, &whole) {
            whole[1..].iter().for_each(|j| gone[*j] = true);
        }
    }
    let mut i = 0;
    program.drafts.retain(|_| {
        i += 1;
        !gone[i - 1]
    });
}

fn weight<'a>(program: &'a Program<'_>, value: usize) -> Option<&'a [WeightSource]> {
    match &program.vals[value].origin {
        Origin::Weight(sources, None) => Some(sources),
        _ => None,
    }
}

fn columns(draft: &Draft) -> u64 {
    draft.axes.get(Axis::N).constant().unwrap_or(1)
}

/// What a draft has in common with its siblings, if it may have any.
pub(super) fn kin(program: &Program<'_>, draft: &Draft) -> Option<Kin> {
    let [Some(x), Some(w), planes @ ..] = draft.inputs.as_slice() else { return None };
    let made = draft.outputs[0].value;
    let rows_only = |j: &Joined| match (j.link, j.other) {
        (Link::Binary { side: Side::Row, .. }, Some(other)) => weight(program, other).is_some(),
        (Link::Unary(..), None) => true,
        _ => false,
    };
    let suits = draft.op == &MATMUL
        && weight(program, w.value).is_some()
        && w.fold.len() == 2
        && planes.iter().flatten().all(|s| weight(program, s.value).is_some() && s.fold[0].0 == Axis::N)
        && draft.pre.is_empty()
        && draft.attrs.is_empty()
        && program.may_wait(draft, usize::MAX - 1)
        && draft.post.iter().all(rows_only)
        && !program.is_output(made);
    suits.then(|| Kin {
        x: x.value,
        w: program.vals[w.value].dtype,
        planes: planes
            .iter()
            .map(|p| p.as_ref().map(|p| program.vals[p.value].shape[1..].to_vec()))
            .collect(),
        y: program.vals[made].dtype,
        chain: links(&draft.post),
    })
}

/// Makes the first of some siblings do the work of all, if what it makes is not too large.
fn merge(program: &mut Program<'_>, profile: &Profile, family: &[usize]) -> bool {
    let members: Vec<_> = family.iter().map(|i| program.drafts[*i].clone()).collect();
    let n = members.iter().map(columns).sum::<u64>();
    let first = &members[0];
    let mut y = program.vals[first.outputs[0].value].clone();
    let axis = y.shape.len() - 1;
    y.shape[axis] = Dim::from(n);
    let limit = profile.limits.storage_binding_bytes.min(profile.limits.buffer_bytes);
    let w_bytes = weights(program, &members, |d| d.inputs[1].as_ref().map(|u| u.value))
        .and_then(|w| joined(&w, &None).ok())
        .and_then(|(dtype, shape)| form_bytes(WeightForm::Panels, dtype, &shape).ok());
    let y_bytes = strides::bytes(y.dtype, &y.shape, program.graph.scalars());
    if w_bytes.is_none_or(|b| b > limit) || y_bytes > limit {
        return false;
    }

    let tips: Vec<_> = members.iter().map(|d| d.outputs[0].value).collect();
    let names: Vec<_> = tips.iter().map(|v| format!("`{}`", program.vals[*v].name)).collect();
    y.name = tips.iter().map(|v| program.vals[*v].name.as_str()).collect::<Vec<_>>().join("+");
    y.holds.clone_from(&tips);
    y.origin = Origin::Step;
    let y = program.push(y);
    let mut start = 0;
    for (tip, member) in tips.iter().zip(&members) {
        program.vals[*tip].origin = Origin::View(y, View::Slice { axis, start });
        start += columns(member);
    }
    let mut one = first.clone();
    for i in 1..one.inputs.len() {
        let value = join_weights(program, &members, |d| d.inputs[i].as_ref().map(|u| u.value));
        if let (Some(u), Some(value)) = (&mut one.inputs[i], value) {
            u.value = value;
        }
    }
    for i in 0..one.post.len() {
        one.post[i].other = join_weights(program, &members, |d| d.post[i].other);
    }
    one.outputs[0].value = y;
    one.axes = Axes::new(
        &first
            .axes
            .iter()
            .map(|(a, d)| (a, if a == Axis::N { n.into() } else { d.clone() }))
            .collect::<Vec<_>>(),
    );
    one.nodes = members.iter().flat_map(|d| d.nodes.iter().copied()).collect();
    one.nodes.sort_unstable();
    one.fused = members.iter().flat_map(|d| d.fused.iter().cloned()).collect();
    one.fused.push(format!(
        "{} are one matmul by {} weights joined along N: they read the same `{}`, and more columns at once \
         fill the device better; each is a slice of the result",
        names.join(", "),
        members.len(),
        first.inputs[0].as_ref().map_or("", |u| program.vals[u.value].name.as_str()),
    ));
    // Nothing but weights is read besides x, so the first who is needed sets the time.
    one.when = members.iter().map(|d| d.when).min().unwrap_or(0);
    program.drafts[family[0]] = one;
    true
}

/// The sources of one weight of every member, joined; `None` if there is no such weight.
fn weights(
    program: &Program<'_>,
    members: &[Draft],
    value: impl Fn(&Draft) -> Option<usize>,
) -> Option<Vec<WeightSource>> {
    let mut sources = Vec::new();
    for member in members {
        sources.extend_from_slice(weight(program, value(member)?)?);
    }
    Some(sources)
}

/// One weight of every member, joined.
pub(super) fn join_weights(
    program: &mut Program<'_>,
    members: &[Draft],
    value: impl Fn(&Draft) -> Option<usize>,
) -> Option<usize> {
    let sources = weights(program, members, &value)?;
    let (_, shape) = joined(&sources, &None).ok()?;
    let values: Vec<_> = members.iter().filter_map(&value).collect();
    let mut val: Val = program.vals[values[0]].clone();
    val.name = sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("+");
    val.shape = shape.into_iter().map(Dim::from).collect();
    val.holds = values;
    val.origin = Origin::Weight(sources, None);
    Some(program.push(val))
}
