//! Every way in which a pickle can be wrong.

/// Why a pickle is refused; `Error::Pickle` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// A name off the allow-list: never looked up, never executed.
    #[error(
        "byte {at}: the pickle asks for {module}.{name}, which is not among the few names of plain \
         word data; nothing was executed. If you trust the file, save its words as a TSV"
    )]
    ForbiddenGlobal {
        /// Where.
        at: usize,
        /// As written.
        module: String,
        /// As written.
        name: String,
    },
    /// The same in a file that is read for its arrays.
    #[error(
        "byte {at}: the pickle holds a {module}.{name}, only dicts of NumPy arrays are read; nothing \
         was executed. If you trust the file, load it in Python and save its arrays with numpy.savez"
    )]
    ForbiddenClass {
        /// Where.
        at: usize,
        /// As written.
        module: String,
        /// As written.
        name: String,
    },
    /// Opcodes and texts of a file of arrays that no such file has.
    #[error(
        "the pickle has over {limit} bytes beside its arrays; save it again with pickle.dump(..., \
         protocol=4), or its arrays with numpy.savez"
    )]
    TooMuchText {
        /// The most that is kept.
        limit: usize,
    },
    /// The pickle is whole but has no array.
    #[error("the pickle holds {got}, expected NumPy arrays by their names; save a dict of them")]
    NoArrays {
        /// What is there.
        got: &'static str,
    },
    /// There is no array of that name.
    #[error(
        "no array {name:?}, the file holds {}; name the one that is meant (key \
         dataset of [bold.SUBJECT] or of the space)",
        listed(keys)
    )]
    NoArray {
        /// As wanted.
        name: String,
        /// Arrays of the file.
        keys: Vec<String>,
    },
    /// An allowed name used for something else than it is allowed for.
    #[error("byte {at}: {name} cannot be made from {got}; the pickle is damaged or hostile")]
    BadCall {
        /// Where.
        at: usize,
        /// The allowed name.
        name: &'static str,
        /// Its arguments in words.
        got: String,
    },
    /// An opcode that plain word data do not need (persistent ids, extensions, buffers).
    #[error("byte {at}: opcode 0x{opcode:02x} is not read; save words as a TSV, arrays as .npy")]
    Opcode {
        /// Where.
        at: usize,
        /// The opcode.
        opcode: u8,
    },
    /// A protocol that does not exist yet.
    #[error(
        "pickle protocol {protocol}, expected 0 to 5; save it with pickle.dump(..., protocol=4)"
    )]
    Protocol {
        /// As written.
        protocol: u8,
    },
    /// The file ends before the STOP opcode.
    #[error("truncated: byte {at} needs {needed} more bytes, the file has {left}; copy it again")]
    Truncated {
        /// Where.
        at: usize,
        /// Declared.
        needed: u64,
        /// To the end of the file.
        left: usize,
    },
    /// The file is larger than any story pickle.
    #[error("the pickle is over {limit} bytes; save words as a TSV, arrays as .npy")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// More open marks than plain data have.
    #[error("byte {at}: more than {limit} levels deep; the pickle is damaged or hostile")]
    TooDeep {
        /// Where.
        at: usize,
        /// The most that is followed.
        limit: usize,
    },
    /// The stack has not what an opcode takes, a memo entry is missing, a text is no text.
    #[error("byte {at}: {problem}; the pickle is damaged")]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// The values repeat each other to more than the file could mean.
    #[error("the pickle unpacks to over {limit} bytes from {n_bytes}; it is damaged or hostile")]
    Bomb {
        /// The most that is unpacked.
        limit: usize,
        /// Length of the file.
        n_bytes: usize,
    },
    /// The pickle is whole but holds something else.
    #[error("the pickle holds {got}, expected {expected}; save the lab's dict of DataSequence")]
    Content {
        /// What is needed, and where.
        expected: String,
        /// What is there.
        got: String,
    },
    /// An array whose dtype is no number or text, or whose bytes do not fit its shape.
    #[error("{place}: {problem}; save it as a float64 array")]
    Array {
        /// Which story and field.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

/// Names in a sentence: the first eight of many.
pub(in crate::io) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{}, … ({n} in all)", names[..SHOWN].join(", ")),
    }
}
