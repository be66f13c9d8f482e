//! `voxelcast demo`: stories, vectors and simulated subjects from inside the binary, and the whole
//! study on them.

use std::path::Path;

use serde::Serialize;

use super::simulate::{SimulateJob, run as simulate};
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::npy;
use crate::io::output::{write_bytes, write_json};
use crate::report::ScoreRow;
use crate::report::record::RunInfo;
use crate::results::names::{
    BEST_DELAY, DELAY_PROFILE, RECOVERY, STUDY as STUDY_FILE, TEST_CORRELATION,
};
use crate::results::{ModelId, RunFolder};
use crate::simulate::demo_assets::{GLOVE_TXT_GZ, WORD2VEC_BIN, stories};
use crate::simulate::recovery::{
    DelayRecovery, Recovery, chance_threshold, delay_recovery, recovery,
};
use crate::simulate::settings::SimulateSettings;
use crate::simulate::speech::{SpeechSettings, speak};
use crate::study::{RunOptions, Session, StudyResults, run};
use crate::study_file;
use crate::study_file::SpaceKind;

/// What the demo found.
#[derive(Debug, Clone, Serialize)]
pub struct DemoResults {
    /// summary.csv.
    pub summary: Vec<ScoreRow>,
    /// run.json.
    pub run: RunInfo,
    /// Per subject: how much of the truth the best model found.
    pub recovery: Vec<(String, Found)>,
    /// The model it was found with.
    pub recovery_model: String,
}

/// What was found of one subject's truth.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Correlations.
    #[serde(flatten)]
    pub recovery: Recovery,
    /// Best delays.
    pub delays: DelayRecovery,
}

/// The demo's study; its paths are those under the output folder.
const STUDY: &str = r#"# The demo's study: `voxelcast run STUDY.toml --out DIR` does the same again.
[stories]
path = "data/words.tsv"

[bold.subject1]
path = "data/subject1/{story}.npy"
[bold.subject2]
path = "data/subject2/{story}.npy"

[split]
n_test = 3
seed = 214
inner = "20:10"          # scores once more without so many TRs at the edges of a story

[design]
trim = "10:5"            # TRs cut from the features at head and tail
delays = "1..4"          # TRs

[[space]]
name = "glove"           # GloVe text, gzipped
kind = "glove"
vectors = "data/vectors.32d.glove.txt.gz"

[[space]]
name = "word2vec"        # the same vectors as word2vec binary
kind = "word2vec"
vectors = "data/vectors.32d.word2vec.bin"

[[space]]
name = "bow"             # counts over the training stories' whole vocabulary
kind = "bow"

[[space]]
name = "word_rate"       # words per TR: the low-level control
kind = "word_rate"

[[space]]
name = "position"        # where in the story a TR lies: knows no word
kind = "position"

[[space]]
name = "encoder"         # a small language model, trained on the training stories
kind = "encoder"
window = 32

[[space]]
name = "encoder_untrained" # the same before its first step: what training bought
kind = "encoder"
trained = false
window = 32

[[space]]
name = "glove_rate"
combine = ["glove", "word_rate"]

[encoder]                # seconds small, and 5,400 words are too few to learn much from
epochs = 10
vocab_size = 1000
hidden = 32
layers = 1
intermediate = 64
max_length = 32
batch = 16
lr = 3e-3

[ridge]
alphas = "logspace(0,6,19)"
folds = 5

[statistics]
delay_profile = ["glove", "glove_rate", "word_rate"] # what each delay from 0 to 8 TRs predicts alone

[stability]
splits = 5               # further random splits, to see how far each number moves
learning_curve = 3       # and models on fewer stories
"#;

/// The demo's seed of speech and brains.
const SEED: u64 = 214;
/// Voxels of each simulated subject.
const N_VOXELS: usize = 3000;
/// Shares of voxels whose response comes 2 TRs later, and with a transient where stories begin.
const LATE_SHARE: f64 = 0.2;
const EDGE_SHARE: f64 = 0.3;
/// Model that is held against the truth: the space that drives the simulated voxels.
const RECOVERY_MODEL: &str = "glove-lagged";

/// Writes the demo's data to `out/data`, runs its study into `out`, and compares with the truth.
///
/// # Errors
/// As [`crate::study::run`].
pub fn demo(options: &RunOptions, session: Session<'_>) -> Result<DemoResults> {
    let reporter = session.reporter;
    let folder = RunFolder::at(&options.out);
    let data = options.out.join("data");
    std::fs::create_dir_all(&data).map_err(|source| Error::Write { path: data.clone(), source })?;
    let words = data.join("words.tsv");
    write_bytes(&words, words_table()?.as_bytes())?;
    let glove = data.join("vectors.32d.glove.txt.gz");
    write_bytes(&glove, GLOVE_TXT_GZ)?;
    write_bytes(&data.join("vectors.32d.word2vec.bin"), WORD2VEC_BIN)?;
    let job = SimulateJob {
        stories: words,
        kind: SpaceKind::Glove(glove),
        n_subjects: 2,
        settings: SimulateSettings {
            n_voxels: N_VOXELS,
            seed: SEED,
            late_share: LATE_SHARE,
            edge_share: EDGE_SHARE,
            ..Default::default()
        },
        first_tr_s: -9.0,
        trim: Trim::HUTH,
        out: data,
    };
    let simulated = simulate(&job, reporter)?;
    let n_trs: usize = simulated.stories.iter().map(|(_, n)| n).sum();
    reporter.note(&format!(
        "demo: {} stories, {n_trs} TRs, {} subjects of {} voxels, simulated with a known truth",
        simulated.stories.len(),
        simulated.subjects.len(),
        simulated.n_voxels
    ));
    let study = study_text();
    write_bytes(&folder.file(STUDY_FILE), study.as_bytes())?;
    let study = study_file::from_text(&study, &options.out, "the demo's STUDY.toml")?;
    let (summary, document) = match run(&study, options, session)? {
        StudyResults::Finished { summary, run, .. } => (summary, *run),
        StudyResults::Planned(_) => (Vec::new(), RunInfo::default()),
    };
    let position = |name: &String| simulated.stories.iter().position(|(story, _)| name == story);
    let test: Vec<usize> = document.split.test.iter().filter_map(position).collect();
    let n_test: usize = test.iter().map(|&story| simulated.stories[story].1).sum();
    // Lag-1 autocorrelations of a prediction (an HRF's) and of the simulated noise.
    let threshold = chance_threshold(n_test, 1.96, 0.8, job.settings.noise_ar1);
    let mut found = Vec::new();
    for (subject, truth) in simulated.subjects.iter().zip(simulated.truths) {
        let model = folder.model(&ModelId::of_folder(subject, RECOVERY_MODEL)?);
        let estimated = read_correlation(&model.join(TEST_CORRELATION))?;
        let truth = truth.scored_on(&test)?;
        let best = read_correlation(&model.join(BEST_DELAY))?;
        let profiles = npy::read_matrix_f64(&model.join(DELAY_PROFILE))?;
        let largest: Vec<f64> = profiles
            .columns()
            .into_iter()
            .map(|profile| profile.iter().copied().fold(f64::NAN, f64::max))
            .collect();
        let of_subject = Found {
            recovery: recovery(&truth, &estimated, threshold)?,
            delays: delay_recovery(&truth, &best, &largest, threshold)?,
        };
        found.push((subject.clone(), of_subject));
    }
    write_json(&folder.file(RECOVERY), &found)?;
    Ok(DemoResults {
        summary,
        run: document,
        recovery: found,
        recovery_model: RECOVERY_MODEL.to_owned(),
    })
}

/// The demo's STUDY.toml, without language models where the build has none.
fn study_text() -> String {
    let tables = STUDY.split_inclusive("\n\n");
    tables
        .filter(|table| {
            let is_language =
                table.contains("kind = \"encoder\"") || table.starts_with("[encoder]");
            cfg!(feature = "language") || !is_language
        })
        .collect()
}

fn read_correlation(path: &Path) -> Result<Vec<f64>> {
    Ok(npy::read_vector_f64(path)?.to_vec())
}

/// The stories, spoken: a table with story, onset, offset and word.
fn words_table() -> Result<String> {
    let settings = SpeechSettings::default().check()?;
    let mut text = String::from("story\tonset\toffset\tword\n");
    for (index, (name, story)) in stories().iter().enumerate() {
        for word in speak(story, &settings, SEED + index as u64) {
            text += &format!("{name}\t{:.3}\t{:.3}\t{}\n", word.onset_s, word.offset_s, word.word);
        }
    }
    Ok(text)
}
