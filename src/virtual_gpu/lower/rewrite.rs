//! One run from its first to its last instruction: copies are seen through, and, where a personality
//! does so, products are fused into sums and constants are added to each other.

use std::collections::HashMap;

use super::super::program::{Binary, Inst, Op, Reg, Ternary, Ty, Unary};
use super::Rewrites;
use super::builder::Kind;
use super::operands::{Role, visit, visit_mut};
use super::optimise::Facts;

/// A run as it is rewritten.
#[derive(Debug)]
pub(super) struct Run {
    number: u32,
    how: Rewrites,
    /// What a register is a copy of, and when it was made.
    copies: HashMap<Reg, (Reg, u32)>,
    out: Vec<Inst>,
}

/// `x + c`, or `c - x`.
#[derive(Debug, Clone, Copy)]
struct Shifted {
    x: Reg,
    negative: bool,
    by: f32,
}

impl Run {
    pub fn new(number: u32, how: Rewrites) -> Self {
        Self { number, how, copies: HashMap::new(), out: Vec::new() }
    }

    /// Rewrites the instructions. In `facts`, `seen` is where a register was written last.
    pub fn rewrite(&mut self, facts: &mut Facts<'_>, insts: &mut Vec<Inst>) {
        self.out.reserve(insts.len());
        for mut inst in insts.drain(..) {
            visit_mut(&mut inst.op, &mut |reg, role| {
                if role == Role::Read {
                    self.exchange(facts, reg);
                }
            });
            if self.how.reassociate {
                self.reassociate(facts, &mut inst);
            }
            if self.how.contract {
                self.contract(facts, &mut inst);
            }
            self.push(facts, inst);
        }
        *insts = std::mem::take(&mut self.out);
    }

    fn push(&mut self, facts: &mut Facts<'_>, inst: Inst) {
        let at = self.out.len() as u32 + 1;
        visit(&inst.op, &mut |reg, role| {
            if role == Role::Write {
                facts.seen[reg.0 as usize] = (self.number, at);
                facts.defined[reg.0 as usize] = (self.number, at);
                self.copies.remove(reg);
            }
        });
        // A variable is seen through too, but for one that a computation is to write itself later on.
        if let Op::Copy { dst, src } = inst.op {
            let (to, from) = (facts.kind(dst), facts.kind(src));
            let lasts = facts.is_plain(src) || !matches!(from, Kind::Variable(_));
            let through = to == Kind::Temporary || facts.is_plain(dst) && from != Kind::Temporary;
            if lasts && through {
                self.copies.insert(dst, (src, at));
            }
        }
        self.out.push(inst);
    }

    /// Puts what a register is a copy of in its place.
    pub fn exchange(&self, facts: &mut Facts<'_>, reg: &mut Reg) {
        if let Some((of, at)) = self.copies.get(reg)
            && self.holds(facts, *of, *at)
        {
            facts.uses[reg.0 as usize] -= 1;
            facts.uses[of.0 as usize] += 1;
            *reg = *of;
        }
    }

    /// Whether a register still has the value that it had at an instruction.
    fn holds(&self, facts: &Facts<'_>, reg: Reg, at: u32) -> bool {
        let (run, written) = facts.seen[reg.0 as usize];
        run != self.number || written < at || !matches!(facts.kind(reg), Kind::Variable(_))
    }

    /// What defines a temporary, if that is in this run, and its operands still have their values.
    fn binary(&self, facts: &Facts<'_>, reg: Reg, of: Ty) -> Option<(Binary, Reg, Reg)> {
        let (run, at) = facts.defined[reg.0 as usize];
        if run != self.number || facts.kind(reg) != Kind::Temporary {
            return None;
        }
        match self.out[at as usize - 1].op {
            Op::Binary { op, ty, a, b, .. } if ty == of => {
                let hold = self.holds(facts, a, at) && self.holds(facts, b, at);
                hold.then_some((op, a, b))
            }
            _ => None,
        }
    }

    /// Puts `op` in an instruction's place.
    fn replace(facts: &mut Facts<'_>, inst: &mut Inst, op: Op) {
        facts.count_inst(&op, 1);
        facts.count_inst(&inst.op, -1);
        inst.op = op;
    }

    /// `a * b + c` and its kin become one instruction, if the product serves nothing else.
    fn contract(&mut self, facts: &mut Facts<'_>, inst: &mut Inst) {
        let Op::Binary { op: op @ (Binary::Add | Binary::Sub), ty: ty @ (Ty::F32 | Ty::F16), dst, a, b } =
            inst.op
        else {
            return;
        };
        let product = |of: Reg| match self.binary(facts, of, ty) {
            Some((Binary::Mul, x, y)) if facts.uses[of.0 as usize] == 1 => Some((x, y)),
            _ => None,
        };
        let (mut x, y, mut c) = match (product(a), product(b)) {
            (Some((x, y)), _) => (x, y, b),
            (None, Some((x, y))) => (x, y, a),
            (None, None) => return,
        };
        if op == Binary::Sub {
            // a * b - c, or else c - a * b
            let turned = if c == b { &mut c } else { &mut x };
            *turned = self.negate(facts, inst, ty, *turned);
        }
        Self::replace(facts, inst, Op::Ternary { op: Ternary::Fma, ty, dst, a: x, b: y, c });
    }

    fn negate(&mut self, facts: &mut Facts<'_>, inst: &Inst, ty: Ty, a: Reg) -> Reg {
        let dst = facts.register(Kind::Temporary);
        let op = Op::Unary { op: Unary::Neg, ty, dst, a };
        facts.count_inst(&op, 1);
        self.push(facts, Inst { op, site: inst.site, masked: false });
        dst
    }

    /// `(x + a) - b` and its kin, of constants a and b, become `x + (a - b)`.
    fn reassociate(&mut self, facts: &mut Facts<'_>, inst: &mut Inst) {
        let Op::Binary { op, ty: ty @ (Ty::F32 | Ty::F16), dst, a, b } = inst.op else { return };
        let Some(outer) = shifted(facts, op, a, b) else { return };
        let Some((op, a, b)) = self.binary(facts, outer.x, ty) else { return };
        let Some(inner) = shifted(facts, op, a, b) else { return };
        let negative = outer.negative != inner.negative;
        let by = outer.by + if outer.negative { -inner.by } else { inner.by };
        let by = if ty == Ty::F16 { half::f16::from_f32(by).to_f32() } else { by };
        let op = if by == 0.0 && !negative {
            Op::Copy { dst, src: inner.x }
        } else {
            let by = facts.constant(by.to_bits());
            let (op, a, b) = if negative { (Binary::Sub, by, inner.x) } else { (Binary::Add, inner.x, by) };
            Op::Binary { op, ty, dst, a, b }
        };
        Self::replace(facts, inst, op);
    }
}

/// A sum or difference of which one side is constant.
fn shifted(facts: &Facts<'_>, op: Binary, a: Reg, b: Reg) -> Option<Shifted> {
    let constant = |reg| match facts.kind(reg) {
        Kind::Constant(bits) => Some(f32::from_bits(bits)),
        _ => None,
    };
    Some(match (op, constant(a), constant(b)) {
        (Binary::Add, None, Some(by)) => Shifted { x: a, negative: false, by },
        (Binary::Add, Some(by), None) => Shifted { x: b, negative: false, by },
        (Binary::Sub, None, Some(by)) => Shifted { x: a, negative: false, by: -by },
        (Binary::Sub, Some(by), None) => Shifted { x: b, negative: true, by },
        _ => return None,
    })
}
