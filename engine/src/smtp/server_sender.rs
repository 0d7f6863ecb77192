//! A sender that is looked into before MAIL is answered: what the client has sent behind it waits.

use super::server::{Phase, ServerEvent, Session};
use crate::base::Now;

impl Session {
    /// MAIL is right as far as it goes.
    pub(super) fn name_sender(&mut self) {
        let Some(envelope) = self.envelope.as_ref().filter(|_| self.options.check_sender) else {
            let verb = self.envelope.as_ref().map_or("MAIL", |envelope| envelope.verb());
            return self.reply(format_args!("250 2.1.0 {verb} ok"));
        };
        let (sender, helo, user) = (envelope.sender.clone(), envelope.helo.clone(), envelope.user.clone());
        self.phase = Phase::Deciding;
        self.event(ServerEvent::Sender { sender, helo, user });
    }

    /// The sender may send; `found` is what is known of it, and goes with the message.
    pub fn sender_accepted(&mut self, now: Now, found: String) {
        let Some(envelope) = &mut self.envelope else { return };
        envelope.found = found;
        let verb = envelope.verb();
        self.decide(now, format_args!("250 2.1.0 {verb} ok"));
    }

    /// The sender may not, with a code from 400 to 599 and text that begins with an enhanced status.
    pub fn sender_refused(&mut self, now: Now, code: u16, text: &str) {
        self.drop_transaction();
        self.rejected(now, code, text);
    }
}
