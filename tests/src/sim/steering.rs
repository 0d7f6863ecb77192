//! Replies that steer: which domains act on them, and what backoff allows there.

use super::plan::Domain;
use std::fmt::Write as _;
use std::time::Duration;

/// What the configuration says of backoff, as the auditor holds the engine to it.
#[derive(Clone, Debug)]
pub struct BackoffLimits {
    pub max_smtp_out: u32,
    pub msg_rate: (u32, Duration),
    pub connect_rate: (u32, Duration),
    pub lasts: Duration,
    /// The queue eases itself first.
    pub adaptive: bool,
}

/// At one domain of three, replies that ask for less lead to backoff.
pub fn perhaps(rng: &mut fastrand::Rng, domain: &mut Domain) {
    if rng.u8(..3) > 0 {
        return;
    }
    let second = Duration::from_secs(1);
    let backoff = BackoffLimits {
        max_smtp_out: rng.u32(1..=domain.limits.max_smtp_out),
        msg_rate: at_most(rng, domain.limits.msg_rate.unwrap_or((20, second))),
        connect_rate: at_most(rng, domain.limits.connect_rate.unwrap_or((6, second))),
        lasts: Duration::from_secs(rng.u64(5..600)),
        adaptive: false,
    };
    // By what is drawn already, so that the rest of a seed's story stays.
    let lasts = backoff.lasts.as_secs();
    let backoff = BackoffLimits { adaptive: lasts.is_multiple_of(2), ..backoff };
    let list = ["slow", "slow-and-wait", "slow-and-skip"][rng.usize(..3)];
    let _ = writeln!(
        domain.directives,
        " smtp-pattern-list {list}\n backoff-max-smtp-out {}\n backoff-max-msg-rate {}/{}s\n \
         backoff-max-connect-rate {}/{}s\n backoff-to-normal-after {}s\n backoff-retry-after {}s",
        backoff.max_smtp_out,
        backoff.msg_rate.0,
        backoff.msg_rate.1.as_secs(),
        backoff.connect_rate.0,
        backoff.connect_rate.1.as_secs(),
        backoff.lasts.as_secs(),
        rng.u64(20..300),
    );
    if backoff.adaptive {
        let _ = writeln!(
            domain.directives,
            " adaptive-rate yes\n adaptive-rate-floor {}/{}s\n adaptive-rate-step-up-interval {}s",
            backoff.msg_rate.0.div_ceil(4),
            backoff.msg_rate.1.as_secs(),
            10 + lasts / 10,
        );
    }
    domain.limits.backoff = Some(backoff);
}

/// Backoff that lets more through than there would be without it is no story of ours: the auditor counts both limits always.
fn at_most(rng: &mut fastrand::Rng, (count, per): (u32, Duration)) -> (u32, Duration) {
    (rng.u32(1..=count), per)
}

/// The lists that [`perhaps`] chooses from.
pub const PATTERN_LISTS: &str = "\
<smtp-pattern-list slow>
 reply /^4.. 4\\.7\\.. too (many|fast)/ mode=backoff
</smtp-pattern-list>
<smtp-pattern-list slow-and-wait>
 reply /^4.. 4\\.7\\.. too (many|fast)/ mode=backoff,defer-queue
</smtp-pattern-list>
<smtp-pattern-list slow-and-skip>
 reply /^421 4\\.7\\.. too many/ mode=backoff,skip-mx
 reply /too fast|^451 4\\.3\\.0 later/ mode=backoff
</smtp-pattern-list>
";
