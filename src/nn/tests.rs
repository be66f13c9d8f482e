//! The encoder against transformers' MegatronBertForMaskedLM and PyTorch (tests/golden/encoder).

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoder")
}

fn golden() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("values.safetensors"), &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn whole(tensor: &Tensor) -> Vec<i64> {
    let tensor = tensor.to_dtype(candle_core::DType::I64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The golden rows, and their targets.
fn batch(golden: &HashMap<String, Tensor>) -> (Batch, Targets) {
    let ids = |name: &str| whole(&golden[name]).iter().map(|&id| id as u32).collect::<Vec<_>>();
    let (rows, length) = golden["input_ids"].dims2().unwrap();
    let attended = ids("attention_mask").iter().map(|&there| there == 1).collect();
    let batch =
        Batch { rows, length, ids: ids("input_ids"), types: ids("token_type_ids"), attended };
    let labels = whole(&golden["labels"]);
    let targets = labels.iter().enumerate().filter(|(_, label)| **label >= 0);
    let (positions, labels) = targets.map(|(at, &label)| (at as u32, label as u32)).unzip();
    (batch, Targets { positions, labels })
}

/// f32 sums of at most 41 terms through two blocks, on values of size `largest`.
fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (got, expected) in got.iter().zip(expected) {
        let off = (got - expected).abs();
        assert!(off <= 1e-5 * largest.max(1e-2), "{what}: {got}, expected {expected}");
    }
}

#[test]
fn hidden_states_logits_and_loss_are_those_of_transformers() {
    let golden = golden();
    let encoder = Encoder::load(&folder().join("checkpoint"), &Device::Cpu).unwrap();
    let (batch, targets) = batch(&golden);
    let states = encoder.hidden_states(&batch).unwrap();
    assert_eq!(states.len(), 3);
    let n = batch.attended.len();
    let there = |tensor: &Tensor| -> Vec<f32> {
        let rows = tensor.reshape((n, ())).unwrap().to_vec2::<f32>().unwrap();
        let rows = rows.into_iter().zip(&batch.attended).filter(|(_, there)| **there);
        rows.flat_map(|(row, _)| row).collect()
    };
    for (i, state) in states.iter().enumerate() {
        let expected = &golden[&format!("hidden.{i}")];
        assert_eq!(state.dims(), expected.dims());
        assert_near(&there(state), &there(expected), &format!("hidden state {i}"));
    }
    assert_near(&there(&encoder.logits(&batch).unwrap()), &there(&golden["logits"]), "logits");
    let loss = encoder.mlm_loss(&batch, &targets, None).unwrap();
    assert_near(&[loss.to_scalar().unwrap()], &flat(&golden["loss"]), "loss");
}

#[test]
fn gradients_and_three_steps_are_those_of_pytorch() {
    let golden = golden();
    let encoder = Encoder::load(&folder().join("checkpoint"), &Device::Cpu).unwrap();
    let (batch, targets) = batch(&golden);
    let settings = AdamWSettings {
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.98,
        eps: 1e-6,
        max_grad_norm: Some(1.5),
    };
    let mut optimiser = AdamW::new(&encoder, &settings).unwrap();
    for step in 0..3 {
        let loss = encoder.mlm_loss(&batch, &targets, None).unwrap();
        let gradients = loss.backward().unwrap();
        if step == 0 {
            for (name, var) in encoder.parameters() {
                let gradient = flat(gradients.get(var).unwrap());
                let expected = flat(&golden[&format!("gradient.{name}")]);
                assert_near(&gradient, &expected, &format!("gradient of {name}"));
            }
        }
        // A checkpoint in between changes nothing.
        let state = optimiser.state(&encoder).unwrap().into_iter().collect();
        optimiser = AdamW::new(&encoder, &settings).unwrap();
        optimiser.set_state(&encoder, &state).unwrap();
        let norm = optimiser.step(&encoder, &gradients, 0.01).unwrap();
        assert_near(&[norm as f32], &flat(&golden[&format!("norm.{step}")]), "gradient's length");
    }
    for (name, var) in encoder.parameters() {
        // Where a gradient is nothing but rounding (keys' biases: softmax does not see them), its
        // sign is, and Adam's step is its sign.
        if name.ends_with("key.bias") {
            continue;
        }
        let (got, expected) = (flat(var), flat(&golden[&format!("after.{name}")]));
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 2e-4, "{name}: {got}, expected {expected}");
        }
    }
}

#[test]
fn a_saved_encoder_is_the_same_and_a_damaged_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = EncoderConfig {
        vocab_size: 30,
        hidden_size: 8,
        intermediate_size: 12,
        max_position_embeddings: 10,
        ..EncoderConfig::default()
    };
    let encoder = Encoder::new(&config, &Device::Cpu, 7).unwrap();
    let n: usize = encoder.parameters().iter().map(|(_, var)| var.elem_count()).sum();
    assert_eq!(n, config.n_parameters());
    encoder.save(dir.path()).unwrap();
    let again = Encoder::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(again.config(), &config);
    for ((name, a), (other, b)) in encoder.parameters().iter().zip(again.parameters()) {
        assert_eq!((name, flat(a)), (other, flat(b)));
    }
    let other = Encoder::new(&config, &Device::Cpu, 8).unwrap();
    assert_ne!(flat(&other.parameters()[0].1), flat(&encoder.parameters()[0].1));

    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let error = Encoder::load(dir.path(), &Device::Cpu).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("model.safetensors"), "{error}");
    std::fs::write(&path, &bytes).unwrap();
    let config = dir.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, says) in [
        ("\"hidden_size\": 8", "\"hidden_size\": 6", "expected [30, 6], got [30, 8]"),
        ("\"hidden_size\": 8", "\"hidden_size\": 9", "heads that divide"),
        ("megatron-bert", "gpt2", "expected model_type megatron-bert, got gpt2"),
        ("gelu", "relu", "relu"),
    ] {
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let error = Encoder::load(dir.path(), &Device::Cpu).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains(says), "{error}");
    }
    std::fs::remove_file(&config).unwrap();
    assert_eq!(Encoder::load(dir.path(), &Device::Cpu).unwrap_err().exit_code(), 3);
}

/// What `save_pretrained` wrote, tensor for tensor: what transformers reads from its own folder it
/// reads from ours.
#[test]
fn a_folder_that_is_saved_is_the_one_transformers_writes() {
    let dir = tempfile::tempdir().unwrap();
    Encoder::load(&folder().join("checkpoint"), &Device::Cpu).unwrap().save(dir.path()).unwrap();
    let tensors = |folder: PathBuf| {
        candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
    };
    let (ours, theirs) = (tensors(dir.path().into()), tensors(folder().join("checkpoint")));
    assert_eq!(ours.len(), theirs.len());
    for (name, tensor) in &ours {
        assert_eq!((tensor.dims(), flat(tensor)), (theirs[name].dims(), flat(&theirs[name])));
    }
    let config = |folder: PathBuf| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    let theirs = config(folder().join("checkpoint"));
    for (key, value) in config(dir.path().into()) {
        assert_eq!(theirs[&key], value, "{key}");
    }
}

#[test]
fn rows_and_targets_that_do_not_fit_are_refused() {
    let golden = golden();
    let encoder = Encoder::load(&folder().join("checkpoint"), &Device::Cpu).unwrap();
    let (batch, targets) = batch(&golden);
    let wrong = [
        Batch { ids: vec![41; 27], ..batch.clone() },
        Batch { types: vec![2; 27], ..batch.clone() },
        Batch { attended: vec![false; 27], ..batch.clone() },
        Batch { rows: 1, length: 27, ..batch.clone() },
        Batch { rows: 0, length: 0, ids: vec![], types: vec![], attended: vec![] },
    ];
    for batch in wrong {
        let error = encoder.hidden_states(&batch).unwrap_err();
        assert!(error.to_string().contains("tokenizer"), "{error}");
    }
    for targets in [
        Targets::default(),
        Targets { positions: vec![27], ..targets.clone() },
        Targets { labels: vec![41; targets.labels.len()], ..targets.clone() },
    ] {
        assert!(encoder.mlm_loss(&batch, &targets, None).is_err());
    }
}
