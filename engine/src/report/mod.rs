//! Reports of what has become of mail, as mail (RFC 3461, 3464).

pub mod notification;

pub use notification::{Action, Format, Notification, Original, compose};
