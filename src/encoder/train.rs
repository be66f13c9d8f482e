//! The training loop: steps, epochs, checkpoints, logs, and what stands in the folder at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::identity::{finished, settings_json};
use super::log::{EpochLine, Log, LogState};
use super::text::{NamedWords, Prepared, prepare, sorted_text_hash};
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::nn::TrainSettings;
use crate::nn::checkpoint::{self, Checkpoint};
use crate::nn::train::{EpochLosses, State, Trainer};
use crate::reporter::Reporter;
use crate::results::lock::{Locking, lock_folder};
use crate::results::names::{BASELINE, TRAIN};
use crate::ridge::route::duration;

const CHECKPOINT: &str = ".checkpoint.safetensors";

/// Seconds between two sentences about a training that nobody watches on a terminal.
const NOTE_S: f64 = 60.0;

/// What is to be trained.
#[derive(Debug, Clone, Copy)]
pub struct TrainJob<'a> {
    /// Names and words.
    pub texts: &'a [NamedWords<'a>],
    /// Checked.
    pub settings: &'a TrainSettings,
    /// MODEL.
    pub out: &'a Path,
    /// Where to compute.
    pub device: &'a Device,
    /// Seconds between two checkpoints; 0: one after every step.
    pub checkpoint_s: f64,
    /// Whether MODEL is locked.
    pub locking: Locking,
}

/// Folder inside MODEL with the weights that the training ended with.
pub const LAST_EPOCH: &str = "last";

/// A finished training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// MODEL.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Texts with words.
    pub n_texts: usize,
    /// Words of all texts.
    pub n_words: usize,
    /// Word pieces of the tokenizer.
    pub vocab_size: usize,
    /// Numbers learnt.
    pub n_parameters: usize,
    /// Windows of an epoch.
    pub n_windows: usize,
    /// Pieces guessed in validation.
    pub n_validation_targets: usize,
    /// Mean −ln p of these under the training pieces' frequencies.
    pub unigram_loss: f64,
    /// Epochs done.
    pub n_epochs: usize,
    /// Whether patience ended it.
    pub stopped_early: bool,
    /// The epoch whose weights are model.safetensors.
    pub best: EpochLosses,
    /// The last epoch, whose weights are in last/.
    pub last: EpochLosses,
    /// Whether an earlier run had finished it.
    #[serde(skip)]
    pub was_done: bool,
}

/// Seconds, kept through interruptions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Times {
    training_s: f64,
    validation_s: f64,
    checkpoints_s: f64,
    /// Of the current epoch.
    epoch_s: f64,
    epoch_tokens: usize,
    /// Times that it was started.
    n_starts: usize,
}

/// What a checkpoint keeps besides tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    state: State,
    log: LogState,
    times: Times,
    lr: f64,
}

/// Trains an encoder, or goes on with it, or returns the one that is there.
///
/// MODEL at the end: `config.json` and `model.safetensors` (the epoch with the smallest validation
/// loss), `last/` (the last epoch's, a checkpoint folder too), `tokenizer.json`, `train_log.csv`,
/// `events.out.tfevents.*`, `baseline.json`, `train.json`. A training killed at any moment goes on
/// from its last checkpoint, to the same bits on the CPU.
/// # Errors
/// `Error::Values` (exit 3) for text that cannot be trained on and for a folder that holds another
/// training; `Error::Locked`; `Error::Numerical` for a loss that is not finite; `Error::Interrupted`
/// after a checkpoint was written.
pub fn train(job: &TrainJob<'_>, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<Trained> {
    train_prepared(job, &mut None, reporter, cancel)
}

/// As [`train`]; several trainings that differ in nothing that `prepare` sees share its work.
pub(crate) fn train_prepared(
    job: &TrainJob<'_>,
    prepared: &mut Option<Prepared>,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<Trained> {
    let settings = settings_json(job.settings)?;
    let hash = sorted_text_hash(job.texts);
    let _lock = lock_folder(job.out, job.locking)?;
    if let Some(document) = finished(job.out, &settings, &hash)? {
        let _ = std::fs::remove_file(job.out.join(CHECKPOINT));
        return result(job.out, &document);
    }
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => prepared.insert(prepare(job.texts, job.settings)?),
    };
    let mut session = Session::start(job, prepared, settings, reporter)?;
    session.run(cancel)?;
    session.finish()
}

/// The result in a finished folder's train.json.
fn result(out: &Path, document: &Value) -> Result<Trained> {
    let trained: Trained =
        serde_json::from_value(document["result"].clone()).map_err(|e| Error::Values {
            place: out.join(TRAIN).display().to_string(),
            problem: format!("is damaged: {e}"),
            hint: "remove the training's folder and start again".into(),
        })?;
    Ok(Trained { folder: out.to_owned(), was_done: true, ..trained })
}

/// One training while it runs.
struct Session<'a> {
    job: &'a TrainJob<'a>,
    prepared: &'a Prepared,
    settings: Map<String, Value>,
    reporter: &'a dyn Reporter,
    trainer: Trainer<'a>,
    log: Log,
    times: Times,
    lr: f64,
    last_checkpoint: Instant,
    last_note: Instant,
}

impl<'a> Session<'a> {
    /// Writes what is known before the first step; takes up a checkpoint if there is one.
    fn start(
        job: &'a TrainJob<'a>,
        prepared: &'a Prepared,
        settings: Map<String, Value>,
        reporter: &'a dyn Reporter,
    ) -> Result<Self> {
        let corpus = &prepared.corpus;
        let mut trainer = Trainer::new(corpus, job.settings, job.device)?;
        let path = job.out.join(CHECKPOINT);
        let (log, times, lr) = match checkpoint::read(&path, job.device)? {
            None => (Log::begin(job.out)?, Times::default(), 0.0),
            Some(Checkpoint { tensors, state }) => {
                let kept: Kept = serde_json::from_str(&state)
                    .map_err(|e| checkpoint::damaged(&path, &e.to_string()))?;
                trainer.restore(kept.state, &tensors)?;
                reporter.note(&format!(
                    "going on after epoch {}, step {}",
                    trainer.state().epoch,
                    trainer.state().step
                ));
                (Log::go_on(job.out, &kept.log)?, kept.times, kept.lr)
            }
        };
        let now = Instant::now();
        let (last_checkpoint, last_note) = (now, now);
        let mut session = Self {
            job,
            prepared,
            settings,
            reporter,
            trainer,
            log,
            times,
            lr,
            last_checkpoint,
            last_note,
        };
        session.times.n_starts += 1;
        session.write_train_json(None)?;
        prepared.tokenizer.save(&job.out.join("tokenizer.json"))?;
        let baseline = json!({ "unigram_loss": corpus.unigram_loss });
        write_json(&job.out.join(BASELINE), &baseline)?;
        reporter.note(&format!(
            "{} windows an epoch from {} pieces; {} pieces to guess in validation, unigram \
             baseline {:.4} nats",
            corpus.n_windows(),
            corpus.n_train_pieces,
            corpus.n_validation_targets,
            corpus.unigram_loss
        ));
        Ok(session)
    }

    fn run(&mut self, cancel: &AtomicBool) -> Result<()> {
        let n_steps = self.job.settings.epochs * self.trainer.steps_per_epoch();
        self.reporter.start("training", (n_steps - self.trainer.steps_done()) as u64);
        while !self.trainer.is_finished() {
            if cancel.load(Ordering::Relaxed) {
                self.checkpoint()?;
                self.reporter.finish();
                return Err(Error::Interrupted);
            }
            match self.trainer.is_at_epoch_end() {
                true => self.finish_epoch()?,
                false => self.step()?,
            }
            if self.last_checkpoint.elapsed().as_secs_f64() >= self.job.checkpoint_s {
                self.checkpoint()?;
            }
        }
        self.reporter.finish();
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let start = Instant::now();
        let done = self.trainer.step()?;
        let seconds = start.elapsed().as_secs_f64();
        self.times.training_s += seconds;
        self.times.epoch_s += seconds;
        self.times.epoch_tokens += done.n_tokens;
        self.lr = done.lr;
        self.log.step(self.trainer.steps_done(), done.loss)?;
        self.reporter.status(&format!(
            "epoch {} loss {:.3} {:.0} tokens/s",
            self.trainer.state().epoch + 1,
            done.loss,
            self.tokens_per_s()
        ));
        self.reporter.advance(1);
        Ok(())
    }

    fn finish_epoch(&mut self) -> Result<()> {
        let start = Instant::now();
        let losses = self.trainer.finish_epoch()?;
        self.times.validation_s += start.elapsed().as_secs_f64();
        let tokens_per_s = self.tokens_per_s();
        let step = self.trainer.steps_done();
        self.log.epoch(&EpochLine { losses, step, tokens_per_s, lr: self.lr })?;
        self.times.epoch_s = 0.0;
        self.times.epoch_tokens = 0;
        let EpochLosses { epoch, train_loss, val_loss } = losses;
        let spent = self.times.training_s + self.times.validation_s;
        let left = spent / epoch as f64 * (self.job.settings.epochs - epoch) as f64;
        let text = format!(
            "epoch {epoch} of {}: loss {train_loss:.4} in training, {val_loss:.4} in validation; \
             {tokens_per_s:.0} tokens/s, about {} left",
            self.job.settings.epochs,
            duration(left)
        );
        if self.last_note.elapsed().as_secs_f64() >= NOTE_S {
            self.last_note = Instant::now();
            self.reporter.note(&text);
        } else {
            self.reporter.step(&text);
        }
        Ok(())
    }

    fn tokens_per_s(&self) -> f64 {
        self.times.epoch_tokens as f64 / self.times.epoch_s.max(1e-9)
    }

    fn checkpoint(&mut self) -> Result<()> {
        let start = Instant::now();
        let kept = Kept {
            state: self.trainer.state().clone(),
            log: self.log.state(),
            times: self.times.clone(),
            lr: self.lr,
        };
        let path = self.job.out.join(CHECKPOINT);
        let state = serde_json::to_string(&kept)
            .map_err(|e| Error::Write { path: path.clone(), source: e.into() })?;
        checkpoint::write(&path, &self.trainer.tensors()?, &state)?;
        self.times.checkpoints_s += start.elapsed().as_secs_f64();
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    /// Writes the weights. The checkpoint goes last: killed in between, all of this is done again.
    fn finish(mut self) -> Result<Trained> {
        self.checkpoint()?;
        let out = self.job.out;
        let last = out.join(LAST_EPOCH);
        std::fs::create_dir_all(&last)
            .map_err(|source| Error::Write { path: last.clone(), source })?;
        self.trainer.encoder().save(&last)?;
        self.prepared.tokenizer.save(&last.join("tokenizer.json"))?;
        self.trainer.take_best()?;
        self.trainer.encoder().save(out)?;
        let trained = self.trained()?;
        self.write_train_json(Some(&trained))?;
        let _ = std::fs::remove_file(out.join(CHECKPOINT));
        Ok(trained)
    }

    fn trained(&self) -> Result<Trained> {
        let State { epoch, best, last, .. } = self.trainer.state().clone();
        let (Some(best), Some(last)) = (best, last) else {
            return Err(Error::Numerical {
                what: "training".into(),
                problem: "ended without an epoch".into(),
            });
        };
        let (corpus, config) = (&self.prepared.corpus, self.trainer.encoder().config());
        Ok(Trained {
            folder: self.job.out.to_owned(),
            n_texts: self.prepared.n_texts,
            n_words: self.prepared.n_words,
            vocab_size: config.vocab_size,
            n_parameters: config.n_parameters(),
            n_windows: corpus.n_windows(),
            n_validation_targets: corpus.n_validation_targets,
            unigram_loss: corpus.unigram_loss,
            n_epochs: epoch,
            stopped_early: self.trainer.stopped_early(),
            best,
            last,
            was_done: false,
        })
    }

    fn write_train_json(&self, trained: Option<&Trained>) -> Result<()> {
        let Prepared { text_hash, n_texts, n_words, held_out, .. } = self.prepared;
        let device = match self.job.device {
            Device::Cpu => "cpu",
            _ => "cuda",
        };
        let document = json!({
            "schema": "voxelcast.training/1",
            "version": env!("CARGO_PKG_VERSION"),
            "commit": env!("VOXELCAST_COMMIT"),
            "finished": trained.is_some(),
            "settings": self.settings,
            "text": {
                "blake3": text_hash, "n_texts": n_texts, "n_words": n_words, "held_out": held_out,
            },
            "device": device,
            "threads": rayon::current_num_threads(),
            "result": trained,
            "timings_s": {
                "training": self.times.training_s,
                "validation": self.times.validation_s,
                "checkpoints": self.times.checkpoints_s,
            },
            "n_starts": self.times.n_starts,
        });
        write_json(&self.job.out.join(TRAIN), &document)
    }
}
