//! Which recipients are taken: those of ours or of clients who may relay, and nobody who is to get no mail.

use super::dsn::RecipientDsn;
use super::refused::{RefusedRecipient, TakenIn};
use super::server::{OneLine, Relay, Session};
use crate::mail::{Address, normalise_domain};

impl Session {
    /// Takes a recipient, or says why not.
    pub(super) fn take(&mut self, address: &Address, reports: RecipientDsn) {
        if !self.relays(address) {
            let debug = self.options.relay_debug;
            return self.refuse(if debug {
                "450 4.7.1 relaying denied"
            } else {
                "550 5.7.1 relaying denied"
            });
        }
        let recipient = address.as_str();
        let suppression = self.options.suppression.as_ref();
        if let Some(suppressed) = suppression.and_then(|lists| lists.refuses(address.as_ref())) {
            if self.takes_in() {
                return self.turn_down(RefusedRecipient::suppressed(recipient, &suppressed, reports));
            }
            // Not counted as an error: a campaign may have hundreds of them.
            return self.reply(format_args!("550 5.7.1 {}", OneLine(&suppressed.to_string())));
        }
        let Some(envelope) = &mut self.envelope else { return };
        if let Err(e) = envelope.add(recipient, reports) {
            return self.refuse(format_args!("{} {e}", e.code()));
        }
        self.reply(format_args!("250 2.1.5 <{recipient}> ok"));
    }

    /// Refuses a recipient, or takes him in to be bounced.
    pub(super) fn turn_down(&mut self, recipient: RefusedRecipient) {
        if !self.takes_in() {
            return self.refuse(OneLine(&recipient.reply));
        }
        let taken = TakenIn(&recipient).to_string();
        let Some(envelope) = &mut self.envelope else { return };
        if let Err(e) = envelope.add_refused(recipient) {
            return self.refuse(format_args!("{} {e}", e.code()));
        }
        self.reply(taken);
    }

    /// Whether recipients that cannot be are taken in and bounced. Those who may not relay are refused whatever is asked
    /// for: anybody could have reports sent to whomever he names as the sender.
    fn takes_in(&self) -> bool {
        self.options.accept_invalid && matches!(self.options.relay, Relay::Open)
    }

    /// Whether mail to `address` is taken (A20). Where relaying is closed, a local part that holds a further address (`%`,
    /// `!`, quoted `@`) is none of ours, whatever the domain: somebody behind us might unpack it.
    fn relays(&self, address: &Address) -> bool {
        let Relay::Closed { to } = &self.options.relay else { return true };
        let mut domain = String::new();
        let routed = address.local().contains(['%', '!', '@', ':', ',']);
        !routed
            && normalise_domain(address.domain(), &mut domain).is_ok()
            && to.contains(address.local(), &domain)
    }
}
