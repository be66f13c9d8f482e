//! Tests of `parse`: what a good file means, and what each kind of mistake is told.

use super::*;
use crate::features::bow::BowSettings;
use crate::stimuli::spelling::Punctuation;
use crate::study_file::{SplitHow, Units};

const GOOD: &str = r#"
[stories]
path = "words.tsv.gz"
[bold.s1]
path = "s1/{story}.npy"
[[space]]
name = "vectors"
kind = "glove"
vectors = "g.txt"
[[space]]
kind = "word_rate"
[[space]]
name = "both"
combine = ["vectors", "word_rate"]
"#;

fn parse(text: &str) -> Result<Study> {
    from_text(text, Path::new("folder"), "STUDY.toml")
}

/// GOOD with more lines: into the table where it has one, else at the end.
fn with(section: &str, lines: &str) -> Result<Study> {
    let header = format!("[{section}]\n");
    match GOOD.contains(&header) {
        true => parse(&GOOD.replacen(&header, &format!("{header}{lines}\n"), 1)),
        false => parse(&format!("{GOOD}\n{header}{lines}\n")),
    }
}

#[test]
fn defaults_are_those_of_the_design() {
    let study = parse(GOOD).unwrap();
    assert_eq!(study.bold, [("s1".to_owned(), "s1/{story}.npy".to_owned())]);
    assert_eq!(study.bold_path(&study.bold[0].1, "a b"), Path::new("folder/s1/a b.npy"));
    assert_eq!(study.split, SplitHow::Fraction(0.2));
    assert_eq!((study.tr_s, study.first_tr_s), (2.0, -9.0));
    assert_eq!(study.trim, Trim::HUTH);
    assert_eq!(study.delays, [1, 2, 3, 4]);
    assert_eq!(study.alphas.values().len(), 17);
    assert_eq!(study.folds, Folds::Count(5));
    assert_eq!(study.spaces[1].name, "word_rate");
    assert_eq!(study.spaces[2].kind, SpaceKind::Combine(vec![0, 1]));
    let statistics =
        Statistics { permutations: 1000, resamples: 10_000, ..study.statistics.clone() };
    assert_eq!((statistics.block_trs, statistics.q, statistics.seed), (10, 0.05, 214));
    assert_eq!(statistics.delay_profile, DelayProfile::All(false));
    assert_eq!(study.statistics, statistics);
    assert_eq!(study.stability, Stability { splits: 0, learning_curve: 0 });
}

#[test]
fn every_key_changes_the_study() {
    assert_eq!(with("split", "n_test = 19").unwrap().split, SplitHow::Count(19));
    assert_eq!(with("split", "test = ['a']").unwrap().split, SplitHow::Names(vec!["a".into()]));
    assert_eq!(with("split", "test_fraction = 0.5").unwrap().split, SplitHow::Fraction(0.5));
    assert_eq!(with("split", "seed = 3").unwrap().seed, 3);
    let words = |lines: &str| with("stories", lines).unwrap().words;
    assert_eq!(words("time_unit = 'ms'").time_unit, TimeUnit::of_name("ms"));
    assert_eq!(words("time_unit = 0.001953125").time_unit, TimeUnit::of_seconds(0.001953125));
    assert_eq!(words("time_unit = 2").time_unit, TimeUnit::of_seconds(2.0));
    assert_eq!(words("story_column = 'run'").story_column.as_deref(), Some("run"));
    assert_eq!(words("not_words = ['um', 'uh']").not_words, ["um", "uh"]);
    assert!(words("keep_marks = true").keep_marks);
    assert_eq!(words("untimed = 'interpolate'").untimed, Untimed::Interpolate);
    assert_eq!(words("untimed = 'error'").untimed, Untimed::Error);
    assert_eq!(words("tier = 'ORT'").tier.as_deref(), Some("ORT"));
    assert_eq!(parse(GOOD).unwrap().words, WordRules::default());
    for bad in ["'hours'", "0", "-1.0", "nan", "inf", "true", "'0.5'"] {
        let error = with("stories", &format!("time_unit = {bad}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{bad}");
        assert!(error.to_string().contains("time_unit"), "{error}");
    }
    assert_eq!(with("design", "tr_s = 1.5").unwrap().tr_s, 1.5);
    assert_eq!(with("design", "first_tr_s = 0").unwrap().first_tr_s, 0.0);
    assert_eq!(with("design", "trim = 'lab'").unwrap().trim, Trim::LAB);
    assert_eq!(with("design", "trim = '3:4'").unwrap().trim, Trim { head: 3, tail: 4 });
    assert_eq!(with("design", "delays = [2, 5]").unwrap().delays, [2, 5]);
    assert_eq!(with("design", "delays = '1..5'").unwrap().delays, [1, 2, 3, 4, 5]);
    let plain = with("design", "variants = ['plain']").unwrap();
    assert_eq!(plain.variants, [ModelVariant::Plain]);
    assert!(with("design", "delay_preset = 'huth-stacked'").unwrap().delays_cross_stories);
    assert_eq!(with("design", "zscore = 'train'").unwrap().zscore, ZScoreMode::Train);
    assert_eq!(with("design", "lanczos_window = 5").unwrap().lanczos_window, 5);
    assert_eq!(with("design", "cutoff_mult = 0.5").unwrap().cutoff_mult, 0.5);
    assert_eq!(with("design", "time = 'onset'").unwrap().time, WordTime::Onset);
    assert!(!with("design", "alignment_check = false").unwrap().alignment_check);
    assert_eq!(with("ridge", "alphas = [1, 2.5]").unwrap().alphas.values(), [1.0, 2.5]);
    let huth = with("ridge", "alphas = [1, 10]\nalpha_convention = 'huth'").unwrap();
    assert_eq!(huth.alphas.values(), [1.0, 100.0]);
    assert_eq!(with("ridge", "alpha_tolerance = 0.1").unwrap().alpha_tolerance, 0.1);
    assert_eq!(with("ridge", "basis_tolerance = 0").unwrap().basis_tolerance, 0.0);
    assert_eq!(with("ridge", "folds = 'loso'").unwrap().folds, Folds::LeaveOneStoryOut);
    let named = with("ridge", "folds = [['a'], ['b', 'c']]").unwrap().folds;
    assert_eq!(named, Folds::Names(vec![vec!["a".into()], vec!["b".into(), "c".into()]]));
    assert_eq!(with("ridge", "scorer = 'r2'").unwrap().scorer, Scorer::R2);
    assert_eq!(with("ridge", "solver = 'dual'").unwrap().solver, Solver::Dual);
    assert!(!with("ridge", "fit_intercept = false").unwrap().fit_intercept);
    assert!(with("output", "weights = true").unwrap().weights);
    assert!(with("stories", "missing = 'skip'").unwrap().skip_missing);
    let repeats =
        GOOD.replace("{story}.npy\"", "{story}.npy\"\nrepeats = \"{story}/{repeat}.npy\"");
    let repeats = parse(&repeats).unwrap();
    assert_eq!(repeats.repeats, [Some("{story}/{repeat}.npy".to_owned())]);
    assert_eq!(repeats.bold[0].1, "s1/{story}.npy");
    let statistics = "permutations = 0\nblock_trs = 7\nq = 0.01\nresamples = 100\nseed = 1";
    let statistics = &format!("{statistics}\ndelay_profile = true");
    let wanted = Statistics {
        permutations: 0,
        block_trs: 7,
        q: 0.01,
        resamples: 100,
        seed: 1,
        delay_profile: DelayProfile::All(true),
    };
    assert_eq!(with("statistics", statistics).unwrap().statistics, wanted);
    let named = with("statistics", "delay_profile = ['both']").unwrap().statistics;
    assert!(named.delay_profile.has("both") && !named.delay_profile.has("vectors"));
    let stability = with("stability", "splits = 10\nlearning_curve = 4").unwrap().stability;
    assert_eq!(stability, Stability { splits: 10, learning_curve: 4 });
    assert_eq!(with("stories", "exclude = ['x']").unwrap().exclude, ["x"]);
    assert!(with("stories", "respdict = 'r.json'").unwrap().respdict.is_some());
    let bow = parse(&GOOD.replace("kind = \"word_rate\"", "kind = 'bow'\nname = 'word_rate'\nmax_words = 9\nmin_count = 2\nlowercase = false\npunctuation = 'keep'\nfit = false")).unwrap();
    let settings = BowSettings {
        min_count: 2,
        max_words: Some(9),
        lowercase: false,
        punctuation: Punctuation::Keep,
    };
    assert_eq!(bow.spaces[1].kind, SpaceKind::Bow(settings));
    assert!(!bow.spaces[1].fit);
}

#[test]
fn every_mistake_exits_2_and_says_where_and_what() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("ridge", "alpha = [1]", &["[ridge]", "unknown key \"alpha\"", "did you mean \"alphas\"?"]),
        ("desing", "tr_s = 2", &["\"desing\"", "did you mean [design]?"]),
        ("ridge", "alphas = [0, 1]", &["alphas", "positive", "got 0"]),
        ("ridge", "alphas = [10, 1]", &["alphas", "increasing"]),
        ("ridge", "alphas = 'logspace(0)'", &["alphas", "logspace"]),
        ("ridge", "alphas = true", &["alphas", "got true"]),
        ("ridge", "folds = 1", &["folds", "number ≥ 2"]),
        ("ridge", "folds = [['a'], []]", &["folds", "empty fold"]),
        ("ridge", "scorer = 'mse'", &["scorer", "correlation, r2", "\"mse\""]),
        ("ridge", "solver = 'qr'", &["solver", "\"qr\""]),
        ("ridge", "alpha_tolerance = 1", &["alpha_tolerance", "less than 1"]),
        ("split", "n_test = 0", &["n_test", "at least 1"]),
        ("split", "n_test = 2\ntest = ['a']", &["n_test and test"]),
        ("split", "test = []", &["at least one story"]),
        ("split", "test_fraction = 1.0", &["test_fraction", "less than 1"]),
        ("split", "seed = -1", &["seed", "whole number"]),
        ("design", "tr_s = 0", &["tr_s", "> 0"]),
        ("design", "tr_s = 'two'", &["tr_s", "a number"]),
        ("design", "trim = '10'", &["trim", "HEAD:TAIL"]),
        ("design", "delays = []", &["delays"]),
        ("design", "delays = [1, 1]", &["delays"]),
        ("design", "variants = ['both']", &["variants", "\"both\""]),
        ("design", "zscore = 'run'", &["zscore", "story, train, none"]),
        ("design", "lanczos_window = 0", &["lanczos_window", "1 to 100"]),
        ("statistics", "permutations = -1", &["[statistics], permutations", "whole number"]),
        ("statistics", "permutations = 100001", &["permutations", "at most 100000"]),
        ("statistics", "block_trs = 0", &["block_trs", "at least 1"]),
        ("statistics", "q = 0", &["q", "more than 0 and less than 1"]),
        ("statistics", "q = 1", &["q", "more than 0 and less than 1"]),
        ("statistics", "resamples = 1000001", &["resamples", "at most 1000000"]),
        ("statistics", "delay_profile = ['bot']", &["delay_profile", "\"bot\"", "\"both\""]),
        ("statistics", "delay_profile = 'both'", &["delay_profile", "true or false"]),
        ("statistics", "seed = 'x'", &["seed", "whole number"]),
        ("statistics", "permutation = 1", &["did you mean \"permutations\"?"]),
        ("stability", "splits = 1001", &["splits", "at most 1000"]),
        ("stability", "learning_curve = 101", &["learning_curve", "at most 100"]),
        ("output", "weights = 1", &["weights", "true or false"]),
        ("stories", "missing = 'maybe'", &["missing", "error, skip"]),
    ];
    for (section, lines, says) in cases {
        let error = with(section, lines).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{lines}");
        let text = error.to_string();
        assert!(text.contains("STUDY.toml"), "{lines}: {text}");
        for part in *says {
            assert!(text.contains(part), "{lines}: {part:?} is not in: {text}");
        }
    }
    let replaced: &[(&str, &str, &str)] = &[
        ("{story}.npy\"", "{story}.npy\"\nrepeats = \"{story}.npy\"", "{repeat} in it"),
        (
            "kind = \"glove\"",
            "kind = \"gloves\"",
            "bow, word2vec, glove, eng1000, bert, encoder, lm, word_rate",
        ),
        ("vectors = \"g.txt\"", "", "vectors"),
        (
            "[\"vectors\", \"word_rate\"]",
            "[\"vectors\", \"word_rat\"]",
            "did you mean \"word_rate\"?",
        ),
        ("[\"vectors\", \"word_rate\"]", "[\"both\"]", "combines itself"),
        ("[\"vectors\", \"word_rate\"]", "[]", "empty list"),
        ("name = \"both\"", "name = \"vectors\"", "\"vectors\" twice"),
        ("name = \"both\"", "name = \"../x\"", "letters, digits"),
        ("name = \"both\"", "name = \"x-lagged\"", "-lagged"),
        ("name = \"both\"\n", "", "name"),
        ("kind = \"word_rate\"", "kind = \"word_rate\"\nvectors = \"x\"", "vectors"),
        ("path = \"words.tsv.gz\"", "", "path"),
        ("[bold.s1]\npath = \"s1/{story}.npy\"", "", "no subject"),
        ("[stories]", "[stories", "TOML"),
    ];
    for (from, to, says) in replaced {
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{to}");
        assert!(error.to_string().contains(says), "{to}: {error}");
    }
}

#[test]
fn blocks_and_own_stories_are_read_and_leave_older_fingerprints_alone() {
    let units = |lines: &str| with("split", lines).unwrap().units;
    assert_eq!(units(""), Units::SHARED_STORIES);
    let found = units("stories = 'own'\nunit = 'block'\nblock_trs = 30");
    assert_eq!(found, Units { own: true, by_block: true, block_trs: 30, gap_trs: 8 });
    let hashed = |lines: &str| crate::study_file::hashed_settings(&with("split", lines).unwrap());
    assert!(!hashed("").contains("gap_trs"), "as before there were blocks");
    for lines in ["stories = 'own'", "unit = 'block'", "unit = 'block'\ngap_trs = 9"] {
        assert_ne!(hashed(lines), hashed(""));
    }
    assert_ne!(hashed("unit = 'block'\ngap_trs = 9"), hashed("unit = 'block'"));
}
