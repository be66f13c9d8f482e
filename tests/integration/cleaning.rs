//! BOLD that is cut and cleaned on the way to the fit, and what is noticed in it.

use std::fmt::Write as _;

use faer::Mat;
use ndarray::{Array2, s};
use rand::Rng;
use voxelcast::design::delays::delay;
use voxelcast::io::npy;

use super::naive::{Score, column_correlations, predict, ridge_cv, ridge_fit};
use super::study_command::{design_by_hand, names, results, run_json, stacked};
use super::workbench::{
    GLOVE_ONLY, StudyBench, normal, read_matrix, read_vector, seeded, text, voxelcast, wide,
    write_f32,
};

const N_VOXELS: usize = 20;
const CLEANED: [&str; 6] = [
    "bold.s1.trim = \"3:2\"",
    "bold.s1.detrend = \"cosine:0.02\"",
    "bold.s1.confounds = \"confounds/{story}.tsv\"",
    "bold.s1.confound_columns = [\"trans_?\", \"rot*derivative1\"]",
    "bold.s1.censor = \"outlier*\"",
    "bold.s1.zscore = \"story\"",
];

/// Files of numbers: what does not name settings.
fn arrays(out: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    results(out).into_iter().filter(|(name, _)| name.ends_with(".npy")).collect()
}

/// What a story of the bench was before anybody cut or cleaned it.
struct Raw {
    bold: Array2<f64>,
    confounds: Array2<f64>,
    censored: Vec<usize>,
}

/// Gives s1 raw BOLD: 3 and 2 TRs more, a mean and a drift, motion, and TRs of garbage.
fn make_raw(bench: &StudyBench, seed: u64) -> Vec<Raw> {
    let rng = &mut seeded(seed);
    std::fs::create_dir_all(bench.file("confounds")).expect("made");
    let mut all = Vec::new();
    for (index, story) in bench.stories.iter().enumerate() {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let bold = wide(&npy::read_matrix_f32(&path).expect("it was written"));
        let n = bold.nrows() + 5;
        let confounds = wide(&normal(rng, n, 4));
        let shares = wide(&normal(rng, 4, N_VOXELS)) * 4.0;
        let mut raw = confounds.dot(&shares);
        raw.slice_mut(s![3..n - 2, ..]).scaled_add(1.0, &bold);
        let scale = 1.0 + index as f64;
        raw.indexed_iter_mut().for_each(|((t, v), y)| {
            *y = scale * (*y + 6.0 * (t as f64 / n as f64 * 5.0 + v as f64).sin()) + 700.0;
        });
        // Two more rows than the trim leaves are marked too; one story has none.
        let n_censored = if index == 2 { 0 } else { 5 };
        let mut censored: Vec<usize> =
            (0..n_censored).map(|_| rng.random_range(3..n - 2)).collect();
        censored.sort_unstable();
        censored.dedup();
        for &row in &censored {
            raw.row_mut(row).fill(1e6 * (1.0 + row as f64));
        }
        let mut lines = String::from("trans_x\ttrans_y\tunused\trot_x_derivative1\trot_x");
        let outlier = !censored.is_empty();
        lines += if outlier { "\toutlier0\toutlier1\n" } else { "\n" };
        for t in 0..n {
            let c = confounds.row(t);
            let last = if t == 0 { "n/a".to_owned() } else { format!("{}", c[2]) };
            write!(lines, "{}\t{}\tn/a\t{last}\t{}", c[0], c[1], c[3]).expect("text");
            if outlier {
                let is = |k: usize| u8::from(t == k % n || (k == 0 && censored.contains(&t)));
                write!(lines, "\t{}\t{}", is(0), is(censored[0])).expect("text");
            }
            lines.push('\n');
        }
        std::fs::write(bench.file(&format!("confounds/{}.tsv", story.name)), lines)
            .expect("written");
        write_f32(&path, &raw.mapv(|y| y as f32));
        let bold = wide(&npy::read_matrix_f32(&path).expect("it was written"));
        let confounds = confounds.select(ndarray::Axis(1), &[0, 1, 2]);
        all.push(Raw { bold, confounds, censored });
    }
    all
}

impl Raw {
    /// Rows after the trim that are not censored, counted after it.
    fn kept(&self) -> Vec<usize> {
        (3..self.bold.nrows() - 2).filter(|t| !self.censored.contains(t)).map(|t| t - 3).collect()
    }

    /// The definition: the residuals of one least squares with an intercept, z-scored.
    fn cleaned(&self) -> Array2<f64> {
        let n = self.bold.nrows() - 5;
        let n_cosines = (2.0 * n as f64 * 2.0 * 0.02).floor() as usize;
        let kept = self.kept();
        let x = Mat::from_fn(kept.len(), 1 + 3 + n_cosines, |i, j| match j {
            0 => 1.0,
            1..=3 => self.confounds[[kept[i] + 3, j - 1]],
            k => (std::f64::consts::PI / n as f64 * (kept[i] as f64 + 0.5) * (k - 3) as f64).cos(),
        });
        let svd = x.thin_svd().expect("a finite matrix has an SVD");
        let u = Array2::from_shape_fn((kept.len(), x.ncols()), |(i, j)| svd.U()[(i, j)]);
        let y = Array2::from_shape_fn((kept.len(), N_VOXELS), |(i, v)| self.bold[[kept[i] + 3, v]]);
        let rest = &y - &u.dot(&u.t().dot(&y));
        let sd = rest.mapv(|y| y * y).mean_axis(ndarray::Axis(0)).expect("rows").mapv(f64::sqrt);
        rest / sd
    }
}

#[test]
fn a_study_of_raw_bold_equals_one_by_hand() {
    let bench = StudyBench::with_stories(1901, 6, 70, N_VOXELS);
    let (clean, _) = bench.run(&[GLOVE_ONLY], &[]);
    assert!(!clean.stderr.contains("warning: bold"), "{}", clean.stderr);
    let raw = make_raw(&bench, 1902);
    let lines: Vec<&str> =
        [GLOVE_ONLY, "design.variants = [\"lagged\"]"].into_iter().chain(CLEANED).collect();
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    assert_eq!(run["study"]["bold"]["s1"]["trim"], "3:2", "{run:#}");
    assert_eq!(run["study"]["bold"]["s1"]["detrend"], "cosine:0.02");
    assert_eq!(run["study"]["bold"]["s2"]["zscore"], "none");

    let index = |name: &str| bench.stories.iter().position(|s| s.name == name).expect("a story");
    let train: Vec<usize> = names(&run["split"]["train"]).iter().map(|n| index(n)).collect();
    let test = index(&names(&run["split"]["test"])[0]);
    let design = |story: usize| -> Array2<f32> {
        let x = delay(design_by_hand(&bench, story).view(), &[1, 2, 3, 4]).expect("valid delays");
        x.select(ndarray::Axis(0), &raw[story].kept())
    };
    let x = wide(&stacked(&train.iter().map(|&s| design(s)).collect::<Vec<_>>()));
    let bold: Vec<Array2<f64>> = raw.iter().map(Raw::cleaned).collect();
    let views: Vec<_> = train.iter().map(|&s| bold[s].view()).collect();
    let y = ndarray::concatenate(ndarray::Axis(0), &views).expect("one width");
    let labels: Vec<i64> = train
        .iter()
        .enumerate()
        .flat_map(|(i, &s)| std::iter::repeat_n(i as i64 % 5, bold[s].nrows()))
        .collect();
    let alphas: Vec<f64> = (0..11).map(|i| 10f64.powf(0.5 * f64::from(i))).collect();
    let expected = ridge_cv(&x, &y, &labels, &alphas, Score::Correlation, true);
    let folder = out.join("models/s1/glove-lagged");
    let scores = read_matrix(&folder.join("cv_scores.npy"), (11, N_VOXELS));
    for (a, b) in scores.iter().zip(&expected.cv_scores) {
        assert!((a - b).abs() <= 2e-5, "{a} {b}");
    }
    let best: Vec<f64> = read_vector(&folder.join("best_alpha.npy"), N_VOXELS);
    let fit = ridge_fit(&x, &y, &best, true);
    let expected = column_correlations(&predict(&wide(&design(test)), &fit), &bold[test]);
    let found = read_vector(&folder.join("test_correlation.npy"), N_VOXELS);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 2e-5, "{a} {b}");
    }
    assert!(found.iter().sum::<f64>() / N_VOXELS as f64 > 0.25, "{found:?}");

    // Predicted and scored apart, with the keys as flags.
    let (predicted, scored) = (bench.out(), bench.out());
    let (words, pattern) = (bench.file("words.tsv"), bench.file("s1/{story}.npy"));
    let outcome = voxelcast(&[
        "predict",
        "--model",
        text(&out),
        "--stories",
        text(&words),
        "--story",
        "story5",
        "--subject",
        "s1",
        "--n-trs",
        text(&pattern),
        "--trim",
        "3:2",
        "--out",
        text(&predicted),
    ]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let confounds = bench.file("confounds/{story}.tsv");
    let outcome = voxelcast(&[
        "score",
        "--predictions",
        text(&predicted),
        "--bold",
        text(&pattern),
        "--trim",
        "3:2",
        "--detrend",
        "cosine:0.02",
        "--zscore",
        "story",
        "--confounds",
        text(&confounds),
        "--confound-columns",
        "trans_?,rot*derivative1",
        "--censor",
        "outlier*",
        "--out",
        text(&scored),
    ]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let again = read_vector(&scored.join("s1/glove-lagged/test_correlation.npy"), N_VOXELS);
    for (a, b) in again.iter().zip(&found) {
        assert!((a - b).abs() <= 1e-5, "{a} {b}");
    }
}

#[test]
fn every_key_of_cleaning_changes_the_results_and_is_in_the_fingerprint() {
    let bench = StudyBench::with_stories(1903, 4, 50, N_VOXELS);
    make_raw(&bench, 1904);
    let base = [GLOVE_ONLY, "split.test = [\"story3\"]", "ridge.folds = 3", CLEANED[0]];
    let run = |more: &[&str]| {
        let lines: Vec<&str> = base.iter().chain(more).copied().collect();
        let (outcome, out) = bench.run(&lines, &[]);
        assert_eq!(outcome.code, 0, "{more:?} {outcome:#?}");
        (run_json(&out)["fingerprint"].clone(), arrays(&out))
    };
    let plain = run(&[]);
    let all = run(&CLEANED);
    assert_ne!(all, plain);
    // The same tables in a folder a session, which BOLD's own path may say.
    let mut sessions = CLEANED;
    sessions[2] = "bold.s1.confounds = \"sessions/{session}/{story}.tsv\"";
    for (index, story) in bench.stories.iter().enumerate() {
        for (kind, from) in [("tsv", "confounds"), ("npy", "s1")] {
            let folder = bench.file(&format!("sessions/ses-{}", index / 2));
            std::fs::create_dir_all(&folder).expect("made");
            let name = format!("{}.{kind}", story.name);
            std::fs::copy(bench.file(from).join(&name), folder.join(&name)).expect("copied");
        }
    }
    assert!(run(&sessions).1 == all.1);
    let extra = bench.file("sessions/ses-9");
    std::fs::create_dir_all(&extra).expect("made");
    std::fs::write(extra.join("story0.tsv"), "trans_x\n0\n").expect("written");
    let lines = [&base[..], &sessions[1..]].concat();
    bench.check(&lines).refused(3, &["story0", "expected one session", "got 2"]);
    let study = bench.settings(&[&base[..], &sessions].concat());
    let toml = std::fs::read_to_string(&study).expect("written");
    let toml = toml.replace("\"s1/{story}.npy\"", "\"sessions/{session}/{story}.npy\"");
    std::fs::write(&study, toml).expect("written");
    let out = bench.out();
    let outcome = voxelcast(&["run", text(&study), "--out", text(&out)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(arrays(&out) == all.1);
    let without = |at: &[usize]| -> Vec<&str> {
        (0..CLEANED.len()).filter(|i| !at.contains(i)).map(|i| CLEANED[i]).collect()
    };
    for at in [vec![1], vec![4], vec![5], vec![2, 3, 4]] {
        let found = run(&without(&at));
        assert!(found.0 != all.0 && found.1 != all.1, "{at:?}");
    }
    let mut fewer = without(&[3]);
    fewer.push("bold.s1.confound_columns = []");
    let none = run(&fewer);
    assert_ne!(none.1, all.1);
    fewer.push("bold.s1.first_tr_s = -7.0");
    let later = run(&fewer);
    assert!(later.0 != none.0 && later.1 != none.1);
    // The same times from a table, and the same marks from files of their own.
    let stories = ["story0", "story1", "story2", "story3"];
    let lines: String = stories.map(|name| format!("{name}\t-7\n")).concat();
    std::fs::write(bench.file("first.tsv"), format!("story\tfirst_tr_s\n{lines}"))
        .expect("written");
    fewer.push("bold.s1.first_tr_s = \"first.tsv\"");
    assert_eq!(run(&fewer).1, later.1);
    std::fs::write(bench.file("first.tsv"), "story\tfirst_tr_s\nstory0\t-7\n").expect("written");
    let lines: Vec<&str> = base.iter().chain(&fewer).copied().collect();
    bench.check(&lines).refused(3, &["first.tsv", "\"story1\""]);
}

#[test]
fn trs_without_values_are_left_out_as_if_they_were_censored() {
    let bench = StudyBench::with_stories(1905, 4, 50, N_VOXELS);
    let base = [GLOVE_ONLY, "split.test = [\"story3\"]", "ridge.folds = 3"];
    std::fs::create_dir(bench.file("marks")).expect("made");
    for story in &bench.stories {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let mut bold = npy::read_matrix_f32(&path).expect("it was written");
        let bad = [0, 17, 18];
        let marks: String =
            (0..bold.nrows()).map(|t| format!("{}\n", u8::from(bad.contains(&t)))).collect();
        std::fs::write(bench.file(&format!("marks/{}.tsv", story.name)), marks).expect("written");
        bad.iter().for_each(|&t| bold.row_mut(t).fill(f32::NAN));
        write_f32(&path, &bold);
    }
    let (found, out) = bench.run(&base, &[]);
    assert_eq!(found.code, 0, "{found:#?}");
    let says = "warning: bold: s1, story \"story1\": 3 of ";
    assert!(
        found.stderr.contains(says) && found.stderr.contains("(0, 17, 18)"),
        "{}",
        found.stderr
    );
    let lines = [&base[..], &["bold.s1.censor = \"marks/{story}.tsv\""]].concat();
    let (marked, same) = bench.run(&lines, &[]);
    assert_eq!(marked.code, 0, "{marked:#?}");
    assert!(!marked.stderr.contains("NaN in every voxel"), "{}", marked.stderr);
    assert_eq!(arrays(&same), arrays(&out));
    // Repeated splits of a subject with cut stories.
    let lines = [&lines[..], &["stability.splits = 2", "stability.learning_curve = 1"]].concat();
    let (stable, _) = bench.run(&lines, &[]);
    assert_eq!(stable.code, 0, "{stable:#?}");
}

#[test]
fn stories_on_other_scales_are_noticed_and_zscore_silences_it() {
    let bench = StudyBench::with_stories(1906, 5, 60, N_VOXELS);
    let base = [GLOVE_ONLY, "split.test = [\"story3\", \"story4\"]", "ridge.folds = 3"];
    let mean_r = |out: &std::path::Path| {
        let r = read_vector(&out.join("models/s1/glove-lagged/test_correlation.npy"), N_VOXELS);
        r.iter().sum::<f64>() / N_VOXELS as f64
    };
    let (right, out) = bench.run(&base, &[]);
    assert!(!right.stderr.contains("warning: bold"), "{}", right.stderr);
    let before = mean_r(&out);
    for (i, story) in bench.stories.iter().enumerate() {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let bold = npy::read_matrix_f32(&path).expect("it was written");
        write_f32(&path, &((bold + 200.0) * (1.0 + 0.03 * i as f32)));
    }
    let (wrong, out) = bench.run(&base, &[]);
    assert_eq!(wrong.code, 0, "{wrong:#?}");
    let line =
        wrong.stderr.lines().find(|line| line.starts_with("warning: bold: s1: the stories'"));
    assert!(line.is_some_and(|line| line.contains("zscore = \"story\"")), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("bold: s2"), "{}", wrong.stderr);
    assert!(mean_r(&out) < before - 0.05, "{} {before}", mean_r(&out));
    let lines = [&base[..], &["bold.s1.zscore = \"story\""]].concat();
    let (right, out) = bench.run(&lines, &[]);
    assert!(!right.stderr.contains("warning: bold"), "{}", right.stderr);
    assert!((mean_r(&out) - before).abs() < 0.03, "{} {before}", mean_r(&out));
}

#[test]
fn what_is_wrong_with_bold_or_its_tables_is_said() {
    let bench = StudyBench::with_stories(1907, 4, 50, N_VOXELS);
    make_raw(&bench, 1908);
    let base = [GLOVE_ONLY, "split.test = [\"story3\"]", "ridge.folds = 3"];
    let check = |more: &[&str]| bench.check(&[&base[..], more].concat());
    assert_eq!(check(&CLEANED).code, 0, "{:#?}", check(&CLEANED));
    let confounds = CLEANED[2];
    check(&[CLEANED[0], confounds]).refused(3, &["story0.tsv", "\"unused\"", "row 4"]);
    let columns = |names: &'static str| [CLEANED[0], confounds, names];
    check(&columns("bold.s1.confound_columns = [\"csf\"]"))
        .refused(3, &["story0.tsv", "no column \"csf\"", "trans_x"]);
    check(&columns("bold.s1.confound_columns = [\"csf*\"]")).refused(3, &["[bold.s1]", "\"csf*\""]);
    check(&[CLEANED[0], CLEANED[1], "bold.s1.detrend = \"cosine:0.3\""])
        .refused(3, &["story0", "leaves nothing", "of 50 TRs"]);
    check(&["bold.s1.trim = \"50:40\""]).refused(3, &["story0", "50:40"]);
    for (line, key) in [
        ("bold.s1.censor = \"outlier0\"", "censor"),
        ("bold.s1.detrend = \"quadratic\"", "detrend"),
        ("bold.s1.zscore = \"train\"", "zscore"),
        ("bold.s1.confounds = \"one.tsv\"", "confounds"),
        ("bold.s1.confound_columns = [\"a\"]", "confound_columns"),
        ("bold.s1.first_tr_s = true", "first_tr_s"),
    ] {
        check(&[line]).refused(2, &["[bold.s1]", key]);
    }
    let table = bench.file("confounds/story1.tsv");
    let whole = std::fs::read_to_string(&table).expect("it was written");
    let (cut, _) = whole.trim_end().rsplit_once('\n').expect("lines");
    std::fs::write(&table, cut).expect("written");
    check(&CLEANED).refused(3, &["story1.tsv", "58", "57"]);
    std::fs::write(&table, whole).expect("written");

    // A voxel that is NaN in one story costs itself, and the story is named.
    let path = bench.file("s1/story2.npy");
    let raw = npy::read_matrix_f32(&path).expect("it was written");
    let mut bold = raw.clone();
    bold[[20, 3]] = f32::NAN;
    write_f32(&path, &bold);
    let run = |more: &[&str]| bench.run(&[&base[..], more].concat(), &[]).0;
    let found = run(&CLEANED);
    assert_eq!(found.code, 0, "{found:#?}");
    let says = "warning: bold: s1: 1 of 20 voxels have NaN in one story alone";
    assert!(
        found.stderr.contains(says) && found.stderr.contains("\"story2\" 1"),
        "{}",
        found.stderr
    );
    // A study in which no voxel has a score cannot be right.
    write_f32(&path, &raw.mapv(|_| f32::NAN));
    run(&CLEANED).refused(3, &["story2", "NaN"]);
    for story in &bench.stories {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let bold = npy::read_matrix_f32(&path).expect("it was written");
        write_f32(&path, &bold.mapv(|_| 5.0));
    }
    run(&CLEANED).refused(3, &["s1", "every score is NaN"]);
}
