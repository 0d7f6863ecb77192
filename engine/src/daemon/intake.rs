//! From a finished message to durable, queued recipients: what SMTP submission and pickup files have in common.

use super::owners::{Accepted, Owners, Split};
use super::profiles::Configured;
use crate::base::Wall;
use crate::mail::plain::{self, PlainOptions, Received};
use crate::mail::{Content, PlainError, header::Header, normalise_domain};
use crate::io::storage::{Pending, Storage};
use crate::spool::SpoolError;
use crate::spool::record::{Committed, Control, Draft, Group, Ref, RowsDraft, Submission};
use crate::mail::row::put_value;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmta_config::{AddDate, SourceSettings};

/// A message as a front door hands it over.
#[derive(Debug, Default)]
pub struct Handed<'a> {
    pub sender: &'a str,
    pub recipients: &'a [String],
    pub message: &'a [u8],
    /// LF ends a line too (files).
    pub lf_ends_lines: bool,
    /// What the envelope says about them; a header that is allowed to say so may say otherwise.
    pub job: Option<&'a str>,
    pub envid: Option<&'a str>,
    pub virtual_mta: Option<&'a str>,
    pub smtputf8: bool,
    /// Accounting's `srcType`.
    pub source_type: &'static str,
    /// Name the client gave for itself; empty where there is none.
    pub client_name: &'a str,
    pub client_ip: String,
    pub local_ip: String,
    /// Identity of the pickup file, empty for other doors (F26).
    pub pickup_identity: String,
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("specified Virtual MTA '{0}' does not exist")]
    NoSuchVmta(String),
    #[error("message: {0}")]
    Message(#[from] PlainError),
    #[error("{field}: {problem}")]
    Header { field: &'static str, problem: String },
    #[error("recipient {0}: {1}")]
    Recipient(String, String),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the engine is stopping")]
    Stopping,
}

/// A message on its way to stable storage.
pub struct Underway {
    pending: Pending,
    submission: Submission,
    content: Arc<[u8]>,
    /// Domain and VMTA of each recipient.
    routes: Vec<(Arc<str>, Arc<str>)>,
}

/// The way in.
pub struct Intake {
    pub storage: Storage,
    pub owners: Owners,
    pub configured: Arc<ArcSwap<Configured>>,
    /// Whose turn it is in each pool, by pool and domain.
    turns: Mutex<HashMap<(String, Arc<str>), usize>>,
    /// Received since the start, for status.
    pub received: Counts,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub messages: AtomicU32,
    pub recipients: std::sync::atomic::AtomicU64,
    pub bytes: std::sync::atomic::AtomicU64,
}

/// Pools and domains whose turn is remembered; beyond it rotation starts afresh.
const MOST_TURNS: usize = 1 << 20;

/// Headers that speak to the engine: (name, honoured by, kept by).
struct Spoken {
    virtual_mta: Option<String>,
    job: Option<String>,
    envid: Option<String>,
    remove: Vec<&'static str>,
}

impl Intake {
    pub fn new(storage: Storage, owners: Owners, configured: Arc<ArcSwap<Configured>>) -> Intake {
        Intake { storage, owners, configured, turns: Mutex::default(), received: Counts::default() }
    }

    /// Checks a message and puts it on the way to the spool; [`Intake::queue`] follows when it is durable.
    pub async fn take(&self, handed: Handed<'_>, source: &SourceSettings, now: Wall) -> Result<Underway, Refused> {
        let (group, submission, content, routes) = self.prepare(handed, source, now)?;
        let pending = self.storage.submit_async(group).await;
        Ok(Underway { pending, submission, content, routes })
    }

    /// The same for a thread that may block.
    pub fn take_blocking(&self, handed: Handed<'_>, source: &SourceSettings, now: Wall) -> Result<Underway, Refused> {
        let (group, submission, content, routes) = self.prepare(handed, source, now)?;
        let pending = self.storage.submit(group);
        Ok(Underway { pending, submission, content, routes })
    }

    /// Waits until the message is durable and hands its recipients to their queues. Returns the message's name.
    pub async fn queue(&self, underway: Underway) -> Result<String, Refused> {
        let Underway { pending, submission, content, routes } = underway;
        let committed = pending.await?;
        let (split, id) = self.split(&committed, submission, content, &routes);
        self.owners.admit(split).await.map_err(|_| Refused::Stopping)?;
        Ok(id)
    }

    pub fn queue_blocking(&self, underway: Underway) -> Result<String, Refused> {
        let Underway { pending, submission, content, routes } = underway;
        let committed = pending.wait()?;
        let (split, id) = self.split(&committed, submission, content, &routes);
        self.owners.admit_blocking(split).map_err(|_| Refused::Stopping)?;
        Ok(id)
    }

    fn split(
        &self,
        committed: &Committed,
        mut submission: Submission,
        content: Arc<[u8]>,
        routes: &[(Arc<str>, Arc<str>)],
    ) -> (Split, String) {
        submission.content = committed.places[0].at;
        self.received.messages.fetch_add(1, Ordering::Relaxed);
        self.received.recipients.fetch_add(routes.len() as u64, Ordering::Relaxed);
        self.received.bytes.fetch_add(u64::from(submission.size), Ordering::Relaxed);
        let accepted = Accepted::new(committed.places[1].at, &submission, Some(content));
        let mut split = Split::new(self.owners.shards());
        let rows = routes.iter().enumerate().map(|(i, (domain, vmta))| (i as u16, 0, domain, vmta));
        split.add(&accepted, committed.places[2], rows);
        (split, format!("{:x}", submission.id))
    }

    #[allow(clippy::type_complexity)] // The parts of one message; they part ways at once.
    fn prepare(
        &self,
        handed: Handed<'_>,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<(Group, Submission, Arc<[u8]>, Vec<(Arc<str>, Arc<str>)>), Refused> {
        let configured = self.configured.load();
        let spoken = spoken(handed.message, source)?;
        let asked = handed.virtual_mta.map(str::to_owned).or(spoken.virtual_mta);
        let asked = asked.or_else(|| source.default_virtual_mta.clone()).unwrap_or_default();
        let members = match configured.members(&asked) {
            Some(members) => members,
            None if source.reject_invalid_virtual_mta => return Err(Refused::NoSuchVmta(asked)),
            None => vec!["{default}".to_owned()],
        };
        let id = self.storage.new_id();
        let message = self.finish_message(&handed, source, &spoken.remove, &configured.host, id, now)?;
        let size = message.len() as u32;
        let content = Content::plain_utf8(message, handed.smtputf8);
        let eight_bit = content.needs_8bit();
        let mut stored = Vec::with_capacity(size as usize + 64);
        content.encode(&mut stored);
        let stored: Arc<[u8]> = stored.into();
        let submission = Submission {
            id,
            sender: handed.sender.to_owned(),
            job: handed.job.map(str::to_owned).or(spoken.job).unwrap_or_default(),
            envid: handed.envid.map(str::to_owned).or(spoken.envid).unwrap_or_default(),
            virtual_mta: asked.clone(),
            source_type: handed.source_type.to_owned(),
            source_mta: if handed.client_name.is_empty() && handed.client_ip.is_empty() {
                String::new()
            } else {
                format!("{} ({})", handed.client_name, handed.client_ip)
            },
            received_from_ip: handed.client_ip.clone(),
            received_on_ip: handed.local_ip.clone(),
            accepted_at: now.0,
            size,
            eight_bit,
            smtputf8: handed.smtputf8,
            pickup_identity: handed.pickup_identity.clone(),
            ..Submission::default()
        };
        let (rows, routes) = self.rows(handed.recipients, &asked, &members)?;
        let mut drafts = vec![
            Draft::Content(stored.clone()),
            Draft::Accepted { submission: submission.clone(), content: Ref::Here(0) },
            Draft::Rows { submission: Ref::Here(1), rows },
        ];
        if !handed.pickup_identity.is_empty() {
            drafts.push(Draft::Control(Control::PickupDone { identity: handed.pickup_identity }));
        }
        Ok((Group { drafts }, submission, stored, routes))
    }

    /// Takes out the headers that spoke to us and adds those the source asks for.
    fn finish_message(
        &self,
        handed: &Handed<'_>,
        source: &SourceSettings,
        remove: &[&str],
        host: &str,
        id: u64,
        now: Wall,
    ) -> Result<Vec<u8>, Refused> {
        let date = plain::date(now);
        let (name, message_id) = (format!("{id:x}"), format!("<{id:x}@{host}>"));
        let mut remove = remove.to_vec();
        if source.add_date_header == AddDate::Override {
            remove.push("date");
        }
        let hidden = source.hide_message_source;
        let received = Received {
            from: if hidden { host } else { handed.client_name },
            ip: if hidden { "localhost" } else { &handed.client_ip },
            by: host,
            id: &name,
            recipient: match handed.recipients {
                [one] => Some(one),
                _ => None,
            },
            date: &date,
            sender: handed.sender,
        };
        let options = PlainOptions {
            lf_ends_lines: handed.lf_ends_lines,
            remove: &remove,
            received: (source.add_received_header && handed.source_type == "smtp").then_some(received),
            date: (source.add_date_header != AddDate::No).then_some(date.as_str()),
            message_id: source.add_message_id_header.then_some(message_id.as_str()),
        };
        Ok(plain::prepare_plain(handed.message, &options)?)
    }

    #[allow(clippy::type_complexity)] // Rows and, beside each, its domain and VMTA.
    fn rows(
        &self,
        recipients: &[String],
        pool: &str,
        members: &[String],
    ) -> Result<(RowsDraft, Vec<(Arc<str>, Arc<str>)>), Refused> {
        let vmtas: Vec<Arc<str>> = members.iter().map(|m| m.as_str().into()).collect();
        let mut rows = RowsDraft { vmtas: members.to_vec(), ..RowsDraft::default() };
        let mut routes = Vec::with_capacity(recipients.len());
        let mut domains: HashMap<String, Arc<str>> = HashMap::new();
        let mut normal = String::new();
        for recipient in recipients {
            let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
            normal.clear();
            normalise_domain(domain, &mut normal)
                .map_err(|e| Refused::Recipient(recipient.clone(), e.to_string()))?;
            let domain = domains.entry(normal.clone()).or_insert_with(|| normal.as_str().into()).clone();
            let turn = if members.len() == 1 { 0 } else { self.turn(pool, &domain) % members.len() };
            put_value(&mut rows.bytes, recipient);
            rows.ends.push(rows.bytes.len() as u32);
            rows.vmta.push(turn as u8);
            routes.push((domain, vmtas[turn].clone()));
        }
        Ok((rows, routes))
    }

    /// Members of a pool take turns for each domain, so that every provider sees all of them alike.
    fn turn(&self, pool: &str, domain: &Arc<str>) -> usize {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= MOST_TURNS {
            turns.clear();
        }
        let turn = turns.entry((pool.to_owned(), domain.clone())).or_insert(0);
        *turn = turn.wrapping_add(1);
        *turn - 1
    }
}

/// Reads the headers that speak to the engine (reference 6.2); all of them are taken out unless the source retains
/// them.
fn spoken(message: &[u8], source: &SourceSettings) -> Result<Spoken, Refused> {
    let header = Header::scan(message);
    let value = |field: &'static str, honoured: bool| -> Result<Option<String>, Refused> {
        let Some(found) = header.find(field).filter(|_| honoured) else { return Ok(None) };
        let text = String::from_utf8(header.unfolded(found))
            .map_err(|_| Refused::Header { field, problem: "is not UTF-8".to_owned() })?;
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            let problem = format!("{text:?} holds white space or control characters");
            return Err(Refused::Header { field, problem });
        }
        Ok(Some(text).filter(|t| !t.is_empty()))
    };
    let mut remove: Vec<&'static str> = plain::CONTROL_HEADERS.to_vec();
    let retained = [("x-virtual-mta", source.retain_x_virtual_mta), ("x-job", source.retain_x_job)];
    remove.retain(|name| !retained.contains(&(name, true)));
    Ok(Spoken {
        virtual_mta: value("x-virtual-mta", source.process_x_virtual_mta)?,
        job: value("x-job", source.process_x_job)?,
        envid: value("x-envid", source.process_x_envid)?,
        remove,
    })
}
