//! Mail as text: addresses, header blocks, transfer encodings, and message content that is merged with the values
//! of each recipient. Pure: bytes in, bytes out.

pub mod address;
pub mod comment;
pub mod content;
pub mod encode;
pub mod encoded_word;
pub mod fault;
pub mod header;
pub mod hours;
pub mod leaving;
pub mod lines;
pub mod plain;
pub mod priority;
pub mod rewrite;
pub mod row;
pub mod schedule;
pub mod seven_bit;
pub mod suppression;
pub mod verp;

mod attached;
mod compile;
mod edits;
mod escape;
mod header_fields;
mod header_use;
mod jinja;
mod mailbox_list;
pub mod merge;
mod parts;
mod printable;
mod program;
mod recipient;
mod stored;
mod tags;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod template_test;

pub use address::{Address, AddressError, AddressRef, check, normalise_domain, queue_domain};
pub use content::{Attached, Content, Fixed, Row, Syntax, Template, TemplateSource};
pub use fault::{ContentError, RenderError, TemplateError, TemplateProblem};
pub use mailbox_list::addresses;
pub use plain::{PlainError, PlainOptions, Received, prepare_plain};
pub use printable::Printable;
pub use tags::nearest;
