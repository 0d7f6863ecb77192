//! Which virtual MTA a message goes through (reference 1.4 rule 12): what the message asks for itself, then the pattern list
//! of its source, then the source's default.

use super::intake::{Handed, Refused};
use super::profiles::Configured;
use crate::mail::header::Header;
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

/// The VMTA or pool that a message goes through, and its members. `asked` is what the message asks for itself.
pub fn virtual_mta(
    asked: Option<String>,
    handed: &Handed<'_>,
    source: &SourceSettings,
    configured: &Configured,
) -> Result<(String, Vec<String>), Refused> {
    let asked = asked
        .or_else(|| by_list(handed, source, configured))
        .or_else(|| by_default(handed.local_ip, source, configured))
        .unwrap_or_default();
    match configured.members(&asked) {
        Some(members) => Ok((asked, members)),
        None if source.reject_invalid_virtual_mta => Err(Refused::NoSuchVmta(asked)),
        None => Ok((asked, vec!["{default}".to_owned()])),
    }
}

fn by_list(handed: &Handed<'_>, source: &SourceSettings, configured: &Configured) -> Option<String> {
    let list = source.pattern_list.as_deref()?;
    let Handed { sender, recipients, message, .. } = *handed;
    let shown = Shown { sender, recipients, message, header: OnceCell::new() };
    configured.config.choose(list, &shown).virtual_mta.map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vmta_config::{MemoryFiles, load};

    const CONFIG: &str = "log-file /l\n<spool /s>\n</spool>\n\
        <virtual-mta a>\n smtp-source-host 127.0.0.2 a.example\n</virtual-mta>\n\
        <virtual-mta b>\n smtp-source-host 127.0.0.3 b.example\n</virtual-mta>\n\
        <virtual-mta-pool p>\n virtual-mta a\n virtual-mta b\n</virtual-mta-pool>\n\
        <pattern-list l>\n rcpt-to /@gmail/ virtual-mta=p\n header X-Tier /^gold$/ virtual-mta=b\n</pattern-list>\n";

    fn chosen(source: &str, asked: Option<&str>, handed: &Handed<'_>) -> Result<String, String> {
        let text = format!("{CONFIG}<source 0/0>\n{source}\n</source>\n");
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = Arc::new(loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)));
        let configured = Configured::new(config.clone(), "mx.example").expect("profiles");
        let settings = config.source_for([192, 0, 2, 1].into(), None, None);
        let made = virtual_mta(asked.map(str::to_owned), handed, &settings, &configured);
        made.map(|(name, members)| format!("{name}: {}", members.join(" "))).map_err(|e| e.to_string())
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
        assert_eq!(chosen("", None, &listed).as_deref(), Ok(": {default}"));
        assert_eq!(
            chosen(source, Some("z"), &plain),
            Err("specified Virtual MTA 'z' does not exist".to_owned())
        );
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
