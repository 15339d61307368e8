//! From lives to buffers: inputs, outputs and weights have their own, everything else shares a few.
//!
//! A step never writes a buffer that it reads: WebGPU forbids one buffer read-only and read-write
//! in the same dispatch.

use crate::error::{Error, Result};
use crate::graph::Source;
use crate::kernel::SiteArg;
use crate::plan::choose::Chosen;
use crate::plan::draft::{Origin, Program};
use crate::plan::place::{Home, Placement};
use crate::plan::{BufferSpec, Policy, Role, strides};
use crate::profile::{Limits, Profile};

/// The buffers of a plan, and who lies in which.
#[derive(Debug)]
pub(super) struct Buffers {
    /// All of them: inputs, outputs, weights, scratch.
    pub specs: Vec<BufferSpec>,
    of_value: Vec<Option<usize>>,
    /// Of each placed step, those of the tensors that live within it.
    of_scratch: Vec<Vec<usize>>,
    first_weight: usize,
}

impl Buffers {
    /// The buffer of whoever lies in one.
    pub fn of(&self, home: Home) -> usize {
        match home {
            Home::Weight(i) => self.first_weight + i,
            Home::Value(v) => self.of_value[v].unwrap_or_else(|| panic!("plan: value {v} has no buffer")),
        }
    }

    /// The buffer of the `i`-th tensor that lives within a placed step.
    pub fn within(&self, step: usize, i: usize) -> usize {
        self.of_scratch[step][i]
    }

    /// Bytes of all of them.
    pub fn total_bytes(&self) -> u64 {
        self.specs.iter().fold(0, |sum, b| sum.saturating_add(b.bytes))
    }
}

/// Checks every value that reaches memory, before anybody asks where its elements lie.
///
/// # Errors
/// [`Error::Limit`] if one is larger than the device binds or allocates.
pub(super) fn check_sizes(program: &Program<'_>, profile: &Profile) -> Result<()> {
    let in_memory = program.vals.iter().filter(|v| matches!(v.origin, Origin::Input(_) | Origin::Step));
    for val in in_memory {
        let bytes = strides::reach_bytes(val.dtype, &val.shape, program.graph.scalars());
        check(&val.name, bytes, &profile.limits)?;
    }
    Ok(())
}

/// Gives every value that reaches memory a buffer, and every tensor that lives within a step. `chosen` are
/// the steps' kernels.
///
/// # Errors
/// [`Error::Limit`] if a weight is larger than the device binds or allocates;
/// [`Error::Budget`] if all buffers together are larger than the budget.
pub(super) fn assign(
    program: &Program<'_>,
    placement: &Placement,
    chosen: &[Chosen],
    profile: &Profile,
    policy: &Policy,
) -> Result<Buffers> {
    let sizes: Vec<u64> =
        program.vals.iter().map(|v| strides::bytes(v.dtype, &v.shape, program.graph.scalars())).collect();
    let of_value = vec![None; sizes.len()];
    let mut b = Buffers { specs: Vec::new(), of_value, of_scratch: Vec::new(), first_weight: 0 };
    for (v, value) in program.graph.values().iter().enumerate() {
        if value.source == Source::Input {
            let Origin::Input(i) = program.vals[v].origin else { continue };
            b.of_value[v] = Some(b.specs.len());
            let is_state = placement.outputs.contains(&v);
            let role = if is_state { Role::State(i) } else { Role::Input(i) };
            b.specs.push(BufferSpec { role, bytes: sizes[v] });
        }
    }
    for (i, v) in placement.outputs.iter().copied().enumerate() {
        if b.of_value[v].is_some() {
            continue; // a state
        }
        b.of_value[v] = Some(b.specs.len());
        b.specs.push(BufferSpec { role: Role::Output(i), bytes: sizes[v] });
    }
    b.first_weight = b.specs.len();
    for (i, weight) in placement.weights.iter().enumerate() {
        let names: Vec<_> = weight.sources.iter().map(|s| s.name.as_str()).collect();
        check(&names.join("+"), weight.bytes, &profile.limits)?;
        b.specs.push(BufferSpec { role: Role::Weight(i), bytes: weight.bytes });
    }
    let within = |c: &Chosen| -> Vec<u64> {
        let bytes = |a: &SiteArg| strides::bytes(a.dtype, &a.shape, program.graph.scalars());
        c.scratch.iter().map(bytes).collect()
    };
    let within: Vec<Vec<u64>> = chosen.iter().map(within).collect();
    scratch(&mut b, placement, (&sizes, &within), policy.reuse);
    let needed_bytes = b.total_bytes();
    match policy.budget_bytes {
        Some(budget_bytes) if needed_bytes > budget_bytes => {
            Err(Error::Budget { needed_bytes, budget_bytes })
        }
        _ => Ok(b),
    }
}

/// Whether a tensor is small enough for the device.
///
/// # Errors
/// [`Error::Limit`] if it is larger than the device binds or allocates.
pub(super) fn check(name: &str, bytes: u64, limits: &Limits) -> Result<()> {
    let (limit, what) = if limits.storage_binding_bytes <= limits.buffer_bytes {
        (limits.storage_binding_bytes, "a kernel may bind")
    } else {
        (limits.buffer_bytes, "a buffer may have")
    };
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "tensor `{name}` takes {bytes} bytes, but the device's limit on what {what} is {limit}"
    )))
}

/// Walks the steps; a value takes the smallest free buffer that holds it, or makes the largest one
/// grow, and frees it after the last step that reads it. What lives `within` a step is free after it.
fn scratch(b: &mut Buffers, placement: &Placement, (sizes, within): (&[u64], &[Vec<u64>]), reuse: bool) {
    let mut last_read = vec![0; sizes.len()];
    for (i, step) in placement.steps.iter().enumerate() {
        step.keeps.iter().for_each(|v| last_read[*v] = i);
        step.makes.iter().for_each(|v| last_read[*v] = i.max(last_read[*v]));
    }
    let mut alive: Vec<usize> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for (i, step) in placement.steps.iter().enumerate() {
        // What was last read by an earlier step is free; what this step reads is not.
        for v in alive.extract_if(.., |v| last_read[*v] < i) {
            free.extend(b.of_value[v].filter(|_| reuse));
        }
        for v in step.makes.iter().copied() {
            if b.of_value[v].is_some() {
                continue;
            }
            b.of_value[v] = Some(take(&mut b.specs, &mut free, sizes[v]));
            alive.push(v);
        }
        let taken: Vec<usize> = within[i].iter().map(|bytes| take(&mut b.specs, &mut free, *bytes)).collect();
        free.extend(taken.iter().filter(|_| reuse));
        b.of_scratch.push(taken);
    }
}

/// The smallest free buffer that holds so many bytes; or the largest free one, which grows; or a new one.
fn take(specs: &mut Vec<BufferSpec>, free: &mut Vec<usize>, bytes: u64) -> usize {
    let fits = |f: &&usize| specs[**f].bytes >= bytes;
    let smallest = free.iter().filter(fits).min_by_key(|f| (specs[**f].bytes, **f));
    let found = smallest.or_else(|| free.iter().max_by_key(|f| (specs[**f].bytes, **f))).copied();
    let buffer = found.unwrap_or_else(|| {
        specs.push(BufferSpec { role: Role::Scratch, bytes: 0 });
        specs.len() - 1
    });
    free.retain(|f| *f != buffer);
    specs[buffer].bytes = specs[buffer].bytes.max(bytes);
    buffer
}
