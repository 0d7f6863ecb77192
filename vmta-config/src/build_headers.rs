//! `include-headers-from`: header lines from a file, read and checked when the configuration is (reference 2.1, 2.6).

use crate::build::Builder;
use crate::lex::shorten;
use crate::slots::Setting;
use crate::tree::{path_help, resolve};
use crate::value::Value;

/// Bytes of one file; each message carries them.
const MAX_HEADERS: usize = 64 << 10;
/// RFC 5322 section 2.1.1.
const MAX_LINE: usize = 998;

impl Builder<'_> {
    /// The lines that the last `include-headers-from` among the settings names, with CR LF behind each; nothing where there
    /// is none.
    pub(crate) fn included_headers(&mut self, settings: &[Setting]) -> Option<String> {
        let of_file = |setting: &&Setting| setting.written.row().name == "include-headers-from";
        let setting = settings.iter().rev().find(of_file)?;
        let Value::Text(file) = &setting.value else { return None };
        let place = setting.place;
        let path = resolve(self.lines.sources.path(place.file), file);
        match self.files.read(&path) {
            Err(e) => self.lines.error(place, format!("cannot read {path}: {e}"), path_help(&path)),
            Ok(text) => match headers(&text) {
                Ok(lines) => return Some(lines),
                Err((line, why)) => {
                    let help = "write a header on each line, `Name: value`; a line that begins with a blank goes on with \
                                the one before it";
                    self.lines.error(place, format!("{path}, line {line}: {why}"), Some(help.to_string()));
                }
            },
        }
        None
    }
}

/// The lines of a file, or the number of the first that is wrong and why.
fn headers(text: &str) -> Result<String, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    if text.len() > MAX_HEADERS {
        return Err((1, format!("the file has {} bytes; at most {MAX_HEADERS} are allowed", text.len())));
    }
    let mut lines = String::with_capacity(text.len() + 2);
    for (number, line) in (1..).zip(text.lines()) {
        check(line, number == 1).map_err(|why| (number, why))?;
        lines.push_str(line);
        lines.push_str("\r\n");
    }
    if lines.is_empty() { Err((1, "the file is empty".to_string())) } else { Ok(lines) }
}

fn check(line: &str, first: bool) -> Result<(), String> {
    if line.trim().is_empty() {
        return Err("the line is empty, which would end the header".to_string());
    }
    if line.len() > MAX_LINE {
        return Err(format!("the line is {} bytes long; at most {MAX_LINE} are allowed", line.len()));
    }
    if let Some(c) = line.chars().find(|c| !c.is_ascii() || (c.is_control() && *c != '\t')) {
        let encode = if c.is_ascii() { "" } else { "; encode it (RFC 2047)" };
        return Err(format!("U+{:04X} may not stand in a header{encode}", u32::from(c)));
    }
    if line.starts_with([' ', '\t']) {
        return if first { Err("the first line begins with a blank".to_string()) } else { Ok(()) };
    }
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    match line.split_once(':') {
        Some((name, _)) if is_name(name) => Ok(()),
        _ => Err(format!("`{}` is not a header", shorten(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;
    use crate::load::load;

    #[test]
    fn lines_are_headers_or_named() {
        assert_eq!(
            headers("X-A: b\r\nList-Help:\n\t<mailto:h@x.example>\n\n").as_deref(),
            Ok("X-A: b\r\nList-Help:\r\n\t<mailto:h@x.example>\r\n")
        );
        for (text, line, why) in [
            ("", 1, "the file is empty"),
            ("X-A: b\n\nX-C: d", 2, "the line is empty, which would end the header"),
            ("X-A: b\nno header", 2, "`no header` is not a header"),
            ("X A: b", 1, "`X A: b` is not a header"),
            (" X-A: b", 1, "the first line begins with a blank"),
            ("X-A: b\rX-C: d", 1, "U+000D may not stand in a header"),
            ("X-A: \u{e9}", 1, "U+00E9 may not stand in a header; encode it (RFC 2047)"),
        ] {
            assert_eq!(headers(text), Err((line, why.to_string())), "{text:?}");
        }
    }

    #[test]
    fn those_of_the_top_level_stand_before_those_of_the_virtual_mta_or_its_pool() {
        let text = "log-file /l\n<spool /s>\n</spool>\ninclude-headers-from all\n\
            <virtual-mta a>\n include-headers-from a\n</virtual-mta>\n<virtual-mta b>\n</virtual-mta>\n<virtual-mta c>\n</virtual-mta>\n\
            <virtual-mta-pool p>\n virtual-mta a\n virtual-mta b\n include-headers-from p\n</virtual-mta-pool>\n";
        let files =
            [("/etc/c", text), ("/etc/all", "X-All: 1\n"), ("/etc/a", "X-A: 1\n"), ("/etc/p", "X-P: 1\n")];
        let loaded = load("/etc/c", &MemoryFiles::new(files), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let of = |name| config.included_headers(config.virtual_mta(name));
        assert_eq!(of("a"), "X-All: 1\r\nX-A: 1\r\n");
        assert_eq!(of("b"), "X-All: 1\r\nX-P: 1\r\n");
        assert_eq!((of("c"), of("{default}")), ("X-All: 1\r\n".to_string(), "X-All: 1\r\n".to_string()));
    }

    #[test]
    fn a_file_that_is_not_there_or_wrong_is_told_with_its_place() {
        let told = |files: &[(&str, &str)]| {
            let loaded = load("/etc/c", &MemoryFiles::new(files.iter().copied()), false);
            assert!(loaded.config.is_none());
            loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
        };
        let text = "log-file /l\n<spool /s>\n</spool>\ninclude-headers-from all\n";
        let missing = told(&[("/etc/c", text)]);
        assert!(missing.contains("cannot read /etc/all") && missing.contains("/etc/c:4:"), "{missing}");
        let wrong = told(&[("/etc/c", text), ("/etc/all", "X-A: b\nhello\n")]);
        assert!(wrong.contains("/etc/all, line 2: `hello` is not a header"), "{wrong}");
    }
}
