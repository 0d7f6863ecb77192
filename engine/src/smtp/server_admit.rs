//! Which recipients are taken: those of ours or of clients who may relay, and nobody who is to get no mail.

use super::server::{OneLine, Relay, Session};
use crate::mail::{Address, normalise_domain};

impl Session {
    /// Whether a recipient is taken; if not, the client is told why.
    pub(super) fn admits(&mut self, address: &Address) -> bool {
        if !self.relays(address) {
            self.refuse("550 5.7.1 relaying denied");
            return false;
        }
        let suppression = self.options.suppression.as_ref();
        if let Some(suppressed) = suppression.and_then(|lists| lists.refuses(address.as_ref())) {
            // Not counted as an error: a campaign may have hundreds of them.
            self.reply(format_args!("550 5.7.1 {}", OneLine(&suppressed.to_string())));
            return false;
        }
        true
    }

    /// Whether mail to `address` is taken (A20). Where relaying is closed, a local part that holds a further address (`%`,
    /// `!`, quoted `@`) is none of ours, whatever the domain: somebody behind us might unpack it.
    fn relays(&self, address: &Address) -> bool {
        let Relay::Closed { to } = &self.options.relay else { return true };
        let mut domain = String::new();
        let routed = address.local().contains(['%', '!', '@', ':', ',']);
        !routed && normalise_domain(address.domain(), &mut domain).is_ok() && to.contains(&domain)
    }
}
