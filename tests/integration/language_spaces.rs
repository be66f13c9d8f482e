//! Language models as features: `features --kind bert|encoder`, and their spaces in a study.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use voxelcast::io::npy;

use super::bert_family::minilm;
use super::workbench::{
    Outcome, StudyBench, read_matrix, read_vector, text, visible_names, voxelcast,
};

/// The tiny BERT of the golden values.
fn bert() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert_family/bert")
}

/// A table with the words of make.py, half a second each.
fn write_story(folder: &Path) -> (PathBuf, Vec<String>) {
    let words = std::fs::read_to_string(bert().join("words.json")).expect("there");
    let words: Vec<String> = serde_json::from_str(&words).expect("a list");
    let mut table = String::from("story\tonset\toffset\tword\n");
    for (i, word) in words.iter().enumerate() {
        table += &format!("one\t{}\t{}\t{word}\n", i as f64 / 2.0, i as f64 / 2.0 + 0.4);
    }
    let path = folder.join("words.tsv");
    std::fs::write(&path, table).expect("written");
    (path, words)
}

fn features(stories: &Path, out: &Path, flags: &[&str]) -> Outcome {
    let mut args = vec!["features", "--stories", text(stories), "--out", text(out)];
    args.extend(flags);
    voxelcast(&args)
}

#[test]
fn features_of_a_checkpoint_are_transformers_means_over_pieces_at_every_layer() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (stories, words) = write_story(folder.path());
    for context in ["both", "past"] {
        let golden = bert().join(format!("words_{context}.npy"));
        let golden = npy::read_matrix_f64(&golden).expect("golden files are whole");
        for layer in ["0", "1", "2", ""] {
            let out = folder.path().join(format!("{context}{layer}"));
            let model = bert();
            let mut flags = vec!["--kind", "bert", "--model", text(&model), "--context", context];
            if !layer.is_empty() {
                flags.extend(["--layer", layer]);
            }
            let outcome = features(&stories, &out, &flags);
            assert_eq!(outcome.code, 0, "{outcome:#?}");
            let names = ["features.json", "one.trs.npy", "one.words.npy"];
            assert_eq!(visible_names(&out), names);
            assert!(!out.join(".cache").exists());
            let found = read_matrix(&out.join("one.words.npy"), (words.len(), 12));
            let layer = layer.parse().unwrap_or(2);
            for (word, row) in found.rows().into_iter().enumerate() {
                for (got, wanted) in row.iter().zip(golden.row(layer * words.len() + word)) {
                    // As in bert_family: two blocks of sums, values up to 4.
                    let bound = 64.0 * f64::from(f32::EPSILON) * (1.0 + wanted.abs());
                    assert!(
                        (got - wanted).abs() <= bound,
                        "{context} {layer} {word}: {got} {wanted}"
                    );
                }
            }
            let json = std::fs::read_to_string(out.join("features.json")).expect("written");
            let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!((&json["kind"], &json["dim"]), (&"bert".into(), &12.into()));
            assert_eq!((&json["n_words"], &json["n_oov"]), (&8.into(), &1.into()));
            assert_eq!(json["oov_words"][0][0], "zzz");
        }
    }
}

#[test]
fn flags_of_a_language_model_are_checked_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (stories, _) = write_story(folder.path());
    let (out, model) = (folder.path().join("out"), bert());
    let with_model = ["--kind", "bert", "--model", text(&model)];
    for (flags, code, says) in [
        (&["--kind", "bert"][..], 2, "--model: --kind bert needs a checkpoint folder"),
        (&["--kind", "encoder"], 2, "--model"),
        (&["--kind", "word_rate", "--layer", "1"], 2, "--layer: --kind word_rate uses no language"),
        (&["--kind", "word_rate", "--model", "m"], 2, "--model: --kind word_rate uses no language"),
        (&["--kind", "bert", "--model", "no/such"], 3, "no/such: no such file"),
        (&[&with_model[..], &["--layer", "3"]].concat(), 2, "0 (embeddings) to 2, got 3"),
        (&[&with_model[..], &["--context", "all"]].concat(), 2, "both or past"),
        (&[&with_model[..], &["--context-window", "21"]].concat(), 2, "3 to 20 pieces, got 21"),
        (&[&with_model[..], &["--context-stride", "19"]].concat(), 2, "1 to 18 pieces"),
        (
            &[&with_model[..], &["--context", "past", "--context-stride", "2"]].concat(),
            2,
            "a window of its own",
        ),
        (&[&with_model[..], &["--vectors", "v"]].concat(), 2, "uses no word vectors"),
    ] {
        features(&stories, &out, flags).refused(code, &[says]);
        assert!(!out.join("features.json").exists(), "{flags:?}");
    }
}

const SPACES: &str = "[[space]]\nname = \"bert\"\nkind = \"bert\"\nmodel = \"MODEL\"\nwindow = 16\n\
                      [[space]]\nname = \"low\"\nkind = \"bert\"\nmodel = \"MODEL\"\nlayer = 0\nfit = false\n\
                      [[space]]\nname = \"joined\"\ncombine = [\"bert\", \"low\"]\n";

fn spaces() -> String {
    format!("spaces = {}", SPACES.replace("MODEL", text(&bert())))
}

/// Times of change of the files in a cache, by name.
fn cache(out: &Path) -> Vec<(String, std::time::SystemTime)> {
    let mut found: Vec<_> = std::fs::read_dir(out.join(".cache/words"))
        .expect("a cache")
        .map(|entry| {
            let entry = entry.expect("readable");
            let changed = entry.metadata().and_then(|about| about.modified()).expect("a time");
            (entry.file_name().to_string_lossy().into_owned(), changed)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_study_computes_word_vectors_once_for_subjects_spaces_and_later_runs() {
    let bench = StudyBench::new(71, 40, 5);
    let spaces = spaces();
    let (outcome, out) = bench.run(&[&spaces], &["--dry-run"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stdout.contains("48"), "12 columns at 4 delays: {outcome:#?}");
    assert!(!out.exists(), "a plan computes nothing");

    let (outcome, out) = bench.run(&[&spaces, "stability.splits = 2"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let first = cache(&out);
    assert_eq!(first.len(), 2 * bench.stories.len(), "two layers of every story");
    for model in ["s1/bert", "s2/bert-lagged", "s1/joined-lagged"] {
        let r = read_vector(&out.join("models").join(model).join("test_correlation.npy"), 5);
        assert!(r.iter().all(|r| r.is_finite()), "{model}: {r:?}");
    }
    let run = std::fs::read_to_string(out.join("run.json")).expect("written");
    let run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    assert_eq!(run["spaces"][0]["n_features"], 12);
    assert_eq!(run["spaces"][2]["n_features"], 24);
    let inputs = run["inputs"].as_array().expect("a list").iter();
    let hashed = inputs.filter(|i| i["path"].as_str().is_some_and(|p| p.contains("safetensors")));
    assert_eq!(hashed.count(), 2, "the checkpoint is an input");

    let again = bench.run_into(&out, &[&spaces, "ridge.folds = 3"], &["--force"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(cache(&out), first, "other settings of the ridge: nothing is computed again");
    let other = spaces.replace("window = 16", "window = 8\ncontext = \"past\"");
    let other = bench.run_into(&out, &[&other], &["--force"]);
    assert_eq!(other.code, 0, "{other:#?}");
    let names = |files: &[(String, _)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(cache(&out).len(), first.len() + bench.stories.len());
    assert!(names(&first).iter().all(|name| names(&cache(&out)).contains(name)));

    let damaged = out.join(".cache/words").join(&first[0].0);
    npy::write(&damaged, &[1, 12], &[0f32; 12]).expect("written");
    let refused = bench.run_into(&out, &[&spaces], &["--force"]);
    refused.refused(3, &["word vectors of", "remove the folder .cache"]);
}

#[test]
fn minilm_reads_a_story_with_both_sides_and_with_the_past_alone() {
    let Some(model) = minilm() else { return };
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/stories/bees.txt");
    let story = std::fs::read_to_string(demo).expect("there");
    let words: Vec<&str> = story.split_whitespace().take(40).collect();
    let table = |n: usize, name: &str| {
        let mut table = String::from("story\tonset\toffset\tword\n");
        for (i, word) in words[..n].iter().enumerate() {
            table += &format!("one\t{i}\t{}\t{word}\n", i + 1);
        }
        let path = folder.path().join(name);
        std::fs::write(&path, table).expect("written");
        path
    };
    let rows = |stories: &Path, n: usize, context: &str| -> Array2<f64> {
        let out = folder.path().join(format!("{context}{n}"));
        let flags = ["--kind", "bert", "--model", text(&model), "--context", context];
        let outcome = features(stories, &out, &flags);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        read_matrix(&out.join("one.words.npy"), (n, 384))
    };
    let (long, short) = (table(40, "long.tsv"), table(25, "short.tsv"));
    let distance = |context: &str| {
        let (long, short) = (rows(&long, 40, context), rows(&short, 25, context));
        (&long.slice(ndarray::s![..25, ..]) - &short).mapv(f64::abs).fold(0.0, |a, &b| b.max(a))
    };
    // Words that come later change what stands before them with both sides, and nothing else.
    assert!(distance("past") <= 1e-4, "{}", distance("past"));
    assert!(distance("both") > 1e-2);
}

/// A trained encoder and its control, seconds small.
const ENCODERS: [&str; 9] = [
    "spaces = [[space]]\nkind = \"encoder\"\n[[space]]\nname = \"untrained\"\nkind = \"encoder\"\n\
     trained = false\n[[space]]\nkind = \"word_rate\"\n",
    "encoder.epochs = 2",
    "encoder.hidden = 8",
    "encoder.layers = 1",
    "encoder.intermediate = 16",
    "encoder.max_length = 32",
    "encoder.vocab_size = 60",
    "encoder.batch = 8",
    "encoder.lr = 1e-2",
];

fn bytes(out: &Path, file: &str) -> Vec<u8> {
    let path = out.join("encoders").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_word_of_a_test_story_reaches_tokenizer_or_weights_of_an_encoder() {
    let mut bench = StudyBench::new(72, 40, 4);
    let files = ["encoder/model.safetensors", "encoder/tokenizer.json", "untrained/tokenizer.json"];
    let models = |bench: &StudyBench| {
        let (outcome, out) = bench.run(&ENCODERS, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let found = files.map(|file| bytes(&out, file));
        for subject in ["s1", "s2"] {
            for space in ["encoder", "encoder-lagged", "untrained"] {
                let scores = out.join("models").join(subject).join(space);
                let r = read_vector(&scores.join("test_correlation.npy"), 4);
                assert!(r.iter().all(|r| r.is_finite()), "{subject} {space}: {r:?}");
            }
        }
        (found, out)
    };
    let (first, out) = models(&bench);
    assert!(!bytes(&out, "encoder/train_log.csv").is_empty());
    assert!(first[1] == first[2], "one tokenizer for both");
    assert!(bytes(&out, "untrained/model.safetensors") != first[0], "training changes weights");
    assert!(bytes(&out, "untrained/config.json") == bytes(&out, "encoder/config.json"));

    // The test story is story5 (workbench): other words, and characters of its own.
    let test = bench.stories.iter_mut().find(|story| story.name == "story5").expect("there");
    test.words.iter_mut().step_by(2).for_each(|word| *word = "zebra".to_owned());
    bench.write_words(|_| true);
    let (second, _) = models(&bench);
    assert!(second == first, "a test story changed a model");

    let train = bench.stories.iter_mut().find(|story| story.name != "story5").expect("there");
    train.words.iter_mut().step_by(2).for_each(|word| *word = "zebra".to_owned());
    bench.write_words(|_| true);
    let (third, _) = models(&bench);
    assert!((0..3).all(|file| third[file] != first[file]), "training stories count");
}

#[test]
fn encoders_are_trained_once_for_subjects_and_later_runs_and_anew_for_other_splits() {
    let bench = StudyBench::new(73, 40, 4);
    let count = |out: &Path, what: &str| {
        let entries = std::fs::read_dir(out.join(".cache")).expect("a cache");
        let names =
            entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(what)).count()
    };
    let (outcome, out) = bench.run(&ENCODERS, &["--dry-run"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(!out.exists() && outcome.stdout.contains("untrained"), "{outcome:#?}");
    let (outcome, out) = bench.run(&ENCODERS, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert_eq!((count(&out, "encoder-"), count(&out, "untrained-")), (1, 1));
    let trained = bytes(&out, "encoder/model.safetensors");
    let with = |more: &[&'static str]| [&ENCODERS[..], more].concat();
    let outcome = bench.run_into(&out, &with(&["stability.splits = 2"]), &["--force"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("trained before"), "{}", outcome.stderr);
    assert_eq!((count(&out, "encoder-"), count(&out, "untrained-")), (3, 3));
    assert!(bytes(&out, "encoder/model.safetensors") == trained);
    let outcome = bench.run_into(&out, &with(&["encoder.seed = 1"]), &["--force"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert_eq!(count(&out, "encoder-"), 4);
    assert!(bytes(&out, "encoder/model.safetensors") != trained);

    // The folder is a model for other studies and for features.
    let model = out.join("encoders/encoder");
    let features_out = bench.file("features");
    let flags = ["--kind", "encoder", "--model", text(&model), "--layer", "1"];
    let outcome = features(&bench.file("words.tsv"), &features_out, &flags);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let n_words = bench.stories[0].words.len();
    let vectors = read_matrix(&features_out.join("story0.words.npy"), (n_words, 8));
    assert!(vectors.iter().all(|x| x.is_finite()) && vectors.std(0.0) > 0.0);
}

#[test]
fn weights_of_the_best_and_of_the_last_epoch_are_those_of_one_training() {
    let bench = StudyBench::new(76, 40, 4);
    let spaces = "spaces = [[space]]\nname = \"encoder\"\nkind = \"encoder\"\n[[space]]\nname = \"last\"\n\
                  kind = \"encoder\"\nepoch = \"last\"\n[[space]]\nkind = \"word_rate\"\n";
    // Steps so large that the first epochs are the best ones.
    let mut lines = [&[spaces], &ENCODERS[1..]].concat();
    lines.extend(["encoder.epochs = 8", "encoder.lr = 0.5"]);
    lines.retain(|line| !["encoder.epochs = 2", "encoder.lr = 1e-2"].contains(line));
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let cache = std::fs::read_dir(out.join(".cache")).expect("there").flatten();
    let folders: Vec<PathBuf> = cache
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("encoder-"))
        .collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let kept = |below: &str| std::fs::read(folders[0].join(below)).expect("there");
    assert!(bytes(&out, "encoder/model.safetensors") == kept("model.safetensors"));
    assert!(bytes(&out, "last/model.safetensors") == kept("last/model.safetensors"));
    assert!(bytes(&out, "last/model.safetensors") != bytes(&out, "encoder/model.safetensors"));
}

#[test]
fn check_opens_the_language_models_of_a_study() {
    let bench = StudyBench::new(74, 30, 3);
    assert_eq!(bench.check(&[&spaces()]).code, 0);
    assert_eq!(bench.check(&ENCODERS).code, 0);
    let missing = spaces().replace(text(&bert()), "no/model");
    bench.check(&[&missing]).refused(3, &["no/model: no such file"]);
    let deep = spaces().replace("layer = 0", "layer = 3");
    bench.check(&[&deep]).refused(2, &["0 (embeddings) to 2, got 3"]);
    let long = ENCODERS.map(|line| line.replace("trained = false", "window = 33"));
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    bench.check(&long).refused(2, &["3 to 32 pieces, got 33"]);
    let tokenizer = [&ENCODERS[..], &["encoder.tokenizer = \"none.json\""]].concat();
    bench.check(&tokenizer).refused(3, &["none.json"]);
}

#[test]
fn new_stories_are_predicted_from_an_encoder_and_from_a_checkpoint() {
    let bench = StudyBench::new(76, 40, 4);
    let model = bench.file("checkpoint");
    let copy = |to: &Path| {
        std::fs::create_dir_all(to).expect("made");
        for entry in std::fs::read_dir(bert()).expect("there") {
            let entry = entry.expect("readable");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    };
    copy(&model);
    let spaces = format!(
        "spaces = {}[[space]]\nname = \"pretrained\"\nkind = \"bert\"\nmodel = {:?}\nlayer = 1\n\
         context = \"past\"\nwindow = 8\n",
        ENCODERS[0].trim_start_matches("spaces = "),
        text(&model)
    );
    let lines = [&[spaces.as_str(), "output.weights = true"][..], &ENCODERS[1..]].concat();
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    // Results are one tree: it may lie elsewhere later.
    let moved = bench.file("moved/results");
    std::fs::create_dir_all(moved.parent().expect("a parent")).expect("made");
    std::fs::rename(&out, &moved).expect("moved");
    let words = bench.file("words.tsv");
    let predict = |flags: &[&str]| {
        let to = bench.out();
        let args = ["predict", "--model", text(&moved), "--stories", text(&words)];
        let args = [&args[..], &["--story", "story5", "--out", text(&to)], flags].concat();
        (voxelcast(&args), to)
    };
    // The checkpoint was named relative to the models, which moved.
    let named = format!("pretrained={}", text(&model));
    let (outcome, to) = predict(&["--vectors", &named]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(!to.join(".cache").exists());
    let pattern = bench.file("{subject}/{story}.npy");
    let scored = bench.out();
    let args = ["score", "--predictions", text(&to), "--bold", text(&pattern)];
    let outcome = voxelcast(&[&args[..], &["--out", text(&scored)]].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for model in ["encoder", "encoder-lagged", "untrained-lagged", "pretrained-lagged"] {
        let r = |out: &Path, below: &str| {
            read_vector(&out.join(below).join("s1").join(model).join("test_correlation.npy"), 4)
        };
        let (found, wanted) = (r(&scored, ""), r(&moved, "models"));
        for (found, wanted) in found.iter().zip(&wanted) {
            // Predictions are written as f32, as r is.
            assert!((found - wanted).abs() <= 1e-5, "{model}: {found} {wanted}");
        }
    }
    let (outcome, _) = predict(&[]);
    outcome.refused(3, &["\"pretrained\"", "not there any more", "--vectors pretrained=FOLDER"]);
    std::fs::write(model.join("vocab.txt"), "[PAD]\n").expect("written");
    let (outcome, _) = predict(&["--space", "pretrained", "--vectors", &named]);
    outcome.refused(3, &["\"pretrained\"", "another model"]);
}
