//! Mailbox providers as senders know them: what they offer, what they limit, and how they put it. The figures are
//! small enough for a demonstration on one machine; the wording is of the kind senders find in their logs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::behaviour::{Behaviour, Fate, FateRule, Storm};
use super::replies::Wording;

/// A ready-made behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persona {
    /// Large limits, pipelining, strict about the rate.
    Gmail,
    /// Few messages a connection, deferrals with codes in brackets.
    Yahoo,
    /// Connection and rate limits; a storm now and then.
    Microsoft,
    /// Three connections and a low rate.
    Orange,
    /// No pipelining; a share of mailboxes over quota.
    Gmx,
    /// A small server with greylisting.
    Generic,
    /// Takes everything as fast as it can: the sink of the measurements.
    Fast,
}

impl Persona {
    pub const ALL: [Persona; 7] = [
        Persona::Gmail,
        Persona::Yahoo,
        Persona::Microsoft,
        Persona::Orange,
        Persona::Gmx,
        Persona::Generic,
        Persona::Fast,
    ];

    /// As written in command lines.
    pub fn name(self) -> &'static str {
        match self {
            Persona::Gmail => "gmail",
            Persona::Yahoo => "yahoo",
            Persona::Microsoft => "microsoft",
            Persona::Orange => "orange",
            Persona::Gmx => "gmx",
            Persona::Generic => "generic",
            Persona::Fast => "fast",
        }
    }

    pub fn behaviour(self) -> Behaviour {
        match self {
            Persona::Gmail => gmail(),
            Persona::Yahoo => yahoo(),
            Persona::Microsoft => microsoft(),
            Persona::Orange => orange(),
            Persona::Gmx => gmx(),
            Persona::Generic => generic(),
            Persona::Fast => fast(),
        }
    }
}

impl fmt::Display for Persona {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Persona {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Persona::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let names: Vec<_> = Persona::ALL.iter().map(|p| p.name()).collect();
            format!("no persona is called {text:?}; there are {}", names.join(", "))
        })
    }
}

fn keywords(list: &[&str]) -> Vec<String> {
    list.iter().map(|k| (*k).to_string()).collect()
}

fn share(share: f64, fate: Fate) -> FateRule {
    FateRule { prefix: String::new(), share, fate }
}

fn gmail() -> Behaviour {
    Behaviour {
        host: "mx.google.site.example".into(),
        keywords: keywords(&[
            "SIZE 157286400",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "PIPELINING",
            "CHUNKING",
            "SMTPUTF8",
        ]),
        starttls: true,
        max_connections: Some(50),
        max_rate: Some(1000),
        max_recipients: Some(100),
        fates: vec![
            share(0.010, Fate::Unknown),
            share(0.003, Fate::Full),
            share(0.002, Fate::Disabled),
            share(0.004, Fate::Spam),
            share(0.010, Fate::Transient(1)),
        ],
        wording: Wording {
            greeting: "220 {host} ESMTP {n} - gsmtp".into(),
            accepted: "250 2.0.0 OK  {n} - gsmtp".into(),
            too_many_connections: "421 4.7.0 Too many simultaneous connections from [{ip}], closing connection. Try again later. {n} - gsmtp".into(),
            rate: "421-4.7.28 Gmail has detected an unusual rate of mail from the address {ip}.\n421-4.7.28 To protect our users from spam, it has been temporarily rate limited.\n421 4.7.28 See the guidelines for bulk senders. {n} - gsmtp".into(),
            too_many_messages: "421 4.7.0 Too many messages on this connection, closing. {n} - gsmtp".into(),
            too_many_recipients: "452 4.5.3 Your message has too many recipients. {n} - gsmtp".into(),
            grey: "451 4.7.0 Temporary system problem, try again later. {n} - gsmtp".into(),
            storm: "421 4.3.0 Temporary system problem. Try again later (10). {n} - gsmtp".into(),
            unknown: "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking the recipient's email address for typos or\n550 5.1.1 unnecessary spaces. {n} - gsmtp".into(),
            full: "552-5.2.2 The email account that you tried to reach is over quota and\n552 5.2.2 inactive. Please direct the recipient to free some space. {n} - gsmtp".into(),
            disabled: "550 5.2.1 The email account that you tried to reach is disabled. {n} - gsmtp".into(),
            spam: "550-5.7.1 [{ip}] Our system has detected that this message is likely\n550 5.7.1 unsolicited mail. The message has been blocked. {n} - gsmtp".into(),
            transient: "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend later. {n} - gsmtp".into(),
            too_big: "552 5.3.4 Your message exceeded the size limit. {n} - gsmtp".into(),
        },
        ..Behaviour::default()
    }
}

fn yahoo() -> Behaviour {
    Behaviour {
        host: "mta.am0.yahoodns.site.example".into(),
        keywords: keywords(&["PIPELINING", "SIZE 41943040", "8BITMIME"]),
        starttls: true,
        max_connections: Some(20),
        max_rate: Some(500),
        max_messages: Some(50),
        max_recipients: Some(30),
        fates: vec![
            share(0.012, Fate::Unknown),
            share(0.004, Fate::Disabled),
            share(0.004, Fate::Spam),
            share(0.010, Fate::Transient(1)),
        ],
        wording: Wording {
            greeting: "220 {host} ESMTP ready".into(),
            accepted: "250 ok dirdel".into(),
            too_many_connections: "421 4.7.0 [TSS09] Too many concurrent connections from {ip}".into(),
            rate: "421 4.7.0 [TSS04] Messages from {ip} temporarily deferred due to unexpected volume or user complaints - 4.16.55.1".into(),
            too_many_messages: "421 Max message per connection reached, closing transmission channel".into(),
            too_many_recipients: "452 4.5.3 Too many recipients".into(),
            grey: "451 4.7.1 Resources temporarily unavailable. Please try again later [#4.16.5].".into(),
            storm: "421 4.3.2 {host} Service not available, closing transmission channel".into(),
            unknown: "554 delivery error: dd This user doesn't have a yahoo.site.example account ({to}) [0] - {host}".into(),
            full: "552 5.2.2 {to} mailbox full".into(),
            disabled: "554 delivery error: dd Sorry, your message to {to} cannot be delivered. This mailbox is disabled (554.30). - {host}".into(),
            spam: "554 5.7.9 Message not accepted for policy reasons.".into(),
            transient: "451 4.3.2 Internal error reading data, {host}".into(),
            too_big: "552 5.3.4 Message exceeds fixed maximum message size".into(),
        },
        ..Behaviour::default()
    }
}

fn microsoft() -> Behaviour {
    Behaviour {
        host: "AM0EUR02FT000.mail.protection.outlook.site.example".into(),
        keywords: keywords(&[
            "SIZE 49283072",
            "PIPELINING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "BINARYMIME",
            "CHUNKING",
            "SMTPUTF8",
        ]),
        starttls: true,
        max_connections: Some(25),
        max_rate: Some(600),
        max_recipients: Some(500),
        storm: Some(Storm { period_ms: 30_000, length_ms: 2_000 }),
        fates: vec![
            share(0.012, Fate::Unknown),
            share(0.003, Fate::Full),
            share(0.005, Fate::Spam),
            share(0.010, Fate::Transient(1)),
        ],
        wording: Wording {
            greeting: "220 {host} Microsoft ESMTP MAIL Service ready".into(),
            accepted: "250 2.6.0 <{n}@{host}> [InternalId={n}, Hostname={host}] Queued mail for delivery -> 250 2.1.5".into(),
            too_many_connections: "421 RP-003 The mail server IP {ip} has exceeded the connection limit allowed. ({host})".into(),
            rate: "421 RP-001 The mail server IP {ip} has exceeded the rate limit allowed. ({host})".into(),
            too_many_messages: "421 RP-002 The mail server IP {ip} has exceeded the rate limit allowed on this connection. ({host})".into(),
            too_many_recipients: "452 4.5.3 Too many recipients (AS780090) [{host}]".into(),
            grey: "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) [{host}]".into(),
            storm: "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel ({host})".into(),
            unknown: "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [{host}]".into(),
            full: "552 5.2.2 The recipient's mailbox is full and can't accept messages now. [{host}]".into(),
            disabled: "550 5.2.1 Mailbox disabled for this recipient [{host}]".into(),
            spam: "550 SC-001 Mail from {ip} rejected for policy reasons. Reasons may be content with spam-like characteristics or reputation. [{host}]".into(),
            transient: "451 4.3.2 Temporary server error. Please try again later ATTR17 [{host}]".into(),
            too_big: "552 5.3.4 Message size exceeds fixed maximum message size [{host}]".into(),
        },
        ..Behaviour::default()
    }
}

fn orange() -> Behaviour {
    Behaviour {
        host: "opmta1mti.orange.site.example".into(),
        keywords: keywords(&["PIPELINING", "SIZE 44336770", "ENHANCEDSTATUSCODES", "8BITMIME"]),
        starttls: true,
        max_connections: Some(3),
        max_rate: Some(100),
        max_messages: Some(100),
        max_recipients: Some(50),
        fates: vec![
            share(0.010, Fate::Unknown),
            share(0.006, Fate::Full),
            share(0.003, Fate::Spam),
            share(0.010, Fate::Transient(1)),
        ],
        wording: Wording {
            greeting: "220 {host} ESMTP ABO {n}".into(),
            accepted: "250 2.0.0 {n} mail accepted for delivery".into(),
            too_many_connections: "421 {host} Service refuse. Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down. OFR004_104 [104]".into(),
            rate: "421 {host} Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR005_105 [105]".into(),
            too_many_messages: "421 {host} Trop de messages par connexion. Too many messages in this session. OFR004_102 [102]".into(),
            too_many_recipients: "452 4.5.3 Trop de destinataires. Too many recipients. OFR_107 [107]".into(),
            grey: "450 4.7.1 Adresse {ip} en liste grise, veuillez essayer plus tard. Greylisted. OFR_451 [451]".into(),
            storm: "421 4.3.2 {host} Service indisponible. Service unavailable, please try later. OFR_999 [999]".into(),
            unknown: "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416 [416]".into(),
            full: "552 5.1.1 Boite du destinataire pleine. Recipient overquota. OFR204_417 [417]".into(),
            disabled: "550 5.2.1 Boite du destinataire archivee. Archived recipient. OFR_416 [416]".into(),
            spam: "550 5.7.1 Service refuse. Message considere comme spam. Message refused as spam. OFR_506 [506]".into(),
            transient: "451 4.3.0 Erreur temporaire. Temporary failure. OFR_108 [108]".into(),
            too_big: "552 5.3.4 Message trop volumineux. Message too big. OFR_552 [552]".into(),
        },
        ..Behaviour::default()
    }
}

fn gmx() -> Behaviour {
    Behaviour {
        host: "mx.gmx.site.example".into(),
        keywords: keywords(&["8BITMIME", "SIZE 157286400"]),
        starttls: true,
        max_connections: Some(10),
        max_rate: Some(300),
        max_messages: Some(200),
        max_recipients: Some(50),
        fates: vec![
            share(0.008, Fate::Unknown),
            share(0.012, Fate::Full),
            share(0.003, Fate::Spam),
            share(0.010, Fate::Transient(1)),
        ],
        wording: Wording {
            greeting: "220 gmx.site.example (mxgmx116) Nemesis ESMTP Service ready".into(),
            accepted: "250 Requested mail action okay, completed: id={n}".into(),
            too_many_connections: "421-gmx.site.example (mxgmx116) Nemesis ESMTP Service not available\n421 Too many concurrent connections from {ip}".into(),
            rate: "450-Requested mail action not taken: mailbox unavailable\n450 Mail send limit exceeded for {ip}".into(),
            too_many_messages: "421 gmx.site.example Too many messages in this session, please reconnect".into(),
            too_many_recipients: "452 Requested action not taken: too many recipients".into(),
            grey: "450-Requested mail action not taken: mailbox unavailable\n450 For explanation of greylisting ask your administrator, {ip}".into(),
            storm: "421-gmx.site.example (mxgmx116) Nemesis ESMTP Service not available\n421 Temporary overload, try again later".into(),
            unknown: "550 Requested action not taken: mailbox unavailable".into(),
            full: "552-Requested mail action aborted: exceeded storage allocation\n552 Quota exceeded. The recipient has no space left.".into(),
            disabled: "550-Requested action not taken: mailbox unavailable\n550 Account is inactive".into(),
            spam: "554-Transaction failed\n554-Reject due to policy restrictions.\n554 The message was classified as spam, {ip}".into(),
            transient: "451 Requested action aborted: local error in processing".into(),
            too_big: "552 Requested mail action aborted: message too big".into(),
        },
        ..Behaviour::default()
    }
}

fn generic() -> Behaviour {
    Behaviour {
        host: "mail.generic.site.example".into(),
        keywords: keywords(&[
            "PIPELINING",
            "SIZE 10240000",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
        ]),
        max_connections: Some(20),
        max_rate: Some(500),
        max_recipients: Some(50),
        greylist_ms: Some(3_000),
        fates: vec![share(0.015, Fate::Unknown), share(0.005, Fate::Full), share(0.010, Fate::Transient(1))],
        ..Behaviour::default()
    }
}

fn fast() -> Behaviour {
    Behaviour { host: "fast.site.example".into(), max_recipients: None, ..Behaviour::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reply: &str) -> impl Iterator<Item = &str> {
        reply.split('\n')
    }

    #[test]
    fn every_reply_of_every_persona_is_well_formed() {
        for persona in Persona::ALL {
            let value = serde_json::to_value(persona.behaviour().wording).expect("wording is plain");
            for (occasion, text) in value.as_object().expect("a struct") {
                let text = text.as_str().expect("a reply");
                let code = &text[..3];
                let count = lines(text).count();
                for (i, line) in lines(text).enumerate() {
                    let parted = if i + 1 == count { " " } else { "-" };
                    let right = line.starts_with(code) && line[3..].starts_with(parted) && line.len() < 500;
                    assert!(right, "{persona}: {occasion}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn personas_are_found_by_name_and_a_wrong_name_is_told_the_right_ones() {
        assert_eq!("gmx".parse(), Ok(Persona::Gmx));
        assert!("gmial".parse::<Persona>().is_err_and(|e| e.contains("gmail, yahoo")));
    }

    #[test]
    fn a_behaviour_written_as_json_comes_back_whole() {
        let told = serde_json::to_string(&Persona::Orange.behaviour()).expect("plain values");
        let back: Behaviour = serde_json::from_str(&told).expect("our own output");
        assert_eq!(back, Persona::Orange.behaviour());
    }
}
