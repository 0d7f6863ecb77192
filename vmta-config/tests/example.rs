//! `config.example` and the configuration in the README load, and the example says itself what is not in effect.

use vmta_config::{MemoryFiles, OsFiles, load};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config.example");

#[test]
fn the_example_loads_without_a_finding() {
    let loaded = load(EXAMPLE, &OsFiles, false);
    let found: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    let config = loaded.config.expect("no errors");
    assert_eq!(config.queue("googlemail.com", "news-1").max_smtp_out, 20);
    assert_eq!(config.queue("gmail.com", "news-new").max_smtp_out, 2, "a new address has its own limits");
}

#[test]
fn the_example_marks_every_line_that_is_not_in_effect_and_no_other() {
    let text = std::fs::read_to_string(EXAMPLE).expect("the example");
    let config = load(EXAMPLE, &OsFiles, false).config.expect("no errors");
    let idle: Vec<u32> = config.notes().iter().flat_map(|n| n.origins.iter().map(|o| o.line)).collect();
    for (number, line) in (1u32..).zip(text.lines()).filter(|(_, l)| !l.trim_start().starts_with('#')) {
        let marked = line.contains("(not in effect yet)");
        assert_eq!(idle.contains(&number), marked, "line {number}: {line}");
    }
}

#[test]
fn the_configuration_in_the_readme_loads() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```").find(|part| part.contains("smtp-listener")).expect("a configuration");
    let loaded = load("config", &MemoryFiles::new([("config", text)]), false);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
}
