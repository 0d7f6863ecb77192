//! Limits as plain cells owned by one thread: rates ([`Gcra`]) and connections ([`Connections`]); and those that all
//! threads share ([`Shared`]).

pub mod connections;
pub mod gcra;
pub mod places;
pub mod shared;
pub mod shared_rate;
mod turns;
pub mod volume;

pub use connections::{ConnectionGrant, Connections};
pub use gcra::{Gcra, Rate};
pub use places::{Needs, Place, Places, Told};
pub use shared::{Shared, SharedConnections};
pub use shared_rate::SharedRate;
pub use volume::{Volume, VolumeRate};
