//! What one accounting line says: the type, the times and the texts, drawn from the outcome, the attempt, what was
//! said, and the submission (reference 4.1, 4.2).

use super::field::RecordType;
use crate::base::Wall;
use crate::spool::record::{Attempt, Disposition, Outcome, QueueFailure, Said, Submission};

/// Status of a recipient given up because of its age.
pub const EXPIRED: &str = "4.4.7 (delivery time expired)";
/// Status of a recipient removed by the operator, where nobody said anything better.
pub const DELETED: &str = "5.0.0 (deleted by administrator)";
/// Status of a recipient whose message was sent and never answered (reliability R11).
pub const IN_DOUBT: &str = "4.4.2 (no reply after end of data: possibly delivered, retry may duplicate)";

/// One line, not yet in any file's columns. Borrows everything: making one allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub kind: RecordType,
    pub logged: Wall,
    pub rcpt: &'a str,
    /// ORCPT of the recipient, as it was written.
    pub orcpt: &'a str,
    /// Envelope sender, where the row has another than the submission.
    pub orig: Option<&'a str>,
    /// Absent for `tq`, and where the submission's record was damaged.
    pub submission: Option<&'a Submission>,
    /// Absent for `r`.
    pub attempt: Option<&'a Attempt>,
    pub status: &'a str,
    pub diagnostic: &'a str,
    /// Bounce category; empty on `d`, `tq` and `r`.
    pub category: &'a str,
    /// Bytes transferred; 0 but for `d`.
    pub size: u32,
    /// VMTA, for `r` the VMTA or pool asked for.
    pub vmta: &'a str,
}

impl<'a> Record<'a> {
    /// The line about `outcome`; none for a recipient deleted quietly. The category is still to be filled in, see
    /// [`Record::wants_category`].
    pub fn of_outcome(
        outcome: &Outcome,
        attempt: &'a Attempt,
        said: &'a Said,
        submission: Option<&'a Submission>,
        rcpt: &'a str,
    ) -> Option<Record<'a>> {
        let (kind, status) = match outcome.disposition {
            Disposition::Delivered => (RecordType::Delivery, said.status.as_str()),
            Disposition::Bounced => (RecordType::Bounce, said.status.as_str()),
            Disposition::Expired if said.status.starts_with("4.4.7") => {
                (RecordType::Bounce, said.status.as_str())
            }
            Disposition::Expired => (RecordType::Bounce, EXPIRED),
            Disposition::Deleted { quiet: true } => return None,
            Disposition::Deleted { quiet: false } if said.status.is_empty() => (RecordType::Bounce, DELETED),
            Disposition::Deleted { quiet: false } => (RecordType::Bounce, said.status.as_str()),
            Disposition::Deferred => (RecordType::Transient, said.status.as_str()),
            Disposition::InDoubt => (RecordType::Transient, IN_DOUBT),
        };
        Some(Record {
            kind,
            logged: Wall(outcome.at),
            rcpt,
            orcpt: "",
            orig: None,
            submission,
            attempt: Some(attempt),
            status,
            diagnostic: &said.diagnostic,
            category: "",
            size: if kind == RecordType::Delivery { outcome.size } else { 0 },
            vmta: &attempt.vmta,
        })
    }

    /// The `tq` line about a failed attempt for a queue.
    pub fn of_queue_failure(failure: &QueueFailure, attempt: &'a Attempt, said: &'a Said) -> Record<'a> {
        Record {
            kind: RecordType::TransientQueue,
            logged: Wall(failure.at),
            rcpt: "",
            orcpt: "",
            orig: None,
            submission: None,
            attempt: Some(attempt),
            status: &said.status,
            diagnostic: &said.diagnostic,
            category: "",
            size: 0,
            vmta: &attempt.vmta,
        }
    }

    /// The `r` line about one recipient of `submission`; `vmta` is the one its row was given, and stands where
    /// the submission itself asked for none.
    pub fn of_receipt(submission: &'a Submission, rcpt: &'a str, vmta: &'a str) -> Record<'a> {
        Record {
            kind: RecordType::Receipt,
            logged: Wall(submission.accepted_at),
            rcpt,
            orcpt: "",
            orig: None,
            submission: Some(submission),
            attempt: None,
            status: "",
            diagnostic: "",
            category: "",
            size: 0,
            vmta: match (submission.virtual_mta.as_str(), vmta) {
                ("", "") => "{default}",
                ("", given) => given,
                (asked, _) => asked,
            },
        }
    }

    /// Whether the line has a bounce category (`b` and `t`).
    pub fn wants_category(&self) -> bool {
        matches!(self.kind, RecordType::Bounce | RecordType::Transient)
    }

    /// Whether status and diagnostic are what the peer said, so that the category may be shared by all outcomes with
    /// the same [`Said`].
    pub fn speaks_for(&self, said: &Said) -> bool {
        std::ptr::eq(self.status, said.status.as_str())
    }

    pub(super) fn action(&self) -> &'static str {
        match self.kind {
            RecordType::Delivery => "relayed",
            RecordType::Bounce => "failed",
            RecordType::Transient => "delayed",
            RecordType::TransientQueue | RecordType::Receipt => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &str) -> Said {
        Said { status: status.into(), diagnostic: "smtp;x".into() }
    }

    fn line(disposition: Disposition, status: &str) -> Option<(RecordType, String)> {
        let outcome = Outcome {
            row: Default::default(),
            submission: Default::default(),
            disposition,
            at: 0,
            attempt: 0,
            said: 0,
            size: 7,
            attempts: 1,
        };
        let (attempt, said) = (Attempt::default(), said(status));
        Record::of_outcome(&outcome, &attempt, &said, None, "a@b").map(|r| (r.kind, r.status.to_owned()))
    }

    #[test]
    fn every_disposition_has_its_line() {
        use Disposition::*;
        let own = |kind, status: &str| Some((kind, status.to_owned()));
        assert_eq!(line(Delivered, "2.0.0 (success)"), own(RecordType::Delivery, "2.0.0 (success)"));
        assert_eq!(line(Bounced, "5.1.1 (x)"), own(RecordType::Bounce, "5.1.1 (x)"));
        assert_eq!(line(Expired, "4.2.2 (mailbox full)"), own(RecordType::Bounce, EXPIRED));
        assert_eq!(line(Expired, "4.4.7 (too old)"), own(RecordType::Bounce, "4.4.7 (too old)"));
        assert_eq!(line(Deleted { quiet: false }, ""), own(RecordType::Bounce, DELETED));
        assert_eq!(line(Deleted { quiet: true }, ""), None);
        assert_eq!(line(Deferred, "4.7.0 (x)"), own(RecordType::Transient, "4.7.0 (x)"));
        assert_eq!(line(InDoubt, ""), own(RecordType::Transient, IN_DOUBT));
    }
}
