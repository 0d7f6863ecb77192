//! Postfix: in a store the strictest there is, as a relay the fastest.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::process::Command;

use super::namespace::uid_of;
use super::{NOBODY, Role, Setup};

pub(super) fn command(setup: &Setup<'_>) -> io::Result<Command> {
    let dir = setup.dir;
    let etc = dir.join("etc");
    for name in ["etc", "queue", "data"] {
        fs::create_dir(dir.join(name))?;
    }
    let no_user = || io::Error::new(io::ErrorKind::NotFound, "there is no user postfix");
    chown(dir.join("data"), Some(uid_of("postfix")?.ok_or_else(no_user)?), None)?;
    fs::write(etc.join("main.cf"), main(setup))?;
    fs::write(etc.join("master.cf"), services(setup))?;
    // Makes the queue's directories.
    let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&etc).arg("check").output()?;
    if !check.status.success() {
        let told = fs::read_to_string(dir.join("log/log")).unwrap_or_default();
        let told = format!("postfix check: {told}{}", String::from_utf8_lossy(&check.stderr));
        return Err(io::Error::other(told));
    }
    let mut command = Command::new(setup.program);
    command.arg("-c").arg(etc).arg("-d");
    Ok(command)
}

fn main(setup: &Setup<'_>) -> String {
    let at = setup.dir.display();
    let common = format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
         maillog_file = {at}/log/log\nmaillog_file_prefixes = {at}\nmyhostname = postfix.example\n\
         mydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = loopback-only\ninet_protocols = ipv4\n\
         alias_maps =\nalias_database =\nlocal_recipient_maps =\nnotify_classes =\nsmtputf8_enable = yes\n"
    );
    common
        + &match setup.role {
            Role::Store { tls } => store(setup, tls),
            Role::Relay(to) => relay(&to.ip().to_string(), to.port()),
            Role::Submit { to, mechanism, tls } => {
                submit(&format!("[{}]:{}", to.ip(), to.port()), mechanism, tls)
            }
        }
}

/// Bare line feeds and commands sent out of turn end the connection.
fn store(setup: &Setup<'_>, tls: bool) -> String {
    let at = setup.dir.display();
    let tls = match tls {
        true => format!(
            "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {at}/certificate\nsmtpd_tls_key_file = {at}/key\n\
             smtpd_tls_received_header = yes\nsmtpd_tls_loglevel = 1\n"
        ),
        false => String::new(),
    };
    format!(
        "virtual_mailbox_domains = postfix.example\nvirtual_mailbox_base = {at}/mail\n\
         virtual_mailbox_maps = static:all/\nvirtual_uid_maps = static:{NOBODY}\n\
         virtual_gid_maps = static:{NOBODY}\n\
         smtpd_forbid_bare_newline = yes\nsmtpd_forbid_unauth_pipelining = yes\n{tls}"
    )
}

/// For bulk (postconf(5), TUNING_README): no look-ups of names, no counting of clients, connections kept open and as many
/// of them as the others may have, no delay of intake, a large active queue.
fn relay(to: &str, port: u16) -> String {
    format!(
        "relayhost = [{to}]:{port}\nsmtp_dns_support_level = disabled\nsmtpd_peername_lookup = no\n\
         smtp_tls_security_level = none\nsmtpd_tls_security_level = none\nin_flow_delay = 0\n\
         default_process_limit = 200\ndefault_destination_concurrency_limit = 50\n\
         initial_destination_concurrency = 50\nqmgr_message_active_limit = 50000\n\
         qmgr_message_recipient_limit = 50000\nsmtp_connection_cache_destinations = [{to}]:{port}\n\
         smtp_connection_reuse_count_limit = 0\nsmtp_connection_reuse_time_limit = 3600s\n\
         smtpd_client_connection_count_limit = 0\nsmtpd_client_event_limit_exceptions = static:all\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject\nsmtpd_delay_reject = no\n\
         message_size_limit = 50000000\n"
    )
}

/// As an application server's Postfix hands its mail to a provider (SASL_README, TLS_README).
fn submit(to: &str, mechanism: &str, tls: bool) -> String {
    let level = if tls { "encrypt" } else { "none" };
    format!(
        "relayhost = {to}\nsmtp_dns_support_level = disabled\nsmtp_tls_security_level = {level}\n\
         smtpd_tls_security_level = none\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\n\
         smtp_sasl_mechanism_filter = {mechanism}\nsmtp_sasl_password_maps = inline:{{ {{ {to} = ann:secret }} }}\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject\nminimal_backoff_time = 5s\nqueue_run_delay = 5s\n"
    )
}

fn services(setup: &Setup<'_>) -> String {
    let mut services = format!("{} inet n - n - - smtpd\n", setup.addr);
    // Whether its socket is private, the greatest number of processes, the program.
    for (name, kind, private, limit, program) in [
        ("cleanup", "unix", "n", "0", "cleanup"),
        ("qmgr", "unix", "n", "1", "qmgr"),
        ("tlsmgr", "unix", "y", "1", "tlsmgr"),
        ("rewrite", "unix", "y", "-", "trivial-rewrite"),
        ("bounce", "unix", "y", "0", "bounce"),
        ("defer", "unix", "y", "0", "bounce"),
        ("trace", "unix", "y", "0", "bounce"),
        ("proxymap", "unix", "y", "-", "proxymap"),
        ("error", "unix", "y", "-", "error"),
        ("retry", "unix", "y", "-", "error"),
        ("anvil", "unix", "y", "1", "anvil"),
        ("scache", "unix", "y", "1", "scache"),
        ("postlog", "unix-dgram", "n", "1", "postlogd"),
    ] {
        services.push_str(&format!("{name} {kind} {private} - n - {limit} {program}\n"));
    }
    services
        .push_str("virtual unix y n n - - virtual\nsmtp unix y - n - - smtp\nrelay unix y - n - - smtp\n");
    services
}
