//! The `onnx` suite: nodes of the ONNX backend tests, one op each, as graphs of ours.
//!
//! What only shapes a graph (axes, starts, pads, a new shape) is read here; indices of data become u32
//! tensors; a tensor without axes has one of size 1 inside.

use serde_json::Value;
use tachylite::op::Attr;
use tachylite::{Graph, Tensor, ValueId};

use super::build::{Bound, Built, Case, Stop, axis, carry_quantized, unsupported, wrong};
use super::data::{Data, Host};

mod attention;
mod elementwise;
mod loss;
mod norm;
mod product;
mod quantize;
mod recurrent;
mod reduce;
mod rope;
mod select;
mod shape;

/// A node, with what its graph is built from.
struct Node<'a> {
    case: &'a mut Case,
    op: String,
    /// The opset in which the op got the meaning that this node has.
    since: i64,
    attributes: Value,
    inputs: Vec<Option<Host>>,
    outputs: Vec<Option<Host>>,
    bound: Bound,
}

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let number = |field: &str| match json.get(field).and_then(Value::as_f64) {
        Some(n) if n.is_finite() && n >= 0.0 => Ok(n),
        _ => wrong(format!("{field}: must be a number that is not negative")),
    };
    let tensors = |field: &str| -> Built<Vec<Option<Host>>> {
        let Some(list) = json.get(field).and_then(Value::as_array) else {
            return wrong(format!("{field}: must be a list of tensors"));
        };
        let read = |(i, reference): (usize, &Value)| match reference {
            Value::Null => Ok(None),
            reference => data.referred(&format!("{field}[{i}]"), reference).map(Some).map_err(Stop::Wrong),
        };
        list.iter().enumerate().map(read).collect()
    };
    let mut node = Node {
        op: json.get("op").and_then(Value::as_str).unwrap_or_default().to_owned(),
        since: number("since_version")? as i64,
        attributes: json.get("attributes").cloned().unwrap_or_default(),
        inputs: tensors("inputs")?,
        outputs: tensors("outputs")?,
        bound: Bound::Tolerance { rtol: number("rtol")?, atol: number("atol")? },
        case,
    };
    node.build()
}

impl Node<'_> {
    fn build(&mut self) -> Built<()> {
        let families = [
            elementwise::build,
            shape::build,
            reduce::build,
            norm::build,
            product::build,
            quantize::build,
            attention::build,
            recurrent::build,
            rope::build,
            select::build,
            loss::build,
        ];
        for family in families {
            if family(self)? {
                return Ok(());
            }
        }
        unsupported(format!("there is no op `{}`", self.op))
    }

    /// The graph.
    fn g(&mut self) -> &mut Graph {
        &mut self.case.graph
    }

    /// An input that may be left out.
    fn maybe(&self, i: usize) -> Option<&Host> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// An input that must be there.
    fn host(&self, i: usize) -> Built<&Host> {
        match self.maybe(i) {
            Some(host) => Ok(host),
            None => wrong(format!("{}: inputs[{i}] is missing", self.op)),
        }
    }

    /// An input as an f32 or f16 tensor.
    fn x(&mut self, i: usize) -> Built<ValueId> {
        let host = self.host(i)?.clone();
        self.case.carried(&format!("in{i}"), &host)
    }

    /// [`Self::x`], for what is not left out.
    fn maybe_x(&mut self, i: usize) -> Built<Option<ValueId>> {
        if self.maybe(i).is_some() { self.x(i).map(Some) } else { Ok(None) }
    }

    /// An input of up to 8 bits as int8 or uint8.
    fn quantized(&mut self, i: usize) -> Built<ValueId> {
        let tensor = carry_quantized(self.host(i)?)?;
        self.case.given(&format!("in{i}"), tensor)
    }

    /// An input that the graph is shaped by.
    fn indices(&self, i: usize) -> Built<Option<Vec<i64>>> {
        let Some(host) = self.maybe(i) else { return Ok(None) };
        host.indices().map(Some).map_err(Stop::Wrong)
    }

    /// The only element of an input.
    fn scalar(&self, i: usize) -> Built<Option<f64>> {
        let Some(host) = self.maybe(i) else { return Ok(None) };
        match host.numbers().map_err(Stop::Unsupported)?.as_slice() {
            [v] => Ok(Some(*v)),
            all => wrong(format!("{}: inputs[{i}] has {} elements, but takes 1", self.op, all.len())),
        }
    }

    /// A number as a tensor that broadcasts.
    fn constant(&mut self, name: &str, value: f64) -> Built<ValueId> {
        self.case.numbers(name, &[1], &[value])
    }

    /// Places along an axis, as a u32 tensor.
    fn places(&mut self, name: &str, shape: &[usize], places: &[usize]) -> Built<ValueId> {
        let places: Vec<u32> = places.iter().map(|p| u32::try_from(*p).unwrap_or(u32::MAX)).collect();
        let tensor = Tensor::from_u32(shape, &places)?;
        self.case.given(name, tensor)
    }

    fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.get(name).filter(|v| !v.is_null())
    }

    /// A whole-number attribute.
    fn int(&self, name: &str, default: i64) -> Built<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(v) => v.as_i64().map_or_else(|| wrong(format!("{name}: must be a whole number")), Ok),
        }
    }

    /// A float attribute.
    fn float(&self, name: &str, default: f64) -> Built<f64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(v) => v.as_f64().map_or_else(|| wrong(format!("{name}: must be a number")), Ok),
        }
    }

    /// A text attribute.
    fn text(&self, name: &str, default: &str) -> String {
        self.attribute(name).and_then(Value::as_str).unwrap_or(default).to_owned()
    }

    /// An attribute that is a list of whole numbers.
    fn ints(&self, name: &str) -> Built<Option<Vec<i64>>> {
        let Some(value) = self.attribute(name) else { return Ok(None) };
        let list = value.as_array().and_then(|l| l.iter().map(Value::as_i64).collect());
        list.map_or_else(|| wrong(format!("{name}: must be a list of whole numbers")), |l| Ok(Some(l)))
    }

    /// The attribute `axis`, counted from the front.
    fn axis(&self, default: i64, rank: usize) -> Built<usize> {
        axis(self.int("axis", default)?, rank)
    }

    /// Whole numbers wrap around in ONNX, and ours are f32.
    fn floats_only(&self) -> Built<()> {
        match self.inputs.iter().flatten().find(|h| h.is_integer()) {
            Some(host) => unsupported(format!("integer arithmetic ({})", host.logical)),
            None => Ok(()),
        }
    }

    /// As [`Self::floats_only`], for some of the inputs.
    fn floats_of(&self, inputs: &[usize]) -> Built<()> {
        match inputs.iter().filter_map(|i| self.maybe(*i)).find(|h| h.is_integer()) {
            Some(host) => unsupported(format!("integer arithmetic ({})", host.logical)),
            None => Ok(()),
        }
    }

    /// x times a number.
    fn scale(&mut self, x: ValueId, by: f64) -> Built<ValueId> {
        Ok(self.g().scale(x, Attr::F32(by as f32))?)
    }

    /// x plus a number.
    fn offset(&mut self, x: ValueId, by: f64) -> Built<ValueId> {
        Ok(self.g().offset(x, Attr::F32(by as f32))?)
    }

    /// Says that a value is an output, if the case looks at it.
    fn out(&mut self, i: usize, id: ValueId) -> Built<()> {
        let Some(host) = self.outputs.get(i).cloned().flatten() else { return Ok(()) };
        self.case.expect(&format!("out{i}"), id, &host, self.bound)
    }
}
