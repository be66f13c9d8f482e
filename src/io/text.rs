//! Bytes to text, as editors, Praat and spreadsheets save it.

use std::borrow::Cow;

/// How a text was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// With or without a byte order mark.
    Utf8,
    /// Either byte order, with a byte order mark or with the zero bytes that give it away.
    Utf16,
    /// What is left where the bytes are no UTF-8. Latin-1 is a part of it.
    Windows1252,
}

/// The bytes are UTF-16 with half a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenUtf16;

/// The characters of 0x80 to 0x9f, where Windows-1252 and Latin-1 differ. Five are not assigned.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text without its byte order mark, and how it was stored.
/// # Errors
/// [`BrokenUtf16`]; every other sequence of bytes is a text.
pub fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Encoding), BrokenUtf16> {
    let wide = |bytes: &[u8], from: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(BrokenUtf16);
        }
        let units = pairs.iter().map(|pair| from(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map(|text| (Cow::Owned(text), Encoding::Utf16)).map_err(|_| BrokenUtf16)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => return wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return wide(rest, u16::from_be_bytes),
        &[a, 0, b, 0, ..] if a > 0 && b > 0 => return wide(bytes, u16::from_le_bytes),
        &[0, a, 0, b, ..] if a > 0 && b > 0 => return wide(bytes, u16::from_be_bytes),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), Encoding::Utf8),
        Err(_) => (bytes.iter().map(|&byte| windows(byte)).collect(), Encoding::Windows1252),
    })
}

fn windows(byte: u8) -> char {
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "onset\tword\n0\tcafé’s “ß”\n";
        let wide =
            |to: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(to).collect() };
        let (little, big) = (wide(u16::to_le_bytes), wide(u16::to_be_bytes));
        let windows = b"onset\tword\n0\tcaf\xe9\x92s \x93\xdf\x94\n".to_vec();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), Encoding::Utf8),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), Encoding::Utf8),
            ([b"\xff\xfe".to_vec(), little.clone()].concat(), Encoding::Utf16),
            ([b"\xfe\xff".to_vec(), big.clone()].concat(), Encoding::Utf16),
            (little, Encoding::Utf16),
            (big, Encoding::Utf16),
            (windows, Encoding::Windows1252),
        ] {
            assert_eq!(decode(&bytes), Ok((Cow::Borrowed(text), encoding)));
        }
        assert_eq!(decode(b"\x80\x81\xff"), Ok(("€\u{81}ÿ".into(), Encoding::Windows1252)));
        assert_eq!(decode(b""), Ok(("".into(), Encoding::Utf8)));
    }

    #[test]
    fn half_a_character_is_refused() {
        assert_eq!(decode(b"\xff\xfea"), Err(BrokenUtf16));
        assert_eq!(decode(b"\xff\xfe\x00\xd8"), Err(BrokenUtf16));
    }
}
