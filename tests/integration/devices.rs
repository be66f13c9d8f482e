//! `voxelcast devices`, the choice of a device, and `ridge` on a card or its stand-in.

use serde_json::Value;

use super::workbench::{
    Outcome, RidgeBench, command, normal, planted, read_matrix, read_vector, seeded, skipped,
};

fn outcome_with(args: &[&str], environment: &[(&str, &str)], without: &[&str]) -> Outcome {
    let mut command = command(args);
    command.envs(environment.iter().copied());
    without.iter().for_each(|name| {
        command.env_remove(name);
    });
    let output = command.output().expect("the binary starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

fn devices(without: &[&str]) -> Value {
    let outcome = outcome_with(&["devices", "--json"], &[], without);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).expect("one JSON document")
}

#[test]
fn devices_are_listed_and_their_absence_is_explained() {
    let found = devices(&[]);
    assert_eq!(found["schema"], "voxelcast.devices/1");
    assert!(found["cpu"]["threads"].as_u64().is_some_and(|n| n > 0), "{found:#}");
    let cards = found["cuda"].as_array().expect("a list");
    assert_eq!(cards.is_empty(), found["cuda_problem"].is_string(), "{found:#}");
    for card in cards {
        assert!(card["memory_bytes"].as_u64() >= card["free_bytes"].as_u64(), "{card:#}");
    }
    let text = outcome_with(&["devices"], &[], &[]).stdout;
    assert!(text.contains("cpu") && text.contains("taken: "), "{text}");
}

fn bench_of(n_voxels: usize) -> RidgeBench {
    let rng = &mut seeded(501);
    let x = normal(rng, 90, 6);
    let y = planted(rng, &x, n_voxels);
    let folds: Vec<i64> = (0..90).map(|t| t / 30).collect();
    let x_test = normal(rng, 20, 6);
    let y_test = planted(rng, &x_test, n_voxels);
    RidgeBench::new(&x, &y, &folds).with_test(&x_test, &y_test)
}

/// Without `LD_LIBRARY_PATH` there are no stand-ins; with a real driver there is nothing to see.
#[test]
fn without_a_driver_auto_falls_back_with_a_sentence_and_cuda_is_refused() {
    let found = devices(&["LD_LIBRARY_PATH"]);
    let Some(problem) = found["cuda_problem"].as_str() else {
        return skipped("a machine with an NVIDIA driver");
    };
    let bench = bench_of(3);
    let [x, y, folds] =
        ["x", "y", "folds"].map(|name| bench.file(&format!("{name}.npy")).display().to_string());
    let run = |device: &str| {
        let out = bench.file(&format!("out-{device}")).display().to_string();
        let args = ["ridge", "--x", &x, "--y", &y, "--fold-ids", &folds, "--out", &out];
        let outcome =
            outcome_with(&[&args[..], &["--device", device]].concat(), &[], &["LD_LIBRARY_PATH"]);
        (outcome, bench.file(&format!("out-{device}")))
    };
    let (outcome, out) = run("auto");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(out.join("coef.npy").exists());
    let said: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.starts_with("device: cpu")).collect();
    assert_eq!(said.len(), 1, "{outcome:#?}");
    assert!(said[0].contains(problem), "{said:?}");
    for device in ["cuda", "cuda:0", "cuda:0,1"] {
        let (outcome, out) = run(device);
        outcome.refused(4, &[&format!("device {device}"), problem, "--device cpu"]);
        assert!(!out.exists());
    }
}

/// Whether the stand-in libraries are what is loaded: they heed settings that no card has.
fn has_stand_in() -> bool {
    let found = devices(&[]);
    let is_stand_in = found["cuda"][0]["name"].as_str().is_some_and(|n| n.contains("stand-in"));
    if !is_stand_in {
        let required = std::env::var("VOXELCAST_REQUIRE").is_ok_and(|v| v == "cuda");
        assert!(!required || found["cuda_problem"].is_null(), "VOXELCAST_REQUIRE=cuda: {found:#}");
        skipped("the stand-in CUDA libraries are not in LD_LIBRARY_PATH");
    }
    is_stand_in
}

#[test]
fn tiles_on_one_card_on_two_and_halved_ones_give_the_scores_of_the_cpu() {
    if !has_stand_in() {
        return;
    }
    let n_voxels = 2048;
    let bench = bench_of(n_voxels);
    let run = |device: &str, environment: &[(&str, &str)]| {
        let name = format!("out-{device}-{}", environment.len());
        let [x, y, folds, x_test, y_test, out] =
            ["x.npy", "y.npy", "folds.npy", "x_test.npy", "y_test.npy", &name]
                .map(|name| bench.file(name).display().to_string());
        let args = ["ridge", "--x", &x, "--y", &y, "--fold-ids", &folds, "--x-test", &x_test];
        let more = ["--y-test", &y_test, "--out", &out, "--alphas", "logspace(0,4,5)"];
        let args = [&args[..], &more, &["--device", device]].concat();
        (outcome_with(&args, environment, &[]), bench.file(&name))
    };
    let read = |out: &std::path::Path| {
        (
            read_matrix(&out.join("cv_scores.npy"), (5, n_voxels)),
            read_vector(&out.join("test_correlation.npy"), n_voxels),
        )
    };
    let (outcome, out) = run("cpu", &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let (cv, test) = read(&out);
    // The 60th allocation of a process is one of a tile's: about 30 are the problem's.
    for (device, environment, said) in [
        ("cuda", &[][..], ""),
        ("cuda:0,1", &[("VOXELCAST_STANDIN_DEVICES", "2")], ""),
        (
            "cuda",
            &[("VOXELCAST_STANDIN_FAIL_ALLOC", "60")],
            ": tiles of 512 voxels instead of 1024",
        ),
    ] {
        let (outcome, out) = run(device, environment);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        assert!(outcome.stderr.contains("device: cuda:0"), "{outcome:#?}");
        assert!(outcome.stderr.contains(said), "{outcome:#?}");
        let (other_cv, other_test) = read(&out);
        for (a, b) in cv.iter().zip(&other_cv).chain(test.iter().zip(&other_test)) {
            assert!((a - b).abs() <= 1e-5, "{device}: {a} {b}");
        }
    }
    let (outcome, _) = run("cuda", &[("VOXELCAST_STANDIN_MEMORY", "1M")]);
    outcome.refused(4, &["device cuda:0", "needs", "MiB", "are free"]);
    let (outcome, _) = run("cuda:7", &[]);
    outcome.refused(4, &["device cuda:7", "there is no card 7"]);
}
