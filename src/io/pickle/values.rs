//! The values of a pickle, in one arena.

use std::borrow::Cow;
use std::ops::Range;

/// Index of a value.
pub(super) type Id = u32;

/// Bytes in the file's buffer, or made from an escaped text.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    File(Range<usize>),
    Owned(Vec<u8>),
    /// Left in the stream: from this byte of it, so many.
    Far(u64, u64),
}

/// A value.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Valid UTF-8.
    Text(Bytes),
    Bytes(Bytes),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Dtype(Dtype),
    Array(Box<Array>),
    /// A DataSequence with its state, if it was given one.
    Sequence(Option<Id>),
    /// joblib's stand-in for an array, whose bytes follow its state.
    Wrapper,
}

impl Value {
    /// In words, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Float(_) => "a float",
            Value::Text(_) => "a str",
            Value::Bytes(_) => "bytes",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a class or function",
            Value::Dtype(_) => "a dtype",
            Value::Array(_) => "an array",
            Value::Sequence(_) => "a DataSequence",
            Value::Wrapper => "an array of joblib",
        }
    }
}

/// The values of a pickle that was run to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub buffer: Cow<'a, [u8]>,
    pub values: Vec<Value>,
    pub root: Id,
}

impl Pickle<'_> {
    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn bytes<'b>(&'b self, bytes: &'b Bytes) -> &'b [u8] {
        match bytes {
            Bytes::File(range) => &self.buffer[range.clone()],
            Bytes::Owned(bytes) => bytes,
            Bytes::Far(..) => &[],
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(bytes) => std::str::from_utf8(self.bytes(bytes)).ok(),
            _ => None,
        }
    }
}

/// A name that may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    DataSequence,
    Scalar,
    Reconstruct,
    FromBuffer,
    Dtype,
    Ndarray,
    Reconstructor,
    Object,
    CodecsEncode,
    Wrapper,
}

impl Global {
    pub(super) fn name(self) -> &'static str {
        match self {
            Global::DataSequence => "DataSequence",
            Global::Scalar => "numpy.scalar",
            Global::Reconstruct => "numpy._reconstruct",
            Global::FromBuffer => "numpy._frombuffer",
            Global::Dtype => "numpy.dtype",
            Global::Ndarray => "numpy.ndarray",
            Global::Reconstructor => "copyreg._reconstructor",
            Global::Object => "object",
            Global::CodecsEncode => "_codecs.encode",
            Global::Wrapper => "joblib's NumpyArrayWrapper",
        }
    }
}

/// An element type: its letter, its bytes, its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dtype {
    /// `f`, `i`, `u`, `b`, `U` (text of fixed length) or `O` (references).
    pub kind: u8,
    /// Of one element; for `U` 4 a character.
    pub n_bytes: usize,
    pub big_endian: bool,
}

/// An array as it was pickled; checked when it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Array {
    pub dtype: Option<Dtype>,
    pub shape: Vec<usize>,
    pub is_fortran: bool,
    /// Bytes, or a list of references for dtype `O`.
    pub data: Option<Id>,
}
