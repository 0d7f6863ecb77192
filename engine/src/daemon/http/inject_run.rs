//! One injection on its way to durable, queued recipients: rows are checked and encoded as a campaign's are, and stored
//! in groups, the last of which says that it is the last.

use super::failures::Failures;
use super::inject_vmtas::Vmtas;
use super::keys::{Claim, Stored, end};
use super::reply::Refusal;
use super::{Entrance, Settings};
use crate::base::Wall;
use crate::daemon::at_delivery;
use crate::daemon::choice;
use crate::daemon::handed::Handed;
use crate::daemon::intake::Refused;
use crate::daemon::owners::Accepted;
use crate::daemon::spoken::{self, Spoken};
use crate::daemon::suppressed::suppression;
use crate::ingest::answered::{Answered, Begun, MAX_LISTS};
use crate::ingest::batch::Batch;
use crate::ingest::chunk::Chunk;
use crate::ingest::import::{Duplicates, Import, ImportError, Settings as ImportSettings, Taken};
use crate::ingest::inject::{InjectError, InjectHead};
use crate::ingest::inject_rows::InjectRows;
use crate::ingest::submission;
use crate::io::clock;
use crate::io::http_listener::Ends;
use crate::mail::{Content, Fixed, plain};
use crate::spool::codec::decode_submission;
use crate::spool::record::{
    AtDelivery, Committed, Control, Draft, Group, Location, Ref, RowsDraft, Submission,
};
use hyper::StatusCode;
use std::sync::Arc;
use vmta_config::SourceSettings;

/// Chunks committed together where more rows are to come.
const GROUP: usize = 8;

/// What an injection begins with.
pub struct Start<'r> {
    pub ends: &'r Ends,
    pub settings: &'r Settings,
    pub head: &'r InjectHead,
    /// Of what stands before the recipients.
    pub print: u64,
    pub claim: Option<Claim>,
}

/// See the module's text.
pub struct Run<'e> {
    entrance: &'e Entrance,
    submission: Submission,
    /// Until it is stored.
    content: Option<Content>,
    rows: InjectRows,
    import: Import,
    batch: Batch,
    taken: Taken,
    number: u64,
    failures: Failures,
    through: Vmtas,
    vmtas: Vec<Arc<str>>,
    domains: Vec<Arc<str>>,
    waiting: Vec<Chunk>,
    begun: Begun,
    claim: Option<Claim>,
    stored: Option<Stored>,
    accepted: Option<Accepted>,
}

impl<'e> Run<'e> {
    pub fn new(entrance: &'e Entrance, start: Start<'_>) -> Result<Run<'e>, Refusal> {
        let Start { ends, settings, head, print, claim } = start;
        let intake = &entrance.intake;
        let (id, now) = (intake.storage.new_id(), entrance.reactor.clock().now().wall);
        let Some(sender) = head.sender.clone() else {
            return Err(InjectError::new("envelope_sender", "it is missing").into());
        };
        let fields = head.given_fields();
        let spoken = Spoken::read(&fields, &settings.source).map_err(|e| Refusal::from(&e))?;
        let made = Vmtas::new(spoken.virtual_mta, settings, &sender, &head.shown_fields(), &ends.local);
        let through = made.map_err(|e| Refusal::from(&e))?;
        let content = content(entrance, settings, head, &through.asked, (id, now))?;
        let (size, limit) = (content.size_estimate(), settings.max_message());
        if size > limit {
            let why = format!("content: a message is {size} bytes long; at most {limit} are allowed");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let (rows, plan) = InjectRows::new(head, &content)?;
        let stored = claim.as_ref().and_then(|claim| claim.stored);
        let at = now.as_secs().cast_unsigned();
        let begun = match (&claim, stored) {
            (_, Some(Stored { begun, .. })) if begun.print != print => return Err(Refusal::other_request()),
            (_, Some(stored)) => stored.begun,
            (Some(claim), None) => Begun { key: Some(claim.key), at, print },
            (None, None) => Begun { key: None, at, print: id },
        };
        let import = ImportSettings {
            vmtas: &through.members,
            duplicates: Duplicates::Keep,
            domain_suffix: settings.domain_suffix(),
            key: fastrand::u128(..).to_le_bytes(),
            resume: stored.map(|stored| stored.progress),
        };
        let import = Import::new(plan, &import).map_err(|e| internal(&e))?;
        let import = import.suppressing(suppression(&settings.configured.config, &settings.source));
        let submission = Submission {
            id,
            sender,
            job: spoken::job(None, spoken.job, &settings.source, ""),
            envid: spoken.envid.unwrap_or_default(),
            virtual_mta: through.asked.clone(),
            priority: through.priority,
            source_type: "api".to_owned(),
            source_mta: format!("{} ({})", ends.client, ends.client),
            received_from_ip: ends.client.to_string(),
            received_on_ip: ends.local.to_string(),
            accepted_at: now.0,
            at_delivery: left(head, &settings.source),
            ..Submission::default()
        };
        Ok(Run {
            entrance,
            submission,
            content: Some(content),
            rows,
            import,
            batch: Batch::new(),
            taken: Taken::default(),
            number: 0,
            failures: Failures::default(),
            vmtas: through.members.iter().map(|name| name.as_str().into()).collect(),
            through,
            domains: Vec::new(),
            waiting: Vec::new(),
            begun,
            claim,
            stored,
            accepted: None,
        })
    }

    /// Takes a recipient.
    pub fn row(&mut self, element: &[u8]) -> Result<(), Refusal> {
        self.rows.read(self.number, element, &mut self.batch)?;
        self.number += 1;
        if self.batch.is_full() {
            self.check_rows()?;
        }
        Ok(())
    }

    fn check_rows(&mut self) -> Result<(), Refusal> {
        self.import.take(&self.batch, &mut self.taken).map_err(|e| self.changed(&e))?;
        for refused in self.taken.rejected.drain(..) {
            let row = self.batch.row(refused.index);
            let recipient = row.and_then(|row| row.cell(0)).unwrap_or_default();
            self.failures.note(&String::from_utf8_lossy(recipient), &refused.fault);
        }
        self.waiting.append(&mut self.taken.chunks);
        self.batch.clear();
        Ok(())
    }

    /// Stores what is more than enough for a group. (The last chunk is held back, since its group also says that it is
    /// the last.)
    pub async fn store(&mut self) -> Result<(), Refusal> {
        while self.waiting.len() > GROUP {
            let rest = self.waiting.split_off(GROUP);
            let group = std::mem::replace(&mut self.waiting, rest);
            self.commit(group, None).await?;
        }
        Ok(())
    }

    /// Stores the rest, and the answer if there is a key. Gives what was accepted, what was not, and the lists of that.
    pub async fn finish(mut self, print: u64) -> Result<(u64, u64, String), Refusal> {
        self.check_rows()?;
        let counts = match self.import.finish(&mut self.taken) {
            Ok(counts) => counts,
            Err(ImportError::NoRecipients(counts)) => {
                return Ok((0, counts.rejected, self.failures.lists()));
            }
            Err(e) => return Err(self.changed(&e)),
        };
        self.waiting.append(&mut self.taken.chunks);
        let lists = self.failures.lists();
        let answered = self.claim.as_ref().map(|claim| Answered {
            key: claim.key,
            at: self.entrance.seconds(),
            print,
            accepted: counts.accepted,
            rejected: counts.rejected,
            lists: (lists.len() <= MAX_LISTS).then(|| lists.as_str().into()),
        });
        let last = std::mem::take(&mut self.waiting);
        if let Err(refusal) = self.commit(last, Some(answered.as_ref())).await {
            return Err(self.broken(refusal));
        }
        if let (Some(claim), Some(answered)) = (self.claim, answered) {
            claim.answered(answered);
        }
        Ok((counts.accepted, counts.rejected, lists))
    }

    /// The request cannot be carried out to its end: says what has been accepted of it.
    pub fn broken(self, refusal: Refusal) -> Refusal {
        let Some(Stored { progress, begun, .. }) = self.stored else { return refusal };
        let on = match begun.key {
            Some(_) => "the same request with the same Idempotency-Key goes on from there",
            None => {
                end(&self.entrance.intake.storage, begun);
                "leave them out of the next request"
            }
        };
        let (accepted, read) = (progress.counts.accepted, progress.counts.read);
        let description = format!(
            "{}; {accepted} of the first {read} recipients were accepted before that and are being delivered: {on}",
            refusal.description
        );
        Refusal { description, ..refusal }
    }

    fn changed(&self, e: &ImportError) -> Refusal {
        match e {
            ImportError::Changed { .. } => Refusal::other_request(),
            e => internal(e),
        }
    }

    /// Makes rows durable and queues them. `last` with the answer that is to be remembered, if one is.
    async fn commit(
        &mut self,
        mut chunks: Vec<Chunk>,
        last: Option<Option<&Answered>>,
    ) -> Result<(), Refusal> {
        let first = self.stored.is_none();
        let (intake, domains) = (&self.entrance.intake, self.import.domains());
        let turns = self.through.give_turns(intake, domains, &mut chunks, first && last.is_some());
        turns.map_err(|e| Refusal::from(&e))?;
        intake.cool_chunks(&mut chunks, &mut self.vmtas, |n| domains.name(n), clock::wall());
        let group = self.group(&mut chunks, last);
        let committed = match self.entrance.reactor.commits().commit(group).await {
            Ok(committed) => committed,
            Err(e) => {
                self.take_back(last);
                return Err(Refusal::from(&Refused::Spool(e)));
            }
        };
        let (at, rows) = match self.stored {
            None => (committed.places[1].at, 2),
            Some(stored) => (stored.submission, 0),
        };
        if let Some(progress) = chunks.last().map(|chunk| chunk.progress) {
            let stored = Stored { begun: self.begun, submission: at, progress };
            self.stored = Some(stored);
            if let Some(claim) = &mut self.claim {
                claim.stored(stored);
            }
        }
        self.queue(&chunks, &committed, at, rows).await
    }

    /// A group that came too late may be in the spool all the same, without its rows: what it said of the request is said
    /// anew as it was before.
    fn take_back(&self, last: Option<Option<&Answered>>) {
        if let (Some(claim), Some(Some(answered))) = (&self.claim, last) {
            claim.taken_back(answered);
        }
        let storage = &self.entrance.intake.storage;
        match self.stored {
            Some(stored) => storage.note(progress(&stored)),
            None if last.is_none() => end(storage, self.begun),
            None => {}
        }
    }

    fn group(&mut self, chunks: &mut [Chunk], last: Option<Option<&Answered>>) -> Group {
        let first = self.stored.is_none();
        let (mut drafts, submission, at) = match self.stored {
            None => {
                let content = self.content.take().unwrap_or_else(|| Content::plain(Vec::new()));
                self.submission.pickup_identity =
                    self.begun.key.map_or(String::new(), |_| self.begun.to_string());
                let drafts = submission::merged(self.submission.clone(), &content);
                // In a group, a location in segment 0 (which no segment has) is that of the draft with this index.
                (drafts, Ref::Here(1), Location { segment: 0, offset8: 1 })
            }
            Some(Stored { submission, .. }) => (Vec::new(), Ref::At(submission), submission),
        };
        drafts.extend(
            chunks.iter_mut().map(|chunk| Draft::Rows { submission, rows: keep_vmtas(&mut chunk.rows) }),
        );
        let mut note = |control| drafts.push(Draft::Control(control));
        let identity = self.begun.to_string();
        if last.is_none() {
            let now = chunks.last().map(|chunk| chunk.progress).unwrap_or_default();
            note(progress(&Stored { begun: self.begun, submission: at, progress: now }));
        }
        if last.is_some() && !first {
            note(Control::PickupDone { identity: identity.clone() });
            note(Control::PickupForgotten { identity });
        }
        if let Some(Some(answered)) = last {
            note(Control::PickupDone { identity: answered.to_string() });
        }
        Group { drafts }
    }

    /// Hands rows that are durable to the owners of their queues.
    async fn queue(
        &mut self,
        chunks: &[Chunk],
        committed: &Committed,
        at: Location,
        rows: usize,
    ) -> Result<(), Refusal> {
        let intake = &self.entrance.intake;
        let accepted = match self.accepted.take() {
            Some(accepted) => accepted,
            None => {
                // As stored, since a request that was broken off goes on with its old one.
                let record = intake.storage.segments().record(at).map_err(|e| internal(&e))?;
                let submission = decode_submission(at, &record).map_err(|e| internal(&e))?;
                intake.received.add(1, 0, 0);
                Accepted::new(at, &submission, None)
            }
        };
        let mut split = intake.new_split(clock::wall());
        for (chunk, place) in chunks.iter().zip(&committed.places[rows..]) {
            self.domains.truncate(chunk.first_new_domain as usize);
            self.domains.extend(chunk.new_domains.iter().cloned());
            let queues = chunk.domains.iter().zip(&chunk.rows.vmta).enumerate();
            let queues = queues.map(|(index, (domain, vmta))| {
                (index as u16, 0, &self.domains[*domain as usize], &self.vmtas[usize::from(*vmta)])
            });
            split.add(&accepted, *place, queues);
        }
        let count = chunks.iter().map(|chunk| chunk.domains.len() as u64).sum::<u64>();
        intake.received.add(0, count, count * u64::from(accepted.size));
        self.accepted = Some(accepted);
        self.entrance.reactor.hand_over(split.into_shards()).await;
        Ok(())
    }
}

/// How far a request has been stored, as the spool knows it.
fn progress(stored: &Stored) -> Control {
    let Stored { begun, submission, progress } = *stored;
    let (next_row, state) = (progress.next_row, progress.state());
    Control::ImportProgress { identity: begun.to_string(), submission, next_row, state }
}

/// What is done to the messages as they leave.
fn left(head: &InjectHead, source: &SourceSettings) -> AtDelivery {
    match head.finished() {
        Some(_) => at_delivery::of_finished(source),
        None => at_delivery::of_template(source),
    }
}

/// The content of a request: finished, or compiled.
fn content(
    entrance: &Entrance,
    settings: &Settings,
    head: &InjectHead,
    through: &str,
    (id, now): (u64, Wall),
) -> Result<Content, Refusal> {
    let sender = head.sender.as_deref().unwrap_or_default();
    let host = &settings.configured.host;
    let remove = spoken::removed(&settings.source);
    let Some(finished) = head.finished() else {
        let fixed = Fixed {
            date: plain::date(now),
            submission_id: id,
            host_id: settings.configured.config.global().host_id,
            dated_later: at_delivery::dated(&settings.source),
            host: host.to_string(),
            sender: sender.to_owned(),
        };
        return Ok(head.compile(&fixed, &remove)?);
    };
    let handed = Handed {
        sender,
        message: finished.as_bytes(),
        lf_ends_lines: true,
        source_type: "api",
        ..Handed::default()
    };
    let message = entrance.intake.finish_message(&handed, &settings.source, &remove, host, id, now);
    let message = message.and_then(|message| choice::named(message, through, &settings.source));
    Ok(Content::plain(message.map_err(|e| Refusal::from(&e))?))
}

fn internal(e: &impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
}

/// Takes the rows out of a chunk and leaves what queueing them needs: the VMTA of each.
fn keep_vmtas(rows: &mut RowsDraft) -> RowsDraft {
    let vmta = rows.vmta.clone();
    let taken = std::mem::take(rows);
    rows.vmta = vmta;
    taken
}
