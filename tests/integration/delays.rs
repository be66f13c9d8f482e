//! Delays as a range, models of single delays, and what the simulation plants for both them and
//! story edges.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use voxelcast::simulate::hrf::hrf;

use super::faults::{assert_same, everything};
use super::kinds::ran;
use super::shards::merged;
use super::study_command::{results, run_json};
use super::workbench::{GLOVE_ONLY, StudyBench, read_matrix, read_vector, text, voxelcast};

const PROFILE: &str = "statistics.delay_profile = true";
const N_DELAYS: usize = 9;

fn model(out: &Path, subject: &str, folder: &str) -> PathBuf {
    out.join("models").join(subject).join(folder)
}

#[test]
fn a_range_of_delays_is_the_list_of_them() {
    let bench = StudyBench::new(930, 25, 8);
    let of = |delays: &str| {
        let out = ran(&bench, &[GLOVE_ONLY, &format!("design.delays = {delays}")]);
        assert_eq!(run_json(&out)["settings"]["delays"], serde_json::json!([1, 2, 3]));
        std::fs::read(model(&out, "s1", "glove-lagged").join("weights.safetensors")).expect("there")
    };
    assert!(of("\"1..3\"") == of("[1, 2, 3]"));
    for bad in ["\"1..\"", "\"3..1\"", "\"1...3\"", "[\"1..3\"]", "\"-2000..1\""] {
        let (outcome, _) = bench.run(&[GLOVE_ONLY, &format!("design.delays = {bad}")], &[]);
        outcome.refused(2, &["delays", "FROM..TO"]);
    }
    let x = bench.file("x.npy");
    voxelcast::io::npy::write(&x, &[3, 1], &[1.0f32, 2.0, 3.0]).expect("written");
    let delayed = |delays: &str| {
        let out = bench.file("delayed.npy");
        let args = ["delay", "--x", text(&x), "--delays", delays, "--out", text(&out)];
        let outcome = voxelcast(&args);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        std::fs::read(out).expect("there")
    };
    assert!(delayed("0..2") == delayed("0,1,2"));
    assert!(delayed("0..2") != delayed("0,2,1"));
}

/// Every row of a profile is the study with that delay alone, and the study's own models are the
/// bytes that they are without profiles.
#[test]
fn a_profile_is_one_model_per_delay_and_changes_no_other() {
    let (n_voxels, lines) = (40, ["stability.splits = 1"]);
    let bench = StudyBench::new(931, 40, n_voxels);
    let (without, with) = (ran(&bench, &lines), ran(&bench, &[lines[0], PROFILE]));
    let left_out = |name: &str| {
        ["report.html", "STUDY.toml"].contains(&name) // they say how the study was set
    };
    let on: Vec<(String, Vec<u8>)> = results(&with);
    for (name, bytes) in results(&without).iter().filter(|(name, _)| !left_out(name)) {
        let same = on.iter().find(|(other, _)| other == name);
        assert!(same.is_some_and(|(_, other)| other == bytes), "{name}");
    }
    let models = |out: &Path| run_json(out)["models"].clone();
    assert_eq!(models(&with), models(&without), "single delays are no models of the user's");

    let shape = (N_DELAYS, n_voxels);
    for subject in ["s1", "s2"] {
        let folder = model(&with, subject, "glove-lagged");
        let profile = read_matrix(&folder.join("delay_profile.npy"), shape);
        for delay in [0, 1, 3, 8] {
            let delays = format!("design.delays = [{delay}]");
            let alone = ran(&bench, &[GLOVE_ONLY, &delays, "design.variants = [\"lagged\"]"]);
            let alone = model(&alone, subject, "glove-lagged").join("test_correlation.npy");
            for (v, r) in read_vector(&alone, n_voxels).into_iter().enumerate() {
                let got = profile[[delay, v]];
                // What two engines may differ by: another union of delays, another tile.
                assert!((got - r).abs() < 1e-5, "{subject}, delay {delay}, voxel {v}: {got} {r}");
            }
        }
        let best = read_vector(&folder.join("best_delay.npy"), n_voxels);
        let width = read_vector(&folder.join("response_width.npy"), n_voxels);
        for v in 0..n_voxels {
            let of_delay = |&a: &usize, &b: &usize| profile[[a, v]].total_cmp(&profile[[b, v]]);
            let largest = (0..N_DELAYS).max_by(of_delay).expect("nine of them");
            assert_eq!(best[v], largest as f64, "voxel {v}");
            let above = |d: usize| profile[[d, v]] > 0.5 * profile[[largest, v]];
            let first = (0..=largest).rev().find(|&d| !above(d)).map_or(0, |d| d + 1);
            let end = (largest..N_DELAYS).find(|&d| !above(d)).unwrap_or(N_DELAYS);
            assert_eq!(width[v], (end - first) as f64, "voxel {v}");
        }
        // The BOLD follows the words by two TRs.
        let n_two = best.iter().filter(|&&best| best == 2.0).count();
        assert!(n_two * 10 >= n_voxels * 9, "{subject}: {n_two} of {n_voxels}");
        // Delay 0 alone is the plain model.
        assert!(!model(&with, subject, "delay.0.glove").exists());
        let single = model(&with, subject, "delay.3.glove");
        assert!(single.join("test_correlation.npy").is_file());
        for name in ["weights.safetensors", "model.json", "p_values.npy", "significant.npy"] {
            assert!(!single.join(name).exists(), "{name}");
        }
    }
    let table = std::fs::read_to_string(with.join("delays.csv")).expect("there");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("subject,space,delay,mean_r,n_best,n_voxels"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2 * 4 * N_DELAYS, "two subjects, four spaces");
    // The best 5 % of 40 voxels.
    assert!(rows.iter().all(|row| row[5] == "2"), "{table}");
    let peak = rows.iter().filter(|row| row[..2] == ["s1", "glove"]);
    let peak = peak.max_by(|a, b| {
        let r = |row: &[&str]| row[3].parse::<f64>().expect("a number");
        r(a).total_cmp(&r(b))
    });
    assert_eq!(peak.map(|row| (row[2], row[4])), Some(("2", "2")));
    let page = std::fs::read_to_string(with.join("report.html")).expect("there");
    assert!(page.contains("id=\"delays\"") && page.contains("id=\"fig-best-delays-s1\""));
    // A run without profiles takes them away again.
    let outcome = bench.run_into(&with, &["stability.splits = 1"], &["--force"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(!with.join("delays.csv").exists());
    assert!(!model(&with, "s1", "glove-lagged").join("best_delay.npy").exists());
}

#[test]
fn profiles_of_shards_and_of_a_run_that_went_on_are_those_of_one_run() {
    let bench = StudyBench::new(932, 25, 1100);
    let lines = [GLOVE_ONLY, PROFILE, "design.variants = [\"lagged\"]"];
    let one = ran(&bench, &lines);
    assert!(model(&one, "s2", "delay.0.glove").is_dir(), "no plain model stands for it");
    let (study, out) = (bench.settings(&lines), bench.out());
    for (command, flags) in [
        ("plan", &["--shards", "3"][..]),
        ("run", &["--shard", "2/3"]),
        ("run", &["--shard", "1/3"]),
        ("run", &["--shard", "3/3"]),
        ("merge", &[]),
    ] {
        let outcome = voxelcast(&[&[command, text(&study), "--out", text(&out)], flags].concat());
        assert_eq!(outcome.code, 0, "{command} {flags:?}: {outcome:#?}");
    }
    assert_same(&merged(&out), &everything(&one), "3 shards");
    // Two models of one subject are lost: they alone are done again.
    let before = everything(&one);
    std::fs::remove_file(one.join("run.json")).expect("removed");
    for delay in [1, 7] {
        std::fs::remove_dir_all(model(&one, "s1", &format!("delay.{delay}.glove"))).expect("gone");
    }
    let again = bench.run_into(&one, &lines, &[]);
    assert_eq!(again.code, 0, "{again:#?}");
    let note = "s1: 7 of 9 models of single delays were done before";
    assert!(again.stderr.contains(note), "{again:#?}");
    assert_same(&everything(&one), &before, "a run that went on");
}

#[test]
fn spaces_that_are_not_delayed_have_no_profile_and_no_space_takes_its_names() {
    let spaces = "spaces = [[space]]\nkind = \"word_rate\"\n[[space]]\nkind = \"position\"\n\
                  [[space]]\nname = \"both\"\ncombine = [\"word_rate\", \"position\"]\n\
                  [[space]]\nkind = \"word_length\"\n\
                  [[space]]\nname = \"bands\"\ncombine = [\"word_rate\", \"word_length\"]\n\
                  banded = true\n";
    let bench = StudyBench::new(933, 30, 8);
    let partition = "partition.spaces = [\"word_rate\", \"word_length\"]";
    let out = ran(&bench, &[spaces, PROFILE, partition, "bands.n_iter = 3"]);
    let table = std::fs::read_to_string(out.join("delays.csv")).expect("there");
    let with: BTreeSet<&str> = table.lines().skip(1).filter_map(|l| l.split(',').nth(1)).collect();
    assert_eq!(with, BTreeSet::from(["bands", "word_length", "word_rate"]));
    // Equal weights of the bands, one alpha: all of them are the combination's own ridge.
    assert!(model(&out, "s1", "delay.0.bands").is_dir());
    assert!(model(&out, "s1", "bands-lagged").join("delay_profile.npy").is_file());
    let named = "statistics.delay_profile = [\"word_rate\", \"position\"]";
    let out = ran(&bench, &[spaces, named]);
    let table = std::fs::read_to_string(out.join("delays.csv")).expect("there");
    assert_eq!(table.matches("s1,word_rate,").count(), N_DELAYS);
    assert_eq!(table.lines().count(), 1 + 2 * N_DELAYS, "{table}");
    let taken = "spaces = [[space]]\nname = \"rate\"\nkind = \"word_rate\"\n\
                 [[space]]\nname = \"delay.2.rate\"\nkind = \"word_length\"\n";
    let (outcome, _) = bench.run(&[taken, PROFILE], &[]);
    outcome.refused(2, &["\"delay.2.rate\"", "delay_profile"]);
    ran(&bench, &[taken]);
}

/// Upper tail of the standard normal distribution at `z`, by integration.
fn upper_tail(z: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    (0..((10.0 - z) / 1e-2) as usize).map(|i| 1e-2 * density(z + (i as f64 + 0.5) * 1e-2)).sum()
}

/// A later response and story edges that were planted are found, and edges only at the edges.
///
/// A single delay d reaches r · c_d in a voxel of true r, c_d = h_d / ‖h‖ the share of the response
/// h at that delay (features are nearly white from TR to TR). A best delay that is two TRs off, or
/// more, has beaten r · (c_best − c_far) by chance, where the difference of two r has about the
/// standard deviation √(2 (1 + φφ')/(1 − φφ')/n), φ = 0.8 and φ' = 0.3 the autocorrelations of
/// prediction and BOLD. Learning from n_train rows costs little.
#[test]
fn planted_late_responses_and_story_edges_are_found() {
    const N_VOXELS: usize = 800;
    let deviation = |n: f64| (2.0 * (1.0 + 0.24) / (1.0 - 0.24) / n).sqrt();
    for seed in [41, 42, 43] {
        let bench = StudyBench::with_stories(seed, 12, 110, 4);
        let (words, vectors, out) =
            (bench.file("words.tsv"), bench.file("vectors.txt"), bench.out());
        let (seed_text, n) = (seed.to_string(), N_VOXELS.to_string());
        let args = [
            &["simulate", "--stories", text(&words), "--vectors", text(&vectors)][..],
            &["--out", text(&out), "--subjects", "1", "--voxels", &n, "--seed", &seed_text],
            &["--late-share", "0.3", "--edge-share", "0.4", "--edge-size", "1.5"],
        ];
        let outcome = voxelcast(&args.concat());
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let study = out.join("STUDY.toml");
        let text_of_study = std::fs::read_to_string(&study).expect("there")
            + "\n[[space]]\nkind = \"position\"\n\
               [[space]]\nname = \"both\"\ncombine = [\"glove\", \"position\"]\n\
               [split]\nn_test = 3\ninner = \"25:10\"\n[ridge]\nalphas = \"logspace(0,5,11)\"\n\
               [statistics]\npermutations = 0\nresamples = 0\ndelay_profile = true\n";
        std::fs::write(&study, text_of_study).expect("written");
        let run = out.join("run");
        let outcome = voxelcast(&["run", text(&study), "--out", text(&run)]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let truth = |name: &str| read_vector(&out.join("truth/subject1").join(name), N_VOXELS);
        let (asked, peak) = (truth("asked_r.npy"), truth("peak_trs.npy"));
        let (is_late, has_edge) = (truth("is_late.npy"), truth("has_edge.npy"));

        // Best delays, in voxels whose signal was found.
        let n_test = run_json(&run)["n_test_trs"].as_f64().expect("a number");
        let folder = model(&run, "subject1", "glove-lagged");
        let profile = read_matrix(&folder.join("delay_profile.npy"), (N_DELAYS, N_VOXELS));
        let best = read_vector(&folder.join("best_delay.npy"), N_VOXELS);
        let threshold = 1.96 * deviation(n_test) / 2f64.sqrt();
        let h = hrf(2.0, 5.0);
        let norm = h.iter().map(|h| h * h).sum::<f64>().sqrt();
        let far = h.iter().enumerate().filter(|(d, _)| !(2..=4).contains(d));
        let far = far.map(|(_, h)| *h).fold(0.0, f64::max);
        for late in [0.0, 1.0] {
            let found: Vec<usize> = (0..N_VOXELS)
                .filter(|&v| asked[v] > 0.0 && is_late[v] == late && has_edge[v] == 0.0)
                .filter(|&v| profile.column(v).iter().any(|&r| r > threshold))
                .collect();
            let near = |v: &&usize| (best[**v] - peak[**v]).abs() <= 1.0;
            let share = found.iter().filter(near).count() as f64 / found.len() as f64;
            let missed = |&v: &usize| upper_tail(asked[v] * (1.0 - far) / norm / deviation(n_test));
            let promised = 1.0 - found.iter().map(missed).sum::<f64>() / found.len() as f64;
            println!("seed {seed}, late {late}: {share:.3} of {}, {promised:.3}", found.len());
            // Neighbours share their tuning and all voxels the test stories: 3 binomial standard
            // deviations of half as many voxels, and 0.03 for the formula.
            let n = found.len() as f64 / 2.0;
            let bound = 3.0 * (promised * (1.0 - promised) / n).sqrt() + 0.03;
            assert!(found.len() > 40 && share > promised - bound, "{share} {promised} {bound}");
        }

        // Edges: means over the voxels that have one.
        let edges = |space: &str, name: &str| {
            let r = read_vector(&model(&run, "subject1", space).join(name), N_VOXELS);
            let own: Vec<f64> =
                (0..N_VOXELS).filter(|&v| has_edge[v] != 0.0).map(|v| r[v]).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let full = |space| edges(space, "test_correlation.npy");
        let inner = |space| edges(space, "inner_correlation.npy");
        println!(
            "seed {seed}: position {:.3} inner {:.3}; glove {:.3} {:.3}; both {:.3} {:.3}",
            full("position"),
            inner("position"),
            full("glove-lagged"),
            inner("glove-lagged"),
            full("both-lagged"),
            inner("both-lagged")
        );
        // A transient of 1.5 exp(−t/5) has Σ 1.5² · 2.5 of a story's variance of 110: r about 0.2.
        assert!(full("position") > 0.12 && inner("position") < 0.05);
        assert!(full("both-lagged") > full("glove-lagged") + 0.03);
        assert!(inner("both-lagged") < inner("glove-lagged") + 0.01);
    }
}
