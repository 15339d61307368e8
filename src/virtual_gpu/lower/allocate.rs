//! Registers without end become few: two that are never needed at the same time share one.
//!
//! A register is needed from its first to its last mention in the order of the text; one that is
//! mentioned inside a loop and outside of it, through all of the loop. Lanes that are not active keep
//! what they will need again, since its last mention is still to come.

use super::super::program::{Node, Op, Reg};
use super::builder::{Draft, Kind};
use super::operands::{Role, in_place, visit, visit_mut};

/// Where registers went.
#[derive(Debug)]
pub(super) struct Allocated {
    /// How many there are.
    pub count: u32,
    to: Vec<Option<u32>>,
}

impl Allocated {
    /// Where a register went, if it is used at all.
    pub fn register(&self, index: usize) -> Option<Reg> {
        self.to.get(index).copied().flatten().map(Reg)
    }
}

/// Gives every register of a draft its place.
pub(super) fn allocate(draft: &mut Draft) -> Allocated {
    let mut body = std::mem::take(&mut draft.body);
    let mut spans = Spans::new(draft);
    spans.nodes(&body);
    let allocated = scan(draft, spans.finish());
    rename(&mut body, &allocated);
    draft.body = body;
    allocated
}

/// From when to when something is needed.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    /// The innermost loop around all its mentions; 0 is all of the program.
    around: u32,
    /// The last loop inside that mentions it.
    through: u32,
}

#[derive(Debug, Clone, Copy)]
struct Loop {
    parent: u32,
    first: u32,
    last: u32,
    open: bool,
}

#[derive(Debug)]
struct Spans<'d> {
    draft: &'d Draft,
    of: Vec<Option<Span>>,
    loops: Vec<Loop>,
    innermost: u32,
    now: u32,
}

impl<'d> Spans<'d> {
    fn new(draft: &'d Draft) -> Self {
        let program = Loop { parent: 0, first: 0, last: u32::MAX, open: true };
        Self { draft, of: vec![None; draft.kinds.len()], loops: vec![program], innermost: 0, now: 0 }
    }

    /// A register is mentioned at `at`.
    fn mention(&mut self, reg: Reg, at: u32) {
        let index = representative(self.draft, reg);
        let span = self.of[index].get_or_insert(Span {
            first: at,
            last: at,
            around: self.innermost,
            through: self.innermost,
        });
        span.last = span.last.max(at);
        while !self.loops[span.around as usize].open {
            let outside = self.loops[span.around as usize];
            span.first = span.first.min(outside.first);
            span.around = outside.parent;
        }
        // The outermost loop between the one around all mentions and this mention.
        let mut through = self.innermost;
        while through != span.around && self.loops[through as usize].parent != span.around {
            through = self.loops[through as usize].parent;
        }
        if through != span.around {
            span.through = through;
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.now += 2;
            match node {
                Node::Run(insts) => {
                    for inst in insts {
                        self.now += 2;
                        self.instruction(&inst.op);
                    }
                }
                Node::If { condition, accept, reject, .. } => {
                    self.mention(*condition, self.now);
                    self.nodes(accept);
                    self.nodes(reject);
                }
                Node::Scope { body, .. } => self.nodes(body),
                Node::Loop { body, continuing, break_if, .. } => {
                    let index = self.loops.len() as u32;
                    let parent = std::mem::replace(&mut self.innermost, index);
                    self.loops.push(Loop { parent, first: self.now, last: self.now, open: true });
                    self.nodes(body);
                    self.nodes(continuing);
                    self.now += 2;
                    if let Some(condition) = break_if {
                        self.mention(*condition, self.now);
                    }
                    self.now += 2;
                    self.loops[index as usize].last = self.now;
                    self.loops[index as usize].open = false;
                    self.innermost = parent;
                }
                Node::Exit(_) => {}
            }
        }
    }

    /// Operands are needed until `now`, the destination from just after, unless they must be apart.
    fn instruction(&mut self, op: &Op) {
        let (now, apart) = (self.now, !in_place(op));
        visit(op, &mut |reg, role| {
            let read = role == Role::Read && !apart;
            self.mention(*reg, now + u32::from(!read));
        });
    }

    fn finish(mut self) -> Vec<Option<(u32, u32)>> {
        let loops = std::mem::take(&mut self.loops);
        let whole = |span: Span| {
            let inside = span.through != span.around && loops[span.through as usize].parent == span.around;
            let last = if inside { loops[span.through as usize].last } else { 0 };
            (span.first, span.last.max(last))
        };
        self.of.into_iter().map(|span| span.map(whole)).collect()
    }
}

/// The register that stands for one: of a variable that is indexed, the first.
fn representative(draft: &Draft, reg: Reg) -> usize {
    match draft.kinds[reg.0 as usize] {
        Kind::Variable(v) if draft.variables[v as usize].indexed => {
            draft.variables[v as usize].first as usize
        }
        _ => reg.0 as usize,
    }
}

/// Registers that lie together.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: u32,
    count: u32,
    /// When they are free again.
    free: u32,
}

/// In the order in which registers are first needed, each gets a place that is free.
fn scan(draft: &Draft, spans: Vec<Option<(u32, u32)>>) -> Allocated {
    let mut to: Vec<Option<u32>> = vec![None; spans.len()];
    let mut count = 0;
    let mut wanted = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        let Some((first, last)) = *span else { continue };
        match draft.kinds[index] {
            // Set once, so nothing else may be there.
            Kind::Constant(_) | Kind::Input => {
                to[index] = Some(count);
                count += 1;
            }
            _ => wanted.push((first, last, index)),
        }
    }
    wanted.sort_unstable();

    let mut busy = std::collections::BinaryHeap::new();
    let mut free = Vec::new();
    let (mut blocks, mut together) = (Vec::new(), 0);
    for (first, last, index) in wanted {
        while let Some(&std::cmp::Reverse((end, place))) = busy.peek()
            && end < first
        {
            busy.pop();
            free.push(place);
        }
        if let Kind::Variable(v) = draft.kinds[index]
            && draft.variables[v as usize].indexed
        {
            let size = draft.variables[v as usize].count;
            to[index] = Some(lie_together(&mut blocks, &mut together, size, (first, last)));
            continue;
        }
        let place = free.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        busy.push(std::cmp::Reverse((last, place)));
        to[index] = Some(place);
    }
    for variable in draft.variables.iter().filter(|v| v.indexed) {
        let Some(first) = to[variable.first as usize] else { continue };
        for i in 0..variable.count {
            to[(variable.first + i) as usize] = Some(count + first + i);
        }
    }
    Allocated { count: count + together, to }
}

/// The first of `size` registers among those that lie together.
fn lie_together(blocks: &mut Vec<Block>, together: &mut u32, size: u32, span: (u32, u32)) -> u32 {
    if let Some(block) = blocks.iter_mut().find(|b| b.count == size && b.free < span.0) {
        block.free = span.1;
        return block.first;
    }
    blocks.push(Block { first: *together, count: size, free: span.1 });
    *together += size;
    *together - size
}

fn rename(nodes: &mut [Node], allocated: &Allocated) {
    let place = |reg: &mut Reg| {
        if let Some(place) = allocated.register(reg.0 as usize) {
            *reg = place;
        }
    };
    for node in nodes {
        match node {
            Node::Run(insts) => {
                for inst in insts {
                    visit_mut(&mut inst.op, &mut |reg, _| place(reg));
                }
            }
            Node::If { condition, accept, reject, .. } => {
                place(condition);
                rename(accept, allocated);
                rename(reject, allocated);
            }
            Node::Scope { body, .. } => rename(body, allocated),
            Node::Loop { body, continuing, break_if, .. } => {
                rename(body, allocated);
                rename(continuing, allocated);
                if let Some(condition) = break_if {
                    place(condition);
                }
            }
            Node::Exit(_) => {}
        }
    }
}
