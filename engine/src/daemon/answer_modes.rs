//! Modes of queues and their source addresses, as the operator sees and sets them.

use super::answer::{Answerer, done};
use super::control::{Adaptive, AdaptiveStep, Backoff, DisabledRow, Listing, Mode, Reply};
use super::owners::Stopping;
use crate::shard::{AdaptiveState, BackoffState, QueuePattern, QueueState, ShardRequest};
use std::net::IpAddr;
use std::time::Duration;

impl Answerer {
    pub(super) async fn set_mode(&self, queue: &str, mode: Mode) -> Result<Reply, Stopping> {
        if mode == Mode::Adaptive {
            return Ok(error("a queue adapts by `adaptive-rate yes` in the configuration".to_owned()));
        }
        let backoff = mode == Mode::Backoff;
        let request = ShardRequest::SetMode { queue: QueuePattern::parse(queue), backoff };
        let word = if backoff { "backoff" } else { "normal" };
        Ok(match self.count(&request).await? {
            0 => no_queue(queue),
            count => done(&format!("{count} queue(s) set to {word}."), count),
        })
    }

    pub(super) async fn disable_source(
        &self,
        queue: &str,
        address: IpAddr,
        reenable_after: Option<u64>,
    ) -> Result<Reply, Stopping> {
        let reenable_after = reenable_after.map(Duration::from_secs);
        let pattern = QueuePattern::parse(queue);
        let request = ShardRequest::DisableSource { queue: pattern, address, reenable_after };
        Ok(match self.count(&request).await? {
            0 => error(format!(
                "no queue {queue} uses {address} (`show disabled sources` lists what is disabled)"
            )),
            count => done(&format!("{address} disabled for {count} queue(s)."), count),
        })
    }

    pub(super) async fn enable_source(&self, queue: &str, address: IpAddr) -> Result<Reply, Stopping> {
        let request = ShardRequest::EnableSource { queue: QueuePattern::parse(queue), address };
        Ok(match self.count(&request).await? {
            0 => error(format!(
                "{address} is disabled for no queue {queue} (`show disabled sources` lists them)"
            )),
            count => done(&format!("{address} enabled for {count} queue(s)."), count),
        })
    }

    pub(super) async fn disabled_sources(&self, queue: &str) -> Result<Reply, Stopping> {
        let pattern = if queue.is_empty() { QueuePattern::all() } else { QueuePattern::parse(queue) };
        let mut rows: Vec<DisabledRow> =
            self.states(&pattern).await?.iter().flat_map(disabled_rows).collect();
        rows.sort_by(|a, b| (&a.queue, &a.address).cmp(&(&b.queue, &b.address)));
        let total = rows.len() as u64;
        Ok(Reply::DisabledSources(Listing { rows, total }))
    }
}

fn error(message: String) -> Reply {
    Reply::Error { message }
}

fn no_queue(queue: &str) -> Reply {
    error(format!("there is no queue {queue}: nothing has been queued for it since the start"))
}

/// The mode that counts where both do: backoff.
pub(super) fn mode(state: &QueueState) -> Mode {
    match (&state.backoff, &state.adaptive) {
        (Some(_), _) => Mode::Backoff,
        (None, Some(adaptive)) if adaptive.eased => Mode::Adaptive,
        _ => Mode::Normal,
    }
}

pub(super) fn adaptive(state: &AdaptiveState) -> Adaptive {
    let step = |step: &crate::queue::Step| AdaptiveStep {
        at: step.at.0,
        direction: if step.down { "down" } else { "up" }.to_owned(),
        to: step.to.to_string(),
        cause: step.cause.clone(),
    };
    let ceiling = if state.eased { state.level.to_string() } else { String::new() };
    Adaptive { eased: state.eased, ceiling, steps: state.steps.iter().map(step).collect() }
}

pub(super) fn backoff(state: &BackoffState) -> Backoff {
    Backoff { since: state.since.0, until: state.until.map(|until| until.0), reason: state.reason.clone() }
}

pub(super) fn disabled_rows(state: &QueueState) -> Vec<DisabledRow> {
    let row = |source: &crate::shard::DisabledState| DisabledRow {
        queue: state.name.to_string(),
        address: source.address.map(|address| address.to_string()).unwrap_or_default(),
        since: source.since.0,
        until: source.until.map(|until| until.0),
        reason: source.reason.clone(),
    };
    state.disabled_sources.iter().map(row).collect()
}
