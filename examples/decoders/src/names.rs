//! What tensors are called: in graphs as in GGUF files, in safetensors as their makers have it. One table.

use crate::config::Family;

/// Whose models have a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    Gemma,
    Others,
    Rwkv,
}

/// GGUF's name, the other, and whose models they are of. `#` is the layer, `@` an expert: each has one.
const TABLE: &[(&str, &str, Of)] = &[
    ("token_embd.weight", "model.embed_tokens.weight", Of::All),
    ("output_norm.weight", "model.norm.weight", Of::All),
    ("output.weight", "lm_head.weight", Of::All),
    ("blk.#.attn_norm.weight", "model.layers.#.input_layernorm.weight", Of::All),
    ("blk.#.attn_q.weight", "model.layers.#.self_attn.q_proj.weight", Of::All),
    ("blk.#.attn_k.weight", "model.layers.#.self_attn.k_proj.weight", Of::All),
    ("blk.#.attn_v.weight", "model.layers.#.self_attn.v_proj.weight", Of::All),
    ("blk.#.attn_output.weight", "model.layers.#.self_attn.o_proj.weight", Of::All),
    ("blk.#.attn_q_norm.weight", "model.layers.#.self_attn.q_norm.weight", Of::All),
    ("blk.#.attn_k_norm.weight", "model.layers.#.self_attn.k_norm.weight", Of::All),
    ("blk.#.ffn_norm.weight", "model.layers.#.post_attention_layernorm.weight", Of::Others),
    ("blk.#.ffn_norm.weight", "model.layers.#.pre_feedforward_layernorm.weight", Of::Gemma),
    ("blk.#.post_attention_norm.weight", "model.layers.#.post_attention_layernorm.weight", Of::Gemma),
    ("blk.#.post_ffw_norm.weight", "model.layers.#.post_feedforward_layernorm.weight", Of::Gemma),
    ("blk.#.ffn_gate.weight", "model.layers.#.mlp.gate_proj.weight", Of::All),
    ("blk.#.ffn_up.weight", "model.layers.#.mlp.up_proj.weight", Of::All),
    ("blk.#.ffn_down.weight", "model.layers.#.mlp.down_proj.weight", Of::All),
    ("blk.#.ffn_gate_inp.weight", "model.layers.#.mlp.gate.weight", Of::All),
    ("blk.#.ffn_gate_exps.weight", "model.layers.#.mlp.experts.@.gate_proj.weight", Of::All),
    ("blk.#.ffn_up_exps.weight", "model.layers.#.mlp.experts.@.up_proj.weight", Of::All),
    ("blk.#.ffn_down_exps.weight", "model.layers.#.mlp.experts.@.down_proj.weight", Of::All),
    ("token_embd.weight", "model.embeddings.weight", Of::Rwkv),
    ("token_embd_norm.weight", "model.layers.0.pre_norm.weight", Of::Rwkv),
    ("token_embd_norm.bias", "model.layers.0.pre_norm.bias", Of::Rwkv),
    ("output_norm.weight", "model.norm.weight", Of::Rwkv),
    ("output_norm.bias", "model.norm.bias", Of::Rwkv),
    ("output.weight", "lm_head.weight", Of::Rwkv),
    ("blk.#.attn_norm.weight", "model.layers.#.attn_norm.weight", Of::Rwkv),
    ("blk.#.attn_norm.bias", "model.layers.#.attn_norm.bias", Of::Rwkv),
    ("blk.#.attn_norm_2.weight", "model.layers.#.ffn_norm.weight", Of::Rwkv),
    ("blk.#.attn_norm_2.bias", "model.layers.#.ffn_norm.bias", Of::Rwkv),
    ("blk.#.time_mix_lerp_r.weight", "model.layers.#.attn.x_r", Of::Rwkv),
    ("blk.#.time_mix_lerp_w.weight", "model.layers.#.attn.x_w", Of::Rwkv),
    ("blk.#.time_mix_lerp_k.weight", "model.layers.#.attn.x_k", Of::Rwkv),
    ("blk.#.time_mix_lerp_v.weight", "model.layers.#.attn.x_v", Of::Rwkv),
    ("blk.#.time_mix_lerp_a.weight", "model.layers.#.attn.x_a", Of::Rwkv),
    ("blk.#.time_mix_lerp_g.weight", "model.layers.#.attn.x_g", Of::Rwkv),
    ("blk.#.time_mix_w0.weight", "model.layers.#.attn.w_lora.lora.2.bias", Of::Rwkv),
    ("blk.#.time_mix_w1.weight", "model.layers.#.attn.w_lora.lora.0.weight", Of::Rwkv),
    ("blk.#.time_mix_w2.weight", "model.layers.#.attn.w_lora.lora.2.weight", Of::Rwkv),
    ("blk.#.time_mix_a0.weight", "model.layers.#.attn.a_lora.lora.2.bias", Of::Rwkv),
    ("blk.#.time_mix_a1.weight", "model.layers.#.attn.a_lora.lora.0.weight", Of::Rwkv),
    ("blk.#.time_mix_a2.weight", "model.layers.#.attn.a_lora.lora.2.weight", Of::Rwkv),
    ("blk.#.time_mix_v0.weight", "model.layers.#.attn.v_lora.lora.2.bias", Of::Rwkv),
    ("blk.#.time_mix_v1.weight", "model.layers.#.attn.v_lora.lora.0.weight", Of::Rwkv),
    ("blk.#.time_mix_v2.weight", "model.layers.#.attn.v_lora.lora.2.weight", Of::Rwkv),
    ("blk.#.time_mix_g1.weight", "model.layers.#.attn.g_lora.lora.0.weight", Of::Rwkv),
    ("blk.#.time_mix_g2.weight", "model.layers.#.attn.g_lora.lora.2.weight", Of::Rwkv),
    ("blk.#.time_mix_k_k.weight", "model.layers.#.attn.k_k", Of::Rwkv),
    ("blk.#.time_mix_k_a.weight", "model.layers.#.attn.k_a", Of::Rwkv),
    ("blk.#.time_mix_r_k.weight", "model.layers.#.attn.r_k", Of::Rwkv),
    ("blk.#.time_mix_ln.weight", "model.layers.#.attn.g_norm.weight", Of::Rwkv),
    ("blk.#.time_mix_ln.bias", "model.layers.#.attn.g_norm.bias", Of::Rwkv),
    ("blk.#.time_mix_receptance.weight", "model.layers.#.attn.r_proj.weight", Of::Rwkv),
    ("blk.#.time_mix_key.weight", "model.layers.#.attn.k_proj.weight", Of::Rwkv),
    ("blk.#.time_mix_value.weight", "model.layers.#.attn.v_proj.weight", Of::Rwkv),
    ("blk.#.time_mix_output.weight", "model.layers.#.attn.o_proj.weight", Of::Rwkv),
    ("blk.#.channel_mix_lerp_k.weight", "model.layers.#.ffn.x_k", Of::Rwkv),
    ("blk.#.channel_mix_key.weight", "model.layers.#.ffn.key.weight", Of::Rwkv),
    ("blk.#.channel_mix_value.weight", "model.layers.#.ffn.value.weight", Of::Rwkv),
];

/// Where a file has a tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Under this name.
    Whole(String),
    /// One tensor for each expert, `@` being its number.
    Experts(String),
    /// One of several equal parts of a tensor.
    Part {
        /// The tensor's name.
        name: String,
        /// Which part.
        part: usize,
    },
}

/// The order of the mixes that GGUF files of RWKV-7 have in one tensor.
const MIXES: &str = "rwkvag";

/// Where a GGUF file has a tensor.
pub fn in_gguf(name: &str) -> Place {
    let fused = name.split_once("time_mix_lerp_").and_then(|(layer, rest)| {
        let part = MIXES.find(rest.strip_suffix(".weight")?)?;
        Some(Place::Part { name: format!("{layer}time_mix_lerp_fused.weight"), part })
    });
    fused.unwrap_or_else(|| Place::Whole(name.to_owned()))
}

/// Where safetensors have a tensor; `None` if the table has none of that name.
pub fn in_safetensors(family: Family, name: &str) -> Option<Place> {
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map(|(layer, _)| layer);
    let generic = match layer {
        Some(layer) => name.replacen(&format!(".{layer}."), ".#.", 1),
        None => name.to_owned(),
    };
    let gemma = matches!(family, Family::Gemma2 | Family::Gemma3);
    let fits = |of: Of| match of {
        Of::Rwkv => family == Family::Rwkv7,
        Of::All => family != Family::Rwkv7,
        Of::Gemma => gemma,
        Of::Others => !gemma && family != Family::Rwkv7,
    };
    let (_, theirs, _) = TABLE.iter().find(|(ours, _, of)| *ours == generic && fits(*of))?;
    let theirs = layer.map_or_else(|| (*theirs).to_owned(), |layer| theirs.replacen('#', layer, 1));
    Some(if theirs.contains('@') { Place::Experts(theirs) } else { Place::Whole(theirs) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_family() {
        let whole = |family, name: &str| match in_safetensors(family, name) {
            Some(Place::Whole(name)) => name,
            other => panic!("{name}: {other:?}"),
        };
        let norm = "blk.12.ffn_norm.weight";
        assert_eq!(whole(Family::Llama, norm), "model.layers.12.post_attention_layernorm.weight");
        assert_eq!(whole(Family::Gemma3, norm), "model.layers.12.pre_feedforward_layernorm.weight");
        assert_eq!(whole(Family::Rwkv7, "token_embd.weight"), "model.embeddings.weight");
        assert_eq!(
            whole(Family::Rwkv7, "blk.0.time_mix_w0.weight"),
            "model.layers.0.attn.w_lora.lora.2.bias"
        );
        assert_eq!(
            in_safetensors(Family::Qwen3Moe, "blk.3.ffn_up_exps.weight"),
            Some(Place::Experts("model.layers.3.mlp.experts.@.up_proj.weight".into()))
        );
        assert_eq!(in_safetensors(Family::Llama, "blk.0.time_mix_w0.weight"), None);
        let name = "blk.7.time_mix_lerp_fused.weight".to_owned();
        assert_eq!(in_gguf("blk.7.time_mix_lerp_v.weight"), Place::Part { name, part: 3 });
    }
}
