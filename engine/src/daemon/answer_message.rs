//! Which submissions have a message of this name. Message-IDs are in no index: the latest submissions that wait are read
//! from the spool, by the threads that read content.

use super::answer::Answerer;
use super::owners::Stopping;
use crate::base::Wall;
use crate::mail::Content;
use crate::mail::header::Header;
use crate::shard::{ShardReply, ShardRequest};
use crate::spool::codec;
use crate::spool::record::Location;
use std::collections::HashMap;

/// Submissions that are read at most.
const MOST_READ: usize = 10_000;

/// A Message-ID, or the number of a submission as accounting and reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageName {
    /// With brackets, as the header has it.
    id: Option<String>,
    /// What our own Message-IDs begin with, and the number of the row.
    own: Option<(String, Option<u64>)>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    pub found: Vec<Location>,
    /// The only row that is meant.
    pub row: Option<u64>,
    pub looked_at: usize,
    pub left_out: usize,
}

impl MessageName {
    /// `<left@right>`
    pub fn in_brackets(what: &str) -> Option<MessageName> {
        let inner = what.strip_prefix('<')?.strip_suffix('>')?;
        Some(MessageName::of_id(inner))
    }

    /// The same without brackets, or a number in hexadecimal.
    pub fn bare(what: &str) -> Option<MessageName> {
        if what.contains('@') {
            return Some(MessageName::of_id(what));
        }
        let digits = what.split('-').next().unwrap_or_default();
        let number = !digits.is_empty() && u64::from_str_radix(digits, 16).is_ok();
        number.then(|| MessageName { id: None, own: Some((what.to_ascii_lowercase(), None)) })
    }

    fn of_id(inner: &str) -> MessageName {
        let left = inner.rsplit_once('@').map_or(inner, |(left, _)| left);
        let with_row = || {
            let (name, row) = left.rsplit_once('.')?;
            Some((name.to_owned(), Some(row.parse().ok()?)))
        };
        let own = with_row().or_else(|| Some((left.to_owned(), None)));
        MessageName { id: Some(format!("<{inner}>")), own }
    }
}

impl Answerer {
    /// The submissions that wait and have a message of this name, the latest first.
    pub(super) async fn submissions_called(&self, name: &MessageName) -> Result<Called, Stopping> {
        let mut all: Vec<(Wall, Location)> = Vec::new();
        for reply in self.intake.owners.ask(&ShardRequest::Submissions).await? {
            if let ShardReply::Submissions(some) = reply {
                all.extend(some.into_iter().map(|(at, accepted)| (accepted, at)));
            }
        }
        all.sort_unstable();
        all.dedup();
        let mut called = Called { left_out: all.len().saturating_sub(MOST_READ), ..Called::default() };
        // Submissions of one message share its content.
        let mut contents: HashMap<Location, bool> = HashMap::new();
        for (_, at) in all.into_iter().rev().take(MOST_READ) {
            called.looked_at += 1;
            // One that has gone meanwhile is no longer waited for.
            let Ok(record) = self.intake.storage.read(at).await else { continue };
            let Ok(header) = codec::decode_submission(at, &record) else { continue };
            let own = self.intake.configured.load().message_name(header.id);
            if let Some((_, row)) = name.own.as_ref().filter(|(name, _)| *name == own) {
                return Ok(Called { found: vec![at], row: *row, ..called });
            }
            let Some(id) = &name.id else { continue };
            let has_it = match contents.get(&header.content) {
                Some(has_it) => *has_it,
                None => {
                    let content = self.intake.storage.read(header.content).await;
                    let has_it = content.is_ok_and(|content| is_called(&content, id));
                    contents.insert(header.content, has_it);
                    has_it
                }
            };
            if has_it {
                called.found.push(at);
            }
        }
        Ok(called)
    }
}

/// Whether a stored content has this Message-ID in its header.
fn is_called(stored: &[u8], id: &str) -> bool {
    // Merged ones have it somewhere in their pieces, if not one of our own.
    if memchr::memmem::find(stored, id.as_bytes()).is_none() {
        return false;
    }
    match Content::decode(stored).ok().as_ref().and_then(Content::as_plain) {
        Some(message) => {
            let header = Header::scan(message);
            header.find("Message-ID").is_some_and(|field| header.unfolded(field) == id.as_bytes())
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_messages_are_ids_and_numbers() {
        let name = MessageName::in_brackets("<1f.3@mx.example>").expect("an id");
        assert_eq!(name.id.as_deref(), Some("<1f.3@mx.example>"));
        assert_eq!(name.own, Some(("1f".to_owned(), Some(3))));
        assert_eq!(MessageName::bare("1f.3@mx.example"), Some(name));
        let name = MessageName::in_brackets("<1f@mx.example>").expect("an id");
        assert_eq!(name.own, Some(("1f".to_owned(), None)));
        assert_eq!(MessageName::bare("1F-7").and_then(|name| name.own), Some(("1f-7".to_owned(), None)));
        assert_eq!(MessageName::in_brackets("a.example"), None);
        assert_eq!(MessageName::bare("a.example/v1"), None);
    }

    #[test]
    fn a_content_has_the_id_in_its_header_and_nowhere_else() {
        let stored = |text: &str| {
            let mut stored = Vec::new();
            Content::plain(text.as_bytes().to_vec()).encode(&mut stored);
            stored
        };
        let id = "<a@b.example>";
        assert!(is_called(&stored("From: x\r\nMESSAGE-ID:\r\n <a@b.example>\r\n\r\ntext"), id));
        assert!(!is_called(&stored("From: x\r\nIn-Reply-To: <a@b.example>\r\n\r\ntext"), id));
        assert!(!is_called(&stored("From: x\r\n\r\nMessage-ID: <a@b.example>\r\n"), id));
    }
}
