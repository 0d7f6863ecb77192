//! Older forms of one file rewritten as what they say today. What needs no rewriting stays as it is, to the byte.

use crate::lex::{Lexed, lex_line};
use crate::older::today;
use crate::scope::{Scope, TAGS, tag_named};
use crate::table::{self, Status};

/// A file after rewriting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    pub text: String,
    /// What was done, and what has to be done by hand: line and words.
    pub notes: Vec<(u32, String)>,
}

/// One line of the file.
struct Piece<'a> {
    /// With its line end.
    line: &'a str,
    lexed: Lexed,
    /// Where it stands; `None` inside an unknown tag.
    scope: Option<Scope>,
    /// Number of the tag it stands in, of the top level 0.
    tag: usize,
}

/// Rewrites the text of one file; files it includes are not looked at.
pub fn convert(text: &str) -> Converted {
    let pieces = pieces(text);
    let facts = Facts::of(&pieces);
    let mut done = Converted::default();
    for (i, piece) in pieces.iter().enumerate() {
        let number = i as u32 + 1;
        let end = &piece.line[piece.line.trim_end_matches(['\r', '\n']).len()..];
        let line = &piece.line[..piece.line.len() - end.len()];
        match rewritten(piece, line, &facts) {
            Rewritten::Same => done.text.push_str(piece.line),
            Rewritten::ByHand(why) => {
                done.text.push_str(piece.line);
                done.notes.push((number, why));
            }
            Rewritten::As(lines) => {
                let written = if lines.is_empty() { "(nothing)".into() } else { lines.join(" | ") };
                done.notes.push((number, format!("{} -> {written}", words(line))));
                done.text.push_str(&placed(line, &lines, if end.is_empty() { "\n" } else { end }));
            }
        }
        if let (Lexed::Open { name, .. }, Some(megabytes)) = (&piece.lexed, &facts.free_space)
            && &line[name.clone()] == "spool"
            && !facts.own_space.contains(&(i + 1))
        {
            let indent = indent(line);
            done.text.push_str(&format!("{indent}    min-free-space {megabytes}M\n"));
            done.notes.push((number, format!("{} gets min-free-space {megabytes}M", words(line))));
        }
    }
    done
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut open: Vec<(String, Option<Scope>, usize)> = Vec::new();
    let mut pieces = Vec::new();
    for (i, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches(['\r', '\n']);
        // A faulty line stays as it is.
        let lexed = lex_line(line).unwrap_or(Lexed::Blank);
        let (scope, tag) = open.last().map_or((Some(Scope::Global), 0), |(_, scope, tag)| (*scope, *tag));
        if let Lexed::Close { name } = &lexed
            && let Some(at) = open.iter().rposition(|(open, ..)| *open == line[name.clone()])
        {
            open.truncate(at);
        }
        if let Lexed::Open { name, .. } = &lexed {
            let name = &line[name.clone()];
            open.push((name.to_string(), tag_named(name).map(|t| t.scope), i + 1));
        }
        pieces.push(Piece { line: whole, lexed, scope, tag });
    }
    pieces
}

/// What lines depend on that stand elsewhere in the file.
#[derive(Default)]
struct Facts {
    /// The first `host-name` of a tag, by the tag's number.
    host_names: Vec<(usize, String)>,
    /// Whether there is any listener.
    listens: bool,
    address: Option<String>,
    port: Option<String>,
    /// `spool-min-free-space`, megabytes.
    free_space: Option<String>,
    /// Spool tags that have a `min-free-space`.
    own_space: Vec<usize>,
}

impl Facts {
    fn of(pieces: &[Piece]) -> Facts {
        let mut facts = Facts::default();
        for piece in pieces {
            match &piece.lexed {
                Lexed::Open { name, .. } => facts.listens |= &piece.line[name.clone()] == "smtp-listener",
                Lexed::Directive { name, args } => {
                    let value = piece.line[args.clone()].to_string();
                    match (&piece.line[name.clone()], piece.scope) {
                        ("host-name", _) => facts.host_names.push((piece.tag, value)),
                        ("smtp-listener", _) => facts.listens = true,
                        ("smtp-ip", _) => facts.address = facts.address.or(Some(value)),
                        ("smtp-port", _) => facts.port = Some(value),
                        ("spool-min-free-space", _) => facts.free_space = Some(value).filter(|v| v != "0"),
                        ("min-free-space", Some(Scope::Spool)) => facts.own_space.push(piece.tag),
                        _ => {}
                    }
                }
                Lexed::Blank | Lexed::Close { .. } => {}
            }
        }
        facts
    }

    fn host_name(&self, tag: usize) -> Option<&str> {
        let of = |tag| self.host_names.iter().find(|(t, _)| *t == tag).map(|(_, name)| name.as_str());
        of(tag).or_else(|| of(0))
    }
}

enum Rewritten {
    Same,
    As(Vec<String>),
    ByHand(String),
}

fn rewritten(piece: &Piece, line: &str, facts: &Facts) -> Rewritten {
    let Some(scope) = piece.scope else { return Rewritten::Same };
    match &piece.lexed {
        Lexed::Directive { name, args } => {
            directive(scope, &line[name.clone()].to_ascii_lowercase(), &line[args.clone()], piece.tag, facts)
        }
        Lexed::Open { name, arg } => match older_tag(&line[name.clone()]) {
            Some(usual) if line[arg.clone()].is_empty() => Rewritten::As(vec![format!("<{usual}>")]),
            Some(usual) => Rewritten::As(vec![format!("<{usual} {}>", &line[arg.clone()])]),
            None => Rewritten::Same,
        },
        Lexed::Close { name } => match older_tag(&line[name.clone()]) {
            Some(usual) => Rewritten::As(vec![format!("</{usual}>")]),
            None => Rewritten::Same,
        },
        Lexed::Blank => Rewritten::Same,
    }
}

/// The usual name of a tag in an older spelling.
fn older_tag(name: &str) -> Option<&'static str> {
    let tag = tag_named(name).filter(|t| matches!(t.status, Status::Replaced(_)))?;
    TAGS.iter().find(|t| t.scope == tag.scope).map(|t| t.name)
}

fn directive(scope: Scope, name: &str, args: &str, tag: usize, facts: &Facts) -> Rewritten {
    let one = |line: String| Rewritten::As(vec![line]);
    match (scope, name) {
        (Scope::Global, "spool") => {
            let space = facts.free_space.iter().map(|n| format!("    min-free-space {n}M"));
            let lines = std::iter::once(format!("<spool {args}>")).chain(space);
            return Rewritten::As(lines.chain(["</spool>".to_string()]).collect());
        }
        (Scope::Global, "spool-min-free-space") => return Rewritten::As(Vec::new()),
        (Scope::Global, "smtp-ip" | "smtp-port") if facts.listens => return Rewritten::As(Vec::new()),
        (Scope::Global, "smtp-port") if facts.address.is_some() => return Rewritten::As(Vec::new()),
        (Scope::Global, "smtp-port") => return one(format!("smtp-listener 0/0:{args}")),
        (Scope::Global, "smtp-ip") => {
            let port = facts.port.as_deref().unwrap_or("25");
            return match args.contains(':') {
                true => one(format!("smtp-listener [{args}]:{port}")),
                false => one(format!("smtp-listener {args}:{port}")),
            };
        }
        (_, "smtp-source-ip") => {
            return match facts.host_name(tag) {
                Some(host) => one(format!("smtp-source-host {args} {host}")),
                None => Rewritten::ByHand(format!("smtp-source-ip: write smtp-source-host {args} HOSTNAME")),
            };
        }
        (Scope::Source, "max-message-size") if args != "0" && args.bytes().all(|b| b.is_ascii_digit()) => {
            return one(format!("max-message-size {args}b"));
        }
        _ => {}
    }
    let Some(row) = table::find(scope, name).map(|r| r.row()) else { return Rewritten::Same };
    match (row.status, row.same_as) {
        (Status::Replaced(by), _) => match today(scope, row.name, args) {
            Some(lines) => {
                Rewritten::As(lines.into_iter().map(|(name, args)| format!("{name} {args}")).collect())
            }
            None => Rewritten::ByHand(format!("{name}: write {by}")),
        },
        (_, Some("smtp-hosts")) => one(format!("smtp-hosts {args}")),
        _ => Rewritten::Same,
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The line without indent and comment.
fn words(line: &str) -> &str {
    line.split('#').next().unwrap_or("").trim()
}

/// The new lines where the old one stood: its indent, its comment, its line end. Nothing but its comment if it is to go.
fn placed(line: &str, lines: &[String], end: &str) -> String {
    let comment = line.find('#').map(|at| &line[at..]);
    let mut text = String::new();
    for (i, new) in lines.iter().enumerate() {
        text.push_str(indent(line));
        text.push_str(new);
        if let (Some(comment), 0) = (comment, i) {
            text.push_str("  ");
            text.push_str(comment);
        }
        text.push_str(end);
    }
    if let (true, Some(comment)) = (lines.is_empty(), comment) {
        text.push_str(&format!("{}{comment}{end}", indent(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryFiles, compare, load};

    const OLD: &str = "\
host-name mail.example.com
log-file /var/log/p.log
spool /var/spool/p   # the disk
spool-min-free-space 100
smtp-port 2525
smtp-ip 192.0.2.1
http-mgmt-source 127.0.0.1
<spool /s2>
  min-free-space 7M
</spool>
<spool /s3>
</spool>
<source 0/0>
\tmax-message-size 20000000
\tcheck-mfrom-inbound yes
</source>
<virtual-mta a>
  smtp-source-ip 192.0.2.9 # first
  <domain *>
    max-msg-per-hour 100
    delivery-priority 70
    max-smtp-out-per-source-ip 3
    route [192.0.2.3]:25
  </domain>
</virtual-mta>
<suppression-list gone>
  address a@example.com
</suppression-list>
<bounce-processor>
  deliver-email yes
</bounce-processor>
";

    #[test]
    fn what_is_rewritten_means_the_same_and_has_no_older_form() {
        let new = convert(OLD);
        let config = |text: &str| {
            let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
            loaded.config.unwrap_or_else(|| panic!("{text}\n{:?}", loaded.diagnostics))
        };
        let (before, after) = (config(OLD), config(&new.text));
        let older = |n: &&crate::Note| matches!(n.directive.status, Status::Replaced(_));
        assert!(
            before.notes().iter().any(|n| older(&n)) && !after.notes().iter().any(|n| older(&n)),
            "{}",
            new.text
        );
        let free = |config: &crate::Config| -> Vec<u64> {
            let mut free: Vec<_> = config.spools().iter().map(|s| s.settings.min_free_space).collect();
            free.sort_unstable();
            free
        };
        assert_eq!(free(&before), free(&after));
        assert_eq!(before.listeners()[0].address(), after.listeners()[0].address());
        assert_eq!(before.virtual_mtas()[0].source_hosts, after.virtual_mtas()[0].source_hosts);
        assert_eq!(before.queue("x.com", "a"), after.queue("x.com", "a"));
        let queues: Vec<_> =
            compare(&before, &after).into_iter().filter(|c| c.subject.starts_with("queues")).collect();
        assert_eq!(queues, []);
        assert_eq!(convert(&new.text), Converted { text: new.text.clone(), notes: Vec::new() });
        for line in [
            "<spool /var/spool/p>  # the disk\n    min-free-space 100M\n</spool>\n",
            "smtp-source-host 192.0.2.9 mail.example.com  # first",
        ] {
            assert!(new.text.contains(line), "{}", new.text);
        }
    }

    #[test]
    fn what_cannot_be_known_is_left_to_the_operator() {
        let old = "<virtual-mta a>\r\n smtp-source-ip 192.0.2.9\r\n</virtual-mta>\r\n";
        let new = convert(old);
        assert_eq!(new.text, old);
        assert_eq!(new.notes, [(2, "smtp-source-ip: write smtp-source-host 192.0.2.9 HOSTNAME".to_string())]);
    }
}
