//! What a file is, by its first bytes: names lie, and a wrong file is told for what it is.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::input::{extension, irregular};
use crate::error::{Error, Result};

/// Bytes that are looked at: the signature behind the user block of MATLAB's files among them.
const HEAD_BYTES: usize = 2048;
/// Where HDF5 may begin behind a user block, of those places that MATLAB and h5py use.
const HDF5_STARTS: [usize; 3] = [0, 512, 1024];
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// A format that holds matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the formats'
pub enum FileKind {
    Npy,
    Npz,
    Hdf5,
    /// HDF5 that MATLAB wrote: its matrices are column-major.
    Matlab73,
    /// One image, through a mask.
    Nifti,
    Cifti,
    Gifti,
    /// A pickle, or what joblib writes; plain, or inside zlib or gzip.
    Pickle {
        /// The stream is packed.
        is_packed: bool,
    },
}

/// Opens a regular file: a FIFO would wait for ever and a device never ends.
/// # Errors
/// `Error::Read` where nothing is there; `Error::Values` for a dead link, a folder, a FIFO, a
/// socket or a device.
pub fn open_regular(path: &Path) -> Result<File> {
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(source) => return Err(dead_link(path).unwrap_or_else(|| read_error(path, source))),
    };
    let Some(what) = irregular(about.file_type()) else {
        return File::open(path).map_err(|source| read_error(path, source));
    };
    Err(wrong(path, what, "give a file"))
}

/// What is wrong with a soft link whose target is not there; `None` for anything else.
fn dead_link(path: &Path) -> Option<Error> {
    let target = std::fs::read_link(path).ok()?;
    let shown = target.display().to_string();
    Some(match shown.contains(".git/annex/") {
        true => wrong(path, ANNEX, &datalad_get(path)),
        false => wrong(
            path,
            &format!("a soft link to {shown}, where nothing is"),
            "link to a file that is there",
        ),
    })
}

const ANNEX: &str = "a DataLad (git-annex) link whose data were not fetched";

/// The command that gets a file of DataLad's.
pub fn datalad_get(path: &Path) -> String {
    format!("run: datalad get {}", path.display())
}

fn read_error(path: &Path, source: std::io::Error) -> Error {
    Error::Read { path: path.to_owned(), source }
}

/// A file that is something else than a matrix.
fn wrong(path: &Path, what: &str, hint: &str) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: format!("expected a file of a matrix, got {what}"),
        hint: hint.to_owned(),
    }
}

/// The format of a file; `None` where its first bytes say nothing, so that its name decides.
/// # Errors
/// Those of [`open_regular`]; `Error::Values` for a format that holds no matrix for us, named.
pub fn file_kind(path: &Path) -> Result<Option<FileKind>> {
    let mut file = open_regular(path)?;
    let n_file = file.metadata().map_err(|source| read_error(path, source))?.len();
    let head = read_head(&mut file).map_err(|source| read_error(path, source))?;
    if head.starts_with(&[0x1f, 0x8b]) {
        file.seek(SeekFrom::Start(0)).map_err(|source| read_error(path, source))?;
        // Damaged gzip says so to the reader that unpacks it.
        let inner = read_head(&mut MultiGzDecoder::new(file)).unwrap_or_default();
        return of_packed(path, &inner);
    }
    if let Some(kind) = of_bytes(&head, n_file) {
        return Ok(Some(kind));
    }
    match named(path, &head) {
        Some((what, hint)) => Err(wrong(path, &what, &hint)),
        None => Ok(None),
    }
}

fn read_head(stream: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    stream.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Inside gzip: images, surfaces and pickles are read, anything else is named.
fn of_packed(path: &Path, head: &[u8]) -> Result<Option<FileKind>> {
    match of_bytes(head, u64::MAX) {
        Some(FileKind::Pickle { .. }) => Ok(Some(FileKind::Pickle { is_packed: true })),
        Some(kind @ (FileKind::Nifti | FileKind::Cifti | FileKind::Gifti)) => Ok(Some(kind)),
        Some(FileKind::Npy) => Err(wrong(path, "a .npy inside gzip", "run gunzip on it")),
        Some(_) => Err(wrong(path, "a packed file inside gzip", "run gunzip on it")),
        None if is_mgh(head) => Err(wrong(path, MGZ, MGZ_HINT)),
        None => match named(path, head) {
            Some((what, hint)) => Err(wrong(path, &format!("{what}, inside gzip"), &hint)),
            None => Ok(None),
        },
    }
}

const MGZ: &str = "an image or surface of FreeSurfer (.mgz, .mgh)";
const MGZ_HINT: &str =
    "convert it: mri_convert IN.mgz OUT.nii.gz (volumes), OUT.func.gii (surfaces)";

/// Version 1, and a type of voxel that exists.
fn is_mgh(head: &[u8]) -> bool {
    head.len() >= 284 && head[..4] == 1i32.to_be_bytes() && head[20..23] == [0; 3] && head[23] < 8
}

fn of_bytes(head: &[u8], n_file: u64) -> Option<FileKind> {
    if head.starts_with(b"\x93NUMPY") {
        return Some(FileKind::Npy);
    }
    let is_hdf5 = HDF5_STARTS.iter().any(|&at| head.get(at..).is_some_and(|h| h.starts_with(HDF5)));
    if is_hdf5 {
        let is_matlab = head.starts_with(b"MATLAB 7.3");
        return Some(if is_matlab { FileKind::Matlab73 } else { FileKind::Hdf5 });
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(FileKind::Npz);
    }
    if let Some(kind) = nifti(head) {
        return Some(kind);
    }
    if is_pickle(head) {
        return Some(FileKind::Pickle { is_packed: false });
    }
    // zlib: deflate with a 32 kB window, and a check over both bytes.
    if let [0x78, flags, ..] = *head
        && (0x78 * 256 + u32::from(flags)) % 31 == 0
        && n_file > 8
    {
        return Some(FileKind::Pickle { is_packed: true });
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let is_xml = text.starts_with(b"<?xml") || text.starts_with(b"<!DOCTYPE GIFTI");
    let is_gifti = text.starts_with(b"<GIFTI") || (is_xml && contains(text, b"<GIFTI"));
    is_gifti.then_some(FileKind::Gifti)
}

/// NIfTI by the length of its header, CIFTI by its intent.
fn nifti(head: &[u8]) -> Option<FileKind> {
    let first: [u8; 4] = head.get(..4)?.try_into().ok()?;
    let (le, be) = (i32::from_le_bytes(first), i32::from_be_bytes(first));
    if le == 348 || be == 348 {
        return Some(FileKind::Nifti);
    }
    if le != 540 && be != 540 {
        return None;
    }
    let intent: [u8; 4] = head.get(504..508)?.try_into().ok()?;
    let intent = if le == 540 { i32::from_le_bytes(intent) } else { i32::from_be_bytes(intent) };
    Some(if (3000..3100).contains(&intent) { FileKind::Cifti } else { FileKind::Nifti })
}

/// Protocols 2 to 5 say so; 0 and 1 begin with a container.
fn is_pickle(head: &[u8]) -> bool {
    matches!(*head, [0x80, 2..=5, ..])
        || matches!(*head, [b'(' | b'}', b'd' | b'q' | b'l' | b'(' | b'.', ..])
        || head.starts_with(b"cnumpy")
}

fn contains(head: &[u8], wanted: &[u8]) -> bool {
    head.windows(wanted.len()).any(|bytes| bytes == wanted)
}

/// Formats that are not read, in words, and what to do.
fn named(path: &Path, head: &[u8]) -> Option<(String, String)> {
    const CONVERT: &str = "save its matrix (TRs, voxels) with numpy.save";
    let said = |what: &str, hint: &str| Some((what.to_owned(), hint.to_owned()));
    if contains(&head[..head.len().min(512)], b"/annex/objects/") && head.len() < HEAD_BYTES {
        return Some((ANNEX.to_owned(), datalad_get(path)));
    }
    if head.starts_with(b"version https://git-lfs") {
        return said("a Git LFS pointer, not the data", "run: git lfs pull");
    }
    for (magic, what) in [
        (&b"BZh"[..], "a bzip2 file; of joblib's files plain, zlib and gzip are read"),
        (b"\xfd7zXZ", "an xz file; of joblib's files plain, zlib and gzip are read"),
        (b"\x5d\0\0", "an LZMA file; of joblib's files plain, zlib and gzip are read"),
        (b"\x04\"M\x18", "an LZ4 file; of joblib's files plain, zlib and gzip are read"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
    ] {
        if head.starts_with(magic) {
            return said(what, "save it again without that compression");
        }
    }
    for (magic, what) in [
        (&b"CDF\x01"[..], "a netCDF or MINC file"),
        (b"CDF\x02", "a netCDF file"),
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "a Feather (Arrow) file"),
        (b"FEA1", "a Feather file"),
        (b"SIMPLE  =", "a FITS file"),
        (b"\xd0\xcf\x11\xe0", "an old Excel file"),
        (b"%PDF", "a PDF"),
        (b"RDX", "an R data file"),
        (b"\xff\xff\xfe", "a surface of FreeSurfer"),
        (b"\xff\xff\xff", "a curvature file of FreeSurfer"),
    ] {
        if head.starts_with(magic) {
            return said(what, CONVERT);
        }
    }
    if head.starts_with(b"MATLAB 5.0 MAT-file") {
        return said(
            "a MATLAB file up to version 7",
            "in MATLAB: save(..., '-v7.3'); in Python: numpy.save(\"x.npy\", \
             scipy.io.loadmat(\"x.mat\")[\"data\"])",
        );
    }
    if is_mgh(head) {
        return said(MGZ, MGZ_HINT);
    }
    text_named(head)
}

fn text_named(head: &[u8]) -> Option<(String, String)> {
    let is_cut = head.len() == HEAD_BYTES;
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut in two at the end.
        Err(error) if is_cut && error.valid_up_to() + 4 > head.len() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if text.trim().len() < 8 || !text.chars().all(is_plain) {
        return None;
    }
    let lower = text.trim_start().to_ascii_lowercase();
    let hint = "save the matrix (TRs, voxels) with numpy.save".to_owned();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return Some(("a web page".into(), "download the file itself".into()));
    }
    if lower.starts_with('<') {
        return Some(("an XML file that is no GIFTI".into(), hint));
    }
    if lower.starts_with('{') || lower.starts_with('[') {
        return Some(("a JSON file".into(), hint));
    }
    // A file of one word is no table.
    let first = text.lines().next().unwrap_or_default();
    let is_table = text.contains(['\t', ',', ';', '\n']);
    let first: String = first.chars().take(60).collect();
    is_table.then(|| (format!("text or a table (it begins {first:?})"), hint))
}

/// Whether the name says that a file's format is one of these; the last word is its content's.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    extensions.contains(&extension(path).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, bytes).unwrap();
        match file_kind(&path) {
            Ok(kind) => format!("{kind:?}"),
            Err(error) => {
                assert_eq!(error.exit_code(), 3);
                error.to_string()
            }
        }
    }

    #[test]
    fn files_are_known_by_their_content() {
        let mut user_block = vec![0u8; 512];
        user_block.extend(HDF5);
        let mut matlab = b"MATLAB 7.3 MAT-file, Platform".to_vec();
        matlab.resize(512, b' ');
        matlab.extend(HDF5);
        for (bytes, says) in [
            (&b"\x93NUMPY\x01\0"[..], "Some(Npy)"),
            (HDF5, "Some(Hdf5)"),
            (&user_block, "Some(Hdf5)"),
            (&matlab, "Some(Matlab73)"),
            (b"PK\x03\x04", "Some(Npz)"),
            (b"\x80\x04\x95", "Some(Pickle { is_packed: false })"),
            (b"\x78\x9c1234567", "Some(Pickle { is_packed: true })"),
            (b"<?xml version=\"1.0\"?>\n<GIFTI Version=\"1.0\">", "Some(Gifti)"),
            (b"", "None"),
            (b"\x01\x02\x03", "None"),
            (b"onset\tduration\tword\n0.1\t0.2\ta\n", "text or a table"),
            (b"{\"RepetitionTime\": 2}", "a JSON file"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
            (b"../../.git/annex/objects/3X/aa/MD5E-s1--a.npy/MD5E-s1--a.npy\n", "datalad get"),
            (b"/annex/objects/MD5E-s1--a.npy\n", "datalad get"),
            (b"MATLAB 5.0 MAT-file, Platform", "MATLAB file up to version 7"),
            (b"BZh91AY", "bzip2"),
        ] {
            let got = said(bytes);
            assert!(got.contains(says), "{bytes:?}: {got}");
        }
        let mut mgh = 1i32.to_be_bytes().to_vec();
        mgh.extend([0, 0, 0, 9].repeat(3));
        mgh.extend([0, 0, 0, 1, 0, 0, 0, 3]);
        mgh.resize(400, 0);
        assert!(said(&mgh).contains("FreeSurfer"), "{}", said(&mgh));
    }

    #[test]
    fn what_is_no_file_is_refused_before_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| file_kind(path).unwrap_err().to_string();
        assert!(said(folder.path()).contains("a folder"));
        assert!(said(Path::new("/dev/null")).contains("a device"));
        let link = folder.path().join("dead.npy");
        std::os::unix::fs::symlink("nowhere.npy", &link).unwrap();
        assert!(said(&link).contains("a soft link to nowhere.npy"), "{}", said(&link));
        let annex = folder.path().join("annex.npy");
        std::os::unix::fs::symlink("../.git/annex/objects/a/b/MD5E-a", &annex).unwrap();
        assert!(said(&annex).contains("datalad get"), "{}", said(&annex));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(said(&socket).contains("a socket"));
    }
}
