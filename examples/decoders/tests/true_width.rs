//! Decoders against a plain forward pass in f64, a token at a time: how far off logits are, beside what the same
//! pass in f32 is; and every step of the plan judged on what a text makes of its inputs.
//!
//! Small models of each family run always, and one at its true width. The others take minutes on a processor:
//!
//!     cargo test --workspace --test true_width -- --include-ignored --nocapture --test-threads 1

use decoders::config::Family;
use decoders::session::Options;
use decoders::{Config, Model, Session, Shape, Tokens};
use tachylite::check::{Fill, Machine, Walk};
use tachylite::gpu::Executable;
use tachylite::plan::Policy;
use tachylite::plan::prepare::Weights;
use tachylite::{Call, DType, Gpu, Plan, Profile, Tensor};

mod common;
mod forward;

use common::{FAMILIES, on_mesa22};
use forward::{Forward, InEight, Numbers, forward};

/// Tokens that a model is given.
const STEPS: usize = 64;

/// A model of two layers at its true width, with few tokens to choose from; and 64 experts instead of 128, because
/// software devices bind no more than 128 MiB at once.
fn two_layers(name: &str, dtype: DType) -> Model {
    let mut config = Config::named(name).unwrap().shortened(2);
    match &mut config {
        Config::Transformer(t) => {
            t.vocabulary = 512;
            t.experts.iter_mut().for_each(|e| e.count = 64);
        }
        Config::Rwkv7(r) => r.vocabulary = 512,
    }
    Model::random(config, dtype, 21)
}

/// The tokens of a text, of which none follows from another.
fn text(steps: usize, vocabulary: usize) -> Vec<u32> {
    let mut rng = tachylite::rng::Rng::new(64);
    (0..steps).map(|_| rng.below(vocabulary as u64) as u32).collect()
}

/// Logits after each token of a text.
type Logits = Vec<Vec<f64>>;

/// One sequence; caches in f32, as those of the forward passes are.
fn options(positions: usize) -> Options {
    Options { batch: 1, chunk: 32, positions, cache: DType::F32, ..Options::default() }
}

/// What a session on the device makes of a text, token by token; and of all of it as a prompt, in chunks.
fn on_device(gpu: &Gpu, model: &Model, text: &[u32]) -> (Logits, Vec<f64>) {
    let mut session = Session::new(gpu, model, &options(text.len())).unwrap();
    let mut step = |id: &u32| -> Vec<f64> {
        session.give(&[*id]).unwrap();
        session.step().unwrap();
        session.logits().unwrap().into_iter().map(f64::from).collect()
    };
    let logits = text.iter().map(&mut step).collect();
    session.reset();
    session.prefill(text).unwrap();
    let prompt = session.logits().unwrap();
    (logits, prompt.into_iter().map(f64::from).collect())
}

/// The shape of the decode plan.
fn shape(positions: usize) -> Shape {
    Shape { batch: 1, tokens: Tokens::One, positions, cache: DType::F32, draw: None }
}

/// The forward pass in f64, in f32, and in f32 with sums in eight parts.
fn on_processor(model: &Model, text: &[u32]) -> [Logits; 3] {
    let decoder = model.decoder(shape(text.len())).unwrap();
    let all = model.with_weights(&decoder, |store| {
        let numbers = Numbers::new(store);
        let config = model.config();
        let passes: [Box<dyn Forward>; 3] = [
            forward::<f64>(config, &numbers),
            forward::<f32>(config, &numbers),
            forward::<InEight>(config, &numbers),
        ];
        Ok(passes.map(|mut pass| {
            let logits = text.iter().map(|id| pass.token(*id)).collect();
            // Scores are off by some 1e-6. Nearer than this another pass may rightly meet other experts, of whose
            // logits nothing would follow.
            assert!(pass.margin() > 1e-5, "experts are chosen by {:e}", pass.margin());
            logits
        }))
    });
    all.unwrap()
}

/// The largest error of a logit in each step.
fn largest(got: &Logits, want: &Logits) -> Vec<f64> {
    let step = |(got, want): (&Vec<f64>, &Vec<f64>)| {
        assert_eq!(got.len(), want.len());
        got.iter()
            .zip(want)
            .fold(0.0, |m: f64, (g, w)| if (g - w).is_nan() { f64::NAN } else { m.max((g - w).abs()) })
    };
    got.iter().zip(want).map(step).collect()
}

/// The root of the mean of all squares of errors.
fn typical(got: &Logits, want: &Logits) -> f64 {
    let errors = || got.iter().flatten().zip(want.iter().flatten()).map(|(g, w)| (g - w) * (g - w));
    (errors().sum::<f64>() / errors().count() as f64).sqrt()
}

/// Errors of logits over all steps of a text: the largest, and the root of the mean square.
struct Errors {
    by_step: Vec<f64>,
    most: f64,
    rms: f64,
}

impl Errors {
    fn of(got: &Logits, want: &Logits) -> Self {
        let by_step = largest(got, want);
        let most = by_step.iter().fold(0.0, |m: f64, e| if e.is_nan() { *e } else { m.max(*e) });
        Self { most, rms: typical(got, want), by_step }
    }

    /// Ratios to another's: of the largest, of the roots of mean squares, and the worst of the largest of a step.
    fn over(&self, other: &Self) -> [f64; 3] {
        let worst = self.by_step.iter().zip(&other.by_step).map(|(a, b)| a / b).fold(0.0, f64::max);
        [self.most / other.most, self.rms / other.rms, worst]
    }
}

/// End to end, over all steps of a text, the largest error of a logit is at most four times that of the forward
/// pass in f32, and so is the root of the mean square. What they are beside a pass that adds up in eight parts is
/// printed, and no bound: where terms have mostly one sign (a token's own logit, where the table is the last
/// matrix too; codes whose mean is not 0) one sum after the other, which the plain pass and a device that is a
/// processor form, is off several times more. Nor are steps compared one by one: of one step the largest error of
/// either side is chance, and a ratio of two is large now and then.
fn near_as_f32(gpu: &Gpu, name: &str, model: &Model, steps: usize) -> Logits {
    let text = text(steps, model.config().vocabulary());
    let [wide, plain, in_eight] = on_processor(model, &text);
    let (logits, prompt) = on_device(gpu, model, &text);
    let of_prompt = Errors::of(&vec![prompt], &wide[steps - 1..].to_vec());
    let [ours, plain, in_eight] = [&logits, &plain, &in_eight].map(|l| Errors::of(l, &wide));
    let size = wide.iter().flatten().fold(0.0, |m: f64, v| m.max(v.abs()));
    let ([most, rms, worst], [most_8, rms_8, worst_8]) = (ours.over(&plain), ours.over(&in_eight));
    println!(
        "{name}: {steps} steps, logits up to {size:.2}; error at most {:.2e}, rms {:.2e}; to f32's: at most \
         {most:.2}, rms {rms:.2}, one step at worst {worst:.2}; to f32's in eight parts: {most_8:.2}, {rms_8:.2}, \
         {worst_8:.2}",
        ours.most, ours.rms
    );
    assert!(of_prompt.most <= 4.0 * plain.most, "{name}: {:e}, as a prompt", of_prompt.most);
    assert!(size > 0.1 && plain.most > 0.0, "{name}: {size} {}", plain.most);
    assert!(most <= 4.0 && rms <= 4.0, "{name}: {:e} and {:e}", ours.most, ours.rms);
    logits
}

/// Some calls of the decode plan on a text: each step of these is within its allowance, given the device's own
/// inputs, and their logits are the session's, bit for bit.
fn every_step_passes(gpu: &Gpu, name: &str, model: &Model, at: &[usize], session: &Logits) {
    let text = text(session.len(), model.config().vocabulary());
    let decoder = model.decoder(shape(text.len())).unwrap();
    let weights = all_weights(model, &decoder);
    let mut walk = Walk::new(gpu, &decoder.graph, &weights, &options(text.len()).policy).unwrap();
    drop(weights);
    let (mut elements, mut worst) = (0, 0f64);
    for (i, id) in text.iter().enumerate().take(at.iter().max().map_or(0, |last| last + 1)) {
        let dims: Vec<_> = walk.plan().scalars.iter().map(|s| (s.name.as_str(), i as f64)).collect();
        let call: Call = walk.plan().call(&dims).unwrap();
        let u32s = |v: u32| Tensor::from_u32(&[1], &[v]).unwrap();
        let inputs = Weights::from([
            ("ids".to_owned(), Tensor::from_u32(&[1, 1], &[*id]).unwrap()),
            ("lengths".to_owned(), u32s(i as u32 + 1)),
        ]);
        let outputs = if at.contains(&i) {
            let judged = walk.judged(&call, &inputs).unwrap();
            assert!(judged.failures.is_empty(), "{name}, token {i}: {:?}", judged.failures);
            (elements, worst) = (elements + judged.elements, worst.max(judged.worst));
            judged.outputs
        } else {
            walk.call(&call, &inputs).unwrap()
        };
        assert_eq!(outputs["logits"].to_f64(), session[i], "{name}, token {i}: with buffers of their own");
    }
    let steps = walk.plan().steps.len();
    println!(
        "{name}: {} tokens of {steps} steps, {elements} elements judged, worst {worst:.3} of its allowance",
        at.len()
    );
    assert!(elements > 1000 * at.len());
}

/// Every weight of a graph.
fn all_weights(model: &Model, decoder: &decoders::Decoder) -> Weights {
    let all = model.with_weights(decoder, |store| {
        let weights = decoder.graph.values().iter().filter(|v| v.source == tachylite::graph::Source::Weight);
        let read = |v: &tachylite::graph::Value| {
            let (dtype, shape) = store.about(&v.name)?.unwrap();
            let bytes = shape.iter().product::<usize>() / dtype.block() * dtype.block_bytes();
            let bytes = store.bytes(&v.name, 0..bytes as u64)?;
            Ok((v.name.clone(), Tensor::new(dtype, &shape, bytes.as_ref())?))
        };
        weights.map(read).collect()
    });
    all.unwrap()
}

fn small(test: &str, family: Family) {
    on_mesa22(test, |gpu| {
        near_as_f32(gpu, &format!("{family:?}, small"), &common::tiny(family, DType::F16), 24);
    });
}

fn at_true_width(test: &str, name: &str, dtype: DType, judged: &[usize]) {
    on_mesa22(test, |gpu| {
        let model = two_layers(name, dtype);
        let logits = near_as_f32(gpu, name, &model, STEPS);
        every_step_passes(gpu, name, &model, judged, &logits);
    });
}

#[test]
fn small_models_are_near_as_f32_is() {
    for (family, _) in FAMILIES {
        small("small_models_are_near_as_f32_is", family);
    }
}

/// A device that runs other texts than those that were planned.
struct Broken<'a>(&'a Gpu);

impl Machine for Broken<'_> {
    type Loaded = Executable;

    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn load(&self, plan: &Plan, weights: &Weights, guard: u64) -> tachylite::Result<Executable> {
        let mut plan = plan.clone();
        for kernel in plan.kernels.iter_mut().filter(|k| k.name.starts_with("rwkv7")) {
            kernel.wgsl = kernel.wgsl.replace("keys[j4] = learnt", "keys[j4] = key");
        }
        Machine::load(self.0, &plan, weights, guard)
    }

    fn run(
        &self,
        loaded: &mut Executable,
        call: &Call,
        fills: &[(usize, Fill<'_>)],
        reads: &[usize],
    ) -> tachylite::Result<Vec<Vec<u8>>> {
        self.0.run(loaded, call, fills, reads)
    }
}

#[test]
fn a_broken_kernel_is_named_with_the_step() {
    on_mesa22("a_broken_kernel_is_named_with_the_step", |gpu| {
        let model = common::tiny(Family::Rwkv7, DType::F16);
        let decoder = model.decoder(shape(4)).unwrap();
        let weights = all_weights(&model, &decoder);
        let inputs = Weights::from([("ids".to_owned(), Tensor::from_u32(&[1, 1], &[7]).unwrap())]);
        let mut whole = Walk::new(gpu, &decoder.graph, &weights, &Policy::default()).unwrap();
        assert_eq!(whole.judged(&Call::default(), &inputs).unwrap().failures, []);
        let broken = Broken(gpu);
        let mut walk = Walk::new(&broken, &decoder.graph, &weights, &Policy::default()).unwrap();
        let said: Vec<String> =
            walk.judged(&Call::default(), &inputs).unwrap().failures.into_iter().map(|f| f.what).collect();
        assert!(!said.is_empty() && said.iter().all(|s| s.contains("(rwkv7.heads)")), "{said:?}");
    });
}

#[test]
fn qwen3_at_true_width() {
    at_true_width("qwen3_at_true_width", "qwen3-0.6b", DType::F16, &[1, STEPS - 1]);
}

/// Every token of the text is judged, step by step of the plan.
fn every() -> Vec<usize> {
    (0..STEPS).collect()
}

#[test]
#[ignore = "takes minutes to an hour: by hand, as benches/log.md says"]
fn qwen3_at_true_width_every_token() {
    at_true_width("qwen3_at_true_width_every_token", "qwen3-0.6b", DType::F16, &every());
}

#[test]
#[ignore = "takes minutes to an hour: by hand, as benches/log.md says"]
fn llama_at_true_width() {
    at_true_width("llama_at_true_width", "llama-3.2-1b", DType::F16, &every());
}

#[test]
#[ignore = "takes minutes to an hour: by hand, as benches/log.md says"]
fn gemma_3_at_true_width() {
    at_true_width("gemma_3_at_true_width", "gemma-3-1b", DType::F16, &every());
}

/// In blocks of four bits: one buffer holds gates and others of all experts.
#[test]
#[ignore = "takes minutes to an hour: by hand, as benches/log.md says"]
fn a_mixture_of_64_experts_at_true_width() {
    at_true_width("a_mixture_of_64_experts_at_true_width", "qwen3-30b-a3b", DType::Q4_0, &every());
}

#[test]
#[ignore = "takes minutes to an hour: by hand, as benches/log.md says"]
fn rwkv_7_at_true_width() {
    at_true_width("rwkv_7_at_true_width", "rwkv7-0.4b", DType::F16, &every());
}
