//! Seconds of a training step of the encoder: masks are drawn before, so that a step is forward,
//! backward and AdamW. One JSON document on stdout; `benches/peers/encoder_torch.py` does the same
//! with PyTorch, and `scripts/bench-encoder` runs both in turn.
//!
//!   cargo bench --bench encoder_step -- [NAME=VALUE …]
//!
//! Names: vocab, hidden, layers, heads, intermediate, length, batch, steps; the defaults are the
//! paper's. `cuda=1` trains on the first card.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use candle_core::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use voxelcast::nn::{AdamW, AdamWSettings, Batch, Encoder, EncoderConfig, Targets};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut given: Vec<(String, usize)> = args
        .iter()
        .filter_map(|arg| {
            let (name, value) = arg.split_once('=')?;
            Some((name.to_owned(), value.parse().unwrap()))
        })
        .collect();
    // `cargo test --all-targets` runs this once, to see that it does.
    if given.is_empty() && !args.iter().any(|arg| arg == "--bench") {
        let small = [("vocab", 300), ("hidden", 32), ("length", 32), ("batch", 2), ("steps", 2)];
        given.extend(small.map(|(name, value)| (name.to_owned(), value)));
    }
    let value = |name: &str, default: usize| {
        given.iter().find(|(given, _)| given == name).map_or(default, |(_, value)| *value)
    };
    let (length, rows) = (value("length", 256), value("batch", 32));
    let config = EncoderConfig {
        vocab_size: value("vocab", 30_522),
        hidden_size: value("hidden", 128),
        num_hidden_layers: value("layers", 2),
        num_attention_heads: value("heads", 2),
        intermediate_size: value("intermediate", 256),
        max_position_embeddings: length,
        ..EncoderConfig::default()
    };
    let n_steps = value("steps", 10);

    let mut random = ChaCha8Rng::seed_from_u64(1);
    let n = rows * length;
    let mut draw = |n: usize, below: usize| -> Vec<u32> {
        (0..n).map(|_| random.random_range(0..below as u32)).collect()
    };
    let batch = Batch {
        rows,
        length,
        ids: draw(n, config.vocab_size),
        types: vec![0; n],
        attended: vec![true; n],
    };
    let n_targets = n * 15 / 100;
    let targets =
        Targets { positions: draw(n_targets, n), labels: draw(n_targets, config.vocab_size) };

    let device = match value("cuda", 0) {
        0 => Device::Cpu,
        _ => Device::new_cuda_with_stream(0).unwrap(),
    };
    let encoder = Encoder::new(&config, &device, 1).unwrap();
    let mut optimiser = AdamW::new(&encoder, &AdamWSettings::default()).unwrap();
    let mut seconds = Vec::new();
    let mut parts = [f64::MAX; 3];
    let mut losses = Vec::new();
    for step in 0..n_steps {
        let start = Instant::now();
        let loss = encoder.mlm_loss(&batch, &targets, Some(step as u64)).unwrap();
        let forward = start.elapsed();
        let gradients = loss.backward().unwrap();
        let backward = start.elapsed();
        optimiser.step(&encoder, &gradients, 1e-4).unwrap();
        device.synchronize().unwrap();
        let all = start.elapsed();
        let times = [forward, backward - forward, all - backward];
        for (part, time) in parts.iter_mut().zip(times) {
            *part = part.min(time.as_secs_f64());
        }
        seconds.push(all.as_secs_f64());
        losses.push(loss.to_scalar::<f32>().unwrap());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let document = serde_json::json!({
        "config": config,
        "length": length,
        "batch": rows,
        "targets": n_targets,
        "threads": rayon::current_num_threads(),
        "seconds_median": median,
        "seconds_min": seconds[0],
        "forward_backward_optimiser_min": parts,
        "tokens_per_s": n as f64 / median,
        "first_and_last_loss": [losses[0], losses[losses.len() - 1]],
        "device": if device.is_cpu() { "cpu" } else { "cuda" },
        "losses": losses,
    });
    println!("{}", serde_json::to_string_pretty(&document).unwrap());
}
