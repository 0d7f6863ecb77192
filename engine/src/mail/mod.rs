//! Mail as text: addresses, header blocks, transfer encodings, and message content that is merged with the values
//! of each recipient. Pure: bytes in, bytes out.

pub mod address;
pub mod header;
pub mod lines;
pub mod row;

pub use address::{Address, AddressError, AddressRef, check, normalise_domain};
