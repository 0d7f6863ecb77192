//! One clock for the receiver, the source and whoever kills the engine between them: CLOCK_MONOTONIC, which all
//! processes of a machine share, so that stamps taken in different programs can be compared.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of CLOCK_MONOTONIC.
pub fn now_us() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    secs * 1_000_000 + nanos / 1000
}
