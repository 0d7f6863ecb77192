//! Recovered recipients on their way to the owners of their queues.

use super::owners::{Accepted, Split, Stopping};
use crate::io::failpoint::{Point, pass};
use crate::io::storage::Recovered;
use crate::mail::queue_domain;
use crate::mail::row::row_view;
use crate::spool::record::Place;
use hashbrown::HashSet;
use std::sync::Arc;

/// Rows handed over together.
const BATCH: usize = 8192;

/// Hands every recipient that waits in the spool to its queue, by way of `admit`; returns how many. `new_split` splits them
/// by owner.
pub fn requeue(
    recovered: &Recovered,
    new_split: impl Fn() -> Split,
    mut admit: impl FnMut(Split) -> Result<(), Stopping>,
) -> Result<u64, Stopping> {
    let mut names: HashSet<Arc<str>> = HashSet::new();
    let mut split = new_split();
    let (mut waiting, mut handed, mut stopping) = (0, 0, false);
    let orphans = recovered.each_live(|record| {
        if stopping {
            return;
        }
        let accepted = Accepted::new(record.submission_at, record.submission, None);
        let mut rows = Vec::new();
        for (row, tried) in record.live() {
            let index = usize::from(row.index);
            // An unreadable row goes to a queue of its own, where its delivery fails and says so.
            let address =
                record.rows.row(index).and_then(|b| row_view(b).ok()).map_or("", |view| view.address);
            let vmta = record.rows.vmta(index).filter(|name| !name.is_empty()).unwrap_or("{default}");
            rows.push((
                row.index,
                tried.map_or(0, |t| t.attempts),
                intern(&mut names, &queue_domain(address)),
                intern(&mut names, vmta),
            ));
        }
        waiting += rows.len();
        handed += rows.len() as u64;
        let place = Place { at: record.at, first_ordinal: record.first_ordinal };
        split.add(
            &accepted,
            place,
            rows.iter().map(|(index, tried, domain, vmta)| (*index, *tried, domain, vmta)),
        );
        if waiting >= BATCH {
            waiting = 0;
            pass(Point::RecoveryRequeue);
            let full = std::mem::replace(&mut split, new_split());
            stopping = admit(full).is_err();
        }
    });
    for (at, error) in orphans {
        tracing::error!(record = %at, %error, "recipients are held: their submission cannot be read");
    }
    if stopping {
        return Err(Stopping);
    }
    admit(split)?;
    pass(Point::RecoveryRequeue);
    Ok(handed)
}

fn intern(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    names.get_or_insert_with(name, |name| name.into()).clone()
}
