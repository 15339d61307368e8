//! Personalities of families of GPUs.

use super::{
    Denormals, Fma, Inexact, LaneOrder, Neighbour, OutOfBounds, Personality, Reassociation, Rounding,
    Schedule, Sums,
};

impl Personality {
    /// `plain` and `hostile`, then one for each family of GPUs: its subgroup size, and one reading of every
    /// other freedom that such GPUs have been seen to take, or that nothing is on record of.
    pub fn presets() -> Vec<Self> {
        let mut all = vec![Self::plain(), Self::hostile()];
        all.extend(desktops());
        all.extend(mobiles());
        all
    }
}

/// A family that does nothing of note.
fn family(name: &str, subgroup_size: u32, seed: u64) -> Personality {
    Personality { name: name.into(), subgroup_size, seed, ..Personality::plain() }
}

fn desktops() -> Vec<Personality> {
    vec![
        Personality {
            fma: Fma::Contracted,
            inexact: Inexact::Any,
            schedule: Schedule::Shuffled,
            sums: Sums::Pairwise,
            ..family("nvidia", 32, 1)
        },
        Personality {
            fma: Fma::Contracted,
            inexact: Inexact::Low,
            schedule: Schedule::Backward,
            out_of_bounds: OutOfBounds::Zero,
            ..family("amd-wave64", 64, 2)
        },
        Personality {
            denormals: Denormals::Flushed,
            lanes: LaneOrder::Shuffled,
            inexact: Inexact::High,
            out_of_bounds: OutOfBounds::Last,
            sums: Sums::Backward,
            ..family("intel", 16, 3)
        },
    ]
}

fn mobiles() -> Vec<Personality> {
    vec![
        Personality {
            fma: Fma::Contracted,
            reassociation: Reassociation::Constants,
            denormals: Denormals::Flushed,
            inexact: Inexact::Any,
            out_of_bounds: OutOfBounds::Last,
            sums: Sums::Pairwise,
            ..family("apple", 32, 4)
        },
        Personality {
            denormals: Denormals::Flushed,
            fma: Fma::Split,
            f16: Rounding::Down,
            inexact: Inexact::Low,
            lanes: LaneOrder::Strided,
            schedule: Schedule::Backward,
            out_of_bounds: OutOfBounds::Other,
            ..family("adreno", 128, 5)
        },
        Personality {
            denormals: Denormals::Flushed,
            f16: Rounding::Up,
            arithmetic: Neighbour::Either,
            inexact: Inexact::Any,
            lanes: LaneOrder::Reversed,
            schedule: Schedule::Shuffled,
            out_of_bounds: OutOfBounds::Other,
            reassociation: Reassociation::Constants,
            sums: Sums::Backward,
            ..family("mali", 16, 6)
        },
        Personality {
            fma: Fma::Split,
            inexact: Inexact::Any,
            schedule: Schedule::Forward,
            out_of_bounds: OutOfBounds::Last,
            processor: true,
            ..family("software", 4, 7)
        },
        Personality {
            fma: Fma::Split,
            lanes: LaneOrder::Shuffled,
            inexact: Inexact::Any,
            schedule: Schedule::Backward,
            out_of_bounds: OutOfBounds::Other,
            sums: Sums::Pairwise,
            processor: true,
            ..family("software-8", 8, 9)
        },
    ]
}
