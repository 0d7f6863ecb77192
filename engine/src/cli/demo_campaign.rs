//! The campaign of the demonstration, as a marketer would write it: a description, two parts with fields, a list.

use super::demo_providers::{POOL, PROVIDERS, people};
use bench::people::{People, Person};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The campaign's name.
pub const NAME: &str = "demo";

const DESCRIPTION: &str = r#"job = "spring-sale"
envelope-sender = "bounce@news.example"
virtual-mta = "POOL"
html = "body.html"
text = "body.txt"
recipients = "recipients.csv"
email-column = "email"
duplicates = "drop"

[headers]
From = "The Corner Shop <shop@news.example>"
To = "{{ first_name }} {{ last_name }} <{{ email }}>"
Subject = "{{ first_name }}, your voucher for the shop in {{ city }}"
List-Unsubscribe = "<https://news.example/unsubscribe/{{ code }}>"
List-Unsubscribe-Post = "List-Unsubscribe=One-Click"
"#;

const TEXT: &str = "\
Dear {{ first_name }} {{ last_name }},

spring has come to {{ city }}, and the shop has been painted. Come and see: we keep
a basket of the season's first strawberries for you until Saturday.

    Your voucher:  {{ code }}
    Your points:   {{ points }}

Show the code at the till, or type it in at https://news.example/voucher/{{ code }}

Yours,
The Corner Shop

This was sent to {{ email }} because you asked us to write when there is news.
Not any more? https://news.example/unsubscribe/{{ code }}
";

const HTML: &str = r#"<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Spring at the Corner Shop</title></head>
<body style="margin:0;background:#f6f4ef;font-family:Georgia,serif;color:#333">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td align="center">
<table role="presentation" width="560" cellpadding="24" cellspacing="0" style="background:#fff">
<tr><td>
<h1 style="color:#2e6b3e;font-weight:normal">Dear {{ first_name }},</h1>
<p>spring has come to <b>{{ city }}</b>, and the shop has been painted. Come and see: we keep a basket of the season's
first strawberries for you until Saturday.</p>
<p style="background:#eef5ee;padding:16px;text-align:center;font-size:20px">
<a href="https://news.example/voucher/{{ code }}" style="color:#2e6b3e">{{ code }}</a></p>
<p>You have collected <b>{{ points }}</b> points.</p>
<p>Yours,<br>The Corner Shop</p>
<p style="color:#888;font-size:12px">This was sent to {{ email }} because you asked us to write when there is news.
<a href="https://news.example/unsubscribe/{{ code }}" style="color:#888">Not any more?</a></p>
</td></tr></table>
</td></tr></table>
</body>
</html>
"#;

/// Rows that no import can take, as they are found in every real list.
const BAD_ROWS: [&str; 3] = [
    "no-at-sign.example,Max,Muster,Bern,AAAAAAAA,1",
    "two@@signs.example,Eva,Muster,Bern,BBBBBBBB,2",
    "short",
];

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Recipients by provider, in their order.
    pub recipients: Vec<u64>,
    /// Rows whose address came before.
    pub duplicates: u64,
    /// Rows that are wrong.
    pub bad: u64,
}

/// Writes the campaign's directory for so many recipients, with duplicates (one in a thousand) and bad rows between them
/// and the end of the list.
pub fn write(dir: &Path, recipients: u32) -> io::Result<Written> {
    fs::create_dir(dir)?;
    fs::write(dir.join("campaign.toml"), DESCRIPTION.replace("POOL", POOL))?;
    fs::write(dir.join("body.txt"), TEXT)?;
    fs::write(dir.join("body.html"), HTML)?;
    let people = people();
    let mut list = BufWriter::new(File::create(dir.join("recipients.csv"))?);
    people.write_csv(&mut list, u64::from(recipients))?;
    let duplicates = u64::from(recipients / 1000);
    for number in 0..duplicates {
        writeln!(list, "{}", row(&people.nth(number * 7)))?;
    }
    for bad in BAD_ROWS {
        writeln!(list, "{bad}")?;
    }
    list.flush()?;
    Ok(Written { recipients: shares(&people, recipients), duplicates, bad: BAD_ROWS.len() as u64 })
}

fn row(person: &Person<'_>) -> String {
    let code = String::from_utf8_lossy(&person.code);
    format!("{},{},{},{},{code},{}", person.address(), person.first, person.last, person.city, person.points)
}

/// How many of them are at each provider.
fn shares(people: &People, recipients: u32) -> Vec<u64> {
    let mut counts = vec![0; PROVIDERS.len()];
    for number in 0..u64::from(recipients) {
        let domain = people.nth(number).domain;
        if let Some(at) = PROVIDERS.iter().position(|p| p.domain == domain) {
            counts[at] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::campaign::Campaign;

    #[test]
    fn the_description_is_a_campaign_and_everybody_has_a_provider() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("demo.campaign");
        let written = write(&dir, 2000).unwrap();
        assert_eq!(written.recipients.iter().sum::<u64>(), 2000);
        assert!(written.recipients.iter().all(|n| *n > 0));
        let campaign = Campaign::parse(&fs::read(dir.join("campaign.toml")).unwrap()).unwrap();
        assert_eq!((campaign.job.as_str(), campaign.virtual_mta.as_str()), ("spring-sale", POOL));
        let list = fs::read_to_string(dir.join("recipients.csv")).unwrap();
        let mut lines = list.lines();
        let second = lines.nth(8).unwrap();
        assert_eq!(
            list.lines().filter(|line| *line == second).count(),
            2,
            "a duplicate is a whole row twice"
        );
        assert_eq!(list.lines().count() as u64, 1 + 2000 + written.duplicates + written.bad);
    }
}
