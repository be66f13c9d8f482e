//! `init --dataset bids` on a small derivative as fMRIPrep writes it.

use std::fmt::Write as _;
use std::path::Path;

use voxelcast::io::nifti::{Grid, write_volume};
use voxelcast::io::npy;

use super::workbench::{Outcome, StudyBench, text, voxelcast};

const END: &str = "_space-MNI152NLin2009cAsym_desc-preproc_bold";

/// Images of the bench's stories for both subjects, their masks and JSON files.
fn write_derivative(bench: &StudyBench, root: &Path) {
    let grid = Grid::new([4, 5, 3], [[2.0, 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.]]);
    let mask: Vec<f32> = (0..60).map(|i| (i % 2) as f32).collect();
    let header = bench.file("header.nii");
    write_volume(&header, &grid, &mask).expect("written");
    let header = std::fs::read(&header).expect("written")[..352].to_vec();
    for (subject, own) in [("sub-01", "s1"), ("sub-02", "s2")] {
        let func = root.join("derivatives/fmriprep").join(subject).join("func");
        std::fs::create_dir_all(&func).expect("made");
        for story in &bench.stories {
            let rows = npy::read_matrix_f32(&bench.file(&format!("{own}/{}.npy", story.name)));
            let rows = rows.expect("the bench wrote it");
            let mut image = header.clone();
            image[40..42].copy_from_slice(&4i16.to_le_bytes());
            image[48..50].copy_from_slice(&(rows.nrows() as i16).to_le_bytes());
            for row in rows.rows() {
                let mut volume = [0f32; 60];
                for (v, &value) in row.iter().enumerate() {
                    let at = 2 * v + 1; // in C order: z fastest
                    volume[at / 15 + 4 * (at / 3 % 5 + 5 * (at % 3))] = value;
                }
                image.extend(volume.iter().flat_map(|value| value.to_le_bytes()));
            }
            let name = format!("{subject}_task-{}", story.name);
            std::fs::write(func.join(format!("{name}{END}.nii")), image).expect("written");
            let json = "{\"RepetitionTime\": 1.5, \"SkullStripped\": false}";
            std::fs::write(func.join(format!("{name}{END}.json")), json).expect("written");
            let own_mask = format!("{name}_space-MNI152NLin2009cAsym_desc-brain_mask.nii");
            write_volume(&func.join(own_mask), &grid, &mask).expect("written");
        }
    }
}

/// One events.tsv a story; `line` has its events.
fn write_events(bench: &StudyBench, root: &Path, header: &str, line: impl Fn(usize) -> String) {
    let func = root.join("sub-01/func");
    std::fs::create_dir_all(&func).expect("made");
    for (index, story) in bench.stories.iter().enumerate() {
        let path = func.join(format!("sub-01_task-{}_events.tsv", story.name));
        std::fs::write(path, format!("{header}\n{}", line(index))).expect("written");
    }
}

/// One table of words a story.
fn write_stimuli(bench: &StudyBench, root: &Path) {
    std::fs::create_dir_all(root.join("stimuli")).expect("made");
    for (index, story) in bench.stories.iter().enumerate() {
        let table = format!("onset\tduration\tword\n{}", words_of(bench, index));
        std::fs::write(root.join(format!("stimuli/{}.tsv", story.name)), table).expect("written");
    }
}

fn words_of(bench: &StudyBench, index: usize) -> String {
    let (story, mut lines) = (&bench.stories[index], String::new());
    for (i, word) in story.words.iter().enumerate() {
        let (onset, duration) = (story.onset_s[i], story.offset_s[i] - story.onset_s[i]);
        writeln!(lines, "{onset}\t{duration}\t{word}").expect("text");
    }
    lines
}

fn init(folder: &Path, out: &Path) -> Outcome {
    voxelcast(&["init", text(folder), "--dataset", "bids", "--out", text(out)])
}

#[test]
fn a_derivative_with_words_in_stimuli_gives_a_study_that_runs() {
    let bench = StudyBench::new(41, 40, 30);
    let root = bench.file("bids");
    write_derivative(&bench, &root);
    let study = bench.file("STUDY.toml");
    init(&root, &study).refused(3, &["no words of them", "stimuli/TASK.tsv"]);
    std::fs::create_dir_all(root.join("stimuli/words")).expect("made");
    for (index, story) in bench.stories.iter().enumerate() {
        let table = format!("onset\tduration\tword\n{}", words_of(&bench, index));
        let path = root.join(format!("stimuli/words/{}.tsv", story.name));
        std::fs::write(path, table).expect("written");
    }
    write_events(&bench, &root, "onset\tduration\ttrial_type", |_| "6.0\t80\tstory\n".into());
    let made = init(&root, &study);
    assert_eq!(made.code, 0, "{made:#?}");
    for line in ["found: sub-01: mask", "sub-02: BOLD of 6 of them", "not found: word vectors"] {
        assert!(made.stdout.contains(line), "{line:?} not in {}", made.stdout);
    }
    let written = std::fs::read_to_string(&study).expect("written");
    let wanted = [
        "path = \"bids/stimuli/words\"",
        "[bold.sub-02]\npath = \"bids/derivatives/fmriprep/sub-02/func/sub-02_task-{story}_space-",
        "mask = \"bids/derivatives/fmriprep/sub-01/func/sub-01_task-story0_space-",
        "tr_s = 1.5 ",
        // Half a TR, less the 6 s until the sound starts.
        "first_tr_s = -5.25 ",
        "trim = \"0:0\" ",
    ];
    for line in wanted {
        assert!(written.contains(line), "{line:?} not in {written}");
    }
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    assert!(checked.stdout.contains("all counts agree"), "{checked:#?}");
    let out = bench.out();
    let ran = voxelcast(&["run", text(&study), "--out", text(&out)]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(out.join("models/sub-02/word_rate-lagged/test_correlation.npy").exists());
}

#[test]
fn subjects_of_a_derivative_keep_the_stories_that_others_did_not_hear() {
    let bench = StudyBench::new(44, 40, 30);
    let root = bench.file("bids");
    write_derivative(&bench, &root);
    write_stimuli(&bench, &root);
    for (subject, story) in [("sub-01", "story3"), ("sub-02", "story0")] {
        let func = root.join("derivatives/fmriprep").join(subject).join("func");
        let image = func.join(format!("{subject}_task-{story}{END}.nii"));
        std::fs::remove_file(image).expect("it was written");
    }
    let study = bench.file("STUDY.toml");
    let made = init(&root, &study);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.stdout.contains("sub-02: BOLD of 5 of them\n"), "{}", made.stdout);
    let written = std::fs::read_to_string(&study).expect("written");
    for line in [
        "\n[bold.sub-01]",
        "\n[bold.sub-02]",
        "\nstories = \"own\" ",
        "\ntest = [\"story1\"] ",
        "\nfolds = 4 ",
    ] {
        assert!(written.contains(line), "{line:?} not in {written}");
    }
    assert!(!written.contains("missing ="), "every story was heard: {written}");
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
}

#[test]
fn words_in_events_are_gathered_into_a_table() {
    let bench = StudyBench::new(42, 40, 30);
    let root = bench.file("bids");
    write_derivative(&bench, &root);
    let lines = |index| format!("{}2.5\t0.1\tn/a\n", words_of(&bench, index));
    write_events(&bench, &root, "onset\tduration\tword", lines);
    let study = bench.file("STUDY.toml");
    let made = init(&root, &study);
    assert_eq!(made.code, 0, "{made:#?}");
    let table = std::fs::read_to_string(bench.file("STUDY.words.tsv")).expect("written");
    let n_words: usize = bench.stories.iter().map(|story| story.words.len()).sum();
    assert_eq!(table.lines().count(), 1 + n_words, "n/a is no word");
    let written = std::fs::read_to_string(&study).expect("written");
    assert!(written.contains("path = \"STUDY.words.tsv\""), "{written}");
    // Events count from the first volume.
    assert!(written.contains("first_tr_s = 0.75 "), "{written}");
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
}

#[test]
fn sounds_that_start_at_different_times_make_a_table_of_first_trs() {
    let bench = StudyBench::new(45, 40, 30);
    let root = bench.file("bids");
    write_derivative(&bench, &root);
    write_stimuli(&bench, &root);
    for story in &bench.stories {
        let func = root.join("derivatives/fmriprep/sub-01/func");
        let confounds = format!("sub-01_task-{}_desc-confounds_timeseries.tsv", story.name);
        std::fs::write(func.join(confounds), "trans_x\n0\n").expect("written");
    }
    let line = |index: usize| format!("{}\t30\tn/a\tsound.wav\n", 6 + index);
    write_events(&bench, &root, "onset\tduration\tword\tstim_file", line);
    let study = bench.file("STUDY.toml");
    let made = init(&root, &study);
    assert_eq!(made.code, 0, "{made:#?}");
    let written = std::fs::read_to_string(&study).expect("written");
    for line in [
        "\nfirst_tr_s = \"STUDY.first_trs.tsv\"",
        "\nzscore = \"story\"",
        "\n# confounds = \"bids/derivatives/fmriprep/sub-01/func/sub-01_task-{story}_desc-confounds_",
    ] {
        assert!(written.contains(line), "{line:?} not in {written}");
    }
    assert!(!written.contains("sub-02_task-{story}_desc-confounds"), "{written}");
    let table = std::fs::read_to_string(bench.file("STUDY.first_trs.tsv")).expect("written");
    assert!(table.starts_with("story\tfirst_tr_s\nstory0\t-5.25\nstory1\t-6.25\n"), "{table}");
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
}

#[test]
fn what_a_derivative_lacks_is_named() {
    let bench = StudyBench::new(43, 40, 30);
    let (root, study) = (bench.file("bids"), bench.file("STUDY.toml"));
    let func = root.join("sub-01/func");
    std::fs::create_dir_all(&func).expect("made");
    std::fs::write(func.join("sub-01_task-a_bold.nii.gz"), b"x").expect("written");
    init(&root, &study).refused(3, &["no sub-*_task-*_desc-preproc_bold.nii.gz", "raw ones"]);
    write_derivative(&bench, &root);
    let func = root.join("derivatives/fmriprep/sub-01/func");
    // Another session's image has no place in the same pattern.
    let other = root.join("derivatives/fmriprep/sub-01/ses-2/func");
    std::fs::create_dir_all(&other).expect("made");
    std::fs::write(other.join(format!("sub-01_ses-2_task-x{END}.nii")), b"x").expect("written");
    write_events(&bench, &root, "onset\tduration\tword", |index| words_of(&bench, index));
    let made = init(&root, &study);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.stdout.contains("a place for 1 more images of sub-01"), "{made:#?}");
    std::fs::remove_file(&study).expect("removed");
    std::fs::remove_file(bench.file("STUDY.words.tsv")).expect("removed");
    let json = func.join(format!("sub-01_task-story0{END}.json"));
    std::fs::write(json, "{\"RepetitionTime\": 2.0}").expect("written");
    init(&root, &study).refused(3, &["RepetitionTime is", "one repetition time"]);
    assert!(!study.exists() && !bench.file("STUDY.words.tsv").exists());
}
