//! Files into a tree: lines, tags and includes, but no meaning yet. Every fault is reported and reading goes on.

use std::sync::Arc;

use crate::builtin::{self, is_builtin};
use crate::diagnostic::{Diagnostic, Findings};
use crate::files::{Files, is_url, is_wildcard};
use crate::lex::{Cursor, Lexed, lex_line, shorten};
use crate::lines::known_mistake;
use crate::nearest::nearest;
use crate::report::Usage;
use crate::scope::{Scope, TAGS, Tag, Takes, tag_named};
use crate::source::{Place, Sources};
use crate::table::{self, Status};
use crate::value::{NESTED, URL_HELP, check_url};

/// Deepest include of files by files.
const MAX_INCLUDES: usize = 16;
/// Most files of one configuration.
const MAX_FILES: usize = 10_000;
/// Most bytes of one configuration.
const MAX_BYTES: usize = 256 << 20;
/// Deepest nesting of tags; pattern lists may nest.
const MAX_NESTING: usize = 16;

#[derive(Debug)]
pub(crate) enum Item {
    Line(Line),
    Block(Block),
}

/// A directive.
#[derive(Debug)]
pub(crate) struct Line {
    /// Empty for a pattern line (`/re/ category`).
    pub name: String,
    pub name_at: Place,
    pub args: String,
    pub args_at: Place,
}

/// A tag and what it encloses.
#[derive(Debug)]
pub(crate) struct Block {
    /// `None` for an unknown tag, whose content is not looked at.
    pub tag: Option<&'static Tag>,
    name: String,
    pub arg: String,
    pub arg_at: Place,
    pub at: Place,
    pub items: Vec<Item>,
}

pub(crate) struct Reader<'a> {
    files: &'a dyn Files,
    pub sources: Sources,
    pub findings: Findings,
    pub usage: Usage,
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub fn new(files: &'a dyn Files, lenient: bool) -> Reader<'a> {
        Reader {
            files,
            sources: Sources::default(),
            findings: Findings::new(lenient),
            usage: Usage::default(),
            bytes: 0,
        }
    }

    /// The main file; `None` when it cannot be read.
    pub fn main(&mut self, path: &str) -> Option<Vec<Item>> {
        match self.files.read(path) {
            Ok(text) => Some(self.text(path, &text, None, Scope::Global)),
            Err(error) => {
                self.findings.add_fatal(Diagnostic::whole(format!("cannot read {path}: {error}")));
                None
            }
        }
    }

    fn text(&mut self, path: &str, text: &str, included_at: Option<Place>, scope: Scope) -> Vec<Item> {
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
        self.bytes += text.len();
        let file = self.sources.add(path, &text, included_at);
        let mut parsing = Parsing { open: Vec::new(), items: Vec::new(), scope, continued: false };
        for (i, line) in text.lines().enumerate() {
            let line_at = Place { file, line: i as u32 + 1, start: 0, len: line.len() as u32 };
            match lex_line(line) {
                Ok(Lexed::Blank) => {}
                Ok(lexed) => self.lexed(&mut parsing, line, line_at, lexed),
                Err(e) => {
                    self.usage.line(file);
                    self.left_out(line_at.part(&e.at), e.message, e.help);
                }
            }
        }
        while let Some(block) = parsing.open.pop() {
            let message = format!("`<{}>` is not closed in this file", block.name);
            let help = format!("close it with `</{}>`", block.name);
            self.error(block.at, message, Some(help));
            parsing.items_mut().push(Item::Block(block));
        }
        parsing.items
    }

    fn error(&mut self, place: Place, message: String, help: Option<String>) {
        if !self.findings.only_counted() {
            self.findings.add(Diagnostic::at(&self.sources, place, message).help(help));
        }
    }

    /// An error that leaves a line out.
    fn left_out(&mut self, place: Place, message: String, help: Option<String>) {
        self.usage.left_out(place.file);
        self.error(place, message, help);
    }

    fn lexed(&mut self, parsing: &mut Parsing, line: &str, at: Place, lexed: Lexed) {
        if !matches!(lexed, Lexed::Close { .. } | Lexed::Blank) {
            self.usage.line(at.file);
        }
        match lexed {
            Lexed::Blank => {}
            Lexed::Open { name, arg } => {
                let block = self.open(
                    parsing,
                    &line[name.clone()],
                    &line[arg.clone()],
                    at.part(&name),
                    at.part(&arg),
                );
                parsing.open.push(block);
            }
            Lexed::Close { name } => self.close(parsing, &line[name.clone()], at.part(&name)),
            Lexed::Directive { name, args } => {
                let read = Line {
                    name: line[name.clone()].to_string(),
                    name_at: at.part(&name),
                    args: line[args.clone()].to_string(),
                    args_at: at.part(&args),
                };
                self.directive(parsing, read);
            }
        }
    }

    fn directive(&mut self, parsing: &mut Parsing, line: Line) {
        let Some(scope) = parsing.scope() else { return self.usage.left_out(line.name_at.file) };
        if line.name == "include" && table::find(scope, "include").is_some() {
            let items = self.include(&line, scope);
            parsing.items_mut().extend(items);
            return;
        }
        // A list broken over several lines is a common mistake, and no line of it but the first makes sense.
        if parsing.continued && table::find(scope, &line.name).is_none() && !line.name.is_empty() {
            let help = "a directive ends with its line; write the whole list on one line".to_string();
            self.left_out(line.name_at, "this continues the line before it".into(), Some(help));
            parsing.continued = line.name.ends_with(',') || line.args.ends_with(',');
            return;
        }
        let bare_macro = line.name == "domain-macro" && !line.args.contains(char::is_whitespace);
        parsing.continued = bare_macro || line.args.ends_with(',');
        if scope == Scope::PatternList && line.args.ends_with(NESTED) {
            let mut block = Block {
                tag: tag_named("pattern-list"),
                name: "pattern-list".to_string(),
                arg: String::new(),
                arg_at: line.args_at,
                at: line.name_at,
                items: Vec::new(),
            };
            if parsing.open.len() < MAX_NESTING {
                parsing.items_mut().push(Item::Line(line));
            } else {
                self.left_out(line.name_at, too_deep(), Some("call a list by its name: call-to:LIST".into()));
                block.tag = None;
            }
            parsing.open.push(block);
            return;
        }
        parsing.items_mut().push(Item::Line(line));
    }

    fn open(&mut self, parsing: &Parsing, name: &str, arg: &str, at: Place, arg_at: Place) -> Block {
        let mut block =
            Block { tag: tag_named(name), name: name.into(), arg: arg.into(), arg_at, at, items: Vec::new() };
        let Some(scope) = parsing.scope() else {
            block.tag = None;
            self.usage.left_out(at.file);
            return block;
        };
        let problem = match block.tag {
            None => Some((format!("unknown tag `<{}>`", shorten(name)), unknown_tag_help(name, scope))),
            Some(_) if parsing.open.len() >= MAX_NESTING => {
                Some((too_deep(), Some("close the tags that are open first".into())))
            }
            Some(tag) if !tag.within.contains(scope) => Some((
                format!("`<{name}>` is not allowed in {scope}"),
                Some(format!("it belongs in {}", tag.within)),
            )),
            Some(tag) => argument_problem(tag, arg),
        };
        if let Some((message, help)) = problem {
            self.left_out(at, message, help);
            block.tag = None;
        } else if let Some(tag) = block.tag {
            self.usage.understood(at.file, tag.status);
        }
        if arg.starts_with('"')
            && let Ok(word) = Cursor::new(arg).remainder("the argument")
        {
            block.arg = word.text;
        }
        block
    }

    fn close(&mut self, parsing: &mut Parsing, name: &str, at: Place) {
        if !parsing.open.iter().any(|b| b.name == name) {
            let help = parsing
                .open
                .last()
                .map(|b| format!("the open tag is `<{}>`, close it with `</{}>`", b.name, b.name));
            let message = format!("`</{}>` closes no open tag", shorten(name));
            let otherwise = || format!("leave it out, or open `<{}>` before it", shorten(name));
            self.error(at, message, help.or_else(|| Some(otherwise())));
            return;
        }
        while let Some(block) = parsing.open.pop() {
            let matched = block.name == name;
            if !matched {
                let message = format!("`<{}>` is not closed before `</{name}>`", block.name);
                let help = format!("write `</{}>` before line {}", block.name, at.line);
                self.error(block.at, message, Some(help));
            }
            parsing.items_mut().push(Item::Block(block));
            if matched {
                return;
            }
        }
    }

    fn include(&mut self, line: &Line, scope: Scope) -> Vec<Item> {
        let named = Cursor::new(&line.args).remainder("a file");
        let path = match named {
            Ok(word) => resolve(self.sources.path(line.name_at.file), &word.text),
            Err(e) => {
                self.left_out(line.name_at, e.message, e.help);
                return Vec::new();
            }
        };
        match self.include_files(line, &path, scope) {
            Ok(items) => {
                self.usage.understood(line.name_at.file, Status::InEffect);
                items
            }
            Err((message, help)) => {
                self.left_out(line.args_at, message, help);
                Vec::new()
            }
        }
    }

    fn include_files(
        &mut self,
        line: &Line,
        path: &str,
        scope: Scope,
    ) -> Result<Vec<Item>, (String, Option<String>)> {
        if is_url(path) {
            check_url(path).map_err(|why| (format!("`{path}` {why}"), Some(URL_HELP.to_string())))?;
        }
        if self.sources.depth(line.name_at.file) >= MAX_INCLUDES {
            let help = "include the innermost files from the outer ones".to_string();
            return Err((format!("files include each other more than {MAX_INCLUDES} deep"), Some(help)));
        }
        let paths = match is_wildcard(path) && !is_url(path) && !is_builtin(path) {
            true => {
                self.files.glob(path).map_err(|e| (format!("cannot list {path}: {e}"), path_help(path)))?
            }
            false => vec![path.to_string()],
        };
        if paths.is_empty() {
            let message = format!("no file matches {path}");
            self.findings.add_fatal(Diagnostic::at(&self.sources, line.args_at, message).warning());
        }
        let mut items = Vec::new();
        for path in paths {
            if self.sources.is_open(line.name_at.file, &path) {
                let help = "take one of the include lines that lead back to it out".to_string();
                return Err((format!("{path} includes itself"), Some(help)));
            }
            if self.sources.len() >= MAX_FILES || self.bytes > MAX_BYTES {
                let message =
                    format!("the configuration has more than {MAX_FILES} files or {} MiB", MAX_BYTES >> 20);
                return Err((message, Some("include fewer or smaller files".to_string())));
            }
            let text = match is_builtin(&path) {
                true => builtin::read(&path).map_err(|e| (format!("cannot read {path}: {e}"), None))?,
                false => self
                    .files
                    .read(&path)
                    .map_err(|e| (format!("cannot read {path}: {e}"), path_help(&path)))?,
            };
            items.extend(self.text(&path, &text, Some(line.name_at), scope));
        }
        Ok(items)
    }
}

/// State of one file being read.
struct Parsing {
    open: Vec<Block>,
    items: Vec<Item>,
    /// The scope of the file's top: where it was included.
    scope: Scope,
    /// The line before ended with a comma.
    continued: bool,
}

impl Parsing {
    /// `None` inside an unknown tag.
    fn scope(&self) -> Option<Scope> {
        match self.open.iter().any(|b| b.tag.is_none()) {
            true => None,
            false => Some(self.open.last().and_then(|b| b.tag).map_or(self.scope, |t| t.scope)),
        }
    }

    fn items_mut(&mut self) -> &mut Vec<Item> {
        self.open.last_mut().map_or(&mut self.items, |b| &mut b.items)
    }
}

pub(crate) fn path_help(path: &str) -> Option<String> {
    let help = match is_url(path) {
        true => "what is included over the network has to be there at every start and reload",
        false => "a relative path counts from the directory of the file that includes it",
    };
    Some(help.to_string())
}

fn too_deep() -> String {
    format!("tags are nested more than {MAX_NESTING} deep")
}

fn argument_problem(tag: &Tag, arg: &str) -> Option<(String, Option<String>)> {
    match (tag.takes, arg.is_empty()) {
        (Takes::Required(what), true) => {
            Some((format!("`<{}>` needs {what}", tag.name), Some(format!("write `<{} ...>`", tag.name))))
        }
        (Takes::Nothing, false) => {
            Some((format!("`<{}>` takes no argument", tag.name), Some(format!("write `<{}>`", tag.name))))
        }
        _ => None,
    }
}

fn unknown_tag_help(name: &str, scope: Scope) -> Option<String> {
    if let Some(advice) = known_mistake(&format!("<{name}>")) {
        return Some(advice);
    }
    let candidates = TAGS.iter().filter(|t| t.within.contains(scope)).map(|t| t.name);
    nearest(name, candidates).map(|near| format!("did you mean `<{near}>`?"))
}

/// A relative path counts from the directory of the including file.
pub(crate) fn resolve(from: &str, path: &str) -> String {
    let absolute =
        path.starts_with('/') || path.contains("://") || path.get(1..2) == Some(":") || is_builtin(path);
    // Of a URL, the host is no directory.
    let host = from.find("://").map_or(0, |at| at + 3);
    match from[host..].rfind('/').map(|end| host + end) {
        _ if host > 0 && !absolute && !from[host..].contains('/') => format!("{from}/{path}"),
        Some(end) if !absolute => format!("{}/{path}", &from[..end]),
        _ => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files = MemoryFiles::new(files.iter().copied());
        let mut reader = Reader::new(&files, false);
        reader.main("/e/config");
        reader.findings.finish().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_fetched_may_include_its_neighbours() {
        assert_eq!(resolve("https://c.example/etc/a", "b"), "https://c.example/etc/b");
        assert_eq!(resolve("https://c.example/a", "b"), "https://c.example/b");
        assert_eq!(resolve("https://c.example", "b"), "https://c.example/b");
        assert_eq!(resolve("https://c.example/a", "/e/b"), "/e/b");
        let found = findings(&[
            ("/e/config", "include https://c.example/etc/a\ninclude http://c.example/x?y\n"),
            ("https://c.example/etc/a", "include b*\n"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("has a query") && found[1].contains("read https://c.example/etc/b*"),
            "{found:?}"
        );
    }

    #[test]
    fn tags_that_do_not_match_are_told_apart() {
        let found =
            findings(&[("/e/config", "<domain a>\n</source>\n<domian b>\nx\n</domian>\n<spool /s>\n")]);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[1].contains("`</source>` closes no open tag"));
        assert!(found[2].contains("unknown tag `<domian>`"));
        assert!(found[3].contains("`<spool>` is not allowed in <domain>"));
        assert!(found.iter().any(|f| f.contains("`<spool>` is not closed in this file")));
        assert!(
            findings(&[("/e/config", "<domian b>\n</domian>\n")])[0].contains("did you mean `<domain>`?")
        );
    }

    #[test]
    fn files_are_included_in_place_with_wildcards() {
        let files = MemoryFiles::new([
            ("/e/config", "<domain a>\ninclude parts/*.conf\n</domain>\n"),
            ("/e/parts/1.conf", "max-smtp-out 1\n"),
            ("/e/parts/2.conf", "max-smtp-out 2\n"),
        ]);
        let mut reader = Reader::new(&files, false);
        let items = reader.main("/e/config").unwrap();
        let Item::Block(block) = &items[0] else { panic!() };
        assert_eq!(block.items.len(), 2);
        assert!(reader.findings.finish().is_empty());
    }

    #[test]
    fn include_loops_and_missing_files_show_the_chain() {
        let found =
            findings(&[("/e/config", "include a\n"), ("/e/a", "include b\n"), ("/e/b", "include a\n")]);
        assert!(found[0].contains("/e/a includes itself"), "{found:?}");
        assert!(found[0].contains("included from /e/a:1") && found[0].contains("included from /e/config:1"));
        assert!(findings(&[("/e/config", "include nosuch\n")])[0].contains("cannot read /e/nosuch"));
        assert!(findings(&[("/e/config", "include no*\n")])[0].starts_with("warning: no file matches"));
    }

    #[test]
    fn endless_includes_stop() {
        let files: Vec<(String, String)> =
            (0..40).map(|i| (format!("/e/{i}"), format!("include {}\n", i + 1))).collect();
        let files = MemoryFiles::new(files);
        let mut reader = Reader::new(&files, false);
        reader.main("/e/0");
        let found = reader.findings.finish();
        assert!(found[0].to_string().contains("more than 16 deep"));
    }

    #[test]
    fn a_list_over_several_lines_is_explained_once_a_line() {
        let found = findings(&[("/e/config", "domain-macro x a.com,\nb.com, c.com,\nd.com\nlog-file /l\n")]);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("write the whole list on one line"));
    }
}
