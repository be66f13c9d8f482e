//! The logs of a training: train_log.csv, one line an epoch, and TensorBoard's events. Both only
//! grow; a training that goes on cuts them to where its checkpoint was.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::nn::events;
use crate::nn::train::EpochLosses;
use crate::results::names::TRAIN_LOG;

const HEADER: &str = "epoch,step,train_loss,val_loss,tokens_per_s,lr\n";
const EVENTS: &str = "events.out.tfevents.";

/// Lengths that a checkpoint keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Name of the event file.
    pub events: String,
    /// Its bytes.
    pub events_bytes: u64,
    /// Bytes of train_log.csv.
    pub csv_bytes: u64,
}

/// Both files, open.
#[derive(Debug)]
pub struct Log {
    csv: Open,
    events: Open,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    n_bytes: u64,
}

/// What an epoch adds.
#[derive(Debug, Clone, Copy)]
pub struct EpochLine {
    /// Losses.
    pub losses: EpochLosses,
    /// Steps done since the training began.
    pub step: usize,
    /// Pieces trained on in a second.
    pub tokens_per_s: f64,
    /// Of the last step.
    pub lr: f64,
}

impl Log {
    /// Begins both files; those of a training that never came to a checkpoint are removed.
    /// # Errors
    /// `Error::Write`.
    pub fn begin(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder)
            .map_err(|source| Error::Read { path: folder.to_owned(), source })?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(EVENTS) && name.ends_with(".voxelcast") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let name = format!("{EVENTS}{}.voxelcast", now_s() as u64);
        let mut log = Self {
            csv: Open::at(folder.join(TRAIN_LOG), 0)?,
            events: Open::at(folder.join(name), 0)?,
        };
        log.csv.append(HEADER.as_bytes())?;
        log.events.append(&events::header(now_s()))?;
        Ok(log)
    }

    /// Opens both files and cuts them to what a checkpoint knew.
    /// # Errors
    /// `Error::Write`.
    pub fn go_on(folder: &Path, state: &LogState) -> Result<Self> {
        // A name alone, whatever the checkpoint says.
        let name = Path::new(&state.events).file_name().unwrap_or_default();
        Ok(Self {
            csv: Open::at(folder.join(TRAIN_LOG), state.csv_bytes)?,
            events: Open::at(folder.join(name), state.events_bytes)?,
        })
    }

    /// For a checkpoint.
    pub fn state(&self) -> LogState {
        let name = self.events.path.file_name().unwrap_or_default();
        LogState {
            events: name.to_string_lossy().into_owned(),
            events_bytes: self.events.n_bytes,
            csv_bytes: self.csv.n_bytes,
        }
    }

    /// The loss of one step.
    /// # Errors
    /// `Error::Write`.
    pub fn step(&mut self, step: usize, loss: f64) -> Result<()> {
        self.events.append(&events::scalars(now_s(), step as u64, &[("loss/step", loss as f32)]))
    }

    /// An epoch's line.
    /// # Errors
    /// `Error::Write`.
    pub fn epoch(&mut self, line: &EpochLine) -> Result<()> {
        let EpochLine { losses, step, tokens_per_s, lr } = *line;
        let EpochLosses { epoch, train_loss, val_loss } = losses;
        let values = [
            ("loss/train", train_loss as f32),
            ("loss/validation", val_loss as f32),
            ("tokens_per_s", tokens_per_s as f32),
            ("lr", lr as f32),
        ];
        self.events.append(&events::scalars(now_s(), step as u64, &values))?;
        let text = format!("{epoch},{step},{train_loss},{val_loss},{tokens_per_s:.1},{lr}\n");
        self.csv.append(text.as_bytes())
    }
}

impl Open {
    fn at(path: PathBuf, n_bytes: u64) -> Result<Self> {
        let fail = |source| Error::Write { path: path.clone(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        let there = file.metadata().map_err(fail)?.len();
        if there < n_bytes {
            return Err(Error::Values {
                place: path.display().to_string(),
                problem: format!("has {there} bytes, {n_bytes} at the last checkpoint"),
                hint: "remove the training's folder and start again".into(),
            });
        }
        file.set_len(n_bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(fail)?;
        Ok(Self { path, file, n_bytes })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Losses of every epoch in a folder's train_log.csv.
/// # Errors
/// `Error::Read`; `Error::Values` for a line that is none.
pub fn read_losses(folder: &Path) -> Result<Vec<EpochLosses>> {
    let path = folder.join(TRAIN_LOG);
    let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let parse = |line: &str| {
        let mut cells = line.split(',');
        let epoch = cells.next()?.parse().ok()?;
        let train_loss = cells.nth(1)?.parse().ok()?;
        let val_loss = cells.next()?.parse().ok()?;
        Some(EpochLosses { epoch, train_loss, val_loss })
    };
    let wrong = |line: &str| Error::Values {
        place: path.display().to_string(),
        problem: format!("no line of a training: {line:?}"),
        hint: "remove the training's folder and start again".into(),
    };
    text.lines().skip(1).map(|line| parse(line).ok_or_else(|| wrong(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(epoch: usize) -> EpochLine {
        let losses = EpochLosses { epoch, train_loss: 0.1 + epoch as f64, val_loss: 1.0 / 3.0 };
        EpochLine { losses, step: epoch * 5, tokens_per_s: 1234.56, lr: 1e-4 }
    }

    #[test]
    fn a_log_that_goes_on_is_cut_to_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path()).unwrap();
        log.step(1, 2.0).unwrap();
        log.epoch(&line(1)).unwrap();
        let kept = log.state();
        log.epoch(&line(2)).unwrap();
        drop(log);
        let mut log = Log::go_on(folder.path(), &kept).unwrap();
        assert_eq!(log.state(), kept);
        log.epoch(&line(3)).unwrap();
        let losses = read_losses(folder.path()).unwrap();
        assert_eq!(losses, [line(1).losses, line(3).losses]);
        let text = fs::read_to_string(folder.path().join("train_log.csv")).unwrap();
        assert_eq!(text.lines().next(), Some(HEADER.trim()));
        assert_eq!(text.lines().nth(1), Some("1,5,1.1,0.3333333333333333,1234.6,0.0001"));
        let events = fs::metadata(folder.path().join(&kept.events)).unwrap().len();
        assert_eq!(events, log.state().events_bytes);
    }

    #[test]
    fn a_new_log_replaces_one_without_a_checkpoint_and_leaves_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let others = ["events.out.tfevents.1.host", "notes"];
        others.iter().for_each(|name| fs::write(folder.path().join(name), "x").unwrap());
        fs::write(folder.path().join("events.out.tfevents.1.voxelcast"), "x").unwrap();
        fs::write(folder.path().join("train_log.csv"), "old\nlines\n").unwrap();
        Log::begin(folder.path()).unwrap();
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(!folder.path().join("events.out.tfevents.1.voxelcast").exists());
        assert!(read_losses(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_log_shorter_than_its_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path()).unwrap();
        log.epoch(&line(1)).unwrap();
        let kept = log.state();
        fs::write(folder.path().join("train_log.csv"), "epoch").unwrap();
        assert_eq!(Log::go_on(folder.path(), &kept).unwrap_err().exit_code(), 3);
    }
}
