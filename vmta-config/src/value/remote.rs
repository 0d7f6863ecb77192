//! Addresses of services: URLs, proxies, keys of the two HTTP interfaces (reference 1.3, 2.1, 2.8).

use std::net::IpAddr;

use super::names::{ascii_domain, cidr, email};
use super::{ParseError, Value};
use crate::lex::{Cursor, Word, shorten};
use crate::macros::Macros;

/// Absolute, http or https, without user, query and fragment.
pub(super) fn url(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("a URL")?;
    check_url(&word.text).map_err(|why| {
        ParseError::new(word.at.clone(), format!("`{}` {why}", shorten(&word.text))).help(URL_HELP)
    })?;
    Ok(Value::Text(word.text.clone()))
}

pub(crate) const URL_HELP: &str = "write http://host[:port]/path or https://host[:port]/path";

/// What is wrong with a URL.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("is not an http or https URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("names a user, which a URL here may not");
    }
    if rest.contains(['?', '#']) || path.contains(char::is_whitespace) {
        return Err("has a query or a fragment, which a URL here may not");
    }
    if !is_host_and_port(authority, false) {
        return Err("names no host");
    }
    Ok(())
}

/// `host`, `192.0.2.1`, `[::1]`, with or without `:port`.
fn is_host_and_port(text: &str, port_needed: bool) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((ip, rest)) if ip.parse::<IpAddr>().is_ok() => (None, rest.strip_prefix(':')),
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let port_is_right = port.map_or(!port_needed, |p| p.parse::<u16>().is_ok_and(|p| p > 0));
    port_is_right && host.is_none_or(|host| ascii_domain(host).is_ok())
}

const SERVER: &str = "write HOST:PORT, such as 192.0.2.7:5000 or proxy.example:5000";

fn host_and_port(c: &mut Cursor) -> Result<Word, ParseError> {
    let word = c.word("HOST:PORT")?;
    match is_host_and_port(&word.text, true) {
        true => Ok(word),
        false => {
            let message = format!("`{}` is not HOST:PORT", shorten(&word.text));
            Err(ParseError::new(word.at, message).help(SERVER))
        }
    }
}

/// `<proxy>` `server`.
pub(super) fn server(c: &mut Cursor) -> Result<Value, ParseError> {
    host_and_port(c).map(|w| Value::Text(w.text))
}

const CLIENT: &str = "write IP[:PORT] HOSTNAME: the address seen outside and the name for EHLO";

/// `IP[:PORT] HOSTNAME`
pub(super) fn client(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("the address that receivers see")?;
    let ip = word.text.parse::<IpAddr>().is_ok()
        || (is_host_and_port(&word.text, true)
            && word.text.rsplit_once(':').is_some_and(|(host, _)| {
                host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
            }));
    if !ip {
        let message = format!("`{}` is not an address, with or without a port", shorten(&word.text));
        return Err(ParseError::new(word.at, message).help(CLIENT));
    }
    let name = c.word("the host name")?;
    ascii_domain(&name.text).map_err(|m| ParseError::new(name.at.clone(), m).help(CLIENT))?;
    Ok(Value::Pair(word.text, name.text))
}

/// `CIDR PROXY:PORT CLIENT-IP[:PORT] HOSTNAME`
pub(super) fn proxy_source(c: &mut Cursor) -> Result<Value, ParseError> {
    let help = "write LOCAL-ADDRESS PROXY:PORT CLIENT-ADDRESS[:PORT] HOSTNAME";
    let net = cidr(c).map_err(|e| e.help(help))?;
    let proxy = host_and_port(c).map_err(|e| e.help(help))?;
    let Value::Pair(client, name) = client(c).map_err(|e| e.help(help))? else {
        return Err(ParseError::new(c.here(1), "the client is missing").help(help));
    };
    Ok(Value::List(vec![net.to_string(), proxy.text, client, name]))
}

/// 32 to 128 letters, digits and underscores.
pub(super) fn api_key(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("a key")?;
    let valid = word.text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match valid && (32..=128).contains(&word.text.len()) {
        true => Ok(Value::Text(word.text)),
        false => Err(ParseError::new(word.at, "this is not a key").help(
            "a key has 32 to 128 letters, digits and underscores; make one with `openssl rand -hex 32`",
        )),
    }
}

/// EMAIL, `@DOMAIN`, or how to find it.
pub(super) fn identity(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("an identity")?;
    if word.text.is_empty() {
        return Ok(Value::Cleared);
    }
    if !matches!(word.text.as_str(), "sender-or-from" | "strict-from") {
        let whole = match word.text.starts_with('@') {
            true => Word { text: format!("x{}", word.text), ..word.clone() },
            false => word.clone(),
        };
        email(&whole).map_err(|e| e.help("write user@domain, @domain, sender-or-from or strict-from"))?;
    }
    Ok(Value::Text(word.text))
}

const PRIVACY: &str = "write retain, redact [TEXT], siphash KEY, siphash-hexkey HEX, hmac-sha256 KEY or \
                       hmac-sha256-hexkey HEX";

/// How the local part of recipients is shown (reference 2.7, 4.5).
pub(super) fn privacy(c: &mut Cursor) -> Result<Value, ParseError> {
    let how = c.word("a policy")?;
    let refused = |word: &Word, message: String| Err(ParseError::new(word.at.clone(), message).help(PRIVACY));
    let hex = match how.text.as_str() {
        "retain" => return Ok(Value::Text(how.text)),
        "redact" => {
            let text = if c.at_end() { "...".to_string() } else { c.word("a text")?.text };
            return Ok(Value::Pair(how.text, text));
        }
        "siphash" | "hmac-sha256" => false,
        "siphash-hexkey" | "hmac-sha256-hexkey" => true,
        _ => return refused(&how, format!("`{}` is not a privacy policy", shorten(&how.text))),
    };
    let key = c.word("the key")?;
    let is_hex = key.text.len() % 2 == 0 && key.text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = if hex { key.text.len() / 2 } else { key.text.len() };
    if key.text.is_empty() || (hex && !is_hex) {
        return refused(
            &key,
            format!(
                "the key of {} has to be {}",
                how.text,
                if hex { "pairs of hex digits" } else { "a text" }
            ),
        );
    }
    if how.text.starts_with("siphash") && bytes > 16 {
        return refused(&key, "a SipHash key has at most 16 bytes".to_string());
    }
    Ok(Value::Pair(how.text, key.text))
}

/// `SELECTOR,DOMAIN,FILE`; macros in DOMAIN count.
pub(super) fn domain_key(c: &mut Cursor, macros: &Macros) -> Result<Value, ParseError> {
    let words = c.list("SELECTOR,DOMAIN,FILE")?;
    let help = "write SELECTOR,DOMAIN,FILE; `*` as DOMAIN fits all, such as dkim,*,/etc/posthaste/dkim.pem";
    let [selector, domain, file] = &words[..] else {
        let end = words.last().map_or(0, |w| w.at.end);
        let message = format!("a key has three parts, not {}", words.len());
        return Err(ParseError::new(0..end, message).help(help));
    };
    let variable = |word: &Word, name: &str| file.text.starts_with("{vault}:") && word.text == name;
    if !variable(selector, "{selector}") {
        ascii_domain(&selector.text).map_err(|m| ParseError::new(selector.at.clone(), m).help(help))?;
    }
    if domain.text != "*" && !variable(domain, "{domain}") {
        for expanded in
            macros.expand(&domain.text).map_err(|e| ParseError::new(domain.at.clone(), e.to_string()))?
        {
            ascii_domain(&expanded.text).map_err(|m| ParseError::new(domain.at.clone(), m).help(help))?;
        }
    }
    Ok(Value::List(vec![selector.text.clone(), domain.text.clone(), file.text.clone()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reader = fn(&mut Cursor) -> Result<Value, ParseError>;

    fn check(reader: Reader, right: &[&str], wrong: &[&str]) {
        let of = |text| {
            let mut cursor = Cursor::new(text);
            reader(&mut cursor).and_then(|v| cursor.finish().map(|()| v))
        };
        right.iter().for_each(|text| assert!(of(text).is_ok(), "{text}: {:?}", of(text)));
        wrong.iter().for_each(|text| assert!(of(text).is_err(), "{text}"));
    }

    #[test]
    fn urls_have_no_user_query_or_fragment() {
        check(
            url,
            &["https://hooks.example/x", "http://[::1]:8080/", "http://a.example"],
            &["ftp://a.example", "https://u@a.example/", "https://a.example/?q", "https:///x", "a.example"],
        );
    }

    #[test]
    fn proxies_have_servers_and_clients() {
        check(server, &["192.0.2.7:5000", "p.example:5000", "[::1]:5000"], &["192.0.2.7", "p.example:0"]);
        check(client, &["192.0.2.7 m.example", "192.0.2.7:4000 m.example"], &["m.example x", "192.0.2.7"]);
        check(
            proxy_source,
            &["10.0.0.1 192.0.2.7:5000 198.51.100.1 m.example"],
            &["10.0.0.1 192.0.2.7 198.51.100.1 m.example", "10.0.0.1 192.0.2.7:5000 198.51.100.1"],
        );
    }

    #[test]
    fn keys_policies_and_identities() {
        check(api_key, &["0123456789abcdef0123456789abcdef"], &["short", "0123456789abcdef0123456789abcde-"]);
        check(
            privacy,
            &["retain", "redact", "redact xxx", "siphash secretkey", "hmac-sha256-hexkey 00ff"],
            &["hide", "siphash", "siphash 12345678901234567", "siphash-hexkey 0g", "retain it"],
        );
        check(
            identity,
            &["a@b.example", "@b.example", "sender-or-from", "strict-from", "\"\""],
            &["sender", "@", "a@b..c"],
        );
    }

    #[test]
    fn keys_have_three_parts() {
        let of = |text| domain_key(&mut Cursor::new(text), &Macros::default());
        assert!(of("s1,*,/k.pem").is_ok() && of("s1, b.example, /k.pem").is_ok());
        assert!(of("{selector},{domain},{vault}:/v1/e/data/${domain}:k").is_ok());
        for wrong in ["s1,*", "s1,b..c,/k", "{selector},*,/k.pem", "s1,$nosuch,/k"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
