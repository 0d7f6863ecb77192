//! Whom a recipient stands with among those of its queue.

use crate::mail::priority::Priority;

/// Those of one class stand in one list, in the order in which they came. Classes of the same priority take turns, so that
/// a job does not wait for all of one that came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u32);

/// Bits of a class that tell jobs apart. Of more jobs than that, some stand in line together.
const JOB_BITS: u32 = 25;

const _: () = assert!((Priority::MOST as u32) < 1 << (u32::BITS - JOB_BITS));

impl Class {
    /// `job` is the owner's number for it.
    pub fn new(priority: Priority, job: u32) -> Class {
        Class((priority.rank() as u32) << JOB_BITS | job & ((1 << JOB_BITS) - 1))
    }

    /// Its place among the others, the highest priority first.
    pub(super) fn rank(self) -> u64 {
        u64::from(self.0)
    }

    /// The class of a rank, whatever stands before it.
    pub(super) fn of_rank(rank: u64) -> Class {
        Class(rank as u32)
    }

    /// Ranks of one priority are the same above these bits.
    pub(super) const WITHIN_PRIORITY: u32 = JOB_BITS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_goes_before_the_job() {
        let class = |priority, job| Class::new(Priority::new(priority), job);
        let order = [class(100, 7), class(50, 0), class(50, 1), class(49, 0), class(0, 9)];
        assert!(order.is_sorted_by_key(|class| class.rank()));
        assert_eq!(class(50, 1 << JOB_BITS), class(50, 0));
        for class in order {
            assert_eq!(Class::of_rank(77 << 32 | class.rank()), class);
        }
    }
}
