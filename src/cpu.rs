//! Evaluates a graph with the references of its ops, in f64. It never sees a plan, so a planner's
//! mistake cannot hide from it; and it knows how far off each result may be.

use std::collections::BTreeMap;

use crate::dim::Call;
use crate::error::{Error, Result};
use crate::formats;
use crate::graph::{Graph, Source, Value};
use crate::numerics::Approx;
use crate::op::{Attr, RefCall};
use crate::plan::Numerics;
use crate::tensor::Tensor;

/// Evaluates a graph: `inputs` holds its inputs and weights by name. Returns its outputs in order,
/// each rounded to its type.
///
/// # Errors
/// [`Error::Argument`] if an input or weight is missing or of another type, [`Error::Shape`] if it
/// has another shape than this call gives it.
pub fn evaluate(graph: &Graph, inputs: &BTreeMap<String, Tensor>, call: &Call) -> Result<Vec<Tensor>> {
    let mut values = load(graph, inputs, call)?;
    let last_use = last_uses(graph);
    for (i, node) in graph.nodes().iter().enumerate() {
        evaluate_nodes(graph, &[i], &mut values, call, Numerics::F32)?;
        for id in node.inputs.iter().flatten().chain(&node.outputs).map(|id| id.index()) {
            if last_use[id] <= i {
                values[id] = None;
            }
        }
    }
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|id| {
        let approx = values[id.index()].as_ref().ok_or_else(|| missing("cpu", graph.value(*id)))?;
        Tensor::from_f64(graph.value(*id).dtype, &approx.shape, &approx.value)
    });
    outputs.collect()
}

/// The graph's values, those that are inputs and weights filled in from `inputs` as a kernel would
/// read them.
///
/// # Errors
/// As [`evaluate`].
pub fn load(graph: &Graph, inputs: &BTreeMap<String, Tensor>, call: &Call) -> Result<Vec<Option<Approx>>> {
    let value = |value: &Value| match value.source {
        Source::Node { .. } => Ok(None),
        _ => given(value, inputs, call).map(Some),
    };
    graph.values().iter().map(value).collect()
}

/// An input or a weight as a kernel would read it.
///
/// # Errors
/// As [`evaluate`].
pub fn given(value: &Value, inputs: &BTreeMap<String, Tensor>, call: &Call) -> Result<Approx> {
    let tensor = inputs.get(&value.name).ok_or_else(|| missing("cpu", value))?;
    let shape = shape(value, call);
    if tensor.dtype() != value.dtype {
        return Err(Error::Argument(format!(
            "cpu: `{}` is {}, but the graph has {}",
            value.name,
            tensor.dtype(),
            value.dtype
        )));
    }
    if tensor.shape() != shape {
        return Err(Error::Shape(format!(
            "cpu: `{}` has shape {:?}, but this call gives it {shape:?}",
            value.name,
            tensor.shape()
        )));
    }
    let mut approx = Approx::exact(&shape, tensor.to_f64()).loaded(value.dtype);
    if value.dtype.is_blocks() {
        approx.least = formats::leasts(value.dtype, &tensor.to_bytes());
    }
    Ok(approx)
}

/// Runs the references of some nodes, in order, over `values`, one for each of the graph's values.
/// Results carry the error of being stored in their type, whether or not a kernel stores them: a
/// fused step may keep more precision than the graph says, or less than f64 does. `numerics` says which
/// function the kernels compute that the values are for.
///
/// # Errors
/// [`Error::Argument`] if a value that a node reads is not there.
///
/// # Panics
/// If a reference returns another number of elements than its op infers, which is our own bug.
pub fn evaluate_nodes(
    graph: &Graph,
    nodes: &[usize],
    values: &mut [Option<Approx>],
    call: &Call,
    numerics: Numerics,
) -> Result<()> {
    for &node in nodes {
        let node = &graph.nodes()[node];
        let input = |id| match &values[crate::graph::ValueId::index(id)] {
            Some(approx) => Ok(approx),
            None => Err(missing(node.op.name, graph.value(id))),
        };
        let inputs = node.inputs.iter().map(|id| id.map(input).transpose()).collect::<Result<Vec<_>>>()?;
        let dtypes = node.inputs.iter().map(|id| id.map(|id| graph.value(id).dtype)).collect();
        let attr = |attr: &Attr| match attr {
            Attr::U32(v) => f64::from(*v),
            Attr::F32(v) => f64::from(*v),
            Attr::Scalar(id) => call.get(*id),
        };
        let attrs = node.attrs.iter().map(|(name, a)| (*name, attr(a))).collect();
        let first = node.outputs.first().map(|id| shape(graph.value(*id), call)).unwrap_or_default();
        let sizes = node.axes.sizes(|d| d.eval(call));
        let results = (node.op.reference)(&RefCall { sizes, attrs, inputs, dtypes, shape: first, numerics });
        assert_eq!(results.len(), node.outputs.len(), "{}: outputs of the reference", node.op.name);
        for (id, mut result) in node.outputs.iter().zip(results) {
            let value = graph.value(*id);
            result.shape = shape(value, call);
            let elements: usize = result.shape.iter().product();
            assert_eq!(result.value.len(), elements, "{}: elements of the reference", node.op.name);
            values[id.index()] = Some(result.stored(value.dtype));
        }
    }
    Ok(())
}

/// A value's shape in one call.
pub fn shape(value: &Value, call: &Call) -> Vec<usize> {
    value.shape.iter().map(|d| usize::try_from(d.eval(call)).unwrap_or(usize::MAX)).collect()
}

fn missing(who: &str, value: &Value) -> Error {
    Error::Argument(format!("{who}: `{}` was not given", value.name))
}

/// For each value the last node that reads it; values that a call returns are never done with.
fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![0; graph.values().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        for id in node.inputs.iter().flatten() {
            last[id.index()] = i;
        }
    }
    for id in graph.outputs() {
        last[id.index()] = usize::MAX;
    }
    last
}
