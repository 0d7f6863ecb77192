//! What must be true when everything is over: the auditor's last look.

use super::audit::{Auditor, Known};
use super::plan::Door;
use posthaste::spool::record::Disposition;
use std::collections::BTreeMap;

/// What the engine says of itself at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtEnd {
    pub waiting: u64,
    /// Connections by the shards' and by the shared count.
    pub connections: u64,
    pub shared: u32,
    /// Recipients that the spool holds as waiting.
    pub live_rows: u64,
    pub segments: u32,
    /// Lines of the accounting files: (type, address) and how many.
    pub lines: BTreeMap<(char, String), u32>,
}

/// Segments that may be in use when nothing waits: the one being written, and what accounting has yet to let go of.
const SEGMENTS_AT_REST: u32 = 8;

/// The last outcomes, for people.
fn last(outcomes: &[Disposition]) -> &[Disposition] {
    &outcomes[outcomes.len().saturating_sub(5)..]
}

impl Auditor {
    /// Everything has come to rest, or should have.
    pub fn finish(&mut self, end: &AtEnd) {
        self.life_ended(self.now, false);
        self.check_ends();
        self.check_repeats();
        self.check_lines(end);
        if end.waiting > 0 || end.live_rows > 0 {
            let text = format!(
                "{} recipients wait, {} in the spool, long after all is calm",
                end.waiting, end.live_rows
            );
            self.breach("liveness", text);
        }
        if end.connections > 0 || end.shared > 0 || self.open_connections() > 0 {
            let text = format!(
                "connections left: {} by the shards' count, {} by the shared one, {} by the receivers'",
                end.connections,
                end.shared,
                self.open_connections()
            );
            self.breach("every grant comes home", text);
        }
        if end.segments > SEGMENTS_AT_REST {
            self.breach("reclaim", format!("{} segments are in use although nobody waits", end.segments));
        }
    }

    /// Every acknowledged recipient has one end, and the ends are true.
    fn check_ends(&mut self) {
        let mut found = Vec::new();
        for (address, file) in &self.recipients {
            let work = &self.works[file.work];
            let ends: Vec<&Disposition> = file.outcomes.iter().filter(|d| d.is_final()).collect();
            match (work.known, &ends[..]) {
                (Known::Acknowledged, []) => {
                    found.push((
                        "no loss",
                        format!("{address} was acknowledged and has no end: {:?}", last(&file.outcomes)),
                    ));
                }
                (Known::NotOffered, [_, ..]) => {
                    found.push(("no phantom", format!("{address} has an end and was never offered")));
                }
                (Known::Refused, [_, ..]) if work.doubled == 0 => {
                    found.push(("no phantom", format!("{address} was refused and ended nevertheless")));
                }
                _ => {}
            }
            if ends.contains(&&Disposition::Delivered) && file.taken.is_empty() {
                found.push(("true ends", format!("{address} counts as delivered, and no receiver took it")));
            }
        }
        found.extend(self.half_works());
        for (promise, text) in found {
            self.breach(promise, text);
        }
    }

    /// A submission without an answer is there as a whole or not at all.
    fn half_works(&self) -> Vec<(&'static str, String)> {
        let mut ended = vec![0usize; self.works.len()];
        for file in self.recipients.values() {
            ended[file.work] += usize::from(file.outcomes.iter().any(|d| d.is_final()));
        }
        let half = |work: &&super::plan::Work| {
            let open = self.works[work.id].known == Known::Open && work.door == Door::Smtp;
            open && ended[work.id] > 0 && ended[work.id] < work.recipients.len()
        };
        let text = |work: &super::plan::Work| {
            let text =
                format!("{} of {} recipients of work {}", ended[work.id], work.recipients.len(), work.id);
            ("all or nothing", text)
        };
        self.plan.works.iter().filter(half).map(text).collect()
    }

    /// Who was sent a message twice was so for a reason: no reply was heard and the log says so, or the engine went
    /// down right then.
    fn check_repeats(&mut self) {
        let mut found = Vec::new();
        for (address, file) in self.recipients.iter().filter(|(_, file)| file.taken.len() > 1) {
            let in_doubt = file.outcomes.iter().filter(|d| **d == Disposition::InDoubt).count();
            let doubled = self.works[file.work].doubled as usize;
            let (_, earlier) = file.taken.split_last().expect("more than one");
            let unexcused: Vec<_> =
                earlier.iter().map(|n| &self.taken[*n as usize]).filter(|taken| !taken.excused).collect();
            let heard = unexcused.iter().filter(|taken| taken.heard.is_some()).count();
            if heard > doubled {
                let at = unexcused.iter().find(|taken| taken.heard.is_some()).map(|taken| taken.at);
                found.push((
                    "no repeats",
                    format!("{address} was taken at {at:?}, said so, and was sent again"),
                ));
            } else if unexcused.len() > in_doubt + doubled {
                let text = format!(
                    "{address} was taken {} times, and the log has it in doubt {in_doubt} times: {:?}",
                    file.taken.len(),
                    file.outcomes
                );
                found.push(("in doubt", text));
            }
        }
        for (promise, text) in found {
            self.breach(promise, text);
        }
    }

    /// Accounting says what the log says.
    fn check_lines(&mut self, end: &AtEnd) {
        let mut wanted: BTreeMap<(char, String), u32> = BTreeMap::new();
        for (address, file) in &self.recipients {
            for disposition in &file.outcomes {
                let kind = match disposition {
                    Disposition::Delivered => 'd',
                    Disposition::Bounced | Disposition::Expired | Disposition::Deleted { quiet: false } => {
                        'b'
                    }
                    Disposition::Deferred | Disposition::InDoubt => 't',
                    Disposition::Deleted { quiet: true } => continue,
                };
                *wanted.entry((kind, address.clone())).or_default() += 1;
            }
        }
        let keys: std::collections::BTreeSet<_> = wanted.keys().chain(end.lines.keys()).cloned().collect();
        for key in keys {
            let (log, lines) = (wanted.get(&key).unwrap_or(&0), end.lines.get(&key).unwrap_or(&0));
            if log != lines {
                let text = format!("{}: {lines} lines of type {}, the log has {log} outcomes", key.1, key.0);
                self.breach("accounting", text);
            }
        }
    }
}
