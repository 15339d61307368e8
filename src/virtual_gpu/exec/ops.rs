//! Instructions that compute: the arithmetic is [`Numbers`](super::super::math::Numbers)'; here is what it
//! does to trust, and what WGSL defines but hardly anyone means.

use super::super::finding::Kind;
use super::super::memory::{ALL_BYTES, ORIGIN, Taint};
use super::super::program::{Binary, Inst, Op, Pack, Reg, Site, Ternary, Ty, Unary};
use super::group::{Group, Row};
use super::taint::settled;

/// The exponent of an infinity or NaN.
const NONFINITE: u32 = 0x7f80_0000;
const LARGEST_F16: f32 = 65504.0;

impl Group<'_> {
    pub(super) fn compute(&mut self, inst: &Inst) {
        let numbers = self.dispatch.numbers;
        let end = self.active.end;
        let (dst, taint) = match &inst.op {
            Op::Copy { dst, src } => {
                self.out[..end].copy_from_slice(&self.rows[src.0 as usize][..end]);
                (*dst, self.taint(*src).to_vec())
            }
            Op::Unary { op, ty, dst, a } => {
                numbers.unary(*op, *ty, &self.rows[a.0 as usize][..end], &mut self.out[..end]);
                let mut taint = self.joined(&[*a]);
                if is_float(*ty) && *op != Unary::FrexpExponent {
                    self.born(&[*a], *ty, &mut taint, inst.site);
                }
                if *op == Unary::QuantizeToF16 {
                    self.overflown(&[*a], &mut taint, inst.site);
                }
                (*dst, taint)
            }
            Op::Binary { op, ty, dst, a, b } => (*dst, self.binary(*op, *ty, (*a, *b), inst.site)),
            Op::Ternary { op, ty, dst, a, b, c } => {
                let row = |r: &Reg| &self.rows[r.0 as usize][..end];
                numbers.ternary(*op, *ty, row(a), row(b), row(c), &mut self.out[..end]);
                let mut taint = match op {
                    Ternary::ExtractBits => self.extracted(*a, *b, *c),
                    _ => self.joined(&[*a, *b, *c]),
                };
                if is_float(*ty) {
                    self.born(&[*a, *b, *c], *ty, &mut taint, inst.site);
                }
                (*dst, taint)
            }
            Op::Select { dst, condition, accept, reject } => {
                let row = |r: &Reg| &self.rows[r.0 as usize];
                let (c, x, y) = (row(condition), row(accept), row(reject));
                for (((out, c), x), y) in self.out[..end].iter_mut().zip(c).zip(x).zip(y) {
                    *out = x & c | y & !c;
                }
                (*dst, self.selected(*condition, *accept, *reject))
            }
            Op::Convert { from, to, dst, a } => (*dst, self.convert(*from, *to, *a, inst.site)),
            Op::Dot { ty, dst, a, b } => {
                let rows = |regs: &[Reg]| -> Vec<&[u32]> {
                    regs.iter().map(|r| &self.rows[r.0 as usize][..end]).collect()
                };
                numbers.dot(*ty, &rows(a), &rows(b), &mut self.out[..end]);
                let all: Vec<Reg> = a.iter().chain(b).copied().collect();
                let mut taint = self.joined(&all);
                if is_float(*ty) {
                    self.born(&all, *ty, &mut taint, inst.site);
                }
                (*dst, taint)
            }
            Op::ArrayLength { dst, buffer, offset, stride } => {
                let bytes = self.dispatch.buffers.get(*buffer as usize).map_or(0, |b| b.bound());
                let count = bytes.saturating_sub(u64::from(*offset)) / u64::from((*stride).max(1));
                self.out.fill(count.min(u64::from(u32::MAX)) as u32);
                (*dst, Row::new())
            }
            Op::Pack { op, ty, dst, args } => return self.pack(*op, *ty, dst, args, inst),
            _ => return,
        };
        self.commit(dst, inst.masked);
        self.commit_taint(dst, inst.masked, taint);
    }

    fn binary(&mut self, op: Binary, ty: Ty, (a, b): (Reg, Reg), site: Site) -> Row {
        let end = self.active.end;
        let (x, y) = (&self.rows[a.0 as usize][..end], &self.rows[b.0 as usize][..end]);
        self.dispatch.numbers.binary(op, ty, x, y, &mut self.out[..end]);
        match op {
            Binary::And | Binary::Or | Binary::Xor if ty == Ty::Bool => self.joined(&[a, b]),
            Binary::And => self.masked_bytes(a, b),
            Binary::Or | Binary::Xor => self.either(a, b),
            Binary::Shl | Binary::Shr => {
                let past = |_: u32, by: u32| by >= 32;
                self.warn(Kind::ShiftWidth, (a, b), past, site);
                // A sign goes to every byte that it is shifted over.
                if ty == Ty::I32 && op == Binary::Shr {
                    return self.joined(&[a, b]);
                }
                self.shifted(a, b, op == Binary::Shl)
            }
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => {
                self.joined(&[a, b])
            }
            Binary::Div | Binary::Rem if !is_float(ty) => {
                let least = |x: u32, y: u32| ty == Ty::I32 && x == 1 << 31 && y == u32::MAX;
                self.warn(Kind::DivisionByZero, (a, b), |x, y| y == 0 || least(x, y), site);
                self.joined(&[a, b])
            }
            _ => {
                let mut taint = self.joined(&[a, b]);
                if is_float(ty) {
                    let floats: &[Reg] = if op == Binary::Ldexp { &[a] } else { &[a, b] };
                    self.born(floats, ty, &mut taint, site);
                }
                taint
            }
        }
    }

    /// The taint of `a | b`, byte by byte.
    fn either(&self, a: Reg, b: Reg) -> Row {
        let (ta, tb) = (self.taint(a), self.taint(b));
        match (ta.is_empty(), tb.is_empty()) {
            (true, true) => Row::new(),
            (false, true) => ta.to_vec(),
            (true, false) => tb.to_vec(),
            (false, false) => {
                ta.iter().zip(tb).map(|(x, y)| if *x == 0 { *y } else { *x | *y >> 28 << 28 }).collect()
            }
        }
    }

    fn convert(&mut self, from: Ty, to: Ty, a: Reg, site: Site) -> Row {
        let end = self.active.end;
        self.dispatch.numbers.convert(from, to, &self.rows[a.0 as usize][..end], &mut self.out[..end]);
        let mut taint = self.joined(&[a]);
        if is_float(from) && matches!(to, Ty::I32 | Ty::U32) {
            let (least, end) =
                if to == Ty::I32 { (-2_147_483_648.0, 2_147_483_648.0) } else { (0.0, 4_294_967_296.0) };
            let fits = |w: u32| {
                (least..end).contains(&f32::from_bits(w).trunc()) || f32::from_bits(w).trunc() == 0.0
            };
            self.warn(Kind::ConversionRange, (a, a), |w, _| !fits(w), site);
        }
        if to == Ty::F16 {
            if from == Ty::F32 {
                self.overflown(&[a], &mut taint, site);
            } else {
                self.born(&[], Ty::F16, &mut taint, site);
            }
        }
        taint
    }

    fn pack(&mut self, op: Pack, ty: Ty, dst: &[Reg], args: &[Reg], inst: &Inst) {
        let mut taints = self.packed(op, args, dst.len());
        if op == Pack::Pack2x16Float {
            // Half by half, so that one value too large says nothing of its neighbour.
            let mut row = std::mem::take(&mut taints[0]);
            for (i, arg) in args.iter().enumerate() {
                let mut half = self.joined(&[*arg]);
                let before = half.clone();
                self.overflown(&[*arg], &mut half, inst.site);
                if half != before {
                    row.resize(self.out.len(), 0);
                    let bytes = 0x3000_0000 << (2 * i);
                    for (word, taint) in
                        row.iter_mut().zip(&half).filter(|(w, t)| **t != 0 && **w & bytes == 0)
                    {
                        *word = *word & ALL_BYTES | bytes | *taint & ORIGIN;
                    }
                }
            }
            taints[0] = settled(row);
        }
        let end = self.active.end.max(1);
        let mut flat = std::mem::take(&mut self.flat);
        flat.resize(end * dst.len(), 0);
        // Of all packing built-ins insertBits takes the most.
        let mut rows: [&[u32]; 4] = [&[]; 4];
        rows.iter_mut().zip(args).for_each(|(row, r)| *row = &self.rows[r.0 as usize][..end]);
        self.dispatch.numbers.pack(op, ty, &rows[..args.len()], &mut flat);
        for ((dst, row), taint) in dst.iter().zip(flat.chunks(end)).zip(taints) {
            self.out[..end].copy_from_slice(row);
            self.commit(*dst, inst.masked);
            self.commit_taint(*dst, inst.masked, taint);
        }
        self.flat = flat;
    }

    /// Puts several results where they belong.
    pub(super) fn put(&mut self, dst: &[Reg], results: Vec<Row>, taints: Vec<Row>, masked: bool) {
        for ((dst, row), taint) in dst.iter().zip(results).zip(taints) {
            self.out = row;
            self.commit(*dst, masked);
            self.commit_taint(*dst, masked, taint);
        }
        let width = self.active.row.len();
        self.out.resize(width, 0);
    }

    /// Taints results that are not finite although all operands are.
    fn born(&self, operands: &[Reg], ty: Ty, taint: &mut Row, site: Site) {
        let found = self.out[..self.active.end]
            .iter()
            .zip(&self.active.row)
            .fold(0, |any, (w, active)| any | (u32::from(w & NONFINITE == NONFINITE) & active));
        if found == 0 {
            return;
        }
        let kind = if ty == Ty::F16 { Kind::F16Overflow } else { Kind::NonFinite };
        let finite =
            |lane: usize| operands.iter().all(|r| self.rows[r.0 as usize][lane] & NONFINITE != NONFINITE);
        let wrong = |lane: usize| self.out[lane] & NONFINITE == NONFINITE && finite(lane);
        self.taint_where(kind, taint, site, wrong);
    }

    /// Taints conversions to f16 of finite values past its largest.
    fn overflown(&self, operands: &[Reg], taint: &mut Row, site: Site) {
        let past = |w: u32| f32::from_bits(w).abs() > LARGEST_F16 && w & NONFINITE != NONFINITE;
        let wrong = |lane: usize| operands.iter().any(|r| past(self.rows[r.0 as usize][lane]));
        self.taint_where(Kind::F16Overflow, taint, site, wrong);
    }

    fn taint_where(&self, kind: Kind, taint: &mut Row, site: Site, wrong: impl Fn(usize) -> bool) {
        for lane in 0..self.count {
            let trusted = taint.get(lane).is_none_or(|t: &Taint| *t == 0);
            if self.active.row[lane] != 0 && trusted && wrong(lane) {
                taint.resize(self.out.len(), 0);
                taint[lane] = self.begin(kind, self.seen(site, lane as u32));
            }
        }
    }

    /// What WGSL defines, but hardly anyone means.
    fn warn(&self, kind: Kind, (a, b): (Reg, Reg), odd: impl Fn(u32, u32) -> bool, site: Site) {
        let (x, y) = (&self.rows[a.0 as usize], &self.rows[b.0 as usize]);
        let (ta, tb) = (self.taint(a), self.taint(b));
        for lane in 0..self.count {
            let trusted = ta.get(lane).is_none_or(|t| *t == 0) && tb.get(lane).is_none_or(|t| *t == 0);
            if odd(x[lane], y[lane]) && self.active.row[lane] != 0 && trusted {
                let seen = self.seen(site, lane as u32);
                return self.dispatch.log.report(kind, seen);
            }
        }
    }
}

fn is_float(ty: Ty) -> bool {
    matches!(ty, Ty::F32 | Ty::F16)
}
