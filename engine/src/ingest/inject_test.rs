//! Requests from their members to what is stored and what a recipient would receive.

use super::*;
use crate::ingest::import::{Duplicates, Import, Settings, Taken};
use crate::mail::row::row_view;
use crate::mail::{Fixed, content};

/// The messages of the recipients, and what was wrong with the others.
fn injected(members: &[(&str, &str)], recipients: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
    let mut head = InjectHead::default();
    for (key, value) in members {
        head.take(key, value.as_bytes()).map_err(|e| e.to_string())?;
    }
    let content = head.compile(&Fixed::default(), &["x-job"]).map_err(|e| e.to_string())?;
    let mut stored = Vec::new();
    content.encode(&mut stored);
    let content = content::Content::decode(&stored).expect("what was stored");
    let (rows, plan) = InjectRows::new(&head, &content).map_err(|e| e.to_string())?;
    let settings = Settings {
        vmtas: &["v".to_owned()],
        duplicates: Duplicates::Keep,
        domain_suffix: "",
        key: [1; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).expect("one VMTA");
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    for (number, recipient) in recipients.iter().enumerate() {
        rows.read(number as u64, recipient.as_bytes(), &mut batch).map_err(|e| e.to_string())?;
    }
    import.take(&batch, &mut taken).expect("nothing to go on with");
    let refused = taken.rejected.iter().map(|rejected| {
        let name = batch.row(rejected.index).and_then(|row| row.cell(0)).unwrap_or_default();
        format!("{}: {}", String::from_utf8_lossy(name), rejected.fault)
    });
    let refused = refused.collect();
    let _ = import.finish(&mut taken);
    let mut messages = Vec::new();
    for chunk in &taken.chunks {
        let mut start = 0;
        for end in chunk.rows.ends.iter().map(|end| *end as usize) {
            let row = row_view(&chunk.rows.bytes[start..end]).expect("a row");
            let values: Vec<&str> = row.values().map(|value| value.expect("a value")).collect();
            let mut out = Vec::new();
            let row = content::Row { to: row.address, number: 0, values: &values };
            content.render(&row, &mut out).map_err(|e| e.to_string())?;
            messages.push(String::from_utf8(out).expect("text"));
            start = end;
        }
    }
    Ok((messages, refused))
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").expect("a header").1.trim_end()
}

#[test]
fn each_recipient_has_his_own_values_or_the_common_ones() {
    let members = [
        (
            "content",
            r#"{"text_body":"{{ greeting }} {{ name }}, {{ age }} ({{ email }}){{ nothing }}","from":{"email":"a@b.example","name":"The \"A\""},"subject":"For {{ name }}"}"#,
        ),
        ("substitutions", r#"{"greeting":"Hello","age":null}"#),
    ];
    let (messages, refused) = injected(
        &members,
        &[
            r#"{"email":"jim@site.example","name":"Jim \u00dc","substitutions":{"age":42}}"#,
            r#"{"email":"ann@site.example","substitutions":{"greeting":"Hi","name":"Ann","email":"ann@site.example"}}"#,
        ],
    )
    .unwrap();
    assert_eq!(refused, [""; 0]);
    assert_eq!(body(&messages[0]), "Hello Jim =C3=9C, 42 (jim@site.example)");
    assert!(
        messages[0].contains("To: =?utf-8?") && messages[0].contains(" <jim@site.example>\r\n"),
        "{}",
        messages[0]
    );
    assert!(messages[0].contains("From: \"The \\\"A\\\"\" <a@b.example>\r\n"), "{}", messages[0]);
    assert_eq!(body(&messages[1]), "Hi Ann,  (ann@site.example)");
    assert!(
        messages[1].contains("Subject: For Ann\r\n")
            && messages[1].contains("To: Ann <ann@site.example>\r\n")
    );
}

#[test]
fn a_recipient_that_is_wrong_costs_only_himself() {
    let content = ("content", r#""From: a@b.example\nSubject: {{ s }}\n\nHello {{ x }}""#);
    let (messages, refused) = injected(
        &[content],
        &[
            r#"{"email":"no address"}"#,
            r#"{"mail":"x@y.example"}"#,
            "7",
            r#"{"email":"a@y.example","substitutions":{"s":"two\nlines"}}"#,
            r#"{"email":"b@y.example","substitutions":{"x":[1]}}"#,
            r#"{"email":"c@y.example","substitutions":{"email":"d@y.example"}}"#,
            r#"{"email":"d@y.example","metadata":{"a":1}}"#,
            r#"{"email":"e@y.example","metadata":{},"name":null,"substitutions":{"unused":[1]}}"#,
        ],
    )
    .unwrap();
    assert_eq!((messages.len(), body(&messages[0])), (1, "Hello=20"));
    let says = [
        "no address: `email` is not an e-mail address",
        "recipients[1]: unknown field `mail`",
        "recipients[2]: invalid type",
        "a@y.example: field `s` holds a line break",
        "b@y.example: field `x` is an array or object",
        "c@y.example: the substitution `email` is not the address",
        "d@y.example: metadata is not kept",
    ];
    assert_eq!(refused.len(), says.len());
    for (refused, says) in refused.iter().zip(says) {
        assert!(refused.starts_with(says), "{refused}");
    }
    assert!(
        injected(&[content], &[r#"{"email":}"#]).unwrap_err().starts_with("recipients[0]: expected value")
    );
}

#[test]
fn a_template_reckons_with_numbers_lists_and_booleans() {
    let text = "{% if age >= 18 %}adult{% else %}minor{% endif %}{% if vip %}, vip{% endif %}{% for i in items %}, {{ i.n }}{% endfor %}; {{ age }}";
    let content = format!(r#"{{"text_body":{text:?},"from":{{"email":"a@b.example"}}}}"#);
    let (messages, refused) = injected(
        &[("content", &content)],
        &[
            r#"{"email":"a@y.example","substitutions":{"age":42,"vip":true,"items":[{"n":"one"},{"n":2}]}}"#,
            r#"{"email":"b@y.example","substitutions":{"age":7,"vip":false,"items":[]}}"#,
            r#"{"email":"c@y.example","substitutions":{"age":1,"items":"\u0001[]"}}"#,
        ],
    )
    .unwrap();
    assert_eq!(body(&messages[0]), "adult, vip, one, 2; 42");
    assert_eq!(body(&messages[1]), "minor; 7");
    assert_eq!(refused, ["c@y.example: `items` begins with a control character"]);
}

#[test]
fn static_content_is_not_expanded() {
    let object = r#"{"text_body":"{{ x }} {% y","html_body":"<p>&amp;</p>","from":{"email":"a@b.example"},"subject":"{{ s }}"}"#;
    let dialect = ("template_dialect", r#""Static""#);
    let (messages, _) =
        injected(&[("content", object), dialect], &[r#"{"email":"a@y.example","name":"A"}"#]).unwrap();
    assert!(
        messages[0].contains("\r\n\r\n{{ x }} {% y\r\n") && messages[0].contains("<p>&amp;</p>"),
        "{}",
        messages[0]
    );
    assert!(messages[0].contains("Subject: {{ s }}\r\n") && messages[0].contains("To: A <a@y.example>\r\n"));
    let head = |content: &str| {
        let mut head = InjectHead::default();
        head.take("content", content.as_bytes()).unwrap();
        head.take(dialect.0, dialect.1.as_bytes()).unwrap();
        head
    };
    assert_eq!(head(r#""Subject: {{ s }}\n\nx""#).finished(), Some("Subject: {{ s }}\n\nx"));
    let told = head(r#"{"text_body":"{% endraw %}"}"#)
        .compile(&Fixed::default(), &["x-job"])
        .unwrap_err()
        .to_string();
    assert!(told.starts_with("content.text_body: "), "{told}");
}

#[test]
fn what_is_wrong_with_the_content_is_named() {
    for (members, says) in [
        (vec![], "content: it is missing"),
        (vec![("content", r#""Subject: x\n\ny""#)], "content: header From"),
        (
            vec![("content", r#"{"text_body":"{{ x","from":{"email":"a@b.example"}}"#)],
            "content: text part, line 1: ",
        ),
        (
            vec![(
                "content",
                r#"{"text_body":"x","from":{"email":"a@b.example"},"headers":{"X":"a\r\nBcc: b"}}"#,
            )],
            "content.headers.X: it holds ",
        ),
        (
            vec![("content", r#"{"text_body":"x","from":{"email":"a@b.example"},"headers":{"X Y":"a"}}"#)],
            "content.headers.X Y: this is not the name",
        ),
        (
            vec![(
                "content",
                r#"{"text_body":"x","from":{"email":"a@b.example"},"attachments":[{"data":"!","content_type":"a/b","base64":true}]}"#,
            )],
            "content.attachments[0].data: this is not base64",
        ),
        (
            vec![
                ("content", r#"{"text_body":"{{ x }}","from":{"email":"a@b.example"}}"#),
                ("substitutions", r#"{"x":[1]}"#),
            ],
            "substitutions: field `x` is an array",
        ),
        (
            vec![
                ("content", r#"{"text_body":"x","from":{"email":"a@b.example"}}"#),
                ("substitutions", r#"{"email":"x"}"#),
            ],
            "substitutions: `email` stands for",
        ),
    ] {
        let told = injected(&members, &[]).unwrap_err();
        assert!(told.starts_with(says), "{told}");
    }
}
