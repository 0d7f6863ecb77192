//! Limits as plain cells owned by one thread: rates ([`Gcra`]) and connections ([`Connections`]).

pub mod connections;
pub mod gcra;
pub mod shared;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use shared::SharedConnections;
