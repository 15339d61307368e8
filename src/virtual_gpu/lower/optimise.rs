//! What lowering leaves over is tidied up, and what compilers may do to arithmetic is done.
//!
//! All inside runs, where every instruction sees the same active lanes: a copy of a variable gives way to
//! the variable, an instruction whose result goes into a variable writes it itself, what nobody reads goes.

use super::super::program::{Inst, Node, Op, Reg};
use super::Rewrites;
use super::builder::{Draft, Kind};
use super::operands::{Role, in_place, is_pure, visit, visit_mut};
use super::rewrite::Run;

/// Tidies up a draft.
pub(super) fn optimise(draft: &mut Draft, how: Rewrites) {
    let mut body = std::mem::take(&mut draft.body);
    let mut facts = Facts::new(draft, &body);
    facts.forward(&mut body, how);
    facts.join_runs(&mut body);
    facts.sweep(&mut body);
    draft.body = body;
}

/// What is known of registers.
#[derive(Debug)]
pub(super) struct Facts<'d> {
    pub draft: &'d mut Draft,
    /// How many instructions and nodes read each.
    pub uses: Vec<u32>,
    /// The last run of the present pass that mentions each in the way that the pass cares for, and where.
    pub seen: Vec<(u32, u32)>,
    /// As `seen`, of where each is defined.
    pub defined: Vec<(u32, u32)>,
    /// The number of the present run, from 1.
    run: u32,
}

impl<'d> Facts<'d> {
    fn new(draft: &'d mut Draft, body: &[Node]) -> Self {
        let count = draft.kinds.len();
        let (uses, none) = (vec![0; count], vec![(0, 0); count]);
        let mut facts = Self { draft, uses, seen: none.clone(), defined: none, run: 0 };
        facts.count(body);
        facts
    }

    fn count(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Run(run) => {
                    for inst in run {
                        self.count_inst(&inst.op, 1);
                    }
                }
                Node::If { condition, accept, reject, .. } => {
                    self.uses[condition.0 as usize] += 1;
                    self.count(accept);
                    self.count(reject);
                }
                Node::Scope { body, .. } => self.count(body),
                Node::Loop { body, continuing, break_if, .. } => {
                    self.count(body);
                    self.count(continuing);
                    if let Some(reg) = break_if {
                        self.uses[reg.0 as usize] += 1;
                    }
                }
                Node::Exit(_) => {}
            }
        }
    }

    /// An instruction comes or goes.
    pub fn count_inst(&mut self, op: &Op, change: i32) {
        visit(op, &mut |reg, role| {
            if role == Role::Read {
                let uses = &mut self.uses[reg.0 as usize];
                *uses = uses.saturating_add_signed(change);
            }
        });
    }

    /// A register of the kind, that nothing mentions yet.
    pub fn register(&mut self, kind: Kind) -> Reg {
        self.draft.kinds.push(kind);
        self.uses.push(0);
        self.seen.push((0, 0));
        self.defined.push((0, 0));
        Reg(self.uses.len() as u32 - 1)
    }

    pub fn kind(&self, reg: Reg) -> Kind {
        self.draft.kinds[reg.0 as usize]
    }

    /// A constant by its bits.
    pub fn constant(&mut self, bits: u32) -> Reg {
        if let Some(index) = self.draft.kinds.iter().position(|k| *k == Kind::Constant(bits)) {
            return Reg(index as u32);
        }
        self.register(Kind::Constant(bits))
    }

    /// A scalar of a variable that no index finds.
    pub fn is_plain(&self, reg: Reg) -> bool {
        matches!(self.kind(reg), Kind::Variable(v) if !self.draft.variables[v as usize].indexed)
    }

    fn forward(&mut self, nodes: &mut [Node], how: Rewrites) {
        let mut previous: Option<Run> = None;
        for node in nodes {
            let before = previous.take();
            match node {
                Node::Run(insts) => {
                    self.run += 1;
                    let mut run = Run::new(self.run, how);
                    run.rewrite(self, insts);
                    previous = Some(run);
                }
                Node::If { condition, accept, reject, .. } => {
                    if let Some(run) = before {
                        run.exchange(self, condition);
                    }
                    self.forward(accept, how);
                    self.forward(reject, how);
                }
                Node::Scope { body, .. } => self.forward(body, how),
                Node::Loop { body, continuing, .. } => {
                    self.forward(body, how);
                    self.forward(continuing, how);
                }
                Node::Exit(_) => {}
            }
        }
    }

    /// `op t; copy v <- t`, and t is not read again: `op v`.
    fn join_runs(&mut self, nodes: &mut [Node]) {
        for node in nodes {
            match node {
                Node::Run(insts) => {
                    self.run += 1;
                    self.join(insts);
                }
                Node::If { accept, reject, .. } => {
                    self.join_runs(accept);
                    self.join_runs(reject);
                }
                Node::Scope { body, .. } => self.join_runs(body),
                Node::Loop { body, continuing, .. } => {
                    self.join_runs(body);
                    self.join_runs(continuing);
                }
                Node::Exit(_) => {}
            }
        }
    }

    fn join(&mut self, insts: &mut Vec<Inst>) {
        let mut gone = vec![false; insts.len()];
        for j in 0..insts.len() {
            if let Inst { op: Op::Copy { dst, src }, masked: true, .. } = insts[j]
                && let Some(i) = self.joins(insts, dst, src)
            {
                visit_mut(&mut insts[i].op, &mut |reg, role| {
                    if role == Role::Write && *reg == src {
                        *reg = dst;
                    }
                });
                insts[i].masked = true;
                self.uses[src.0 as usize] = 0;
                self.seen[dst.0 as usize] = (self.run, i as u32);
                gone[j] = true;
                continue;
            }
            visit(&insts[j].op, &mut |reg, role| {
                self.seen[reg.0 as usize] = (self.run, j as u32);
                if role == Role::Write {
                    self.defined[reg.0 as usize] = (self.run, j as u32);
                }
            });
        }
        let mut gone = gone.into_iter();
        insts.retain(|_| !gone.next().unwrap_or(false));
    }

    /// Which instruction can write `dst` itself instead of `src`.
    fn joins(&self, insts: &[Inst], dst: Reg, src: Reg) -> Option<usize> {
        let (run, i) = self.defined[src.0 as usize];
        let once = self.kind(src) == Kind::Temporary && self.uses[src.0 as usize] == 1;
        if !once || run != self.run || !self.is_plain(dst) {
            return None;
        }
        let (mentioned, at) = self.seen[dst.0 as usize];
        let free = mentioned != self.run || at < i || (at == i && in_place(&insts[i as usize].op));
        free.then_some(i as usize)
    }

    /// Drops what nobody reads, from the end to the start.
    fn sweep(&mut self, nodes: &mut Vec<Node>) {
        for node in nodes.iter_mut().rev() {
            match node {
                Node::Run(insts) => {
                    self.run += 1;
                    self.sweep_run(insts);
                }
                Node::If { accept, reject, condition, .. } => {
                    self.sweep(reject);
                    self.sweep(accept);
                    if accept.is_empty() && reject.is_empty() {
                        self.uses[condition.0 as usize] -= 1;
                    }
                }
                Node::Scope { body, .. } => self.sweep(body),
                Node::Loop { body, continuing, .. } => {
                    self.sweep(continuing);
                    self.sweep(body);
                }
                Node::Exit(_) => {}
            }
        }
        nodes.retain(|node| match node {
            Node::Run(insts) => !insts.is_empty(),
            Node::If { accept, reject, .. } => !accept.is_empty() || !reject.is_empty(),
            Node::Scope { body, .. } => !body.is_empty(),
            _ => true,
        });
        nodes.dedup_by(|next, run| match (run, next) {
            (Node::Run(insts), Node::Run(more)) => {
                insts.append(more);
                true
            }
            _ => false,
        });
    }

    fn sweep_run(&mut self, insts: &mut Vec<Inst>) {
        let mut kept = Vec::with_capacity(insts.len());
        for mut inst in insts.drain(..).rev() {
            let mut used = false;
            visit(&inst.op, &mut |reg, role| {
                if role == Role::Write {
                    // A variable that is written again before it is read: `seen` says so.
                    let again = self.seen[reg.0 as usize].0 == self.run && self.is_plain(*reg);
                    let read = self.uses[reg.0 as usize] > 0 && !again;
                    used |= read || matches!(self.kind(*reg), Kind::Variable(_)) && !self.is_plain(*reg);
                }
            });
            if !used && is_pure(&inst.op) {
                self.count_inst(&inst.op, -1);
                continue;
            }
            if let Op::Atomic { dst, .. } = &mut inst.op
                && !used
            {
                dst.clear();
            }
            visit(&inst.op, &mut |reg, role| {
                if role == Role::Write {
                    self.seen[reg.0 as usize].0 = self.run;
                }
            });
            visit(&inst.op, &mut |reg, role| {
                if role == Role::Read {
                    self.seen[reg.0 as usize].0 = 0;
                }
            });
            kept.push(inst);
        }
        kept.reverse();
        *insts = kept;
    }
}
