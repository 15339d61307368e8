//! What a shader's bindings hold: the type of every scalar, which the program alone does not say of what
//! stands in front of a runtime-sized array.

use naga::valid::ModuleInfo;
use naga::{AddressSpace, ArraySize, GlobalVariable, Handle, Module, ScalarKind, Type, TypeInner};

use super::words::{self, Words};
use crate::virtual_gpu::program::{Place, Ty};

/// A variable that is bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// Its scalars, without those of a runtime-sized array at its end: offset in bytes, type.
    pub scalars: Vec<(u32, Ty)>,
    /// Bytes that these take.
    pub bytes: u32,
    /// The runtime-sized array at its end.
    pub runtime: Option<Runtime>,
    /// What its words are if their type does not say it.
    pub words: Option<Words>,
}

/// A runtime-sized array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Runtime {
    /// Where it starts, in bytes.
    pub start: u32,
    /// Bytes from one element to the next.
    pub stride: u32,
    /// The scalars of an element: offset in bytes from its start, type.
    pub scalars: Vec<(u32, Ty)>,
}

impl Variable {
    /// Every scalar of the variable where the array at its end has `len` elements, in order of offset.
    pub fn all(&self, len: u32) -> impl Iterator<Item = (u32, Ty)> + '_ {
        let elements = self.runtime.iter().flat_map(move |r| {
            let at = move |i: u32| r.start + i * r.stride;
            (0..len).flat_map(move |i| r.scalars.iter().map(move |(offset, ty)| (at(i) + offset, *ty)))
        });
        self.scalars.iter().copied().chain(elements)
    }

    /// The number of the element that a byte lies in: of the array at its end, else of its scalars; `None` if it
    /// has only one.
    pub fn index(&self, offset: u32) -> Option<i64> {
        match &self.runtime {
            Some(r) if offset >= r.start => Some(i64::from((offset - r.start) / r.stride)),
            _ if self.scalars.len() < 2 => None,
            _ => self.scalars.iter().position(|(at, _)| *at == offset).map(|i| i as i64),
        }
    }
}

/// All variables that are bound.
pub(super) fn variables(source: &str, module: &Module, info: &ModuleInfo) -> Vec<Variable> {
    let words = words::of_globals(module, info);
    let globals = module.global_variables.iter().filter(|(_, v)| is_bound(v));
    globals
        .map(|(handle, v)| {
            let span = module.global_variables.get_span(handle);
            let place = span.is_defined().then(|| span.location(source));
            let place =
                place.map_or(Place::default(), |l| Place { line: l.line_number, column: l.line_position });
            let mut scalars = Vec::new();
            let runtime = flatten(module, v.ty, 0, &mut scalars);
            Variable {
                name: v.name.clone().unwrap_or_default(),
                place,
                scalars,
                bytes: module.types[v.ty].inner.size(module.to_ctx()),
                runtime,
                words: words.get(&handle).copied(),
            }
        })
        .collect()
}

fn is_bound(v: &GlobalVariable) -> bool {
    use AddressSpace::{Immediate, Storage, Uniform};
    matches!(v.space, Storage { .. } | Uniform | Immediate)
}

/// Adds the scalars of a type that lies at `offset`; hands back the runtime-sized array at its end.
fn flatten(module: &Module, ty: Handle<Type>, offset: u32, out: &mut Vec<(u32, Ty)>) -> Option<Runtime> {
    match &module.types[ty].inner {
        TypeInner::Scalar(s) | TypeInner::Atomic(s) => out.extend(scalar(*s).map(|ty| (offset, ty))),
        TypeInner::Vector { size, scalar: s } => {
            let parts = (0..*size as u32).map(|i| offset + i * u32::from(s.width));
            out.extend(parts.filter_map(|at| Some((at, scalar(*s)?))));
        }
        TypeInner::Matrix { columns, rows, scalar: s } => {
            // Columns lie as vectors do, and one of three as if there were four.
            let stride = if *rows as u32 == 2 { 2 } else { 4 } * u32::from(s.width);
            for column in 0..*columns as u32 {
                let parts = (0..*rows as u32).map(|i| offset + column * stride + i * u32::from(s.width));
                out.extend(parts.filter_map(|at| Some((at, scalar(*s)?))));
            }
        }
        TypeInner::Array { base, size: ArraySize::Constant(n), stride } => {
            for i in 0..n.get() {
                flatten(module, *base, offset + i * stride, out);
            }
        }
        TypeInner::Array { base, stride, .. } => {
            let mut scalars = Vec::new();
            flatten(module, *base, 0, &mut scalars);
            return Some(Runtime { start: offset, stride: *stride, scalars });
        }
        TypeInner::Struct { members, .. } => {
            return members
                .iter()
                .fold(None, |runtime, m| flatten(module, m.ty, offset + m.offset, out).or(runtime));
        }
        _ => {}
    }
    None
}

/// A type of the virtual GPU; others do not get this far.
fn scalar(s: naga::Scalar) -> Option<Ty> {
    match (s.kind, s.width) {
        (ScalarKind::Float, 4) => Some(Ty::F32),
        (ScalarKind::Float, 2) => Some(Ty::F16),
        (ScalarKind::Sint, 4) => Some(Ty::I32),
        (ScalarKind::Uint, 4) => Some(Ty::U32),
        _ => None,
    }
}
