//! A mount namespace for a server that insists on users or directories which this machine does not have: it sees its own.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Files that list the users and groups which the server sees.
pub(super) fn add_users(dir: &Path, users: &[(&str, u32)]) -> io::Result<()> {
    for (name, fields) in [("passwd", "::/nonexistent:/usr/sbin/nologin"), ("group", "")] {
        let mut text = fs::read_to_string(Path::new("/etc").join(name))?;
        for (user, id) in users {
            let id = if name == "passwd" { format!("{id}:{id}") } else { format!("{id}:") };
            text.push_str(&format!("{user}:x:{id}{fields}\n"));
        }
        fs::write(dir.join(name), text)?;
    }
    Ok(())
}

/// Starts `program` after the mounts of the lines `mounts`, and with the users of [`add_users`].
pub(super) fn command(dir: &Path, mounts: &str, program: &Path) -> Command {
    let at = dir.display();
    let script = format!(
        "set -e\nmount --make-rprivate /\n{mounts}mount --bind {at}/passwd /etc/passwd\n\
         mount --bind {at}/group /etc/group\nexec \"$0\" \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(program);
    command
}

/// The number of a user of this machine.
pub(super) fn uid_of(user: &str) -> io::Result<Option<u32>> {
    let users = fs::read_to_string("/etc/passwd")?;
    let fields = users.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == user);
    Ok(fields.and_then(|f| f.get(2)?.parse().ok()))
}
