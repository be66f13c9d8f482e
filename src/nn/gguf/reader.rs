//! Metadata and the list of tensors.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::input::open_file;
use crate::nn::encoding::Encoding;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Meta {
    Whole(i128),
    Number(f64),
    Switch(bool),
    Text(String),
    Texts(Vec<String>),
    /// Whole numbers; switches as 0 and 1.
    Wholes(Vec<i64>),
    Numbers(Vec<f32>),
}

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// How its numbers lie there; the name of an encoding that is not read.
    pub encoding: Result<Encoding, String>,
    /// Rows first, as in other files.
    pub shape: Vec<usize>,
    /// First byte.
    pub start: u64,
}

impl Entry {
    /// How many numbers there are.
    pub fn n_numbers(&self) -> f64 {
        self.shape.iter().map(|&n| n as f64).product()
    }
}

/// What is in a file besides the numbers themselves.
#[derive(Debug)]
pub struct Gguf {
    /// The file.
    pub path: PathBuf,
    /// Values by their keys.
    pub metadata: HashMap<String, Meta>,
    /// Tensors by their names; each lies inside of the file.
    pub tensors: HashMap<String, Entry>,
}

/// Deepest nesting, longest names and most dimensions of the format.
const MOST_DIMENSIONS: u32 = 4;
const LONGEST_NAME: u64 = 1 << 16;

/// What is wrong with the file at `path`.
pub(super) fn damaged(path: &Path, problem: String) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "expected a whole GGUF file of version 2 or 3; copy or download it again".into(),
    }
}

/// The metadata and tensors of a GGUF file.
/// # Errors
/// `Error::Read`; `Error::Values` for a file that is damaged, cut short or of another version.
pub fn read(path: &Path) -> Result<Gguf> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let file = open_file(path).map_err(fail)?;
    let n_bytes = file.metadata().map_err(fail)?.len();
    let mut source = Source { file: BufReader::new(file), at: 0, n_bytes };
    source.parse(path).map_err(|problem| damaged(path, problem))
}

struct Source<R> {
    file: R,
    at: u64,
    n_bytes: u64,
}

impl<R: Read> Source<R> {
    fn left(&self) -> u64 {
        self.n_bytes.saturating_sub(self.at)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let cut = |at: u64| format!("the file ends in its header, at byte {at}");
        if bytes.len() as u64 > self.left() {
            return Err(cut(self.n_bytes));
        }
        self.file.read_exact(bytes).map_err(|error| error.to_string())?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// A number of things, each of at least `size` bytes, that the rest of the file has room for.
    fn count(&mut self, what: &str, size: u64) -> Result<usize, String> {
        let n = self.u64()?;
        if n > self.left() / size {
            return Err(format!(
                "says that it holds {n} {what}, at least {size} bytes each, and has {} bytes left",
                self.left()
            ));
        }
        Ok(n as usize)
    }

    /// Bytes that are no UTF-8 become replacement characters: some writers cut pieces in two.
    fn text(&mut self) -> Result<String, String> {
        let n = self.count("bytes of a text", 1)?;
        let mut bytes = vec![0; n];
        self.fill(&mut bytes)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn value(&mut self, kind: u32) -> Result<Meta, String> {
        Ok(match kind {
            0 => Meta::Whole(self.bytes::<1>()?[0].into()),
            1 => Meta::Whole((self.bytes::<1>()?[0] as i8).into()),
            2 => Meta::Whole(u16::from_le_bytes(self.bytes()?).into()),
            3 => Meta::Whole(i16::from_le_bytes(self.bytes()?).into()),
            4 => Meta::Whole(self.u32()?.into()),
            5 => Meta::Whole((self.u32()? as i32).into()),
            6 => Meta::Number(f32::from_le_bytes(self.bytes()?).into()),
            7 => Meta::Switch(self.bytes::<1>()?[0] != 0),
            8 => Meta::Text(self.text()?),
            9 => self.array()?,
            10 => Meta::Whole(self.u64()?.into()),
            11 => Meta::Whole((self.u64()? as i64).into()),
            12 => Meta::Number(f64::from_le_bytes(self.bytes()?)),
            other => return Err(format!("a value of the unknown type {other}")),
        })
    }

    fn array(&mut self) -> Result<Meta, String> {
        let kind = self.u32()?;
        Ok(match kind {
            8 => {
                let n = self.count("texts", 8)?;
                Meta::Texts((0..n).map(|_| self.text()).collect::<Result<_, _>>()?)
            }
            6 => {
                let n = self.count("numbers", 4)?;
                let number = |_| Ok(f32::from_le_bytes(self.bytes()?));
                Meta::Numbers((0..n).map(number).collect::<Result<_, String>>()?)
            }
            12 => {
                let n = self.count("numbers", 8)?;
                let number = |_| Ok(f64::from_le_bytes(self.bytes()?) as f32);
                Meta::Numbers((0..n).map(number).collect::<Result<_, String>>()?)
            }
            0..=5 | 7 | 10 | 11 => {
                let size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8][kind as usize];
                let n = self.count("numbers", size)?;
                let whole = |_| match self.value(kind)? {
                    Meta::Whole(whole) => Ok(whole as i64),
                    other => Ok(i64::from(other == Meta::Switch(true))),
                };
                Meta::Wholes((0..n).map(whole).collect::<Result<_, String>>()?)
            }
            other => {
                return Err(format!("a list of values of the type {other}, which is not read"));
            }
        })
    }

    fn parse(&mut self, path: &Path) -> Result<Gguf, String> {
        let magic = self.bytes::<4>()?;
        if &magic != b"GGUF" {
            return Err(format!("expected the first bytes GGUF, got {magic:02x?}"));
        }
        match self.u32()? {
            2 | 3 => {}
            other => return Err(format!("expected GGUF of version 2 or 3, got {other}")),
        }
        let n_tensors = self.count("tensors", 24)?;
        let n_keys = self.count("keys", 13)?;
        let mut metadata = HashMap::new();
        for _ in 0..n_keys {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind).map_err(|problem| format!("key {key:?}: {problem}"))?;
            metadata.insert(key, value);
        }
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            tensors.push(self.tensor()?);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(&Meta::Whole(n)) if (1..=1 << 20).contains(&n) => n as u64,
            None => 32,
            _ => return Err("expected general.alignment of 1 to 2^20".into()),
        };
        let data = self.at.next_multiple_of(alignment);
        for (name, entry) in &mut tensors {
            let start = data.checked_add(entry.start);
            let n = entry.shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64));
            let n_wanted = match &entry.encoding {
                Ok(encoding) => n.and_then(|n| encoding.n_bytes(n)),
                Err(_) => Some(0),
            };
            let end = start.zip(n_wanted).and_then(|(start, n)| start.checked_add(n));
            let (Some(start), Some(end)) = (start, end) else {
                return Err(format!(
                    "tensor {name:?}: its shape {:?} is no whole number of blocks of {:?}",
                    entry.shape, entry.encoding
                ));
            };
            if end > self.n_bytes {
                return Err(format!(
                    "the file is cut short: tensor {name:?} ends at byte {end}, the file has {}",
                    self.n_bytes
                ));
            }
            entry.start = start;
        }
        Ok(Gguf { path: path.to_owned(), metadata, tensors: tensors.into_iter().collect() })
    }

    /// A tensor, `start` still counted from the beginning of the data.
    fn tensor(&mut self) -> Result<(String, Entry), String> {
        let name = self.text()?;
        if name.len() as u64 > LONGEST_NAME {
            return Err(format!("a tensor's name of {} bytes", name.len()));
        }
        let n = self.u32()?;
        if n > MOST_DIMENSIONS {
            return Err(format!("tensor {name:?}: expected at most 4 dimensions, got {n}"));
        }
        let mut shape = Vec::new();
        for _ in 0..n {
            let size = self.u64()?;
            let small = usize::try_from(size).ok().filter(|&size| size <= 1 << 40);
            shape.push(small.ok_or_else(|| format!("tensor {name:?}: a dimension of {size}"))?);
        }
        shape.reverse();
        let encoding = Encoding::of_gguf(self.u32()?);
        Ok((name, Entry { encoding, shape, start: self.u64()? }))
    }
}

impl Gguf {
    /// A whole number of the metadata.
    pub fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(&Meta::Whole(n)) if (0..=1 << 28).contains(&n) => Ok(Some(n as usize)),
            // Some writers give one number per layer; they must be the same.
            Some(Meta::Wholes(all)) if all.windows(2).all(|two| two[0] == two[1]) => {
                Ok(all.first().and_then(|&n| usize::try_from(n).ok()).filter(|&n| n <= 1 << 28))
            }
            Some(Meta::Wholes(_)) => Err(format!("{key}: layers of different sizes are not read")),
            Some(_) => Err(format!("{key}: expected a whole number up to 2^28")),
        }
    }

    /// A number of the metadata.
    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(&Meta::Number(x)) if x.is_finite() => Ok(Some(x)),
            Some(&Meta::Whole(n)) => Ok(Some(n as f64)),
            Some(_) => Err(format!("{key}: expected a number")),
        }
    }

    /// A text of the metadata.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Meta::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{key}: expected a text")),
        }
    }
}
