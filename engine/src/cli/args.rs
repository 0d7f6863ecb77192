//! The words of the command line, and the requests they stand for. Names of options are PowerMTA's (reference 7.1).

use crate::base::Wall;
use crate::daemon::control::{DeleteQuery, ListQuery, Mode, QueueQuery, Request, Sort, WarmingOrder};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the configuration is unless told otherwise.
pub const CONFIG: &str = "/etc/posthaste/config";

/// An open bulk mailing engine.
#[derive(Debug, Parser)]
#[command(name = "posthaste", version, propagate_version = true)]
pub struct Cli {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,
    /// Control socket of the running engine.
    #[arg(long, global = true, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine.
    Run {
        /// Do not start when something in the spool is damaged or missing.
        #[arg(long)]
        strict: bool,
        /// Deliver nothing until `resume queue '*'`, over a restart too: for a spool that may be an old copy.
        #[arg(long)]
        hold: bool,
    },
    /// Check a configuration: exit status 0 when it loads, 1 when it does not, 2 when it cannot be read.
    CheckConfig {
        /// Treat what is unknown or faulty as warnings, and leave it out.
        #[arg(long)]
        lenient: bool,
        /// Say of each file what became of its lines.
        #[arg(long)]
        report: bool,
        /// The files to check instead of --config, each a configuration of its own.
        files: Vec<PathBuf>,
    },
    /// Say which settings a queue has, where each comes from and what it overrides.
    Explain {
        /// Leave faulty lines out.
        #[arg(long)]
        lenient: bool,
        #[arg(value_name = "DOMAIN[/VMTA]")]
        queue: String,
    },
    /// Say what differs between two configurations: exit status 0 when nothing, 1 when something, 2 when one does not
    /// load.
    DiffConfig {
        /// Leave faulty lines out.
        #[arg(long)]
        lenient: bool,
        old: PathBuf,
        new: PathBuf,
    },
    /// Print a configuration file with its older forms rewritten.
    ConvertConfig {
        /// The file instead of --config.
        file: Option<PathBuf>,
    },
    /// Send a made-up campaign through the engine to simulated mailbox providers.
    Demo(Demo),
    /// Check a campaign directory and hand it to the engine.
    Send {
        /// The directory: campaign.toml, a template, recipients.
        campaign: PathBuf,
        /// Check only.
        #[arg(long)]
        check: bool,
    },
    /// Say when a campaign, or what waits now, will be delivered under the configuration.
    Forecast(Forecasted),
    /// Run the mail of an accounting file again under the configuration, and say what would have been different.
    Replay {
        /// As `acct-file` writes it, with its header line; `.gz` is decompressed.
        file: PathBuf,
    },
    /// Take a message from standard input, with the options of other programs called sendmail; so does a link of that
    /// name to this program.
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Sendmail {
        /// -t, -i, -f SENDER and others, then recipients.
        #[arg(value_name = "OPTION|RECIPIENT", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Show what the engine is doing.
    #[command(subcommand)]
    Show(Show),
    /// Stop deliveries.
    #[command(subcommand)]
    Pause(QueueWord),
    /// Go on with deliveries.
    #[command(subcommand)]
    Resume(QueueWord),
    /// Set the mode of queues, or how far a warm-up is.
    #[command(subcommand)]
    Set(Set),
    /// Stop using a source address for queues.
    #[command(subcommand)]
    Disable(Disable),
    /// Use a source address again.
    #[command(subcommand)]
    Enable(Enable),
    /// Delete waiting recipients; --queue or --jobId is needed.
    Delete(Delete),
    /// Say why mail to an address or a queue (domain/vmta) is not being delivered.
    Why {
        #[arg(value_name = "ADDRESS|QUEUE")]
        what: String,
    },
    /// Begin a new file.
    #[command(subcommand)]
    Rotate(Rotate),
    /// Read the configuration again and put it into effect; with an error in it the old one stays.
    Reload,
    /// Stop the engine.
    Stop,
}

#[derive(Debug, Args)]
pub struct Forecasted {
    /// The campaign's directory.
    #[arg(required_unless_present = "now", conflicts_with = "now")]
    pub campaign: Option<PathBuf>,
    /// The queues of the running engine as they stand.
    #[arg(long)]
    pub now: bool,
    /// When it starts, as "2026-12-01 08:00"; now by default.
    #[arg(long, value_name = "TIME", value_parser = super::forecast::moment, conflicts_with = "now")]
    pub at: Option<Wall>,
    /// Milliseconds to a receiver and back.
    #[arg(long, value_name = "MS", default_value_t = 80, value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub round_trip: u32,
    /// Milliseconds a receiver takes for a message.
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=600_000))]
    pub message_time: u32,
    /// Attempts of a hundred that are put off.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90))]
    pub deferred: u32,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Recipients of the campaign.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    pub recipients: u32,
    /// Directory for spool, campaign and accounting files; what an earlier demo left there is wiped.
    #[arg(long, value_name = "DIR", default_value = "posthaste-demo")]
    pub directory: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Show {
    /// Traffic, connections, queues, spool.
    Status,
    /// Queues by name.
    Queues(QueueOptions),
    /// Queues with the most recipients first.
    Topqueues(QueueOptions),
    /// Domains by name.
    Domains(DomainOptions),
    /// Domains with the most recipients first.
    Topdomains(DomainOptions),
    /// Virtual MTAs.
    Vmtas(ListOptions),
    /// Jobs.
    Jobs(ListOptions),
    /// Cold virtual MTAs: their day at each domain, and what they have had of it.
    Warming,
    /// What queues do not use.
    #[command(subcommand)]
    Disabled(Disabled),
}

#[derive(Debug, Subcommand)]
pub enum Disabled {
    /// Source addresses, and until when.
    Sources {
        /// domain[/vmta], * for any.
        #[arg(default_value = "")]
        queue: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Set {
    /// The queues that fit.
    Queue {
        #[arg(long)]
        mode: ModeWord,
        /// domain[/vmta], * for any.
        queue: String,
    },
    /// The warm-up of a cold virtual MTA at a domain.
    #[command(group = clap::ArgGroup::new("order").args(["day", "hold", "release"]).required(true))]
    Warming {
        /// Go on with this number of max-cold-virtual-mta-msg; the first is 1.
        #[arg(long, value_name = "N")]
        day: Option<u32>,
        /// Stay with today's number until it is released.
        #[arg(long)]
        hold: bool,
        /// Go on by itself again.
        #[arg(long)]
        release: bool,
        vmta: String,
        domain: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Disable {
    /// A source address.
    Source {
        /// When it comes back, such as 30m; by default as reenable-source-ip-after says.
        #[arg(long, value_name = "TIME", value_parser = vmta_config::parse_time)]
        reenable_after: Option<Duration>,
        ip: IpAddr,
        /// domain[/vmta], * for any.
        queue: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Enable {
    /// A source address.
    Source {
        ip: IpAddr,
        /// domain[/vmta], * for any.
        queue: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SortWord {
    Name,
    Rcpt,
    Size,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeWord {
    Normal,
    Backoff,
    /// Eased by `adaptive-rate`; to list only
    Adaptive,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Mode {
        match word {
            ModeWord::Normal => Mode::Normal,
            ModeWord::Backoff => Mode::Backoff,
            ModeWord::Adaptive => Mode::Adaptive,
        }
    }
}

fn yes_or_no(word: &str) -> Result<bool, String> {
    match word {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("write yes or no".into()),
    }
}

#[derive(Debug, Args)]
pub struct QueueOptions {
    /// Only queues with open connections (or, =no, without).
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_or_no, action = ArgAction::Set)]
    pub connected: Option<bool>,
    /// Only paused queues (or, =no, others).
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_or_no, action = ArgAction::Set)]
    pub paused: Option<bool>,
    #[arg(long)]
    pub mode: Option<ModeWord>,
    /// Show the errors below each queue.
    #[arg(long)]
    pub errors: bool,
    #[arg(long)]
    pub sort: Option<SortWord>,
    /// Rows at most; 0 shows all.
    #[arg(long, default_value_t = 20)]
    pub maxitems: u32,
    /// domain[/vmta], * for any.
    #[arg(default_value = "")]
    pub queue: String,
}

#[derive(Debug, Args)]
pub struct DomainOptions {
    /// Only what this virtual MTA has for the domains.
    #[arg(long)]
    pub vmta: Option<String>,
    /// Only domains with open connections (or, =no, without).
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_or_no, action = ArgAction::Set)]
    pub connected: Option<bool>,
    /// Show the errors below each domain.
    #[arg(long)]
    pub errors: bool,
    #[arg(long)]
    pub sort: Option<SortWord>,
    /// Rows at most; 0 shows all.
    #[arg(long, default_value_t = 20)]
    pub maxitems: u32,
    /// Name, * for any.
    #[arg(default_value = "")]
    pub domain: String,
}

#[derive(Debug, Args)]
pub struct ListOptions {
    #[arg(long)]
    pub sort: Option<SortWord>,
    /// Rows at most; 0 shows all.
    #[arg(long, default_value_t = 0)]
    pub maxitems: u32,
}

#[derive(Debug, Subcommand)]
pub enum QueueWord {
    /// The queues that fit.
    Queue {
        /// domain[/vmta], * for any.
        queue: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("subject").args(["queue", "job"]).required(true).multiple(true))]
pub struct Delete {
    /// domain[/vmta], * for any.
    #[arg(long)]
    pub queue: Option<String>,
    /// Envelope sender.
    #[arg(long)]
    pub orig: Option<String>,
    /// Recipient.
    #[arg(long)]
    pub rcpt: Option<String>,
    #[arg(long = "jobId", alias = "job-id", value_name = "JOB")]
    pub job: Option<String>,
    #[arg(long = "envId", alias = "env-id", value_name = "ID")]
    pub envid: Option<String>,
    /// Write no accounting records about it.
    #[arg(long)]
    pub no_accounting: bool,
}

#[derive(Debug, Subcommand)]
pub enum Rotate {
    /// Begin new accounting files.
    Acct {
        /// As configured, such as /var/log/posthaste/acct.csv; by default all.
        file: Option<PathBuf>,
    },
}

impl Command {
    /// The question to the running engine, if the command is one.
    pub fn request(&self) -> Option<Request> {
        Some(match self {
            Command::Run { .. }
            | Command::CheckConfig { .. }
            | Command::Explain { .. }
            | Command::DiffConfig { .. }
            | Command::ConvertConfig { .. }
            | Command::Demo(_)
            | Command::Forecast(_)
            | Command::Replay { .. }
            | Command::Send { .. }
            | Command::Sendmail { .. } => return None,
            Command::Show(what) => what.request(),
            Command::Pause(QueueWord::Queue { queue }) => Request::PauseQueue { queue: queue.clone() },
            Command::Resume(QueueWord::Queue { queue }) => Request::ResumeQueue { queue: queue.clone() },
            Command::Set(Set::Queue { mode, queue }) => {
                Request::SetMode { queue: queue.clone(), mode: (*mode).into() }
            }
            Command::Set(Set::Warming { day, hold, vmta, domain, .. }) => Request::SetWarming {
                vmta: vmta.clone(),
                domain: domain.clone(),
                order: match (day, hold) {
                    (Some(day), _) => WarmingOrder::Day(*day),
                    (None, true) => WarmingOrder::Hold,
                    (None, false) => WarmingOrder::Release,
                },
            },
            Command::Disable(Disable::Source { reenable_after, ip, queue }) => Request::DisableSource {
                queue: queue.clone(),
                address: *ip,
                reenable_after: reenable_after.map(|after| after.as_secs()),
            },
            Command::Enable(Enable::Source { ip, queue }) => {
                Request::EnableSource { queue: queue.clone(), address: *ip }
            }
            Command::Delete(delete) => Request::Delete(DeleteQuery {
                queue: delete.queue.clone(),
                orig: delete.orig.clone(),
                rcpt: delete.rcpt.clone(),
                job: delete.job.clone(),
                envid: delete.envid.clone(),
                quiet: delete.no_accounting,
            }),
            Command::Why { what } => Request::Why { what: what.clone() },
            Command::Rotate(Rotate::Acct { file }) => {
                Request::RotateAcct { file: file.as_ref().map(|f| f.to_string_lossy().into_owned()) }
            }
            Command::Reload => Request::Reload,
            Command::Stop => Request::Stop,
        })
    }
}

fn sort(word: Option<SortWord>, otherwise: Sort) -> Sort {
    match word {
        None => otherwise,
        Some(SortWord::Name) => Sort::Name,
        Some(SortWord::Rcpt) => Sort::Rcpt,
        Some(SortWord::Size) => Sort::Size,
    }
}

impl Show {
    fn request(&self) -> Request {
        let queues = |o: &QueueOptions, otherwise| {
            Request::Queues(QueueQuery {
                pattern: o.queue.clone(),
                vmta: None,
                connected: o.connected,
                paused: o.paused,
                mode: o.mode.map(Mode::from),
                sort: sort(o.sort, otherwise),
                max_items: o.maxitems,
                errors: o.errors,
            })
        };
        let domains = |o: &DomainOptions, otherwise| {
            Request::Domains(QueueQuery {
                pattern: o.domain.clone(),
                vmta: o.vmta.clone(),
                connected: o.connected,
                sort: sort(o.sort, otherwise),
                max_items: o.maxitems,
                errors: o.errors,
                ..QueueQuery::default()
            })
        };
        let list = |o: &ListOptions| ListQuery { sort: sort(o.sort, Sort::Name), max_items: o.maxitems };
        match self {
            Show::Status => Request::Status,
            Show::Queues(o) => queues(o, Sort::Name),
            Show::Topqueues(o) => queues(o, Sort::Rcpt),
            Show::Domains(o) => domains(o, Sort::Name),
            Show::Topdomains(o) => domains(o, Sort::Rcpt),
            Show::Vmtas(o) => Request::Vmtas(list(o)),
            Show::Jobs(o) => Request::Jobs(list(o)),
            Show::Warming => Request::Warming,
            Show::Disabled(Disabled::Sources { queue }) => Request::DisabledSources { queue: queue.clone() },
        }
    }
}
