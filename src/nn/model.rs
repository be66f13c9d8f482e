//! The encoder: embeddings → pre-norm blocks → LayerNorm → tied head.
//!
//! Hugging Face's MegatronBert layout [Shoeybi et al. 2019, arXiv:1909.08053, §3 and §5.3:
//! LayerNorm before each half of a block, none behind the embeddings]. Parameters bear transformers' names, so a
//! folder opens there as `MegatronBertForMaskedLM`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::batch::{Batch, Targets};
use super::config::{ConfigFile, EncoderConfig};
use super::ops::{self, Dropout, Rows};
use crate::error::{Error, Result};
use crate::io::input::{read_bytes, read_text};
use crate::io::output::PartialFile;

/// Standard deviation of matrices and embeddings before training, as in BERT.
const INITIAL_SD: f32 = 0.02;

/// A BERT-style encoder with its masked-language-modelling head.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    device: Device,
    parameters: Vec<(String, Var)>,
    parts: Parts,
}

/// The same parameters by their place.
#[derive(Debug)]
struct Parts {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    blocks: Vec<Block>,
    norm: Affine,
    transform: Affine,
    transform_norm: Affine,
    bias: Tensor,
}

#[derive(Debug)]
struct Block {
    attention_norm: Affine,
    query: Affine,
    key: Affine,
    value: Affine,
    attention_out: Affine,
    norm: Affine,
    wide: Affine,
    narrow: Affine,
}

/// A matrix or a scale, and a shift.
#[derive(Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Encoder {
    /// An encoder before training: matrices and embeddings normal with sd 0.02, biases 0,
    /// LayerNorms 1. The same numbers for a seed on every device.
    /// # Errors
    /// `Error::Usage` for a shape that cannot be; `Error::Tensor` if memory is short.
    pub fn new(config: &EncoderConfig, device: &Device, seed: u64) -> Result<Self> {
        config.check("encoder")?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let normal = Normal::new(0.0, INITIAL_SD).map_err(|e| Error::Numerical {
            what: "initial weights".into(),
            problem: e.to_string(),
        })?;
        Self::with(config, device, |name, shape| {
            let n = shape.iter().product();
            let values = if name.ends_with("bias") {
                vec![0.0; n]
            } else if shape.len() == 1 {
                vec![1.0; n]
            } else {
                (0..n).map(|_| normal.sample(&mut random)).collect()
            };
            Ok(Tensor::from_vec(values, shape, device)?)
        })
    }

    /// A checkpoint folder: `config.json` and `model.safetensors`.
    /// # Errors
    /// `Error::Read` for a missing file, `Error::Values` for what is no MegatronBert or is
    /// damaged, `Error::Shape` for tensors that do not fit the configuration.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join("config.json");
        let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let wrong = |problem: String| Error::Values {
            place: path.display().to_string(),
            problem,
            hint: "expected the folder of an encoder that voxelcast trained, or of another \
                   MegatronBertForMaskedLM with gelu and a tied head"
                .into(),
        };
        let file: ConfigFile = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if file.model_type != "megatron-bert" {
            return Err(wrong(format!(
                "expected model_type megatron-bert, got {}",
                file.model_type
            )));
        }
        if file.hidden_act != "gelu" || !file.tie_word_embeddings {
            return Err(wrong(format!(
                "hidden_act {}, tie_word_embeddings {}",
                file.hidden_act, file.tie_word_embeddings
            )));
        }
        file.encoder.check(&path.display().to_string()).map_err(|e| wrong(e.to_string()))?;
        let path = folder.join("model.safetensors");
        let bytes =
            read_bytes(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let tensors =
            candle_core::safetensors::load_buffer(&bytes, device).map_err(|e| Error::Values {
                place: path.display().to_string(),
                problem: e.to_string(),
                hint: "the file is cut short or damaged: copy it again".into(),
            })?;
        drop(bytes);
        Self::from_tensors(&file.encoder, device, &tensors, &path.display().to_string())
    }

    /// An encoder of given parameters, by transformers' names; others are not looked at. `place`
    /// is named in errors.
    /// # Errors
    /// `Error::Shape` for a parameter that is missing or of another shape.
    pub fn from_tensors(
        config: &EncoderConfig,
        device: &Device,
        tensors: &HashMap<String, Tensor>,
        place: &str,
    ) -> Result<Self> {
        Self::with(config, device, |name, shape| {
            let found = tensors.get(name);
            match found.filter(|tensor| tensor.dims() == shape) {
                Some(tensor) => Ok(tensor.to_dtype(candle_core::DType::F32)?),
                None => Err(Error::Shape {
                    what: format!("{name} of {place}"),
                    expected: format!("{shape:?}"),
                    got: found.map_or("none".into(), |tensor| format!("{:?}", tensor.dims())),
                    hint: "config.json and model.safetensors must be of one model".into(),
                }),
            }
        })
    }

    fn with(
        config: &EncoderConfig,
        device: &Device,
        value: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut maker = Maker { value, parameters: Vec::new() };
        let parts = maker.parts(config)?;
        let parameters = maker.parameters;
        Ok(Self { config: config.clone(), device: device.clone(), parameters, parts })
    }

    /// Writes `config.json` and `model.safetensors`, each whole or not at all.
    /// # Errors
    /// `Error::Write`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join("config.json");
        let text = serde_json::to_string_pretty(&ConfigFile::of(&self.config))
            .map_err(|e| Error::Write { path: path.clone(), source: std::io::Error::other(e) })?;
        let file = PartialFile::create(&path)?;
        std::io::Write::write_all(&mut file.file(), text.as_bytes())
            .map_err(|source| file.write_error(source))?;
        file.finish()?;
        let tensors = self.parameters.iter().map(|(name, var)| (name.as_str(), var.as_tensor()));
        save_tensors(tensors, &folder.join("model.safetensors"))
    }

    /// Its shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Everything that is learnt, in a fixed order, by transformers' names.
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Hidden states without dropout, (rows, length, width) each: embeddings, every block, the
    /// last one behind the final LayerNorm: as many as blocks and one.
    /// # Errors
    /// `Error::Shape` for a batch that does not fit the encoder; `Error::Tensor`.
    pub fn hidden_states(&self, batch: &Batch) -> Result<Vec<Tensor>> {
        let mut states = Vec::with_capacity(self.parts.blocks.len() + 1);
        let last = self.encode(batch, None, |state| states.push(state.clone()))?;
        states.pop();
        states.push(last);
        let shape = (batch.rows, batch.length, self.config.hidden_size);
        let states: candle_core::Result<Vec<Tensor>> =
            states.iter().map(|state| state.reshape(shape)).collect();
        Ok(states?)
    }

    /// Mean of −ln p(piece) over the targets, in nats, with its gradients.
    ///
    /// `dropout_seed`: of this step; `None` leaves dropout out.
    /// # Errors
    /// `Error::Shape` for a batch that does not fit the encoder; `Error::Tensor`.
    pub fn mlm_loss(
        &self,
        batch: &Batch,
        targets: &Targets,
        dropout_seed: Option<u64>,
    ) -> Result<Tensor> {
        let n = batch.rows * batch.length;
        let fits = targets.positions.len() == targets.labels.len()
            && !targets.labels.is_empty()
            && targets.positions.iter().all(|&p| (p as usize) < n)
            && targets.labels.iter().all(|&id| (id as usize) < self.config.vocab_size);
        if !fits {
            return Err(Error::Shape {
                what: "targets of masked language modelling".into(),
                expected: format!("positions < {n}, labels < {}", self.config.vocab_size),
                got: format!(
                    "{} positions, {} labels",
                    targets.positions.len(),
                    targets.labels.len()
                ),
                hint: "targets belong to another batch".into(),
            });
        }
        let hidden = self.encode(batch, dropout_seed, |_| ())?;
        let positions =
            Tensor::from_slice(&targets.positions, targets.positions.len(), &self.device)?;
        let guesses = self.transform(&hidden.index_select(&positions, 0)?)?;
        Ok(ops::mlm_loss(&guesses, &self.parts.words, &self.parts.bias, &targets.labels)?)
    }

    /// Scores of every piece at every position, (rows, length, pieces), without dropout.
    /// # Errors
    /// As [`Encoder::hidden_states`].
    pub fn logits(&self, batch: &Batch) -> Result<Tensor> {
        let hidden = self.encode(batch, None, |_| ())?;
        let guesses = self.transform(&hidden)?;
        let logits = ops::linear(&guesses, &self.parts.words, &self.parts.bias)?;
        Ok(logits.reshape((batch.rows, batch.length, self.config.vocab_size))?)
    }

    /// The head's own layer, in front of the table of pieces.
    fn transform(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Parts { transform, transform_norm, .. } = &self.parts;
        let x = ops::gelu(&ops::linear(x, &transform.weight, &transform.bias)?)?;
        self.normed(&x, transform_norm)
    }

    fn normed(&self, x: &Tensor, norm: &Affine) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &norm.weight, &norm.bias, self.config.layer_norm_eps)
    }

    /// (tokens, width) behind the final LayerNorm. `see` is shown the embeddings and what leaves
    /// every block.
    fn encode(
        &self,
        batch: &Batch,
        dropout_seed: Option<u64>,
        mut see: impl FnMut(&Tensor),
    ) -> Result<Tensor> {
        self.check(batch)?;
        let rows = Rows { rows: batch.rows, length: batch.length, attended: &batch.attended };
        let mut places = 0u64..;
        let mut dropout = |p: f64| {
            let place = places.next().unwrap_or(0);
            dropout_seed.map(|seed| Dropout { p, seed: mix(seed ^ mix(place)) })
        };
        let (hidden_p, attention_p) =
            (self.config.hidden_dropout_prob, self.config.attention_probs_dropout_prob);
        let Parts { words, positions, types, .. } = &self.parts;
        let embedded =
            ops::embed((words, positions, types), &batch.ids, &batch.types, batch.length)?;
        let mut x = ops::dropout(&embedded, dropout(hidden_p))?;
        see(&x);
        for block in &self.parts.blocks {
            let normed = self.normed(&x, &block.attention_norm)?;
            let three = [&block.query, &block.key, &block.value];
            let weight = Tensor::cat(&three.map(|part| &part.weight), 0)?;
            let bias = Tensor::cat(&three.map(|part| &part.bias), 0)?;
            let qkv = ops::linear(&normed, &weight, &bias)?;
            let heads = self.config.num_attention_heads;
            let mixed = ops::attention(&qkv, heads, rows, dropout(attention_p))?;
            let out = &block.attention_out;
            let mixed = ops::linear(&mixed, &out.weight, &out.bias)?;
            x = ops::dropout_add(&mixed, &x, dropout(hidden_p))?;

            let normed = self.normed(&x, &block.norm)?;
            let wide = ops::gelu(&ops::linear(&normed, &block.wide.weight, &block.wide.bias)?)?;
            let narrow = ops::linear(&wide, &block.narrow.weight, &block.narrow.bias)?;
            x = ops::dropout_add(&narrow, &x, dropout(hidden_p))?;
            see(&x);
        }
        Ok(self.normed(&x, &self.parts.norm)?)
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        let n = batch.rows * batch.length;
        let config = &self.config;
        let fits = n > 0
            && [batch.ids.len(), batch.types.len(), batch.attended.len()] == [n; 3]
            && batch.length <= config.max_position_embeddings
            && batch.ids.iter().all(|&id| (id as usize) < config.vocab_size)
            && batch.types.iter().all(|&id| (id as usize) < config.type_vocab_size)
            && batch.attended.chunks(batch.length).all(|row| row[0]);
        if fits {
            return Ok(());
        }
        Err(Error::Shape {
            what: "rows of word pieces".into(),
            expected: format!(
                "at most {} pieces a row, of {} known ones, the first one attended",
                config.max_position_embeddings, config.vocab_size
            ),
            got: format!(
                "{} rows of {}, ids up to {}",
                batch.rows,
                batch.length,
                batch.ids.iter().max().copied().unwrap_or(0)
            ),
            hint: "is it the tokenizer this encoder was trained with?".into(),
        })
    }
}

/// Tensors by name in one safetensors file, whole or absent.
/// # Errors
/// `Error::Write`.
pub fn save_tensors<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    path: &Path,
) -> Result<()> {
    let tensors: HashMap<&str, Tensor> =
        tensors.map(|(name, tensor)| (name, tensor.clone())).collect();
    let file = PartialFile::create(path)?;
    let fail = |source| file.write_error(source);
    let permissions = file.file().metadata().map_err(fail)?.permissions();
    candle_core::safetensors::save(&tensors, file.path())
        .map_err(|e| fail(std::io::Error::other(e)))?;
    // It puts a file of its own there, which nobody else may read.
    std::fs::set_permissions(file.path(), permissions).map_err(fail)?;
    file.finish()
}

/// Neighbouring numbers to unlike ones (Steele et al. 2014, SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Makes parameters in the order in which they are named.
struct Maker<F> {
    value: F,
    parameters: Vec<(String, Var)>,
}

impl<F: FnMut(&str, &[usize]) -> Result<Tensor>> Maker<F> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let var = Var::from_tensor(&(self.value)(name, shape)?)?;
        self.parameters.push((name.to_owned(), var.clone()));
        Ok(var.as_tensor().clone())
    }

    fn affine(&mut self, name: &str, shape: &[usize]) -> Result<Affine> {
        Ok(Affine {
            weight: self.tensor(&format!("{name}.weight"), shape)?,
            bias: self.tensor(&format!("{name}.bias"), &shape[..1])?,
        })
    }

    fn parts(&mut self, config: &EncoderConfig) -> Result<Parts> {
        let (h, f) = (config.hidden_size, config.intermediate_size);
        let table = |name: &str| format!("bert.embeddings.{name}_embeddings.weight");
        Ok(Parts {
            words: self.tensor(&table("word"), &[config.vocab_size, h])?,
            positions: self.tensor(&table("position"), &[config.max_position_embeddings, h])?,
            types: self.tensor(&table("token_type"), &[config.type_vocab_size, h])?,
            blocks: (0..config.num_hidden_layers)
                .map(|i| self.block(&format!("bert.encoder.layer.{i}"), h, f))
                .collect::<Result<_>>()?,
            norm: self.affine("bert.encoder.ln", &[h])?,
            transform: self.affine("cls.predictions.transform.dense", &[h, h])?,
            transform_norm: self.affine("cls.predictions.transform.LayerNorm", &[h])?,
            bias: self.tensor("cls.predictions.bias", &[config.vocab_size])?,
        })
    }

    fn block(&mut self, name: &str, h: usize, f: usize) -> Result<Block> {
        let mut affine =
            |part: &str, shape: &[usize]| self.affine(&format!("{name}.{part}"), shape);
        Ok(Block {
            attention_norm: affine("attention.ln", &[h])?,
            query: affine("attention.self.query", &[h, h])?,
            key: affine("attention.self.key", &[h, h])?,
            value: affine("attention.self.value", &[h, h])?,
            attention_out: affine("attention.output.dense", &[h, h])?,
            norm: affine("ln", &[h])?,
            wide: affine("intermediate.dense", &[f, h])?,
            narrow: affine("output.dense", &[h, f])?,
        })
    }
}
