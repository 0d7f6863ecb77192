//! A log in RAM, the mail in it, and hand-made profiles.

use crate::base::Wall;
use crate::mail::content::Content;
use crate::mail::merge::{Before, Meaning, compile};
use crate::mail::priority::Priority;
use crate::mail::rewrite::Rewrites;
use crate::mail::row::{REFUSED_FIELD, put_value, row_view};
use crate::mail::schedule::Schedule;
use crate::mail::verp::VerpKeys;
use crate::queue::QueueName;
use crate::route::{Route, SourceHost};
use crate::shard::{Admit, AdmitRow, Profiles, QueueProfile, Reroutes, VmtaProfile};
use crate::smtp::tls::TlsClientConfig;
use crate::spool::header::SegmentHeader;
use crate::spool::ledger::Ledger;
use crate::spool::log::Log;
use crate::spool::record::{
    AtDelivery, Draft, Group, Location, Place, Ref, Reports, RowRef, RowsDraft, Submission, Verp,
};
use crate::spool::rows::RowsView;
use crate::spool::segments::Segments;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A submission to be made.
#[derive(Clone, Debug)]
pub struct Mail {
    pub content: Arc<[u8]>,
    /// `address vmta`, and a value for each field.
    pub rows: Vec<(String, Vec<String>)>,
    pub vmta: String,
    pub job: String,
    pub sender: String,
    pub accepted_at: Option<Wall>,
    pub start_at: Wall,
    pub schedule: Schedule,
    pub priority: Priority,
    pub reports: Reports,
    /// Names of the rows' values.
    pub fields: Vec<String>,
    pub envid: String,
    pub dsn_ret: String,
    /// The content is not handed over with the recipients.
    pub cold: bool,
    pub verp: Verp,
    pub at_delivery: AtDelivery,
}

pub fn verp_keys() -> VerpKeys {
    VerpKeys::parse(&VerpKeys::file(&[5; 32])).expect("a key")
}

pub const TEXT: &str = "From: a@sender.example\r\nSubject: hello\r\n\r\nHello\r\n";

impl Mail {
    /// A plain message.
    pub fn to(addresses: &[&str]) -> Mail {
        let mut content = Vec::new();
        Content::plain(TEXT.as_bytes().to_vec()).encode(&mut content);
        Mail {
            content: content.into(),
            rows: addresses.iter().map(|a| ((*a).to_owned(), Vec::new())).collect(),
            vmta: "v1".to_owned(),
            job: "job".to_owned(),
            sender: "news@sender.example".to_owned(),
            accepted_at: None,
            start_at: Wall(0),
            schedule: Schedule::default(),
            priority: Priority::default(),
            reports: Reports::default(),
            fields: Vec::new(),
            envid: String::new(),
            dsn_ret: String::new(),
            cold: false,
            verp: Verp::No,
            at_delivery: AtDelivery::default(),
        }
    }

    /// A merged message to recipients who have a sender and a value each.
    pub fn merged(text: &str, rows: &[(&str, &str, &str)]) -> Mail {
        let field = |name: &str| Meaning::Field(name.to_owned());
        let merged =
            compile(Before::default(), text.as_bytes(), &["*from"], false, field).expect("a message");
        let mut content = Vec::new();
        merged.encode(&mut content);
        let row = |(to, sender, value): &(&str, &str, &str)| {
            ((*to).to_owned(), vec![(*sender).to_owned(), (*value).to_owned()])
        };
        Mail { content: content.into(), rows: rows.iter().map(row).collect(), ..Mail::to(&[]) }
    }

    /// A plain message to `count` recipients `u0@domain`, `u1@domain` ..
    pub fn many(count: usize, domain: &str) -> Mail {
        let addresses: Vec<String> = (0..count).map(|n| format!("u{n}@{domain}")).collect();
        Mail::to(&addresses.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// The log in RAM.
pub struct Spool {
    log: Log,
    pub segments: Arc<Segments>,
    pub contents: HashMap<Location, Arc<[u8]>>,
}

impl Spool {
    pub fn new() -> Spool {
        let header = SegmentHeader { number: 1, size: 64 << 20, nonce: [7; 16] };
        let segments = Arc::new(Segments::new(Path::new("/nowhere"), usize::MAX));
        segments.add(header, None);
        let log = Log::new(Ledger::default(), header);
        let mut spool = Spool { log, segments, contents: HashMap::new() };
        spool.write();
        spool
    }

    fn write(&mut self) {
        while let Some(write) = self.log.take_write() {
            let at = Location { segment: write.segment, offset8: (write.offset / 8) as u32 };
            self.segments.push(at, Arc::new(write.blocks));
            self.log.written(write.end);
            self.log.synced();
            self.segments.set_durable(write.end);
        }
    }

    /// Stores a submission and returns what a shard is told of it.
    pub fn store(&mut self, mail: &Mail, now: Wall) -> Admit {
        let accepted_at = mail.accepted_at.unwrap_or(now);
        let submission = Submission {
            id: 1,
            sender: mail.sender.clone(),
            job: mail.job.clone(),
            accepted_at: accepted_at.0,
            start_at: mail.start_at.0,
            schedule: mail.schedule.clone(),
            priority: mail.priority,
            verp: mail.verp,
            at_delivery: mail.at_delivery.clone(),
            envid: mail.envid.clone(),
            dsn_ret: mail.dsn_ret.clone(),
            size: mail.content.len() as u32,
            fields: [Content::decode(&mail.content).expect("a content").fields(), &mail.fields].concat(),
            ..Submission::default()
        };
        let mut rows = RowsDraft { vmtas: vec![mail.vmta.clone()], ..RowsDraft::default() };
        for (address, values) in &mail.rows {
            rows.vmta.push(0);
            put_value(&mut rows.bytes, address);
            values.iter().for_each(|value| put_value(&mut rows.bytes, value));
            rows.ends.push(rows.bytes.len() as u32);
        }
        let drafts = vec![
            Draft::Content(mail.content.clone()),
            Draft::Accepted { submission, content: Ref::Here(0) },
            Draft::Rows { submission: Ref::Here(1), rows },
        ];
        let places = self.log.append(Group { drafts }).expect("room in the log").places;
        self.write();
        self.contents.insert(places[0].at, mail.content.clone());
        self.admit(mail, accepted_at, &places)
    }

    fn admit(&self, mail: &Mail, accepted_at: Wall, places: &[Place]) -> Admit {
        let mut queues: Vec<QueueName> = Vec::new();
        let mut rows = Vec::new();
        for (index, (address, _)) in mail.rows.iter().enumerate() {
            let domain = address.rsplit('@').next().expect("a domain");
            let name = QueueName::new(domain, &mail.vmta);
            let queue = queues.iter().position(|q| *q == name).unwrap_or_else(|| {
                queues.push(name);
                queues.len() - 1
            });
            rows.push(AdmitRow { index: index as u16, attempts: 0, queue: queue as u32 });
        }
        Admit {
            size: 1000,
            submission: places[1].at,
            accepted_at,
            start_at: mail.start_at,
            schedule: mail.schedule.clone(),
            priority: mail.priority,
            reports: mail.reports,
            refused: mail.fields.last().is_some_and(|field| field == REFUSED_FIELD),
            job: mail.job.as_str().into(),
            record: places[2].at,
            first_ordinal: places[2].first_ordinal,
            queues,
            rows,
            content: (!mail.cold).then(|| (places[0].at, mail.content.clone())),
        }
    }

    pub fn address(&self, row: RowRef) -> String {
        let record = self.segments.record(row.record).expect("a record");
        let view = RowsView::new(&record).expect("rows");
        let bytes = view.row(usize::from(row.index)).expect("a row");
        row_view(bytes).expect("an address").address.to_owned()
    }
}

/// Profiles by domain; all others have `usual`.
#[derive(Clone, Debug)]
pub struct TestProfiles {
    pub usual: QueueProfile,
    pub domains: HashMap<String, QueueProfile>,
    pub vmtas: Vec<Arc<VmtaProfile>>,
    /// An MX host and the rollup of the domains that have it.
    pub rollup: Option<(&'static str, &'static str)>,
    /// Virtual MTAs: whose mail goes through which other one in backoff.
    pub backoff_reroute: Option<(&'static str, &'static str)>,
    pub lists: HashMap<String, Arc<dyn Rewrites>>,
    pub host_limits: HashMap<String, u32>,
    pub address_limits: HashMap<IpAddr, u32>,
}

/// PowerMTA's defaults, to one host.
pub fn profile(hosts: &str) -> QueueProfile {
    let hosts = (!hosts.is_empty()).then(|| Arc::new(hosts.parse().expect("hosts")));
    QueueProfile { hosts, ..QueueProfile::default() }
}

impl TestProfiles {
    pub fn new(usual: QueueProfile) -> TestProfiles {
        let tls = TlsClientConfig::new(rustls::RootCertStore::empty()).expect("TLS");
        let source = SourceHost { address: "10.1.0.1".parse().ok(), helo: "v1.sender.example".into() };
        let tls = Some(Arc::new(tls));
        let vmta = VmtaProfile { tls, ..VmtaProfile::new("v1".into(), [source].into()) };
        TestProfiles {
            usual,
            domains: HashMap::new(),
            vmtas: vec![Arc::new(vmta)],
            rollup: None,
            backoff_reroute: None,
            lists: HashMap::new(),
            host_limits: HashMap::new(),
            address_limits: HashMap::new(),
        }
    }

    pub fn with(mut self, domain: &str, profile: QueueProfile) -> TestProfiles {
        self.domains.insert(domain.to_owned(), profile);
        self
    }
}

impl Profiles for TestProfiles {
    fn queue(&self, domain: &str, _vmta: &str) -> Arc<QueueProfile> {
        Arc::new(self.domains.get(domain).unwrap_or(&self.usual).clone())
    }

    fn vmta(&self, name: &str) -> Option<Arc<VmtaProfile>> {
        self.vmtas.iter().find(|vmta| *vmta.name == *name).cloned()
    }

    fn host_limit(&self, host: &str) -> Option<u32> {
        self.host_limits.get(host).copied()
    }

    fn address_limit(&self, address: IpAddr) -> Option<u32> {
        self.address_limits.get(&address).copied()
    }

    fn pool_of(&self, _vmta: &str) -> String {
        String::new()
    }

    fn reroutes(&self, queue: &QueueName) -> Reroutes {
        let to = self.backoff_reroute.filter(|(from, _)| **from == *queue.vmta);
        Reroutes { in_backoff: to.map(|(_, to)| to.into()).into_iter().collect(), ..Reroutes::default() }
    }

    fn rollup(&self, _queue: &QueueName, route: &Route, _now: Wall) -> Option<Arc<str>> {
        let (host, rollup) = self.rollup?;
        route.mx.iter().any(|mx| **mx == *host).then(|| rollup.into())
    }

    fn rewrites(&self, list: &str) -> Option<Arc<dyn Rewrites>> {
        self.lists.get(list).cloned()
    }
}
