//! Merge order and macros against plain models, and the three commands on configurations made at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::subsequence;
use vmta_config::{Config, DomainPattern, MemoryFiles, Rate, compare, convert, load};

const MINIMUM: &str = "log-file /var/log/p.log\nspool /var/spool/p\n";

fn read(text: &str) -> Config {
    let loaded = load("c", &MemoryFiles::new([("c", format!("{MINIMUM}{text}"))]), false);
    loaded.config.unwrap_or_else(|| panic!("{text}\n{:?}", loaded.diagnostics))
}

const PATTERNS: [&str; 9] =
    ["*", "[*.]com", "*.com", "a.com", "[*.]a.com", "*.a.com", "x.a.com", "[*.]x.a.com", "b.com"];
const NAMES: [&str; 8] = ["com", "q.com", "a.com", "x.a.com", "y.x.a.com", "z.a.com", "b.com", "c.org"];

/// How specific a pattern is: labels, then `[*.]` before `*.` before the name itself.
fn rank(pattern: &str) -> (usize, u8) {
    let (name, kind) = match pattern {
        "*" => return (0, 0),
        p if p.starts_with("[*.]") => (&p[4..], 1),
        p if p.starts_with("*.") => (&p[2..], 2),
        p => (p, 3),
    };
    (name.split('.').count(), kind)
}

/// What one level says: pattern, connections, and a rate where there is one.
type Entries = Vec<(&'static str, u32, Option<u32>)>;

fn entries() -> impl Strategy<Value = Entries> {
    subsequence(PATTERNS.to_vec(), 0..=PATTERNS.len()).prop_shuffle().prop_flat_map(|patterns| {
        let values = prop::collection::vec((1u32..90, prop::option::of(1u32..90)), patterns.len());
        values.prop_map(move |v| patterns.iter().zip(v).map(|(p, (n, rate))| (*p, n, rate)).collect())
    })
}

fn written(entries: &Entries) -> String {
    let entry = |(pattern, n, rate): &(&str, u32, Option<u32>)| {
        let rate = rate.map(|r| format!(" max-msg-rate {r}/h\n")).unwrap_or_default();
        format!("<domain {pattern}>\n max-smtp-out {n}\n{rate}</domain>\n")
    };
    entries.iter().map(entry).collect()
}

/// The last word of the levels about a name, from the most general level to the most specific.
fn expected(levels: &[&Entries], name: &str) -> (u32, Option<u32>) {
    let mut result = (20, None);
    for level in levels {
        let fits = |(pattern, ..): &&(&str, u32, Option<u32>)| {
            pattern.parse::<DomainPattern>().expect("a pattern").matches(name)
        };
        let mut found: Vec<_> = level.iter().filter(fits).collect();
        found.sort_by_key(|(pattern, ..)| rank(pattern));
        for (_, n, rate) in found {
            result = (*n, rate.or(result.1));
        }
    }
    result
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_most_specific_entry_of_the_most_specific_level_wins(
        top in entries(), pool in entries(), own in entries(), pool_first in any::<bool>(),
    ) {
        let vmta = format!("<virtual-mta v>\n{}</virtual-mta>\n", written(&own));
        let pool_text =
            format!("<virtual-mta-pool p>\n virtual-mta v\n virtual-mta w\n{}</virtual-mta-pool>\n", written(&pool));
        let other = "<virtual-mta w>\n</virtual-mta>\n";
        let top_text = written(&top);
        let config = read(&match pool_first {
            true => format!("{pool_text}{vmta}{other}{top_text}"),
            false => format!("{top_text}{other}{vmta}{pool_text}"),
        });
        for name in NAMES {
            let views: [(&str, Vec<&Entries>); 4] = [
                ("{default}", vec![&top]),
                ("v", vec![&top, &pool, &own]),
                ("w", vec![&top, &pool]),
                ("p", vec![&top, &pool]),
            ];
            for (vmta, levels) in views {
                let settings = config.queue(name, vmta);
                let rate = match settings.max_msg_rate {
                    Rate::Unlimited => None,
                    Rate::Per { count, .. } => Some(count),
                };
                prop_assert_eq!((settings.max_smtp_out, rate), expected(&levels, name), "{}/{}", name, vmta);
                // `explain` and the engine have to agree.
                let explained = config.explain_queue(name, vmta);
                let told = explained.iter().find(|e| e.directive == "max-smtp-out" && !e.overridden);
                let told = told.and_then(|e| e.value.clone());
                prop_assert_eq!(told, Some(settings.max_smtp_out.to_string()));
            }
        }
    }

    #[test]
    fn the_order_of_entries_means_nothing_and_a_change_is_told(mut entries in entries(), seed in any::<u64>()) {
        let before = read(&written(&entries));
        entries.sort_by_key(|(pattern, ..)| pattern.len() as u64 ^ seed);
        prop_assert_eq!(compare(&before, &read(&written(&entries))), vec![]);
        if let Some(entry) = entries.first_mut() {
            entry.1 += 100;
            let after = read(&written(&entries));
            let changes = compare(&before, &after);
            // An entry that others override everywhere changes nothing.
            let differs = NAMES.iter().any(|name| before.queue(name, "") != after.queue(name, ""));
            prop_assert_eq!(changes.len(), usize::from(differs), "{:?}", changes);
            prop_assert!(changes.iter().all(|c| c.subject.starts_with("queues of ")), "{:?}", changes);
        }
    }

    #[test]
    fn converting_twice_is_converting_once_and_changes_no_queue(
        entries in entries(), hourly in 0u32..500, port in 1u16.., own in any::<bool>(),
    ) {
        let listener = if own { "smtp-listener 127.0.0.1:2525\n" } else { "" };
        let text = format!(
            "{MINIMUM}{listener}smtp-port {port}\nspool-min-free-space {hourly}\n{}<domain d.example>\n max-msg-per-hour {hourly}\n route [192.0.2.1]:25\n</domain>\n",
            written(&entries),
        );
        let once = convert(&text);
        prop_assert_eq!(&convert(&once.text).text, &once.text);
        let load = |text: &str| load("c", &MemoryFiles::new([("c", text)]), false).config.expect("right");
        let (before, after) = (load(&text), load(&once.text));
        for name in NAMES.iter().chain(&["d.example"]) {
            prop_assert_eq!(before.queue(name, ""), after.queue(name, ""));
        }
        let addresses = |config: &Config| config.listeners().iter().map(|l| l.address()).collect::<Vec<_>>();
        prop_assert_eq!(addresses(&before), addresses(&after));
        prop_assert_eq!(before.spools()[0].settings.min_free_space, after.spools()[0].settings.min_free_space);
    }
}

/// Macros `m0`, `m1` ...: each of literal members and of uses of others.
fn macros() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<usize>)>> {
    prop::collection::vec((prop::collection::vec(0u8..6, 1..4), prop::collection::vec(0usize..6, 0..3)), 1..6)
}

/// The members of a macro in the model; `None` in a loop or with an undefined one.
fn members(all: &[(Vec<u8>, Vec<usize>)], at: usize, open: &mut Vec<usize>) -> Option<Vec<String>> {
    if open.contains(&at) {
        return None;
    }
    open.push(at);
    let (literal, used) = all.get(at)?;
    let mut found: Vec<String> = literal.iter().map(|n| format!("d{n}.example")).collect();
    for other in used {
        let inner = members(all, *other, open)?;
        found.extend(inner.into_iter().map(|name| format!("u.{name}")));
    }
    open.pop();
    Some(found)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn macros_stand_for_their_members_and_loops_are_refused(all in macros()) {
        let definition = |(i, (literal, used)): (usize, &(Vec<u8>, Vec<usize>))| {
            let literal = literal.iter().map(|n| format!("d{n}.example"));
            let list: Vec<String> = literal.chain(used.iter().map(|u| format!("u.$m{u}"))).collect();
            format!("domain-macro m{i} {}\n", list.join(","))
        };
        let text: String = all.iter().enumerate().map(definition).collect();
        let model: Vec<Option<Vec<String>>> =
            (0..all.len()).map(|i| members(&all, i, &mut Vec::new())).collect();
        let tag = "<domain $m0>\n max-smtp-out 3\n</domain>\n<domain d0.example>\n max-smtp-out 9\n</domain>\n";
        let text = format!("{MINIMUM}{text}{tag}");
        let loaded = load("c", &MemoryFiles::new([("c", text.as_str())]), false);
        let right = model.iter().all(Option::is_some);
        prop_assert_eq!(loaded.config.is_some(), right, "{}\n{:?}", text, loaded.diagnostics);
        let Some(config) = loaded.config else {
            let why = |d: &vmta_config::Diagnostic| d.message.contains("uses itself") || d.message.contains("not defined");
            prop_assert!(loaded.diagnostics.iter().any(why), "{:?}", loaded.diagnostics);
            return Ok(());
        };
        let mut expected: BTreeMap<String, u32> = BTreeMap::new();
        expected.extend(model[0].iter().flatten().map(|name| (name.clone(), 3)));
        // Written out, it beats the macro, wherever it stands.
        expected.insert("d0.example".into(), 9);
        expected.insert("other.example".into(), 20);
        for (name, connections) in expected {
            prop_assert_eq!(config.queue(&name, "").max_smtp_out, connections, "{}", name);
        }
    }
}
