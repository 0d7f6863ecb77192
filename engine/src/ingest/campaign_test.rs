//! Campaign descriptions, right and wrong.

use super::*;
use proptest::prelude::*;

const WHOLE: &str = r#"
job = "spring-2026"                        # required
envelope-sender = "bounce@news.example"    # required
verp = false                               # signed VERP per recipient
virtual-mta = "pool-a"                     # VMTA or pool; default {default}
template = "message.eml"                   # or html = "body.html" and/or text = "body.txt"
recipients = "recipients.csv"              # .csv (header row) or .jsonl; plain, .gz or .zst
email-column = "email"
duplicates = "drop"                        # drop | keep
syntax = "minijinja"                       # minijinja | pmta
start-at = 2026-12-01T09:00:00Z            # optional, as all that follows
send-hours = "Mon-Fri 09:00-18:00"         # only then,
time-zone = "Europe/Paris"                 # by the clocks there
send-until = 2026-12-08T09:00:00Z
priority = 40                              # 0 to 100

[headers]                                  # added or replacing the template's; values may hold fields
Subject = "Hello {{ first_name }}"
From = "News <news@news.example>"
"#;

fn errors(text: &str) -> Vec<String> {
    Campaign::parse(text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
}

/// The smallest campaign, with a line more.
fn with(line: &str) -> String {
    format!(
        "job = \"j\"\nenvelope-sender = \"a@x.example\"\nrecipients = \"r.csv\"\ntext = \"t.txt\"\n{line}\n"
    )
}

#[test]
fn the_example_of_the_manual_is_read() {
    let campaign = Campaign::parse(WHOLE.as_bytes()).unwrap();
    let expected = Campaign {
        job: "spring-2026".into(),
        envelope_sender: Address::parse("bounce@news.example").unwrap(),
        verp: false,
        virtual_mta: "pool-a".into(),
        template: TemplateFiles::Eml("message.eml".into()),
        recipients: RecipientsFile {
            name: "recipients.csv".into(),
            format: Format::Csv,
            compression: Compression::Plain,
        },
        email_column: "email".into(),
        duplicates: Duplicates::Drop,
        syntax: Syntax::Minijinja,
        start_at: 1_796_115_600_000,
        send_hours: Hours::parse("Mon-Fri 09:00-18:00"),
        time_zone: "Europe/Paris".into(),
        send_until: Some(1_796_720_400_000),
        priority: Priority::new(40),
        headers: vec![
            ("Subject".into(), "Hello {{ first_name }}".into()),
            ("From".into(), "News <news@news.example>".into()),
        ],
    };
    assert_eq!(campaign, expected);
    let windows = format!("\u{feff}{}", WHOLE.replace('\n', "\r\n"));
    assert_eq!(Campaign::parse(windows.as_bytes()).unwrap(), expected);
}

#[test]
fn all_but_the_necessary_has_a_default() {
    let campaign = Campaign::parse(with("").as_bytes()).unwrap();
    assert_eq!(campaign.template, TemplateFiles::Parts { html: None, text: Some("t.txt".into()) });
    assert_eq!((campaign.virtual_mta.as_str(), campaign.email_column.as_str()), ("", "email"));
    assert_eq!((campaign.verp, campaign.duplicates, campaign.start_at), (false, Duplicates::Drop, 0));
    assert!(campaign.headers.is_empty());
}

#[test]
fn the_recipients_file_says_how_it_is_written() {
    for (name, format, compression) in [
        ("a.csv", Format::Csv, Compression::Plain),
        ("a.csv.gz", Format::Csv, Compression::Gzip),
        ("A.JSONL", Format::Jsonl, Compression::Plain),
        ("a.b.jsonl.zst", Format::Jsonl, Compression::Zstd),
    ] {
        assert_eq!(recipients(name), Ok(RecipientsFile { name: name.into(), format, compression }));
    }
    for name in ["a.xlsx", "a.gz", "csv", "../a.csv", "/etc/a.csv", ".a.csv", "a/b.csv", "", "a\nb.csv"] {
        assert!(recipients(name).is_err(), "{name}");
    }
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    assert_eq!(
        errors(""),
        [
            "campaign.toml, line 1, column 1: the key `job` is missing and has no default",
            "campaign.toml, line 1, column 1: the key `envelope-sender` is missing and has no default",
            "campaign.toml, line 1, column 1: there is no message; name it by `template` (a whole message), or by `html`, \
             `text` or both",
            "campaign.toml, line 1, column 1: the key `recipients` is missing and has no default",
        ]
    );
}

#[test]
fn every_value_is_checked_and_told_what_would_be_right() {
    let right = |line: &str, said: &str| {
        let errors = errors(&with(line));
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        assert!(
            errors[0].starts_with("campaign.toml, line 5, column ") && errors[0].contains(said),
            "{}",
            errors[0]
        );
    };
    right(
        "emial-column = \"x\"",
        "column 1: there is no key `emial-column` (did you mean `email-column`?); the keys are job, ",
    );
    right("verp = \"yes\"", "column 8: `verp` has to be true or false, without quotes");
    right("duplicates = \"remove\"", "`duplicates` has to be \"drop\" or \"keep\"");
    right("syntax = 'jinja'", "`syntax` has to be \"minijinja\" or \"pmta\"");
    right("virtual-mta = 5", "`virtual-mta` has to be a text in quotes");
    right("virtual-mta = ' '", "`virtual-mta` has to be a name");
    right("template = \"m.eml\"", "`template` is a whole message");
    right("html = \"../secret\"", "`html` has to be the name of a file in the campaign's own directory");
    for time in ["2026-12-01T09:00:00", "2026-12-01", "\"2026-12-01T09:00:00Z\"", "1900-01-01T00:00:00Z"] {
        right(&format!("start-at = {time}"), "as in 2026-12-01T09:00:00Z");
    }
    right("send-until = 2026-12-01", "`send-until` has to be a date and time with its offset");
    right("send-hours = \"9-18\"", "`send-hours` has to be hours as in \"Mon-Fri 09:00-18:00");
    right("priority = 101", "`priority` has to be a number from 0 to 100, without quotes");
    right("priority = \"5\"", "`priority` has to be a number from 0 to 100, without quotes");
    right("headers = 5", "`headers` has to be a table");
    right("headers.\"X Y\" = 'a'", "`X Y` cannot be the name of a header");
    right("headers = { A = 'a', a = 'b' }", "is there twice");
    right("headers.Subject = \"a\\nBcc: b\"", "`headers.Subject` has to be text on one line");
    right("headers.Subject = true", "`headers.Subject` has to be a text in quotes");
}

#[test]
fn addresses_and_job_are_checked() {
    let text =
        "job = \"a\\tb\"\nenvelope-sender = \"News <a@x.example>\"\nrecipients = \"r.csv\"\ntext = \"t\"\n";
    let errors = errors(text);
    assert!(
        errors[0].starts_with("campaign.toml, line 1, column 7: `job` has to be a name of 1 to 128 bytes")
    );
    assert!(
        errors[1]
            .starts_with("campaign.toml, line 2, column 19: `envelope-sender` has to be an address as in")
    );
    assert_eq!(errors.len(), 2);
}

#[test]
fn what_is_not_toml_is_told_with_its_place() {
    let [error] = errors(&with("é = = 5")).try_into().unwrap();
    assert!(error.starts_with("campaign.toml, line 5, column "), "{error}");
    let [error] = errors(&with("text = \"again\"")).try_into().unwrap();
    assert!(error.starts_with("campaign.toml, line 5, column 1: ") && error.contains("duplicate"), "{error}");
    let not_utf8 = Campaign::parse(b"job = \"a\"\n# \xff\n").unwrap_err();
    assert_eq!(not_utf8, [CampaignError { line: 2, column: 1, problem: CampaignProblem::NotUtf8 }]);
    let long = Campaign::parse(&vec![b'#'; MAX_CAMPAIGN + 1]).unwrap_err();
    assert!(matches!(long[0].problem, CampaignProblem::TooLong { .. }));
}

proptest! {
    #[test]
    fn any_text_is_answered_without_panic(text in "[a-z=\"\\[\\]{}.\n# é-]{0,120}", line in "\\PC{0,60}") {
        let _ = Campaign::parse(text.as_bytes());
        let _ = Campaign::parse(with(&line).as_bytes());
    }
}
