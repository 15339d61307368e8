//! Pointers: places in memory or in registers of variables; loads and stores through them.

use std::borrow::Cow;

use naga::{Expression, Handle, Span, TypeInner};

use super::super::program::{Address, AtomicOp, BufferKind, Op, Part, Reg, Space, Term, Ty};
use super::builder::Builder;
use super::expressions::Frame;
use super::{Result, shapes, unknown};

/// Where a pointer points.
#[derive(Debug, Clone)]
pub(super) enum Pointer {
    Memory(Address),
    Registers { base: u32, terms: Vec<Term>, name: u32 },
}

/// A step into a composite.
#[derive(Debug, Clone, Copy)]
pub(super) enum Index {
    Known(u32),
    Dynamic { reg: Reg, signed: bool },
}

impl<'m> Builder<'m> {
    /// A step of a pointer to a value of type `inner`.
    pub fn step(
        &mut self,
        mut pointer: Pointer,
        inner: &TypeInner,
        index: Index,
        span: Span,
    ) -> Result<Pointer> {
        if let (TypeInner::Struct { members, .. }, Index::Known(i)) = (inner, index) {
            match &mut pointer {
                Pointer::Memory(at) => at.base += self.shapes.offset(members, i as usize),
                Pointer::Registers { base, .. } => *base += self.shapes.register(members, i as usize),
            }
            return Ok(pointer);
        }
        let Some(steps) = self.shapes.steps(inner) else {
            return unknown(self, shapes::name(inner), span);
        };
        let known = match index {
            Index::Known(i) => Some(i),
            Index::Dynamic { reg, .. } => self.bits(reg),
        };
        let known = known.filter(|i| *i < steps.count);
        let (base, terms, stride) = match &mut pointer {
            Pointer::Memory(at) => (&mut at.base, &mut at.terms, steps.bytes),
            Pointer::Registers { base, terms, .. } => (base, terms, steps.registers),
        };
        match (known, index) {
            (Some(i), _) => *base += i * stride,
            (None, Index::Dynamic { reg, signed }) => {
                terms.push(Term { index: reg, signed, stride, count: steps.count });
            }
            (None, Index::Known(i)) => {
                let index = self.constant(i);
                terms.push(Term { index, signed: false, stride, count: steps.count });
            }
        }
        if let Pointer::Registers { base, terms, .. } = &pointer
            && !terms.is_empty()
        {
            self.indexed(*base);
        }
        Ok(pointer)
    }

    /// The scalars of a value in memory, with registers for them.
    fn parts(&mut self, inner: &TypeInner, regs: &[Reg], span: Span) -> Result<Vec<Part>> {
        let mut scalars = Vec::with_capacity(regs.len());
        if let Err(what) = self.shapes.scalars(inner, 0, &mut scalars) {
            return unknown(self, &what, span);
        }
        let part = |(reg, (offset, ty)): (&Reg, &(u32, Ty))| Part { reg: *reg, offset: *offset, ty: *ty };
        Ok(regs.iter().zip(&scalars).map(part).collect())
    }

    /// The value at a pointer.
    pub fn load(&mut self, pointer: Pointer, inner: &TypeInner, span: Span) -> Result<Vec<Reg>> {
        if let Pointer::Memory(at) = &pointer
            && let Some(regs) = self.parameters(at, inner, span)?
        {
            return Ok(regs);
        }
        let dst = self.temporaries(self.shapes.registers(inner) as usize);
        match (pointer, inner) {
            (Pointer::Memory(at), TypeInner::Atomic(scalar)) => {
                let ty = self.scalar(*scalar, span)?;
                self.atomic(AtomicOp::Load, ty, at, dst.clone(), Vec::new());
            }
            (Pointer::Memory(at), _) => {
                let parts = self.parts(inner, &dst, span)?;
                self.emit(Op::Load { at, parts });
            }
            (Pointer::Registers { base, terms, .. }, _) if terms.is_empty() => {
                for (i, dst) in (base..).zip(&dst) {
                    self.emit(Op::Copy { dst: *dst, src: Reg(i) });
                }
            }
            (Pointer::Registers { base, terms, name }, _) => {
                self.emit(Op::LoadVar { dst: dst.clone(), base: Reg(base), terms, name });
            }
        }
        Ok(dst)
    }

    /// Scalars and vectors of uniform buffers at places that are known: every lane has the same from the
    /// start, so each is read once, before anything else is done.
    fn parameters(&mut self, at: &Address, inner: &TypeInner, span: Span) -> Result<Option<Vec<Reg>>> {
        let Space::Buffer(buffer) = at.space else { return Ok(None) };
        let uniform = self.buffers[buffer as usize].kind == BufferKind::Uniform;
        let small = matches!(inner, TypeInner::Scalar(_) | TypeInner::Vector { .. });
        if !uniform || !small || !at.terms.is_empty() {
            return Ok(None);
        }
        let mut regs = Vec::new();
        for Part { offset, ty, .. } in self.parts(inner, &[Reg(0); 4], span)? {
            let base = at.base + offset;
            let reg = match self.parameters.get(&(buffer, base)) {
                Some(reg) => *reg,
                None => self.temporary(),
            };
            if self.parameters.insert((buffer, base), reg).is_none() {
                let at = Address { base, ..at.clone() };
                self.begin_with(Op::Load { at, parts: vec![Part { reg, offset: 0, ty }] }, false);
            }
            regs.push(reg);
        }
        Ok(Some(regs))
    }

    /// `workgroupUniformLoad`.
    pub fn uniform_load(&mut self, pointer: Pointer, inner: &TypeInner, span: Span) -> Result<Vec<Reg>> {
        let Pointer::Memory(at) = pointer else {
            return unknown(self, "workgroupUniformLoad outside workgroup memory", span);
        };
        let dst = self.temporaries(self.shapes.registers(inner) as usize);
        let parts = self.parts(inner, &dst, span)?;
        self.emit(Op::UniformLoad { at, parts });
        Ok(dst)
    }

    pub fn store(&mut self, pointer: Pointer, inner: &TypeInner, src: Vec<Reg>, span: Span) -> Result<()> {
        match (pointer, inner) {
            (Pointer::Memory(at), TypeInner::Atomic(scalar)) => {
                let ty = self.scalar(*scalar, span)?;
                self.atomic(AtomicOp::Store, ty, at, Vec::new(), src);
            }
            (Pointer::Memory(at), _) => {
                let parts = self.parts(inner, &src, span)?;
                self.emit(Op::Store { at, parts });
            }
            (Pointer::Registers { base, terms, .. }, _) if terms.is_empty() => self.assign(base, &src),
            (Pointer::Registers { base, terms, name }, _) => {
                self.emit(Op::StoreVar { src, base: Reg(base), terms, name });
            }
        }
        Ok(())
    }

    pub fn atomic(&mut self, op: AtomicOp, ty: Ty, at: Address, dst: Vec<Reg>, args: Vec<Reg>) {
        self.atomics |= matches!(at.space, Space::Buffer(_));
        self.emit(Op::Atomic { op, ty, at, dst, args });
    }

    /// The type of a scalar that the virtual GPU knows.
    pub fn scalar(&self, scalar: naga::Scalar, span: Span) -> Result<Ty> {
        shapes::scalar(scalar).or_else(|what| unknown(self, &what, span))
    }
}

impl<'m> Frame<'_, 'm> {
    /// What a pointer points to.
    pub fn pointee(&self, pointer: Handle<Expression>) -> Cow<'m, TypeInner> {
        match *self.inner(pointer) {
            TypeInner::Pointer { base, .. } => Cow::Borrowed(self.b.shapes.inner(base)),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
                Cow::Owned(TypeInner::Vector { size, scalar })
            }
            TypeInner::ValuePointer { size: None, scalar, .. } => Cow::Owned(TypeInner::Scalar(scalar)),
            ref other => Cow::Borrowed(other),
        }
    }

    /// An address in memory.
    pub fn address(&mut self, pointer: Handle<Expression>) -> Result<Address> {
        match self.pointer(pointer)? {
            Pointer::Memory(at) => Ok(at),
            Pointer::Registers { .. } => {
                unknown(self.b, "this on a variable that is not in memory", self.span(pointer))
            }
        }
    }

    /// `arrayLength`.
    pub fn array_length(&mut self, array: Handle<Expression>) -> Result<Reg> {
        let at = self.address(array)?;
        let (steps, Space::Buffer(buffer)) = (self.b.shapes.steps(&self.pointee(array)), at.space) else {
            return unknown(self.b, "arrayLength outside storage", self.span(array));
        };
        let stride = steps.map_or(4, |s| s.bytes);
        Ok(self.b.emit_to(|dst| Op::ArrayLength { dst, buffer, offset: at.base, stride }))
    }
}
