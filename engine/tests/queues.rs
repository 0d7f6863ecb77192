//! What many queues cost: memory while their mail waits for a retry, and time for each message against few queues.
//!
//! One shard as the reactors drive it, on a clock that is stepped: mail comes spread over ten minutes, its first
//! connection is refused, and at the retry it is delivered. The memory decides; the times are printed, to be read in a build
//! like the engine's (`cargo test --profile bench -p posthaste --test queues -- --nocapture`).

use posthaste::base::{Now, Time, Wall};
use posthaste::daemon::profiles::{ConfigProfiles, Configured};
use posthaste::mail::content::Content;
use posthaste::mail::priority::Priority;
use posthaste::mail::row::put_value;
use posthaste::mail::schedule::Schedule;
use posthaste::mail::verp::VerpKeys;
use posthaste::queue::{QueueName, Slot};
use posthaste::route::RoutePolicy;
use posthaste::shard::{Admit, AdmitRow, ConnectionId, Input, Output, Settings, Shard};
use posthaste::spool::header::SegmentHeader;
use posthaste::spool::ledger::Ledger;
use posthaste::spool::log::Log;
use posthaste::spool::record::{
    Disposition, Draft, Group, Location, Place, Ref, Reports, RowsDraft, Submission,
};
use posthaste::spool::segments::Segments;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bytes a queue may cost while its mail waits for a retry, with its name, limits, timer and latest error.
const MOST: usize = 400;
/// What the recipient in it costs.
const RECIPIENT: usize = size_of::<Slot>();
/// A build for debugging takes a minute for a million.
const MANY: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
const FEW: u32 = 1000;
const SPREAD: Duration = Duration::from_secs(600);
const START: Wall = Wall::from_secs(1_790_000_000);
const TEXT: &[u8] = b"From: a@sender.example\r\nSubject: hello\r\n\r\nHello\r\n";

/// Counts the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator; the counter touches no memory that is given out.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

fn in_use() -> usize {
    IN_USE.load(Relaxed)
}

/// What is on its way to the shard.
enum Happening {
    Refused(ConnectionId),
    Connected(ConnectionId),
    Bytes(ConnectionId, &'static [u8]),
    Closed(ConnectionId),
}

/// One shard, and hosts that take all mail without extensions.
struct World {
    now: Now,
    shard: Shard,
    stored: [Place; 3],
    /// The one recipient's record is that of all: what a slot costs does not depend on where it points to.
    content: Arc<[u8]>,
    refuses: bool,
    /// Connections, and whether a message is under way on them.
    in_data: HashMap<ConnectionId, bool>,
    happenings: VecDeque<Happening>,
    delivered: u32,
    put_off: u32,
}

fn stored(segments: &Segments, content: &Arc<[u8]>) -> [Place; 3] {
    let header = SegmentHeader { number: 1, size: 64 << 20, nonce: [7; 16] };
    segments.add(header, None);
    let mut log = Log::new(Ledger::default(), header);
    let submission = Submission {
        id: 1,
        sender: "news@sender.example".to_owned(),
        job: "job".to_owned(),
        accepted_at: START.0,
        start_at: START.0,
        size: content.len() as u32,
        ..Submission::default()
    };
    let mut rows = RowsDraft { vmtas: vec!["{default}".to_owned()], vmta: vec![0], ..RowsDraft::default() };
    put_value(&mut rows.bytes, "someone@receiver.example");
    rows.ends.push(rows.bytes.len() as u32);
    let drafts = vec![
        Draft::Content(content.clone()),
        Draft::Accepted { submission, content: Ref::Here(0) },
        Draft::Rows { submission: Ref::Here(1), rows },
    ];
    let places = log.append(Group { drafts }).expect("room in the log").places;
    while let Some(write) = log.take_write() {
        let at = Location { segment: write.segment, offset8: (write.offset / 8) as u32 };
        segments.push(at, Arc::new(write.blocks));
        log.written(write.end);
        log.synced();
        segments.set_durable(write.end);
    }
    places.try_into().map_err(|_| "three records").expect("a place for each record")
}

impl World {
    fn new() -> World {
        let text = "<spool /s>\n</spool>\nlog-file /l\n<domain *>\n smtp-hosts [192.0.2.9]\n use-starttls no\n</domain>\n";
        let files = vmta_config::MemoryFiles::new([("config", text.to_owned())]);
        let config =
            vmta_config::load("config", &files, false).config.map(Arc::new).expect("a configuration");
        let configured = Arc::new(Configured::new(config, "mx.example").expect("profiles"));
        let mut content = Vec::new();
        Content::plain(TEXT.to_vec()).encode(&mut content);
        let content: Arc<[u8]> = content.into();
        let segments = Arc::new(Segments::new(Path::new("/nowhere"), usize::MAX));
        let stored = stored(&segments, &content);
        let now = Now { mono: Time::from_millis(1000), wall: Wall(START.0 + 1000) };
        let settings = Settings {
            profiles: Box::new(ConfigProfiles::new(configured)),
            segments,
            routes: Arc::new(RoutePolicy::default()),
            number: 0,
            shared: Arc::default(),
            pauses: Vec::new(),
            routes_lost: BTreeSet::new(),
            verp: Arc::new(VerpKeys::parse(&VerpKeys::file(&[5; 32])).expect("a key")),
        };
        World {
            now,
            shard: Shard::new(now, settings),
            stored,
            content,
            refuses: true,
            in_data: HashMap::new(),
            happenings: VecDeque::new(),
            delivered: 0,
            put_off: 0,
        }
    }

    /// One recipient for queue number `n`.
    fn admit(&mut self, n: u32) {
        let [content, submission, rows] = &self.stored;
        let admit = Admit {
            submission: submission.at,
            size: 1000,
            accepted_at: self.now.wall,
            start_at: self.now.wall,
            schedule: Schedule::default(),
            priority: Priority::default(),
            reports: Reports::default(),
            refused: false,
            job: "job".into(),
            record: rows.at,
            first_ordinal: rows.first_ordinal,
            queues: vec![QueueName::new(&format!("receiver-{n}.example.com"), "{default}")],
            rows: vec![AdmitRow { index: 0, attempts: 0, queue: 0 }],
            content: Some((content.at, self.content.clone())),
        };
        self.handle(Input::Admit(admit));
    }

    fn handle(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input);
        self.carry_out();
        while let Some(happening) = self.happenings.pop_front() {
            let input = match happening {
                Happening::Refused(connection) => {
                    Input::Closed { connection, cause: Error::from(ErrorKind::ConnectionRefused) }
                }
                Happening::Closed(connection) => {
                    Input::Closed { connection, cause: Error::from(ErrorKind::UnexpectedEof) }
                }
                Happening::Connected(connection) => {
                    Input::Connected { connection, local: [10, 1, 0, 1].into() }
                }
                Happening::Bytes(connection, bytes) => Input::Received { connection, bytes },
            };
            self.shard.handle(self.now, input);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Connect { connection, .. } if self.refuses => {
                    self.happenings.push_back(Happening::Refused(connection));
                }
                Output::Connect { connection, .. } => {
                    self.in_data.insert(connection, false);
                    self.happenings.push_back(Happening::Connected(connection));
                    self.happenings.push_back(Happening::Bytes(connection, b"220 mx\r\n"));
                }
                Output::Send { connection } => self.answer(connection),
                Output::Close { connection } => {
                    self.in_data.remove(&connection);
                }
                Output::Settle(batch) => {
                    let is = |wanted| batch.outcomes.iter().filter(|o| o.disposition == wanted).count();
                    self.delivered += is(Disposition::Delivered) as u32;
                    self.put_off += batch.queue_failures.len() as u32;
                }
                other => panic!("not expected: {other:?}"),
            }
        }
    }

    /// The host reads what was sent, a command at a time.
    fn answer(&mut self, connection: ConnectionId) {
        while let Some(bytes) = self.shard.outgoing(connection).filter(|bytes| !bytes.is_empty()) {
            let sent = std::mem::take(bytes);
            self.shard.sent(self.now, connection, sent.len());
            let Some(in_data) = self.in_data.get_mut(&connection) else { return };
            let reply: &[u8] = match &sent[..] {
                _ if *in_data && sent.ends_with(b"\r\n.\r\n") => {
                    *in_data = false;
                    b"250 taken\r\n"
                }
                _ if *in_data => continue,
                [b'D', b'A', b'T', b'A', ..] => {
                    *in_data = true;
                    b"354 go on\r\n"
                }
                [b'Q', b'U', b'I', b'T', ..] => {
                    self.happenings.push_back(Happening::Bytes(connection, b"221 bye\r\n"));
                    self.happenings.push_back(Happening::Closed(connection));
                    return;
                }
                _ => b"250 fine\r\n",
            };
            self.happenings.push_back(Happening::Bytes(connection, reply));
        }
    }

    fn run_until(&mut self, until: Time) {
        while let Some(next) = self.shard.next_wake().filter(|next| *next <= until) {
            self.pass(next.max(self.now.mono));
            self.handle(Input::Wake);
        }
        self.pass(until);
    }

    fn pass(&mut self, to: Time) {
        self.now = Now { mono: to, wall: Wall(START.0 + to.as_millis() as i64) };
    }

    /// A recipient comes for each queue, spread over the time before the first retry, and finds no connection.
    fn fill(&mut self, queues: u32) {
        let (from, before) = (self.now.mono, self.put_off);
        self.refuses = true;
        for n in 0..queues {
            self.run_until(from + SPREAD / 10 * 9 * n / queues);
            self.admit(n);
        }
        self.run_until(from + SPREAD / 10 * 9 + Duration::from_secs(30));
        assert_eq!(self.put_off - before, queues, "each queue has failed once");
    }

    /// The hosts answer again, and all queues have had their retry.
    fn deliver(&mut self, queues: u32) {
        let before = self.delivered;
        self.refuses = false;
        self.run_until(self.now.mono + SPREAD * 2);
        assert_eq!(self.delivered - before, queues, "all mail has arrived");
    }

    /// What a message costs on its way through `queues` queues that are known, from coming to being delivered at the retry.
    fn cost(&mut self, queues: u32, messages: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..messages / queues {
            self.fill(queues);
            self.deliver(queues);
        }
        began.elapsed() / messages
    }
}

#[test]
fn a_queue_whose_mail_waits_costs_400_bytes_and_no_more_time_for_being_one_of_many() {
    let mut many = World::new();
    let before = in_use();
    many.fill(MANY);
    let waiting = (in_use() - before) / MANY as usize;
    many.deliver(MANY);
    let empty = (in_use() - before) / MANY as usize;
    println!("{MANY} queues: {waiting} bytes each with a recipient that waits, {empty} empty");
    let mut few = World::new();
    few.fill(FEW);
    few.deliver(FEW);
    for _ in 0..2 {
        let (of_few, of_many) = (few.cost(FEW, MANY), many.cost(MANY, MANY));
        let times = of_many.as_secs_f64() / of_few.as_secs_f64();
        println!("a message: {of_few:?} in {FEW} queues, {of_many:?} in {MANY}: {times:.2} times");
    }
    assert!(waiting <= MOST + RECIPIENT, "a queue has grown to {waiting} bytes");
    assert!(empty <= waiting, "{empty} bytes of an empty queue");
}
