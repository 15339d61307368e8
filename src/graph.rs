//! What the user builds: values wired together by ops.

use crate::dim::{Dim, ScalarId, ScalarKind, ScalarSpec};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Attr, AttrKind, Axes, Axis, Fold, Infer, Kind, Op, Operand};

mod states;

pub use states::State;

/// A value of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Its place in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Each call gives it.
    Input,
    /// Given once, when a plan is loaded.
    Weight,
    /// The output `output` of node `node`.
    Node {
        /// Which node.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// A value: a tensor that the graph knows by shape and type.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its name; results are named after their op unless named by [`Graph::output`].
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape, outermost axis first.
    pub shape: Vec<Dim>,
    /// Where it comes from.
    pub source: Source,
}

/// One op, applied.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub op: &'static Op,
    /// One per argument of the op's signature; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// What it makes.
    pub outputs: Vec<ValueId>,
    /// Its attributes.
    pub attrs: Vec<(&'static str, Attr)>,
    /// The size of every axis of the op.
    pub axes: Axes,
    /// How each input's shape, then each output's, reads as axes of the op.
    pub folds: Vec<Fold>,
}

/// Ops wired together, in an order in which they can run.
///
/// Every method checks shapes and types at once, so a graph that exists is a graph that means
/// something.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    scalars: Vec<ScalarSpec>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    outputs: Vec<ValueId>,
    output_names: Vec<String>,
    states: Vec<State>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scalars that a call gives.
    pub fn scalars(&self) -> &[ScalarSpec] {
        &self.scalars
    }

    /// Every value, in the order of creation.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Every node, each after the nodes it needs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The values that a call returns.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The names of [`outputs`](Self::outputs), in the same order.
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// A value's shape as people read it: `[B, S, 384]`.
    pub fn show_shape(&self, id: ValueId) -> String {
        self.show_dims(&self.value(id).shape)
    }

    /// A shape as people read it.
    pub(crate) fn show_dims(&self, shape: &[Dim]) -> String {
        crate::dim::show_shape(shape, &self.scalars)
    }

    /// A size that each call gives, from 0 to `max`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the name is taken.
    pub fn dim(&mut self, name: &str, max: u64) -> Result<Dim> {
        self.scalar_spec(name, ScalarKind::Dim { max }).map(Dim::var)
    }

    /// A float that each call gives, for attributes.
    ///
    /// # Errors
    /// [`Error::Argument`] if the name is taken.
    pub fn scalar(&mut self, name: &str) -> Result<Attr> {
        self.scalar_spec(name, ScalarKind::F32).map(Attr::Scalar)
    }

    fn scalar_spec(&mut self, name: &str, kind: ScalarKind) -> Result<ScalarId> {
        if self.scalars.iter().any(|s| s.name == name) {
            return Err(Error::Argument(format!("graph: there is already a scalar `{name}`")));
        }
        self.scalars.push(ScalarSpec { name: name.to_owned(), kind });
        Ok(ScalarId(self.scalars.len() as u32 - 1))
    }

    /// A tensor that each call gives.
    ///
    /// # Errors
    /// [`Error::Argument`] if the name is taken or the type is a block format, which only weights have.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[Dim]) -> Result<ValueId> {
        if dtype.is_of_weights() {
            return Err(Error::Argument(format!("graph: input `{name}` cannot be {dtype}; weights can")));
        }
        self.named(name, dtype, shape, Source::Input)
    }

    /// A tensor that is given once, when a plan is loaded. Its shape must be fixed.
    ///
    /// # Errors
    /// [`Error::Argument`] if the name is taken; [`Error::Shape`] if a dim of the call is in its
    /// shape or its last axis cuts a block.
    pub fn weight(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Result<ValueId> {
        crate::tensor::byte_len(dtype, shape).map_err(|e| Error::Shape(format!("weight `{name}`: {e}")))?;
        let dims: Vec<_> = shape.iter().map(|n| Dim::from(*n)).collect();
        self.named(name, dtype, &dims, Source::Weight)
    }

    fn named(&mut self, name: &str, dtype: DType, shape: &[Dim], source: Source) -> Result<ValueId> {
        self.check_dims(shape)?;
        let is_output = self.outputs.iter().any(|o| self.value(*o).name == name);
        let is_given = |v: &Value| v.name == name && !matches!(v.source, Source::Node { .. });
        if is_output || self.values.iter().any(is_given) {
            return Err(Error::Argument(format!("graph: there is already a tensor `{name}`")));
        }
        Ok(self.push_value(Value { name: name.to_owned(), dtype, shape: shape.to_vec(), source }))
    }

    fn push_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Names a value and returns it from every call. Any value but a weight can be an output.
    ///
    /// # Errors
    /// [`Error::Argument`] if an input or another output has that name, the value is an output
    /// already, or it is a weight.
    pub fn output(&mut self, name: &str, id: ValueId) -> Result<()> {
        self.has(id)?;
        let is_input = |v: &Value| v.source == Source::Input && v.name == name;
        if self.outputs.contains(&id) || self.output_names.iter().any(|n| n == name) {
            return Err(Error::Argument(format!("graph: output `{name}` is there already")));
        }
        if self.values.iter().any(is_input) {
            return Err(Error::Argument(format!("graph: output `{name}` has the name of an input")));
        }
        match self.value(id).source {
            Source::Weight => {
                return Err(Error::Argument(format!(
                    "graph: output `{name}` is a weight, which needs no plan"
                )));
            }
            Source::Input => {}
            Source::Node { .. } => self.values[id.index()].name = name.to_owned(),
        }
        self.outputs.push(id);
        self.output_names.push(name.to_owned());
        Ok(())
    }

    /// Applies an op. The methods named after ops are easier to call; this is what they call. The
    /// operands of an op of two are broadcast first.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Argument`], with the op, the tensor, the axis and both numbers.
    pub fn apply(
        &mut self,
        op: &'static Op,
        inputs: &[Option<ValueId>],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Vec<ValueId>> {
        if inputs.len() > op.inputs.len() {
            return Err(Error::Argument(format!(
                "{}: takes {} tensors, but {} were given",
                op.name,
                op.inputs.len(),
                inputs.len()
            )));
        }
        let beside;
        let inputs = match (op.kind, inputs) {
            (Kind::Binary(_), &[Some(a), Some(b)]) => {
                beside = self.side_by_side(op, a, b)?.map(Some);
                &beside
            }
            _ => inputs,
        };
        let operands = self.operands(op, inputs)?;
        self.check_states(op, inputs)?;
        let attrs = self.check_attrs(op, attrs)?;
        let inferred = (op.infer)(&Infer { op, inputs: &operands, attrs: &attrs, scalars: &self.scalars })?;
        let node = self.nodes.len();
        let outputs = inferred
            .outputs
            .into_iter()
            .enumerate()
            .map(|(output, (shape, dtype))| {
                let name = format!("{}{node}.{}", op.name, op.outputs[output].name);
                self.push_value(Value { name, dtype, shape, source: Source::Node { node, output } })
            })
            .collect::<Vec<_>>();
        self.advance_states(op, inputs, &outputs);
        let mut inputs = inputs.to_vec();
        inputs.resize(op.inputs.len(), None);
        self.nodes.push(Node {
            op,
            inputs,
            outputs: outputs.clone(),
            attrs,
            axes: inferred.axes,
            folds: inferred.folds,
        });
        Ok(outputs)
    }

    /// What an op's inference sees of its inputs, each checked against the signature.
    fn operands(&self, op: &'static Op, inputs: &[Option<ValueId>]) -> Result<Vec<Option<Operand>>> {
        let mut operands = Vec::with_capacity(op.inputs.len());
        for (i, arg) in op.inputs.iter().enumerate() {
            let Some(id) = inputs.get(i).copied().flatten() else {
                if !arg.optional {
                    return Err(Error::Argument(format!("{}: `{}` was not given", op.name, arg.name)));
                }
                operands.push(None);
                continue;
            };
            let Some(value) = self.values.get(id.index()) else {
                return Err(Error::Argument(format!(
                    "{}: `{}` is a value of another graph",
                    op.name, arg.name
                )));
            };
            if !arg.dtypes.contains(&value.dtype) {
                let allowed: Vec<_> = arg.dtypes.iter().map(|d| d.name()).collect();
                return Err(Error::Argument(format!(
                    "{}: `{}` is {}, but it must be {}",
                    op.name,
                    arg.name,
                    value.dtype,
                    allowed.join(" or ")
                )));
            }
            operands.push(Some(Operand {
                shape: value.shape.clone(),
                dtype: value.dtype,
                name: value.name.clone(),
            }));
        }
        Ok(operands)
    }

    /// Every attribute of the op once, of its kind, and no other; in the order of the op.
    fn check_attrs(
        &self,
        op: &'static Op,
        attrs: &[(&'static str, Attr)],
    ) -> Result<Vec<(&'static str, Attr)>> {
        let wrong = |text: String| Err(Error::Argument(format!("{}: {text}", op.name)));
        if let Some((name, _)) = attrs.iter().find(|(name, _)| op.attrs.iter().all(|(own, _)| own != name)) {
            return wrong(format!("there is no attribute `{name}`"));
        }
        let mut out = Vec::with_capacity(op.attrs.len());
        for (own, kind) in op.attrs {
            let given: Vec<_> = attrs.iter().filter(|(name, _)| name == own).collect();
            let &[(_, attr)] = given.as_slice() else {
                return wrong(format!("attribute `{own}` was given {} times, but takes 1", given.len()));
            };
            if !kind.admits(attr) {
                return wrong(format!("attribute `{own}` is {attr:?}, but it must be {kind:?}"));
            }
            if let Attr::F32(v) = attr
                && !v.is_finite()
            {
                return wrong(format!("attribute `{own}` is {v}, but it must be finite"));
            }
            let whole = *kind == AttrKind::Whole;
            let fits = |s: &ScalarSpec| matches!(s.kind, ScalarKind::Dim { .. }) == whole;
            if let Attr::Scalar(id) = attr
                && !self.scalars.get(id.0 as usize).is_some_and(fits)
            {
                return wrong(format!("attribute `{own}` is a scalar of another graph"));
            }
            out.push((*own, *attr));
        }
        Ok(out)
    }

    /// Whether a value is of this graph.
    pub(crate) fn has(&self, id: ValueId) -> Result<()> {
        if id.index() < self.values.len() {
            return Ok(());
        }
        Err(Error::Argument(format!("graph: value {} is of another graph", id.index())))
    }

    /// Whether the dims of a shape are dims of this graph.
    fn check_dims(&self, shape: &[Dim]) -> Result<()> {
        if shape.iter().all(|d| d.vars().iter().all(|v| self.is_dim(v))) {
            return Ok(());
        }
        Err(Error::Argument("graph: a shape has a dim of another graph".into()))
    }

    fn is_dim(&self, id: &ScalarId) -> bool {
        self.scalars.get(id.0 as usize).is_some_and(|s| matches!(s.kind, ScalarKind::Dim { .. }))
    }

    /// A view with a shape that its op cannot infer; the caller checked that it fits.
    pub(crate) fn apply_view(&mut self, op: &'static Op, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        self.check_dims(shape)?;
        let Value { dtype, shape: from, .. } = self.value(x).clone();
        let (last, leading) = shape.split_last().map_or((Dim::ONE, &[][..]), |(l, r)| (l.clone(), r));
        let axes = Axes::new(&[(Axis::R, Dim::product(leading)), (Axis::C, last)]);
        let fold = |rank: usize| vec![(Axis::R, rank.saturating_sub(1)), (Axis::C, 1)];
        let folds = vec![fold(from.len()), fold(shape.len())];
        let node = self.nodes.len();
        let name = format!("{}{node}.y", op.name);
        let source = Source::Node { node, output: 0 };
        let y = self.push_value(Value { name, dtype, shape: shape.to_vec(), source });
        self.nodes.push(Node { op, inputs: vec![Some(x)], outputs: vec![y], attrs: Vec::new(), axes, folds });
        Ok(y)
    }

    /// [`apply`](Self::apply) for the many ops with one output.
    pub(crate) fn apply_one(
        &mut self,
        op: &'static Op,
        inputs: &[Option<ValueId>],
        attrs: &[(&'static str, Attr)],
    ) -> Result<ValueId> {
        Ok(self.apply(op, inputs, attrs)?[0])
    }
}
