//! A case's graph once more, its inputs being views that overlap in one tensor: what a kernel finds
//! when it is handed parts of a packed tensor, or the same memory twice.

use super::Case;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Graph, Source, Value, ValueId};
use crate::op::{INDEX, Kind, Op};
use crate::rng::Rng;

/// How far apart views of one tensor start along its last axis, in elements: aligned, so that kernels
/// read in place, and less than most rows, so that views overlap.
const APART: usize = 8;
/// What joins the names of the values that one tensor holds.
const JOINT: char = '+';

/// Whether an input can be a view: indices are read tight, and of some types there are weights only.
fn suits(v: &Value, source: Source) -> bool {
    v.source == source && v.dtype != DType::U32 && !v.dtype.is_of_weights() && !v.shape.is_empty()
}

/// Whether a case of an op has anything to view: more than indices, states and weights of such a type.
pub(super) fn has_views(op: &Op, w: DType) -> bool {
    let is_state = |i: usize| op.changes().any(|(changed, _)| changed == i);
    let mut inputs = op.inputs.iter().enumerate();
    if inputs.all(|(i, arg)| arg.dtypes == INDEX || is_state(i)) {
        return false;
    }
    !w.is_of_weights() || op.inputs.first().is_some_and(|first| first.dtypes != INDEX)
}

/// The values that become views: inputs, or weights if no input can.
fn viewed(graph: &Graph) -> Vec<usize> {
    let is_state = |i: &usize| graph.states().iter().any(|s| s.found().index() == *i);
    let of = |source| -> Vec<usize> {
        (0..graph.values().len()).filter(|i| suits(&graph.values()[*i], source) && !is_state(i)).collect()
    };
    let inputs = of(Source::Input);
    if inputs.is_empty() { of(Source::Weight) } else { inputs }
}

impl Case {
    /// A graph that computes the same of views: those of one shape and type overlap in one tensor,
    /// unless their op says how to fill them.
    pub(super) fn aliased(&self, graph: &Graph) -> Result<Graph> {
        let mut out = Graph::new();
        let mut ids: Vec<Option<ValueId>> = vec![None; graph.values().len()];
        let mut families: Vec<Vec<usize>> = Vec::new();
        for i in viewed(graph) {
            let like = |v: &usize| {
                let (a, b) = (&graph.values()[*v], &graph.values()[i]);
                (a.dtype, &a.shape) == (b.dtype, &b.shape) && !self.fills(a) && !self.fills(b)
            };
            match families.iter_mut().find(|f| f.iter().all(like)) {
                Some(family) => family.push(i),
                None => families.push(vec![i]),
            }
        }
        for family in families {
            let Value { dtype, shape, .. } = &graph.values()[family[0]];
            let names: Vec<_> = family.iter().map(|i| graph.values()[*i].name.as_str()).collect();
            let axis = shape.len() - 1;
            let width = shape[axis].constant().unwrap_or(1) as usize;
            let mut whole = shape.clone();
            whole[axis] = Dim::from(width + APART * (family.len() + 1));
            let root = out.input(&names.join(&JOINT.to_string()), *dtype, &whole)?;
            for (place, i) in family.iter().enumerate() {
                ids[*i] = Some(out.slice(root, axis, APART * (place + 1), width)?);
            }
        }
        for (i, value) in
            graph.values().iter().enumerate().filter(|(i, _)| ids[*i].is_none()).collect::<Vec<_>>()
        {
            ids[i] = match value.source {
                Source::Input if graph.states().iter().any(|s| s.found().index() == i) => {
                    Some(out.state(&value.name, value.dtype, &value.shape)?)
                }
                Source::Input => Some(out.input(&value.name, value.dtype, &value.shape)?),
                Source::Weight => {
                    let shape: Vec<_> =
                        value.shape.iter().map(|d| d.constant().unwrap_or(0) as usize).collect();
                    Some(out.weight(&value.name, value.dtype, &shape)?)
                }
                Source::Node { .. } => None,
            };
        }
        for node in graph.nodes() {
            let inputs: Vec<_> = node.inputs.iter().map(|v| v.and_then(|v| ids[v.index()])).collect();
            let shaped = node.op.kind == Kind::View && node.op.attrs.is_empty();
            let made = match inputs.first() {
                Some(Some(x)) if shaped => {
                    vec![out.apply_view(node.op, *x, &graph.value(node.outputs[0]).shape)?]
                }
                _ => out.apply(node.op, &inputs, &node.attrs)?,
            };
            node.outputs.iter().zip(made).for_each(|(old, new)| ids[old.index()] = Some(new));
        }
        for (id, name) in graph.outputs().iter().zip(graph.output_names()) {
            if let Some(id) = ids[id.index()]
                && !out.outputs().contains(&id)
            {
                out.output(name, id)?;
            }
        }
        Ok(out)
    }

    fn fills(&self, value: &Value) -> bool {
        let shape: Vec<_> = value.shape.iter().map(|d| d.constant().unwrap_or(0) as usize).collect();
        self.filled(&value.name, &shape, &mut Rng::new(0)).is_some()
    }

    /// The values of a tensor that a view reads, if its op says how to fill the view: each row lies
    /// between numbers that do no harm.
    pub(super) fn filled_around(&self, name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
        let (last, leading) = shape.split_last()?;
        let mut inner = leading.to_vec();
        inner.push(last.checked_sub(2 * APART)?);
        let values = self.filled(name, &inner, rng)?;
        let mut out = Vec::with_capacity(leading.iter().product::<usize>() * last);
        for row in 0..leading.iter().product() {
            let width = inner[leading.len()];
            out.resize(out.len() + APART, 1.0);
            out.extend_from_slice(&values[row * width..(row + 1) * width]);
            out.resize(out.len() + APART, 1.0);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::cases;

    #[test]
    fn operands_of_one_shape_overlap_in_one_tensor() {
        let case = cases().into_iter().find(|c| c.aliased && c.op() == "sub").unwrap();
        let (graph, _) = case.build().unwrap();
        let inputs: BTreeMap<_, _> = graph
            .values()
            .iter()
            .filter(|v| v.source == Source::Input)
            .map(|v| (v.name.as_str(), v.shape[1].constant()))
            .collect();
        assert_eq!(inputs, BTreeMap::from([("a+b", Some(5 + 24))]));
        let plan = crate::plan::plan(&graph, &crate::Profile::portable(), &case.policy()).unwrap();
        assert_eq!(plan.steps.len(), 1, "read in place");
    }

    #[test]
    fn what_must_be_filled_is_filled_between_ones() {
        let case = cases().into_iter().find(|c| c.aliased && c.op() == "log").unwrap();
        let (graph, call) = case.build().unwrap();
        let prepared = case.prepare(&graph, &call, 1).unwrap();
        let x = prepared.tensors["x"].to_f64();
        assert_eq!(x[..APART], [1.0; APART]);
        assert!(x.iter().all(|v| *v > 0.0) && x.iter().any(|v| *v != 1.0));
    }
}
