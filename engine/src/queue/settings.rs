//! What scheduling needs of a queue's configuration, resolved: a snapshot that a reload replaces as a whole.

use crate::limit::{QueuePriority, Rate, VolumeRate};
use std::time::Duration;

/// The settings of one queue. Shared by all queues that have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `max-smtp-out`; `u32::MAX` is unlimited.
    pub max_smtp_out: u32,
    /// `max-msg-rate`: attempted recipients. `None` is unlimited.
    pub max_msg_rate: Option<Rate>,
    /// `max-data-volume-rate`: delivered bytes. `None` is unlimited.
    pub max_data_volume_rate: Option<VolumeRate>,
    /// `max-connect-rate`: new connections. `None` is unlimited.
    pub max_connect_rate: Option<Rate>,
    /// `smtp-out-rampup-interval`: the least time between two new connections.
    pub smtp_out_rampup: Duration,
    /// `max-msg-per-connection`; 0 is no limit.
    pub max_msg_per_connection: u32,
    /// `max-rcpt-per-message`; 0 is no limit.
    pub max_rcpt_per_message: u32,
    /// `retry-after`: the waits of the whole queue after the first, second .. failure; the last one stays. Empty
    /// counts as 10 minutes.
    pub retry_after: Vec<Duration>,
    /// `retry-after-dns-error`; `None` leaves it to `retry_after`.
    pub retry_after_dns_error: Option<Duration>,
    /// `retry-recipients-after`: the wait of one recipient after its own 4xx.
    pub retry_recipients_after: Duration,
    /// `retry-upon-new-mail`: new mail ends the queue's wait.
    pub retry_upon_new_mail: bool,
    /// `bounce-after`: the age at which a recipient bounces.
    pub bounce_after: Duration,
    /// `queue-priority`
    pub priority: QueuePriority,
    /// `allow-priority-interruption`: queues of higher priority may have its connections.
    pub interruptible: bool,
    /// `allow-priority-interruption-during-transfer`: without waiting for the end of a message.
    pub interruptible_at_once: bool,
}

/// PowerMTA's defaults (reference 2.5).
impl Default for QueueSettings {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        QueueSettings {
            max_smtp_out: 20,
            max_msg_rate: None,
            max_data_volume_rate: None,
            max_connect_rate: None,
            smtp_out_rampup: Duration::ZERO,
            max_msg_per_connection: 0,
            max_rcpt_per_message: 1000,
            retry_after: vec![10 * MINUTE],
            retry_after_dns_error: Some(MINUTE),
            retry_recipients_after: 10 * MINUTE,
            retry_upon_new_mail: false,
            bounce_after: 108 * 60 * MINUTE,
            priority: 50,
            interruptible: true,
            interruptible_at_once: false,
        }
    }
}

impl QueueSettings {
    /// How long the queue waits after its failure number `step` in a row, counted from zero.
    pub fn retry_wait(&self, step: u16) -> Duration {
        let last = self.retry_after.len().saturating_sub(1);
        let step = usize::from(step).min(last);
        self.retry_after.get(step).copied().unwrap_or(Duration::from_secs(600))
    }

    /// Recipients per transaction before any rate is considered.
    pub fn recipients_per_message(&self) -> u32 {
        if self.max_rcpt_per_message == 0 { u32::MAX } else { self.max_rcpt_per_message }
    }
}
