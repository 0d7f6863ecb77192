//! When mail will be delivered: the production queues and limits on a virtual clock, against receivers that behave as told.
//!
//! A [`Course`] is given queues with their profiles and mail that arrives at known times, and runs to the end. What it
//! decides by is what the engine decides by (`queue`, `limit`, the rotation of source addresses); the conversation itself
//! is only the time it takes ([`Receivers`]), no message is made, and nobody replies in a way that steers.

mod course;
#[cfg(test)]
mod course_test;
mod lane;
mod receivers;
mod result;

pub use course::{Arrival, Course};
pub use receivers::Receivers;
pub use result::{Cause, Outlook};
