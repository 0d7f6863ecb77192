//! Answers to what the command line asks: the shards' answers added up.

use super::accounting::Accounting;
use super::answer_modes;
use super::control::{
    Connections, DeleteQuery, DomainRow, Flow, JobRow, LastError, ListQuery, Listing, Mode, QueueQuery,
    QueueRow, Reply, Request, Sort, SpoolStatus, Status, Traffic, VmtaRow, Waiting,
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
use crate::shard::{QueuePattern, QueueState, Selection, ShardReply, ShardRequest, ShardStatus};
use crate::spool::record::{Control, Draft, Group};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

pub struct Answerer {
    pub(super) intake: Arc<Intake>,
    shared: Arc<Shared>,
    clients: Arc<Clients>,
    accounting: Arc<Accounting>,
    reloader: Reloader,
    pub(super) clock: Clock,
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
}

pub(super) fn done(message: &str, count: u64) -> Reply {
    Reply::Done { message: message.to_owned(), count }
}

fn outbound(counts: &ShardStatus) -> Traffic {
    Traffic { rcpts: counts.delivered, msgs: counts.messages, bytes: counts.delivered_bytes }
}

pub(super) fn queue_row(state: QueueState) -> QueueRow {
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
