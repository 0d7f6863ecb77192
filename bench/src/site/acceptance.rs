//! What happens at the end of a message: the limits of size, the verdicts held for the final dot, the faults
//! that strike there, the counts and the ledger.

use super::behaviour::Stage;
use super::dialogue::{Act, Dialogue};
use super::door::Door;
use super::ledger::{self, Delivery, LedgerMode};

impl Dialogue {
    /// The end of the content was read. `stuffed` where it came with DATA.
    pub(super) fn end_of_message(
        &mut self,
        door: &mut Door,
        now: u64,
        stuffed: bool,
        out: &mut Vec<u8>,
    ) -> Act {
        door.dot(self.source, now);
        let act = self.judge(door, now, stuffed, out);
        self.reset();
        act
    }

    fn judge(&mut self, door: &mut Door, now: u64, stuffed: bool, out: &mut Vec<u8>) -> Act {
        let b = self.behaviour.clone();
        if b.max_size().is_some_and(|max| self.content.size > max) {
            self.count_message(door, b'5');
            return self.say(door, &b.wording.too_big, "", out);
        }
        if let Some(text) = self.verdict.take() {
            self.count_message(door, text.as_bytes().first().copied().unwrap_or_default());
            let to = self.last_recipient().to_string();
            return self.say(door, &text, &to, out);
        }
        let before = out.len();
        if !b.faults.is_empty() {
            let to = self.last_recipient().to_string();
            if let Some(act) = self.strike(door, Stage::Dot, &to, out) {
                if let Some(first) = out.get(before).copied().filter(|first| *first != b'2') {
                    self.count_message(door, first);
                } else {
                    // No reply at all: the message is ours, and only the sender does not know it (S05).
                    let unacknowledged = u64::from(out.len() == before);
                    door.tally(self.source, |t| t.counts.messages_unacknowledged += unacknowledged);
                    self.accept(door, now, stuffed, out.len() > before);
                }
                return act;
            }
        }
        self.accept(door, now, stuffed, true);
        self.say(door, &b.wording.accepted, "", out)
    }

    fn accept(&mut self, door: &mut Door, now: u64, stuffed: bool, acknowledged: bool) {
        let (size, recipients) = (self.content.size, self.recipient_count);
        door.tally(self.source, |t| t.accepted(now, size, recipients));
        if !self.gather {
            return;
        }
        let bare_line_ends = ledger::bare_line_ends(&self.content.gathered);
        if stuffed {
            ledger::unstuff(&mut self.content.gathered);
        }
        let (id, body_hash) = ledger::identify(&self.content.gathered);
        for recipient in self.recipients.split_terminator('\n') {
            let keep = door.ledger_mode == LedgerMode::Messages;
            let delivery = Delivery {
                recipient: recipient.to_string(),
                sender: self.from.clone(),
                id: id.clone(),
                at_us: now,
                size: self.content.gathered.len() as u64,
                body_hash,
                door: door.name.clone(),
                source: self.ip,
                acknowledged,
                bare_line_ends,
                message: keep.then(|| self.content.gathered.clone()),
            };
            door.enter(delivery);
        }
    }
}
