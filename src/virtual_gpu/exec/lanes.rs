//! Which lanes form a subgroup, and what they do together: subgroup operations and matrices that the lanes
//! of a subgroup hold.

use super::super::finding::Kind;
use super::super::math::Numbers;
use super::super::memory::Taint;
use super::super::personality::{LaneOrder, Personality};
use super::super::program::{Address, Binary, Fold, Inst, Op, Part, Reg, Site, Subgroup, Ty};
use super::group::{Group, Mask, Row};
use super::taint::settled;
use super::{Seen, permuted, shuffle};

/// The lanes of a workgroup.
pub(super) struct Lanes {
    /// Of each lane, its subgroup.
    pub subgroup: Vec<u32>,
    /// Of each lane, its number in its subgroup.
    pub number: Vec<u32>,
    /// Of each subgroup, its lanes by number.
    pub members: Vec<Vec<u32>>,
    /// In which order lanes run.
    pub order: Vec<u32>,
}

impl Lanes {
    pub fn new(size: [u32; 3], personality: &Personality) -> Self {
        let count: u32 = size.iter().product();
        let width = personality.subgroup_size;
        let mut lanes: Vec<u32> = (0..count).collect();
        match personality.lanes {
            LaneOrder::Linear => {}
            LaneOrder::Reversed => lanes.reverse(),
            LaneOrder::Shuffled => shuffle(&mut lanes, personality.seed ^ 0x5ca1_ab1e),
            LaneOrder::Strided => {
                let subgroups = count.div_ceil(width);
                lanes.sort_by_key(|lane| (lane % subgroups, lane / subgroups));
            }
        }
        let members: Vec<Vec<u32>> = match personality.lanes {
            LaneOrder::Strided => {
                let subgroups = count.div_ceil(width);
                lanes.chunk_by(|a, b| a % subgroups == b % subgroups).map(<[u32]>::to_vec).collect()
            }
            _ => lanes.chunks(width as usize).map(<[u32]>::to_vec).collect(),
        };
        let (mut subgroup, mut number) = (vec![0; count as usize], vec![0; count as usize]);
        for (s, lanes) in members.iter().enumerate() {
            for (n, lane) in lanes.iter().enumerate() {
                (subgroup[*lane as usize], number[*lane as usize]) = (s as u32, n as u32);
            }
        }
        Self { subgroup, number, members, order: permuted(count, personality) }
    }

    /// Whether two lanes are in one subgroup.
    pub fn share(&self, a: u32, b: u32) -> bool {
        self.subgroup.get(a as usize) == self.subgroup.get(b as usize)
    }
}

impl Group<'_> {
    /// Reports subgroups of which some lanes are here and others are not.
    pub(super) fn whole_subgroups(&self, site: Site) {
        if self.active.full {
            return;
        }
        for lanes in &self.lanes.members {
            let absent = lanes.iter().find(|lane| self.active.row[**lane as usize] == 0);
            let present = lanes.iter().any(|lane| self.active.row[*lane as usize] != 0);
            if let (Some(absent), true) = (absent, present) {
                let detail = "the lane that is named is not here, but others of its subgroup are";
                let seen = Seen { detail, ..self.seen(site, *absent) };
                return self.dispatch.log.report(Kind::NonUniform, seen);
            }
        }
    }

    /// The active lanes of each subgroup that has any.
    fn present(&self) -> Vec<Vec<u32>> {
        let active = |lanes: &Vec<u32>| -> Vec<u32> {
            lanes.iter().copied().filter(|lane| self.active.row[*lane as usize] != 0).collect()
        };
        self.lanes.members.iter().map(active).filter(|lanes| !lanes.is_empty()).collect()
    }

    pub(super) fn subgroup(
        &mut self,
        (op, ty): (Subgroup, Ty),
        dst: Reg,
        a: Reg,
        arg: Option<Reg>,
        inst: &Inst,
    ) {
        self.whole_subgroups(inst.site);
        if let Some(arg) = arg {
            self.decide(arg, inst.site);
        }
        let width = self.out.len();
        let (mut out, mut taint) = (vec![0; width], vec![0; width]);
        for lanes in self.present() {
            let values: Vec<u32> = lanes.iter().map(|l| self.rows[a.0 as usize][*l as usize]).collect();
            match op {
                Subgroup::All
                | Subgroup::Any
                | Subgroup::Reduce(_)
                | Subgroup::Inclusive(_)
                | Subgroup::Exclusive(_) => {
                    let any = self.any_taint(a, &lanes);
                    for (i, lane) in lanes.iter().enumerate() {
                        out[*lane as usize] = folded(self.dispatch.numbers, op, ty, &values, i);
                        taint[*lane as usize] = any;
                    }
                }
                _ => {
                    for lane in &lanes {
                        let (value, of) = self.moved_from(op, *lane, &lanes, a, arg, inst.site);
                        (out[*lane as usize], taint[*lane as usize]) = (value, of);
                    }
                }
            }
        }
        self.put(&[dst], vec![out], vec![settled(taint)], inst.masked);
    }

    fn any_taint(&self, a: Reg, lanes: &[u32]) -> Taint {
        let taint = self.taint(a);
        lanes.iter().filter_map(|l| taint.get(*l as usize)).copied().find(|t| *t != 0).unwrap_or(0)
    }

    /// The value that a lane gets from another of its subgroup.
    fn moved_from(
        &self,
        op: Subgroup,
        lane: u32,
        lanes: &[u32],
        a: Reg,
        arg: Option<Reg>,
        site: Site,
    ) -> (u32, Taint) {
        let number = self.lanes.number[lane as usize];
        let arg = arg.map_or(0, |r| self.rows[r.0 as usize][lane as usize]);
        let from = match op {
            Subgroup::BroadcastFirst => Some(self.lanes.number[lanes[0] as usize]),
            Subgroup::Broadcast | Subgroup::Shuffle => Some(arg),
            Subgroup::ShuffleDown => number.checked_add(arg),
            Subgroup::ShuffleUp => number.checked_sub(arg),
            Subgroup::ShuffleXor => Some(number ^ arg),
            Subgroup::QuadBroadcast => Some(number / 4 * 4 + arg % 4),
            _ => Some(number ^ arg),
        };
        let members = &self.lanes.members[self.lanes.subgroup[lane as usize] as usize];
        let source =
            from.and_then(|n| members.get(n as usize)).filter(|l| self.active.row[**l as usize] != 0);
        match source {
            Some(source) => {
                let taint = self.taint(a).get(*source as usize).copied().unwrap_or(0);
                (self.rows[a.0 as usize][*source as usize], taint)
            }
            None => {
                let detail = "it comes from a lane that is not there";
                let seen = Seen { detail, ..self.seen(site, lane) };
                (0, self.begin(Kind::UnwrittenRead, seen))
            }
        }
    }

    pub(super) fn ballot(&mut self, dst: &[Reg; 4], predicate: Option<Reg>, inst: &Inst) {
        self.whole_subgroups(inst.site);
        let width = self.out.len();
        let mut words = vec![vec![0; width]; 4];
        let mut taint = vec![0; width];
        for lanes in self.present() {
            let holds = |l: &&u32| predicate.is_none_or(|p| self.rows[p.0 as usize][**l as usize] != 0);
            let mut bits = [0u32; 4];
            for lane in lanes.iter().filter(holds) {
                let n = self.lanes.number[*lane as usize];
                bits[n as usize / 32 % 4] |= 1 << (n % 32);
            }
            let any = predicate.map_or(0, |p| self.any_taint(p, &lanes));
            for lane in &lanes {
                (0..4).for_each(|w| words[w][*lane as usize] = bits[w]);
                taint[*lane as usize] = any;
            }
        }
        let taint = settled(taint);
        self.put(dst, words, vec![taint; 4], inst.masked);
    }

    pub(super) fn cooperative(&mut self, inst: &Inst) {
        self.whole_subgroups(inst.site);
        match &inst.op {
            Op::CoopLoad { at, ty, stride, row_major, rows, columns, dst } => {
                let matrix = Matrix { at, ty: *ty, stride: *stride, store: false };
                for (step, reg) in steps(*rows, *columns, *row_major).into_iter().zip(dst) {
                    self.matrix_element(&matrix, step, *reg, inst);
                }
            }
            Op::CoopStore { at, ty, stride, row_major, rows, columns, src } => {
                let matrix = Matrix { at, ty: *ty, stride: *stride, store: true };
                for (step, reg) in steps(*rows, *columns, *row_major).into_iter().zip(src) {
                    self.matrix_element(&matrix, step, *reg, inst);
                }
            }
            Op::CoopMultiplyAdd { ty, sum, rows, inner, columns, dst, a, b, c } => {
                let (rows, inner, columns) = (*rows as usize, *inner as usize, *columns as usize);
                let (mut results, mut taints) = (Vec::new(), Vec::new());
                for (i, _) in dst.iter().enumerate() {
                    let (row, column) = (i % rows, i / rows);
                    let left: Vec<Reg> = (0..inner).map(|k| a[k * rows + row]).collect();
                    let right: Vec<Reg> = (0..inner).map(|k| b[column * inner + k]).collect();
                    let all: Vec<Reg> = left.iter().chain(&right).copied().chain([c[i]]).collect();
                    taints.push(self.joined(&all));
                    results.push(self.multiply_add((*ty, *sum), &left, &right, c[i]));
                }
                debug_assert_eq!(dst.len(), rows * columns);
                self.put(dst, results, taints, inst.masked);
            }
            _ => {}
        }
    }

    /// A row of `a` times a column of `b`, plus `c`: products and sums in the type of the sum.
    fn multiply_add(&self, (_, sum): (Ty, Ty), left: &[Reg], right: &[Reg], c: Reg) -> Row {
        let rows = |regs: &[Reg]| -> Vec<&[u32]> {
            regs.iter().map(|r| self.rows[r.0 as usize].as_slice()).collect()
        };
        let mut dots = vec![0; self.out.len()];
        let mut out = vec![0; self.out.len()];
        self.dispatch.numbers.dot(sum, &rows(left), &rows(right), &mut dots);
        self.dispatch.numbers.binary(Binary::Add, sum, &dots, &self.rows[c.0 as usize], &mut out);
        out
    }

    /// Loads or stores an element: one lane of each subgroup does it, and, for a load, all get it.
    fn matrix_element(&mut self, matrix: &Matrix<'_>, (major, minor): (u32, u32), reg: Reg, inst: &Inst) {
        let size = if matrix.ty == Ty::F16 { 2 } else { 4 };
        let subgroups = self.present();
        let mut only = vec![0; self.out.len()];
        subgroups.iter().for_each(|lanes| only[lanes[0] as usize] = u32::MAX);
        let whole = self.active.clone();
        self.active = Mask::of(only, self.count);
        // The element's index is that of the matrix, and as much more as it lies behind; so it is checked.
        let strides = &self.rows[matrix.stride.0 as usize];
        let behind: Row = strides.iter().map(|s| s.wrapping_mul(major).wrapping_add(minor)).collect();
        let mut at = matrix.at.clone();
        let moved = at.terms.last().map(|term| (term.index.0 as usize, size / term.stride.max(1)));
        let saved = match moved {
            Some((index, 1)) => {
                let sum = self.rows[index].iter().zip(&behind).map(|(a, b)| a.wrapping_add(*b)).collect();
                Some((index, std::mem::replace(&mut self.rows[index], sum)))
            }
            _ => {
                at.base = at.base.wrapping_add(behind[self.first_active() as usize].wrapping_mul(size));
                None
            }
        };
        let part = Part { reg, offset: 0, ty: matrix.ty };
        if matrix.store {
            self.store(&at, &[part], inst.site);
        } else {
            self.load(&at, &[part], &Inst { masked: false, ..inst.clone() });
        }
        if let Some((index, row)) = saved {
            self.rows[index] = row;
        }
        self.active = whole;
        if matrix.store {
            return;
        }
        for lanes in &subgroups {
            for row in [&mut self.rows[reg.0 as usize], &mut self.taints[reg.0 as usize]] {
                if let Some(value) = row.get(lanes[0] as usize).copied() {
                    lanes.iter().for_each(|lane| row[*lane as usize] = value);
                }
            }
        }
    }
}

/// A matrix in memory.
struct Matrix<'a> {
    at: &'a Address,
    ty: Ty,
    stride: Reg,
    store: bool,
}

/// Elements, column-major, by how many strides and how many elements they lie behind the first.
fn steps(rows: u32, columns: u32, row_major: bool) -> Vec<(u32, u32)> {
    let all = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c)));
    all.map(|(r, c)| if row_major { (r, c) } else { (c, r) }).collect()
}

/// What lane `i` of those active gets of a reduction or scan.
fn folded(numbers: &Numbers, op: Subgroup, ty: Ty, values: &[u32], i: usize) -> u32 {
    let bool_of = |b: bool| if b { u32::MAX } else { 0 };
    match op {
        Subgroup::All => bool_of(values.iter().all(|v| *v != 0)),
        Subgroup::Any => bool_of(values.iter().any(|v| *v != 0)),
        Subgroup::Reduce(fold) => numbers.fold(fold, ty, values),
        Subgroup::Inclusive(fold) => numbers.fold(fold, ty, &values[..=i]),
        Subgroup::Exclusive(fold) if i == 0 => identity(fold, ty),
        Subgroup::Exclusive(fold) => numbers.fold(fold, ty, &values[..i]),
        _ => 0,
    }
}

/// What changes nothing.
fn identity(fold: Fold, ty: Ty) -> u32 {
    let float = matches!(ty, Ty::F32 | Ty::F16);
    match fold {
        Fold::Mul if float => 1f32.to_bits(),
        Fold::Mul => 1,
        _ => 0,
    }
}
