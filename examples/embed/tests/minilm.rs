//! The published model on the conformance sentences, on `cpu` and on every adapter: its numbers, its
//! bits whatever shares a batch, and its plan.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use embed::compare::{self, Comparison};
use embed::model::{HIDDEN, LAYERS};
use embed::{Encoder, Model, Options, WeightType, encoder, graph, measure, search};
use tachylite::files::{Encoding, GgufWriter, TensorSpec};
use tachylite::plan::Policy;
use tachylite::rng::Rng;
use tachylite::{DType, Gpu, Profile};

mod common;

use common::{Case, say, suite};

/// Each way in which a plan may differ.
const PLANNED: [WeightType; 6] = [
    WeightType::F32,
    WeightType::F16,
    WeightType::INT8,
    WeightType::Q8_0,
    WeightType::of(DType::Q4K),
    WeightType::Q8_0.with_tables(DType::Q4_0),
];

/// Tokens that every sentence but the long one keeps to.
const SHORT: usize = 64;

/// The adapters; one that several backends reach only through the best of them.
fn adapters(test: &str) -> Vec<Profile> {
    let mut adapters: Vec<Profile> = Vec::new();
    for adapter in Gpu::adapters_blocking() {
        if adapters.iter().all(|a| a.name != adapter.name) {
            adapters.push(adapter);
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
        assert!(
            !required.contains("mesa22"),
            "{test}: TACHYLITE_REQUIRE asks for mesa22, but there is no adapter"
        );
        say(&format!("SKIPPED {test} on a GPU (no adapter)"));
    }
    adapters
}

fn name(adapter: &Profile) -> String {
    format!("{}:{}", adapter.backend, adapter.name)
}

fn open(folder: &Path) -> Model {
    Model::open(folder).unwrap_or_else(|e| panic!("{e}"))
}

fn encoder(folder: &Path, options: &Options) -> Encoder {
    Encoder::new(open(folder), options).unwrap_or_else(|e| panic!("{}: {e}", options.device))
}

/// The worst component's error, and the least cosine.
fn compare(rows: &[Vec<f32>], expected: &[&Vec<f64>]) -> (f64, f64) {
    let (mut worst, mut cosine) = (0f64, 1f64);
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!((row.len(), expected.len()), (HIDDEN, HIDDEN));
        let errors = row.iter().zip(*expected).map(|(a, b)| (f64::from(*a) - b).abs());
        worst = errors.fold(worst, f64::max);
        let expected: Vec<_> = expected.iter().map(|v| *v as f32).collect();
        cosine = cosine.min(search::cosine(row, &expected));
    }
    (worst, cosine)
}

/// Sentences that `cpu` is asked for where it has been asked for all elsewhere: all take it half a minute.
const FEW: usize = 4;

/// Encodes the sentences on every device, few of them on `cpu`, and judges (worst error, least cosine) by `right`.
fn judge(
    test: &str,
    weights: WeightType,
    expected: fn(&Case) -> &Vec<f64>,
    right: impl Fn(f64, f64) -> bool,
) {
    judge_on("cpu", FEW, test, weights, expected, &right);
    for adapter in adapters(test) {
        judge_on(&name(&adapter), usize::MAX, test, weights, expected, &right);
    }
}

/// [`judge`] on one device, of at most so many sentences.
fn judge_on(
    device: &str,
    most: usize,
    test: &str,
    weights: WeightType,
    expected: fn(&Case) -> &Vec<f64>,
    right: &impl Fn(f64, f64) -> bool,
) {
    let Some((folder, cases)) = suite(test) else { return };
    let cases = &cases[..most.min(cases.len())];
    let mut encoder = encoder(&folder, &Options { device: device.into(), weights, ..Options::default() });
    let texts: Vec<_> = cases.iter().map(|c| c.text.as_str()).collect();
    let rows = encoder.encode(&texts, |_| {}).unwrap();
    let (worst, cosine) = compare(&rows, &cases.iter().map(expected).collect::<Vec<_>>());
    let device = encoder.device();
    let found =
        format!("{test}: {} sentences, worst error {worst:.1e}, least cosine {cosine:.6}", rows.len());
    say(&format!("{found} on {device}"));
    assert!(right(worst, cosine), "{found} on {device}");
}

#[test]
fn f32_weights_give_the_published_embeddings() {
    for adapter in adapters("f32") {
        judge_on(&name(&adapter), usize::MAX, "f32", WeightType::F32, |c| &c.embedding, &|worst, _| {
            worst <= 1e-5
        });
    }
}

/// All sentences, once: what drivers there are is nothing to `cpu`.
#[test]
fn f32_weights_give_the_published_embeddings_on_cpu() {
    judge_on("cpu", usize::MAX, "f32", WeightType::F32, |c| &c.embedding, &|worst, _| worst <= 1e-5);
}

#[test]
fn f16_weights_point_the_same_way() {
    judge("f16", WeightType::F16, |c| &c.embedding, |_, cosine| cosine >= 0.9999);
}

#[test]
fn q8_0_weights_give_what_q8_0_weights_must() {
    let weights = WeightType::Q8_0.with_tables(DType::F32);
    judge("q8_0", weights, |c| &c.embedding_q8_0, |worst, _| worst <= 1e-4);
}

/// One scale per channel of up to 1536 weights is coarser than one per 32: 0.9965 was measured, of
/// the sentence that has it worst.
#[test]
fn int8_weights_point_nearly_the_same_way() {
    judge("int8", WeightType::INT8, |c| &c.embedding, |_, cosine| cosine >= 0.995);
}

/// On the best adapter, by the program's own sentences. What is asked for is the types' own: `Q8_0` of ggml's
/// quantiser loses more on this small model than `--feedback` leaves.
#[test]
fn types_cost_what_the_table_says() {
    let test = "compare";
    let Some((folder, _)) = suite(test) else { return };
    let Some(adapter) = adapters(test).into_iter().next() else { return };
    let gpu = Gpu::open_blocking(&name(&adapter)).unwrap();
    let what = Comparison { types: compare::parse("q4_k").unwrap(), rounds: 1 };
    let options = Options::default();
    let rows =
        compare::compare(&gpu, &open(&folder), &options, &what, &compare::SENTENCES, &mut |_| {}).unwrap();
    say(&format!("{test}: {}", compare::table(&gpu, &rows, compare::SENTENCES.len(), what.rounds)));
    // q8_0 is in README's table and has a test of its own; each type takes half a minute here.
    let [f32, q4_k] = &rows[..] else { panic!("{rows:?}") };
    assert!(f32.cosine_least > 0.999_999 && f32.feedback.is_none());
    assert!(q4_k.cosine_mean >= 0.99 && q4_k.feedback.unwrap()[0] >= 0.99, "{q4_k:?}");
    assert_eq!(q4_k.matrices, "6 q4_k, 30 q5_0");
    for row in &rows {
        // Rows of words fill 128 columns up, and every tensor 16 bytes; nothing else is added.
        assert!(row.device_bytes as f64 <= 1.02 * row.file_bytes as f64, "{row:?}");
    }
}

/// A file of blocks is read as what it holds.
#[test]
fn a_gguf_file_holds_the_same_weights() {
    let Some((folder, _)) = suite("gguf") else { return };
    let model = open(&folder);
    let made = model.weights(WeightType::of(DType::Q4K).with_tables(DType::Q8_0), None).unwrap();
    let spec = |(name, t): (&String, &tachylite::Tensor)| TensorSpec {
        name: name.clone(),
        encoding: Encoding::by_name(t.dtype().name()).unwrap(),
        shape: t.shape().to_vec(),
    };
    let specs: Vec<_> = made.iter().map(spec).collect();
    let place = std::env::temp_dir().join(format!("embed-gguf-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(folder.join("tokenizer.json"), place.join("tokenizer.json")).unwrap();
    let mut file = GgufWriter::create(&place.join("model.gguf"), &[], &specs).unwrap();
    made.values().for_each(|t| file.write(&t.to_bytes()).unwrap());
    file.finish().unwrap();
    let read = open(&place);
    assert_eq!(read.file_types(WeightType::default())["encoder.layer.0.output.dense.weight"], DType::Q4K);
    let weights = read.weights(WeightType::default(), None).unwrap();
    assert!(weights.keys().eq(made.keys()));
    for (name, t) in &weights {
        assert!((t.dtype(), t.to_bytes()) == (made[name].dtype(), made[name].to_bytes()), "{name}");
    }
    std::fs::remove_dir_all(&place).unwrap();
}

#[test]
fn tokens_are_the_published_ones() {
    let Some((folder, cases)) = suite("tokens") else { return };
    let model = open(&folder);
    for case in cases {
        assert_eq!(model.tokens(&case.text).unwrap(), case.ids, "{:?}", case.text);
    }
}

#[test]
fn batch_invariant_bits_do_not_depend_on_the_batch() {
    let test = "batch_invariant";
    let Some((folder, cases)) = suite(test) else { return };
    for adapter in adapters(test) {
        // One plan takes all but the long sentence at once, whose length all would be padded to; alone,
        // a sentence goes to the smallest plan that takes it.
        let shapes = vec![(1, 16), (2, embed::model::MAX_TOKENS), (cases.len(), SHORT)];
        let options = Options { device: name(&adapter), batch_invariant: true, shapes, ..Options::default() };
        let mut encoder = encoder(&folder, &options);
        let lines: Vec<_> = cases.iter().map(|c| c.ids.as_slice()).collect();
        let alone: Vec<_> =
            lines.iter().map(|l| bits(&encoder.encode_batch(&[l]).unwrap())[0].clone()).collect();
        let short: Vec<_> = (0..lines.len()).filter(|l| lines[*l].len() <= SHORT).collect();
        let rows: Vec<_> = short.iter().map(|l| lines[*l]).collect();
        assert_same(&alone, &bits(&encoder.encode_batch(&rows).unwrap()), &short, "all in one batch");

        let mut rng = Rng::new(Rng::hash(test));
        for batch in random_batches(&mut rng, &lines) {
            let rows: Vec<_> = batch.iter().map(|line| lines[*line]).collect();
            let found = bits(&encoder.encode_batch(&rows).unwrap());
            assert_same(&alone, &found, &batch, &format!("batch {batch:?}"));
        }
        say(&format!("{test}: {} sentences have one set of bits each on {}", lines.len(), encoder.device()));
    }
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
}

fn assert_same(alone: &[Vec<u32>], found: &[Vec<u32>], lines: &[usize], what: &str) {
    for (row, line) in found.iter().zip(lines) {
        assert!(row == &alone[*line], "sentence {line} has other bits than alone: {what}");
    }
}

/// Every line once, shuffled, in batches of 1 to 6. The long one shares a batch with one other line,
/// since its neighbours are padded to it.
fn random_batches(rng: &mut Rng, lines: &[&[u32]]) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..lines.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let (long, mut rest): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|i| lines[*i].len() > SHORT);
    let mut batches: Vec<_> = long.into_iter().map(|line| vec![line, rest.pop().unwrap()]).collect();
    while !rest.is_empty() {
        let size = (1 + rng.below(6) as usize).min(rest.len());
        batches.push(rest.split_off(rest.len() - size));
    }
    batches
}

#[test]
fn fusion_moves_less_and_batch_invariance_has_a_price_that_is_known() {
    let test = "plans";
    let Some((folder, _)) = suite(test) else { return };
    let model = open(&folder);
    for adapter in adapters(test) {
        let gpu = Gpu::open_blocking(&name(&adapter)).unwrap();
        for (batch, runs) in [((1, 8), 9), ((8, 16), 5)] {
            let variants = measure::compare(&gpu, &model, WeightType::F32, batch, runs).unwrap();
            let [fused, plain, invariant] = &variants[..] else { panic!("{variants:?}") };
            say(&format!(
                "{test}: {} x {} tokens on {}: batch-invariant takes {:.2} times as long; not fused {:.2} \
                 times, {} dispatches against {}, {:.1} MB against {:.1}",
                batch.0,
                batch.1,
                name(&adapter),
                invariant.times(fused),
                plain.times(fused),
                plain.plan.steps.len(),
                fused.plan.steps.len(),
                plain.bytes() as f64 / 1e6,
                fused.bytes() as f64 / 1e6,
            ));
            assert!(fused.plan.steps.len() < plain.plan.steps.len());
            assert!(fused.bytes() < plain.bytes());
        }
    }
}

#[test]
fn a_layer_takes_at_most_seven_dispatches() {
    let invariant = Options { batch_invariant: true, ..Options::default() }.policy();
    let mut profiles = adapters("dispatches");
    profiles.push(Profile::portable());
    for (profile, weights) in profiles.iter().flat_map(|p| PLANNED.map(|w| (p, w))) {
        for (policy, (lines, tokens)) in
            [Policy::default(), invariant.clone()].iter().flat_map(|p| encoder::SHAPES.map(|s| (p, s)))
        {
            let graph = graph::encoder(lines, tokens, &weights.published()).unwrap();
            let plan = tachylite::plan::plan(&graph, profile, policy).unwrap();
            // Two nodes before the layers, two more if the word table is looked up by itself; two after them.
            let before = if weights.tables.is_some() { 4 } else { 2 };
            let nodes = (graph.nodes().len() - 2 - before) / LAYERS;
            for layer in 0..LAYERS {
                let of = before + layer * nodes..before + (layer + 1) * nodes;
                let steps = plan.steps.iter().filter(|s| s.nodes.iter().any(|n| of.contains(n))).count();
                assert!(
                    steps <= 7,
                    "{weights:?} {lines}x{tokens} on {}: layer {layer} takes {steps}",
                    profile.name
                );
            }
            // A word table in blocks is a dispatch of its own.
            let most = 7 * LAYERS + 4 + usize::from(weights.tables.is_some());
            assert!(plan.steps.len() <= most, "{} in all", plan.steps.len());
        }
    }
}

/// On `cpu`, which is there wherever this runs.
#[test]
fn the_program_answers_in_order() {
    let Some((folder, cases)) = suite("program") else { return };
    let run = |options: &[&str], input: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embed"));
        command.arg("--model").arg(&folder).args(["--device", "cpu"]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        String::from_utf8(text).unwrap()
    };
    let picked: Vec<_> = [9, 3, 7, 16].map(|i| &cases[i]).into(); // the first of them is empty
    let input = format!("{}\n{}\r\n{}\n{}", picked[0].text, picked[1].text, picked[2].text, picked[3].text);
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"], input.as_bytes())).unwrap();
    let entries = json.as_array().unwrap();
    assert_eq!(entries.len(), picked.len());
    for (entry, case) in entries.iter().zip(&picked) {
        assert_eq!(entry["text"], case.text);
        let row: Vec<_> =
            entry["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert!(compare(&[row], &[&case.embedding]).0 <= 1e-5, "{}", case.text);
    }
    let found = run(&["--query", "eating food", "--top", "2"], input.as_bytes());
    assert!(
        found.lines().count() == 2
            && found.lines().next().unwrap().ends_with("line 2: A man is eating food.")
    );
    assert_eq!(run(&["--json"], b""), "[]\n");
    let said = run(&["--json"], b"one\ntw\xf0\n");
    assert_eq!(said, "embed: line 2 is not UTF-8: its byte 3 is not text\n");
}
