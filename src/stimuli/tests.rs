//! Folders and files written here; the lab's where this machine has them.

use super::*;
use crate::io::pickle::PickledSequence;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn stories(dir: &tempfile::TempDir, name: &str) -> Vec<Story> {
    let (stories, warnings) = read_stories(&dir.path().join(name)).unwrap();
    assert_eq!(warnings, []);
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

#[test]
fn marks_and_empty_words_are_dropped_and_case_is_kept() {
    let dir = folder(&[(
        "s.tsv",
        &format!(
            "{HEAD}0\t1\t{{NS}}\n1\t2\tHello\n2\t3\tsp\n3\t4\t\n4\t5\tSentence_Start\n5\t6\t{{um}}\n6\t7\t\"\n"
        ),
    )]);
    assert_eq!(stories(&dir, "s.tsv")[0].words, ["Hello", "{um}", "\""]);
    for word in ["br", "LG", "{ls}", "sentence_end", " ", "{}", "ns "] {
        assert!(!is_word(word), "{word:?}");
    }
    assert!(is_word("brr") && is_word("s"));
}

#[test]
fn words_out_of_order_are_sorted_stably_with_a_warning() {
    let dir = folder(&[("s.tsv", &format!("{HEAD}3\t4\tc\n1\t9\ta\n1\t2\tb\n4\t5\td\n"))]);
    let (read, warnings) = read_stories(&dir.path().join("s.tsv")).unwrap();
    assert_eq!(read[0].words, ["a", "b", "c", "d"]);
    assert_eq!(read[0].onset_s.as_deref(), Some(&[1., 1., 3., 4.][..]));
    assert_eq!(read[0].mid_s, [5., 1.5, 3.5, 4.5]);
    assert_eq!(warnings, [Warning::UnsortedWords { story: "s".into(), n_out_of_order: 1 }]);
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
    let dir = folder(&[("a.json", "")]);
    assert!(message(&dir, "").contains("no .tsv, .csv or .txt"));
    let dir = folder(&[("a.tsv", "story\tonset\toffset\tword\nx\t0\t1\ta\ny\t0\t1\tb\n")]);
    assert!(message(&dir, "").contains("a.tsv has a column story with 2 stories"));
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

fn sequence(words: &[&str], data_times_s: &[f64], tr_times_s: &[f64]) -> PickledSequence {
    PickledSequence {
        name: "s".to_owned(),
        words: words.iter().map(|&word| word.to_owned()).collect(),
        data_times_s: data_times_s.to_vec(),
        tr_times_s: tr_times_s.to_vec(),
    }
}

#[test]
fn sequences_become_stories() {
    let mut warnings = Vec::new();
    let story = from_sequence(
        sequence(&["b", "", "a", "{LG}"], &[2., 0., 1., 3.], &[-9., -7.]),
        1,
        &mut warnings,
    )
    .unwrap();
    assert_eq!((story.words, story.mid_s), (vec!["a".to_owned(), "b".to_owned()], vec![1., 2.]));
    assert_eq!((story.onset_s, story.tr_times_s), (None, Some(vec![-9., -7.])));
    assert_eq!(warnings.len(), 1);
    let story = from_sequence(sequence(&["b"], &[2.], &[]), 1, &mut warnings).unwrap();
    assert_eq!(story.tr_times_s, None);
}

#[test]
fn every_fault_of_a_sequence_has_its_message() {
    for (bad, part) in [
        (sequence(&["a"], &[], &[]), "1 words but 0 data_times"),
        (sequence(&["a"], &[f64::NAN], &[]), "data_times[0] is NaN"),
        (sequence(&["a"], &[1.], &[1., f64::INFINITY]), "tr_times[1] is inf"),
        (sequence(&["a"], &[1.], &[1., 3., 3.]), "tr_times[2] is 3 s after 3 s"),
        (sequence(&["", "sp"], &[1., 2.], &[]), "no words (2 entries"),
        (PickledSequence { name: "a/b".into(), ..sequence(&["a"], &[1.], &[]) }, "holds a slash"),
    ] {
        let text = from_sequence(bad, 1, &mut Vec::new()).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
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

#[test]
fn the_labs_table_and_pickles_hold_the_same_stories() {
    let path = |name: &str| crate::io::shared_data::path(&format!("ds003020_pcs/{name}"));
    let (Some(table), Some(one), Some(two)) = (
        path("words.tsv.gz"),
        path("raw_text_4stories_numpy1_p5.pkl"),
        path("raw_text_4stories_numpy2_p4.pkl"),
    ) else {
        return;
    };
    let (all, warnings) = read_stories(&table).unwrap();
    let n_words: usize = all.iter().map(|story| story.words.len()).sum();
    assert_eq!((all.len(), warnings.len()), (101, 0));
    assert!(n_words > 185_000 && n_words <= 185_826, "{n_words}");
    let (one, _) = read_stories(&one).unwrap();
    assert_eq!(one, read_stories(&two).unwrap().0);
    assert_eq!(one.len(), 4);
    for story in &one {
        let same = all.iter().find(|other| other.name == story.name).unwrap();
        assert_eq!(same.words, story.words);
        for (a, b) in same.mid_s.iter().zip(&story.mid_s) {
            assert!((a - b).abs() < 2e-3, "the table's times have 3 decimals: {a} {b}");
        }
        assert_eq!(story.tr_times_s.as_ref().unwrap()[..3], [-9., -7., -5.]);
    }
}
