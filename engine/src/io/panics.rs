//! What a panic does: outside of a single client's session, a single import and the control runtime's tasks it ends the
//! process, and the next start recovers (F29). To go on would be to let everybody wait for a thread that is no more.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic;
use std::pin::pin;
use std::process;
use std::thread;

/// Threads on which a panic costs one task, which those that wait for it see.
const ONE_TASK: [&str; 2] = ["control", "import"];

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// From now on; for a program that is an engine and nothing else.
pub fn end_the_process() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        usual(panicked);
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if CONTAINED.get() || ONE_TASK.contains(&name) {
            tracing::error!(thread = name, "{panicked}");
        } else {
            tracing::error!(thread = name, "{panicked}; the next start recovers");
            process::abort();
        }
    }));
}

/// Until it is dropped a panic on this thread does not end the process.
struct Contained;

impl Drop for Contained {
    fn drop(&mut self) {
        CONTAINED.set(false);
    }
}

/// A task of a thread that others depend on, whose panic costs nobody else anything.
pub(super) async fn contained<F: Future>(task: F) -> F::Output {
    let mut task = pin!(task);
    poll_fn(|cx| {
        CONTAINED.set(true);
        let _contained = Contained;
        task.as_mut().poll(cx)
    })
    .await
}
