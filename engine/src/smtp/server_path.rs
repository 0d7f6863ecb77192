//! The arguments of MAIL and RCPT: `FROM:<path> parameters` (RFC 5321 4.1.2).

use super::server_options::ServerOptions;
use crate::mail::{Address, AddressError};
use thiserror::Error;

/// Most parameters of one command.
const MAX_PARAMETERS: usize = 16;

/// This is no path; with what should have stood there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("syntax: {0}")]
pub struct PathError(pub &'static str);

/// A path and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct PathArgument<'a> {
    /// What stands there for an address.
    pub mailbox: &'a str,
    /// `None` for `<>`.
    pub address: Result<Option<Address>, AddressError>,
    /// Keyword and value, in order.
    pub parameters: Vec<(&'a str, Option<&'a str>)>,
}

/// Reads `argument` after the verb; `keyword` is `FROM:` or `TO:`. An address without domain is taken only if it
/// is `postmaster`, at our host (RFC 5321 4.1.1.3).
pub fn parse<'a>(
    argument: &'a str,
    keyword: &'static str,
    options: &ServerOptions,
) -> Result<PathArgument<'a>, PathError> {
    let wanted = if keyword == "FROM:" { "FROM:<address>" } else { "TO:<address>" };
    let syntax = PathError(wanted);
    let head =
        argument.get(..keyword.len()).filter(|h| h.eq_ignore_ascii_case(keyword)).ok_or(syntax.clone())?;
    // Blanks behind the colon are wrong and common.
    let path = argument[head.len()..].trim_start_matches(' ').strip_prefix('<').ok_or(syntax.clone())?;
    let end = path_end(path).ok_or(syntax)?;
    let (path, rest) = (&path[..end], &path[end + 1..]);
    let parameters = parameters(rest)?;
    let mailbox = without_route(path)?;
    let address = match mailbox {
        "" => Ok(None),
        m if m.eq_ignore_ascii_case("postmaster") => {
            Address::parse(&format!("{m}@{}", options.host)).map(Some)
        }
        m => address(m, &options.domain_suffix).map(Some),
    };
    Ok(PathArgument { mailbox, address, parameters })
}

fn address(mailbox: &str, suffix: &str) -> Result<Address, AddressError> {
    let address = Address::parse(mailbox)?;
    Ok(address.as_ref().qualified(suffix)?.unwrap_or(address))
}

/// Where the `>` stands that ends the path; one in a quoted local part does not.
fn path_end(path: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in path.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

/// Source routes are understood and ignored (RFC 5321 4.1.1.3 and appendix C): what counts is the mailbox behind.
fn without_route(path: &str) -> Result<&str, PathError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    path.split_once(':').map(|(_, mailbox)| mailbox).ok_or(PathError("<address> without source route"))
}

fn parameters(rest: &str) -> Result<Vec<(&str, Option<&str>)>, PathError> {
    let mut found = Vec::new();
    if rest.trim_matches(' ').is_empty() {
        return Ok(found);
    }
    let rest = rest.strip_prefix(' ').ok_or(PathError("a blank between address and parameters"))?;
    for word in rest.split(' ').filter(|w| !w.is_empty()) {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if keyword.is_empty() || !keyword.bytes().all(fits) || value.is_some_and(|v| !v.bytes().all(is_value))
        {
            return Err(PathError("parameters of the form KEYWORD=value"));
        }
        if found.len() == MAX_PARAMETERS {
            return Err(PathError("at most 16 parameters"));
        }
        found.push((keyword, value));
    }
    Ok(found)
}

/// RFC 5321 4.1.2 `esmtp-value`, with the UTF-8 that RFC 6531 adds.
fn is_value(b: u8) -> bool {
    !matches!(b, b'=' | 0..=b' ' | 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(argument: &str) -> Result<Option<String>, String> {
        from_with("", argument)
    }

    fn from_with(domain_suffix: &str, argument: &str) -> Result<Option<String>, String> {
        let options = ServerOptions { domain_suffix: domain_suffix.to_owned(), ..ServerOptions::new("mx") };
        let path = parse(argument, "FROM:", &options).map_err(|e| e.to_string())?;
        let address = path.address.map_err(|e| e.to_string())?;
        Ok(address.map(|a| a.as_str().to_owned()))
    }

    #[test]
    fn a_domain_of_one_label_gets_the_suffix() {
        for (argument, address) in [
            ("FROM:<a@b>", "a@b.example.com"),
            ("FROM:<@x,@y:a@b> SIZE=5", "a@b.example.com"),
            ("FROM:<a@b.example>", "a@b.example"),
            ("FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("FROM:<postmaster>", "postmaster@mx"),
        ] {
            assert_eq!(from_with("example.com", argument), Ok(Some(address.to_owned())), "{argument}");
        }
        assert_eq!(from_with("", "FROM:<a@b>"), Ok(Some("a@b".to_owned())));
        assert_eq!(from_with("example.com", "FROM:<>"), Ok(None));
        assert!(from_with("example.com", "FROM:<a>").is_err());
    }

    #[test]
    fn paths() {
        for (argument, address) in [
            ("FROM:<a@b.example>", Some("a@b.example")),
            ("from: <a@b.example>", Some("a@b.example")),
            ("FROM:<>", None),
            ("FROM:<> SIZE=5", None),
            ("FROM:<\"a> b\"@b.example> BODY=8BITMIME", Some("\"a> b\"@b.example")),
            ("FROM:<@x.example,@y.example:a@b.example>", Some("a@b.example")),
            ("FROM:<Postmaster>", Some("Postmaster@mx")),
            ("FROM:<a@[192.0.2.1]>", Some("a@[192.0.2.1]")),
        ] {
            assert_eq!(from(argument), Ok(address.map(str::to_owned)), "{argument}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for argument in [
            "",
            "FROM",
            "FROM:",
            "FROM:a@b.example",
            "FROM:<a@b.example",
            "TO:<a@b.example>",
            "FROM:<a>",
            "FROM:<@>",
            "FROM:<@x.example>",
            "FROM:<a@b.example>SIZE=5",
            "FROM:<a@b.example> =5",
            "FROM:<a@b.example> A=b=c",
            "FROM:<a b@b.example>",
            "FROM:<a@b@b.example>",
            "FROM:<<a@b.example>>",
            "FROM:<a@b.example> é=1",
        ] {
            assert!(from(argument).is_err(), "{argument}");
        }
        let many = format!("FROM:<>{}", " A=b".repeat(17));
        assert!(from(&many).is_err());
    }
}
