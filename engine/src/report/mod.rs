//! Reports of what has become of mail, as mail (RFC 3461, 3464).

pub mod notification;
mod text;

pub use notification::{Action, Format, Notification, Original, compose};
pub use text::{in_mailbox, one_line};
