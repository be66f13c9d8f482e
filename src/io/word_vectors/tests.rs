//! Small files written here; the real ones where this machine has them.

use std::collections::HashSet;
use std::io::Write;

use super::*;

fn read_bytes(
    bytes: &[u8],
    format: Option<VectorFormat>,
    wanted: &[&str],
) -> Result<WordVectors, VectorsError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    match read(file.path(), format, &|word| wanted.contains(&word)) {
        Ok(vectors) => Ok(vectors),
        Err(Error::Vectors { path, source }) => {
            assert_eq!(path, file.path());
            Err(source)
        }
        Err(other) => panic!("{other}"),
    }
}

fn binary(header: &str, entries: &[(&[u8], &[f32])], end: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    for (word, values) in entries {
        bytes.extend_from_slice(word);
        bytes.push(b' ');
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend_from_slice(end);
    }
    bytes
}

const THREE: [(&[u8], &[f32]); 3] =
    [(b"the", &[1., -2.]), ("café".as_bytes(), &[0.5, 3.]), (b"New_York", &[10.0, 32.125])];

#[test]
fn binary_files_with_and_without_newlines_are_read() {
    for end in [&b""[..], b"\n"] {
        let bytes = binary("3 2\n", &THREE, end);
        let found = read_bytes(&bytes, None, &["the", "New_York", "none"]).unwrap();
        assert_eq!((found.format, found.dim), (VectorFormat::Word2VecBinary, 2));
        assert_eq!((found.n_in_file, found.n_damaged, found.vectors.len()), (3, 0, 2));
        assert_eq!(found.vectors["the"], [1., -2.]);
        assert_eq!(found.vectors["New_York"], [10., 32.125]);
    }
    // Values whose bytes are newlines and spaces.
    let odd = f32::from_le_bytes(*b"\n \n ");
    let bytes = binary("2 1\n", &[(b"a", &[odd]), (b"b", &[odd])], b"");
    assert_eq!(read_bytes(&bytes, None, &["b"]).unwrap().vectors["b"], [odd]);
}

#[test]
fn the_first_of_duplicates_wins_and_damage_is_counted() {
    let entries: [(&[u8], &[f32]); 4] =
        [(b"a", &[1.]), (b"\xff\xfe", &[2.]), (b"", &[3.]), (b"a", &[4.])];
    let found = read_bytes(&binary("4 1\n", &entries, b""), None, &["a", ""]).unwrap();
    assert_eq!((found.n_in_file, found.n_damaged, found.n_duplicates), (4, 1, 1));
    assert_eq!((&found.vectors["a"], &found.vectors[""]), (&vec![1.], &vec![3.]));
    let text = b"a 1 2\nb 3 4\na 5 6\n";
    let found = read_bytes(text, None, &["a"]).unwrap();
    assert_eq!((found.n_duplicates, &found.vectors["a"]), (1, &vec![1., 2.]));
}

#[test]
fn a_binary_header_that_lies_is_refused_with_both_counts() {
    let whole = binary("3 2\n", &THREE, b"");
    for cut in 4..whole.len() {
        let error =
            read_bytes(&whole[..cut], Some(VectorFormat::Word2VecBinary), &["the"]).unwrap_err();
        assert!(matches!(error, VectorsError::Truncated { declared: 3, found: 0..=2 }), "{error}");
    }
    let more = read_bytes(&binary("9 2\n", &THREE, b""), None, &[]).unwrap_err();
    assert!(more.to_string().contains("says 9 vectors, the file holds 3"), "{more}");
    let fewer = read_bytes(&binary("2 2\n", &THREE, b""), None, &[]).unwrap_err();
    assert!(matches!(fewer, VectorsError::Trailing { declared: 2, dim: 2 }));
    let huge = read_bytes(&binary("18446744073709551615 65536\n", &THREE, b""), None, &[]);
    assert!(matches!(huge, Err(VectorsError::Truncated { found: 0, .. })));
}

#[test]
fn bad_headers_are_refused() {
    use VectorFormat::{Glove, Word2VecBinary, Word2VecText};
    for (format, bytes, part) in [
        (None, &b""[..], "empty"),
        (Some(Glove), b"", "empty"),
        (Some(Word2VecText), b"", "empty"),
        (Some(Word2VecBinary), b"the 1 2\n", "expected the header"),
        (Some(Word2VecText), b"3\n", "expected the header"),
        (Some(Word2VecText), b"3 2", "expected the header"),
        (None, b"3 0\nthe\n", "dimension 0"),
        (None, b"3 65537\nthe\n", "dimension 65537"),
        (None, b"hello world\nhow are\n", "is this a file of word vectors"),
        (None, b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file, not a file of word vectors"),
    ] {
        let message = read_bytes(bytes, format, &[]).unwrap_err().to_string();
        assert!(message.contains(part), "{bytes:?}: {message}");
    }
    let wide = format!("w{}\n", " 1".repeat(MAX_DIM + 1));
    assert!(matches!(read_bytes(wide.as_bytes(), None, &[]), Err(VectorsError::Dim { .. })));
}

#[test]
fn words_and_lines_without_an_end_are_refused() {
    let mut bytes = b"2 1\n".to_vec();
    bytes.resize(200_000, b'x');
    let error = read_bytes(&bytes, None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::TooLong { index: 1, .. }), "{error}");
    let mut bytes = b"a 1\nb 2\n".to_vec();
    bytes.resize(200_000, b'x');
    let error = read_bytes(&bytes, None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::TooLong { index: 3, .. }), "{error}");
}

#[test]
fn glove_words_with_spaces_and_empty_words_keep_their_vectors() {
    let text = "the 0.1 -0.2 3e-1\n. . . 1 2 3\nat name@domain.com 4 5 6\n 7 8 9\n<user> .5 1 2\nword\t1\t2\t3 \r\n4 5 6 7\n";
    let wanted = ["the", ". . .", "at", "at name@domain.com", "", "<user>", "word", "4"];
    let found = read_bytes(text.as_bytes(), None, &wanted).unwrap();
    assert_eq!((found.format, found.dim), (VectorFormat::Glove, 3));
    assert_eq!((found.n_in_file, found.n_damaged), (7, 0));
    assert_eq!(found.vectors["the"], [0.1, -0.2, 0.3]);
    assert_eq!(found.vectors[". . ."], [1., 2., 3.]);
    assert_eq!(found.vectors["at name@domain.com"], [4., 5., 6.]);
    assert_eq!(found.vectors[""], [7., 8., 9.]);
    assert_eq!(found.vectors["word"], [1., 2., 3.]);
    assert_eq!(found.vectors["4"], [5., 6., 7.]);
    assert!(!found.vectors.contains_key("at"));
}

#[test]
fn damaged_lines_are_counted_and_a_cut_last_line_is_an_error() {
    let found =
        read_bytes(b"a 1 2\nb 1\n\nc 3 4\n\xff 1 2\nd 5 6", None, &["a", "b", "d"]).unwrap();
    assert_eq!((found.n_in_file, found.n_damaged, found.vectors.len()), (5, 2, 2));
    assert_eq!(found.first_short, Some((2, 1)));
    let error = read_bytes(b"a 1 2\nb 1 2\nc 3", None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::TruncatedLine { line: 3, got: 1, dim: 2 }), "{error}");
    let error = read_bytes(b"a 1 2\nc 1 2\nb x 2\n", None, &["b"]).unwrap_err();
    assert!(error.to_string().contains("line 3: \"x\" in the vector of \"b\""), "{error}");
    let error = read_bytes(b"a 1 2\nb nan 2\n", None, &["b"]).unwrap_err();
    assert!(matches!(error, VectorsError::NotFinite { index: 0, .. }), "{error}");
    let bytes = binary("1 1\n", &[(b"a", &[f32::INFINITY])], b"");
    let error = read_bytes(&bytes, Some(VectorFormat::Word2VecBinary), &["a"]).unwrap_err();
    assert!(error.to_string().contains("is inf"), "{error}");
    let mostly = [b"a 1 2\n".repeat(60), b"b 1\n".repeat(100)].concat();
    let error = read_bytes(&mostly, None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::MostlyDamaged { n_damaged: 100, .. }), "{error}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_word() {
    for text in ["\u{feff}the 1 2\nof 3 4\n", "\u{feff}2 2\nthe 1 2\nof 3 4\n"] {
        assert_eq!(read_bytes(text.as_bytes(), None, &["the"]).unwrap().vectors["the"], [1., 2.]);
    }
}

#[test]
fn other_files_are_named_with_what_to_do() {
    for (bytes, part) in [
        (&b"\xba\x16\x4f\x2f\x0c\0\0\0"[..], "fastText's own .bin"),
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c\x1agensim.models.keyedvectors", "save_word2vec_format"),
        (b"\x93NUMPY\x01\0", "a NumPy array (.npy), not a file of word vectors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
    ] {
        let error = read_bytes(bytes, None, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn word2vec_text_is_read_and_its_header_checked() {
    let found = read_bytes(b"2 2\nthe 1 2 \nof 3 4 \n\n", None, &["of"]).unwrap();
    assert_eq!((found.format, found.n_in_file), (VectorFormat::Word2VecText, 2));
    assert_eq!(found.vectors["of"], [3., 4.]);
    assert_eq!(found.n_declared, None);
    let short = read_bytes(b"3 2\nthe 1 2\nof 3 4\n", None, &["of"]).unwrap();
    assert_eq!((short.n_declared, short.n_in_file, short.vectors.len()), (Some(3), 2, 1));
    let error = read_bytes(b"3 2\nthe 1 2\nof 3", None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::TruncatedLine { line: 3, got: 1, dim: 2 }), "{error}");
    let error = read_bytes(b"1 2\nthe 1 2\nof 3 4\n", None, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::Trailing { declared: 1, dim: 2 }), "{error}");
    let text = Some(VectorFormat::Word2VecText);
    let error = read_bytes(b"2 9\nthe 1 2\nof 3 4\n", text, &[]).unwrap_err();
    assert!(matches!(error, VectorsError::MostlyDamaged { .. }), "{error}");
}

#[test]
fn a_vector_wider_than_the_looked_at_prefix_is_still_told_apart() {
    let line = format!("the{}\n", " -0.1234567890123456".repeat(60_000));
    let text = format!("2 60000\n{line}{}", line.replace("the", "of"));
    let found = read_bytes(text.as_bytes(), None, &["of"]).unwrap();
    assert_eq!((found.format, found.n_in_file), (VectorFormat::Word2VecText, 2));
    assert_eq!(found.vectors["of"].len(), 60_000);
}

#[test]
fn gzip_cut_short_is_a_read_error_in_every_format() {
    let text: String = (0..50_000).map(|i| format!("w{i} {} {}\n", i * 7 % 1013, i % 11)).collect();
    for bytes in [text.as_bytes(), &binary("3 2\n", &THREE, b"")] {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        let packed = gz.finish().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &packed).unwrap();
        assert!(read(file.path(), None, &|_| true).is_ok());
        std::fs::write(file.path(), &packed[..packed.len() - 5]).unwrap();
        let error = read(file.path(), None, &|_| true).unwrap_err();
        assert!(matches!(error, Error::Read { .. }) && error.to_string().contains("cut short"));
    }
}

#[test]
fn the_glove_and_word2vec_copies_of_real_vectors_are_equal() {
    let (Some(text), Some(binary)) = (
        crate::io::shared_data::path("vectors/minilm-words.200d.glove.txt.gz"),
        crate::io::shared_data::path("vectors/minilm-words.200d.word2vec.bin.gz"),
    ) else {
        return;
    };
    let glove = read(&text, None, &|_| true).unwrap();
    let word2vec = read(&binary, None, &|_| true).unwrap();
    assert_eq!((glove.format, glove.dim, glove.n_damaged), (VectorFormat::Glove, 200, 0));
    assert_eq!((word2vec.format, word2vec.dim), (VectorFormat::Word2VecBinary, 200));
    assert!(glove.n_in_file > 11_000, "{}", glove.n_in_file);
    assert_eq!(glove.n_in_file, word2vec.n_in_file);
    let words: HashSet<&String> = glove.vectors.keys().collect();
    assert_eq!(words, word2vec.vectors.keys().collect());
    for (word, vector) in &glove.vectors {
        for (a, b) in vector.iter().zip(&word2vec.vectors[word]) {
            assert!((a - b).abs() <= 1e-4, "{word}: {a} {b}");
        }
    }
    let few = read(&binary, Some(VectorFormat::Word2VecBinary), &|word| word == "the").unwrap();
    assert_eq!((few.vectors.len(), few.n_in_file), (1, glove.n_in_file));
}
