//! What everything else stands on: time as a value.

pub mod time;

pub use time::{Now, Time, Wall};
