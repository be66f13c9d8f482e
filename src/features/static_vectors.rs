//! Word vectors that do not depend on context: word2vec and GloVe.

use std::collections::{HashMap, HashSet};

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::stimuli::spelling::{Form, forms};

/// Whose vectors they are; it decides how a word's case is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorFormat {
    /// GoogleNews and its kin know case: exact, then lower case, then capitalised.
    Word2vec,
    /// GloVe's vocabularies are lower case, except 840B: exact, then lower case.
    Glove,
}

/// The spellings under which `word` may be found, in order of preference, each once: its forms, and
/// of each form the cases that the format has.
pub fn candidates(
    word: &str,
    format: VectorFormat,
) -> impl Iterator<Item = (Form, String)> + use<> {
    let mut spellings: Vec<(Form, String)> = Vec::new();
    for (form, text) in forms(word) {
        let lower = text.to_lowercase();
        let capitalised = (format == VectorFormat::Word2vec).then(|| capitalise(&lower));
        for spelling in [text.into_owned(), lower].into_iter().chain(capitalised) {
            if spellings.iter().all(|(_, known)| *known != spelling) {
                spellings.push((form, spelling));
            }
        }
    }
    spellings.into_iter()
}

/// The form under which a word is there, and its vector.
pub fn look_up<'v>(
    word: &str,
    vectors: &'v HashMap<String, Vec<f32>>,
    format: VectorFormat,
) -> Option<(Form, &'v [f32])> {
    candidates(word, format)
        .find_map(|(form, spelling)| Some((form, vectors.get(&spelling)?.as_slice())))
}

/// Every spelling that a reader of a vector file has to keep; all others can be passed over.
pub fn wanted_words<'a>(
    stories: impl IntoIterator<Item = &'a [String]>,
    format: VectorFormat,
) -> HashSet<String> {
    let different: HashSet<&String> = stories.into_iter().flatten().collect();
    different
        .into_iter()
        .flat_map(|word| candidates(word, format))
        .map(|(_, spelling)| spelling)
        .collect()
}

/// One vector a word, `(n_words, dim)` f32, and the words that have none.
///
/// `vectors`: what was read of the file, by the file's spelling. A word takes the first of its
/// [`candidates`] that is there; without one its row is zero and it stands in the second result,
/// one entry per occurrence, in order (for `CoverageCounts`).
/// # Errors
/// `Error::Shape` if a vector that is needed has not `dim` numbers.
pub fn embed(
    words: &[String],
    vectors: &HashMap<String, Vec<f32>>,
    dim: usize,
    format: VectorFormat,
) -> Result<(Array2<f32>, Vec<String>)> {
    let mut rows = Array2::zeros((words.len(), dim));
    let mut oov = Vec::new();
    let mut found: HashMap<&str, Option<&[f32]>> = HashMap::new();
    for (i, word) in words.iter().enumerate() {
        let vector = *found
            .entry(word)
            .or_insert_with(|| look_up(word, vectors, format).map(|(_, vector)| vector));
        let Some(vector) = vector else {
            oov.push(word.clone());
            continue;
        };
        if vector.len() != dim {
            return Err(Error::Shape {
                what: format!("the vector of {word:?}"),
                expected: format!("{dim} numbers"),
                got: vector.len().to_string(),
                hint: "check the vectors' file".to_owned(),
            });
        }
        rows.row_mut(i).assign(&ndarray::aview1(vector));
    }
    Ok((rows, oov))
}

/// The first letter in upper case; `lower` is in lower case already.
fn capitalise(lower: &str) -> String {
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn spellings(word: &str, format: VectorFormat) -> Vec<String> {
        candidates(word, format).map(|(_, spelling)| spelling).collect()
    }

    #[test]
    fn word2vec_is_asked_for_three_spellings_and_glove_for_two() {
        use VectorFormat::{Glove, Word2vec};
        assert_eq!(spellings("nASA", Word2vec), ["nASA", "nasa", "Nasa"]);
        assert_eq!(spellings("paris", Word2vec), ["paris", "Paris"]);
        assert_eq!(spellings("Paris", Word2vec), ["Paris", "paris"]);
        assert_eq!(spellings("Paris", Glove), ["Paris", "paris"]);
        assert_eq!(spellings("paris", Glove), ["paris"]);
        assert_eq!(spellings("Éa", Word2vec), ["Éa", "éa"]);
        assert_eq!(spellings("", Word2vec), [""]);
        assert_eq!(spellings("'n", Word2vec), ["'n", "n", "N"]);
        assert_eq!(
            spellings("Don’t.", Glove),
            ["Don’t.", "don’t.", "Don't.", "don't.", "Don't", "don't"]
        );
    }

    #[test]
    fn wanted_words_are_the_spellings_of_all_stories() {
        let (first, second) = (owned(&["i", "i"]), owned(&["Paris"]));
        let stories = [first.as_slice(), second.as_slice()];
        let wanted = |format| {
            let mut wanted: Vec<String> = wanted_words(stories, format).into_iter().collect();
            wanted.sort();
            wanted
        };
        assert_eq!(wanted(VectorFormat::Word2vec), ["I", "Paris", "i", "paris"]);
        assert_eq!(wanted(VectorFormat::Glove), ["Paris", "i", "paris"]);
    }

    #[test]
    fn the_first_spelling_that_is_there_wins() {
        let vectors: HashMap<String, Vec<f32>> =
            [("us", [1.0, 2.0]), ("US", [3.0, 4.0]), ("Paris", [5.0, 6.0])]
                .map(|(word, vector)| (word.to_owned(), vector.to_vec()))
                .into();
        let words = owned(&["US", "us", "Us", "paris", "um", "um"]);
        let (rows, oov) = embed(&words, &vectors, 2, VectorFormat::Word2vec).unwrap();
        assert_eq!(
            rows,
            ndarray::array![[3., 4.], [1., 2.], [1., 2.], [5., 6.], [0., 0.], [0., 0.]]
        );
        assert_eq!(oov, ["um", "um"]);

        let (rows, oov) = embed(&words, &vectors, 2, VectorFormat::Glove).unwrap();
        assert_eq!(rows.row(3).to_vec(), [0., 0.], "GloVe does not capitalise");
        assert_eq!(oov, ["paris", "um", "um"]);
    }

    #[test]
    fn words_with_punctuation_and_typographic_quotes_are_found_in_another_form() {
        let vectors: HashMap<String, Vec<f32>> =
            ["dog", "don't", "café", "?", "U.S."].map(|word| (word.to_owned(), vec![1.0])).into();
        let form = |word| look_up(word, &vectors, VectorFormat::Glove).map(|(form, _)| form);
        assert_eq!(form("Dog"), Some(Form::Written));
        assert_eq!(form("?"), Some(Form::Written));
        assert_eq!(form("U.S."), Some(Form::Written));
        assert_eq!(form("don’t"), Some(Form::Plain));
        assert_eq!(form("cafe\u{301}"), Some(Form::Plain));
        assert_eq!(form("“Dog,”"), Some(Form::Bare));
        assert_eq!(form("..."), None);
        let (rows, oov) =
            embed(&owned(&["\"Don’t", "hm."]), &vectors, 1, VectorFormat::Glove).unwrap();
        assert_eq!((rows[[0, 0]], oov), (1.0, owned(&["hm."])));
    }

    #[test]
    fn a_vector_of_another_length_is_a_data_error() {
        let vectors = HashMap::from([("hi".to_owned(), vec![1.0; 3])]);
        let error = embed(&owned(&["hi"]), &vectors, 2, VectorFormat::Glove).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert_eq!(
            error.to_string(),
            "the vector of \"hi\": expected 2 numbers, got 3; check the vectors' file"
        );
    }

    #[test]
    fn no_words_give_no_rows() {
        let (rows, oov) = embed(&[], &HashMap::new(), 7, VectorFormat::Glove).unwrap();
        assert_eq!((rows.dim(), oov.len()), ((0, 7), 0));
    }
}
