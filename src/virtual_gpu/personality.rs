//! What a GPU may do as it likes, and sets of choices: one for each family of GPUs, and a set in
//! which every two choices meet.
//!
//! Sources: WGSL's sections on floating-point evaluation and its accuracy, on subgroups, on the
//! memory model and on out-of-bounds accesses.

mod families;

use crate::profile::{DeviceKind, Features, Limits, Profile, Speeds};
use crate::quirks;

/// Declares a freedom: an enum with all its choices and their names.
macro_rules! freedom {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All choices.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

freedom! {
    /// How lanes are mapped to subgroups. All are legal: WGSL does not say.
    LaneOrder {
        /// Subgroup by subgroup, in order of `local_invocation_index`.
        Linear = "linear",
        /// Neighbours are far apart: lane `i` is in subgroup `i mod n`.
        Strided = "strided",
        /// In order, the last lane first.
        Reversed = "reversed",
        /// Any order, by the seed.
        Shuffled = "shuffled",
    }
}

freedom! {
    /// In which order workgroups run, each to its end, and the lanes of every store and atomic.
    Schedule {
        /// The first first.
        Forward = "forward",
        /// The last first.
        Backward = "backward",
        /// Any order, by the seed.
        Shuffled = "shuffled",
    }
}

freedom! {
    /// What happens to numbers less than the least normal one.
    Denormals {
        /// They are kept.
        Kept = "kept",
        /// They are zero, as operands and as results of arithmetic; loads, stores and bitcasts keep them.
        Flushed = "flushed",
    }
}

freedom! {
    /// What `fma` is, and what `a * b + c` is.
    Fma {
        /// `fma` rounds once, and `a * b + c` twice.
        Fused = "fused",
        /// Both round twice.
        Split = "split",
        /// Both round once: WGSL allows fusing what gets no less accurate by it.
        Contracted = "contracted",
    }
}

freedom! {
    /// To which neighbour something is rounded.
    Rounding {
        /// The nearest.
        Nearest = "nearest",
        /// The greater one.
        Up = "up",
        /// The lesser one.
        Down = "down",
    }
}

freedom! {
    /// How `+`, `-`, `*` and conversions round. WGSL: correctly rounded is either neighbour.
    Neighbour {
        /// The nearest.
        Nearest = "nearest",
        /// Either, by seed, operation and operands.
        Either = "either",
    }
}

freedom! {
    /// How built-ins that may be inexact err, within what WGSL's table allows.
    Inexact {
        /// Not at all.
        Exact = "exact",
        /// By as much as allowed, upwards.
        High = "high",
        /// By as much as allowed, downwards.
        Low = "low",
        /// By any amount, by seed, operation and operands.
        Any = "any",
    }
}

freedom! {
    /// What a read past the end gives. A write past the end changes nothing.
    OutOfBounds {
        /// Zero.
        Zero = "zero",
        /// The last element.
        Last = "last",
        /// Another element, by the seed.
        Other = "other",
    }
}

freedom! {
    /// In which order a built-in that sums does so: `dot`, `subgroupAdd`, `coopMultiplyAdd`.
    Sums {
        /// In order.
        Forward = "forward",
        /// From the last.
        Backward = "backward",
        /// In pairs.
        Pairwise = "pairwise",
    }
}

freedom! {
    /// Whether a compiler does sums of three otherwise than written. WGSL allows it to reassociate.
    Reassociation {
        /// As written.
        None = "none",
        /// `(x + a) - b` and the like are `x + (a - b)` where `a` and `b` are known.
        Constants = "constants",
    }
}

/// Subgroup sizes that exist.
pub const SUBGROUP_SIZES: [u32; 6] = [4, 8, 16, 32, 64, 128];

/// What one virtual GPU does with every freedom. What it does is a pure function of this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Personality {
    /// Its name: a family, or the number of a set.
    pub name: String,
    /// Lanes in a subgroup: one of [`SUBGROUP_SIZES`].
    pub subgroup_size: u32,
    /// Which lanes.
    pub lanes: LaneOrder,
    /// What runs first.
    pub schedule: Schedule,
    /// Numbers less than the least normal one.
    pub denormals: Denormals,
    /// `fma`.
    pub fma: Fma,
    /// Conversions from f32 to f16, packing included.
    pub f16: Rounding,
    /// `+`, `-`, `*`.
    pub arithmetic: Neighbour,
    /// Inexact built-ins.
    pub inexact: Inexact,
    /// Reads past the end.
    pub out_of_bounds: OutOfBounds,
    /// Built-in sums.
    pub sums: Sums,
    /// Sums as written, or otherwise.
    pub reassociation: Reassociation,
    /// Whether it is a processor, for which other kernels are chosen and texts have other knobs.
    pub processor: bool,
    /// What drawn choices are drawn from.
    pub seed: u64,
}

impl Personality {
    /// As gentle as a GPU can be: in order, nearest, exact.
    pub fn plain() -> Self {
        Self {
            name: "plain".into(),
            subgroup_size: 32,
            lanes: LaneOrder::Linear,
            schedule: Schedule::Forward,
            denormals: Denormals::Kept,
            fma: Fma::Fused,
            f16: Rounding::Nearest,
            arithmetic: Neighbour::Nearest,
            inexact: Inexact::Exact,
            out_of_bounds: OutOfBounds::Zero,
            sums: Sums::Forward,
            reassociation: Reassociation::None,
            processor: false,
            seed: 0,
        }
    }

    /// As rough as a GPU can be, one choice of each freedom: what checks without a choice run on.
    pub fn hostile() -> Self {
        Self {
            name: "hostile".into(),
            subgroup_size: 8,
            lanes: LaneOrder::Shuffled,
            schedule: Schedule::Shuffled,
            denormals: Denormals::Flushed,
            fma: Fma::Split,
            f16: Rounding::Down,
            arithmetic: Neighbour::Either,
            inexact: Inexact::Any,
            out_of_bounds: OutOfBounds::Other,
            sums: Sums::Backward,
            reassociation: Reassociation::Constants,
            processor: false,
            seed: 8,
        }
    }

    /// A set in which every two choices of different freedoms occur together: `pair-00`, `pair-01`, …
    pub fn pairwise() -> Vec<Self> {
        super::pairwise::rows(&Self::LEVELS)
            .into_iter()
            .enumerate()
            .map(|(i, row)| Self::from_levels(format!("pair-{i:02}"), &row, 100 + i as u64))
            .collect()
    }

    /// Every personality that has a name: presets, then the pairwise set.
    pub fn all() -> Vec<Self> {
        let mut all = Self::presets();
        all.extend(Self::pairwise());
        all
    }

    /// One of [`Personality::all`] by its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|p| p.name == name)
    }

    /// How many choices each freedom has, in the order of [`Personality::levels`].
    pub const LEVELS: [usize; 11] = [
        SUBGROUP_SIZES.len(),
        LaneOrder::ALL.len(),
        Schedule::ALL.len(),
        Denormals::ALL.len(),
        Fma::ALL.len(),
        Rounding::ALL.len(),
        Neighbour::ALL.len(),
        Inexact::ALL.len(),
        OutOfBounds::ALL.len(),
        Sums::ALL.len(),
        Reassociation::ALL.len(),
    ];

    fn from_levels(name: String, row: &[usize], seed: u64) -> Self {
        Self {
            name,
            subgroup_size: SUBGROUP_SIZES[row[0]],
            lanes: LaneOrder::ALL[row[1]],
            schedule: Schedule::ALL[row[2]],
            denormals: Denormals::ALL[row[3]],
            fma: Fma::ALL[row[4]],
            f16: Rounding::ALL[row[5]],
            arithmetic: Neighbour::ALL[row[6]],
            inexact: Inexact::ALL[row[7]],
            out_of_bounds: OutOfBounds::ALL[row[8]],
            sums: Sums::ALL[row[9]],
            reassociation: Reassociation::ALL[row[10]],
            processor: false,
            seed,
        }
    }

    /// Which choice it made of each freedom, by number.
    pub fn levels(&self) -> [usize; 11] {
        let size = SUBGROUP_SIZES.iter().position(|s| *s == self.subgroup_size).unwrap_or(0);
        [
            size,
            self.lanes as usize,
            self.schedule as usize,
            self.denormals as usize,
            self.fma as usize,
            self.f16 as usize,
            self.arithmetic as usize,
            self.inexact as usize,
            self.out_of_bounds as usize,
            self.sums as usize,
            self.reassociation as usize,
        ]
    }

    /// What it does, in a line.
    pub fn describe(&self) -> String {
        format!(
            "subgroups of {} ({}), {} order, denormals {}, fma {}, f16 {}, arithmetic {}, built-ins {}, \
             past the end {}, sums {}, reassociation {}",
            self.subgroup_size,
            self.lanes.name(),
            self.schedule.name(),
            self.denormals.name(),
            self.fma.name(),
            self.f16.name(),
            self.arithmetic.name(),
            self.inexact.name(),
            self.out_of_bounds.name(),
            self.sums.name(),
            self.reassociation.name(),
        )
    }

    /// The device as planning sees it: WebGPU's default limits, subgroups, f16 and matrices.
    pub fn profile(&self) -> Profile {
        Profile {
            name: self.name.clone(),
            backend: "virtual".into(),
            driver: format!("tachylite {}", env!("CARGO_PKG_VERSION")),
            vendor: 0,
            device: 0,
            kind: if self.processor { DeviceKind::Cpu } else { DeviceKind::Virtual },
            features: Features {
                shader_f16: true,
                shader_int64: false,
                subgroup: true,
                timestamp_query: false,
                matrix_8: true,
                matrix_16: true,
            },
            limits: Limits::WEBGPU,
            subgroup_sizes: (self.subgroup_size, self.subgroup_size),
            speeds: Speeds::guess(DeviceKind::Other),
            // A text that touches lines ahead is to be looked at too.
            quirks: if self.processor { vec![&quirks::llvmpipe::QUIRK] } else { Vec::new() },
            tuning: None,
        }
    }
}
