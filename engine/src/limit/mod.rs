//! Limits: rates ([`Gcra`]) and connections ([`Connections`]) as plain cells owned by one thread, and connections that
//! all owners share ([`SharedConnections`]).

pub mod connections;
pub mod gcra;
pub mod shared;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use shared::{SharedConnections, SharedGrant};
