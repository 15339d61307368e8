//! How shapes are checked and results' shapes found, when a node is added to a graph.

use super::{Attr, Axes, Axis, Op};
use crate::dim::{Dim, ScalarSpec};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// What one tensor of a node looks like when shapes are inferred.
#[derive(Debug, Clone)]
pub struct Operand {
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Its type.
    pub dtype: DType,
    /// The name of the value, for messages.
    pub name: String,
}

/// How a tensor's shape reads as axes of the op: each axis with how many axes of the shape it covers.
pub type Fold = Vec<(Axis, usize)>;

/// What inference finds out about a node.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// The size of every axis of the op.
    pub axes: Axes,
    /// One per input of the signature (empty where left out), then one per output.
    pub folds: Vec<Fold>,
    /// Shape and type of each output.
    pub outputs: Vec<(Vec<Dim>, DType)>,
}

/// What a node's inference sees: its operands (`None` where an optional one is left out) and attributes.
#[derive(Debug)]
pub struct Infer<'a> {
    /// The op, for messages.
    pub op: &'static Op,
    /// One per argument of the signature.
    pub inputs: &'a [Option<Operand>],
    /// The attributes, by name.
    pub attrs: &'a [(&'static str, Attr)],
    /// The scalars of the graph, for messages.
    pub scalars: &'a [ScalarSpec],
}

impl Infer<'_> {
    /// A shape as people read it.
    pub fn show(&self, shape: &[Dim]) -> String {
        crate::dim::show_shape(shape, self.scalars)
    }

    /// The operand at a position that the signature says must be there.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is not.
    pub fn operand(&self, i: usize) -> Result<&Operand> {
        self.inputs.get(i).and_then(Option::as_ref).ok_or_else(|| {
            Error::Argument(format!("{}: `{}` was not given", self.op.name, self.op.inputs[i].name))
        })
    }

    /// Reads every tensor as its signature says, the first axis covering surplus leading axes.
    pub fn folds(&self, outputs: &[(Vec<Dim>, DType)]) -> Vec<Fold> {
        let fold = |axes: &'static [Axis], rank: usize| -> Fold {
            let surplus = (rank + 1).saturating_sub(axes.len());
            axes.iter().enumerate().map(|(i, a)| (*a, if i == 0 { surplus } else { 1 })).collect()
        };
        let inputs = self.op.inputs.iter().enumerate();
        let inputs = inputs.map(|(i, arg)| match self.inputs.get(i) {
            Some(Some(operand)) => fold(arg.axes, operand.shape.len()),
            _ => Vec::new(),
        });
        let outputs =
            self.op.outputs.iter().zip(outputs).map(|(arg, (shape, _))| fold(arg.axes, shape.len()));
        inputs.chain(outputs).collect()
    }

    /// A whole-number attribute.
    pub fn attr_u32(&self, name: &str) -> Option<u32> {
        self.attrs.iter().find_map(|(n, a)| match a {
            Attr::U32(v) if *n == name => Some(*v),
            _ => None,
        })
    }

    /// Leading axes as one, and the last.
    ///
    /// # Errors
    /// [`Error::Shape`] if the operand has no axis at all.
    pub fn rows_and_channels(&self, i: usize) -> Result<(Dim, Dim)> {
        let operand = self.operand(i)?;
        match operand.shape.split_last() {
            Some((last, leading)) => Ok((Dim::product(leading), last.clone())),
            None => Err(Error::Shape(format!(
                "{}: `{}` needs at least 1 axis, but it has none",
                self.op.name, self.op.inputs[i].name
            ))),
        }
    }

    /// Checks that one axis of one operand has the size that another operand gave it.
    ///
    /// # Errors
    /// [`Error::Shape`], with the op, both tensors, the axis and both numbers.
    pub fn same(&self, axis: Axis, a: (usize, &Dim), b: (usize, &Dim)) -> Result<()> {
        if a.1 == b.1 {
            return Ok(());
        }
        let name = |i: usize| self.op.inputs[i].name;
        Err(Error::Shape(format!(
            "{}: `{}` has {} = {}, but `{}` has {}",
            self.op.name,
            name(b.0),
            axis.name(),
            b.1.show(self.scalars),
            name(a.0),
            a.1.show(self.scalars)
        )))
    }

    /// Checks how many axes an operand has.
    ///
    /// # Errors
    /// [`Error::Shape`], with both numbers.
    pub fn rank(&self, i: usize, rank: usize) -> Result<&[Dim]> {
        let operand = self.operand(i)?;
        if operand.shape.len() == rank {
            return Ok(&operand.shape);
        }
        let axes: Vec<_> = self.op.inputs[i].axes.iter().map(|a| a.name()).collect();
        Err(Error::Shape(format!(
            "{}: `{}` needs {rank} axes [{}], but it has {}",
            self.op.name,
            self.op.inputs[i].name,
            axes.join(", "),
            operand.shape.len()
        )))
    }
}
