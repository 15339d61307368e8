//! What a model is like, from the metadata of a GGUF file or from `config.json`. What is not known is refused.

use serde_json::Value as Json;
use tachylite::DType;
use tachylite::files::{Contents, ModelFiles, Value};
use tachylite::op::Unary;
use tachylite::ops::rope::Pairing;
use tachylite::plan::prepare::Store;

use crate::config::{Config, Experts, Family, Rotation, Rwkv7, Stretch, Transformer, Window};
use crate::{Error, Result};

/// The base of frequencies where Gemma 3 has a window.
const LOCAL_BASE: f64 = 1e4;

/// Metadata under an architecture's prefix.
struct Metadata<'a> {
    contents: &'a Contents,
    architecture: &'a str,
}

impl Metadata<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.contents.value(&format!("{}.{key}", self.architecture))
    }

    fn missing(&self, key: &str) -> Error {
        Error::new(format!("the model's metadata has no number `{}.{key}`", self.architecture))
    }

    fn maybe(&self, key: &str) -> Option<usize> {
        usize::try_from(self.value(key)?.as_u64()?).ok()
    }

    fn number(&self, key: &str) -> Result<usize> {
        self.maybe(key).ok_or_else(|| self.missing(key))
    }

    fn maybe_float(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            _ => None,
        }
    }

    fn float(&self, key: &str) -> Result<f64> {
        self.maybe_float(key).ok_or_else(|| self.missing(key))
    }

    fn vocabulary(&self) -> Result<usize> {
        let table = self.contents.tensor("token_embd.weight");
        let rows = table.and_then(|t| t.shape.first().copied());
        rows.ok_or_else(|| Error::new("the model has no tensor `token_embd.weight`"))
    }

    fn rotation(&self, files: &ModelFiles, width: usize) -> Result<Rotation> {
        let turned = self.maybe("rope.dimension_count").unwrap_or(width);
        if turned != width {
            return Err(Error::new(format!(
                "the model turns {turned} elements of heads of {width}, but only whole heads are known"
            )));
        }
        let kind = self.value("rope.scaling.type").and_then(Value::as_str).unwrap_or("none");
        let mut stretch = match kind {
            "none" => Stretch::None,
            "linear" => Stretch::Linear(self.float("rope.scaling.factor")?),
            _ => return Err(unknown("rope scaling", kind, "none, linear, and factors by pair")),
        };
        if let Some(info) = files.contents().tensor("rope_freqs.weight") {
            if let Some((dtype, _)) =
                files.about("rope_freqs.weight")?.filter(|(dtype, _)| *dtype != DType::F32)
            {
                return Err(Error::new(format!("`rope_freqs.weight` is {dtype}, but it must be f32")));
            }
            let length = info.range.end - info.range.start;
            let bytes = files.bytes("rope_freqs.weight", 0..length)?;
            let floats = bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)));
            stretch = Stretch::Divided(floats.collect());
        }
        let base = self.maybe_float("rope.freq_base").unwrap_or(1e4);
        Ok(Rotation { base, pairing: Pairing::Halves, stretch })
    }
}

fn unknown(what: &str, name: &str, known: &str) -> Error {
    Error::new(format!("{what} `{name}` is not known; known are {known}"))
}

/// From a GGUF file.
///
/// # Errors
/// If it is not known what the model computes, or a number is missing.
pub fn gguf(files: &ModelFiles) -> Result<Config> {
    let contents = files.contents();
    let architecture = contents.value("general.architecture").and_then(Value::as_str);
    let architecture = architecture.ok_or_else(|| Error::new("the file has no `general.architecture`"))?;
    let m = Metadata { contents, architecture };
    let family = match architecture {
        "llama" => Family::Llama,
        "qwen3" => Family::Qwen3,
        "qwen3moe" => Family::Qwen3Moe,
        "gemma2" => Family::Gemma2,
        "gemma3" => Family::Gemma3,
        "rwkv7" => return gguf_rwkv7(&m),
        _ => {
            return Err(unknown(
                "architecture",
                architecture,
                "llama, qwen3, qwen3moe, gemma2, gemma3 and rwkv7",
            ));
        }
    };
    if family != Family::Qwen3Moe && m.maybe("expert_count").is_some_and(|n| n > 0) {
        return Err(Error::new(format!("experts are not known of `{architecture}`, only of qwen3moe")));
    }
    let (width, heads) = (m.number("embedding_length")?, m.number("attention.head_count")?);
    let head_width = m.maybe("attention.key_length").unwrap_or(width / heads.max(1));
    let mut rotation = m.rotation(files, head_width)?;
    if family == Family::Llama {
        // Rows of its queries and keys were moved so that neighbours are pairs.
        rotation.pairing = Pairing::Neighbours;
    }
    let experts = match family {
        Family::Qwen3Moe => Some(Experts {
            count: m.number("expert_count")?,
            used: m.number("expert_used_count")?,
            inner: m.number("expert_feed_forward_length")?,
            normalised: true,
        }),
        _ => None,
    };
    let sizes = Transformer {
        family,
        layers: m.number("block_count")?,
        width,
        heads,
        kv_heads: m.maybe("attention.head_count_kv").unwrap_or(heads),
        head_width,
        inner: m.maybe("feed_forward_length").unwrap_or(0),
        vocabulary: m.vocabulary()?,
        eps: m.float("attention.layer_norm_rms_epsilon")? as f32,
        rotation,
        tied: contents.tensor("output.weight").is_none(),
        head_norms: matches!(family, Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3),
        sandwich: false,
        gate: Unary::Silu,
        embedding_scale: None,
        query_scale: None,
        window: None,
        score_cap: m.maybe_float("attn_logit_softcapping").map(|v| v as f32),
        logit_cap: m.maybe_float("final_logit_softcapping").map(|v| v as f32),
        experts,
    };
    let config = match family {
        Family::Gemma2 | Family::Gemma3 => {
            gemma(sizes, m.number("attention.sliding_window")?, LOCAL_BASE, None)
        }
        _ => sizes,
    };
    Config::Transformer(config).countable()
}

/// With the habits of Gemma; `scalar` is what queries are divided by the root of, where a file says so.
fn gemma(t: Transformer, window: usize, local_base: f64, scalar: Option<f64>) -> Transformer {
    // The largest of both divide by the root of the width over the heads; the others of a head's width.
    let largest = matches!((t.family, t.layers), (Family::Gemma2, 46) | (Family::Gemma3, 62));
    let shared = if largest { t.width / t.heads.max(1) } else { t.head_width };
    let (full_every, rotation) = match t.family {
        Family::Gemma2 => (2, t.rotation.clone()),
        _ => (6, Rotation::plain(local_base)),
    };
    Transformer {
        sandwich: true,
        gate: Unary::GeluTanh,
        embedding_scale: Some((t.width as f32).sqrt()),
        query_scale: Some(scalar.unwrap_or(shared as f64).powf(-0.5) as f32),
        window: Some(Window { width: window, full_every, rotation }),
        ..t
    }
}

fn gguf_rwkv7(m: &Metadata<'_>) -> Result<Config> {
    let rank = |of: &str| m.number(&format!("attention.{of}_lora_rank"));
    Config::Rwkv7(Rwkv7 {
        layers: m.number("block_count")?,
        width: m.number("embedding_length")?,
        head_width: m.number("wkv.head_size")?,
        inner: m.number("feed_forward_length")?,
        vocabulary: m.vocabulary()?,
        ranks: [rank("decay")?, rank("iclr")?, rank("value_residual_mix")?, rank("gate")?],
        eps: m.maybe_float("attention.layer_norm_epsilon").unwrap_or(1e-5) as f32,
    })
    .countable()
}

/// A number of `config.json`.
fn number(json: &Json, key: &str) -> Result<usize> {
    let number = json.get(key).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    number.ok_or_else(|| Error::new(format!("config.json has no whole number `{key}`")))
}

fn float(json: &Json, key: &str) -> Result<f64> {
    let float = json.get(key).and_then(Json::as_f64);
    float.ok_or_else(|| Error::new(format!("config.json has no number `{key}`")))
}

/// From `config.json`.
///
/// # Errors
/// If it is not known what the model computes, or a number is missing.
pub fn json(json: &Json) -> Result<Config> {
    let kind = json.get("model_type").and_then(Json::as_str).unwrap_or("");
    let family = match kind {
        "llama" => Family::Llama,
        "qwen3" => Family::Qwen3,
        "qwen3_moe" => Family::Qwen3Moe,
        "gemma2" => Family::Gemma2,
        "gemma3_text" => Family::Gemma3,
        "rwkv7" => return json_rwkv7(json),
        _ => {
            return Err(unknown(
                "model_type",
                kind,
                "llama, qwen3, qwen3_moe, gemma2, gemma3_text and rwkv7",
            ));
        }
    };
    if ["attention_bias", "mlp_bias"].iter().any(|key| json.get(*key).and_then(Json::as_bool) == Some(true)) {
        return Err(Error::new("config.json asks for biases of products, which are not known"));
    }
    let (width, heads) = (number(json, "hidden_size")?, number(json, "num_attention_heads")?);
    let maybe = |key: &str| json.get(key).and_then(Json::as_f64);
    let experts = match family {
        Family::Qwen3Moe => Some(Experts {
            count: number(json, "num_experts")?,
            used: number(json, "num_experts_per_tok")?,
            inner: number(json, "moe_intermediate_size")?,
            normalised: json.get("norm_topk_prob").and_then(Json::as_bool).unwrap_or(false),
        }),
        _ => None,
    };
    let head_width = maybe("head_dim").map_or(width / heads.max(1), |n| n as usize);
    let sizes = Transformer {
        family,
        layers: number(json, "num_hidden_layers")?,
        width,
        heads,
        kv_heads: maybe("num_key_value_heads").map_or(heads, |n| n as usize),
        head_width,
        inner: number(json, "intermediate_size")?,
        vocabulary: number(json, "vocab_size")?,
        eps: float(json, "rms_norm_eps")? as f32,
        rotation: Rotation { stretch: stretch(json)?, ..Rotation::plain(maybe("rope_theta").unwrap_or(1e4)) },
        // Gemma ties them unless it is said.
        tied: json.get("tie_word_embeddings").and_then(Json::as_bool).unwrap_or(kind.starts_with("gemma")),
        head_norms: matches!(family, Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3),
        sandwich: false,
        gate: Unary::Silu,
        embedding_scale: None,
        query_scale: None,
        window: None,
        score_cap: maybe("attn_logit_softcapping").map(|v| v as f32),
        logit_cap: maybe("final_logit_softcapping").map(|v| v as f32),
        experts,
    };
    let config = match family {
        Family::Gemma2 | Family::Gemma3 => {
            let local = maybe("rope_local_base_freq").unwrap_or(LOCAL_BASE);
            gemma(sizes, number(json, "sliding_window")?, local, maybe("query_pre_attn_scalar"))
        }
        _ => sizes,
    };
    check_layers(json, &config)?;
    Config::Transformer(config).countable()
}

/// How frequencies are stretched.
fn stretch(json: &Json) -> Result<Stretch> {
    let Some(scaling) = json.get("rope_scaling").filter(|s| !s.is_null()) else {
        return match json.get("rope_parameters") {
            None => Ok(Stretch::None),
            Some(_) => {
                Err(Error::new("config.json has `rope_parameters`, which are not known; `rope_theta` is"))
            }
        };
    };
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Json::as_str).unwrap_or("");
    match kind {
        "default" => Ok(Stretch::None),
        "linear" => Ok(Stretch::Linear(float(scaling, "factor")?)),
        "llama3" => Ok(Stretch::Llama3 {
            factor: float(scaling, "factor")?,
            low: float(scaling, "low_freq_factor")?,
            high: float(scaling, "high_freq_factor")?,
            original: float(scaling, "original_max_position_embeddings")?,
        }),
        _ => Err(unknown("rope_type", kind, "default, linear and llama3")),
    }
}

/// Whether windows and experts are where they are taken to be.
fn check_layers(json: &Json, t: &Transformer) -> Result<()> {
    if t.experts.is_some() {
        let step = json.get("decoder_sparse_step").and_then(Json::as_u64).unwrap_or(1);
        let plain = json.get("mlp_only_layers").and_then(Json::as_array).is_some_and(|l| !l.is_empty());
        if step != 1 || plain {
            return Err(Error::new(
                "config.json has layers without experts among others, which is not known",
            ));
        }
    }
    let Some(kinds) = json.get("layer_types").and_then(Json::as_array) else { return Ok(()) };
    for (layer, kind) in kinds.iter().enumerate() {
        let windowed = t.window.as_ref().is_some_and(|w| !(layer + 1).is_multiple_of(w.full_every));
        let wanted = if windowed { "sliding_attention" } else { "full_attention" };
        if kind.as_str() != Some(wanted) {
            return Err(Error::new(format!(
                "config.json: layer {layer} is {kind}, but {wanted} is known there"
            )));
        }
    }
    Ok(())
}

fn json_rwkv7(json: &Json) -> Result<Config> {
    let ranks = ["decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"];
    let [decay, rate, value, gate] = ranks.map(|key| number(json, key));
    let width = number(json, "hidden_size")?;
    Config::Rwkv7(Rwkv7 {
        layers: number(json, "num_hidden_layers")?,
        width,
        head_width: number(json, "head_dim").or_else(|_| number(json, "head_size"))?,
        inner: number(json, "intermediate_size").unwrap_or(4 * width),
        vocabulary: number(json, "vocab_size")?,
        ranks: [decay?, rate?, value?, gate?],
        eps: float(json, "norm_eps").unwrap_or(1e-5) as f32,
    })
    .countable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        json(&serde_json::from_str(text).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn configurations_become_what_is_known_by_name() {
        let llama = r#"{"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
            "vocab_size": 128256, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": true,
            "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}}"#;
        let read = json(&serde_json::from_str(llama).unwrap()).unwrap();
        assert_eq!(read, Config::named("llama-3.2-1b").unwrap());
        let gemma = r#"{"model_type": "gemma3_text", "hidden_size": 640, "num_hidden_layers": 18,
            "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 2048,
            "vocab_size": 262144, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
            "sliding_window": 512, "query_pre_attn_scalar": 256}"#;
        let read = json(&serde_json::from_str(gemma).unwrap()).unwrap();
        assert_eq!(read, Config::named("gemma-3-270m").unwrap());
    }

    #[test]
    fn what_is_not_known_is_refused_in_a_sentence() {
        assert_eq!(
            said(r#"{"model_type": "mamba"}"#),
            "model_type `mamba` is not known; known are llama, qwen3, qwen3_moe, gemma2, gemma3_text and rwkv7"
        );
        assert_eq!(said(r#"{"model_type": "qwen3"}"#), "config.json has no whole number `hidden_size`");
        let yarn = r#"{"model_type": "qwen3", "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1,
            "intermediate_size": 64, "vocab_size": 9, "rms_norm_eps": 1e-6,
            "rope_scaling": {"rope_type": "yarn"}}"#;
        let none = yarn
            .replace(r#""num_attention_heads": 2"#, r#""num_attention_heads": 0"#)
            .replace("yarn", "default");
        assert_eq!(said(&none), "the model has 0 heads, but 1 to 16777216 are known");
        assert_eq!(said(yarn), "rope_type `yarn` is not known; known are default, linear and llama3");
    }
}
