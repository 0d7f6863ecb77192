//! OpenSMTPD. It knows one spool, one socket, one directory of helpers and two users: it gets a mount namespace in which
//! they are its own.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Role, Setup, namespace};

/// Numbers that its two users have within the namespace.
const USERS: [(&str, u32); 2] = [("opensmtpd", 64_200), ("opensmtpq", 64_201)];

pub(super) fn command(setup: &Setup<'_>) -> io::Result<Command> {
    let dir = setup.dir;
    let at = dir.display();
    fs::create_dir(dir.join("run"))?;
    // Made anew, as root's.
    fs::remove_dir(dir.join("spool"))?;
    fs::create_dir(dir.join("spool"))?;
    fs::set_permissions(dir.join("spool"), fs::Permissions::from_mode(0o711))?;
    namespace::add_users(dir, &USERS)?;
    let file = dir.join("configuration");
    fs::write(&file, configuration(setup))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    // PREFIX/sbin/smtpd has its helpers in PREFIX/libexec.
    let prefix = setup.program.parent().and_then(|sbin| sbin.parent()).unwrap_or(setup.program).display();
    let mounts = format!(
        "mount -t tmpfs -o mode=755 none /var/lib\nmkdir -p /var/lib/opensmtpd/empty\n\
         mount -t tmpfs -o mode=755 none /var/spool\nmkdir /var/spool/smtpd\n\
         mount --bind {at}/spool /var/spool/smtpd\nmkdir {at}/helpers\n\
         mount --bind {prefix}/libexec/opensmtpd {at}/helpers\n\
         mount -t tmpfs -o mode=755 none /usr/libexec\nmkdir /usr/libexec/opensmtpd\n\
         mount --bind {at}/helpers /usr/libexec/opensmtpd\nmount --bind {at}/run /run\n"
    );
    let mut command = namespace::command(dir, &mounts, setup.program);
    command.arg("-d").arg("-f").arg(file);
    Ok(command)
}

fn configuration(setup: &Setup<'_>) -> String {
    let at = setup.dir.display();
    let (ip, port) = (setup.addr.ip(), setup.addr.port());
    match setup.role {
        Role::Store { tls } => {
            let (pki, listen) = match tls {
                true => {
                    (format!("pki mx cert \"{at}/certificate\"\npki mx key \"{at}/key\"\n"), " tls pki mx")
                }
                false => (String::new(), ""),
            };
            format!(
                "{pki}table users {{ \"@\" = \"nobody\" }}\n\
                 listen on {ip} port {port}{listen} hostname opensmtpd.example\n\
                 action store maildir \"{at}/mail\" virtual <users>\n\
                 match from any for domain \"opensmtpd.example\" action store\n"
            )
        }
        Role::Relay(to) | Role::Submit { to, .. } => format!(
            "smtp max-message-size 50M\nlisten on {ip} port {port} hostname opensmtpd.example\n\
             action next relay host smtp://{to}\nmatch from any for any action next\n"
        ),
    }
}
