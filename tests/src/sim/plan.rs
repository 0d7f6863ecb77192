//! Everything that one seed decides: configuration, destinations, workload, faults. Made at once and never changed, so
//! that a failing seed can be read before it is replayed.

use super::disk::AtOperation;
use super::steering::{self, BackoffLimits};
use super::works::works;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What the configuration says about the queues of a domain, as the auditor holds the engine to it.
#[derive(Clone, Debug)]
pub struct Limits {
    pub max_smtp_out: u32,
    /// Recipients in any window of that length.
    pub msg_rate: Option<(u32, Duration)>,
    pub connect_rate: Option<(u32, Duration)>,
    /// Delivered bytes.
    pub volume_rate: Option<(u64, Duration)>,
    /// `source-ip-max-smtp-out` and `source-ip-max-msg-rate` of every address.
    pub from_source: Option<u32>,
    pub source_rate: Option<(u32, Duration)>,
    /// `mx-connection-limit` of its hosts and `ip-connection-limit` of their addresses.
    pub to_host: Option<u32>,
    pub to_address: Option<u32>,
    /// 0 is no limit.
    pub msg_per_connection: u32,
    pub rcpt_per_message: u32,
    pub retry_recipients_after: Duration,
    pub bounce_after: Duration,
    /// Where replies lead to backoff: what it allows.
    pub backoff: Option<BackoffLimits>,
}

/// What DNS says of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// (preference, host name, addresses)
    Mx(Vec<(u16, String, Vec<IpAddr>)>),
    NullMx,
    Missing,
    /// `smtp-hosts` of the configuration.
    Fixed(IpAddr),
}

/// How the hosts of a domain behave when they are well.
#[derive(Clone, Debug)]
pub struct Manners {
    pub latency: Duration,
    pub pipelining: bool,
    pub chunking: bool,
    pub no_ehlo: bool,
    /// Connections from one address; above it `421`.
    pub connections: u32,
    /// Transactions a second; above it `450`. 0 is no limit.
    pub rate: u32,
    /// The first attempt of each recipient is refused for so long.
    pub greylist: Option<Duration>,
    /// Of 100 recipients: unknown here, and full for a while.
    pub unknown: u8,
    pub full: u8,
    /// Of 10,000 commands: those that go wrong before the calm.
    pub chaos: u32,
}

#[derive(Clone, Debug)]
pub struct Domain {
    pub name: String,
    pub zone: Zone,
    pub limits: Limits,
    pub manners: Manners,
    pub(super) directives: String,
}

#[derive(Clone, Debug, Default)]
pub struct Vmta {
    pub name: String,
    pub sources: Vec<(IpAddr, String)>,
    pub max_smtp_out: Option<u32>,
    pub msg_rate: Option<(u32, Duration)>,
    pub volume_rate: Option<(u64, Duration)>,
}

/// By which door a submission comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The client gives up when the connection breaks.
    Smtp,
    /// The file stays until the engine removes it.
    Pickup,
    Campaign,
}

/// A submission to be made.
#[derive(Clone, Debug)]
pub struct Work {
    pub id: usize,
    pub at: Duration,
    pub door: Door,
    /// VMTA or pool; empty for the default.
    pub vmta: String,
    pub job: String,
    pub recipients: Vec<String>,
    /// The message of a plain one.
    pub message: Vec<u8>,
    /// Not before so long after the start; campaigns only.
    pub start_at: Option<Duration>,
}

/// What goes wrong, and what the operator does.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Every host of the domain: for so long.
    Site(usize, Ill, Duration),
    Dns(usize, Duration),
    SlowDisk(u64, Duration),
    HungDisk(Duration),
    FullDisk(usize, Duration),
    UnreadableDisk(Duration),
    /// Somebody sets the calendar clock, by seconds.
    Clock(i64),
    Pause(String, bool),
    DeleteJob(String),
    DeleteDomain(usize),
    Reload,
    /// The next hundreds of replies are late, cut or lost.
    Kill,
    PowerCut,
    Restart,
}

/// How a host is unwell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    Refuses,
    Hangs,
    /// `421` to whatever comes.
    Storm,
    /// Every reply takes so long, in milliseconds.
    Slow(u64),
    /// Takes the message and says nothing.
    SilentAfterDot,
    /// Takes the message and drops the connection.
    DropsAfterDot,
}

/// What happens when the receivers have taken so many messages.
pub type AtAcceptance = BTreeMap<u64, bool>;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub config: String,
    pub domains: Vec<Domain>,
    pub vmtas: Vec<Vmta>,
    pub pools: Vec<(String, Vec<String>)>,
    pub total: u32,
    pub works: Vec<Work>,
    pub troubles: Vec<(Duration, Trouble)>,
    pub disk: BTreeMap<u64, AtOperation>,
    /// Crashes at the moment when a message has just been taken: `true` cuts the power.
    pub acceptances: AtAcceptance,
    pub calm: Duration,
    /// Shards of each life in turn.
    pub shards: Vec<usize>,
    pub segment_size: u32,
    /// Free segments kept besides the prepared one: 3, as the preparing thread keeps them, or fewer, so that a full disk is
    /// met sooner.
    pub spare: usize,
    /// How long a client waits for a commit before it is told to try again (R10).
    pub commit_deadline: Duration,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let calm = Duration::from_secs(rng.u64(60..2400));
        let vmtas = vmtas(rng);
        let names: Vec<String> = vmtas.iter().map(|v| v.name.clone()).collect();
        let pools = if rng.bool() { vec![("pool".to_owned(), names)] } else { Vec::new() };
        let mut domains: Vec<Domain> = (0..rng.usize(2..7)).map(|n| domain(rng, n)).collect();
        // Of its own, as that of the disk.
        let slow = &mut fastrand::Rng::with_seed(seed ^ 0x510e);
        domains.iter_mut().for_each(|domain| steering::perhaps(slow, domain));
        let total = *rng.choice([2, 3, 5, 12, 1000].iter()).expect("not empty");
        let large = rng.u8(..4) == 0;
        let works = works(rng, &domains, &vmtas, &pools, calm, large);
        let shards = (0..6).map(|_| rng.usize(1..4)).collect();
        // Of its own, so that the seeds kept keep their course.
        let disk = &mut fastrand::Rng::with_seed(seed ^ 0xd15c);
        let mut plan = Plan {
            seed,
            config: String::new(),
            domains,
            vmtas,
            pools,
            total,
            works,
            troubles: Vec::new(),
            disk: BTreeMap::new(),
            acceptances: BTreeMap::new(),
            calm,
            shards,
            segment_size: 4 << 20,
            spare: if disk.bool() { 3 } else { 0 },
            commit_deadline: Duration::from_secs(*disk.choice([2, 10, 60].iter()).expect("not empty")),
        };
        let wide = &mut fastrand::Rng::with_seed(seed ^ 0x71de);
        plan.limit(wide);
        let ranks = &mut fastrand::Rng::with_seed(seed ^ 0x9a11);
        plan.domains.iter_mut().for_each(|domain| domain.rank(ranks));
        plan.config = plan.text();
        plan.add_troubles(rng);
        plan
    }

    /// The VMTAs a submission's name stands for.
    pub fn members<'a>(&'a self, name: &'a str) -> Vec<&'a Vmta> {
        let pool = self.pools.iter().find(|(pool, _)| pool == name);
        let named = |vmta: &&Vmta| match pool {
            Some((_, members)) => members.contains(&vmta.name),
            None => vmta.name == name,
        };
        self.vmtas.iter().filter(named).collect()
    }

    /// The configuration file.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "host-name mail.sender.example\nlog-file /nowhere/log\n<spool /nowhere/spool>\n</spool>\n\
             total-max-smtp-out {}\n\
             <source 127.0.0.0/8>\n always-allow-relaying yes\n process-x-virtual-mta yes\n process-x-job yes\n \
             suppress-local-dsn yes\n</source>\n\
             <acct-file /nowhere/acct.csv>\n records d,b,t\n delete-after never\n</acct-file>\n",
            self.total
        );
        text.push_str(steering::PATTERN_LISTS);
        for vmta in &self.vmtas {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "<virtual-mta {}>", vmta.name);
            for (ip, helo) in &vmta.sources {
                let _ = writeln!(text, " smtp-source-host {ip} {helo}");
            }
            vmta.write_limits(&mut text);
            text.push_str("</virtual-mta>\n");
        }
        for (pool, members) in &self.pools {
            let _ = writeln!(text, "<virtual-mta-pool {pool}>");
            for member in members {
                let _ = writeln!(text, " virtual-mta {member}");
            }
            text.push_str("</virtual-mta-pool>\n");
        }
        self.write_host_limits(&mut text);
        for domain in &self.domains {
            let _ = writeln!(text, "<domain {}>\n{}</domain>", domain.name, domain.directives);
        }
        text
    }

    fn add_troubles(&mut self, rng: &mut fastrand::Rng) {
        let calm = self.calm.as_secs();
        for _ in 0..rng.usize(..12) {
            let at = Duration::from_millis(rng.u64(..calm * 1000));
            let left = self.calm - at;
            let trouble = self.trouble(rng, left);
            if let Trouble::Pause(pattern, true) = &trouble {
                let end = at + left.mul_f32(rng.f32());
                self.troubles.push((end, Trouble::Pause(pattern.clone(), false)));
            }
            self.troubles.push((at, trouble));
        }
        self.troubles.sort_by_key(|(at, _)| *at);
        let crash = |rng: &mut fastrand::Rng| match rng.u8(..4) {
            0 => AtOperation::Fail,
            1 => AtOperation::Kill,
            _ => AtOperation::PowerCut,
        };
        for _ in 0..rng.usize(..3) {
            self.disk.insert(rng.u64(1..400), crash(rng));
        }
        for _ in 0..rng.usize(..3) {
            self.acceptances.insert(rng.u64(1..200), rng.bool());
        }
    }

    fn trouble(&self, rng: &mut fastrand::Rng, left: Duration) -> Trouble {
        let domain = rng.usize(..self.domains.len());
        let time = left.mul_f32(rng.f32());
        let seconds = |rng: &mut fastrand::Rng, most: u64| Duration::from_millis(rng.u64(..most * 1000));
        match rng.u8(..24) {
            0 => Trouble::Site(domain, Ill::Refuses, time),
            1 => Trouble::Site(domain, Ill::Hangs, time),
            2 | 3 => Trouble::Site(domain, Ill::Storm, time),
            4 => Trouble::Site(domain, Ill::Slow(rng.u64(500..90_000)), time),
            5 => Trouble::Site(domain, Ill::SilentAfterDot, time / 4),
            6 => Trouble::Site(domain, Ill::DropsAfterDot, time / 4),
            7 | 8 => Trouble::Dns(domain, time),
            9 => Trouble::SlowDisk(rng.u64(20..2000), time),
            10 => Trouble::HungDisk(seconds(rng, 100)),
            11 | 12 => Trouble::FullDisk(rng.usize(..2), time),
            13 => Trouble::UnreadableDisk(seconds(rng, 60)),
            14 => Trouble::Clock(*rng.choice([-3600, 3600, 40 * 86_400, -400 * 86_400].iter()).unwrap_or(&1)),
            15 => Trouble::Pause(self.pattern(rng), true),
            16 => Trouble::DeleteJob(format!("job{}", rng.u8(..4))),
            17 => Trouble::DeleteDomain(domain),
            18 => Trouble::Reload,
            19 | 20 => Trouble::Kill,
            21 | 22 => Trouble::PowerCut,
            _ => Trouble::Restart,
        }
    }

    fn pattern(&self, rng: &mut fastrand::Rng) -> String {
        let domain = &rng.choice(self.domains.iter()).expect("there are domains").name;
        match rng.u8(..3) {
            0 => "*".to_owned(),
            1 => domain.clone(),
            _ => format!("{domain}/{}", rng.choice(self.vmtas.iter()).expect("there are VMTAs").name),
        }
    }
}

fn vmtas(rng: &mut fastrand::Rng) -> Vec<Vmta> {
    let one = |n: u8, sources: u8| Vmta {
        name: format!("v{n}"),
        sources: (0..sources)
            .map(|i| (IpAddr::from(Ipv4Addr::new(10, n, 0, i + 1)), format!("s{i}.v{n}.sender.example")))
            .collect(),
        ..Vmta::default()
    };
    (1..=rng.u8(1..4)).map(|n| one(n, rng.u8(1..3))).collect()
}

fn limits(rng: &mut fastrand::Rng) -> Limits {
    let rate = |rng: &mut fastrand::Rng, most: u32| match rng.u8(..5) {
        0..2 => None,
        2..4 => Some((rng.u32(1..most), Duration::from_secs(1))),
        _ => Some((rng.u32(10..200), Duration::from_secs(60))),
    };
    Limits {
        max_smtp_out: rng.u32(1..9),
        msg_rate: rate(rng, 60),
        connect_rate: rate(rng, 12),
        volume_rate: None,
        from_source: None,
        source_rate: None,
        to_host: None,
        to_address: None,
        msg_per_connection: if rng.bool() { 0 } else { rng.u32(1..6) },
        rcpt_per_message: rng.u32(1..12),
        retry_recipients_after: Duration::from_secs(rng.u64(20..200)),
        bounce_after: Duration::from_secs(rng.u64(1200..20_000)),
        backoff: None,
    }
}

fn domain(rng: &mut fastrand::Rng, n: usize) -> Domain {
    let name = format!("d{n}.example");
    let limits = limits(rng);
    let address = |host: usize, i: usize| IpAddr::from(Ipv4Addr::new(8, n as u8, host as u8, i as u8 + 1));
    let zone = match rng.u8(..20) {
        0 => Zone::NullMx,
        1 => Zone::Missing,
        2..6 => Zone::Fixed(address(0, 0)),
        _ => Zone::Mx(
            (0..rng.usize(1..4))
                .map(|host| {
                    let addresses = (0..rng.usize(1..3)).map(|i| address(host, i)).collect();
                    (10 * rng.u16(1..3), format!("mx{host}.{name}"), addresses)
                })
                .collect(),
        ),
    };
    let manners = Manners {
        latency: Duration::from_millis(rng.u64(1..150)),
        pipelining: rng.u8(..4) > 0,
        chunking: rng.bool(),
        no_ehlo: rng.u8(..10) == 0,
        connections: if rng.bool() { 1000 } else { rng.u32(1..6) },
        rate: if rng.u8(..3) > 0 { 0 } else { rng.u32(2..20) },
        greylist: (rng.u8(..4) == 0).then(|| Duration::from_secs(rng.u64(30..400))),
        unknown: rng.u8(..10),
        full: rng.u8(..10),
        chaos: *rng.choice([0, 5, 50, 300].iter()).unwrap_or(&0),
    };
    let mut directives = directives(rng, &limits);
    if let Zone::Fixed(ip) = zone {
        let _ = writeln!(directives, " smtp-hosts [{ip}]");
    }
    Domain { name, zone, limits, manners, directives }
}

fn directives(rng: &mut fastrand::Rng, limits: &Limits) -> String {
    let rate = |rate: Option<(u32, Duration)>| match rate {
        None => "unlimited".to_owned(),
        Some((count, per)) => format!("{count}/{}", if per.as_secs() == 1 { 's' } else { 'm' }),
    };
    let yes = |rng: &mut fastrand::Rng| if rng.bool() { "yes" } else { "no" };
    let mut text = format!(
        " max-smtp-out {}\n max-msg-rate {}\n max-connect-rate {}\n max-msg-per-connection {}\n \
         max-rcpt-per-message {}\n retry-recipients-after {}s\n bounce-after {}s\n",
        limits.max_smtp_out,
        rate(limits.msg_rate),
        rate(limits.connect_rate),
        limits.msg_per_connection,
        limits.rcpt_per_message,
        limits.retry_recipients_after.as_secs(),
        limits.bounce_after.as_secs(),
    );
    let _ = write!(
        text,
        " retry-after {}s\n connect-timeout {}s\n smtp-greeting-timeout {}s\n data-send-timeout {}s\n \
         smtp-data-termination-timeout {}s\n connection-idle-timeout {}s\n pipeline-across-data {}\n \
         smtp-421-means-mx-unavailable {}\n prefer-chunking {}\n use-starttls no\n",
        rng.u64(20..300),
        rng.u64(5..40),
        rng.u64(10..120),
        rng.u64(10..180),
        rng.u64(20..600),
        rng.u64(0..3) * 20,
        yes(rng),
        yes(rng),
        yes(rng),
    );
    if rng.u8(..4) == 0 {
        let _ = writeln!(text, " max-errors-per-connection {}", rng.u32(1..6));
    }
    text
}
