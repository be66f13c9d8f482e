//! Pickles written here opcode by opcode; the lab's where this machine has them.

use proptest::prelude::*;

use super::error::PickleError;
use super::sequences::{PickledSequence, parse, read_data_sequences};

const LIMIT: u64 = 1 << 20;

/// Opcodes of a pickle, one method each for what the tests need.
#[derive(Clone, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.op(&[0x8c, text.len() as u8]).op(text.as_bytes())
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.text(module).text(name).op(&[0x93])
    }

    /// `numpy.dtype(code)` with its byte order.
    fn dtype(self, code: &str, order: &str) -> Self {
        let made = self.global("numpy", "dtype").text(code).op(b"\x89\x88\x87R");
        let state = made.op(b"(K\x03").text(order).op(b"NNN");
        state.op(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
    }

    /// An array as protocols up to 4 write it.
    fn array(self, code: &str, order: &str, shape: &[u8], fortran: bool, data: &[u8]) -> Self {
        let made = self
            .global("numpy._core.multiarray", "_reconstruct")
            .global("numpy", "ndarray")
            .op(b"K\x00\x85C\x01b\x87R(K\x01(");
        let sized = shape.iter().fold(made, |w, &size| w.op(&[b'K', size])).op(b"t");
        let typed = sized.dtype(code, order).op(if fortran { b"\x88" } else { b"\x89" });
        typed.op(&[b'C', data.len() as u8]).op(data).op(b"tb")
    }

    fn times(self, times: &[f64]) -> Self {
        let data: Vec<u8> = times.iter().flat_map(|t| t.to_le_bytes()).collect();
        self.array("f8", "<", &[times.len() as u8], false, &data)
    }

    fn words(self, words: &[&str]) -> Self {
        words.iter().fold(self.op(b"]("), |w, word| w.text(word)).op(b"e")
    }

    fn sequence(self, data: Writer, data_times: Writer) -> Self {
        self.global("ridge_utils.DataSequence", "DataSequence")
            .op(b")\x81}(")
            .text("data")
            .op(&data.0)
            .text("data_times")
            .op(&data_times.0)
            .op(b"ub")
    }

    /// `{"s": DataSequence(data, data_times)}`.
    fn story(data: Writer, data_times: Writer) -> Vec<u8> {
        start().text("s").sequence(data, data_times).op(b"s.").0
    }
}

fn start() -> Writer {
    Writer::default().op(b"\x80\x04}")
}

fn w() -> Writer {
    Writer::default()
}

fn message(bytes: &[u8]) -> String {
    parse(bytes, LIMIT).expect_err("a refusal").to_string()
}

#[test]
fn a_small_story_is_read() {
    let bytes = Writer::story(w().words(&["a", "", "é"]), w().times(&[0.5, 1.5, 2.5]));
    let expected = PickledSequence {
        name: "s".to_owned(),
        words: vec!["a".to_owned(), String::new(), "é".to_owned()],
        data_times_s: vec![0.5, 1.5, 2.5],
        tr_times_s: Vec::new(),
    };
    assert_eq!(parse(&bytes, LIMIT).unwrap(), [expected]);
    assert_eq!(parse(b"\x80\x04}.", LIMIT).unwrap(), []);
}

#[test]
fn words_may_be_numpy_text_scalars() {
    let utf32 = |text: &str, n: usize| -> Vec<u8> {
        let codes = text.chars().map(u32::from).chain(std::iter::repeat(0));
        codes.take(n).flat_map(u32::to_le_bytes).collect()
    };
    let scalar = |w: Writer, text: &str, n: usize| {
        let data = utf32(text, n);
        let code = format!("U{n}");
        let w = w.global("numpy._core.multiarray", "scalar").dtype(&code, "<");
        w.op(b"B").op(&(data.len() as u32).to_le_bytes()).op(&data).op(b"\x86R")
    };
    let words = scalar(scalar(scalar(w().op(b"]("), "né", 2), "a", 3), "", 0).op(b"e");
    let read = parse(&Writer::story(words, w().times(&[0.5, 1.5, 2.0])), LIMIT).unwrap();
    assert_eq!(read[0].words, ["né", "a", ""]);
    let long = scalar(w().op(b"]("), "a", 200).op(b"e");
    assert!(message(&Writer::story(long, w().times(&[0.5]))).contains("numpy.scalar"));
}

#[test]
fn arrays_honour_dtype_byte_order_and_fortran_order() {
    for (code, order, data) in [
        ("f8", "<", [1f64.to_le_bytes(), (-2f64).to_le_bytes()].concat()),
        ("f8", ">", [1f64.to_be_bytes(), (-2f64).to_be_bytes()].concat()),
        ("f4", "<", [1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()),
        ("f4", ">", [1f32.to_be_bytes(), (-2f32).to_be_bytes()].concat()),
        ("i8", "<", [1i64.to_le_bytes(), (-2i64).to_le_bytes()].concat()),
        ("i4", ">", [1i32.to_be_bytes(), (-2i32).to_be_bytes()].concat()),
        ("i2", "<", [1i16.to_le_bytes(), (-2i16).to_le_bytes()].concat()),
        ("i1", "|", vec![1, 0xfe]),
    ] {
        for (shape, fortran) in [(&[2][..], false), (&[2, 1], true), (&[1, 2], false)] {
            let times = w().array(code, order, shape, fortran, &data);
            let read = parse(&Writer::story(w().words(&[]), times), LIMIT).unwrap();
            assert_eq!(read[0].data_times_s, [1., -2.], "{order}{code}");
        }
    }
    let unsigned = w().array("u2", "<", &[1], false, &[0xfe, 0xff]);
    let read = parse(&Writer::story(w().words(&[]), unsigned), LIMIT).unwrap();
    assert_eq!(read[0].data_times_s, [65_534.]);
}

#[test]
fn words_and_times_may_be_tuples_lists_and_text_arrays() {
    let utf32: Vec<u8> =
        ['h', 'i', 'é', '\0'].iter().flat_map(|&c| u32::from(c).to_le_bytes()).collect();
    let words = w().array("U2", "<", &[2], false, &utf32);
    let times = w().op(b"K\x01G\x40\x04\0\0\0\0\0\0\x86");
    let read = parse(&Writer::story(words, times), LIMIT).unwrap();
    assert_eq!(
        (&read[0].words[..], &read[0].data_times_s[..]),
        (&["hi".to_owned(), "é".to_owned()][..], &[1., 2.5][..])
    );
    let scalar = w()
        .op(b"](")
        .global("numpy.core.multiarray", "scalar")
        .dtype("i8", "<")
        .op(b"C\x08\x07\0\0\0\0\0\0\0\x86R")
        .op(b"e");
    let read = parse(&Writer::story(w().text("x").op(b"\x85"), scalar), LIMIT).unwrap();
    assert_eq!((read[0].words[0].as_str(), read[0].data_times_s[0]), ("x", 7.));
}

#[test]
fn every_protocol_and_any_module_of_the_class_are_read() {
    let zero = b"(dp0\nVst\\u00f6ry\np1\nccopy_reg\n_reconstructor\np2\n(cridge_utils.dsutils\nDataSequence\nc__builtin__\nobject\nNtR(dp3\nS'data'\n(lp4\nVa\nag1\nasS'data_times'\n(lI1\naF2.5\nasS'tr_times'\nNsbs.";
    let read = parse(zero, LIMIT).unwrap();
    assert_eq!((read[0].name.as_str(), read[0].words.len()), ("störy", 2));
    assert_eq!((read[0].words[1].as_str(), &read[0].data_times_s[..]), ("störy", &[1., 2.5][..]));
    // Protocol 2 of Python 3: bytes as _codecs.encode(str, "latin1").
    let data: String = 1f64.to_le_bytes().iter().map(|&b| char::from(b)).collect();
    let encode = w()
        .global("numpy.core.multiarray", "_reconstruct")
        .global("numpy", "ndarray")
        .op(b"K\x00\x85U\x01b\x87R(K\x01K\x01\x85")
        .dtype("f8", "<")
        .op(b"\x89c_codecs\nencode\n")
        .text(&data)
        .text("latin1")
        .op(b"\x86Rtb");
    let read = parse(&Writer::story(w().words(&["a"]), encode), LIMIT).unwrap();
    assert_eq!(read[0].data_times_s, [1.]);
    // Protocol 5: _frombuffer of a bytearray.
    let frombuffer = w()
        .global("numpy.core.numeric", "_frombuffer")
        .op(b"(\x96\x08\0\0\0\0\0\0\0")
        .op(&1f64.to_le_bytes())
        .dtype("f8", "<")
        .op(b"K\x01\x85")
        .text("C")
        .op(b"tR");
    let read = parse(&Writer::story(w().words(&["a"]), frombuffer), LIMIT).unwrap();
    assert_eq!(read[0].data_times_s, [1.]);
}

#[test]
fn names_off_the_list_are_refused_by_name() {
    for (bytes, name) in [
        (&b"cos\nsystem\n(S'rm -rf /'\ntR."[..], "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"cevil\ndtype\n.", "evil.dtype"),
    ] {
        assert!(matches!(parse(bytes, LIMIT), Err(PickleError::ForbiddenGlobal { .. })), "{name}");
        let text = message(bytes);
        assert!(text.contains(name) && text.contains("nothing was executed"), "{text}");
    }
    // In the middle of a story, too, and through the instance opcodes.
    let bytes = Writer::story(w().words(&["a"]), w().global("posix", "system"));
    assert!(message(&bytes).contains("posix.system"));
    for opcode in [b'i', b'o', 0x92, b'P', b'Q', 0x82, 0x83, 0x84, 0x97, 0x98, 0x8f, 0xff] {
        assert!(matches!(parse(&[opcode], LIMIT), Err(PickleError::Opcode { at: 0, .. })));
    }
}

#[test]
fn allowed_names_used_otherwise_are_refused() {
    for bytes in [
        w().global("x", "DataSequence").op(b"K\x01\x85R.").0,
        w().global("numpy", "dtype").text("V8").op(b"\x85R.").0,
        w().global("numpy", "dtype").text("").op(b"\x85R.").0,
        w().global("numpy", "dtype").text("é8").op(b"\x85R.").0,
        w().global("numpy", "ndarray").op(b")R.").0,
        w().global("numpy.core.multiarray", "scalar").dtype("f8", "<").op(b"C\x01a\x86R.").0,
        w().global("numpy._core.numeric", "_frombuffer").op(b"(NNNNtR.").0,
        w().global("_codecs", "encode").text("a").text("rot13").op(b"\x86R.").0,
        w().global("numpy.core.multiarray", "_reconstruct").op(b"N\x85R.").0,
        w().dtype("f8", "<").op(b"N\x85b.").0,
        w().times(&[1.]).op(b"K\x01\x85b.").0,
    ] {
        assert!(matches!(parse(&bytes, LIMIT), Err(PickleError::BadCall { .. })), "{bytes:?}");
    }
}

#[test]
fn damage_is_named_with_its_byte() {
    for (bytes, part) in [
        (&b"cx\nDataSequence\nK\x02R."[..], "call arguments are an int"),
        (b"K\x01)R.", "a call of an int"),
        (b"K\x01K\x02b.", "a state for an int"),
        (b"K\x01K\x02a.", "appended to an int"),
        (b"N(K\x01K\x02u.", "set in None"),
        (b"}(K\x01u.", "key without a value"),
        (b"e.", "no mark"),
        (b".", "stack is empty"),
        (b"(a.", "stack is empty"),
        (b"h\x05.", "memo entry 5 was never set"),
        (b"gx\n.", "no memo number"),
        (b"\x8c\x01\xff.", "not UTF-8"),
        (b"Ix\n.", "no whole number"),
        (b"Fx\n.", "no number"),
        (b"Sx\n.", "no quoted text"),
        (b"V\\u12\n.", "no escaped text"),
        (b"\x8a\x09123456789.", "over 64 bits"),
        (b"NN\x93.", "name is no text"),
        (b"\x80\x06.", "protocol 6"),
    ] {
        let text = message(bytes);
        assert!(text.contains(part), "{bytes:?}: {text}");
    }
}

#[test]
fn lengths_past_the_end_are_truncation_before_anything_is_allocated() {
    let whole = Writer::story(w().words(&["a"]), w().times(&[1.]));
    for cut in 0..whole.len() {
        let error = parse(&whole[..cut], LIMIT).unwrap_err();
        assert!(matches!(error, PickleError::Truncated { .. }), "{cut}: {error}");
    }
    for opcode in [0x8d, 0x8e, 0x96, 0x95] {
        let bytes = [&[opcode][..], &[0xff; 8], b"."].concat();
        assert!(matches!(
            parse(&bytes, LIMIT),
            Err(PickleError::Truncated { needed: u64::MAX, .. })
        ));
    }
    let bytes = [b"X".as_slice(), &[0xff; 4], b"."].concat();
    assert!(message(&bytes).starts_with("truncated"));
    assert!(matches!(parse(&[b'N'; 9], 8), Err(PickleError::TooLarge { limit: 8 })));
}

#[test]
fn depth_and_unpacked_size_are_bounded() {
    let deep = [&b"("[..]].concat().repeat(2_000);
    assert!(matches!(parse(&deep, LIMIT), Err(PickleError::TooDeep { .. })));
    // Nested without marks: no recursion, so only the content is wrong.
    let nested = [b"N".to_vec(), b"\x85".repeat(200_000), b".".to_vec()].concat();
    assert!(message(&nested).contains("holds a tuple"));
    // A list that holds itself.
    assert!(message(b"]q\x00h\x00a.").contains("holds a list"));
    // One long word met 100,000 times.
    let word = "x".repeat(200);
    let words = w().op(b"](").text(&word).op(b"q\x07").op(&b"h\x07".repeat(100_000)).op(b"e");
    let bytes = Writer::story(words, w().times(&[]));
    assert!(matches!(parse(&bytes, LIMIT), Err(PickleError::Bomb { .. })));
}

#[test]
fn other_content_is_named() {
    let times = || w().times(&[1.]);
    let words = || w().words(&["a"]);
    for (bytes, part) in [
        (b"N.".to_vec(), "holds None, expected a dict of stories"),
        (start().op(b"K\x01K\x02s.").0, "story names as the keys"),
        (start().text("s").op(b"K\x02s.").0, "a DataSequence for story \"s\""),
        (start().text("s").global("x", "DataSequence").op(b")Rs.").0, "dict of fields"),
        (start().text("s").global("x", "DataSequence").op(b")RNbs.").0, "dict of fields"),
        (start().text("s").global("x", "DataSequence").op(b")R}bs.").0, "field \"data\""),
        (Writer::story(w().op(b"N"), times()), "a list of words as data of story \"s\""),
        (Writer::story(w().op(b"K\x01\x85"), times()), "words as str in data of story \"s\""),
        (Writer::story(words(), w().op(b"N\x85")), "numbers in data_times of story \"s\""),
        (Writer::story(words(), w().text("x")), "an array as data_times"),
        (Writer::story(times(), times()), "it is no text"),
        (Writer::story(words(), w().array("f8", "<", &[2], false, &[0; 8])), "has 8 bytes"),
        (Writer::story(words(), w().array("f4", "<", &[2, 2], true, &[0; 16])), "expected 1-D"),
        (Writer::story(words(), w().array("O8", "|", &[1], false, &[0; 8])), "holds objects"),
        (Writer::story(words(), w().array("U1", "<", &[1], false, &[0; 4])), "no number"),
        (Writer::story(w().array("U1", "<", &[1], false, &[0xff; 4]), times()), "no Unicode"),
        (
            Writer::story(
                words(),
                w().global("numpy.core.multiarray", "_reconstruct")
                    .global("numpy", "ndarray")
                    .op(b"K\x00\x85C\x01b\x87R"),
            ),
            "it has no data",
        ),
    ] {
        let text = message(&bytes);
        assert!(text.contains(part), "{part}: {text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, LIMIT);
    }

    #[test]
    fn no_changed_byte_makes_the_reader_panic(at in 0usize..400, byte: u8) {
        let mut bytes = Writer::story(w().words(&["a", "b"]), w().times(&[1., 2.]));
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = parse(&bytes, LIMIT);
    }
}

#[test]
fn a_refused_file_carries_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"cos\nsystem\n.").unwrap();
    let error = read_data_sequences(file.path()).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with(&file.path().display().to_string()));
}

#[test]
fn the_labs_pickles_of_numpy_1_and_2_hold_the_same_stories() {
    let path = |name: &str| crate::io::shared_data::path(&format!("ds003020_pcs/{name}"));
    let (Some(one), Some(two)) =
        (path("raw_text_4stories_numpy1_p5.pkl"), path("raw_text_4stories_numpy2_p4.pkl"))
    else {
        return;
    };
    let one = read_data_sequences(&one).unwrap();
    assert_eq!(one, read_data_sequences(&two).unwrap());
    let names: Vec<&str> = one.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["sweetaspie", "thetiniestbouquet", "againstthewind", "adollshouse"]);
    for story in &one {
        assert_eq!(story.words.len(), story.data_times_s.len());
        assert_eq!(story.tr_times_s[..3], [-9., -7., -5.]);
    }
    assert_eq!(one[3].tr_times_s.len(), 241 + 15);
}
