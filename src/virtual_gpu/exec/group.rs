//! A workgroup: its registers, its memory, which lanes are active, and how they go through the program.

use super::super::finding::Kind;
use super::super::memory::Memory;
use super::super::program::{Input, Inst, Node, Op, Reg, ScopeId, Site};
use super::lanes::Lanes;
use super::{Dispatch, LOOP_BOUND, Seen};

/// After so many iterations of any loops a workgroup is given up.
const BUDGET: u32 = 1 << 24;

/// A word for each lane.
pub(super) type Row = Vec<u32>;

/// What is all ones for lanes that are active, and zero for others.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    pub row: Row,
    /// Whether every lane of the workgroup is active.
    pub full: bool,
    /// Whether any lane is.
    pub any: bool,
    /// A multiple of 8 behind the last active lane: what lies past it need not be computed.
    pub end: usize,
}

impl Mask {
    pub fn of(row: Row, lanes: usize) -> Self {
        let count = row.iter().fold(0u32, |n, w| n + (w & 1)) as usize;
        let full = count == lanes;
        let last = if full { Some(lanes - 1) } else { row.iter().rposition(|w| *w != 0) };
        Self { full, any: count > 0, end: last.map_or(0, |last| last + 1).next_multiple_of(8), row }
    }

    fn and(&self, other: &[u32], lanes: usize) -> Self {
        Self::of(self.row.iter().zip(other).map(|(a, b)| a & b).collect(), lanes)
    }

    fn and_not(&self, other: &[u32], lanes: usize) -> Self {
        Self::of(self.row.iter().zip(other).map(|(a, b)| a & !b).collect(), lanes)
    }
}

/// A workgroup being run; workgroups of a thread take turns in one of these.
pub(super) struct Group<'a> {
    pub dispatch: &'a Dispatch<'a>,
    pub lanes: &'a Lanes,
    /// Lanes of the workgroup; rows are longer, a multiple of 16.
    pub count: usize,
    pub rows: Vec<Row>,
    /// Of each register, whether to trust it; empty where every lane may be trusted.
    pub taints: Vec<Row>,
    pub active: Mask,
    /// Lanes that left a scope, by its name; empty where none did.
    exited: Vec<Row>,
    /// Results before they are put where they belong.
    pub out: Row,
    /// Several such results, one after the other.
    pub flat: Row,
    /// Addresses of an access, in bytes.
    pub offsets: Row,
    /// Which lanes' addresses are past the end; only looked at if there are any.
    pub outside: Row,
    pub workgroup: u32,
    pub local: Local,
    /// Barriers passed, for storage.
    pub storage_epoch: u32,
    /// Whether a loop was given up, and the workgroup with it.
    dead: bool,
    /// Iterations of any loop that are left.
    budget: u32,
    /// Subgroup barriers passed since the last one of the workgroup.
    pub subgroup_barriers: u32,
}

/// Workgroup memory.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub memory: Memory,
    pub epoch: u32,
}

impl<'a> Group<'a> {
    pub fn new(dispatch: &'a Dispatch<'a>, lanes: &'a Lanes) -> Self {
        let program = dispatch.program;
        let count = program.lanes() as usize;
        let width = count.next_multiple_of(16);
        let mut rows = vec![vec![0; width]; program.registers as usize];
        for (Reg(r), bits) in &program.constants {
            rows[*r as usize].fill(*bits);
        }
        let bytes = u64::from(program.workgroup_bytes);
        let mut memory = Memory::new(bytes, bytes);
        memory.forget_users(program.per_word());
        Self {
            dispatch,
            lanes,
            count,
            taints: vec![Row::new(); rows.len()],
            rows,
            active: Mask { row: Row::new(), full: true, any: true, end: 0 },
            exited: vec![Row::new(); program.scopes as usize],
            out: vec![0; width],
            flat: Row::new(),
            offsets: vec![0; width],
            outside: vec![0; width],
            workgroup: 0,
            local: Local { memory, epoch: 0 },
            storage_epoch: 0,
            subgroup_barriers: 0,
            dead: false,
            budget: 0,
        }
    }

    /// Runs a workgroup by its number, x fastest.
    pub fn run(&mut self, workgroup: u32) {
        let width = self.out.len();
        if self.dispatch.log.gave_up(self.dispatch.step) {
            return;
        }
        self.workgroup = workgroup;
        (self.dead, self.budget) = (false, BUDGET);
        self.taints.iter_mut().for_each(Vec::clear);
        self.exited.iter_mut().for_each(Vec::clear);
        self.local.memory.unwrite(0);
        (self.local.epoch, self.storage_epoch, self.subgroup_barriers) = (0, 0, 0);
        let row = (0..width).map(|i| if i < self.count { u32::MAX } else { 0 }).collect();
        self.active = Mask::of(row, self.count);
        for (Reg(r), input) in &self.dispatch.program.inputs {
            let mut row = std::mem::take(&mut self.rows[*r as usize]);
            (0..self.count).for_each(|lane| row[lane] = self.input(*input, lane as u32));
            self.rows[*r as usize] = row;
        }
        self.nodes(&self.dispatch.program.body);
    }

    /// Workgroup `n` along each axis.
    pub fn coordinates(&self, n: u32) -> [u32; 3] {
        coordinates(n, self.dispatch.grid)
    }

    fn input(&self, input: Input, lane: u32) -> u32 {
        let [x, y, _] = self.dispatch.program.workgroup_size;
        let local = [lane % x, lane / x % y, lane / (x * y)];
        let workgroup = self.coordinates(self.workgroup);
        let at = |c: u8| usize::from(c.min(2));
        match input {
            Input::GlobalId(c) => {
                let size = self.dispatch.program.workgroup_size[at(c)];
                workgroup[at(c)].wrapping_mul(size).wrapping_add(local[at(c)])
            }
            Input::LocalId(c) => local[at(c)],
            Input::LocalIndex => lane,
            Input::WorkgroupId(c) => workgroup[at(c)],
            Input::NumWorkgroups(c) => self.dispatch.grid[at(c)],
            Input::SubgroupSize => self.dispatch.personality.subgroup_size,
            Input::SubgroupInvocationId => self.lanes.number[lane as usize],
            Input::SubgroupId => self.lanes.subgroup[lane as usize],
            Input::NumSubgroups => self.lanes.members.len() as u32,
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            if !self.active.any || self.dead {
                return;
            }
            match node {
                Node::Run(run) => run.iter().for_each(|inst| self.step(inst)),
                Node::If { condition, accept, reject, site } => {
                    self.branch(*condition, accept, reject, *site)
                }
                Node::Scope { id, body } => {
                    self.nodes(body);
                    self.rejoin(*id);
                }
                Node::Loop { id, id_continue, body, continuing, break_if, site } => {
                    let mut left = LOOP_BOUND;
                    while self.active.any && !self.dead {
                        self.nodes(body);
                        self.rejoin(*id_continue);
                        if self.active.any {
                            self.nodes(continuing);
                        }
                        if let Some(done) = break_if
                            && self.active.any
                        {
                            self.decide(*done, *site);
                            self.leave(*id, Some(*done));
                        }
                        (left, self.budget) = (left - 1, self.budget.saturating_sub(1));
                        if left.min(self.budget) == 0 && self.active.any && !self.dead {
                            let seen = self.seen(*site, self.first_active());
                            self.dispatch.log.report(Kind::EndlessLoop, seen);
                            self.dead = true;
                        }
                        if left.min(self.budget) == 0 {
                            break;
                        }
                    }
                    self.rejoin(*id);
                }
                Node::Exit(id) => self.leave(*id, None),
            }
        }
    }

    fn branch(&mut self, condition: Reg, accept: &[Node], reject: &[Node], site: Site) {
        self.decide(condition, site);
        let yes = self.active.and(&self.rows[condition.0 as usize], self.count);
        if yes.any && yes.row == self.active.row {
            return self.nodes(accept);
        }
        if !yes.any {
            return self.nodes(reject);
        }
        let no = self.active.and_not(&yes.row, self.count);
        self.active = yes;
        self.nodes(accept);
        let after = std::mem::replace(&mut self.active, no);
        self.nodes(reject);
        if after.any {
            let row = self.active.row.iter().zip(&after.row).map(|(a, b)| a | b).collect();
            self.active = Mask::of(row, self.count);
        }
    }

    /// Active lanes, or those of them for which a condition holds, leave a scope.
    fn leave(&mut self, ScopeId(id): ScopeId, where_: Option<Reg>) {
        let leaving = match where_ {
            Some(Reg(r)) => self.active.and(&self.rows[r as usize], self.count),
            None => self.active.clone(),
        };
        if !leaving.any {
            return;
        }
        self.active = self.active.and_not(&leaving.row, self.count);
        let exited = &mut self.exited[id as usize];
        if exited.is_empty() {
            *exited = leaving.row;
        } else {
            exited.iter_mut().zip(&leaving.row).for_each(|(e, l)| *e |= l);
        }
    }

    /// Lanes that left a scope go on behind it.
    fn rejoin(&mut self, ScopeId(id): ScopeId) {
        let exited = std::mem::take(&mut self.exited[id as usize]);
        if !exited.is_empty() {
            let row = self.active.row.iter().zip(&exited).map(|(a, b)| a | b).collect();
            self.active = Mask::of(row, self.count);
        }
    }

    fn step(&mut self, inst: &Inst) {
        match &inst.op {
            Op::Load { at, parts } => self.load(at, parts, inst),
            Op::Store { at, parts } => self.store(at, parts, inst.site),
            Op::LoadVar { dst, base, terms, name } => self.load_var(dst, *base, terms, *name, inst),
            Op::StoreVar { src, base, terms, name } => self.store_var(src, *base, terms, *name, inst.site),
            Op::Atomic { op, ty, at, dst, args } => self.atomic((*op, *ty), at, dst, args, inst),
            Op::UniformLoad { at, parts } => self.uniform_load(at, parts, inst),
            Op::Barrier { workgroup, storage, subgroup } => {
                self.barrier((*workgroup, *storage, *subgroup), inst.site);
            }
            Op::Subgroup { op, ty, dst, a, arg } => self.subgroup((*op, *ty), *dst, *a, *arg, inst),
            Op::Ballot { dst, predicate } => self.ballot(dst, *predicate, inst),
            Op::CoopLoad { .. } | Op::CoopStore { .. } | Op::CoopMultiplyAdd { .. } => self.cooperative(inst),
            _ => self.compute(inst),
        }
    }

    /// A barrier that not all lanes reach is reported, and passed all the same.
    pub fn barrier(&mut self, (workgroup, storage, subgroup): (bool, bool, bool), site: Site) {
        if subgroup && !(workgroup || storage) {
            self.whole_subgroups(site);
            self.subgroup_barriers += 1;
            return;
        }
        if !self.active.full {
            let absent = (0..self.count).find(|lane| self.active.row[*lane] == 0).unwrap_or(0);
            let seen = self.seen(site, absent as u32);
            let detail = "the lane that is named is not here: it returned, or took another branch";
            self.dispatch.log.report(Kind::NonUniform, Seen { detail, ..seen });
        }
        self.local.epoch += u32::from(workgroup);
        if workgroup && self.local.epoch.is_multiple_of(4096) {
            // Users are known by the epoch modulo 4096.
            self.local.memory.forget_users(self.dispatch.program.per_word());
        }
        self.storage_epoch += u32::from(storage);
        self.subgroup_barriers = 0;
    }

    /// What a finding says of a lane.
    pub fn seen(&self, site: Site, lane: u32) -> Seen {
        Seen { step: self.dispatch.step, site: site.0, workgroup: self.workgroup, lane, ..Seen::default() }
    }

    pub fn first_active(&self) -> u32 {
        self.active.row.iter().position(|w| *w != 0).unwrap_or(0) as u32
    }

    /// Puts the result where it belongs; lanes that are not active keep what a variable holds.
    pub fn commit(&mut self, Reg(dst): Reg, masked: bool) {
        let row = &mut self.rows[dst as usize];
        if masked && !self.active.full {
            for ((old, new), active) in row.iter_mut().zip(&self.out).zip(&self.active.row) {
                *old = *old & !active | new & active;
            }
        } else {
            std::mem::swap(row, &mut self.out);
        }
    }

    /// Likewise for whether to trust it; empty if every lane may be trusted.
    pub fn commit_taint(&mut self, Reg(dst): Reg, masked: bool, taint: Row) {
        let row = &mut self.taints[dst as usize];
        if !masked || self.active.full {
            *row = taint;
            return;
        }
        if row.is_empty() && taint.is_empty() {
            return;
        }
        if row.is_empty() {
            row.resize(self.out.len(), 0);
        }
        for (lane, (old, active)) in row.iter_mut().zip(&self.active.row).enumerate() {
            if *active != 0 {
                *old = taint.get(lane).copied().unwrap_or(0);
            }
        }
    }
}

/// Workgroup `n` of a grid along each axis.
pub(in super::super) fn coordinates(n: u32, [x, y, _]: [u32; 3]) -> [u32; 3] {
    let (x, y) = (x.max(1), y.max(1));
    [n % x, n / x % y, n / x / y]
}
