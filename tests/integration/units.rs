//! `[split] stories = "own"` and `unit = "block"`: subjects with stories of their own, blocks of TRs in
//! place of stories.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};
use serde_json::Value;
use voxelcast::design::delays::delay;
use voxelcast::io::npy;

use super::naive::{Score, column_correlations, predict, ridge_cv, ridge_fit};
use super::shards::merged;
use super::study_command::{design_by_hand, names, run_json, stacked, table};
use super::workbench::{GLOVE_ONLY, StudyBench, read_matrix, read_vector, text, voxelcast, wide};

const N_VOXELS: usize = 20;
const N_ALPHAS: usize = 11;
const STATIC: &str = "spaces = [[space]]\nname = \"glove\"\nkind = \"glove\"\n\
    vectors = \"vectors.txt\"\n[[space]]\nkind = \"word_rate\"\n";
const OWN: &str = "split.stories = \"own\"";
const BLOCKS: &str = "split.unit = \"block\"";

/// Seven stories; s1 did not hear story1, s2 did not hear story3.
fn uneven() -> StudyBench {
    let bench = StudyBench::with_stories(2601, 7, 60, N_VOXELS);
    for file in ["s1/story1.npy", "s2/story3.npy"] {
        std::fs::remove_file(bench.file(file)).expect("it was written");
    }
    bench
}

/// The same settings for one subject alone.
fn alone(bench: &StudyBench, lines: &[&str], other: &str) -> PathBuf {
    let study = std::fs::read_to_string(bench.settings(lines)).expect("it was written");
    let section = format!("[bold.{other}]\npath = \"{other}/{{story}}.npy\"\n");
    assert!(study.contains(&section), "{study}");
    let path = bench.file(&format!("without-{other}.toml"));
    std::fs::write(&path, study.replace(&section, "")).expect("written");
    path
}

#[track_caller]
fn assert_near(a: &Path, b: &Path, what: &str) {
    let [a, b] = [a, b].map(|path| wide(&npy::read_matrix_f32(path).expect("an array")));
    assert_eq!(a.dim(), b.dim(), "{what}");
    for (a, b) in a.iter().zip(&b) {
        // Stories are added up in another order.
        assert!((a - b).abs() <= 2e-5, "{what}: {a} {b}");
    }
}

#[test]
fn each_subject_with_its_own_stories_is_fitted_as_in_a_study_of_its_own() {
    let bench = uneven();
    let test = "split.test = [\"story5\", \"story1\"]";
    let lines = [STATIC, test, "ridge.folds = 3"];
    let (shared, _) = bench.run(&lines, &[]);
    assert_eq!(shared.code, 3, "{shared:#?}");
    assert!(shared.stderr.contains("stories = \"own\""), "{}", shared.stderr);

    let lines = [&lines[..], &[OWN]].concat();
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    assert_eq!(names(&run["split"]["test"]), ["story5", "story1"]);
    assert_eq!(names(&run["split"]["train"]).len(), 5);
    let tests = [("s1", vec!["story5"], "story1"), ("s2", vec!["story5", "story1"], "story3")];
    for (subject, heard, missing) in &tests {
        let own = &run["subject_splits"][subject];
        assert_eq!(names(&own["test"]), *heard);
        let order: Vec<String> = names(&run["split"]["train"]);
        let wanted: Vec<&String> = order.iter().filter(|story| *story != missing).collect();
        assert_eq!(names(&own["train"]).iter().collect::<Vec<_>>(), wanted, "the seeded order");
        let other = if *subject == "s1" { "s2" } else { "s1" };
        let (test, folds) =
            (format!("split.test = {}", own["test"]), format!("ridge.folds = {}", own["folds"]));
        let exclude = format!("stories.exclude = [{missing:?}]");
        let study = alone(&bench, &[STATIC, &test, &folds, &exclude], other);
        let alone = bench.out();
        let outcome = voxelcast(&["run", text(&study), "--out", text(&alone)]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        for model in ["glove-lagged", "glove", "word_rate-lagged", "word_rate"] {
            let folder = format!("models/{subject}/{model}");
            for file in ["cv_scores.npy", "story_correlation.npy"] {
                let [a, b] = [&out, &alone].map(|out| out.join(&folder).join(file));
                assert_near(&a, &b, &format!("{folder}/{file}"));
            }
            let [a, b] = [&out, &alone]
                .map(|out| read_vector(&out.join(&folder).join("test_correlation.npy"), N_VOXELS));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 2e-5), "{a:?} {b:?}");
        }
        let stories = table(&out.join("stories.csv"));
        let mut found: Vec<&str> = stories
            .iter()
            .filter(|row| row["subject"] == *subject && row["space"] == "glove")
            .filter(|row| row["lagged"] == "true")
            .filter_map(|row| row["story"].as_str())
            .collect();
        found.sort_unstable();
        let mut heard = heard.clone();
        heard.sort_unstable();
        assert_eq!(found, heard, "stories.csv");
    }

    // What reads a finished run, and a study in shards.
    let npz = bench.file("all.npz");
    let outcome = voxelcast(&["--json", "export", text(&out), "--npz", text(&npz)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stdout.contains("s1/test_stories"), "{}", outcome.stdout);
    let outcome = voxelcast(&["show", text(&out)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let study = bench.settings(&lines);
    let parts = bench.out();
    for command in [vec!["run", "--shard", "1/2"], vec!["run", "--shard", "2/2"], vec!["merge"]] {
        let mut args = vec![command[0], text(&study), "--out", text(&parts)];
        args.extend(&command[1..]);
        let outcome = voxelcast(&args);
        assert_eq!(outcome.code, 0, "{args:?}: {outcome:#?}");
    }
    let whole = super::faults::everything(&out);
    super::faults::assert_same(&merged(&parts), &whole, "shards");

    let outcome = bench.check(&lines);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let line = |subject: &str| -> Vec<String> {
        let line = outcome.stdout.lines().find(|line| line.starts_with(subject)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        (&line("s1")[1][..], &line("s1")[4..]),
        ("6", &["5", "3", "1"].map(String::from)[..])
    );
    assert_eq!(
        (&line("s2")[1][..], &line("s2")[4..]),
        ("6", &["4", "3", "2"].map(String::from)[..])
    );
}

#[test]
fn what_cannot_be_fitted_with_own_stories_is_said() {
    let bench = uneven();
    for (lines, code, says) in [
        (vec!["split.test = [\"story1\"]"], 3, vec!["s1", "test story"]),
        (
            vec!["split.test = [\"story5\", \"story1\"]", "ridge.folds = 5"],
            2,
            vec!["s2", "5", "got 4"],
        ),
        (vec!["stability.splits = 2"], 2, vec!["[stability]", "stories = \"shared\""]),
        (vec!["stability.learning_curve = 2"], 2, vec!["[stability]"]),
        (vec!["split.stories = \"some\""], 2, vec!["shared, own"]),
    ] {
        let mut all = vec![GLOVE_ONLY, OWN, "ridge.folds = 3"];
        all.extend(&lines);
        let outcome = bench.check(&all);
        assert_eq!(outcome.code, code, "{lines:?}: {outcome:#?}");
        for says in says {
            assert!(outcome.stderr.contains(says), "{lines:?}: {}", outcome.stderr);
        }
    }
    // A story that nobody heard is as it was.
    std::fs::remove_file(bench.file("s2/story1.npy")).expect("it was written");
    let lines = [GLOVE_ONLY, OWN, "ridge.folds = 3"];
    let outcome = bench.check(&lines);
    assert_eq!(outcome.code, 3, "{outcome:#?}");
    assert!(outcome.stderr.contains("story1"), "{}", outcome.stderr);
    let outcome = bench.check(&[&lines[..], &["stories.missing = \"skip\""]].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}

/// Blocks of 60 TRs with 8 between them in a story of 400.
fn block(number: usize) -> std::ops::Range<usize> {
    let start = 68 * (number - 1);
    start..start + 60
}

#[test]
fn one_story_in_blocks_equals_ridge_on_the_same_rows() {
    let bench = StudyBench::with_stories(2602, 1, 400, N_VOXELS);
    let lines = [GLOVE_ONLY, "split.test = [\"story0:2\"]", "ridge.folds = 3"];
    let (outcome, _) = bench.run(&[&lines[..], &["split.test = [\"story0\"]"]].concat(), &[]);
    assert_eq!(outcome.code, 3, "{outcome:#?}");
    assert!(outcome.stderr.contains("unit = \"block\""), "{}", outcome.stderr);

    let lines = [&lines[..], &[BLOCKS]].concat();
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    let train = names(&run["split"]["train"]);
    assert_eq!((names(&run["split"]["test"]), train.len()), (vec!["story0:2".into()], 5));
    assert!(run.get("subject_splits").is_none(), "equal for all subjects");
    assert_eq!((&run["n_train_trs"], &run["n_test_trs"]), (&Value::from(300), &Value::from(60)));
    let number = |name: &String| name["story0:".len()..].parse::<usize>().expect("a number");

    let x = delay(design_by_hand(&bench, 0).view(), &[1, 2, 3, 4]).expect("valid delays");
    let y = npy::read_matrix_f32(&bench.file("s1/story0.npy")).expect("it was written");
    let rows =
        |m: &Array2<f32>, number: usize| m.select(Axis(0), &block(number).collect::<Vec<_>>());
    let all = |m: &Array2<f32>| {
        wide(&stacked(&train.iter().map(|name| rows(m, number(name))).collect::<Vec<_>>()))
    };
    let (x_train, y_train) = (all(&x), all(&y));
    let labels: Vec<i64> = (0..300).map(|row| (row / 60) % 3).collect();
    let alphas: Vec<f64> = (0..N_ALPHAS).map(|i| 10f64.powf(0.5 * i as f64)).collect();
    let expected = ridge_cv(&x_train, &y_train, &labels, &alphas, Score::Correlation, true);
    let folder = out.join("models/s1/glove-lagged");
    let scores = read_matrix(&folder.join("cv_scores.npy"), (N_ALPHAS, N_VOXELS));
    for (a, b) in scores.iter().zip(&expected.cv_scores) {
        assert!((a - b).abs() <= 2e-5, "{a} {b}");
    }
    let best = read_vector(&folder.join("best_alpha.npy"), N_VOXELS);
    let fit = ridge_fit(&x_train, &y_train, &best, true);
    let expected = column_correlations(&predict(&wide(&rows(&x, 2)), &fit), &wide(&rows(&y, 2)));
    let found = read_vector(&folder.join("test_correlation.npy"), N_VOXELS);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 2e-5, "{a} {b}");
    }
    assert!(found.iter().sum::<f64>() / N_VOXELS as f64 > 0.25, "{found:?}");
    let properties = table(&out.join("story_properties.csv"));
    assert_eq!(properties.len(), 6);
    assert_eq!(
        (&properties[1]["story"], &properties[1]["n_trs"]),
        (&"story0:2".into(), &"60".into())
    );

    // Cleaning is the whole story's: z-scores of it leave every correlation.
    let (outcome, out) = bench.run(&[&lines[..], &["bold.s1.zscore = \"story\""]].concat(), &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let cleaned = read_vector(&out.join("models/s1/glove-lagged/test_correlation.npy"), N_VOXELS);
    for (a, b) in found.iter().zip(&cleaned) {
        assert!((a - b).abs() <= 1e-4, "{a} {b}");
    }
}

#[test]
fn no_word_of_a_test_block_reaches_a_vocabulary() {
    let mut bench = StudyBench::with_stories(2603, 1, 400, N_VOXELS);
    let bow = "spaces = [[space]]\nkind = \"bow\"\n";
    let lines = [bow, BLOCKS, "split.test = [\"story0:2\"]", "ridge.folds = 3"];
    let n_features = |bench: &StudyBench| {
        let (outcome, out) = bench.run(&lines, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        run_json(&out)["spaces"][0]["n_features"].as_u64().expect("a number")
    };
    let before = n_features(&bench);
    for (tr, is_new) in
        [(block(2).start + 30, false), (block(1).end + 4, false), (block(3).start + 30, true)]
    {
        let at_s = -9.0 + 2.0 * (10 + tr) as f64;
        let story = &mut bench.stories[0];
        let word = story.onset_s.iter().position(|&onset| onset > at_s).expect("words go on");
        let kept = std::mem::replace(&mut story.words[word], "unheard".into());
        bench.write_words(|_| true);
        assert_eq!(n_features(&bench), before + u64::from(is_new), "TR {tr}");
        bench.stories[0].words[word] = kept;
    }
}

#[test]
fn blocks_and_own_stories_go_together_and_what_does_not_is_refused() {
    let bench = StudyBench::with_stories(2604, 2, 200, N_VOXELS);
    std::fs::remove_file(bench.file("s2/story1.npy")).expect("it was written");
    let base =
        [GLOVE_ONLY, BLOCKS, OWN, "ridge.folds = 2", "split.block_trs = 30", "split.gap_trs = 5"];
    let test = "split.test = [\"story0:1\", \"story0:4\"]";
    let (outcome, out) = bench.run(&[&base[..], &[test]].concat(), &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    // 200 TRs: five blocks of 30 with 5 between them, and 25 TRs that are more than half a block.
    let own = |subject: &str| names(&run["subject_splits"][subject]["train"]).len();
    assert_eq!((own("s1"), own("s2")), (6 + 6 - 2, 6 - 2));
    // A story's name means its blocks.
    let outcome = bench.check(&[&base[..], &["split.test = [\"story0\"]"]].concat());
    assert_eq!(outcome.code, 2, "{outcome:#?}");
    assert!(outcome.stderr.contains("s2"), "{}", outcome.stderr);

    let check = |more: &[&str]| bench.check(&[&base[..], &[test], more].concat());
    let outcome = check(&["split.gap_trs = 3"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("gap_trs = 3 is shorter"), "{}", outcome.stderr);
    for (line, says) in [
        ("split.block_trs = 1", "2 to 100000"),
        ("split.gap_trs = -1", "gap_trs"),
        ("split.gap_trs = 20000", "10000"),
        ("split.unit = \"run\"", "story, block"),
        ("split.unit = \"story\"", "unit = \"block\""),
        ("stability.splits = 1", "[stability]"),
        ("design.delay_preset = \"huth-stacked\"", "delay_preset"),
        ("design.zscore = \"train\"", "zscore"),
        ("spaces = [[space]]\nkind = \"encoder\"\n", "encoder"),
        ("split.test = [\"story0:9\"]", "story0:9"),
    ] {
        let outcome = check(&[line]);
        assert_eq!(outcome.code, 2, "{line}: {outcome:#?}");
        assert!(outcome.stderr.contains(says), "{line}: {}", outcome.stderr);
    }
}
