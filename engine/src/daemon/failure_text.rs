//! `dsn-failed-*-template`: what failure reports say, filled in for each.

use crate::mail::header::Header;
use crate::report::{in_mailbox, one_line};
use mail_parser::MessageParser;
use std::borrow::Cow;
use std::time::Duration;
use vmta_config::{Config, DomainSettings, ReportTemplate, ReportVariable, TemplatePiece};

/// What the variables stand for.
pub struct Values<'a> {
    pub host: &'a str,
    pub sender: &'a str,
    pub recipient: &'a str,
    pub message: Option<&'a [u8]>,
    pub date: &'a str,
    pub arrived: &'a str,
    pub status: &'a str,
    pub diagnostic: &'a str,
    pub settings: &'a DomainSettings,
}

/// Texts in place of the usual ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FailureText {
    pub from: Option<String>,
    pub subject: Option<String>,
    pub words: Option<String>,
}

impl FailureText {
    pub fn new(config: &Config, values: &Values<'_>) -> FailureText {
        let global = config.global();
        let utf8 = !values.sender.is_ascii() || !values.recipient.is_ascii();
        let fill = |template: Option<&ReportTemplate>, shown: &dyn Fn(&str) -> String| {
            template.map(|template| values.fill(template, shown))
        };
        let from = fill(global.dsn_failed_from.as_ref(), &|value| in_mailbox(value, utf8));
        FailureText {
            // A recipient who bounced at once may have been no address.
            from: from.filter(|from| from.contains('@')),
            subject: fill(global.dsn_failed_subject.as_ref(), &one_line),
            words: fill(config.failure_words(), &one_line),
        }
    }
}

impl Values<'_> {
    fn fill(&self, template: &ReportTemplate, shown: &dyn Fn(&str) -> String) -> String {
        let piece = |piece: &TemplatePiece| match piece {
            TemplatePiece::Text(text) => text.clone(),
            TemplatePiece::Variable(variable) => shown(&self.value(*variable)),
        };
        template.pieces.iter().map(piece).collect()
    }

    fn value(&self, variable: ReportVariable) -> Cow<'_, str> {
        match variable {
            ReportVariable::Hostname => self.host.into(),
            ReportVariable::Originator => self.sender.into(),
            ReportVariable::Recipient => self.recipient.into(),
            ReportVariable::Subject => self.message.map(subject).unwrap_or_default().into(),
            ReportVariable::Date => self.date.into(),
            ReportVariable::TimeQueued => self.arrived.into(),
            ReportVariable::RetryAfter => {
                let waits: Vec<String> = self.settings.retry_after.iter().map(|wait| span(*wait)).collect();
                waits.join(",").into()
            }
            ReportVariable::BounceAfter => span(self.settings.bounce_after).into(),
            ReportVariable::Response => match self.diagnostic.strip_prefix("smtp;") {
                Some(reply) => reply.into(),
                None if self.diagnostic.is_empty() => self.status.into(),
                None => self.diagnostic.into(),
            },
        }
    }
}

/// The Subject field as people read it; empty where there is none.
fn subject(message: &[u8]) -> String {
    let header = Header::scan(message);
    let Some(field) = header.find("Subject") else { return String::new() };
    let field = [b"Subject: ", &*header.unfolded(field), b"\r\n\r\n"].concat();
    let parsed = MessageParser::default().parse(&field);
    parsed.and_then(|parsed| parsed.subject().map(str::to_owned)).unwrap_or_default()
}

/// As directives write it: `4d12h`.
fn span(time: Duration) -> String {
    let (mut left, mut text) = (time.as_secs(), String::new());
    for (unit, letter) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
        if left >= unit {
            text.push_str(&format!("{}{letter}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    const WORDS: &str = "${originator} ${recipient}: ${response}\n${timeQueued}, ${date}, ${retryAfter}\n";
    const MESSAGE: &[u8] = b"subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n an\r\n alle\r\n\r\nbody\r\n";

    fn told(lines: &str, of: impl for<'a> FnOnce(Values<'a>) -> Values<'a>) -> FailureText {
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{lines}\n");
        let loaded = load("/c", &MemoryFiles::new([("/c", text.as_str()), ("/words", WORDS)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let settings = config.queue("site.example", "{default}");
        let values = Values {
            host: "mx.example",
            sender: "ann@news.example",
            recipient: "jim@site.example",
            message: Some(MESSAGE),
            date: "Fri, 27 Nov 2026 03:00:00 +0000",
            arrived: "Fri, 27 Nov 2026 02:00:00 +0000",
            status: "5.1.1 (bad destination mailbox address)",
            diagnostic: "smtp;550 5.1.1 no such user",
            settings: &settings,
        };
        FailureText::new(&config, &of(values))
    }

    #[test]
    fn templates_are_filled_in() {
        assert_eq!(told("", |v| v), FailureText::default());
        let told = told(
            "dsn-failed-from-template \"Mail for ${originator} <mailer@${hostname}>\"\n\
             dsn-failed-subject-template \"Not delivered: ${subject} (${bounceAfter})\"\n\
             dsn-failed-body-template-from words",
            |v| v,
        );
        assert_eq!(told.from.as_deref(), Some("Mail for ann@news.example <mailer@mx.example>"));
        assert_eq!(told.subject.as_deref(), Some("Not delivered: Gr\u{fc}\u{df}e an alle (4d12h)"));
        let words = "ann@news.example jim@site.example: 550 5.1.1 no such user\n\
                     Fri, 27 Nov 2026 02:00:00 +0000, Fri, 27 Nov 2026 03:00:00 +0000, 10m\n";
        assert_eq!(told.words.as_deref(), Some(words));
    }

    #[test]
    fn what_no_server_said() {
        let response = |diagnostic: &'static str| {
            told("dsn-failed-subject-template ${response}", |v| Values { diagnostic, ..v }).subject
        };
        assert_eq!(response("ECONNREFUSED").as_deref(), Some("ECONNREFUSED"));
        assert_eq!(response("").as_deref(), Some("5.1.1 (bad destination mailbox address)"));
        let without = told("dsn-failed-subject-template <${subject}>", |v| Values { message: None, ..v });
        assert_eq!(without.subject.as_deref(), Some("<>"));
    }

    #[test]
    fn values_stay_inside_their_field() {
        const EVIL: &[u8] = b"Subject: =?utf-8?Q?x=0D=0ABcc:_all@x.example?= <a@b>, c@d\r\n\r\n";
        let lines = "dsn-failed-from-template \"${subject} <m@${hostname}>\"\n\
                     dsn-failed-subject-template \"re: ${subject}\"";
        let told = |message| told(lines, move |v| Values { message: Some(message), ..v });
        let from = told(EVIL).from.expect("it has an address");
        assert_eq!(from.matches(['<', '>', ',', ':']).count(), 2, "{from}");
        assert!(!told(EVIL).subject.expect("filled").contains(char::is_control));
        let of = |recipient| {
            self::told("dsn-failed-from-template ${recipient}", move |v| Values { recipient, ..v })
        };
        assert_eq!(of("nobody").from, None, "no address");
        assert_eq!(of("j\u{fc}rgen@x.example").from.as_deref(), Some("j\u{fc}rgen@x.example"));
    }
}
