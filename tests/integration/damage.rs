//! Files of an unfinished run that were changed behind its back.

use std::path::Path;
use std::process::Command;

use super::faults::{assert_same, ended, everything, n_tiles, start, wait_until};
use super::workbench::{GLOVE_ONLY, StudyBench, text, voxelcast};

/// `n` bytes of a file, the first at `at` from its end, changed by `change`.
fn change_bytes(path: &Path, at: usize, n: usize, change: fn(&mut [u8])) {
    let mut bytes = std::fs::read(path).expect("it is there");
    let start = bytes.len() - at;
    change(&mut bytes[start..start + n]);
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn tiles_that_were_damaged_after_they_were_journaled_are_done_again() {
    const N: usize = 12_000;
    let bench = StudyBench::new(814, 25, N);
    let lines = [GLOVE_ONLY, "stability.splits = 1", "ridge.folds = 3"];
    let (whole, out) = bench.run(&lines, &["--threads", "1"]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let (study, killed) = (bench.settings(&lines), bench.out());
    let mut child = start(&["run", text(&study), "--out", text(&killed), "--threads", "1"]);
    wait_until(&mut child, "a tile", || n_tiles(&killed, "s1") > 0);
    child.kill().expect("SIGKILL is sent");
    ended(child);
    assert!(n_tiles(&killed, "s1") > 0, "the subject is not finished");
    // The last row of a file of f32: its first voxels belong to the first tile.
    let last_row = 4 * N;
    let zero: fn(&mut [u8]) = |bytes| bytes.fill(0);
    let flip: fn(&mut [u8]) = |bytes| bytes[17] ^= 1;
    let of_model = |name: &str| format!("glove-lagged/{name}");
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [(&str, Damage<'_>, &str); 6] = [
        (
            "zeroed scores",
            &|s1| change_bytes(&s1.join(of_model("cv_scores.npy")), last_row, 4 * 512, zero),
            "are not what was written",
        ),
        (
            "a flipped bit of the weights",
            &|s1| change_bytes(&s1.join(of_model("weights.safetensors")), last_row, 4 * 512, flip),
            "are not what was written",
        ),
        (
            "a file that was cut",
            &|s1| {
                let path = s1.join(of_model("story_correlation.npy"));
                let file = std::fs::File::options().write(true).open(path).expect("it is there");
                file.set_len(file.metadata().expect("it is there").len() / 2).expect("cut");
            },
            "gone or damaged",
        ),
        (
            "a file that is gone",
            &|s1| std::fs::remove_file(s1.join(of_model("scalars.npy"))).expect("removed"),
            "gone or damaged",
        ),
        (
            "a digit of the journal",
            &|s1| {
                let path = s1.join("tiles.jsonl");
                let lines = std::fs::read_to_string(&path).expect("it is there");
                let at = lines.find("n_plateau\":").expect("a count") + "n_plateau\":".len();
                let digit = if &lines[at..at + 1] == "7" { "8" } else { "7" };
                let changed = format!("{}{digit}{}", &lines[..at], &lines[at + 1..]);
                std::fs::write(path, changed).expect("written");
            },
            "1 line of the journal is damaged",
        ),
        (
            "a line that was cut",
            &|s1| {
                let path = s1.join("tiles.jsonl");
                let lines = std::fs::read_to_string(&path).expect("it is there");
                std::fs::write(path, &lines[..lines.len() - 20]).expect("written");
            },
            "1 line of the journal is damaged",
        ),
    ];
    for (what, damage, says) in damages {
        let out = bench.out();
        let copied = Command::new("cp").arg("-r").arg(&killed).arg(&out).status();
        assert!(copied.is_ok_and(|status| status.success()), "{what}");
        damage(&out.join(".partial/s1"));
        let again = voxelcast(&["run", text(&study), "--out", text(&out), "--threads", "1"]);
        assert_eq!(again.code, 0, "{what}: {again:#?}");
        let note = again.stderr.lines().find(|line| line.starts_with("note: s1: "));
        assert!(note.is_some_and(|note| note.contains(says)), "{what}: {}", again.stderr);
        assert_same(&everything(&out), &expected, what);
    }
}
