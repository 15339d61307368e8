//! Expressions of a function, each a list of registers or a pointer.

use naga::valid::FunctionInfo;
use naga::{Constant, Expression, Function, Handle, Literal, Module, ScalarKind, Span, TypeInner};

use super::super::program::{Op, Reg, ScopeId, Ty, Unary};
use super::builder::Builder;
use super::places::{Index, Pointer};
use super::{Rejected, Result, unknown};

/// What an expression is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalars(Vec<Reg>),
    Pointer(Pointer),
}

/// How a function hands back its result.
#[derive(Debug)]
pub(super) enum Leave {
    /// It returns at its end alone: the value is that of the return.
    AtEnd(Option<Vec<Reg>>),
    /// It leaves a scope, with the value in a variable.
    Scope(ScopeId, u32),
}

/// What `break` and `continue` leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub breaks: ScopeId,
    pub continues: Option<ScopeId>,
}

/// A function as it is inlined at one place.
#[derive(Debug)]
pub(super) struct Frame<'b, 'm> {
    pub b: &'b mut Builder<'m>,
    pub function: &'m Function,
    pub info: &'m FunctionInfo,
    pub values: Vec<Option<Value>>,
    pub arguments: Vec<Value>,
    pub locals: Vec<u32>,
    pub leave: Leave,
    pub around: Vec<Around>,
}

impl Builder<'_> {
    /// A literal, or what else is known before the shader runs.
    fn literal(&mut self, literal: Literal, span: Span) -> Result<Reg> {
        let bits = match literal {
            Literal::F32(v) => v.to_bits(),
            Literal::F16(v) => v.to_f32().to_bits(),
            Literal::U32(v) => v,
            Literal::I32(v) => v as u32,
            Literal::Bool(v) => u32::MAX * u32::from(v),
            other => {
                self.scalar(other.scalar(), span)?;
                return unknown(self, "this literal", span);
            }
        };
        Ok(self.constant(bits))
    }

    fn named(&mut self, constant: Handle<Constant>) -> Result<Vec<Reg>> {
        self.global(self.module.constants[constant].init)
    }

    /// A constant expression of the module.
    pub fn global(&mut self, handle: Handle<Expression>) -> Result<Vec<Reg>> {
        let module: &Module = self.module;
        let span = module.global_expressions.get_span(handle);
        Ok(match module.global_expressions[handle] {
            Expression::Literal(literal) => vec![self.literal(literal, span)?],
            Expression::Constant(constant) => self.named(constant)?,
            Expression::ZeroValue(ty) => self.zero(self.shapes.inner(ty), span)?,
            Expression::Compose { ref components, .. } => {
                let mut regs = Vec::new();
                for component in components {
                    regs.extend(self.global(*component)?);
                }
                regs
            }
            Expression::Splat { size, value } => self.global(value)?.repeat(size as usize),
            _ => return unknown(self, "this constant expression", span),
        })
    }

    pub fn zero(&mut self, inner: &TypeInner, span: Span) -> Result<Vec<Reg>> {
        let count = self.shapes.registers(inner) as usize;
        self.check_size(count, span)?;
        Ok(vec![self.constant(0); count])
    }

    /// A pointer to registers that hold a value, to be indexed.
    fn spill(&mut self, value: Vec<Reg>, span: Span) -> Result<Pointer> {
        let name = self.name(None);
        let constant = value.iter().all(|r| self.bits(*r).is_some());
        if let Some(base) = self.tables.get(&value).filter(|_| constant) {
            return Ok(Pointer::Registers { base: *base, terms: Vec::new(), name });
        }
        let base = self.variable(value.len(), span)?;
        if constant {
            self.prepare(base, &value);
            self.tables.insert(value, base);
        } else {
            self.assign(base, &value);
        }
        Ok(Pointer::Registers { base, terms: Vec::new(), name })
    }
}

impl<'m> Frame<'_, 'm> {
    /// The type of an expression.
    pub fn inner(&self, handle: Handle<Expression>) -> &'m TypeInner {
        self.info[handle].ty.inner_with(&self.b.module.types)
    }

    pub fn span(&self, handle: Handle<Expression>) -> Span {
        self.function.expressions.get_span(handle)
    }

    /// The scalar that an expression is, or is made of.
    pub fn ty(&self, handle: Handle<Expression>) -> Result<Ty> {
        match *self.inner(handle) {
            TypeInner::Scalar(scalar)
            | TypeInner::Atomic(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::Matrix { scalar, .. }
            | TypeInner::CooperativeMatrix { scalar, .. } => self.b.scalar(scalar, self.span(handle)),
            _ => unknown(self.b, "an operation on this type", self.span(handle)),
        }
    }

    /// The scalars of an expression.
    pub fn value(&mut self, handle: Handle<Expression>) -> Result<Vec<Reg>> {
        match self.evaluate(handle)? {
            Value::Scalars(regs) => Ok(regs),
            Value::Pointer(_) => unknown(self.b, "a pointer as a value", self.span(handle)),
        }
    }

    /// The only scalar of an expression.
    pub fn one(&mut self, handle: Handle<Expression>) -> Result<Reg> {
        match *self.value(handle)? {
            [reg] => Ok(reg),
            _ => unknown(self.b, "a composite where a scalar stands", self.span(handle)),
        }
    }

    pub fn pointer(&mut self, handle: Handle<Expression>) -> Result<Pointer> {
        match self.evaluate(handle)? {
            Value::Pointer(pointer) => Ok(pointer),
            Value::Scalars(_) => unknown(self.b, "a value as a pointer", self.span(handle)),
        }
    }

    /// Computes an expression here, unless it has been.
    pub fn evaluate(&mut self, handle: Handle<Expression>) -> Result<Value> {
        if let Some(value) = &self.values[handle.index()] {
            return Ok(value.clone());
        }
        let value = self.expression(handle)?;
        self.values[handle.index()] = Some(value.clone());
        Ok(value)
    }

    fn expression(&mut self, handle: Handle<Expression>) -> Result<Value> {
        let function: &'m Function = self.function;
        let span = self.span(handle);
        Ok(Value::Scalars(match function.expressions[handle] {
            Expression::FunctionArgument(i) => return Ok(self.arguments[i as usize].clone()),
            Expression::GlobalVariable(global) => {
                return Ok(Value::Pointer(self.b.global_variable(global)?));
            }
            Expression::LocalVariable(local) => {
                let name = self.b.name(function.local_variables[local].name.as_deref());
                let base = self.locals[local.index()];
                return Ok(Value::Pointer(Pointer::Registers { base, terms: Vec::new(), name }));
            }
            Expression::Access { base, index } => {
                let signed = self.inner(index).scalar_kind() == Some(ScalarKind::Sint);
                let index = Index::Dynamic { reg: self.one(index)?, signed };
                return self.access(base, index, span);
            }
            Expression::AccessIndex { base, index } => {
                return self.access(base, Index::Known(index), span);
            }
            Expression::Literal(literal) => vec![self.b.literal(literal, span)?],
            Expression::Constant(constant) => self.b.named(constant)?,
            Expression::ZeroValue(ty) => self.b.zero(self.b.shapes.inner(ty), span)?,
            Expression::Compose { ref components, .. } => {
                let mut regs = Vec::new();
                for component in components {
                    regs.extend(self.value(*component)?);
                }
                regs
            }
            Expression::Splat { size, value } => self.value(value)?.repeat(size as usize),
            Expression::Swizzle { size, vector, pattern } => {
                let regs = self.value(vector)?;
                pattern[..size as usize].iter().map(|c| regs[*c as usize]).collect()
            }
            Expression::Load { pointer } => {
                let at = self.pointer(pointer)?;
                self.b.stand_at(span);
                self.b.load(at, &self.pointee(pointer), span)?
            }
            _ => {
                self.b.stand_at(span);
                self.computed(handle)?
            }
        }))
    }

    /// An expression of which instructions come.
    fn computed(&mut self, handle: Handle<Expression>) -> Result<Vec<Reg>> {
        let function: &'m Function = self.function;
        match function.expressions[handle] {
            Expression::Unary { op, expr } => {
                let ty = self.ty(expr)?;
                let op = if op == naga::UnaryOperator::Negate { Unary::Neg } else { Unary::Not };
                let args = self.value(expr)?;
                Ok(self.b.unary_each(op, ty, &args))
            }
            Expression::Binary { op, left, right } => self.binary(op, left, right),
            Expression::Select { condition, accept, reject } => {
                let (c, a, r) = (self.value(condition)?, self.value(accept)?, self.value(reject)?);
                let select = |(i, (accept, reject)): (usize, (&Reg, &Reg))| {
                    let condition = c[i.min(c.len() - 1)];
                    self.b.emit_to(|dst| Op::Select { dst, condition, accept: *accept, reject: *reject })
                };
                Ok(a.iter().zip(&r).enumerate().map(select).collect())
            }
            Expression::Relational { fun, argument } => self.relational(fun, argument),
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let args: Vec<_> = [Some(arg), arg1, arg2, arg3].into_iter().flatten().collect();
                self.math(fun, &args, self.span(handle))
            }
            Expression::As { expr, kind, convert } => self.cast(expr, kind, convert, handle),
            Expression::ArrayLength(array) => Ok(vec![self.array_length(array)?]),
            Expression::CooperativeLoad { columns, rows, data, .. } => {
                let at = self.address(data.pointer)?;
                let (ty, stride) = (self.ty(handle)?, self.one(data.stride)?);
                let (rows, columns) = (rows as u32, columns as u32);
                let dst = self.b.temporaries((rows * columns) as usize);
                let row_major = data.row_major;
                self.b.emit(Op::CoopLoad { at, ty, stride, row_major, rows, columns, dst: dst.clone() });
                Ok(dst)
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => self.multiply_add(a, b, c),
            ref other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '(', '{']).next().unwrap_or_default();
                unknown(self.b, &format!("the expression {name}"), self.span(handle))
            }
        }
    }

    /// A step into a pointer, or into a value.
    fn access(&mut self, base: Handle<Expression>, index: Index, span: Span) -> Result<Value> {
        let (pointer, inner) = match (self.evaluate(base)?, index) {
            (Value::Pointer(pointer), _) => {
                let inner = self.pointee(base);
                self.b.stand_at(span);
                return Ok(Value::Pointer(self.b.step(pointer, &inner, index, span)?));
            }
            (Value::Scalars(regs), Index::Known(i)) => {
                return Ok(Value::Scalars(self.component(base, &regs, i)?));
            }
            (Value::Scalars(regs), Index::Dynamic { reg, .. }) => {
                let inner = self.inner(base);
                let count = self.b.shapes.steps(inner).map_or(0, |s| s.count);
                if let Some(i) = self.b.bits(reg).filter(|i| *i < count) {
                    return Ok(Value::Scalars(self.component(base, &regs, i)?));
                }
                self.b.stand_at(span);
                (self.b.spill(regs, span)?, inner)
            }
        };
        let pointer = self.b.step(pointer, inner, index, span)?;
        let element = match *inner {
            TypeInner::Vector { scalar, .. } => &TypeInner::Scalar(scalar),
            TypeInner::Matrix { rows, scalar, .. } => &TypeInner::Vector { size: rows, scalar },
            TypeInner::Array { base, .. } => self.b.shapes.inner(base),
            _ => return unknown(self.b, "an index into this", span),
        };
        Ok(Value::Scalars(self.b.load(pointer, element, span)?))
    }

    /// An element of a value.
    fn component(&self, base: Handle<Expression>, regs: &[Reg], index: u32) -> Result<Vec<Reg>> {
        let inner = self.inner(base);
        let (first, count) = match inner {
            TypeInner::Struct { members, .. } => {
                let (i, shapes) = (index as usize, &self.b.shapes);
                (shapes.register(members, i), shapes.registers(shapes.inner(members[i].ty)))
            }
            _ => match self.b.shapes.steps(inner) {
                Some(steps) => (index * steps.registers, steps.registers),
                None => return unknown(self.b, "an index into this", self.span(base)),
            },
        };
        regs.get(first as usize..(first + count) as usize).map(<[Reg]>::to_vec).ok_or_else(|| Rejected {
            place: self.b.place(self.span(base)),
            message: format!("element {index} of a value of {} scalars is past its end", regs.len()),
        })
    }
}
