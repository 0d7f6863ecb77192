//! Text from anywhere: no panic, no unbounded work, and a million queues in bounded time.

use std::time::Instant;

use proptest::prelude::*;
use vmta_config::{Config, MemoryFiles, directives, load};

fn send_and_sync<T: Send + Sync>() {}

#[test]
fn a_configuration_is_shared_between_threads() {
    send_and_sync::<Config>();
}

fn read(text: &str) {
    let files = MemoryFiles::new([("c", text)]);
    for lenient in [false, true] {
        let loaded = load("c", &files, lenient);
        loaded.diagnostics.iter().for_each(|d| drop(d.to_string()));
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.iter().any(|d| d.is_error()));
        if let Some(config) = loaded.config {
            config.queue("a.example.com", "v");
            config.explain_queue("[10.0.0.1]", "{default}");
            config.source_for([127, 0, 0, 1].into(), Some("x"), None);
            config.notes().iter().for_each(|n| drop(n.to_string()));
        }
    }
}

/// Lines that look like the language.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = directives().map(|d| d.name).collect();
    let value = "[a-z0-9$*./,:;@|<>{}()\\[\\]\"' #-]{0,24}";
    prop_oneof![
        (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} {value}")),
        value.prop_map(|v| format!("<domain {v}>")),
        Just("</domain>".to_string()),
        value.prop_map(|v| format!("<virtual-mta {v}>")),
        Just("</virtual-mta>".to_string()),
        value.prop_map(|v| format!("/{v}/ x")),
        "\\PC{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(lines in prop::collection::vec(line(), 0..30)) {
        read(&lines.join("\n"));
    }
}

#[test]
fn odd_texts_are_read() {
    for text in
        ["", "\u{feff}log-file /l\r\n", "<", "</", "<>", "</>", "\"", "//", "/", "<domain $>\n</domain>", "$"]
    {
        read(text);
    }
    read(&"<pattern-list>\n".repeat(100));
    read(&"x".repeat(2 << 20));
    read(&"nonsense\n".repeat(20_000));
    read(&(0..64).map(|i| format!("domain-macro m{i} $m{}$m{}\n", i + 1, i + 1)).collect::<String>());
}

#[test]
fn a_hundred_thousand_queues_are_resolved_at_once() {
    let domains: String = (0..20_000).map(|i| format!(",d{i}.example")).collect();
    let vmtas: String = (0..200)
        .map(|i| {
            format!(
                "<virtual-mta v{i}>\n<domain d{i}.example>\nmax-smtp-out {i}\n</domain>\n</virtual-mta>\n"
            )
        })
        .collect();
    let text = format!(
        "log-file /l\nspool /s\ndomain-macro many x.example{domains}\n<domain $many>\nmax-smtp-out 3\n</domain>\n{vmtas}"
    );
    let files = MemoryFiles::new([("c", text)]);
    let config = load("c", &files, false).config.expect("right");
    let start = Instant::now();
    for i in 0..100_000 {
        let settings = config.queue(&format!("mail.d{i}.example"), &format!("v{}", i % 200));
        assert_eq!(settings.max_smtp_out, 20);
    }
    assert_eq!(config.queue("d7.example", "v7").max_smtp_out, 7);
    assert_eq!(config.queue("d8.example", "v7").max_smtp_out, 3);
    // Microseconds each; the bound is only against scanning every pattern.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    println!("{:?} for 100,000 queues", start.elapsed());
}
