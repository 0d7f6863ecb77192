//! How messages differ from what came in, as they leave: their senders, and header fields that go and come.

use super::Shard;
use crate::base::Now;
use crate::mail::leaving::Leaving;
use crate::mail::plain;
use crate::mail::rewrite::Rewrites;
use crate::mail::verp::{self, Returned};
use crate::spool::record::{Submission, Verp};
use std::sync::Arc;

/// A recipient who is about to be sent to.
pub(super) struct Sent<'a> {
    pub header: &'a Submission,
    /// Envelope sender, where it is not that of the submission.
    pub own: Option<String>,
    pub address: &'a str,
    /// Number of the row within its submission.
    pub number: u64,
}

impl Shard {
    /// What rewrites the senders of a submission's messages: the list of the virtual MTA, or else that of their source.
    pub(super) fn rewrites(&self, queue: u32, header: &Submission) -> Option<Arc<dyn Rewrites>> {
        let own = self.queues[queue].vmta.as_ref().and_then(|vmta| vmta.rewrites.clone());
        let list = header.at_delivery.rewrite_list.as_str();
        own.or_else(|| (!list.is_empty()).then(|| self.profiles.rewrites(list)).flatten())
    }

    /// The envelope sender that a recipient's host is told.
    pub(super) fn sender(&self, sent: &Sent<'_>, rewrites: Option<&dyn Rewrites>) -> String {
        let header = sent.header;
        let came = sent.own.as_deref().unwrap_or(&header.sender);
        let sender = rewrites.and_then(|rewrites| rewrites.sender(came)).unwrap_or_else(|| came.to_owned());
        match header.verp {
            Verp::No => sender,
            Verp::Signed => {
                let returned = Returned { submission: header.id, row: sent.number };
                self.verp.return_path(&sender, returned, header.accepted_at.max(header.start_at))
            }
            Verp::Named => verp::named(&sender, sent.address),
        }
    }

    /// A message of this submission as it leaves, where that is another than it was.
    pub(super) fn left(
        &self,
        now: Now,
        queue: u32,
        header: &Submission,
        rewrites: Option<&dyn Rewrites>,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let entry = &self.queues[queue];
        let date = header.at_delivery.date.then(|| plain::date(now.wall));
        let leaving = Leaving {
            rewrites,
            remove: &entry.profile.remove_headers,
            include: entry.vmta.as_ref().map_or("", |vmta| &vmta.include_headers),
            date: date.as_deref(),
            received: header.at_delivery.received,
        };
        leaving.changed(message)
    }
}
