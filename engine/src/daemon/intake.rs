//! From a finished message to durable, queued recipients: what SMTP submission and pickup files have in common.

use super::at_delivery;
use super::authenticity;
use super::choice::{self, Way};
use super::forwarding;
use super::handed::Handed;
use super::login_failures::LoginFailures;
use super::memory::Pressure;
use super::meter::Counts;
use super::owners::{Accepted, Owners, Split};
use super::profiles::Configured;
use super::spoken::{self, Spoken};
use super::system_accounts::SystemAccounts;
use super::warming::Warmings;
use crate::base::Wall;
use crate::ingest::chunk::MembersError;
use crate::ingest::merged::{MergedError, Rows};
use crate::ingest::submission::{self, Rotation, SubmissionError, Submitted};
use crate::io::reactor::Reactor;
use crate::io::storage::{Pending, Storage};
use crate::mail::plain::{self, PlainOptions};
use crate::mail::{Content, PlainError};
use crate::smtp::refused::RefusedRecipient;
use crate::spool::SpoolError;
use crate::spool::record::{Control, Draft, Group, Place, Ref, Submission};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmta_config::{AddDate, SourceSettings};

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("specified Virtual MTA '{0}' does not exist")]
    NoSuchVmta(String),
    #[error("message: {0}")]
    Message(#[from] PlainError),
    #[error("{field}: {problem}")]
    Header { field: String, problem: String },
    #[error(transparent)]
    Recipients(#[from] SubmissionError),
    #[error(transparent)]
    Merged(#[from] MergedError),
    #[error(transparent)]
    Pool(#[from] MembersError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("memory is low, try again later")]
    Memory,
    #[error("too many recipients wait, try again later")]
    Crowded,
    #[error("the engine is stopping")]
    Stopping,
}

/// A message on its way to stable storage.
pub struct Underway {
    pending: Pending,
    ready: Vec<Ready>,
}

/// A submission ready for the spool, and what its queues will have to know.
pub(super) struct Ready {
    pub submission: Submission,
    pub content: Arc<[u8]>,
    /// Places of content and header in the group; rows follow the header.
    pub content_at: usize,
    pub header_at: usize,
    /// Of each `Rows` draft: domain and VMTA of each row.
    pub routes: Vec<Vec<(Arc<str>, Arc<str>)>>,
}

impl Ready {
    /// Puts a submission into a group, of the content that stands at this place in it.
    pub fn put(
        drafts: &mut Vec<Draft>,
        submission: Submission,
        (content_at, content): (usize, Arc<[u8]>),
        records: Vec<Rows>,
    ) -> Ready {
        let header_at = drafts.len();
        let route = |Rows { draft, domains }: &Rows| {
            let vmtas: Vec<Arc<str>> = draft.vmtas.iter().map(|name| name.as_str().into()).collect();
            let vmtas = draft.vmta.iter().map(|vmta| vmtas[usize::from(*vmta)].clone());
            domains.iter().cloned().zip(vmtas).collect()
        };
        let routes = records.iter().map(route).collect();
        let (at, rows_of) = (Ref::Here(content_at), Ref::Here(header_at));
        drafts.push(Draft::Accepted { submission: submission.clone(), content: at });
        drafts.extend(records.into_iter().map(|rows| Draft::Rows { submission: rows_of, rows: rows.draft }));
        Ready { submission, content, content_at, header_at, routes }
    }
}

/// The way in.
pub struct Intake {
    pub storage: Storage,
    pub owners: Owners,
    pub configured: Arc<ArcSwap<Configured>>,
    /// Whose turn it is, by pool.
    rotations: Mutex<HashMap<String, Rotation>>,
    /// Keys the rotations' hashes.
    key: [u8; 16],
    dated: ArcSwap<Dated>,
    pub warming: Arc<Warmings>,
    pub login_failures: LoginFailures,
    pub accounts: SystemAccounts,
    pub memory: Pressure,
    /// `spool-max-recipients`.
    pub crowd: Pressure,
    /// Set when the engine stops: nothing new is begun.
    pub stopping: AtomicBool,
    /// Received since the start, for status.
    pub received: Counts,
}

/// The date of a second as headers have it.
pub(super) struct Dated {
    second: i64,
    pub text: String,
}

impl Intake {
    pub fn new(
        storage: Storage,
        owners: Owners,
        configured: Arc<ArcSwap<Configured>>,
        warming: Arc<Warmings>,
    ) -> Intake {
        let key = fastrand::u128(..).to_le_bytes();
        Intake {
            storage,
            owners,
            configured,
            rotations: Mutex::default(),
            key,
            dated: ArcSwap::from_pointee(Dated { second: i64::MIN, text: String::new() }),
            warming,
            login_failures: LoginFailures::default(),
            accounts: SystemAccounts::default(),
            memory: Pressure::default(),
            crowd: Pressure::default(),
            stopping: AtomicBool::new(false),
            received: Counts::default(),
        }
    }

    /// Whether new mail is taken at all.
    ///
    /// # Errors
    /// What there is too much of.
    pub fn has_room(&self) -> Result<(), Refused> {
        match (self.memory.is_high(), self.crowd.is_high()) {
            (true, _) => Err(Refused::Memory),
            (_, true) => Err(Refused::Crowded),
            _ => Ok(()),
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Takes a message on a reactor's thread: checks it, waits until it is durable and hands its recipients to their
    /// queues. Returns the message's name.
    pub async fn take(
        &self,
        reactor: &Rc<Reactor>,
        handed: &Handed<'_>,
        source: &SourceSettings,
    ) -> Result<String, Refused> {
        let (group, ready) = self.prepare(handed, source, reactor.clock().now().wall)?;
        let committed = reactor.commits().commit(group).await?;
        let (split, id) = self.split(&committed.places, ready);
        reactor.hand_over(split.into_shards()).await;
        Ok(id)
    }

    /// Takes several messages like [`Intake::take`], all of them or none.
    pub async fn take_all(
        &self,
        reactor: &Rc<Reactor>,
        messages: &[Handed<'_>],
        source: &SourceSettings,
    ) -> Result<(), Refused> {
        let now = reactor.clock().now().wall;
        let mut together = Group::default();
        let mut begun = Vec::with_capacity(messages.len());
        for handed in messages {
            let (group, ready) = self.prepare(handed, source, now)?;
            begun.push((together.drafts.len(), ready));
            together.append(group);
        }
        let committed = reactor.commits().commit(together).await?;
        for (first, ready) in begun {
            let split = self.split(&committed.places[first..], ready).0;
            reactor.hand_over(split.into_shards()).await;
        }
        Ok(())
    }

    /// Checks a message and puts it on the way to the spool, blocking while that is full; [`Intake::queue_blocking`]
    /// follows.
    pub fn take_blocking(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<Underway, Refused> {
        let (group, ready) = self.prepare(handed, source, now)?;
        Ok(Underway { pending: self.storage.submit(group), ready })
    }

    /// The same for whoever must not block its thread.
    pub async fn take_waiting(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<Underway, Refused> {
        let (group, ready) = self.prepare(handed, source, now)?;
        Ok(Underway { pending: self.storage.submit_async(group).await, ready })
    }

    /// Waits until the message is durable; its recipients are then to be handed to their queues.
    pub async fn durable(&self, underway: Underway) -> Result<Split, Refused> {
        let committed = underway.pending.await?;
        Ok(self.split(&committed.places, underway.ready).0)
    }

    /// Waits until the message is durable and hands its recipients to their queues. Returns the message's name.
    pub fn queue_blocking(&self, underway: Underway) -> Result<String, Refused> {
        let committed = underway.pending.wait()?;
        let (split, id) = self.split(&committed.places, underway.ready);
        self.owners.admit_blocking(split).map_err(|_| Refused::Stopping)?;
        Ok(id)
    }

    /// Takes a message of the engine's own for one recipient, in one commit with what it is about. Its recipient is then
    /// to be handed to his queue.
    pub async fn take_own(
        &self,
        submission: Submission,
        content: &Content,
        recipient: &str,
        about: Option<Draft>,
    ) -> Result<Split, Refused> {
        let vmta = submission.virtual_mta.clone();
        let members = self.configured.load().members(&vmta).unwrap_or_else(|| vec!["{default}".to_owned()]);
        let submitted = self.in_turn(vmta, &members, |rotation| {
            submission::plain(submission, content, [recipient], &[], rotation)
        })??;
        let (mut group, ready) = ready(submitted);
        group.drafts.extend(about);
        let committed = self.storage.submit_async(group).await.await?;
        Ok(self.split(&committed.places, vec![ready]).0)
    }

    /// For recipients that are handed over `now`.
    pub fn new_split(&self, now: Wall) -> Split {
        Split::new(self.owners.shards(), self.configured.load_full(), now)
    }

    /// The recipients of a message by the shard of their queues, and the message's name.
    fn split(&self, places: &[Place], submissions: Vec<Ready>) -> (Split, String) {
        let accepted_at = submissions.first().map_or(0, |first| first.submission.accepted_at);
        let mut split = self.new_split(Wall(accepted_at));
        let name = submissions.first().map(|first| format!("{:x}", first.submission.id));
        self.received.add(1, 0, 0);
        for Ready { mut submission, content, content_at, header_at, routes } in submissions {
            submission.content = places[content_at].at;
            let recipients = routes.iter().map(Vec::len).sum::<usize>() as u64;
            self.received.add(0, recipients, u64::from(submission.size));
            let accepted = Accepted::new(places[header_at].at, &submission, Some(content));
            for (place, rows) in places[header_at + 1..].iter().zip(&routes) {
                let rows = rows.iter().enumerate().map(|(i, (domain, vmta))| (i as u16, 0, domain, vmta));
                split.add(&accepted, *place, rows);
            }
        }
        (split, name.unwrap_or_default())
    }

    fn prepare(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<(Group, Vec<Ready>), Refused> {
        self.has_room()?;
        let (mut group, mut readies) = match handed.merge {
            Some(merge) => self.prepare_merged(handed, merge, source, now),
            None => self.prepare_plain(handed, source, now),
        }?;
        self.cool(&mut group, &mut readies, now);
        Ok((group, readies))
    }

    fn prepare_plain(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<(Group, Vec<Ready>), Refused> {
        let configured = self.configured.load();
        let spoken = Spoken::read(handed.message, source)?;
        let asked = handed.virtual_mta.map(str::to_owned).or(spoken.virtual_mta);
        let Way { virtual_mta: asked, members, priority } = choice::way(asked, handed, source, &configured)?;
        let id = self.storage.new_id();
        let remove = spoken::removed(source);
        let message = self.finish_message(handed, source, &remove, &configured.host, id, now)?;
        let message = choice::named(message, &asked, source)?;
        let content = Content::plain_utf8(message, handed.smtputf8);
        let submission = Submission {
            id,
            job: spoken::job(handed.job, spoken.job, source, handed.smtp_user),
            envid: handed.envid.map(str::to_owned).or(spoken.envid).unwrap_or_default(),
            virtual_mta: asked.clone(),
            schedule: spoken.schedule,
            priority,
            ..handed.header(source, now)
        };
        let bouncing = (!handed.refused.is_empty()).then(|| submission.clone());
        let (mut group, mut readies) = (Group::default(), Vec::new());
        // Where there is nobody at all, this says so.
        if bouncing.is_none() || !handed.recipients.is_empty() {
            let (made, ready) = self.send(handed, source, submission, &content, &members)?;
            (group, readies) = (made, vec![ready]);
        }
        if let Some(submission) = bouncing {
            let id = if readies.is_empty() { id } else { self.storage.new_id() };
            let submission = Submission { id, reports: handed.reports_of_refused(source), ..submission };
            let vmta = members.first().map_or("", String::as_str);
            readies.push(bounce(submission, &content, handed.refused, vmta, &mut group.drafts));
        }
        Ok((group, readies))
    }

    /// A message for those it is sent to.
    fn send(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        submission: Submission,
        content: &Content,
        members: &[String],
    ) -> Result<(Group, Ready), Refused> {
        let forwarded = forwarding::forwarded(handed, &self.configured.load());
        let (recipients, dsn) = match &forwarded {
            Some((recipients, dsn)) => (recipients.as_slice(), dsn.as_slice()),
            None => (handed.recipients, handed.dsn),
        };
        let copy = choice::copied(recipients, source);
        let dsn = choice::reports(dsn, recipients.len(), copy);
        let recipients = recipients.iter().map(String::as_str).chain(copy);
        let submitted = self.in_turn(submission.virtual_mta.clone(), members, |rotation| {
            submission::plain(submission, content, recipients, &dsn, rotation)
        })??;
        Ok(ready(submitted))
    }

    /// Gives recipients of a pool their VMTAs: whose turn it is is known over all messages.
    pub fn in_turn<T>(
        &self,
        pool: String,
        members: &[String],
        give: impl FnOnce(&mut Rotation) -> T,
    ) -> Result<T, MembersError> {
        let mut rotations = self.rotations.lock().unwrap_or_else(PoisonError::into_inner);
        let rotation = match rotations.entry(pool) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Rotation::new(members, &self.key)?),
        };
        if rotation.members() != members {
            *rotation = Rotation::new(members, &self.key)?;
        }
        Ok(give(rotation))
    }

    /// The date of a header; the same for all messages of a second.
    pub(super) fn date(&self, now: Wall) -> Arc<Dated> {
        let second = now.as_secs();
        let known = self.dated.load_full();
        if known.second == second {
            return known;
        }
        let dated = Arc::new(Dated { second, text: plain::date(now) });
        self.dated.store(dated.clone());
        dated
    }

    /// Takes out the headers that spoke to us and adds those the source asks for.
    pub(super) fn finish_message(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        remove: &[&str],
        host: &str,
        id: u64,
        now: Wall,
    ) -> Result<Vec<u8>, Refused> {
        let date = self.date(now);
        let name = format!("{id:x}");
        let message_id = source
            .add_message_id_header
            .then(|| format!("<{}@{host}>", self.configured.load().message_name(id)));
        let mut remove = remove.to_vec();
        if source.add_date_header == AddDate::Override {
            remove.push("date");
        }
        if !handed.authentication.is_empty() {
            // What a client brings along of it may not pass for ours (RFC 8601 section 5).
            remove.push(authenticity::FIELD);
        }
        let dates = source.add_date_header != AddDate::No && !at_delivery::dated(source);
        let options = PlainOptions {
            authentication: handed.authentication,
            lf_ends_lines: handed.lf_ends_lines,
            remove: &remove,
            received: handed.received(source, host, &name, &date.text),
            date: dates.then_some(date.text.as_str()),
            message_id: message_id.as_deref(),
        };
        Ok(plain::prepare_plain(handed.message, &options)?)
    }
}

/// Takes from a finished group what the queues need.
fn ready(submitted: Submitted) -> (Group, Ready) {
    let Submitted { group, routes } = submitted;
    let mut made = Ready {
        submission: Submission::default(),
        content: Arc::from([]),
        content_at: 0,
        header_at: 1,
        routes: Vec::new(),
    };
    let mut vmtas: Vec<Arc<str>> = Vec::new();
    for draft in &group.drafts {
        match draft {
            Draft::Content(bytes) => made.content = bytes.clone(),
            Draft::Accepted { submission, .. } => made.submission = submission.clone(),
            Draft::Rows { rows, .. } => {
                if vmtas.is_empty() {
                    vmtas = rows.vmtas.iter().map(|name| name.as_str().into()).collect();
                }
                made.routes.push(Vec::with_capacity(rows.ends.len()));
            }
            Draft::Outcomes(_) | Draft::Control(_) => {}
        }
    }
    for route in routes {
        let Draft::Rows { rows, .. } = &group.drafts[route.draft] else { continue };
        let vmta = vmtas[usize::from(rows.vmta[usize::from(route.index)])].clone();
        made.routes[route.draft - 1 - made.header_at].push((route.domain, vmta));
    }
    (group, made)
}

/// Puts recipients who bounce at once into a group: as a submission of their own, of the content that others are sent.
fn bounce(
    submission: Submission,
    content: &Content,
    refused: &[RefusedRecipient],
    vmta: &str,
    drafts: &mut Vec<Draft>,
) -> Ready {
    let bytes = match drafts.first() {
        Some(Draft::Content(bytes)) => bytes.clone(),
        _ => {
            let bytes = submission::stored(content);
            drafts.push(Draft::Content(bytes.clone()));
            if !submission.pickup_identity.is_empty() {
                let identity = submission.pickup_identity.clone();
                drafts.push(Draft::Control(Control::PickupDone { identity }));
            }
            bytes
        }
    };
    let (submission, records) = submission::refused(submission, content, refused, vmta);
    Ready::put(drafts, submission, (0, bytes), records)
}
