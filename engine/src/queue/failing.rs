//! What failures of a whole queue mean for it.

use super::queue::{LastError, Queue};
use super::settings::QueueSettings;
use crate::base::{Now, Time};
use std::sync::Arc;
use std::time::Duration;

impl Queue {
    /// The queue as a whole failed (no host could be reached, or its reply was about the queue): all of it waits by
    /// `retry-after`. Returns until when. Failures that come in while it waits already lengthen nothing: several
    /// connections that fail together are one failure. While another connection of the queue delivers, one that cannot
    /// be opened is no failure of the queue.
    pub fn failed(&mut self, now: Now, text: &str) -> Time {
        let wait = self.settings.retry_wait(self.failures);
        self.fail(now, text, wait)
    }

    /// [`Queue::failed`] because the name could not be resolved for now (`retry-after-dns-error`).
    pub fn dns_failed(&mut self, now: Now, text: &str) -> Time {
        let step = self.settings.retry_wait(self.failures);
        self.fail(now, text, self.settings.retry_after_dns_error.unwrap_or(step))
    }

    fn fail(&mut self, now: Now, text: &str, wait: Duration) -> Time {
        self.note_error(now, text);
        self.failed_at = now.mono;
        if let Some(until) = self.retry_wait(now.mono) {
            return until;
        }
        self.failures = self.failures.saturating_add(1);
        self.deferred = false;
        let until = now.mono + wait;
        self.retry_at = until;
        until
    }

    /// A reply asks the whole queue to wait (`defer-queue`), whatever else becomes of its mail.
    pub fn defer_all(&mut self, now: Now, text: &str) {
        // What it waits for already may end with the next message that is taken.
        self.retry_at = Time::ZERO;
        self.failed(now, text);
        self.deferred = true;
    }

    pub fn is_deferred(&self, now: Time) -> bool {
        self.deferred && self.retry_wait(now).is_some()
    }

    /// Other settings, and so other waits: the first of them is the next.
    pub fn set_mode(&mut self, settings: Arc<QueueSettings>) {
        self.set_settings(settings);
        self.failures = 0;
    }

    /// Keeps one copy of the latest error where it says what that of another queue said before: an outage fails many with the
    /// same words.
    pub fn share_error(&mut self, before: &mut Arc<str>) {
        let Some(error) = &mut self.last_error else { return };
        if *error.text == **before {
            error.text = before.clone();
        } else {
            *before = error.text.clone();
        }
    }

    /// Keeps `text` as the latest error, for display.
    pub fn note_error(&mut self, now: Now, text: &str) {
        self.last_error = Some(LastError { at: now.wall, text: text.into() });
    }
}
