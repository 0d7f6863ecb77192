//! `why`: what an address, a message or a queue waits for, where that was said, and when it is expected to go.

use super::answer::{Answerer, queue_row};
use super::answer_message::MessageName;
use super::answer_modes;
use super::ceiling::{self, Present};
use super::control::{Estimate, Limit, Setting, WhyQueue, WhyRecipient, WhyReport};
use super::owners::Stopping;
use crate::base::Wall;
use crate::io::clock::wall;
use crate::queue::QueueName;
use crate::shard::{Found, QueuePattern, QueueState, ShardReply, ShardRequest};
use std::collections::HashMap;
use std::time::Duration;
use vmta_config::Explained;

/// Recipients that are shown at most.
const MOST_FOUND: usize = 20;
/// How long a queue is watched to see how fast it is, where no limit says so.
const WATCHED: Duration = Duration::from_secs(1);
/// Recipients in that time that say something.
const MEANINGFUL: u64 = 5;

/// Directives that decide when mail of a queue leaves.
const MATTERS: [&str; 10] = [
    "max-smtp-out",
    "max-msg-rate",
    "max-connect-rate",
    "max-msg-per-connection",
    "retry-after",
    "retry-recipients-after",
    "bounce-after",
    "smtp-hosts",
    "smtp-pattern-list",
    "type",
];

/// How fast a queue is expected to go on, and how that is known.
struct Pace {
    per_hour: u64,
    by: String,
}

impl Answerer {
    pub(super) async fn why(&self, what: &str) -> Result<WhyReport, Stopping> {
        if let Some(name) = MessageName::in_brackets(what) {
            return self.why_message(what, &name).await;
        }
        let address = what.contains('@').then(|| what.to_owned());
        let domain = what.rsplit_once('@').map_or(what, |(_, domain)| domain);
        let queue = QueuePattern::parse(domain);
        let request = ShardRequest::Find { address: address.clone(), queue, limit: MOST_FOUND };
        let (recipients, mut queues) = self.found(&request).await?;
        if address.is_some() {
            queues.retain(|q| recipients.iter().any(|r: &Found| r.queue == q.name));
        }
        if queues.is_empty()
            && let Some(name) = MessageName::bare(what)
        {
            let report = self.why_message(what, &name).await?;
            if !report.recipients.is_empty() {
                return Ok(report);
            }
        }
        let summary = match (address.is_some() && recipients.is_empty(), queues.is_empty()) {
            (true, _) => {
                format!(
                    "Nothing is waiting for {what}. If it was sent, its outcome is in the accounting file."
                )
            }
            (_, true) => {
                format!("There is no queue {what}: nothing has been queued for it since the start.")
            }
            _ => String::new(),
        };
        self.report(what, summary, recipients, queues).await
    }

    async fn why_message(&self, what: &str, name: &MessageName) -> Result<WhyReport, Stopping> {
        let message = self.submissions_called(name).await?;
        let request =
            ShardRequest::FindOf { submissions: message.found.clone(), row: message.row, limit: MOST_FOUND };
        let (mut recipients, queues) = match message.found.is_empty() {
            true => Default::default(),
            false => self.found(&request).await?,
        };
        recipients.truncate(MOST_FOUND);
        let summary = match (recipients.is_empty(), message.left_out) {
            (false, _) => String::new(),
            (true, 0) => format!(
                "No recipient of a message {what} is waiting. If it was sent, its outcome is in the accounting file."
            ),
            (true, left_out) => format!(
                "No recipient of a message {what} is waiting among the latest {} submissions; {left_out} older ones \
                 were not looked at. Ask for an address or a queue.",
                message.looked_at
            ),
        };
        self.report(what, summary, recipients, queues).await
    }

    async fn found(&self, request: &ShardRequest) -> Result<(Vec<Found>, Vec<QueueState>), Stopping> {
        let (mut recipients, mut queues) = (Vec::new(), Vec::new());
        for reply in self.intake.owners.ask(request).await? {
            if let ShardReply::Found { recipients: found, queues: states } = reply {
                recipients.extend(found);
                queues.extend(states);
            }
        }
        Ok((recipients, queues))
    }

    async fn report(
        &self,
        what: &str,
        summary: String,
        recipients: Vec<Found>,
        states: Vec<QueueState>,
    ) -> Result<WhyReport, Stopping> {
        let speeds = self.watched(&states).await?;
        let now = self.clock.now().wall;
        let configured = self.intake.configured.load();
        let cold = configured.has_cold().then(|| self.intake.warming.rows(&configured, wall()));
        let cold = cold.unwrap_or_default();
        let mut queues = Vec::new();
        let mut all = Vec::new();
        for state in &states {
            let (mut queue, pace) = self.why_queue(state.clone(), speeds.get(&state.name).copied(), now);
            let QueueName { domain, vmta } = &state.name;
            queue.warming = cold.iter().find(|row| row.vmta == **vmta && row.domain == **domain).cloned();
            let of_it = recipients.iter().filter(|found| found.queue == state.name);
            all.extend(of_it.map(|found| why_recipient(found, state, pace.as_ref(), now)));
            queues.push(queue);
        }
        let summary = match summary.is_empty() {
            true => conclusion(what, &recipients, &states, &queues, now),
            false => summary,
        };
        Ok(WhyReport { subject: what.to_owned(), summary, recipients: all, queues })
    }

    /// Recipients an hour that left queues, or were tried, while somebody looked: of those that send and that no limit of
    /// the rate holds back.
    async fn watched(&self, states: &[QueueState]) -> Result<HashMap<QueueName, u64>, Stopping> {
        let mut speeds = HashMap::new();
        let tried = |state: &QueueState| state.delivered + state.bounced + state.deferrals;
        let sending: Vec<&QueueState> = states
            .iter()
            .filter(|state| state.connections > 0 && state.waiting > 0)
            .take(MOST_FOUND)
            .collect();
        if sending.is_empty() {
            return Ok(speeds);
        }
        tokio::time::sleep(WATCHED).await;
        for state in sending {
            let pattern = QueuePattern::parse(&state.name.to_string());
            let later = self.states(&pattern).await?;
            if let Some(later) = later.iter().find(|later| later.name == state.name) {
                let count = tried(later).saturating_sub(tried(state));
                if count >= MEANINGFUL {
                    speeds.insert(state.name.clone(), count * 3600 / WATCHED.as_secs());
                }
            }
        }
        Ok(speeds)
    }

    fn why_queue(&self, state: QueueState, speed: Option<u64>, now: Wall) -> (WhyQueue, Option<Pace>) {
        let configured = self.intake.configured.load();
        let config = &configured.config;
        let QueueName { domain, vmta } = &state.name.clone();
        let explained = config.explain_queue(domain, vmta);
        let (backoff, adapts) = (state.backoff.is_some(), state.adaptive.is_some());
        let decides = |name: &str| {
            MATTERS.contains(&name)
                || (backoff && name.starts_with("backoff-"))
                || (adapts && name.starts_with("adaptive-"))
        };
        let matters = explained.iter().filter(|e| !e.overridden && decides(e.directive));
        let settings: Vec<Setting> = matters.map(setting).collect();
        let present = Present {
            backoff,
            eased: state.adaptive.as_ref().filter(|adaptive| adaptive.eased).map(|adaptive| adaptive.level),
            message_size: state.bytes.checked_div(state.waiting + state.in_flight),
        };
        let limits = ceiling::limits(config, domain, vmta, &present);
        let limited_by = limited_by(&state, &limits, &explained);
        let pace = pace(&limits, speed);
        let mut queue = WhyQueue {
            disabled_sources: answer_modes::disabled_rows(&state),
            limited_by,
            ceiling: ceiling::ceiling(&limits),
            limits,
            estimate: estimate(&state, pace.as_ref(), state.waiting, None, now),
            warming: None,
            settings,
            row: queue_row(state),
        };
        if let Some(adaptive) = &mut queue.row.adaptive
            && ceiling::adapts_in_vain(config, domain, vmta)
        {
            adaptive.ceiling = ceiling::IN_VAIN.to_owned();
        }
        (queue, pace)
    }
}

/// The setting behind what it waits for.
fn limited_by(state: &QueueState, limits: &[Limit], explained: &[Explained]) -> Option<Setting> {
    let is_it = |limit: &&Limit| {
        limit.directive == state.limited_by && (limit.of == ceiling::VMTA || !state.limited_by_vmta)
    };
    let by_limit = limits.iter().find(is_it).map(|limit| Setting {
        directive: limit.directive.clone(),
        value: limit.value.clone(),
        origin: limit.origin.clone(),
    });
    let by_other = || explained.iter().find(|e| !e.overridden && e.usual == state.limited_by);
    by_limit.or_else(|| by_other().map(setting))
}

fn setting(explained: &Explained) -> Setting {
    Setting {
        directive: explained.directive.to_owned(),
        value: explained.value.clone().unwrap_or_default(),
        origin: explained.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string),
    }
}

/// The least of what is allowed and what was seen.
fn pace(limits: &[Limit], speed: Option<u64>) -> Option<Pace> {
    let allowed = limits.iter().find(|limit| limit.binds && limit.per_hour.is_some());
    let allowed = allowed.and_then(|limit| {
        let Limit { directive, value, origin, of, .. } = limit;
        Some(Pace { per_hour: limit.per_hour?, by: format!("{directive} {value} of {of}, {origin}") })
    });
    let seen = speed.map(|per_hour| Pace { per_hour, by: "as seen in the last second".to_owned() });
    allowed.into_iter().chain(seen).min_by_key(|pace| pace.per_hour).filter(|pace| pace.per_hour > 0)
}

/// When `ahead` recipients of the queue will have gone, from now on or from `due`.
fn estimate(state: &QueueState, pace: Option<&Pace>, ahead: u64, due: Option<Wall>, now: Wall) -> Estimate {
    let unknown = |rests_on: String| Estimate { at: None, ahead: Some(ahead), rests_on };
    if state.waiting == 0 {
        return Estimate::default();
    }
    if state.paused {
        return unknown("not before the queue is resumed".to_owned());
    }
    if !state.waits_for.is_empty() && state.limited_by.is_empty() && state.waits_until.is_none() {
        return unknown(format!("nobody can say: {}", state.waits_for));
    }
    let from = [Some(now), due, state.waits_until].into_iter().flatten().max().unwrap_or(now);
    let begins = if from > now { "from then on " } else { "" };
    match pace {
        Some(Pace { per_hour, by }) => {
            let wait = u128::from(ahead) * 3_600_000 / u128::from(*per_hour);
            let at = from.0.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX));
            let rate = ceiling::per(*per_hour);
            let rests_on = format!("{ahead} recipients {begins}at {rate} ({by}), if all goes well");
            Estimate { at: Some(at), ahead: Some(ahead), rests_on }
        }
        None if from > now || ahead == 0 => {
            let rests_on = "the end of its wait; then as fast as the receiver takes it".to_owned();
            Estimate { at: Some(from.0), ahead: Some(ahead), rests_on }
        }
        None => unknown("as fast as the receiver takes it: nothing limits the rate".to_owned()),
    }
}

fn why_recipient(found: &Found, queue: &QueueState, pace: Option<&Pace>, now: Wall) -> WhyRecipient {
    let state = match (found.in_flight, found.due) {
        (true, _) => "being sent",
        (false, Some(_)) if found.attempts > 0 => "waiting for its next attempt",
        (false, Some(_)) if found.by_schedule => "not to go at this hour (its schedule)",
        (false, Some(_)) => "not to start yet",
        (false, None) => "in line",
    };
    let estimate = match (found.in_flight, found.ahead) {
        (true, _) => Estimate { at: Some(now.0), ahead: Some(0), rests_on: "it is on its way".to_owned() },
        (false, ahead) => estimate(queue, pace, ahead.unwrap_or(0), found.due, now),
    };
    WhyRecipient {
        address: found.recipient.clone(),
        job: found.job.to_string(),
        queue: found.queue.to_string(),
        state: state.to_owned(),
        accepted_at: found.accepted_at.0,
        attempts: u32::from(found.attempts),
        next_attempt_at: found.due.map(|at| at.0),
        estimate,
        last_reply: queue.last_error.as_ref().map(|(_, text)| text.clone()).unwrap_or_default(),
    }
}

/// The sentence that stands on top.
fn conclusion(
    what: &str,
    recipients: &[Found],
    states: &[QueueState],
    queues: &[WhyQueue],
    now: Wall,
) -> String {
    if let Some((found, due)) = recipients.iter().find_map(|r| Some((r, r.due.filter(|due| *due > now)?))) {
        let seconds = (due.0 - now.0) / 1000;
        return match (found.attempts, found.by_schedule) {
            (0, true) => {
                format!("It goes in {seconds} s at the earliest: its schedule has no time for it before.")
            }
            (0, false) => format!("It starts in {seconds} s: it was submitted with a start date."),
            _ => format!("It is tried again in {seconds} s, after its own deferral."),
        };
    }
    let waiting: u64 = states.iter().map(|state| state.waiting).sum();
    let held = states.iter().zip(queues).find(|(state, _)| !state.waits_for.is_empty());
    match held {
        Some((state, queue)) => {
            let mode = match (&state.backoff, &state.adaptive) {
                (Some(_), _) => ", which is in backoff",
                (None, Some(adaptive)) if adaptive.eased => ", which has eased itself",
                _ => "",
            };
            let origin = queue.limited_by.as_ref().map(|by| format!(", {}", by.origin)).unwrap_or_default();
            format!(
                "{} recipient(s) wait in {}{mode}: {}{origin}.",
                state.waiting, state.name, state.waits_for
            )
        }
        None if waiting == 0 && recipients.is_empty() => format!("Nothing is waiting in {what}."),
        None => format!("{waiting} recipient(s) are being delivered."),
    }
}
