//! A volume that several shards share; each has its turn.

use super::turns::Turns;
use super::{Volume, VolumeRate};
use crate::base::Time;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct SharedVolume {
    cell: Mutex<(Volume, Turns)>,
}

impl SharedVolume {
    pub fn new(rate: VolumeRate) -> SharedVolume {
        SharedVolume { cell: Mutex::new((Volume::new(rate), Turns::default())) }
    }

    fn cell(&self) -> MutexGuard<'_, (Volume, Turns)> {
        // Nothing panics while it is held.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, rate: VolumeRate) {
        let (volume, _) = &mut *self.cell();
        if volume.rate() != rate {
            volume.set(rate);
        }
    }

    /// Whether `shard` may begin a message; `Err` says when to ask again, and the rate.
    pub fn look(&self, shard: u32, now: Time) -> Result<(), (Time, VolumeRate)> {
        let (volume, turns) = &*self.cell();
        let looked = volume.look(now).and_then(|()| turns.look(shard, now, volume.earliest()));
        looked.map_err(|until| (until, volume.rate()))
    }

    /// Counts a message that begins now; false: not now.
    pub fn begin(&self, shard: u32, now: Time, bytes: u64) -> bool {
        let (volume, turns) = &mut *self.cell();
        let begun = volume.begin(now, bytes).is_ok();
        if begun {
            turns.took(shard, now, 1, 1);
        }
        begun
    }

    /// A message has arrived, or has not.
    pub fn ended(&self, now: Time, bytes: u64, delivered: bool) {
        self.cell().0.ended(now, bytes, delivered);
    }

    /// `shard` was refused, and comes again.
    pub fn join(&self, shard: u32, now: Time) {
        self.cell().1.join(shard, now);
    }

    /// Nobody of `shard` waits for it any more.
    pub fn leave(&self, shard: u32, now: Time) {
        self.cell().1.leave(shard, now);
    }
}
