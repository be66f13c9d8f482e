//! `voxelcast encoder sweep`: one training a point, one table of all.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use serde::Serialize;

use super::grid::Point;
use super::log::read_losses;
use super::text::NamedWords;
use super::train::{TrainJob, Trained, train_prepared};
use crate::error::{Error, Result};
use crate::io::output::write_bytes;
use crate::nn::TrainSettings;
use crate::nn::train::EpochLosses;
use crate::reporter::Reporter;
use crate::results::lock::{Locking, lock_folder};
use crate::results::names::SWEEP;

/// Columns of sweep.csv.
pub const HEADER: &str = "point,heads,layers,hidden,intermediate,p_mlm,seed,epoch,train_loss,\
                          val_loss,best_val_loss,stopped_early,chosen";

/// What is to be swept.
#[derive(Debug, Clone, Copy)]
pub struct SweepJob<'a> {
    /// Names and words.
    pub texts: &'a [NamedWords<'a>],
    /// What the points share; checked with every point.
    pub base: &'a TrainSettings,
    /// Each a folder under `out`.
    pub points: &'a [Point],
    /// DIR.
    pub out: &'a Path,
    /// Where to compute.
    pub device: &'a Device,
    /// Seconds between two checkpoints of a training.
    pub checkpoint_s: f64,
}

/// A finished point.
#[derive(Debug, Clone, Serialize)]
pub struct PointDone {
    /// Its folder under DIR.
    pub name: String,
    /// Its values.
    #[serde(flatten)]
    pub point: Point,
    /// How its training ended.
    #[serde(flatten)]
    pub trained: Trained,
    /// Losses of every epoch.
    #[serde(skip)]
    pub curve: Vec<EpochLosses>,
}

/// A finished sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// In the order of the grid.
    pub points: Vec<PointDone>,
    /// The point with the smallest validation loss; the one with fewer parameters where equal.
    pub chosen: usize,
}

/// Trains every point that is not finished, one after the other. sweep.csv is written after each.
///
/// # Errors
/// Those of a training; `Error::Locked`.
pub fn sweep(job: &SweepJob<'_>, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<Swept> {
    let _lock = lock_folder(job.out, Locking::On)?;
    let mut swept = Swept { points: Vec::new(), chosen: 0 };
    let mut prepared = None;
    for (i, point) in job.points.iter().enumerate() {
        let name = point.name();
        reporter.note(&format!("point {} of {}: {name}", i + 1, job.points.len()));
        let settings = point.settings(job.base);
        let out = job.out.join(&name);
        let (texts, device, checkpoint_s) = (job.texts, job.device, job.checkpoint_s);
        let locking = Locking::On;
        let training =
            TrainJob { texts, settings: &settings, out: &out, device, checkpoint_s, locking };
        let trained = train_prepared(&training, &mut prepared, reporter, cancel)?;
        let curve = read_losses(&out)?;
        swept.points.push(PointDone { name, point: *point, trained, curve });
        swept.chosen = chosen(&swept.points);
        write_bytes(&job.out.join(SWEEP), csv(&swept, job.base.seed).as_bytes())?;
    }
    if swept.points.is_empty() {
        return Err(Error::Usage {
            place: "--grid".into(),
            problem: "has no points".into(),
            hint: "give at least one value of each".into(),
        });
    }
    Ok(swept)
}

fn chosen(points: &[PointDone]) -> usize {
    let key = |point: &PointDone| (point.trained.best.val_loss, point.trained.n_parameters);
    let mut best = 0;
    for (i, point) in points.iter().enumerate() {
        if key(point) < key(&points[best]) {
            best = i;
        }
    }
    best
}

/// One line a point and epoch.
fn csv(swept: &Swept, seed: u64) -> String {
    let mut text = format!("{HEADER}\n");
    for (i, PointDone { name, point, trained, curve }) in swept.points.iter().enumerate() {
        let Point { heads, layers, hidden, intermediate, p_mlm } = point;
        for EpochLosses { epoch, train_loss, val_loss } in curve {
            let _ = writeln!(
                text,
                "{name},{heads},{layers},{hidden},{intermediate},{p_mlm},{seed},{epoch},\
                 {train_loss},{val_loss},{},{},{}",
                trained.best.val_loss,
                trained.stopped_early,
                i == swept.chosen
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Grid;

    fn done(heads: usize, val_loss: f64, n_parameters: usize) -> PointDone {
        let point = Point { heads, ..Grid::of(&TrainSettings::default()).points()[0] };
        let best = EpochLosses { epoch: 1, train_loss: 2.5, val_loss };
        let last = EpochLosses { epoch: 2, train_loss: 2.0, val_loss: val_loss + 0.5 };
        let trained = Trained {
            folder: "x".into(),
            n_texts: 2,
            n_words: 10,
            vocab_size: 9,
            n_parameters,
            n_windows: 1,
            n_validation_targets: 3,
            unigram_loss: 2.0,
            n_epochs: 2,
            stopped_early: heads == 4,
            best,
            last,
            was_done: false,
        };
        PointDone { name: point.name(), point, trained, curve: vec![best, last] }
    }

    #[test]
    fn the_smallest_validation_loss_is_chosen_and_the_smaller_model_where_equal() {
        assert_eq!(chosen(&[done(2, 3.0, 10), done(4, 2.5, 20), done(8, 2.75, 5)]), 1);
        assert_eq!(chosen(&[done(2, 2.5, 20), done(4, 2.5, 10)]), 1);
        assert_eq!(chosen(&[done(2, 2.5, 10), done(4, 2.5, 10)]), 0);
    }

    #[test]
    fn the_table_has_one_line_a_point_and_epoch() {
        let points = vec![done(2, 3.0, 10), done(4, 2.5, 20)];
        let text = csv(&Swept { points, chosen: 1 }, 7);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0].split(',').count(), 13);
        let name = "heads2-layers2-hidden128-intermediate256-mlm0.15";
        assert_eq!(lines[2], format!("{name},2,2,128,256,0.15,7,2,2,3.5,3,false,false"));
        assert!(lines[3].ends_with(",7,1,2.5,2.5,2.5,true,true"));
    }
}
