//! What a panic does: outside of a single client's session and a single import it ends the process, and the next start
//! recovers (F29). To go on would be to let everybody wait for a thread that is no more.

use std::panic;
use std::process;
use std::thread;

/// Threads on which a panic costs one task, which those that wait for it see.
const ONE_TASK: [&str; 2] = ["control", "import"];

/// From now on; for a program that is an engine and nothing else.
pub fn end_the_process() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        usual(panicked);
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if ONE_TASK.contains(&name) {
            tracing::error!(thread = name, "{panicked}");
        } else {
            tracing::error!(thread = name, "{panicked}; the next start recovers");
            process::abort();
        }
    }));
}
