//! Folders and files written here; the lab's where this machine has them.

use std::path::Path;

use super::*;
use crate::warning::Warning;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// Stories of a right file: nothing is said about it.
fn stories(dir: &tempfile::TempDir, name: &str) -> Vec<Story> {
    let StoriesRead { stories, warnings, notes } =
        read(&dir.path().join(name), &WordRules::default()).unwrap();
    assert_eq!((warnings, notes), (vec![], vec![]));
    stories
}

fn message(dir: &tempfile::TempDir, name: &str) -> String {
    let error = read_stories(&dir.path().join(name)).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    error.to_string()
}

const HEAD: &str = "onset\toffset\tword\n";

#[test]
fn one_table_gives_its_stories_in_order_of_first_appearance() {
    let text = "story\tonset\toffset\tword\nz\t0\t1\tThe\na\t0\t2\tcat\nz\t1\t1.5\tEnd\n";
    let dir = folder(&[("all.tsv", text)]);
    let read = stories(&dir, "all.tsv");
    assert_eq!(read.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(read[0].words, ["The", "End"]);
    assert_eq!(read[0].onset_s.as_deref(), Some(&[0., 1.][..]));
    assert_eq!((read[0].mid_s.as_slice(), &read[0].tr_times_s), (&[0.5, 1.25][..], &None));
    assert_eq!((&read[0].source.lines[..], read[0].words_s()), (&[2, 4][..], (0.0, 1.5)));
}

#[test]
fn a_table_without_a_story_column_is_named_by_its_stem() {
    let dir = folder(&[("my.story.csv", "onset,duration,text\n1,1,hi\n")]);
    let read = stories(&dir, "my.story.csv");
    assert_eq!((read[0].name.as_str(), read[0].mid_s[0]), ("my.story", 1.5));
}

#[test]
fn a_folder_gives_a_story_a_file_sorted_by_name() {
    let row = "0\t1\thi\n";
    let dir = folder(&[
        ("b.tsv", &format!("{HEAD}{row}")),
        ("a.csv", "story,onset,offset,word\nother,0,1,yes\n"),
        ("README.txt", "not a table"),
        (".hidden.tsv", "no"),
        ("c.json", "{}"),
    ]);
    let mut gz = flate2::write::GzEncoder::new(
        std::fs::File::create(dir.path().join("ab.tsv.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    std::io::Write::write_all(&mut gz, format!("{HEAD}{row}").as_bytes()).unwrap();
    gz.finish().unwrap();
    let read = stories(&dir, "");
    assert_eq!(read.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "ab", "b"]);
    let texts = folder(&[("x.txt", &format!("{HEAD}{row}"))]);
    assert_eq!(stories(&texts, "")[0].name, "x");
}

const GRID: &str = "File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n\n0\n2\n<exists>\n1\n\
    \"IntervalTier\"\n\"NAME\"\n0\n2\n3\n0\n0.5\n\"\"\n0.5\n0.75\n\"SO\"\n0.75\n1.5\n\"it\"\n";
const PLAIN: &str = "onset\toffset\tword\n0.5\t0.75\tso\n0.75\t1.5\tit\n";
const GENTLE_CSV: &str = "so,so,0.5,0.75\nuh,,,\nit,<unk>,0.75,1.5\n";
const WHISPERX: &str = r#"{"segments": [{"words": [{"word": " so", "start": 0.5, "end": 0.75},
    {"word": "it ", "start": 0.75, "end": 1.5}]}], "word_segments": [{"word": "so"}]}"#;

#[test]
fn every_kind_of_file_gives_the_words_of_the_plain_table() {
    let plain = folder(&[("s.tsv", PLAIN)]);
    let expected = stories(&plain, "s.tsv").remove(0);
    let grid = GRID.replace("NAME", "ORT-MAU");
    let dir = folder(&[
        ("s.TextGrid", &grid),
        ("grid/s.txt", &grid),
        ("gentle/s/align.csv", GENTLE_CSV),
        ("gentle/s/align.json", "{}"),
        ("json/s.json", WHISPERX),
        (
            "other/s/align.json",
            &WHISPERX
                .replace("\"segments\": [{\"words\":", "\"words\":")
                .replace("]}], \"word", "], \"word"),
        ),
        ("s.json", WHISPERX),
        ("s.csv", "\u{feff}Begin;End;Label\r\n0,5;0,75;so\r\n0,75;1,5;it\r\n"),
    ]);
    for name in ["s.TextGrid", "grid", "gentle", "json", "other", "s.json", "s.csv"] {
        let read = read(&dir.path().join(name), &WordRules::default()).unwrap();
        assert_eq!(read.stories.len(), 1, "{name}");
        let Story { name: story, words, onset_s, mid_s, source, .. } = &read.stories[0];
        assert_eq!(
            (story.as_str(), words, onset_s, mid_s),
            ("s", &expected.words, &expected.onset_s, &expected.mid_s),
            "{name}"
        );
        assert!(
            read.warnings.is_empty() && read.notes.len() == source.n_untimed,
            "{:?}",
            read.notes
        );
        assert_eq!(source.tier.is_some(), name.to_lowercase().contains("grid"));
    }
    let wide: Vec<u8> =
        format!("\u{feff}{PLAIN}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(dir.path().join("wide.txt"), wide).unwrap();
    assert_eq!(stories(&dir, "wide.txt")[0].mid_s, expected.mid_s);
}

#[test]
fn grids_are_the_stories_where_tables_stand_beside_them() {
    let grid = GRID.replace("NAME", "words");
    let dir = folder(&[("a.TextGrid", &grid), ("b.TextGrid", &grid), ("words.tsv", PLAIN)]);
    let read = read(dir.path(), &WordRules::default()).unwrap();
    assert_eq!(read.stories.len(), 2);
    assert!(
        read.notes[0]
            .contains("the 2 TextGrids are the stories, tables are passed over (words.tsv)")
    );
}

#[test]
fn a_tier_that_is_taken_by_its_place_is_said_once() {
    let grid = GRID.replace("NAME", "Transkript").replace("SO", "STORY").replace("\"it", "\"was");
    let dir = folder(&[("a.TextGrid", &grid), ("b.TextGrid", &grid)]);
    let found = read(dir.path(), &WordRules::default()).unwrap();
    assert_eq!(found.notes.len(), 1);
    assert!(
        found.notes[0]
            .starts_with("2 TextGrids: words are taken from tier \"Transkript\", the only")
    );
    let rules = WordRules { tier: Some("transkript".into()), ..WordRules::default() };
    assert_eq!(read(dir.path(), &rules).unwrap().notes, Vec::<String>::new());
    let rules = WordRules { tier: Some("words".into()), ..WordRules::default() };
    let error = read(dir.path(), &rules).unwrap_err().to_string();
    assert!(error.contains("a.TextGrid: there is no tier \"words\"; the interval tiers are \"Transkript\" (\"STORY\", \"was\")"), "{error}");
}

#[test]
fn other_files_are_named_with_what_to_do() {
    let srt = "1\n00:00:00,500 --> 00:00:02,000\nso it\n";
    let dir = folder(&[
        ("a/s.srt", srt),
        ("a/t.srt", srt),
        ("s.tsv", "/annex/objects/MD5E-s9--1.tsv\n"),
        ("t.tsv", "version https://git-lfs.github.com/spec/v1\n"),
        ("s.xlsx", "PK\x03\x04"),
        ("s.eaf", "?"),
    ]);
    for (name, parts) in [
        ("a", ["no STORY/align.csv", "2 × SubRip subtitles"]),
        ("a/s.srt", ["SubRip", "align the sound"]),
        ("s.tsv", ["git-annex pointer", "datalad get"]),
        ("t.tsv", ["git-lfs pointer", "git lfs pull"]),
        ("s.xlsx", ["an Excel workbook", "save it as CSV"]),
        ("s.eaf", ["ELAN", "TextGrid"]),
    ] {
        let text = message(&dir, name);
        let is_there = |part: &&str| text.contains(part.trim_start_matches("no STORY"));
        assert!(parts.iter().all(is_there), "{name}: {text}");
    }
    std::os::unix::fs::symlink(".git/annex/objects/x", dir.path().join("link.tsv")).unwrap();
    assert!(message(&dir, "link.tsv").contains("git-annex pointer"));
}

#[test]
fn marks_and_empty_words_are_dropped_and_counted_and_case_is_kept() {
    let text = format!(
        "{HEAD}0\t1\t{{NS}}\n1\t2\tHello\n2\t3\tsp\n3\t4\t\n4\t5\tn/a\n5\t6\t[noise]\n6\t7\t\"\n7\t8\tSP\n"
    );
    let dir = folder(&[("s.tsv", &text)]);
    let read_by =
        |rules: WordRules| read(&dir.path().join("s.tsv"), &rules).unwrap().stories.remove(0);
    let story = read_by(WordRules::default());
    assert_eq!(story.words, ["Hello", "\""]);
    let marks: Vec<_> = story.source.marks.iter().map(|(mark, n)| (mark.as_str(), *n)).collect();
    assert_eq!(marks, [("[noise]", 1), ("sp", 2), ("{ns}", 1)]);
    assert_eq!((story.source.n_entries, story.source.n_marks()), (6, 4));
    assert_eq!((&story.source.entries[..], &story.source.lines[..]), (&[1, 4][..], &[3, 8][..]));
    let all = read_by(WordRules { keep_marks: true, ..WordRules::default() });
    assert_eq!(all.words, ["{NS}", "Hello", "sp", "[noise]", "\"", "SP"]);
    let more = WordRules { not_words: vec!["hello".into()], ..WordRules::default() };
    assert_eq!(read_by(more).words, ["\""]);
}

#[test]
fn words_out_of_order_are_sorted_stably_with_a_warning() {
    let dir = folder(&[("s.tsv", &format!("{HEAD}3\t4\tc\n1\t9\ta\n1\t2\tb\n4\t5\td\n"))]);
    let (read, warnings) = read_stories(&dir.path().join("s.tsv")).unwrap();
    assert_eq!(read[0].words, ["a", "b", "c", "d"]);
    assert_eq!(read[0].onset_s.as_deref(), Some(&[1., 1., 3., 4.][..]));
    assert_eq!(
        (&read[0].mid_s[..], &read[0].source.entries[..]),
        (&[5., 1.5, 3.5, 4.5][..], &[1, 2, 0, 3][..])
    );
    assert_eq!(warnings, [Warning::UnsortedWords { story: "s".into(), n_out_of_order: 1 }]);
}

/// Three sections of four words, each from 0 s.
fn sections() -> String {
    let mut text = "run\tonset\tword\n".to_owned();
    for run in 1..=3 {
        for word in 0..4 {
            text += &format!("{run}\t{}\tw{word}\n", 0.5 * f64::from(word));
        }
    }
    text
}

#[test]
fn sections_on_top_of_each_other_are_refused_and_told_apart_by_their_column() {
    let dir = folder(&[("s.tsv", &sections()), ("t.tsv", &sections().replace("run", "Take"))]);
    let text = message(&dir, "s.tsv");
    assert!(
        text.contains("story \"s\": times restart 2 times (line 6: 0 s after 1.5 s)"),
        "{text}"
    );
    assert!(text.contains("set [stories] story_column (--story-column) to \"run\""), "{text}");
    assert!(message(&dir, "t.tsv").contains("name the column"));
    for (name, column) in [("s.tsv", "RUN"), ("t.tsv", "take")] {
        let rules = WordRules { story_column: Some(column.into()), ..WordRules::default() };
        let read = read(&dir.path().join(name), &rules).unwrap().stories;
        assert_eq!(read.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    }
}

#[test]
fn what_is_guessed_is_said_once() {
    let dir =
        folder(&[("a.tsv", "onset\tword\n0\ta\n1\tb\n\tc\n"), ("b.tsv", "onset\tword\n0\ta\n")]);
    std::fs::write(dir.path().join("c.tsv"), b"onset\tduration\tword\n0\t1\tcaf\xe9\n").unwrap();
    let found = read(dir.path(), &WordRules::default()).unwrap();
    assert_eq!(found.stories[2].words, ["café"]);
    assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
    for (note, part) in found.notes.iter().zip([
        "not UTF-8, read as Windows-1252: c.tsv",
        "each word counts at its onset (a.tsv, b.tsv)",
        "1 words have no times in their files (a: 1)",
    ]) {
        assert!(note.contains(part), "{note}");
    }
    let rules = WordRules { untimed: Untimed::Error, ..WordRules::default() };
    let error = read(dir.path(), &rules).unwrap_err().to_string();
    assert!(
        error.contains("a.tsv: story \"a\": 1 of 3 words have no onset (the first: \"c\""),
        "{error}"
    );
    let dir = folder(&[("s.tsv", "onset\toffset\ttext\n0\t2\tso it was\n2\t3\tyes\n")]);
    let warnings = read(&dir.path().join("s.tsv"), &WordRules::default()).unwrap().warnings;
    assert!(warnings[0].to_string().starts_with("words: story \"s\": 1 of 2 entries hold blanks"));
}

#[test]
fn every_fault_of_tables_and_folders_has_its_message() {
    let row = "0\t1\thi\n";
    let good = format!("{HEAD}{row}");
    let dir = folder(&[("a.tsv", &good), ("a.csv", &good)]);
    let text = message(&dir, "");
    assert!(text.contains("\"a\" is there twice (a.csv and a.tsv)"), "{text}");
    let dir = folder(&[
        ("a.tsv", HEAD),
        ("none.tsv", "story\tonset\toffset\tword\n"),
        ("marks.tsv", &format!("{HEAD}0\t1\tsp\n")),
    ]);
    assert!(message(&dir, "a.tsv").contains("\"a\" has no words (0 entries"));
    assert!(message(&dir, "marks.tsv").contains("\"marks\" has no words (1 entries"));
    assert!(message(&dir, "none.tsv").contains("no stories"));
    assert!(message(&dir, "").contains("a.tsv: story \"a\" has no words"));
    let dir = folder(&[("a.md", "")]);
    assert!(message(&dir, "").contains("no .tsv, .csv or .txt"));
    let dir = folder(&[("a.tsv", "story\tonset\toffset\tword\nx\t0\t1\ta\ny\t0\t1\tb\n")]);
    assert!(message(&dir, "").contains("a.tsv has a column story with 2 stories"));
    let rules = WordRules { story_column: Some("story".into()), ..WordRules::default() };
    assert_eq!(read(dir.path(), &rules).unwrap().stories.len(), 2);
    std::fs::copy(dir.path().join("a.tsv"), dir.path().join("b.tsv")).unwrap();
    let error = read(dir.path(), &rules).unwrap_err().to_string();
    assert!(error.contains("story \"x\" is there twice (a.tsv and b.tsv)"), "{error}");
    let missing = message(&dir, "none.tsv");
    assert!(missing.contains("cannot read") && missing.contains("none.tsv"));
    let dir = folder(&[("a.tsv", &format!("{HEAD}1\t0\thi\n"))]);
    assert!(message(&dir, "a.tsv").contains("before its onset"));
}

#[test]
fn names_that_cannot_name_files_are_refused() {
    for (name, part) in [
        ("", "is empty"),
        ("..", "means a folder"),
        ("../../etc/passwd", "holds a slash"),
        ("a\\b", "holds a slash"),
        ("a\u{7}", "control"),
        (&"x".repeat(201), "over 200"),
    ] {
        let dir = folder(&[("t.tsv", &format!("story\tonset\toffset\tword\n{name}\t0\t1\ta\n"))]);
        let text = message(&dir, "t.tsv");
        assert!(text.contains(part) && text.contains("entry 2"), "{text}");
    }
}

#[test]
fn a_pickle_with_a_story_twice_is_refused() {
    // Protocol 0: two keys "s", each a DataSequence with one word.
    let one = "S's'\nccopy_reg\n_reconstructor\n(cany\nDataSequence\nc__builtin__\nobject\nNtR(dS'data'\n(lS'a'\nasS'data_times'\n(lF1.0\nasbs";
    let dir = folder(&[("one.pkl", &format!("(d{one}.")), ("two.pkl", &format!("(d{one}{one}."))]);
    assert_eq!(stories(&dir, "one.pkl")[0].words, ["a"]);
    let text = message(&dir, "two.pkl");
    assert!(text.contains("\"s\" is there twice (an earlier key and key 2 of the dict)"), "{text}");
}

fn lab(name: &str) -> Option<std::path::PathBuf> {
    crate::io::shared_data::path(&format!("ds003020_pcs/{name}"))
}

fn quietly(path: &Path) -> Vec<Story> {
    let StoriesRead { stories, warnings, notes } = read(path, &WordRules::default()).unwrap();
    assert_eq!((warnings, notes), (vec![], vec![]), "{}", path.display());
    stories
}

#[test]
fn the_labs_table_and_pickles_hold_the_same_stories() {
    let (Some(table), Some(one), Some(two)) = (
        lab("words.tsv.gz"),
        lab("raw_text_4stories_numpy1_p5.pkl"),
        lab("raw_text_4stories_numpy2_p4.pkl"),
    ) else {
        return;
    };
    let all = quietly(&table);
    let n_words: usize = all.iter().map(|story| story.words.len()).sum();
    assert_eq!(all.len(), 101);
    assert!(n_words > 185_000 && n_words <= 185_826, "{n_words}");
    let n_of =
        |mark: &str| -> usize { all.iter().filter_map(|story| story.source.marks.get(mark)).sum() };
    assert_eq!(["{cg}", "{sl}", "{ig}"].map(n_of), [33, 2, 2]);
    let (one, two) = (quietly(&one), quietly(&two));
    assert_eq!(one.len(), 4);
    for (story, other) in one.iter().zip(&two) {
        assert_eq!((&story.words, &story.mid_s), (&other.words, &other.mid_s));
        let same = all.iter().find(|other| other.name == story.name).unwrap();
        assert_eq!(same.words, story.words);
        for (a, b) in same.mid_s.iter().zip(&story.mid_s) {
            assert!((a - b).abs() < 2e-3, "the table's times have 3 decimals: {a} {b}");
        }
        assert_eq!(story.tr_times_s.as_ref().unwrap()[..3], [-9., -7., -5.]);
    }
}

#[test]
fn public_word_tables_are_read_as_they_are() {
    let shared = crate::io::shared_data::path;
    if let Some(path) = shared("ds002322/annotations.tsv") {
        let StoriesRead { stories, warnings, notes } = read(&path, &WordRules::default()).unwrap();
        assert_eq!((warnings, notes.len()), (vec![], 2), "{notes:?}");
        assert!(notes[0].contains("line 104: word \"suddenly\" ends at"), "{notes:?}");
        assert!(notes[1].starts_with("31 words have no times"), "{notes:?}");
        assert_eq!((stories.len(), stories[0].words.len()), (1, 2101));
        assert_eq!(stories[0].words[..2], ["Alice", "was"]);
    }
    if let Some(path) = shared("ds005574/transcript_en_core_web_lg.tsv") {
        let StoriesRead { stories, warnings, notes } = read(&path, &WordRules::default()).unwrap();
        let unsorted = matches!(warnings[..], [Warning::UnsortedWords { n_out_of_order: 19, .. }]);
        assert!(unsorted && notes.is_empty(), "{warnings:?} {notes:?}");
        assert_eq!(stories[0].words[..2], ["Act", "one,"], "the column word, before token");
    }
}
