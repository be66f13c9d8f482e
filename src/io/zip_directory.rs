//! How many members a zip says it has, looked at before the zip reader believes it.
//!
//! The reader makes room for all of them, about 3.6 kB each, from a number in the file's last bytes.
//! Source of the layout: PKWARE's APPNOTE 6.3, sections 4.3.14 to 4.3.16.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Members of an archive that is read, at most.
pub const MOST_MEMBERS: u64 = 10_000;

/// The end record, without its comment of at most 65,535 bytes.
const END: usize = 22;
const LOCATOR: usize = 20;
const END_64: usize = 56;

/// What is wrong with the number of members; `None` if nothing is, or if there is no end record
/// (the zip reader says that better).
pub fn too_many_members(file: &File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    let n = length.min((END + LOCATOR + 0xffff) as u64) as usize;
    let mut tail = vec![0; n];
    file.read_exact_at(&mut tail, length - n as u64).ok()?;
    let number = |bytes: &[u8], at: usize, width: usize| {
        (0..width).fold(0u64, |sum, i| sum | u64::from(bytes[at + i]) << (8 * i))
    };
    // Every record that the reader may take for the end.
    for at in (0..n.saturating_sub(END - 1)).filter(|&at| tail[at..].starts_with(b"PK\x05\x06")) {
        let mut members = number(&tail, at + 10, 2);
        if let Some(locator) = at.checked_sub(LOCATOR).map(|from| &tail[from..at])
            && locator.starts_with(b"PK\x06\x07")
        {
            let mut end = [0; END_64];
            let is_there = file.read_exact_at(&mut end, number(locator, 8, 8)).is_ok();
            if !is_there || !end.starts_with(b"PK\x06\x06") {
                return Some("its 64-bit end record is not where it says".into());
            }
            members = number(&end, 32, 8);
        }
        if members > MOST_MEMBERS {
            return Some(format!("it says that it has {members} members, over {MOST_MEMBERS}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        too_many_members(&File::open(path).unwrap())
    }

    fn end(members: u16) -> Vec<u8> {
        let mut end = b"PK\x05\x06\0\0\0\0\0\0".to_vec();
        end.extend(members.to_le_bytes());
        end.resize(END, 0);
        end
    }

    #[test]
    fn numbers_of_members_are_bounded_in_both_end_records() {
        assert_eq!(said(b""), None);
        assert_eq!(said(b"no zip at all, but more than one end record long"), None);
        assert_eq!(said(&end(10_000)), None);
        assert!(said(&end(10_001)).unwrap().contains("10001 members"));
        // A comment, and an end record before the last one.
        assert!(said(&[end(20_000), end(1), b"comment".to_vec()].concat()).is_some());
        let of_64 = |members: u64, at: u64| {
            let mut all = b"PK\x06\x06".to_vec();
            all.resize(32, 0);
            all.extend(members.to_le_bytes());
            all.resize(END_64, 0);
            all.extend(b"PK\x06\x07\0\0\0\0");
            all.extend(at.to_le_bytes());
            all.resize(END_64 + LOCATOR, 0);
            [all, end(0xffff)].concat()
        };
        assert_eq!(said(&of_64(3, 0)), None);
        assert!(said(&of_64(1 << 40, 0)).unwrap().contains("1099511627776 members"));
        assert!(said(&of_64(3, 7)).unwrap().contains("not where it says"));
    }
}
