//! What all shards of an engine count together. A connection costs sixty microseconds, so that a lock for each does not show.

use super::{Place, Places, Rate, SharedRate, SharedVolume, VolumeRate};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// See the module's text.
#[derive(Debug)]
pub struct Shared {
    pub places: Places,
    /// `total-max-smtp-out`; `u32::MAX` is unlimited.
    total: AtomicU32,
    vmtas: Mutex<BTreeMap<Arc<str>, Wide>>,
}

/// The rates of a virtual MTA, over all its queues.
#[derive(Clone, Debug, Default)]
pub struct Wide {
    /// `max-smtp-msg-rate`
    pub messages: Option<Arc<SharedRate>>,
    /// `max-smtp-data-volume-rate`
    pub volume: Option<Arc<SharedVolume>>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::new(u32::MAX)
    }
}

impl Shared {
    /// With this `total-max-smtp-out`; `u32::MAX` is unlimited.
    pub fn new(total: u32) -> Shared {
        Shared { places: Places::default(), total: AtomicU32::new(total), vmtas: Mutex::default() }
    }

    pub fn total(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// Takes effect for new connections.
    pub fn set_total(&self, limit: u32) {
        self.total.store(limit, Ordering::Relaxed);
    }

    /// Connections of all queues open now.
    pub fn open(&self) -> u32 {
        self.places.open(&Place::Total)
    }

    /// The rates of a virtual MTA, as they are from now on; what was counted so far stays counted.
    pub fn wide(&self, vmta: &Arc<str>, messages: Option<Rate>, volume: Option<VolumeRate>) -> Wide {
        if messages.is_none() && volume.is_none() {
            return Wide::default();
        }
        // Nothing panics while it is held.
        let mut vmtas = self.vmtas.lock().unwrap_or_else(PoisonError::into_inner);
        let known = vmtas.entry(vmta.clone()).or_default();
        Wide {
            messages: messages.map(|rate| {
                let shared = known.messages.get_or_insert_with(|| Arc::new(SharedRate::new(rate, u32::MAX)));
                shared.set(rate, u32::MAX);
                shared.clone()
            }),
            volume: volume.map(|rate| {
                let shared = known.volume.get_or_insert_with(|| Arc::new(SharedVolume::new(rate)));
                shared.set(rate);
                shared.clone()
            }),
        }
    }
}
