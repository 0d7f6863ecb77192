//! Limits as plain cells owned by one thread: rates ([`Gcra`]) and connections ([`Connections`]); those that all
//! threads share ([`Shared`]); and the days of a warm-up ([`Warming`]).

pub mod connections;
pub mod gcra;
pub mod places;
pub mod shared;
pub mod shared_rate;
mod turns;
pub mod volume;
pub mod warming;
pub mod warming_book;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use places::{Needs, Place, Places, Told};
pub use shared::{Shared, SharedConnections};
pub use shared_rate::SharedRate;
pub use volume::{Volume, VolumeRate};
pub use warming::{Course, Day, Outcomes, Terms, Warming};
pub use warming_book::{Book, Candidate, Pair};
