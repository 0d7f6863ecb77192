//! `domain-macro`: named lists of domains, and `$NAME` in domain arguments (reference 1.3). Macros may use macros;
//! a loop is an error. The order of definition and use does not matter.

use std::collections::HashMap;

/// Deepest use of macros in macros.
const MAX_DEPTH: usize = 32;
/// Most domains one argument or macro may stand for.
const MAX_MEMBERS: usize = 200_000;

/// All macros of a configuration, expanded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Macros(HashMap<String, Vec<String>>);

/// One result of an expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub text: String,
    /// A literal domain beats the same domain produced by a macro.
    pub from_macro: bool,
}

/// A fault in an argument or in a macro.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MacroError {
    #[error("macro `${0}` is not defined")]
    Unknown(String),
    #[error("macro `${0}` uses itself: {1}")]
    Loop(String, String),
    #[error("macros are nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("stands for more than {MAX_MEMBERS} domains")]
    TooMany,
    #[error("`$` is followed by no macro name (letters, digits, underscore)")]
    NoName,
}

impl Macros {
    /// Expands every definition; the second part lists the faulty ones, which expand to nothing.
    pub fn resolve(definitions: &HashMap<String, Vec<String>>) -> (Macros, Vec<(String, MacroError)>) {
        let (mut macros, mut faults) = (Macros::default(), Vec::new());
        let mut names: Vec<&String> = definitions.keys().collect();
        names.sort();
        for name in names {
            if let Err(error) = macros.define(name, definitions, &mut Vec::new()) {
                macros.0.insert(name.clone(), Vec::new());
                faults.push((name.clone(), error));
            }
        }
        (macros, faults)
    }

    fn define(
        &mut self,
        name: &str,
        definitions: &HashMap<String, Vec<String>>,
        open: &mut Vec<String>,
    ) -> Result<(), MacroError> {
        if self.0.contains_key(name) {
            return Ok(());
        }
        if let Some(first) = open.iter().position(|n| n == name) {
            let chain: Vec<String> =
                open[first..].iter().chain([&open[first]]).map(|n| format!("${n}")).collect();
            return Err(MacroError::Loop(name.to_string(), chain.join(" -> ")));
        }
        if open.len() >= MAX_DEPTH {
            return Err(MacroError::Depth);
        }
        let list = definitions.get(name).ok_or_else(|| MacroError::Unknown(name.to_string()))?;
        open.push(name.to_string());
        let mut members = Vec::new();
        for member in list {
            for used in names_in(member)? {
                self.define(used, definitions, open)?;
            }
            members.extend(self.expand(member)?.into_iter().map(|e| e.text));
            if members.len() > MAX_MEMBERS {
                return Err(MacroError::TooMany);
            }
        }
        open.pop();
        self.0.insert(name.to_string(), members);
        Ok(())
    }

    /// `yahoo.$tld` becomes one text for each member; several macros multiply.
    pub fn expand(&self, text: &str) -> Result<Vec<Expanded>, MacroError> {
        let Some(dollar) = text.find('$') else {
            return Ok(vec![Expanded { text: text.to_string(), from_macro: false }]);
        };
        let (name, rest) = macro_name(&text[dollar + 1..])?;
        let members = self.0.get(name).ok_or_else(|| MacroError::Unknown(name.to_string()))?;
        let tails = self.expand(rest)?;
        if members.len().saturating_mul(tails.len()) > MAX_MEMBERS {
            return Err(MacroError::TooMany);
        }
        let mut expanded = Vec::with_capacity(members.len() * tails.len());
        for member in members {
            for tail in &tails {
                let text = format!("{}{member}{}", &text[..dollar], tail.text);
                expanded.push(Expanded { text, from_macro: true });
            }
        }
        Ok(expanded)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The name at the start of `text` and what follows it.
fn macro_name(text: &str) -> Result<(&str, &str), MacroError> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if end == 0 { Err(MacroError::NoName) } else { Ok(text.split_at(end)) }
}

fn names_in(text: &str) -> Result<Vec<&str>, MacroError> {
    text.split('$').skip(1).map(|part| macro_name(part).map(|(name, _)| name)).collect()
}

pub(crate) fn is_macro_name(name: &str) -> bool {
    macro_name(name).is_ok_and(|(_, rest)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(list: &[(&str, &[&str])]) -> (Macros, Vec<(String, MacroError)>) {
        let own = |d: &[&str]| d.iter().map(|s| s.to_string()).collect();
        Macros::resolve(&list.iter().map(|(n, d)| (n.to_string(), own(d))).collect())
    }

    fn texts(macros: &Macros, text: &str) -> Vec<String> {
        macros.expand(text).unwrap().into_iter().map(|e| e.text).collect()
    }

    #[test]
    fn macros_stand_alone_inside_names_and_in_each_other() {
        let (macros, faults) = resolve(&[
            ("tld", &["com", "co.uk"]),
            ("yahoo", &["yahoo.$tld", "ymail.com"]),
            ("c", &["a", "b"]),
        ]);
        assert_eq!(faults, []);
        assert_eq!(texts(&macros, "$yahoo"), ["yahoo.com", "yahoo.co.uk", "ymail.com"]);
        assert_eq!(texts(&macros, "$c.x.$tld"), ["a.x.com", "a.x.co.uk", "b.x.com", "b.x.co.uk"]);
        assert!(!macros.expand("plain.com").unwrap()[0].from_macro);
    }

    #[test]
    fn a_loop_names_its_way_round() {
        let (_, faults) = resolve(&[("a", &["x.$b"]), ("b", &["$c"]), ("c", &["$a"])]);
        assert_eq!(faults[0].1.to_string(), "macro `$a` uses itself: $a -> $b -> $c -> $a");
    }

    #[test]
    fn unknown_macros_and_products_without_end_are_refused() {
        let many: Vec<String> = (0..1000).map(|i| format!("d{i}.com")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (macros, faults) = resolve(&[("m", &many), ("bad", &["$nosuch"]), ("empty", &["$"])]);
        assert_eq!(faults[0], ("bad".into(), MacroError::Unknown("nosuch".into())));
        assert_eq!(faults[1], ("empty".into(), MacroError::NoName));
        assert_eq!(macros.expand("$m$m"), Err(MacroError::TooMany));
    }
}
