//! What the log holds: the record types and how they refer to each other.
//!
//! A submission is stored as *content* (once), an [`Submission`] header (once) and *rows* (one per recipient, many
//! to a `Rows` record). Its end is told by [`Outcome`]s, gathered in [`OutcomeBatch`]es. Accounting is a reader
//! of these records, so an outcome carries everything an accounting line needs that the row and the
//! submission do not already say.

use crate::mail::priority::Priority;
use crate::mail::row::{REFUSED_FIELD, SENDER_FIELD};
use crate::mail::schedule::Schedule;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Where a record lies: segment number, and offset of its frame in units of 8 bytes. Segment numbers only grow
/// (a recycled file gets a new number), so locations are ordered like time and serve as the log position (LSN).
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct Location {
    pub segment: u32,
    pub offset8: u32,
}

impl Location {
    /// Before every record.
    pub const START: Location = Location { segment: 0, offset8: 0 };

    /// The location as one number, ordered alike (for atomics and cursor files).
    pub const fn to_u64(self) -> u64 {
        (self.segment as u64) << 32 | self.offset8 as u64
    }

    pub const fn from_u64(n: u64) -> Location {
        Location { segment: (n >> 32) as u32, offset8: n as u32 }
    }

    /// Offset in the segment file, in bytes.
    pub const fn byte_offset(self) -> u64 {
        self.offset8 as u64 * 8
    }
}

/// `segment:byte offset`, as `posthaste-spool` prints and accepts it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.byte_offset())
    }
}

/// One recipient: the `Rows` record it stands in, its index there, and its ordinal among all rows of that segment
/// (the bit that says "settled").
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowRef {
    pub record: Location,
    pub ordinal: u32,
    pub index: u16,
}

/// The header of a submission.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// Unique over the life of the spool; never derived from a clock (R8).
    pub id: u64,
    /// Where the content lies. In a [`Draft`] it is filled in by the log from [`Draft::Accepted::content`].
    pub content: Location,
    /// Envelope sender, empty for `<>`.
    pub sender: String,
    pub job: String,
    pub envid: String,
    /// The VMTA or pool the submission asked for; empty for `{default}`.
    pub virtual_mta: String,
    /// `smtp` or `api`, as accounting's `srcType`.
    pub source_type: String,
    /// `heloname (ip)`, accounting's `srcMta`.
    pub source_mta: String,
    pub received_from_ip: String,
    pub received_on_ip: String,
    /// AUTH user, accounting's `rcvSmtpUser`.
    pub smtp_user: String,
    /// Unix milliseconds.
    pub accepted_at: i64,
    /// Not before this time (unix milliseconds); 0 means at once.
    pub start_at: i64,
    /// Delivery happens in these times only.
    pub schedule: Schedule,
    /// Of its recipients among those of their queues.
    pub priority: Priority,
    /// Names of the merge fields, in the order of the values in each row.
    pub fields: Vec<String>,
    /// Rendered size in bytes, or the best estimate for templates (for SIZE).
    pub size: u32,
    pub eight_bit: bool,
    pub smtputf8: bool,
    /// DSN RET=HDRS|FULL, empty when absent.
    pub dsn_ret: String,
    /// Reports that are to be made of what becomes of its recipients.
    pub reports: Reports,
    /// What is made of `sender` for each recipient.
    pub verp: Verp,
    pub at_delivery: AtDelivery,
    /// Identity of the pickup file or campaign this came from (F26), empty for other doors.
    pub pickup_identity: String,
}

impl Submission {
    /// Which of the fields is the envelope sender of each row, if they have one each.
    pub fn sender_field(&self) -> Option<usize> {
        self.fields.iter().position(|field| field == SENDER_FIELD)
    }

    /// Which of the fields says why recipients were refused: they were taken in only to be bounced.
    pub fn refused_field(&self) -> Option<usize> {
        self.fields.last().filter(|field| *field == REFUSED_FIELD).map(|_| self.fields.len() - 1)
    }
}

/// Which delivery reports the sender may want of some recipient (RFC 3461); what each recipient's NOTIFY says stands in
/// its row.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    pub failure: bool,
    pub delay: bool,
    pub success: bool,
    /// They give back the whole message, and not only its header.
    pub full: bool,
}

/// What its source has done to a message as it is delivered.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AtDelivery {
    /// The list by which senders are rewritten, where the virtual MTA has none; empty for none.
    pub rewrite_list: String,
    /// It gets a Date header of that time if it has none.
    pub date: bool,
    /// Its topmost Received field is ours.
    pub received: bool,
}

/// How the envelope sender of a recipient is made.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verp {
    /// It is that of the submission.
    #[default]
    No,
    /// It says whose it is, and is signed.
    Signed,
    /// It names the recipient, as PowerMTA's does.
    Named,
}

/// Rows not yet written. Values are appended row by row; the layout is the stored one.
#[derive(Clone, Debug, Default)]
pub struct RowsDraft {
    /// VMTAs that the rows of this record use (at most 255); `vmta[i]` indexes it.
    pub vmtas: Vec<String>,
    pub vmta: Vec<u8>,
    /// End of each row in `bytes`.
    pub ends: Vec<u32>,
    /// Per row: address, then one value per field; each with a LEB128 length before it.
    pub bytes: Vec<u8>,
    /// Number of the first row within its submission (row numbers make Message-IDs and resume imports).
    pub first_row: u64,
    /// The rows repeat those of an older record that still wait; those that are settled have no bytes.
    pub carried: bool,
}

/// A reference from one record to another that may be in the same group and so has no location yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref {
    /// The draft with this index in the same group.
    Here(usize),
    At(Location),
}

/// A record on its way into the log.
// Drafts live for one hand-over; an allocation to make the rare large variant small would cost more than it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Draft {
    /// Message content in the serialised form of `mail::content`.
    Content(Arc<[u8]>),
    Accepted {
        submission: Submission,
        content: Ref,
    },
    Rows {
        submission: Ref,
        rows: RowsDraft,
    },
    /// What became of recipients, durable together with the reports of it.
    Outcomes(OutcomeBatch),
    Control(Control),
}

/// Drafts that become durable together or not at all (R1: recovery treats a group all-or-nothing).
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub drafts: Vec<Draft>,
}

impl Group {
    /// Adds the drafts of another group, which refer to each other as before.
    pub fn append(&mut self, other: Group) {
        let moved = self.drafts.len();
        self.drafts.extend(other.drafts.into_iter().map(|mut draft| {
            match &mut draft {
                Draft::Accepted { content: Ref::Here(at), .. }
                | Draft::Rows { submission: Ref::Here(at), .. } => {
                    *at += moved;
                }
                _ => {}
            }
            draft
        }));
    }

    /// Whether it holds what cannot be taken back: import progress, or what became of recipients.
    pub fn is_final(&self) -> bool {
        self.drafts.iter().any(|draft| match draft {
            Draft::Control(control) => !matches!(control, Control::QueuePaused { .. }),
            Draft::Outcomes(_) => true,
            _ => false,
        })
    }

    pub fn outcomes_mut(&mut self) -> impl Iterator<Item = &mut OutcomeBatch> {
        self.drafts.iter_mut().filter_map(|draft| match draft {
            Draft::Outcomes(batch) => Some(batch),
            _ => None,
        })
    }
}

/// Where the drafts of a committed group ended up, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub at: Location,
    /// For `Rows`: ordinal of the record's first row within its segment.
    pub first_ordinal: u32,
}

/// State that is neither mail nor outcome.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A campaign import has durably stored all rows before `next_row` of the submission at `submission`
    /// (same group as those rows). In a draft, `submission` with segment 0 names the `Accepted` draft of the same
    /// group whose index is `offset8`; segment numbers begin at 1. It keeps the submission's records from being
    /// recycled until `PickupDone` for the same identity. `state` is the importer's own (counters for the report).
    ImportProgress { identity: String, submission: Location, next_row: u64, state: Vec<u8> },
    /// The pickup file or campaign with this identity is wholly stored; it may be removed and must never be
    /// injected again while this record is known (F26).
    PickupDone { identity: String },
    /// The file is gone from the pickup directory: `PickupDone` for it need not be remembered any longer.
    PickupForgotten { identity: String },
    /// Queue paused or resumed by the operator (`domain/vmta`, wildcards allowed).
    QueuePaused { queue: String, paused: bool },
    /// Written by reclaim: the rows of `segment` that are settled, one bit per ordinal. Replaces the
    /// outcome records about that segment in segments that are about to be recycled.
    /// Bits are least significant first; bits already set by other records stay set.
    SettledRows { segment: u32, bits: Vec<u8> },
    /// First record of every segment: the segments in use before it, and where each one ends. Any older segment
    /// that is not listed is free (its file may still carry its old name).
    Segments { live: Vec<SegmentEnd> },
    /// Nothing in this segment is needed any longer; its file is about to be recycled.
    Retired { segment: u32 },
    /// The records of a group whose submitter was told "not accepted" although the group reached the log (R10):
    /// its rows are not to be delivered.
    Aborted { records: Vec<Location> },
    /// What was tried for rows that wait, said again because the record that said it goes. In a draft, a row whose record
    /// has segment 0 is that of the `Rows` draft of the same group whose index is `offset8`.
    Tried { rows: Vec<TriedRow> },
    /// Last record of its group, which repeats the rows of `segment` that wait: they no longer count there.
    Carried { segment: u32 },
    /// A reload took the route of this queue (`domain/vmta`) away while it had mail, which is held; or that is over (F39).
    RouteLost { queue: String, lost: bool },
}

/// What was tried for a row that waits.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriedRow {
    pub row: RowRef,
    pub attempts: u16,
    /// Unix milliseconds of the last attempt.
    pub last_at: i64,
    /// The last attempt ended without a reply to the final dot (R11).
    pub in_doubt: bool,
}

/// A segment and the end of what is valid in it, in units of 8 bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    pub segment: u32,
    pub end8: u32,
}

/// The circumstances of an attempt, shared by many outcomes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// `domain/vmta`.
    pub queue: String,
    pub vmta: String,
    pub vmta_pool: String,
    /// `smtp`, `discard`, `file`, `pipe`.
    pub delivery_type: String,
    pub source_ip: String,
    pub destination_ip: String,
    /// `host (ip)`, accounting's `dsnMta`.
    pub mta: String,
    /// Comma list of the peer's EHLO keywords.
    pub esmtp: String,
    pub tls_protocol: String,
    pub tls_cipher: String,
}

/// What the peer said, or what we conclude.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Said {
    /// Enhanced status with text, e.g. `2.0.0 (success)`: accounting's `dsnStatus`.
    pub status: String,
    /// e.g. `smtp;250 DATA ok`; empty for connection errors: accounting's `dsnDiag`.
    pub diagnostic: String,
}

/// What became of one recipient in one attempt.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Accepted by the next hop. Final.
    Delivered,
    /// Permanently refused, here or there. Final.
    Bounced,
    /// Older than `bounce-after`. Final; accounted as a bounce with status 4.4.7.
    Expired,
    /// Removed by the operator. Final; accounted as a bounce unless `quiet`.
    Deleted { quiet: bool },
    /// Failed for now; the recipient stays queued (accounting type `t`).
    Deferred,
    /// Final dot sent, no reply (R11): stays queued and may arrive twice (accounting type `t`).
    InDoubt,
}

impl Disposition {
    /// Whether the recipient leaves the queue with it.
    pub fn is_final(self) -> bool {
        !matches!(self, Disposition::Deferred | Disposition::InDoubt)
    }
}

/// One settled or deferred recipient.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub row: RowRef,
    pub submission: Location,
    pub disposition: Disposition,
    /// Unix milliseconds.
    pub at: i64,
    /// Index into [`OutcomeBatch::attempts`].
    pub attempt: u32,
    /// Index into [`OutcomeBatch::said`].
    pub said: u32,
    /// Bytes transferred (delivered only).
    pub size: u32,
    /// How many attempts the recipient has had, this one included.
    pub attempts: u16,
}

/// A failed attempt for a whole queue (accounting type `tq`).
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFailure {
    pub at: i64,
    pub attempt: u32,
    pub said: u32,
}

/// Outcomes written together, with what they share stored once.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeBatch {
    pub attempts: Vec<Attempt>,
    pub said: Vec<Said>,
    pub outcomes: Vec<Outcome>,
    pub queue_failures: Vec<QueueFailure>,
}

impl OutcomeBatch {
    /// Two batches that say the same together.
    pub fn halves(&self) -> (OutcomeBatch, OutcomeBatch) {
        let (mut first, mut second) = (self.clone(), self.clone());
        second.outcomes = first.outcomes.split_off(self.outcomes.len() / 2);
        second.queue_failures = first.queue_failures.split_off(self.queue_failures.len() / 2);
        (first, second)
    }
}
