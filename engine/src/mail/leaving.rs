//! What a message still gains and loses as it is delivered. Nothing of it is stored: it goes by the virtual MTA and the
//! domain that the message has come to, and by the configuration and the time of that moment.

use super::edits::Edits;
use super::header::Header;
use super::rewrite::{self, Rewrites};

/// What is done to a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaving<'a> {
    pub rewrites: Option<&'a dyn Rewrites>,
    /// Fields that are taken out, in any case of letters.
    pub remove: &'a [String],
    /// Whole header lines that are put in.
    pub include: &'a str,
    /// Put in where the message has none: the value of `Date`.
    pub date: Option<&'a str>,
    /// The topmost Received field is ours: what is put in stands behind it, and not on top.
    pub received: bool,
}

impl Leaving<'_> {
    /// The message as it leaves; `None` where it leaves as it is.
    pub fn changed(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Leaving { rewrites, remove, include, date, .. } = *self;
        if rewrites.is_none() && remove.is_empty() && include.is_empty() && date.is_none() {
            return None;
        }
        let header = Header::scan(message);
        let mut edits = Edits::of(message);
        for field in header.fields().iter().filter(|field| self.removes(header.name(field))) {
            edits.put(field.whole.clone(), Vec::new());
        }
        if let Some(rewrites) = rewrites.filter(|_| !self.removes(b"From")) {
            rewrite::from_header(&header, rewrites, &mut edits);
        }
        let added = self.added(&header);
        if !added.is_empty() {
            let ours = header.find("Received").filter(|_| self.received);
            let place = ours.map_or(0, |field| field.whole.end);
            edits.put(place..place, added);
        }
        (!edits.is_empty()).then(|| edits.apply())
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The header lines that are put in.
    fn added(&self, header: &Header<'_>) -> Vec<u8> {
        let mut added = Vec::new();
        let names: Vec<&str> = self.remove.iter().map(String::as_str).collect();
        Header::scan(self.include.as_bytes()).copy_without(&names, &mut added);
        if let Some(date) = self.date.filter(|_| header.find("Date").is_none() && !self.removes(b"Date")) {
            added.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
        }
        if !added.is_empty() && header.fields().first().is_some_and(|field| field.name.is_empty()) {
            // The message begins with its body; our headers must not swallow it.
            added.extend_from_slice(b"\r\n");
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::OldToNew;
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &str = "X-Virtual-MTA: a\r\nReceived: from x\r\n\tby us\r\nReceived: from y\r\n\
        X-Trace: 1\r\nx-trace:\r\n 2\r\nFrom: a@old.example\r\n\r\nX-Trace: body\r\n";
    const DATE: &str = "Mon, 23 Nov 2026 03:00:00 +0000";

    fn left(leaving: &Leaving<'_>, message: &str) -> String {
        String::from_utf8(leaving.changed(message.as_bytes()).expect("changed")).expect("text")
    }

    #[test]
    fn a_message_of_which_nothing_changes_is_not_copied() {
        let remove = ["X-Other".to_owned()];
        let dated = format!("Date: {DATE}\r\n\r\ntext\r\n");
        let leaving =
            Leaving { remove: &remove, date: Some(DATE), rewrites: Some(&OldToNew), ..Leaving::default() };
        assert_eq!(leaving.changed(dated.as_bytes()), None);
        assert_eq!(Leaving::default().changed(MESSAGE.as_bytes()), None);
    }

    #[test]
    fn headers_go_and_come_behind_our_trace_field_and_the_body_stays() {
        let remove = ["X-TRACE".to_owned(), "x-virtual-mta".to_owned()];
        let include = "X-Both: 1\r\n 2\r\nX-Trace: ours\r\n";
        let all =
            Leaving { rewrites: Some(&OldToNew), remove: &remove, include, date: Some(DATE), received: true };
        assert_eq!(
            left(&all, MESSAGE),
            format!(
                "Received: from x\r\n\tby us\r\nX-Both: 1\r\n 2\r\nDate: {DATE}\r\nReceived: from y\r\n\
                 From: a@new.example\r\n\r\nX-Trace: body\r\n"
            )
        );
        let on_top = Leaving { include: "X-A: 1\r\n", ..Leaving::default() };
        assert_eq!(left(&on_top, MESSAGE), format!("X-A: 1\r\n{MESSAGE}"));
    }

    #[test]
    fn what_is_removed_is_neither_rewritten_nor_put_in() {
        let remove = ["From".to_owned(), "Date".to_owned(), "Received".to_owned()];
        let leaving = Leaving {
            remove: &remove,
            rewrites: Some(&OldToNew),
            include: "X-A: 1\r\n",
            date: Some(DATE),
            received: true,
        };
        let message = "Received: x\r\nFrom: a@old.example\r\n\r\ntext\r\n";
        assert_eq!(left(&leaving, message), "X-A: 1\r\n\r\ntext\r\n");
    }

    #[test]
    fn a_message_that_is_all_body_keeps_it() {
        let leaving = Leaving { include: "X-A: 1\r\n", ..Leaving::default() };
        assert_eq!(left(&leaving, "text\r\n"), "X-A: 1\r\n\r\ntext\r\n");
        assert_eq!(left(&leaving, "\r\ntext\r\n"), "X-A: 1\r\n\r\ntext\r\n");
    }

    proptest! {
        #[test]
        fn any_message_keeps_its_body(
            lines in prop::collection::vec("(Received|From|X-Trace|Date|x): [a<>@, ]{0,6}(a@old.example)?| b|\\(", 0..8),
            removed in prop::sample::subsequence(vec!["From", "Received", "X-Trace", "Date", "X"], 0..5),
            (rewrites, dated, received) in any::<(bool, bool, bool)>(),
        ) {
            let message = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>() + "\r\nFrom: body\r\n";
            let remove: Vec<String> = removed.into_iter().map(str::to_owned).collect();
            let rewrites: Option<&dyn Rewrites> = if rewrites { Some(&OldToNew) } else { None };
            let leaving = Leaving { rewrites, remove: &remove, include: "X-A: 1\r\n", date: dated.then_some(DATE), received };
            let out = left(&leaving, &message);
            prop_assert!(out.ends_with("\r\n\r\nFrom: body\r\n"));
            let header = Header::scan(out.as_bytes());
            prop_assert_eq!(header.all("X-A").count(), 1);
            prop_assert!(remove.iter().all(|name| header.find(name).is_none()));
        }
    }
}
