//! `voxelcast simulate`: BOLD with a known truth for anyone's stories, ready for `voxelcast run`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ndarray::Array2;
use serde::Serialize;

use super::features::trs_to_last_word;
use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::{TrRows, tr_rows};
use crate::design::tr_times::tr_times;
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::npy;
use crate::io::output::write_bytes;
use crate::reporter::Reporter;
use crate::results::lock::Locking;
use crate::results::names::{CACHE, STUDY};
use crate::simulate::bold::{Truth, simulate};
use crate::simulate::settings::SimulateSettings;
use crate::stimuli::{Story, read_stories};
use crate::study::language::LanguageWork;
use crate::study::word_space;
use crate::study_file::SpaceKind;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct SimulateJob {
    /// Timed words.
    pub stories: PathBuf,
    /// The features that drive the voxels.
    pub kind: SpaceKind,
    /// Number of subjects.
    pub n_subjects: usize,
    /// Voxels, noise, tuning; `subject` is overwritten.
    pub settings: SimulateSettings,
    /// Middle of the first TR in seconds.
    pub first_tr_s: f64,
    /// TRs cut from the features.
    pub trim: Trim,
    /// Output folder.
    pub out: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Simulated {
    /// Subjects, their folders under the output folder.
    pub subjects: Vec<String>,
    /// Stories and the rows of their BOLD.
    pub stories: Vec<(String, usize)>,
    /// Voxels of each subject.
    pub n_voxels: usize,
    /// Per subject: the truth.
    #[serde(skip)]
    pub truths: Vec<Truth>,
}

/// TRs after the last word, for the response to it.
const TRS_AFTER: usize = 4;

/// Writes `<subject>/<story>.npy` `(n_trs, n_voxels)` f32, and under `truth/<subject>/`
/// `true_r.npy`, `asked_r.npy`, `is_noise.npy`, `peak_trs.npy`, `is_late.npy`, `has_edge.npy`
/// `(n_voxels)` and `weights.npy`
/// `(n_features, n_voxels)`.
///
/// # Errors
/// Those of the stories and vectors; `Error::Usage` for settings outside their ranges.
pub fn run(job: &SimulateJob, reporter: &dyn Reporter) -> Result<Simulated> {
    let (mut stories, warnings) = read_stories(&job.stories)?;
    warnings.iter().for_each(|warning| reporter.warn(warning));
    stories.sort_by(|a, b| a.name.cmp(&b.name));
    let features = features(job, &stories, reporter)?;
    let mut simulated = Simulated {
        subjects: Vec::new(),
        stories: Vec::new(),
        n_voxels: job.settings.n_voxels,
        truths: Vec::new(),
    };
    reporter.start("simulated stories", (stories.len() * job.n_subjects) as u64);
    for index in 1..=job.n_subjects {
        let name = format!("subject{index}");
        let folder = job.out.join(&name);
        make_folder(&folder)?;
        let settings =
            SimulateSettings { subject: index as u64, ..job.settings.clone() }.check()?;
        let mut sizes = Vec::new();
        let trim = (job.trim.head, job.trim.tail);
        let truth = simulate(&features, trim, &settings, |story, bold| {
            let (n_trs, n_voxels) = bold.dim();
            let values = bold.as_standard_layout();
            let values = values.as_slice().unwrap_or_default();
            let story = &stories[story].name;
            npy::write(&folder.join(format!("{story}.npy")), &[n_trs, n_voxels], values)?;
            sizes.push((story.clone(), n_trs));
            reporter.advance(1);
            Ok(())
        })?;
        write_truth(&job.out.join("truth").join(&name), &truth)?;
        simulated.subjects.push(name);
        simulated.stories = sizes;
        simulated.truths.push(truth);
    }
    reporter.finish();
    write_bytes(&job.out.join(STUDY), study_text(job, &simulated)?.as_bytes())?;
    Ok(simulated)
}

/// Features at every TR, before the trim.
fn features(
    job: &SimulateJob,
    stories: &[Story],
    reporter: &dyn Reporter,
) -> Result<Vec<Array2<f32>>> {
    let all: Vec<usize> = (0..stories.len()).collect();
    let cache = job.out.join(CACHE);
    let work = LanguageWork {
        cache: &cache,
        device: &crate::nn::Device::Cpu,
        encoder: None,
        is_plan: false,
        locking: Locking::On,
        reporter,
        cancel: &AtomicBool::new(false),
    };
    let Some(space) = word_space(&job.kind, Path::new(""), stories, &all, &work)? else {
        return Err(Error::Usage {
            place: "--kind".into(),
            problem: "a combination cannot drive voxels".into(),
            hint: "use one kind of features".into(),
        });
    };
    let lanczos = Lanczos::default();
    stories
        .iter()
        .enumerate()
        .map(|(index, story)| {
            let times = match &story.tr_times_s {
                Some(times) => times.clone(),
                None => {
                    let (first, step) = (job.first_tr_s, job.settings.tr_s);
                    let in_story = |error: Error| error.in_story(&story.name);
                    let spoken = trs_to_last_word(story, first, step).map_err(in_story)?;
                    let n_trs = spoken.saturating_add(TRS_AFTER).saturating_add(job.trim.tail);
                    tr_times(first, step, n_trs).map_err(in_story)?
                }
            };
            let rows = space.story_rows(index, story)?;
            let rows = tr_rows(&rows, &story.mid_s, &times, &lanczos, Trim::NONE)
                .map_err(|error| error.in_story(&story.name))?;
            Ok(match rows {
                TrRows::Dense(rows) => rows.mapv(|x| x as f32),
                TrRows::Sparse(rows) => rows.to_dense().mapv(|x| x as f32),
            })
        })
        .collect()
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::Write { path: folder.to_owned(), source })
}

fn write_truth(folder: &Path, truth: &Truth) -> Result<()> {
    make_folder(folder)?;
    let n = truth.true_r.len();
    npy::write(&folder.join("true_r.npy"), &[n], &truth.true_r)?;
    npy::write(&folder.join("asked_r.npy"), &[n], &truth.asked_r)?;
    npy::write(&folder.join("is_noise.npy"), &[n], &truth.is_noise)?;
    let peak_trs: Vec<f64> = truth.peak_trs.iter().map(|&trs| trs as f64).collect();
    npy::write(&folder.join("peak_trs.npy"), &[n], &peak_trs)?;
    npy::write(&folder.join("is_late.npy"), &[n], &truth.is_late)?;
    npy::write(&folder.join("has_edge.npy"), &[n], &truth.has_edge)?;
    let (rows, cols) = truth.weights.dim();
    let weights: Vec<f32> = truth.weights.iter().copied().collect();
    npy::write(&folder.join("weights.npy"), &[rows, cols], &weights)
}

/// A study over what was simulated.
fn study_text(job: &SimulateJob, simulated: &Simulated) -> Result<String> {
    let absolute = |path: &Path| {
        let path = std::path::absolute(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Ok::<_, Error>(toml::Value::String(path.display().to_string()))
    };
    let mut text = format!("[stories]\npath = {}\n", absolute(&job.stories)?);
    for subject in &simulated.subjects {
        text += &format!("\n[bold.{subject}]\npath = \"{subject}/{{story}}.npy\"\n");
    }
    text += &format!(
        "\n[design]\ntr_s = {:?}\nfirst_tr_s = {:?}\ntrim = \"{}\"\n\n[[space]]\nkind = \"{}\"\n",
        job.settings.tr_s,
        job.first_tr_s,
        job.trim,
        job.kind.label()
    );
    if let SpaceKind::Glove(path) | SpaceKind::Word2Vec(path) = &job.kind {
        text += &format!("vectors = {}\n", absolute(path)?);
    }
    if job.kind != SpaceKind::WordRate {
        text += "\n[[space]]\nkind = \"word_rate\"\n";
    }
    Ok(text)
}
