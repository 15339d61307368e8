//! Nodes that are methods of [`Graph`](tachylite::Graph) and no ops, or whose attributes are no numbers.

use serde_json::{Map, Value};
use tachylite::ops::quantize::Rounding;
use tachylite::{DType, ValueId};

use super::{Reader, Result, known};

/// Their names.
pub(super) const NAMES: [&str; 9] =
    ["transpose", "gather", "quantize", "dequantize", "sum", "mean", "max", "min", "prod"];

impl Reader {
    /// Applies such a method; `None` if the name is of none.
    pub(super) fn method(
        &mut self,
        name: &str,
        inputs: &[Option<ValueId>],
        attrs: &Map<String, Value>,
        at: &str,
    ) -> Result<Option<ValueId>> {
        let of_attrs: &[&str] = match name {
            "reshape" | "expand" => &["shape"],
            "transpose" => &["order"],
            "concat" | "gather" | "softmax" | "log_softmax" => &["axis"],
            "sum" | "mean" | "max" | "min" | "prod" => &["axes", "keep"],
            "cast" => &["to"],
            "quantize" => &["to", "away"],
            "dequantize" => &["to"],
            "where" => &[],
            _ => return Ok(None),
        };
        known(attrs, &format!("{at}.attrs"), of_attrs)?;
        let a = Attrs { map: attrs, at };
        let takes = |n: usize| -> Result<ValueId> {
            let first = inputs.first().copied().flatten().filter(|_| inputs.len() == n);
            first.ok_or_else(|| {
                format!("{at}.inputs: {name} takes {n} tensors, but {} were given", inputs.len())
            })
        };
        let second =
            |i: usize| inputs.get(i).copied().flatten().ok_or(format!("{at}.inputs[{i}]: was not given"));
        let last = |r: &Self, x: ValueId| r.g.value(x).shape.len().saturating_sub(1);
        let result = match name {
            "reshape" | "expand" => {
                let shape = attrs.get("shape").unwrap_or(&Value::Null);
                let shape = self.shape(shape, &format!("{at}.attrs.shape"))?;
                let x = takes(1)?;
                if name == "reshape" { self.g.reshape(x, &shape) } else { self.g.expand(x, &shape) }
            }
            "transpose" => self.g.transpose(takes(1)?, &a.list("order")?),
            "concat" => {
                let tensors: Option<Vec<_>> = inputs.iter().copied().collect();
                let tensors = tensors.ok_or_else(|| format!("{at}.inputs: concat takes no null"))?;
                self.g.concat(&tensors, a.number("axis", None)?)
            }
            "gather" => self.g.gather(takes(2)?, second(1)?, a.number("axis", None)?),
            "softmax" | "log_softmax" => {
                let x = takes(1)?;
                let axis = a.number("axis", Some(last(self, x)))?;
                if name == "softmax" { self.g.softmax(x, axis) } else { self.g.log_softmax(x, axis) }
            }
            "sum" => self.g.sum(takes(1)?, &a.list("axes")?, a.truth("keep")?),
            "mean" => self.g.mean(takes(1)?, &a.list("axes")?, a.truth("keep")?),
            "max" => self.g.max(takes(1)?, &a.list("axes")?, a.truth("keep")?),
            "min" => self.g.min(takes(1)?, &a.list("axes")?, a.truth("keep")?),
            "prod" => self.g.prod(takes(1)?, &a.list("axes")?, a.truth("keep")?),
            "where" => {
                let cond = takes(3)?;
                self.g.select(cond, second(1)?, second(2)?)
            }
            "cast" => self.g.cast(takes(1)?, a.dtype("to")?),
            "quantize" | "dequantize" if inputs.len() == 2 => {
                let three = [inputs[0], inputs[1], None];
                return self.method(name, &three, attrs, at);
            }
            "quantize" => {
                let rounding = if a.truth("away")? { Rounding::HalfAway } else { Rounding::HalfToEven };
                self.g.quantize(takes(3)?, second(1)?, inputs[2], a.dtype("to")?, rounding)
            }
            _ => self.g.dequantize(takes(3)?, second(1)?, inputs[2], a.dtype("to")?),
        };
        result.map(Some).map_err(|e| format!("{at}: {e}"))
    }
}

/// The attributes of a node, with its place for messages.
struct Attrs<'a> {
    map: &'a Map<String, Value>,
    at: &'a str,
}

impl Attrs<'_> {
    fn wrong<T>(&self, name: &str, what: &str) -> Result<T> {
        Err(format!("{}.attrs.{name}: must be {what}", self.at))
    }

    fn number(&self, name: &str, default: Option<usize>) -> Result<usize> {
        match (self.map.get(name), default) {
            (None, Some(default)) => Ok(default),
            (Some(Value::Number(n)), _) if n.as_u64().is_some() => {
                Ok(n.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX))
            }
            _ => self.wrong(name, "a whole number"),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<usize>> {
        let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        let list = self.map.get(name).and_then(Value::as_array);
        match list.and_then(|l| l.iter().map(number).collect()) {
            Some(list) => Ok(list),
            None => self.wrong(name, "a list of whole numbers"),
        }
    }

    fn truth(&self, name: &str) -> Result<bool> {
        match self.map.get(name) {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(*b),
            Some(_) => self.wrong(name, "true or false"),
        }
    }

    fn dtype(&self, name: &str) -> Result<DType> {
        match self.map.get(name).and_then(Value::as_str).and_then(DType::parse) {
            Some(dtype) => Ok(dtype),
            None => self.wrong(name, "a type"),
        }
    }
}
