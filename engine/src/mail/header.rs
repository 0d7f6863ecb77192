//! The header block of a message: its fields as byte ranges of the raw text, so that a field can be found, removed or
//! put in without touching any other byte (R12).

use std::ops::Range;
use thiserror::Error;

/// Octets in the name of a field; RFC 5322 only bounds the line.
const MAX_NAME: usize = 76;

/// Fields that most messages do not have more of.
const USUAL: usize = 16;

/// One field, folded lines included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name; empty for a line that is not a field.
    pub name: Range<usize>,
    /// What follows the colon, up to the last CRLF, which is not part of it.
    pub value: Range<usize>,
    /// The field with its line end.
    pub whole: Range<usize>,
    /// Of its first line, counted from one.
    pub line: usize,
}

/// The fields of a message whose lines end with CRLF (a bare LF ends a line too, so that nothing hides behind one).
#[derive(Debug, Clone)]
pub struct Header<'a> {
    raw: &'a [u8],
    fields: Vec<Field>,
    end: usize,
    body: usize,
}

impl<'a> Header<'a> {
    /// Scans up to the empty line, or to the end of `raw` when there is none.
    pub fn scan(raw: &'a [u8]) -> Header<'a> {
        let mut fields: Vec<Field> = Vec::with_capacity(USUAL);
        let (mut at, mut line) = (0, 1);
        let mut body = raw.len();
        while at < raw.len() {
            let next = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |n| at + n + 1);
            let text = trim_line_end(raw, at, next);
            if text == at && next > at {
                body = next;
                break;
            }
            match fields.last_mut() {
                Some(open) if matches!(raw[at], b' ' | b'\t') => {
                    open.value.end = text;
                    open.whole.end = next;
                }
                _ => fields.push(field(raw, at, text, next, line)),
            }
            at = next;
            line += 1;
        }
        Header { raw, fields, end: at, body }
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Where the header ends: the offset of the empty line, or of the end of the message.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Where the body begins: behind the empty line.
    pub fn body(&self) -> usize {
        self.body
    }

    pub fn name(&self, field: &Field) -> &'a [u8] {
        &self.raw[field.name.clone()]
    }

    /// The fields called `name` in any case, first to last.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field> {
        self.fields.iter().filter(move |f| self.name(f).eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The first field called `name` in any case.
    pub fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| self.name(f).eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Appends the message without the fields whose names are in `names` (any case).
    pub fn copy_without(&self, names: &[&str], out: &mut Vec<u8>) {
        let mut from = 0;
        for field in &self.fields {
            if names.iter().any(|n| self.name(field).eq_ignore_ascii_case(n.as_bytes())) {
                out.extend_from_slice(&self.raw[from..field.whole.start]);
                from = field.whole.end;
            }
        }
        out.extend_from_slice(&self.raw[from..]);
    }

    /// The value of `field` on one line: line ends removed, blanks trimmed.
    pub fn unfolded(&self, field: &Field) -> Vec<u8> {
        unfold(&self.raw[field.value.clone()])
    }
}

fn field(raw: &[u8], at: usize, text: usize, next: usize, line: usize) -> Field {
    let colon = memchr::memchr(b':', &raw[at..text]).map(|n| at + n);
    let name_end = colon.map(|c| at + raw[at..c].trim_ascii_end().len());
    match (colon, name_end) {
        (Some(colon), Some(end)) if is_name(&raw[at..end]) => {
            Field { name: at..end, value: colon + 1..text, whole: at..next, line }
        }
        _ => Field { name: at..at, value: at..text, whole: at..next, line },
    }
}

/// Where the line `raw[at..next]` ends without its line end.
fn trim_line_end(raw: &[u8], at: usize, next: usize) -> usize {
    let mut end = next;
    if end > at && raw[end - 1] == b'\n' {
        end -= 1;
        if end > at && raw[end - 1] == b'\r' {
            end -= 1;
        }
    }
    end
}

/// Removes line ends and outer blanks (RFC 5322 section 2.2.3).
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let one: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    one.trim_ascii().to_vec()
}

/// Whether `name` can be the name of a field: printable ASCII without colon (RFC 5322 section 2.2).
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b':')
}

/// A value that would break out of its field (A30).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InjectionError {
    #[error(
        "header field {field}: the value contains {what}, which would end the field; write it on one line"
    )]
    Value { field: String, what: &'static str },
    #[error(
        "{name:?} is not a header field name: printable ASCII without colon or blank, at most {MAX_NAME} characters"
    )]
    Name { name: String },
}

/// The byte in `value` that no header field may hold.
pub fn forbidden(value: &str) -> Option<&'static str> {
    value.bytes().find_map(|b| match b {
        b'\r' => Some("a carriage return"),
        b'\n' => Some("a line feed"),
        0 => Some("a NUL"),
        _ => None,
    })
}

/// Appends `name: value` as it stands, refusing what would inject.
pub fn insert(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), InjectionError> {
    if !is_name(name.as_bytes()) {
        return Err(InjectionError::Name { name: name.into() });
    }
    if let Some(what) = forbidden(value) {
        return Err(InjectionError::Value { field: name.into(), what });
    }
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &[u8] =
        b"From: a@example.com\r\nX-Job: spring\r\nSubject: one\r\n two\r\nx-job: again\r\n\tfolded\r\n\r\nX-Job: body\r\n";

    #[test]
    fn fields_are_found_in_any_case_with_their_folds() {
        let header = Header::scan(MESSAGE);
        assert_eq!(header.fields().len(), 4);
        assert_eq!(header.unfolded(header.find("SUBJECT").expect("subject")), b"one two");
        assert_eq!(header.all("X-Job").count(), 2);
        assert_eq!(&MESSAGE[header.body()..], b"X-Job: body\r\n");
        assert_eq!(header.find("subject").map(|f| f.line), Some(3));
    }

    #[test]
    fn removal_takes_whole_fields_and_leaves_the_body() {
        let mut out = Vec::new();
        Header::scan(MESSAGE).copy_without(&["x-job"], &mut out);
        assert_eq!(out, b"From: a@example.com\r\nSubject: one\r\n two\r\n\r\nX-Job: body\r\n");
    }

    #[test]
    fn a_message_without_empty_line_is_all_header() {
        let header = Header::scan(b"From: a@example.com\r\nSubject: x");
        assert_eq!((header.fields().len(), header.end(), header.body()), (2, 31, 31));
        let empty = Header::scan(b"");
        assert_eq!((empty.fields().len(), empty.end(), empty.body()), (0, 0, 0));
        let bodied = Header::scan(b"\r\nhello");
        assert_eq!((bodied.fields().len(), bodied.end(), bodied.body()), (0, 0, 2));
    }

    #[test]
    fn a_line_that_is_no_field_has_no_name() {
        let header = Header::scan(b"From x Mon\r\nno colon\r\nb\xc3\xa9: 1\r\n\r\n");
        assert!(header.fields().iter().all(|f| f.name.is_empty()));
    }

    #[test]
    fn a_value_cannot_break_out() {
        let mut out = Vec::new();
        for bad in ["x\r\nBcc: y@example.com", "x\ny", "x\ry", "x\0"] {
            let error = insert(&mut out, "X-Tag", bad).expect_err("refused").to_string();
            assert!(error.contains("X-Tag"), "{error}");
        }
        assert!(insert(&mut out, "X Tag", "v").is_err());
        assert!(insert(&mut out, "X:Tag", "v").is_err());
        assert!(out.is_empty());
        insert(&mut out, "X-Tag", "v").expect("fine");
        assert_eq!(out, b"X-Tag: v\r\n");
    }

    proptest! {
        #[test]
        fn fields_tile_the_header(raw in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'x')], 0..80)) {
            let header = Header::scan(&raw);
            let mut at = 0;
            for f in header.fields() {
                prop_assert_eq!(f.whole.start, at);
                at = f.whole.end;
            }
            prop_assert_eq!(at, header.end());
            let mut same = Vec::new();
            header.copy_without(&["y"], &mut same);
            prop_assert_eq!(same, raw);
        }
    }
}
