//! A reactor: one thread, one tokio current-thread runtime, one [`Shard`] with its sockets. It feeds the shard with
//! what happens and carries out what the shard asks for; it never touches a file and never waits for a lock.

use super::clock::Clock;
use super::commits::Commits;
use super::failpoint::{Point, pass};
use super::failpoint_wire::Piece;
use super::outbox::{Outbox, Peers};
use super::resolver::Resolver;
use super::socket::{self, SocketCell};
use super::storage::Storage;
use crate::base::Time;
use crate::limit::Place;
use crate::shard::{
    Admit, ConnectionId, Input, Notice, Output, Report, Shard, ShardReply, ShardRequest, Wish,
};
use crate::spool::record::{Attempt, Control, Disposition, Location, OutcomeBatch};
use arc_swap::ArcSwap;
use hashbrown::HashMap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};

/// What other threads say to a reactor. Everything crosses in batches.
pub enum Message {
    Admit(Vec<Admit>),
    Answer(crate::route::Answer),
    Content(Location, Option<Arc<[u8]>>),
    /// There is a connection for the shard.
    Nudged(Place),
    Asked(Wish),
    /// A report of this reactor's is done with.
    Reported,
    Request(ShardRequest, oneshot::Sender<ShardReply>),
    /// Begin something that lives on this thread: clients to be served.
    Begin(Beginning),
    /// Finish what is in flight, take nothing new; answered when no connection is left.
    Drain(oneshot::Sender<()>),
}

/// To be called on the reactor's thread.
pub type Beginning = Box<dyn FnOnce(&Rc<Reactor>) + Send>;

/// Messages taken from the channel in one turn.
const TURN: usize = 8;
/// Enough for the replies to a whole pipeline; shared by all sockets of the thread.
const READ_BUFFER: usize = 16 << 10;
/// When a batch of outcomes that storage had no room for is offered again.
const RETRY_SETTLE: Duration = Duration::from_millis(5);

/// Who is told what becomes of attempts.
pub type Seen = Arc<dyn Fn(&Attempt, Disposition) + Send + Sync>;

/// The services a reactor asks for what it may not do itself.
#[derive(Clone)]
pub struct Services {
    pub clock: Clock,
    pub storage: Storage,
    /// The one in use; a reload may put another in its place.
    pub resolver: Arc<ArcSwap<Resolver>>,
    /// The control runtime: resolving and cold reads run there and come back as messages.
    pub control: tokio::runtime::Handle,
    /// Takes the reports that this reactor's shard wants made, by the number of the shard.
    pub reports: mpsc::UnboundedSender<(usize, Box<Report>)>,
    /// Takes what operators should hear of.
    pub notices: mpsc::UnboundedSender<Box<Notice>>,
    /// Is told what becomes of each attempt.
    pub seen: Seen,
    /// The number of this reactor's shard, and the inboxes of all, its own included.
    pub number: usize,
    pub peers: Peers,
}

impl Services {
    fn inbox(&self) -> mpsc::WeakSender<Message> {
        self.peers[self.number].clone()
    }
}

pub struct Reactor {
    shard: RefCell<Shard>,
    sockets: RefCell<HashMap<ConnectionId, Rc<SocketCell>>>,
    services: Services,
    /// Batches that storage had no room for, the oldest first; offered again before the next one.
    unsettled: RefCell<VecDeque<OutcomeBatch>>,
    buffer: RefCell<Box<[u8]>>,
    commits: Commits,
    outbox: Outbox,
    armed: Cell<Time>,
    rearm: Notify,
    drained: RefCell<Option<oneshot::Sender<()>>>,
}

impl Reactor {
    pub fn new(shard: Shard, services: Services) -> Rc<Reactor> {
        Rc::new(Reactor {
            shard: RefCell::new(shard),
            sockets: RefCell::default(),
            commits: Commits::new(services.storage.clone()),
            outbox: Outbox::new(services.peers.clone()),
            services,
            unsettled: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            armed: Cell::new(Time::NEVER),
            rearm: Notify::new(),
            drained: RefCell::default(),
        })
    }

    /// Runs until every sender to `inbox` is gone. To be called inside a `LocalRuntime`.
    pub async fn run(self: Rc<Reactor>, mut inbox: mpsc::Receiver<Message>) {
        let (submitting, telling, sending) = (self.clone(), self.clone(), self.clone());
        tokio::task::spawn_local(async move { submitting.commits.hand_over().await });
        tokio::task::spawn_local(async move { telling.commits.tell().await });
        tokio::task::spawn_local(async move { sending.outbox.send().await });
        let mut messages = Vec::with_capacity(TURN);
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let mut wake = self.shard.borrow().next_wake().unwrap_or(Time::NEVER);
            if !self.unsettled.borrow().is_empty() {
                wake = wake.min(self.services.clock.mono() + RETRY_SETTLE);
            }
            if self.armed.replace(wake) != wake && wake != Time::NEVER {
                sleep.as_mut().reset(self.services.clock.instant(wake).into());
            }
            tokio::select! {
                biased;
                taken = inbox.recv_many(&mut messages, TURN) => {
                    if taken == 0 {
                        return;
                    }
                    for message in messages.drain(..) {
                        self.take(message);
                    }
                }
                () = sleep.as_mut(), if wake != Time::NEVER => {
                    // Done with: if the shard wants this very time again, it has to be armed again.
                    self.armed.set(Time::NEVER);
                    self.offer_unsettled();
                    self.input(Input::Wake);
                }
                () = self.rearm.notified() => {}
            }
            // The sockets get their turn however much there is to take.
            tokio::task::yield_now().await;
        }
    }

    pub fn clock(&self) -> &Clock {
        &self.services.clock
    }

    /// Who is asked about names.
    pub fn resolver(&self) -> Arc<Resolver> {
        self.services.resolver.load_full()
    }

    /// The runtime for what is not to be done on this thread.
    pub fn control(&self) -> &tokio::runtime::Handle {
        &self.services.control
    }

    /// The commits that clients on this thread wait for.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Hands recipients to the owners of their queues, by shard: at once where that is this thread's.
    pub async fn hand_over(self: &Rc<Reactor>, by_shard: Vec<Vec<Admit>>) {
        for (shard, admits) in by_shard.into_iter().enumerate().filter(|(_, admits)| !admits.is_empty()) {
            if shard == self.services.number {
                admits.into_iter().for_each(|admit| self.input(Input::Admit(admit)));
            } else {
                self.outbox.put(shard, admits);
            }
        }
        self.outbox.room().await;
    }

    fn take(self: &Rc<Reactor>, message: Message) {
        match message {
            Message::Admit(batch) => batch.into_iter().for_each(|admit| self.input(Input::Admit(admit))),
            Message::Begin(begin) => begin(self),
            Message::Answer(answered) => self.input(Input::Answered(answered)),
            Message::Nudged(place) => self.input(Input::Nudged(place)),
            Message::Asked(wish) => self.input(Input::Asked(wish)),
            Message::Reported => self.input(Input::Reported),
            Message::Content(at, bytes) => self.input(Input::Content { at, bytes }),
            Message::Request(request, reply) => {
                let answer = self.shard.borrow_mut().request(self.services.clock.now(), request);
                // Whoever asked may have gone away; then nobody misses the answer.
                let _ = reply.send(answer);
                self.drain_outputs();
            }
            Message::Drain(done) => {
                *self.drained.borrow_mut() = Some(done);
                self.input(Input::Drain);
            }
        }
    }

    /// Gives one input to the shard and carries out what follows from it.
    pub fn input(self: &Rc<Reactor>, input: Input<'_>) {
        self.shard.borrow_mut().handle(self.services.clock.now(), input);
        self.drain_outputs();
    }

    fn drain_outputs(self: &Rc<Reactor>) {
        loop {
            let output = self.shard.borrow_mut().poll_output();
            let Some(output) = output else { break };
            self.carry_out(output);
        }
        let shard = self.shard.borrow();
        if shard.next_wake().is_some_and(|wake| wake < self.armed.get()) {
            self.rearm.notify_one();
        }
        if shard.is_drained()
            && self.unsettled.borrow().is_empty()
            && let Some(done) = self.drained.borrow_mut().take()
        {
            // Whoever waited may have given up; the reactor is drained all the same.
            let _ = done.send(());
        }
    }

    fn carry_out(self: &Rc<Reactor>, output: Output) {
        match output {
            Output::Connect { connection, from, to } => {
                pass(Point::OutboundConnect);
                let cell = Rc::new(SocketCell::default());
                self.sockets.borrow_mut().insert(connection, cell.clone());
                tokio::task::spawn_local(socket::run(self.clone(), connection, cell, from, to));
            }
            Output::Send { connection } => {
                if let Some(cell) = self.sockets.borrow().get(&connection) {
                    cell.kick();
                }
            }
            Output::Close { connection } => {
                if let Some(cell) = self.sockets.borrow_mut().remove(&connection) {
                    cell.close();
                }
            }
            Output::Resolve(query) => {
                let (resolver, inbox) = (self.services.resolver.load_full(), self.services.inbox());
                self.services.control.spawn(async move {
                    let answered = resolver.resolve(query).await;
                    if let Some(inbox) = inbox.upgrade() {
                        let _ = inbox.send(Message::Answer(answered)).await;
                    }
                });
            }
            Output::Load(at) => {
                let (storage, inbox) = (self.services.storage.clone(), self.services.inbox());
                self.services.control.spawn(async move {
                    let bytes = storage.read(at).await.inspect_err(|e| {
                        tracing::error!(segment = at.segment, offset = at.offset8, error = %e, "content unreadable");
                    });
                    if let Some(inbox) = inbox.upgrade() {
                        let _ = inbox.send(Message::Content(at, bytes.ok())).await;
                    }
                });
            }
            Output::Settle(batch) => self.settle(batch),
            Output::Report(report) => {
                if let Some(outcome) = &report.outcome {
                    pass(point(outcome.disposition));
                    (self.services.seen)(&report.attempt, outcome.disposition);
                }
                // Gone only with the engine; the outcome is then not known, and tried for again.
                let _ = self.services.reports.send((self.services.number, report));
            }
            Output::Move(admits) => self.move_over(admits),
            Output::Nudge { shard, place } => self.tell(shard, Message::Nudged(place)),
            Output::Ask { shard, wish } => self.tell(shard, Message::Asked(wish)),
            Output::Notice(notice) => {
                tracing::info!("{notice}");
                // Gone only with the engine.
                let _ = self.services.notices.send(notice);
            }
            Output::RouteRegained(queue) => {
                self.services.storage.note(Control::RouteLost { queue: queue.to_string(), lost: false });
            }
        }
    }

    fn tell(&self, shard: u32, message: Message) {
        let peer = self.services.peers[shard as usize].clone();
        tokio::task::spawn_local(async move {
            if let Some(peer) = peer.upgrade() {
                let _ = peer.send(message).await;
            }
        });
    }

    /// Not waiting for room: who moves lies in memory here or there.
    fn move_over(&self, admits: Vec<Admit>) {
        for admit in admits {
            match admit.owner(self.outbox.shards()) {
                own if own == self.services.number => {
                    self.shard.borrow_mut().handle(self.services.clock.now(), Input::Admit(admit));
                }
                other => self.outbox.put(other, vec![admit]),
            }
        }
    }

    fn settle(&self, batch: OutcomeBatch) {
        for outcome in &batch.outcomes {
            pass(point(outcome.disposition));
            if let Some(attempt) = batch.attempts.get(outcome.attempt as usize) {
                (self.services.seen)(attempt, outcome.disposition);
            }
        }
        self.unsettled.borrow_mut().push_back(batch);
        self.offer_unsettled();
    }

    /// Offers storage the batches it has not taken yet; while one is left the shard starts nothing new.
    fn offer_unsettled(&self) {
        let mut unsettled = self.unsettled.borrow_mut();
        while let Some(batch) = unsettled.pop_front() {
            if let Err(batch) = self.services.storage.settle(batch) {
                unsettled.push_front(batch);
                break;
            }
        }
        self.shard.borrow_mut().hold_outcomes(!unsettled.is_empty());
    }

    /// Writes what the shard has for this connection. `Ok(false)`: the socket is full.
    pub fn write(&self, id: ConnectionId, stream: &TcpStream) -> io::Result<bool> {
        let mut shard = self.shard.borrow_mut();
        loop {
            let Some(bytes) = shard.outgoing(id).filter(|b| !b.is_empty()) else { return Ok(true) };
            let piece = Piece::of(bytes);
            match stream.try_write(&bytes[..piece.len]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes.drain(..n);
                    shard.sent(self.services.clock.now(), id, n);
                    piece.sent(n)?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads what is there, once there is something, and gives it to the shard.
    pub fn poll_read(
        self: &Rc<Reactor>,
        cx: &mut Context<'_>,
        id: ConnectionId,
        stream: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        let mut buffer = self.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        // Unlike a readiness and a `try_read`, this knows from a short read that nothing is left.
        std::task::ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.input(Input::Received { connection: id, bytes });
        Poll::Ready(Ok(()))
    }
}

fn point(disposition: Disposition) -> Point {
    match disposition {
        Disposition::Delivered => Point::OutboundReplied,
        Disposition::InDoubt => Point::OutboundInDoubt,
        Disposition::Deferred => Point::OutboundRetry,
        Disposition::Bounced | Disposition::Deleted { .. } => Point::OutboundBounced,
        Disposition::Expired => Point::OutboundExpired,
    }
}
