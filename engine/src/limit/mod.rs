//! Limits as plain cells owned by one thread: rates ([`Gcra`]), connections ([`Connections`]) and the days of a warm-up
//! ([`Warming`]).

pub mod connections;
pub mod gcra;
pub mod shared;
pub mod warming;
pub mod warming_book;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use shared::SharedConnections;
pub use warming::{Course, Day, Outcomes, Terms, Warming};
pub use warming_book::{Book, Candidate, Pair};
