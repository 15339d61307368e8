//! Which parameters and grids are still right: from one call of a plan to the next few scalars change, and few
//! steps ask for those.

use std::ops::Range;

use crate::dim::Call;
use crate::plan::{Param, Plan};

pub(super) struct Fresh {
    /// The scalars of the last call.
    seen: Vec<f64>,
    /// Those that a step's parameters and grid depend on, a bit each; the last bit is of all from the 64th on.
    scalars: Vec<u64>,
    /// Whether a step's parameters and grid are worked out.
    pub(super) resolved: Vec<bool>,
    /// Whether a step's parameters lie in the device's memory, slot by slot.
    sent: Vec<bool>,
}

impl Fresh {
    pub(super) fn new(plan: &Plan, slots: u32) -> Self {
        let scalars = plan.steps.iter().map(|step| {
            let mut bits = 0;
            let mut see = |id: u32| bits |= 1u64 << id.min(63);
            step.workgroups.each_scalar(&mut see);
            for param in &step.params {
                match param {
                    Param::U32(e) => e.each_scalar(&mut see),
                    Param::F32(_) => {}
                    Param::Scalar(id) => see(id.0),
                }
            }
            bits
        });
        Self {
            seen: vec![f64::NAN; plan.scalars.len()],
            scalars: scalars.collect(),
            resolved: vec![false; plan.steps.len()],
            sent: vec![false; plan.steps.len() * slots as usize],
        }
    }

    /// Says what the next call's scalars are.
    pub(super) fn called(&mut self, call: &Call) {
        let mut changed = 0;
        for (id, (seen, value)) in self.seen.iter_mut().zip(&call.0).enumerate() {
            if seen.to_bits() != value.to_bits() {
                // -0 equals 0, and is another parameter
                changed |= 1u64 << id.min(63);
                *seen = *value;
            }
        }
        if changed != 0 {
            for (resolved, scalars) in self.resolved.iter_mut().zip(&self.scalars) {
                *resolved &= scalars & changed == 0;
            }
        }
    }

    /// Says that a step's parameters were worked out anew.
    pub(super) fn changed(&mut self, step: usize) {
        self.resolved[step] = true;
        self.sent.iter_mut().skip(step).step_by(self.resolved.len()).for_each(|sent| *sent = false);
    }

    /// The steps from the first whose parameters a slot lacks to the last; from now on it has them.
    pub(super) fn send(&mut self, slot: usize) -> Option<Range<usize>> {
        let steps = self.resolved.len();
        let sent = &mut self.sent[slot * steps..(slot + 1) * steps];
        let first = sent.iter().position(|sent| !sent)?;
        let last = sent.iter().rposition(|sent| !sent)?;
        sent.fill(true);
        Some(first..last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_depends_on_makes_it_stale_in_every_slot() {
        // Step 0 depends on scalar 0, step 1 on the 70th and so on the last bit, step 2 on nothing.
        let mut fresh = Fresh {
            seen: vec![0.0; 80],
            scalars: vec![1, 1 << 63, 0],
            resolved: vec![true; 3],
            sent: vec![true; 6],
        };
        let mut call = Call(vec![0.0; 80]);
        fresh.called(&call);
        assert_eq!((fresh.resolved.clone(), fresh.send(0)), (vec![true; 3], None));
        call.0[0] = -0.0;
        fresh.called(&call);
        assert_eq!(fresh.resolved, [false, true, true]);
        fresh.changed(0);
        call.0[70] = 1.0;
        fresh.called(&call);
        assert_eq!(fresh.resolved, [true, false, true]);
        fresh.changed(1);
        assert_eq!(
            [fresh.send(0), fresh.send(0), fresh.send(1), fresh.send(1)],
            [Some(0..2), None, Some(0..2), None]
        );
    }
}
