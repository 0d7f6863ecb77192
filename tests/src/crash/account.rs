//! The accounts held against each other: what the engine took, what the site received, what the accounting files say.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::Path;

use bench::site::{Delivery, Ledger};

use super::verdict::Verdict;

/// The signal takes its time: what was received so long after it was sent still came from the ended engine.
const DYING_US: u64 = 100_000;

/// A message for one recipient.
pub fn key(recipient: &str, id: &str) -> String {
    format!("{recipient} {id}")
}

/// An engine's end, in microseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// It came at this time or later.
    pub after: u64,
    /// And before this one.
    pub before: u64,
    /// So long the engine had been kept waiting for a processor in the second before.
    pub starved_us: u64,
}

impl End {
    /// At a time known exactly, of an engine that had what it needed.
    pub fn at(at: u64) -> End {
        End { after: at, before: at, starved_us: 0 }
    }
}

/// What excuses a second copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// The first came within the window before an end.
    Ended,
    /// The first came within it but for the time that the engine was kept waiting for a processor.
    Starved,
}

/// What the sending side knows.
#[derive(Debug, Default)]
pub struct Sent {
    /// What must arrive, by [`key`], with the hash of its body.
    pub owed: HashMap<String, u64>,
    /// What may arrive.
    pub possible: HashMap<String, u64>,
    /// What was sent whole, put off with a 4xx, and sent again.
    pub resent: HashSet<String>,
    pub ends: Vec<End>,
    /// So long before an end an outcome may be lost with it.
    pub window_us: u64,
}

impl Sent {
    fn excuse(&self, at: u64) -> Option<Excuse> {
        let within =
            |end: &End, window: u64| (end.after.saturating_sub(window)..end.before + DYING_US).contains(&at);
        if self.ends.iter().any(|end| within(end, self.window_us)) {
            return Some(Excuse::Ended);
        }
        let starved = self.ends.iter().any(|end| within(end, self.window_us + end.starved_us));
        starved.then_some(Excuse::Starved)
    }
}

/// Holds what was sent against what was received.
pub fn compare(sent: &Sent, ledger: &Ledger, verdict: &mut Verdict) {
    verdict.delivered = ledger.deliveries.len() as u64;
    let mut received: HashMap<String, Vec<&Delivery>> = HashMap::with_capacity(ledger.deliveries.len());
    for delivery in &ledger.deliveries {
        let key = key(&delivery.recipient, &delivery.id);
        match sent.owed.get(&key).or_else(|| sent.possible.get(&key)) {
            None => verdict.phantom.add(key.clone()),
            Some(hash) if *hash != delivery.body_hash => verdict.altered.add(key.clone()),
            Some(_) => {}
        }
        received.entry(key).or_default().push(delivery);
    }
    sent.owed.keys().filter(|key| !received.contains_key(*key)).for_each(|key| verdict.lost.add(key.clone()));
    for (key, copies) in &mut received {
        copies.sort_by_key(|d| d.at_us);
        let mut again = u64::from(sent.resent.contains(key));
        for earlier in &copies[..copies.len() - 1] {
            match sent.excuse(earlier.at_us) {
                Some(Excuse::Ended) => verdict.duplicates += 1,
                _ if again > 0 => {
                    again -= 1;
                    verdict.resent += 1;
                }
                Some(Excuse::Starved) => verdict.starved += 1,
                None => {
                    let next = sent
                        .ends
                        .iter()
                        .filter(|end| end.before > earlier.at_us)
                        .min_by_key(|end| end.before);
                    let ago = next.map_or("no end after it".into(), |end| {
                        format!("{} ms before an end", end.after.saturating_sub(earlier.at_us) / 1000)
                    });
                    verdict.unexplained.add(format!("{key}: {} copies, first {ago}", copies.len()));
                }
            }
        }
    }
}

/// The `d` lines of a recipient: hashes of the different ones. Lines may be written again after a crash, word for word.
type Lines = HashMap<String, HashSet<u64>>;

/// Reads the deliveries in the accounting files in `dir`.
pub fn lines(dir: &Path) -> io::Result<Lines> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut lines = Lines::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "csv") {
            continue;
        }
        let told = |e| io::Error::other(format!("{}: {e}", path.display()));
        let mut reader = csv::Reader::from_path(&path).map_err(told)?;
        let columns = reader.headers().map_err(told)?.clone();
        let column = |name| columns.iter().position(|c| c == name);
        let (Some(kind), Some(rcpt)) = (column("type"), column("rcpt")) else {
            return Err(io::Error::other(format!("{}: no type or rcpt column", path.display())));
        };
        for record in reader.byte_records() {
            let record = record.map_err(told)?;
            if record.get(kind) == Some(b"d") {
                let rcpt = String::from_utf8_lossy(record.get(rcpt).unwrap_or_default()).into_owned();
                lines.entry(rcpt).or_default().insert(hasher.hash_one(record.as_slice()));
            }
        }
    }
    Ok(lines)
}

/// Every message received has its line, and no line is about something else.
pub fn compare_lines(lines: &Lines, ledger: &Ledger, verdict: &mut Verdict) {
    let mut received: HashMap<&str, (u64, HashSet<&str>)> = HashMap::new();
    for delivery in &ledger.deliveries {
        let entry = received.entry(&delivery.recipient).or_default();
        entry.0 += 1;
        entry.1.insert(&delivery.id);
    }
    for (rcpt, (copies, ids)) in &received {
        let told = lines.get(*rcpt).map_or(0, |lines| lines.len() as u64);
        if told < ids.len() as u64 || told > *copies {
            verdict.unaccounted.add(format!("{rcpt}: {told} lines, received {copies} times"));
        }
    }
    let unknown = lines.keys().filter(|rcpt| !received.contains_key(rcpt.as_str()));
    unknown.for_each(|rcpt| verdict.unaccounted.add(format!("{rcpt}: a line, and never received")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn delivery(id: &str, body_hash: u64, at_us: u64) -> Delivery {
        Delivery {
            recipient: format!("{id}@site.example"),
            sender: String::new(),
            id: id.into(),
            at_us,
            size: 1,
            body_hash,
            door: "site".into(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            acknowledged: true,
            bare_line_ends: 0,
            message: None,
        }
    }

    fn named(id: &str) -> String {
        key(&format!("{id}@site.example"), id)
    }

    /// A harness that cannot fail proves nothing: each kind of fault has to be found.
    #[test]
    fn every_kind_of_fault_is_found() {
        let sent = Sent {
            owed: [
                ("good", 1),
                ("lost", 2),
                ("altered", 3),
                ("twice", 4),
                ("killed", 5),
                ("again", 7),
                ("late", 8),
            ]
            .map(|(id, hash)| (named(id), hash))
            .into(),
            possible: [(named("doubt"), 6)].into(),
            resent: [named("again")].into(),
            ends: vec![End { after: 10_000_000, before: 10_050_000, starved_us: 400_000 }],
            window_us: 250_000,
        };
        let deliveries = vec![
            delivery("good", 1, 1),
            delivery("altered", 33, 2),
            delivery("twice", 4, 9_000_000),
            delivery("twice", 4, 12_000_000),
            delivery("killed", 5, 9_800_000),
            delivery("killed", 5, 12_000_000),
            delivery("late", 8, 9_400_000),
            delivery("late", 8, 12_000_000),
            delivery("again", 7, 3),
            delivery("again", 7, 4),
            delivery("doubt", 6, 3),
            delivery("unknown", 7, 4),
        ];
        let mut verdict = Verdict::new("test");
        compare(&sent, &Ledger { deliveries }, &mut verdict);
        assert_eq!(verdict.lost.first, [named("lost")]);
        assert_eq!(verdict.altered.first, [named("altered")]);
        assert_eq!(verdict.unexplained.count, 1);
        assert!(verdict.unexplained.first[0].starts_with("twice@"));
        assert_eq!(verdict.phantom.first, [named("unknown")]);
        assert_eq!((verdict.duplicates, verdict.resent, verdict.starved), (1, 1, 1));
        assert!(!verdict.is_good());
    }

    #[test]
    fn a_line_too_few_or_too_many_is_found() {
        let deliveries = vec![delivery("a", 1, 1), delivery("b", 1, 1), delivery("c", 1, 1)];
        let lines = [("a", vec![1]), ("b", vec![]), ("c", vec![1, 2]), ("d", vec![1])]
            .map(|(id, lines)| (format!("{id}@site.example"), lines.into_iter().collect()))
            .into();
        let mut verdict = Verdict::new("test");
        compare_lines(&lines, &Ledger { deliveries }, &mut verdict);
        assert_eq!(verdict.unaccounted.count, 3, "{verdict:?}");
    }
}
