//! What a server offers in its reply to EHLO (RFC 5321 4.1.1.1).

/// Most keywords remembered of one server.
const MAX_KEYWORDS: usize = 64;
/// Longest keyword remembered.
const MAX_KEYWORD: usize = 64;

/// The extensions in force on a connection: offered, and not ignored by configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    pub pipelining: bool,
    pub chunking: bool,
    pub eight_bit_mime: bool,
    pub smtputf8: bool,
    pub starttls: bool,
    pub dsn: bool,
    /// Offered with a limit in bytes, or 0 for no fixed limit (RFC 1870 4).
    pub size: Option<u64>,
    /// All keywords as offered, upper case, comma separated: accounting's `dlvEsmtpAvailable`.
    pub list: String,
}

impl Extensions {
    /// Reads the lines of an EHLO reply (the first, a greeting, is skipped).
    pub fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Extensions {
        let mut found = Extensions::default();
        for line in lines.skip(1).take(MAX_KEYWORDS) {
            let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
            let Some(keyword) = words.next().filter(|k| is_keyword(k)) else { continue };
            let keyword = String::from_utf8_lossy(keyword).to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => found.pipelining = true,
                "CHUNKING" => found.chunking = true,
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "STARTTLS" => found.starttls = true,
                "DSN" => found.dsn = true,
                "SIZE" => found.size = Some(words.next().map_or(0, number)),
                _ => {}
            }
            if !found.list.is_empty() {
                found.list.push(',');
            }
            found.list.push_str(&keyword);
        }
        found
    }

    /// Whether a message of `size` bytes is within the announced limit.
    pub fn admits(&self, size: u32) -> bool {
        self.size.is_none_or(|limit| limit == 0 || u64::from(size) <= limit)
    }
}

/// RFC 5321 4.1.1.1 `ehlo-keyword`; `=` because of the old `AUTH=LOGIN` form.
fn is_keyword(word: &[u8]) -> bool {
    word.len() <= MAX_KEYWORD
        && word.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'=' | b'_'))
}

/// A SIZE limit; what is no number or too large for one is no limit.
fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Extensions {
        Extensions::parse(text.lines().map(str::as_bytes))
    }

    #[test]
    fn usual_offer() {
        let offer = parse(
            "mx hello\nPIPELINING\nsize 1000\n8bitmime\nSTARTTLS\nAUTH PLAIN LOGIN\nCHUNKING\nSMTPUTF8\nDSN",
        );
        assert!(
            offer.pipelining
                && offer.eight_bit_mime
                && offer.chunking
                && offer.starttls
                && offer.smtputf8
                && offer.dsn
        );
        assert_eq!(offer.list, "PIPELINING,SIZE,8BITMIME,STARTTLS,AUTH,CHUNKING,SMTPUTF8,DSN");
        assert!(offer.admits(1000) && !offer.admits(1001));
    }

    #[test]
    fn size_without_limit() {
        for offer in ["h\nSIZE", "h\nSIZE 0", "h\nSIZE 99999999999999999999999", "h\nSIZE x", "h"] {
            assert!(parse(offer).admits(u32::MAX), "{offer}");
        }
    }

    #[test]
    fn rubbish_is_skipped() {
        let offer = parse("PIPELINING\n\u{1b}[31mSIZE\n\nX\u{0}Y\nA,B\nOK");
        assert_eq!((offer.pipelining, offer.list.as_str()), (false, "OK"));
    }
}
