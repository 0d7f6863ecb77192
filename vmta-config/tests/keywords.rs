//! The directive table against the inventory of PowerMTA's keywords in `keywords.txt`: nothing is missing, and nothing is
//! there that is neither PowerMTA's nor marked as ours.

use std::collections::{BTreeMap, BTreeSet};

use vmta_config::{Scope, directives};

/// The tag's name, `top` for the top level.
fn place(scope: Scope) -> String {
    match scope {
        Scope::Global => "top".into(),
        scope => scope.to_string().trim_matches(['<', '>']).into(),
    }
}

fn inventory() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let lines = include_str!("keywords.txt").lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|line| {
            let (name, places) = line.split_once(':').expect("NAME: PLACE ...");
            (name, places.split_whitespace().collect())
        })
        .collect()
}

#[test]
fn every_keyword_has_a_row_in_each_of_its_places_and_no_row_is_made_up() {
    let known = inventory();
    assert!(known.len() > 385, "{} keywords", known.len());
    let mut rows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in directives().filter(|d| !d.ours) {
        // What Goodmail's tag held is not in any text.
        let scopes = row.scopes.iter().filter(|s| *s != Scope::GmImprinter);
        rows.entry(row.name).or_default().extend(scopes.map(place));
    }
    let known: BTreeMap<&str, BTreeSet<String>> = known
        .into_iter()
        .map(|(name, places)| (name, places.into_iter().map(String::from).collect()))
        .collect();
    let differing: Vec<_> = known
        .iter()
        .filter(|(name, places)| rows.get(*name) != Some(places))
        .map(|(n, p)| (n, p, rows.get(n)))
        .collect();
    assert!(differing.is_empty(), "keyword, where it may stand, where the table has it: {differing:#?}");
    let made_up: Vec<_> = rows.keys().filter(|name| !known.contains_key(*name)).collect();
    assert!(made_up.is_empty(), "{made_up:?} are neither PowerMTA's nor marked as ours");
}
