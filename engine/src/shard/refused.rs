//! Recipients that were taken in only to be bounced (`accept-invalid-recipients`): they leave the queue as they come to it,
//! after a restart too, by the way that all others leave.

use super::admit::Admit;
use super::settle::Fate;
use super::{Shard, said};
use crate::base::Now;
use crate::mail::row::row_view;
use crate::queue::Slot;
use crate::spool::record::{Disposition, RowRef, Said};
use crate::spool::rows::RowsView;

impl Shard {
    pub(super) fn bounce_refused(&mut self, now: Now) {
        while self.may_give_up()
            && let Some(admit) = self.refused.pop_front()
        {
            self.bounce_admitted(now, admit);
        }
    }

    fn bounce_admitted(&mut self, now: Now, admit: Admit) {
        let submission = self.submissions.admit(&admit);
        let record = self.segments.record(admit.record).ok();
        let view = record.as_ref().and_then(|record| RowsView::new(record));
        let queues: Vec<u32> = admit.queues.into_iter().map(|name| self.queue_key(name)).collect();
        for row in admit.rows {
            let place = RowRef {
                record: admit.record,
                ordinal: admit.first_ordinal + u32::from(row.index),
                index: row.index,
            };
            let queue = queues[row.queue as usize];
            let slot = self.slots.insert(Slot::new(place, submission));
            self.queues[queue].bytes += u64::from(admit.size);
            let said = view.as_ref().and_then(|view| why(view, row.index)).unwrap_or_else(|| Said {
                status: "5.3.0 (unknown mail system-related status)".to_owned(),
                diagnostic: "why the recipient was refused cannot be read".to_owned(),
            });
            self.settle_unattempted(now, queue, &[slot], &Fate::failed(Disposition::Bounced, said));
        }
    }
}

/// What a row says of why its recipient was refused.
fn why(view: &RowsView<'_>, index: u16) -> Option<Said> {
    let row = row_view(view.row(usize::from(index))?).ok()?;
    row.values().last()?.ok().map(said::of_refused)
}
