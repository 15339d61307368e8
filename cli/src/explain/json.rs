//! Graphs as JSON. Whatever is wrong with a file is one sentence with the place.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tachylite::op::{Attr, AttrKind, Op};
use tachylite::ops::attention::OPEN;
use tachylite::{DType, Dim, Graph, ValueId, ops};

mod methods;

/// The format, as `--help` tells it.
pub(crate) const FORMAT: &str = r#"A graph is a JSON object:

  {
    "dims": {"B": 32},                     sizes that each call gives, with their bounds
    "scalars": ["alpha"],                  floats that each call gives
    "inputs": [
      {"name": "x", "dtype": "f32", "shape": ["B", 384]}
    ],
    "weights": [
      {"name": "w", "dtype": "q8_0", "shape": [1536, 384]},
      {"name": "b", "dtype": "f32", "shape": [1536]}
    ],
    "nodes": [
      {"op": "matmul", "inputs": ["x", "w"], "name": "h"},
      {"op": "add", "inputs": ["h", "b"], "name": "biased"},
      {"op": "scale", "inputs": ["biased"], "attrs": {"scale": "alpha"}, "name": "y"}
    ],
    "outputs": ["y"]
  }

A size is a number, a dim, or a product: "B*384". dtype is f32, f16, u32, i8, u8, and for
weights bf16 and blocks: q8_0, q4_k, mxfp4, ...
A node's inputs stand in the order of the op's signature, null where an optional one is left out;
`name` names its result. Attributes that are floats may be the name of a scalar. Besides the ops:

  reshape, expand          "shape"
  transpose                "order"
  concat                   any number of inputs, "axis"
  sum mean max min prod    "axes", and "keep" (true or false)
  softmax log_softmax      "axis", which is the last one by default
  gather                   "axis"
  cast                     "to", a type
  quantize, dequantize     x, scale, and a zero point or null; "to", a type; "away" (true: halves away from 0)"#;

type Result<T> = std::result::Result<T, String>;

/// The graph that a text describes.
pub(super) fn graph(text: &str) -> Result<Graph> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let top = object(&value, "the graph")?;
    known(top, "the graph", &["dims", "scalars", "inputs", "weights", "nodes", "outputs"])?;
    let mut r =
        Reader { g: Graph::new(), dims: HashMap::new(), scalars: HashMap::new(), values: HashMap::new() };
    if let Some(dims) = top.get("dims") {
        for (name, max) in object(dims, "dims")? {
            let at = format!("dims.{name}");
            let max = max.as_u64().ok_or_else(|| format!("{at}: the bound must be a whole number"))?;
            let dim = r.g.dim(name, max).map_err(|e| format!("{at}: {e}"))?;
            r.dims.insert(name.clone(), dim);
        }
    }
    for (i, name) in list(top, "the graph", "scalars")?.iter().enumerate() {
        let at = format!("scalars[{i}]");
        let name = name.as_str().ok_or_else(|| format!("{at}: must be a name"))?;
        let scalar = r.g.scalar(name).map_err(|e| format!("{at}: {e}"))?;
        r.scalars.insert(name.to_owned(), scalar);
    }
    for field in ["inputs", "weights"] {
        for (i, tensor) in list(top, "the graph", field)?.iter().enumerate() {
            r.tensor(tensor, field == "weights", &format!("{field}[{i}]"))?;
        }
    }
    for (i, node) in list(top, "the graph", "nodes")?.iter().enumerate() {
        r.node(node, &format!("nodes[{i}]"))?;
    }
    for (i, name) in list(top, "the graph", "outputs")?.iter().enumerate() {
        let at = format!("outputs[{i}]");
        let id = r.value(name, &at)?;
        r.g.output(name.as_str().unwrap_or_default(), id).map_err(|e| format!("{at}: {e}"))?;
    }
    Ok(r.g)
}

struct Reader {
    g: Graph,
    dims: HashMap<String, Dim>,
    scalars: HashMap<String, Attr>,
    values: HashMap<String, ValueId>,
}

impl Reader {
    fn tensor(&mut self, value: &Value, weight: bool, at: &str) -> Result<()> {
        let fields = object(value, at)?;
        known(fields, at, &["name", "dtype", "shape"])?;
        let name = string(fields, at, "name")?;
        let dtype = string(fields, at, "dtype")?;
        let dtype = DType::parse(dtype).ok_or_else(|| format!("{at}.dtype: there is no type `{dtype}`"))?;
        let shape = self.shape(fields.get("shape").unwrap_or(&Value::Null), &format!("{at}.shape"))?;
        let id = if weight {
            let fixed = |d: &Dim| d.constant().and_then(|n| usize::try_from(n).ok());
            let fixed: Option<Vec<usize>> = shape.iter().map(fixed).collect();
            let fixed = fixed.ok_or_else(|| format!("{at}.shape: a weight's sizes must be fixed"))?;
            self.g.weight(name, dtype, &fixed)
        } else {
            self.g.input(name, dtype, &shape)
        };
        self.define(name, id.map_err(|e| format!("{at}: {e}"))?, at)
    }

    fn define(&mut self, name: &str, id: ValueId, at: &str) -> Result<()> {
        match self.values.insert(name.to_owned(), id) {
            None => Ok(()),
            Some(_) => Err(format!("{at}.name: there is already a tensor `{name}`")),
        }
    }

    fn node(&mut self, value: &Value, at: &str) -> Result<()> {
        let fields = object(value, at)?;
        known(fields, at, &["op", "inputs", "attrs", "name"])?;
        let name = string(fields, at, "op")?;
        let mut inputs = Vec::new();
        for (i, input) in list(fields, at, "inputs")?.iter().enumerate() {
            let at = format!("{at}.inputs[{i}]");
            inputs.push(if input.is_null() { None } else { Some(self.value(input, &at)?) });
        }
        let none = Map::new();
        let attrs = match fields.get("attrs") {
            Some(attrs) => object(attrs, &format!("{at}.attrs"))?,
            None => &none,
        };
        let result = match self.method(name, &inputs, attrs, at)? {
            Some(result) => result,
            None => {
                let op = ops::by_name(name).ok_or_else(|| {
                    let there: Vec<_> = ops::ALL.iter().map(|o| o.name).collect();
                    let more = methods::NAMES.join(", ");
                    format!("{at}.op: there is no op `{name}`; there are {}, {more}", there.join(", "))
                })?;
                self.apply(op, &inputs, attrs, at)?
            }
        };
        self.define(string(fields, at, "name")?, result, at)
    }

    fn apply(
        &mut self,
        op: &'static Op,
        inputs: &[Option<ValueId>],
        attrs: &Map<String, Value>,
        at: &str,
    ) -> Result<ValueId> {
        let mut list = Vec::new();
        let is_attention = op.name == "attention";
        for (name, value) in attrs {
            if is_attention && name == "causal" {
                continue; // told below
            }
            let at = format!("{at}.attrs.{name}");
            let own = op.attrs.iter().find(|(own, _)| *own == name);
            let (own, kind) = own.ok_or_else(|| format!("{at}: {} has no such attribute", op.name))?;
            let whole = matches!(kind, AttrKind::U32 | AttrKind::Whole);
            list.push((*own, self.attr(whole, value, &at)?));
        }
        // As `Graph::attention`, causality being a window that ends with the query.
        let causal = match attrs.get("causal") {
            Some(value) if is_attention => {
                self.attr(true, value, &format!("{at}.attrs.causal"))? != Attr::U32(0)
            }
            _ => false,
        };
        let (reach, right) = if causal { (1, 0) } else { (0, OPEN) };
        let whole = [("reach", reach), ("left", OPEN), ("right", right), ("lse", 0)];
        let whole = [&whole[..], &["k_form", "v_form", "v_width"].map(|name| (name, 0))].concat();
        let defaults = whole.into_iter().map(|(name, n)| (name, Attr::U32(n)));
        let defaults = defaults.chain([("softcap", Attr::F32(0.0))]);
        list.extend(defaults.filter(|(name, _)| is_attention && !attrs.contains_key(*name)));
        if is_attention && !attrs.contains_key("scale") {
            // As `Graph::attention`: 1/√D.
            let q = inputs.first().copied().flatten().and_then(|q| self.g.value(q).shape.get(3)?.constant());
            list.push(("scale", Attr::F32((1.0 / (q.unwrap_or(1).max(1) as f64).sqrt()) as f32)));
        }
        let results = self.g.apply(op, inputs, &list).map_err(|e| format!("{at}: {e}"))?;
        results.first().copied().ok_or_else(|| format!("{at}: {} gives no result", op.name))
    }

    fn attr(&self, whole: bool, value: &Value, at: &str) -> Result<Attr> {
        match value {
            Value::Bool(b) if whole => Ok(Attr::U32(u32::from(*b))),
            Value::Number(n) if whole => {
                let n = n.as_u64().and_then(|n| u32::try_from(n).ok());
                n.map(Attr::U32).ok_or_else(|| format!("{at}: must be a whole number"))
            }
            Value::Number(n) => Ok(Attr::F32(n.as_f64().unwrap_or(f64::NAN) as f32)),
            Value::String(s) if !whole => match self.scalars.get(s) {
                Some(scalar) => Ok(*scalar),
                None => Err(format!("{at}: there is no scalar `{s}`")),
            },
            _ => Err(format!("{at}: must be a number")),
        }
    }

    fn value(&self, name: &Value, at: &str) -> Result<ValueId> {
        let name = name.as_str().ok_or_else(|| format!("{at}: must be the name of a tensor"))?;
        self.values.get(name).copied().ok_or_else(|| format!("{at}: there is no tensor `{name}`"))
    }

    fn shape(&self, value: &Value, at: &str) -> Result<Vec<Dim>> {
        let Some(sizes) = value.as_array() else { return Err(format!("{at}: must be a list of sizes")) };
        let size = |(i, size): (usize, &Value)| match size {
            Value::Number(n) => {
                n.as_u64().map(Dim::from).ok_or_else(|| format!("{at}[{i}]: must be a whole number"))
            }
            Value::String(s) => self.product(s, &format!("{at}[{i}]")),
            _ => Err(format!("{at}[{i}]: must be a whole number or a dim")),
        };
        sizes.iter().enumerate().map(size).collect()
    }

    fn product(&self, text: &str, at: &str) -> Result<Dim> {
        text.split('*').map(str::trim).try_fold(Dim::ONE, |product, part| {
            let known = self.dims.get(part).cloned().or_else(|| part.parse::<u64>().ok().map(Dim::from));
            let dim = known.ok_or_else(|| format!("{at}: there is no dim `{part}`"))?;
            Ok(product.times(&dim))
        })
    }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| format!("{at}: must be an object"))
}

/// Fields that nobody knows are mistakes.
fn known(fields: &Map<String, Value>, at: &str, names: &[&str]) -> Result<()> {
    match fields.keys().find(|k| !names.contains(&k.as_str())) {
        Some(unknown) => Err(format!("{at}: there is no field `{unknown}`; there are {}", names.join(", "))),
        None => Ok(()),
    }
}

fn string<'a>(fields: &'a Map<String, Value>, at: &str, name: &str) -> Result<&'a str> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("{at}.{name}: must be there, as text"))
}

fn list<'a>(fields: &'a Map<String, Value>, at: &str, name: &str) -> Result<&'a [Value]> {
    match fields.get(name) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("{at}: `{name}` must be a list")),
    }
}

#[cfg(test)]
mod tests;
