//! Values that are not to be trusted, and how far they go: like valgrind's memcheck, what is read from
//! memory that nothing wrote may be carried about and stored; wrong is to decide by it, to index with it,
//! or to leave it in an output. Results that WGSL does not define, NaN and infinity born from finite
//! operands, are followed in the same way, since `select` may drop them.

use super::super::finding::Kind;
use super::super::memory::{ALL_BYTES, ORIGIN, Taint};
use super::super::program::{Pack, Reg, Site};
use super::Seen;
use super::group::{Group, Row};

impl Group<'_> {
    /// Whether to trust a register's lanes; empty if all may be.
    pub fn taint(&self, Reg(r): Reg) -> &[Taint] {
        &self.taints[r as usize]
    }

    /// The taint of a result that all of its operands decide.
    pub fn joined(&self, operands: &[Reg]) -> Row {
        let mut joined = Row::new();
        for operand in operands {
            let taint = self.taint(*operand);
            if taint.is_empty() {
                continue;
            }
            if joined.is_empty() {
                joined = taint.iter().map(|t| whole(*t)).collect();
            } else {
                joined.iter_mut().zip(taint).for_each(|(j, t)| *j = if *j == 0 { whole(*t) } else { *j });
            }
        }
        settled(joined)
    }

    /// What decides something, or is an index, must be trusted; says so where it is not.
    pub fn decide(&self, value: Reg, site: Site) {
        let taint = self.taint(value);
        for (lane, taint) in taint.iter().enumerate() {
            if *taint != 0 && self.active.row[lane] != 0 {
                return self.used(*taint, site);
            }
        }
    }

    /// A value that is not to be trusted was used.
    pub fn used(&self, taint: Taint, site: Site) {
        if let Some(origin) = self.dispatch.log.origin_of(taint & ORIGIN) {
            let seen = Seen { used: Some((self.dispatch.step, site.0)), ..origin.seen };
            self.dispatch.log.report(origin.kind, seen);
        }
    }

    /// A taint that begins here.
    pub fn begin(&self, kind: Kind, seen: Seen) -> Taint {
        ALL_BYTES | self.dispatch.log.origin(kind, seen)
    }

    /// The taint of `select`: that of what was chosen, or of the condition.
    pub fn selected(&self, condition: Reg, accept: Reg, reject: Reg) -> Row {
        let taints = [condition, accept, reject].map(|r| self.taint(r));
        if taints.iter().all(|t| t.is_empty()) {
            return Row::new();
        }
        let chooses = &self.rows[condition.0 as usize];
        let of = |t: &[Taint], lane: usize| t.get(lane).copied().unwrap_or(0);
        let lane = |lane: usize| match of(taints[0], lane) {
            0 if chooses[lane] != 0 => of(taints[1], lane),
            0 => of(taints[2], lane),
            condition => whole(condition),
        };
        settled((0..self.out.len()).map(lane).collect())
    }

    /// The taint of `a & b`: a byte that is known to be zero on one side may be trusted.
    pub fn masked_bytes(&self, a: Reg, b: Reg) -> Row {
        let (ta, tb) = (self.taint(a), self.taint(b));
        if ta.is_empty() && tb.is_empty() {
            return Row::new();
        }
        let (va, vb) = (&self.rows[a.0 as usize], &self.rows[b.0 as usize]);
        let of = |t: &[Taint], lane: usize| t.get(lane).copied().unwrap_or(0);
        let lane = |lane: usize| {
            let (x, y) = (of(ta, lane), of(tb, lane));
            let kept_x = x & !zero_bytes(if y == 0 { vb[lane] } else { u32::MAX });
            let kept_y = y & !zero_bytes(if x == 0 { va[lane] } else { u32::MAX });
            with_origin((kept_x | kept_y) & ALL_BYTES, x, y)
        };
        settled((0..self.out.len()).map(lane).collect())
    }

    /// The taint of a word moved by whole bytes, of `a | b` and the like: byte by byte.
    pub fn shifted(&self, a: Reg, amount: Reg, left: bool) -> Row {
        let taint = self.taint(a);
        if !self.taint(amount).is_empty() || taint.is_empty() {
            return self.joined(&[a, amount]);
        }
        let by = &self.rows[amount.0 as usize];
        let lane = |lane: usize| match (taint[lane], by[lane] % 32) {
            (0, _) => 0,
            (t, by) if by % 8 == 0 => moved(t, by / 8, left),
            // Bits cross bytes: into the next one too.
            (t, by) => {
                let bytes = (moved(t, by / 8, left) | moved(t, by / 8 + 1, left)) & ALL_BYTES;
                with_origin(bytes, t, 0)
            }
        };
        settled((0..self.out.len()).map(lane).collect())
    }

    /// The taint of `count` bits from `offset` on, which come to lie at 0.
    pub fn extracted(&self, a: Reg, offset: Reg, count: Reg) -> Row {
        let taint = self.taint(a);
        let trusted = self.taint(offset).is_empty() && self.taint(count).is_empty();
        if taint.is_empty() || !trusted {
            return self.joined(&[a, offset, count]);
        }
        let (offset, count) = (&self.rows[offset.0 as usize], &self.rows[count.0 as usize]);
        let lane = |lane: usize| {
            let first = offset[lane].min(32);
            let end = first + count[lane].min(32 - first);
            let touched = (0..4).filter(|b| b * 8 < end && b * 8 + 8 > first);
            let touched = touched.fold(0, |m, b| m | 0x1000_0000 << b);
            if taint[lane] & touched == 0 { 0 } else { whole(taint[lane]) }
        };
        settled((0..self.out.len()).map(lane).collect())
    }

    /// The taints of the results of packing and unpacking: byte by byte.
    pub fn packed(&self, op: Pack, args: &[Reg], results: usize) -> Vec<Row> {
        if args.iter().all(|a| self.taint(*a).is_empty()) {
            return vec![Row::new(); results];
        }
        let bytes_each = match op {
            Pack::Dot4I8Packed | Pack::Dot4U8Packed | Pack::InsertBits => 0,
            _ if args.len().max(results) == 2 => 2,
            _ => 1,
        };
        if bytes_each == 0 {
            return vec![self.joined(args); results];
        }
        let part = |i: usize| if bytes_each == 2 { 0x3000_0000 << (2 * i) } else { 0x1000_0000 << i };
        let width = self.out.len();
        if results == 1 {
            let mut row = vec![0; width];
            for (i, arg) in args.iter().enumerate() {
                for (lane, taint) in self.taint(*arg).iter().enumerate().filter(|(_, t)| **t != 0) {
                    row[lane] = with_origin((row[lane] | part(i)) & ALL_BYTES, row[lane], *taint);
                }
            }
            return vec![settled(row)];
        }
        let taint = self.taint(args[0]);
        let of = |i: usize| taint.iter().map(|t| if t & part(i) == 0 { 0 } else { whole(*t) }).collect();
        (0..results).map(|i| settled(of(i))).collect()
    }
}

/// All of a word, if any of it is not to be trusted.
fn whole(taint: Taint) -> Taint {
    if taint & ALL_BYTES == 0 { 0 } else { taint | ALL_BYTES }
}

/// Bytes with the origin of whichever has one.
fn with_origin(bytes: Taint, x: Taint, y: Taint) -> Taint {
    match bytes {
        0 => 0,
        bytes => bytes | if x & ORIGIN == 0 { y & ORIGIN } else { x & ORIGIN },
    }
}

fn moved(taint: Taint, by: u32, left: bool) -> Taint {
    let bytes = taint >> 28;
    let bytes = if left { bytes << by.min(4) & 0xf } else { bytes >> by.min(4) };
    with_origin(bytes << 28, taint, 0)
}

/// The bytes of a word that are zero.
fn zero_bytes(word: u32) -> Taint {
    let bytes = word.to_le_bytes().into_iter().enumerate().filter(|(_, b)| *b == 0);
    bytes.fold(0, |m, (i, _)| m | 0x1000_0000 << i)
}

/// Empty if everything may be trusted.
pub(super) fn settled(row: Row) -> Row {
    if row.iter().all(|t| *t == 0) { Row::new() } else { row }
}
