//! The stories' values out of a pickle that was run.

use std::io::Read;
use std::path::Path;

use super::error::PickleError;
use super::globals;
use super::machine;
use super::values::{Array, Id, Pickle, Value};
use crate::error::{Error, Result};
use crate::io::input;

/// The lab's pickle of 109 stories is some 10 MB.
const MAX_BYTES: u64 = 64 << 20;
/// Unpacked bytes per byte of the file: a word met again costs 2 bytes there and some 40 here.
const MAX_GROWTH: usize = 64;

/// One value of the lab's dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct PickledSequence {
    /// Its key.
    pub name: String,
    /// `data`, as written; may hold `''`.
    pub words: Vec<String>,
    /// `data_times`: the middle of each word in seconds; empty if it is None.
    pub data_times_s: Vec<f64>,
    /// `tr_times`: the middle of each TR in seconds; empty if it is None.
    pub tr_times_s: Vec<f64>,
}

/// Reads `dict[str, DataSequence]` in the dictionary's order, plain or gzip.
///
/// Any protocol from 0 to 5, NumPy 1 and 2. The lengths of words and times are as they are in the
/// file; a key that occurs twice occurs twice here.
/// # Errors
/// `Error::Pickle` for damage and for every name off the allow-list (nothing is executed);
/// `Error::Read` if the file cannot be read.
pub fn read_data_sequences(path: &Path) -> Result<Vec<PickledSequence>> {
    let mut buffer = Vec::new();
    input::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut buffer)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&buffer, MAX_BYTES).map_err(|source| Error::Pickle { path: path.to_owned(), source })
}

pub(super) fn parse(buffer: &[u8], max_bytes: u64) -> Result<Vec<PickledSequence>, PickleError> {
    if buffer.len() as u64 > max_bytes {
        return Err(PickleError::TooLarge { limit: max_bytes });
    }
    let pickle = machine::run(buffer)?;
    let Value::Dict(entries) = pickle.value(pickle.root) else {
        return Err(content("a dict of stories", pickle.value(pickle.root)));
    };
    let limit = buffer.len().saturating_mul(MAX_GROWTH).saturating_add(1 << 20);
    let mut reader = Reader { pickle: &pickle, limit, left: limit };
    entries.iter().map(|&(key, value)| reader.sequence(key, value)).collect()
}

fn content(expected: &str, got: &Value) -> PickleError {
    PickleError::Content { expected: expected.to_owned(), got: got.what().to_owned() }
}

struct Reader<'a> {
    pickle: &'a Pickle<'a>,
    limit: usize,
    /// Bytes that may still be unpacked.
    left: usize,
}

impl<'a> Reader<'a> {
    fn spend(&mut self, n_items: usize, n_bytes_each: usize) -> Result<(), PickleError> {
        let n_bytes = n_items.checked_mul(n_bytes_each);
        match n_bytes.and_then(|n| self.left.checked_sub(n)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let n_bytes = self.pickle.buffer.len();
                Err(PickleError::Bomb { limit: self.limit, n_bytes })
            }
        }
    }

    fn sequence(&mut self, key: Id, value: Id) -> Result<PickledSequence, PickleError> {
        let pickle = self.pickle;
        let name = pickle
            .text(key)
            .ok_or_else(|| content("story names as the keys of the dict", pickle.value(key)))?;
        self.spend(1, name.len() + size_of::<PickledSequence>())?;
        let story = || format!("a DataSequence for story \"{name}\"");
        let &Value::Sequence(state) = pickle.value(value) else {
            return Err(content(&story(), pickle.value(value)));
        };
        let fields = self.fields(state).ok_or_else(|| PickleError::Content {
            expected: format!("{} with a dict of fields", story()),
            got: "another state".to_owned(),
        })?;
        let field = |wanted: &str| -> Option<Id> {
            // As in Python, the last of equal keys.
            let is_wanted = |&&(key, _): &&(Id, Id)| pickle.text(key) == Some(wanted);
            fields.iter().rev().find(is_wanted).map(|&(_, value)| value)
        };
        let missing = |wanted: &str| PickleError::Content {
            expected: format!("field \"{wanted}\" in story \"{name}\""),
            got: "none".to_owned(),
        };
        let data = field("data").ok_or_else(|| missing("data"))?;
        let data_times = field("data_times").ok_or_else(|| missing("data_times"))?;
        let words = self.words(data, &format!("data of story \"{name}\""))?;
        let data_times_s = self.times(data_times, &format!("data_times of story \"{name}\""))?;
        let tr_times_s = match field("tr_times") {
            Some(times) => self.times(times, &format!("tr_times of story \"{name}\""))?,
            None => Vec::new(),
        };
        Ok(PickledSequence { name: name.to_owned(), words, data_times_s, tr_times_s })
    }

    /// The instance's `__dict__`: the state itself, or the first of `(dict, slots)`.
    fn fields(&self, state: Option<Id>) -> Option<&'a [(Id, Id)]> {
        let pickle = self.pickle;
        match pickle.value(state?) {
            Value::Dict(fields) => Some(fields),
            Value::Tuple(parts) => match pickle.value(*parts.first()?) {
                Value::Dict(fields) => Some(fields),
                _ => None,
            },
            _ => None,
        }
    }

    fn words(&mut self, id: Id, place: &str) -> Result<Vec<String>, PickleError> {
        let pickle = self.pickle;
        let items = match pickle.value(id) {
            Value::List(items) | Value::Tuple(items) => items,
            Value::Array(array) => match (array.dtype.map(|d| d.kind), array.data) {
                (Some(b'O'), Some(data)) => match pickle.value(data) {
                    Value::List(items) => items,
                    other => return Err(content(&format!("a list of words in {place}"), other)),
                },
                _ => return self.fixed_words(array, place),
            },
            other => return Err(content(&format!("a list of words as {place}"), other)),
        };
        self.spend(items.len(), size_of::<String>())?;
        let mut words = Vec::with_capacity(items.len());
        for &id in items {
            let word = pickle
                .text(id)
                .ok_or_else(|| content(&format!("words as str in {place}"), pickle.value(id)))?;
            self.spend(1, word.len())?;
            words.push(word.to_owned());
        }
        Ok(words)
    }

    /// Words of a `<U…` array: UTF-32, filled up with zeros.
    fn fixed_words(&mut self, array: &Array, place: &str) -> Result<Vec<String>, PickleError> {
        let bad = |problem: &str| PickleError::Array {
            place: place.to_owned(),
            problem: problem.to_owned(),
        };
        let (elements, n_bytes) = self.elements(array, place)?;
        let dtype = array.dtype.filter(|d| d.kind == b'U').ok_or_else(|| bad("it is no text"))?;
        self.spend(elements.len() / n_bytes, size_of::<String>() + n_bytes)?;
        let word = |element: &[u8]| {
            globals::fixed_text(element, dtype.big_endian)
                .ok_or_else(|| bad("it holds no Unicode text"))
        };
        elements.chunks_exact(n_bytes).map(word).collect()
    }

    fn times(&mut self, id: Id, place: &str) -> Result<Vec<f64>, PickleError> {
        let pickle = self.pickle;
        match pickle.value(id) {
            Value::None => Ok(Vec::new()),
            Value::List(items) | Value::Tuple(items) => {
                self.spend(items.len(), size_of::<f64>())?;
                let number = |&id: &Id| match *pickle.value(id) {
                    Value::Int(value) => Ok(value as f64),
                    Value::Float(value) => Ok(value),
                    ref other => Err(content(&format!("numbers in {place}"), other)),
                };
                items.iter().map(number).collect()
            }
            Value::Array(array) => {
                // A vector's order is the same in C and Fortran; anything wider is refused.
                let (elements, n_bytes) = self.elements(array, place)?;
                self.spend(elements.len() / n_bytes, size_of::<f64>())?;
                let bad = || PickleError::Array {
                    place: place.to_owned(),
                    problem: "its dtype is no number".to_owned(),
                };
                let dtype = array.dtype.ok_or_else(bad)?;
                let number = |bytes| globals::number(dtype, bytes).ok_or_else(bad);
                elements.chunks_exact(n_bytes).map(number).collect()
            }
            other => Err(content(&format!("an array as {place}"), other)),
        }
    }

    /// The bytes of a 1-D array (or one with a single long side), and those of one element.
    fn elements(&self, array: &Array, place: &str) -> Result<(&'a [u8], usize), PickleError> {
        let bad = |problem: String| PickleError::Array { place: place.to_owned(), problem };
        let (Some(dtype), Some(data)) = (array.dtype, array.data) else {
            return Err(bad("it has no data".to_owned()));
        };
        if dtype.n_bytes == 0 {
            return Err(bad("its elements have no bytes".to_owned()));
        }
        if array.shape.iter().filter(|&&size| size > 1).count() > 1 {
            let order = if array.is_fortran { "Fortran" } else { "C" };
            return Err(bad(format!("shape {:?} in {order} order, expected 1-D", array.shape)));
        }
        let bytes = match dtype.kind {
            b'O' => None,
            _ => globals::raw_bytes(self.pickle, data),
        };
        let bytes = bytes.ok_or_else(|| bad("it holds objects, expected numbers".to_owned()))?;
        let expected = array.shape.iter().try_fold(dtype.n_bytes, |n, &size| n.checked_mul(size));
        if expected != Some(bytes.len()) {
            return Err(bad(format!(
                "shape {:?} of {} bytes an element, the array has {} bytes",
                array.shape,
                dtype.n_bytes,
                bytes.len()
            )));
        }
        Ok((bytes, dtype.n_bytes))
    }
}
