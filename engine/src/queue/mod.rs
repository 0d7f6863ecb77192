//! Queues (`domain/vmta`): who waits, who may go, and why not.

pub mod adaptive;
#[cfg(test)]
mod adaptive_test;
mod charge;
mod class;
pub mod expiry;
mod failing;
pub mod gate;
pub mod list;
pub mod name;
mod per_source;
mod ranks;
mod rates;
mod ready;
mod retry;
pub mod settings;
pub mod slot;
mod wide;

#[cfg(test)]
mod tests;

#[allow(clippy::module_inception)] // The noun of this directory.
pub mod queue;

pub use adaptive::{Adaptive, AdaptiveTerms, Level, Refusal, Step};
pub use charge::Charge;
pub use class::Class;
pub use expiry::{Calendar, Expiry, Terms};
pub use gate::{Gate, SourceLimit, Wait, WaitReason};
pub use list::List;
pub use name::QueueName;
pub use per_source::{PerSource, SourceRules};
pub use queue::{Counters, LastError, Queue, Taken};
pub use settings::QueueSettings;
pub use slot::{Slot, Slots};
