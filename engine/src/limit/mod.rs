//! Limits as plain cells owned by one thread: rates ([`Gcra`]) and connections ([`Connections`]); those that all
//! threads share ([`Shared`]); and the days of a warm-up ([`Warming`]).

pub mod connections;
pub mod gcra;
pub mod places;
mod row;
pub mod shared;
pub mod shared_rate;
pub mod shared_volume;
mod turns;
pub mod volume;
pub mod warming;
pub mod warming_book;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use places::{Hold, Needs, Place, Places, Told};
pub use row::{QueuePriority, Rank, Row};
pub use shared::{Shared, Wide};
pub use shared_rate::SharedRate;
pub use shared_volume::SharedVolume;
pub use volume::{Volume, VolumeRate};
pub use warming::{Course, Day, Outcomes, Terms, Warming};
pub use warming_book::{Book, Candidate, Pair};
