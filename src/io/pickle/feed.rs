//! A pickle that comes as a stream, of which the arrays are left where they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Bytes in order, of which some are passed over.
pub(super) trait Feed {
    /// Fills `out`, or fails.
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()>;
    /// Passes over `n` bytes; past the end it fails.
    fn skip(&mut self, n: u64) -> io::Result<()>;
    /// Bytes before the next one, from the start of the file (unpacked).
    fn position(&self) -> u64;
    /// Bytes that are still to come; `None` in a packed file.
    fn left(&self) -> Option<u64>;
}

/// A plain file.
pub(super) struct Plain {
    file: BufReader<File>,
    position: u64,
    n_file: u64,
}

impl Plain {
    /// From byte `start` on.
    pub(super) fn new(mut file: File, start: u64) -> io::Result<Plain> {
        let n_file = file.metadata()?.len();
        file.seek(SeekFrom::Start(start))?;
        Ok(Plain { file: BufReader::new(file), position: start, n_file })
    }
}

impl Feed for Plain {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(out)?;
        self.position += out.len() as u64;
        Ok(())
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        let n_signed = i64::try_from(n).ok().filter(|_| n <= self.n_file - self.position);
        self.file.seek_relative(n_signed.ok_or(io::ErrorKind::UnexpectedEof)?)?;
        self.position += n;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn left(&self) -> Option<u64> {
        Some(self.n_file.saturating_sub(self.position))
    }
}

/// A file that is unpacked on the way.
pub(super) struct Packed {
    pub(super) stream: Box<dyn BufRead + Send>,
    pub(super) position: u64,
}

impl Feed for Packed {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(out)?;
        self.position += out.len() as u64;
        Ok(())
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.stream.by_ref().take(n), &mut io::sink())?;
        self.position += skipped;
        if skipped == n { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn left(&self) -> Option<u64> {
        None
    }
}
