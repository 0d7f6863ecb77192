//! The auditor among the receivers: connections, transactions, recipients and messages as they see them.

use super::audit::{Auditor, Known, RecipientFile, Taken, Wire, state_doubled};
use super::plan::{Limits, Vmta};
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

impl Auditor {
    /// A connection attempt arrives (or would arrive, where nobody listens).
    pub fn connect(&mut self, wire: u64, from: Option<IpAddr>, domain: usize) {
        let source = |vmta: &Vmta| vmta.sources.iter().position(|(ip, _)| Some(*ip) == from);
        let found = self.plan.vmtas.iter().enumerate().find_map(|(v, vmta)| Some((v, source(vmta)?)));
        let Some((vmta, source)) = found else {
            return self.breach("own addresses", format!("a connection from {from:?}, no VMTA's address"));
        };
        let queue = self.queues.entry((domain, vmta)).or_default();
        queue.connects.push(self.now);
        let latency = self.plan.domains[domain].manners.latency;
        // What was on its way when the queue entered backoff counts as made before.
        let before = queue.backoff.is_some_and(|since| self.now <= since + latency);
        if queue.backoff.is_some() && !before {
            queue.slow_connects.push(self.now);
        }
        let paused = queue.paused;
        if let Some(since) = paused.filter(|since| self.now > *since + latency) {
            let name = &self.plan.domains[domain].name;
            self.breach(
                "pause",
                format!("a connection to {name} although its queue is paused since {since:?}"),
            );
        }
        let wire_file = Wire {
            queue: (domain, vmta),
            source,
            open: false,
            transaction: Duration::ZERO,
            messages: 0,
            recipients: 0,
            since_pause: 0,
            since_backoff: before.then_some(0),
            life: self.life,
        };
        self.wires.insert(wire, wire_file);
    }

    pub fn opened(&mut self, wire: u64) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        file.open = true;
        let (key, made_since) = (file.queue, file.since_backoff.is_none());
        let queue = self.queues.entry(key).or_default();
        queue.open += 1;
        let (open, in_backoff) = (queue.open, queue.backoff.is_some() && made_since);
        let limits = self.limits(key);
        // Those that were open before may stay.
        let slow = limits.backoff.as_ref().filter(|_| in_backoff);
        let most = slow.map_or(limits.max_smtp_out, |slow| slow.max_smtp_out);
        if open > most {
            let promise = if slow.is_some() { "backoff-max-smtp-out" } else { "max-smtp-out" };
            let name = self.queue_name(key);
            self.breach(promise, format!("{open} connections at a time to {name}, at most {most}"));
        }
    }

    pub fn closed(&mut self, wire: u64) {
        let Some(file) = self.wires.remove(&wire).filter(|file| file.open) else { return };
        self.queues.entry(file.queue).or_default().open -= 1;
    }

    pub fn hello(&mut self, wire: u64, name: &str) {
        let Some(file) = self.wires.get(&wire) else { return };
        let (ip, right) = &self.plan.vmtas[file.queue.1].sources[file.source];
        if name != right {
            let text = format!("{ip} said HELO {name:?}, its name is {right:?}");
            self.breach("own addresses", text);
        }
    }

    /// A transaction begins (MAIL).
    pub fn transaction(&mut self, now: Duration, wire: u64) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        (file.transaction, file.recipients) = (now, 0);
        file.messages += 1;
        file.since_pause += 1;
        file.since_backoff = file.since_backoff.map(|count| count + 1);
        let (key, messages, since_pause) = (file.queue, file.messages, file.since_pause);
        let most = self.limits(key).msg_per_connection;
        if most > 0 && messages > most {
            let name = self.queue_name(key);
            let text = format!("{messages} messages over one connection to {name}, at most {most}");
            self.breach("max-msg-per-connection", text);
        }
        // One may be under way, and one handed to the connection behind it.
        let latency = self.plan.domains[key.0].manners.latency;
        let paused = self.queues.entry(key).or_default().paused;
        if since_pause > 3 && paused.is_some_and(|since| now > since + latency) {
            let name = self.queue_name(key);
            self.breach("pause", format!("transactions go on to {name} although it is paused"));
        }
    }

    /// A recipient is attempted (RCPT).
    pub fn recipient(&mut self, now: Duration, wire: u64, address: &str) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        file.recipients += 1;
        let (key, source, count, begun) = (file.queue, file.source, file.recipients, file.transaction);
        let of_this_life = file.life == self.life;
        // One may be under way, and one handed to the connection behind it.
        let in_backoff = file.since_backoff.is_none_or(|count| count > 2);
        let limits = self.limits(key).clone();
        if limits.rcpt_per_message > 0 && count > limits.rcpt_per_message {
            let text = format!("{count} recipients in a message, at most {}", limits.rcpt_per_message);
            self.breach("max-rcpt-per-message", text);
        }
        let queue = self.queues.entry(key).or_default();
        if of_this_life {
            queue.attempts.push(begun);
            queue.sent.push((source, begun));
        }
        if in_backoff && queue.backoff.is_some() {
            queue.slow_attempts.push(begun);
        }
        self.check_attempt(now, key, begun, &limits, address);
    }

    fn check_attempt(
        &mut self,
        now: Duration,
        key: (usize, usize),
        begun: Duration,
        limits: &Limits,
        address: &str,
    ) {
        let Some(file) = self.recipients.get(address).cloned() else {
            return self.breach("no phantom", format!("{address} is attempted and was never submitted"));
        };
        let plan = Rc::clone(&self.plan);
        let work = &plan.works[file.work];
        if file.domain != key.0 {
            self.breach("right host", format!("{address} is attempted at {}", plan.domains[key.0].name));
        }
        let vmta = &plan.vmtas[key.1].name;
        if !plan.members(&work.vmta).iter().any(|member| member.name == *vmta) {
            self.breach("own addresses", format!("{address} of {} leaves from {vmta}", work.vmta));
        }
        let state = &self.works[file.work];
        match state.known {
            Known::NotOffered => {
                self.breach("no phantom", format!("{address} is attempted before it was offered"));
            }
            Known::Refused if !state.ambiguous && state.doubled == 0 => {
                self.breach("no phantom", format!("{address} is attempted although it was refused"));
            }
            _ => {}
        }
        // Of two copies of a submission each goes its own way.
        if state_doubled(&self.works[file.work]) == 0 {
            if let Some(at) = file.ended.filter(|at| begun > *at + Duration::from_secs(1)) {
                let text = format!("{address} is attempted although its end is recorded since {at:?}");
                self.breach("one end", text);
            }
            if let Some(at) = file.put_off.filter(|at| begun < *at + limits.retry_recipients_after) {
                let text =
                    format!("{address} is attempted {:?} after it was put off", begun.saturating_sub(at));
                self.breach("retry-recipients-after", text);
            }
        }
        self.check_age(now, begun, limits, &file, address);
    }

    fn check_age(
        &mut self,
        now: Duration,
        begun: Duration,
        limits: &Limits,
        file: &RecipientFile,
        address: &str,
    ) {
        if !self.jumps.is_empty() {
            return;
        }
        let Some(offered) = self.works[file.work].offered_last else { return };
        let ago = i64::try_from((now - begun).as_millis()).unwrap_or(0);
        let age = self.wall - ago - self.begins(file.work, offered);
        if age > i64::try_from(limits.bounce_after.as_millis()).unwrap_or(i64::MAX) + 5_000 {
            self.breach("bounce-after", format!("{address} is attempted at the age of {} s", age / 1000));
        }
        let start = self.plan.works[file.work].start_at;
        if let Some(start) = start.filter(|start| begun < *start) {
            self.breach("start-at", format!("{address} is attempted {:?} too early", start - begun));
        }
    }

    /// The engine has read that a receiver put a recipient off for its own sake.
    pub fn put_off(&mut self, address: &str) {
        let now = self.now;
        if let Some(file) = self.recipients.get_mut(address) {
            file.put_off = Some(now);
        }
    }

    /// A receiver refused a recipient for good.
    pub fn refused(&mut self, address: &str) {
        if let Some(file) = self.recipients.get_mut(address) {
            file.refused = true;
        }
    }

    pub fn refused_sender(&mut self, wire: u64) {
        if let Some(file) = self.wires.get(&wire) {
            self.queues.entry(file.queue).or_default().sender_refused = true;
        }
    }

    /// A receiver took a message; returns its number.
    pub fn taken(&mut self, now: Duration, wire: u64, recipients: &[String], message: &[u8]) -> u64 {
        self.took_bytes(now, wire, message.len());
        let number = self.taken.len() as u64;
        let taken = Taken { at: now, life: self.life, wire, heard: None, lost: None, excused: false };
        self.taken.push(taken);
        let mut hasher = DefaultHasher::new();
        hasher.write(message);
        let sum = hasher.finish();
        for address in recipients {
            let Some(file) = self.recipients.get_mut(address) else { continue };
            file.taken.push(number);
            let (work, row) = (file.work, file.number);
            // Two copies of a submission are two messages.
            let another = file.received.replace(sum).is_some_and(|before| before != sum);
            if another && self.works[work].doubled == 0 {
                self.breach("unaltered", format!("{address} got two renderings"));
            }
            if let Err(why) = super::content::check(&self.plan.works[work], row, message) {
                self.breach("unaltered", format!("{address}: {why}"));
            }
        }
        number
    }

    /// The engine has read the reply that takes over message `number`.
    pub fn heard(&mut self, number: u64) {
        self.taken[number as usize].heard = Some(self.now);
    }

    /// The engine has learned that the connection is gone, or has closed it.
    pub fn lost(&mut self, wire: u64) {
        for taken in self.taken.iter_mut().rev().take(200).filter(|taken| taken.wire == wire) {
            taken.lost.get_or_insert(self.now);
        }
    }
}
