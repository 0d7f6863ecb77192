//! Waiting for something that another process does: asked again and again until it is so, never slept for.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks until there is a value; `Err` with how long it was after `patience`.
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, Duration> {
    let begun = Instant::now();
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if begun.elapsed() >= patience {
            return Err(begun.elapsed());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
