use std::path::PathBuf;

use super::*;

/// A tokenizer on bytes: every byte a piece, and a few merges.
fn bytes_tokenizer() -> TextPieces {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal/bytes");
    TextPieces::read(&folder).unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split('|').map(str::to_owned).collect()
}

#[test]
fn every_piece_goes_to_the_word_it_ends_in() {
    let tokenizer = bytes_tokenizer();
    for story in ["the|bees|came|home", "a||b", "", "é|東京|don't", "two words|in one"] {
        let words = words(story);
        let pieces = tokenizer.story(&words).unwrap();
        assert_eq!(pieces.ids.len(), pieces.word.len());
        assert!(pieces.word.is_sorted(), "{story}");
        assert!(pieces.word.iter().all(|&word| (word as usize) < words.len()));
        for (i, word) in words.iter().enumerate().filter(|(_, word)| !word.is_empty()) {
            assert!(pieces.word.contains(&(i as u32)), "{story}: {word}");
        }
    }
    assert_eq!(tokenizer.story(&[]).unwrap(), Pieces::default());
}

#[test]
fn what_comes_later_changes_no_piece_before_a_space() {
    let tokenizer = bytes_tokenizer();
    let all = tokenizer.story(&words("the|bees|came|home")).unwrap();
    let some = tokenizer.story(&words("the|bees")).unwrap();
    assert_eq!(all.ids[..some.ids.len()], some.ids[..]);
}
