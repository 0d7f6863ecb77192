//! (module under construction)

pub mod row;
