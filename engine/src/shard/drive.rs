//! A connection's life: opened, driven by what comes in, and at its end.

use super::connection::{Connection, Phase, key};
use super::dispatch::Fed;
use super::outcomes::AttemptKey;
use super::profile::Delivery;
use super::said;
use super::targets::Next;
use super::{ConnectionId, Output, Shard};
use crate::base::Now;
use crate::smtp::client::{Client, Event, Failure, Stage};
use crate::smtp::verdict::{self, Class};
use crate::spool::record::Said;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How long a connection with nothing to send is kept where `connection-idle-timeout` is zero. Mail comes in bursts, and
/// a new connection costs as much as eight messages.
const LINGER: Duration = Duration::from_millis(250);
/// After a connection was refused while others of its queue work, no further one is tried for this long: the site has
/// said how many it wants.
const HOLD: Duration = Duration::from_secs(60);

impl Shard {
    pub(super) fn open_connections(&mut self, now: Now, queue: u32) {
        let entry = &self.queues[queue];
        if self.draining || entry.profile.delivery == Delivery::Discard || entry.sources.all_disabled() {
            return;
        }
        if self.outcomes_back_up() {
            self.backed_up.insert(queue);
            return;
        }
        loop {
            let entry = &mut self.queues[queue];
            if entry.sources.look(now.mono).is_some() {
                return;
            }
            let (connecting, hold) =
                entry.work().map_or((0, None), |work| (work.connecting, work.hold_until));
            // Once refused, the next one goes alone, to see whether the site takes more again.
            if entry.waits_in_row() {
                return;
            }
            let wait = hold.is_some_and(|until| until > now.mono || connecting > 0);
            if wait && entry.queue.connections() > 0 {
                return;
            }
            if entry.queue.connections_wanted(now.mono, connecting) == 0 || !self.open_one(now, queue) {
                return;
            }
        }
    }

    /// False: not now; whatever stands in the way gives the queue another turn.
    fn open_one(&mut self, now: Now, queue: u32) -> bool {
        if !self.has_total(queue) {
            return false;
        }
        let admitted = self.next_hop(now, queue).and_then(|next| self.admitted(queue, next));
        let target = admitted.and_then(|(next, places)| Some((self.target(now, queue, next)?, places)));
        let Some((target, places)) = target else { return false };
        let entry = &mut self.queues[queue];
        let Ok(grant) = entry.connect(target.from, now.mono) else {
            self.give_back_places(&places);
            return false;
        };
        entry.work_mut().connecting += 1;
        let (id, from, to) = (self.connections.reserve(), target.from, target.to);
        let host = target.host.clone();
        let deadline = now.mono + entry.profile.connect_timeout;
        let attempt = AttemptKey::new(self.attempt_at(queue, &target));
        self.connections.insert(Connection {
            id,
            queue,
            to,
            host,
            from,
            client: Client::new(target.options.clone(), now),
            options: target.options,
            phase: Phase::Connecting(deadline),
            grant,
            places,
            attempt,
            next: Some(target.next),
            transactions: smallvec::SmallVec::new(),
            part_after: None,
            messages: 0,
            errors: 0,
            coming: false,
            idle: false,
            idle_until: None,
            loading: false,
            proven: false,
            sends_reports: false,
            eight_bit: false,
        });
        self.connection_timers.set(key(id), deadline);
        self.outputs.push_back(Output::Connect { connection: id, from, to });
        true
    }

    pub(super) fn connected(&mut self, now: Now, id: ConnectionId, local: IpAddr) {
        let Some(connection) = self.connections.get(id) else { return };
        connection.phase = Phase::Opening;
        self.sites.answers(connection.to);
        connection.client = Client::new(connection.options.clone(), now);
        connection.attempt.update(|attempt| attempt.source_ip = local.to_string());
        self.set_connection_timer(key(id));
    }

    pub(super) fn received(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get(id) else { return };
        connection.client.handle_bytes(now, bytes);
        self.pump(now, key(id));
    }

    pub(super) fn socket_closed(&mut self, now: Now, id: ConnectionId, cause: &io::Error) {
        let Some(connection) = self.connections.get(id) else { return };
        if let Phase::Connecting(_) = connection.phase {
            let text = format!("{} connecting to {}", errno_name(cause), connection.attempt.attempt().mta);
            self.not_connected(now, key(id), &text);
        } else {
            let text = format!("{} in connection to {}", errno_name(cause), connection.attempt.attempt().mta);
            connection.client.handle_closed(now, &text);
            self.pump(now, key(id));
        }
    }

    pub(super) fn connection_timer(&mut self, now: Now, key: u32) {
        let Some(connection) = self.connections.at(key) else { return };
        if let Phase::Connecting(deadline) = connection.phase {
            if deadline > now.mono {
                // The timer was that of a connection in the same place, gone in this very turn.
                return self.set_connection_timer(key);
            }
            let text = format!("ETIMEDOUT connecting to {}", connection.attempt.attempt().mta);
            return self.not_connected(now, key, &text);
        }
        if connection.idle && connection.idle_until.is_some_and(|until| until <= now.mono) {
            return self.idle_too_long(now, key);
        }
        connection.client.handle_timeout(now);
        self.pump(now, key);
    }

    fn not_connected(&mut self, now: Now, key: u32, text: &str) {
        let Some(connection) = self.connections.at(key) else { return };
        let queue = connection.queue;
        self.sites.dead(connection.to, now.mono);
        let said = Said { status: "4.4.1 (no answer from host)".to_owned(), diagnostic: String::new() };
        self.target_failed(now, key, said, text);
        self.remove_connection(now, key);
        self.turn(now, queue);
    }

    /// Acts on everything the SMTP machine has to say, then sends what it wrote.
    pub(super) fn pump(&mut self, now: Now, key: u32) {
        while let Some(event) = self.connections.at(key).and_then(|c| c.client.poll_event()) {
            match event {
                Event::Ready { extensions, tls } => {
                    let Some(connection) = self.connections.at(key) else { return };
                    connection.phase = Phase::Open;
                    connection.eight_bit = extensions.eight_bit_mime;
                    connection.sends_reports = extensions.dsn;
                    connection.attempt.update(|attempt| {
                        attempt.esmtp = extensions.list;
                        if let Some(tls) = tls {
                            attempt.tls_protocol = tls.protocol.to_owned();
                            attempt.tls_cipher = tls.cipher.to_owned();
                        }
                    });
                    let queue = connection.queue;
                    let work = self.queues[queue].work_mut();
                    work.connecting -= 1;
                    if work.hold_until.take_if(|until| *until <= now.mono).is_some() {
                        self.queue_timers.set(queue, now.mono);
                    }
                }
                Event::WantTransaction => self.feed_or_idle(now, key),
                Event::NeedBody { token } => self.give_body(now, key, token),
                Event::Recipient { token, index, fate } => {
                    self.recipient_answered(now, key, token, index, &fate);
                }
                Event::Finished { token, end } => self.transaction_ended(now, key, token, &end),
                Event::Retreat(retreat) => {
                    let to = self.connections.at(key).map(|c| c.to);
                    to.inspect(|to| self.sites.retreat(*to, retreat, now.mono));
                }
                Event::Failed { stage, failure, retry_in_clear } => {
                    self.session_failed(now, key, stage, &failure, retry_in_clear);
                }
                Event::Closed => {
                    let Some(connection) = self.connections.at(key) else { return };
                    let queue = connection.queue;
                    self.remove_connection(now, key);
                    return self.turn(now, queue);
                }
            }
        }
        self.flush(now, key);
    }

    fn feed_or_idle(&mut self, now: Now, key: u32) {
        if self.feed(now, key) != Fed::Nothing {
            return;
        }
        let Some(connection) = self.connections.at(key) else { return };
        if !connection.transactions.is_empty() {
            // Asked ahead of need; it will ask again when the one under way has ended.
            connection.idle = false;
            return;
        }
        let queue = connection.queue;
        if self.shared.places.is_wanted(&connection.places.needs) {
            return self.part(now, key);
        }
        let idle_timeout = self.queues[queue].profile.idle_timeout.max(LINGER);
        if let Some(connection) = self.connections.at(key) {
            connection.idle_until = Some(now.mono + idle_timeout);
        }
        self.queues[queue].work_mut().idle.push_back(key);
        self.turn(now, queue);
    }

    /// Has the shell send what the SMTP machine wrote, and sets the connection's timer.
    pub(super) fn flush(&mut self, now: Now, key: u32) {
        self.count_coming(now, key);
        let Some(connection) = self.connections.at(key) else { return };
        if !connection.client.output().is_empty() {
            let connection = connection.id;
            self.outputs.push_back(Output::Send { connection });
        }
        self.set_connection_timer(key);
    }

    fn count_coming(&mut self, now: Now, key: u32) {
        let used_up = self.is_used_up(now, key);
        let Some(connection) = self.connections.at(key) else { return };
        let coming = connection.is_coming() && !used_up;
        if std::mem::replace(&mut connection.coming, coming) != coming {
            let count = &mut self.queues[connection.queue].work_mut().coming;
            *count = if coming { *count + 1 } else { *count - 1 };
        }
    }

    fn set_connection_timer(&mut self, key: u32) {
        let Some(connection) = self.connections.at(key) else { return };
        let idle_until = connection.idle_until.filter(|_| connection.idle);
        let at = match connection.phase {
            Phase::Connecting(deadline) => Some(deadline),
            _ => connection.client.next_timeout().into_iter().chain(idle_until).min(),
        };
        match at {
            Some(at) => self.connection_timers.set(key, at),
            None => self.connection_timers.cancel(key),
        }
    }

    /// Says goodbye on a connection that has nothing more to do.
    pub(super) fn part(&mut self, now: Now, key: u32) {
        let Some(connection) = self.connections.at(key) else { return };
        if !matches!(connection.phase, Phase::Open) {
            return;
        }
        connection.idle = false;
        connection.idle_until = None;
        connection.phase = Phase::Closing;
        connection.client.quit(now);
        self.queues[connection.queue].work_mut().parting += 1;
        self.pump(now, key);
    }

    /// The connection ends without having been closed by us.
    fn session_failed(&mut self, now: Now, key: u32, stage: Stage, failure: &Failure, retry_in_clear: bool) {
        let options = self.verdict_options(key);
        let Some(connection) = self.connections.at(key) else { return };
        // Once open it has shown that the host takes mail; what became of its transactions is told, and the end of a
        // connection that waited for mail is no news.
        // One that is closed while its first message comes from storage has shown nothing yet.
        let untried = connection.loading && connection.messages == 0;
        // One that ends at its first MAIL has shown that it takes none, and so would the next.
        let untried = untried || (stage == Stage::Mail && !connection.proven);
        let open = connection.phase == Phase::Closing || (connection.phase == Phase::Open && !untried);
        if open || *failure == Failure::Aborted {
            return;
        }
        let queue = connection.queue;
        if self.steer_failure(now, key, failure) {
            return;
        }
        let Some(connection) = self.connections.at(key) else { return };
        if retry_in_clear {
            self.sites.clear_only(connection.to, now.mono);
            self.queues[queue].work_mut().next = connection.next.take();
            return;
        }
        let verdict = verdict::of_failure(stage, failure, &options);
        let said = said::of_failure(failure, verdict, &options);
        if verdict.class == Class::Permanent && self.queues[queue].queue.connections() <= 1 {
            self.bounce_queue(now, queue, &said);
            return;
        }
        let text = failure.to_string();
        self.target_failed(now, key, said, &text);
    }

    /// A host could not be used: the next one is tried, and after the last one the queue waits. While the queue has
    /// other connections, that work or have yet to show it, only their number is held down; a host that refuses a
    /// session then has said how many it wants, and the next one is left alone.
    fn target_failed(&mut self, now: Now, key: u32, said: Said, text: &str) {
        let Some(connection) = self.connections.at(key) else { return };
        let queue = connection.queue;
        let attempt = connection.attempt.attempt().clone();
        let mut next = connection.next.take();
        let reached = !matches!(connection.phase, Phase::Connecting(_));
        if let Some(next) = next.as_mut().filter(|_| reached) {
            next.rest.session_failed();
        }
        let entry = &mut self.queues[queue];
        entry.queue.note_error(now, if said.diagnostic.is_empty() { text } else { &said.diagnostic });
        let others = entry.queue.connections() > 1;
        let next = next.filter(|_| !(others && reached)).and_then(|mut next| {
            let endpoint = next.rest.next(&mut entry.sources)?;
            Some(Next { endpoint, rest: next.rest })
        });
        // During its wait another connection of the same try has come to the end of the plan before.
        let waits = entry.queue.retry_wait(now.mono).is_some();
        match next {
            Some(next) if !waits => entry.work_mut().next = Some(next),
            _ if others => entry.work_mut().hold_until = Some(now.mono + HOLD),
            _ => return self.queue_failed(now, queue, attempt, said, text, false),
        }
        self.outcomes.queue_failed(now, attempt, said);
    }

    /// Forgets a connection; recipients still in its hands go back untried.
    pub(super) fn remove_connection(&mut self, now: Now, key: u32) {
        let Some(connection) = self.connections.remove(key) else { return };
        let queue = connection.queue;
        self.connection_timers.cancel(key);
        let entry = &mut self.queues[queue];
        let work = entry.work_mut();
        work.idle.retain(|&idle| idle != key);
        if matches!(connection.phase, Phase::Connecting(_) | Phase::Opening) {
            work.connecting -= 1;
        }
        work.coming -= u32::from(connection.coming);
        work.parting -= u32::from(connection.phase == Phase::Closing);
        for transaction in connection.transactions.iter().rev() {
            entry.ended(connection.from, now.mono, transaction.charge, false);
            let priority = self.submissions.priority(transaction.submission);
            for recipient in transaction.recipients.iter().rev().filter(|r| !r.answered) {
                entry.queue.hand_back(&mut self.slots, recipient.slot, priority);
            }
        }
        entry.disconnected(connection.from, connection.grant);
        self.rise(queue);
        self.give_back_places(&connection.places);
        self.outputs.push_back(Output::Close { connection: connection.id });
    }

    /// Finishes what is under way and begins nothing new.
    pub(super) fn drain(&mut self, now: Now) {
        self.draining = true;
        self.release_held(now);
        for key in self.connections.keys() {
            let Some(connection) = self.connections.at(key) else { continue };
            if matches!(connection.phase, Phase::Connecting(_)) {
                self.remove_connection(now, key);
            } else {
                connection.client.quit(now);
                self.pump(now, key);
            }
        }
    }

    /// A content has come from storage, or cannot be read.
    pub(super) fn content_loaded(&mut self, now: Now, waiting: Vec<u32>) {
        for key in waiting {
            if let Some(connection) = self.connections.at(key).filter(|c| c.loading) {
                connection.loading = false;
                self.feed_or_idle(now, key);
                self.pump(now, key);
            }
        }
    }
}

/// The words PowerMTA's users know from the last-error column.
fn errno_name(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED".to_owned(),
        io::ErrorKind::TimedOut => "ETIMEDOUT".to_owned(),
        io::ErrorKind::UnexpectedEof => "EDISCON".to_owned(),
        io::ErrorKind::ConnectionReset => "ECONNRESET".to_owned(),
        io::ErrorKind::BrokenPipe => "EPIPE".to_owned(),
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL (source address)".to_owned(),
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH".to_owned(),
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH".to_owned(),
        _ => cause.to_string(),
    }
}
