//! Pieces per second of a pretrained language model: all hidden states of rows of random pieces,
//! batches over the threads as a study reads its stories. One JSON document on stdout;
//! `benches/peers/lm_torch.py` does the same with transformers, `scripts/bench-lm` runs both in turn.
//!
//!   cargo bench --bench lm -- model=PATH [length=512] [rows=4] [batch=1024] [repeats=3]
//!
//! `rows` of `length` pieces, in batches of at most `batch` pieces.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use rayon::prelude::*;
use voxelcast::nn::{Batch, open, open_bytes};
use voxelcast::resources::peak_bytes;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| {
        args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let number = |name: &str, default: usize| given(name).map_or(default, |n| n.parse().unwrap());
    // `cargo test --all-targets` runs this once, to see that it does.
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal/llama");
    let is_real = given("model").is_some();
    let path = given("model").map_or(tiny, Into::into);
    let length = number("length", if is_real { 512 } else { 20 });
    let (n_rows, batch) = (number("rows", 4), number("batch", 1024));

    let start = Instant::now();
    let model = open(&path, &Device::Cpu).unwrap();
    let load_s = start.elapsed().as_secs_f64();
    // The same numbers as in lm_torch.py.
    let n_pieces = model.vocab_size() as u64;
    let piece = |i: u64| (i * 7919 + i * i % 10007) % n_pieces;
    let row = |row: usize| -> Vec<u32> {
        (0..length).map(|i| piece((row * length + i) as u64) as u32).collect()
    };
    let rows: Vec<Vec<u32>> = (0..n_rows).map(row).collect();
    let batches: Vec<Batch> =
        rows.chunks((batch / length).max(1)).map(|rows| Batch::padded(rows, 0)).collect();
    let layers: Vec<usize> = (0..=model.n_layers()).collect();
    let mut seconds = Vec::new();
    let mut mean = 0.0;
    // The first pass warms up.
    for _ in 0..=number("repeats", 3) {
        let start = Instant::now();
        let sums: Vec<f64> = batches
            .par_iter()
            .map(|batch| {
                let states = model.states(batch, &layers).unwrap();
                let last = states.last().unwrap().abs().unwrap();
                f64::from(last.mean_all().unwrap().to_scalar::<f32>().unwrap())
            })
            .collect();
        seconds.push(start.elapsed().as_secs_f64());
        mean = sums.iter().sum::<f64>() / sums.len() as f64;
    }
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let document = serde_json::json!({
        "length": length,
        "rows": n_rows,
        "batch": batch,
        "threads": rayon::current_num_threads(),
        "load_s": load_s,
        "seconds_median": median,
        "seconds_min": seconds[0],
        "pieces_per_s": (n_rows * length) as f64 / median,
        "mean_of_last_state": mean,
        "weights_bytes": open_bytes(&path).unwrap(),
        "peak_bytes": peak_bytes(),
    });
    println!("{}", serde_json::to_string_pretty(&document).unwrap());
}
