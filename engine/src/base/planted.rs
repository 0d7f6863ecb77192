//! Planted bugs: each breaks one rule that a layer of the tests has to see broken, which shows that the layer can fail.
//! Feature `planted`, for the program `planted` of the tests alone; without it [`planted`] is constant and nothing of
//! a bug is compiled. With it `POSTHASTE_PLANT` names the one bug that is alive.

macro_rules! bugs {
    ($($(#[$text:meta])* $bug:ident $name:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[$text])* $bug),* }

        #[cfg(feature = "planted")]
        impl Bug {
            pub const ALL: &[(Bug, &str)] = &[$((Bug::$bug, $name)),*];
        }
    };
}

bugs! {
    /// The receipt is given when the group is written (R1).
    AckBeforeSync "ack-before-sync"
    /// Names of segments are not made durable (R1c, F06).
    SkipDirectorySync "skip-directory-sync"
    /// A sync that failed is tried again, and its success believed (R2, F14).
    BelieveSecondSync "believe-second-sync"
    /// Frames are taken as they are read (F16).
    NoChecksum "no-checksum"
    /// Recovery leaves out the last record of each segment (F01).
    DropLastRecord "drop-last-record"
    /// All segments share one nonce (R4).
    ReuseNonce "reuse-nonce"
    /// Outcomes are dropped while there is no space (R7).
    LoseOutcomeOnFullDisk "lose-outcome-on-full-disk"
    /// Accounting may read what is not durable (R6).
    CsvBeforeOutcome "csv-before-outcome"
    /// A connection lost after the final dot counts as an ordinary deferral (R11).
    RetryWithoutInDoubt "retry-without-in-doubt"
    /// LF `.` LF ends a message (A01).
    BareLfEndsData "bare-lf-ends-data"
}

/// Whether this bug is alive.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this bug is alive.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    use std::sync::LazyLock;
    static ALIVE: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var("POSTHASTE_PLANT").ok().filter(|name| !name.is_empty())?;
        let found = Bug::ALL.iter().find(|(_, known)| *known == name);
        Some(found.unwrap_or_else(|| panic!("POSTHASTE_PLANT: there is no bug called {name:?}")).0)
    });
    *ALIVE == Some(bug)
}
