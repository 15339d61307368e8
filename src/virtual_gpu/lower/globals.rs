//! What a module declares outside functions, and what an entry point is given.

use naga::valid::FunctionInfo;
use naga::{AddressSpace, Binding, BuiltIn, GlobalVariable, Handle, Module, Span, StorageAccess, TypeInner};

use super::super::program::{Address, BufferDecl, BufferKind, Input, Reg, Space, Ty};
use super::builder::Builder;
use super::expressions::Value;
use super::places::Pointer;
use super::{Result, unknown};

impl<'m> Builder<'m> {
    /// Every variable that a function or what it calls mentions.
    pub fn declare(&mut self, info: &FunctionInfo) -> Result<()> {
        let module: &'m Module = self.module;
        for (handle, variable) in module.global_variables.iter() {
            if info[handle].is_empty() {
                continue;
            }
            let span = module.global_variables.get_span(handle);
            let name = self.name(variable.name.as_deref());
            let pointer = match variable.space {
                AddressSpace::Private => self.private(variable, name, span)?,
                AddressSpace::WorkGroup => self.workgroup(variable, name, span)?,
                AddressSpace::Uniform | AddressSpace::Immediate => {
                    self.buffer(variable, BufferKind::Uniform, name, span)?
                }
                AddressSpace::Storage { access } => {
                    let write = access.contains(StorageAccess::STORE);
                    let kind = if write { BufferKind::ReadWrite } else { BufferKind::Read };
                    self.buffer(variable, kind, name, span)?
                }
                AddressSpace::Handle => {
                    let what = super::shapes::name(self.shapes.inner(variable.ty));
                    return unknown(self, what, span);
                }
                _ => return unknown(self, "variables of this address space", span),
            };
            self.globals.insert(handle, pointer);
        }
        Ok(())
    }

    /// A pointer to a variable of the module.
    pub fn global_variable(&self, handle: Handle<GlobalVariable>) -> Result<Pointer> {
        self.globals.get(&handle).cloned().map_or_else(
            || unknown(self, "this variable here", self.module.global_variables.get_span(handle)),
            Ok,
        )
    }

    fn private(&mut self, variable: &GlobalVariable, name: u32, span: Span) -> Result<Pointer> {
        let init = match variable.init {
            Some(init) => self.global(init)?,
            None => self.zero(self.shapes.inner(variable.ty), span)?,
        };
        let base = self.variable(init.len(), span)?;
        self.prepare(base, &init);
        Ok(Pointer::Registers { base, terms: Vec::new(), name })
    }

    fn workgroup(&mut self, variable: &GlobalVariable, name: u32, span: Span) -> Result<Pointer> {
        let scalars = self.scalars(self.shapes.inner(variable.ty), span)?;
        self.halves |= scalars.iter().any(|(_, ty)| *ty == Ty::F16);
        let base = self.workgroup_bytes.next_multiple_of(16);
        let (size, _) = self.shapes.layout(variable.ty);
        let Some(end) = base.checked_add(size).filter(|end| *end < 1 << 30) else {
            return unknown(self, "more than 1 GiB of workgroup memory", span);
        };
        self.workgroup_bytes = end;
        let text = variable.name.clone().unwrap_or_default();
        self.workgroup_variables.push((text, base, size));
        Ok(Pointer::Memory(Address { space: Space::Workgroup, base, terms: Vec::new(), name }))
    }

    /// The scalars of a type in memory.
    fn scalars(&self, inner: &TypeInner, span: Span) -> Result<Vec<(u32, Ty)>> {
        self.check_size(self.shapes.registers(inner) as usize, span)?;
        let mut scalars = Vec::new();
        match self.shapes.scalars(inner, 0, &mut scalars) {
            Ok(()) => Ok(scalars),
            Err(what) => unknown(self, &what, span),
        }
    }

    fn buffer(
        &mut self,
        variable: &GlobalVariable,
        kind: BufferKind,
        name: u32,
        span: Span,
    ) -> Result<Pointer> {
        let inner = self.shapes.inner(variable.ty);
        let (runtime, element) = match *inner {
            TypeInner::Struct { ref members, .. } => match members.last() {
                Some(last) => (self.runtime(self.shapes.inner(last.ty), last.offset), last.ty),
                None => (None, variable.ty),
            },
            _ => (self.runtime(inner, 0), variable.ty),
        };
        let whole = self.scalars(inner, span)?;
        let scalars = match (runtime, self.shapes.inner(element)) {
            (Some(_), TypeInner::Array { base, .. }) => self.scalars(self.shapes.inner(*base), span)?,
            _ => whole.clone(),
        };
        self.halves |= whole.iter().chain(&scalars).any(|(_, ty)| *ty == Ty::F16);
        let space = Space::Buffer(self.buffers.len() as u32);
        self.buffers.push(BufferDecl {
            name: variable.name.clone().unwrap_or_default(),
            binding: variable.binding.map(|b| (b.group, b.binding)),
            kind,
            min_bytes: self.shapes.layout(variable.ty).0,
            runtime,
            scalars,
        });
        Ok(Pointer::Memory(Address { space, base: 0, terms: Vec::new(), name }))
    }

    /// Where a runtime-sized array starts and its stride.
    fn runtime(&self, inner: &TypeInner, offset: u32) -> Option<(u32, u32)> {
        match inner {
            TypeInner::Array { size: naga::ArraySize::Dynamic, stride, .. } => Some((offset, *stride)),
            _ => None,
        }
    }

    /// The arguments of an entry point.
    pub fn arguments(&mut self, index: usize) -> Result<Vec<Value>> {
        let module: &'m Module = self.module;
        let entry = &module.entry_points[index];
        let mut values = Vec::new();
        for argument in &entry.function.arguments {
            let mut regs = Vec::new();
            match (&argument.binding, self.shapes.inner(argument.ty)) {
                (Some(binding), _) => regs.extend(self.built_in(binding, entry.workgroup_size)?),
                (None, TypeInner::Struct { members, .. }) => {
                    for binding in members.iter().filter_map(|m| m.binding.as_ref()) {
                        regs.extend(self.built_in(binding, entry.workgroup_size)?);
                    }
                }
                _ => return unknown(self, "this argument of an entry point", Span::UNDEFINED),
            }
            values.push(Value::Scalars(regs));
        }
        Ok(values)
    }

    fn built_in(&mut self, binding: &Binding, workgroup_size: [u32; 3]) -> Result<Vec<Reg>> {
        let three = |input: fn(u8) -> Input| [0, 1, 2].map(input).to_vec();
        let inputs = match binding {
            Binding::BuiltIn(BuiltIn::WorkGroupSize) => {
                return Ok(workgroup_size.map(|size| self.constant(size)).to_vec());
            }
            Binding::BuiltIn(BuiltIn::GlobalInvocationId) => three(Input::GlobalId),
            Binding::BuiltIn(BuiltIn::LocalInvocationId) => three(Input::LocalId),
            Binding::BuiltIn(BuiltIn::WorkGroupId) => three(Input::WorkgroupId),
            Binding::BuiltIn(BuiltIn::NumWorkGroups) => three(Input::NumWorkgroups),
            Binding::BuiltIn(BuiltIn::LocalInvocationIndex) => vec![Input::LocalIndex],
            Binding::BuiltIn(BuiltIn::SubgroupSize) => vec![Input::SubgroupSize],
            Binding::BuiltIn(BuiltIn::SubgroupInvocationId) => vec![Input::SubgroupInvocationId],
            Binding::BuiltIn(BuiltIn::SubgroupId) => vec![Input::SubgroupId],
            Binding::BuiltIn(BuiltIn::NumSubgroups) => vec![Input::NumSubgroups],
            other => return unknown(self, &format!("the built-in value {other:?}"), Span::UNDEFINED),
        };
        Ok(inputs.into_iter().map(|input| self.input(input)).collect())
    }
}
