//! Which virtual MTA a message goes through (reference 1.4 rule 12): what the message asks for itself, then the pattern list
//! of its source, then the source's default.

use super::handed::Handed;
use super::intake::Refused;
use super::profiles::Configured;
use crate::mail::PlainError;
use crate::mail::header::{self, Header};
use crate::mail::priority::Priority;
use crate::smtp::dsn::{Notify, RecipientDsn};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use vmta_config::{Letter, SourceSettings};

/// What a pattern list is shown: the header is looked at only when a line asks for one.
struct Shown<'a> {
    sender: &'a str,
    recipients: &'a [String],
    message: &'a [u8],
    header: OnceCell<Header<'a>>,
}

impl Letter for Shown<'_> {
    fn sender(&self) -> &str {
        self.sender
    }

    fn any_recipient(&self, fits: &dyn Fn(&str) -> bool) -> bool {
        self.recipients.iter().any(|recipient| fits(recipient))
    }

    fn any_header(&self, name: &str, fits: &dyn Fn(&[u8]) -> bool) -> bool {
        let header = self.header.get_or_init(|| Header::scan(self.message));
        header.all(name).any(|field| fits(&self.message[field.value.clone()]))
    }
}

/// How a message leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The VMTA or pool it goes through, and its members.
    pub virtual_mta: String,
    pub members: Vec<String>,
    pub priority: Priority,
}

/// `asked` is the virtual MTA that the message asks for itself; a pattern list may give it a priority all the same.
pub fn way(
    asked: Option<String>,
    handed: &Handed<'_>,
    source: &SourceSettings,
    configured: &Configured,
) -> Result<Way, Refused> {
    let Handed { sender, recipients, message, .. } = *handed;
    let shown = Shown { sender, recipients, message, header: OnceCell::new() };
    let listed = source.pattern_list.as_deref().map(|list| configured.config.choose(list, &shown));
    let listed = listed.unwrap_or_default();
    let priority = listed.priority.map(Priority::new).unwrap_or_default();
    let virtual_mta = asked
        .or_else(|| listed.virtual_mta.map(str::to_owned))
        .or_else(|| by_default(handed.local_ip, source, configured))
        .unwrap_or_default();
    match configured.members(&virtual_mta) {
        Some(members) => Ok(Way { virtual_mta, members, priority }),
        None if source.reject_invalid_virtual_mta => Err(Refused::NoSuchVmta(virtual_mta)),
        None => {
            let (virtual_mta, members) = fallback(virtual_mta, configured);
            Ok(Way { virtual_mta, members, priority })
        }
    }
}

/// Where messages go that name a virtual MTA which is not there: `invalid-virtual-mta-fallback`.
fn fallback(asked: String, configured: &Configured) -> (String, Vec<String>) {
    let named = configured.config.global().invalid_virtual_mta_fallback.as_deref();
    let members = named.and_then(|name| Some((name.to_owned(), configured.members(name)?)));
    members.unwrap_or_else(|| (asked, vec!["{default}".to_owned()]))
}

/// `default-virtual-mta`, which may mean whoever has the address that the client connected to.
fn by_default(local_ip: &str, source: &SourceSettings, configured: &Configured) -> Option<String> {
    match source.default_virtual_mta.as_deref() {
        Some("by-smtp-source-ip") => {
            let address: IpAddr = local_ip.parse().ok()?;
            configured.owner(address.to_canonical()).map(str::to_owned)
        }
        named => named.map(str::to_owned),
    }
}

/// A finished message with a header that names its virtual MTA or pool, where the source wants one.
pub fn named(message: Vec<u8>, through: &str, source: &SourceSettings) -> Result<Vec<u8>, Refused> {
    if !source.add_x_virtual_mta_header {
        return Ok(message);
    }
    let mut out = Vec::with_capacity(message.len() + 64);
    let name = if through.is_empty() { "{default}" } else { through };
    header::insert(&mut out, "X-Virtual-MTA", name).map_err(PlainError::from)?;
    if Header::scan(&message).fields().first().is_some_and(|field| field.name.is_empty()) {
        // The message begins with its body; our header must not swallow it.
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&message);
    Ok(out)
}

/// Who gets a copy beside the recipients: nobody twice.
pub fn copied<'a>(recipients: &[String], source: &'a SourceSettings) -> Option<&'a str> {
    let copy = source.bcc.as_deref()?;
    let has_it = |recipient: &String| recipient.eq_ignore_ascii_case(copy);
    (!recipients.iter().any(has_it)).then_some(copy)
}

/// Which reports are wanted of each recipient. Of a copy there are none: senders need not know that there is one.
pub fn reports<'a>(
    dsn: &'a [RecipientDsn],
    recipients: usize,
    copy: Option<&str>,
) -> Cow<'a, [RecipientDsn]> {
    if copy.is_none() {
        return Cow::Borrowed(dsn);
    }
    let mut with_copy = dsn.to_vec();
    with_copy.resize(recipients, RecipientDsn::default());
    with_copy.push(RecipientDsn { notify: Notify::NEVER, ..RecipientDsn::default() });
    Cow::Owned(with_copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vmta_config::{MemoryFiles, load};

    const CONFIG: &str = "log-file /l\n<spool /s>\n</spool>\n\
        <virtual-mta a>\n smtp-source-host 127.0.0.2 a.example\n</virtual-mta>\n\
        <virtual-mta b>\n smtp-source-host 127.0.0.3 b.example\n</virtual-mta>\n\
        <virtual-mta-pool p>\n virtual-mta a\n virtual-mta b\n</virtual-mta-pool>\n\
        <pattern-list l>\n rcpt-to /@gmail/ virtual-mta=p\n header X-Tier /^gold$/ virtual-mta=b\n\
        \x20header X-Tier /^now$/ recipient-priority=90\n</pattern-list>\n";

    fn chosen(source: &str, asked: Option<&str>, handed: &Handed<'_>) -> Result<String, String> {
        let text = format!("{CONFIG}<source 0/0>\n{source}\n</source>\n");
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = Arc::new(loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)));
        let configured = Configured::new(config.clone(), "mx.example").expect("profiles");
        let settings = config.source_for([192, 0, 2, 1].into(), None, None);
        let made = way(asked.map(str::to_owned), handed, &settings, &configured);
        let told = |way: Way| {
            let usual = way.priority == Priority::default();
            let priority = if usual { String::new() } else { format!(", {:?}", way.priority) };
            format!("{}: {}{priority}", way.virtual_mta, way.members.join(" "))
        };
        made.map(told).map_err(|e| e.to_string())
    }

    #[test]
    fn the_message_then_the_list_then_the_default() {
        let recipients = ["x@gmail.com".to_owned()];
        let plain = Handed::default();
        let listed = Handed { recipients: &recipients, ..Handed::default() };
        let gold = Handed { message: b"X-Tier: gold\r\n\r\ntext\r\n", ..Handed::default() };
        let source = "pattern-list l\n default-virtual-mta a";
        assert_eq!(chosen(source, Some("b"), &listed).as_deref(), Ok("b: b"));
        assert_eq!(chosen(source, None, &listed).as_deref(), Ok("p: a b"));
        assert_eq!(chosen(source, None, &gold).as_deref(), Ok("b: b"));
        assert_eq!(chosen(source, None, &plain).as_deref(), Ok("a: a"));
        let now = Handed { message: b"X-Tier: now\r\n\r\ntext\r\n", ..Handed::default() };
        assert_eq!(chosen(source, None, &now).as_deref(), Ok("a: a, Priority(90)"));
        assert_eq!(chosen(source, Some("b"), &now).as_deref(), Ok("b: b, Priority(90)"));
        assert_eq!(chosen("", None, &listed).as_deref(), Ok(": {default}"));
        assert_eq!(
            chosen(source, Some("z"), &plain),
            Err("specified Virtual MTA 'z' does not exist".to_owned())
        );
    }

    #[test]
    fn an_unknown_one_is_refused_or_has_a_stand_in() {
        let none = Handed::default();
        let lenient = "reject-invalid-virtual-mta no";
        assert_eq!(chosen(lenient, Some("z"), &none).as_deref(), Ok("z: {default}"));
        let with_stand_in =
            format!("{lenient}\n</source>\ninvalid-virtual-mta-fallback b\n<source {{pickup}}>");
        assert_eq!(chosen(&with_stand_in, Some("z"), &none).as_deref(), Ok("b: b"));
        assert_eq!(chosen(&with_stand_in, Some("a"), &none).as_deref(), Ok("a: a"));
        let strict = "</source>\ninvalid-virtual-mta-fallback b\n<source {pickup}>";
        assert!(chosen(strict, Some("z"), &none).is_err());
    }

    #[test]
    fn copies_and_the_name_of_the_way() {
        let source = SourceSettings {
            bcc: Some("log@x.example".to_owned()),
            add_x_virtual_mta_header: true,
            ..vmta_config::load("c", &MemoryFiles::new([("c", CONFIG)]), false)
                .config
                .expect("a configuration")
                .source_named("{pickup}")
        };
        assert_eq!(copied(&["a@x.example".to_owned()], &source), Some("log@x.example"));
        assert_eq!(copied(&["Log@x.example".to_owned()], &source), None);
        assert!(reports(&[], 1, None).is_empty());
        let told = |dsn: &[RecipientDsn]| dsn.iter().map(|dsn| dsn.notify.to_string()).collect::<Vec<_>>();
        assert_eq!(told(&reports(&[], 1, Some("log@x.example"))), ["", "NEVER"]);
        let of = |message: &str, name| {
            let made = named(message.as_bytes().to_vec(), name, &source).expect("named");
            String::from_utf8(made).expect("text")
        };
        assert_eq!(of("A: b\r\n\r\ntext\r\n", "p"), "X-Virtual-MTA: p\r\nA: b\r\n\r\ntext\r\n");
        assert_eq!(of("text\r\n", ""), "X-Virtual-MTA: {default}\r\n\r\ntext\r\n");
        assert_eq!(of("\r\ntext\r\n", "p"), "X-Virtual-MTA: p\r\n\r\ntext\r\n");
    }

    #[test]
    fn whoever_has_the_address_that_was_connected_to() {
        let on = |local_ip| Handed { local_ip, ..Handed::default() };
        let source = "default-virtual-mta by-smtp-source-ip";
        assert_eq!(chosen(source, None, &on("127.0.0.3")).as_deref(), Ok("b: b"));
        assert_eq!(chosen(source, None, &on("::ffff:127.0.0.2")).as_deref(), Ok("a: a"));
        assert_eq!(chosen(source, None, &on("127.0.0.9")).as_deref(), Ok(": {default}"));
    }
}
