//! Models in files are the models that were written there, whatever the files call their tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use decoders::config::Family;
use decoders::names::{self, Place};
use decoders::{Config, Model, Session, Shape, Tokens};
use serde_json::json;
use tachylite::DType;
use tachylite::files::{Encoding, GgufWriter, TensorSpec, Value};

mod common;

const SHAPE: Shape = Shape { batch: 1, tokens: Tokens::One, positions: 8, cache: DType::F16, draw: None };

/// Type, shape and bytes of a tensor.
type Tensor = (DType, Vec<usize>, Vec<u8>);

/// Every weight of a model that a file has, by the graph's name.
fn weights(model: &Model) -> decoders::Result<BTreeMap<String, Tensor>> {
    let decoder = model.decoder(SHAPE)?;
    model.with_weights(&decoder, |store| {
        let mut out = BTreeMap::new();
        for leaf in decoder.leaves() {
            let (dtype, shape) = store.about(&leaf.name)?.unwrap();
            let bytes = shape.iter().product::<usize>() / dtype.block() * dtype.block_bytes();
            let bytes = store.bytes(&leaf.name, 0..bytes as u64)?.into_owned();
            out.insert(leaf.name, (dtype, shape, bytes));
        }
        Ok(out)
    })
}

/// A folder of this process's, empty.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("decoders-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn write_gguf(path: &Path, metadata: &[(&str, Value)], tensors: &[(String, Tensor)]) {
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let spec = |(name, (dtype, shape, _)): &(String, Tensor)| {
        let encoding = Encoding::by_gguf(dtype.ggml_type().unwrap()).unwrap();
        TensorSpec { name: name.clone(), encoding, shape: shape.clone() }
    };
    let specs: Vec<_> = tensors.iter().map(spec).collect();
    let mut writer = GgufWriter::create(path, &metadata, &specs).unwrap();
    tensors.iter().for_each(|(_, (_, _, bytes))| writer.write(bytes).unwrap());
    writer.finish().unwrap();
}

#[test]
fn a_gguf_file_of_qwen3_is_the_model_that_was_written() {
    let random = Model::random(Config::tiny(Family::Qwen3), DType::Q8_0, 9);
    let written = weights(&random).unwrap();
    let tensors: Vec<_> = written.clone().into_iter().collect();
    let (folder, n) = (folder("qwen3"), Value::U32);
    let metadata = [
        ("general.architecture", Value::String("qwen3".into())),
        ("qwen3.block_count", n(2)),
        ("qwen3.embedding_length", n(256)),
        ("qwen3.attention.head_count", n(4)),
        ("qwen3.attention.head_count_kv", n(2)),
        ("qwen3.attention.key_length", n(32)),
        ("qwen3.feed_forward_length", n(256)),
        ("qwen3.rope.freq_base", Value::F32(1e6)),
        ("qwen3.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
    ];
    let path = folder.join("m.gguf");
    write_gguf(&path, &metadata, &tensors);
    let model = Model::open(&path).unwrap();
    assert_eq!(*model.config(), Config::tiny(Family::Qwen3));
    assert_eq!(weights(&model).unwrap(), written);

    let without = folder.join("without.gguf");
    let fewer: Vec<_> = tensors.into_iter().filter(|(name, _)| name != "blk.1.ffn_up.weight").collect();
    write_gguf(&without, &metadata, &fewer);
    let said = Model::open(&without).unwrap().decoder(SHAPE).unwrap_err().to_string();
    assert_eq!(said, "the model has no tensor `blk.1.ffn_up.weight`, which its kind needs");
    let other = folder.join("other.gguf");
    write_gguf(&other, &[("general.architecture", Value::String("falcon".into()))], &fewer[..1]);
    let said = Model::open(&other).unwrap_err().to_string();
    let text = format!("{}: architecture `falcon` is not known; known are llama", other.display());
    assert!(said.starts_with(&text), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A GGUF file of the small RWKV-7, its mixes in one tensor.
fn write_rwkv_7(path: &Path, weights: &BTreeMap<String, Tensor>) {
    let mut tensors = Vec::new();
    let mut fused: BTreeMap<String, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
    for (name, tensor) in weights.clone() {
        match names::in_gguf(&name) {
            Place::Part { name, part } => fused.entry(name).or_default().push((part, tensor.2)),
            _ => tensors.push((name, tensor)),
        }
    }
    for (name, mut parts) in fused {
        parts.sort();
        let bytes = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        tensors.push((name, (DType::F32, vec![6, 1, 1, 256], bytes)));
    }
    let n = Value::U32;
    let metadata = [
        ("general.architecture", Value::String("rwkv7".into())),
        ("rwkv7.block_count", n(2)),
        ("rwkv7.embedding_length", n(256)),
        ("rwkv7.wkv.head_size", n(64)),
        ("rwkv7.feed_forward_length", n(512)),
        ("rwkv7.attention.decay_lora_rank", n(32)),
        ("rwkv7.attention.iclr_lora_rank", n(32)),
        ("rwkv7.attention.value_residual_mix_lora_rank", n(32)),
        ("rwkv7.attention.gate_lora_rank", n(64)),
        ("rwkv7.attention.layer_norm_epsilon", Value::F32(1e-5)),
    ];
    write_gguf(path, &metadata, &tensors);
}

#[test]
fn a_gguf_file_of_rwkv_7_has_its_mixes_in_one_tensor() {
    let written = weights(&Model::random(Config::tiny(Family::Rwkv7), DType::F16, 9)).unwrap();
    let folder = folder("rwkv7");
    let path = folder.join("m.gguf");
    write_rwkv_7(&path, &written);
    let model = Model::open(&path).unwrap();
    assert_eq!(*model.config(), Config::tiny(Family::Rwkv7));
    assert_eq!(weights(&model).unwrap(), written);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Files keep low ranks finer than the rest: a weight of several is of one type, so that a layer then takes one
/// dispatch more. The numbers are the same.
#[test]
fn low_ranks_of_another_type_are_a_product_of_their_own() {
    let random = Model::random(Config::tiny(Family::Rwkv7), DType::F16, 9);
    let mut written = weights(&random).unwrap();
    let low = |name: &str| {
        let rank =
            name.strip_suffix(".weight").and_then(|n| n.rsplit_once("time_mix_")).map(|(_, part)| part);
        rank.is_some_and(|part| part.ends_with(['1', '2']))
    };
    for (name, (dtype, shape, bytes)) in written.iter_mut().filter(|(name, _)| low(name)) {
        assert_eq!(*dtype, DType::F16, "{name}");
        let values = tachylite::Tensor::new(*dtype, shape, bytes.as_slice()).unwrap();
        (*dtype, *bytes) = (DType::F32, values.cast(DType::F32).unwrap().to_bytes());
    }
    let folder = folder("rwkv7_low");
    let path = folder.join("m.gguf");
    write_rwkv_7(&path, &written);
    let model = Model::open(&path).unwrap();
    common::on_mesa22("low_ranks_of_another_type_are_a_product_of_their_own", |gpu| {
        let run = |model: &Model| {
            let mut session = Session::new(gpu, model, &common::options(1)).unwrap();
            session.prefill(&[3, 1, 4, 1, 5]).unwrap();
            session.give(&[9]).unwrap();
            session.step().unwrap();
            (session.logits().unwrap(), session.plan().steps.len())
        };
        let ((got, steps), (want, fewer)) = (run(&model), run(&random));
        assert_eq!(steps, fewer + 2);
        let apart = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4 && want.iter().any(|w| w.abs() > 1.0), "{apart}");
    });
    std::fs::remove_dir_all(folder).unwrap();
}

/// Writes tensors as safetensors, the format written out by hand.
fn write_safetensors(path: &Path, tensors: &[(String, Tensor)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let from = data.len();
        data.extend_from_slice(bytes);
        let dtype = dtype.name().to_uppercase();
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [from, data.len()]}),
        );
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&data);
    std::fs::write(path, out).unwrap();
}

/// A folder of safetensors under their makers' names; gains less 1 for Gemma, experts one by one.
fn through_safetensors(family: Family, json: &serde_json::Value) {
    let written = weights(&Model::random(Config::tiny(family), DType::F16, 9)).unwrap();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let mut tensors = Vec::new();
    for (name, (dtype, shape, mut bytes)) in written.clone() {
        if family == Family::Gemma3 && name.contains("norm") {
            bytes = floats(&bytes).iter().flat_map(|g| (g - 1.0).to_le_bytes()).collect();
        }
        match names::in_safetensors(family, &name).unwrap() {
            Place::Experts(pattern) => {
                for (e, part) in bytes.chunks_exact(bytes.len() / shape[0]).enumerate() {
                    let name = pattern.replace('@', &e.to_string());
                    tensors.push((name, (dtype, shape[1..].to_vec(), part.to_vec())));
                }
            }
            Place::Whole(name) => tensors.push((name, (dtype, shape, bytes))),
            other => panic!("{other:?}"),
        }
    }
    let folder = folder(&format!("{family:?}"));
    write_safetensors(&folder.join("model.safetensors"), &tensors);
    std::fs::write(folder.join("config.json"), json.to_string()).unwrap();
    let read = weights(&Model::open(&folder).unwrap()).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (name, (dtype, shape, bytes)) in &read {
        let (t, s, b) = &written[name];
        assert_eq!((dtype, shape), (t, s), "{name}");
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        let same = bytes == b || *dtype == DType::F32 && floats(bytes).iter().zip(&floats(b)).all(near);
        assert!(same, "{name}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn safetensors_of_gemma_3_have_gains_less_1() {
    through_safetensors(
        Family::Gemma3,
        &json!({"model_type": "gemma3_text", "hidden_size": 256, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256,
            "vocab_size": 320, "rms_norm_eps": 1e-6, "sliding_window": 4, "query_pre_attn_scalar": 256}),
    );
}

#[test]
fn safetensors_of_a_mixture_have_a_tensor_for_each_expert() {
    through_safetensors(
        Family::Qwen3Moe,
        &json!({"model_type": "qwen3_moe", "hidden_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256,
            "vocab_size": 320, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": false,
            "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": true}),
    );
}
