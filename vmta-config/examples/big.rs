//! How long a large configuration takes: `cargo run --profile bench -p vmta-config --example big [VMTAS] [DOMAINS]`.

use std::time::{Duration, Instant};

use vmta_config::{Config, MemoryFiles, compare, load};

/// Queues explained.
const EXPLAINED: usize = 1000;

/// `vmtas` virtual MTAs that share `domains` `<domain>` sections, and as many domains in macros at the top.
fn text(vmtas: usize, domains: usize, connections: usize) -> String {
    let mut text = String::from("log-file /l\nspool /s\n<domain *>\n max-smtp-out 10\n</domain>\n");
    let each = domains / vmtas.max(1);
    for v in 0..vmtas {
        let (a, b) = (v / 250 % 250, v % 250);
        text += &format!("<virtual-mta vmta{v}>\n smtp-source-host 10.1.{a}.{b} mta{v}.news.example\n");
        for d in 0..each {
            text += &format!(
                " <domain d{d}.provider{}.example>\n  max-smtp-out {connections}\n  max-msg-rate 100/m\n  retry-after 10m,30m\n </domain>\n",
                v % 97
            );
        }
        text += "</virtual-mta>\n";
    }
    text
}

fn config(text: &str) -> (Config, Duration) {
    let files = MemoryFiles::new([("config", text)]);
    let start = Instant::now();
    let loaded = load("config", &files, false);
    let took = start.elapsed();
    (loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)), took)
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let (vmtas, domains) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(50_000));
    let old = text(vmtas, domains, 5);
    let (before, took) = config(&old);
    println!(
        "{vmtas} virtual MTAs, {domains} domain sections, {} lines: loaded in {took:?}",
        old.lines().count()
    );
    let start = Instant::now();
    let values: usize = (0..EXPLAINED)
        .map(|v| {
            before
                .explain_queue(&format!("d3.provider{}.example", v % 97), &format!("vmta{}", v % vmtas))
                .len()
        })
        .sum();
    println!("explain: {values} values of {EXPLAINED} queues in {:?}", start.elapsed());
    let start = Instant::now();
    for v in 0..vmtas {
        before.queue("d3.provider5.example", &format!("vmta{v}"));
    }
    println!("settings of {vmtas} queues, the first time: {:?}", start.elapsed());
    let (after, _) = config(&text(vmtas, domains, 6));
    let start = Instant::now();
    let changes = compare(&before, &after);
    println!("compare: {} change(s) in {:?}", changes.len(), start.elapsed());
}
