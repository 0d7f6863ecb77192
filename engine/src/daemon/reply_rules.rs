//! What an `<smtp-pattern-list>` asks of the shards.

use crate::shard::{Course, DisableSource, ModeChange, ReplyRules, Steer};
use std::sync::Arc;
use vmta_config::{SmtpAction, SmtpPattern, SmtpPatternList};

#[derive(Debug)]
pub struct PatternList {
    list: Arc<SmtpPatternList>,
    may_end_backoff: bool,
}

impl PatternList {
    pub fn new(list: Arc<SmtpPatternList>) -> PatternList {
        let may_end_backoff = list.rules().iter().any(|rule| rule.actions.contains(&SmtpAction::Normal));
        PatternList { list, may_end_backoff }
    }
}

impl ReplyRules for PatternList {
    fn steer(&self, reply: &str) -> Option<Steer> {
        self.list.matches(reply).map(steer)
    }

    fn may_end_backoff(&self) -> bool {
        self.may_end_backoff
    }
}

/// Of actions of one line that exclude each other the first counts (reference 3.2).
fn steer(rule: &SmtpPattern) -> Steer {
    let mut steer =
        Steer { rule: format!("/{}/ of {}", rule.pattern.source(), rule.origin), ..Steer::default() };
    for action in &rule.actions {
        let course = match *action {
            SmtpAction::Backoff { to_normal_after } => {
                steer.mode.get_or_insert(ModeChange::Backoff(to_normal_after));
                continue;
            }
            SmtpAction::Normal => {
                steer.mode.get_or_insert(ModeChange::Normal);
                continue;
            }
            SmtpAction::DisableSourceIp { reenable_after } => {
                steer.disable_source.get_or_insert(DisableSource { reenable_after });
                continue;
            }
            SmtpAction::DeferQueue => {
                steer.defer_queue = true;
                continue;
            }
            SmtpAction::SkipMx => Course::SkipMx,
            SmtpAction::BounceQueue => Course::BounceQueue,
            SmtpAction::BounceRecipient => Course::BounceRecipient,
        };
        if steer.course == Course::Plain {
            steer.course = course;
        }
    }
    steer
}
