//! The program as it grows: registers without end, nodes in the order of the text.

use std::collections::HashMap;

use naga::valid::ModuleInfo;
use naga::{GlobalVariable, Handle, Module, Span};

use super::super::program::{BufferDecl, Input, Inst, Node, Op, Place, Program, Reg, ScopeId, Site, Ty};
use super::places::Pointer;
use super::shapes::Shapes;
use super::{Rejected, Result, Rewrites, allocate, optimise, unknown};

/// The most scalars of one variable; a lane cannot hold more in registers, nor a description list more.
const MOST_SCALARS: usize = 1 << 20;

/// What a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Written by one instruction, and read where that one has run.
    Temporary,
    /// Always these bits.
    Constant(u32),
    /// Set before the program starts.
    Input,
    /// A scalar of a variable: a place in [`Draft::variables`].
    Variable(u32),
}

/// The registers of a variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    pub first: u32,
    pub count: u32,
    /// Whether an index finds its registers, so that they must lie together.
    pub indexed: bool,
}

/// A program with registers without end.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub kinds: Vec<Kind>,
    pub variables: Vec<Variable>,
    pub body: Vec<Node>,
    /// How many exits each scope has.
    pub exits: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Builder<'m> {
    pub module: &'m Module,
    pub info: &'m ModuleInfo,
    pub shapes: Shapes<'m>,
    source: &'m str,
    /// The first byte of each line.
    lines: Vec<usize>,
    pub draft: Draft,
    /// Nodes that are not complete yet, the innermost last.
    open: Vec<Vec<Node>>,
    constants: HashMap<u32, Reg>,
    inputs: Vec<(Reg, Input)>,
    sites: Vec<Place>,
    site_of: HashMap<u32, Site>,
    /// Where what is emitted stands.
    pub site: Site,
    names: Vec<String>,
    pub buffers: Vec<BufferDecl>,
    pub workgroup_bytes: u32,
    pub workgroup_variables: Vec<(String, u32, u32)>,
    pub globals: HashMap<Handle<GlobalVariable>, Pointer>,
    /// Variables that hold constant lists which are indexed.
    pub tables: HashMap<Vec<Reg>, u32>,
    /// Words of uniform buffers by buffer and first byte.
    pub parameters: HashMap<(u32, u32), Reg>,
    /// What is done first.
    prologue: Vec<Inst>,
    pub halves: bool,
    pub atomics: bool,
}

impl<'m> Builder<'m> {
    pub fn new(source: &'m str, module: &'m Module, info: &'m ModuleInfo) -> Result<Self> {
        let shapes = Shapes::new(module).map_err(|what| Rejected {
            place: None,
            message: format!("the virtual GPU does not know {what}"),
        })?;
        let lines = std::iter::once(0).chain(source.match_indices('\n').map(|(i, _)| i + 1)).collect();
        let mut builder = Self {
            module,
            info,
            shapes,
            source,
            lines,
            draft: Draft::default(),
            open: vec![Vec::new()],
            constants: HashMap::new(),
            inputs: Vec::new(),
            sites: vec![Place::default()],
            site_of: HashMap::new(),
            site: Site(0),
            names: Vec::new(),
            buffers: Vec::new(),
            workgroup_bytes: 0,
            workgroup_variables: Vec::new(),
            globals: HashMap::new(),
            tables: HashMap::new(),
            parameters: HashMap::new(),
            prologue: Vec::new(),
            halves: false,
            atomics: false,
        };
        let root = builder.scope();
        debug_assert_eq!(root, ScopeId(0));
        Ok(builder)
    }

    /// The program, tidied up.
    pub fn finish(mut self, name: &str, workgroup_size: [u32; 3], how: Rewrites) -> Program {
        let mut body = self.open.pop().unwrap_or_default();
        match body.first_mut() {
            Some(Node::Run(run)) => {
                self.prologue.append(run);
                *run = self.prologue;
            }
            _ => body.insert(0, Node::Run(self.prologue)),
        }
        self.draft.body = body;
        optimise::optimise(&mut self.draft, how);
        let allocated = allocate::allocate(&mut self.draft);
        let mut constants: Vec<_> = (self.draft.kinds.iter().enumerate())
            .filter_map(|(i, kind)| match kind {
                Kind::Constant(bits) => Some((allocated.register(i)?, *bits)),
                _ => None,
            })
            .collect();
        constants.sort_unstable();
        let inputs = self.inputs.iter();
        Program {
            name: name.to_owned(),
            workgroup_size,
            buffers: self.buffers,
            workgroup_bytes: self.workgroup_bytes,
            workgroup_variables: self.workgroup_variables,
            registers: allocated.count,
            constants,
            inputs: inputs.filter_map(|(r, i)| Some((allocated.register(r.0 as usize)?, *i))).collect(),
            body: self.draft.body,
            root: ScopeId(0),
            scopes: self.draft.exits.len() as u32,
            sites: self.sites,
            names: self.names,
            halves: self.halves,
            atomics: self.atomics,
        }
    }

    /// Where a span begins.
    pub fn place(&self, span: Span) -> Option<Place> {
        let start = span.to_range()?.start;
        let line = self.lines.partition_point(|first| *first <= start);
        let before = self.source.get(self.lines[line - 1]..start)?;
        Some(Place { line: line as u32, column: before.chars().count() as u32 + 1 })
    }

    /// What is emitted from here on stands at `span`.
    pub fn stand_at(&mut self, span: Span) {
        let Some(range) = span.to_range() else { return };
        let key = range.start as u32;
        if let Some(site) = self.site_of.get(&key) {
            self.site = *site;
            return;
        }
        self.site = Site(self.sites.len() as u32);
        self.sites.push(self.place(span).unwrap_or_default());
        self.site_of.insert(key, self.site);
    }

    fn register(&mut self, kind: Kind) -> Reg {
        self.draft.kinds.push(kind);
        Reg(self.draft.kinds.len() as u32 - 1)
    }

    pub fn temporary(&mut self) -> Reg {
        self.register(Kind::Temporary)
    }

    pub fn temporaries(&mut self, count: usize) -> Vec<Reg> {
        (0..count).map(|_| self.temporary()).collect()
    }

    pub fn constant(&mut self, bits: u32) -> Reg {
        if let Some(reg) = self.constants.get(&bits) {
            return *reg;
        }
        let reg = self.register(Kind::Constant(bits));
        self.constants.insert(bits, reg);
        reg
    }

    /// A number as a constant of a type.
    pub fn number(&mut self, ty: Ty, number: i8) -> Reg {
        self.constant(match ty {
            Ty::F32 | Ty::F16 => f32::from(number).to_bits(),
            Ty::I32 | Ty::U32 => i32::from(number) as u32,
            Ty::Bool => u32::MAX * u32::from(number != 0),
        })
    }

    /// The bits of a register that never change.
    pub fn bits(&self, reg: Reg) -> Option<u32> {
        match self.draft.kinds[reg.0 as usize] {
            Kind::Constant(bits) => Some(bits),
            _ => None,
        }
    }

    pub fn input(&mut self, input: Input) -> Reg {
        if let Some((reg, _)) = self.inputs.iter().find(|(_, i)| *i == input) {
            return *reg;
        }
        let reg = self.register(Kind::Input);
        self.inputs.push((reg, input));
        reg
    }

    /// Refuses what a lane cannot hold.
    pub fn check_size(&self, scalars: usize, span: Span) -> Result<()> {
        if scalars > MOST_SCALARS {
            return unknown(self, &format!("values of {scalars} scalars"), span);
        }
        Ok(())
    }

    /// A variable's first register.
    pub fn variable(&mut self, count: usize, span: Span) -> Result<u32> {
        self.check_size(count, span)?;
        let first = self.draft.kinds.len() as u32;
        let variable = Kind::Variable(self.draft.variables.len() as u32);
        self.draft.kinds.extend(std::iter::repeat_n(variable, count));
        self.draft.variables.push(Variable { first, count: count as u32, indexed: false });
        Ok(first)
    }

    /// From now on a variable's registers are found by indices.
    pub fn indexed(&mut self, reg: u32) {
        if let Kind::Variable(variable) = self.draft.kinds[reg as usize] {
            self.draft.variables[variable as usize].indexed = true;
        }
    }

    pub fn scope(&mut self) -> ScopeId {
        self.draft.exits.push(0);
        ScopeId(self.draft.exits.len() as u32 - 1)
    }

    pub fn name(&mut self, name: Option<&str>) -> u32 {
        let name = name.unwrap_or("a value");
        let known = self.names.iter().position(|n| n == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }) as u32
    }

    /// Does `op` here; its destinations are temporaries.
    pub fn emit(&mut self, op: Op) {
        self.emit_as(op, false);
    }

    /// Does `op`, which gives one scalar.
    pub fn emit_to(&mut self, op: impl FnOnce(Reg) -> Op) -> Reg {
        let dst = self.temporary();
        self.emit(op(dst));
        dst
    }

    /// Copies into registers of a variable.
    pub fn assign(&mut self, first: u32, values: &[Reg]) {
        for (i, src) in (first..).zip(values) {
            self.emit_as(Op::Copy { dst: Reg(i), src: *src }, true);
        }
    }

    /// Copies into registers of a variable before anything else is done.
    pub fn prepare(&mut self, first: u32, values: &[Reg]) {
        for (i, src) in (first..).zip(values) {
            self.begin_with(Op::Copy { dst: Reg(i), src: *src }, true);
        }
    }

    /// Does `op` before anything else.
    pub fn begin_with(&mut self, op: Op, masked: bool) {
        self.prologue.push(Inst { op, site: self.site, masked });
    }

    fn emit_as(&mut self, op: Op, masked: bool) {
        self.push(Inst { op, site: self.site, masked });
    }

    pub fn push(&mut self, inst: Inst) {
        let nodes = self.innermost();
        match nodes.last_mut() {
            Some(Node::Run(run)) => run.push(inst),
            _ => nodes.push(Node::Run(vec![inst])),
        }
    }

    fn innermost(&mut self) -> &mut Vec<Node> {
        if self.open.is_empty() {
            self.open.push(Vec::new());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    pub fn node(&mut self, node: Node) {
        if let Node::Exit(scope) = node {
            self.draft.exits[scope.0 as usize] += 1;
        }
        self.innermost().push(node);
    }

    /// What follows goes into nodes of their own, until [`Builder::close`].
    pub fn open(&mut self) {
        self.open.push(Vec::new());
    }

    pub fn close(&mut self) -> Vec<Node> {
        self.open.pop().unwrap_or_default()
    }

    /// A scope around nodes, or these alone if nothing leaves it.
    pub fn enclose(&mut self, id: ScopeId, body: Vec<Node>) {
        if self.draft.exits[id.0 as usize] > 0 {
            return self.node(Node::Scope { id, body });
        }
        let nodes = self.innermost();
        for node in body {
            match (nodes.last_mut(), node) {
                (Some(Node::Run(run)), Node::Run(more)) => run.extend(more),
                (_, node) => nodes.push(node),
            }
        }
    }
}
