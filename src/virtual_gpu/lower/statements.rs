//! Statements, and functions inlined where they are called.

use naga::valid::FunctionInfo;
use naga::{Barrier, Block, Expression, Function, Handle, Span, Statement, SwitchCase, SwitchValue};

use super::super::program::{Binary, Inst, Node, Op, Reg, ScopeId, Ty, Unary};
use super::builder::Builder;
use super::expressions::{Around, Frame, Leave, Value};
use super::places::Pointer;
use super::{Result, unknown};

impl<'m> Builder<'m> {
    /// An entry point: all of the program.
    pub fn entry_point(&mut self, index: usize) -> Result<()> {
        let function = &self.module.entry_points[index].function;
        let info = self.info.get_entry_point(index);
        self.declare(info)?;
        let arguments = self.arguments(index)?;
        self.inline(function, info, arguments, Some(ScopeId(0))).map(drop)
    }

    /// A function's body here; its result. `root` is the scope of the entry point.
    fn inline(
        &mut self,
        function: &'m Function,
        info: &'m FunctionInfo,
        arguments: Vec<Value>,
        root: Option<ScopeId>,
    ) -> Result<Option<Vec<Reg>>> {
        let at_end = matches!(function.body.last(), Some(Statement::Return { .. }) | None);
        let leave = match (root, returns(&function.body)) {
            (None, 0) => Leave::AtEnd(None),
            (None, 1) if at_end => Leave::AtEnd(None),
            (Some(root), _) => Leave::Scope(root, 0),
            _ => {
                let result = function.result.as_ref().map(|r| self.shapes.inner(r.ty));
                let count = result.map_or(0, |inner| self.shapes.registers(inner));
                Leave::Scope(self.scope(), self.variable(count as usize, Span::UNDEFINED)?)
            }
        };
        let mut frame = Frame {
            values: vec![None; function.expressions.len()],
            b: self,
            function,
            info,
            arguments,
            locals: Vec::new(),
            leave,
            around: Vec::new(),
        };
        frame.initialise()?;
        if root.is_none() {
            frame.b.open();
        }
        frame.block(&function.body, true)?;
        let leave = frame.leave;
        if root.is_some() {
            return Ok(None);
        }
        let body = self.close();
        match leave {
            Leave::AtEnd(result) => {
                let inside = self.scope();
                self.enclose(inside, body);
                Ok(result)
            }
            Leave::Scope(id, first) => {
                self.enclose(id, body);
                let result = function.result.as_ref().map(|r| self.shapes.inner(r.ty));
                let Some(inner) = result else { return Ok(None) };
                let at = Pointer::Registers { base: first, terms: Vec::new(), name: 0 };
                self.load(at, inner, Span::UNDEFINED).map(Some)
            }
        }
    }
}

impl Builder<'_> {
    /// Puts a selection in place of a branch that writes one variable at the end of either side, if what
    /// comes before can be done by all lanes: it is cheap, and neither memory nor findings know of it.
    fn flatten(&mut self, condition: Reg, accept: &mut Vec<Inst>, reject: &mut Vec<Inst>) -> bool {
        let harmless = |inst: &Inst| match inst.op {
            Op::Copy { .. } | Op::Select { .. } => true,
            Op::Unary { op, .. } => op == Unary::Not,
            Op::Binary { op, ty, .. } => match op {
                Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => true,
                Binary::And | Binary::Or | Binary::Xor => true,
                Binary::Add | Binary::Sub | Binary::Mul => matches!(ty, Ty::I32 | Ty::U32),
                _ => false,
            },
            _ => false,
        };
        if accept.len() + reject.len() > 16 || !accept.iter().chain(&*reject).all(harmless) {
            return false;
        }
        match (accept.pop(), reject.pop()) {
            (
                Some(Inst { op: Op::Copy { dst, src: yes }, .. }),
                Some(Inst { op: Op::Copy { dst: same, src: no }, .. }),
            ) if dst == same => {
                accept.drain(..).chain(reject.drain(..)).for_each(|inst| self.push(inst));
                let chosen = self.emit_to(|dst| Op::Select { dst, condition, accept: yes, reject: no });
                self.assign(dst.0, &[chosen]);
                true
            }
            (yes, no) => {
                accept.extend(yes);
                reject.extend(no);
                false
            }
        }
    }
}

/// How many times a block returns.
fn returns(block: &Block) -> usize {
    let of = |statement: &Statement| match statement {
        Statement::Return { .. } => 1,
        Statement::Block(block) => returns(block),
        Statement::If { accept, reject, .. } => returns(accept) + returns(reject),
        Statement::Loop { body, continuing, .. } => returns(body) + returns(continuing),
        Statement::Switch { cases, .. } => cases.iter().map(|c| returns(&c.body)).sum(),
        _ => 0,
    };
    block.iter().map(of).sum()
}

impl<'m> Frame<'_, 'm> {
    /// Variables of the function with what they begin with.
    fn initialise(&mut self) -> Result<()> {
        let function: &'m Function = self.function;
        for (handle, local) in function.local_variables.iter() {
            let span = function.local_variables.get_span(handle);
            // One without a name is of naga's making, and always written before it is read.
            if local.name.is_none() && local.init.is_none() {
                let count = self.b.shapes.registers(self.b.shapes.inner(local.ty));
                self.locals.push(self.b.variable(count as usize, span)?);
                continue;
            }
            let init = match local.init {
                Some(init) => self.value(init)?,
                None => self.b.zero(self.b.shapes.inner(local.ty), span)?,
            };
            let base = self.b.variable(init.len(), span)?;
            self.locals.push(base);
            self.b.stand_at(span);
            self.b.assign(base, &init);
        }
        Ok(())
    }

    /// The statements of a block; `last` says that nothing follows it in the function.
    fn block(&mut self, block: &'m Block, last: bool) -> Result<()> {
        let count = block.len();
        for (i, (statement, span)) in block.span_iter().enumerate() {
            self.statement(statement, *span, last && i + 1 == count)?;
        }
        Ok(())
    }

    fn nodes(&mut self, block: &'m Block) -> Result<Vec<Node>> {
        self.b.open();
        let done = self.block(block, false);
        let nodes = self.b.close();
        done.map(|()| nodes)
    }

    fn statement(&mut self, statement: &'m Statement, span: Span, last: bool) -> Result<()> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    self.evaluate(handle)?;
                }
                return Ok(());
            }
            Statement::Block(block) => return self.block(block, last),
            _ => self.b.stand_at(span),
        }
        match *statement {
            Statement::If { condition, ref accept, ref reject } => {
                let condition = self.one(condition)?;
                self.branch(condition, accept, reject)?;
            }
            Statement::Switch { selector, ref cases } => self.switch(selector, cases)?,
            Statement::Loop { ref body, ref continuing, break_if } => {
                self.repeat(body, continuing, break_if)?;
            }
            Statement::Break | Statement::Continue => self.leave(statement, span)?,
            Statement::Return { value } => self.hand_back(value, last)?,
            Statement::Store { pointer, value } => {
                let (at, value) = (self.pointer(pointer)?, self.value(value)?);
                self.b.stand_at(span);
                self.b.store(at, &self.pointee(pointer), value, span)?;
            }
            Statement::ControlBarrier(flags) => self.b.emit(Op::Barrier {
                workgroup: flags.contains(Barrier::WORK_GROUP),
                storage: flags.contains(Barrier::STORAGE),
                subgroup: flags.contains(Barrier::SUB_GROUP),
            }),
            Statement::WorkGroupUniformLoad { pointer, result } => {
                let at = self.pointer(pointer)?;
                let regs = self.b.uniform_load(at, &self.pointee(pointer), span)?;
                self.result(result, regs);
            }
            Statement::Call { function, ref arguments, result } => {
                let arguments = arguments.iter().map(|a| self.evaluate(*a)).collect::<Result<_>>()?;
                let (module, info) = (self.b.module, self.b.info);
                let regs = self.b.inline(&module.functions[function], &info[function], arguments, None)?;
                if let (Some(result), Some(regs)) = (result, regs) {
                    self.result(result, regs);
                }
            }
            _ => return self.parallel(statement, span),
        }
        Ok(())
    }

    pub fn result(&mut self, handle: Handle<Expression>, regs: Vec<Reg>) {
        self.values[handle.index()] = Some(Value::Scalars(regs));
    }

    /// `break` and `continue`.
    fn leave(&mut self, statement: &Statement, span: Span) -> Result<()> {
        let scope = if matches!(statement, Statement::Break) {
            self.around.last().map(|a| a.breaks)
        } else {
            self.around.iter().rev().find_map(|a| a.continues)
        };
        let Some(scope) = scope else { return unknown(self.b, "a jump out of nothing", span) };
        self.b.node(Node::Exit(scope));
        Ok(())
    }

    fn branch(&mut self, condition: Reg, accept: &'m Block, reject: &'m Block) -> Result<()> {
        let site = self.b.site;
        let (mut yes, mut no) = (self.nodes(accept)?, self.nodes(reject)?);
        let one = self.is_operand(accept) && self.is_operand(reject);
        match (yes.as_mut_slice(), no.as_mut_slice()) {
            ([Node::Run(first)], [Node::Run(second)]) if one => {
                self.b.site = site;
                if self.b.flatten(condition, first, second) {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.b.node(Node::If { condition, accept: yes, reject: no, site });
        Ok(())
    }

    /// Whether a block is what naga makes of an operand of `&&` or `||`: it ends with a store to a variable
    /// without a name.
    fn is_operand(&self, block: &Block) -> bool {
        let Some(Statement::Store { pointer, .. }) = block.last() else { return false };
        match self.function.expressions[*pointer] {
            Expression::LocalVariable(local) => self.function.local_variables[local].name.is_none(),
            _ => false,
        }
    }

    fn hand_back(&mut self, value: Option<Handle<Expression>>, last: bool) -> Result<()> {
        let value = value.map(|v| self.value(v)).transpose()?;
        match self.leave {
            Leave::AtEnd(ref mut result) => *result = value,
            Leave::Scope(scope, first) => {
                self.b.assign(first, &value.unwrap_or_default());
                if !last {
                    self.b.node(Node::Exit(scope));
                }
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        body: &'m Block,
        continuing: &'m Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<()> {
        let (id, id_continue, site) = (self.b.scope(), self.b.scope(), self.b.site);
        self.around.push(Around { breaks: id, continues: Some(id_continue) });
        let body = self.nodes(body)?;
        let mut continuing = self.nodes(continuing)?;
        self.around.pop();
        let break_if = match break_if {
            Some(condition) => {
                self.b.open();
                let condition = self.one(condition)?;
                continuing.extend(self.b.close());
                Some(condition)
            }
            None => None,
        };
        self.b.node(Node::Loop { id, id_continue, body, continuing, break_if, site });
        Ok(())
    }

    /// A scope with a branch for each case, the default inside all others.
    fn switch(&mut self, selector: Handle<Expression>, cases: &'m [SwitchCase]) -> Result<()> {
        let (ty, selector, site) = (self.ty(selector)?, self.one(selector)?, self.b.site);
        let id = self.b.scope();
        self.around.push(Around { breaks: id, continues: None });
        let (mut branches, mut default) = (Vec::new(), Vec::new());
        let (mut condition, mut is_default) = (None, false);
        for case in cases {
            match case.value {
                SwitchValue::Default => is_default = true,
                SwitchValue::I32(v) => condition = Some(self.equals(ty, selector, v as u32, condition)),
                SwitchValue::U32(v) => condition = Some(self.equals(ty, selector, v, condition)),
            }
            if case.fall_through {
                continue;
            }
            // A break at the end of a case says nothing.
            let mut body = self.nodes(&case.body)?;
            if body.last() == Some(&Node::Exit(id)) {
                body.pop();
                self.b.draft.exits[id.0 as usize] -= 1;
            }
            match (std::mem::take(&mut is_default), condition.take()) {
                (true, _) => default = body,
                (false, Some(condition)) => branches.push((condition, body)),
                (false, None) => {}
            }
        }
        self.around.pop();
        let body = branches
            .into_iter()
            .rev()
            .fold(default, |reject, (condition, accept)| vec![Node::If { condition, accept, reject, site }]);
        self.b.enclose(id, body);
        Ok(())
    }

    /// Whether the selector is this value, or what went before held.
    fn equals(&mut self, ty: Ty, selector: Reg, value: u32, before: Option<Reg>) -> Reg {
        let value = self.b.constant(value);
        let equal = self.b.binary(Binary::Eq, ty, selector, value);
        before.map_or(equal, |before| self.b.binary(Binary::Or, Ty::Bool, before, equal))
    }
}
