//! Decoders of every family: they plan, on a device their steps are what references say, and however a text is
//! split into calls it is the same.

use decoders::config::Family;
use decoders::session::Options;
use decoders::{Config, Decoder, Draw, Model, Session, Shape, Tokens};
use tachylite::check::{self, Case, Event, GraphCase, Inputs, Status, Subject};
use tachylite::plan::{Policy, plan};
use tachylite::rng::Rng;
use tachylite::{DType, Gpu, Graph, Profile};

mod common;

use common::{FAMILIES, on_mesa22, options, tiny};

fn shape(batch: usize, tokens: Tokens) -> Shape {
    Shape { batch, tokens, positions: 12, cache: DType::F16, draw: None }
}

#[test]
fn every_family_plans_for_the_portable_device_and_the_most_capable() {
    for (family, dtype) in FAMILIES {
        for tokens in [Tokens::One, Tokens::UpTo(32)] {
            let decoder = tiny(family, dtype).decoder(shape(2, tokens)).unwrap();
            for profile in [Profile::portable(), Profile::capable()] {
                let made = plan(&decoder.graph, &profile, &Policy::default()).unwrap();
                assert!(made.outputs.iter().any(|p| p.name == "next"), "{family:?}");
            }
        }
    }
}

/// A graph case of a small model: a fourth of a prompt, or a step.
const fn case<const FAMILY: usize>(name: &'static str, one: bool) -> GraphCase {
    let calls: &[&[(&str, f64)]] = match (FAMILY, one) {
        (5, true) => &[&[]],
        (5, false) => &[&[("S", 5.0)]],
        (_, true) => &[&[("at", 7.0)]],
        (_, false) => &[&[("at", 3.0), ("S", 5.0)]],
    };
    let build = if one { build::<FAMILY, true> } else { build::<FAMILY, false> };
    GraphCase { name, build, calls, fill: fill::<FAMILY> }
}

fn built<const FAMILY: usize>(one: bool) -> Decoder {
    let tokens = if one { Tokens::One } else { Tokens::UpTo(8) };
    let (family, dtype) = FAMILIES[FAMILY];
    // Over two layers and several tokens what may become of a recurrence is past every number.
    let layers = if family == Family::Rwkv7 && !one { 1 } else { 3 };
    let config = Config::tiny(family).shortened(layers);
    Model::random(config, dtype, 5).decoder(shape(2, tokens)).unwrap()
}

fn build<const FAMILY: usize, const ONE: bool>(g: &mut Graph, _: DType) -> tachylite::Result<()> {
    *g = built::<FAMILY>(ONE).graph;
    Ok(())
}

/// Tokens, lengths and rows of this call; what weights of the graph's own are, and gains near 1.
fn fill<const FAMILY: usize>(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let n: usize = shape.iter().product();
    match name {
        "ids" => Some((0..n).map(|_| rng.below(300) as f64).collect()),
        "lengths" => Some(vec![8.0; n]),
        "last" => Some((1..=n).map(|b| (b * 5 - 1) as f64).collect()),
        _ if name.contains("norm") && name.ends_with("weight") => {
            Some((0..n).map(|_| 1.0 + rng.signed() / 4.0).collect())
        }
        // So small that products do not grow: else decays are so uncertain that nothing follows from them.
        _ if FAMILY == 5 && name.starts_with("blk") => {
            let most = (3.0 / shape[shape.len() - 1] as f64).sqrt();
            Some((0..n).map(|_| most * rng.signed()).collect())
        }
        _ => built::<FAMILY>(true).own.get(name).map(tachylite::Tensor::to_f64),
    }
}

static CASES: [GraphCase; 8] = [
    case::<0>("decoder.llama", true),
    case::<1>("decoder.qwen3", true),
    case::<2>("decoder.qwen3_moe", true),
    case::<3>("decoder.gemma_2", true),
    case::<4>("decoder.gemma_3", true),
    case::<5>("decoder.rwkv_7", true),
    case::<4>("decoder.gemma_3_prompt", false),
    case::<5>("decoder.rwkv_7_prompt", false),
];

fn checked(graph: &'static GraphCase) -> Case {
    let subject = Subject::Graph { graph, dtype: DType::F32, call: 0 };
    Case { subject, inputs: Inputs::Random, aliased: false, quick: false }
}

/// Every step against the references of its nodes, given the device's own inputs; and buffers that are used again
/// against such that are not. End to end the allowance of several layers allows anything.
fn steps_are_what_references_say(test: &str, cases: &'static [GraphCase]) {
    on_mesa22(test, |gpu| {
        let cases: Vec<Case> = cases.iter().map(checked).collect();
        let mut passed = 0;
        check::run(gpu, &cases, None, &mut |event| {
            let Event::End(case, outcome) = event else { return };
            assert!(outcome.status == Status::Pass, "{case}: {:?} {:?}", outcome.status, outcome.failures);
            assert!(outcome.elements > 1000, "{case}: {}", outcome.elements);
            passed += 1;
        });
        assert_eq!(passed, cases.len());
    });
}

#[test]
fn steps_of_transformers_are_what_references_say() {
    steps_are_what_references_say("steps_of_transformers", &CASES[..2]);
}

#[test]
fn steps_of_a_mixture_of_experts_are_what_references_say() {
    steps_are_what_references_say("steps_of_a_mixture_of_experts", &CASES[2..3]);
}

#[test]
fn steps_of_gemma_are_what_references_say() {
    steps_are_what_references_say("steps_of_gemma", &CASES[3..5]);
}

#[test]
fn steps_of_rwkv_7_are_what_references_say() {
    steps_are_what_references_say("steps_of_rwkv_7", &CASES[5..6]);
}

#[test]
fn steps_of_prompts_are_what_references_say() {
    steps_are_what_references_say("steps_of_prompts", &CASES[6..]);
}

#[test]
fn a_broken_kernel_shows_in_a_decoder() {
    on_mesa22("a_broken_kernel_shows_in_a_decoder", |gpu| {
        let mut failed = false;
        let break_rope = |plan: &mut tachylite::Plan| {
            for kernel in plan.kernels.iter_mut().filter(|k| k.name.starts_with("rope")) {
                kernel.wgsl = kernel.wgsl.replace("- other * turned.sine", "+ other * turned.sine");
            }
        };
        check::run_altered(gpu, &[checked(&CASES[0])], None, &break_rope, &mut |event| {
            let Event::End(_, outcome) = event else { return };
            failed = outcome.status == Status::Fail;
        });
        assert!(failed);
    });
}

/// Each layer that a model has more takes so many dispatches more; and so does the first, which in an RWKV-7 has
/// no other's values.
#[test]
fn a_layer_decodes_in_few_dispatches() {
    for (name, expected) in [("llama-3.2-1b", 7), ("qwen3-0.6b", 9), ("rwkv7-0.4b", 8)] {
        let steps = |profile: &Profile, layers: usize| {
            let config = Config::named(name).unwrap().shortened(layers);
            let model = Model::random(config, DType::Q8_0, 1);
            let shape = Shape { positions: 4096, ..shape(1, Tokens::One) };
            let decoder = model.decoder(shape).unwrap();
            plan(&decoder.graph, profile, &Policy::default()).unwrap().steps.len()
        };
        for profile in [Profile::portable(), Profile::capable()] {
            let [one, two, three] = [1, 2, 3].map(|layers| steps(&profile, layers));
            assert_eq!(three - two, expected, "{name} on {}", profile.name);
            assert_eq!(two - one, expected, "{name} on {}", profile.name);
            // Tokens to vectors, their norm in an RWKV-7, a norm at the end, logits and the likeliest.
            assert!(one - expected <= 5, "{name} on {}: {one}", profile.name);
        }
    }
}

/// A prompt of two sequences: ten tokens of each, more than a chunk, and past Gemma's window.
fn prompt(each: usize) -> Vec<u32> {
    (0..2u32).flat_map(|b| (0..each as u32).map(move |i| (i * 37 + b * 101 + 11) % 320)).collect()
}

/// Some tokens of each sequence of a prompt.
fn part(prompt: &[u32], range: std::ops::Range<usize>) -> Vec<u32> {
    prompt.chunks_exact(prompt.len() / 2).flat_map(|row| row[range.clone()].to_vec()).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|v| v.to_bits()).collect()
}

/// Tokens of a sequence: past a tile of keys of every kernel of attention.
const LONG: usize = 70;

/// However a text is split, and whatever came after it before, its logits are the same bits.
fn splits_and_detours_change_nothing(family: Family, dtype: DType) {
    on_mesa22(&format!("splits_and_detours_change_nothing {family:?}"), |gpu| {
        let model = tiny(family, dtype);
        let mut session = Session::new(gpu, &model, &Options { positions: LONG + 2, ..options(2) }).unwrap();
        let all = prompt(LONG);
        session.prefill(&all).unwrap();
        let whole = session.logits().unwrap();
        assert!(whole.iter().all(|v| v.is_finite()) && whole.iter().any(|v| v.abs() > 0.1), "{family:?}");

        session.reset();
        session.prefill(&part(&all, 0..LONG - 3)).unwrap();
        for i in LONG - 3..LONG {
            session.give(&part(&all, i..i + 1)).unwrap();
            session.step().unwrap();
        }
        assert_eq!(bits(&session.logits().unwrap()), bits(&whole), "{family:?}: prompt, then 3 steps");

        // From five positions before the end five tokens of their own, then back two, where others were.
        session.reset();
        session.prefill(&part(&all, 0..LONG - 5)).unwrap();
        let mut saved = None;
        for i in 0..5 {
            if i == 2 {
                saved = Some(session.save());
            }
            let token = if i < 2 { part(&all, LONG - 5 + i..LONG - 4 + i) } else { vec![300 - i as u32; 2] };
            session.give(&token).unwrap();
            session.step().unwrap();
        }
        assert_ne!(bits(&session.logits().unwrap()), bits(&whole));
        if family == Family::Rwkv7 {
            assert!(session.rewind(LONG - 3).is_err());
            session.restore(&saved.unwrap()).unwrap();
        } else {
            session.rewind(LONG - 3).unwrap();
        }
        for i in LONG - 3..LONG {
            session.give(&part(&all, i..i + 1)).unwrap();
            session.step().unwrap();
        }
        assert_eq!(bits(&session.logits().unwrap()), bits(&whole), "{family:?}: after a detour");
        assert_eq!(session.position(), LONG);

        // A state is whole wherever it comes back to; caches are not, once others were written over them.
        let saved = session.save();
        session.reset();
        session.prefill(&part(&all, 3..8)).unwrap();
        if family == Family::Rwkv7 {
            session.restore(&saved).unwrap();
            assert_eq!(session.position(), LONG);
        } else {
            let text = session.restore(&saved).unwrap_err().to_string();
            let says = format!("the caches do not hold, or no longer, the {LONG} positions that were saved");
            assert_eq!(text, says);
            let mut other =
                Session::new(gpu, &model, &Options { positions: LONG + 2, ..options(2) }).unwrap();
            let (here, there) = (session.save(), other.save());
            assert!(session.restore(&here).is_ok() && session.restore(&there).is_err(), "{family:?}");
        }
    });
}

#[test]
fn splits_and_detours_change_nothing_of_qwen_3() {
    splits_and_detours_change_nothing(Family::Qwen3, DType::Q4K);
}

#[test]
fn splits_and_detours_change_nothing_of_gemma_2() {
    splits_and_detours_change_nothing(Family::Gemma2, DType::F32);
}

#[test]
fn splits_and_detours_change_nothing_of_llama() {
    splits_and_detours_change_nothing(Family::Llama, DType::Q8_0);
}

#[test]
fn splits_and_detours_change_nothing_of_gemma_3() {
    splits_and_detours_change_nothing(Family::Gemma3, DType::Q4_0);
}

#[test]
fn splits_and_detours_change_nothing_of_a_mixture_of_experts() {
    splits_and_detours_change_nothing(Family::Qwen3Moe, DType::Q6K);
}

#[test]
fn splits_and_detours_change_nothing_of_rwkv_7() {
    splits_and_detours_change_nothing(Family::Rwkv7, DType::F32);
}

/// What two sequences go on with in six steps.
fn drawn(gpu: &Gpu, model: &Model, draw: Option<Draw>) -> Vec<u32> {
    let mut session = Session::new(gpu, model, &Options { draw, ..options(2) }).unwrap();
    session.prefill(&prompt(5)).unwrap();
    let mut out = session.next_tokens().unwrap();
    for _ in 0..6 {
        session.step().unwrap();
        out.extend(session.next_tokens().unwrap());
    }
    out
}

#[test]
fn tokens_are_drawn_by_seed_and_position() {
    on_mesa22("tokens_are_drawn_by_seed_and_position", |gpu| {
        for (family, dtype) in [(Family::Llama, DType::Q8_0), (Family::Rwkv7, DType::F32)] {
            let model = tiny(family, dtype);
            let with = |temperature, top_k, seed| {
                drawn(gpu, &model, Some(Draw { temperature, top_k, top_p: 1.0, min_p: 0.0, seed }))
            };
            let tokens = with(3.0, 0, 7);
            assert_eq!(with(3.0, 0, 7), tokens, "{family:?}");
            assert_ne!(with(3.0, 0, 8), tokens, "{family:?}");
            assert!(tokens.iter().all(|t| *t < 320), "{tokens:?}");
            assert_eq!(with(3.0, 1, 7), drawn(gpu, &model, None), "{family:?}: of one there is no choice");
        }
    });
}

#[test]
fn what_does_not_go_is_said() {
    on_mesa22("what_does_not_go_is_said", |gpu| {
        let model = tiny(Family::Llama, DType::Q8_0);
        let mut session = Session::new(gpu, &model, &options(2)).unwrap();
        let said = |r: decoders::Result<()>| r.unwrap_err().to_string();
        assert_eq!(said(session.prefill(&[1, 2, 3])), "3 tokens were given for 2 sequences");
        assert_eq!(said(session.prefill(&[1, 320])), "token 320 is past the 320 of the vocabulary");
        assert_eq!(said(session.give(&[1])), "1 tokens for 2 sequences");
        let long = vec![0; 50];
        assert_eq!(
            said(session.prefill(&long)),
            "25 more tokens after 0 are more than the 24 positions there are"
        );
    });
}
