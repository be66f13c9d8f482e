//! The header of a `.npy` file: magic bytes, version, a Python dictionary of three keys.
//!
//! Source: numpy/numpy: numpy/lib/_format_impl.py (versions 1.0, 2.0, 3.0).

use super::error::NpyError;

pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header that is read; NumPy itself stops at 10,000 unless told otherwise.
pub(super) const MAX_HEADER_BYTES: usize = 65_536;
/// NumPy 2's NPY_MAXDIMS.
const MAX_DIMS: usize = 64;

/// What an element is, its byte order aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are NumPy's
pub enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
}

/// An element type with its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    /// What it is.
    pub kind: Kind,
    /// True if the bytes of an element are in big-endian order.
    pub big_endian: bool,
}

impl Kind {
    /// Bytes of one element.
    pub fn n_bytes(self) -> usize {
        match self {
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 | Kind::F16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }

    /// True for f16, f32 and f64.
    pub fn is_float(self) -> bool {
        matches!(self, Kind::F16 | Kind::F32 | Kind::F64)
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Kind::Bool => "b1",
            Kind::I8 => "i1",
            Kind::I16 => "i2",
            Kind::I32 => "i4",
            Kind::I64 => "i8",
            Kind::U8 => "u1",
            Kind::U16 => "u2",
            Kind::U32 => "u4",
            Kind::U64 => "u8",
            Kind::F16 => "f2",
            Kind::F32 => "f4",
            Kind::F64 => "f8",
        }
    }
}

impl Dtype {
    /// This machine's byte order.
    pub fn native(kind: Kind) -> Dtype {
        Dtype { kind, big_endian: cfg!(target_endian = "big") && kind.n_bytes() > 1 }
    }

    /// True if the bytes can be taken as they are.
    pub fn is_native(self) -> bool {
        self.kind.n_bytes() == 1 || self.big_endian == cfg!(target_endian = "big")
    }

    /// Reads NumPy's short form, such as `<f4`; no byte order means this machine's.
    /// # Errors
    /// `NpyError::Dtype` for everything that is no plain integer, bool, f16, f32 or f64.
    pub fn parse(descr: &str) -> Result<Dtype, NpyError> {
        let (big_endian, code) = match descr.as_bytes().first() {
            Some(b'<' | b'|') => (false, &descr[1..]),
            Some(b'>') => (true, &descr[1..]),
            Some(b'=') => (cfg!(target_endian = "big"), &descr[1..]),
            _ => (cfg!(target_endian = "big"), descr),
        };
        const KINDS: [Kind; 12] = [
            Kind::Bool,
            Kind::I8,
            Kind::I16,
            Kind::I32,
            Kind::I64,
            Kind::U8,
            Kind::U16,
            Kind::U32,
            Kind::U64,
            Kind::F16,
            Kind::F32,
            Kind::F64,
        ];
        if let Some(&kind) = KINDS.iter().find(|kind| kind.code() == code) {
            return Ok(Dtype { kind, big_endian: big_endian && kind.n_bytes() > 1 });
        }
        const AS_FLOAT: &str = "save it with .astype(\"float32\")";
        let (what, hint) = match code.as_bytes().first() {
            Some(b'O') => ("Python objects", "they would have to be executed; save plain numbers"),
            Some(b'f' | b'e' | b'g') => ("long or other floats", AS_FLOAT),
            Some(b'c') => ("complex numbers", "save their real part or magnitude"),
            Some(b'S' | b'U' | b'a') => ("text", "save labels as whole numbers"),
            Some(b'V') => ("structured or raw bytes", "save one plain array a file"),
            Some(b'M' | b'm') => ("dates or time spans", AS_FLOAT),
            _ => ("unknown", AS_FLOAT),
        };
        let descr = descr.chars().take(60).collect();
        Err(NpyError::Dtype { descr, what, hint })
    }
}

/// `<f4`, as NumPy writes it.
impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = match (self.kind.n_bytes(), self.big_endian) {
            (1, _) => '|',
            (_, true) => '>',
            (_, false) => '<',
        };
        write!(f, "{order}{}", self.kind.code())
    }
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub dtype: Dtype,
    pub is_fortran: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// Bytes the data take.
    pub(super) fn n_data_bytes(&self) -> Result<u64, NpyError> {
        let overflow = || NpyError::ShapeOverflow { shape: self.shape.clone() };
        // Checked as if no size were 0, so that (0, huge) cannot overflow what others multiply.
        let mut n_bytes = self.dtype.kind.n_bytes();
        for &size in &self.shape {
            n_bytes = n_bytes.checked_mul(size.max(1)).ok_or_else(overflow)?;
        }
        if n_bytes > isize::MAX as usize {
            return Err(overflow());
        }
        Ok(if self.shape.contains(&0) { 0 } else { n_bytes as u64 })
    }
}

/// Parses the dictionary, given as the header's bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, NpyError> {
    // Versions 1 and 2 say latin-1, 3 says UTF-8; the three keys are ASCII in each.
    let text = String::from_utf8_lossy(bytes);
    let mut parser = Parser { text: &text, at: 0 };
    let mut descr = None;
    let mut is_fortran = None;
    let mut shape = None;
    parser.expect('{')?;
    loop {
        if parser.take('}') {
            break;
        }
        let key = parser.string()?;
        parser.expect(':')?;
        match key.as_str() {
            "descr" if parser.peek() == Some('[') => {
                let list = parser.text[parser.at..].split_inclusive(']').next().unwrap_or_default();
                let descr = list.chars().take(60).collect();
                return Err(NpyError::Dtype {
                    descr,
                    what: "a structured array",
                    hint: "save one plain array a file",
                });
            }
            "descr" if descr.is_none() => descr = Some(parser.string()?),
            "fortran_order" if is_fortran.is_none() => is_fortran = Some(parser.boolean()?),
            "shape" if shape.is_none() => shape = Some(parser.tuple()?),
            _ => return Err(parser.error(&format!("key '{key}' is unknown or there twice"))),
        }
        if !parser.take(',') {
            parser.expect('}')?;
            break;
        }
    }
    if parser.peek().is_some() {
        return Err(parser.error("text after the closing brace"));
    }
    let missing = |key: &str| parser.error(&format!("key '{key}' is missing"));
    let descr = descr.ok_or_else(|| missing("descr"))?;
    let is_fortran = is_fortran.ok_or_else(|| missing("fortran_order"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    if shape.len() > MAX_DIMS {
        return Err(NpyError::TooManyDims { n_dims: shape.len(), limit: MAX_DIMS });
    }
    Ok(Header { dtype: Dtype::parse(&descr)?, is_fortran, shape })
}

/// Whether the dictionary says that the elements are Python objects.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    const OBJECT: &str = "|O";
    matches!(parse(bytes), Err(NpyError::Dtype { descr, .. }) if descr == OBJECT || descr == "O")
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, problem: &str) -> NpyError {
        let header = self.text.trim_end().chars().take(200).collect();
        NpyError::Header { problem: format!("{problem} (at byte {})", self.at), header }
    }

    /// The next character that is no space; stays in front of it.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), NpyError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(&format!("expected '{wanted}'"))) }
    }

    fn string(&mut self) -> Result<String, NpyError> {
        let quote = match self.peek() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return Err(self.error("expected a quoted text")),
        };
        let start = self.at + 1;
        let Some(n) = self.text[start..].find(quote) else {
            return Err(self.error("a quoted text does not end"));
        };
        self.at = start + n + 1;
        Ok(self.text[start..start + n].to_owned())
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, NpyError> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.take(')') {
            let rest = &self.text[self.at..];
            let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(size) = rest[..n_digits].parse() else {
                return Err(self.error("expected a size that fits in 64 bits"));
            };
            sizes.push(size);
            self.at += n_digits;
            self.take('L'); // Python 2's long integers
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// Magic bytes, version 1.0 and a C-order header, padded to 64 bytes as NumPy pads it.
pub(super) fn format(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    format_descr(&dtype.to_string(), shape)
}

/// The same for a dtype that is written and never read, such as text.
pub(super) fn format_descr(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sizes = match shape {
        [size] => format!("({size},)"),
        sizes => {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            format!("({})", sizes.join(", "))
        }
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {sizes}, }}");
    // NumPy leaves room for the first size to grow to 21 digits.
    if let Some(first) = shape.first() {
        text.push_str(&" ".repeat(21usize.saturating_sub(first.to_string().len())));
    }
    const PREFIX: usize = MAGIC.len() + 4;
    let n_padding = 64 - (PREFIX + text.len() + 1) % 64;
    text.push_str(&" ".repeat(n_padding));
    text.push('\n');
    let n_text = u16::try_from(text.len()).expect("64 sizes of 20 digits stay under 65,536 bytes");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&n_text.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_any_key_order_and_quoting_are_read() {
        let expected = Header {
            dtype: Dtype { kind: Kind::F32, big_endian: true },
            is_fortran: true,
            shape: vec![3, 4],
        };
        for text in [
            "{'descr': '>f4', 'fortran_order': True, 'shape': (3, 4), }   \n",
            "{\"shape\":(3L,4L,),\"fortran_order\":True,\"descr\":\">f4\"}",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        }
        let scalar = parse(b"{'descr': '|b1', 'fortran_order': False, 'shape': (), }").unwrap();
        assert_eq!((scalar.shape.len(), scalar.dtype.kind), (0, Kind::Bool));
        let vector = parse(b"{'descr': '|i1', 'fortran_order': False, 'shape': (5,), }").unwrap();
        assert_eq!(vector.shape, [5]);
    }

    #[test]
    fn broken_headers_are_refused_with_what_is_wrong() {
        for (text, part) in [
            ("", "expected '{'"),
            ("{'descr': '<f4', 'fortran_order': False}", "'shape' is missing"),
            ("{'descr': '<f4', 'shape': (1,)}", "'fortran_order' is missing"),
            ("{'fortran_order': False, 'shape': (1,)}", "'descr' is missing"),
            ("{'descr': '<f4', 'descr': '<f4'}", "there twice"),
            ("{'code': '<f4'}", "'code' is unknown"),
            ("{'descr': <f4}", "quoted text"),
            ("{'descr': '<f4}", "does not end"),
            ("{'fortran_order': 1}", "True or False"),
            ("{'shape': (-1,)}", "expected a size"),
            ("{'shape': (99999999999999999999999,)}", "expected a size"),
            ("{'shape': (3 4)}", "expected ')'"),
            ("{'shape': (3,4) 'descr': '<f4'}", "expected '}'"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "after the closing"),
        ] {
            let message = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        let many =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({})}}", "1, ".repeat(65));
        assert!(matches!(parse(many.as_bytes()), Err(NpyError::TooManyDims { n_dims: 65, .. })));
    }

    #[test]
    fn other_dtypes_are_refused_by_name() {
        for (descr, part) in [
            ("|O", "Python objects"),
            ("<f16", "long or other floats"),
            ("<c16", "complex"),
            ("<U5", "text"),
            ("|S3", "text"),
            ("|V8", "structured"),
            ("<M8[ns]", "dates"),
            ("é", "unknown"),
            ("", "unknown"),
        ] {
            let message = Dtype::parse(descr).expect_err(descr).to_string();
            assert!(message.contains(part), "{descr}: {message}");
        }
        let structured = b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
        assert!(parse(structured).unwrap_err().to_string().contains("structured array"));
    }

    #[test]
    fn a_shape_whose_bytes_overflow_is_refused() {
        let dtype = Dtype::native(Kind::F64);
        for shape in [vec![usize::MAX, 2], vec![1 << 60, 8], vec![0, usize::MAX, 3]] {
            let header = Header { dtype, is_fortran: false, shape };
            assert!(matches!(header.n_data_bytes(), Err(NpyError::ShapeOverflow { .. })));
        }
        let header = Header { dtype, is_fortran: false, shape: vec![0, 7] };
        assert_eq!(header.n_data_bytes().unwrap(), 0);
    }

    #[test]
    fn headers_are_written_as_numpy_writes_them() {
        // numpy 2.4.6: np.save of zeros((3, 4), "f4"), zeros(5), zeros((), "i8").
        for (kind, shape, dict) in [
            (Kind::F32, vec![3, 4], "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"),
            (Kind::F64, vec![5], "{'descr': '<f8', 'fortran_order': False, 'shape': (5,), }"),
            (Kind::I64, vec![], "{'descr': '<i8', 'fortran_order': False, 'shape': (), }"),
        ] {
            let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
            expected.extend_from_slice(dict.as_bytes());
            expected.resize(127, b' ');
            expected.push(b'\n');
            assert_eq!(format(Dtype { kind, big_endian: false }, &shape), expected);
        }
        for n_dims in 0..40 {
            let shape: Vec<usize> = (0..n_dims).map(|i| 10usize.pow(i % 19)).collect();
            let bytes = format(Dtype::native(Kind::Bool), &shape);
            assert_eq!(bytes.len() % 64, 0);
            assert_eq!(parse(&bytes[10..]).unwrap().shape, shape);
        }
    }
}
