//! Studies on files of other formats, `init` on small trees, `export`.

use std::fmt::Write as _;
use std::path::Path;

use ndarray::Array2;
use voxelcast::io::nifti::{Grid, write_volume};
use voxelcast::io::npy;

use super::kinds::write_grids;
use super::workbench::{Outcome, StudyBench, real_data, skipped, text, voxelcast};

fn bench() -> StudyBench {
    StudyBench::new(31, 40, 30)
}

fn bold(bench: &StudyBench, subject: &str, story: &str) -> Array2<f32> {
    let path = bench.file(&format!("{subject}/{story}.npy"));
    npy::read_matrix_f32(&path).expect("the bench wrote it")
}

/// An HDF5 file as ds003020 has it, or in gzipped chunks; with repeats if there are any.
fn write_hdf5(path: &Path, rows: &Array2<f32>, is_packed: bool, repeats: &[Array2<f32>]) {
    let mut builder = hdf5_pure::FileBuilder::new();
    let values: Vec<f64> = rows.iter().map(|&x| f64::from(x)).collect();
    let (n, v) = (rows.nrows() as u64, rows.ncols() as u64);
    let data = builder.create_dataset("data").with_f64_data(&values).with_shape(&[n, v]);
    if is_packed {
        data.with_chunks(&[7, 8]).with_deflate(4);
    }
    if !repeats.is_empty() {
        let values: Vec<f64> =
            repeats.iter().flat_map(|rows| rows.iter().map(|&x| f64::from(x))).collect();
        let shape = [repeats.len() as u64, n, v];
        builder.create_dataset("individual_repeats").with_f64_data(&values).with_shape(&shape);
    }
    builder.write(path).expect("written");
}

/// Scores and alphas of every model of subject `s1`.
fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(out.join("models/s1")).expect("there are models") {
        let folder = entry.expect("readable").path();
        for file in ["test_correlation.npy", "cv_scores.npy", "best_alpha.npy"] {
            let path = folder.join(file);
            if let Ok(bytes) = std::fs::read(&path) {
                let name = path.strip_prefix(out).expect("inside").display().to_string();
                found.push((name, bytes));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 6, "{}", found.len());
    found
}

/// STUDY.toml of the bench with another `[bold.s1]` and without s2.
fn study_with(bench: &StudyBench, bold: &str) -> std::path::PathBuf {
    let path = bench.settings(&[]);
    let toml = std::fs::read_to_string(&path).expect("written");
    let toml = toml.replace("[bold.s1]\npath = \"s1/{story}.npy\"", &format!("[bold.s1]\n{bold}"));
    let toml = toml.replace("[bold.s2]\npath = \"s2/{story}.npy\"\n", "");
    assert!(toml.contains(bold), "{toml}");
    std::fs::write(&path, toml).expect("written");
    path
}

fn run(bench: &StudyBench, bold: &str) -> (Outcome, std::path::PathBuf) {
    let study = study_with(bench, bold);
    let out = bench.out();
    (voxelcast(&["run", text(&study), "--out", text(&out)]), out)
}

#[test]
fn a_study_on_hdf5_npz_or_nifti_gives_the_bits_of_the_study_on_npy() {
    let bench = bench();
    let folders = ["hdf5", "packed", "npz", "nifti"];
    folders.iter().for_each(|name| std::fs::create_dir(bench.file(name)).expect("made"));
    // 30 voxels of a 4 × 5 × 3 grid: every second one.
    let grid = Grid::new([4, 5, 3], [[2.0, 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.]]);
    let mask: Vec<f32> = (0..60).map(|i| (i % 2) as f32).collect();
    write_volume(&bench.file("mask.nii.gz"), &grid, &mask).expect("written");
    let volumes = super::workbench::text(&bench.file("volumes.nii")).to_owned();
    write_volume(Path::new(&volumes), &grid, &mask).expect("written");
    let header = std::fs::read(&volumes).expect("written")[..352].to_vec();
    for story in &bench.stories {
        let rows = bold(&bench, "s1", &story.name);
        write_hdf5(&bench.file(&format!("hdf5/{}.hf5", story.name)), &rows, false, &[]);
        write_hdf5(&bench.file(&format!("packed/{}.h5", story.name)), &rows, true, &[]);
        let mut zip = Vec::new();
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(&mut zip));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("anything.npy", options).expect("started");
        let file = std::fs::read(bench.file(&format!("s1/{}.npy", story.name))).expect("there");
        std::io::Write::write_all(&mut writer, &file).expect("written");
        writer.finish().expect("finished");
        std::fs::write(bench.file(&format!("npz/{}.npz", story.name)), zip).expect("written");
        // 4-D by hand: the header of a volume with a fourth size, values x fastest.
        let mut image = header.clone();
        image[40..42].copy_from_slice(&4i16.to_le_bytes());
        let n_rows = i16::try_from(rows.nrows()).expect("a short story");
        image[48..50].copy_from_slice(&n_rows.to_le_bytes());
        for row in rows.rows() {
            let mut volume = [0f32; 60];
            for (v, &value) in row.iter().enumerate() {
                let at = 2 * v + 1; // in C order: z fastest
                let (x, y, z) = (at / 15, at / 3 % 5, at % 3);
                volume[x + 4 * (y + 5 * z)] = value;
            }
            image.extend(volume.iter().flat_map(|value| value.to_le_bytes()));
        }
        std::fs::write(bench.file(&format!("nifti/{}.nii", story.name)), image).expect("written");
    }
    let (outcome, out) = run(&bench, "path = \"s1/{story}.npy\"");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let wanted = results(&out);
    for (bold, unpacks) in [
        ("path = \"hdf5/{story}.hf5\"", false),
        ("path = \"packed/{story}.h5\"", true),
        ("path = \"npz/{story}.npz\"", true),
        ("path = \"nifti/{story}.nii\"\nmask = \"mask.nii.gz\"", true),
    ] {
        let (outcome, out) = run(&bench, bold);
        assert_eq!(outcome.code, 0, "{bold}: {outcome:#?}");
        assert_eq!(outcome.stderr.contains("unpacking"), unpacks, "{bold}: {outcome:#?}");
        assert!(results(&out) == wanted, "{bold}: other results");
        assert!(!out.join(".partial").exists());
    }
}

#[test]
fn wrong_files_of_every_format_are_refused_by_check_with_their_story() {
    let bench = bench();
    let refused = |bold: &str, code: i32, parts: &[&str]| {
        let study = study_with(&bench, bold);
        voxelcast(&["check", text(&study)]).refused(code, parts);
    };
    refused("path = \"s1/{story}.nii.gz\"", 2, &["[bold.s1], mask", "NIfTI mask", "nothing"]);
    refused("path = \"s1/{story}.npy\"\nmaks = \"m.nii\"", 2, &["did you mean \"mask\"?"]);
    refused("path = \"s1/{story}.hf5\"\nrepeats = \"r/{story}.hf5\"", 2, &["repeats", "{repeat}"]);
    refused("path = \"s1/{story}.h5\"\ndataset = \"\"", 2, &["dataset"]);
    let story = bench.file("s1/story0.h5");
    for story in &bench.stories {
        let rows = bold(&bench, "s1", &story.name);
        write_hdf5(&bench.file(&format!("s1/{}.h5", story.name)), &rows, false, &[]);
    }
    let pattern = "path = \"s1/{story}.h5\"";
    refused(
        &format!("{pattern}\nrepeats = \"individual_repeats\""),
        3,
        &["repeats", "\"individual_repeats\""],
    );
    refused(&format!("{pattern}\ndataset = \"bold\""), 3, &["story0.h5", "\"bold\"", "holds data"]);
    std::fs::write(&story, b"no HDF5").expect("written");
    refused(pattern, 3, &["story0.h5", "not an HDF5 file"]);
    let nifti = "path = \"s1/{story}.npy\"\nmask = \"mask.nii\"";
    refused(nifti, 3, &["cannot read", "mask.nii"]);
    std::fs::write(bench.file("mask.nii"), b"no NIfTI at all").expect("written");
    refused(nifti, 3, &["mask.nii", "not a NIfTI file"]);
}

#[test]
fn repeats_inside_hdf5_files_give_the_noise_ceiling_of_repeats_in_files() {
    let bench = bench();
    for folder in ["hdf5", "single"] {
        std::fs::create_dir(bench.file(folder)).expect("made");
    }
    for story in &bench.stories {
        let mean = bold(&bench, "s1", &story.name);
        let is_test = story.name == "story5";
        let noise = |i: usize| {
            let sign = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
            Array2::from_shape_fn(mean.dim(), |(t, v)| sign * ((7 * t + 3 * v + i / 2) % 5) as f32)
        };
        let repeats: Vec<_> = (0..4).filter(|_| is_test).map(|i| &mean + &noise(i)).collect();
        for (repeat, rows) in (1..).zip(&repeats) {
            let path = bench.file(&format!("single/{}.{repeat}.npy", story.name));
            super::workbench::write_f32(&path, rows);
        }
        write_hdf5(&bench.file(&format!("hdf5/{}.hf5", story.name)), &mean, false, &repeats);
    }
    let of_files = "path = \"s1/{story}.npy\"\nrepeats = \"single/{story}.{repeat}.npy\"";
    let of_dataset = "path = \"hdf5/{story}.hf5\"\nrepeats = \"individual_repeats\"";
    let ceiling = |bold: &str| {
        let (outcome, out) = run(&bench, bold);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        std::fs::read(out.join("models/s1/noise_ceiling.npy")).expect("a ceiling")
    };
    assert!(ceiling(of_files) == ceiling(of_dataset));
}

#[test]
fn ridge_reads_hdf5_and_npz_as_it_reads_npy() {
    let bench = bench();
    let (x, y) = (bold(&bench, "s1", "story0"), bold(&bench, "s2", "story0"));
    write_hdf5(&bench.file("x.hf5"), &x, true, &[]);
    write_hdf5(&bench.file("y.h5"), &y, false, &[]);
    let folds: Vec<i64> = (0..x.nrows() as i64).map(|row| row / 10).collect();
    npy::write(&bench.file("folds.npy"), &[folds.len()], &folds).expect("written");
    let fit = |x: &str, y: &str| {
        let out = bench.out();
        let file = |name: &str| text(&bench.file(name)).to_owned();
        let (x, y, folds) = (file(x), file(y), file("folds.npy"));
        let args = ["ridge", "--x", &x, "--y", &y, "--fold-ids", &folds, "--out", text(&out)];
        let outcome = voxelcast(&args);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        std::fs::read(out.join("coef.npy")).expect("written")
    };
    let wanted = fit("s1/story0.npy", "s2/story0.npy");
    assert!(fit("x.hf5", "y.h5") == wanted);
}

/// TextGrids of the bench's stories: phones, words in upper case, marks between them.
fn write_textgrids(bench: &StudyBench, folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    for story in &bench.stories {
        let end = story.offset_s.last().expect("words") + 1.0;
        let mut grid = format!(
            "File type = \"ooTextFile short\"\n\"TextGrid\"\n\n0\n{end}\n<exists>\n2\n\
             \"IntervalTier\"\n\"phone\"\n0\n{end}\n1\n0\n{end}\n\"sp\"\n\
             \"IntervalTier\"\n\"word\"\n0\n{end}\n{}\n",
            story.words.len() + 1
        );
        for (i, word) in story.words.iter().enumerate() {
            let (onset, offset) = (story.onset_s[i], story.offset_s[i]);
            writeln!(grid, "{onset}\n{offset}\n\"{}\"", word.to_uppercase()).expect("text");
        }
        writeln!(grid, "{}\n{end}\n\"{{BR}}\"", story.offset_s.last().expect("words"))
            .expect("text");
        let path = folder.join(format!("{}.TextGrid", story.name));
        std::fs::write(path, grid).expect("written");
    }
}

fn init(folder: &Path, dataset: &str, out: &Path) -> Outcome {
    voxelcast(&["init", text(folder), "--dataset", dataset, "--out", text(out)])
}

#[test]
fn init_on_a_tree_like_ds003020_gives_a_study_that_runs() {
    let bench = bench();
    // A space and an umlaut in the path, as people have them.
    let root = bench.file("my dätaset/derivative");
    write_textgrids(&bench, &root.join("TextGrids"));
    let mut respdict = serde_json::Map::new();
    for story in &bench.stories {
        respdict.insert(story.name.clone(), (story.n_rows + 20).into());
        for (subject, own) in [("UTS01", "s1"), ("UTS02", "s2"), ("UTS04", "s2")] {
            if subject == "UTS04" && story.name.as_str() > "story2" {
                continue;
            }
            let folder = root.join("preprocessed_data").join(subject);
            std::fs::create_dir_all(&folder).expect("made");
            let rows = bold(&bench, own, &story.name);
            let repeats = if story.name == "story5" { vec![rows.clone(); 2] } else { Vec::new() };
            write_hdf5(&folder.join(format!("{}.hf5", story.name)), &rows, false, &repeats);
        }
    }
    let counts = serde_json::Value::Object(respdict).to_string();
    std::fs::write(root.join("respdict.json"), counts).expect("written");
    let study = bench.file("my dätaset/STUDY.toml");
    let made = init(&bench.file("my dätaset"), "ds003020", &study);
    assert_eq!(made.code, 0, "{made:#?}");
    for line in [
        "found: 6 stories with words",
        "UTS04: BOLD of 3 of them",
        "TR counts",
        "not found: word vectors",
        "6 stories with words and BOLD",
    ] {
        assert!(made.stdout.contains(line), "{line:?} not in {}", made.stdout);
    }
    let written = std::fs::read_to_string(&study).expect("written");
    assert!(written.contains("path = \"derivative/TextGrids\""), "{written}");
    assert!(written.contains("\nrepeats = \"individual_repeats\""), "{written}");
    assert!(
        written.contains("\n[bold.UTS04]") && written.contains("\nstories = \"own\""),
        "{written}"
    );
    assert!(written.contains("\ntest = [\"story0\"]"), "the one that all heard: {written}");
    assert!(written.contains("\nfolds = 2 "), "UTS04 has two to train on: {written}");
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    assert!(checked.stdout.contains("all counts agree"), "{checked:#?}");
    let out = bench.out();
    let ran = voxelcast(&["run", text(&study), "--out", text(&out)]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(out.join("models/UTS02/word_rate-lagged/test_correlation.npy").exists());

    assert!(out.join("models/UTS02/low_level-lagged/test_correlation.npy").exists());
    assert!(!out.join("models/UTS02/position-lagged").exists(), "it is never delayed");

    // Phones beside the words, and the lab's vectors.
    write_grids(&bench, &root.join("TextGrids"));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kinds/bytes.hf5");
    std::fs::copy(golden, root.join("english1000sm.hf5")).expect("copied");
    let more = bench.file("my dätaset/MORE.toml");
    assert_eq!(init(&bench.file("my dätaset"), "ds003020", &more).code, 0);
    let text_of_more = std::fs::read_to_string(&more).expect("written");
    for part in [
        "\nvectors = \"derivative/english1000sm.hf5\"",
        "\nkind = \"phones\"",
        "combine = [\"word_rate\", \"word_length\", \"position\", \"phones\"]",
    ] {
        assert!(text_of_more.contains(part), "{part:?} not in {text_of_more}");
    }
    let checked = voxelcast(&["check", text(&more)]);
    assert_eq!(checked.code, 0, "{checked:#?}");

    // Data that were not fetched: that subject goes without the story.
    let of_one = root.join("preprocessed_data/UTS02/story3.hf5");
    std::fs::remove_file(&of_one).expect("removed");
    std::os::unix::fs::symlink(".git/annex/objects/a", &of_one).expect("linked");
    let links = bench.file("my dätaset/LINKS.toml");
    let made = init(&bench.file("my dätaset"), "ds003020", &links);
    assert!(made.stdout.contains("1 files are links"), "{made:#?}");
    assert!(!made.stdout.contains("a subject in"), "vectors are no subject: {made:#?}");
    let checked = voxelcast(&["check", text(&links)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    let of_subject = |line: &&str| line.starts_with("UTS02");
    let line = checked.stdout.lines().find(of_subject).expect("a line a subject");
    assert_eq!(line.split_whitespace().nth(1), Some("5"), "{line}");

    let again = init(&bench.file("my dätaset"), "ds003020", &study);
    again.refused(2, &["STUDY.toml", "not overwritten"]);
    assert_eq!(std::fs::read_to_string(&study).expect("there"), written);
}

#[test]
fn init_on_a_tree_like_the_labs_gives_a_study_that_runs() {
    let bench = StudyBench::with_stories(32, 11, 25, 10);
    std::fs::remove_file(bench.file("s1/story0.npy")).expect("removed");
    std::fs::copy(bench.file("s2/story1.npy"), bench.file("s2/unheard.npy")).expect("copied");
    std::fs::rename(bench.file("vectors.txt"), bench.file("glove.6d.txt")).expect("renamed");
    // What students leave lying about; words by another name.
    std::fs::rename(bench.file("words.tsv"), bench.file("all_words_v2.tsv")).expect("renamed");
    std::fs::create_dir_all(bench.file("results/embeddings/glove")).expect("made");
    for story in ["story0", "story1"] {
        let rows = bench.file(&format!("results/embeddings/glove/{story}.npy"));
        std::fs::copy(bench.file("s2/story1.npy"), rows).expect("copied");
    }
    std::fs::write(bench.file("s1/._story1.npy"), "Mac OS X").expect("written");
    std::fs::write(bench.file("scores.csv"), "voxel,r\n1,0.2\n").expect("written");
    let study = bench.file("STUDY.toml");
    let made = init(&bench.file("."), "lab", &study);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.stdout.contains("not found: a subject in glove:"), "{made:#?}");
    assert!(made.stdout.contains("not found: BOLD of s1 for 1 stories (story0)"), "{made:#?}");
    let unheard = "not found: words of 1 stories that have BOLD (unheard)";
    assert!(made.stdout.contains(unheard), "{made:#?}");
    assert!(made.stdout.contains("found: GloVe vectors"), "{made:#?}");
    assert!(made.stdout.contains("10 stories with words and BOLD"), "{made:#?}");
    let written = std::fs::read_to_string(&study).expect("written");
    assert!(written.contains("missing = \"skip\""), "{written}");
    let ran = voxelcast(&["run", text(&study), "--out", text(&bench.out())]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn init_gives_few_stories_few_folds() {
    for (n_stories, folds) in [(3, "folds = 2 "), (4, "folds = 3 ")] {
        let bench = StudyBench::with_stories(33, n_stories, 25, 10);
        let study = bench.file("STUDY.toml");
        assert_eq!(init(&bench.file("."), "lab", &study).code, 0);
        let written = std::fs::read_to_string(&study).expect("written");
        assert!(written.contains(folds), "{written}");
        let checked = voxelcast(&["check", text(&study)]);
        assert_eq!(checked.code, 0, "{checked:#?}");
    }
}

#[test]
fn init_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("STUDY.toml");
    let root = folder.path().join("data");
    std::fs::create_dir(&root).expect("made");
    init(&root, "other", &out).refused(2, &["--dataset", "lab, ds003020 or bids", "other"]);
    init(&root, "bids", &out).refused(3, &["no sub-*_task-*_desc-preproc_bold.nii.gz"]);
    init(&root.join("none"), "lab", &out).refused(3, &["cannot read"]);
    init(&root, "lab", &out).refused(3, &["no raw_text.pkl"]);
    init(&root, "ds003020", &out).refused(3, &["no TextGrids", "derivative/TextGrids"]);
    std::os::unix::fs::symlink("../annex/x", root.join("a.TextGrid")).expect("linked");
    init(&root, "ds003020", &out).refused(3, &["no TextGrids", "1 files are links", "datalad get"]);
    for name in ["a", "b", "c"] {
        let table = "onset\toffset\tword\n1\t2\thello\n";
        std::fs::write(root.join(format!("{name}.pkl")), table).expect("written");
    }
    init(&root, "lab", &out).refused(3, &["3 pickles and no raw_text.pkl"]);
    let words = "story\tonset\toffset\tword\na\t1\t2\thello\nb\t1\t2\thello\n";
    for name in ["old_words.csv", "new_words.csv"] {
        std::fs::write(root.join(name), words.replace('\t', ",")).expect("written");
    }
    init(&root, "lab", &out).refused(3, &["2 tables of words", "new_words.csv", "words.tsv"]);
    std::fs::write(root.join("words.tsv"), words).expect("written");
    init(&root, "lab", &out).refused(3, &["no folder of .npy files", "subject2/"]);
    std::fs::create_dir(root.join("s1")).expect("made");
    std::fs::write(root.join("s1/a.npy"), b"x").expect("written");
    init(&root, "lab", &out).refused(3, &["at least 3 stories", "got 1 (2 with words)"]);
    assert!(!out.exists());
}

#[test]
fn init_knows_the_real_lab_data() {
    let Some(data) = real_data().map(|folder| folder.join("ds003020_pcs")) else { return };
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let study = folder.path().join("STUDY.toml");
    let made = init(&data, "lab", &study);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.stdout.contains("101 stories with words and BOLD"), "{made:#?}");
    let checked = voxelcast(&["check", text(&study)]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    assert!(checked.stdout.contains("34786"), "{checked:#?}");
}

#[test]
fn the_real_hdf5_file_holds_the_real_bold() {
    let Some(data) = real_data().map(|folder| folder.join("ds003020_pcs")) else { return };
    use voxelcast::io::matrix_file::{MatrixFile, Which};
    let which = Which::default();
    let file = MatrixFile::open(&data.join("adollshouse_pcs_h5py.hf5"), &which).expect("HDF5");
    let file = file.expect_tiles().expect("in one piece");
    let wanted = npy::read_matrix_f32(&data.join("subject3/adollshouse.npy")).expect("BOLD");
    assert_eq!((file.n_rows(), file.n_cols()), wanted.dim());
    let mut found = vec![0f32; wanted.len()];
    file.read_columns(0..file.n_rows(), 0..file.n_cols(), &mut found).expect("whole");
    assert!(found.iter().zip(&wanted).all(|(a, b)| a == b));
}

#[test]
fn export_copies_every_array_of_a_run() {
    let bench = bench();
    let (outcome, out) = bench.run(&[], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let npz = bench.file("run.npz");
    let export = |flags: &[&str]| {
        let mut args = vec!["export", text(&out), "--npz", text(&npz)];
        args.extend(flags);
        voxelcast(&args)
    };
    let made = export(&["--json"]);
    assert_eq!(made.code, 0, "{made:#?}");
    let document: serde_json::Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!(document["schema"], "voxelcast.export/1");
    use voxelcast::io::matrix_file::{MatrixFile, Which};
    let array = |name: &str| {
        let which = Which { dataset: name, ..Which::default() };
        let file = MatrixFile::open(&npz, &which).unwrap_or_else(|e| panic!("{e}"));
        file.expect_tiles().expect("stored").read_f64().expect("whole")
    };
    for (file, name) in [
        ("test_correlation", "scores"),
        ("best_alpha", "best_alphas"),
        ("cv_scores", "cv_scores"),
        ("story_correlation", "story_scores"),
    ] {
        for model in ["s1/glove-lagged", "s2/bow"] {
            let path = out.join("models").join(model).join(format!("{file}.npy"));
            let wanted = npy::read_array_f64(&path).expect("whole");
            let found = array(&format!("{model}/{name}"));
            assert_eq!(found.shape(), wanted.shape());
            let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
            assert!(found.iter().zip(&wanted).all(same), "{model} {name}");
        }
    }
    let coef = array("s1/glove-lagged/coef_");
    assert_eq!(coef.shape(), [super::workbench::DIM * 4, 30]);
    assert!(coef.iter().any(|&w| w != 0.0));
    assert_eq!(array("s1/glove-lagged/intercept_").shape(), [30]);
    assert_eq!(array("alphas").len(), 11);
    export(&[]).refused(2, &["run.npz", "--force"]);
    assert_eq!(export(&["--force"]).code, 0);
    let (empty, other) = (bench.file("s1"), bench.file("other.npz"));
    let args = ["export", text(&empty), "--npz", text(&other)];
    voxelcast(&args).refused(3, &["no finished run", "run.json"]);
    assert!(!other.exists());
    // NumPy reads it, where there is one.
    let code = format!(
        "import numpy as np; f = np.load({:?}); m = 's1/glove-lagged/';\n\
         assert f[m + 'coef_'].shape == (24, 30) and f['test_stories'].tolist() == ['story5']\n\
         assert len(f['train_stories']) == 5 and f[m + 'scores'].dtype == np.float32",
        text(&npz)
    );
    match std::process::Command::new("python3").args(["-c", "import numpy"]).output() {
        Ok(found) if found.status.success() => {
            let read = std::process::Command::new("python3").args(["-c", &code]).output();
            let read = read.expect("Python starts");
            assert!(read.status.success(), "{read:#?}");
        }
        _ => skipped("no NumPy to read the .npz with"),
    }
}
