//! Who gets mail from anybody: `relay-address`, and the people behind the roles of this host.

use crate::build::Builder;
use crate::lex::shorten;
use crate::slots::Setting;
use crate::source::Place;
use crate::value::Value;

/// Local parts that every mail host answers for (RFC 5321 4.5.1, RFC 2142): `postmaster` says who does.
pub const ROLES: [&str; 2] = ["postmaster", "abuse"];

impl Builder<'_> {
    pub(crate) fn relay_address(&mut self, setting: &Setting) {
        match &setting.value {
            Value::Pattern(pattern) => self.config.relay_addresses.add_pattern(pattern.clone()),
            Value::Text(address) => {
                // A local part at any domain would relay to everybody.
                let whole = address.contains('@') && !address.ends_with("@*");
                let added = match whole {
                    true => self.config.relay_addresses.add(address),
                    false => {
                        Err(format!("`{}` names no domain: mail would be relayed to any", shorten(address)))
                    }
                };
                if let Err(message) = added {
                    let help = "write user@domain, or /^user@domain$/".to_string();
                    self.lines.error(setting.place, message, Some(help));
                }
            }
            _ => {}
        }
    }

    /// An address of `postmaster`, which must not lead back here.
    pub(crate) fn postmaster(&mut self, address: &str, place: Place) {
        let here =
            |domain: &str| self.config.global.host_names.iter().any(|n| n.eq_ignore_ascii_case(domain));
        let role = |local: &str| ROLES.iter().any(|role| role.eq_ignore_ascii_case(local));
        if address.rsplit_once('@').is_some_and(|(local, domain)| role(local) && here(domain)) {
            let message = format!("mail to `{}` would come back to it for ever", shorten(address));
            let help = "name a mailbox, such as that of whoever runs this host".to_string();
            self.lines.error(place, message, Some(help));
        }
    }
}
