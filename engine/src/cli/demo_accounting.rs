//! Reads the accounting files of a demonstration back, the way a marketer's tool would, and compares them with what was
//! accepted.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub files: Vec<PathBuf>,
    pub delivered: u64,
    pub bounced: u64,
    /// Attempts of recipients that were put off (`t`) and of queues that could not be tried (`tq`).
    pub transient: u64,
    /// Deliveries, bounces and put-off attempts of recipients, by domain.
    pub domains: HashMap<String, [u64; 3]>,
    /// Bounces by category, the most frequent first.
    pub categories: Vec<(String, u64)>,
}

impl Lines {
    /// Recipients with a final line.
    pub fn settled(&self) -> u64 {
        self.delivered + self.bounced
    }
}

/// Counts the lines of every CSV file in `dir`.
pub fn count(dir: &Path) -> io::Result<Lines> {
    let mut lines = Lines::default();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "csv") {
            lines.files.push(path);
        }
    }
    lines.files.sort();
    let mut categories: HashMap<String, u64> = HashMap::new();
    for file in &lines.files {
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_path(file).map_err(io::Error::other)?;
        let columns = reader.headers().map_err(io::Error::other)?.clone();
        let at = |wanted: &str| columns.iter().position(|name| name == wanted);
        let (category, rcpt) = (at("bounceCat"), at("rcpt"));
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(io::Error::other)? {
            let place = ["d", "b", "t"].iter().position(|kind| record.get(0) == Some(*kind));
            let address = rcpt.and_then(|at| record.get(at)).unwrap_or_default();
            if let (Some(place), Some((_, domain))) = (place, address.rsplit_once('@')) {
                lines.domains.entry(domain.to_owned()).or_default()[place] += 1;
            }
            match record.get(0) {
                Some("d") => lines.delivered += 1,
                Some("b") => {
                    lines.bounced += 1;
                    let name = category.and_then(|at| record.get(at)).unwrap_or_default();
                    *categories.entry(name.to_owned()).or_default() += 1;
                }
                Some("t" | "tq") => lines.transient += 1,
                _ => {}
            }
        }
    }
    lines.categories = categories.into_iter().collect();
    lines.categories.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_their_type() {
        let dir = tempfile::tempdir().unwrap();
        let text = "type,rcpt,bounceCat\nd,a@x,\nb,b@x,bad-mailbox\nb,c@x,bad-mailbox\nb,d@x,spam-related\n\
                    t,e@x,\ntq,x/y\n";
        std::fs::write(dir.path().join("acct-1.csv"), text).unwrap();
        std::fs::write(dir.path().join("acct-2.csv"), "type,rcpt,bounceCat\nd,e@x,\n").unwrap();
        std::fs::write(dir.path().join("other.txt"), "type\nd\n").unwrap();
        let lines = count(dir.path()).unwrap();
        assert_eq!((lines.delivered, lines.bounced, lines.transient, lines.settled()), (2, 3, 2, 5));
        assert_eq!(lines.categories, [("bad-mailbox".to_owned(), 2), ("spam-related".to_owned(), 1)]);
        assert_eq!(lines.domains["x"], [2, 3, 1]);
        assert_eq!(lines.files.len(), 2);
    }
}
