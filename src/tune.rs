//! Choosing by measurement: which kernel won where, on one device, as data.
//!
//! A [`Tuning`] belongs to one device. A [`Profile`] carries it, as it carries speeds and
//! quirks, because that is what it is: something known of the device, and nothing that a plan's maker
//! asks for. Planning looks steps up by [`Key`]; what it finds goes before every estimate, and what
//! the judge refused on this device is not chosen. Tunings are made by `Gpu::tune` (feature `gpu`) and
//! kept in files by [`Tuning::read`] and [`Tuning::merge_into`] (feature `json`).

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};
use crate::kernel::source::text_of;
use crate::kernel::{Chain, Kernel, Side, Site, chain, sources};
use crate::op::Axis;
use crate::ops;
use crate::plan::Determinism;
use crate::profile::Profile;
use crate::rng::Rng;

#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
mod file;
mod task;
mod trial;

#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
pub use file::file_name;
pub use task::{Task, Tasks};
pub use trial::Trial;

/// Axes that count things of one kind, and vary from call to call; the others are widths of a model.
const COUNTS: [Axis; 6] = [Axis::M, Axis::R, Axis::B, Axis::S, Axis::T, Axis::V];

/// The device and the library that a tuning is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Device {
    /// The adapter's name.
    pub adapter: String,
    /// Its backend.
    pub backend: String,
    /// Its driver and the driver's version.
    pub driver: String,
    /// The version of this library.
    pub library: String,
}

impl Device {
    /// The device of a profile, with this library.
    pub fn of(profile: &Profile) -> Self {
        Self {
            adapter: profile.name.clone(),
            backend: profile.backend.clone(),
            driver: profile.driver.clone(),
            library: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { adapter, backend, driver, library } = self;
        write!(f, "{backend}:{adapter} ({driver}), tachylite {library}")
    }
}

/// What steps have in common that one measurement speaks for, as text: op, types, sizes, what was
/// fused, numerics and determinism.
///
/// Sizes are in buckets, so that what was not measured profits from what was. Counts (rows, batches,
/// positions) go up to the next power of two: times grow with them and choices change by octaves. Widths
/// go up to the next power of two or one and a half times one, with whether they are a multiple of 64,
/// of 4, or of neither (`N=4096/64`), since a remainder costs a block of its own. Under
/// [`Determinism::BatchInvariant`] a key has no rows at all. Of a fused chain it counts whether there is
/// one, and the whole tensors that it reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Key(String);

impl Key {
    /// The key of a place in a graph.
    pub(crate) fn of(site: &Site<'_>) -> Self {
        let policy = site.policy;
        let invariant = policy.determinism == Determinism::BatchInvariant;
        let axes = site.axes.iter().map(|(axis, _)| axis);
        let sizes: Vec<String> = axes
            .filter(|axis| !(invariant && COUNTS.contains(axis)))
            .filter_map(|axis| Some(format!("{}={}", axis.name(), bucket(axis, site.size(axis))?)))
            .collect();
        let chains: String =
            [("pre", site.pre), ("post", site.post)].iter().filter_map(|(hook, c)| class(hook, c)).collect();
        Self(format!(
            "{} {} {}{chains} {:?} {:?}",
            site.op.name,
            types(site),
            if sizes.is_empty() { "1".to_owned() } else { sizes.join(",") },
            policy.numerics,
            policy.determinism,
        ))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The types of a site's tensors: `x=f32,w=q8_0,y=f32`.
pub(crate) fn types(site: &Site<'_>) -> String {
    site.args.iter().map(|a| format!("{}={}", a.name, a.dtype)).collect::<Vec<_>>().join(",")
}

fn bucket(axis: Axis, n: usize) -> Option<String> {
    if n <= 1 {
        return None;
    }
    let above = n.checked_next_power_of_two().unwrap_or(usize::MAX);
    if COUNTS.contains(&axis) {
        return Some(above.to_string());
    }
    let between = above / 4 * 3;
    let width = if n <= between { between } else { above };
    let whole = [64, 4, 1].into_iter().find(|d| n.is_multiple_of(*d)).unwrap_or(1);
    Some(format!("{width}/{whole}"))
}

/// ` post+1`: there is a chain, and it reads one whole tensor.
fn class(hook: &str, links: &Chain) -> Option<String> {
    let whole = chain::sides(links).filter(|side| *side == Side::Full).count();
    (!links.is_empty()).then(|| format!(" {hook}+{whole}"))
}

/// A kernel that was faster than the estimate's choice, or that choice, confirmed.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Winner {
    /// The kernel.
    pub kernel: String,
    /// What the estimate would choose.
    pub estimate: String,
    /// The winner's time as a fraction of the estimate's choice's; 1 if that is the winner.
    pub ratio: f64,
    /// The winner's time, in seconds.
    pub seconds: f64,
    /// The case that was measured, by its name in `check`.
    pub case: String,
    /// What the texts of the kernels hash to that were measured: [`texts`].
    pub texts: String,
    /// When, in seconds since 1970.
    pub when: u64,
}

/// A kernel that the judge refused on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Rejected {
    /// What was wrong, in a sentence without its end.
    pub why: String,
    /// The case, by its name in `check`, which shows it again.
    pub case: String,
    /// The texts: [`texts`].
    pub texts: String,
    /// When, in seconds since 1970.
    pub when: u64,
}

/// What was measured on one device.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Tuning {
    device: Device,
    winners: BTreeMap<Key, Winner>,
    /// By kernel and types: what is wrong at one size is not trusted at another.
    rejected: BTreeMap<String, Rejected>,
}

impl Tuning {
    /// Nothing yet, of a device.
    pub fn new(profile: &Profile) -> Self {
        Self { device: Device::of(profile), winners: BTreeMap::new(), rejected: BTreeMap::new() }
    }

    /// What it is about.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Every winner with what it stands for, in the order of keys.
    pub fn winners(&self) -> impl Iterator<Item = (&Key, &Winner)> {
        self.winners.iter()
    }

    /// Everything that was refused: kernel and types, and why.
    pub fn rejected(&self) -> impl Iterator<Item = (&str, &Rejected)> {
        self.rejected.iter().map(|(name, r)| (name.as_str(), r))
    }

    /// The winner of a key.
    pub fn winner(&self, key: &Key) -> Option<&Winner> {
        self.winners.get(key)
    }

    /// Why a kernel must not be chosen for these types, if it must not.
    pub(crate) fn rejection(&self, kernel: &str, types: &str) -> Option<&Rejected> {
        self.rejected.get(&format!("{kernel} {types}"))
    }

    /// Notes a winner; the newer of two stays.
    pub fn won(&mut self, key: Key, winner: Winner) {
        if self.winners.get(&key).is_none_or(|there| there.when <= winner.when) {
            self.winners.insert(key, winner);
        }
    }

    /// Notes that a kernel was refused for tensors of these types; the newer of two stays.
    #[cfg(any(feature = "gpu", test))]
    pub(crate) fn reject(&mut self, kernel: &str, types: &str, rejected: Rejected) {
        self.insert_rejected(format!("{kernel} {types}"), rejected);
    }

    fn insert_rejected(&mut self, name: String, rejected: Rejected) {
        if self.rejected.get(&name).is_none_or(|there| there.when <= rejected.when) {
            self.rejected.insert(name, rejected);
        }
    }

    /// Takes over what another tuning of the same device knows; of two about one key the newer stays.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is of another device.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        other.is_of(&self.device)?;
        other.winners.iter().for_each(|(key, winner)| self.won(key.clone(), winner.clone()));
        other.rejected.iter().for_each(|(name, r)| self.insert_rejected(name.clone(), r.clone()));
        Ok(())
    }

    fn is_of(&self, device: &Device) -> Result<()> {
        if self.device == *device {
            return Ok(());
        }
        Err(Error::Argument(format!("tuning: it is of {}, and not of {device}", self.device)))
    }

    /// Leaves out what was measured with other texts of the kernels, or with kernels that are no more.
    #[cfg_attr(not(feature = "json"), allow(dead_code))]
    fn without_stale(mut self) -> Self {
        self.winners.retain(|_, w| texts(&w.kernel).as_ref() == Some(&w.texts));
        self.rejected.retain(|name, r| {
            let kernel = name.split(' ').next().unwrap_or_default();
            texts(kernel).as_ref() == Some(&r.texts)
        });
        self
    }
}

impl Profile {
    /// The same device with what was measured on it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tuning is of another device, driver or version of this library.
    pub fn with_tuning(&self, tuning: Tuning) -> Result<Self> {
        tuning.is_of(&Device::of(self))?;
        Ok(Self { tuning: Some(tuning.into()), ..self.clone() })
    }
}

/// What the texts hash to that a choice among a kernel and its rivals depends on: all files of the op that
/// it belongs to, and every linked piece. `None` if there is no such kernel.
pub fn texts(kernel: &str) -> Option<String> {
    let has = |kernels: &&[&Kernel]| kernels.iter().any(|k| k.name == kernel);
    let rivals = ops::ALL.iter().map(|op| op.kernels).find(has)?;
    let mut all: String = rivals.iter().flat_map(|k| [k.name, "\n"]).collect();
    for (file, text) in sources() {
        if file.starts_with("lib/") || rivals.iter().flat_map(|k| k.stages()).any(|k| k.file == file) {
            all += &text_of((file, text));
        }
    }
    Some(format!("{:016x}", Rng::hash(&all)))
}

#[cfg(test)]
mod tests;
