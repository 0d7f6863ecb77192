//! Campaigns from their files to rendered messages.

use super::super::batch::Batch;
use super::super::import::{Import, Settings, Taken};
use super::super::submission::campaign_start;
use super::super::table::Table;
use super::*;
use crate::mail::Row;
use crate::mail::row::row_view;
use crate::mail::schedule::Opening;
use crate::spool::record::Draft;
use std::time::{Duration, Instant};

fn campaign(more: &str) -> Campaign {
    let text = format!(
        "job = \"j\"\nenvelope-sender = \"bounce@news.example\"\nrecipients = \"r.csv\"\n{more}\n[headers]\n\
         From = \"News <news@news.example>\"\nSubject = \"Hello {{{{ first }}}}\"\n"
    );
    Campaign::parse(text.as_bytes()).unwrap()
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn fixed() -> Fixed {
    Fixed {
        date: "Mon, 23 Nov 2026 03:00:00 +0000".into(),
        submission_id: 0xabc,
        host_id: 0,
        dated_later: false,
        host: "mx.example".into(),
        sender: "bounce@news.example".into(),
    }
}

fn said(result: Result<Prepared, Vec<PrepareError>>) -> Vec<String> {
    result.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_campaign_goes_from_its_files_to_messages() {
    let campaign = campaign("html = \"b.html\"\ntext = \"b.txt\"");
    let csv = "id,first,email,city,unused\n1,J\u{e9}r\u{f4}me,jim@site.example,O<s>lo,x\n2,Eva,bad,Rome,x\n3,\"A\nB\",c@x.example,Rome,x\n";
    let mut table = Table::open(campaign.recipients.format, csv.as_bytes()).unwrap();
    let template = TemplateBytes::Parts { html: Some(b"<p>{{ city }}</p>"), text: Some(b"From {{ city }}.") };
    let Prepared { content, plan } = prepare(&campaign, template, table.columns(), &fixed()).unwrap();
    table.require(plan.columns());
    let settings = Settings {
        vmtas: &["v".into()],
        duplicates: campaign.duplicates,
        domain_suffix: "",
        key: [1; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).unwrap();
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).unwrap() {
        import.take(&batch, &mut taken).unwrap();
    }
    import.finish(&mut taken).unwrap();
    let lines: Vec<u64> = taken.rejected.iter().map(|rejected| rejected.line).collect();
    assert_eq!(lines, [3, 4]);
    let chunk = taken.chunks.pop().unwrap();
    let group = campaign_start(
        submission(&campaign, 0xabc, 1000, "id"),
        &content,
        chunk.rows.clone(),
        &chunk.progress,
        true,
    );
    let [Draft::Content(stored), Draft::Accepted { submission, .. }, Draft::Rows { rows, .. }, _, _] =
        group.drafts.as_slice()
    else {
        panic!("{group:?}");
    };
    assert_eq!(
        (submission.fields.as_slice(), submission.job.as_str()),
        (&columns(&["first", "city"])[..], "j")
    );
    let content = Content::decode(stored).unwrap();
    let row = row_view(&rows.bytes[..rows.ends[0] as usize]).unwrap();
    let values = row.values().collect::<Result<Vec<_>, _>>().unwrap();
    let mut message = Vec::new();
    content.render(&Row { to: row.address, number: 0, values: &values }, &mut message).unwrap();
    let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
    assert_eq!(parsed.subject(), Some("Hello J\u{e9}r\u{f4}me"));
    assert_eq!(parsed.body_html(0).unwrap().trim_end(), "<p>O&lt;s&gt;lo</p>");
    assert_eq!(parsed.body_text(0).unwrap().trim_end(), "From O<s>lo.");
}

#[test]
fn every_missing_field_and_column_is_told_with_its_file() {
    let campaign = campaign("html = \"b.html\"\ntext = \"b.txt\"");
    let template = TemplateBytes::Parts { html: Some(b"<p>\n{{ cty }}"), text: Some(b"{{ city ") };
    let errors = said(prepare(&campaign, template, &columns(&["mail", "city"]), &fixed()));
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(
        errors.iter().any(
            |error| error.starts_with("campaign.toml: header Subject, line 1: there is no field `first`")
        )
    );
    assert!(errors.iter().any(|error| {
        error.starts_with("b.html: html part, line 2: there is no field `cty` (did you mean `city`?)")
    }));
    assert!(errors.iter().any(|error| error.starts_with("b.txt: text part, line 1: ")));
    assert!(
        errors[3].starts_with("r.csv: there is no column `email`, which holds the addresses"),
        "{}",
        errors[3]
    );
}

#[test]
fn a_template_that_is_not_utf8_is_told_with_its_line() {
    let campaign = campaign("html = \"b.html\"");
    let template = TemplateBytes::Parts { html: Some(b"\xef\xbb\xbf<p>\n\xff"), text: None };
    let errors = said(prepare(&campaign, template, &columns(&["email", "first"]), &fixed()));
    assert_eq!(errors, ["b.html, line 2: the line is not UTF-8; save the file as UTF-8"]);
}

#[test]
fn a_template_that_loops_is_refused_in_bounded_time() {
    let campaign = campaign("text = \"b.txt\"");
    let started = Instant::now();
    for text in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ] {
        let template = TemplateBytes::Parts { html: None, text: Some(text.as_bytes()) };
        let errors = said(prepare(&campaign, template, &columns(&["email", "first"]), &fixed()));
        assert!(errors[0].starts_with("b.txt: "), "{errors:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_times_of_a_campaign() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let accepted = at("2026-11-27T20:00:00Z");
    let opens = |more: &str| {
        let campaign = campaign(&format!("text = \"t\"\n{more}"));
        let schedule = schedule(&campaign, accepted, &TimeZone::UTC)?;
        Some((schedule.at(Wall(accepted)), schedule.end().map(|end| end.0)))
    };
    assert_eq!(opens(""), Some((Opening::Open, None)));
    // Accepted on a Friday evening.
    assert_eq!(
        opens("send-hours = \"Mon-Fri 09:00-18:00\""),
        Some((Opening::From(Wall(at("2026-11-30T09:00:00Z"))), Some(at("2026-12-04T18:00:00Z"))))
    );
    let until = "send-until = 2026-11-28T00:00:00Z";
    assert_eq!(opens(until), Some((Opening::Open, Some(at("2026-11-28T00:00:00Z")))));
    assert_eq!(opens(&format!("send-hours = \"Mon-Fri 09:00-18:00\"\n{until}")), None);
    assert_eq!(opens(&format!("start-at = 2026-11-29T00:00:00Z\n{until}")), None);
}
