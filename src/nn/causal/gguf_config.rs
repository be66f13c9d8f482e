//! What a causal model computes, out of a GGUF file's metadata.

use super::config::{Config, Family, Norm, Positions, Residual, RotaryScaling, rotary_of};
use super::layout::Source;
use crate::nn::gguf::Gguf;
use crate::nn::ops::Activation;

/// What `general.architecture` may be.
const ARCHITECTURES: &str = "llama, qwen2, qwen3, gemma or gpt2";

/// The model that a file describes, and how its parameters lie there.
///
/// Keys stand behind the architecture's name: `llama.block_count`.
pub fn config(file: &Gguf) -> Result<(Config, Source), String> {
    let name = file.text("general.architecture")?.unwrap_or("none");
    let architecture = match name {
        "llama" | "qwen2" | "qwen3" | "gemma" | "gpt2" => name,
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(format!("expected the architecture {ARCHITECTURES}, got {other:?}"));
        }
    };
    let whole = |key: &str| file.whole(&format!("{architecture}.{key}"));
    let size = |key: &str| {
        whole(key)?
            .filter(|&n| n > 0)
            .ok_or_else(|| format!("expected {architecture}.{key}, got none"))
    };
    let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let is_gpt2 = architecture == "gpt2";
    let kv_heads = whole("attention.head_count_kv")?.unwrap_or(heads);
    let head_size = match whole("attention.key_length")? {
        Some(size) => size,
        None if width.is_multiple_of(heads) => width / heads,
        None => return Err(format!("expected heads that divide {width}, got {heads}")),
    };
    if whole("attention.value_length")?.is_some_and(|size| size != head_size) {
        return Err("expected keys and values of one size".into());
    }
    if whole("expert_count")?.is_some_and(|n| n > 0) {
        return Err("mixtures of experts are not read".into());
    }
    let n_layers = size("block_count")?;
    let vocab_size = match file.tensors.get("token_embd.weight").map(|entry| &entry.shape[..]) {
        Some(&[n, _]) => n,
        _ => return Err("expected a matrix token_embd.weight, got none".into()),
    };
    let eps = match is_gpt2 {
        true => file.number(&format!("{architecture}.attention.layer_norm_epsilon"))?,
        false => file.number(&format!("{architecture}.attention.layer_norm_rms_epsilon"))?,
    };
    let positions = match is_gpt2 {
        true => Positions::Learned { first: 0 },
        false => rotary(file, architecture, head_size)?,
    };
    let window = whole("attention.sliding_window")?.filter(|&window| window > 0);
    let is_gemma = architecture == "gemma";
    let config = Config {
        family: if is_gpt2 { Family::Gpt2 } else { Family::Llama },
        vocab_size,
        width,
        n_layers,
        heads,
        kv_heads,
        head_size,
        inner: size("feed_forward_length")?,
        max_length: size("context_length")?,
        norm: match (is_gpt2, eps) {
            (true, eps) => Norm::Layer { eps: eps.unwrap_or(1e-5) },
            // Gemma's norms are kept there with the 1 added.
            (false, eps) => Norm::Rms { eps: eps.unwrap_or(1e-6), plus: 0.0 },
        },
        residual: Residual::Serial,
        final_norm: true,
        activation: if is_gpt2 || is_gemma { Activation::GeluTanh } else { Activation::Silu },
        gated: !is_gpt2,
        qk_norm: architecture == "qwen3",
        positions,
        embedding_scale: if is_gemma { (width as f64).sqrt() as f32 } else { 1.0 },
        windows: vec![window; n_layers.min(10_000)],
        scale_by_layer: false,
        scale_by_size: true,
    };
    Ok((config.checked()?, Source::Gguf { permuted: architecture == "llama" }))
}

fn rotary(file: &Gguf, architecture: &str, head_size: usize) -> Result<Positions, String> {
    let key = |key: &str| format!("{architecture}.rope.{key}");
    let theta = file.number(&key("freq_base"))?.unwrap_or(10_000.0);
    let n = file.whole(&key("dimension_count"))?.unwrap_or(head_size);
    let factor = file.number(&key("scaling.factor"))?.filter(|&factor| factor > 0.0);
    let scaling = match (file.text(&key("scaling.type"))?, factor) {
        (None | Some("none"), _) => RotaryScaling::None,
        (Some("linear"), Some(factor)) => RotaryScaling::Linear { factor },
        (Some(other), _) => {
            let other: String = other.chars().take(40).collect();
            return Err(format!("expected {} none or linear, got {other:?}", key("scaling.type")));
        }
    };
    rotary_of(theta, n, head_size, scaling)
}
