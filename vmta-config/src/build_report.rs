//! The text part of failure reports, from the file that `dsn-failed-body-template-from` names.

use crate::build::Builder;
use crate::source::Place;
use crate::tree::{path_help, resolve};
use crate::value::{ReportTemplate, Value};

/// Bytes of the file; every report carries it.
const MOST: usize = 64 << 10;

impl Builder<'_> {
    pub(crate) fn failure_words(&mut self, value: &Value, place: Place) {
        let Value::Text(file) = value else {
            self.config.failure_words = None;
            return;
        };
        let path = resolve(self.lines.sources.path(place.file), file);
        let text = match self.files.read(&path) {
            Ok(text) => text.replace("\r\n", "\n"),
            Err(e) => return self.lines.error(place, format!("cannot read {path}: {e}"), path_help(&path)),
        };
        let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        let line_of = |at: usize| 1 + text[..at].matches('\n').count();
        let refused = |at: usize, message: &str| format!("{path}, line {}: {message}", line_of(at));
        let (message, help) = match (text.find(strange), ReportTemplate::parse(&text)) {
            _ if text.len() > MOST => {
                (format!("{path} is longer than 64K"), Some("every report carries all of it".into()))
            }
            (Some(at), _) => {
                let help = "write plain text, saved as UTF-8".to_string();
                (refused(at, "a control character cannot stand in a mail"), Some(help))
            }
            (None, Err(e)) => (refused(e.at.start, &e.message), e.help),
            (None, Ok(template)) => {
                self.config.failure_words = Some(template);
                return;
            }
        };
        self.lines.error(place, message, help);
    }
}

#[cfg(test)]
mod tests {
    use crate::files::MemoryFiles;
    use crate::load::{Loaded, load};

    fn loaded(body: &str) -> Loaded {
        let text = "log-file /l\n<spool /s>\n</spool>\ndsn-failed-body-template-from words\n";
        load("/e/config", &MemoryFiles::new([("/e/config", text), ("/e/words", body)]), false)
    }

    #[test]
    fn a_file_beside_the_configuration() {
        let config = loaded("Dear sender,\r\n${response}\r\n").config.expect("it is right");
        assert_eq!(config.failure_words().expect("they are there").pieces.len(), 3);
        assert!(config.notes().is_empty(), "{:?}", config.notes());
    }

    #[test]
    fn faults_name_file_and_line() {
        let told = |body: &str| {
            let found: Vec<String> = loaded(body).diagnostics.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        let unknown = told("Dear sender,\n\n  ${recipients} is gone\n");
        for part in [
            "/e/words, line 3: there is no variable `${recipients}`",
            "did you mean `${recipient}`?",
            "/e/config:4",
        ] {
            assert!(unknown.contains(part), "{part}: {unknown}");
        }
        assert!(told("a\nb\u{1b}[2J\n").contains("/e/words, line 2: a control character"));
        assert!(told(&"x".repeat(70_000)).contains("longer than 64K"));
        let text = "log-file /l\n<spool /s>\n</spool>\ndsn-failed-body-template-from gone\n";
        let found = load("/e/config", &MemoryFiles::new([("/e/config", text)]), false).diagnostics;
        assert!(found[0].to_string().contains("cannot read /e/gone"), "{found:?}");
    }
}
