//! Pickup files: taken whole or refused with a line and a reason; what is taken is clean, says what the file says, and
//! does not depend on how the file ends its lines.

use posthaste::ingest::pickup::{MAX_RECIPIENTS, PickupMessage, PickupOptions, parse};
use posthaste::mail::check;
use posthaste::mail::header::Header;
use posthaste::mail::row::REFUSED_FIELD;

use super::input::{Input, assert_printable, is_crlf_only};

pub fn file(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let options = PickupOptions {
        max_bytes: 64 * 1024,
        remove_dot: choice & 1 != 0,
        process_virtual_mta: choice & 2 == 0,
        process_job: choice & 4 == 0,
        process_envid: choice & 8 == 0,
        domain_suffix: if choice & 16 == 0 { "" } else { "suffix.example" },
        suppression: None,
        accept_invalid: choice & 32 != 0,
    };
    let file = input.rest();
    let parsed = parse(file, &options);
    let dos = with_crlf(file);
    if dos.len() <= options.max_bytes {
        assert_eq!(parsed, parse(&dos, &options), "with CR LF");
    }
    match parsed {
        Ok(message) => {
            taken(&message, &options);
            if !options.remove_dot {
                assert_eq!(written_again(&message, &options), message);
            }
        }
        Err(error) => {
            let lines = file.iter().filter(|b| **b == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
            assert_printable(&error.to_string());
            assert_eq!(error.reason("a.eml").lines().count(), 2);
        }
    }
}

/// Every LF that ends a line becomes a CR LF.
fn with_crlf(file: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(file.len() + 16);
    for (at, byte) in file.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || file[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

fn taken(message: &PickupMessage, options: &PickupOptions) {
    let text = &message.message;
    assert!(is_crlf_only(text) && !text.contains(&0));
    assert!(text.split(|b| *b == b'\n').all(|line| line.len() <= 999));
    assert!(message.sender.is_empty() || check(message.sender.as_bytes()).is_ok());
    if let Some(merge) = &message.merge {
        let bounces = merge.number(REFUSED_FIELD);
        for row in merge.rows() {
            let refused = row.values().any(|(number, _)| Some(number) == bounces);
            assert!(refused || check(row.address.as_bytes()).is_ok(), "{}", row.address);
            assert_printable(row.address);
        }
        assert!(message.recipients.is_empty() && message.refused.is_empty() && !merge.is_empty());
        assert!(merge.parts.is_sorted_by_key(|part| part.end));
        return assert_eq!(merge.parts.last().map(|part| part.end), Some(text.len()));
    }
    assert!(text.ends_with(b"\r\n"));
    assert!(message.recipients.len() + message.refused.len() <= MAX_RECIPIENTS);
    assert!(message.recipients.iter().all(|to| check(to.as_bytes()).is_ok()));
    for refused in &message.refused {
        assert!(refused.reply.starts_with("501 5.1.3 ") && !refused.address.is_empty());
        assert_printable(&refused.address);
    }
    assert!(!message.recipients.is_empty() || !message.refused.is_empty());
    let header = Header::scan(text);
    let count = |name: &str| {
        let named = |field: &&posthaste::mail::header::Field| {
            text[field.name.clone()].eq_ignore_ascii_case(name.as_bytes())
        };
        header.fields().iter().filter(named).count()
    };
    assert_eq!(count("From"), 1);
    assert!(count("Subject") <= 1);
    for (name, read) in [
        ("x-sender", true),
        ("x-receiver", true),
        ("x-sender-override", true),
        ("x-virtual-mta", options.process_virtual_mta),
    ] {
        assert!(!read || count(name) == 0, "{name} leaves with the message");
    }
    for name in [&message.envid, &message.job, &message.virtual_mta] {
        assert!(name.len() <= 128 && !name.chars().any(char::is_control));
    }
}

/// The message as a plain file, read: all but what only batch SMTP can say.
fn written_again(message: &PickupMessage, options: &PickupOptions) -> PickupMessage {
    if message.recipients.is_empty() {
        return message.clone();
    }
    let mut file = format!("x-sender: {}\n", message.sender);
    message.recipients.iter().for_each(|to| file += &format!("x-receiver: {to}\n"));
    for (name, value) in
        [("x-envid", &message.envid), ("x-job", &message.job), ("x-virtual-mta", &message.virtual_mta)]
    {
        if !value.is_empty() {
            file += &format!("{name}: {value}\n");
        }
    }
    let kept = [file.as_bytes(), &message.message].concat();
    match parse(&kept, options) {
        Ok(again) => PickupMessage {
            dsn_ret: message.dsn_ret.clone(),
            smtputf8: message.smtputf8,
            refused: message.refused.clone(),
            ..again
        },
        // A plain file reads these headers always, batch SMTP only when told to.
        Err(_) if !options.process_job || !options.process_envid => message.clone(),
        Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(&kept)),
    }
}
