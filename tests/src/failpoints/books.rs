//! The account at the end of a walk: every message that was acknowledged has come to an end, and once; the accounting files
//! say so, and both of them the same.

use std::collections::HashMap;

use bench::site::Ledger;
use bench::site::ledger::hash_body;
use bench::source::{Load, SourceReport};

use crate::accounting::{self, Line, per_recipient};
use crate::crash::{Sent, compare};
use bench::campaign::Campaign;
use bench::ground::Ground;

pub struct Books<'a> {
    pub ground: &'a Ground,
    pub ledger: Ledger,
    /// When engines died.
    pub kills: Vec<u64>,
    /// What the pickup directory was fed, and how many of it.
    pub picks: (Load, u64),
}

impl Books<'_> {
    /// # Panics
    /// Where they do not agree.
    pub fn close(mut self, reports: &[(Load, SourceReport)], campaigns: &[Campaign]) {
        let refused = std::fs::read_dir(self.ground.path("bad")).expect("it is there").count();
        assert_eq!(refused, 0, "nothing in the pickup directory is refused");
        let mut sent = Sent { kills: std::mem::take(&mut self.kills), ..Sent::default() };
        let (picks, picked) = &self.picks;
        assert!(*picked > 0, "mail came through the pickup directory");
        sent.owed.extend((0..*picked).map(|id| (picks.ledger_id(id), picks.body_hash(id))));
        for (load, report) in reports {
            assert!(!report.acked.is_empty(), "mail came in for {:?}", load.domains);
            let ids = report.acked.iter().map(|acked| acked.id);
            if delivers(load) {
                sent.owed.extend(ids.map(|id| (load.ledger_id(id), load.body_hash(id))));
            }
            let doubtful = report.in_doubt.iter();
            sent.possible.extend(doubtful.map(|id| (load.ledger_id(*id), load.body_hash(*id))));
        }
        self.name_campaigns(campaigns, &mut sent);
        // What the site took and did not say so comes again, as it must (S05).
        self.ledger.deliveries.retain(|delivery| delivery.acknowledged);
        let verdict = compare(&sent, &self.ledger);
        assert!(verdict.is_good(), "{verdict:#?}");
        let (main, second) = (self.lines(&["acct"]), self.lines(&["moving", "moved"]));
        self.delivered(&main, &second);
        for (load, report) in reports.iter().filter(|(load, _)| !delivers(load)) {
            let bounced = per_recipient(&main, "b");
            for acked in &report.acked {
                let recipient = load.recipient(acked.id, 0);
                assert_eq!(bounced.get(recipient.as_str()), Some(&1), "{recipient} bounces, and once");
            }
        }
        println!(
            "{} deaths, {} owed, {} received, {} of them twice, {} lines",
            sent.kills.len(),
            sent.owed.len(),
            verdict.delivered,
            verdict.duplicates,
            main.len()
        );
    }

    /// The messages of a campaign bear no name of ours: their recipients are known by their addresses.
    fn name_campaigns(&mut self, campaigns: &[Campaign], sent: &mut Sent) {
        for campaign in campaigns {
            for number in 0..campaign.rows {
                let person = campaign.people.nth(number);
                sent.owed.insert(person.address(), hash_body(campaign.body_for(&person).as_bytes()));
            }
        }
        for delivery in self.ledger.deliveries.iter_mut().filter(|d| d.sender == "bounce@news.example") {
            delivery.id.clone_from(&delivery.recipient);
        }
    }

    fn lines(&self, directories: &[&str]) -> Vec<Line> {
        let read = |name: &&str| accounting::read(&self.ground.path(name)).expect("whole lines only");
        directories.iter().flat_map(read).collect()
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
