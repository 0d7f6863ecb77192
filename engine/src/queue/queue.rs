//! One queue: the recipients that wait in it, its limits, its retries, what has become of its mail.
//!
//! The owner asks [`Queue::connections_wanted`] and opens so many with [`Queue::connect`]; each open connection is fed
//! by [`Queue::take`]. Every recipient taken comes back by exactly one of [`Queue::settled`] (it is gone),
//! [`Queue::defer`] (it waits) or [`Queue::hand_back`] (it was not tried). A refusal says until when and why.

use super::class::Class;
use super::expiry::{Calendar, Terms, Turn, tried};
use super::gate::{Gate, Wait, WaitReason};
use super::list::List;
use super::name::QueueName;
use super::rates::Rates;
use super::ready::Ready;
use super::retry::Retry;
use super::settings::QueueSettings;
use super::slot::{Slot, Slots};
use super::wide::WideRates;
use crate::base::{Now, Time, Wall};
use crate::limit::{ConnectionGrant, Connections, Rank};
use crate::spool::record::Disposition;
use std::sync::Arc;
use std::time::Duration;

/// Messages that a connection should have before it before another one is opened: a connection costs as much as eight
/// messages (performance, section 2), and far more of the receiver's patience.
const WORTH_A_CONNECTION: u32 = 8;

/// Recipients that are too old or come too early that one call of [`Queue::take`] passes at most, so that none takes long.
const PASSED_AT_ONCE: u32 = 256;

/// What has become of the recipients of a queue since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub delivered: u64,
    /// Expired ones included.
    pub bounced: u64,
    /// Attempts that failed for now.
    pub deferred: u64,
    pub deleted: u64,
}

/// The latest failure, for `show queues` and `why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    pub at: Wall,
    pub text: Arc<str>,
}

/// What [`Queue::take`] took. Kept by the owner and used again, so that taking allocates nothing.
#[derive(Debug, Default)]
pub struct Taken {
    /// Recipients of one submission, for one transaction.
    pub batch: Vec<u32>,
    /// Recipients found too old on the way: to be settled as expired.
    pub expired: Vec<u32>,
}

/// One `domain/vmta`. A million of them are to stay cheap: `tests/queues.rs` weighs one with all that belongs to it.
#[derive(Debug)]
pub struct Queue {
    name: QueueName,
    pub(super) settings: Arc<QueueSettings>,
    ready: Ready,
    retry: Retry,
    connections: Connections,
    pub(super) rates: Option<Box<Rates>>,
    pub(super) wide: Option<Box<WideRates>>,
    paused: bool,
    /// It waits because a reply asked for that: mail that is still taken does not end the wait.
    pub(super) deferred: bool,
    /// Failures of the whole queue since its last delivery: the step in `retry-after`.
    pub(super) failures: u16,
    /// When the whole queue failed last; zero where it never did.
    pub(super) failed_at: Time,
    /// The whole queue waits until then; in the past where it does not wait.
    pub(super) retry_at: Time,
    counters: Counters,
    pub(super) last_error: Option<LastError>,
}

const _: () = assert!(size_of::<Queue>() <= 192);

impl Queue {
    pub fn new(name: QueueName, settings: Arc<QueueSettings>) -> Queue {
        let connections = Connections::new(settings.max_smtp_out);
        let rates = Rates::new(&settings, None);
        Queue {
            name,
            settings,
            ready: Ready::default(),
            retry: Retry::default(),
            connections,
            rates,
            wide: None,
            paused: false,
            deferred: false,
            failures: 0,
            failed_at: Time::ZERO,
            retry_at: Time::ZERO,
            counters: Counters::default(),
            last_error: None,
        }
    }

    /// Takes new settings; what the limits have counted so far stays counted.
    pub fn set_settings(&mut self, settings: Arc<QueueSettings>) {
        self.connections.set_limit(settings.max_smtp_out);
        self.rates = Rates::new(&settings, self.rates.as_deref());
        self.settings = settings;
    }

    // ---- Who waits.

    /// Adds a recipient: a new one, one that is recovered, or one from another queue. It waits until it is due.
    pub fn push(&mut self, slots: &mut Slots, key: u32, class: Class, now: Time) {
        self.push_again(slots, key, class, now);
        if self.settings.retry_upon_new_mail && slots[key].due() <= now {
            self.retry_at = Time::ZERO;
        }
    }

    /// Recipients in the queue, without those that connections have in hand.
    pub fn waiting(&self) -> u32 {
        self.ready.len() + self.retry.len()
    }

    /// Those of [`Queue::waiting`] whose time has come; of those put off, only as far as was noticed.
    pub fn ready(&self) -> u32 {
        self.ready.len()
    }

    /// Those of [`Queue::waiting`] that are put off.
    pub fn await_retry(&self) -> u32 {
        self.retry.len()
    }

    /// Takes out `most` recipients whether they may go or not, those first who may.
    pub fn take_any(&mut self, slots: &mut Slots, most: usize) -> Vec<u32> {
        let mut taken = Vec::with_capacity(most.min(self.waiting() as usize));
        while taken.len() < most
            && let Some(key) =
                self.ready.pop_front(slots).map_or_else(|| self.retry.pop_front(slots), |r| Some(r.1))
        {
            taken.push(key);
        }
        taken
    }

    /// Takes out the first `most` of each class of those whose time has come, to be put elsewhere.
    pub fn take_ready(&mut self, slots: &mut Slots, now: Time, most: u32) -> List {
        self.retry.wake(slots, now, &mut self.ready);
        self.ready.split(slots, most, |_| true)
    }

    /// Takes the recipients out for which `out` says so (`delete`).
    pub fn split(&mut self, slots: &mut Slots, mut out: impl FnMut(&Slot) -> bool) -> List {
        let mut taken = self.ready.split(slots, u32::MAX, &mut out);
        let put_off = self.retry.split(slots, &mut out);
        taken.append(slots, put_off);
        taken
    }

    /// Somebody has set the calendar `by` milliseconds: who waits for a date to begin at waits so much less. `begins` says
    /// when those of a submission with a schedule may go.
    pub fn clock_set(&mut self, slots: &mut Slots, now: Time, by: i64, begins: impl Fn(u32) -> Option<Time>) {
        let mut put_off = std::mem::take(&mut self.retry);
        let step = Duration::from_millis(by.unsigned_abs());
        while let Some((class, mut list)) = put_off.pop_list() {
            while let Some(key) = list.pop_front(slots) {
                let slot = &mut slots[key];
                if slot.attempts == 0 {
                    let due = slot.due();
                    let moved = if by > 0 { due - step } else { due + step };
                    slot.set_due(begins(slot.submission).unwrap_or(moved));
                }
                self.push_again(slots, key, class, now);
            }
        }
    }

    /// Like [`Queue::push`], of one who is not new.
    fn push_again(&mut self, slots: &mut Slots, key: u32, class: Class, now: Time) {
        if slots[key].due() > now {
            self.retry.push(slots, key, class);
        } else {
            self.ready.push_back(slots, key, class);
        }
    }

    /// Who is to go next, if all who are due have woken.
    pub fn front(&self, slots: &Slots) -> Option<u32> {
        self.ready.front().or_else(|| self.retry.iter(slots).next())
    }

    /// All keys, those that are ready first.
    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.ready.iter(slots).chain(self.retry.iter(slots))
    }

    /// Takes out those of the first `most` ready recipients of each class that are too old. For a queue that cannot
    /// deliver and so comes across them in no other way; to be called after [`Queue::failed`].
    pub fn sweep<'a, T: Fn(u32) -> Terms<'a>>(
        &mut self,
        slots: &mut Slots,
        now: Now,
        most: u32,
        calendar: &Calendar<'_, T>,
    ) -> List {
        self.retry.wake(slots, now.mono, &mut self.ready);
        let (settings, failed_at) = (&self.settings, self.whole_failure());
        self.ready.split(slots, most, |slot| {
            let tried = tried(slot, settings.retry_recipients_after).max(failed_at);
            calendar.is_too_old(now, slot, tried)
        })
    }

    // ---- Who may go.

    /// Whether a message may leave over an open connection.
    pub fn gate(&self, now: Time) -> Gate {
        if self.paused {
            return Gate::wait(None, WaitReason::Paused);
        }
        if self.ready.is_empty() {
            match self.retry.next() {
                None => return Gate::wait(None, WaitReason::NoRecipients),
                Some(due) if due > now => return Gate::wait(Some(due), WaitReason::NotDue),
                Some(_) => {}
            }
        }
        if let Some(until) = self.retry_wait(now) {
            let reason = match self.deferred {
                true => WaitReason::Deferred,
                false => WaitReason::Retry { failures: self.failures },
            };
            return Gate::wait(Some(until), reason);
        }
        let gate = self.rates.as_ref().map_or(Gate::Go, |rates| rates.message_gate(now));
        match &self.wide {
            Some(wide) if gate == Gate::Go => wide.gate(now),
            _ => gate,
        }
    }

    /// Whether a connection may be opened: [`Queue::gate`], `max-smtp-out`, `max-connect-rate`. This is what `why` asks.
    pub fn connection_gate(&self, now: Time) -> Gate {
        let gate = self.gate(now);
        if gate != Gate::Go {
            return gate;
        }
        if self.connections.room() == 0 {
            return Gate::wait(None, WaitReason::MaxSmtpOut(self.connections.limit()));
        }
        self.rates.as_ref().map_or(Gate::Go, |rates| rates.connect_gate(now))
    }

    /// How many connections to open now, when `connecting` of those that are open have not come to their first message.
    pub fn connections_wanted(&self, now: Time, connecting: u32) -> u32 {
        if self.connection_gate(now) != Gate::Go {
            return 0;
        }
        let messages = match self.settings.max_msg_per_connection {
            0 => WORTH_A_CONNECTION,
            most => most.min(WORTH_A_CONNECTION),
        };
        // With nobody ready the gate is open for one who has just become due.
        let worth = self.ready.len().max(1).div_ceil(messages);
        worth.saturating_sub(connecting).min(self.connections.room())
    }

    /// Where it stands among others that want a connection.
    pub fn rank(&self) -> Rank {
        Rank::new(self.settings.priority, self.connections.open())
    }

    /// Takes the right to open a connection.
    pub fn connect(&mut self, now: Time) -> Result<ConnectionGrant, Wait> {
        self.connection_gate(now).open()?;
        if let Some(rates) = &mut self.rates {
            rates.take_connect(now);
        }
        let limit = self.connections.limit();
        self.connections.take().ok_or(Wait { until: None, reason: WaitReason::MaxSmtpOut(limit) })
    }

    /// A connection has closed, or never came about.
    pub fn disconnected(&mut self, grant: ConnectionGrant) {
        self.connections.give_back(grant);
    }

    /// Takes the recipients of one transaction: from the front, of one submission, at most `most` (1 where each has a
    /// content of its own), and at most what the settings allow. They count for `max-msg-rate` from now on. Those that
    /// are too old come out on the way, whatever the answer, and those are put off whose schedule has no time for them
    /// now. A batch that is empty although the answer is yes had more of them before it than one call takes: call again.
    pub fn take<'a, T: Fn(u32) -> Terms<'a>>(
        &mut self,
        slots: &mut Slots,
        now: Now,
        most: u32,
        calendar: &Calendar<'_, T>,
        taken: &mut Taken,
    ) -> Result<(), Wait> {
        taken.batch.clear();
        taken.expired.clear();
        self.gate(now.mono).open()?;
        self.retry.wake(slots, now.mono, &mut self.ready);
        let most = most.max(1).min(self.batch());
        // Held until they are counted: nobody comes between.
        let mut wide = match self.wide.as_ref().and_then(|wide| wide.messages()) {
            Some((shard, messages)) => {
                let locked = messages.lock();
                locked.look(shard, now.mono).map_err(|until| Wait {
                    until: Some(until),
                    reason: WaitReason::MaxSmtpMsgRate(locked.rate()),
                })?;
                Some((shard, locked))
            }
            None => None,
        };
        let (mut submission, mut passed, mut whose) = (None, 0, None);
        while let Some(key) = self.ready.front() {
            let slot = &slots[key];
            let tried = tried(slot, self.settings.retry_recipients_after).max(self.whole_failure());
            let turn = calendar.turn(now, slot, tried);
            let fits = match turn {
                Turn::Now => {
                    taken.batch.len() < most as usize
                        && *submission.get_or_insert(slot.submission) == slot.submission
                }
                Turn::Later(_) | Turn::TooOld => passed < PASSED_AT_ONCE,
            };
            if !fits {
                break;
            }
            let Some((class, _)) = self.ready.pop_front(slots) else { break };
            match turn {
                Turn::Now => {
                    taken.batch.push(key);
                    whose = Some(class);
                }
                Turn::TooOld => taken.expired.push(key),
                Turn::Later(at) => {
                    slots[key].set_due(at);
                    self.retry.push(slots, key, class);
                }
            }
            passed += u32::from(turn != Turn::Now);
        }
        if taken.batch.is_empty() {
            drop(wide);
            return self.gate(now.mono).open();
        }
        if let Some(class) = whose {
            self.ready.had_turn(class);
        }
        if let Some((shard, messages)) = &mut wide {
            messages.take(*shard, now.mono, taken.batch.len() as u32);
        }
        if let Some(rates) = &mut self.rates {
            rates.take_messages(now.mono, taken.batch.len() as u32);
        }
        Ok(())
    }

    /// Recipients one transaction may have: `max-rcpt-per-message`, less where the rate is low.
    pub fn batch(&self) -> u32 {
        let largest = self.rates.as_ref().map_or(u32::MAX, |rates| rates.largest());
        let wide = self.wide.as_ref().map_or(u32::MAX, |wide| wide.largest());
        self.settings.recipients_per_message().min(largest).min(wide)
    }

    // ---- What became of it.

    /// A recipient that was taken has left the queue for good; its slot is the owner's to remove.
    pub fn settled(&mut self, disposition: Disposition, now: Time) {
        match disposition {
            Disposition::Delivered => {
                self.counters.delivered += 1;
                if !self.is_deferred(now) {
                    self.failures = 0;
                    self.retry_at = Time::ZERO;
                }
            }
            Disposition::Bounced | Disposition::Expired => self.counters.bounced += 1,
            Disposition::Deleted { .. } => self.counters.deleted += 1,
            Disposition::Deferred | Disposition::InDoubt => {
                debug_assert!(false, "{disposition:?} does not settle a recipient");
            }
        }
    }

    /// A recipient that was taken failed for now: it waits `retry-recipients-after`.
    pub fn defer(&mut self, slots: &mut Slots, key: u32, class: Class, now: Time) {
        self.defer_for(slots, key, class, now, self.settings.retry_recipients_after);
    }

    /// A recipient that was taken failed for now, but may go to another host at once (`skip-mx`).
    pub fn defer_to_next_host(&mut self, slots: &mut Slots, key: u32, class: Class, now: Time) {
        self.defer_for(slots, key, class, now, Duration::ZERO);
    }

    fn defer_for(&mut self, slots: &mut Slots, key: u32, class: Class, now: Time, wait: Duration) {
        slots[key].put_off(now, wait);
        self.retry.push(slots, key, class);
        self.counters.deferred += 1;
    }

    /// A recipient that was taken was not tried, through no fault of its own: it is the next in turn. To keep the order
    /// of several, hand back the last one first.
    pub fn hand_back(&mut self, slots: &mut Slots, key: u32, class: Class) {
        self.ready.push_front(slots, key, class);
        self.ready.set_turn(class);
    }

    /// A recipient that was one too many for its transaction: it is the first when its class has its turn again.
    pub fn leave_over(&mut self, slots: &mut Slots, key: u32, class: Class) {
        self.ready.push_front(slots, key, class);
    }

    /// `n` recipients taken at `granted` never reached the receiver: they do not count for `max-msg-rate`.
    pub fn give_back(&mut self, granted: Time, n: u32) {
        if let Some(rates) = &mut self.rates {
            rates.give_back_messages(granted, n);
        }
        if let Some(wide) = &self.wide {
            wide.give_back_messages(granted, n);
        }
    }

    // ---- The operator.

    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// `schedule`: the queue tries again now, with `recipients` also those that are put off, where their own schedule lets
    /// them.
    pub fn schedule(&mut self, slots: &mut Slots, recipients: bool) {
        self.retry_at = Time::ZERO;
        if recipients {
            while let Some((class, mut list)) = self.retry.pop_list() {
                while let Some(key) = list.pop_front(slots) {
                    slots[key].set_due(Time::ZERO);
                    self.ready.push_back(slots, key, class);
                }
            }
        }
    }

    pub fn name(&self) -> &QueueName {
        &self.name
    }

    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Until when the whole queue waits, if it does.
    pub fn retry_wait(&self, now: Time) -> Option<Time> {
        Some(self.retry_at).filter(|until| *until > now)
    }

    /// Connections open, those being opened included.
    pub fn connections(&self) -> u32 {
        self.connections.open()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn whole_failure(&self) -> Option<Time> {
        (self.failed_at > Time::ZERO).then_some(self.failed_at)
    }

    pub fn last_error(&self) -> Option<&LastError> {
        self.last_error.as_ref()
    }

    /// Whether nobody waits and nothing is in hand: it may be forgotten (unless it is paused, or its limits still count).
    pub fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.connections.open() == 0
    }
}
