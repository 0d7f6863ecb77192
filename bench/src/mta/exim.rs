//! Exim, with the limits lifted that keep a fast client waiting.

use std::fs;
use std::io;
use std::process::Command;

use super::namespace::{self, uid_of};
use super::{NOBODY, Role, Setup};

/// Debian's Exim does not start without this user, whatever it is told.
const USER: &str = "Debian-exim";
/// Its number where this machine has none.
const UID: u32 = 64_202;

pub(super) fn command(setup: &Setup<'_>) -> io::Result<Command> {
    let at = setup.dir.display();
    let tls = match setup.role {
        Role::Store { tls: true } => {
            format!(
                "tls_advertise_hosts = *\ntls_certificate = {at}/certificate\ntls_privatekey = {at}/key\n"
            )
        }
        _ => "tls_advertise_hosts =\n".to_string(),
    };
    let text = format!(
        "primary_hostname = exim.example\nexim_path = {program}\nexim_user = {NOBODY}\nexim_group = {NOBODY}\n\
         spool_directory = {at}/spool\nlog_file_path = {at}/log/%slog\nlocal_interfaces = {ip}\nkeep_environment =\n\
         smtp_accept_max = 200\nsmtp_accept_queue_per_connection = 0\n{tls}{routes}",
        program = setup.program.display(),
        ip = setup.addr.ip(),
        routes = routes(setup),
    );
    let file = setup.dir.join("configuration");
    fs::write(&file, text)?;
    let mut command = match uid_of(USER)? {
        Some(_) => Command::new(setup.program),
        None => {
            namespace::add_users(setup.dir, &[(USER, UID)])?;
            namespace::command(setup.dir, "", setup.program)
        }
    };
    let port = format!("{}.{}", setup.addr.ip(), setup.addr.port());
    command.arg("-C").arg(file).arg("-bdf").arg("-oX").arg(port);
    command.arg("-oP").arg(setup.dir.join("pid"));
    Ok(command)
}

fn routes(setup: &Setup<'_>) -> String {
    let at = setup.dir.display();
    match setup.role {
        Role::Store { .. } => format!(
            "acl_smtp_rcpt = all\nbegin acl\nall:\n  accept\nbegin routers\nall:\n  driver = accept\n  \
             transport = mailbox\nbegin transports\nmailbox:\n  driver = appendfile\n  directory = {at}/mail\n  \
             maildir_format\n  user = {NOBODY}\n  group = {NOBODY}\n  envelope_to_add\n  return_path_add\n"
        ),
        // Each message is delivered by a process of its own as soon as it is there. The options: no look-up of the
        // client's name, a split spool, all messages of a connection delivered at once.
        Role::Relay(to) | Role::Submit { to, .. } => format!(
            "host_lookup =\nsmtp_accept_max_per_connection = 0\nsmtp_accept_queue = 0\nsplit_spool_directory = yes\n\
             rfc1413_query_timeout = 0s\nremote_max_parallel = 50\nmessage_size_limit = 50M\n\
             acl_smtp_rcpt = all\nacl_smtp_data = all\nbegin acl\nall:\n  accept\nbegin routers\nall:\n  \
             driver = manualroute\n  route_list = * {}\n  self = send\n  transport = next\nbegin transports\nnext:\n  \
             driver = smtp\n  port = {}\n  allow_localhost\n  hosts_avoid_tls = *\n  dnssec_request_domains =\n",
            to.ip(),
            to.port()
        ),
    }
}
