//! The account at the end of a walk: every message that was acknowledged has come to an end, and once; the accounting
//! files say so, and both of them the same.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use bench::campaign::Campaign;
use bench::ground::Ground;
use bench::site::Ledger;
use bench::site::ledger::hash_body;
use bench::source::{Load, SourceReport};

use crate::accounting::{self, Line, per_recipient};
use crate::crash::Verdict;
use crate::crash::account::{End, Sent, compare, key};

/// So long before its death an engine may have delivered what it could not note.
const WINDOW_US: u64 = 250_000;

pub struct Books<'a> {
    pub ground: &'a Ground,
    pub ledger: Ledger,
    /// When engines died.
    pub ends: Vec<End>,
    /// What the pickup directory was fed, and how many of it.
    pub picks: (Load, u64),
}

impl Books<'_> {
    /// # Panics
    /// Where they do not agree.
    pub fn close(mut self, reports: &[(Load, SourceReport)], campaigns: &[Campaign]) {
        let refused = fs::read_dir(self.ground.path("bad")).expect("it is there").count();
        assert_eq!(refused, 0, "nothing in the pickup directory is refused");
        let sent = self.sent(reports, campaigns);
        // What the site took and did not say so comes again, as it must (S05).
        self.ledger.deliveries.retain(|delivery| delivery.acknowledged);
        let mut verdict = Verdict::new("failpoints");
        compare(&sent, &self.ledger, &mut verdict);
        assert!(verdict.is_good(), "{verdict:#?}");
        let (main, second) = (self.lines(&["acct"]), self.lines(&["moving", "moved"]));
        self.delivered(&main, &second);
        let bounced = per_recipient(&main, "b");
        for (load, report) in reports.iter().filter(|(load, _)| !delivers(load)) {
            for acked in &report.acked {
                let recipient = load.recipient(acked.id, 0);
                let lines: Vec<_> = main.iter().filter(|line| line["rcpt"] == recipient).collect();
                let times = bounced.get(recipient.as_str()).copied().unwrap_or(0);
                // Sent again after a 4xx, it may be there twice.
                let most = 1 + u32::from(report.put_off.contains(&acked.id));
                assert!((1..=most).contains(&times), "{recipient} bounces, and once: {lines:#?}");
            }
        }
        println!(
            "{} deaths, {} owed, {} received, {} of them twice, {} lines",
            sent.ends.len(),
            sent.owed.len(),
            verdict.delivered,
            verdict.duplicates,
            main.len()
        );
    }

    fn sent(&self, reports: &[(Load, SourceReport)], campaigns: &[Campaign]) -> Sent {
        let mut sent = Sent { ends: self.ends.clone(), window_us: WINDOW_US, ..Sent::default() };
        let message =
            |load: &Load, id| (key(&load.recipient(id, 0), &load.ledger_id(id)), load.body_hash(id));
        let (picks, picked) = &self.picks;
        assert!(*picked > 0, "mail came through the pickup directory");
        sent.owed.extend((0..*picked).map(|id| message(picks, id)));
        for (load, report) in reports {
            assert!(!report.acked.is_empty(), "mail came in for {:?}", load.domains);
            if delivers(load) {
                sent.owed.extend(report.acked.iter().map(|acked| message(load, acked.id)));
            }
            sent.possible.extend(report.in_doubt.iter().map(|id| message(load, *id)));
            // Put off with a 4xx, and sent again.
            sent.possible.extend(report.put_off.iter().map(|id| message(load, *id)));
            sent.resent.extend(report.put_off.iter().map(|id| message(load, *id).0));
        }
        for campaign in campaigns {
            for number in 0..campaign.rows {
                let person = campaign.people.nth(number);
                let hash = hash_body(campaign.body_for(&person).as_bytes());
                sent.owed.insert(key(&person.address(), &campaign.name), hash);
            }
        }
        sent
    }

    /// The lines of the files in these directories. A line may come again after a crash, word for word.
    fn lines(&self, directories: &[&str]) -> Vec<Line> {
        let read = |name: &&str| accounting::read(&self.ground.path(name)).expect("whole lines only");
        let mut seen = BTreeSet::new();
        let words = |line: &Line| {
            let mut words: Vec<_> = line.iter().map(|(name, value)| format!("{name}={value}")).collect();
            words.sort();
            words
        };
        directories.iter().flat_map(read).filter(|line| seen.insert(words(line))).collect()
    }

    /// Everybody who received has a line, as many as copies at most; both files know the same.
    fn delivered(&self, main: &[Line], second: &[Line]) {
        let mut copies: HashMap<&str, u32> = HashMap::new();
        for delivery in &self.ledger.deliveries {
            *copies.entry(&delivery.recipient).or_default() += 1;
        }
        let lines = per_recipient(main, "d");
        for (recipient, received) in &copies {
            let told = lines.get(recipient).copied().unwrap_or(0);
            assert!((1..=*received).contains(&told), "{recipient}: {told} lines, {received} copies");
        }
        assert!(lines.keys().all(|recipient| copies.contains_key(recipient)), "no line without its message");
        for kind in ["d", "b"] {
            assert_eq!(per_recipient(main, kind), per_recipient(second, kind), "{kind}");
        }
    }
}

fn delivers(load: &Load) -> bool {
    !["no.example", "never.example"].contains(&load.domains[0].as_str())
}
