//! Tags of an XML file, one after the other, and the text between them in pieces: what GIFTI and
//! CIFTI need. No entities but the five of XML, no document types with entities of their own.

use std::io::{self, BufRead};

/// A tag is not longer than this, with its attributes.
const MAX_TAG: usize = 1 << 20;

/// Why XML cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Of the stream.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Of what it holds.
    #[error("byte {at}: {problem}")]
    Syntax {
        /// Where.
        at: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `<name …>`, or `<name …/>`, which is followed by its end.
    Start(String, Vec<(String, String)>),
    /// `</name>`.
    End(String),
}

/// The value of an attribute, by its name.
pub fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.trim())
}

/// Reads XML from the start.
pub struct Xml<R> {
    stream: R,
    at: u64,
    /// The end of a tag that was its own end.
    pending: Option<String>,
}

impl<R: BufRead> Xml<R> {
    pub fn new(stream: R) -> Self {
        Xml { stream, at: 0, pending: None }
    }

    fn error(&self, problem: &'static str) -> XmlError {
        XmlError::Syntax { at: self.at, problem }
    }

    /// The next tag; text before it, comments and processing instructions are passed over. `None` at
    /// the end.
    pub fn tag(&mut self) -> Result<Option<Tag>, XmlError> {
        let mut ignore = |_: &[u8]| Ok(());
        self.text_then_tag(&mut ignore)
    }

    /// The next tag, after `take` was given the text before it in pieces.
    ///
    /// # Errors
    /// Those of `take` come back as [`XmlError::Io`].
    pub fn text_then_tag(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Option<Tag>, XmlError> {
        if let Some(name) = self.pending.take() {
            return Ok(Some(Tag::End(name)));
        }
        loop {
            if !self.text(take)? {
                return Ok(None);
            }
            let body = self.body(take)?;
            match body.as_slice() {
                [] => {}
                [b'?', ..] => {}
                [b'!', rest @ ..] => {
                    if rest.contains(&b'[') {
                        return Err(self.error("a document type with declarations is not read"));
                    }
                }
                [b'/', name @ ..] => {
                    let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                    return Ok(Some(Tag::End(name)));
                }
                whole => return self.start(whole).map(Some),
            }
        }
    }

    /// Hands out the text up to the next `<`, which is taken; false at the end of the file.
    fn text(&mut self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<bool, XmlError> {
        loop {
            let bytes = self.stream.fill_buf()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let end = bytes.iter().position(|&byte| byte == b'<');
            take(&bytes[..end.unwrap_or(bytes.len())])?;
            let n = end.map_or(bytes.len(), |end| end + 1);
            self.stream.consume(n);
            self.at += n as u64;
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// What stands between `<` and `>`; empty for comments and CDATA, whose text is handed out.
    fn body(&mut self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Vec<u8>, XmlError> {
        const CDATA: &[u8] = b"![CDATA[";
        let mut body = Vec::new();
        let mut quote = None;
        loop {
            let byte = self.byte()?.ok_or_else(|| self.error("the file ends inside a tag"))?;
            if body == b"!--" {
                // `byte` is the first of the comment.
                self.until(b"-->", byte, &mut |_| Ok(()))?;
                return Ok(Vec::new());
            }
            if body == CDATA {
                self.until(b"]]>", byte, take)?;
                return Ok(Vec::new());
            }
            match (quote, byte) {
                (None, b'>') => return Ok(body),
                (None, b'"' | b'\'') if !body.starts_with(b"!") => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
            body.push(byte);
            if body.len() > MAX_TAG {
                return Err(self.error("a tag that does not end"));
            }
        }
    }

    /// Hands out everything up to `end`, beginning with `first`.
    fn until(
        &mut self,
        end: &[u8; 3],
        first: u8,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), XmlError> {
        let mut last: Vec<u8> = vec![first];
        loop {
            if last == end {
                return Ok(());
            }
            if last.len() == 3 {
                take(&last[..1])?;
                last.remove(0);
            }
            let byte = self.byte()?;
            last.push(byte.ok_or_else(|| self.error("the file ends inside a comment"))?);
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, XmlError> {
        let byte = self.stream.fill_buf()?.first().copied();
        if byte.is_some() {
            self.stream.consume(1);
            self.at += 1;
        }
        Ok(byte)
    }

    /// `name a="b" …`, with a `/` at its end where it has no content.
    fn start(&mut self, body: &[u8]) -> Result<Tag, XmlError> {
        let text = String::from_utf8_lossy(body);
        let (text, is_empty) = match text.strip_suffix('/') {
            Some(text) => (text, true),
            None => (&*text, false),
        };
        let name_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(name_end);
        let mut attributes = Vec::new();
        while let Some((key, after)) = rest.split_once('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let closed = quote.and_then(|quote| after[1..].split_once(quote));
            let (value, left) = closed.ok_or_else(|| self.error("an attribute without quotes"))?;
            attributes.push((key.trim().to_owned(), unescaped(value)));
            rest = left;
        }
        if is_empty {
            self.pending = Some(name.to_owned());
        }
        Ok(Tag::Start(name.to_owned(), attributes))
    }
}

fn unescaped(value: &str) -> String {
    if !value.contains('&') {
        return value.to_owned();
    }
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Tag>, String), XmlError> {
        let mut xml = Xml::new(text.as_bytes());
        let (mut tags, mut found) = (Vec::new(), Vec::new());
        while let Some(tag) = xml.text_then_tag(&mut |bytes| {
            found.extend_from_slice(bytes);
            Ok(())
        })? {
            tags.push(tag);
        }
        Ok((tags, String::from_utf8(found).unwrap()))
    }

    #[test]
    fn tags_attributes_and_text_come_in_order() {
        let text = "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"a.dtd\"><!-- <x> --><a b=\"1 > 0\" \
                    c = 'd&amp;e'>one<f/><![CDATA[<two>]]></a>";
        let (tags, found) = read(text).unwrap();
        let attributes = vec![("b".into(), "1 > 0".into()), ("c".into(), "d&e".into())];
        assert_eq!(
            tags,
            [
                Tag::Start("a".into(), attributes),
                Tag::Start("f".into(), Vec::new()),
                Tag::End("f".into()),
                Tag::End("a".into())
            ]
        );
        assert_eq!(found, "one<two>");
    }

    #[test]
    fn damage_is_an_error() {
        for text in ["<a", "<a b=1>", "<a b=\"1>", "<!-- x", "<!DOCTYPE a [<!ENTITY b \"c\">]>"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("<{}>", "a".repeat(MAX_TAG + 1))).is_err());
        assert!(read("").unwrap().0.is_empty());
    }
}
