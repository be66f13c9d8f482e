//! The demo's stories and word vectors, inside the binary.
//!
//! Everything in `assets/demo/` was written or made for this project: the stories by hand, the
//! vectors from the stories by `scripts/make-demo-vectors.py`.

/// Numbers in each word vector.
pub const VECTOR_DIM: usize = 32;

/// Word vectors as gzipped GloVe text: `word v1 … v32` a line, no header.
///
/// About 2 % of the stories' tokens have no vector, on purpose.
pub const GLOVE_TXT_GZ: &[u8] = include_bytes!("../../assets/demo/vectors.32d.glove.txt.gz");

/// The same vectors as word2vec binary: `n d\n`, then word, space, 32 little-endian f32.
pub const WORD2VEC_BIN: &[u8] = include_bytes!("../../assets/demo/vectors.32d.word2vec.bin");

/// Pairs of a story's name and its text, by name.
macro_rules! stories {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../assets/demo/stories/", $name, ".txt")))),+]
    };
}

const STORIES: &[(&str, &str)] = stories![
    "bakery",
    "bees",
    "chess",
    "dog",
    "hospital",
    "kayak",
    "lighthouse",
    "market",
    "motorcycle",
    "orchard",
    "play",
    "swimming",
    "telescope",
    "train",
];

/// Name and text of every demo story, sorted by name; paragraphs end with an empty line.
pub fn stories() -> &'static [(&'static str, &'static str)] {
    STORIES
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::simulate::speech::{SpeechSettings, speak};
    use std::collections::HashMap;
    use std::io::Read;

    pub fn parse_glove() -> HashMap<String, Vec<f32>> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(GLOVE_TXT_GZ).read_to_string(&mut text).unwrap();
        text.lines()
            .map(|line| {
                let mut parts = line.split(' ');
                let word = parts.next().unwrap().to_owned();
                (word, parts.map(|x| x.parse().unwrap()).collect())
            })
            .collect()
    }

    fn parse_word2vec() -> HashMap<String, Vec<f32>> {
        let header = WORD2VEC_BIN.iter().position(|&b| b == b'\n').unwrap();
        assert!(WORD2VEC_BIN[..header].ends_with(b" 32"));
        let mut rest = &WORD2VEC_BIN[header + 1..];
        let mut vectors = HashMap::new();
        while !rest.is_empty() {
            let space = rest.iter().position(|&b| b == b' ').unwrap();
            let (word, numbers) = (&rest[..space], &rest[space + 1..space + 1 + 4 * VECTOR_DIM]);
            let vector = numbers.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            vectors.insert(String::from_utf8(word.to_vec()).unwrap(), vector.collect());
            rest = &rest[space + 1 + 4 * VECTOR_DIM..];
        }
        let n = std::str::from_utf8(&WORD2VEC_BIN[..header - 3]).unwrap();
        assert_eq!(n.parse(), Ok(vectors.len()));
        vectors
    }

    #[test]
    fn there_are_many_stories_long_enough_for_a_recording_each() {
        assert!(stories().len() >= 12);
        assert!(stories().is_sorted());
        for (name, text) in stories() {
            let n_words = text.split_whitespace().count();
            assert!((400..=520).contains(&n_words), "{name}: {n_words} words");
            assert!(text.is_ascii() && text.ends_with('\n'), "{name}");
            assert!(!text.contains(|c: char| c.is_ascii_digit()), "{name}: numbers are spoken");
        }
    }

    #[test]
    fn both_vector_files_hold_the_same_vectors_at_a_natural_scale() {
        let (glove, word2vec) = (parse_glove(), parse_word2vec());
        assert_eq!(glove, word2vec);
        assert!(glove.values().all(|v| v.len() == VECTOR_DIM));
        let all: Vec<f64> = glove.values().flatten().map(|&x| f64::from(x)).collect();
        let variance = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        // Scaled to 1 before the rare words were left out.
        assert!((variance - 1.0).abs() < 0.1, "{variance}");
    }

    #[test]
    fn nearly_every_spoken_word_has_a_vector_and_some_have_none() {
        let vectors = parse_glove();
        let settings = SpeechSettings::default().check().unwrap();
        for (name, text) in stories() {
            let spoken = speak(text, &settings, 1);
            let n_known = spoken.iter().filter(|w| vectors.contains_key(&w.word)).count();
            let coverage = n_known as f64 / spoken.len() as f64;
            assert!((0.95..1.0).contains(&coverage), "{name}: {coverage}");
        }
    }

    #[test]
    fn words_of_one_topic_are_nearer_than_words_of_two() {
        let vectors = parse_glove();
        let cosine = |a: &str, b: &str| {
            let (a, b) = (&vectors[a], &vectors[b]);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let topics = [
            ["bread", "oven", "dough", "flour"],
            ["chess", "queen", "knight", "pawn"],
            ["engine", "bolt", "garage", "boxes"],
            ["blossom", "frost", "candles", "orchard"],
            ["bees", "hive", "honey", "comb"],
        ];
        let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32;
        let (mut same, mut different) = (Vec::new(), Vec::new());
        for (i, topic) in topics.iter().enumerate() {
            for (a, word) in topic.iter().enumerate() {
                same.extend(topic[a + 1..].iter().map(|other| cosine(word, other)));
                different.extend(topics[i + 1..].iter().flatten().map(|other| cosine(word, other)));
            }
        }
        assert!(mean(&same) > mean(&different) + 0.3, "{} {}", mean(&same), mean(&different));
    }
}
