//! Operators, conversions and bitcasts.

use naga::{BinaryOperator, Expression, Handle, RelationalFunction, Scalar, ScalarKind, TypeInner};

use super::super::program::{Binary, Op, Reg, Ternary, Ty, Unary};
use super::builder::Builder;
use super::expressions::Frame;
use super::{Result, unknown};

impl Builder<'_> {
    pub fn unary(&mut self, op: Unary, ty: Ty, a: Reg) -> Reg {
        self.emit_to(|dst| Op::Unary { op, ty, dst, a })
    }

    pub fn binary(&mut self, op: Binary, ty: Ty, a: Reg, b: Reg) -> Reg {
        self.emit_to(|dst| Op::Binary { op, ty, dst, a, b })
    }

    pub fn ternary(&mut self, op: Ternary, ty: Ty, a: Reg, b: Reg, c: Reg) -> Reg {
        self.emit_to(|dst| Op::Ternary { op, ty, dst, a, b, c })
    }

    pub fn unary_each(&mut self, op: Unary, ty: Ty, a: &[Reg]) -> Vec<Reg> {
        a.iter().map(|a| self.unary(op, ty, *a)).collect()
    }

    /// Of every pair; a scalar stands for a vector of it.
    pub fn binary_each(&mut self, op: Binary, ty: Ty, a: &[Reg], b: &[Reg]) -> Vec<Reg> {
        (0..a.len().max(b.len())).map(|i| self.binary(op, ty, nth(a, i), nth(b, i))).collect()
    }

    /// Of every three; a scalar stands for a vector of it.
    pub fn ternary_each(&mut self, op: Ternary, ty: Ty, [a, b, c]: [&[Reg]; 3]) -> Vec<Reg> {
        (0..a.len()).map(|i| self.ternary(op, ty, a[i], nth(b, i), nth(c, i))).collect()
    }

    pub fn dot(&mut self, ty: Ty, a: &[Reg], b: &[Reg]) -> Reg {
        self.emit_to(|dst| Op::Dot { ty, dst, a: a.to_vec(), b: b.to_vec() })
    }

    /// Matrix products, every element a sum of products: `a` of `rows` x `inner`, column by column.
    fn product(&mut self, ty: Ty, a: &[Reg], b: &[Reg], rows: usize, inner: usize) -> Vec<Reg> {
        let mut out = Vec::with_capacity(rows * b.len() / inner);
        for column in b.chunks(inner) {
            for row in 0..rows {
                let row: Vec<_> = a.iter().skip(row).step_by(rows).copied().collect();
                out.push(self.dot(ty, &row, column));
            }
        }
        out
    }
}

/// The component of a vector, or the scalar that stands for all.
fn nth(regs: &[Reg], i: usize) -> Reg {
    if regs.len() == 1 { regs[0] } else { regs[i] }
}

fn operator(op: BinaryOperator) -> Binary {
    match op {
        BinaryOperator::Add => Binary::Add,
        BinaryOperator::Subtract => Binary::Sub,
        BinaryOperator::Multiply => Binary::Mul,
        BinaryOperator::Divide => Binary::Div,
        BinaryOperator::Modulo => Binary::Rem,
        BinaryOperator::Equal => Binary::Eq,
        BinaryOperator::NotEqual => Binary::Ne,
        BinaryOperator::Less => Binary::Lt,
        BinaryOperator::LessEqual => Binary::Le,
        BinaryOperator::Greater => Binary::Gt,
        BinaryOperator::GreaterEqual => Binary::Ge,
        BinaryOperator::And | BinaryOperator::LogicalAnd => Binary::And,
        BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => Binary::Or,
        BinaryOperator::ExclusiveOr => Binary::Xor,
        BinaryOperator::ShiftLeft => Binary::Shl,
        BinaryOperator::ShiftRight => Binary::Shr,
    }
}

impl Frame<'_, '_> {
    pub fn binary(
        &mut self,
        op: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
    ) -> Result<Vec<Reg>> {
        let ty = self.ty(left)?;
        let (a, b) = (self.value(left)?, self.value(right)?);
        let rows_of = |inner: &TypeInner| match *inner {
            TypeInner::Matrix { rows, .. } => Some(rows as usize),
            _ => None,
        };
        if op == BinaryOperator::Multiply {
            match (rows_of(self.inner(left)), rows_of(self.inner(right))) {
                // A vector or a matrix to the right of a matrix: as many columns as the right has rows.
                (Some(rows), _) if b.len() > 1 => {
                    return Ok(self.b.product(ty, &a, &b, rows, a.len() / rows));
                }
                // A row vector to the left.
                (None, Some(rows)) if a.len() > 1 => return Ok(self.b.product(ty, &a, &b, 1, rows)),
                _ => {}
            }
        }
        Ok(self.b.binary_each(operator(op), ty, &a, &b))
    }

    pub fn relational(&mut self, fun: RelationalFunction, argument: Handle<Expression>) -> Result<Vec<Reg>> {
        let op = match fun {
            RelationalFunction::All => Binary::And,
            RelationalFunction::Any => Binary::Or,
            _ => return unknown(self.b, "isNan and isInf", self.span(argument)),
        };
        let regs = self.value(argument)?;
        Ok(regs.into_iter().reduce(|a, b| self.b.binary(op, Ty::Bool, a, b)).into_iter().collect())
    }

    /// A conversion, or a bitcast where no width is given.
    pub fn cast(
        &mut self,
        expr: Handle<Expression>,
        kind: ScalarKind,
        convert: Option<naga::Bytes>,
        whole: Handle<Expression>,
    ) -> Result<Vec<Reg>> {
        let (from, args) = (self.ty(expr)?, self.value(expr)?);
        let Some(width) = convert else {
            // The same bits, so the same registers; naga has bitcasts between types of one width alone,
            // and an f16 has no other of its width.
            self.ty(whole)?;
            return Ok(args);
        };
        let to = self.b.scalar(Scalar { kind, width }, self.span(whole))?;
        if from == to {
            return Ok(args);
        }
        Ok(args.iter().map(|a| self.b.emit_to(|dst| Op::Convert { from, to, dst, a: *a })).collect())
    }

    /// `coopMultiplyAdd`: the validator of naga leaves sizes to us.
    pub fn multiply_add(
        &mut self,
        a: Handle<Expression>,
        b: Handle<Expression>,
        c: Handle<Expression>,
    ) -> Result<Vec<Reg>> {
        let size = |inner: &TypeInner| match *inner {
            TypeInner::CooperativeMatrix { columns, rows, .. } => (rows as u32, columns as u32),
            _ => (0, 0),
        };
        let (sa, sb, sc) = (size(self.inner(a)), size(self.inner(b)), size(self.inner(c)));
        let ((rows, inner), (_, columns)) = (sa, sb);
        if sa.1 != sb.0 || sc != (rows, columns) || self.ty(a)? != self.ty(b)? {
            return unknown(self.b, "coopMultiplyAdd of matrices that do not fit", self.span(c));
        }
        let (ty, sum) = (self.ty(a)?, self.ty(c)?);
        let (a, b, c) = (self.value(a)?, self.value(b)?, self.value(c)?);
        let dst = self.b.temporaries(c.len());
        self.b.emit(Op::CoopMultiplyAdd { ty, sum, rows, inner, columns, dst: dst.clone(), a, b, c });
        Ok(dst)
    }
}
