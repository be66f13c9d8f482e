//! Files that are not what was asked for, known by what they hold or by their name.

use std::path::Path;

/// A kind of file that people have beside (or in place of) the one that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// git-annex, DataLad.
    AnnexPointer,
    /// git-lfs.
    LfsPointer,
    /// A web page, as a download that needs a login gives it.
    Html,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// NIST's time-marked words, as Kaldi writes them.
    Ctm,
    /// ELAN.
    Eaf,
    /// CHAT, of CHILDES and TalkBank.
    Cha,
    /// Other XML (EXMARaLDA, Transcriber, …).
    Xml,
    /// Times and labels without a header: Audacity's label tracks, HTK's and MAUS's.
    Labels,
    /// Excel.
    Excel,
    /// Word, OpenDocument.
    Document,
    /// Any other zip.
    Zip,
    /// 7z, rar, xz, bzip2, zstd.
    Archive,
    /// PDF.
    Pdf,
    /// NumPy.
    Npy,
    /// HDF5, MATLAB 7.3.
    Hdf5,
    /// MATLAB before 7.3.
    Matlab,
    /// R's own.
    R,
    /// Parquet, Feather.
    Columns,
    /// Sound or film.
    Media,
    /// A pickle by its first bytes.
    Pickle,
    /// NIfTI.
    Nifti,
    /// Praat's binary or another of its classes.
    Praat,
}

impl FileKind {
    /// What it is, in words.
    pub fn what(self) -> &'static str {
        match self {
            FileKind::AnnexPointer => "a git-annex pointer, the data are not here",
            FileKind::LfsPointer => "a git-lfs pointer, the data are not here",
            FileKind::Html => "a web page (HTML)",
            FileKind::Srt => "SubRip subtitles (.srt)",
            FileKind::Vtt => "WebVTT subtitles (.vtt)",
            FileKind::Ctm => "a CTM file",
            FileKind::Eaf => "an ELAN annotation (.eaf)",
            FileKind::Cha => "a CHAT transcript (.cha)",
            FileKind::Xml => "an XML file",
            FileKind::Labels => "a list of times and labels without a header",
            FileKind::Excel => "an Excel workbook",
            FileKind::Document => "a text document (Word or OpenDocument)",
            FileKind::Zip => "a zip archive",
            FileKind::Archive => "a packed archive",
            FileKind::Pdf => "a PDF",
            FileKind::Npy => "a NumPy array (.npy)",
            FileKind::Hdf5 => "an HDF5 file",
            FileKind::Matlab => "a MATLAB file (.mat)",
            FileKind::R => "an R data file",
            FileKind::Columns => "a Parquet or Feather file",
            FileKind::Media => "a sound or video file",
            FileKind::Pickle => "a Python pickle",
            FileKind::Nifti => "a NIfTI image",
            FileKind::Praat => "a Praat file that is no TextGrid text file",
        }
    }

    /// What to do where timed words were wanted.
    pub fn for_words(self) -> &'static str {
        const TABLE: &str = "expected a table with onset, offset and word";
        match self {
            FileKind::AnnexPointer => "get it with `datalad get FILE` or `git annex get FILE`",
            FileKind::LfsPointer => "get it with `git lfs pull`",
            FileKind::Html => {
                "download the file itself: a login or a link's page was saved instead"
            }
            FileKind::Srt | FileKind::Vtt => {
                "subtitles time whole lines, not words: align the sound and its text (WhisperX, \
                 gentle, MFA, WebMAUS) and give that"
            }
            FileKind::Ctm => {
                "its columns are file, channel, onset, duration, word: put a header line \
                 `file channel onset duration word` on top"
            }
            FileKind::Eaf => "in ELAN: Export As, Praat TextGrid (or Tab-delimited Text)",
            FileKind::Cha => "with CLAN: chat2praat FILE, and give the TextGrid",
            FileKind::Xml => "export it as a Praat TextGrid",
            FileKind::Labels => {
                "put a header line on top, such as onset, offset and word with tabs between them"
            }
            FileKind::Excel => "save it as CSV or as tab-delimited text",
            FileKind::Document => "save its table as tab-delimited text",
            FileKind::Zip | FileKind::Archive => "unpack it and give the folder or file inside",
            FileKind::Praat => "in Praat: Save as text file",
            FileKind::Pickle => "a pickle of stories must be called .pkl",
            _ => TABLE,
        }
    }
}

/// The kind of a file that starts with `bytes`, where it is one of the list; `None` for tables,
/// TextGrids, JSON and whatever is not known.
pub fn of_content(bytes: &[u8]) -> Option<FileKind> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let has = |part: &[u8]| bytes.windows(part.len()).take(4096).any(|window| window == part);
    let kind = match () {
        () if starts(b"/annex/objects/") || is_annex_link(bytes) => FileKind::AnnexPointer,
        () if starts(b"version https://git-lfs") => FileKind::LfsPointer,
        () if starts(b"PK\x03\x04") && has(b"xl/") => FileKind::Excel,
        () if starts(b"PK\x03\x04") && (has(b"word/") || has(b"opendocument")) => {
            FileKind::Document
        }
        () if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") => FileKind::Zip,
        () if starts(b"7z\xbc\xaf") || starts(b"Rar!") || starts(b"\xfd7zXZ") => FileKind::Archive,
        () if starts(b"BZh") || starts(b"\x28\xb5\x2f\xfd") => FileKind::Archive,
        () if starts(b"\xd0\xcf\x11\xe0") => FileKind::Excel,
        () if starts(b"%PDF") => FileKind::Pdf,
        () if starts(b"\x93NUMPY") => FileKind::Npy,
        () if starts(b"\x89HDF\r\n") => FileKind::Hdf5,
        () if starts(b"MATLAB 5.0") => FileKind::Matlab,
        () if starts(b"RDX") || starts(b"X\n\0\0") => FileKind::R,
        () if starts(b"PAR1") || starts(b"ARROW1") || starts(b"FEA1") => FileKind::Columns,
        () if starts(b"RIFF") || starts(b"ID3") || starts(b"fLaC") || starts(b"OggS") => {
            FileKind::Media
        }
        () if bytes.get(4..8) == Some(b"ftyp") => FileKind::Media,
        () if matches!(bytes, [0x80, 2..=5, ..]) => FileKind::Pickle,
        () if matches!(bytes.get(344..348), Some(b"n+1\0" | b"ni1\0")) => FileKind::Nifti,
        () if starts(b"ooBinaryFile") => FileKind::Praat,
        () => return of_text(bytes),
    };
    Some(kind)
}

/// An annexed file whose link was made a text (Windows, zip downloads from GitHub).
fn is_annex_link(bytes: &[u8]) -> bool {
    let text = &bytes[..bytes.len().min(400)];
    text.starts_with(b"../") && text.windows(13).any(|part| part == b".git/annex/ob")
        || text.starts_with(b".git/annex/objects/")
}

/// Kinds of texts, by their first lines.
fn of_text(bytes: &[u8]) -> Option<FileKind> {
    let (text, _) = super::text::decode(&bytes[..bytes.len().min(8192) & !1]).ok()?;
    let text = text.trim_start();
    let lower: String = text.chars().take(600).collect::<String>().to_lowercase();
    if lower.starts_with("webvtt") {
        return Some(FileKind::Vtt);
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return Some(FileKind::Html);
    }
    if lower.starts_with("<?xml") || lower.starts_with("<annotation_document") {
        let is_elan = lower.contains("<annotation_document");
        let is_page = lower.contains("<html");
        return Some(match (is_elan, is_page) {
            (true, _) => FileKind::Eaf,
            (_, true) => FileKind::Html,
            _ => FileKind::Xml,
        });
    }
    if text.starts_with("@UTF8") || text.starts_with("@Begin") {
        return Some(FileKind::Cha);
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let second = lines.next().unwrap_or_default();
    if first.parse::<u32>().is_ok() && second.contains("-->") {
        return Some(FileKind::Srt);
    }
    let shown: Vec<&str> = [first, second].into_iter().chain(lines.take(6)).collect();
    if shown.iter().filter(|line| !line.is_empty()).all(|line| is_ctm(line)) {
        return Some(FileKind::Ctm);
    }
    if shown.iter().filter(|line| !line.is_empty()).all(|line| is_label(line)) {
        return Some(FileKind::Labels);
    }
    None
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `FILE CHANNEL ONSET DURATION WORD [CONFIDENCE]`.
fn is_ctm(line: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    line.starts_with(";;")
        || matches!(fields[..], [_, channel, onset, duration, word, ..]
            if fields.len() <= 7 && channel.len() <= 2 && is_number(onset) && is_number(duration)
            && !is_number(word) && !line.contains(','))
}

/// `ONSET END LABEL`.
fn is_label(line: &str) -> bool {
    let mut fields = line.split_ascii_whitespace();
    let times = [fields.next(), fields.next()];
    times.into_iter().all(|field| field.is_some_and(is_number))
        && fields.next().is_some_and(|label| !is_number(label))
}

/// The kind that a file's name promises.
pub fn of_name(path: &Path) -> Option<FileKind> {
    Some(match super::input::extension(path).as_str() {
        "srt" => FileKind::Srt,
        "vtt" => FileKind::Vtt,
        "ctm" => FileKind::Ctm,
        "eaf" => FileKind::Eaf,
        "cha" => FileKind::Cha,
        "xml" | "exb" | "trs" => FileKind::Xml,
        "htm" | "html" => FileKind::Html,
        "lab" | "mlf" | "par" => FileKind::Labels,
        "xls" | "xlsx" | "ods" => FileKind::Excel,
        "doc" | "docx" | "odt" | "rtf" => FileKind::Document,
        "zip" => FileKind::Zip,
        "7z" | "rar" | "xz" | "bz2" | "zst" | "tar" | "tgz" => FileKind::Archive,
        "pdf" => FileKind::Pdf,
        "npy" | "npz" => FileKind::Npy,
        "h5" | "hf5" | "hdf5" | "hdf" => FileKind::Hdf5,
        "mat" => FileKind::Matlab,
        "rds" | "rdata" | "rda" => FileKind::R,
        "parquet" | "feather" | "arrow" => FileKind::Columns,
        "wav" | "mp3" | "flac" | "ogg" | "m4a" | "aac" | "mp4" | "mkv" | "mov" => FileKind::Media,
        "nii" => FileKind::Nifti,
        "collection" => FileKind::Praat,
        _ => return None,
    })
}

/// Whether a path is a link whose target is not there, as git-annex leaves it.
pub fn is_dangling(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_what_they_hold() {
        use FileKind::*;
        let nifti = [vec![0u8; 344], b"n+1\0".to_vec()].concat();
        for (bytes, kind) in [
            (&b"/annex/objects/MD5E-s123--abc.tsv\n"[..], AnnexPointer),
            (b"../../.git/annex/objects/Xx/9z/MD5E-s1--a.tsv/MD5E-s1--a.tsv", AnnexPointer),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", LfsPointer),
            (b"\n<!DOCTYPE HTML><html>", Html),
            (b"<?xml version=\"1.0\"?>\n<html xmlns=\"\">", Html),
            (b"<?xml version=\"1.0\"?>\n<ANNOTATION_DOCUMENT AUTHOR=\"\">", Eaf),
            (b"<?xml version=\"1.0\"?>\n<Trans>", Xml),
            (b"1\n00:00:00,500 --> 00:00:02,000\nhello there\n", Srt),
            (b"\xef\xbb\xbf1\r\n00:00:00,500 --> 00:00:02,000\r\nhello\r\n", Srt),
            (b"WEBVTT\n\n00:00.500 --> 00:02.000\nhello\n", Vtt),
            (b"play 1 0.50 0.20 hello 0.98\nplay 1 0.70 0.10 you 1.00\n", Ctm),
            (b"@UTF8\n@Begin\n*CHI:\thello .\n", Cha),
            (b"0.500000\t0.700000\thello\n0.700000\t0.800000\tyou\n", Labels),
            (b"PK\x03\x04....xl/workbook.xml", Excel),
            (b"PK\x03\x04\x14\0", Zip),
            (b"\x93NUMPY\x01\0", Npy),
            (b"\x80\x04\x95", Pickle),
            (&nifti, Nifti),
            (b"ooBinaryFile\x08TextGrid", Praat),
        ] {
            assert_eq!(of_content(bytes), Some(kind), "{:?}", String::from_utf8_lossy(bytes));
            assert!(!kind.what().is_empty() && !kind.for_words().is_empty());
        }
    }

    #[test]
    fn what_is_read_is_none_of_them() {
        for text in [
            "onset\toffset\tword\n0\t1\thi\n",
            "hello,hello,0.5,0.7\nyou,<unk>,0.7,0.8\n",
            "hello,,,\n",
            "{\"segments\": []}",
            "File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n",
            "\"onset\" \"offset\" \"word\"\n\"1\" 0.5 0.7 \"hello\"\n",
            "1 2 3\n4 5 6\n",
            "",
        ] {
            assert_eq!(of_content(text.as_bytes()), None, "{text}");
        }
        assert_eq!(of_name(Path::new("a/b.SRT")), Some(FileKind::Srt));
        assert_eq!(of_name(Path::new("a/b.tsv")), None);
    }
}
