//! Cells of the accounting file: RFC 4180 with quotes only where needed (reference 4.3).
//!
//! Control bytes, line ends among them, are written as `\xNN`: every record is exactly one line, whatever a peer
//! put into its reply (reliability A33). Cells that begin with `=`, `+`, `-` or `@` are left as they are,
//! because readers in the wild expect the values unchanged; a spreadsheet may take them for formulas.

/// Line end of the file.
pub const LINE_END: &[u8] = b"\r\n";

/// Appends one cell, without a separator.
pub fn push_cell(out: &mut Vec<u8>, cell: &str) {
    let bytes = cell.as_bytes();
    // One pass without early exit, which the compiler turns into vector code; nearly every cell is plain.
    let unusual =
        bytes.iter().fold(false, |found, &b| found | (b < b' ') | (b == b',') | (b == b'"') | (b == 0x7f));
    if unusual {
        push_unusual(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
}

fn push_unusual(out: &mut Vec<u8>, bytes: &[u8]) {
    let quoted = bytes.iter().any(|b| matches!(b, b',' | b'"'));
    if quoted {
        out.push(b'"');
    }
    let mut plain = 0;
    for (at, &b) in bytes.iter().enumerate() {
        if !matches!(b, b'"' | 0..b' ' | 0x7f) {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        if b == b'"' {
            out.extend_from_slice(b"\"\"");
        } else {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    if quoted {
        out.push(b'"');
    }
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(text: &str) -> String {
        let mut out = Vec::new();
        push_cell(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        assert_eq!(cell("smtp;250 DATA ok"), "smtp;250 DATA ok");
        assert_eq!(cell("ENHANCEDSTATUSCODES,8BITMIME"), "\"ENHANCEDSTATUSCODES,8BITMIME\"");
        assert_eq!(cell("no such \"RCPT\""), "\"no such \"\"RCPT\"\"\"");
        assert_eq!(cell("=cmd|' /C calc'!A0"), "=cmd|' /C calc'!A0");
        assert_eq!(cell("Grüße"), "Grüße");
    }

    #[test]
    fn a_reply_cannot_forge_a_line() {
        assert_eq!(cell("550 no\r\nd,2026-01-01"), "\"550 no\\x0d\\x0ad,2026-01-01\"");
        assert_eq!(cell("\x1b[2J\0\x7f"), "\\x1b[2J\\x00\\x7f");
    }

    #[test]
    fn numbers() {
        let mut out = Vec::new();
        for n in [0, 7, 41159, i64::MAX, i64::MIN] {
            push_number(&mut out, n);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 41159 9223372036854775807 -9223372036854775808 ");
    }

    proptest! {
        #[test]
        fn a_reader_gets_back_what_was_written(cells in proptest::collection::vec("[^\\p{Cc}]{0,20}", 1..6)) {
            let mut line = b"d".to_vec();
            for text in &cells {
                line.push(b',');
                push_cell(&mut line, text);
            }
            line.extend_from_slice(LINE_END);
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&line[..]);
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(record.iter().skip(1).collect::<Vec<_>>(), cells);
        }
    }
}
