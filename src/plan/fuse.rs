//! Fusion: elementwise work joins the step before it or after it, so that fewer values travel
//! through memory.
//!
//! It never changes what is computed: a value that somebody else reads is still made.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Node;
use crate::kernel::Link;
use crate::op::{Binary, Kind, Unary};
use crate::ops::elementwise::ELEMENTWISE;
use crate::plan::draft::{Draft, Joined, Origin, Program};
use crate::plan::{Policy, few_rows, siblings};
use crate::profile::Profile;

/// Drafts every live node, then joins what may be joined; leaves the drafts in an order in which
/// they can run.
pub(super) fn fuse(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let mut makers = BTreeMap::new();
    for index in program.live.clone() {
        let node = &program.graph.nodes()[index];
        match node.op.kind {
            Kind::View => {}
            Kind::Compute => {
                let draft = program.drafts.len();
                makers.extend(node.outputs.iter().map(|v| (v.index(), draft)));
                program.drafts.push(Draft::of_node(index, node));
            }
            Kind::Unary(_) | Kind::Binary(_) => elementwise(program, profile, policy, &mut makers, index),
        }
    }
    if policy.fuse {
        join_loads(program, profile, policy);
        few_rows::join_gates(program, profile, policy);
        siblings::join(program, profile);
        few_rows::join_norms(program, profile, policy);
    }
    // A joined step waits for the last node it covers; whatever that step reads is made by then.
    program.drafts.sort_by_key(|d| d.when);
    for draft in &program.drafts {
        for made in &draft.outputs {
            let origin = &mut program.vals[made.value].origin;
            if !matches!(origin, Origin::Changed(_)) {
                *origin = Origin::Step;
            }
        }
    }
}

/// One way to see an elementwise node as a link of a chain: the value that runs through it, and the rest.
type Way = (usize, Joined);

fn ways(program: &Program<'_>, node: &Node) -> Vec<Way> {
    let input = |i: usize| node.inputs[i].map_or(0, |v| v.index());
    match node.op.kind {
        Kind::Unary(f) => {
            let attr = |i: usize| node.attrs.get(i).map(|(_, a)| *a);
            vec![(input(0), Joined { link: Link::Unary(f, [attr(0), attr(1)]), other: None })]
        }
        Kind::Binary(op) => {
            let shape = &program.vals[node.outputs[0].index()].shape;
            let is_full = |v: usize| program.vals[v].shape == *shape;
            let way = |through: usize, other: usize, swapped| {
                let side = program.side(other, shape);
                let dtype = program.vals[other].dtype;
                (through, Joined { link: Link::Binary { op, side, dtype, swapped }, other: Some(other) })
            };
            let both = [way(input(0), input(1), false), way(input(1), input(0), true)];
            both.into_iter().filter(|(through, _)| is_full(*through)).collect()
        }
        _ => Vec::new(),
    }
}

/// Lets an elementwise node join the step that makes one of its operands, or starts a step.
fn elementwise(
    program: &mut Program<'_>,
    profile: &Profile,
    policy: &Policy,
    makers: &mut BTreeMap<usize, usize>,
    index: usize,
) {
    let node = &program.graph.nodes()[index];
    let name = node.op.name;
    let out = node.outputs[0].index();
    let ways = ways(program, node);
    let mut full = None;
    let mut found: Vec<(usize, Way)> = Vec::new();
    for way in ways.iter().filter(|_| policy.fuse) {
        let Some(&maker) = makers.get(&way.0) else { continue };
        let draft = &program.drafts[maker];
        let alone = program.uses[way.0] == 1 && draft.outputs.len() == 1;
        if !alone || !draft.has_hook("post", policy) || !program.may_wait(draft, index) {
            continue;
        }
        let buffers = draft.buffers(&program.vals) + usize::from(way.1.other.is_some());
        if buffers > profile.limits.storage_buffers_per_stage as usize {
            full = Some(draft.op.name);
            continue;
        }
        found.push((maker, *way));
    }
    // Of two producers the later: the other one's result is there by then, and no step has to wait.
    found.sort_by_key(|(maker, _)| std::cmp::Reverse(program.drafts[*maker].when));
    let Some(&(maker, (through, joined))) = found.first() else {
        let mut draft = Draft::of_rows(&ELEMENTWISE, vec![index], ways[0].0, out, &program.vals[out].shape);
        draft.post.push(ways[0].1);
        if let Some(producer) = full {
            draft.fused.push(format!(
                "`{name}` starts a step of its own: with it `{producer}` would bind more than the {} storage \
                 buffers that the device grants",
                profile.limits.storage_buffers_per_stage
            ));
        }
        makers.insert(out, program.drafts.len());
        program.drafts.push(draft);
        return;
    };
    let value = &program.vals[through].name;
    let why = if found.len() > 1 {
        format!("of its two producers that is the later, so no step waits; nothing else reads `{value}`")
    } else {
        format!("nothing else reads `{value}`, which now stays out of memory")
    };
    let draft = &mut program.drafts[maker];
    draft.fused.push(format!("`{name}` joined the store of `{}`: {why}", draft.op.name));
    draft.post.push(joined);
    draft.nodes.push(index);
    draft.outputs[0].value = out;
    draft.when = index;
    makers.remove(&through);
    makers.insert(out, maker);
}

/// Moves chains that only feed one consumer's first input, and cost little, into its load.
fn join_loads(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let mut gone = BTreeSet::new();
    for i in 0..program.drafts.len() {
        let chain = &program.drafts[i];
        let made = chain.outputs[0].value;
        if chain.op != &ELEMENTWISE || program.uses[made] != 1 || !chain.post.iter().all(is_cheap) {
            continue;
        }
        let reads = |d: &Draft| matches!(d.inputs.first(), Some(Some(x)) if x.value == made);
        let Some(at) = program.drafts.iter().position(|d| reads(d) && d.has_hook("pre", policy)) else {
            continue;
        };
        let consumer = &program.drafts[at];
        let extra = chain.post.iter().filter(|j| j.other.is_some()).count();
        let buffers = consumer.buffers(&program.vals) + extra;
        let full = buffers > profile.limits.storage_buffers_per_stage as usize;
        if full || !consumer.pre.is_empty() || !program.may_wait(chain, consumer.when) {
            continue;
        }
        let chain = chain.clone();
        let Some(source) = chain.inputs[0].as_ref().map(|x| x.value) else { continue };
        let names: Vec<_> = chain.nodes.iter().map(|n| program.graph.nodes()[*n].op.name).collect();
        let value = program.vals[made].name.clone();
        let consumer = &mut program.drafts[at];
        if let Some(x) = &mut consumer.inputs[0] {
            x.value = source;
        }
        consumer.pre = chain.post;
        consumer.nodes.splice(0..0, chain.nodes);
        consumer.fused.splice(0..0, chain.fused);
        consumer.fused.push(format!(
            "`{}` joined the load of `{}`: it is cheap to do on every read, and nothing else reads `{value}`",
            names.join("`, `"),
            consumer.op.name
        ));
        gone.insert(i);
    }
    let mut i = 0;
    program.drafts.retain(|_| {
        i += 1;
        !gone.contains(&(i - 1))
    });
}

/// Cheap enough to be done again on every read.
fn is_cheap(joined: &Joined) -> bool {
    use {Binary as B, Unary as U};
    matches!(
        joined.link,
        Link::Unary(U::Scale | U::Offset | U::Neg | U::Abs | U::Square | U::Relu | U::Clamp | U::Cast, _)
            | Link::Binary { op: B::Add | B::Sub | B::Mul | B::Minimum | B::Maximum, .. }
    )
}
