//! Statements by which lanes meet: atomics, subgroup operations, cooperative matrices.

use naga::{
    AtomicFunction, CollectiveOperation, Direction, Expression, GatherMode, Handle, Span, Statement,
    SubgroupOperation, TypeInner,
};

use super::super::program::{AtomicOp, Fold, Op, Reg, Subgroup};
use super::expressions::Frame;
use super::{Result, unknown};

impl<'m> Frame<'_, 'm> {
    /// What lanes do with each other.
    pub fn parallel(&mut self, statement: &'m Statement, span: Span) -> Result<()> {
        match *statement {
            Statement::Atomic { pointer, fun, value, result } => {
                let at = self.address(pointer)?;
                let scalar = match *self.pointee(pointer) {
                    TypeInner::Atomic(scalar) => scalar,
                    _ => return unknown(self.b, "an atomic on this", span),
                };
                let ty = self.b.scalar(scalar, span)?;
                let (op, mut args) = self.atomic_operation(fun)?;
                args.push(self.one(value)?);
                let count = 1 + usize::from(op == AtomicOp::CompareExchange);
                let dst = self.b.temporaries(if result.is_some() { count } else { 0 });
                self.b.atomic(op, ty, at, dst.clone(), args);
                if let Some(result) = result {
                    self.result(result, dst);
                }
            }
            Statement::SubgroupBallot { result, predicate } => {
                let predicate = predicate.map(|p| self.one(p)).transpose()?;
                let dst = [(); 4].map(|()| self.b.temporary());
                self.b.emit(Op::Ballot { dst, predicate });
                self.result(result, dst.to_vec());
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let (op, arg) = self.gather(mode)?;
                self.subgroup(op, argument, arg, result)?;
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let op = match collective(op, collective_op) {
                    Some(op) => op,
                    None => return unknown(self.b, "this subgroup operation", span),
                };
                self.subgroup(op, argument, None, result)?;
            }
            Statement::CooperativeStore { target, data } => {
                let (at, stride) = (self.address(data.pointer)?, self.one(data.stride)?);
                let (rows, columns) = match *self.inner(target) {
                    TypeInner::CooperativeMatrix { rows, columns, .. } => (rows as u32, columns as u32),
                    _ => return unknown(self.b, "coopStore of this", span),
                };
                let (ty, src, row_major) = (self.ty(target)?, self.value(target)?, data.row_major);
                self.b.emit(Op::CoopStore { at, ty, stride, row_major, rows, columns, src });
            }
            ref other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '(', '{']).next().unwrap_or_default();
                return unknown(self.b, &format!("the statement {name}"), span);
            }
        }
        Ok(())
    }

    fn atomic_operation(&mut self, fun: AtomicFunction) -> Result<(AtomicOp, Vec<Reg>)> {
        Ok(match fun {
            AtomicFunction::Add => (AtomicOp::Add, vec![]),
            AtomicFunction::Subtract => (AtomicOp::Sub, vec![]),
            AtomicFunction::And => (AtomicOp::And, vec![]),
            AtomicFunction::ExclusiveOr => (AtomicOp::Xor, vec![]),
            AtomicFunction::InclusiveOr => (AtomicOp::Or, vec![]),
            AtomicFunction::Min => (AtomicOp::Min, vec![]),
            AtomicFunction::Max => (AtomicOp::Max, vec![]),
            AtomicFunction::Exchange { compare: None } => (AtomicOp::Exchange, vec![]),
            AtomicFunction::Exchange { compare: Some(c) } => (AtomicOp::CompareExchange, vec![self.one(c)?]),
        })
    }

    fn gather(&mut self, mode: GatherMode) -> Result<(Subgroup, Option<Reg>)> {
        let (op, index) = match mode {
            GatherMode::BroadcastFirst => return Ok((Subgroup::BroadcastFirst, None)),
            GatherMode::QuadSwap(direction) => {
                let number = match direction {
                    Direction::X => 1,
                    Direction::Y => 2,
                    Direction::Diagonal => 3,
                };
                return Ok((Subgroup::QuadSwap, Some(self.b.constant(number))));
            }
            GatherMode::Broadcast(index) => (Subgroup::Broadcast, index),
            GatherMode::Shuffle(index) => (Subgroup::Shuffle, index),
            GatherMode::ShuffleDown(index) => (Subgroup::ShuffleDown, index),
            GatherMode::ShuffleUp(index) => (Subgroup::ShuffleUp, index),
            GatherMode::ShuffleXor(index) => (Subgroup::ShuffleXor, index),
            GatherMode::QuadBroadcast(index) => (Subgroup::QuadBroadcast, index),
        };
        Ok((op, Some(self.one(index)?)))
    }

    /// An operation on each component.
    fn subgroup(
        &mut self,
        op: Subgroup,
        argument: Handle<Expression>,
        arg: Option<Reg>,
        result: Handle<Expression>,
    ) -> Result<()> {
        let (ty, args) = (self.ty(argument)?, self.value(argument)?);
        let regs =
            args.iter().map(|a| self.b.emit_to(|dst| Op::Subgroup { op, ty, dst, a: *a, arg })).collect();
        self.result(result, regs);
        Ok(())
    }
}

/// `None` if there is no such thing.
fn collective(op: SubgroupOperation, how: CollectiveOperation) -> Option<Subgroup> {
    let fold = match op {
        SubgroupOperation::All => return Some(Subgroup::All),
        SubgroupOperation::Any => return Some(Subgroup::Any),
        SubgroupOperation::Add => Fold::Add,
        SubgroupOperation::Mul => Fold::Mul,
        SubgroupOperation::Min => Fold::Min,
        SubgroupOperation::Max => Fold::Max,
        SubgroupOperation::And => Fold::And,
        SubgroupOperation::Or => Fold::Or,
        SubgroupOperation::Xor => Fold::Xor,
    };
    Some(match how {
        CollectiveOperation::Reduce => Subgroup::Reduce(fold),
        CollectiveOperation::InclusiveScan => Subgroup::Inclusive(fold),
        CollectiveOperation::ExclusiveScan => Subgroup::Exclusive(fold),
    })
}
