//! What goes over the wire beside the message as it was submitted: signed return paths, and bodies for hosts that take no
//! 8-bit octets.

use super::delivery::world;
use super::site::{Ask, Say, reply};
use super::spool::{Mail, TestProfiles, profile, verp_keys};
use super::world::{START, World};
use crate::base::Wall;
use crate::mail::content::Content;
use crate::mail::plain;
use crate::mail::rewrite::{OldToNew, Rewrites};
use crate::mail::verp::Returned;
use crate::shard::{QueueProfile, VmtaProfile};
use crate::spool::record::Disposition::{Bounced, Deferred, Delivered};
use crate::spool::record::{AtDelivery, Verp};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// Lets `answer` answer, and keeps the MAIL commands.
fn listen(world: &mut World, mut answer: impl FnMut(&Ask<'_>) -> Say + 'static) -> Rc<RefCell<Vec<String>>> {
    let mails = Rc::new(RefCell::new(Vec::new()));
    let kept = mails.clone();
    world.answer(move |ask| {
        if ask.verb == "MAIL" {
            kept.borrow_mut().push(ask.line.to_owned());
        }
        answer(ask)
    });
    mails
}

#[test]
fn every_recipient_has_a_signed_return_path_of_its_own_at_every_attempt() {
    let mut world = world(|_| {});
    let mut seen = BTreeSet::new();
    let mails = listen(&mut world, move |ask| match ask.verb {
        "RCPT" if seen.insert(ask.line.to_owned()) => reply("451 4.7.1 later"),
        _ => ask.well(),
    });
    world.submit(&Mail { verp: Verp::Signed, ..Mail::many(3, "a.example") });
    world.run(HOUR * 10);
    assert_eq!((world.count(Deferred), world.count(Delivered)), (3, 3));
    let mails = mails.borrow();
    let senders: Vec<&str> = mails.iter().filter_map(|line| line.split(['<', '>']).nth(1)).collect();
    assert_eq!(senders.len(), 6, "one recipient in each transaction: {senders:?}");
    let different: BTreeSet<&str> = senders.iter().copied().collect();
    assert_eq!(different.len(), 3, "the same at both attempts");
    let mut rows: Vec<u64> = different
        .iter()
        .map(|sender| {
            let (local_part, domain) = sender.split_once('@').expect("an address");
            assert_eq!(domain, "sender.example");
            let returned = verp_keys().returned(local_part, domain, START.0).expect("ours");
            assert_eq!(returned, Returned { submission: 1, row: returned.row });
            returned.row
        })
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 2]);
    world.finish();
}

#[test]
fn a_row_may_have_a_sender_of_its_own() {
    let mut world = world(|_| {});
    let mails = listen(&mut world, |ask| ask.well());
    let text = "From: x@sender.example\r\n\r\n[value]\r\n";
    let rows = [
        ("a@a.example", "one@s.example", "1"),
        ("b@a.example", "", "2"),
        ("c@a.example", "two@s.example", "3\0"),
    ];
    world.submit(&Mail::merged(text, &rows));
    world.finish();
    // What cannot be rendered costs its recipient and nobody else.
    assert_eq!((world.count(Delivered), world.count(Bounced)), (2, 1));
    let senders: BTreeSet<String> =
        mails.borrow().iter().filter_map(|line| line.split(['<', '>']).nth(1).map(str::to_owned)).collect();
    assert_eq!(senders.into_iter().collect::<Vec<_>>(), ["", "one@s.example"]);
    let signed = Mail {
        verp: Verp::Signed,
        ..Mail::merged(text, &[("d@a.example", "one@s.example", "1"), ("e@a.example", "", "2")])
    };
    mails.borrow_mut().clear();
    world.submit(&signed);
    world.finish();
    let mails = mails.borrow();
    let signed = |line: &&String| line.contains("@s.example") && line.len() > 60;
    assert_eq!(
        (mails.iter().filter(signed).count(), mails.iter().filter(|line| line.contains("<>")).count()),
        (1, 1)
    );
}

/// A world with a list `l`; that of the virtual MTA too where `own` says so.
fn rewriting_world(own: bool) -> World {
    let mut profiles = TestProfiles::new(profile("[10.0.0.1]"));
    let list: Arc<dyn Rewrites> = Arc::new(OldToNew);
    match own {
        true => {
            let vmta = VmtaProfile { rewrites: Some(list), ..(*profiles.vmtas[0]).clone() };
            profiles.vmtas[0] = Arc::new(vmta);
        }
        false => drop(profiles.lists.insert("l".to_owned(), list)),
    }
    World::new(profiles)
}

fn by_list(mail: Mail) -> Mail {
    Mail { at_delivery: AtDelivery { rewrite_list: "l".to_owned(), ..AtDelivery::default() }, ..mail }
}

#[test]
fn senders_are_rewritten_by_the_list_of_the_virtual_mta_or_the_source() {
    let from = |domain: &str| format!("Subject: x\r\nFrom: Ann <ann@{domain}>\r\n\r\ntext\r\n");
    for (own, listed, becomes) in [(true, false, "new"), (false, true, "new"), (false, false, "old")] {
        let mut world = rewriting_world(own);
        let mails = listen(&mut world, |ask| ask.well());
        let mut content = Vec::new();
        Content::plain(from("old.example").into_bytes()).encode(&mut content);
        let mail =
            Mail { content: content.into(), sender: "ann@old.example".into(), ..Mail::many(2, "a.example") };
        world.submit(&if listed { by_list(mail) } else { mail });
        world.finish();
        assert_eq!((world.count(Delivered), world.site.taken.len()), (2, 1), "one transaction");
        assert_eq!(world.site.taken[0].message, from(&format!("{becomes}.example")));
        let sender = format!("<{}@{becomes}.example>", if becomes == "new" { "bounce" } else { "ann" });
        assert!(mails.borrow()[0].contains(&sender), "{mails:?}");
    }
}

#[test]
fn senders_of_rows_and_return_paths_are_rewritten_too() {
    let mut world = rewriting_world(false);
    let mails = listen(&mut world, |ask| ask.well());
    let text = "From: <ann@[value].example>\r\n\r\ntext\r\n";
    let rows = [("a@a.example", "x@old.example", "old"), ("b@a.example", "y@kept.example", "kept")];
    world.submit(&by_list(Mail { verp: Verp::Named, ..Mail::merged(text, &rows) }));
    world.finish();
    let senders: BTreeSet<String> =
        mails.borrow().iter().filter_map(|line| line.split(['<', '>']).nth(1).map(str::to_owned)).collect();
    let senders: Vec<&str> = senders.iter().map(String::as_str).collect();
    assert_eq!(senders, ["bounce-a=a.example@new.example", "y-b=a.example@kept.example"]);
    let mut froms: Vec<&str> =
        world.site.taken.iter().filter_map(|taken| taken.message.lines().next()).collect();
    froms.sort_unstable();
    assert_eq!(froms, ["From: <ann@kept.example>", "From: <ann@new.example>"]);
}

#[test]
fn headers_go_and_come_as_the_domain_the_virtual_mta_and_the_time_say() {
    let removing = QueueProfile { remove_headers: ["X-Trace".to_owned()].into(), ..profile("[10.0.0.1]") };
    let mut profiles = TestProfiles::new(profile("[10.0.0.1]")).with("b.example", removing);
    let vmta = VmtaProfile { include_headers: "X-Sent-By: v1\r\n".into(), ..(*profiles.vmtas[0]).clone() };
    profiles.vmtas[0] = Arc::new(vmta);
    let mut world = World::new(profiles);
    let mut content = Vec::new();
    let text = "Received: by us\r\nX-Trace: 1\r\nSubject: x\r\n\r\ntext\r\n";
    Content::plain(text.as_bytes().to_vec()).encode(&mut content);
    let at_delivery = AtDelivery { date: true, received: true, ..AtDelivery::default() };
    let later = START.0 + HOUR.as_millis() as i64;
    for domain in ["a.example", "b.example"] {
        let content = content.clone().into();
        let at_delivery = at_delivery.clone();
        world.submit(&Mail { content, at_delivery, start_at: Wall(later), ..Mail::many(1, domain) });
    }
    world.finish();
    let date = plain::date(Wall(later));
    let mut taken: Vec<&str> = world.site.taken.iter().map(|taken| taken.message.as_str()).collect();
    taken.sort_by_key(|message| message.len());
    let ours = format!("Received: by us\r\nX-Sent-By: v1\r\nDate: {date}\r\n");
    let rest = "Subject: x\r\n\r\ntext\r\n";
    assert_eq!(taken, [format!("{ours}{rest}"), format!("{ours}X-Trace: 1\r\n{rest}")]);
}

fn eight_bit(head: &str, domain: &str) -> Mail {
    let mut content = Vec::new();
    Content::plain(format!("{head}\r\n\r\nCaf\u{e9} and a few words more\r\n").into_bytes())
        .encode(&mut content);
    Mail { content: content.into(), ..Mail::many(2, domain) }
}

const MIME: &str = "Subject: hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8";

#[test]
fn a_host_without_8bitmime_gets_the_message_encoded() {
    let mut world = world(|_| {});
    let mails = listen(&mut world, |ask| match ask.verb {
        "EHLO" => reply("250-mx\r\n250 PIPELINING"),
        _ => ask.well(),
    });
    world.submit(&eight_bit(MIME, "a.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 2);
    assert_eq!(world.site.taken.len(), 1, "still one transaction");
    let message = &world.site.taken[0].message;
    let wanted = format!(
        "{MIME}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=C3=A9 and a few words more\r\n"
    );
    assert_eq!(*message, wanted);
    assert!(mails.borrow().iter().all(|line| !line.contains("BODY=8BITMIME")), "{mails:?}");
}

#[test]
fn what_cannot_be_encoded_bounces_and_a_host_that_takes_8_bits_gets_it_as_it_is() {
    let mut world = world(|_| {});
    world.answer(|ask| match (ask.verb, ask.connection) {
        ("EHLO", 0) => reply("250-mx\r\n250 PIPELINING"),
        _ => ask.well(),
    });
    world.submit(&eight_bit("Subject: without MIME", "a.example"));
    world.finish();
    assert_eq!(world.count(Bounced), 2);
    assert!(world.seen.iter().all(|seen| seen.status.starts_with("5.6.3")), "{:?}", world.seen);
    world.submit(&eight_bit(MIME, "b.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 2);
    assert!(world.site.taken[0].message.ends_with("\r\n\r\nCaf\u{e9} and a few words more\r\n"));
}
