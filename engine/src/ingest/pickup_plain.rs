//! Plain pickup files: `x-sender`, one or more `x-receiver`, then the message (reference 5.2).

use super::pickup::{
    Lines, MAX_ENVELOPE_LINE, MAX_RECIPIENTS, PickupError, PickupMessage, PickupOptions, PickupProblem, error,
};
use super::pickup_text::{Control, MessageText, field, sender_address};
use crate::smtp::dsn::RecipientDsn;

pub(super) fn parse(
    lines: &mut Lines<'_>,
    options: &PickupOptions<'_>,
) -> Result<PickupMessage, PickupError> {
    let mut text = MessageText::new(options, lines.remaining());
    text.read_envelope_headers();
    let sender = sender(lines, options.domain_suffix)?;
    let mut taken = PickupMessage::default();
    let mut next = envelope(lines, &mut text, options, &mut taken)?;
    while let Some(line) = next {
        let following = lines.next()?;
        let line = if options.remove_dot { unstuffed(line, following.is_none()) } else { Some(line) };
        // The line after this one has been read already.
        let number = lines.number - usize::from(following.is_some());
        if let Some(line) = line {
            text.line(number, line)?;
        }
        next = following;
    }
    let (message, controls) = text.finish(lines.number)?;
    Ok(PickupMessage {
        sender: controls.sender_override.unwrap_or(sender),
        envid: controls.envid.unwrap_or_default(),
        job: controls.job.unwrap_or_default(),
        virtual_mta: controls.virtual_mta.unwrap_or_default(),
        message,
        ..taken
    })
}

/// The first line.
fn sender(lines: &mut Lines<'_>, suffix: &str) -> Result<String, PickupError> {
    let first = lines.next()?.unwrap_or_default();
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    match field(first) {
        Some((name, value)) if Control::named(name) == Some(Control::Sender) => {
            short(1, first)?;
            sender_address(1, Control::Sender.field(), value, suffix)
        }
        _ => error(1, PickupProblem::Start),
    }
}

/// The envelope's other lines, with the recipients; returns the line after the envelope.
fn envelope<'f>(
    lines: &mut Lines<'f>,
    text: &mut MessageText,
    options: &PickupOptions<'_>,
    taken: &mut PickupMessage,
) -> Result<Option<&'f [u8]>, PickupError> {
    let next = loop {
        let Some(line) = lines.next()? else { break None };
        let number = lines.number;
        let Some((name, value)) = field(line) else { break Some(line) };
        match Control::named(name) {
            Some(Control::Sender) => return error(number, PickupProblem::Twice { field: "x-sender" }),
            Some(Control::Receiver) if taken.recipients.len() + taken.refused.len() == MAX_RECIPIENTS => {
                return error(number, PickupProblem::ManyRecipients);
            }
            Some(Control::Receiver) => {
                short(number, line)?;
                match options.recipient(value) {
                    Ok(recipient) => taken.recipients.push(recipient),
                    Err(why) => {
                        let given = String::from_utf8_lossy(value);
                        if !options.accept_invalid {
                            return error(number, why.problem(Control::Receiver.field(), &given));
                        }
                        taken.refused.push(why.bounce(&given, false, RecipientDsn::default()));
                    }
                }
            }
            Some(control) if text.reads(control) => {
                short(number, line)?;
                text.controls.set(number, control, value)?;
            }
            _ => break Some(line),
        }
    };
    if taken.recipients.is_empty() && taken.refused.is_empty() {
        return error(lines.number, PickupProblem::NoRecipient { field: "a line `x-receiver: user@domain`" });
    }
    Ok(next)
}

fn short(number: usize, line: &[u8]) -> Result<(), PickupError> {
    if line.len() > MAX_ENVELOPE_LINE {
        return error(number, PickupProblem::LongLine { bytes: line.len(), max: MAX_ENVELOPE_LINE });
    }
    Ok(())
}

/// The line as it was before dot-stuffing; none for the single dot that ended the message.
fn unstuffed(line: &[u8], last: bool) -> Option<&[u8]> {
    match line {
        b"." if last => None,
        [b'.', rest @ ..] if rest.starts_with(b".") => Some(rest),
        _ => Some(line),
    }
}
