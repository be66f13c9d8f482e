//! The pickle machine on plain values.
//!
//! Values live in one arena and name each other by index, so that loops in a pickle cost nothing
//! and no value is nested in the sense of Rust (no recursion, on reading or on dropping). Each
//! opcode makes at most one value of 32 bytes, and texts and bytes stay in the file's buffer: memory
//! is at most some 80 times the file, whose size is limited. Source: cpython: Lib/pickletools.py.

use std::collections::HashMap;
use std::ops::Range;

use super::error::PickleError;
use super::globals::{self, Array, Dtype, Global};

/// Levels of open marks that are followed; plain word data have 4.
pub(super) const MAX_DEPTH: usize = 1_000;

/// Index of a value.
pub(super) type Id = u32;

/// Bytes in the file's buffer, or made from an escaped text.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    File(Range<usize>),
    Owned(Vec<u8>),
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
        }
    }
}

/// The values of a pickle that was run to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub buffer: &'a [u8],
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
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(bytes) => std::str::from_utf8(self.bytes(bytes)).ok(),
            _ => None,
        }
    }
}

/// Runs a pickle.
pub(super) fn run(buffer: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let pickle = Pickle { buffer, values: Vec::new(), root: 0 };
    let mut machine = Machine {
        pickle,
        at: 0,
        op_at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    machine.run()?;
    Ok(machine.pickle)
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    at: usize,
    op_at: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<(), PickleError> {
        loop {
            self.op_at = self.at;
            let opcode = self.take(1)?[0];
            match opcode {
                b'.' => {
                    self.pickle.root = self.pop()?;
                    return Ok(());
                }
                0x80 => {
                    let protocol = self.take(1)?[0];
                    if protocol > 5 {
                        return Err(PickleError::Protocol { protocol });
                    }
                }
                0x95 => {
                    let length = self.length(8)?; // the frame: only checked against the file
                    let left = self.pickle.buffer.len() - self.at;
                    if length > left as u64 {
                        return Err(PickleError::Truncated {
                            at: self.op_at,
                            needed: length,
                            left,
                        });
                    }
                }
                _ => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // Numbers and constants.
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let value = self.take(1)?[0];
                self.push(Value::Int(i64::from(value)))
            }
            b'M' => {
                let value = self.length(2)? as i64;
                self.push(Value::Int(value))
            }
            b'J' => {
                let value = i64::from(self.length(4)? as u32 as i32);
                self.push(Value::Int(value))
            }
            0x8a => {
                let n = self.length(1)?;
                let value = self.long(n)?;
                self.push(Value::Int(value))
            }
            0x8b => {
                let n = self.length(4)?;
                let value = self.long(n)?;
                self.push(Value::Int(value))
            }
            b'I' | b'L' => {
                let line = self.line()?;
                let value = match (opcode, line) {
                    (b'I', b"00") => Value::Bool(false),
                    (b'I', b"01") => Value::Bool(true),
                    _ => {
                        let text = String::from_utf8_lossy(line);
                        let digits = text.trim().trim_end_matches('L');
                        Value::Int(digits.parse().map_err(|_| self.damaged("no whole number"))?)
                    }
                };
                self.push(value)
            }
            b'F' => {
                let text = String::from_utf8_lossy(self.line()?);
                let value = text.trim().parse().map_err(|_| self.damaged("no number"))?;
                self.push(Value::Float(value))
            }
            b'G' => {
                let bytes: [u8; 8] = self.take(8)?.try_into().expect("8 bytes were taken");
                self.push(Value::Float(f64::from_be_bytes(bytes)))
            }
            // Texts and bytes. Python 2's str (S, T, U) is text if it is UTF-8, else bytes.
            0x8c => self.text(1),
            b'X' => self.text(4),
            0x8d => self.text(8),
            b'C' | b'U' => self.bytes(1, opcode == b'U'),
            b'B' | b'T' => self.bytes(4, opcode == b'T'),
            0x8e | 0x96 => self.bytes(8, false),
            b'V' => {
                let line = self.line()?;
                let text = unescape(line, true).ok_or_else(|| self.damaged("no escaped text"))?;
                self.push(Value::Text(Bytes::Owned(text)))
            }
            b'S' => {
                let line = self.line()?.trim_ascii();
                let quoted = match line {
                    [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => unescape(inner, false),
                    _ => None,
                };
                let bytes = quoted.ok_or_else(|| self.damaged("no quoted text"))?;
                let is_text = std::str::from_utf8(&bytes).is_ok();
                let bytes = Bytes::Owned(bytes);
                self.push(if is_text { Value::Text(bytes) } else { Value::Bytes(bytes) })
            }
            // Stack and memo.
            b'(' => {
                if self.marks.len() == MAX_DEPTH {
                    return Err(PickleError::TooDeep { at: self.op_at, limit: MAX_DEPTH });
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => {
                // POP takes a mark if that is on top.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                    return Ok(());
                }
                self.pop().map(drop)
            }
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
                Ok(())
            }
            0x94 => self.put(self.memo.len() as u64),
            b'q' => self.length(1).and_then(|key| self.put(key)),
            b'r' => self.length(4).and_then(|key| self.put(key)),
            b'p' => self.decimal().and_then(|key| self.put(key)),
            b'h' => self.length(1).and_then(|key| self.get(key)),
            b'j' => self.length(4).and_then(|key| self.get(key)),
            b'g' => self.decimal().and_then(|key| self.get(key)),
            // Containers.
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'l' => self.pop_mark().and_then(|items| self.push(Value::List(items))),
            b't' => self.pop_mark().and_then(|items| self.push(Value::Tuple(items))),
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Value::Dict(pairs))
            }
            0x85..=0x87 => {
                let n = usize::from(opcode - 0x84);
                self.at_least(n)?;
                let items = self.stack.split_off(self.stack.len() - n);
                self.push(Value::Tuple(items))
            }
            b'a' => self.pop().and_then(|item| self.append(&[item])),
            b'e' => self.pop_mark().and_then(|items| self.append(&items)),
            b's' => {
                self.at_least(2)?;
                let items = self.stack.split_off(self.stack.len() - 2);
                self.set_items(&items)
            }
            b'u' => self.pop_mark().and_then(|items| self.set_items(&items)),
            // Names and calls.
            b'c' => {
                let module = String::from_utf8_lossy(self.line()?).into_owned();
                let name = String::from_utf8_lossy(self.line()?).into_owned();
                self.global(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let [module, name] =
                    [module, name].map(|id| self.pickle.text(id).map(str::to_owned));
                match (module, name) {
                    (Some(module), Some(name)) => self.global(&module, &name),
                    _ => Err(self.damaged("a global whose name is no text")),
                }
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let value = globals::call(&self.pickle, self.op_at, callable, arguments)?;
                self.push(value)
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                globals::build(&mut self.pickle, self.op_at, object, state)
            }
            // INST, OBJ, NEWOBJ_EX, persistent ids, extensions, sets, out-of-band buffers.
            _ => Err(PickleError::Opcode { at: self.op_at, opcode }),
        }
    }

    fn damaged(&self, problem: &str) -> PickleError {
        PickleError::Damaged { at: self.op_at, problem: problem.to_owned() }
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], PickleError> {
        let left = self.pickle.buffer.len() - self.at;
        let short = PickleError::Truncated { at: self.op_at, needed: n, left };
        let n = usize::try_from(n).ok().filter(|&n| n <= left).ok_or(short)?;
        let bytes = &self.pickle.buffer[self.at..self.at + n];
        self.at += n;
        Ok(bytes)
    }

    /// A little-endian unsigned number of 1 to 8 bytes.
    fn length(&mut self, n_bytes: u64) -> Result<u64, PickleError> {
        Ok(self.take(n_bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A little-endian two's complement number of any length that fits in i64.
    fn long(&mut self, n_bytes: u64) -> Result<i64, PickleError> {
        let bytes = self.take(n_bytes)?;
        if bytes.len() > 8 {
            return Err(self.damaged("a whole number over 64 bits"));
        }
        let fill = if bytes.last().is_some_and(|&b| b >= 0x80) { 0xff } else { 0 };
        let mut all = [fill; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.pickle.buffer[self.at..];
        let short = PickleError::Truncated {
            at: self.op_at,
            needed: rest.len() as u64 + 1,
            left: rest.len(),
        };
        let n = rest.iter().position(|&b| b == b'\n').ok_or(short)?;
        self.at += n + 1;
        Ok(&rest[..n])
    }

    fn decimal(&mut self) -> Result<u64, PickleError> {
        let text = String::from_utf8_lossy(self.line()?);
        text.trim().parse().map_err(|_| self.damaged("no memo number"))
    }

    fn text(&mut self, n_length: u64) -> Result<(), PickleError> {
        let range = self.range(n_length)?;
        if std::str::from_utf8(&self.pickle.buffer[range.clone()]).is_err() {
            return Err(self.damaged("a text that is not UTF-8"));
        }
        self.push(Value::Text(Bytes::File(range)))
    }

    fn bytes(&mut self, n_length: u64, may_be_text: bool) -> Result<(), PickleError> {
        let range = self.range(n_length)?;
        let is_text =
            may_be_text && std::str::from_utf8(&self.pickle.buffer[range.clone()]).is_ok();
        let bytes = Bytes::File(range);
        self.push(if is_text { Value::Text(bytes) } else { Value::Bytes(bytes) })
    }

    fn range(&mut self, n_length: u64) -> Result<Range<usize>, PickleError> {
        let n = self.length(n_length)?;
        let start = self.at;
        self.take(n)?;
        Ok(start..self.at)
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        let id = Id::try_from(self.pickle.values.len())
            .expect("one value an opcode, and the file is under 2^32 bytes");
        self.pickle.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    /// Height of the stack that the innermost mark leaves to be taken.
    fn at_least(&self, n: usize) -> Result<(), PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() - floor < n {
            return Err(self.damaged("the stack is empty"));
        }
        Ok(())
    }

    fn top(&self) -> Result<Id, PickleError> {
        self.at_least(1)?;
        self.stack.last().copied().ok_or_else(|| self.damaged("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged("no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    fn put(&mut self, key: u64) -> Result<(), PickleError> {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn get(&mut self, key: u64) -> Result<(), PickleError> {
        let missing = || self.damaged(&format!("memo entry {key} was never set"));
        let id = *self.memo.get(&key).ok_or_else(missing)?;
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let list = self.top()?;
        match &mut self.pickle.values[list as usize] {
            Value::List(list) => list.extend_from_slice(items),
            other => {
                let problem = format!("items appended to {}", other.what());
                return Err(self.damaged(&problem));
            }
        }
        Ok(())
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.damaged("a dict key without a value"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let pairs = self.pairs(items)?;
        let dict = self.top()?;
        match &mut self.pickle.values[dict as usize] {
            Value::Dict(dict) => dict.extend(pairs),
            other => {
                let problem = format!("items set in {}", other.what());
                return Err(self.damaged(&problem));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let global = globals::find(module, name).ok_or_else(|| {
            let [module, name] = [module, name].map(|text| text.chars().take(100).collect());
            PickleError::ForbiddenGlobal { at: self.op_at, module, name }
        })?;
        self.push(Value::Global(global))
    }
}

/// Undoes Python's backslash escapes: `\uXXXX` in protocol 0's unicode, `\xXX` in both.
///
/// Unicode lines are latin-1 besides; the result is UTF-8. Python 2's str stays bytes.
fn unescape(line: &[u8], is_unicode: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escape = if *first == b'\\' { tail.first() } else { None };
        let n_digits = match (escape, is_unicode) {
            (Some(b'u'), true) => 4,
            (Some(b'U'), true) => 8,
            (Some(b'x'), false) => 2,
            (Some(&other), false) => {
                out.push(match other {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'\\' | b'\'' | b'"' => other,
                    _ => return None,
                });
                rest = &tail[1..];
                continue;
            }
            _ => {
                let plain = [*first];
                if is_unicode {
                    out.extend_from_slice(char::from(*first).encode_utf8(&mut [0; 4]).as_bytes());
                } else {
                    out.extend_from_slice(&plain);
                }
                continue;
            }
        };
        let digits = std::str::from_utf8(tail.get(1..=n_digits)?).ok()?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        if is_unicode {
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(code as u8);
        }
        rest = &tail[1 + n_digits..];
    }
    Some(out)
}
