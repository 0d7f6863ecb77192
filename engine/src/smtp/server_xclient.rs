//! XCLIENT: a proxy in front of us says who its client is (Postfix's XCLIENT_README). Only clients whose `<source>` has
//! `allow-xclient` may; whoever may does so for as long as the connection lasts.

use super::dsn::from_xtext;
use super::server::Phase;
use super::server::{ServerEvent, Session};
use super::server_options::ServerOptions;
use crate::base::Now;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The attributes there are, as EHLO offers them.
pub(super) const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO LOGIN";
/// Longest value, in bytes.
const LONGEST: usize = 255;

/// Who the client is, as far as it was said; what was not said before stays unsaid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumed {
    /// The name of its address.
    pub name: Option<String>,
    /// 0.0.0.0 where it is not known.
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    /// Empty for nobody.
    pub login: Option<String>,
    helo: Option<String>,
    esmtp: Option<bool>,
}

impl Session {
    pub(super) fn xclient(&mut self, argument: &str) {
        if !self.may_assume {
            return self.refuse("550 5.7.0 XCLIENT is not for you");
        }
        if self.envelope.is_some() {
            return self.refuse("503 5.5.1 XCLIENT within a transaction");
        }
        if !self.may_idle() {
            return;
        }
        let mut assumed = self.assumed.clone();
        match read(argument, &mut assumed) {
            Ok(()) => {
                self.phase = Phase::Deciding;
                self.event(ServerEvent::Assumed(Box::new(assumed)));
            }
            Err(why) => self.refuse(format_args!("501 5.5.4 XCLIENT: {why}")),
        }
    }

    /// The client is whom it was said to be, and served with these options from now on: as at the beginning of a session.
    pub fn assume(&mut self, now: Now, assumed: Assumed, options: &Arc<ServerOptions>) {
        self.helo = assumed.helo.as_deref().unwrap_or_default().into();
        self.esmtp = assumed.esmtp.unwrap_or(false) && !self.helo.is_empty();
        self.user = assumed.login.as_deref().unwrap_or_default().into();
        // The certificate is the proxy's.
        self.certified = Box::default();
        self.assumed = assumed;
        self.options = options.clone();
        self.failed_logins = 0;
        self.decide(now, format_args!("220 {} ({}) ESMTP service ready", options.host, options.software));
    }

    /// The client that is spoken for is not served.
    pub fn turn_away(&mut self, busy: bool) {
        let options = self.options.clone();
        match busy {
            true => self.reply(format_args!("421 {} too many connections, try again later", options.host)),
            false => self.reply(format_args!("521 {} does not accept mail from you", options.host)),
        }
        self.close();
    }
}

/// Reads `NAME=value` pairs into `assumed`.
fn read(argument: &str, assumed: &mut Assumed) -> Result<(), String> {
    let mut any = false;
    for pair in argument.split(' ').filter(|pair| !pair.is_empty()) {
        any = true;
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("NAME=value, and not {pair}"))?;
        let name = name.to_ascii_uppercase();
        let known = !["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|u| value.eq_ignore_ascii_case(u));
        let value =
            if known { decoded(value).ok_or_else(|| format!("{name} is not xtext"))? } else { String::new() };
        match name.as_str() {
            "NAME" => assumed.name = Some(value),
            "ADDR" if !known => assumed.address = Some(Ipv4Addr::UNSPECIFIED.into()),
            "ADDR" => assumed.address = Some(address(&value).ok_or("ADDR is not an address")?),
            "PORT" if !known => assumed.port = Some(0),
            "PORT" => assumed.port = Some(value.parse().map_err(|_| "PORT is not a port")?),
            "PROTO" => {
                assumed.esmtp = Some(match value.to_ascii_uppercase().as_str() {
                    "ESMTP" => true,
                    "SMTP" => false,
                    _ => return Err("PROTO is SMTP or ESMTP".to_owned()),
                });
            }
            "HELO" if value.is_empty() || is_host(&value) => assumed.helo = Some(value),
            "HELO" => return Err("HELO is not the name of a host".to_owned()),
            "LOGIN" => assumed.login = Some(value),
            _ => return Err(format!("there are {ATTRIBUTES}")),
        }
    }
    if any { Ok(()) } else { Err(format!("one or more of {ATTRIBUTES}, each with =value")) }
}

fn address(text: &str) -> Option<IpAddr> {
    let tagged = text.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPV6:"));
    text[if tagged { 5 } else { 0 }..].parse().ok()
}

/// What EHLO takes for a name.
pub(super) fn is_host(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'(' | b')' | b'"' | b'\\');
    !name.is_empty() && name.len() <= LONGEST && name.bytes().all(fits)
}

/// A value in xtext.
fn decoded(value: &str) -> Option<String> {
    let text = String::from_utf8(from_xtext(value)?).ok()?;
    (text.len() <= LONGEST && !text.chars().any(|c| c.is_control() || c.is_whitespace())).then_some(text)
}
