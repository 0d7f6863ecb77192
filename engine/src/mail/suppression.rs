//! Recipients that get no mail, whatever the message: asked before a recipient is accepted.

use super::address::AddressRef;
use std::fmt;
use std::sync::Arc;

/// Gives the name of the list that an address is in.
type ListOf = dyn Fn(AddressRef<'_>) -> Option<Arc<str>> + Send + Sync;

/// Lists of recipients that get no mail.
#[derive(Clone)]
pub struct Suppression(Arc<ListOf>);

impl Suppression {
    pub fn new(list_of: impl Fn(AddressRef<'_>) -> Option<Arc<str>> + Send + Sync + 'static) -> Suppression {
        Suppression(Arc::new(list_of))
    }

    /// Why an address gets no mail, if it gets none.
    pub fn refuses(&self, address: AddressRef<'_>) -> Option<Suppressed> {
        (self.0)(address).map(Suppressed)
    }
}

impl fmt::Debug for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Suppression")
    }
}

/// The list that a recipient is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recipient is in suppression list \"{0}\"")]
pub struct Suppressed(pub Arc<str>);
