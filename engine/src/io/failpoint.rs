//! Failpoints: the places in the shell where a crash could cost mail, each with a name, so that a test can make the
//! engine die, fail, panic or wait exactly there. Feature `failpoints`, for the tests alone: without it every function
//! here is empty and no name is compiled in.
//!
//! Armed by the environment: `POSTHASTE_FAIL='storage.before-sync=abort@3;accounting.mid-line=delay:200'`. The action
//! is taken when the point is reached for the n-th time (first, if no `@` says otherwise), once:
//! `abort` ends the process as SIGKILL does, `error` makes the operation fail with EIO, `panic` panics the thread,
//! `delay:MS` holds it up.

use std::io;

macro_rules! points {
    ($($point:ident $name:literal)*) => {
        /// A place that can be made to fail.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($point),* }

        #[cfg(feature = "failpoints")]
        impl Point {
            /// All of them, for a test to walk.
            pub const ALL: &[(Point, &str)] = &[$((Point::$point, $name)),*];
        }
    };
}

points! {
    SmtpAccepted "smtp.accepted"
    SmtpMail "smtp.after-mail"
    SmtpRcpt "smtp.after-rcpt"
    SmtpMidData "smtp.mid-data"
    SmtpFinalDot "smtp.after-final-dot"
    SmtpDurable "smtp.durable-before-reply"
    SmtpReplyWritten "smtp.reply-before-flush"
    SmtpReplyFlushed "smtp.reply-flushed"

    StorageBeforeWrite "storage.before-write"
    StorageMidAppend "storage.mid-append"
    StorageBeforeSync "storage.appended-before-sync"
    StorageDuringSync "storage.during-sync"
    StorageSynced "storage.synced-before-acknowledging"
    StorageOutcomePlaced "storage.outcome-before-write"
    StorageOutcomeWritten "storage.outcome-before-sync"
    StorageSeal "storage.seal"
    StorageRolled "storage.rolled"
    StorageReclaimAppended "storage.reclaim-appended"
    StorageReclaimDurable "storage.reclaim-before-retiring"
    StorageRetired "storage.retired"
    StorageDrained "storage.drained"

    SegmentCreate "segment.created"
    SegmentAllocated "segment.allocated-before-file-sync"
    SegmentSynced "segment.synced-before-rename"
    SegmentStocked "segment.stocked-before-directory-sync"
    SegmentHeader "segment.header-before-sync"
    SegmentHeaded "segment.headed-before-rename"
    SegmentNamed "segment.named-before-directory-sync"
    SegmentReady "segment.ready"
    SegmentRecycle "segment.recycle"
    SegmentRecycled "segment.recycled"
    SegmentUnlink "segment.unlink"

    RecoveryLocked "recovery.locked"
    RecoveryLeftOver "recovery.remove-unfinished"
    RecoveryHeader "recovery.read-header"
    RecoveryRead "recovery.read"
    RecoverySettle "recovery.sync"
    RecoverySettled "recovery.synced"
    RecoveryFreed "recovery.freed"
    RecoveryBegun "recovery.first-commit"
    RecoveryRequeue "recovery.requeue"

    PickupRead "pickup.read"
    PickupDurable "pickup.durable-before-unlink"
    PickupUnlinked "pickup.unlinked"

    ImportMovedAside "import.moved-aside"
    ImportSubmit "import.before-submit"
    ImportDurable "import.durable-before-queueing"
    ImportQueued "import.queued"
    ImportReport "import.before-report"
    ImportReported "import.reported"
    ImportMidRemoval "import.mid-removal"
    ImportRemoved "import.removed"
    ImportForgotten "import.forgotten"

    OutboundConnect "outbound.connect"
    OutboundConnected "outbound.connected"
    OutboundDequeued "outbound.dequeued"
    OutboundMail "outbound.after-mail"
    OutboundMidData "outbound.mid-data"
    OutboundFinalDot "outbound.after-final-dot"
    OutboundReplied "outbound.replied-before-append"
    OutboundInDoubt "outbound.in-doubt"
    OutboundRetry "outbound.retry"
    OutboundBounced "outbound.bounced"
    OutboundExpired "outbound.expired"

    AccountingRead "accounting.before-line"
    AccountingNamed "accounting.named-before-create"
    AccountingCreated "accounting.created"
    AccountingMidLine "accounting.mid-line"
    AccountingWritten "accounting.written-before-sync"
    AccountingSynced "accounting.synced-before-cursor"
    AccountingMidCursor "accounting.cursor-before-sync"
    AccountingCursor "accounting.cursor-saved"
    AccountingRotate "accounting.rotate"
    AccountingRotated "accounting.rotated"
    AccountingMove "accounting.move"

    StopDrained "stop.drained"
    StopStorage "stop.storage-stopped"
}

/// Passes a point of code that has no error to give.
#[inline]
pub fn pass(point: Point) {
    if let Some(due) = due(point)
        && due.act().is_err()
    {
        panic!("this failpoint has no error to give");
    }
}

/// Passes a point of code that can fail.
#[inline]
pub fn check(point: Point) -> io::Result<()> {
    due(point).map_or(Ok(()), Due::act)
}

#[cfg(feature = "failpoints")]
pub use armed::{Due, due};
#[cfg(not(feature = "failpoints"))]
pub use disarmed::{Due, due};

#[cfg(not(feature = "failpoints"))]
mod disarmed {
    use super::{Point, io};

    /// Never made.
    pub enum Due {}

    impl Due {
        pub fn act(self) -> io::Result<()> {
            match self {}
        }
    }

    #[inline]
    pub fn due(_: Point) -> Option<Due> {
        None
    }
}

#[cfg(feature = "failpoints")]
mod armed {
    use super::{Point, io};
    use rustix::process::{Signal, getpid, kill_process};
    use rustix::time::{ClockId, clock_gettime};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    const VARIABLE: &str = "POSTHASTE_FAIL";

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Abort,
        Error,
        Panic,
        Delay(Duration),
    }

    struct Arm {
        point: Point,
        name: &'static str,
        action: Action,
        /// Which time of reaching it counts, from 1.
        at: u64,
        reached: AtomicU64,
    }

    static ARMED: LazyLock<Vec<Arm>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let arms: Result<Vec<Arm>, String> =
            text.split(';').filter(|one| !one.is_empty()).map(parse).collect();
        arms.unwrap_or_else(|why| {
            eprintln!("{VARIABLE}: {why}");
            std::process::exit(64);
        })
    });

    fn parse(text: &str) -> Result<Arm, String> {
        let (name, action) = text.split_once('=').ok_or_else(|| format!("{text:?} is not POINT=ACTION"))?;
        let known = Point::ALL.iter().find(|(_, known)| *known == name);
        let &(point, name) = known.ok_or_else(|| format!("no failpoint is called {name:?}"))?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        let at = at.parse().map_err(|_| format!("{text:?}: a number has to follow @, not {at:?}"))?;
        let (action, time) = action.split_once(':').unwrap_or((action, ""));
        let action = match (action, time.parse()) {
            ("abort", _) => Action::Abort,
            ("error", _) => Action::Error,
            ("panic", _) => Action::Panic,
            ("delay", Ok(time)) => Action::Delay(Duration::from_millis(time)),
            _ => return Err(format!("{text:?}: the action has to be abort, error, panic or delay:MS")),
        };
        Ok(Arm { point, name, action, at, reached: AtomicU64::new(0) })
    }

    /// An action that is to be taken now.
    pub struct Due(&'static Arm);

    /// Notes that `point` is reached; what is to be done about it.
    pub fn due(point: Point) -> Option<Due> {
        let arm = ARMED.iter().find(|arm| arm.point == point)?;
        (arm.reached.fetch_add(1, Ordering::Relaxed) + 1 == arm.at).then_some(Due(arm))
    }

    impl Due {
        pub fn act(self) -> io::Result<()> {
            let time = clock_gettime(ClockId::Monotonic);
            let micros = time.tv_sec * 1_000_000 + time.tv_nsec / 1000;
            // Whoever armed it wants to know that it was reached, and when.
            eprintln!("failpoint {} {:?} {micros}", self.0.name, self.0.action);
            match self.0.action {
                Action::Abort => {
                    let _ = kill_process(getpid(), Signal::KILL);
                    unreachable!("SIGKILL cannot be survived");
                }
                Action::Error => Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())),
                Action::Panic => panic!("failpoint {}", self.0.name),
                Action::Delay(time) => {
                    std::thread::sleep(time);
                    Ok(())
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_armed_is_read_from_words() {
            let arm = parse("storage.mid-append=delay:20@3").expect("well-formed");
            assert_eq!((arm.name, arm.at), ("storage.mid-append", 3));
            assert_eq!(arm.action, Action::Delay(Duration::from_millis(20)));
            assert_eq!(parse("smtp.accepted=abort").expect("well-formed").at, 1);
            for wrong in ["smtp.accepted", "nowhere=abort", "smtp.accepted=burn", "smtp.accepted=abort@x"] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }

        #[test]
        fn no_two_points_share_a_name() {
            let names: std::collections::BTreeSet<_> = Point::ALL.iter().map(|(_, name)| name).collect();
            assert_eq!(names.len(), Point::ALL.len());
        }
    }
}
