//! `reply /re/ ACTION,...` and `/re/ CATEGORY` lines (reference 3.1, 3.2, 8.2).

use std::time::Duration;

use super::{ParseError, Value, numbers, regex};
use crate::lex::{Cursor, Word, shorten};
use crate::nearest::nearest;

/// What a matching SMTP reply causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpAction {
    /// `mode=backoff`, with `backoff-to-normal-after=TIME` if given in the same rule.
    Backoff {
        to_normal_after: Option<Duration>,
    },
    /// `mode=normal`
    Normal,
    SkipMx,
    BounceQueue,
    BounceRecipient,
    /// `disable-source-ip`, with `reenable-after=TIME` if given in the same rule.
    DisableSourceIp {
        reenable_after: Option<Duration>,
    },
    DeferQueue,
}

const ACTIONS: [&str; 9] = [
    "mode=backoff",
    "mode=normal",
    "backoff-to-normal-after=TIME",
    "skip-mx",
    "bounce-queue",
    "bounce-rcpt",
    "disable-source-ip",
    "reenable-after=TIME",
    "defer-queue",
];

pub(super) fn reply(c: &mut Cursor) -> Result<Value, ParseError> {
    let pattern = regex::pattern(c)?;
    let words = c.list("an action")?;
    let mut actions: Vec<SmtpAction> = Vec::new();
    for word in &words {
        action(word, &mut actions)?;
    }
    if actions.is_empty() {
        return Err(ParseError::new(c.here(1), "an action is missing")
            .help(format!("one of: {}", ACTIONS.join(", "))));
    }
    let has = |f: fn(&SmtpAction) -> bool| actions.iter().any(f);
    let together = |a, b| {
        ParseError::new(
            words[0].at.start..words[words.len() - 1].at.end,
            format!("`{a}` and `{b}` exclude each other"),
        )
    };
    if has(|a| matches!(a, SmtpAction::Backoff { .. })) && has(|a| *a == SmtpAction::Normal) {
        return Err(together("mode=backoff", "mode=normal"));
    }
    if has(|a| *a == SmtpAction::SkipMx) && has(|a| *a == SmtpAction::BounceQueue) {
        return Err(together("skip-mx", "bounce-queue"));
    }
    Ok(Value::Reply(pattern, actions))
}

fn action(word: &Word, actions: &mut Vec<SmtpAction>) -> Result<(), ParseError> {
    let (name, value) = match word.text.split_once('=') {
        Some((name, value)) if name != "mode" => (name, Some(value)),
        _ => (word.text.as_str(), None),
    };
    actions.push(match (name, value) {
        ("mode=backoff", None) => SmtpAction::Backoff { to_normal_after: None },
        ("mode=normal", None) => SmtpAction::Normal,
        ("skip-mx", None) => SmtpAction::SkipMx,
        ("bounce-queue", None) => SmtpAction::BounceQueue,
        ("bounce-rcpt", None) => SmtpAction::BounceRecipient,
        ("disable-source-ip", None) => SmtpAction::DisableSourceIp { reenable_after: None },
        ("defer-queue", None) => SmtpAction::DeferQueue,
        ("backoff-to-normal-after", Some(value)) => {
            let time = interval(word, value)?;
            let slot = actions.iter_mut().find_map(|a| match a {
                SmtpAction::Backoff { to_normal_after } => Some(to_normal_after),
                _ => None,
            });
            return once(slot, time, word, "mode=backoff");
        }
        ("reenable-after", Some(value)) => {
            let time = interval(word, value)?;
            let slot = actions.iter_mut().find_map(|a| match a {
                SmtpAction::DisableSourceIp { reenable_after } => Some(reenable_after),
                _ => None,
            });
            return once(slot, time, word, "disable-source-ip");
        }
        _ => return Err(unknown(word)),
    });
    Ok(())
}

fn interval(word: &Word, value: &str) -> Result<Duration, ParseError> {
    numbers::time(&mut Cursor::new(value)).map_err(|e| ParseError { at: word.at.clone(), ..e })
}

/// A modifier follows its action in the same rule, once.
fn once(
    slot: Option<&mut Option<Duration>>,
    time: Duration,
    word: &Word,
    after: &str,
) -> Result<(), ParseError> {
    match slot {
        Some(slot @ None) => {
            *slot = Some(time);
            Ok(())
        }
        Some(_) => Err(ParseError::new(word.at.clone(), format!("`{}` is given twice", shorten(&word.text)))),
        None => {
            Err(ParseError::new(word.at.clone(), format!("`{}` must follow `{after}`", shorten(&word.text))))
        }
    }
}

fn unknown(word: &Word) -> ParseError {
    let error = ParseError::new(word.at.clone(), format!("unknown action `{}`", shorten(&word.text)));
    match nearest(&word.text, ACTIONS) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help(format!("one of: {}", ACTIONS.join(", "))),
    }
}

pub(super) fn category(c: &mut Cursor) -> Result<Value, ParseError> {
    let pattern = regex::pattern(c)?;
    let word = c.word("a bounce category")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if word.text.is_empty() || word.text.len() > 64 || !word.text.chars().all(valid) {
        let message = format!("`{}` is not a category name", shorten(&word.text));
        return Err(
            ParseError::new(word.at, message).help("letters, digits, `-`, `_` and `.`, such as bad-mailbox")
        );
    }
    Ok(Value::Category(pattern, word.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str) -> Result<Vec<SmtpAction>, ParseError> {
        match reply(&mut Cursor::new(text))? {
            Value::Reply(_, actions) => Ok(actions),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn modifiers_belong_to_the_action_before_them() {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(
            actions("/x/ mode=backoff,backoff-to-normal-after=1h, disable-source-ip,reenable-after=1h")
                .unwrap(),
            [
                SmtpAction::Backoff { to_normal_after: hour },
                SmtpAction::DisableSourceIp { reenable_after: hour }
            ]
        );
        assert!(
            actions("/x/ backoff-to-normal-after=1h,mode=backoff")
                .unwrap_err()
                .message
                .contains("must follow")
        );
        let twice = "/x/ disable-source-ip,reenable-after=1h,reenable-after=2h";
        assert!(actions(twice).unwrap_err().message.contains("twice"));
    }

    #[test]
    fn contradictions_and_unknown_actions_are_refused() {
        assert!(actions("/x/ mode=normal,mode=backoff").is_err());
        assert!(actions("/x/ skip-mx,bounce-queue").is_err());
        let error = actions("/x/ bounce-quue").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `bounce-queue`?"));
        assert!(actions("/x/").is_err());
    }
}
