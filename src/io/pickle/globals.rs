//! The names a pickle may use, and what each makes here. Calls are recognised, never executed.
//!
//! `copyreg._reconstructor`, `object` and `_codecs.encode` are how protocols 0 to 2 write an
//! object and bytes. Source of the array states: numpy/numpy: numpy/_core/src/multiarray/methods.c
//! (array_reduce, array_setstate), descriptor.c (arraydescr_reduce).

use super::error::PickleError;
use super::values::{Array, Bytes, Dtype, Global, Id, Pickle, Value};
use crate::io::npy::f16_to_f32;

/// Which names a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Those of stories of words.
    Words,
    /// Those of NumPy's arrays, as pickle and joblib write them.
    Arrays,
}

/// The allow-list.
pub(super) fn find(module: &str, name: &str, allowed: Allowed) -> Option<Global> {
    let is_words = allowed == Allowed::Words;
    Some(match (module, name) {
        // Every fork has its own module.
        (_, "DataSequence") if is_words => Global::DataSequence,
        ("joblib.numpy_pickle" | "sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper")
            if !is_words =>
        {
            Global::Wrapper
        }
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::Scalar,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::Reconstruct,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
        ("numpy", "dtype") => Global::Dtype,
        ("numpy", "ndarray") => Global::Ndarray,
        ("copyreg" | "copy_reg", "_reconstructor") => Global::Reconstructor,
        ("builtins" | "__builtin__", "object") => Global::Object,
        ("_codecs", "encode") => Global::CodecsEncode,
        _ => return None,
    })
}

/// The most bytes of a NumPy text scalar, 4 per character.
const MAX_STR_BYTES: usize = 512;

fn parse_dtype(code: &str) -> Option<Dtype> {
    let (big_endian, code) = match code.as_bytes().first()? {
        b'>' => (true, &code[1..]),
        b'<' | b'|' | b'=' => (false, &code[1..]),
        _ => (false, code),
    };
    let kind = *code.as_bytes().first()?;
    let size: Option<usize> = code.get(1..).and_then(|digits| digits.parse().ok());
    let n_bytes = match (kind, size) {
        (b'f', Some(n @ (2 | 4 | 8))) => n,
        (b'i' | b'u', Some(n @ (1 | 2 | 4 | 8))) => n,
        (b'b', Some(1)) => 1,
        (b'U', Some(n @ 0..=65_536)) => 4 * n,
        (b'O', _) => 8,
        _ => return None,
    };
    Some(Dtype { kind, n_bytes, big_endian })
}

/// REDUCE and NEWOBJ: what `callable(*arguments)` makes.
pub(super) fn call(
    pickle: &Pickle<'_>,
    at: usize,
    callable: Id,
    arguments: Id,
) -> Result<Value, PickleError> {
    let Value::Global(global) = *pickle.value(callable) else {
        let problem = format!("a call of {}", pickle.value(callable).what());
        return Err(PickleError::Damaged { at, problem });
    };
    let Value::Tuple(arguments) = pickle.value(arguments) else {
        let problem = format!("call arguments are {}", pickle.value(arguments).what());
        return Err(PickleError::Damaged { at, problem });
    };
    let is = |id: Id, wanted: Global| matches!(pickle.value(id), Value::Global(g) if *g == wanted);
    let made = match (global, arguments.as_slice()) {
        (Global::DataSequence, []) => Some(Value::Sequence(None)),
        (Global::Wrapper, []) => Some(Value::Wrapper),
        (Global::Reconstructor, &[class, base, _])
            if is(class, Global::DataSequence) && is(base, Global::Object) =>
        {
            Some(Value::Sequence(None))
        }
        (Global::Dtype, &[code, ..]) => pickle.text(code).and_then(parse_dtype).map(Value::Dtype),
        (Global::Scalar, &[dtype, bytes]) => scalar(pickle, dtype, bytes),
        (Global::Reconstruct, &[class, ..]) if is(class, Global::Ndarray) => {
            Some(Value::Array(Box::default()))
        }
        (Global::FromBuffer, &[data, dtype, shape, order]) => {
            match (pickle.value(data), pickle.value(dtype), shape_of(pickle, shape)) {
                (Value::Bytes(_), &Value::Dtype(dtype), Some(shape)) => {
                    Some(Value::Array(Box::new(Array {
                        dtype: Some(dtype),
                        shape,
                        is_fortran: pickle.text(order) == Some("F"),
                        data: Some(data),
                    })))
                }
                _ => None,
            }
        }
        (Global::CodecsEncode, &[text, codec]) => {
            let is_latin = matches!(pickle.text(codec), Some("latin1" | "latin-1"));
            let text = pickle.text(text).filter(|_| is_latin);
            text.and_then(|text| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect())
                .map(|bytes| Value::Bytes(Bytes::Owned(bytes)))
        }
        _ => None,
    };
    made.ok_or_else(|| {
        let kinds: Vec<&str> =
            arguments.iter().take(6).map(|&id| pickle.value(id).what()).collect();
        PickleError::BadCall { at, name: global.name(), got: format!("({})", kinds.join(", ")) }
    })
}

/// A NumPy scalar as a plain number.
fn scalar(pickle: &Pickle<'_>, dtype: Id, bytes: Id) -> Option<Value> {
    let (&Value::Dtype(dtype), Some(bytes)) = (pickle.value(dtype), raw_bytes(pickle, bytes))
    else {
        return None;
    };
    if bytes.len() != dtype.n_bytes {
        return None;
    }
    match dtype.kind {
        b'f' | b'i' | b'u' | b'b' => {
            let value = number(dtype, bytes)?;
            Some(if dtype.kind == b'f' { Value::Float(value) } else { Value::Int(value as i64) })
        }
        // np.str_. A few bytes of the pickle can name the same one again: longer ones would be a bomb.
        b'U' if bytes.len() <= MAX_STR_BYTES => {
            let text = fixed_text(bytes, dtype.big_endian)?;
            Some(Value::Text(Bytes::Owned(text.into_bytes())))
        }
        _ => None,
    }
}

/// One element of a `<U…` dtype: UTF-32, filled up with zeros.
pub(super) fn fixed_text(element: &[u8], big_endian: bool) -> Option<String> {
    let character = |bytes: &[u8; 4]| {
        let code = u32::from_le_bytes(*bytes);
        char::from_u32(if big_endian { code.swap_bytes() } else { code })
    };
    let text: Option<String> = element.as_chunks::<4>().0.iter().map(character).collect();
    text.map(|text| text.trim_end_matches('\0').to_owned())
}

/// The bytes of bytes, or of Python 2's str that happened to be text.
pub(super) fn raw_bytes<'a>(pickle: &'a Pickle<'_>, id: Id) -> Option<&'a [u8]> {
    match pickle.value(id) {
        Value::Bytes(bytes) | Value::Text(bytes) => Some(pickle.bytes(bytes)),
        _ => None,
    }
}

/// One element of a numeric dtype as f64.
pub(super) fn number(dtype: Dtype, bytes: &[u8]) -> Option<f64> {
    let mut all = [0u8; 8];
    let little = &mut all[..dtype.n_bytes.min(8)];
    little.copy_from_slice(bytes);
    if dtype.big_endian {
        little.reverse();
    }
    let bits = u64::from_le_bytes(all);
    Some(match (dtype.kind, dtype.n_bytes) {
        (b'f', 2) => f64::from(f16_to_f32(bits as u16)),
        (b'f', 4) => f64::from(f32::from_bits(bits as u32)),
        (b'f', 8) => f64::from_bits(bits),
        (b'b' | b'u', _) => bits as f64,
        (b'i', n) => {
            let shift = 64 - 8 * n as u32;
            (((bits << shift) as i64) >> shift) as f64
        }
        _ => return None,
    })
}

fn shape_of(pickle: &Pickle<'_>, shape: Id) -> Option<Vec<usize>> {
    let Value::Tuple(sizes) = pickle.value(shape) else {
        return None;
    };
    let size = |&id: &Id| match pickle.value(id) {
        &Value::Int(size) => usize::try_from(size).ok(),
        _ => None,
    };
    sizes.iter().map(size).collect()
}

/// BUILD: gives an object its state.
pub(super) fn build(
    pickle: &mut Pickle<'_>,
    at: usize,
    object: Id,
    state: Id,
) -> Result<(), PickleError> {
    let (name, built) = match pickle.value(object) {
        Value::Sequence(_) => ("DataSequence", Some(Value::Sequence(Some(state)))),
        &Value::Dtype(dtype) => ("numpy.dtype", build_dtype(pickle, dtype, state)),
        Value::Array(_) => ("numpy.ndarray", build_array(pickle, state)),
        other => {
            let problem = format!("a state for {}", other.what());
            return Err(PickleError::Damaged { at, problem });
        }
    };
    let Some(built) = built else {
        let got = format!("this state, {}", pickle.value(state).what());
        return Err(PickleError::BadCall { at, name, got });
    };
    pickle.values[object as usize] = built;
    Ok(())
}

/// `(version, byte order, subdtype, names, fields, itemsize, alignment, flags)`.
fn build_dtype(pickle: &Pickle<'_>, dtype: Dtype, state: Id) -> Option<Value> {
    let Value::Tuple(state) = pickle.value(state) else {
        return None;
    };
    let order = pickle.text(*state.get(1)?)?;
    let is_none = |&id: &Id| matches!(pickle.value(id), Value::None);
    if !state.get(2..5)?.iter().all(is_none) {
        return None; // sub-arrays and structured dtypes
    }
    Some(Value::Dtype(Dtype { big_endian: order == ">", ..dtype }))
}

/// `(version, shape, dtype, is_fortran, data)`; version 0 had none.
fn build_array(pickle: &Pickle<'_>, state: Id) -> Option<Value> {
    let Value::Tuple(state) = pickle.value(state) else {
        return None;
    };
    let &[shape, dtype, is_fortran, data] = state.get(state.len().checked_sub(4)?..)? else {
        return None;
    };
    let &Value::Dtype(dtype) = pickle.value(dtype) else {
        return None;
    };
    let is_fortran = match *pickle.value(is_fortran) {
        Value::Bool(is_fortran) => is_fortran,
        Value::Int(is_fortran) => is_fortran != 0,
        _ => return None,
    };
    let shape = shape_of(pickle, shape)?;
    Some(Value::Array(Box::new(Array { dtype: Some(dtype), shape, is_fortran, data: Some(data) })))
}

/// What the state of a joblib wrapper says: an array without its data, how many bytes these have,
/// and whether padding stands before them.
///
/// Source: joblib/joblib: joblib/numpy_pickle.py: NumpyArrayWrapper.
pub(super) fn wrapped(pickle: &Pickle<'_>, state: Id) -> Option<(Array, u64, bool)> {
    let Value::Dict(fields) = pickle.value(state) else { return None };
    let field = |wanted: &str| {
        let is_wanted = |&&(key, _): &&(Id, Id)| pickle.text(key) == Some(wanted);
        fields.iter().rev().find(is_wanted).map(|&(_, value)| value)
    };
    if !matches!(pickle.value(field("subclass")?), Value::Global(Global::Ndarray)) {
        return None;
    }
    let &Value::Dtype(dtype) = pickle.value(field("dtype")?) else { return None };
    if dtype.kind == b'O' {
        return None; // a pickle of its own would follow
    }
    let shape = shape_of(pickle, field("shape")?)?;
    let is_fortran = pickle.text(field("order")?)? == "F";
    let n_bytes = shape.iter().try_fold(dtype.n_bytes, |n, &size| n.checked_mul(size))?;
    let alignment = field("numpy_array_alignment_bytes").map(|id| pickle.value(id));
    let is_padded = matches!(alignment, Some(Value::Int(_)));
    Some((Array { dtype: Some(dtype), shape, is_fortran, data: None }, n_bytes as u64, is_padded))
}
