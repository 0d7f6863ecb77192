//! Queues (`domain/vmta`): who waits, who may go, and why not.

pub mod list;
pub mod slot;

pub use list::List;
pub use slot::{Slot, Slots};
