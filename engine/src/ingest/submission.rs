//! Submissions as groups of records: what becomes durable together when a message or a campaign is accepted.

use super::chunk::{CHUNK_ROWS, MAX_VMTAS, MembersError};
use super::merged::Rows;
use super::progress::Progress;
use crate::mail::row::{REFUSED_FIELD, put_value};
use crate::mail::{AddressError, Content, address, queue_domain};
use crate::smtp::dsn::{ROW_FIELDS, RecipientDsn};
use crate::smtp::refused::RefusedRecipient;
use crate::spool::record::{Control, Draft, Group, Location, Ref, RowsDraft, Submission};
use siphasher::sip::SipHasher13;
use std::sync::Arc;

/// A submission that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    #[error("there are no recipients")]
    NoRecipients,
    #[error("recipient {} is not an address: {error}", .index + 1)]
    Recipient { index: usize, error: AddressError },
}

/// The VMTAs of a pool, given to finished messages in turn, evenly for each domain.
///
/// Messages of all senders come through here for as long as the engine runs, so the turns are counted in a fixed number
/// of places that domains are spread over by a keyed hash; domains that share a place share a turn.
#[derive(Clone)]
pub struct Rotation {
    members: Vec<String>,
    turns: Vec<u8>,
    hasher: SipHasher13,
}

impl Rotation {
    const PLACES: usize = 4096;

    /// # Errors
    /// When there is no VMTA, or more than a row can name.
    pub fn new(members: &[String], key: &[u8; 16]) -> Result<Rotation, MembersError> {
        match members.len() {
            0 => Err(MembersError::None),
            1..=MAX_VMTAS => {
                // Neighbouring places start at neighbouring members: domains with one recipient use the whole pool.
                let turns = (0..Self::PLACES).map(|place| (place % members.len()) as u8).collect();
                Ok(Rotation { members: members.to_vec(), turns, hasher: SipHasher13::new_with_key(key) })
            }
            many => Err(MembersError::TooMany(many)),
        }
    }

    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Index of the VMTA that the next recipient of `domain` gets.
    pub fn next(&mut self, domain: &str) -> u8 {
        if self.members.len() == 1 {
            return 0;
        }
        let turn = &mut self.turns[self.hasher.hash(domain.as_bytes()) as usize % Self::PLACES];
        let vmta = *turn;
        *turn = if vmta as usize + 1 == self.members.len() { 0 } else { vmta + 1 };
        vmta
    }
}

/// Where a recipient of a group goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the `Rows` draft in the group.
    pub draft: usize,
    /// Index of the row in that draft; its VMTA is there too.
    pub index: u16,
    /// Normalised.
    pub domain: Arc<str>,
}

/// A group that is ready for the log, and its recipients' routes.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub group: Group,
    pub routes: Vec<Route>,
}

/// A finished message for one or more recipients. Size and needs of the message are noted in `submission`; when it has
/// a pickup identity, the group also says that the file is wholly stored.
///
/// Allocates the stored content, the records, and a domain for each run of recipients at one domain.
///
/// `dsn` says for each recipient which reports are wanted, or nothing of any.
///
/// # Errors
/// When there are no recipients, or one of them is no address.
pub fn plain<'a>(
    mut submission: Submission,
    content: &Content,
    recipients: impl IntoIterator<Item = &'a str>,
    dsn: &[RecipientDsn],
    rotation: &mut Rotation,
) -> Result<Submitted, SubmissionError> {
    describe(&mut submission, content);
    if !dsn.is_empty() {
        submission.fields = ROW_FIELDS.map(str::to_owned).to_vec();
    }
    let identity = submission.pickup_identity.clone();
    let mut drafts =
        vec![Draft::Content(stored(content)), Draft::Accepted { submission, content: Ref::Here(0) }];
    let mut routes: Vec<Route> = Vec::new();
    let mut rows = RowsDraft::default();
    let mut domain = String::new();
    let mut count = 0;
    for (index, recipient) in recipients.into_iter().enumerate() {
        let refuse = |error| SubmissionError::Recipient { index, error };
        let address = address::check(recipient.as_bytes()).map_err(refuse)?;
        address::normalise_domain(address.domain(), &mut domain).map_err(refuse)?;
        if rows.ends.len() == CHUNK_ROWS {
            drafts.push(Draft::Rows { submission: Ref::Here(1), rows: std::mem::take(&mut rows) });
        }
        if rows.ends.is_empty() {
            rows.vmtas.clone_from(&rotation.members);
            rows.first_row = index as u64;
        }
        let domain = match routes.last() {
            Some(last) if *last.domain == *domain => last.domain.clone(),
            _ => Arc::from(domain.as_str()),
        };
        rows.vmta.push(rotation.next(&domain));
        put_value(&mut rows.bytes, recipient);
        if let Some(dsn) = dsn.get(index) {
            put_value(&mut rows.bytes, &dsn.notify.to_string());
            put_value(&mut rows.bytes, &dsn.orcpt);
        }
        routes.push(Route { draft: drafts.len(), index: rows.ends.len() as u16, domain });
        rows.ends.push(rows.bytes.len() as u32);
        count = index + 1;
    }
    if count == 0 {
        return Err(SubmissionError::NoRecipients);
    }
    drafts.push(Draft::Rows { submission: Ref::Here(1), rows });
    if !identity.is_empty() {
        drafts.push(Draft::Control(Control::PickupDone { identity }));
    }
    Ok(Submitted { group: Group { drafts }, routes })
}

/// Recipients of a finished message who bounce at once: their header, and their rows with domains. All have the first VMTA,
/// which is `vmta`.
pub fn refused(
    mut submission: Submission,
    content: &Content,
    recipients: &[RefusedRecipient],
    vmta: &str,
) -> (Submission, Vec<Rows>) {
    describe(&mut submission, content);
    submission.fields = [ROW_FIELDS[0], ROW_FIELDS[1], REFUSED_FIELD].map(str::to_owned).to_vec();
    let mut records = Vec::new();
    for (number, chunk) in recipients.chunks(CHUNK_ROWS).enumerate() {
        let first_row = (number * CHUNK_ROWS) as u64;
        let mut draft = RowsDraft { vmtas: vec![vmta.to_owned()], first_row, ..RowsDraft::default() };
        for RefusedRecipient { address, reply, dsn } in chunk {
            for value in [address, &dsn.notify.to_string(), &*dsn.orcpt, reply] {
                put_value(&mut draft.bytes, value);
            }
            draft.vmta.push(0);
            draft.ends.push(draft.bytes.len() as u32);
        }
        let domains = chunk.iter().map(|recipient| queue_domain(&recipient.address).into()).collect();
        records.push(Rows { draft, domains });
    }
    (submission, records)
}

/// Content and header of a submission whose rows are merged: the first two drafts of its first group.
pub fn merged(mut submission: Submission, content: &Content) -> Vec<Draft> {
    describe(&mut submission, content);
    submission.fields = content.fields().to_vec();
    vec![Draft::Content(stored(content)), Draft::Accepted { submission, content: Ref::Here(0) }]
}

/// The first group of a campaign: content, header, first rows and how far the import is. `last` when these are all rows.
/// The `Accepted` record is the second of the group, the rows are the third.
pub fn campaign_start(
    submission: Submission,
    content: &Content,
    rows: RowsDraft,
    progress: &Progress,
    last: bool,
) -> Group {
    let identity = submission.pickup_identity.clone();
    // In a group, a location in segment 0 (which no segment has) is that of the draft with this index.
    let here = Location { segment: 0, offset8: 1 };
    let mut drafts = merged(submission, content);
    push_rows(&mut drafts, Ref::Here(1), here, identity, rows, progress, last);
    Group { drafts }
}

/// A later group of the campaign whose `Accepted` record lies at `submission`.
pub fn campaign_rows(
    submission: Location,
    identity: &str,
    rows: RowsDraft,
    progress: &Progress,
    last: bool,
) -> Group {
    let mut drafts = Vec::with_capacity(3);
    push_rows(&mut drafts, Ref::At(submission), submission, identity.to_owned(), rows, progress, last);
    Group { drafts }
}

fn push_rows(
    drafts: &mut Vec<Draft>,
    submission: Ref,
    at: Location,
    identity: String,
    rows: RowsDraft,
    progress: &Progress,
    last: bool,
) {
    drafts.push(Draft::Rows { submission, rows });
    drafts.push(Draft::Control(Control::ImportProgress {
        identity: identity.clone(),
        submission: at,
        next_row: progress.next_row,
        state: progress.state(),
    }));
    if last {
        drafts.push(Draft::Control(Control::PickupDone { identity }));
    }
}

/// A content in its stored form.
pub fn stored(content: &Content) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(content.size_estimate() + 256);
    content.encode(&mut bytes);
    Arc::from(bytes)
}

/// Notes what the content needs of its way.
pub fn describe(submission: &mut Submission, content: &Content) {
    submission.size = u32::try_from(content.size_estimate()).unwrap_or(u32::MAX);
    submission.eight_bit |= content.needs_8bit();
    submission.smtputf8 |= content.needs_smtputf8();
}

#[cfg(test)]
#[path = "submission_test.rs"]
mod test;
