//! Stored form of the records that are not read in place: `rkyv` archives, always checked before use (A74).
//!
//! The frame's checksum is verified first, so the archive check only ever fails on a defect of our own; it stays
//! on because reading an archive that was never checked is how a defect becomes undefined behaviour.

use super::error::SpoolError;
use super::record::{Control, Location, OutcomeBatch, Submission};
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;

/// Longest archive that is read, in bytes. Content has its own form and is not archived.
const ARCHIVE_MAX: usize = 64 << 20;

macro_rules! stored {
    ($type:ty, $encode:ident, $decode:ident, $what:literal) => {
        #[doc = concat!("The archive of a ", $what, ".")]
        pub fn $encode(value: &$type) -> Result<AlignedVec, String> {
            rkyv::to_bytes::<Error>(value).map_err(|e| e.to_string())
        }

        #[doc = concat!("Checks and reads the ", $what, " at `at`.")]
        pub fn $decode(at: Location, payload: &[u8]) -> Result<$type, SpoolError> {
            let damaged = |why: String| SpoolError::Damaged { at, why };
            if payload.len() > ARCHIVE_MAX {
                return Err(damaged(format!("{} bytes is too long for a {}", payload.len(), $what)));
            }
            if payload.as_ptr().addr() % 8 != 0 {
                // Payloads in segments are aligned; a caller's own copy need not be.
                let mut aligned: AlignedVec = AlignedVec::with_capacity(payload.len());
                aligned.extend_from_slice(payload);
                return rkyv::from_bytes::<$type, Error>(&aligned).map_err(|e| damaged(e.to_string()));
            }
            rkyv::from_bytes::<$type, Error>(payload).map_err(|e| damaged(e.to_string()))
        }
    };
}

stored!(Submission, encode_submission, decode_submission, "submission");
stored!(OutcomeBatch, encode_outcomes, decode_outcomes, "batch of outcomes");
stored!(Control, encode_control, decode_control, "control record");

/// Upper bound of the stored length of a submission header, in bytes.
pub fn submission_bound(s: &Submission) -> usize {
    let strings = [
        &s.sender,
        &s.job,
        &s.envid,
        &s.virtual_mta,
        &s.source_type,
        &s.source_mta,
        &s.received_from_ip,
        &s.received_on_ip,
        &s.smtp_user,
        &s.dsn_ret,
        &s.pickup_identity,
        &s.at_delivery.rewrite_list,
    ];
    let text: usize = strings.iter().map(|text| text.len() + 8).sum();
    512 + text + s.fields.iter().map(|field| field.len() + 16).sum::<usize>()
}

/// Upper bound of the stored length of a control record, in bytes.
pub fn control_bound(control: &Control) -> usize {
    128 + match control {
        Control::ImportProgress { identity, state, .. } => identity.len() + state.len(),
        Control::PickupDone { identity } | Control::PickupForgotten { identity } => identity.len(),
        Control::QueuePaused { queue, .. } | Control::RouteLost { queue, .. } => queue.len(),
        Control::SettledRows { bits, .. } => bits.len(),
        Control::Segments { live } => live.len() * 8,
        Control::Retired { .. } => 0,
        Control::Aborted { records } => records.len() * 8,
        Control::Tried { rows } => rows.len() * 32,
        Control::Carried { .. } => 0,
    }
}

/// Upper bound of the stored length of a batch of outcomes, in bytes.
pub fn outcomes_bound(batch: &OutcomeBatch) -> usize {
    let attempt = |a: &super::record::Attempt| {
        128 + a.queue.len()
            + a.vmta.len()
            + a.vmta_pool.len()
            + a.delivery_type.len()
            + a.source_ip.len()
            + a.destination_ip.len()
            + a.mta.len()
            + a.esmtp.len()
            + a.tls_protocol.len()
            + a.tls_cipher.len()
    };
    128 + batch.attempts.iter().map(attempt).sum::<usize>()
        + batch.said.iter().map(|said| 32 + said.status.len() + said.diagnostic.len()).sum::<usize>()
        + batch.outcomes.len() * 64
        + batch.queue_failures.len() * 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::{Attempt, Disposition, Outcome, QueueFailure, RowRef, Said};
    use proptest::prelude::*;

    fn batch() -> OutcomeBatch {
        let outcome = Outcome {
            row: RowRef { record: Location { segment: 1, offset8: 1024 }, ordinal: 9, index: 3 },
            submission: Location { segment: 1, offset8: 1000 },
            disposition: Disposition::Deleted { quiet: true },
            at: 1_700_000_000_000,
            attempt: 0,
            said: 0,
            size: 2048,
            attempts: 2,
        };
        OutcomeBatch {
            attempts: vec![Attempt { queue: "a.example/v1".into(), ..Attempt::default() }],
            said: vec![Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 ok".into() }],
            outcomes: vec![outcome; 3],
            queue_failures: vec![QueueFailure { at: 5, attempt: 0, said: 0 }],
        }
    }

    #[test]
    fn outcomes_read_back_and_keep_to_their_bound() {
        let bytes = encode_outcomes(&batch()).expect("encodes");
        assert!(bytes.len() <= outcomes_bound(&batch()), "{} bytes", bytes.len());
        assert_eq!(decode_outcomes(Location::START, &bytes), Ok(batch()));
        // A copy that is not aligned is read as well.
        let mut shifted = vec![0];
        shifted.extend_from_slice(&bytes);
        assert_eq!(decode_outcomes(Location::START, &shifted[1..]), Ok(batch()));
    }

    #[test]
    fn a_submission_keeps_to_its_bound() {
        let mut submission = Submission { sender: "bounce@news.example".into(), ..Submission::default() };
        submission.fields = (0..50).map(|n| format!("field-{n}")).collect();
        let bytes = encode_submission(&submission).expect("encodes");
        assert!(bytes.len() <= submission_bound(&submission), "{} bytes", bytes.len());
        assert_eq!(decode_submission(Location::START, &bytes), Ok(submission));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_submission(Location::START, &bytes);
            let _ = decode_outcomes(Location::START, &bytes);
            let _ = decode_control(Location::START, &bytes);
        }

        #[test]
        fn flipped_archives_are_read_or_refused_without_panic(at in 0usize..10_000, bit in 0u8..8) {
            let mut bytes = encode_outcomes(&batch()).expect("encodes");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = decode_outcomes(Location::START, &bytes);
        }
    }
}
