//! What a type is in registers, one for each scalar, and in memory.
//!
//! In memory a `bool`, which only workgroup memory holds, takes 4 bytes like other scalars; structs and
//! arrays that hold one are laid out here, all others by naga.

use naga::proc::{Alignment, IndexableLength, Layouter};
use naga::{Handle, Module, Scalar, ScalarKind, StructMember, Type, TypeInner, VectorSize};

use super::super::program::Ty;

/// Where the elements of a composite lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    /// Registers from one to the next.
    pub registers: u32,
    /// Bytes from one to the next.
    pub bytes: u32,
    /// How many there are; 0 if the buffer's size says so.
    pub count: u32,
}

/// A type that the virtual GPU does not know, by name.
pub(super) type Known<T> = Result<T, String>;

#[derive(Debug)]
pub(super) struct Shapes<'m> {
    module: &'m Module,
    layouter: Layouter,
    /// Of each type: its registers, and whether a `bool` is in it.
    known: Vec<(u32, bool)>,
}

/// The type of a scalar.
pub(super) fn scalar(scalar: Scalar) -> Known<Ty> {
    Ok(match (scalar.kind, scalar.width) {
        (ScalarKind::Float, 4) => Ty::F32,
        (ScalarKind::Float, 2) => Ty::F16,
        (ScalarKind::Sint, 4) => Ty::I32,
        (ScalarKind::Uint, 4) => Ty::U32,
        (ScalarKind::Bool, _) => Ty::Bool,
        (kind, width) => {
            let letter = match kind {
                ScalarKind::Sint => 'i',
                ScalarKind::Uint => 'u',
                _ => 'f',
            };
            return Err(format!("the type {letter}{}", 8 * u32::from(width)));
        }
    })
}

/// Bytes of a scalar in memory.
fn bytes(ty: Ty) -> u32 {
    if ty == Ty::F16 { 2 } else { 4 }
}

/// Bytes from one column of a matrix to the next.
fn column(rows: VectorSize, ty: Ty) -> u32 {
    Alignment::from(rows) * bytes(ty)
}

impl<'m> Shapes<'m> {
    pub fn new(module: &'m Module) -> Known<Self> {
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).map_err(|e| format!("the layout of a type ({e})"))?;
        let mut shapes = Self { module, layouter, known: Vec::with_capacity(module.types.len()) };
        for (_, ty) in module.types.iter() {
            let known = (shapes.registers(&ty.inner), shapes.has_bool(&ty.inner));
            shapes.known.push(known);
        }
        Ok(shapes)
    }

    pub fn inner(&self, ty: Handle<Type>) -> &'m TypeInner {
        &self.module.types[ty].inner
    }

    fn has_bool(&self, inner: &TypeInner) -> bool {
        match inner {
            TypeInner::Scalar(s) | TypeInner::Vector { scalar: s, .. } => s.kind == ScalarKind::Bool,
            TypeInner::Array { base, .. } => self.known[base.index()].1,
            TypeInner::Struct { members, .. } => members.iter().any(|m| self.known[m.ty.index()].1),
            _ => false,
        }
    }

    /// How many registers a value takes.
    pub fn registers(&self, inner: &TypeInner) -> u32 {
        match *inner {
            TypeInner::Scalar(_) | TypeInner::Atomic(_) => 1,
            TypeInner::Vector { size, .. } => size as u32,
            TypeInner::Matrix { columns, rows, .. } => columns as u32 * rows as u32,
            TypeInner::CooperativeMatrix { columns, rows, .. } => columns as u32 * rows as u32,
            TypeInner::Array { base, .. } => {
                self.known[base.index()].0.saturating_mul(self.steps(inner).map_or(0, |s| s.count))
            }
            TypeInner::Struct { ref members, .. } => members.iter().map(|m| self.known[m.ty.index()].0).sum(),
            _ => 0,
        }
    }

    /// The size and the alignment in memory, in bytes.
    pub fn layout(&self, ty: Handle<Type>) -> (u32, u32) {
        if !self.known[ty.index()].1 {
            let layout = self.layouter[ty];
            return (layout.size, layout.alignment.round_up(1));
        }
        match *self.inner(ty) {
            TypeInner::Vector { size, .. } => (4 * size as u32, Alignment::from(size) * 4),
            TypeInner::Array { base, .. } => {
                let steps = self.steps(self.inner(ty)).map_or((0, 0), |s| (s.bytes, s.count.max(1)));
                (steps.0 * steps.1, self.layout(base).1)
            }
            TypeInner::Struct { ref members, .. } => {
                let align = members.iter().map(|m| self.layout(m.ty).1).max().unwrap_or(4);
                let end = members
                    .last()
                    .map_or(0, |last| self.offset(members, members.len() - 1) + self.layout(last.ty).0);
                (end.next_multiple_of(align), align)
            }
            _ => (4, 4),
        }
    }

    /// The first byte of a member.
    pub fn offset(&self, members: &[StructMember], index: usize) -> u32 {
        if !members.iter().any(|m| self.known[m.ty.index()].1) {
            return members[index].offset;
        }
        members[..index].iter().zip(&members[1..]).fold(0, |at, (member, next)| {
            (at + self.layout(member.ty).0).next_multiple_of(self.layout(next.ty).1)
        })
    }

    /// The first register of a member.
    pub fn register(&self, members: &[StructMember], index: usize) -> u32 {
        members[..index].iter().map(|m| self.known[m.ty.index()].0).sum()
    }

    /// How the elements of a vector, matrix or array follow each other; `None` if it is none of them.
    pub fn steps(&self, inner: &TypeInner) -> Option<Steps> {
        Some(match *inner {
            TypeInner::Vector { size, scalar: s } => {
                Steps { registers: 1, bytes: bytes(scalar(s).ok()?), count: size as u32 }
            }
            TypeInner::Matrix { columns, rows, scalar: s } => {
                Steps { registers: rows as u32, bytes: column(rows, scalar(s).ok()?), count: columns as u32 }
            }
            TypeInner::Array { base, size, stride } => {
                let (registers, has_bool) = self.known[base.index()];
                let bytes = if has_bool {
                    let (size, align) = self.layout(base);
                    size.next_multiple_of(align)
                } else {
                    stride
                };
                let count = match size.resolve(self.module.to_ctx()) {
                    Ok(IndexableLength::Known(count)) => count,
                    _ => 0,
                };
                Steps { registers, bytes, count }
            }
            _ => return None,
        })
    }

    /// The scalars of a value with where they lie in memory, in the order of its registers.
    pub fn scalars(&self, inner: &TypeInner, at: u32, out: &mut Vec<(u32, Ty)>) -> Known<()> {
        match *inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => out.push((at, scalar(s)?)),
            TypeInner::Vector { size, scalar: s } => {
                let ty = scalar(s)?;
                out.extend((0..size as u32).map(|i| (at + i * bytes(ty), ty)));
            }
            TypeInner::Matrix { columns, rows, scalar: s } => {
                let ty = scalar(s)?;
                for c in 0..columns as u32 {
                    out.extend((0..rows as u32).map(|r| (at + c * column(rows, ty) + r * bytes(ty), ty)));
                }
            }
            TypeInner::Array { base, .. } => {
                let steps = self.steps(inner).ok_or_else(|| "this array".to_owned())?;
                for i in 0..steps.count {
                    self.scalars(self.inner(base), at + i * steps.bytes, out)?;
                }
            }
            TypeInner::Struct { ref members, .. } => {
                for (i, member) in members.iter().enumerate() {
                    self.scalars(self.inner(member.ty), at + self.offset(members, i), out)?;
                }
            }
            ref other => return Err(name(other).to_owned()),
        }
        Ok(())
    }
}

/// What kind of type it is, for messages.
pub(super) fn name(inner: &TypeInner) -> &'static str {
    match inner {
        TypeInner::CooperativeMatrix { .. } => "a cooperative matrix in memory",
        TypeInner::Image { .. } => "textures",
        TypeInner::Sampler { .. } => "samplers",
        TypeInner::AccelerationStructure { .. } => "acceleration structures",
        TypeInner::RayQuery { .. } => "ray queries",
        TypeInner::BindingArray { .. } => "binding arrays",
        TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => "pointers in memory",
        _ => "this type",
    }
}
