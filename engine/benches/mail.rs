//! What one recipient costs in `mail`: merging a 2 KiB template with a row, and checking an address.
//!
//! Goals (performance, part A) are for the whole: a campaign message takes at most 16 us of CPU, rendering included; an
//! import of 1,000,000 rows a second on two cores leaves 2,000 ns of CPU to a row, checking its address included. A
//! template with statements runs in the full minijinja; whoever writes one pays for it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use posthaste::mail::{Content, Fixed, Row, Syntax, Template, TemplateSource, check};
use std::hint::black_box;
use std::time::Duration;

const FIELDS: [&str; 6] = ["email", "first", "last", "city", "id", "offer"];
const VALUES: [&str; 6] =
    ["ann.smith@example.com", "Ann", "Smith", "Z\u{fc}rich", "4711-0815", "20 % off <everything>"];

/// A body of about 2 KiB with five fields.
fn html() -> String {
    let filler = "<p style=\"margin:0\">Lorem ipsum dolor sit amet, consetetur sadipscing.</p>\n".repeat(24);
    format!(
        "<h1>Hello {{{{ first }}}}</h1>\n{filler}<a href=\"https://x.example/?u={{{{ id }}}}\">{{{{ city }}}}</a>\n\
        <p>{{{{ offer }}}}</p>\n"
    )
}

fn compiled(html: &str) -> Content {
    let headers = [
        ("From", "News <news@example.com>"),
        ("Subject", "Hello {{ first }}"),
        ("To", "{{ first }} {{ last }} <{{ email }}>"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fixed = Fixed {
        date: "Mon, 23 Nov 2026 03:00:00 +0000".into(),
        submission_id: 0xabc,
        host_id: 0,
        dated_later: false,
        host: "mail.example".into(),
        sender: "bounce@news.example".into(),
    };
    let source = TemplateSource::Parts { html: Some(html), text: None, attached: &[] };
    let fields = FIELDS.map(str::to_owned);
    let template = Template { source, headers: &headers, syntax: Syntax::Minijinja, fields: &fields };
    Content::compile(&template, &fixed).expect("compiles")
}

fn render(c: &mut Criterion) {
    let html = html();
    let statements = format!("{html}{{% if city %}}x{{% endif %}}\n");
    let mut group = c.benchmark_group("mail/render");
    for (label, html) in
        [("fields", &html), ("fields, one long line", &html.replace('\n', " ")), ("statements", &statements)]
    {
        let content = compiled(html);
        // Rows hold the fields that the template uses, in its order.
        let used: Vec<&str> = content
            .fields()
            .iter()
            .filter_map(|name| FIELDS.iter().position(|field| field == name))
            .map(|at| VALUES[at])
            .collect();
        let (mut out, mut number) = (Vec::with_capacity(1 << 16), 0);
        group.bench_function(label, |b| {
            b.iter(|| {
                out.clear();
                number += 1;
                let row = Row { to: VALUES[0], number, values: black_box(&used) };
                content.render(&row, &mut out).expect("renders");
                out.len()
            });
        });
    }
    group.finish();
}

fn address(c: &mut Criterion) {
    let addresses: Vec<String> =
        (0..1000).map(|i| format!("first.last{i}@mail{}.example.com", i % 7)).collect();
    let mut group = c.benchmark_group("mail/address");
    group.throughput(Throughput::Elements(addresses.len() as u64));
    group.bench_function("check 1000", |b| {
        b.iter(|| {
            let local = |text: &String| check(black_box(text.as_bytes())).expect("valid").local().len();
            addresses.iter().map(local).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = render, address
}
criterion_main!(benches);
