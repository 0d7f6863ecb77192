//! Merging a 2 KiB template with a row; checking addresses.

use posthaste::mail::{Content, Fixed, Row, Syntax, Template, TemplateSource, check};
use std::hint::black_box;

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
        host: "mail.example".into(),
        sender: "bounce@news.example".into(),
    };
    let source = TemplateSource::Parts { html: Some(html), text: None };
    let fields = FIELDS.map(str::to_owned);
    let template = Template { source, headers: &headers, syntax: Syntax::Minijinja, fields: &fields };
    Content::compile(&template, &fixed).expect("compiles")
}

/// Which kind of template is merged.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Fields,
    OneLongLine,
    Statements,
}

pub fn render(kind: Kind) -> impl FnMut() {
    let html = match kind {
        Kind::Fields => html(),
        Kind::OneLongLine => html().replace('\n', " "),
        Kind::Statements => format!("{}{{% if city %}}x{{% endif %}}\n", html()),
    };
    let content = compiled(&html);
    // Rows hold the fields that the template uses, in its order.
    let used: Vec<&str> = content
        .fields()
        .iter()
        .filter_map(|name| FIELDS.iter().position(|field| field == name))
        .map(|at| VALUES[at])
        .collect();
    let (mut out, mut number) = (Vec::with_capacity(1 << 16), 0);
    move || {
        out.clear();
        number += 1;
        let row = Row { to: VALUES[0], number, values: black_box(&used) };
        content.render(&row, &mut out).expect("renders");
    }
}

pub const ADDRESSES: u64 = 1000;

pub fn addresses() -> impl FnMut() {
    let addresses: Vec<String> =
        (0..ADDRESSES).map(|i| format!("first.last{i}@mail{}.example.com", i % 7)).collect();
    move || {
        let local = |text: &String| check(black_box(text.as_bytes())).expect("valid").local().len();
        black_box(addresses.iter().map(local).sum::<usize>());
    }
}
