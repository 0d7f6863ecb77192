//! How a receiving site behaves: its limits, its moods and its faults, all as values, so that a test can describe
//! the peer it needs in a few lines and a JSON file can do so for the program.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::replies::Wording;

/// A receiving site. `Behaviour::default()` accepts everything, at once, with PIPELINING, 8BITMIME, SIZE, CHUNKING,
/// SMTPUTF8 and ENHANCEDSTATUSCODES on offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The name in the greeting.
    pub host: String,
    /// EHLO keywords besides STARTTLS, in their order; `SIZE n` is also enforced.
    pub keywords: Vec<String>,
    /// EHLO is answered 502 (S15).
    pub no_ehlo: bool,
    /// STARTTLS is offered, with a self-signed certificate.
    pub starttls: bool,
    /// Connections at a time from one source address; one more is greeted with `wording.too_many_connections`.
    pub max_connections: Option<u32>,
    /// Messages in any second from one source address; the next is refused at MAIL with `wording.rate`.
    pub max_rate: Option<u32>,
    /// The next MAIL on the connection is refused with `wording.too_many_messages`.
    pub max_messages: Option<u32>,
    /// Recipients in a transaction; the next gets `wording.too_many_recipients`.
    pub max_recipients: Option<u32>,
    /// The first try of each (source address, sender, recipient) is deferred, and so is each until this many
    /// milliseconds have passed.
    pub greylist_ms: Option<u64>,
    /// Times in which everything is answered `wording.storm` and closed.
    pub storm: Option<Storm>,
    /// What becomes of recipients, the first rule that fits.
    pub fates: Vec<FateRule>,
    /// Before every reply, in milliseconds.
    pub delay_ms: u64,
    pub faults: Vec<Fault>,
    pub wording: Wording,
}

impl Default for Behaviour {
    fn default() -> Self {
        let keywords =
            ["PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "SMTPUTF8"];
        Behaviour {
            host: "mx.site.example".into(),
            keywords: keywords.map(String::from).to_vec(),
            no_ehlo: false,
            starttls: false,
            max_connections: None,
            max_rate: None,
            max_messages: None,
            max_recipients: Some(1000),
            greylist_ms: None,
            storm: None,
            fates: Vec::new(),
            delay_ms: 0,
            faults: Vec::new(),
            wording: Wording::default(),
        }
    }
}

impl Behaviour {
    /// The limit of `SIZE n`, if offered.
    pub fn max_size(&self) -> Option<u64> {
        self.keywords.iter().find_map(|k| k.strip_prefix("SIZE ")?.trim().parse().ok())
    }

    /// Whether `keyword` (upper case, without parameters) is offered.
    pub fn offers(&self, keyword: &str) -> bool {
        self.keywords.iter().any(|k| k.split(' ').next() == Some(keyword))
    }

    pub fn greylist(&self) -> Option<Duration> {
        self.greylist_ms.map(Duration::from_millis)
    }

    /// Adds a fault that strikes always.
    pub fn with_fault(mut self, stage: Stage, what: What) -> Behaviour {
        self.faults.push(Fault { stage, what, share: 1.0, times: None });
        self
    }

    /// Adds a rule for the recipients whose local part begins with `prefix`.
    pub fn with_fate(mut self, prefix: &str, fate: Fate) -> Behaviour {
        self.fates.push(FateRule { prefix: prefix.into(), share: 1.0, fate });
        self
    }

    /// Without STARTTLS.
    pub fn without_tls(mut self) -> Behaviour {
        self.starttls = false;
        self
    }
}

/// Every `period_ms`, the last `length_ms` of it are a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    pub period_ms: u64,
    pub length_ms: u64,
}

impl Storm {
    /// Whether it blows `elapsed_us` after the site's start.
    pub fn blows(&self, elapsed_us: u64) -> bool {
        let period = self.period_ms.max(1) * 1000;
        elapsed_us % period >= period.saturating_sub(self.length_ms * 1000)
    }
}

/// A share of the recipients and what they meet. Shares of rules without a prefix add up: two rules of 0.02 hit
/// 4 % of all recipients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FateRule {
    /// Beginning of the local part (in lower case); empty for everybody.
    #[serde(default)]
    pub prefix: String,
    /// 0.0 to 1.0.
    #[serde(default = "always")]
    pub share: f64,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Refused at RCPT with `wording.unknown`.
    Unknown,
    /// Refused at RCPT with `wording.full`.
    Full,
    /// Refused at RCPT with `wording.disabled`.
    Disabled,
    /// Refused after the final dot with `wording.spam`.
    Spam,
    /// Deferred at RCPT with `wording.transient` this many times, then accepted.
    Transient(u32),
    /// This reply at RCPT.
    Reply(String),
    /// This reply after the final dot.
    ReplyAtDot(String),
}

/// Something that goes wrong at a point of the dialogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub stage: Stage,
    pub what: What,
    /// Share of the connections (up to MAIL) or recipients (from RCPT on) that meet it, 0.0 to 1.0.
    #[serde(default = "always")]
    pub share: f64,
    /// Only so many times over the whole site; without it, always.
    #[serde(default)]
    pub times: Option<u32>,
}

/// Where a fault strikes: in place of the reply to this command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Greeting,
    Ehlo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    /// In the middle of the content, before its end: the message is not accepted.
    Body,
    /// After the end of the content. With anything but a reply the message counts as accepted, unacknowledged.
    Dot,
    Rset,
    Quit,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Never a word again; the connection stays open.
    Silence,
    /// TCP reset.
    Reset,
    /// Closed without a word.
    Close,
    /// This reply instead (several lines parted by `\n`); the connection is closed after a 421.
    Reply(String),
    /// The right reply, one byte per so many milliseconds.
    Tarpit(u64),
}

fn always() -> f64 {
    1.0
}
