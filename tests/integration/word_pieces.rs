//! Word pieces against transformers, and the vocabulary that is trained.

use std::path::{Path, PathBuf};

use serde_json::Value;
use voxelcast::nn::tokenizer::WordPieces;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/word_pieces").join(file)
}

fn expected() -> Value {
    let text = std::fs::read_to_string(golden("expected.json")).expect("golden files are there");
    serde_json::from_str(&text).expect("golden files are whole")
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list")
}

#[test]
fn pieces_are_those_of_transformers_for_every_kind_of_tokenizer() {
    let expected = expected();
    let words: Vec<String> = list(&expected["words"]);
    let kinds = [
        "vocab.txt",
        "cased/vocab.txt",
        "tokenizer_truncating.json",
        "byte_level.json",
        "modernbert.json",
        "albert.json",
        "deberta.json",
        "mpnet.json",
        "trained.json",
    ];
    for kind in kinds {
        let wanted = &expected[kind];
        let tokenizer = WordPieces::read(&golden(kind)).expect("a tokenizer");
        let pieces = tokenizer.pieces(&words).expect("cut");
        assert_eq!(pieces.ids, list::<u32>(&wanted["ids"]), "{kind}");
        assert_eq!(pieces.word, list::<u32>(&wanted["word"]), "{kind}");
        for (text, ids) in list::<String>(&expected["text"]).iter().zip(list(&wanted["texts"])) {
            let ids: Vec<u32> = ids;
            assert_eq!(tokenizer.text(text).expect("cut"), ids, "{kind}: {text}");
            assert_eq!(Some(&tokenizer.cls()), ids.first());
            assert_eq!(Some(&tokenizer.sep()), ids.last());
        }
        assert!(pieces.ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        let special = [tokenizer.pad(), tokenizer.unk(), tokenizer.mask(), tokenizer.cls()];
        assert!(special.iter().all(|&id| tokenizer.is_special(id)));
        let all = 0..tokenizer.vocab_size() as u32;
        assert_eq!(all.filter(|&id| tokenizer.is_special(id)).count(), 5, "{kind}");
    }
}

#[test]
fn special_tokens_go_by_the_names_that_the_tokenizer_uses() {
    for (kind, pad, unk, cls, sep, mask) in [
        ("vocab.txt", 0, 1, 2, 3, 4),
        ("byte_level.json", 1, 3, 0, 2, 4),
        ("modernbert.json", 266, 263, 264, 265, 267),
        ("albert.json", 0, 1, 2, 3, 4),
        ("deberta.json", 0, 3, 1, 2, 4),
        ("mpnet.json", 1, 5, 0, 2, 9),
    ] {
        let cut = WordPieces::read(&golden(kind)).expect("a tokenizer");
        let found = (cut.pad(), cut.unk(), cut.cls(), cut.sep(), cut.mask());
        assert_eq!(found, (pad, unk, cls, sep, mask), "{kind}");
    }
}

/// The words of two of the demo's stories.
fn words() -> Vec<&'static str> {
    let bees = include_str!("../../assets/demo/stories/bees.txt");
    let kayak = include_str!("../../assets/demo/stories/kayak.txt");
    bees.split_whitespace().chain(kayak.split_whitespace()).collect()
}

#[test]
fn the_same_words_in_any_order_train_the_committed_vocabulary_byte_by_byte() {
    // transformers opened this file and cut with it: make.py. After a change that is meant, copy
    // the new file from the path below, and run scripts/golden word_pieces.
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trained.json");
    let mut words = words();
    for _ in 0..3 {
        WordPieces::train(words.iter().copied(), 400).expect("trained").save(&new).expect("saved");
        let committed = std::fs::read(golden("trained.json")).expect("golden files are there");
        assert!(std::fs::read(&new).expect("written") == committed, "see {}", new.display());
        words.reverse();
        words.rotate_left(17);
    }
}

#[test]
fn a_trained_vocabulary_has_the_size_asked_for_and_cuts_what_it_has_seen() {
    let words = words();
    for size in [120, 300, 100_000] {
        let tokenizer = WordPieces::train(words.iter().copied(), size).expect("trained");
        let special = [tokenizer.pad(), tokenizer.unk(), tokenizer.cls(), tokenizer.sep()];
        assert_eq!((special, tokenizer.mask()), ([0, 1, 2, 3], 4));
        let n = tokenizer.vocab_size();
        assert!(n == size || size == 100_000 && n > 300, "{n} pieces for {size}");
        let owned: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let pieces = tokenizer.pieces(&owned).expect("cut");
        assert!(!pieces.ids.contains(&tokenizer.unk()), "every character is known");
        let seen: std::collections::HashSet<u32> = pieces.word.iter().copied().collect();
        assert_eq!(seen.len(), words.len(), "every word has a piece");
    }
    let few = WordPieces::train(words.iter().copied(), 20).expect_err("too small");
    assert_eq!(few.exit_code(), 2);
    assert!(few.to_string().contains("expected at least"), "{few}");
    let none = WordPieces::train(["", "\u{0}"].into_iter(), 100).expect_err("no words");
    assert_eq!(none.exit_code(), 3);
}

#[test]
fn files_that_are_no_tokenizers_are_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for (name, text, says) in [
        ("a.json", "{\"version\": \"1.0\"", "no tokenizer"),
        ("b.json", "[1, 2]", "no tokenizer"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nbee\n", "expected [MASK]"),
        ("latin.txt", "\u{fffd}", "expected [PAD]"),
        ("empty.txt", "", "0 lines"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let error = WordPieces::read(&path).expect_err("refused");
        assert_eq!(error.exit_code(), 3, "{name}");
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    std::fs::write(folder.path().join("bytes.txt"), [0xff, 0xfe, 0x0a]).expect("written");
    assert_eq!(WordPieces::read(&folder.path().join("bytes.txt")).unwrap_err().exit_code(), 3);
    let nothing = tempfile::tempdir().expect("there is a temporary folder");
    let error = WordPieces::read(nothing.path()).expect_err("an empty folder");
    assert!(error.to_string().contains("found neither") && error.exit_code() == 3, "{error}");
    let known = WordPieces::read(&golden("cased")).expect("vocab.txt of the folder");
    let file = WordPieces::read(&golden("cased/vocab.txt")).expect("itself");
    assert_eq!(known.vocab_size(), file.vocab_size());
}
