//! Checks over the whole configuration: names that are referred to, pools, limits that one line cannot know.

use std::collections::HashMap;

use crate::build::Builder;
use crate::config::{ApiListener, SmtpListener, VmtaOrPool};
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::scope::Scope;
use crate::settings::{Authentication, UserSettings};
use crate::slots::Setting;
use crate::tree::{Block, Item};
use crate::value::{Named, Value};

/// Smallest `max-size` of an accounting file (reference 2.7).
const MIN_ACCT_SIZE: u64 = 1 << 20;

/// Names that exist without being defined (reference 1.3).
const RESERVED_SOURCES: [&str; 3] = ["{pickup}", "{auth}", "{transmissions-api}"];

/// Connects pools with their members and checks every reference.
pub(crate) fn link(builder: &mut Builder) {
    for reference in std::mem::take(&mut builder.lines.references) {
        let reserved = match reference.kind {
            Named::Source => RESERVED_SOURCES.contains(&reference.name.as_str()),
            Named::VirtualMta => reference.name == "{default}",
            _ => false,
        };
        if reserved || builder.defined.contains_key(&(reference.kind, reference.name.clone())) {
            continue;
        }
        if builder.lines.findings.only_counted() {
            continue;
        }
        let kinds = builder.defined.keys().filter(|(kind, _)| *kind == reference.kind);
        let mut names: Vec<&str> = kinds.map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        let tag = tag_of(reference.kind);
        let listed = reference.name.contains(',');
        let help = match nearest(&reference.name, names) {
            _ if listed => format!(
                "one name is written here, not a list; where several may be, write a `{tag}` line for each"
            ),
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("define it with `<{tag} {}>` ... `</{tag}>`", reference.name),
        };
        let message = format!("there is no <{tag} {}>", reference.name);
        builder.lines.error(reference.place, message, Some(help));
    }
    join_pools(builder);
    cold(builder);
}

/// Pools hand their cold virtual MTAs on; each of those is a virtual MTA of its own.
fn cold(builder: &mut Builder) {
    let config = &mut builder.config;
    let mut wrong = Vec::new();
    for pool in &config.pools {
        for member in &pool.members {
            if let Some(VmtaOrPool::Vmta(i)) = config.by_name.get(member)
                && config.vmtas[*i].cold.is_empty()
            {
                let others = pool.cold.iter().filter(|cold| *cold != member);
                config.vmtas[*i].cold = others.cloned().collect();
            }
        }
    }
    let own = config.vmtas.iter().flat_map(|vmta| vmta.cold.iter().map(move |cold| (&vmta.name, cold)));
    let of_pools = config.pools.iter().flat_map(|pool| pool.cold.iter().map(move |cold| (&pool.name, cold)));
    for (name, cold) in own.chain(of_pools) {
        let problem = match config.by_name.get(cold) {
            Some(VmtaOrPool::Pool(_)) => "is a pool",
            Some(VmtaOrPool::Vmta(_)) if cold == name => "is the warm one itself",
            None if cold == "{default}" => "has no address of its own",
            _ => continue,
        };
        wrong.push((name.clone(), format!("cold-virtual-mta: `{cold}` {problem}")));
    }
    wrong.dedup();
    for (name, message) in wrong {
        let place = builder.defined[&(Named::VirtualMta, name)];
        let help = "name another virtual MTA; several take a line each".to_string();
        builder.lines.error(place, message, Some(help));
    }
}

fn tag_of(kind: Named) -> &'static str {
    match kind {
        Named::VirtualMta => "virtual-mta",
        Named::Source => "source",
        Named::SourceGroup => "source-group",
        Named::PatternList => "pattern-list",
        Named::SmtpPatternList => "smtp-pattern-list",
        Named::RewriteList => "rewrite-list",
        Named::AddressList => "address-list",
        Named::Proxy => "proxy",
    }
}

/// A VMTA may be in several pools, but in one only that defines `<domain>` (reference 1.4 rule 3).
fn join_pools(builder: &mut Builder) {
    let mut wrong = Vec::new();
    let config = &mut builder.config;
    for pool in &config.pools {
        for member in &pool.members {
            let vmta = match config.by_name.get(member) {
                Some(VmtaOrPool::Vmta(i)) => &mut config.vmtas[*i],
                Some(VmtaOrPool::Pool(_)) => {
                    wrong.push((&pool.name, format!("`{member}` is a pool; a pool holds virtual MTAs only")));
                    continue;
                }
                None => continue,
            };
            if vmta.pools.contains(&pool.name) {
                wrong.push((&pool.name, format!("`{member}` is a member twice")));
                continue;
            }
            if let (Some(_), Some(_)) = (vmta.pool_level, pool.level) {
                let other = vmta.pools.last().map_or("", String::as_str);
                wrong.push((
                    &pool.name,
                    format!("`{member}` is also in pool `{other}`, and both define <domain>"),
                ));
                continue;
            }
            vmta.pool_level = vmta.pool_level.or(pool.level);
            vmta.pools.push(pool.name.clone());
        }
    }
    let wrong: Vec<_> = wrong.into_iter().map(|(pool, why)| (pool.clone(), why)).collect();
    for (pool, why) in wrong {
        let place = builder.defined[&(Named::VirtualMta, pool.clone())];
        let help = "name each virtual MTA once, and give <domain> to one of its pools only".to_string();
        builder.lines.error(place, format!("pool `{pool}`: {why}"), Some(help));
    }
}

/// A user who cannot log in is told of, and no reason to refuse the rest.
pub(crate) fn smtp_user(builder: &mut Builder, block: &Block, settings: &UserSettings) {
    let name = &block.arg;
    // A password that could not be read has been complained of.
    let tried = block.items.iter().any(|item| matches!(item, Item::Line(line) if line.name == "password"));
    let (message, help) = match settings.authentication {
        Authentication::Password if settings.password.is_some() || tried => return,
        Authentication::Password => {
            (format!("`{name}` cannot log in: there is no password"), "add a line `password PASSWORD`")
        }
        Authentication::Certificate if settings.tls_certificate.is_some() => return,
        Authentication::Certificate => {
            (format!("`{name}` cannot log in: there is no certificate"), "add a line `tls-certificate FILE`")
        }
        Authentication::System if name.starts_with('-') || name.len() > 255 => (
            format!("`{name}` cannot log in: no account has such a name"),
            "name the user as his account is named",
        ),
        Authentication::System if settings.password.is_some() => (
            format!("the password of `{name}` is not used: the system knows another"),
            "leave out `password`, or `authentication-method system`",
        ),
        Authentication::System => return,
    };
    let found = Diagnostic::at(builder.lines.sources, block.arg_at, message);
    builder.lines.findings.add_fatal(found.help(help.to_string()).warning());
}

/// The mandatory minimum (reference 1.1), and nothing twice that can be there only once.
pub(crate) fn whole(builder: &mut Builder) {
    let spools = builder.config.spools.iter().map(|s| (format!("spool {}", s.directory), &s.origin));
    let listeners = builder.config.listeners.iter();
    let listeners = listeners.map(|l| (format!("listener {}:{}", l.network, l.port), &l.origin));
    let api_listeners = builder.config.api_listeners.iter();
    let api_listeners = api_listeners.map(|l| (format!("listener {}", l.address), &l.origin));
    let mut seen = HashMap::new();
    let mut twice = Vec::new();
    for (what, origin) in spools.chain(listeners).chain(api_listeners) {
        if let Some(before) = seen.insert(what.clone(), origin) {
            twice.push(format!("{what} is given twice, at {before} and {origin}"));
        }
    }
    for message in twice {
        let help = "leave one of the two lines out".to_string();
        builder.lines.findings.add(Diagnostic::whole(message).help(help));
    }
    absolute_log(builder);
    no_certificate(builder);
    lost_rollups(builder);
    let findings = &mut *builder.lines.findings;
    if builder.config.global.log_file.is_none() {
        let help = "write `log-file /var/log/posthaste/log`".to_string();
        findings.add(Diagnostic::whole("no `log-file` is given".into()).help(help));
    }
    if builder.config.spools.is_empty() {
        let help = "write `<spool /var/spool/posthaste>` and `</spool>`".to_string();
        findings.add(Diagnostic::whole("no spool directory is given".into()).help(help));
    }
}

/// A rollup of a pattern alone does not say which hosts its mail goes to. Where nothing else does, there is none.
fn lost_rollups(builder: &mut Builder) {
    let config = &mut builder.config;
    let nowhere = |name: &&str| config.queue(name, "{default}").smtp_hosts.is_none();
    let lost: Vec<String> = config.rollups.lost().filter(nowhere).map(str::to_string).collect();
    for name in lost {
        config.rollups.remove(&name);
        let message = format!("mail of {name} would have no hosts to go to; its domains are not rolled up");
        let help = format!("write `rollup-by-ip` behind it, or `smtp-hosts` in `<domain {name}>`");
        builder.lines.findings.add_fatal(Diagnostic::whole(message).help(help).warning());
    }
}

/// TLS that is asked for and cannot be had.
fn no_certificate(builder: &mut Builder) {
    let config = &builder.config;
    if config.global.smtp_server_tls_certificate.is_some() {
        return;
    }
    let bare = config.listeners.iter().filter(|l| l.settings.tls_certificate.is_none());
    let bare: Vec<&SmtpListener> = bare.collect();
    let help =
        "write `smtp-server-tls-certificate FILE`, or `tls-certificate FILE` in the listener".to_string();
    for listener in bare.iter().filter(|l| l.settings.immediate_tls) {
        let message = format!("{}: `immediate-tls` without a certificate", listener.origin);
        builder.lines.findings.add(Diagnostic::whole(message).help(help.clone()));
    }
    let sources = config.sources_by_name.values().chain(config.sources_by_network.iter().map(|(_, s)| s));
    let mut asking = sources.flatten().filter(|s| s.written.row().name == "allow-starttls");
    let asked = asking.find(|s| s.value == Value::Bool(true));
    if let Some(asked) = asked.filter(|_| bare.len() == config.listeners.len()) {
        let message = "STARTTLS is not offered: no listener has a certificate".to_string();
        let found = Diagnostic::at(builder.lines.sources, asked.place, message);
        builder.lines.findings.add_fatal(found.help(help).warning());
    }
}

/// A relative path would depend on where the engine is started (reference 2.1).
fn absolute_log(builder: &mut Builder) {
    let top = builder.config.sections.first();
    let log = top.and_then(|s| s.settings.iter().rev().find(|s| s.written.row().name == "log-file"));
    if let Some(log) = log
        && let Value::Text(path) = &log.value
        && !path.starts_with('/')
    {
        let (place, help) = (log.place, format!("write /var/log/posthaste/{path}, or another absolute path"));
        builder.lines.error(place, format!("log-file: `{path}` is not an absolute path"), Some(help));
    }
}

/// Without a certificate HTTP is spoken in the clear, which is for this machine alone.
pub(crate) fn api_listener(builder: &mut Builder, block: &Block, listener: &ApiListener) {
    if listener.settings.tls_certificate.is_none() && !listener.address.ip().is_loopback() {
        let message = "without `tls-certificate` keys and mail cross the network in the clear".to_string();
        let help = "add a line `tls-certificate FILE`, or listen on 127.0.0.1".to_string();
        let found = Diagnostic::at(builder.lines.sources, block.arg_at, message);
        builder.lines.findings.add_fatal(found.help(help).warning());
    }
}

pub(crate) fn acct_file(builder: &mut Builder, settings: &[Setting]) {
    let set = |name: &str| settings.iter().find(|s| s.written.row().name == name);
    if let Some(size) = set("max-size")
        && matches!(size.value, Value::Size(bytes) if bytes < MIN_ACCT_SIZE)
        && set("http-webhook-url").is_none()
    {
        builder.lines.error(size.place, "max-size: at least 1M".into(), Some("write 1M or more".into()));
    }
    if let (Some(interval), None) = (set("move-interval"), set("move-to"))
        && set("http-webhook-url").is_none()
    {
        let message = "`move-interval` without `move-to` is ignored".to_string();
        let found = Diagnostic::at(builder.lines.sources, interval.place, message)
            .help("add `move-to DIRECTORY`, or leave this line out".to_string());
        builder.lines.findings.add_fatal(found.warning());
    }
}

/// What a tag needs, and what it cannot hold at once (reference 2.1, 2.5, 2.8).
pub(crate) fn tag(builder: &mut Builder, block: &Block, scope: Scope, settings: &[Setting]) {
    let set = |name: &str| settings.iter().find(|s| s.written.row().name == name);
    let needs: &[&str] = match scope {
        Scope::Proxy => &["server", "client"],
        Scope::Vault => &["server-url", "access-token"],
        Scope::Domain => match set("type").map(|s| &s.value) {
            Some(Value::Keyword("pipe")) => &["command"],
            Some(Value::Keyword("file")) => &["file-destination"],
            Some(Value::Keyword("http-delivery")) => &["http-delivery-url"],
            _ => &[],
        },
        _ => &[],
    };
    for name in needs.iter().filter(|name| set(name).is_none()) {
        let place = set("type").map_or(block.at, |s| s.place);
        let what = if scope == Scope::Domain { "this type" } else { "this tag" };
        builder.lines.error(
            place,
            format!("{what} needs `{name}`"),
            Some(format!("add a line `{name} ...`")),
        );
    }
    if let (Scope::VirtualMta, Some(proxied)) = (scope, set("smtp-proxy-source-host"))
        && let Some(other) = set("smtp-source-host").or(set("use-proxy"))
    {
        let message =
            format!("`smtp-proxy-source-host` and `{}` exclude each other", other.written.row().name);
        builder.lines.error(proxied.place, message, Some("make two virtual MTAs of it".to_string()));
    }
}
