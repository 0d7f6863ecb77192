//! AUTH of an inbound session (RFC 4954): PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256, and EXTERNAL (RFC 4422) for those who have
//! shown the certificate of a user.
//!
//! Here is found out whether the client knows the password, or is whom its certificate says. What that is worth, the caller
//! says: the exchange ends in [`ServerEvent::Login`], or where only the system knows passwords in [`ServerEvent::Password`].

use super::password::Password;
use super::server::{Phase, ServerEvent, Session};
use super::server_options::ServerOptions;
use super::users::{SCRAM_ROUNDS, Users};
use crate::base::Now;
use data_encoding::BASE64;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Failed logins before the session is ended (A24).
const MAX_FAILED: u32 = 5;
/// Longest user name that is taken.
const MAX_NAME: usize = 255;

/// What the next line of an exchange is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword {
        name: String,
    },
    CramMd5 {
        challenge: String,
    },
    ScramFirst,
    ScramFinal(Scram),
    /// The client acknowledges that we have proved ourselves.
    ScramEnd {
        name: String,
    },
    /// Whom the client wants to act for, who is this one.
    External {
        name: String,
    },
}

/// What has been said of a SCRAM exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scram {
    name: String,
    /// The GS2 header, which the client repeats.
    header: String,
    /// Both nonces.
    nonce: String,
    /// `client-first-message-bare` and `server-first-message`, with a comma between them.
    messages: String,
}

/// Where an exchange goes with the line just read.
enum Step {
    /// A challenge, and what its answer is.
    Ask(String, Exchange),
    Done {
        name: String,
        right: bool,
    },
    /// The system is to be asked.
    Unknown {
        name: String,
        password: Password,
    },
    /// Not of the form that the mechanism has.
    Malformed,
}

impl Session {
    /// What is offered now.
    pub(super) fn mechanisms(&self) -> Vec<&'static str> {
        let auth = &self.options.auth;
        let mut offered = Vec::new();
        if !self.user.is_empty() || (auth.after_tls && !self.secure) {
            return offered;
        }
        if auth.by_certificate && !self.certified.is_empty() {
            offered.push("EXTERNAL");
        }
        let Some(users) = &auth.users else { return offered };
        let in_clear = self.secure || auth.plain_in_clear;
        // Clients take the first they know, and the system can check none but the last two.
        if users.have_passwords() && !(in_clear && users.ask_system()) {
            offered.extend(["SCRAM-SHA-256", "CRAM-MD5"]);
        }
        if in_clear {
            offered.extend(["PLAIN", "LOGIN"]);
        }
        offered
    }

    /// The user that the client is by its certificate, or why it is nobody.
    pub(super) fn certified(&mut self, user: Result<&str, String>) {
        match user {
            Ok(user) => {
                self.tell_tls(format_args!("the client's certificate is that of user {user}"));
                self.certified = user.into();
            }
            Err(why) => self.tell_tls(format_args!("{why}")),
        }
    }

    pub(super) fn auth(&mut self, argument: &str) {
        let auth = &self.options.auth;
        if auth.users.is_none() && !auth.by_certificate {
            return self.refuse("502 5.5.1 AUTH is not offered");
        }
        if !self.esmtp || self.envelope.is_some() {
            return self.refuse("503 5.5.1 AUTH comes after EHLO and before MAIL");
        }
        if !self.user.is_empty() {
            return self.refuse("503 5.5.1 already authenticated");
        }
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        if !self.mechanisms().contains(&mechanism.as_str()) {
            let needs_tls = auth.after_tls || matches!(mechanism.as_str(), "PLAIN" | "LOGIN" | "EXTERNAL");
            return match mechanism.as_str() {
                _ if needs_tls && !self.secure => {
                    self.refuse("538 5.7.11 encryption required: STARTTLS first");
                }
                "EXTERNAL" => self.refuse("504 5.7.4 EXTERNAL needs the certificate of a user"),
                _ => self.refuse("504 5.5.4 unrecognized authentication mechanism"),
            };
        }
        let (challenge, exchange) = match mechanism.as_str() {
            "PLAIN" => (String::new(), Exchange::Plain),
            "EXTERNAL" => (String::new(), Exchange::External { name: self.certified.to_string() }),
            "LOGIN" => ("Username:".to_owned(), Exchange::LoginName),
            "CRAM-MD5" => {
                let challenge = format!("<{:032x}@{}>", self.next_nonce(), self.options.host);
                (challenge.clone(), Exchange::CramMd5 { challenge })
            }
            _ => (String::new(), Exchange::ScramFirst),
        };
        match initial.trim_matches(' ') {
            "" => self.ask(&challenge, exchange),
            // RFC 4954 4: an initial response of zero bytes.
            "=" => self.auth_response(exchange, b""),
            _ if mechanism == "CRAM-MD5" => self.refuse("501 5.7.0 CRAM-MD5 has no initial response"),
            initial => self.auth_base64(exchange, initial),
        }
    }

    fn next_nonce(&mut self) -> u128 {
        let nonce = self.nonce;
        self.nonce = self.nonce.wrapping_add(1);
        nonce
    }

    fn ask(&mut self, challenge: &str, exchange: Exchange) {
        self.reply(format_args!("334 {}", BASE64.encode(challenge.as_bytes())));
        self.exchange = Some(Box::new(exchange));
        self.phase = Phase::Auth;
    }

    /// One line of an exchange.
    pub(super) fn auth_line(&mut self, line: &[u8], more: bool) {
        self.phase = Phase::Commands;
        let Some(exchange) = self.exchange.take() else { return };
        if more {
            return self.end_with("554 5.5.0", "commands sent before the reply they had to wait for");
        }
        match std::str::from_utf8(line) {
            Ok("*") => self.refuse("501 5.7.0 authentication cancelled"),
            Ok(line) => self.auth_base64(*exchange, line),
            Err(_) => self.refuse("501 5.5.2 not Base64"),
        }
    }

    fn auth_base64(&mut self, exchange: Exchange, text: &str) {
        match BASE64.decode(text.as_bytes()) {
            Ok(response) => self.auth_response(exchange, &Zeroizing::new(response)),
            Err(_) => self.refuse("501 5.5.2 not Base64"),
        }
    }

    fn auth_response(&mut self, exchange: Exchange, response: &[u8]) {
        let Ok(response) = std::str::from_utf8(response) else {
            return self.refuse("501 5.5.2 authentication data is not UTF-8");
        };
        let nonce = self.next_nonce();
        let step = match (exchange, self.options.auth.users.as_deref()) {
            // Nobody acts for somebody else.
            (Exchange::External { name }, _) => {
                Step::Done { right: response.is_empty() || response == name, name }
            }
            (exchange, Some(users)) => step(exchange, response, users, nonce),
            (_, None) => Step::Malformed,
        };
        match step {
            Step::Ask(challenge, next) => self.ask(&challenge, next),
            Step::Done { name, .. } | Step::Unknown { name, .. }
                if name.is_empty() || name.len() > MAX_NAME =>
            {
                self.refuse("501 5.5.2 a user name has 1 to 255 bytes");
            }
            Step::Done { name: user, right } => {
                self.phase = Phase::Deciding;
                self.event(ServerEvent::Login { user, right });
            }
            Step::Unknown { name: user, password } => {
                self.phase = Phase::Deciding;
                self.event(ServerEvent::Password { user, password });
            }
            Step::Malformed => self.refuse("501 5.5.2 authentication data has not the form of its mechanism"),
        }
    }

    /// The client is who it says, and served with these options from now on.
    pub fn logged_in(&mut self, now: Now, user: &str, options: Arc<ServerOptions>) {
        self.user = user.into();
        self.options = options;
        self.junk = 0;
        self.decide(now, format_args!("235 2.7.0 authentication succeeded"));
    }

    /// The client is not who it says, or may not log in for a while.
    pub fn login_refused(&mut self, now: Now, for_a_while: bool) {
        self.failed_logins += 1;
        let ends = self.failed_logins >= MAX_FAILED;
        self.decide(
            now,
            match (for_a_while, ends) {
                (true, _) => format_args!("454 4.7.0 too many failed logins, try again later"),
                (false, _) => format_args!("535 5.7.8 authentication credentials invalid"),
            },
        );
        if ends && !self.is_closed() {
            self.end_with("421 4.7.0", "too many failed logins");
        }
    }

    /// Whether the client is who it says cannot be found out now.
    pub fn login_unavailable(&mut self, now: Now) {
        self.errors += 1;
        self.decide(now, format_args!("454 4.7.0 the password cannot be checked now, try again later"));
        if self.errors >= self.options.max_errors && !self.is_closed() {
            self.end_with("421 4.7.0", "too many errors");
        }
    }
}

fn step(exchange: Exchange, response: &str, users: &Users, nonce: u128) -> Step {
    match exchange {
        Exchange::Plain => plain(response, users),
        Exchange::LoginName => {
            Step::Ask("Password:".to_owned(), Exchange::LoginPassword { name: response.to_owned() })
        }
        Exchange::LoginPassword { name } => judged(name, response, users),
        Exchange::CramMd5 { challenge } => match response.rsplit_once(' ') {
            Some((name, answer)) => {
                let right = users.answers_cram_md5(name, &challenge, answer);
                Step::Done { name: name.to_owned(), right }
            }
            None => Step::Malformed,
        },
        Exchange::ScramFirst => scram_first(response, users, nonce).unwrap_or(Step::Malformed),
        Exchange::ScramFinal(scram) => scram_final(scram, response, users).unwrap_or(Step::Malformed),
        Exchange::ScramEnd { name } if response.is_empty() => Step::Done { name, right: true },
        Exchange::ScramEnd { .. } | Exchange::External { .. } => Step::Malformed,
    }
}

/// RFC 4616: `[authzid] NUL authcid NUL passwd`. Nobody acts for somebody else.
fn plain(response: &str, users: &Users) -> Step {
    let mut parts = response.split('\0');
    let (Some(acts_for), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Step::Malformed;
    };
    match acts_for.is_empty() || acts_for == name {
        true => judged(name.to_owned(), password, users),
        false => Step::Done { name: name.to_owned(), right: false },
    }
}

fn judged(name: String, password: &str, users: &Users) -> Step {
    match users.judge(&name, password) {
        Some(right) => Step::Done { name, right },
        None => Step::Unknown { name, password: Password::new(password) },
    }
}

/// `n,[a=authzid],n=user,r=nonce[,extensions]`; channel binding is not offered.
fn scram_first(response: &str, users: &Users, nonce: u128) -> Option<Step> {
    let mut parts = response.splitn(3, ',');
    let (binding, acts_for, bare) = (parts.next()?, parts.next()?, parts.next()?);
    // `y`: the client could bind and believes that we cannot, and it is right.
    if !matches!(binding, "n" | "y") {
        return None;
    }
    let mut attributes = bare.split(',');
    let name = attributes.next()?.strip_prefix("n=")?.replace("=2C", ",").replace("=3D", "=");
    let theirs = attributes.next()?.strip_prefix("r=").filter(|r| !r.is_empty())?;
    if acts_for.strip_prefix("a=").is_some_and(|other| other != name) {
        return Some(Step::Done { name, right: false });
    }
    let both = format!("{theirs}{nonce:032x}");
    let salt = BASE64.encode(&users.salt(&name));
    let first = format!("r={both},s={salt},i={SCRAM_ROUNDS}");
    let scram = Scram {
        name,
        header: format!("{binding},{acts_for},"),
        nonce: both,
        messages: format!("{bare},{first}"),
    };
    Some(Step::Ask(first, Exchange::ScramFinal(scram)))
}

/// `c=binding,r=nonce[,extensions],p=proof`
fn scram_final(scram: Scram, response: &str, users: &Users) -> Option<Step> {
    let Scram { name, header, nonce, messages } = scram;
    let (without_proof, proof) = response.rsplit_once(",p=")?;
    let proof = BASE64.decode(proof.as_bytes()).ok()?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next()?.strip_prefix("c=")?;
    let said = attributes.next()?.strip_prefix("r=")?;
    let fits = BASE64.decode(binding.as_bytes()).is_ok_and(|b| b == header.as_bytes()) && said == nonce;
    let proved = users.proves_scram(&name, &format!("{messages},{without_proof}"), &proof);
    Some(match proved.filter(|_| fits) {
        Some(ours) => Step::Ask(format!("v={}", BASE64.encode(&ours)), Exchange::ScramEnd { name }),
        None => Step::Done { name, right: false },
    })
}
