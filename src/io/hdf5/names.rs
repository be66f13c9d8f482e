//! The datasets of a file by their names, and soft links, which are not followed.
//!
//! `hdf5-pure` passes over the links of newer files and stops at those of older ones (symbol tables,
//! what h5py writes unless told otherwise): there the names are read here. Source: HDF5 File Format
//! Specification 3.0, sections II.A, III.A to III.D.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::input::open_file;

use super::error::Hdf5Error;

/// Groups inside groups that are looked into.
const MAX_LEVELS: usize = 8;
/// Names that are listed.
const MAX_NAMES: usize = 20_000;
/// Nodes of symbol tables that are read.
const MAX_NODES: usize = 20_000;
/// The names of one group.
const MAX_HEAP: u64 = 16 << 20;

/// All datasets, as `GROUP/NAME`, sorted.
/// # Errors
/// `Error::Read`; `Hdf5Error::Unreadable`.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let fail = |error: hdf5_pure::Error| {
        let reason = error.to_string().chars().take(200).collect();
        Error::Hdf5 { path: path.to_owned(), source: Hdf5Error::Unreadable { reason } }
    };
    let file = hdf5_pure::File::open_streaming(path).map_err(fail)?;
    let mut found = Vec::new();
    let mut level = vec![(String::new(), file.root())];
    for _ in 0..MAX_LEVELS {
        let mut below = Vec::new();
        for (prefix, group) in level {
            let listed = group.datasets().and_then(|names| Ok((names, group.groups()?)));
            let (datasets, groups) = match listed {
                Ok(listed) => listed,
                // A soft link stands in the way.
                Err(error) => return old_names(path).ok_or_else(|| fail(error)),
            };
            found.extend(datasets.into_iter().map(|name| format!("{prefix}{name}")));
            for name in groups {
                let child = group.group(&name).map_err(fail)?;
                below.push((format!("{prefix}{name}/"), child));
            }
            if found.len() + below.len() > MAX_NAMES {
                found.truncate(MAX_NAMES);
                below.clear();
            }
        }
        level = below;
    }
    found.sort();
    Ok(found)
}

/// Where a name leads to, if it is a soft link.
pub(super) fn soft_link(path: &Path, name: &str) -> Option<String> {
    let wanted = name.trim_start_matches('/');
    let found = Symbols::read(path)?;
    found.into_iter().find(|entry| entry.name == wanted)?.target
}

fn old_names(path: &Path) -> Option<Vec<String>> {
    let found = Symbols::read(path)?.into_iter();
    let mut names: Vec<String> =
        found.filter(|entry| entry.target.is_none()).map(|entry| entry.name).collect();
    names.sort();
    Some(names)
}

/// A name in a symbol table that is no group.
struct Symbol {
    name: String,
    /// Of a soft link.
    target: Option<String>,
}

/// The groups of an older file.
struct Symbols {
    file: File,
    base: u64,
    n_nodes: usize,
    found: Vec<Symbol>,
}

impl Symbols {
    /// All names; `None` for files without symbol tables, and for what cannot be read.
    fn read(path: &Path) -> Option<Vec<Symbol>> {
        let file = open_file(path).ok()?;
        let base = [0, 512, 1024, 2048].into_iter().find(|&at| {
            let mut signature = [0; 8];
            file.read_exact_at(&mut signature, at).is_ok() && signature == *b"\x89HDF\r\n\x1a\n"
        })?;
        let mut symbols = Symbols { file, base, n_nodes: 0, found: Vec::new() };
        let superblock = symbols.bytes(0, 24)?;
        let root = match superblock[8] {
            0 => 56,
            1 => 60,
            _ => return None,
        };
        if superblock[13..15] != [8, 8] {
            return None;
        }
        let entry = symbols.bytes(root, 40)?;
        if number(&entry, 16, 4) != 1 {
            return None;
        }
        let (tree, heap) = (number(&entry, 24, 8), number(&entry, 32, 8));
        symbols.group(tree, heap, "", 0)?;
        Some(symbols.found)
    }

    /// `n` bytes from an address of the file.
    fn bytes(&self, address: u64, n: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(n).ok()?];
        self.file.read_exact_at(&mut bytes, self.base.checked_add(address)?).ok()?;
        Some(bytes)
    }

    fn group(&mut self, tree: u64, heap: u64, prefix: &str, level: usize) -> Option<()> {
        let head = self.bytes(heap, 32)?;
        let (size, start) = (number(&head, 8, 8), number(&head, 24, 8));
        let n_file = self.file.metadata().ok()?.len();
        if !head.starts_with(b"HEAP") || size > MAX_HEAP.min(n_file) || level > MAX_LEVELS {
            return None;
        }
        let heap = self.bytes(start, size)?;
        let mut nodes = vec![tree];
        while let Some(node) = nodes.pop() {
            self.n_nodes += 1;
            if self.n_nodes > MAX_NODES || self.found.len() > MAX_NAMES {
                return None;
            }
            let head = self.bytes(node, 24)?;
            if head.starts_with(b"SNOD") {
                let n = number(&head, 6, 2);
                let entries = self.bytes(node.checked_add(8)?, n * 40)?;
                for entry in entries.as_chunks::<40>().0 {
                    self.symbol(entry, &heap, prefix, level)?;
                }
                continue;
            }
            if !head.starts_with(b"TREE") {
                return None;
            }
            let n = number(&head, 6, 2);
            // A key in front of each child.
            let children = self.bytes(node.checked_add(24)?, n * 16)?;
            nodes.extend(children.as_chunks::<16>().0.iter().map(|pair| number(pair, 8, 8)));
        }
        Some(())
    }

    fn symbol(&mut self, entry: &[u8; 40], heap: &[u8], prefix: &str, level: usize) -> Option<()> {
        let name = format!("{prefix}{}", text(heap, number(entry, 0, 8))?);
        match number(entry, 16, 4) {
            1 => {
                let (tree, heap) = (number(entry, 24, 8), number(entry, 32, 8));
                self.group(tree, heap, &format!("{name}/"), level + 1)?;
            }
            2 => {
                let target = Some(text(heap, number(entry, 24, 4))?);
                self.found.push(Symbol { name, target });
            }
            _ => self.found.push(Symbol { name, target: None }),
        }
        Some(())
    }
}

/// A little-endian number of `width` bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A text that ends with 0.
fn text(heap: &[u8], at: u64) -> Option<String> {
    let rest = heap.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
