//! A JSON object that is read as it comes: its members one by one, and the elements of one member, a long list, one by one.
//! Only where values begin and end is decided here; what they hold is for whoever takes them.

use crate::mail::Printable;
use memchr::memchr2;
use std::borrow::Cow;

/// Longest key, in bytes.
const MAX_KEY: usize = 256;

/// What comes next in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Member {
        key: Cow<'a, str>,
        value: &'a [u8],
    },
    /// Of the list.
    Element(&'a [u8]),
    /// Of the object; nothing but white space may follow.
    End,
}

/// The body is no such object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("at byte {at}: {wanted} should be here")]
    Unexpected { at: u64, wanted: &'static str },
    #[error("at byte {at}: this key is no string in UTF-8")]
    Key { at: u64 },
    #[error("at byte {at}: the key `{}` is there a second time", Printable(key))]
    Repeated { at: u64, key: String },
    #[error("at byte {at}: the value that begins here is longer than {max} bytes")]
    TooLong { at: u64, max: usize },
    #[error("at byte {at}: the JSON ends before its end")]
    Cut { at: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// A key, or the end where there is no member yet.
    Key {
        first: bool,
    },
    Value,
    Element {
        first: bool,
    },
    AfterElement,
    AfterMember,
    End,
}

/// How far the value at `start` has been looked through.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    begun: bool,
    scalar: bool,
    in_string: bool,
    depth: u32,
}

/// Bytes in, events out.
#[derive(Debug)]
pub struct JsonStream {
    /// The member whose elements are wanted one by one.
    list: &'static str,
    max_value: usize,
    max_element: usize,
    buffer: Vec<u8>,
    /// Before it everything has been told.
    start: usize,
    at: usize,
    /// Bytes of the body that were in the buffer once.
    gone: u64,
    state: State,
    scan: Scan,
    seen: Vec<String>,
}

impl JsonStream {
    /// Values may have `max_value` bytes, and elements of `list` `max_element`.
    pub fn new(list: &'static str, max_value: usize, max_element: usize) -> JsonStream {
        JsonStream {
            list,
            max_value,
            max_element,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            gone: 0,
            state: State::Start,
            scan: Scan::default(),
            seen: Vec::new(),
        }
    }

    /// Takes more of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.gone += self.start as u64;
        self.at -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// What comes next; `None` when more of the body has to come first.
    ///
    /// # Errors
    /// When the body is no JSON object here, or something is too long. Nothing can be read behind that.
    pub fn event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        loop {
            if !self.scan.begun {
                self.skip_blank();
            }
            if self.at == self.buffer.len() {
                return self.long_enough().map(|()| None);
            }
            let byte = self.buffer[self.start];
            match (self.state, byte) {
                (State::Start, b'{') => self.step(State::Key { first: true }),
                (State::Start, _) => return self.unexpected("an object, as in {\"recipients\": ...},"),
                (State::Key { first: true }, b'}') => return self.end(),
                (State::Key { .. }, b'"') => {
                    if !self.key()? {
                        return Ok(None);
                    }
                }
                (State::Key { .. }, _) => return self.unexpected("a key in double quotes"),
                (State::Value, b'[') if self.is_list() && !self.scan.begun => {
                    self.step(State::Element { first: true });
                }
                (State::Value, _) => return self.value(),
                (State::Element { first: true }, b']') if !self.scan.begun => self.step(State::AfterMember),
                (State::Element { .. }, _) => return self.element(),
                (State::AfterElement, b',') => self.step(State::Element { first: false }),
                (State::AfterElement, b']') => self.step(State::AfterMember),
                (State::AfterElement, _) => return self.unexpected("`,` or `]`"),
                (State::AfterMember, b',') => self.step(State::Key { first: false }),
                (State::AfterMember, b'}') => return self.end(),
                (State::AfterMember, _) => return self.unexpected("`,` or `}`"),
                (State::End, _) => return self.unexpected("nothing"),
            }
        }
    }

    /// To be asked at the end of the body.
    ///
    /// # Errors
    /// When it is not the end of the object.
    pub fn finish(&self) -> Result<(), StreamError> {
        match self.state {
            State::End if self.start == self.buffer.len() => Ok(()),
            _ => Err(StreamError::Cut { at: self.gone + self.buffer.len() as u64 }),
        }
    }

    fn is_list(&self) -> bool {
        self.seen.last().is_some_and(|key| key == self.list)
    }

    fn skip_blank(&mut self) {
        let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n');
        self.start += self.buffer[self.start..].iter().take_while(blank).count();
        self.at = self.start;
    }

    /// Goes on behind the byte that is looked at.
    fn step(&mut self, state: State) {
        self.start += 1;
        self.at = self.start;
        self.state = state;
        self.scan = Scan::default();
    }

    fn end(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        self.step(State::End);
        Ok(Some(Event::End))
    }

    fn unexpected<T>(&self, wanted: &'static str) -> Result<T, StreamError> {
        Err(StreamError::Unexpected { at: self.place(), wanted })
    }

    fn place(&self) -> u64 {
        self.gone + self.start as u64
    }

    /// A value that is not all there must not grow for ever.
    fn long_enough(&self) -> Result<(), StreamError> {
        let max = match self.state {
            State::Key { .. } => MAX_KEY,
            State::Element { .. } => self.max_element,
            _ => self.max_value,
        };
        match self.buffer.len() - self.start > max {
            true => Err(StreamError::TooLong { at: self.place(), max }),
            false => Ok(()),
        }
    }

    /// Reads a key and its colon; false when they are not all there.
    fn key(&mut self) -> Result<bool, StreamError> {
        let Some(end) = self.value_end() else { return self.long_enough().map(|()| false) };
        let behind = &self.buffer[end..];
        let Some(colon) = behind.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')) else {
            // The key is looked through again when more has come; it is short.
            (self.at, self.scan) = (self.start, Scan::default());
            return self.long_enough().map(|()| false);
        };
        let at = self.place();
        let key: Result<String, _> = serde_json::from_slice(&self.buffer[self.start..end]);
        let key = key.map_err(|_| StreamError::Key { at })?;
        if behind[colon] != b':' {
            return Err(StreamError::Unexpected { at: self.gone + (end + colon) as u64, wanted: "`:`" });
        }
        if self.seen.contains(&key) {
            return Err(StreamError::Repeated { at, key });
        }
        self.seen.push(key);
        self.start = end + colon;
        self.step(State::Value);
        Ok(true)
    }

    fn value(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        let Some((from, to)) = self.whole_value(State::AfterMember)? else { return Ok(None) };
        let key = self.seen.last().map_or("", String::as_str);
        Ok(Some(Event::Member { key: Cow::Borrowed(key), value: &self.buffer[from..to] }))
    }

    fn element(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        let Some((from, to)) = self.whole_value(State::AfterElement)? else { return Ok(None) };
        Ok(Some(Event::Element(&self.buffer[from..to])))
    }

    /// Where the value at `start` lies; `None` when it is not all there.
    fn whole_value(&mut self, next: State) -> Result<Option<(usize, usize)>, StreamError> {
        let Some(end) = self.value_end() else { return self.long_enough().map(|()| None) };
        let from = self.start;
        if end == from {
            return self.unexpected("a value");
        }
        let max = if next == State::AfterElement { self.max_element } else { self.max_value };
        if end - from > max {
            return Err(StreamError::TooLong { at: self.place(), max });
        }
        (self.start, self.at) = (end, end);
        (self.state, self.scan) = (next, Scan::default());
        Ok(Some((from, end)))
    }

    /// The end of the value that begins at `start`, if it is there; goes on where it stopped the last time.
    fn value_end(&mut self) -> Option<usize> {
        let bytes = self.buffer.as_slice();
        let scan = &mut self.scan;
        if !scan.begun {
            scan.begun = true;
            scan.scalar = !matches!(bytes[self.start], b'"' | b'{' | b'[');
        }
        if scan.scalar {
            let ends = |byte: &u8| matches!(*byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
            let end = bytes[self.at..].iter().position(ends).map(|n| self.at + n);
            self.at = end.unwrap_or(bytes.len());
            return end;
        }
        while self.at < bytes.len() {
            if scan.in_string {
                let Some(found) = memchr2(b'"', b'\\', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    return None;
                };
                self.at += found;
                if bytes[self.at] == b'\\' {
                    if self.at + 1 == bytes.len() {
                        return None;
                    }
                    self.at += 2;
                    continue;
                }
                scan.in_string = false;
            } else {
                match bytes[self.at] {
                    b'"' => scan.in_string = true,
                    b'{' | b'[' => scan.depth += 1,
                    b'}' | b']' => scan.depth -= 1,
                    _ => {}
                }
            }
            self.at += 1;
            if scan.depth == 0 && !scan.in_string {
                return Some(self.at);
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "json_stream_test.rs"]
mod test;
