//! Limits over many queues, and those that were not thought of when the seeds that are kept were found.

use super::plan::{Domain, Plan, Vmta};
use std::fmt::Write as _;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

impl Plan {
    /// Draws them, from a source of their own.
    pub(super) fn limit(&mut self, rng: &mut fastrand::Rng) {
        self.vmtas.iter_mut().for_each(|vmta| vmta.limit(rng));
        self.domains.iter_mut().for_each(|domain| domain.limit(rng));
    }

    /// Those of the top level. Writing to a String cannot fail, here and below.
    pub(super) fn write_host_limits(&self, text: &mut String) {
        for (n, domain) in self.domains.iter().enumerate() {
            if let Some(most) = domain.limits.to_host {
                let _ = writeln!(text, "mx-connection-limit *.{} {most}", domain.name);
            }
            if let Some(most) = domain.limits.to_address {
                let _ = writeln!(text, "ip-connection-limit 8.{n}.0.0/16 {most}");
            }
        }
    }
}

impl Vmta {
    fn limit(&mut self, rng: &mut fastrand::Rng) {
        self.max_smtp_out = (rng.u8(..3) == 0).then(|| rng.u32(1..5));
        self.msg_rate = (rng.u8(..4) == 0).then(|| (rng.u32(10..200), MINUTE));
        self.volume_rate = (rng.u8(..4) == 0).then(|| (rng.u64(30_000..3_000_000), MINUTE));
    }

    pub(super) fn write_limits(&self, text: &mut String) {
        if let Some(most) = self.max_smtp_out {
            let _ = writeln!(text, " max-smtp-out {most}");
        }
        if let Some((count, _)) = self.msg_rate {
            let _ = writeln!(text, " max-smtp-msg-rate {count}/m");
        }
        if let Some((bytes, _)) = self.volume_rate {
            let _ = writeln!(text, " max-smtp-data-volume-rate {bytes}B/m");
        }
    }
}

impl Domain {
    /// Who goes first, and the limits of source addresses.
    pub(super) fn rank(&mut self, rng: &mut fastrand::Rng) {
        self.limits.from_source = (rng.u8(..4) == 0).then(|| rng.u32(1..4));
        if let Some(most) = self.limits.from_source {
            let _ = writeln!(self.directives, " source-ip-max-smtp-out 0.0.0.0/0 {most}");
        }
        self.limits.source_rate = (rng.u8(..4) == 0).then(|| (rng.u32(10..200), MINUTE));
        if let Some((count, _)) = self.limits.source_rate {
            let _ = writeln!(self.directives, " source-ip-max-msg-rate 0.0.0.0/0 {count}/m");
        }
        let priority = rng.choice([0, 50, 50, 90].iter()).copied().unwrap_or(50);
        let (may, at_once) = (rng.u8(..4) > 0, rng.bool());
        let yes = |yes| if yes { "yes" } else { "no" };
        let _ = writeln!(
            self.directives,
            " queue-priority {priority}\n allow-priority-interruption {}\n \
             allow-priority-interruption-during-transfer {}",
            yes(may),
            yes(at_once)
        );
    }

    fn limit(&mut self, rng: &mut fastrand::Rng) {
        self.limits.volume_rate = (rng.u8(..4) == 0).then(|| (rng.u64(30_000..3_000_000), MINUTE));
        if let Some((bytes, _)) = self.limits.volume_rate {
            let _ = writeln!(self.directives, " max-data-volume-rate {bytes}B/m");
        }
        self.limits.to_host = (rng.u8(..4) == 0).then(|| rng.u32(1..4));
        self.limits.to_address = (rng.u8(..4) == 0).then(|| rng.u32(1..4));
    }
}
