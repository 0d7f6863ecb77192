//! What a site says. Each line of several is parted by `\n`; `{ip}` is the source address, `{from}`, `{to}` and
//! `{host}` what they say, `{n}` a number that differs from reply to reply.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

type Text = Cow<'static, str>;

/// The replies to the occasions a site knows. A reply that begins with 421 closes the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wording {
    pub greeting: Text,
    /// To an accepted message.
    pub accepted: Text,
    pub too_many_connections: Text,
    pub rate: Text,
    pub too_many_messages: Text,
    pub too_many_recipients: Text,
    pub grey: Text,
    pub storm: Text,
    pub unknown: Text,
    pub full: Text,
    pub disabled: Text,
    pub spam: Text,
    pub transient: Text,
    pub too_big: Text,
}

impl Default for Wording {
    fn default() -> Self {
        Wording {
            greeting: "220 {host} ESMTP".into(),
            accepted: "250 2.0.0 Ok: queued as {n}".into(),
            too_many_connections: "421 4.7.0 {host} Error: too many connections from {ip}".into(),
            rate: "450 4.7.1 Error: too much mail from {ip}".into(),
            too_many_messages: "421 4.7.0 {host} Error: too many messages on this connection".into(),
            too_many_recipients: "452 4.5.3 Error: too many recipients".into(),
            grey: "451 4.7.1 <{to}>: Recipient address rejected: Greylisted, please come back later".into(),
            storm: "421 4.3.2 {host} Service not available, try again later".into(),
            unknown: "550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table"
                .into(),
            full: "552 5.2.2 <{to}>: user is over quota".into(),
            disabled: "550 5.2.1 <{to}>: mailbox is disabled".into(),
            spam: "554 5.7.1 Message refused: it looks like spam".into(),
            transient: "451 4.3.0 <{to}>: Temporary lookup failure".into(),
            too_big: "552 5.3.4 Message size exceeds fixed limit".into(),
        }
    }
}

/// What the placeholders of a reply stand for.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub ip: IpAddr,
    pub host: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub number: u64,
}

/// Appends `text` with its placeholders filled in and CRLF line ends. Does not allocate.
pub fn append(out: &mut Vec<u8>, text: &str, about: Occasion) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'{', b'\n', rest.as_bytes()) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix('\n') {
            out.extend_from_slice(b"\r\n");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{n}") {
            append_hex(out, about.number);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{ip}") {
            use std::io::Write;
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{}", about.ip);
            rest = after;
        } else if let Some((value, after)) = named(rest, about) {
            out.extend_from_slice(value.as_bytes());
            rest = after;
        } else {
            out.push(b'{');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn named<'a>(rest: &'a str, about: Occasion<'a>) -> Option<(&'a str, &'a str)> {
    [("{host}", about.host), ("{from}", about.from), ("{to}", about.to)]
        .into_iter()
        .find_map(|(name, value)| rest.strip_prefix(name).map(|after| (value, after)))
}

/// Eight or more hexadecimal digits, like the queue ids that real servers show.
fn append_hex(out: &mut Vec<u8>, n: u64) {
    let digits = (16 - n.leading_zeros() / 4).max(8);
    for place in (0..digits).rev() {
        out.push(b"0123456789ABCDEF"[usize::try_from((n >> (place * 4)) & 15).unwrap_or(0)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn placeholders_and_line_ends_are_filled_in() {
        let about = Occasion {
            ip: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)),
            host: "mx.example",
            from: "",
            to: "ann@example.com",
            number: 0x1f,
        };
        let mut out = Vec::new();
        append(&mut out, "550-5.1.1 <{to}> at {host}\n550 5.1.1 {ip} {unknown} {n}", about);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "550-5.1.1 <ann@example.com> at mx.example\r\n550 5.1.1 127.0.0.9 {unknown} 0000001F\r\n"
        );
    }
}
