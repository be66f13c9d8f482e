//! Readers of words and of their vectors.

use std::collections::HashSet;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use voxelcast::io::word_vectors::{self, VectorFormat};
use voxelcast::io::{input, kinds, textgrid};
use voxelcast::stimuli::{Story, read_stories};

use super::{answer, bounded, file, folder, n_unpacked, unpacked};

/// Any file as a stream: plain, gzip, or the only text of a zip.
pub fn archive(data: &[u8]) -> bool {
    let is_whole = ["input.zip", "input"].map(|name| stream(&file(name, data), data));
    let inside = file("input.zip", data).join("a/words.txt");
    bounded(data.len(), 64, || answer(input::open(&inside)));
    is_whole[0]
}

/// Reads a file to its end; whether it came there.
fn stream(path: &Path, data: &[u8]) -> bool {
    let is_packed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(b"PK\x03\x04");
    bounded(data.len(), 64, || {
        let Some(mut stream) = answer(input::open(path)) else { return false };
        let (mut buffer, mut n) = (vec![0; 1 << 16], 0);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(more) => {
                    assert!(is_packed || data[n..].starts_with(&buffer[..more]));
                    n += more;
                }
                Err(error) => {
                    assert!(is_packed && !error.to_string().is_empty());
                    return false;
                }
            }
        }
        // No method that is read packs better.
        assert!(n <= data.len() * if is_packed { 1100 } else { 1 });
        true
    })
}

/// A lab's pickle.
pub fn pickle(data: &[u8]) -> bool {
    let path = file("input.pkl", data);
    let n = n_unpacked(&path);
    // 80 for the machine's values, 64 and a mebibyte for what is made of them, twice while it grows.
    let found = bounded(n, 300, || answer(read_stories(&path)));
    found.inspect(|(stories, _)| check(stories)).is_some()
}

/// A Praat grid: all tiers, and the words.
pub fn textgrid(data: &[u8]) -> bool {
    let path = file("input.TextGrid", data);
    let n = n_unpacked(&path);
    bounded(n, 128, || {
        if let Ok(grid) = textgrid::parse(&unpacked(&path)) {
            let n_intervals: usize = grid.tiers.iter().map(|tier| tier.intervals.len()).sum();
            assert!(n_intervals <= n, "{n_intervals} intervals in {n} bytes");
        }
        answer(read_stories(&path)).inspect(|(stories, _)| check(stories)).is_some()
    })
}

/// A word table; the stories of a table that is written of them are the same.
pub fn table(data: &[u8]) -> bool {
    let path = file("input.tsv", data);
    let n = n_unpacked(&path);
    let Some((stories, _)) = bounded(n, 256, || answer(read_stories(&path))) else { return false };
    check(&stories);
    let mut text = "story\tonset\tduration\tword\n".to_owned();
    for story in &stories {
        let onsets = story.onset_s.as_ref().expect("a table has onsets");
        for (word, onset) in story.words.iter().zip(onsets) {
            // Quotes of a whole table may be those of a spreadsheet.
            if word.contains(['\t', '\n', '\r', '"']) || story.name.contains(['\t', '"']) {
                return true;
            }
            writeln!(text, "{}\t{onset}\t0\t{word}", story.name).expect("memory takes it");
        }
    }
    let (again, _) = read_stories(&file("copy.tsv", text.as_bytes())).expect("it is whole");
    assert_eq!(again.len(), stories.len());
    for (a, b) in again.iter().zip(&stories) {
        assert_eq!((&a.name, &a.words, &a.onset_s), (&b.name, &b.words, &b.onset_s));
    }
    true
}

/// A JSON transcript of gentle, WhisperX or Whisper; its words in a table are the same.
pub fn transcript(data: &[u8]) -> bool {
    let path = file("input.json", data);
    let n = n_unpacked(&path);
    let Some((stories, _)) = bounded(n, 256, || answer(read_stories(&path))) else { return false };
    check(&stories);
    let mut text = "onset\tword\n".to_owned();
    let [Story { words, onset_s: Some(onset_s), .. }] = &stories[..] else {
        panic!("one story with onsets")
    };
    for (word, onset) in words.iter().zip(onset_s) {
        if word.contains(['\t', '\n', '\r', '"']) || word.trim() != word {
            return true;
        }
        writeln!(text, "{onset}\t{word}").expect("memory takes it");
    }
    let (again, _) = read_stories(&file("copy.tsv", text.as_bytes())).expect("it is whole");
    assert_eq!((&again[0].words, &again[0].onset_s), (words, &Some(onset_s.clone())));
    true
}

/// A table without a header, of gentle's four columns or not, in whatever encoding; and the kind of
/// any file.
pub fn gentle(data: &[u8]) -> bool {
    let folder = folder().join("story");
    std::fs::create_dir_all(&folder).expect("made");
    let path = file("story/align.csv", data);
    let n = n_unpacked(&path);
    let _ = kinds::of_content(data);
    let read = bounded(n, 256, || answer(read_stories(&path)));
    read.inspect(|(stories, _)| check(stories)).is_some()
}

/// What every story must be, wherever it comes from.
fn check(stories: &[Story]) {
    assert!(!stories.is_empty());
    let names: HashSet<&str> = stories.iter().map(|story| story.name.as_str()).collect();
    assert_eq!(names.len(), stories.len(), "names are told apart");
    for Story { name, words, mid_s, onset_s, tr_times_s, source } in stories {
        assert!(!name.contains(['/', '\\', '\0']) && name != "..", "{name:?} leaves the folder");
        assert!(!words.is_empty() && words.len() == mid_s.len());
        assert!(source.entries.len() == words.len() && source.lines.len() == words.len());
        assert!(source.entries.iter().all(|&place| place < source.n_entries));
        let sorted = onset_s.as_ref().unwrap_or(mid_s);
        assert!(sorted.len() == words.len() && sorted.is_sorted());
        assert!(mid_s.iter().chain(sorted).all(|time| time.is_finite()));
        let times = tr_times_s.as_deref().unwrap_or_default();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

/// Both layouts of word2vec.
pub fn word2vec(data: &[u8]) -> bool {
    let path = file("input.bin", data);
    let formats = [VectorFormat::Word2VecBinary, VectorFormat::Word2VecText];
    formats.map(|format| vectors(&path, Some(format))).contains(&true)
}

/// GloVe's lines, and whatever is told from the content.
pub fn glove(data: &[u8]) -> bool {
    let path = file("input.txt", data);
    [Some(VectorFormat::Glove), None].map(|format| vectors(&path, format)).contains(&true)
}

fn vectors(path: &Path, format: Option<VectorFormat>) -> bool {
    let n = n_unpacked(path);
    // A value is two bytes of text, or more, and four in memory.
    let found = bounded(n, 64, || answer(word_vectors::read(path, format, &|_| true)));
    let Some(found) = found else { return false };
    assert!(found.vectors.len() <= found.n_in_file && found.n_in_file <= n);
    assert!(found.vectors.values().all(|values| values.len() == found.dim));
    let is_plain = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    let mut text = String::new();
    for (word, values) in found.vectors.iter().filter(|(word, _)| is_plain(word)) {
        if values.iter().any(|value| !value.is_finite()) {
            return true;
        }
        text.push_str(word);
        values.iter().for_each(|value| write!(text, " {value}").expect("memory takes it"));
        text.push('\n');
    }
    if text.is_empty() || found.dim == 0 {
        return true;
    }
    let copy = file("copy.txt", text.as_bytes());
    let again =
        word_vectors::read(&copy, Some(VectorFormat::Glove), &|_| true).expect("it is whole");
    let is_same = |(word, values): (&String, &Vec<f32>)| found.vectors.get(word) == Some(values);
    assert!(again.vectors.iter().all(is_same), "as GloVe's text");
    assert_eq!(again.n_in_file, text.lines().count());
    true
}
