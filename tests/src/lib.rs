//! What the end-to-end tests and the measuring programs share: an engine on ground of its own, mail to give it, and
//! the accounts that must agree afterwards.

pub mod accounting;
pub mod campaign;
pub mod crash;
pub mod engine;
pub mod ground;
pub mod mta;
pub mod peer;
pub mod sim;
pub mod trace;
pub mod wait;
