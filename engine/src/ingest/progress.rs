//! How far an import is: the counts of its report, stored with each chunk so that it can go on after a crash.

/// Rows of the recipients file by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Rows read, the header row and blank lines not counted.
    pub read: u64,
    /// Recipients in the submission.
    pub accepted: u64,
    /// Rows left out because their address came before.
    pub duplicates: u64,
    /// Rows left out because something is wrong with them.
    pub rejected: u64,
}

/// The import's state after a row was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number that the next accepted row gets: all before it are in this chunk or an earlier one.
    pub next_row: u64,
    pub counts: Counts,
}

/// A stored state does not have the form it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored state of an import has {0} bytes or another version; 33 bytes of version 1 were expected"
)]
pub struct ProgressError(usize);

const VERSION: u8 = 1;

impl Progress {
    /// The counts in the form of `Control::ImportProgress::state`: a version byte, then four numbers of eight bytes,
    /// least significant byte first.
    pub fn state(&self) -> Vec<u8> {
        let Counts { read, accepted, duplicates, rejected } = self.counts;
        let mut state = vec![VERSION];
        for count in [read, accepted, duplicates, rejected] {
            state.extend_from_slice(&count.to_le_bytes());
        }
        state
    }

    /// What was stored by way of [`Progress::state`].
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_state(next_row: u64, state: &[u8]) -> Result<Progress, ProgressError> {
        let error = ProgressError(state.len());
        let Some((&VERSION, numbers)) = state.split_first() else { return Err(error) };
        let (numbers, []) = numbers.as_chunks::<8>() else { return Err(error) };
        let &[read, accepted, duplicates, rejected] = numbers else { return Err(error) };
        let [read, accepted, duplicates, rejected] =
            [read, accepted, duplicates, rejected].map(u64::from_le_bytes);
        Ok(Progress { next_row, counts: Counts { read, accepted, duplicates, rejected } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_back() {
        let counts = Counts { read: 10, accepted: 7, duplicates: 2, rejected: u64::MAX };
        let progress = Progress { next_row: 7, counts };
        assert_eq!(Progress::from_state(7, &progress.state()), Ok(progress));
        assert_eq!(Progress::from_state(7, b""), Err(ProgressError(0)));
        assert_eq!(Progress::from_state(7, &[1; 34]), Err(ProgressError(34)));
        assert_eq!(Progress::from_state(7, &[2; 33]), Err(ProgressError(33)));
    }
}
