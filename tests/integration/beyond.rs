//! What each space predicts beyond another one (`[partition] beyond`).

use super::kinds::{N_VOXELS, ran, spaces};
use super::statistics::{find, mean, number};
use super::study_command::{results, run_json, table};
use super::workbench::{StudyBench, normal, read_vector, seeded, write_f32};

/// `made` is noise; `union` is what `beyond.glove` must be.
const SPACES: &str = "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
     [[space]]\nname = \"made\"\nkind = \"file\"\npath = \"rows/{story}.npy\"\nrows = \"trs\"\n\
     [[space]]\nkind = \"word_rate\"\n[[space]]\nkind = \"position\"\n\
     [[space]]\nname = \"low_level\"\ncombine = [\"word_rate\", \"position\"]\n\
     [[space]]\nname = \"union\"\ncombine = [\"glove\", \"word_rate\", \"position\"]\n";
const BEYOND: &str = "partition.beyond = \"low_level\"";
const INNER: &str = "split.inner = \"9:6\"";

fn bench(seed: u64) -> StudyBench {
    let bench = StudyBench::new(seed, 60, N_VOXELS);
    std::fs::create_dir(bench.file("rows")).expect("made");
    for (i, story) in bench.stories.iter().enumerate() {
        let rows = normal(&mut seeded(seed + i as u64), story.n_rows, 4);
        write_f32(&bench.file(&format!("rows/{}.npy", story.name)), &rows);
    }
    bench
}

#[test]
fn a_part_beyond_low_level_is_that_of_the_models_of_both_and_of_low_level() {
    let bench = bench(3501);
    let all = spaces(SPACES);
    let out = ran(&bench, &[&all, BEYOND, INNER]);
    let r = |model: &str, file: &str| {
        read_vector(&out.join("models/s1").join(model).join(format!("{file}.npy")), N_VOXELS)
    };
    let rows = table(&out.join("beyond.csv"));
    let names: Vec<&str> = find(&rows, &[("subject", "s1")])
        .iter()
        .map(|row| row["space"].as_str().expect("a cell"))
        .collect();
    assert_eq!(names, ["glove", "made", "union"], "the others are columns of low_level");
    let signed = |r: Vec<f64>| r.into_iter().map(|r| r * r.abs()).collect::<Vec<f64>>();
    for (file, part, before) in [
        ("test_correlation", "beyond_signed_r2", "mean"),
        ("inner_correlation", "beyond_inner_signed_r2", "inner_mean"),
    ] {
        // Both together is the combination that is written out in the study, to the last bit.
        assert_eq!(r("beyond.glove-lagged", file), r("union-lagged", file));
        for space in ["glove", "made"] {
            let both = format!("beyond.{space}-lagged");
            let (own, base) =
                (signed(r(&format!("{space}-lagged"), file)), signed(r("low_level-lagged", file)));
            let union = signed(r(&both, file));
            let parts: Vec<f64> = union.iter().zip(&base).map(|(both, base)| both - base).collect();
            for (found, wanted) in r(&both, part).iter().zip(&parts) {
                assert!((found - wanted).abs() < 1e-7, "{space}: {found} {wanted}");
            }
            let row = find(&rows, &[("subject", "s1"), ("space", space), ("lagged", "true")])[0];
            assert_eq!((&row["base"], number(row, "n_voxels_used")), (&"low_level".into(), 8.0));
            for (name, values) in
                [("", &own), ("base_", &base), ("union_", &union), ("beyond_", &parts)]
            {
                let found = number(row, &format!("{before}_{name}signed_r2"));
                assert!((found - mean(values)).abs() < 1e-12, "{space} {name}: {found}");
            }
        }
    }
    let beyond = |space: &str| {
        number(find(&rows, &[("subject", "s2"), ("space", space)])[0], "mean_beyond_signed_r2")
    };
    assert!(beyond("glove") > 0.1, "BOLD is made of it: {}", beyond("glove"));
    assert!(beyond("made") < 0.01, "noise adds nothing: {}", beyond("made"));

    // One model more a space; no space of the study, in no other table.
    assert!(
        !out.join("models/s1/beyond.glove").exists()
            && !out.join("models/s1/beyond.position-lagged").exists()
    );
    for name in ["summary.csv", "stories.csv", "comparisons.csv", "significance.csv", "overlap.csv"]
    {
        let text = std::fs::read_to_string(out.join(name)).expect("there");
        assert!(!text.contains("beyond"), "{name}");
    }
    let run = run_json(&out);
    assert_eq!(run["study"]["partition"]["beyond"], "low_level");
    assert!(run["spaces"].as_array().is_some_and(|spaces| spaces.len() == 6), "{}", run["spaces"]);
    let page = std::fs::read_to_string(out.join("report.html")).expect("there");
    let at = |id: &str| page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("{id}"));
    assert!(at("beyond-figure") < at("performance-figure"), "it is the first figure");

    // Without it, the rest is what it was.
    let off = ran(&bench, &[&all, INNER]);
    let rest = |out| {
        let is_own = |name: &str| !name.contains("beyond");
        results(out).into_iter().filter(|(name, _)| is_own(name)).collect::<Vec<_>>()
    };
    assert!(rest(&out) == rest(&off));
    assert!(!results(&off).iter().any(|(name, _)| name.contains("beyond")));
}

#[test]
fn beyond_names_a_space_that_others_go_beyond() {
    let bench = bench(3502);
    let banded = format!("{}banded = true\n", spaces(SPACES));
    for (lines, parts) in [
        (
            vec![spaces(SPACES), "partition.beyond = \"low_levl\"".into()],
            vec!["beyond", "low_level"],
        ),
        (vec![banded, "partition.beyond = \"union\"".into()], vec!["not banded", "union"]),
        (
            vec![
                spaces("[[space]]\nkind = \"word_rate\"\n"),
                "partition.beyond = \"word_rate\"".into(),
            ],
            vec!["another one goes beyond", "word_rate"],
        ),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (outcome, out) = bench.run(&lines, &[]);
        outcome.refused(2, &parts);
        assert!(!out.exists());
    }
    // A space of words against one that is never delayed, without inner scores.
    let out = ran(&bench, &[&spaces(SPACES), "partition.beyond = \"position\""]);
    let header = std::fs::read_to_string(out.join("beyond.csv")).expect("there");
    assert!(header.lines().next().is_some_and(|line| line.ends_with("mean_beyond_signed_r2")));
    assert!(!out.join("models/s1/beyond.glove-lagged/beyond_inner_signed_r2.npy").exists());
    let names: Vec<String> = table(&out.join("beyond.csv"))
        .iter()
        .map(|row| row["space"].as_str().expect("a cell").to_owned())
        .collect();
    assert_eq!(names[..5], ["glove", "made", "word_rate", "low_level", "union"]);
}
