//! States: tensors that a call finds as the last one left them, and changes where they lie.

use super::{Graph, Source, ValueId};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Kind, Op};

/// A tensor that a call changes where it lies: an input and, once an op has changed it, an output of the
/// same name, both in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What a call finds, then what each op made of it, in order: only the last is still there.
    pub versions: Vec<ValueId>,
}

impl State {
    /// What a call finds.
    pub fn found(&self) -> ValueId {
        self.versions[0]
    }

    /// What it leaves, once all ops that change it are in the graph.
    pub fn left(&self) -> ValueId {
        self.versions[self.versions.len() - 1]
    }
}

impl Graph {
    /// A tensor that a call finds as the last one left it, and that ops may change where it lies: a cache, the
    /// state of a recurrence. It is an input, and an output of the same name as soon as an op has changed it.
    /// What such an op returns stands for the tensor from then on; what stood for it before can no longer be used.
    ///
    /// The buffer is the caller's, and what is in it from one call to the next. A cache is rolled back by giving
    /// the next call a smaller start, and attention a smaller length: rows behind that are not read, and written
    /// anew. (In a ring what was overwritten is gone.) It is forked by [`copy_rows`](Self::copy_rows).
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn state(&mut self, name: &str, dtype: DType, shape: &[Dim]) -> Result<ValueId> {
        let id = self.input(name, dtype, shape)?;
        self.states.push(State { versions: vec![id] });
        Ok(id)
    }

    /// The tensors that calls change where they lie.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The value that a view of it names elements of.
    pub(crate) fn root(&self, mut id: ValueId) -> ValueId {
        while let Source::Node { node, .. } = self.value(id).source
            && let node = &self.nodes[node]
            && node.op.kind == Kind::View
            && let Some(Some(parent)) = node.inputs.first()
        {
            id = *parent;
        }
        id
    }

    /// The state that a value is a version of, in whole or in part.
    pub(crate) fn state_of(&self, id: ValueId) -> Option<usize> {
        let root = self.root(id);
        self.states.iter().position(|s| s.versions.contains(&root))
    }

    /// Whether a value is what a state was before an op changed it, in whole or in part.
    pub(crate) fn is_past(&self, id: ValueId) -> bool {
        self.state_of(id).is_some_and(|s| self.states[s].left() != self.root(id))
    }

    /// Whether an op may have these operands: what a state was before is gone, and only a state is changed.
    pub(super) fn check_states(&self, op: &'static Op, inputs: &[Option<ValueId>]) -> Result<()> {
        for (i, id) in inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let name = op.inputs[i].name;
            let state = self.state_of(id).map(|s| &self.states[s]);
            if let Some(state) = state
                && self.is_past(id)
            {
                return Err(Error::Argument(format!(
                    "{}: `{name}` is what state `{}` was before an op changed it: use what that op returned",
                    op.name,
                    self.value(state.found()).name
                )));
            }
            if op.changes().any(|(changed, _)| changed == i) && state.is_none_or(|s| s.left() != id) {
                return Err(Error::Argument(format!(
                    "{}: `{name}` is changed where it lies, so it must be a state as a whole, but `{}` is none",
                    op.name,
                    self.value(id).name
                )));
            }
        }
        let changed = || op.changes().filter_map(|(i, _)| inputs.get(i).copied().flatten());
        match changed().find(|id| changed().filter(|other| other == id).count() > 1) {
            Some(id) => Err(Error::Argument(format!(
                "{}: state `{}` is given twice, but changed only once",
                op.name,
                self.value(id).name
            ))),
            None => Ok(()),
        }
    }

    /// Makes what an op returned the newest version of the states that it changes.
    pub(super) fn advance_states(
        &mut self,
        op: &'static Op,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
    ) {
        for (i, o) in op.changes() {
            let Some(at) = inputs.get(i).copied().flatten().and_then(|id| self.state_of(id)) else {
                continue;
            };
            let (before, after) = (self.states[at].left(), outputs[o]);
            self.states[at].versions.push(after);
            self.values[after.index()].name = self.value(before).name.clone();
            match self.outputs.iter_mut().find(|id| **id == before) {
                Some(id) => *id = after,
                None => {
                    self.outputs.push(after);
                    self.output_names.push(self.values[after.index()].name.clone());
                }
            }
        }
    }
}
