//! How far a result may be from that of another personality by rounding alone: running error analysis
//! (Wilkinson; Higham, "Accuracy and Stability of Numerical Algorithms", 3.3) beside the values.
//!
//! What a rounded operation adds is what WGSL allows a device and half a unit in the last place for this
//! one; what operands bring goes through the derivative, or through the function itself. Where a result
//! jumps (rounding to whole numbers, comparisons, conversions to integers) nothing is added: two devices
//! that land on different sides of a jump differ by more than rounding explains.

use super::super::math::{Bound, Format, ideal};
use super::super::program::{Binary, Inst, Op, Pack, Reg, Ternary, Ty, Unary};
use super::group::Group;

/// For each lane, how far its value may be off; empty where nothing is. Below zero: of a word that holds
/// two f16, each as far.
pub(super) type Bounds = Vec<f64>;

impl Group<'_> {
    /// The bounds of a result, which is in `out`, before it is put where it belongs.
    pub(super) fn bound_of(&self, inst: &Inst) -> Bounds {
        let Some(bounds) = &self.bounds else { return Bounds::new() };
        let e = |r: Reg, lane: usize| bounds[r.0 as usize].get(lane).copied().unwrap_or(0.0);
        let each = |f: &dyn Fn(usize) -> f64| -> Bounds {
            let row: Bounds =
                (0..self.count).map(|lane| if self.active.row[lane] == 0 { 0.0 } else { f(lane) }).collect();
            if row.iter().all(|e| *e == 0.0) { Bounds::new() } else { row }
        };
        let value = |r: Reg, lane: usize| self.float(r, lane);
        // What a denormal operand brings that another device takes for zero.
        let given = |ty: Ty, r: Reg, lane: usize| e(r, lane) + flushed(ty, value(r, lane));
        let result = |lane: usize| f64::from(f32::from_bits(self.out[lane]));
        match &inst.op {
            Op::Copy { src, .. } => bounds[src.0 as usize].clone(),
            Op::Select { condition, accept, reject, .. } => each(&|lane| {
                let chosen = if self.rows[condition.0 as usize][lane] != 0 { accept } else { reject };
                e(*chosen, lane)
            }),
            Op::Unary { op, ty: ty @ (Ty::F32 | Ty::F16), a, .. } => {
                each(&|lane| unary(*op, *ty, value(*a, lane), given(*ty, *a, lane), result(lane)))
            }
            Op::Binary { op, ty: ty @ (Ty::F32 | Ty::F16), a, b, .. } => each(&|lane| {
                let operands =
                    [(value(*a, lane), given(*ty, *a, lane)), (value(*b, lane), given(*ty, *b, lane))];
                binary(*op, *ty, operands, result(lane))
            }),
            Op::Ternary { op, ty: ty @ (Ty::F32 | Ty::F16), a, b, c, .. } => each(&|lane| {
                let operand = |r: Reg| (value(r, lane), given(*ty, r, lane));
                ternary(*op, *ty, [operand(*a), operand(*b), operand(*c)], result(lane))
            }),
            Op::Convert { from: Ty::F32 | Ty::F16, to: Ty::F32, a, .. } => each(&|lane| e(*a, lane)),
            Op::Convert { to: Ty::F16, a, .. } => each(&|lane| e(*a, lane) + rounded(Ty::F16, result(lane))),
            // Exact below 2^24, and rounded beyond.
            Op::Convert { from: Ty::I32 | Ty::U32, to: Ty::F32, .. } => each(&|lane| {
                if result(lane).abs() < 16_777_216.0 { 0.0 } else { rounded(Ty::F32, result(lane)) }
            }),
            Op::Dot { ty: ty @ (Ty::F32 | Ty::F16), a, b, .. } => each(&|lane| {
                // Each product is rounded, and is in at most as many sums as there are terms.
                let roundings = 1.0 + a.len() as f64;
                let term = |(a, b): (&Reg, &Reg)| {
                    let (x, y) = (value(*a, lane), value(*b, lane));
                    let brought = x.abs() * given(*ty, *b, lane) + y.abs() * given(*ty, *a, lane);
                    brought + roundings * rounded(*ty, x * y)
                };
                a.iter().zip(b).map(term).sum()
            }),
            _ => Bounds::new(),
        }
    }

    /// The bounds of what packing and unpacking gives.
    pub(super) fn bounds_packed(&self, op: Pack, args: &[Reg], results: usize) -> Vec<Bounds> {
        let Some(bounds) = &self.bounds else { return vec![Bounds::new(); results] };
        let e = |r: &Reg, lane: usize| bounds[r.0 as usize].get(lane).copied().unwrap_or(0.0);
        match op {
            Pack::Pack2x16Float => {
                let half = |r: &Reg, lane: usize| e(r, lane) + rounded(Ty::F16, self.float(*r, lane));
                let lane = |lane: usize| -args.iter().map(|r| half(r, lane)).fold(0.0, f64::max);
                vec![(0..self.count).map(lane).collect()]
            }
            Pack::Unpack2x16Float => {
                let row: Bounds = (0..self.count).map(|lane| e(&args[0], lane).abs()).collect();
                vec![row; results]
            }
            _ => vec![Bounds::new(); results],
        }
    }

    /// Puts bounds where their value is put.
    pub(super) fn commit_bounds(&mut self, Reg(dst): Reg, masked: bool, row: Bounds) {
        let (full, active) = (self.active.full, &self.active.row);
        let Some(bounds) = &mut self.bounds else { return };
        let old = &mut bounds[dst as usize];
        if !masked || full {
            *old = row;
            return;
        }
        if old.is_empty() && row.is_empty() {
            return;
        }
        old.resize(active.len(), 0.0);
        for (lane, old) in old.iter_mut().enumerate().filter(|(lane, _)| active[*lane] != 0) {
            *old = row.get(lane).copied().unwrap_or(0.0);
        }
    }

    fn float(&self, r: Reg, lane: usize) -> f64 {
        f64::from(f32::from_bits(self.rows[r.0 as usize][lane]))
    }
}

/// What one rounding adds: WGSL's either neighbour there, the nearest here.
fn rounded(ty: Ty, result: f64) -> f64 {
    1.5 * Format::of(ty).ulp(result) + flushed(ty, result)
}

/// A denormal is zero on some devices.
fn flushed(ty: Ty, x: f64) -> f64 {
    if x.abs() < Format::of(ty).min_normal() { x.abs() } else { 0.0 }
}

fn unary(op: Unary, ty: Ty, x: f64, e: f64, result: f64) -> f64 {
    let half_ulp = 0.5 * Format::of(ty).ulp(result);
    match op {
        Unary::Neg | Unary::Abs | Unary::Saturate => e,
        Unary::Ceil | Unary::Floor | Unary::Round | Unary::Trunc | Unary::Sign | Unary::FrexpExponent => 0.0,
        Unary::Fract | Unary::FrexpFraction => e + rounded(ty, result),
        Unary::QuantizeToF16 => e + rounded(Ty::F16, result),
        _ => {
            let allowed = match Bound::of(op, ty, x) {
                // Made of others, by WGSL: a few of their errors.
                Some(Bound::Ulps(0.0)) => 8.0 * Format::of(ty).ulp(result),
                Some(bound) => bound.distance(Format::of(ty), result),
                None => return f64::INFINITY,
            };
            // Functions are monotonic between jumps and turns; what a turn hides is less than the slope's.
            let at = ideal(op, x);
            let moved = [x - e, x + e].map(|near| (ideal(op, near) - at).abs());
            let moved = if e == 0.0 { 0.0 } else { moved[0].max(moved[1]) };
            allowed + half_ulp + moved + flushed(ty, result)
        }
    }
}

fn binary(op: Binary, ty: Ty, [(a, ea), (b, eb)]: [(f64, f64); 2], result: f64) -> f64 {
    match op {
        Binary::Add | Binary::Sub => ea + eb + rounded(ty, result),
        Binary::Mul => a.abs() * eb + b.abs() * ea + ea * eb + rounded(ty, result),
        Binary::Div if b.abs() <= eb => f64::INFINITY,
        Binary::Div => {
            let brought = (ea + result.abs() * eb) / (b.abs() - eb);
            brought + 3.0 * Format::of(ty).ulp(result) + flushed(ty, result)
        }
        Binary::Min | Binary::Max => ea.max(eb),
        // exp2(b · log2(a)), each with its error.
        Binary::Pow => {
            let (base, exponent) = (a.abs(), b * a.abs().log2());
            let log = 3.0 * Format::of(ty).ulp(a.abs().log2()) + 2f64.powi(-21);
            let inner = b.abs() * (log + ea / base / std::f64::consts::LN_2) + eb * base.log2().abs();
            let outer = (4.0 + 2.0 * exponent.abs()) * Format::of(ty).ulp(result);
            result.abs() * (inner * std::f64::consts::LN_2).exp_m1().abs() + outer
        }
        Binary::Atan2 => 4096.5 * Format::of(ty).ulp(result) + (ea + eb) / a.hypot(b).max(f64::MIN_POSITIVE),
        Binary::Ldexp => ea * b.exp2() + flushed(ty, result),
        _ => 0.0,
    }
}

fn ternary(op: Ternary, ty: Ty, [(a, ea), (b, eb), (c, ec)]: [(f64, f64); 3], result: f64) -> f64 {
    match op {
        Ternary::Fma => a.abs() * eb + b.abs() * ea + ea * eb + ec + rounded(ty, a * b) + rounded(ty, result),
        Ternary::Clamp => ea.max(eb).max(ec),
        Ternary::Mix => {
            let brought = (1.0 - c).abs() * ea + c.abs() * eb + (a.abs() + b.abs()) * ec;
            brought + 3.0 * (rounded(ty, a * (1.0 - c)) + rounded(ty, b * c) + rounded(ty, result))
        }
        Ternary::Smoothstep => 1.5 * (ea + eb + ec) / (b - a).abs() + 16.0 * Format::of(ty).ulp(1.0),
        Ternary::ExtractBits => 0.0,
    }
}
