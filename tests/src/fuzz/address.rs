//! An address that is taken is exactly the bytes given, survives every way it takes through the engine, and has one normal
//! form of its domain; one that is refused is refused in words fit for a terminal.

use posthaste::base::Now;
use posthaste::mail::{Address, AddressRef, check, normalise_domain};
use posthaste::smtp::server::{Relay, ServerEvent, ServerOptions, Session};

use super::input::assert_printable;

pub fn address(data: &[u8]) {
    let checked = match check(data) {
        Ok(checked) => checked,
        Err(error) => {
            assert_printable(&error.to_string());
            assert!(
                std::str::from_utf8(data).is_err() || Address::parse(&String::from_utf8_lossy(data)).is_err()
            );
            return;
        }
    };
    let text = checked.as_str();
    assert_eq!(text.as_bytes(), data);
    assert_eq!(format!("{}@{}", checked.local(), checked.domain()), text);
    assert!(text.len() <= 254 && !text.chars().any(char::is_control), "{text:?}");
    let owned = Address::parse(text).expect("the same rules");
    assert_eq!((owned.as_ref(), owned.as_ref().needs_smtputf8()), (checked, !checked.local().is_ascii()));
    normal(checked);
    assert_eq!(through_smtp(text), Some(vec![text.to_owned()]));
}

/// The normal form is ASCII, its own normal form, and a domain of the same recipient.
fn normal(address: AddressRef<'_>) {
    let (mut once, mut twice, mut upper) = Default::default();
    normalise_domain(address.domain(), &mut once).expect("a domain that was taken");
    normalise_domain(&once, &mut twice).expect("a normal form");
    assert!(once == twice && once.is_ascii() && once == once.to_ascii_lowercase(), "{once:?} {twice:?}");
    if address.domain().is_ascii() {
        normalise_domain(&address.domain().to_ascii_uppercase(), &mut upper).expect("the same domain");
        assert_eq!(once, upper);
    }
    let rewritten = format!("{}@{once}", address.local());
    if rewritten.len() <= 254 {
        assert_eq!(check(rewritten.as_bytes()).map(|a| a.local()), Ok(address.local()), "{rewritten:?}");
    }
}

/// The recipients of a session in which the address is written into a command.
fn through_smtp(text: &str) -> Option<Vec<String>> {
    let options = ServerOptions { relay: Relay::Open, ..ServerOptions::new("mx.example") };
    let mut session = Session::new(options, Now::default(), 1);
    let wire =
        format!("EHLO x\r\nMAIL FROM:<{text}> SMTPUTF8\r\nRCPT TO:<{text}>\r\nDATA\r\nFrom: a\r\n\r\n.\r\n");
    wire.split_inclusive('\n').for_each(|line| session.handle_bytes(Now::default(), line.as_bytes()));
    match session.poll_event()? {
        ServerEvent::Message(envelope, _) if envelope.sender == text => Some(envelope.recipients),
        _ => None,
    }
}
