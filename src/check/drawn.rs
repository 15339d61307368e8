//! Cases that no rule makes: combinations of an op's features, drawn by a seed. So what nobody thought of together
//! is met sooner or later, and what failed once is found again by its name.

use super::{Case, Subject};
use crate::ops::attention::drawn::Combination;

/// A drawn combination: which, the last part of a case's name but one says.
#[derive(Debug, Clone, Copy)]
pub struct Drawn(pub(crate) Combination);

/// So many combinations of attention's features, types and sizes, by a seed: `drawn(200, 7)` starts as
/// `drawn(100, 7)` does. Some have more tensors than a device binds.
pub fn drawn(count: u64, seed: u64) -> Vec<Case> {
    (0..count).map(|number| Case::drawn(seed, number)).collect()
}

impl Case {
    /// The combination of this number.
    pub(super) fn drawn(seed: u64, number: u64) -> Self {
        let combination = Combination::draw(seed, number);
        Self {
            subject: Subject::Drawn(Drawn(combination)),
            inputs: combination.inputs,
            aliased: false,
            quick: true,
        }
    }

    /// The case of this name, whose part `drawn=SEED.NUMBER` says which.
    pub(super) fn drawn_named(name: &str) -> Option<Self> {
        let (seed, number) = name.split('/').find_map(|part| part.strip_prefix("drawn="))?.split_once('.')?;
        let case = Self::drawn(seed.parse().ok()?, number.parse().ok()?);
        (case.to_string() == name).then_some(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::attention::ATTENTION;

    #[test]
    fn a_combination_is_found_by_its_name_and_another_seed_draws_others() {
        let names = |count, seed| drawn(count, seed).iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = names(300, 7);
        assert_eq!(all[..100], names(100, 7));
        assert!(names(100, 8).iter().all(|name| !all.contains(name)));
        for name in &all {
            assert_eq!(Case::named(name).map(|c| c.to_string()).as_ref(), Some(name));
        }
        let short = all[0].split(',').next().unwrap();
        assert!(Case::named(short).is_none() && Case::named("a/drawn=7/b").is_none());
    }

    #[test]
    fn everything_that_attention_can_do_is_drawn_and_nothing_takes_long() {
        let cases = drawn(600, 20_261_130);
        let names: Vec<String> = cases.iter().map(ToString::to_string).collect();
        let heads = |n: &str| {
            let of = |axis: &str| n.split(axis).nth(1)?.split(',').next()?.parse::<u64>().ok();
            Some((of(",H=")?, of(",G=")?))
        };
        for each in [1, 2, 3, 4, 8] {
            assert!(names.iter().filter_map(|n| heads(n)).any(|(h, g)| h == g * each), "{each}");
        }
        let widths = [16, 40, 64, 80, 96, 112, 128, 192, 256, 576].map(|n| format!(",D={n},"));
        let others = ["online/f32/", "online/f16/", "split/f32/", "split/f16/", "B=3,", ",S=1,", "S=40,"];
        let features = ["left=", "right=", "causal", "from_start", "from_lengths", "lengths", "softcap"];
        let more = [
            "k_int8",
            "k_q8_0",
            "k_q4_0",
            "v_int8",
            "v_q8_0",
            "v_q4_0",
            "page=3",
            "page=64",
            "slopes",
            "sinks",
            "lse",
            "mask_f32_",
            "mask_f16_",
            "_BHST",
            "/large",
            "/exact",
            "/cancelling",
        ];
        let parts = widths.iter().map(String::as_str).chain(others).chain(features).chain(more);
        for part in parts {
            assert!(names.iter().any(|name| name.contains(part)), "{part}");
        }
        assert!(names.iter().any(|n| n.contains(",T=3") || n.contains(",T=4")));
        for case in &cases {
            let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
            let work =
                (ATTENTION.flops)(&graph.nodes().last().unwrap().axes.sizes(|d| d.constant().unwrap()));
            assert!(work <= 8e6, "{case}: {work}");
        }
    }
}
