//! Escaping of values: for HTML text and attributes, and for URLs.

/// Writes `text` so that it is text wherever it stands in HTML, in quoted attributes too.
pub(super) fn html(text: &str, mut write: impl FnMut(&str)) {
    let mut from = 0;
    for (at, b) in text.bytes().enumerate() {
        let entity = match b {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        if at > from {
            write(&text[from..at]);
        }
        write(entity);
        from = at + 1;
    }
    if from < text.len() {
        write(&text[from..]);
    }
}

/// Writes `text` percent-encoded but for the unreserved characters (RFC 3986 section 2.3).
pub(super) fn url(text: &str, mut write: impl FnMut(&str)) {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let mut from = 0;
    for (at, b) in text.bytes().enumerate().filter(|(_, b)| !unreserved(*b)) {
        if at > from {
            write(&text[from..at]);
        }
        write(&format!("%{b:02X}"));
        from = at + 1;
    }
    if from < text.len() {
        write(&text[from..]);
    }
}

#[cfg(test)]
mod test {
    fn collect(escape: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        escape(&mut out);
        out
    }

    #[test]
    fn html_specials_become_entities() {
        assert_eq!(collect(|o| super::html("a<b>&\"'é/", |p| o.push_str(p))), "a&lt;b&gt;&amp;&quot;&#39;é/");
        assert_eq!(collect(|o| super::html("", |p| o.push_str(p))), "");
    }

    #[test]
    fn urls_keep_unreserved_characters_only() {
        assert_eq!(collect(|o| super::url("a+b@é /x~", |p| o.push_str(p))), "a%2Bb%40%C3%A9%20%2Fx~");
    }
}
