//! What a message still gains and loses as it is delivered. Nothing of it is stored: it goes by the virtual MTA and the
//! domain that the message has come to, and by the configuration of that moment.

use super::edits::Edits;
use super::header::Header;
use super::rewrite::{self, Rewrites};

/// What is done to a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaving<'a> {
    pub rewrites: Option<&'a dyn Rewrites>,
}

impl Leaving<'_> {
    /// The message as it leaves; `None` where it leaves as it is.
    pub fn changed(&self, message: &[u8]) -> Option<Vec<u8>> {
        let rewrites = self.rewrites?;
        let header = Header::scan(message);
        let mut edits = Edits::of(message);
        rewrite::from_header(&header, rewrites, &mut edits);
        (!edits.is_empty()).then(|| edits.apply())
    }
}
