//! Templates that need all of minijinja: conditions, loops, filters, expressions. Bounded in every direction (A32): no
//! loader, no include, a budget of fuel that pays for instructions and bytes alike, strict about undefined names.

use super::escape;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

/// Instructions in one rendering; each also pays for 64 bytes of text, so that a rendering makes at most 32 MiB.
const FUEL: u64 = 500_000;
/// Nested calls and blocks.
const RECURSION: usize = 50;

/// The templates of one content.
#[derive(Debug)]
pub(super) struct Jinja {
    env: Environment<'static>,
}

/// One template as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub text: String,
    pub html: bool,
    /// For error texts: `header Subject`, `html part`.
    pub place: String,
}

impl Jinja {
    pub fn new() -> Jinja {
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        env.set_syntax(syntax.expect("the usual delimiters are valid"));
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(RECURSION);
        env.set_debug(false);
        env.set_formatter(format);
        env.remove_global("debug");
        for name in ["e", "escape"] {
            env.add_filter(name, escape_filter);
        }
        for name in ["default", "d"] {
            env.add_filter(name, default_filter);
        }
        env.add_filter("urlencode", urlencode_filter);
        Jinja { env }
    }

    /// Adds `source` as template number `index`.
    pub fn add(&mut self, index: usize, source: &Source) -> Result<(), Error> {
        self.env.add_template_owned(name(index, source.html), source.text.clone())
    }

    /// The names that template `index` reads and does not set, functions and constants excepted.
    pub fn variables(&self, index: usize, html: bool) -> Vec<String> {
        let Ok(template) = self.env.get_template(&name(index, html)) else { return Vec::new() };
        let functions: Vec<&str> = self.env.globals().map(|(name, _)| name).collect();
        let mut found: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        found.retain(|name| !functions.contains(&name.as_str()));
        found.sort();
        found
    }

    pub fn render(&self, index: usize, html: bool, values: &Value) -> Result<String, Error> {
        self.env.get_template(&name(index, html))?.render(values)
    }
}

/// The suffix switches auto-escaping.
fn name(index: usize, html: bool) -> String {
    format!("{index}.{}", if html { "html" } else { "txt" })
}

/// What an error says, without the internal template name.
pub(super) fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "the template runs too long or writes too much".into(),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    }
}

/// Escapes like the simple path does, so that one more filter in a template changes nothing else.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let escaping = matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe();
    match value.as_str() {
        Some(text) if escaping => {
            let mut done = Ok(());
            escape::html(text, |piece| {
                if done.is_ok() {
                    done = out.write_str(piece);
                }
            });
            done.map_err(Error::from)
        }
        Some(text) => out.write_str(text).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    }
}

fn escape_filter(value: &Value) -> Value {
    if value.is_safe() {
        return value.clone();
    }
    let mut escaped = String::new();
    escape::html(&value.to_string(), |piece| escaped.push_str(piece));
    Value::from_safe_string(escaped)
}

/// An empty cell is a missing value: that is what the author of `{{ name|default("friend") }}` means.
fn default_filter(value: &Value, other: Option<Value>) -> Value {
    let missing = value.is_undefined() || (value.kind() == ValueKind::String && value.as_str() == Some(""));
    if missing { other.unwrap_or_else(|| Value::from("")) } else { value.clone() }
}

fn urlencode_filter(value: &Value) -> String {
    let mut encoded = String::new();
    escape::url(&value.to_string(), |piece| encoded.push_str(piece));
    encoded
}
