//! Loads and stores: where each lane's element lies, whether it is there, who else uses it, and whether it
//! may be trusted.

use super::super::finding::Kind;
use super::super::math::Numbers;
use super::super::memory::{ALL_BYTES, Memory, ORIGIN, Taint, Who, is_unwritten};
use super::super::personality::OutOfBounds;
use super::super::program::{Address, Inst, Part, Reg, Site, Space, Term, Ty};
use super::group::{Group, Row};
use super::{Seen, writes};
use crate::rng::Rng;

/// What an access does to the word it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Reads,
    Writes,
    /// Atomically.
    Changes,
}

/// What an access must know of where it goes.
#[derive(Clone, Copy)]
pub(super) struct Where<'a> {
    pub memory: &'a Memory,
    pub space: Space,
    /// Whether conflicts are looked for.
    pub shared: bool,
    pub epoch: u32,
    pub name: u32,
    pub site: Site,
}

impl Group<'_> {
    /// Finds the address of every active lane; says whether any is outside, which `outside` then tells.
    pub(super) fn addresses(&mut self, at: &Address, site: Site) -> bool {
        self.offsets.fill(at.base);
        if at.terms.is_empty() {
            return false;
        }
        let bound = match at.space {
            Space::Workgroup => u64::from(self.dispatch.program.workgroup_bytes),
            Space::Buffer(b) => self.dispatch.buffers.get(b as usize).map_or(0, |m| m.bound()),
        };
        let runtime = bound.saturating_sub(u64::from(self.runtime_start(at)));
        self.add_terms(&at.terms, runtime, at.name, site)
    }

    /// Where the runtime-sized array of an address's buffer begins.
    fn runtime_start(&self, at: &Address) -> u32 {
        match at.space {
            Space::Buffer(b) => self
                .dispatch
                .program
                .buffers
                .get(b as usize)
                .and_then(|d| d.runtime)
                .map_or(0, |(start, _)| start),
            Space::Workgroup => 0,
        }
    }

    /// Adds the dynamic steps of an address to `offsets`. A runtime-sized array has `runtime` bytes.
    fn add_terms(&mut self, terms: &[Term], runtime: u64, name: u32, site: Site) -> bool {
        let mut any_outside = false;
        for term in terms {
            let count = match term.count {
                0 => (runtime / u64::from(term.stride.max(1))).min(u64::from(u32::MAX)) as u32,
                count => count,
            };
            self.decide(term.index, site);
            let index = &self.rows[term.index.0 as usize];
            let mut past = 0;
            for ((offset, i), active) in self.offsets.iter_mut().zip(index).zip(&self.active.row) {
                *offset = offset.wrapping_add(i.wrapping_mul(term.stride));
                past |= u32::from(*i >= count) & active;
            }
            if past != 0 {
                if !any_outside {
                    self.outside.fill(0);
                }
                any_outside = true;
                self.step_outside(term, count, name, site);
            }
        }
        any_outside
    }

    /// Reports indices past the end, and puts another element in their place.
    fn step_outside(&mut self, term: &Term, count: u32, name: u32, site: Site) {
        let index = &self.rows[term.index.0 as usize];
        let taint = &self.taints[term.index.0 as usize];
        let mut reported = false;
        for lane in 0..self.count {
            let i = index[lane];
            if i < count || self.active.row[lane] == 0 {
                continue;
            }
            let personality = self.dispatch.personality;
            let instead = match personality.out_of_bounds {
                OutOfBounds::Zero | OutOfBounds::Last => count.saturating_sub(1),
                OutOfBounds::Other => {
                    Rng::new(personality.seed ^ u64::from(i)).below(u64::from(count.max(1))) as u32
                }
            };
            self.outside[lane] = if count == 0 { 2 } else { 1 };
            self.offsets[lane] =
                self.offsets[lane].wrapping_add(instead.wrapping_sub(i).wrapping_mul(term.stride));
            let trusted = taint.get(lane).is_none_or(|t| *t == 0);
            if !reported && trusted {
                reported = true;
                let index = if term.signed { i64::from(i as i32) } else { i64::from(i) };
                let seen = Seen {
                    name: Some(name),
                    index: Some(index),
                    count: Some(u64::from(count)),
                    ..self.seen(site, lane as u32)
                };
                self.dispatch.log.report(Kind::OutOfBounds, seen);
            }
        }
    }

    /// What an access goes to.
    pub(super) fn place(&self, at: &Address, site: Site) -> Option<Where<'_>> {
        Some(match at.space {
            Space::Workgroup => Where {
                memory: &self.local.memory,
                space: at.space,
                shared: true,
                epoch: self.local.epoch,
                name: at.name,
                site,
            },
            Space::Buffer(b) => Where {
                memory: self.dispatch.buffers.get(b as usize)?,
                space: at.space,
                shared: writes(self.dispatch.program.buffers.get(b as usize)?.kind),
                epoch: self.storage_epoch,
                name: at.name,
                site,
            },
        })
    }

    /// Looks whether an access conflicts with others.
    pub(super) fn meet(&self, at: &Where<'_>, byte: u32, lane: usize, does: Does) {
        if !at.shared {
            return;
        }
        let who = Who {
            workgroup: self.workgroup,
            lane: lane as u32,
            epoch: at.epoch,
            atomic: does == Does::Changes,
            site: at.site.0,
        };
        let Some(users) = at.memory.users(self.dispatch.program.location(byte)) else { return };
        let local = at.space == Space::Workgroup;
        let Some(conflict) = users.note(who, does != Does::Reads, local) else { return };
        let before = conflict.before;
        let same = before.workgroup == self.workgroup;
        // Lanes of a subgroup are ordered by its barriers too, of which locations do not tell.
        let ordered = same && self.subgroup_barriers > 0 && self.lanes.share(before.lane, lane as u32);
        if ordered {
            return;
        }
        let kind = if same { Kind::RaceWorkgroup } else { Kind::RaceDispatch };
        let (name, index) = self.variable(at, byte);
        let seen = Seen {
            name: Some(name),
            index: Some(index),
            writes: does != Does::Reads,
            other: Some((conflict.write, before.site, before.workgroup, before.lane)),
            ..self.seen(at.site, lane as u32)
        };
        self.dispatch.log.report(kind, seen);
    }

    /// The word of the variable that a byte belongs to.
    fn variable(&self, at: &Where<'_>, byte: u32) -> (u32, i64) {
        let start = match at.space {
            Space::Buffer(_) => 0,
            Space::Workgroup => {
                let variables = &self.dispatch.program.workgroup_variables;
                variables.iter().filter(|(_, start, _)| *start <= byte).map(|v| v.1).max().unwrap_or(0)
            }
        };
        (at.name, i64::from((byte - start) / 4))
    }

    pub(super) fn load(&mut self, at: &Address, parts: &[Part], inst: &Inst) {
        let outside = self.addresses(at, inst.site);
        for part in parts {
            let mut row = std::mem::take(&mut self.out);
            let taint = match self.place(at, inst.site) {
                Some(place) => self.load_part(&place, part, at.terms.is_empty(), outside, &mut row),
                None => Row::new(),
            };
            self.out = row;
            self.commit(part.reg, inst.masked);
            self.commit_taint(part.reg, inst.masked, taint);
        }
    }

    /// Loads a scalar of every active lane to `row`; gives its taint.
    fn load_part(&self, at: &Where<'_>, part: &Part, same: bool, outside: bool, row: &mut [u32]) -> Row {
        let width = row.len();
        if same && !at.shared && !outside {
            let lane = self.first_active() as usize;
            let (value, taint) = self.load_lane(at, part, lane);
            row[..self.active.end].fill(value);
            return if taint == 0 { Row::new() } else { vec![taint; width] };
        }
        let zero = self.dispatch.personality.out_of_bounds == OutOfBounds::Zero;
        let mut taints = Row::new();
        for lane in 0..self.count.min(self.active.end) {
            if self.active.row[lane] == 0 {
                continue;
            }
            if outside && (self.outside[lane] == 2 || self.outside[lane] == 1 && zero) {
                row[lane] = 0;
                continue;
            }
            let (value, taint) = self.load_lane(at, part, lane);
            row[lane] = value;
            if taint != 0 {
                taints.resize(width, 0);
                taints[lane] = taint;
            }
            if !outside || self.outside[lane] == 0 {
                self.meet(at, self.offsets[lane].wrapping_add(part.offset), lane, Does::Reads);
            }
        }
        taints
    }

    /// A scalar of a lane's value. What nothing wrote gets its origin here.
    #[inline]
    pub(super) fn load_lane(&self, at: &Where<'_>, part: &Part, lane: usize) -> (u32, Taint) {
        let byte = self.offsets[lane].wrapping_add(part.offset);
        let (word, taint) = at.memory.load(byte as usize / 4);
        if part.ty != Ty::F16 {
            let taint = if is_unwritten(taint) { self.unwritten(at, byte, lane, taint) } else { taint };
            return (word, taint);
        }
        let half = byte / 2 % 2;
        let value = Numbers::load_f16(word >> (16 * half) & 0xffff);
        match taint & 0x3000_0000 << (2 * half) {
            0 => (value, 0),
            _ if is_unwritten(taint) => (value, self.unwritten(at, byte, lane, ALL_BYTES)),
            _ => (value, taint | ALL_BYTES),
        }
    }

    #[cold]
    fn unwritten(&self, at: &Where<'_>, byte: u32, lane: usize, taint: Taint) -> Taint {
        let kind = match at.space {
            Space::Workgroup => Kind::UnwrittenWorkgroup,
            Space::Buffer(_) => Kind::UnwrittenRead,
        };
        let (name, index) = self.variable(at, byte);
        let seen = Seen { name: Some(name), index: Some(index), ..self.seen(at.site, lane as u32) };
        taint & ALL_BYTES | self.begin(kind, seen) & ORIGIN
    }

    pub(super) fn store(&mut self, at: &Address, parts: &[Part], site: Site) {
        let outside = self.addresses(at, site);
        let Some(place) = self.place(at, site) else { return };
        for part in parts {
            let (row, taint) = (&self.rows[part.reg.0 as usize], self.taint(part.reg));
            for lane in &self.lanes.order {
                let lane = *lane as usize;
                if self.active.row[lane] == 0 || outside && self.outside[lane] != 0 {
                    continue;
                }
                let byte = self.offsets[lane].wrapping_add(part.offset);
                let taint = taint.get(lane).copied().unwrap_or(0);
                self.meet(&place, byte, lane, Does::Writes);
                if part.ty == Ty::F16 {
                    let half = Numbers::store_f16(row[lane]);
                    place.memory.store_half(byte as usize / 4, byte / 2 % 2, half, taint);
                } else {
                    place.memory.store(byte as usize / 4, row[lane], taint);
                }
            }
        }
    }

    /// `workgroupUniformLoad`: a barrier before and after.
    pub(super) fn uniform_load(&mut self, at: &Address, parts: &[Part], inst: &Inst) {
        self.barrier((true, false, false), inst.site);
        self.load(at, parts, inst);
        self.barrier((true, false, false), inst.site);
    }

    pub(super) fn load_var(&mut self, dst: &[Reg], base: Reg, terms: &[Term], name: u32, inst: &Inst) {
        self.offsets.fill(base.0);
        let outside = self.add_terms(terms, 0, name, inst.site);
        let zero = self.dispatch.personality.out_of_bounds == OutOfBounds::Zero;
        let width = self.out.len();
        let (mut results, mut taints) = (Vec::new(), Vec::new());
        for k in 0..dst.len() as u32 {
            let (mut row, mut taint) = (vec![0; width], Row::new());
            for lane in (0..self.count).filter(|lane| self.active.row[*lane] != 0) {
                let from = self.offsets[lane].wrapping_add(k) as usize;
                if outside && self.outside[lane] != 0 && zero {
                    continue;
                }
                row[lane] = self.rows.get(from).map_or(0, |r| r[lane]);
                let of = self.taints.get(from).and_then(|t| t.get(lane)).copied().unwrap_or(0);
                if of != 0 {
                    taint.resize(width, 0);
                    taint[lane] = of;
                }
            }
            results.push(row);
            taints.push(taint);
        }
        self.put(dst, results, taints, inst.masked);
    }

    pub(super) fn store_var(&mut self, src: &[Reg], base: Reg, terms: &[Term], name: u32, site: Site) {
        self.offsets.fill(base.0);
        let outside = self.add_terms(terms, 0, name, site);
        for (k, src) in src.iter().enumerate() {
            for lane in 0..self.count {
                if self.active.row[lane] == 0 || outside && self.outside[lane] != 0 {
                    continue;
                }
                let to = self.offsets[lane].wrapping_add(k as u32) as usize;
                let value = self.rows[src.0 as usize][lane];
                let taint = self.taints[src.0 as usize].get(lane).copied().unwrap_or(0);
                let width = self.out.len();
                if let (Some(row), Some(taints)) = (self.rows.get_mut(to), self.taints.get_mut(to)) {
                    row[lane] = value;
                    if taint != 0 || !taints.is_empty() {
                        taints.resize(width, 0);
                        taints[lane] = taint;
                    }
                }
            }
        }
    }
}
