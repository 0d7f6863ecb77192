//! Feeding a connection: which recipients go next over it, with which content.

use super::connection::{InHand, Phase, Transaction};
use super::leaving::Sent;
use super::settle::Fate;
use super::submissions::SubmissionKey;
use super::{Output, Shard};
use crate::base::Now;
use crate::mail::content::{Content, Row};
use crate::mail::rewrite::Rewrites;
use crate::mail::row::{RowError, RowView, row_view};
use crate::mail::seven_bit::to_seven_bit;
use crate::queue::Calendar;
use crate::smtp::client::{self, Dsn};
use crate::smtp::dsn::{ROW_FIELDS, xtext};
use crate::spool::codec;
use crate::spool::record::{Disposition, Said, Submission, Verp};
use crate::spool::rows::RowsView;
use crate::spool::segments::RecordRef;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What came of trying to feed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// It has a transaction more.
    Started,
    /// It can take nothing now: busy, closing, or waiting for a content.
    Busy,
    /// There is nothing it may take.
    Nothing,
}

/// Header and content of a submission.
type Loaded = (Rc<Submission>, Rc<Content>);

/// A recipient's row: read from the spool whenever it is needed, never kept.
pub(super) struct StoredRow {
    record: RecordRef,
    index: usize,
    /// Number of the row within its submission.
    pub number: u64,
}

impl StoredRow {
    pub fn bytes(&self) -> Option<&[u8]> {
        RowsView::new(&self.record)?.row(self.index)
    }

    pub fn address(&self) -> Option<&str> {
        row_view(self.bytes()?).ok().map(|view| view.address)
    }

    /// Who sends to it; `header` is that of its submission.
    pub fn sender<'a>(&'a self, header: &'a Submission) -> Option<&'a str> {
        match header.sender_field() {
            None => Some(&header.sender),
            Some(field) => row_view(self.bytes()?).ok()?.value(field),
        }
    }
}

impl Shard {
    /// Starts a transaction over connection `key`, if there is one to start.
    pub(super) fn feed(&mut self, now: Now, key: u32) -> Fed {
        loop {
            let Some(connection) = self.connections.at(key) else { return Fed::Busy };
            connection.idle = false;
            if connection.phase != Phase::Open || connection.loading || !connection.client.wants_transaction()
            {
                return Fed::Busy;
            }
            let (queue, from) = (connection.queue, connection.from);
            if self.is_used_up(now, key) {
                self.part(now, key);
                return Fed::Busy;
            }
            if self.outcomes_back_up() {
                self.backed_up.insert(queue);
                return self.nothing(key);
            }
            // Held mail may not leave over a connection that is open already either (F39).
            let held = self.draining || self.queues[queue].is_held();
            if held || self.queues[queue].gate_from(from, now.mono).open().is_err() {
                return self.nothing(key);
            }
            let Some(first) = self.queues[queue].queue.iter(&self.slots).next() else {
                return self.nothing(key);
            };
            let submission = self.slots[first].submission;
            match self.content_of(now, key, submission) {
                Ok(Some((header, content))) => {
                    if self.start(now, key, submission, &header, &content) {
                        return Fed::Started;
                    }
                }
                Ok(None) => return Fed::Busy,
                Err(why) => self.put_off_unreadable(now, queue, why),
            }
        }
    }

    fn nothing(&mut self, key: u32) -> Fed {
        if let Some(connection) = self.connections.at(key) {
            connection.idle = true;
        }
        Fed::Nothing
    }

    /// Whether the connection has carried or refused as much as it may, or is one of those that are not used any more.
    pub(super) fn is_used_up(&mut self, now: Now, key: u32) -> bool {
        let Some(connection) = self.connections.at(key) else { return false };
        let entry = &self.queues[connection.queue];
        let profile = &entry.profile;
        let most = profile.scheduling.max_msg_per_connection;
        entry.has_too_many_connections()
            || entry.sources.disabled.has(connection.from)
            || entry.work().is_some_and(|work| work.skips(&connection.host, now.mono))
            || (most != 0 && connection.messages >= most)
            || connection.part_after.is_some_and(|most| connection.messages >= most)
            || profile.max_errors_per_connection.is_some_and(|most| connection.errors >= most)
    }

    /// Header and content of a submission; `None` while the content is on its way from storage.
    fn content_of(
        &mut self,
        now: Now,
        key: u32,
        submission: SubmissionKey,
    ) -> Result<Option<Loaded>, &'static str> {
        const DAMAGED: &str = "submission record is damaged";
        let header = match self.submissions.loaded(submission) {
            Some(header) => header,
            None => {
                let record = self.segments.record(self.submissions.at(submission)).map_err(|_| DAMAGED)?;
                let header = codec::decode_submission(record.at, &record).map_err(|_| DAMAGED)?;
                self.submissions.load(submission, header)
            }
        };
        if let Some(content) = self.contents.get(header.content, now.mono) {
            return Ok(Some((header, content)));
        }
        if self.contents.is_unreadable(header.content, now.mono) {
            return Err("message content is damaged");
        }
        if self.contents.wait(header.content, key) {
            self.outputs.push_back(Output::Load(header.content));
        }
        if let Some(connection) = self.connections.at(key) {
            connection.loading = true;
        }
        Ok(None)
    }

    /// The first recipient's message cannot be read (F15): the recipient is put off with that reason, and bounces in
    /// the end; everybody else goes on.
    fn put_off_unreadable(&mut self, now: Now, queue: u32, why: &str) {
        let taken = self.take(now, queue, 1);
        let said = Said { status: "4.3.0 (message store unreadable)".to_owned(), diagnostic: why.to_owned() };
        let fate = Fate::failed(Disposition::Deferred, said);
        self.settle_unattempted(now, queue, &taken, &fate);
    }

    /// Takes recipients of one submission out of the queue; those found too old on the way are settled.
    pub(super) fn take(&mut self, now: Now, queue: u32, most: u32) -> SmallVec<[u32; 4]> {
        let mut taken = std::mem::take(&mut self.taken);
        let submissions = &self.submissions;
        let entry = &mut self.queues[queue];
        let terms = |key| submissions.terms(key);
        let calendar = Calendar { expiry: &self.expiry, terms, life: entry.life() };
        // A refusal is seen by the empty batch; its reason is asked for where it is shown.
        let _ = entry.queue.take(&mut self.slots, now, most, &calendar, &mut taken);
        self.expire(now, queue, &taken.expired);
        let batch = SmallVec::from_slice(&taken.batch);
        taken.batch.clear();
        taken.expired.clear();
        self.taken = taken;
        batch
    }

    /// False: nothing was started, look again who is first.
    fn start(
        &mut self,
        now: Now,
        key: u32,
        submission: SubmissionKey,
        header: &Submission,
        content: &Rc<Content>,
    ) -> bool {
        let Some((queue, from)) = self.connections.at(key).map(|c| (c.queue, c.from)) else { return false };
        let together = content.is_plain() && header.verp == Verp::No;
        let most = if together { self.queues[queue].batch_from(from) } else { 1 };
        let batch = self.take(now, queue, most);
        let Some(&first) = batch.first() else { return false };
        self.queues[queue].took(from, now.mono, batch.len() as u32);
        if self.slots[first].submission != submission {
            // The one looked at was too old; the next is of another submission.
            self.hand_back(now, queue, from, &batch);
            return false;
        }
        let mut addresses: SmallVec<[String; 1]> = SmallVec::with_capacity(batch.len());
        let mut recipients: SmallVec<[InHand; 1]> = SmallVec::with_capacity(batch.len());
        let mut body = self.bodies.pop().unwrap_or_default();
        body.clear();
        let rewrites = self.rewrites(queue, header);
        let mut sender = String::new();
        let mut dsn = Vec::new();
        for &slot in &batch {
            match self.read_row(header, content, slot, &mut body) {
                Ok(ReadRow { address, number, sender: own, dsn: (notify, orcpt) }) => {
                    if recipients.is_empty() {
                        // Whoever has one of his own is alone in the batch.
                        let sent = Sent { header, own, address: &address, number };
                        sender = self.sender(&sent, rewrites.as_deref());
                    }
                    if !notify.is_empty() || !orcpt.is_empty() {
                        dsn.resize(addresses.len(), Default::default());
                        dsn.push((notify, orcpt));
                    }
                    addresses.push(address);
                    recipients.push(InHand { slot, answered: false });
                }
                Err(fate) => {
                    self.queues[queue].give_back(from, now.mono, 1);
                    self.settle_unattempted(now, queue, &[slot], &fate);
                }
            }
        }
        if recipients.is_empty() {
            self.bodies.push(body);
            return false;
        }
        let content = content.clone();
        let started = Started { submission, content, recipients, sender, addresses, dsn, body, rewrites };
        self.begin(now, key, header, started)
    }

    fn hand_back(&mut self, now: Now, queue: u32, from: Option<IpAddr>, slots: &[u32]) {
        let entry = &mut self.queues[queue];
        entry.give_back(from, now.mono, slots.len() as u32);
        for &slot in slots.iter().rev() {
            let priority = self.submissions.priority(self.slots[slot].submission);
            entry.queue.hand_back(&mut self.slots, slot, priority);
        }
    }

    /// A recipient, and its message rendered to `body` where every recipient has his own. Rendering comes before the
    /// transaction, so that a value that does not fit its place costs its recipient and not a connection.
    fn read_row(
        &self,
        header: &Submission,
        content: &Content,
        slot: u32,
        body: &mut Vec<u8>,
    ) -> Result<ReadRow, Fate> {
        let unreadable = || {
            let status = "4.3.0 (message store unreadable)".to_owned();
            Fate::failed(
                Disposition::Deferred,
                Said { status, diagnostic: "recipient record is damaged".to_owned() },
            )
        };
        let row = self.stored_row(slot).ok_or_else(unreadable)?;
        let view = row_view(row.bytes().ok_or_else(unreadable)?).map_err(|_| unreadable())?;
        if !content.is_plain() {
            let mut values: SmallVec<[&str; 16]> = SmallVec::new();
            for value in view.values().take(content.fields().len()) {
                values.push(value.map_err(|_| unreadable())?);
            }
            let merged = Row { to: view.address, number: row.number, values: &values };
            content.render(&merged, body).map_err(|e| {
                let status = "5.6.0 (message cannot be rendered)".to_owned();
                Fate::failed(Disposition::Bounced, Said { status, diagnostic: e.to_string() })
            })?;
        }
        let sender = match header.sender_field() {
            Some(field) => Some(view.value(field).ok_or_else(unreadable)?.to_owned()),
            None => None,
        };
        let dsn = notify_and_orcpt(header, &view).map_err(|_| unreadable())?;
        Ok(ReadRow { address: view.address.to_owned(), number: row.number, sender, dsn })
    }

    /// False: its bytes are too many for now, and those who were to have it wait again.
    fn begin(&mut self, now: Now, key: u32, header: &Submission, started: Started) -> bool {
        let Some((queue, from)) = self.connections.at(key).map(|c| (c.queue, c.from)) else { return false };
        self.queues[queue].work_mut().left_until = None;
        let Started { submission, content, recipients, sender, addresses, dsn, mut body, rewrites } = started;
        let message = content.as_plain().filter(|_| body.is_empty()).unwrap_or(&body);
        if let Some(changed) = self.left(now, queue, header, rewrites.as_deref(), message) {
            body = changed;
        }
        let Some(connection) = self.connections.at(key) else { return false };
        let mut eight_bit = content.needs_8bit();
        if eight_bit && !connection.eight_bit {
            let message = content.as_plain().filter(|_| body.is_empty()).unwrap_or(&body);
            // What cannot be encoded is refused by the SMTP machine (S17).
            if let Some(encoded) = to_seven_bit(message) {
                (body, eight_bit) = (encoded, false);
            }
        }
        let bytes = content.as_plain().filter(|_| body.is_empty()).unwrap_or(&body).len();
        let Some(charge) = self.queues[queue].begin(from, now.mono, bytes as u64) else {
            let untried: SmallVec<[u32; 4]> = recipients.iter().map(|recipient| recipient.slot).collect();
            self.hand_back(now, queue, from, &untried);
            self.bodies.push(body);
            return false;
        };
        self.tokens += 1;
        let token = self.tokens;
        let smtputf8 = header.smtputf8
            || content.needs_smtputf8()
            || !addresses.iter().all(|address| address.is_ascii());
        let transaction = client::Transaction {
            token,
            sender,
            recipients: addresses,
            size: if body.is_empty() { header.size } else { body.len() as u32 },
            eight_bit,
            smtputf8,
            dsn: passed_on(header, dsn),
        };
        connection.messages += 1;
        let granted = now.mono;
        connection.transactions.push(Transaction {
            token,
            granted,
            submission,
            content,
            recipients,
            body,
            charge,
            size: 0,
        });
        connection.client.start(now, transaction);
        true
    }

    pub(super) fn stored_row(&self, slot: u32) -> Option<StoredRow> {
        let row = self.slots[slot].row();
        let record = self.segments.record(row.record).ok()?;
        let first = RowsView::new(&record)?.first_row;
        Some(StoredRow { record, index: usize::from(row.index), number: first + u64::from(row.index) })
    }

    /// Gives the SMTP machine the content it asked for, or asks for more of.
    pub(super) fn give_body(&mut self, now: Now, key: u32, token: u64) {
        let Some(connection) = self.connections.at(key) else { return };
        let Some(transaction) = connection.transaction(token) else { return };
        let content = transaction.content.clone();
        let body = std::mem::take(&mut transaction.body);
        let message = content.as_plain().filter(|_| body.is_empty()).unwrap_or(&body);
        transaction.size = message.len() as u32;
        connection.client.body(now, message);
        if connection.client.unwritten() == Some(token)
            && let Some(transaction) = connection.transaction(token)
        {
            transaction.body = body;
            return;
        }
        if body.capacity() <= KEPT_BODY && self.bodies.len() < KEPT_BODIES {
            self.bodies.push(body);
        }
    }
}

/// Buffers for rendered messages that are kept for the next ones.
const KEPT_BODIES: usize = 64;
const KEPT_BODY: usize = 256 << 10;

/// A transaction about to begin.
struct Started {
    submission: SubmissionKey,
    content: Rc<Content>,
    recipients: SmallVec<[InHand; 1]>,
    sender: String,
    addresses: SmallVec<[String; 1]>,
    /// NOTIFY and ORCPT; may end before the addresses do.
    dsn: Vec<(String, String)>,
    body: Vec<u8>,
    rewrites: Option<Arc<dyn Rewrites>>,
}

/// A recipient as its row says it.
struct ReadRow {
    address: String,
    number: u64,
    /// Envelope sender, where it is not that of the submission.
    sender: Option<String>,
    /// NOTIFY and ORCPT, empty where they were not given.
    dsn: (String, String),
}

/// NOTIFY and ORCPT of a row, if rows of the submission have any.
fn notify_and_orcpt(header: &Submission, row: &RowView<'_>) -> Result<(String, String), RowError> {
    let mut found = [String::new(), String::new()];
    if let Some(at) = header.fields.iter().position(|name| name == ROW_FIELDS[0]) {
        for (value, found) in row.values().skip(at).zip(&mut found) {
            value?.clone_into(found);
        }
    }
    let [notify, orcpt] = found;
    Ok((notify, orcpt))
}

/// What the next host is told of reports, if there is anything to tell.
fn passed_on(header: &Submission, recipients: Vec<(String, String)>) -> Option<Box<Dsn>> {
    let given = !(header.dsn_ret.is_empty() && header.envid.is_empty() && recipients.is_empty());
    given.then(|| Box::new(Dsn { ret: header.dsn_ret.clone(), envid: xtext(&header.envid), recipients }))
}
