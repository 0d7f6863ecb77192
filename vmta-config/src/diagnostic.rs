//! What is wrong, where, and what to write instead: one finding and its rendering as text.

use std::fmt;
use std::sync::Arc;

use crate::source::{Place, Sources};

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The line is left out, or probably does not mean what its author thinks.
    Warning,
}

/// One finding. `Display` renders it over several lines, with the line of the file and a mark under the fault.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// File and line; `None` for what concerns the configuration as a whole.
    pub origin: Option<Origin>,
    /// From 1, in characters.
    pub column: u32,
    /// Length of the marked text in characters, at least 1.
    pub length: u32,
    /// The line as written.
    pub text: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where the file was included, innermost first.
    pub included_at: Vec<Origin>,
    /// File in the order of reading, line and column: the order findings are reported in.
    order: (u32, u32, u32),
}

/// Widest stretch of a line that is shown.
const SHOWN: usize = 140;
/// Longest mark.
const MARKED: usize = 60;

impl Diagnostic {
    pub(crate) fn at(sources: &Sources, place: Place, message: String) -> Diagnostic {
        let text = sources.line(place).to_string();
        let (start, end) = (place.start as usize, (place.start + place.len) as usize);
        let column = text.get(..start).map_or(0, |s| s.chars().count()) as u32 + 1;
        let length = text.get(start..end.min(text.len())).map_or(1, |s| s.chars().count().max(1)) as u32;
        Diagnostic {
            severity: Severity::Error,
            message,
            origin: Some(sources.origin(place)),
            column,
            length,
            text,
            help: None,
            included_at: sources.includes(place),
            order: (place.file, place.line, place.start),
        }
    }

    pub(crate) fn whole(message: String) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message,
            origin: None,
            column: 1,
            length: 1,
            text: String::new(),
            help: None,
            included_at: Vec::new(),
            order: (u32::MAX, 0, 0),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Diagnostic {
        self.help = help.into();
        self
    }

    pub(crate) fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The shown stretch of the line and where the mark starts in it.
    fn excerpt(&self) -> (String, usize, usize) {
        let column = self.column as usize - 1;
        let length = self.text.chars().count();
        let first = if length <= SHOWN || column < SHOWN / 2 { 0 } else { column - SHOWN / 2 };
        let (mut text, mut at) = (String::new(), column - first);
        if first > 0 {
            text.push_str("... ");
            at += 4;
        }
        text.extend(self.text.chars().skip(first).take(SHOWN).map(shown));
        if first + SHOWN < length {
            text.push_str(" ...");
        }
        let marked = (self.length as usize).min(MARKED).min(text.chars().count().saturating_sub(at)).max(1);
        (text, at, marked)
    }
}

/// Control characters, which may come from the file, would disturb a terminal.
fn shown(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_error() { "error" } else { "warning" };
        let one_line = |text: &str| text.chars().map(shown).collect::<String>();
        write!(f, "{word}: {}", one_line(&self.message))?;
        let mut margin = String::from(" ");
        if let Some(origin) = &self.origin {
            let number = origin.line.to_string();
            margin = " ".repeat(number.len());
            let (text, at, marked) = self.excerpt();
            write!(f, "\n{margin}--> {}:{}:{}\n{margin} |\n", origin.file, origin.line, self.column)?;
            write!(f, "{number} | {text}\n{margin} | {}{}", " ".repeat(at), "^".repeat(marked))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {}", one_line(help))?;
        }
        for origin in &self.included_at {
            write!(f, "\n{margin} = note: included from {origin}")?;
        }
        Ok(())
    }
}

/// Most findings kept of one load; the rest are only counted.
const MAX_KEPT: usize = 200;

/// Collects findings while a configuration is read. In lenient mode everything that concerns one line is a warning.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub kept: Vec<Diagnostic>,
    lenient: bool,
    errors: usize,
    left_out: usize,
}

impl Findings {
    pub fn new(lenient: bool) -> Findings {
        Findings { lenient, ..Findings::default() }
    }

    pub fn add(&mut self, diagnostic: Diagnostic) {
        let diagnostic = if self.lenient { diagnostic.warning() } else { diagnostic };
        self.keep(diagnostic);
    }

    /// An error even in lenient mode: nothing useful could be built.
    pub fn add_fatal(&mut self, diagnostic: Diagnostic) {
        self.keep(diagnostic);
    }

    fn keep(&mut self, diagnostic: Diagnostic) {
        if self.kept.len() < MAX_KEPT || (diagnostic.is_error() && self.errors == 0) {
            self.errors += usize::from(diagnostic.is_error());
            self.kept.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Counts one more finding instead of describing it, once there are more than anybody reads: a file of another
    /// kind given by mistake is refused quickly.
    pub fn only_counted(&mut self) -> bool {
        let full = self.kept.len() >= MAX_KEPT && (self.lenient || self.errors > 0);
        self.left_out += usize::from(full);
        full
    }

    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|d| d.order);
        if self.left_out > 0 {
            let message = format!("{} more findings are not shown", self.left_out);
            self.kept.push(Diagnostic::whole(message).warning());
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_file_line_column_and_marks_the_word() {
        let mut sources = Sources::default();
        let main = sources.add("/etc/posthaste/config", &"\ninclude x\n".into(), None);
        let at = Place { file: main, line: 2, start: 0, len: 7 };
        let file = sources.add("/etc/posthaste/x", &"a\n\tmax-smtp-outt 20\n".into(), Some(at));
        let place = Place { file, line: 2, start: 1, len: 13 };
        let found = Diagnostic::at(&sources, place, "unknown directive `max-smtp-outt`".into())
            .help("did you mean `max-smtp-out`?".to_string());
        let expected = "error: unknown directive `max-smtp-outt`\n --> /etc/posthaste/x:2:2\n  |\n\
            2 |  max-smtp-outt 20\n  |  ^^^^^^^^^^^^^\n  = help: did you mean `max-smtp-out`?\n\
            \x20 = note: included from /etc/posthaste/config:2";
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_not_shown() {
        let mut sources = Sources::default();
        let file = sources.add("c", &"\u{1b}[31mfoo\n".into(), None);
        let place = Place { file, line: 1, start: 0, len: 8 };
        let found =
            Diagnostic::at(&sources, place, "unknown `\u{1b}[31mfoo`".into()).help("no \u{1b}".to_string());
        let shown = found.to_string();
        assert!(shown.starts_with("error: unknown ` [31mfoo`\n") && shown.ends_with("help: no  "), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_mark() {
        let mut sources = Sources::default();
        let text = format!("domain-macro x {}BAD!,{}", "a.com,".repeat(500), "b.com,".repeat(500));
        let start = text.find("BAD!").unwrap() as u32;
        let file = sources.add("c", &text.as_str().into(), None);
        let found = Diagnostic::at(&sources, Place { file, line: 1, start, len: 4 }, "bad domain".into());
        let shown = found.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[3].len() < 170);
        let at = lines[4].find('^').unwrap();
        assert_eq!(&lines[3][at..at + 4], "BAD!");
    }
}
