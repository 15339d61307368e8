//! Rows of one run against those of another.
//!
//! Two runs cannot be interleaved, and between them a machine may have become faster or slower as a whole.
//! So each row is compared by multiples of the probe that was measured in turn with it, and not by
//! seconds: what slows both down cancels. The median of all rows would cancel too, but a change that
//! slows every kernel down would cancel with it. How sure a difference is follows from rounds ([`rounds`]) and
//! from sittings ([`sittings`]).
//!
//! [`rounds`]: crate::bench::rounds
//! [`sittings`]: crate::bench::sittings

use crate::bench::samples::{Comparison, Verdict};
use crate::bench::sittings::compare_sittings;
use crate::bench::{Outcome, Row};

/// The smallest difference between two runs that is reported; what is the same differs by less than twice that.
/// On a machine that others share, all that lives in a cache which they share too may be slower by up to this
/// much for minutes, and nothing within a run shows it.
pub const MARGIN: f64 = 0.05;

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Both runs timed it.
    Compared {
        /// The new time as a fraction of the old, both as multiples of the probe's.
        comparison: Comparison,
        /// Whether the results have other bits.
        other_bits: bool,
    },
    /// The new run has it alone.
    New,
    /// The old run has it alone.
    Gone,
    /// It was timed, and now it is wrong or cannot run, and why.
    Broken(String),
    /// It was not timed, and now it is.
    Mended,
    /// Neither run timed it.
    Untimed,
    /// It cannot be compared, and why.
    Incomparable(String),
}

impl Change {
    /// Whether it is worse than before.
    pub fn is_regression(&self) -> bool {
        match self {
            Self::Compared { comparison, .. } => comparison.verdict == Verdict::Slower,
            Self::Broken(_) => true,
            _ => false,
        }
    }

    /// Whether another look could say more.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Compared { comparison, .. } => comparison.verdict != Verdict::Same,
            Self::Incomparable(_) => true,
            _ => false,
        }
    }
}

/// One row of two runs.
pub fn change(old: &Row, new: &Row) -> Change {
    match (&old.outcome, &new.outcome) {
        (Outcome::Timed(a), Outcome::Timed(b)) => {
            let probe = |t: &super::Timed| t.beside.as_ref().map_or("no probe", |b| &b.probe).to_owned();
            if probe(a) != probe(b) {
                return Change::Incomparable(format!("{} was beside it, now {}", probe(a), probe(b)));
            }
            if a.watch() != b.watch() {
                return Change::Incomparable(format!("it was timed by {}, now by {}", a.watch(), b.watch()));
            }
            let comparison = compare_sittings(&a.by_sitting(), &b.by_sitting(), MARGIN);
            Change::Compared { comparison, other_bits: a.bits != b.bits }
        }
        (Outcome::Timed(_), Outcome::Wrong(why) | Outcome::Unable(why)) => Change::Broken(why.clone()),
        (_, Outcome::Timed(_)) => Change::Mended,
        _ => Change::Untimed,
    }
}

/// All rows of two runs: those of the new one in its order, and then what it lacks.
pub fn changes<'a>(old: &'a [Row], new: &'a [Row]) -> Vec<(&'a Row, Change)> {
    let find = |rows: &'a [Row], id: &str| rows.iter().find(|r| r.id() == id);
    let of = |row: &'a Row| match find(old, &row.id()) {
        Some(before) => (row, change(before, row)),
        None => (row, Change::New),
    };
    let gone = old.iter().filter(|row| find(new, &row.id()).is_none());
    new.iter().map(of).chain(gone.map(|row| (row, Change::Gone))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::row;
    use crate::rng::Rng;

    /// A row of which the kernel takes `kernel` seconds and the probe `probe`, and noise.
    fn noisy(kernel: f64, probe: f64, seed: u64) -> Row {
        let mut rng = Rng::new(seed);
        let mut of = |s: f64| -> Vec<f64> { (0..25).map(|_| s * (1.0 + 0.01 * rng.signed())).collect() };
        row(&of(kernel), &of(probe))
    }

    fn verdict(change: &Change) -> Option<Verdict> {
        match change {
            Change::Compared { comparison, .. } => Some(comparison.verdict),
            _ => None,
        }
    }

    #[test]
    fn a_slower_kernel_shows_and_a_slower_machine_does_not() {
        for seed in 0..20 {
            let old = noisy(1.0, 1.0, seed);
            let said = |kernel, probe| change(&old, &noisy(kernel, probe, seed + 1000));
            assert_eq!(verdict(&said(1.0, 1.0)), Some(Verdict::Same), "{seed}");
            assert_eq!(verdict(&said(1.5, 1.5)), Some(Verdict::Same), "{seed}");
            assert_eq!(verdict(&said(1.1, 1.0)), Some(Verdict::Slower), "{seed}");
            assert_eq!(verdict(&said(1.65, 1.5)), Some(Verdict::Slower), "{seed}");
            assert_eq!(verdict(&said(0.9, 1.0)), Some(Verdict::Faster), "{seed}");
            assert!(said(1.1, 1.0).is_regression() && !said(0.9, 1.0).is_regression());
        }
    }

    #[test]
    fn rows_that_only_one_run_has_or_that_broke_are_told_apart() {
        let timed = noisy(1.0, 1.0, 1);
        let cold = Row { cold: true, ..timed.clone() };
        let wrong = Row { outcome: Outcome::Wrong("`y` is off".into()), ..timed.clone() };
        let (old, new) = ([timed.clone(), cold.clone()], [wrong.clone()]);
        let changed: Vec<_> = changes(&old, &new).into_iter().map(|(_, c)| c).collect();
        assert_eq!(changed, [Change::Broken("`y` is off".into()), Change::Gone]);
        assert!(changed[0].is_regression() && !changed[1].is_regression());
        let back: Vec<_> = changes(&new, &old).into_iter().map(|(_, c)| c).collect();
        assert_eq!(back, [Change::Mended, Change::New]);
        assert_eq!(change(&wrong, &wrong), Change::Untimed);
    }

    /// Eight sittings of two and three rounds, in turn, and more samples in each round.
    #[test]
    fn rows_are_compared_by_sittings() {
        let of = |factors: [f64; 8], seed: u64| {
            let mut rows = factors.iter().zip(seed..).map(|(f, seed)| {
                let mut one = noisy(*f, 1.0, seed);
                let Outcome::Timed(t) = &mut one.outcome else { unreachable!("it was timed") };
                (t.rounds, t.sittings) = (vec![5; 5], vec![2, 3]);
                one
            });
            let mut all = rows.next().unwrap();
            rows.for_each(|more| all.add(more));
            all
        };
        let said = |old, new, seed| verdict(&change(&of(old, seed), &of(new, seed + 100))).unwrap();
        for seed in 0..10 {
            let (steady, mut slow) = ([1.0; 8], [1.0; 8]);
            assert_eq!(said(steady, steady, seed), Verdict::Same, "{seed}");
            assert_eq!(said(steady, [1.1; 8], seed), Verdict::Slower, "{seed}");
            slow[3] = 1.12;
            assert_eq!(said(slow, [1.1; 8], seed), Verdict::Slower, "{seed}");
            slow[..4].fill(1.12);
            assert_eq!(said(slow, [1.12; 8], seed), Verdict::TooNoisy, "{seed}");
            assert_eq!(said([1.12; 8], slow, seed), Verdict::TooNoisy, "{seed}");
        }
    }

    #[test]
    fn other_bits_and_other_probes_are_said() {
        let (old, mut new) = (noisy(1.0, 1.0, 1), noisy(1.0, 1.0, 2));
        let timed = |row: &mut Row, f: &dyn Fn(&mut super::super::Timed)| match &mut row.outcome {
            Outcome::Timed(t) => f(t),
            _ => unreachable!("it was timed"),
        };
        timed(&mut new, &|t| t.bits = "4567".into());
        assert!(matches!(change(&old, &new), Change::Compared { other_bits: true, .. }));
        timed(&mut new, &|t| t.beside = None);
        let said = change(&old, &new);
        assert_eq!(said, Change::Incomparable("probe.fma was beside it, now no probe".into()));
        timed(&mut new, &|t| {
            (t.beside, t.clock) = (old.timed().unwrap().beside.clone(), "wall clock: so".into())
        });
        let said = change(&old, &new);
        assert_eq!(said, Change::Incomparable("it was timed by timestamps, now by the wall clock".into()));
        assert!(said.is_doubtful() && !said.is_regression());
    }
}
