//! Older forms: what a line of former versions says in today's words. Reading and `convert` use the same words. A few
//! depend on other lines: `smtp-source-ip` on a host name, `smtp-ip` and `smtp-port` on each other,
//! `spool-min-free-space` on the spools.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::build::Builder;
use crate::config::SmtpListener;
use crate::diagnostic::Diagnostic;
use crate::lines::Lines;
use crate::scope::Scope;
use crate::settings::{ListenerSettings, SpoolSettings};
use crate::slots::{Setting, Slots};
use crate::table::find;
use crate::value::{SourceHost, Value};

/// The lines that say the same today; empty for the few whose meaning depends on other lines (`smtp-source-ip`,
/// `smtp-ip`, `smtp-port`, `spool-min-free-space`), which are read where those are known. `None`: this value has no
/// counterpart.
pub(crate) fn today(scope: Scope, name: &str, args: &str) -> Option<Vec<(&'static str, String)>> {
    let one = |name, args: String| Some(vec![(name, args)]);
    let per_hour = |name| match args.parse::<u64>().ok()? {
        0 => one(name, "unlimited".into()),
        n => one(name, format!("{n}/h")),
    };
    match (scope, name) {
        (Scope::Domain, "max-msg-per-hour") => per_hour("max-msg-rate"),
        (Scope::Domain, "backoff-max-msg-per-hour") => per_hour("backoff-max-msg-rate"),
        (Scope::Domain, "delivery-priority") => one("queue-priority", args.into()),
        (Scope::Domain, "max-smtp-out-per-source-ip") => one("source-ip-max-smtp-out", format!("0/0 {args}")),
        (Scope::Global, "http-mgmt-source") => one("http-access", format!("{args} monitor")),
        (Scope::Global, "no-http-mgmt-source") => one("http-access", format!("{args} none")),
        (Scope::Source, "check-mfrom-inbound") => one("check-spf-inbound", args.into()),
        (Scope::BounceProcessor | Scope::FeedbackLoopProcessor, "deliver-email") => {
            Some(vec![("deliver-matched-email", args.into()), ("deliver-unmatched-email", args.into())])
        }
        (Scope::Global | Scope::VirtualMta, "smtp-source-ip")
        | (Scope::Global, "smtp-ip" | "smtp-port" | "spool-min-free-space") => Some(Vec::new()),
        _ => None,
    }
}

/// Makes `smtp-source-host ADDRESS HOSTNAME` of every `smtp-source-ip ADDRESS`: the name is the tag's `host-name`, or
/// `main`.
pub(crate) fn name_sources(lines: &mut Lines, settings: &mut [Setting], scope: Scope, main: Option<String>) {
    let own: Option<Setting> = settings.iter().find(|s| s.written.row().name == "host-name").cloned();
    let own = own.and_then(|s| if let Value::Text(name) = s.value { Some(name) } else { None });
    let name = own.or(main);
    let Some(newer) = find(scope, "smtp-source-host") else { return };
    for setting in settings.iter_mut().filter(|s| s.written.row().name == "smtp-source-ip") {
        let Value::Ip(ip) = setting.value else { continue };
        let Some(name) = &name else {
            let message = "smtp-source-ip: no `host-name` says what to call this host".to_string();
            lines.error(setting.place, message, Some(format!("write smtp-source-host {ip} HOSTNAME")));
            continue;
        };
        setting.text = format!("{ip} {name}");
        (setting.written, setting.slot) = (newer, newer);
        setting.value = Value::SourceHost(SourceHost { network: IpNet::from(ip), host_name: name.clone() });
    }
}

/// `min-free-space`, or what `spool-min-free-space` says for all spools.
pub(crate) fn spool_settings(top: &[Setting], own: &[Setting]) -> SpoolSettings {
    let mut typed = SpoolSettings::read(&Slots::merge([own]));
    let megabytes = top.iter().rev().find(|s| s.written.row().name == "spool-min-free-space");
    if let (Some(Value::Number(n)), false) =
        (megabytes.map(|s| &s.value), own.iter().any(|s| s.written.row().name == "min-free-space"))
    {
        typed.min_free_space = n.saturating_mul(1 << 20);
    }
    typed
}

/// `smtp-ip` and `smtp-port` where no listener is given; elsewhere they are ignored, and that is said.
pub(crate) fn listen(builder: &mut Builder) {
    let Some(top) = builder.config.sections.first() else { return };
    let of = |name: &str| -> Vec<Setting> {
        top.settings.iter().filter(|s| s.written.row().name == name).cloned().collect()
    };
    let (addresses, ports) = (of("smtp-ip"), of("smtp-port"));
    let Some(any) = addresses.first().or(ports.first()) else { return };
    if !builder.config.listeners.is_empty() {
        for setting in addresses.iter().chain(&ports) {
            let message = format!("`{}` is ignored where a listener is given", setting.written.row().name);
            let found = Diagnostic::at(builder.lines.sources, setting.place, message);
            builder.lines.findings.add_fatal(found.help("leave this line out".to_string()).warning());
        }
        return;
    }
    let port = ports.last().map_or(25, |s| if let Value::Number(n) = s.value { n as u16 } else { 25 });
    let everywhere = (any.origin.clone(), IpNet::new_assert(IpAddr::from([0, 0, 0, 0]), 0));
    let mut places: Vec<_> = addresses
        .iter()
        .filter_map(|s| if let Value::Ip(ip) = s.value { Some((s.origin.clone(), ip.into())) } else { None })
        .collect();
    if places.is_empty() {
        places.push(everywhere);
    }
    let listeners = places.into_iter();
    let listener =
        |(origin, network)| SmtpListener { network, port, settings: ListenerSettings::default(), origin };
    builder.config.listeners.extend(listeners.map(listener));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::macros::Macros;
    use crate::table::{Status, directives, find};

    #[test]
    fn every_older_form_is_translated_into_what_can_be_read() {
        let mut translated = 0;
        for row in directives().filter(|r| matches!(r.status, Status::Replaced(_))) {
            for scope in row.scopes.iter() {
                let lines = today(scope, row.name, row.example()).unwrap_or_else(|| panic!("{}", row.name));
                translated += lines.len();
                for (name, args) in lines {
                    let newer = find(scope, name).unwrap_or_else(|| panic!("{name} in {scope}")).row();
                    assert!(newer.syntax.parse(&args, &Macros::default()).is_ok(), "{name} {args}");
                }
            }
        }
        assert_eq!(translated, 11);
    }

    #[test]
    fn what_has_no_counterpart_is_not_guessed() {
        assert_eq!(today(Scope::Domain, "max-msg-per-hour", "many"), None);
        assert_eq!(today(Scope::Domain, "max-msg-per-hour", "0").unwrap()[0].1, "unlimited");
    }
}
