//! One recipient through its queue.

use posthaste::base::{Now, Time, Wall};
use posthaste::limit::Rate;
use posthaste::queue::{Expiry, Queue, QueueName, QueueSettings, Slot, Slots, Taken};
use posthaste::spool::record::{Disposition, Location, RowRef};
use std::sync::Arc;

/// A recipient waits, is taken, delivered and forgotten, and the next one comes: with a thousand before it.
pub fn one(max_msg_rate: Option<Rate>) -> impl FnMut() {
    let settings = QueueSettings { max_msg_rate, ..QueueSettings::default() };
    let mut queue = Queue::new(QueueName::new("example.com", "vmta-1"), Arc::new(settings));
    let mut now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_000_000) };
    let (mut slots, mut taken, expiry) = (Slots::new(), Taken::default(), Expiry::new(now));
    let add = |queue: &mut Queue, slots: &mut Slots, now: Now, n: u32| {
        let row = RowRef { record: Location { segment: 1, offset8: n }, ordinal: n, index: 0 };
        let key = slots.insert(Slot::new(row, 1));
        queue.push(slots, key, now.mono);
    };
    (0..1000).for_each(|n| add(&mut queue, &mut slots, now, n));
    move || {
        now.mono = Time(now.mono.0 + 2);
        let accepted = |_| Wall::from_secs(1_000_000);
        queue.take(&mut slots, now, 1, &expiry, accepted, &mut taken).expect("somebody may go");
        for key in taken.batch.drain(..) {
            slots.remove(key);
            queue.settled(Disposition::Delivered);
        }
        add(&mut queue, &mut slots, now, 7);
    }
}
