//! Mail that goes through: rendering, transactions of many recipients, connections used again.

use super::site::{Say, reply};
use super::spool::{Mail, TEXT, TestProfiles, profile};
use super::world::World;
use crate::mail::content::{Content, Fixed, Syntax, Template, TemplateSource};
use crate::queue::QueueSettings;
use crate::shard::Delivery;
use crate::spool::record::Disposition::{Bounced, Delivered};
use std::sync::Arc;
use std::time::Duration;

pub fn world(change: impl FnOnce(&mut QueueSettings)) -> World {
    let mut usual = profile("[10.0.0.1]");
    let mut settings = QueueSettings::default();
    change(&mut settings);
    usual.scheduling = Arc::new(settings);
    World::new(TestProfiles::new(usual))
}

/// A template with one field in the body, and one row for each value.
fn merged(values: &[&str]) -> Mail {
    merged_before("", values)
}

/// The same with more text.
fn merged_before(text: &str, values: &[&str]) -> Mail {
    let eml = format!("From: a@sender.example\nSubject: hi\n\nDear {{{{ name }}}},\n.\nbye\n{text}");
    let fields = ["email".to_owned(), "name".to_owned()];
    let template = Template {
        source: TemplateSource::Eml(eml.as_bytes()),
        headers: &[("X-Name".to_owned(), "{{ name }}".to_owned())],
        syntax: Syntax::Minijinja,
        fields: &fields,
    };
    let fixed = Fixed {
        date: "Mon, 23 Nov 2026 04:00:00 +0000".into(),
        host: "h.example".into(),
        ..Fixed::default()
    };
    let content = Content::compile(&template, &fixed).expect("a template");
    assert_eq!(content.fields(), ["name"]);
    let mut stored = Vec::new();
    content.encode(&mut stored);
    let row = |(n, value): (usize, &&str)| (format!("u{n}@a.example"), vec![(*value).to_owned()]);
    Mail { content: stored.into(), rows: values.iter().enumerate().map(row).collect(), ..Mail::to(&[]) }
}

#[test]
fn every_row_gets_its_own_message() {
    let mut world = world(|_| {});
    world.submit(&merged(&["Ann", "Bob", "Cyd"]));
    world.finish();
    assert_eq!(world.site.reached(), ["u0@a.example", "u1@a.example", "u2@a.example"]);
    for (taken, name) in world.site.taken.iter().zip(["Ann", "Bob", "Cyd"]) {
        assert_eq!(taken.recipients.len(), 1);
        assert!(taken.message.contains(&format!("X-Name: {name}\r\n")), "{}", taken.message);
        assert!(
            taken.message.ends_with(&format!("\r\n\r\nDear {name},\r\n..\r\nbye\r\n")),
            "{}",
            taken.message
        );
    }
    assert_eq!(world.count(Delivered), 3);
    assert_eq!(world.site.connects.len(), 1, "one connection is worth eight messages");
    let status = world.status();
    assert_eq!((status.delivered, status.messages, status.waiting, status.connections), (3, 3, 0, 0));
}

#[test]
fn a_value_that_fits_no_header_costs_its_recipient_only() {
    let mut world = world(|_| {});
    world.submit(&merged(&["Ann", "Bob\r\nBcc: all@a.example", "Cyd"]));
    world.finish();
    assert_eq!(world.site.reached().len() + world.count(Bounced), 3);
    assert!(world.site.taken.iter().all(|t| !t.message.contains("\nBcc:")));
    assert_eq!(world.story("u2@a.example"), [Delivered]);
}

#[test]
fn a_plain_message_goes_to_many_in_one_transaction() {
    let mut world = world(|settings| settings.max_rcpt_per_message = 4);
    world.submit(&Mail::many(10, "a.example"));
    world.finish();
    let sizes: Vec<usize> = world.site.taken.iter().map(|t| t.recipients.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10);
    assert!(sizes.iter().all(|n| *n <= 4) && sizes.len() == 3, "{sizes:?}");
    assert!(world.site.taken.iter().all(|t| t.message == TEXT));
    assert_eq!(world.count(Delivered), 10);
}

/// 1 MB with dots to be doubled; `plain`: one message for all recipients.
fn long_mail(plain: bool) -> (Mail, String) {
    let body = ".a line of a long message\r\n".repeat(40_000);
    if !plain {
        return (merged_before(&body, &["Ann", "Bob"]), body);
    }
    let mut content = Vec::new();
    Content::plain(format!("{TEXT}{body}").into_bytes()).encode(&mut content);
    (Mail { content: content.into(), ..Mail::to(&["a@a.example", "b@b.example"]) }, body)
}

#[test]
fn a_long_message_is_never_whole_in_the_output() {
    let mut world = world(|_| {});
    for plain in [true, false] {
        let (mail, body) = long_mail(plain);
        world.submit(&mail);
        world.finish();
        let taken = std::mem::take(&mut world.site.taken);
        assert_eq!(taken.len(), 2);
        let wire = body.replace("\r\n.", "\r\n..");
        let whole = |message: &str| message.contains(wire.trim_start_matches('.').trim_end());
        assert!(taken.iter().all(|t| whole(&t.message)), "{} bytes", taken[0].message.len());
    }
    assert!(world.most_outgoing < 100_000, "{} bytes", world.most_outgoing);
    assert_eq!(world.count(Delivered), 4);
}

#[test]
fn connections_are_used_again_up_to_max_msg_per_connection() {
    let mut world = world(|settings| {
        settings.max_rcpt_per_message = 1;
        settings.max_smtp_out = 1;
        settings.max_msg_per_connection = 5;
    });
    world.submit(&Mail::many(23, "a.example"));
    world.finish();
    assert_eq!(world.site.reached().len(), 23);
    let mut per_connection = [0; 8];
    world.site.taken.iter().for_each(|t| per_connection[t.connection] += 1);
    assert_eq!(per_connection, [5, 5, 5, 5, 3, 0, 0, 0]);
}

#[test]
fn an_idle_connection_is_kept_as_long_as_asked() {
    let mut usual = profile("[10.0.0.1]");
    usual.idle_timeout = Duration::from_secs(20);
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(Duration::from_secs(10));
    assert_eq!(world.status().connections, 1);
    world.submit(&Mail::to(&["b@a.example"]));
    world.run(Duration::from_secs(19));
    assert_eq!((world.site.connects.len(), world.status().connections), (1, 1));
    world.run(Duration::from_secs(2));
    assert_eq!((world.site.reached().len(), world.status().connections), (2, 0));
    assert_eq!(world.site.commands.last().map(String::as_str), Some("QUIT"));
    world.finish();
}

#[test]
fn a_host_that_ends_an_idle_connection_has_done_no_wrong() {
    let mut usual = profile("[10.0.0.1]");
    usual.idle_timeout = Duration::from_secs(300);
    let mut world = World::new(TestProfiles::new(usual));
    world.answer(|ask| match (ask.verb, ask.connection) {
        ("DOT", 0) => Say::Last("250 taken, and goodbye".into()),
        _ => ask.well(),
    });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(Duration::from_secs(10));
    world.submit(&Mail::to(&["b@a.example"]));
    world.run(Duration::from_secs(10));
    assert_eq!(world.site.reached(), ["a@a.example", "b@a.example"]);
    assert!(world.queue_failures.is_empty());
    world.finish();
}

#[test]
fn discard_connects_to_nobody() {
    let mut usual = profile("[10.0.0.1]");
    usual.delivery = Delivery::Discard;
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::many(3000, "a.example"));
    world.finish();
    assert_eq!((world.site.connects.len(), world.count(Delivered)), (0, 3000));
}

#[test]
fn a_host_without_pipelining_is_spoken_to_step_by_step() {
    let mut world = world(|settings| settings.max_smtp_out = 1);
    world.answer(|ask| match ask.verb {
        "EHLO" => reply("250 mx"),
        _ => ask.well(),
    });
    world.submit(&merged(&["Ann", "Bob"]));
    world.submit(&Mail::many(5, "b.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 7);
}
