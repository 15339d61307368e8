//! Known failures, as data: which kernels to avoid on which devices and why, which cases of
//! [`check`](crate::check) are expected to fail there, and what slows kernels down that they can work around.
//!
//! One file for each pattern of vendor, device, driver and backend, with what was found there and
//! how. A [`Profile`] carries the quirks of its device; [`plan`](crate::plan::plan) refuses a kernel
//! to be avoided with the quirk's reason, unless the policy names it; `check` runs it all the same
//! and reports a case that passes although it is expected to fail, so that no entry outlives its
//! driver. A host that found a quirk of its own pushes it onto its profile.

use crate::profile::Profile;

pub(crate) mod llvmpipe;
mod swiftshader;

/// Which devices a quirk is about. What is left at [`Pattern::ANY`] is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The backend, as in [`Profile::backend`].
    pub backend: Option<&'static str>,
    /// PCI vendor.
    pub vendor: Option<u32>,
    /// PCI device.
    pub device: Option<u32>,
    /// Part of the adapter's name, whatever the case.
    pub name: &'static str,
    /// Part of the driver's name and version, whatever the case.
    pub driver: &'static str,
}

impl Pattern {
    /// Every device.
    pub const ANY: Self = Self { backend: None, vendor: None, device: None, name: "", driver: "" };

    /// Whether a device is one of these.
    pub fn matches(&self, p: &Profile) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        self.backend.is_none_or(|b| b == p.backend)
            && self.vendor.is_none_or(|v| v == p.vendor)
            && self.device.is_none_or(|d| d == p.device)
            && has(&p.name, self.name)
            && has(&p.driver, self.driver)
    }
}

/// A kernel that planning leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avoid {
    /// Its name.
    pub kernel: &'static str,
    /// Why, in a sentence without its end.
    pub why: &'static str,
}

/// Cases that are expected to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// How their names begin; a whole name is one case.
    pub cases: &'static str,
    /// Why, in a sentence without its end.
    pub why: &'static str,
}

/// What is known of some devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirk {
    /// Which.
    pub pattern: Pattern,
    /// Kernels to avoid there.
    pub avoid: &'static [Avoid],
    /// Cases expected to fail there.
    pub failing: &'static [Failing],
    /// Whether loads of several lanes leave a processor's prefetcher untrained, so that a kernel that streams
    /// touches what comes next by loads that are the same for all lanes.
    pub untrained: bool,
    /// Whether `pack2x16float` makes a NaN of what is too large for an f16, so that infinities are made by hand.
    pub packs_nan: bool,
}

impl Quirk {
    /// Nothing is known of any device.
    pub const NONE: Self =
        Self { pattern: Pattern::ANY, avoid: &[], failing: &[], untrained: false, packs_nan: false };
}

/// All quirks.
pub static ALL: &[&Quirk] = &[&llvmpipe::QUIRK, &swiftshader::QUIRK];

/// The quirks of a device.
pub fn of(profile: &Profile) -> Vec<&'static Quirk> {
    ALL.iter().copied().filter(|q| q.pattern.matches(profile)).collect()
}

impl Profile {
    /// Why a kernel is to be avoided on this device, if it is.
    pub fn avoids(&self, kernel: &str) -> Option<&'static str> {
        let entries = self.quirks.iter().flat_map(|q| q.avoid);
        entries.filter(|a| a.kernel == kernel).map(|a| a.why).next()
    }

    /// Why a case of `check`, by its name, is expected to fail on this device, if it is.
    pub fn expects_failure(&self, case: &str) -> Option<&'static str> {
        let entries = self.quirks.iter().flat_map(|q| q.failing);
        entries.filter(|f| case.starts_with(f.cases)).map(|f| f.why).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static QUIRK: Quirk = Quirk {
        pattern: Pattern { backend: Some("vulkan"), driver: "mesa 22", ..Pattern::ANY },
        avoid: &[Avoid { kernel: "matmul.tile", why: "it is slow" }],
        failing: &[Failing { cases: "matmul.tile/f16", why: "it is wrong" }],
        ..Quirk::NONE
    };

    fn profile() -> Profile {
        let mut p = Profile::portable();
        (p.backend, p.driver, p.vendor) = ("vulkan".into(), "llvmpipe Mesa 22.3.6".into(), 0x10005);
        p
    }

    #[test]
    fn a_pattern_is_every_condition_that_it_states() {
        let p = profile();
        assert!(QUIRK.pattern.matches(&p) && Pattern::ANY.matches(&p));
        assert!(Pattern { vendor: Some(0x10005), name: "PORT", ..QUIRK.pattern }.matches(&p));
        for other in [
            Pattern { vendor: Some(1), ..QUIRK.pattern },
            Pattern { device: Some(1), ..QUIRK.pattern },
            Pattern { backend: Some("gl"), ..QUIRK.pattern },
            Pattern { name: "nvidia", ..QUIRK.pattern },
            Pattern { driver: "mesa 26", ..QUIRK.pattern },
        ] {
            assert!(!other.matches(&p), "{other:?}");
        }
    }

    #[test]
    fn a_profile_answers_for_its_quirks_and_no_other() {
        let mut p = profile();
        assert_eq!((p.avoids("matmul.tile"), p.expects_failure("matmul.tile/f16.f16/x")), (None, None));
        p.quirks.push(&QUIRK);
        assert_eq!((p.avoids("matmul.tile"), p.avoids("matmul.tile_small")), (Some("it is slow"), None));
        assert_eq!(p.expects_failure("matmul.tile/f16.f16/plain/M=1/random"), Some("it is wrong"));
        assert_eq!(p.expects_failure("matmul.tile/f32.f32/plain/M=1/random"), None);
    }

    /// An entry about a kernel or a case that is not there any more is dead.
    #[test]
    fn every_entry_is_about_something_there_is() {
        let names: Vec<String> = crate::check::cases().iter().map(ToString::to_string).collect();
        for quirk in ALL {
            assert_ne!(quirk.pattern, Pattern::ANY, "a quirk of every device is a bug of ours");
            for Avoid { kernel, why } in quirk.avoid {
                let kernels = crate::ops::ALL.iter().flat_map(|op| op.kernels);
                assert!(kernels.clone().any(|k| k.name == *kernel), "{kernel}");
                assert!(why.len() > 20 && !why.ends_with('.'), "{kernel}: {why}");
            }
            for Failing { cases, why } in quirk.failing {
                // What others made is not here to look at; what passes after all is news there too.
                let outside = cases.starts_with("gguf/");
                assert!(outside || names.iter().any(|n| n.starts_with(cases)), "{cases}");
                assert!(why.len() > 20 && !why.ends_with('.'), "{cases}: {why}");
            }
        }
    }
}
