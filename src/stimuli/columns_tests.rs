//! Tables in the shapes of the public ones; every one holds the words of the plain table.

use super::*;
use crate::io::table::{MAX_BYTES, parse};

fn read(text: &str, rules: &WordRules) -> Result<TableWords, TableError> {
    words(&parse(text.as_bytes(), MAX_BYTES)?, rules)
}

fn rows(text: &str) -> Vec<(Option<f64>, f64, String)> {
    let words = read(text, &WordRules::default()).unwrap_or_else(|e| panic!("{text}: {e}")).words;
    words.into_iter().map(|w| (w.onset_s, w.offset_s, w.word)).collect()
}

fn fault(text: &str) -> String {
    read(text, &WordRules::default()).expect_err(text).to_string()
}

const PLAIN: &str = "onset\toffset\tword\n0.5\t0.75\tThe\n0.75\t1.5\tend\n";

#[test]
fn headers_of_every_writer_give_the_rows_of_the_plain_table() {
    for text in [
        "start,end,text\n0.5,0.75,The\n0.75,1.5,end\n",
        "Begin,End,Label,Type,Speaker\n0.5,0.75,The,words,a\n0.75,1.5,end,words,a\n0.5,0.6,DH,phones,a\n",
        "\"onset\"\t\"duration\"\t\"word\"\n0.5\t0.25\t\"The\"\n0.75\t0.75\t\"end\"\n",
        "onset\tduration\tword\n\"1\"\t0.5\t0.25\t\"The\"\n\"2\"\t0.75\t0.75\t\"end\"\n"
            .replace("onset\tduration\tword", "\"onset\"\t\"duration\"\t\"word\"")
            .as_str(),
        "\"\",\"onset\",\"offset\",\"word\"\n\"1\",0.5,0.75,\"The\"\n\"2\",0.75,1.5,\"end\"\n",
        "Words\tWord Onset\tWord Offset\tIsLex\nThe\t0.5\t0.75\t1\nend\t0.75\t1.5\t1\n",
        "onset (ms)\toffset [s]\tword\n500\t0.75\tThe\n750\t1.5\tend\n",
        "Onset_ms,Duration_ms,Word\n500,250,The\n750,750,end\n",
        "Start Time;End_Time;TOKEN\n0,5;0,75;The\n0,75;1,5;end\n",
        "tmin\ttier\ttext\ttmax\n0.5\tword\tThe\t0.75\n0.75\tword\tend\t1.5\n",
        "xmin,xmax,label,note\n0.5,.75,The,\n7.5e-1,1.5,end,x\n,,,\n",
        "onset\tduration\ttrial_type\tword\n0\t2\tsound\tn/a\n0.5\t0.25\tw\tThe\n0.75\t.75\tw\tend\nn/a\tn/a\tx\tn/a\n",
        "The,the,0.5,0.75\nend,<unk>,0.75,1.5\n",
        "token,label,word,begin,stop\nx,y,The,0.5,0.75\nx,y,end,0.75,1.5\n",
    ] {
        assert_eq!(rows(text), rows(PLAIN), "{text}");
    }
}

#[test]
fn words_without_times_are_kept_as_such() {
    let expected = [
        (None, 0.0, "So".to_owned()),
        (Some(0.5), 0.5, "it".to_owned()),
        (None, 0.0, "was".to_owned()),
    ];
    for text in [
        "onset,duration,word\n,,So\n0.5,n/a,it\nn/a,0.2,was\n",
        "onset\tword\n\tSo\n0.5\tit\nNA\twas\n",
        "So,,,\nit,it,0.5,0.5\nwas,,,\n",
    ] {
        assert_eq!(rows(text), expected, "{text}");
    }
    assert!(read("onset\tword\n1\ta\n", &WordRules::default()).unwrap().has_no_ends);
}

#[test]
fn units_come_from_the_header_or_else_from_the_study() {
    let rules = |unit| WordRules { time_unit: TimeUnit::of_setting(unit), ..WordRules::default() };
    let first = |text: &str, unit| {
        let words = read(text, &rules(unit)).unwrap().words;
        (words[0].onset_s.unwrap(), words[0].offset_s)
    };
    assert_eq!(first("onset,offset,word\n500,750,a\n", "ms"), (0.5, 0.75));
    assert_eq!(first("onset,duration (s),word\n500,0.25,a\n", "ms"), (0.5, 0.75));
    assert_eq!(first("onset,offset,word\n512,768,a\n", "0.001953125"), (1.0, 1.5));
    assert_eq!(first("onset (samples),offset (s),word\n512,1.5,a\n", "0.001953125"), (1.0, 1.5));
    assert!(fault("onset (TRs),offset,word\n1,2,a\n").contains("unit \"trs\" is not known"));
}

#[test]
fn the_story_column_is_story_or_what_the_study_names() {
    let text = "Section\tonset\tword\nz\t0\ta\ny\t1\tb\nz\t2\tc\n";
    let plain = read(text, &WordRules::default()).unwrap();
    assert_eq!((plain.story_names, plain.sections), (None, vec!["Section".to_owned()]));
    let rules = WordRules { story_column: Some("section".into()), ..WordRules::default() };
    let read_by = read(text, &rules).unwrap();
    assert_eq!(read_by.story_names.unwrap(), ["z", "y"]);
    assert_eq!(read_by.words.iter().map(|w| w.story).collect::<Vec<_>>(), [0, 1, 0]);
    let error = read("onset\tword\n0\ta\n", &rules).unwrap_err().to_string();
    assert!(
        error.contains("no column \"section\"") && error.contains("\"onset\", \"word\""),
        "{error}"
    );
}

#[test]
fn ends_up_to_a_millisecond_early_are_onsets() {
    assert_eq!(rows("onset,offset,word\n1.001,1.000,a\n")[0].1, 1.001);
    assert_eq!(rows("onset,duration,word\n1,-0.0005,a\n")[0].1, 1.0);
    assert!(fault("onset,offset,word\n1.002,1,a\n").contains("line 2: word \"a\" ends at 1 s"));
    assert!(fault("onset,duration,word\n2,-1,a\n").contains("before its onset at 2 s"));
    assert!(fault("onset,duration,word\n1e308,1e308,a\n").contains("before its onset"));
}

#[test]
fn every_fault_names_its_line_and_column() {
    for (text, part) in [
        ("offset,word\n", "no column onset (or start) in the header; it has \"offset\", \"word\""),
        ("onset,offset\n", "no column word (or text)"),
        ("onset,offset,word,Word\n", "\"word\" is there twice (columns 3 and 4)"),
        ("onset,offset,word\n0,x,a\n", "line 2: offset is \"x\""),
        ("onset,offset,word\nnan,1,a\n", "line 2: onset is \"nan\""),
        ("onset,duration,word\n0,inf,a\n", "line 2: duration is \"inf\""),
        ("onset\tword\n1,5\ta\n2.5\tb\n", "line 3: onset is \"2.5\", other times have"),
        ("onset\tword\n1,234.5\ta\n", "line 2: onset is \"1,234.5\""),
    ] {
        assert!(fault(text).contains(part), "{text}: {}", fault(text));
    }
}

#[test]
fn the_labs_words_are_all_read() {
    let Some(path) = crate::io::shared_data::path("ds003020_pcs/words.tsv.gz") else { return };
    let bytes = crate::io::table::read_bytes(&path, MAX_BYTES).unwrap();
    let table = words(&parse(&bytes, MAX_BYTES).unwrap(), &WordRules::default()).unwrap();
    assert!(table.words.len() > 185_000);
    assert_eq!(table.story_names.unwrap().len(), 101);
}
