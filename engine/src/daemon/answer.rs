//! Answers to what the command line asks: the shards' answers added up.

use super::accounting::Accounting;
use super::answer_modes;
use super::control::{
    Connections, DeleteQuery, DomainRow, Flow, JobRow, LastError, ListQuery, Listing, Mode, QueueQuery,
    QueueRow, Reply, Request, Setting, Sort, SpoolStatus, Status, Traffic, VmtaRow, Waiting, WhyQueue,
    WhyRecipient, WhyReport,
};
use super::intake::Intake;
use super::memory;
use super::meter::Meter;
use super::owners::Stopping;
use super::reload::{Parts, Reloader};
use crate::base::Wall;
use crate::io::clock::{Clock, wall};
use crate::io::smtp_places::Clients;
use crate::limit::Shared;
use crate::shard::{Found, QueuePattern, QueueState, Selection, ShardReply, ShardRequest, ShardStatus};
use crate::spool::record::{Control, Draft, Group};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Recipients that `why` shows at most.
const MOST_FOUND: usize = 20;

pub struct Answerer {
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    clients: Arc<Clients>,
    accounting: Arc<Accounting>,
    reloader: Reloader,
    clock: Clock,
    started: Wall,
    stop: watch::Sender<bool>,
    meters: Mutex<(Meter, Meter)>,
    top_in: AtomicU64,
    top_out: AtomicU64,
}

impl Answerer {
    /// Answers about `parts`; a reload reads `config` again.
    pub fn new(parts: Parts, config: Option<PathBuf>, clock: Clock, stop: watch::Sender<bool>) -> Answerer {
        Answerer {
            intake: parts.intake.clone(),
            shared: parts.shared.clone(),
            clients: parts.clients.clone(),
            accounting: parts.accounting.clone(),
            reloader: Reloader::new(config, parts),
            clock,
            started: wall(),
            stop,
            meters: Mutex::default(),
            top_in: AtomicU64::new(0),
            top_out: AtomicU64::new(0),
        }
    }

    pub async fn answer(&self, request: Request) -> Reply {
        let reply = match request {
            Request::Status => self.status().await.map(|s| Reply::Status(Box::new(s))),
            Request::Queues(query) => self.queues(&query).await.map(Reply::Queues),
            Request::Domains(query) => self.domains(&query).await.map(Reply::Domains),
            Request::Vmtas(query) => self.vmtas(query).await.map(Reply::Vmtas),
            Request::Jobs(query) => self.jobs(query).await.map(Reply::Jobs),
            Request::PauseQueue { queue } => self.pause(&queue, true).await,
            Request::ResumeQueue { queue } => self.pause(&queue, false).await,
            Request::Delete(query) => self.delete(query).await,
            Request::SetMode { queue, mode } => self.set_mode(&queue, mode).await,
            Request::DisableSource { queue, address, reenable_after } => {
                self.disable_source(&queue, address, reenable_after).await
            }
            Request::EnableSource { queue, address } => self.enable_source(&queue, address).await,
            Request::DisabledSources { queue } => self.disabled_sources(&queue).await,
            Request::Why { what } => self.why(&what).await.map(Reply::Why),
            Request::RotateAcct { file } => {
                self.accounting.rotate(file.map(PathBuf::from));
                Ok(done("Accounting file rotated.", 1))
            }
            Request::Warming => {
                let rows = self.intake.warming.rows(&self.intake.configured.load(), wall());
                Ok(Reply::Warming(Listing { total: rows.len() as u64, rows }))
            }
            Request::SetWarming { vmta, domain, order } => {
                let configured = self.intake.configured.load();
                let told = self.intake.warming.order(&configured, &vmta, &domain, order, wall());
                Ok(told.map_or_else(|message| Reply::Error { message }, |told| done(&told, 1)))
            }
            Request::Reload => self.reloader.reload().await,
            Request::Stop => {
                self.stop.send_replace(true);
                Ok(done("Stopping.", 1))
            }
        };
        reply.unwrap_or_else(|Stopping| Reply::Error { message: "the engine is stopping".to_owned() })
    }

    /// Counts of all shards.
    pub async fn counts(&self) -> Result<ShardStatus, Stopping> {
        let mut sum = ShardStatus::default();
        for reply in self.intake.owners.ask(&ShardRequest::Status).await? {
            if let ShardReply::Status(one) = reply {
                sum.add(&one);
            }
        }
        Ok(sum)
    }

    /// Domains that have mail, and the bytes of all that waits.
    async fn waiting(&self) -> Result<(u64, u64), Stopping> {
        let (mut all, mut sum) = (Vec::new(), 0);
        for reply in self.intake.owners.ask(&ShardRequest::Waiting).await? {
            if let ShardReply::Waiting { bytes, domains } = reply {
                sum += bytes;
                all.extend(domains);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok((all.len() as u64, sum))
    }

    /// Looks whether there is room for new mail; to be called once a second.
    pub fn look_for_room(&self) {
        let configured = self.intake.configured.load();
        let global = configured.config.global();
        let limit =
            global.memory_soft_limit.unwrap_or_else(|| memory::limit(global.max_memory_usage_percent));
        let used = memory::used();
        if self.intake.memory.look(used, limit) {
            let high = self.intake.memory.is_high();
            self.clients.set_shut(high);
            match high {
                true => tracing::warn!(used, limit, "memory is low: no new mail is taken"),
                false => tracing::info!(used, limit, "there is memory again: mail is taken"),
            }
        }
        let (waiting, limit) = (self.intake.storage.status().live_rows, global.spool_max_recipients);
        if self.intake.crowd.look(waiting, limit.unwrap_or(u64::MAX)) {
            match self.intake.crowd.is_high() {
                true => tracing::warn!(waiting, "spool-max-recipients is reached: no new mail is taken"),
                false => tracing::info!(waiting, "fewer recipients wait: mail is taken"),
            }
        }
    }

    /// Samples the traffic; to be called once a second.
    pub async fn sample(&self) -> Result<(), Stopping> {
        let (inbound, outbound) = (self.inbound(), outbound(&self.counts().await?));
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.0.sample(inbound);
        meters.1.sample(outbound);
        Ok(())
    }

    fn inbound(&self) -> Traffic {
        let received = &self.intake.received;
        Traffic {
            rcpts: received.recipients.load(Ordering::Relaxed),
            msgs: received.messages.load(Ordering::Relaxed),
            bytes: received.bytes.load(Ordering::Relaxed),
        }
    }

    fn flows(&self, counts: &ShardStatus) -> (Flow, Flow) {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        (meters.0.flow(self.inbound()), meters.1.flow(outbound(counts)))
    }

    async fn status(&self) -> Result<Status, Stopping> {
        let counts = self.counts().await?;
        let (inbound, outbound) = self.flows(&counts);
        let (domains, bytes) = self.waiting().await?;
        let storage = self.intake.storage.status();
        let (inward, outward) = (self.clients.total() as u64, u64::from(self.shared.open()));
        let top = |cell: &AtomicU64, now| cell.fetch_max(now, Ordering::Relaxed).max(now);
        let global = self.intake.configured.load();
        let mut alarms = Vec::new();
        alarms.extend(self.accounting.status().trouble.map(|t| format!("accounting: {t}")));
        alarms.extend(storage.full.then(|| "spool: disk space is low, new mail is refused".to_owned()));
        alarms.extend(self.intake.has_room().err().map(|why| format!("no new mail is taken: {why}")));
        let reloads = self.reloader.reloads();
        alarms.extend(
            reloads.failure.map(|why| {
                format!("the last reload failed, the configuration before it is in effect: {why}")
            }),
        );
        alarms.extend(storage.failed.as_ref().map(|e| format!("spool: {e}")));
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: global.host.to_string(),
            state: if *self.stop.borrow() { "stopping" } else { "running" }.to_owned(),
            now: wall().0,
            started_at: self.started.0,
            shards: self.intake.owners.shards() as u32,
            inbound,
            outbound,
            connections_in: Connections {
                active: inward,
                top: top(&self.top_in, inward),
                maximum: u64::from(global.config.global().total_max_smtp_in),
            },
            connections_out: Connections {
                active: outward,
                top: top(&self.top_out, outward),
                maximum: u64::from(self.shared.total()),
            },
            smtp_queues: Waiting { rcpts: counts.waiting, domains, bytes },
            spool: SpoolStatus {
                back_end: storage.back_end.to_owned(),
                bytes_written: storage.bytes_written,
                writes: storage.writes,
                syncs: storage.syncs,
                segments_used: u64::from(storage.segments_used),
                segments_free: u64::from(storage.segments_free),
                in_doubt: storage.in_doubt,
                recovered: true,
            },
            reloads: reloads.done,
            failed_reloads: reloads.failed,
            alarms,
            ..Status::default()
        })
    }

    /// The queues that fit, of all shards.
    pub async fn states(&self, pattern: &QueuePattern) -> Result<Vec<QueueState>, Stopping> {
        let request = ShardRequest::Find { address: None, queue: pattern.clone(), limit: 0 };
        let mut states = Vec::new();
        for reply in self.intake.owners.ask(&request).await? {
            if let ShardReply::Found { queues, .. } = reply {
                states.extend(queues);
            }
        }
        Ok(states)
    }

    async fn selected(&self, query: &QueueQuery) -> Result<Vec<QueueState>, Stopping> {
        let pattern =
            if query.pattern.is_empty() { QueuePattern::all() } else { QueuePattern::parse(&query.pattern) };
        let mut states = self.states(&pattern).await?;
        states.retain(|s| {
            query.vmta.as_ref().is_none_or(|v| v.eq_ignore_ascii_case(&s.name.vmta))
                && query.connected.is_none_or(|c| c == (s.connections > 0))
                && query.paused.is_none_or(|p| p == s.paused)
                && query.mode.is_none_or(|m| m == answer_modes::mode(s))
        });
        Ok(states)
    }

    async fn queues(&self, query: &QueueQuery) -> Result<Listing<QueueRow>, Stopping> {
        let rows = self.selected(query).await?.into_iter().map(queue_row).collect();
        Ok(listing(rows, query.sort, query.max_items, |r: &QueueRow| (&r.name, r.rcpts)))
    }

    async fn domains(&self, query: &QueueQuery) -> Result<Listing<DomainRow>, Stopping> {
        let mut rows: BTreeMap<Arc<str>, DomainRow> = BTreeMap::new();
        for state in self.selected(query).await? {
            let row = rows.entry(state.name.domain.clone()).or_default();
            row.name = state.name.domain.to_string();
            row.rcpts += state.waiting + state.in_flight;
            row.bytes += state.bytes;
            row.connections += state.connections as u32;
            let error = state.last_error.map(|(at, text)| LastError { at: at.0, text });
            if error.as_ref().map(|e| e.at) > row.last_error.as_ref().map(|e| e.at) {
                row.last_error = error;
            }
        }
        Ok(listing(rows.into_values().collect(), query.sort, query.max_items, |r| (&r.name, r.rcpts)))
    }

    async fn vmtas(&self, query: ListQuery) -> Result<Listing<VmtaRow>, Stopping> {
        let mut rows: BTreeMap<Arc<str>, VmtaRow> = BTreeMap::new();
        for state in self.states(&QueuePattern::all()).await? {
            let row = rows.entry(state.name.vmta.clone()).or_default();
            row.name = state.name.vmta.to_string();
            row.domains += u64::from(state.waiting + state.in_flight > 0);
            row.rcpts += state.waiting + state.in_flight;
            row.bytes += state.bytes;
            row.connections += state.connections as u32;
        }
        Ok(listing(rows.into_values().collect(), query.sort, query.max_items, |r| (&r.name, r.rcpts)))
    }

    async fn jobs(&self, query: ListQuery) -> Result<Listing<JobRow>, Stopping> {
        let mut rows: BTreeMap<Arc<str>, JobRow> = BTreeMap::new();
        for reply in self.intake.owners.ask(&ShardRequest::Jobs).await? {
            let ShardReply::Jobs(jobs) = reply else { continue };
            for job in jobs.into_iter().filter(|job| !job.job.is_empty()) {
                let row = rows.entry(job.job.clone()).or_default();
                row.name = job.job.to_string();
                row.rcpts += job.waiting;
                row.bytes += job.bytes;
                row.delivered += job.delivered;
                row.bounced += job.bounced;
                row.deferrals += job.deferrals;
            }
        }
        Ok(listing(rows.into_values().collect(), query.sort, query.max_items, |r| (&r.name, r.rcpts)))
    }

    /// Pauses or resumes queues; remembered in the spool, so that it outlasts a restart.
    async fn pause(&self, queue: &str, paused: bool) -> Result<Reply, Stopping> {
        let pattern = QueuePattern::parse(queue);
        let control = Control::QueuePaused { queue: pattern.as_str().to_owned(), paused };
        let group = Group { drafts: vec![Draft::Control(control)] };
        if let Err(e) = self.intake.storage.submit_async(group).await.await {
            return Ok(Reply::Error { message: format!("the order cannot be stored: {e}") });
        }
        let count = self.count(&ShardRequest::Pause { queue: pattern, paused }).await?;
        Ok(done(if paused { "Queue(s) paused." } else { "Queue(s) resumed." }, count))
    }

    async fn delete(&self, query: DeleteQuery) -> Result<Reply, Stopping> {
        if query.queue.is_none() && query.job.is_none() {
            let message = "name the recipients to delete by --queue or --jobId".to_owned();
            return Ok(Reply::Error { message });
        }
        let selection = Selection {
            queue: query.queue.as_deref().map(QueuePattern::parse),
            job: query.job,
            envid: query.envid,
            sender: query.orig,
            recipient: query.rcpt,
        };
        let count = self.count(&ShardRequest::Delete { selection, quiet: query.quiet }).await?;
        Ok(done(&format!("{count} recipient(s) deleted."), count))
    }

    pub(super) async fn count(&self, request: &ShardRequest) -> Result<u64, Stopping> {
        let replies = self.intake.owners.ask(request).await?;
        Ok(replies.iter().map(|reply| if let ShardReply::Count(n) = reply { *n } else { 0 }).sum())
    }

    async fn why(&self, what: &str) -> Result<WhyReport, Stopping> {
        let address = what.contains('@').then(|| what.to_owned());
        let domain = what.rsplit_once('@').map_or(what, |(_, domain)| domain);
        let queue = QueuePattern::parse(domain);
        let request = ShardRequest::Find { address: address.clone(), queue, limit: MOST_FOUND };
        let (mut recipients, mut queues) = (Vec::new(), Vec::new());
        for reply in self.intake.owners.ask(&request).await? {
            if let ShardReply::Found { recipients: found, queues: states } = reply {
                recipients.extend(found);
                queues.extend(states);
            }
        }
        if address.is_some() {
            queues.retain(|q| recipients.iter().any(|r: &Found| r.queue == q.name));
        }
        let now = self.clock.now().wall;
        let summary = summary(what, address.is_some(), &recipients, &queues, now);
        Ok(WhyReport {
            subject: what.to_owned(),
            summary,
            recipients: recipients.into_iter().map(|found| why_recipient(found, &queues)).collect(),
            queues: queues.into_iter().map(|state| self.why_queue(state)).collect(),
        })
    }

    fn why_queue(&self, state: QueueState) -> WhyQueue {
        let configured = self.intake.configured.load();
        let explained = configured.config.explain_queue(&state.name.domain, &state.name.vmta);
        let (backoff, adapts) = (state.backoff.is_some(), state.adaptive.is_some());
        let decides = |name: &str| {
            MATTERS.contains(&name)
                || (backoff && name.starts_with("backoff-"))
                || (adapts && name.starts_with("adaptive-"))
        };
        let matters = explained.into_iter().filter(|e| !e.overridden && decides(e.directive));
        let settings = matters.map(|e| Setting {
            directive: e.directive.to_owned(),
            value: e.value.unwrap_or_default(),
            origin: e.origin.map_or_else(|| "default".to_owned(), |o| o.to_string()),
        });
        let disabled_sources = answer_modes::disabled_rows(&state);
        WhyQueue { row: queue_row(state), disabled_sources, settings: settings.collect() }
    }
}

/// Directives that decide when mail of a queue leaves.
const MATTERS: [&str; 10] = [
    "max-smtp-out",
    "max-msg-rate",
    "max-connect-rate",
    "max-msg-per-connection",
    "retry-after",
    "retry-recipients-after",
    "bounce-after",
    "smtp-hosts",
    "smtp-pattern-list",
    "type",
];

pub(super) fn done(message: &str, count: u64) -> Reply {
    Reply::Done { message: message.to_owned(), count }
}

fn outbound(counts: &ShardStatus) -> Traffic {
    Traffic { rcpts: counts.delivered, msgs: counts.messages, bytes: counts.delivered_bytes }
}

fn queue_row(state: QueueState) -> QueueRow {
    let error = state.last_error.map(|(at, text)| LastError { at: at.0, text });
    QueueRow {
        name: state.name.to_string(),
        rcpts: state.waiting + state.in_flight,
        bytes: state.bytes,
        connections: state.connections as u32,
        paused: state.paused,
        backoff: state.backoff.as_ref().map(answer_modes::backoff),
        adaptive: state.adaptive.as_ref().map(answer_modes::adaptive),
        mode: if state.backoff.is_some() { Mode::Backoff } else { Mode::Normal },
        retry_at: state.retry_at.map(|at| at.0),
        waiting_for: state.waits_for,
        errors: error.iter().cloned().collect(),
        last_error: error,
    }
}

/// Sorts and cuts a list.
fn listing<R>(mut rows: Vec<R>, sort: Sort, most: u32, key: impl Fn(&R) -> (&String, u64)) -> Listing<R> {
    let total = rows.len() as u64;
    match sort {
        Sort::Name => rows.sort_by(|a, b| key(a).0.cmp(key(b).0)),
        Sort::Rcpt | Sort::Size => {
            rows.sort_by(|a, b| key(b).1.cmp(&key(a).1).then_with(|| key(a).0.cmp(key(b).0)));
        }
    }
    if most > 0 {
        rows.truncate(most as usize);
    }
    Listing { rows, total }
}

fn why_recipient(found: Found, queues: &[QueueState]) -> WhyRecipient {
    let queue = queues.iter().find(|q| q.name == found.queue);
    let state = match (found.in_flight, found.due) {
        (true, _) => "being sent",
        (false, Some(_)) if found.attempts > 0 => "waiting for its next attempt",
        (false, Some(_)) => "not to start yet",
        (false, None) => "in line",
    };
    WhyRecipient {
        address: found.recipient,
        job: found.job.to_string(),
        queue: found.queue.to_string(),
        state: state.to_owned(),
        accepted_at: found.accepted_at.0,
        attempts: u32::from(found.attempts),
        next_attempt_at: found.due.map(|at| at.0),
        last_reply: queue
            .and_then(|q| q.last_error.as_ref())
            .map(|(_, text)| text.clone())
            .unwrap_or_default(),
    }
}

fn summary(what: &str, address: bool, recipients: &[Found], queues: &[QueueState], now: Wall) -> String {
    if address && recipients.is_empty() {
        return format!(
            "Nothing is waiting for {what}. If it was sent, its outcome is in the accounting file."
        );
    }
    if queues.is_empty() {
        return format!("There is no queue {what}: nothing has been queued for it since the start.");
    }
    if let Some(due) = recipients.iter().find_map(|r| r.due).filter(|due| *due > now) {
        let seconds = (due.0 - now.0) / 1000;
        return format!("It is tried again in {seconds} s, after its own deferral.");
    }
    let waiting: u64 = queues.iter().map(|q| q.waiting).sum();
    match queues.iter().find(|q| !q.waits_for.is_empty()) {
        Some(queue) => {
            let mode = if queue.backoff.is_some() { ", which is in backoff" } else { "" };
            format!("{} recipient(s) wait in {}{mode}: {}.", queue.waiting, queue.name, queue.waits_for)
        }
        None if waiting == 0 => format!("Nothing is waiting in {what}."),
        None => format!("{waiting} recipient(s) are being delivered."),
    }
}
