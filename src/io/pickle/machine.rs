//! The pickle machine on plain values.
//!
//! Values live in one arena and name each other by index, so that loops in a pickle cost nothing
//! and no value is nested in the sense of Rust (no recursion, on reading or on dropping). Each
//! opcode makes at most one value of 32 bytes, and texts and bytes stay in the file's buffer: memory
//! is at most some 80 times the file, whose size is limited. Source: cpython: Lib/pickletools.py.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::error::PickleError;
use super::feed::Feed;
use super::globals::{self, Allowed};
use super::values::{Bytes, Id, Pickle, Value};

/// Levels of open marks that are followed; plain word data have 4.
pub(super) const MAX_DEPTH: usize = 1_000;

/// Bytes of a stream that are kept: opcodes, names, short payloads.
pub(super) const MAX_KEPT: usize = 64 << 20;
/// Bytes that calls make of texts: as many as a file has, and twice that for a stream.
pub(super) const MAX_MADE: usize = 2 * MAX_KEPT;
/// Values of a stream; an array has some thirty.
const MAX_VALUES: usize = 1 << 22;
/// Payloads of a stream above this stay where they are.
const FAR_BYTES: u64 = 512;

/// Runs a pickle of words that is in memory.
pub(super) fn run(buffer: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Machine::of(Cow::Borrowed(buffer), None).run()
}

/// Runs a pickle of arrays that comes as a stream; what is long of it stays there.
pub(super) fn run_stream(feed: &mut dyn Feed) -> Result<Pickle<'static>, PickleError> {
    Machine::of(Cow::Owned(Vec::new()), Some(feed)).run()
}

struct Machine<'a, 'f> {
    pickle: Pickle<'a>,
    /// Where bytes come from that are not in the buffer yet: all that are behind its end.
    feed: Option<&'f mut dyn Feed>,
    at: usize,
    /// Byte of the file at which the opcode stands.
    op_at: usize,
    /// Bytes that were left in the stream.
    n_far: usize,
    /// Bytes that calls made.
    n_made: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a, 'f> Machine<'a, 'f> {
    fn of(buffer: Cow<'a, [u8]>, feed: Option<&'f mut dyn Feed>) -> Self {
        Machine {
            pickle: Pickle { buffer, values: Vec::new(), root: 0 },
            feed,
            at: 0,
            op_at: 0,
            n_far: 0,
            n_made: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<Pickle<'a>, PickleError> {
        loop {
            self.op_at = self.at + self.n_far;
            let opcode = self.byte()?;
            match opcode {
                b'.' => {
                    self.pickle.root = self.pop()?;
                    return Ok(self.pickle);
                }
                0x80 => {
                    let protocol = self.byte()?;
                    if protocol > 5 {
                        return Err(PickleError::Protocol { protocol });
                    }
                }
                0x95 => {
                    let length = self.length(8)?; // the frame: only checked against the file
                    if let Some(left) = self.left().filter(|&left| length > left) {
                        return Err(self.truncated(length, left));
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
                let value = self.byte()?;
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
                let value = match (opcode, &line[..]) {
                    (b'I', b"00") => Value::Bool(false),
                    (b'I', b"01") => Value::Bool(true),
                    _ => {
                        let text = String::from_utf8_lossy(&line);
                        let digits = text.trim().trim_end_matches('L');
                        Value::Int(digits.parse().map_err(|_| self.damaged("no whole number"))?)
                    }
                };
                self.push(value)
            }
            b'F' => {
                let line = self.line()?;
                let text = String::from_utf8_lossy(&line);
                let value = text.trim().parse().map_err(|_| self.damaged("no number"))?;
                self.push(Value::Float(value))
            }
            b'G' => {
                let bits = self.length(8)?.swap_bytes();
                self.push(Value::Float(f64::from_bits(bits)))
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
                let text = unescape(&line, true).ok_or_else(|| self.damaged("no escaped text"))?;
                self.push(Value::Text(Bytes::Owned(text)))
            }
            b'S' => {
                let line = self.line()?;
                let quoted = match line.trim_ascii() {
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
                let [module, name] = [self.line()?, self.line()?];
                let module = String::from_utf8_lossy(&module).into_owned();
                let name = String::from_utf8_lossy(&name).into_owned();
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
                if let Value::Bytes(Bytes::Owned(made)) | Value::Text(Bytes::Owned(made)) = &value {
                    self.n_made += made.len();
                    if self.n_made > MAX_MADE {
                        let n_bytes = self.pickle.buffer.len();
                        return Err(PickleError::Bomb { limit: MAX_MADE, n_bytes });
                    }
                }
                self.push(value)
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                if matches!(self.pickle.value(object), Value::Wrapper) {
                    return self.wrapped_array(object, state);
                }
                globals::build(&mut self.pickle, self.op_at, object, state)
            }
            // INST, OBJ, NEWOBJ_EX, persistent ids, extensions, sets, out-of-band buffers.
            _ => Err(PickleError::Opcode { at: self.op_at, opcode }),
        }
    }

    fn damaged(&self, problem: &str) -> PickleError {
        PickleError::Damaged { at: self.op_at, problem: problem.to_owned() }
    }

    fn truncated(&self, needed: u64, left: u64) -> PickleError {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        PickleError::Truncated { at: self.op_at, needed, left }
    }

    /// Bytes that are still to come, where that is known.
    fn left(&self) -> Option<u64> {
        match &self.feed {
            None => Some((self.pickle.buffer.len() - self.at) as u64),
            Some(feed) => feed.left(),
        }
    }

    /// Where the next `n` bytes are in the buffer.
    fn take(&mut self, n: u64) -> Result<Range<usize>, PickleError> {
        if let Some(left) = self.left().filter(|&left| n > left) {
            return Err(self.truncated(n, left));
        }
        let start = self.at;
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(feed) = &mut self.feed {
            let kept = self.pickle.buffer.to_mut();
            if n > MAX_KEPT - kept.len().min(MAX_KEPT) {
                return Err(PickleError::TooMuchText { limit: MAX_KEPT });
            }
            // In steps, since a packed stream does not say how long it is.
            while kept.len() < start + n {
                let from = kept.len();
                kept.resize((start + n).min(from + (64 << 10)), 0);
                if let Err(error) = feed.fill(&mut kept[from..]) {
                    return Err(self.unread(n as u64, &error));
                }
            }
        }
        self.at += n;
        Ok(start..self.at)
    }

    fn unread(&self, needed: u64, error: &std::io::Error) -> PickleError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(needed, 0),
            _ => self.damaged(&error.to_string()),
        }
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        let range = self.take(1)?;
        Ok(self.pickle.buffer[range.start])
    }

    /// A payload: long ones of a stream are left there.
    fn payload(&mut self, n: u64) -> Result<Bytes, PickleError> {
        if n <= FAR_BYTES || self.feed.is_none() {
            return Ok(Bytes::File(self.take(n)?));
        }
        if let Some(left) = self.left().filter(|&left| n > left) {
            return Err(self.truncated(n, left));
        }
        let (start, skipped) = match &mut self.feed {
            Some(feed) => (feed.position(), feed.skip(n)),
            None => return Err(self.damaged("no stream")),
        };
        skipped.map_err(|error| self.unread(n, &error))?;
        self.n_far = self.n_far.saturating_add(usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Bytes::Far(start, n))
    }

    /// The array that a wrapper of joblib stands for: padding, then its bytes, behind the state.
    fn wrapped_array(&mut self, object: Id, state: Id) -> Result<(), PickleError> {
        let found = globals::wrapped(&self.pickle, state);
        let Some((mut array, n_bytes, is_padded)) = found else {
            let got = format!("this state, {}", self.pickle.value(state).what());
            return Err(PickleError::BadCall { at: self.op_at, name: "NumpyArrayWrapper", got });
        };
        if is_padded {
            let n_padding = self.byte()?;
            self.take(u64::from(n_padding))?;
        }
        let data = self.payload(n_bytes)?;
        let id = self.add(Value::Bytes(data));
        array.data = Some(id);
        self.pickle.values[object as usize] = Value::Array(Box::new(array));
        Ok(())
    }

    /// A little-endian unsigned number of 1 to 8 bytes.
    fn length(&mut self, n_bytes: u64) -> Result<u64, PickleError> {
        let range = self.take(n_bytes)?;
        let bytes = self.pickle.buffer[range].iter().rev();
        Ok(bytes.fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A little-endian two's complement number of any length that fits in i64.
    fn long(&mut self, n_bytes: u64) -> Result<i64, PickleError> {
        let range = self.take(n_bytes)?;
        let bytes = &self.pickle.buffer[range];
        if bytes.len() > 8 {
            return Err(self.damaged("a whole number over 64 bits"));
        }
        let fill = if bytes.last().is_some_and(|&b| b >= 0x80) { 0xff } else { 0 };
        let mut all = [fill; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn line(&mut self) -> Result<Vec<u8>, PickleError> {
        if self.feed.is_some() {
            let start = self.at;
            while self.byte()? != b'\n' {}
            return Ok(self.pickle.buffer[start..self.at - 1].to_vec());
        }
        let rest = &self.pickle.buffer[self.at..];
        let Some(n) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.truncated(rest.len() as u64 + 1, rest.len() as u64));
        };
        let line = rest[..n].to_vec();
        self.at += n + 1;
        Ok(line)
    }

    fn decimal(&mut self) -> Result<u64, PickleError> {
        let line = self.line()?;
        let text = String::from_utf8_lossy(&line);
        text.trim().parse().map_err(|_| self.damaged("no memo number"))
    }

    fn text(&mut self, n_length: u64) -> Result<(), PickleError> {
        let n = self.length(n_length)?;
        let range = self.take(n)?;
        if std::str::from_utf8(&self.pickle.buffer[range.clone()]).is_err() {
            return Err(self.damaged("a text that is not UTF-8"));
        }
        self.push(Value::Text(Bytes::File(range)))
    }

    fn bytes(&mut self, n_length: u64, may_be_text: bool) -> Result<(), PickleError> {
        let n = self.length(n_length)?;
        let bytes = self.payload(n)?;
        let is_text = match &bytes {
            Bytes::File(range) if may_be_text => {
                std::str::from_utf8(&self.pickle.buffer[range.clone()]).is_ok()
            }
            _ => false,
        };
        self.push(if is_text { Value::Text(bytes) } else { Value::Bytes(bytes) })
    }

    fn add(&mut self, value: Value) -> Id {
        let id = Id::try_from(self.pickle.values.len())
            .expect("two values an opcode at most, and under 2^31 opcodes are kept");
        self.pickle.values.push(value);
        id
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.feed.is_some() && self.pickle.values.len() >= MAX_VALUES {
            let n_bytes = self.pickle.buffer.len();
            return Err(PickleError::Bomb { limit: MAX_VALUES, n_bytes });
        }
        let id = self.add(value);
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
        let allowed = if self.feed.is_some() { Allowed::Arrays } else { Allowed::Words };
        let global = globals::find(module, name, allowed).ok_or_else(|| {
            let [module, name] = [module, name].map(|text| text.chars().take(100).collect());
            match allowed {
                Allowed::Words => PickleError::ForbiddenGlobal { at: self.op_at, module, name },
                Allowed::Arrays => PickleError::ForbiddenClass { at: self.op_at, module, name },
            }
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
