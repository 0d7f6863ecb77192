//! What a template may say, what it may not, and what values cannot do to it.

use super::content::*;
use super::fault::RenderError;
use super::sample::{compile_with, eml, problems, render};
use mail_parser::MessageParser;

#[test]
fn an_address_header_keeps_its_structure_whatever_the_values() {
    let raw = "From: \"{{ a }}\" <news@example.com>, {{ b }} <{{ c }}>\n\nx\n";
    let content = eml(raw, &["a", "b", "c"]).expect("compiles");
    let from = |values: &[&str]| {
        let message = render(&content, values)?;
        let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
        let list: Vec<(String, String)> = parsed.from().map_or(Vec::new(), |f| {
            f.iter()
                .map(|a| (a.name().unwrap_or_default().into(), a.address().unwrap_or_default().into()))
                .collect()
        });
        Ok::<_, RenderError>(list)
    };
    let evil = "x\" <evil@example.com>, \"y";
    assert_eq!(
        from(&[evil, "B, C", "b@example.com"]).expect("renders"),
        [
            (evil.to_string(), "news@example.com".to_string()),
            ("B, C".to_string(), "b@example.com".to_string())
        ]
    );
    assert!(matches!(
        from(&["a", "b", "b@example.com>, <evil@example.com"]),
        Err(RenderError::Address { .. })
    ));
    assert!(matches!(from(&["a", "b", ""]), Err(RenderError::Address { .. })));
    assert!(matches!(from(&["a", "b", "j\u{fc}rgen@example.com"]), Err(RenderError::NeedsSmtpUtf8 { .. })));
    let message = render(&content, &["a", "b", "ann@b\u{fc}cher.example"]).expect("renders");
    assert!(message.contains("<ann@xn--bcher-kva.example>"));
}

#[test]
fn a_line_end_in_a_header_value_is_refused_and_the_field_named() {
    let content =
        eml("From: a@example.com\nSubject: Hi {{ n }}\nX-Tag: {{ t|upper }}\n\n{{ n }}\n", &["n", "t"])
            .expect("compiles");
    for (bad, what) in
        [("x\r\nBcc: y@example.com", "a carriage return"), ("x\ny", "a line feed"), ("x\0", "a NUL")]
    {
        let error = RenderError::Injection { header: "Subject".into(), field: "n".into(), what };
        assert_eq!(render(&content, &[bad, "t"]), Err(error));
        assert!(matches!(render(&content, &["n", bad]), Err(RenderError::Injection { .. })));
    }
    // In a body it is a line end.
    let body = eml("From: a@example.com\n\n[{{ n }}]\n", &["n"]).expect("compiles");
    assert!(render(&body, &["x\ny\rz\0"]).expect("renders").ends_with("[x\r\ny\r\nz=00]\r\n"));
}

#[test]
fn structured_headers_take_ascii_only_and_urls_can_be_encoded() {
    let raw = "From: a@example.com\nList-Unsubscribe: <https://x.example/?u={{ e|urlencode }}>\nX-Id: {{ i }}\n\nx\n";
    let content = eml(raw, &["e", "i"]).expect("compiles");
    let message = render(&content, &["a+b@\u{e9}.example", "1"]).expect("renders");
    assert!(message.contains("List-Unsubscribe: <https://x.example/?u=a%2Bb%40%C3%A9.example>\r\n"));
    let bare = eml("From: a@example.com\nMessage-ID: <{{ i }}@x>\n\nx\n", &["i"]).expect("compiles");
    assert!(render(&bare, &["42"]).expect("renders").contains("Message-ID: <42@x>\r\n"));
    assert!(matches!(render(&bare, &["\u{e9}"]), Err(RenderError::NotAscii { .. })));
    assert!(matches!(render(&bare, &[&"x".repeat(990)]), Err(RenderError::WordTooLong { .. })));
}

#[test]
fn a_template_that_loops_is_found_at_import() {
    let text = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
    let found = problems(eml(&format!("From: a@example.com\n\n{text}\n"), &[]));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("runs too long"), "{found:?}");
    for text in
        ["{% include 'x' %}", "{% extends 'x' %}", "{%- import 'x' as y %}", "{% block a %}{% endblock %}"]
    {
        let found = problems(eml(&format!("From: a@example.com\n\n{text}\n"), &[]));
        assert!(found[0].contains("a template stands alone"), "{found:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let raw = "From: Ann <ann@\nSubject: {{ nme }}\nSubject: again\nnonsense\nContent-Type: text/{{ x }}\n\nline\n{{ frist_name }}\n{{ y }}\n";
    let found = problems(eml(raw, &["name", "first_name"]));
    for part in [
        "header From, line 1: an address list is",
        "header Subject, line 2: there is no field `nme` (did you mean `name`?); the fields are: name, first_name",
        "header, line 4: this is not a header field",
        "header Subject, line 1: the header stands there 2 times",
        "text part, line 2: there is no field `frist_name` (did you mean `first_name`?)",
        "text part, line 3: there is no field `y`;",
    ] {
        assert!(found.iter().any(|f| f.contains(part)), "{part} in {found:#?}");
    }
    let found = problems(eml("Subject: x\n\n{{ open\n", &[]));
    assert!(found.iter().any(|f| f.contains("header From, line 1: the header is missing")), "{found:#?}");
    assert!(found.iter().any(|f| f.contains("text part, line 1: `{{` is not closed")), "{found:#?}");
    let found = problems(eml("From: a@example.com\n\n{% if x %}\n{{ zzz.a }}{% endif %}{% for %}\n", &["x"]));
    assert!(found[0].contains("text part, line 2: syntax error"), "{found:#?}");
    assert!(
        problems(eml("From: a@example.com\n\n{% if x %}\n{{ zzz }}{% endif %}\n", &["x"]))[0]
            .contains("text part, line 2: there is no field `zzz`")
    );
}

#[test]
fn headers_given_beside_the_template_replace_its_own() {
    let list = [("from", "B <b@example.com>"), ("X-Campaign", "{{ c }}")];
    let raw = b"From: a@example.com\nX-Job: away\nBcc: away@example.com\nSubject: s\n\nx\n";
    let content = compile_with(TemplateSource::Eml(raw), &list, Syntax::Minijinja, &["c"]).expect("compiles");
    let message = render(&content, &["7"]).expect("renders");
    assert!(message.starts_with("from: B <b@example.com>\r\nSubject: s\r\nX-Campaign: 7\r\n"), "{message}");
    assert!(!message.contains("away"));
    for (name, value, part) in [
        ("X-A", "x\r\nBcc: y", "would end the field"),
        ("X A", "x", "not a header field name"),
        ("Content-Type", "text/html", "cannot be set here"),
        ("Reply-To", "not an address", "is not an address"),
        ("Message-ID", "<\u{e9}@x>", "not ASCII"),
    ] {
        let found =
            problems(compile_with(TemplateSource::Eml(raw), &[(name, value)], Syntax::Minijinja, &[]));
        assert!(found.iter().any(|f| f.contains(part)), "{part}: {found:?}");
    }
}

#[test]
fn pmta_syntax() {
    let raw = "From: \"Service\" [*from]\nTo: \"[FName]\" [*to]\nDate: [*date]\nSubject: [[[subject]]\n\n<!--[if mso]> Hi [fname], [*TO] [[x]\n";
    let content = compile_with(TemplateSource::Eml(raw.as_bytes()), &[], Syntax::Pmta, &["fname", "Subject"])
        .expect("compiles");
    let message = render(&content, &["Jim, Jr.", "S"]).expect("renders");
    assert!(message.starts_with(
        "From: Service <bounce@news.example>\r\nTo: \"Jim, Jr.\" <ann@example.com>\r\nDate: Mon, 23 Nov 2026 03:00:00 +0000\r\n\
         Subject: [S]\r\n"
    ), "{message}");
    assert!(message.ends_with("<!--[if mso]> Hi Jim, Jr., ann@example.com [x]\r\n"), "{message}");
    let found = problems(compile_with(
        TemplateSource::Eml(b"From: a@b.example\n\n[endif] [*vmta]\n"),
        &[],
        Syntax::Pmta,
        &["fname"],
    ));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`endif`") && found[1].contains("[*vmta]"));
}

#[test]
fn encoded_words_in_a_template_header_may_hold_fields() {
    let raw = "From: =?utf-8?Q?J=C3=BCrgen_=7B=7B_n_=7D=7D?= <a@example.com>\nSubject: =?utf-8?B?SGnDqSB7eyBuIH19?=\n\nx\n";
    let content = eml(raw, &["n"]).expect("compiles");
    let message = render(&content, &["Z\u{e9}"]).expect("renders");
    let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
    assert_eq!(parsed.subject(), Some("Hi\u{e9} Z\u{e9}"));
    assert_eq!(parsed.from().and_then(|f| f.first()).and_then(|f| f.name()), Some("J\u{fc}rgen Z\u{e9}"));
    // Without fields they stay as they were written.
    let kept = "From: =?iso-8859-1?Q?J=FCrgen?= <a@example.com>\nSubject: folded\n line\n\nx\n";
    let message = render(&eml(kept, &[]).expect("compiles"), &[]).expect("renders");
    assert!(message.starts_with(&kept[..kept.len() - 3].replace('\n', "\r\n")), "{message}");
}

#[test]
fn odd_templates() {
    for raw in ["\u{feff}From: a@example.com\r\n\r\nx", "From: a@example.com", "From: a@example.com\n\n"] {
        let content = eml(raw, &[]).expect(raw);
        assert!(render(&content, &[]).expect("renders").starts_with("From: a@example.com\r\n"));
    }
    assert!(
        problems(eml("From: a@example.com\rx\n\n", &[]))[0]
            .contains("line 1: a carriage return stands alone")
    );
    assert!(!problems(eml("", &[])).is_empty());
    assert!(
        problems(compile_with(
            TemplateSource::Parts { html: None, text: None, attached: &[] },
            &[("From", "a@b.example")],
            Syntax::Minijinja,
            &[]
        ))[0]
            .contains("neither")
    );
    let broken = "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHi {{ n }}\n";
    assert!(problems(eml(broken, &["n"]))[0].contains("boundary that ends it is missing"));
}
