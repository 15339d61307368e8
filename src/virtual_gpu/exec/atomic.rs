//! Atomics on 32-bit words, lane by lane in the personality's order.

use super::super::program::{Address, AtomicOp, Inst, Part, Reg, Ty};
use super::access::Does;
use super::group::{Group, Row};

impl Group<'_> {
    pub(super) fn atomic(
        &mut self,
        (op, ty): (AtomicOp, Ty),
        at: &Address,
        dst: &[Reg],
        args: &[Reg],
        inst: &Inst,
    ) {
        let outside = self.addresses(at, inst.site);
        let width = self.out.len();
        let mut results = vec![vec![0; width]; 2];
        let mut old_taint = Row::new();
        {
            let Some(place) = self.place(at, inst.site) else { return };
            let operands = self.joined(args);
            let word = Part { reg: Reg(0), offset: 0, ty: Ty::U32 };
            for lane in &self.lanes.order {
                let lane = *lane as usize;
                if self.active.row[lane] == 0 || outside && self.outside[lane] != 0 {
                    continue;
                }
                let byte = self.offsets[lane];
                self.meet(&place, byte, lane, Does::Changes);
                let (old, taint) = self.load_lane(&place, &word, lane);
                let arg = |i: usize| args.get(i).map_or(0, |r| self.rows[r.0 as usize][lane]);
                let (new, exchanged) = changed((op, ty), old, arg(0), arg(1));
                results[0][lane] = old;
                results[1][lane] = if exchanged { u32::MAX } else { 0 };
                if taint != 0 {
                    old_taint.resize(width, 0);
                    old_taint[lane] = taint;
                }
                let given = operands.get(lane).copied().unwrap_or(0);
                let taint = match op {
                    AtomicOp::Load => continue,
                    AtomicOp::Store | AtomicOp::Exchange => given,
                    _ if given == 0 => taint,
                    _ => given,
                };
                place.memory.store(byte as usize / 4, new, taint);
            }
        }
        let taints = vec![old_taint; dst.len()];
        self.put(dst, results, taints, inst.masked);
    }
}

/// What an atomic leaves, and whether an exchange took place.
fn changed((op, ty): (AtomicOp, Ty), old: u32, a: u32, b: u32) -> (u32, bool) {
    let float = |f: fn(f32, f32) -> f32| f(f32::from_bits(old), f32::from_bits(a)).to_bits();
    let signed = |f: fn(i32, i32) -> i32| f(old as i32, a as i32) as u32;
    let new = match (op, ty) {
        (AtomicOp::Load, _) => old,
        (AtomicOp::Store | AtomicOp::Exchange, _) => a,
        (AtomicOp::Add, Ty::F32) => float(|x, y| x + y),
        (AtomicOp::Sub, Ty::F32) => float(|x, y| x - y),
        (AtomicOp::Min, Ty::F32) => float(f32::min),
        (AtomicOp::Max, Ty::F32) => float(f32::max),
        (AtomicOp::Add, _) => old.wrapping_add(a),
        (AtomicOp::Sub, _) => old.wrapping_sub(a),
        (AtomicOp::Min, Ty::I32) => signed(i32::min),
        (AtomicOp::Max, Ty::I32) => signed(i32::max),
        (AtomicOp::Min, _) => old.min(a),
        (AtomicOp::Max, _) => old.max(a),
        (AtomicOp::And, _) => old & a,
        (AtomicOp::Or, _) => old | a,
        (AtomicOp::Xor, _) => old ^ a,
        (AtomicOp::CompareExchange, _) if old == a => return (b, true),
        (AtomicOp::CompareExchange, _) => old,
    };
    (new, false)
}
