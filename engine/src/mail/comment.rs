//! Comments in structured header fields (RFC 5322 section 3.2.2).

/// Longest line, without its end.
const LINE: usize = 78;

/// `text` as a comment on lines of its own, for behind other words of a field: whatever it holds, the field and the comment
/// stay what they are. What is not printable ASCII is `?`; a word is never broken.
pub fn comment(text: &str) -> String {
    let escaped: String = text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
        out
    });
    let mut out = String::from("\r\n\t(");
    let mut column = 2;
    for (n, word) in escaped.split(' ').filter(|word| !word.is_empty()).enumerate() {
        let fits = column + 1 + word.len() < LINE;
        out.push_str(match (n, fits) {
            (0, _) => "",
            (_, true) => " ",
            (_, false) => "\r\n\t ",
        });
        column = if n > 0 && !fits { 2 + word.len() } else { column + 1 + word.len() };
        out.push_str(word);
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_comment() {
        assert_eq!(comment("A a.example: 192.0.2.1"), "\r\n\t(A a.example: 192.0.2.1)");
        let hostile = "x) y\\ (z\r\nSubject: ü";
        assert_eq!(comment(hostile), "\r\n\t(x\\) y\\\\ \\(z??Subject: ?)");
        assert_eq!(comment("  "), "\r\n\t()");
    }

    #[test]
    fn long_ones_are_folded_between_words() {
        let long = comment(&"word ".repeat(60));
        let lines: Vec<&str> = long.split("\r\n").skip(1).collect();
        assert!(lines.len() > 3, "{lines:?}");
        for line in &lines {
            assert!(line.starts_with('\t') && line.len() <= LINE && line.contains("word"), "{line}");
        }
        assert!(comment(&"a".repeat(300)).split("\r\n").count() == 2);
    }
}
