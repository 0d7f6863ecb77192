//! Text from elsewhere within our own words: what a terminal would act on, or a log take for its next line, is written
//! out (A34).

use std::fmt::{self, Display, Write};

/// Shows a text with its control characters as `\u{1b}`.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, control)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            write!(self.0, "{}{}", &rest[..at], control.escape_unicode())?;
            rest = &rest[at + control.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_all_else_stays() {
        let shown = |text: &str| Printable(text).to_string();
        assert_eq!(shown("Gr\u{fc}\u{df}e, \"x\" \\"), "Gr\u{fc}\u{df}e, \"x\" \\");
        assert_eq!(shown("\u{1b}[31m\r\nx\u{9b}\u{7f}\t"), "\\u{1b}[31m\\u{d}\\u{a}x\\u{9b}\\u{7f}\\u{9}");
    }
}
