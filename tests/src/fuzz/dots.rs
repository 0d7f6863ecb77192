//! Dot-stuffing: out and in again is the message with clean line ends, wherever it is cut, and the end is where the end
//! is.

use posthaste::mail::lines::text_to_crlf;
use posthaste::smtp::dot::{DotWriter, has_clean_line_ends};
use posthaste::smtp::undot::{DotReader, LineEnds, Violation};

use super::input::is_crlf_only;

/// Cutting at every place costs the square of the length.
const MAX: usize = 300;

fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut writer, mut out) = (DotWriter::default(), Vec::new());
    pieces.iter().for_each(|piece| writer.write(piece, &mut out));
    writer.finish(&mut out);
    out
}

/// The message, the bytes used if its end was found, and what was wrong with it.
fn unstuffed(pieces: &[&[u8]], line_ends: LineEnds) -> (Vec<u8>, Option<usize>, Option<Violation>) {
    let (mut reader, mut out, mut before) = (DotReader::new(line_ends), Vec::new(), 0);
    for piece in pieces {
        let (used, end) = reader.read(piece, &mut out);
        if end {
            return (out, Some(before + used), reader.violation());
        }
        assert_eq!(used, piece.len());
        before += used;
    }
    (out, None, reader.violation())
}

pub fn stuffing(data: &[u8]) {
    let data = &data[..data.len().min(MAX)];
    let mut clean = Vec::new();
    text_to_crlf(data, &mut clean);
    if !clean.is_empty() && !clean.ends_with(b"\r\n") {
        clean.extend_from_slice(b"\r\n");
    }
    let wire = stuffed(&[data]);
    assert!(is_crlf_only(&wire) && has_clean_line_ends(&wire));
    assert_eq!(true_end(&wire), Some(wire.len()), "the end is at the end");
    for at in 0..=data.len() {
        assert_eq!(stuffed(&[&data[..at], &data[at..]]), wire, "cut at {at}");
    }
    let bytewise: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(stuffed(&bytewise), wire, "byte by byte");

    let nul = data.contains(&0).then_some(Violation::Nul);
    for at in 0..=wire.len() {
        let (message, used, violation) = unstuffed(&[&wire[..at], &wire[at..]], LineEnds::Reject);
        assert_eq!((used, violation), (Some(wire.len()), nul), "cut at {at}");
        assert!(nul.is_some() || message == clean, "cut at {at}");
    }
    foreign(data);
}

/// The same bytes as what a stranger sends.
fn foreign(wire: &[u8]) {
    assert_eq!(has_clean_line_ends(wire), is_crlf_only(wire));
    for line_ends in [LineEnds::Reject, LineEnds::Normalize] {
        let (message, used, violation) = unstuffed(&[wire], line_ends);
        assert_eq!(used, true_end(wire));
        let bare = !is_crlf_only(&wire[..used.unwrap_or(wire.len())]);
        assert!(violation.is_none() || bare || wire.contains(&0), "{violation:?}");
        if line_ends == LineEnds::Normalize || violation.is_none() {
            assert!(is_crlf_only(&message));
        }
        for at in 0..=wire.len() {
            let cut = unstuffed(&[&wire[..at], &wire[at..]], line_ends);
            assert_eq!(cut, (message.clone(), used, violation), "cut at {at}");
        }
    }
}

/// Where a message on the wire ends, by the letter of RFC 5321 4.1.1.4.
fn true_end(wire: &[u8]) -> Option<usize> {
    if wire.starts_with(b".\r\n") {
        return Some(3);
    }
    wire.windows(5).position(|bytes| bytes == b"\r\n.\r\n").map(|at| at + 5)
}
