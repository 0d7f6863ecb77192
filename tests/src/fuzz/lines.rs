//! Line ends inside the engine: what is let in has CR LF and nothing else, and nothing is lost on the way.

use posthaste::mail::lines::{BareCr, survey, text_to_crlf, to_crlf};
use posthaste::mail::{PlainOptions, Received, prepare_plain};

use super::input::{Input, assert_printable, is_crlf_only};

pub fn line_ends(data: &[u8]) {
    let lines = data.iter().filter(|b| **b == b'\n').count();
    let bare_cr = (0..data.len()).find(|&at| data[at] == b'\r' && data.get(at + 1) != Some(&b'\n'));
    let (mut text, mut strict, mut again) = (Vec::new(), Vec::new(), Vec::new());
    text_to_crlf(data, &mut text);
    assert!(is_crlf_only(&text));
    match to_crlf(data, &mut strict) {
        Ok(()) => {
            assert!(bare_cr.is_none() && strict == text);
            assert_eq!(strict.iter().filter(|b| **b == b'\n').count(), lines);
            to_crlf(&strict, &mut again).expect("clean");
            assert_eq!(strict, again);
        }
        Err(BareCr { line }) => {
            let at = bare_cr.expect("a bare CR");
            assert_eq!(line, 1 + data[..at].iter().filter(|b| **b == b'\n').count());
        }
    }
    let without = |bytes: &[u8]| bytes.iter().copied().filter(|b| !b"\r\n".contains(b)).collect::<Vec<_>>();
    assert_eq!(without(&text), without(data));
    let found = survey(data);
    assert_eq!(found.unclean, !is_crlf_only(data) || data.contains(&0));
    assert_eq!(found.eight_bit, data.iter().any(|b| *b > 0x7f));
    received(data);
}

/// A message on its way in: refused with a reason, or clean, with all its bytes under the headers put on top.
fn received(data: &[u8]) {
    let mut input = Input::new(data);
    let lf_ends_lines = input.flag();
    let (from, sender) = (input.string(), input.string());
    let raw = input.rest();
    let received =
        Received { from: &from, ip: "192.0.2.1", by: "mx", id: "1", sender: &sender, ..Received::default() };
    let options = PlainOptions { lf_ends_lines, received: Some(received), ..PlainOptions::default() };
    match prepare_plain(raw, &options) {
        Ok(message) => {
            let found = survey(&message);
            assert!(is_crlf_only(&message) && !message.contains(&0) && message.ends_with(b"\r\n"));
            assert!(found.longest_line <= 998 || from.len() + sender.len() > 800);
            let mut clean = Vec::new();
            to_crlf(raw, &mut clean).expect("no bare CR was let in");
            let kept = message
                .strip_suffix(b"\r\n")
                .is_some_and(|m| m.ends_with(clean.strip_suffix(b"\r\n").unwrap_or(&clean)));
            assert!(kept, "the message itself has changed");
            let top = message.strip_prefix(b"Received: from ").expect("the trace field on top");
            let field = top.split(|b| *b == b'\n').take(3).collect::<Vec<_>>();
            assert!(field.len() == 3 && field[1].starts_with(b"\t") && field[2].starts_with(b"\t"));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}
