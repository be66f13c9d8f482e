//! Any input as one stream of bytes: plain, gzip (by its magic bytes), or a text inside a zip.

use std::fs::{File, FileType};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use zip::{CompressionMethod, ZipArchive};

use super::zip_directory::too_many_members;
use crate::error::{Error, Result};

/// Bytes read from the disk at a time, and bytes decompressed at a time.
const BUFFER_BYTES: usize = 512 << 10;

/// Ways in which an archive does not say which file is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A folder was given where a file is read.
    #[error("this is a folder, expected a file; give the path of one file in it")]
    Folder,
    /// The zip's directory is damaged, or the file is cut short.
    #[error("the zip archive cannot be read ({reason}); copy or download it again")]
    Zip {
        /// What the zip reader said.
        reason: String,
    },
    /// No text, or more than one, in a zip that was given without a member's name.
    #[error(
        "the zip archive holds {} files ({}), expected one, or one .txt; unpack it, or give \
         {archive}/MEMBER", members.len(), list(members)
    )]
    ZipNotOneText {
        /// The archive's file name.
        archive: String,
        /// The texts found; all members where there are none.
        members: Vec<String>,
    },
    /// The named member is not in the zip.
    #[error("the zip archive has no member \"{member}\"; it holds {}", list(members))]
    ZipNoMember {
        /// As the user wrote it.
        member: String,
        /// What the archive holds.
        members: Vec<String>,
    },
    /// The member is encrypted or compressed in a way that is not read.
    #[error("the zip member \"{member}\" is {how}; unpack it and give the unpacked file")]
    ZipMember {
        /// The member.
        member: String,
        /// Why it cannot be read.
        how: String,
    },
}

fn list(members: &[String]) -> String {
    const SHOWN: usize = 8;
    if members.is_empty() {
        return "none".to_owned();
    }
    let mut text = members.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if members.len() > SHOWN {
        text.push_str(&format!(" and {} more", members.len() - SHOWN));
    }
    text
}

/// The most bytes of a small text: settings, a run's JSON files, TR counts, sidecars.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Opens a file for reading. Only regular files are opened: reading a named pipe would wait for
/// whoever writes into it, and a device such as `/dev/zero` never ends.
/// # Errors
/// The system's; `InvalidInput` for anything but a regular file.
pub fn open_file(path: impl AsRef<Path>) -> io::Result<File> {
    let what = match irregular(std::fs::metadata(&path)?.file_type()) {
        None => return File::open(path),
        Some(A_FOLDER) => return Err(io::ErrorKind::IsADirectory.into()),
        Some(what) => what,
    };
    let message = format!("it is {what}, expected a regular file; write the data to a file first");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

const A_FOLDER: &str = "a folder";

/// What a path leads to, if that is no regular file.
pub fn irregular(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some(A_FOLDER)
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// Reads a small text file whole; one of more than 64 MiB is no such file.
/// # Errors
/// As [`open_file`]; `InvalidData` for a larger file and for text that is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    let mut file = open_file(path)?.take(MAX_TEXT_BYTES + 1);
    file.read_to_string(&mut text)?;
    if text.len() as u64 <= MAX_TEXT_BYTES {
        return Ok(text);
    }
    let limit = MAX_TEXT_BYTES >> 20;
    let message = format!("expected a text of at most {limit} MiB, got more");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Reads a file of any size whole.
/// # Errors
/// As [`open_file`].
pub fn read_bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for one sequential read, unpacked.
///
/// gzip is known by its first two bytes, whatever the name, and may have several members; a zip by
/// its first four: it must hold exactly one `.txt` or be of one file, or `path` goes on with the member's name
/// (`glove.zip/glove.6B.200d.txt`). Buffers are 512 KiB.
/// # Errors
/// `Error::Read` if the file cannot be opened, `Error::Input` for archives (see [`InputError`]).
/// A stream that is cut short or damaged ends in an `io::Error` that says so, never in a short
/// read; wrap it with [`Error::Read`] and the path.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut file = match open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Err(Error::Input { path: path.to_owned(), source: InputError::Folder });
        }
        Err(source) => {
            return match split_member(path) {
                Some((archive, member)) => open_zip(path, &archive, Some(&member)),
                None => Err(read_error(source)),
            };
        }
    };
    let mut magic = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut magic).map_err(read_error)?;
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    let buffered = BufReader::with_capacity(BUFFER_BYTES, file);
    if magic.starts_with(&[0x1f, 0x8b]) {
        let unpacked = Gzip { decoder: MultiGzDecoder::new(buffered) };
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked)));
    }
    if magic == b"PK\x03\x04" {
        return open_zip(path, path, None);
    }
    Ok(Box::new(buffered))
}

/// A file of at most `max_bytes`, and no folder, pipe or device: opening one could wait for ever.
/// # Errors
/// `Error::Read`; `Error::Values`.
pub fn check_regular(path: &Path, max_bytes: u64) -> Result<()> {
    let about =
        std::fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let kind = about.file_type();
    let problem = if kind.is_dir() {
        "expected a file, got a folder".to_owned()
    } else if !kind.is_file() {
        "expected a regular file, got a pipe or a device".to_owned()
    } else if about.len() > max_bytes {
        format!("expected at most {} MiB, got {}", max_bytes >> 20, about.len() >> 20)
    } else {
        return Ok(());
    };
    Err(Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "check that this is the file that is meant".into(),
    })
}

/// The text of a regular file of at most `max_bytes`.
/// # Errors
/// As [`check_regular`]; `Error::Values` for what is no UTF-8.
pub fn read_small_text(path: &Path, max_bytes: u64) -> Result<String> {
    check_regular(path, max_bytes)?;
    let mut bytes = Vec::new();
    // Files of /proc have no length.
    let read = open_file(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let bad = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "check that this is the file that is meant".into(),
    };
    if bytes.len() as u64 > max_bytes {
        return Err(bad(format!("expected at most {} MiB", max_bytes >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| bad(format!("expected a text, got {error}")))
}

/// `a/b.zip/c/d.txt` as (`a/b.zip`, `c/d.txt`), if `a/b.zip` is a file.
fn split_member(path: &Path) -> Option<(PathBuf, String)> {
    let archive = path.ancestors().skip(1).find(|ancestor| ancestor.is_file())?;
    let is_zip = archive.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
    let member = path.strip_prefix(archive).ok()?.to_str()?;
    is_zip.then(|| (archive.to_owned(), member.to_owned()))
}

/// `path` is what the user gave and errors name; `archive` is the zip file itself.
fn open_zip(path: &Path, archive: &Path, member: Option<&str>) -> Result<Box<dyn BufRead + Send>> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let input_error = |source| Error::Input { path: path.to_owned(), source };
    let zip_error =
        |e: zip::result::ZipError| input_error(InputError::Zip { reason: e.to_string() });

    let file = open_file(archive).map_err(read_error)?;
    if let Some(reason) = too_many_members(&file) {
        return Err(input_error(InputError::Zip { reason }));
    }
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut zip = ZipArchive::new(&mut file).map_err(zip_error)?;
    let members: Vec<String> =
        zip.file_names().flatten().filter(|name| !name.ends_with('/')).map(Into::into).collect();
    let name = match member {
        Some(member) => {
            if !members.iter().any(|name| name == member) {
                let member = member.to_owned();
                return Err(input_error(InputError::ZipNoMember { member, members }));
            }
            member.to_owned()
        }
        None => {
            let is_text = |name: &&String| {
                name.to_ascii_lowercase().ends_with(".txt") && !name.starts_with("__MACOSX/")
            };
            let mut texts: Vec<String> = members.iter().filter(is_text).cloned().collect();
            if texts.is_empty() {
                // Any only file will do: crawl-300d-2M.vec.zip.
                let is_file = |name: &&String| !name.starts_with("__MACOSX/");
                texts = members.iter().filter(is_file).cloned().collect();
            }
            if texts.len() != 1 {
                let archive = archive.file_name().unwrap_or_default().to_string_lossy().into();
                texts.sort();
                return Err(input_error(InputError::ZipNotOneText { archive, members: texts }));
            }
            texts.swap_remove(0)
        }
    };
    // The crate's own member reader borrows the archive; what it knows is enough to read alone.
    // A damaged directory can list a name and not find it.
    let index = zip.index_for_name(&name).ok_or_else(|| {
        input_error(InputError::Zip { reason: format!("its directory does not find {name:?}") })
    })?;
    let entry = zip.by_index_raw(index).map_err(zip_error)?;
    if entry.encrypted() {
        let how = "encrypted".to_owned();
        return Err(input_error(InputError::ZipMember { member: name, how }));
    }
    let method = entry.compression();
    let n_packed = entry.compressed_size();
    let (n_bytes, crc) = (entry.size(), entry.crc32());
    let start = entry.data_start().ok_or_else(|| {
        input_error(InputError::Zip { reason: "a member without data".to_owned() })
    })?;
    drop(entry);
    drop(zip);
    file.seek(SeekFrom::Start(start)).map_err(read_error)?;
    let packed = file.take(n_packed);
    let unpacked: Box<dyn Read + Send> = match method {
        CompressionMethod::Stored => Box::new(packed),
        CompressionMethod::Deflated => Box::new(DeflateDecoder::new(packed)),
        other => {
            let how = format!("compressed with {other}, only deflate is read");
            return Err(input_error(InputError::ZipMember { member: name, how }));
        }
    };
    let checked = ZipMember { unpacked, crc: Crc::new(), n_read: 0, n_bytes, expected_crc: crc };
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, checked)))
}

/// gzip whose errors say what is wrong with the file.
struct Gzip<R: BufRead> {
    decoder: MultiGzDecoder<R>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(out).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the gzip data are cut short (they end inside a member); \
                 copy or download the file again",
            ),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the gzip data are damaged ({source}); copy or download the file again"),
            ),
            _ => source,
        })
    }
}

/// A zip member that checks its length and CRC-32 at its end.
struct ZipMember {
    unpacked: Box<dyn Read + Send>,
    crc: Crc,
    n_read: u64,
    n_bytes: u64,
    expected_crc: u32,
}

impl Read for ZipMember {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let damaged = |what: String| {
            let message = format!("the zip member is damaged ({what}); copy or download it again");
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let n = self.unpacked.read(out).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => damaged(source.to_string()),
            _ => source,
        })?;
        self.crc.update(&out[..n]);
        self.n_read += n as u64;
        if self.n_read > self.n_bytes || (n == 0 && !out.is_empty() && self.n_read < self.n_bytes) {
            let at = if n == 0 { "" } else { "more than " };
            return Err(damaged(format!(
                "expected {} bytes, got {at}{}",
                self.n_bytes, self.n_read
            )));
        }
        if n == 0 && !out.is_empty() && self.crc.sum() != self.expected_crc {
            return Err(damaged("its CRC-32 does not match".to_owned()));
        }
        Ok(n)
    }
}

/// The last part of a path without `.gz` and without its next extension: `a/b.tsv.gz` gives `b`.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = strip_gz(&name);
    match name.rfind('.') {
        Some(dot) if dot > 0 => name[..dot].to_owned(),
        _ => name.to_owned(),
    }
}

/// The extension in lower case, `.gz` left aside: `a/b.TSV.gz` gives `tsv`.
pub fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = strip_gz(&name);
    match name.rfind('.') {
        Some(dot) if dot > 0 => name[dot + 1..].to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn strip_gz(name: &str) -> &str {
    match name.len().checked_sub(3) {
        Some(cut) if cut > 0 && name.is_char_boundary(cut) => {
            if name[cut..].eq_ignore_ascii_case(".gz") { &name[..cut] } else { name }
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(path: &Path) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut reader = open(path).map_err(|e| e.to_string())?;
        reader.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn text() -> Vec<u8> {
        (0..20_000u32)
            .flat_map(|i| format!("{} ", i.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    fn zip_of(path: &Path, members: &[(&str, &[u8], CompressionMethod)]) {
        let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, bytes, method) in members {
            let options = zip::write::SimpleFileOptions::default().compression_method(*method);
            zip.start_file(*name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn plain_empty_and_gzip_files_come_out_as_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (packed, expected) in [
            (Vec::new(), Vec::new()),
            (vec![0x1f], vec![0x1f]),
            (text(), text()),
            (gzip(&text()), text()),
            (gzip(b""), Vec::new()),
            (
                [gzip(b"one "), gzip(b"two "), gzip(&text())].concat(),
                [b"one two ".to_vec(), text()].concat(),
            ),
        ] {
            std::fs::write(&path, packed).unwrap();
            assert!(read_all(&path).unwrap() == expected);
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let socket = dir.path().join("socket");
        std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for (path, what) in [(&fifo, "a FIFO"), (&socket, "socket"), (&link, "device")] {
            let read = [
                open(path).err().unwrap(),
                Error::Read { path: path.clone(), source: read_text(path).unwrap_err() },
                Error::Read { path: path.clone(), source: read_bytes(path).unwrap_err() },
            ];
            for error in read {
                assert_eq!(error.exit_code(), 3);
                let text = error.to_string();
                assert!(text.contains(what) && text.contains("a regular file"), "{text}");
            }
        }
        let folder = read_text(dir.path()).unwrap_err();
        assert_eq!(folder.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_small_text_is_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read_text(&path).unwrap(), "{}");
        assert_eq!(read_bytes(&path).unwrap(), b"{}");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(MAX_TEXT_BYTES).unwrap();
        assert_eq!(read_text(&path).unwrap().len() as u64, MAX_TEXT_BYTES);
        file.set_len(MAX_TEXT_BYTES + 1).unwrap();
        let error = read_text(&path).unwrap_err();
        assert!(error.to_string().contains("at most 64 MiB"), "{error}");
    }

    #[test]
    fn gzip_cut_anywhere_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        let packed = [gzip(b"first member"), gzip(&text())].concat();
        let first = gzip(b"first member").len();
        for cut in
            (2..60).chain((60..packed.len()).step_by(997)).chain(packed.len() - 9..packed.len())
        {
            if cut == first {
                continue; // a whole file of one member
            }
            std::fs::write(&path, &packed[..cut]).unwrap();
            let message = read_all(&path).expect_err("a cut file");
            assert!(message.contains("cut short"), "cut at {cut}: {message}");
        }
    }

    #[test]
    fn damaged_gzip_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        let mut packed = gzip(&text());
        let n = packed.len();
        packed[n - 6] ^= 1; // the CRC
        std::fs::write(&path, &packed).unwrap();
        assert!(read_all(&path).unwrap_err().contains("damaged"));
        std::fs::write(&path, [gzip(b"a"), b"no gzip header".to_vec()].concat()).unwrap();
        assert!(read_all(&path).unwrap_err().contains("damaged"));
    }

    #[test]
    fn a_zip_gives_its_only_text_or_the_named_member() {
        let dir = tempfile::tempdir().unwrap();
        let one = dir.path().join("one.zip");
        let words = text();
        zip_of(
            &one,
            &[
                ("a/v.txt", &words, CompressionMethod::Deflated),
                ("b.md", b"b", CompressionMethod::Stored),
            ],
        );
        assert!(read_all(&one).unwrap() == words);
        assert_eq!(read_all(&one.join("b.md")).unwrap(), b"b");
        assert!(read_all(&one.join("a/v.txt")).unwrap() == words);
        let message = read_all(&one.join("c.txt")).unwrap_err();
        assert!(message.contains("no member \"c.txt\"") && message.contains("b.md"), "{message}");

        let two = dir.path().join("two.zip");
        let stored = CompressionMethod::Stored;
        zip_of(&two, &[("a.txt", b"aa", stored), ("b.txt", b"bb", stored)]);
        let message = read_all(&two).unwrap_err();
        assert!(
            message.contains("holds 2 files (a.txt, b.txt)") && message.contains("two.zip/MEMBER")
        );
        zip_of(&two, &[("a.vec", b"aa", stored), ("__MACOSX/._a.vec", b"x", stored)]);
        assert_eq!(read_all(&two).unwrap(), b"aa");
        zip_of(&two, &[("a.md", b"aa", stored), ("b.md", b"bb", stored)]);
        assert!(read_all(&two).unwrap_err().contains("holds 2 files (a.md, b.md)"));
    }

    #[test]
    fn a_damaged_or_cut_zip_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            zip_of(&path, &[("a.txt", &text(), method)]);
            let whole = std::fs::read(&path).unwrap();
            let mut damaged = whole.clone();
            damaged[5_000] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            assert!(read_all(&path).unwrap_err().contains("damaged"));
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            assert!(read_all(&path).unwrap_err().contains("cannot be read"));
        }
        zip_of(&path, &[("a.txt", b"abc", CompressionMethod::Stored)]);
        let mut encrypted = std::fs::read(&path).unwrap();
        encrypted[6] |= 1; // the flag in the local header
        let central = encrypted.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        encrypted[central + 8] |= 1;
        std::fs::write(&path, &encrypted).unwrap();
        assert!(read_all(&path).unwrap_err().contains("encrypted"));
        let mut lzma = std::fs::read(&path).unwrap();
        lzma[6] &= !1;
        lzma[central + 8] &= !1;
        lzma[8] = 14;
        lzma[central + 10] = 14;
        std::fs::write(&path, &lzma).unwrap();
        assert!(read_all(&path).unwrap_err().contains("only deflate is read"));
    }

    #[test]
    fn missing_files_and_folders_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_all(&dir.path().join("none.txt")).unwrap_err().contains("none.txt"));
        assert!(read_all(dir.path()).unwrap_err().contains("folder"));
    }

    #[test]
    fn stems_and_extensions_leave_gz_aside() {
        for (path, expected) in [
            ("a/b.tsv.gz", ("b", "tsv")),
            ("b.c.CSV", ("b.c", "csv")),
            ("b.GZ", ("b", "")),
            (".gz", (".gz", "")),
            ("é.gz", ("é", "")),
            ("b", ("b", "")),
        ] {
            let path = Path::new(path);
            assert_eq!((stem(path).as_str(), extension(path).as_str()), expected);
        }
    }
}
