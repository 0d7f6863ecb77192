//! Reports that senders ask for: when one is due, and what the next host is told of them.

use super::delivery::world;
use super::site::{Ask, Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::{Dial, World};
use crate::mail::row::REFUSED_FIELD;
use crate::queue::QueueSettings;
use crate::report::Action::{self, Delayed, Failed, Relayed};
use crate::shard::{QueuePattern, ShardRequest};
use crate::smtp::dsn::ROW_FIELDS;
use crate::spool::record::Disposition::{Bounced, Delivered, Expired};
use crate::spool::record::Reports;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const NONE: Reports = Reports { failure: false, delay: false, success: false, full: false };

/// A message whose recipients have these NOTIFYs and ORCPTs.
fn asking(reports: Reports, rows: &[(&str, &str, &str)]) -> Mail {
    let row = |(address, notify, orcpt): &(&str, &str, &str)| {
        ((*address).to_owned(), vec![(*notify).to_owned(), (*orcpt).to_owned()])
    };
    Mail {
        reports,
        rows: rows.iter().map(row).collect(),
        fields: ROW_FIELDS.map(str::to_owned).to_vec(),
        ..Mail::to(&[])
    }
}

/// Hosts that offer `offer` and otherwise answer with `answer`; and all that is said to them.
fn hearing(
    offer: &'static str,
    mut answer: impl FnMut(&Ask<'_>) -> Say + 'static,
) -> (World, Rc<RefCell<Vec<String>>>) {
    let mut world = world(|_| {});
    let heard = Rc::new(RefCell::new(Vec::new()));
    let said = heard.clone();
    world.answer(move |ask| {
        if matches!(ask.verb, "MAIL" | "RCPT") {
            said.borrow_mut().push(ask.line.to_owned());
        }
        if ask.verb == "EHLO" { reply(offer) } else { answer(ask) }
    });
    (world, heard)
}

fn reported(world: &World) -> Vec<Action> {
    world.reported.iter().map(|report| report.action).collect()
}

#[test]
fn a_bounce_is_reported_where_somebody_wants_to_know() {
    for (reports, told) in [(NONE, vec![]), (Reports { failure: true, ..NONE }, vec![Failed])] {
        let mut world = world(|_| {});
        world.answer(|ask| if ask.verb == "RCPT" { reply("550 5.1.1 no such user") } else { ask.well() });
        world.submit(&Mail { reports, ..Mail::to(&["a@a.example"]) });
        world.finish();
        assert_eq!((world.story("a@a.example"), reported(&world)), (vec![Bounced], told));
    }
}

#[test]
fn a_queue_may_be_one_of_which_nobody_is_told() {
    let mut silent = profile("[10.0.0.1]");
    silent.reports = false;
    let mut world = World::new(TestProfiles::new(silent));
    world.answer(|ask| if ask.line.contains("<a@") { reply("550 5.1.1 no such user") } else { ask.well() });
    let all = Reports { failure: true, delay: true, success: true, full: false };
    world.submit(&Mail { reports: all, ..Mail::to(&["a@a.example", "b@a.example"]) });
    world.dial = Box::new(|_| Dial::Refuse);
    world.submit(&Mail { reports: all, ..Mail::to(&["c@b.example"]) });
    world.finish();
    assert_eq!(world.story("c@b.example").last(), Some(&Expired));
    assert!(world.reported.is_empty(), "{:?}", world.reported);
}

#[test]
fn mail_that_is_too_old_is_reported() {
    let mut world = world(|settings| settings.bounce_after = HOUR);
    world.answer(|ask| if ask.verb == "RCPT" { reply("451 later") } else { ask.well() });
    world.submit(&Mail { reports: Reports { failure: true, ..NONE }, ..Mail::to(&["a@a.example"]) });
    world.finish();
    assert_eq!((world.story("a@a.example").last(), reported(&world)), (Some(&Expired), vec![Failed]));
    let report = &world.reported[0];
    assert_eq!(report.said.diagnostic, "smtp;451 later");
    assert_eq!(report.outcome.map(|outcome| outcome.row), Some(report.row));
}

#[test]
fn a_host_that_takes_reports_over_is_told_what_is_wanted() {
    let rows = [("a@a.example", "SUCCESS,DELAY", "rfc822;x+2By@z"), ("b@a.example", "", "")];
    let mail = Mail {
        envid: "id 1".to_owned(),
        dsn_ret: "HDRS".to_owned(),
        ..asking(Reports { success: true, delay: true, ..NONE }, &rows)
    };
    let (mut world, heard) = hearing("250-mx\r\n250 DSN", |ask| ask.well());
    world.submit(&mail);
    world.finish();
    assert_eq!(
        *heard.borrow(),
        [
            "MAIL FROM:<news@sender.example> RET=HDRS ENVID=id+201",
            "RCPT TO:<a@a.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z",
            "RCPT TO:<b@a.example>",
        ]
    );
    assert_eq!((world.count(Delivered), reported(&world)), (2, vec![]));

    // One that sends none is told nothing, and we report.
    let (mut world, heard) = hearing("250 mx", |ask| ask.well());
    world.submit(&mail);
    world.finish();
    let said = heard.borrow().join("\n");
    assert!(!said.contains("NOTIFY") && !said.contains("ENVID"), "{said}");
    assert_eq!(reported(&world), [Relayed, Relayed]);
}

#[test]
fn a_delay_is_reported_every_few_hours_while_it_lasts() {
    for every in [Some(4 * HOUR), None] {
        let mut usual = profile("[10.0.0.1]");
        usual.scheduling = QueueSettings { bounce_after: 10 * HOUR, ..QueueSettings::default() }.into();
        usual.notify_of_delay_every = every;
        let mut world = World::new(TestProfiles::new(usual));
        world.dial = Box::new(|_| Dial::Refuse);
        world.submit(&Mail { reports: Reports { delay: true, ..NONE }, ..Mail::many(2, "a.example") });
        world.submit(&Mail::many(1, "b.example"));
        world.finish();
        let hours: Vec<_> =
            world.reported.iter().map(|r| (r.at.0 - super::world::START.0).div_euclid(3_600_000)).collect();
        assert_eq!(hours, if every.is_some() { vec![4, 4, 8, 8] } else { vec![] });
        for report in &world.reported {
            assert_eq!((report.action, report.outcome), (Delayed, None));
            assert_eq!(report.give_up.0, super::world::START.0 + 36_000_000);
            assert!(report.said.diagnostic.contains("ECONNREFUSED"), "{:?}", report.said);
        }
    }
}

#[test]
fn mail_that_has_left_is_no_longer_delayed() {
    let mut world = world(|_| {});
    world.submit(&Mail { reports: Reports { delay: true, ..NONE }, ..Mail::to(&["a@a.example"]) });
    world.finish();
    assert_eq!((world.count(Delivered), reported(&world)), (1, vec![]));
    assert_eq!(world.shard.next_wake(), None);
}

const REFUSED: &str = "550 5.7.1 recipient is in suppression list \"a1\": <gone@a.example>";

/// Two who were taken in only to be bounced.
fn refused(reports: Reports) -> Mail {
    let row = |address: &str, reply: &str| {
        (address.to_owned(), vec![String::new(), String::new(), reply.to_owned()])
    };
    Mail {
        reports,
        rows: vec![row("gone@a.example", REFUSED), row("no address", "501 5.1.3 recipient address: no")],
        fields: [ROW_FIELDS[0], ROW_FIELDS[1], REFUSED_FIELD].map(str::to_owned).to_vec(),
        ..Mail::to(&[])
    }
}

#[test]
fn who_was_refused_bounces_at_once_and_nobody_is_asked() {
    for (reports, told) in [(NONE, vec![]), (Reports { failure: true, ..NONE }, vec![Failed, Failed])] {
        let (mut world, heard) = hearing("250 mx", |ask| ask.well());
        let before = world.now.mono;
        world.submit(&refused(reports));
        world.finish();
        assert_eq!(
            (world.story("gone@a.example"), world.story("no address")),
            (vec![Bounced], vec![Bounced])
        );
        assert_eq!((reported(&world), heard.borrow().len()), (told, 0));
        assert!(world.now.mono < before + Duration::from_secs(1));
        let status = world.status();
        assert_eq!((status.waiting, status.bounced), (0, 2));
        if let Some(report) = world.reported.first() {
            assert_eq!(report.said.status, "5.7.1 (delivery not authorized)");
            assert_eq!(report.said.diagnostic, format!("smtp;{REFUSED}"));
            assert_eq!((report.attempt.queue.as_str(), report.attempt.vmta.as_str()), ("a.example/v1", "v1"));
        }
    }
}

/// They are nobody's to hold: neither a pause nor mail for the same queue has to do with them.
#[test]
fn who_was_refused_does_not_wait_for_the_queue() {
    let (mut world, _) = hearing("250 mx", |ask| ask.well());
    let queue = QueuePattern::parse("a.example/*");
    world.request(ShardRequest::Pause { queue: queue.clone(), paused: true });
    world.submit(&Mail::to(&["waits@a.example"]));
    world.submit(&refused(NONE));
    world.run(Duration::from_secs(1));
    assert_eq!((world.count(Bounced), world.count(Delivered)), (2, 0));
    world.request(ShardRequest::Pause { queue, paused: false });
    world.finish();
    assert_eq!((world.count(Bounced), world.count(Delivered)), (2, 1));
}
