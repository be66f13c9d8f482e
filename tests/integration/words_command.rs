//! Words as other programs write them: the numbers of the plain table, and wrong ones refused.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::workbench::{GLOVE_ONLY, Outcome, StoryTruth, StudyBench, text, voxelcast};

/// `features` of the bench's vectors into a folder of its own.
fn features(bench: &StudyBench, stories: &Path, flags: &[&str]) -> (Outcome, PathBuf) {
    let out = bench.out();
    let vectors = bench.file("vectors.txt");
    let mut args = vec!["features", "--stories", text(stories), "--kind", "glove"];
    args.extend(["--vectors", text(&vectors), "--out", text(&out)]);
    if !flags.contains(&"--n-trs") {
        args.extend(["--n-trs", "70"]);
    }
    args.extend(flags);
    (voxelcast(&args), out)
}

/// The bench's words as a table of every story, with `line` for each word.
fn table(bench: &StudyBench, header: &str, line: impl Fn(&StoryTruth, usize) -> String) -> String {
    let mut lines = format!("{header}\n");
    for story in &bench.stories {
        for word in 0..story.words.len() {
            writeln!(lines, "{}", line(story, word)).expect("text");
        }
    }
    lines
}

/// One file per story: its path below `folder`, and `write` for its text.
fn files(
    bench: &StudyBench,
    folder: &str,
    name: &str,
    write: impl Fn(&StoryTruth) -> String,
) -> PathBuf {
    let folder = bench.file(folder);
    for story in &bench.stories {
        let path = folder.join(name.replace("STORY", &story.name));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, write(story)).expect("written");
    }
    folder
}

fn times(story: &StoryTruth, word: usize) -> (f64, f64, &str) {
    (story.onset_s[word], story.offset_s[word], &story.words[word])
}

fn lines(story: &StoryTruth, header: &str, line: impl Fn(f64, f64, &str) -> String) -> String {
    let mut text = header.to_owned();
    for word in 0..story.words.len() {
        let (onset, end, word) = times(story, word);
        text += &line(onset, end, word);
    }
    text
}

/// A grid with phones first and words second, as `names` calls them.
fn grid(story: &StoryTruth, names: [&str; 2]) -> String {
    let end = story.offset_s.last().expect("words") + 1.0;
    let mut text = format!("File type = \"ooTextFile\"\n\"TextGrid\"\n0\n{end}\n<exists>\n2\n");
    for (name, is_words) in names.into_iter().zip([false, true]) {
        let n = story.words.len();
        write!(text, "\"IntervalTier\"\n\"{name}\"\n0\n{end}\n{n}\n").expect("text");
        for word in 0..n {
            let (onset, end, word) = times(story, word);
            let label = if is_words { word } else { "AH0" };
            write!(text, "{onset}\n{end}\n\"{label}\"\n").expect("text");
        }
    }
    text
}

fn trs(bench: &StudyBench, out: &Path) -> Vec<Vec<u8>> {
    let read = |story: &StoryTruth| std::fs::read(out.join(format!("{}.trs.npy", story.name)));
    bench.stories.iter().map(|story| read(story).expect("written")).collect()
}

#[test]
fn every_aligners_files_give_the_numbers_of_the_plain_table() {
    let bench = StudyBench::new(51, 45, 8);
    let (plain, out) = features(&bench, &bench.file("words.tsv"), &[]);
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "a right study is silent");
    let expected = trs(&bench, &out);
    let check = |stories: &Path, flags: &[&str], is_silent: bool| {
        let (made, out) = features(&bench, stories, flags);
        assert_eq!(made.code, 0, "{}: {made:#?}", stories.display());
        assert!(trs(&bench, &out) == expected, "{}", stories.display());
        assert_eq!(made.stderr.is_empty(), is_silent, "{}: {made:#?}", stories.display());
    };
    let whisperx = |story: &StoryTruth| {
        let words = lines(story, "", |onset, end, word| {
            format!("{{\"word\": \" {word}\", \"start\": {onset}, \"end\": {end}}},")
        });
        let words = words.trim_end_matches(',');
        format!("{{\"segments\": [{{\"words\": [{words}]}}], \"word_segments\": [{words}]}}")
    };
    let gentle = |story: &StoryTruth| {
        lines(story, "", |onset, end, word| format!("{word},<unk>,{onset},{end}\n"))
    };
    let mfa = |story: &StoryTruth| {
        lines(story, "Begin,End,Label,Type,Speaker\n", |onset, end, word| {
            format!("{onset},{end},{word},words,a\n{onset},{end},AH0,phones,a\n")
        })
    };
    let windows = |story: &StoryTruth| {
        lines(story, "\u{feff}Begin;Stop;Token\r\n", |onset, end, word| {
            format!("{onset};{end};{word}\r\n").replace('.', ",")
        })
    };
    check(&files(&bench, "whisperx", "STORY.json", whisperx), &[], true);
    check(&files(&bench, "gentle", "STORY/align.csv", gentle), &[], true);
    check(&files(&bench, "mfa", "STORY.csv", mfa), &[], true);
    check(&files(&bench, "german", "STORY.csv", windows), &[], true);
    let maus = |story: &StoryTruth| grid(story, ["MAU", "ORT-MAU"]);
    check(&files(&bench, "webmaus", "STORY.TextGrid", maus), &[], true);
    let odd = |story: &StoryTruth| grid(story, ["Laute", "Wörter"]);
    let odd = files(&bench, "odd", "STORY.TextGrid", odd);
    check(&odd, &[], false);
    check(&odd, &["--tier", "Wörter"], true);
    let swapped = files(&bench, "swapped", "STORY.TextGrid", |s| {
        let text = grid(s, ["b", "a"]);
        let (head, rest) = text.split_once("\"IntervalTier\"").expect("a tier");
        let (phones, words) = rest.split_once("\"IntervalTier\"").expect("two tiers");
        format!("{head}\"IntervalTier\"{words}\"IntervalTier\"{phones}")
    });
    let (refused, _) = features(&bench, &swapped, &[]);
    refused.refused(3, &["story0.TextGrid", "looks like phones", "\"a\" (\"word", "--tier"]);
    check(&swapped, &["--tier", "a"], true);
    features(&bench, &swapped, &["--tier", "c"]).0.refused(3, &["no tier \"c\"", "\"b\" (\"AH0\""]);
    // One table of all stories.
    let write = |name: &str, text: Vec<u8>| {
        std::fs::write(bench.file(name), text).expect("written");
        bench.file(name)
    };
    let r = table(&bench, "\"section\" \"onset\" \"offset\" \"word\"", |story, word| {
        let (onset, end, text) = times(story, word);
        format!("\"{word}\" \"{}\" {onset} {end} \"{text}\"", story.name)
    });
    let r = write("r.txt", r.into_bytes());
    check(&r, &["--story-column", "Section"], true);
    let wide = table(&bench, "story\tonset\toffset\tword", |story, word| {
        let (onset, end, text) = times(story, word);
        format!("{}\t{onset}\t{end}\t{text}", story.name)
    });
    let wide: Vec<u8> =
        format!("\u{feff}{wide}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&write("wide.tsv", wide), &[], true);
    // Punctuation and quotes are looked through.
    let spelled = table(&bench, "story\tonset\toffset\tword\n", |story, word| {
        let (onset, end, text) = times(story, word);
        format!("{}\t{onset}\t{end}\t“{text}…”", story.name)
    });
    check(&write("spelled.tsv", spelled.into_bytes()), &[], true);
}

#[test]
fn marks_and_words_without_times_are_left_out_and_counted() {
    let bench = StudyBench::new(52, 45, 8);
    let (_, plain) = features(&bench, &bench.file("words.tsv"), &[]);
    let marked = table(&bench, "story\tonset\tduration\tword", |story, word| {
        let (onset, end, text) = times(story, word);
        let (name, duration) = (&story.name, end - onset);
        let more = match word % 7 {
            0 => format!("{name}\t{onset}\t0\t{{CG}}\n"),
            1 => format!("{name}\tn/a\tn/a\tword1\n"),
            2 => format!("{name}\t{onset}\tn/a\tn/a\n{name}\t{onset}\t0\tum\n"),
            _ => String::new(),
        };
        format!("{more}{name}\t{onset}\t{duration}\t{text}")
    });
    // The ends are sums: the middle is that of the plain table to the last bit or two.
    std::fs::write(bench.file("marked.tsv"), marked).expect("written");
    let (made, out) = features(&bench, &bench.file("marked.tsv"), &["--not-words", "uh,UM"]);
    assert_eq!(made.code, 0, "{made:#?}");
    for story in &bench.stories {
        let values = |out: &Path| {
            let path = out.join(format!("{}.trs.npy", story.name));
            voxelcast::io::npy::read_matrix_f32(&path).expect("written")
        };
        let (a, b) = (values(&plain), values(&out));
        assert_eq!(a.dim(), b.dim());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{}", story.name);
    }
    let summary = std::fs::read_to_string(out.join("features.json")).expect("written");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert!(summary["n_marks"].as_u64() > Some(10) && summary["n_untimed"].as_u64() > Some(10));
    let (kept, _) = features(&bench, &bench.file("marked.tsv"), &["--keep-marks"]);
    assert_eq!(kept.code, 0, "{kept:#?}");
    let (error, _) = features(&bench, &bench.file("marked.tsv"), &["--untimed", "error"]);
    error.refused(3, &["words have no onset", "untimed"]);
    features(&bench, &bench.file("marked.tsv"), &["--untimed", "x"]).0.refused(2, &["--untimed"]);
    // check and run.json have the counts.
    let lines = ["stories.path = \"marked.tsv\"", "stories.not_words = [\"um\"]"];
    let checked = bench.check(&lines);
    assert_eq!(checked.code, 0, "{checked:#?}");
    for part in ["words (s)", "scan (s)", "marks dropped: ", "um ", "{cg} ", "words without times"]
    {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
    }
    assert!(
        checked.stderr.contains("note: ") && !checked.stderr.contains("warning"),
        "{checked:#?}"
    );
    let study = bench.settings(&lines);
    let json = voxelcast(&["--json", "check", text(&study)]);
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let words = &document["words"];
    assert_eq!(words["n_marks"], summary["n_marks"]);
    assert_eq!(words["n_untimed"], summary["n_untimed"]);
    assert_eq!(words["stories"].as_array().map(Vec::len), Some(6));
    assert!(words["stories"][0]["scan_s"][1].as_f64() > Some(60.0));
    let lines = [&lines[..], &[GLOVE_ONLY, "design.alignment_check = false"]].concat();
    let (ran, out) = bench.run(&lines, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let run = std::fs::read_to_string(out.join("run.json")).expect("written");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    assert_eq!(run["words"]["marks"]["{cg}"], words["marks"]["{cg}"]);
    assert!(run["notes"][0].as_str().expect("a note").contains("have no times"), "{run}");
}

/// The bench's words with their times multiplied and moved.
fn scaled(bench: &StudyBench, name: &str, factor: f64, offset: f64) -> PathBuf {
    let text = table(bench, "story\tonset\toffset\tword", |story, word| {
        let (onset, end, text) = times(story, word);
        let (onset, end) = (onset * factor + offset, end * factor + offset);
        format!("{}\t{onset}\t{end}\t{text}", story.name)
    });
    std::fs::write(bench.file(name), text).expect("written");
    bench.file(name)
}

#[test]
fn wrong_times_are_refused_by_check_run_and_features() {
    let bench = StudyBench::new(53, 45, 8);
    let right = bench.check(&[]);
    assert_eq!((right.code, right.stderr.as_str()), (0, ""), "a right study is silent");
    for (name, factor, offset, part, unit) in [
        ("ms.tsv", 1e3, 0.0, "in ms", "\"ms\""),
        ("samples.tsv", 512.0, 0.0, "in samples at 512 Hz", "0.001953125"),
        ("clock.tsv", 1.0, 5e4, "0 of its", ""),
        ("epoch.tsv", 1.0, 1.7e9, "first_tr_s", ""),
    ] {
        let path = scaled(&bench, name, factor, offset);
        let line = format!("stories.path = \"{name}\"");
        let says = ["story \"story0\"", "words lie in its scan", part];
        bench.check(&[&line]).refused(3, &says);
        bench.run(&[&line], &[]).0.refused(3, &says);
        // A scan as long as the words: TRs up to 99 s.
        features(&bench, &path, &["--n-trs", "55"]).0.refused(3, &says);
        if !unit.is_empty() {
            let unit = format!("stories.time_unit = {unit}");
            let checked = bench.check(&[&line, &unit]);
            assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{checked:#?}");
        }
    }
    // Without known TRs an epoch would ask for 850 million of them.
    let out = bench.out();
    let epoch = bench.file("epoch.tsv");
    let args = ["features", "--stories", text(&epoch), "--kind", "word_rate", "--out", text(&out)];
    voxelcast(&args).refused(3, &["story \"story0\"", "TRs of 2 s", "--time-unit"]);
    // TRs lie in the scan, and at half of it.
    scaled(&bench, "trs.tsv", 0.5, 0.0);
    let doubted = bench.check(&["stories.path = \"trs.tsv\""]);
    assert_eq!(doubted.code, 0, "{doubted:#?}");
    assert!(doubted.stderr.starts_with("warning: timing: "), "{doubted:#?}");
    assert!(doubted.stderr.contains("in TRs: set time_unit = 2"), "{doubted:#?}");
    for bad in ["\"hours\"", "0", "-1", "nan"] {
        bench.check(&[&format!("stories.time_unit = {bad}")]).refused(2, &["time_unit"]);
        let flag = bad.trim_matches('"');
        features(&bench, &bench.file("words.tsv"), &["--time-unit", flag])
            .0
            .refused(2, &["--time-unit"]);
    }
}

#[test]
fn sections_in_one_table_are_refused_until_their_column_is_named() {
    let bench = StudyBench::new(54, 45, 8);
    let text = table(&bench, "run\tonset\toffset\tword", |story, word| {
        let (onset, end, text) = times(story, word);
        format!("{}\t{onset}\t{end}\t{text}", story.name)
    });
    std::fs::write(bench.file("runs.tsv"), text).expect("written");
    let line = "stories.path = \"runs.tsv\"";
    bench.check(&[line]).refused(3, &["times restart 5 times", "story_column", "\"run\""]);
    let named = bench.check(&[line, "stories.story_column = \"Run\""]);
    assert_eq!((named.code, named.stderr.as_str()), (0, ""), "{named:#?}");
    bench
        .check(&[line, "stories.story_column = \"part\""])
        .refused(3, &["no column \"part\"", "\"run\""]);
}

#[test]
fn predict_reads_words_as_its_flags_say() {
    let bench = StudyBench::new(55, 45, 8);
    let (ran, results) = bench.run(&[GLOVE_ONLY, "design.alignment_check = false"], &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let predict = |stories: &Path, flags: &[&str]| {
        let out = bench.out();
        let mut args = vec!["predict", "--model", text(&results), "--stories", text(stories)];
        args.extend(["--out", text(&out)]);
        args.extend(flags);
        (voxelcast(&args), out.join("s1/glove-lagged/story5.npy"))
    };
    let (plain, expected) = predict(&bench.file("words.tsv"), &[]);
    assert!(plain.code == 0 && !plain.stderr.contains("warning"), "{plain:#?}");
    let ms = scaled(&bench, "ms.tsv", 1e3, 0.0);
    predict(&ms, &[]).0.refused(3, &["in ms"]);
    let (same, got) = predict(&ms, &["--time-unit", "ms"]);
    assert_eq!(same.code, 0, "{same:#?}");
    let values = |path: &Path| voxelcast::io::npy::read_matrix_f32(path).expect("written");
    let (a, b) = (values(&expected), values(&got));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + a.abs())));
}

#[test]
fn files_of_vectors_that_are_not_whole_are_told() {
    let bench = StudyBench::new(56, 45, 8);
    let vectors = std::fs::read_to_string(bench.file("vectors.txt")).expect("written");
    let mut lines: Vec<&str> = vectors.lines().collect();
    let short = lines[3].rsplit_once(' ').expect("numbers").0;
    lines[3] = short;
    let text_of = |lines: &[&str]| format!("\u{feff}{} 6\n{}\n", lines.len() + 5, lines.join("\n"));
    std::fs::write(bench.file("vectors.txt"), text_of(&lines)).expect("written");
    let (made, _) = features(&bench, &bench.file("words.tsv"), &[]);
    assert_eq!(made.code, 0, "{made:#?}");
    for part in [
        "warning: vectors: ",
        "the header counts 29 vectors, the file holds 24",
        "line 5 has 5 numbers, the others have 6; 1 such lines are left out",
    ] {
        assert!(made.stderr.contains(part), "{part}: {made:#?}");
    }
    std::fs::write(bench.file("vectors.txt"), b"\xba\x16\x4f\x2f\x0c\0\0\0").expect("written");
    features(&bench, &bench.file("words.tsv"), &[]).0.refused(3, &["fastText", ".vec"]);
}
