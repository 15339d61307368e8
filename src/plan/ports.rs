//! The tensors of a call: the inputs and outputs of a graph, each in a buffer of the caller's.

use crate::ops::embed::EMBED;
use crate::plan::buffers::Buffers;
use crate::plan::draft::{Origin, Program};
use crate::plan::place::{Home, Placement};
use crate::plan::{Port, emit, strides};

/// The inputs, in the graph's order.
pub(super) fn inputs(program: &Program<'_>, buffers: &Buffers) -> Vec<Port> {
    let values = program.graph.values().len();
    let inputs = (0..values).filter(|v| matches!(program.vals[*v].origin, Origin::Input(_)));
    inputs.map(|v| Port { below: below(program, v), ..port(program, buffers, v, v) }).collect()
}

/// The outputs, in the graph's order.
pub(super) fn outputs(program: &Program<'_>, placement: &Placement, buffers: &Buffers) -> Vec<Port> {
    let outputs = program.graph.outputs().iter().zip(&placement.outputs).zip(program.graph.output_names());
    outputs
        .map(|((v, owner), name)| Port { name: name.clone(), ..port(program, buffers, v.index(), *owner) })
        .collect()
}

/// A value of the graph in the buffer of `owner`, which it fills.
fn port(program: &Program<'_>, buffers: &Buffers, v: usize, owner: usize) -> Port {
    let val = &program.vals[v];
    Port {
        name: val.name.clone(),
        dtype: val.dtype,
        shape: val.shape.clone(),
        layout: emit::layout(&strides::normal(val.dtype, &val.shape, program.graph.scalars())),
        buffer: buffers.of(Home::Value(owner)),
        below: None,
    }
}

/// Rows of the smallest table that an input's elements index, in place or through views.
fn below(program: &Program<'_>, input: usize) -> Option<u64> {
    let root = |mut v: usize| {
        while let Origin::View(parent, _) = program.vals[v].origin {
            v = parent;
        }
        v
    };
    let nodes = program.live.iter().map(|n| &program.graph.nodes()[*n]).filter(|n| n.op == &EMBED);
    let tables = nodes.flat_map(|n| n.inputs.chunks(2).filter_map(|pair| Some((pair[0]?, (*pair.get(1)?)?))));
    let indexed = tables.filter(|(idx, _)| root(idx.index()) == input);
    indexed.map(|(_, table)| program.vals[table.index()].shape[0].max(program.graph.scalars())).min()
}
