//! BOLD in the forms that labs keep it in: the values that their writers wrote, and one study that
//! gives the same bits in each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array2;
use serde_json::Value;
use voxelcast::error::Error;
use voxelcast::io::matrix_file::{DATASET, MatrixFile, Which};
use voxelcast::io::nifti::{Mask, NiftiFile};
use voxelcast::io::npy;

use super::workbench::{Outcome, text, visible_files, voxelcast};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bold_files").join(file)
}

fn expected() -> Value {
    let text = fs::read_to_string(golden("expected.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is whole")
}

fn matrix(name: &str) -> Array2<f32> {
    npy::read_matrix_f32(&golden(&format!("expected_{name}.npy"))).expect("it is there")
}

/// All values of an open matrix, in two tiles.
fn values(mut file: MatrixFile, folder: &Path) -> Array2<f32> {
    file.unpack(folder, true).expect("whole");
    assert!(!file.is_packed());
    let (n, v) = (file.n_rows(), file.n_cols());
    let mut values = Array2::zeros((n, v));
    for cols in [0..v / 3, v / 3..v] {
        let mut tile = vec![0f32; n * cols.len()];
        file.read_columns(0..n, cols.clone(), &mut tile).expect("inside");
        let tile = Array2::from_shape_vec((n, cols.len()), tile).expect("as long");
        values.slice_mut(ndarray::s![.., cols]).assign(&tile);
    }
    values
}

#[track_caller]
fn assert_same(got: &Array2<f32>, wanted: &Array2<f32>, what: &str) {
    assert_eq!(got.dim(), wanted.dim(), "{what}");
    for (got, wanted) in got.iter().zip(wanted) {
        assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{what}");
    }
}

/// Options of a file of `expected.json`.
fn which<'a>(dataset: &'a str, mask: &'a Arc<Mask>) -> Which<'a> {
    Which { dataset, mask: Some(mask), may_repeat: true, ..Which::default() }
}

#[test]
fn every_form_holds_the_values_that_its_writer_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let mask = Arc::new(Mask::read(&golden("mask.nii")).expect("a mask"));
    let expected = expected();
    let files = expected["files"].as_object().expect("an object");
    let (mut n_in_place, mut n_packed) = (0, 0);
    for (name, wanted) in files {
        let (file, dataset) = name.split_once(':').unwrap_or((name, DATASET));
        let open = MatrixFile::open(&golden(file), &which(dataset, &mask));
        let open = open.unwrap_or_else(|error| panic!("{error}"));
        *(if open.is_packed() { &mut n_packed } else { &mut n_in_place }) += 1;
        let n_repeats = open.n_repeats();
        let wanted = wanted.as_str().expect("a name");
        assert_eq!(n_repeats, (wanted == "mean").then_some(3), "{name}");
        assert_same(&values(open, folder.path()), &matrix(wanted), name);
    }
    assert!(n_in_place > 25 && n_packed > 12, "{n_in_place} {n_packed}");
    let names = |name: &str| {
        let open = MatrixFile::open(&golden(name), &Which::default()).expect("CIFTI");
        let found = open.column_names().expect("whole").expect("it says them");
        (found.are_parcels, found.names.len(), found.names[13].clone())
    };
    assert_eq!(names("a.ptseries.nii"), (true, 14, "parcel 13".into()));
    assert_eq!(names("a.dtseries.nii"), (false, 14, "CORTEX_RIGHT 5".into()));
    assert_eq!(names("packed.dtseries.nii.gz").2, "CORTEX_RIGHT 5");
}

#[test]
fn repeats_are_the_entries_of_the_first_axis() {
    let folder = tempfile::tempdir().expect("a folder");
    let mask = Arc::new(Mask::read(&golden("mask.nii")).expect("a mask"));
    let all = npy::read_array_f64(&golden("repeats.npy")).expect("three axes");
    for name in
        ["repeats.npy", "packed.npz:repeated", "groups.h5:ses-02/repeated", "zlib.jbl:repeated"]
    {
        let (file, dataset) = name.split_once(':').unwrap_or((name, DATASET));
        let mut open = MatrixFile::open(&golden(file), &which(dataset, &mask)).expect("repeats");
        open.unpack(folder.path(), false).expect("whole");
        let repeats = open.repeats().expect("there are files");
        assert_eq!(repeats.len(), 3, "{name}");
        for (index, repeat) in repeats.into_iter().enumerate() {
            let wanted = all.index_axis(ndarray::Axis(0), index).mapv(|x| x as f32);
            let wanted = wanted.into_dimensionality().expect("two axes");
            assert_same(&values(repeat, folder.path()), &wanted, name);
        }
    }
    let alone = Which { dataset: DATASET, ..Which::default() };
    let error = MatrixFile::open(&golden("repeats.npy"), &alone).expect_err("no matrix");
    assert!(error.to_string().contains("[3, 11, 14]"), "{error}");
}

#[test]
fn both_hemispheres_stand_side_by_side_in_every_encoding() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str, transpose: bool| {
        let which = Which { transpose, ..Which::default() };
        MatrixFile::open(&golden(name), &which).unwrap_or_else(|error| panic!("{error}"))
    };
    let a = matrix("a");
    for encoding in ["ascii", "base64", "gzip"] {
        let sides = ["L", "R"].map(|hemi| open(&format!("{encoding}_hemi-{hemi}.func.gii"), false));
        let both = MatrixFile::side_by_side(sides.into()).expect("as many TRs");
        let found = values(both, folder.path());
        match encoding {
            // nibabel writes text with six decimals; read as f32.
            "ascii" => found.iter().zip(&a).for_each(|(x, y)| {
                let is_near = (x - y).abs() <= 5.1e-7 + f32::EPSILON * y.abs();
                assert!(is_near || x.is_nan() && y.is_nan(), "ascii: {x} {y}");
            }),
            _ => assert_same(&found, &a, encoding),
        }
    }
    // One array of two axes: vertices first, unless it is said or seen that it is the other way.
    let sides = ["lh", "rh"].map(|hemi| open(&format!("{hemi}.surface.gii"), false));
    assert!(sides[0].is_undirected());
    let both = MatrixFile::side_by_side(sides.into()).expect("as many TRs");
    assert_same(&values(both, folder.path()), &a, "surface");
    let left = a.slice(ndarray::s![.., ..8]).to_owned();
    assert_same(&values(open("lh.turned.gii", true), folder.path()), &left, "turned");
    let mut turned = open("lh.turned.gii", false);
    assert_eq!((turned.n_rows(), turned.n_cols()), (8, 11));
    turned.turn();
    assert_same(&values(turned, folder.path()), &left, "turned later");
}

#[test]
fn headers_say_the_repetition_time_as_nibabel_wrote_it() {
    let expected = expected();
    let trs = expected["tr_s"].as_object().expect("an object");
    assert!(trs.len() > 15);
    for (name, wanted) in trs {
        let path = golden(name);
        let found = match name.starts_with("tr_") {
            true => NiftiFile::open(&path).expect("an image").tr_s(),
            false => MatrixFile::open(&path, &Which::default()).expect("a matrix").tr_s(),
        };
        let (found, wanted) = (found.map(|tr| (tr * 1e6).round()), wanted.as_f64());
        assert_eq!(found, wanted.map(|tr| tr * 1e6), "{name}");
    }
}

#[test]
fn transposing_swaps_the_sides_of_every_matrix_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = matrix("a");
    for name in
        ["subject.hdf:a", "groups.h5:ses-01/a", "matlab.mat:a", "plain.jbl:a", "packed.npz:a"]
    {
        let (file, dataset) = name.split_once(':').expect("both");
        let which = Which { dataset, transpose: true, ..Which::default() };
        let open =
            MatrixFile::open(&golden(file), &which).unwrap_or_else(|error| panic!("{error}"));
        assert_same(&values(open, folder.path()), &a.t().to_owned(), name);
    }
    let which = Which { transpose: true, ..Which::default() };
    let error = MatrixFile::open(&golden("a.dtseries.nii"), &which).expect_err("it says it itself");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("which of its axes is time"), "{error}");
}

#[test]
fn files_of_other_kinds_are_told_for_what_they_are() {
    for (file, says) in [
        (
            "refused_class.pkl",
            &["refused_class.pkl", "decimal.Decimal", "nothing was executed"][..],
        ),
        ("refused_class.jbl", &["refused_class.jbl", "decimal.Decimal", "nothing was executed"]),
        ("refused_lzma.jbl", &["LZMA", "zlib"]),
        ("refused_bz2.jbl", &["bzip2", "zlib"]),
        ("refused_objects.npy", &["NumPy arrays by their names"]),
        ("refused_links.h5", &["soft link", "/real"]),
        ("refused_btree2.h5", &["B-tree of version 2", "h5repack"]),
        ("refused_virtual.h5", &["virtual"]),
        ("refused_external.h5", &["other files"]),
        ("refused_coo.npz", &["sparse", "coo", "tocsr"]),
        ("refused_geometry.surf.gii", &["geometry of a surface", ".func.gii"]),
        ("refused_label.gii", &["labels"]),
        ("refused.dscalar.nii", &["maps of scalars", ".dtseries.nii"]),
        ("refused.mgz", &["FreeSurfer", "mri_convert"]),
        ("make.py", &["text or a table"]),
        ("expected.json", &["a JSON file"]),
        ("study/words.tsv", &["text or a table", "story\\tonset"]),
        ("five.nii", &["a mask"]),
        ("subject.hdf", &["no dataset \"data\"", "a, b, repeated, voxels"]),
    ] {
        let error = MatrixFile::open(&golden(file), &Which::default()).expect_err(file);
        assert_eq!(error.exit_code(), 3, "{error}");
        let message = error.to_string();
        for part in says {
            assert!(message.contains(part), "{file}: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
    // A soft link does not hide its neighbours.
    let which = Which { dataset: "other", ..Which::default() };
    let error = MatrixFile::open(&golden("refused_links.h5"), &which).expect_err("none");
    assert!(error.to_string().contains("the file holds real;"), "{error}");
}

/// STUDY.toml on the golden study.
struct GoldenStudy {
    folder: tempfile::TempDir,
}

impl GoldenStudy {
    fn new() -> Self {
        GoldenStudy { folder: tempfile::tempdir().expect("a folder") }
    }

    fn write(&self, bold: &str, design: &str) -> PathBuf {
        let study = golden("study");
        let bold = bold.replace("STUDY", text(&study));
        let path = self.folder.path().join("STUDY.toml");
        let toml = format!(
            "[stories]\npath = \"{}/words.tsv\"\n[bold.ann]\n{bold}\n[split]\nn_test = 1\n\
             [design]\ntr_s = 2.0\nfirst_tr_s = 1.0\ntrim = \"0:0\"\nalignment_check = false\n{design}\n\
             [[space]]\nkind = \"word_rate\"\n[ridge]\nfolds = 3\n[statistics]\npermutations = 20\n\
             resamples = 20\n[output]\nweights = true\n",
            study.display()
        );
        fs::write(&path, toml).expect("written");
        path
    }

    fn check(&self, bold: &str, design: &str) -> Outcome {
        let path = self.write(bold, design);
        voxelcast(&["check", text(&path)])
    }

    /// Every array of a run, and what was said.
    fn run(&self, bold: &str) -> (Vec<(PathBuf, Vec<u8>)>, Outcome, PathBuf) {
        let path = self.write(bold, "");
        let out = tempfile::tempdir_in(self.folder.path()).expect("a folder").keep();
        let outcome = voxelcast(&["run", text(&path), "--out", text(&out), "--threads", "1"]);
        assert_eq!(outcome.code, 0, "{bold}: {outcome:#?}");
        assert!(!out.join(".partial").exists());
        let mut files = visible_files(&out.join("models"));
        files
            .retain(|(path, _)| path.extension().is_some_and(|e| e == "npy" || e == "safetensors"));
        files.retain(|(path, _)| !path.to_string_lossy().contains("ceiling"));
        files.retain(|(path, _)| !path.to_string_lossy().contains("normalised"));
        for (path, _) in &mut files {
            *path = path.strip_prefix(&out).expect("below it").to_owned();
        }
        (files, outcome, out)
    }
}

const NPY: &str = "path = \"STUDY/npy/{story}.npy\"";

/// Every form of the golden study: what `[bold.ann]` says, and whether it is unpacked.
const FORMS: [(&str, bool); 18] = [
    ("path = \"STUDY/half/{story}.npy\"", false),
    ("path = \"STUDY/turned/{story}.npy\"\ntranspose = true", false),
    ("path = \"STUDY/hemi/{story}_{hemi}.npy\"", false),
    ("path = \"STUDY/sessions/{session}/{session}_{story}.npy\"", false),
    ("path = \"STUDY/repeats/{story}.npy\"", false),
    ("path = \"STUDY/surface/{story}_hemi-{hemi}.func.gii\"", true),
    ("path = \"STUDY/grayordinates/{story}.dtseries.nii\"", false),
    ("path = \"STUDY/parcels/{story}.ptseries.nii\"", false),
    ("path = \"STUDY/images/{story}.nii\"\nmask = \"STUDY/images/mask.nii.gz\"", true),
    ("path = \"STUDY/subject.hdf\"\ndataset = \"{story}\"", false),
    ("path = \"STUDY/subject.hdf\"\ndataset = \"/{story}\"", false),
    ("path = \"STUDY/groups.h5\"\ndataset = \"{session}/{session}_{story}\"", true),
    ("path = \"STUDY/matlab.mat\"\ndataset = \"{story}\"", false),
    ("path = \"STUDY/subject.npz\"\ndataset = \"{story}\"", false),
    ("path = \"STUDY/subject.pkl\"\ndataset = \"{story}\"", false),
    ("path = \"STUDY/subject.jbl\"\ndataset = \"{story}\"", false),
    ("path = \"STUDY/packed.joblib\"\ndataset = \"{story}\"", true),
    ("path = \"STUDY/dict.npy\"\ndataset = \"{story}\"", false),
];

#[test]
fn a_study_in_any_form_gives_the_bits_of_the_study_on_npy() {
    let study = GoldenStudy::new();
    let (wanted, _, _) = study.run(NPY);
    assert!(wanted.len() >= 6, "{wanted:?}");
    for (bold, is_unpacked) in FORMS {
        let (found, outcome, out) = study.run(bold);
        assert!(found == wanted, "{bold}: other results");
        assert_eq!(outcome.stderr.contains("unpacking"), is_unpacked, "{bold}: {outcome:#?}");
        let is_repeated = bold.contains("repeats/");
        assert_eq!(out.join("models/ann/noise_ceiling.npy").exists(), is_repeated, "{bold}");
        check_names(&out, bold);
        // The same run again: nothing to do.
        let path = study.write(bold, "");
        let again = voxelcast(&["run", text(&path), "--out", text(&out), "--threads", "1"]);
        assert!(again.stderr.contains("finished before"), "{again:#?}");
    }
}

/// Tables with the names of columns, where a form has them.
fn check_names(out: &Path, bold: &str) {
    let table = |name: &str| fs::read_to_string(out.join(name)).ok();
    let (columns, parcels) = (table("columns.csv"), table("parcels.csv"));
    let is_parcels = bold.contains("parcels/");
    let fourth = if is_parcels { "ann,4,area 4" } else { "ann,4,CORTEX_LEFT 4" };
    match is_parcels || bold.contains("grayordinates/") {
        true => assert_eq!(columns.expect("written").lines().nth(5), Some(fourth)),
        false => assert_eq!(columns, None, "{bold}"),
    }
    assert_eq!(parcels.is_some(), is_parcels, "{bold}");
    let Some(parcels) = parcels else { return };
    let r = out.join("models/ann/word_rate-lagged/test_correlation.npy");
    let r = npy::read_vector_f64(&r).expect("it is there").mapv(|r| r as f32);
    let lines: Vec<&str> = parcels.lines().collect();
    assert_eq!(lines[0], "subject,space,lagged,parcel,r");
    assert_eq!(lines.len(), 1 + 2 * r.len());
    for (voxel, r) in r.iter().enumerate() {
        let wanted = format!("ann,word_rate,true,area {voxel},{r}");
        assert!(lines.contains(&wanted.as_str()), "{wanted}: {parcels}");
    }
}

#[test]
fn score_predict_and_check_read_what_run_reads() {
    let study = GoldenStudy::new();
    let (_, _, out) = study.run(NPY);
    let root = golden("study");
    let words = root.join("words.tsv");
    let predicted = study.folder.path().join("predicted");
    let mut scored = Vec::new();
    for (bold, _) in [(NPY, false)].into_iter().chain(FORMS) {
        assert_eq!(study.check(bold, "").code, 0, "{bold}");
        let mut flags: Vec<String> = Vec::new();
        let mut path = String::new();
        for line in bold.lines() {
            let (key, value) = line.split_once(" = ").expect("a key");
            let value = value.trim_matches('"').replace("STUDY", text(&root));
            match key {
                "path" => path = value,
                "transpose" => flags.push("--transpose".into()),
                key => flags.extend([format!("--{key}"), value]),
            }
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        fs::remove_dir_all(&predicted).ok();
        let arguments =
            ["predict", "--model", text(&out), "--stories", text(&words), "--n-trs", &path];
        let arguments = [&arguments[..], &["--out", text(&predicted)], &flags].concat();
        let outcome = voxelcast(&arguments);
        assert_eq!(outcome.code, 0, "{bold}: {outcome:#?}");
        let arguments = ["score", "--predictions", text(&predicted), "--bold", &path, "--json"];
        let outcome = voxelcast(&[&arguments[..], &flags].concat());
        assert_eq!(outcome.code, 0, "{bold}: {outcome:#?}");
        let document: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        scored.push((bold, document["scores"].clone()));
    }
    for (bold, scores) in &scored {
        assert_eq!(*scores, scored[0].1, "{bold}");
    }
    let arguments = ["score", "--predictions", text(&predicted), "--bold"];
    let refused = |flags: &[&str], code: i32, parts: &[&str]| {
        voxelcast(&[&arguments[..], flags].concat()).refused(code, parts);
    };
    let turned = root.join("turned/{story}.npy");
    refused(&[text(&turned)], 3, &["(voxels, TRs)", "--transpose"]);
    refused(&[text(&root.join("subject.pkl"))], 2, &["--bold", "{story}"]);
}

#[test]
fn wrong_files_and_keys_of_a_study_are_one_sentence() {
    let study = GoldenStudy::new();
    let refused = |bold: &str, code: i32, parts: &[&str]| {
        study.check(bold, "").refused(code, parts);
    };
    // A dict without dataset.
    for file in
        ["subject.pkl", "subject.jbl", "packed.joblib", "dict.npy", "subject.npz", "subject.hdf"]
    {
        let names = ["[bold.ann]", "adventure, breakfast", "dataset = \"{story}\""];
        refused(&format!("path = \"STUDY/{file}\""), 2, &names);
    }
    refused("path = \"STUDY/npy/sea.npy\"", 2, &["a path with {story} in it"]);
    refused("path = \"STUDY/npy/sea.npy\"\ndataset = \"{story}\"", 2, &["dataset", "one matrix"]);
    refused("path = \"STUDY/none.h5\"", 2, &["a path with {story} in it"]);
    refused("path = \"STUDY/{story}.pkl\"", 3, &["story \"adventure\"", "found no file"]);
    refused("path = \"STUDY/npy/{story}.npy\"\ntranspose = \"yes\"", 2, &["true or false"]);
    refused("path = \"STUDY/images/{story}.nii\"", 2, &["mask"]);
    // Transposed: of different lengths, and of one length by their words.
    refused(
        "path = \"STUDY/turned/{story}.npy\"",
        3,
        &["[bold.ann]", "(voxels, TRs)", "10 rows", "transpose = true"],
    );
    refused(
        "path = \"STUDY/npy/{story}.npy\"\ntranspose = true",
        3,
        &["(TRs, voxels)", "transpose = false"],
    );
    // The TR.
    let images = "path = \"STUDY/images/{story}.nii\"\nmask = \"STUDY/images/mask.nii.gz\"";
    let outcome = voxelcast(&["check", text(&study.write(images, "cutoff_mult = 1.0"))]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for bold in [images, "path = \"STUDY/grayordinates/{story}.dtseries.nii\""] {
        let path = study.write(bold, "");
        let toml = fs::read_to_string(&path).expect("written").replace("tr_s = 2.0", "tr_s = 1.5");
        fs::write(&path, toml.replace("first_tr_s = 1.5", "first_tr_s = 1.0")).expect("written");
        voxelcast(&["check", text(&path)]).refused(3, &["1.5 s", "2 s", "tr_s = 2", "header"]);
    }
}

#[test]
fn files_of_a_folder_are_noticed_whatever_is_wrong_with_them() {
    let study = GoldenStudy::new();
    let copy = |to: &str| {
        let to = study.folder.path().join(to);
        fs::create_dir_all(&to).expect("made");
        for entry in fs::read_dir(golden("study/npy")).expect("there") {
            let entry = entry.expect("readable");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
        to
    };
    let check = |folder: &Path, bold: &str| study.check(&bold.replace("FOLDER", text(folder)), "");
    let pattern = "path = \"FOLDER/{story}.npy\"";
    // macOS's shadows are nobody's stories.
    let folder = copy("dots");
    fs::write(folder.join("._sea.npy"), "x").expect("written");
    assert_eq!(check(&folder, pattern).code, 0);
    // A dead link, a link of DataLad, a FIFO, a folder.
    for (name, target) in
        [("a soft link to nowhere", "nowhere"), ("datalad get", ".git/annex/objects/a")]
    {
        let folder = copy(name.split(' ').next().expect("a word"));
        fs::remove_file(folder.join("sea.npy")).expect("removed");
        std::os::unix::fs::symlink(target, folder.join("sea.npy")).expect("linked");
        check(&folder, pattern).refused(3, &["sea.npy", name]);
    }
    let folder = copy("fifo");
    fs::remove_file(folder.join("sea.npy")).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(folder.join("sea.npy")).status();
    assert!(made.expect("mkfifo is there").success());
    check(&folder, pattern).refused(3, &["sea.npy", "FIFO"]);
    // Two sessions of one story.
    let folder = copy("twice/1");
    copy("twice/2");
    let folder = folder.parent().expect("a parent").to_owned();
    check(&folder, "path = \"FOLDER/{session}/{story}.npy\"").refused(
        3,
        &["story \"adventure\"", "one session, got 2", "1/adventure.npy", "2/adventure.npy"],
    );
    // One hemisphere.
    let folder = copy("one");
    for entry in fs::read_dir(&folder).expect("there") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        fs::rename(&path, folder.join(format!("{name}_L.npy"))).expect("renamed");
    }
    check(&folder, "path = \"FOLDER/{story}_{hemi}.npy\"")
        .refused(3, &["left hemisphere", "called R"]);
    // JSON beside silent images.
    let folder = study.folder.path().join("beside");
    fs::create_dir(&folder).expect("made");
    for entry in fs::read_dir(golden("study/images")).expect("there") {
        let path = entry.expect("readable").path();
        let mut bytes = fs::read(&path).expect("readable");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".nii") {
            bytes[92..96].copy_from_slice(&0f32.to_le_bytes());
        }
        fs::write(folder.join(&name), bytes).expect("written");
    }
    let images = "path = \"FOLDER/{story}.nii\"\nmask = \"FOLDER/mask.nii.gz\"";
    assert_eq!(check(&folder, images).code, 0);
    fs::write(folder.join("sea.json"), "{\"RepetitionTime\": 1.5}").expect("written");
    check(&folder, images).refused(3, &["story \"sea\"", "sea.json", "1.5 s", "2 s"]);
}

#[test]
fn a_mask_of_other_numbers_is_noted() {
    let study = GoldenStudy::new();
    let folder = study.folder.path().join("twos");
    fs::create_dir(&folder).expect("made");
    let mask =
        voxelcast::io::nifti::read_volume(&golden("study/images/mask.nii.gz")).expect("a mask");
    let twos: Vec<f32> = mask.values.iter().map(|x| 2.0 * x).collect();
    voxelcast::io::nifti::write_volume(&folder.join("mask.nii"), &mask.grid, &twos)
        .expect("written");
    let images = "path = \"STUDY/images/{story}.nii\"\nmask = \"FOLDER/mask.nii\"";
    let outcome = study.check(&images.replace("FOLDER", text(&folder)), "");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("note: ann: 10 of the 10 voxels of the mask"), "{outcome:#?}");
    let plain = "path = \"STUDY/images/{story}.nii\"\nmask = \"STUDY/images/mask.nii.gz\"";
    assert!(!study.check(plain, "").stderr.contains("note"), "a right study is silent");
}

#[test]
fn ridge_takes_an_array_of_a_file_and_sparse_designs_as_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    npy::write(&file("folds.npy"), &[11], &[0i64, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]).expect("written");
    let x = matrix("sparse");
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    npy::write(&file("x.npy"), &[11, 14], &wide).expect("written");
    let y = matrix("integers");
    npy::write(&file("y.npy"), &[11, 14], y.as_slice().expect("in order")).expect("written");
    let fit = |x: &str, y: &str, out: &str| {
        let out = file(out);
        let arguments = ["ridge", "--x", x, "--y", y, "--fold-ids"];
        let folds = file("folds.npy");
        let rest = [text(&folds), "--out", text(&out), "--alphas", "1,10,100"];
        let outcome = voxelcast(&[&arguments[..], &rest].concat());
        (outcome, out)
    };
    let scores = |out: &Path| fs::read(out.join("cv_scores.npy")).expect("there");
    let (outcome, plain) = fit(text(&file("x.npy")), text(&file("y.npy")), "plain");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for name in ["csr.npz", "csr_array.npz", "csc.npz"] {
        let (outcome, out) = fit(text(&golden(name)), text(&file("y.npy")), name);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let (found, wanted) = (scores(&out), scores(&plain));
        let close = |path: &[u8]| path.len() == wanted.len();
        assert!(close(&found), "{name}");
        let read = |out: &Path| npy::read_matrix_f64(&out.join("cv_scores.npy")).expect("there");
        for (a, b) in read(&out).iter().zip(read(&plain).iter()) {
            assert!((a - b).abs() < 1e-6 || a.is_nan() && b.is_nan(), "{name}: {a} {b}");
        }
    }
    fit(text(&golden("refused_coo.npz")), text(&file("y.npy")), "coo")
        .0
        .refused(3, &["coo", "tocsr"]);
    // One array of several.
    let (outcome, out) = fit(text(&file("x.npy")), &format!("{}:i2", text(&file("y.npz"))), "none");
    outcome.refused(3, &["y.npz:i2"]);
    assert!(!out.join("cv_scores.npy").exists());
    for name in ["half.h5:packed", "half.h5:big"] {
        let (outcome, by_name) =
            fit(text(&file("x.npy")), text(&golden(name)), &name.replace(':', "_"));
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let (_, plain) = fit(text(&file("x.npy")), text(&golden("half_little.npy")), "half");
        assert!(scores(&by_name) == scores(&plain), "{name}");
    }
}

#[test]
fn errors_of_arrays_name_the_file() {
    let which = Which { dataset: "nothing", ..Which::default() };
    for file in ["plain.jbl", "protocol4.pkl", "saved_dict.npy", "stories.npz"] {
        let error = MatrixFile::open(&golden(file), &which).expect_err("no such array");
        assert!(matches!(error, Error::Pickle { .. } | Error::Npz { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(file) && message.contains("a, b, repeated"), "{message}");
    }
}
