//! Templates become messages: what is merged, and what is kept.

use super::*;
use crate::mail::sample::{compile_with, eml, problems, render};
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

const SIMPLE: &str = "From: News <news@news.example>\nSubject: Hello {{ name }}\n\nDear {{ name }},\n\nbye\n";

#[test]
fn a_small_template_becomes_a_whole_message() {
    let content = eml(SIMPLE, &["id", "name"]).expect("compiles");
    assert_eq!(content.fields(), ["name"]);
    assert_eq!(
        render(&content, &["Ann"]).expect("renders"),
        "From: News <news@news.example>\r\n\
        Subject: Hello Ann\r\n\
        Date: Mon, 23 Nov 2026 03:00:00 +0000\r\n\
        Message-ID: <abc.ff@mail.example>\r\n\
        To: ann@example.com\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        Dear Ann,\r\n\r\nbye\r\n"
    );
    assert!(!content.needs_8bit() && !content.needs_smtputf8() && !content.is_plain());
}

#[test]
fn content_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Content>();
}

#[test]
fn a_plain_message_leaves_byte_for_byte() {
    let raw = "From: a@example.com\r\n\r\n.\r\n{{ not a field }} \u{e9}\r\n";
    let content = Content::plain(raw.as_bytes().to_vec());
    assert_eq!(render(&content, &[]).expect("renders"), raw);
    assert!(content.is_plain() && content.needs_8bit() && content.fields().is_empty());
    assert_eq!(content.size_estimate(), raw.len());
}

#[test]
fn values_come_back_from_a_parser_whatever_the_templates_encoding() {
    let html = "<p>Dear {{ name }},</p><p>100% off \u{2014} see =3D</p>";
    let qp = html.replace('=', "=3D").replace('\u{2014}', "=E2=80=94").replace("{{ n", "{{=\n n");
    let b64 = data_encoding::BASE64_MIME.encode(html.as_bytes());
    let latin = "<p>Dear {{ name }},</p><p>100% off \u{2014} see =3D</p>";
    for (encoding, charset, body) in
        [("quoted-printable", "utf-8", qp.as_str()), ("base64", "utf-8", &b64), ("8bit", "utf-8", latin)]
    {
        let raw = format!(
            "From: a@example.com\nSubject: s\nMIME-Version: 1.0\nContent-Type: text/html; charset={charset}; x=y\n\
             Content-Transfer-Encoding: {encoding}\n\n{body}"
        );
        let content = eml(&raw, &["name"]).expect("compiles");
        let message = render(&content, &["J\u{fc}rgen <&> \"O'Neil\""]).expect("renders");
        assert!(message.is_ascii());
        let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
        assert_eq!(parsed.content_type().and_then(|t| t.attribute("charset")), Some("utf-8"));
        assert_eq!(parsed.content_type().and_then(|t| t.attribute("x")), Some("y"));
        assert_eq!(
            parsed.body_html(0).expect("html").trim_end(),
            "<p>Dear J\u{fc}rgen &lt;&amp;&gt; &quot;O&#39;Neil&quot;,</p><p>100% off \u{2014} see =3D</p>",
            "{encoding}"
        );
    }
}

#[test]
fn a_latin1_part_becomes_utf8() {
    let mut raw = b"From: a@example.com\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n".to_vec();
    raw.extend_from_slice(b"caf\xe9 {{ x }}\n");
    let content = compile_with(TemplateSource::Eml(&raw), &[], Syntax::Minijinja, &["x"]).expect("compiles");
    let message = render(&content, &["\u{4f8b}"]).expect("renders");
    assert!(message.contains("caf=C3=A9 =E4=BE=8B\r\n"), "{message}");
    let bad = compile_with(
        TemplateSource::Eml(b"From: a@b.example\n\ncaf\xe9 {{ x }}\n"),
        &[],
        Syntax::Minijinja,
        &["x"],
    );
    assert_eq!(problems(bad), ["text part, line 1: the text is not valid in its charset"]);
}

const MULTIPART: &str = "From: a@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=out\n\n\
preamble\n--out\nContent-Type: multipart/alternative; boundary=in\n\n--in\nContent-Type: text/plain\n\nHi {{ name }}\n\
--in\nContent-Type: text/html; charset=us-ascii\nContent-ID: <h@x>\n\n<b>{{ name }}</b>\n\n--in--\n\n\
--out\nContent-Type: application/pdf; name=\"{{ a }}.pdf\"\nContent-Transfer-Encoding: base64\n\n\
aGVsbG8g\nd29ybGQ=\n--out\nContent-Type: text/plain\nContent-Disposition: attachment\n\nno fields here\n--out\n\
Content-Type: message/rfc822\n\nFrom: x@y.example\nSubject: {{ untouched }}\n\ninner\n--out--\nepilogue\n";

#[test]
fn the_structure_of_a_multipart_template_is_kept() {
    let content = eml(MULTIPART, &["name"]).expect("compiles");
    let message = render(&content, &["<Ann>"]).expect("renders");
    let kept = MULTIPART.replace('\n', "\r\n");
    let tail = &kept[kept.find("\r\n--in--").expect("there")..];
    assert!(message.ends_with(tail), "{message}");
    assert!(
        message.contains(
            "preamble\r\n--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n"
        )
    );
    let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
    assert_eq!(parsed.body_text(0).as_deref(), Some("Hi <Ann>"));
    assert_eq!(parsed.body_html(0).as_deref(), Some("<b>&lt;Ann&gt;</b>\r\n"));
    assert_eq!(parsed.attachments().count(), 3);
    assert_eq!(parsed.attachment(0).map(|a| a.contents()), Some(&b"hello world"[..]));
}

#[test]
fn parts_that_could_not_leave_as_they_are_are_encoded() {
    let mut raw = b"From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n".to_vec();
    raw.extend_from_slice("caf\u{e9} ".repeat(300).as_bytes());
    raw.extend_from_slice(b"\n--b\nContent-Type: image/png; name=x.png\nContent-ID: <i>\nContent-Transfer-Encoding: 8bit\n\n\x89PNG\xff\n--b--\n");
    let content = compile_with(TemplateSource::Eml(&raw), &[], Syntax::Minijinja, &[]).expect("compiles");
    assert!(!content.needs_8bit());
    let message = render(&content, &[]).expect("renders");
    assert!(message.is_ascii() && message.lines().all(|l| l.len() <= 76), "{message}");
    let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
    assert_eq!(parsed.body_text(0).as_deref(), Some("caf\u{e9} ".repeat(300).as_str()));
    let image = parsed.attachment(0).expect("image");
    assert_eq!((image.contents(), image.content_id()), (&b"\x89PNG\xff"[..], Some("i")));
    assert_eq!(image.content_type().and_then(|t| t.attribute("name")), Some("x.png"));
}

#[test]
fn html_and_text_bodies_become_an_alternative() {
    let source =
        TemplateSource::Parts { html: Some("<p>{{ n }}</p>"), text: Some("Hi {{ n }}\n"), attached: &[] };
    let list = [("From", "N\u{e9}ws <a@example.com>"), ("Subject", "{{ n }}!"), ("To", "{{ n }} <{{ e }}>")];
    let content = compile_with(source, &list, Syntax::Minijinja, &["n", "e"]).expect("compiles");
    let message = render(&content, &["A & \u{e9}", "ann@example.com"]).expect("renders");
    let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
    assert_eq!(parsed.subject(), Some("A & \u{e9}!"));
    assert_eq!(parsed.from().and_then(|f| f.first()).and_then(|f| f.name()), Some("N\u{e9}ws"));
    let to = parsed.to().and_then(|f| f.first()).expect("to");
    assert_eq!((to.name(), to.address()), (Some("A & \u{e9}"), Some("ann@example.com")));
    assert_eq!(parsed.body_text(0).as_deref(), Some("Hi A & \u{e9}\r\n"));
    assert_eq!(parsed.body_html(0).as_deref(), Some("<p>A &amp; \u{e9}</p>\r\n"));
    assert!(message.contains("boundary=\"=_0000000000000abc\""));
    assert_eq!(
        render(&content, &["A & \u{e9}", "ann@example.com"]).expect("renders"),
        message,
        "the same row, the same bytes"
    );
    let long = "z".repeat(2000);
    let one = compile_with(
        TemplateSource::Parts { html: None, text: Some(&long), attached: &[] },
        &list[..1],
        Syntax::Minijinja,
        &[],
    );
    let message = render(&one.expect("compiles"), &[]).expect("renders");
    assert!(message.lines().all(|l| l.len() <= 76) && message.contains("quoted-printable"));
}

#[test]
fn filters_and_blocks() {
    let source = TemplateSource::Parts {
        html: Some("{{ n|default('friend') }} {{ n|safe }} {{ n|e }}"),
        attached: &[],
        text: Some(
            "{% if n %}Hi {{ n|upper }}{% else %}Hello {{ n|default(\"you\") }}{% endif %}\n{{ n }}\n",
        ),
    };
    let content = compile_with(
        source,
        &[("From", "a@example.com"), ("Subject", "{% if n %}{{ n }}{% else %}-{% endif %}")],
        Syntax::Minijinja,
        &["n", "m"],
    );
    let content = content.expect("compiles");
    assert_eq!(content.fields(), ["n"]);
    let both = |value: &str| {
        let message = render(&content, &[value]).expect("renders");
        let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
        let body = |b: Option<std::borrow::Cow<'_, str>>| b.expect("a body").into_owned();
        (
            parsed.subject().unwrap_or_default().to_string(),
            body(parsed.body_html(0)),
            body(parsed.body_text(0)),
        )
    };
    assert_eq!(both(""), ("-".into(), "friend  \r\n".into(), "Hello you\r\n\r\n".into()));
    assert_eq!(both("<b>"), ("<b>".into(), "&lt;b&gt; <b> &lt;b&gt;\r\n".into(), "Hi <B>\r\n<b>\r\n".into()));
}

#[test]
fn a_full_html_template_escapes_as_the_simple_path_does() {
    let value = "<a href=\"x/y\">'&</a> \u{e9}";
    let render_html = |html: &str| {
        let content = compile_with(
            TemplateSource::Parts { html: Some(html), text: None, attached: &[] },
            &[("From", "a@example.com")],
            Syntax::Minijinja,
            &["n"],
        );
        render(&content.expect("compiles"), &[value]).expect("renders")
    };
    for tag in ["{{ n }}", "{{ n|safe }}", "{{ n|e }}", "{{ n|urlencode }}", "{{ n|default('x') }}"] {
        assert_eq!(render_html(tag), render_html(&format!("{{% if 1 %}}{tag}{{% endif %}}")), "{tag}");
    }
}

#[test]
fn stored_content_is_the_same_content() {
    for raw in [
        SIMPLE,
        MULTIPART,
        "From: a@example.com\nSubject: {% if name %}{{ name|default('x') }}{% endif %}\n\n{{ name|urlencode }}\n",
    ] {
        let content = eml(raw, &["name"]).expect("compiles");
        let mut stored = Vec::new();
        content.encode(&mut stored);
        let again = Content::decode(&stored).expect("decodes");
        assert_eq!(again.fields(), content.fields());
        assert_eq!(again.size_estimate(), content.size_estimate());
        assert_eq!(render(&again, &["\u{e9}"]), render(&content, &["\u{e9}"]));
        for end in 0..stored.len() {
            assert!(Content::decode(&stored[..end]).is_err(), "cut at {end}");
        }
        stored.push(0);
        assert!(Content::decode(&stored).is_err());
        stored[0] = 9;
        assert!(matches!(Content::decode(&stored), Err(ContentError::Version(9))));
    }
}

#[test]
fn a_row_of_the_wrong_width_is_refused_and_nothing_is_written() {
    let content = eml(SIMPLE, &["name"]).expect("compiles");
    let mut out = b"before".to_vec();
    let row = Row { to: "ann@example.com", number: 1, values: &[] };
    assert_eq!(content.render(&row, &mut out), Err(RenderError::Values { expected: 1, got: 0 }));
    let row = Row { to: "ann@example.com", number: 1, values: &["a\nb"] };
    assert!(content.render(&row, &mut out).is_err());
    assert_eq!(out, b"before");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn values_come_back_in_subject_text_and_html(
        name in "[ -~\u{e9}\u{4f8b}]{0,60}",
        body in "[ -~\t\u{e9}\u{1f600}\n]{0,200}",
        long in "[a-z ]{0,120}",
        tail in "[a-z<>=. ]{0,60}",
    ) {
        let html = format!("<p>{long}{{{{ body }}}}{long}{{{{ name }}}}{tail}</p>\n{long}\n");
        let text = format!("{long}{{{{ body }}}}{tail}{{{{ name }}}}\n{tail}");
        let list = [("From", "a@example.com"), ("Subject", "s {{ name }} e"), ("To", "{{ name }} <t@example.com>")];
        let source = TemplateSource::Parts { html: Some(&html), text: Some(&text), attached: &[] };
        let content = compile_with(source, &list, Syntax::Minijinja, &["name", "body"]).expect("compiles");
        let mut stored = Vec::new();
        content.encode(&mut stored);
        let content = Content::decode(&stored).expect("decodes");
        let message = render(&content, &[&name, &body]).expect("renders");
        prop_assert!(message.is_ascii());
        let parsed = MessageParser::default().parse(message.as_bytes()).expect("parses");
        let words = |t: &str| t.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        prop_assert_eq!(words(parsed.subject().unwrap_or_default()), words(&format!("s {name} e")));
        let crlf = |t: String| if t.ends_with('\n') { t.replace('\n', "\r\n") } else { t.replace('\n', "\r\n") + "\r\n" };
        let plain = crlf(text.replace("{{ body }}", &body).replace("{{ name }}", &name));
        prop_assert_eq!(parsed.body_text(0).unwrap_or_default(), plain);
        let escape = |t: &str| {
            let mut o = String::new();
            crate::mail::escape::html(t, |p| o.push_str(p));
            o
        };
        let rich = crlf(html.replace("{{ body }}", &escape(&body)).replace("{{ name }}", &escape(&name)));
        prop_assert_eq!(parsed.body_html(0).unwrap_or_default(), rich);
    }

    #[test]
    fn any_template_is_answered(raw in "(From: a@b.example\n)?([A-Z][a-z]{0,3}: [ -~]{0,20}\n){0,3}(Content-Type: multipart/mixed; boundary=b\n)?\n([ -~\n\u{e9}]|--b\n|\\{\\{ ?x ?\\}\\}|\\{%|Content-Type: text/html\n){0,30}") {
        if let Ok(content) = eml(&raw, &["x"]) {
            let values = vec!["v\u{e9}"; content.fields().len()];
            if let Ok(message) = render(&content, &values) {
                prop_assert!(message.contains("\r\n\r\n"));
            }
        }
    }

    #[test]
    fn damaged_content_is_an_error_or_renders(at in 0usize..400, byte: u8) {
        let content = eml(MULTIPART, &["name"]).expect("compiles");
        let mut stored = Vec::new();
        content.encode(&mut stored);
        let at = at % stored.len();
        stored[at] = byte;
        if let Ok(content) = Content::decode(&stored) {
            let values = vec!["v"; content.fields().len()];
            let mut out = Vec::new();
            let _ = content.render(&Row { to: "a@b.example", number: 1, values: &values }, &mut out);
        }
    }
}
