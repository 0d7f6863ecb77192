//! Real mail servers on loopback: Postfix and Exim as Debian packages them, each with a private configuration and
//! queue in a directory of its own, storing what it accepts in one maildir. Where a server is not installed, or this
//! process may not give files to other users, there is none.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::peer::Peer;
use bench::wait::until;

const PATIENCE: Duration = Duration::from_secs(20);
/// Who mail is stored as; neither server delivers as root.
const NOBODY: u32 = 65534;

static STARTED: AtomicU8 = AtomicU8::new(0);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postfix,
    Exim,
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Mta {
    child: Child,
    dir: TempDir,
    pub kind: Kind,
    /// Where it takes mail.
    pub addr: SocketAddr,
    /// The domain whose mail it stores.
    pub domain: &'static str,
}

impl Kind {
    /// The server's program; `POSTHASTE_POSTFIX` and `POSTHASTE_EXIM` name others.
    fn program(self) -> Option<PathBuf> {
        let (variable, usual) = match self {
            Kind::Postfix => {
                ("POSTHASTE_POSTFIX", ["/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"])
            }
            Kind::Exim => ("POSTHASTE_EXIM", ["/usr/sbin/exim4", "/usr/sbin/exim"]),
        };
        let named = std::env::var_os(variable).map(PathBuf::from);
        named.into_iter().chain(usual.map(PathBuf::from)).find(|p| p.is_file())
    }
}

impl Mta {
    /// Starts one, with STARTTLS if `tls`. `Ok(None)`, with the reason told, where it cannot run here.
    pub fn start(kind: Kind, tls: bool) -> io::Result<Option<Mta>> {
        let Some(program) = kind.program() else {
            eprintln!("skipped: {kind:?} is not installed");
            return Ok(None);
        };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can run {kind:?} with users of its own");
            return Ok(None);
        }
        // Below /tmp and not below the build directory: the server's users must be able to enter every directory
        // on the way.
        let dir = tempfile::Builder::new()
            .prefix("mta-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")?;
        let ip = Ipv4Addr::new(127, 0, 76, STARTED.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let addr = TcpListener::bind((ip, 0))?.local_addr()?;
        for name in ["mail", "spool", "log"] {
            fs::create_dir(dir.path().join(name))?;
            chown(dir.path().join(name), Some(NOBODY), Some(NOBODY))?;
        }
        if tls {
            certify(dir.path())?;
        }
        let (mut command, domain) = match kind {
            Kind::Postfix => (postfix(&program, dir.path(), addr, tls)?, "postfix.example"),
            Kind::Exim => (exim(&program, dir.path(), addr, tls)?, "exim.example"),
        };
        let output = File::create(dir.path().join("output"))?;
        // Postfix's master ends its whole process group with itself.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mta = Mta { child, dir, kind, addr, domain };
        match until(PATIENCE, || Peer::connect(addr).ok()) {
            Ok(mut peer) => peer.say("QUIT").map(|_| Some(mta)),
            Err(waited) => Err(io::Error::other(format!("{kind:?} silent after {waited:?}\n{}", mta.log()))),
        }
    }

    /// Every message it has stored.
    pub fn stored(&self) -> io::Result<Vec<Vec<u8>>> {
        let below = if self.kind == Kind::Postfix { "mail/all/new" } else { "mail/new" };
        match fs::read_dir(self.dir.path().join(below)) {
            Ok(entries) => entries.map(|e| fs::read(e?.path())).collect(),
            // Made with the first message.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// What it has written, to its log and elsewhere.
    pub fn log(&self) -> String {
        let names = ["output", "log/log", "log/mainlog", "log/paniclog", "log/rejectlog"];
        names.iter().filter_map(|n| fs::read_to_string(self.dir.path().join(n)).ok()).collect()
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let ended = until(PATIENCE, || self.child.try_wait().transpose());
        if ended.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        // Last, since writing to a closed standard error panics.
        if std::thread::panicking() {
            eprintln!("--- the log of {:?} ---\n{}\n---", self.kind, self.log());
        }
    }
}

/// A key and a certificate that nobody has signed.
fn certify(dir: &Path) -> io::Result<()> {
    let issued =
        rcgen::generate_simple_self_signed(vec!["mx.example".to_string()]).map_err(io::Error::other)?;
    fs::write(dir.join("certificate"), issued.cert.pem())?;
    fs::write(dir.join("key"), issued.signing_key.serialize_pem())?;
    // Exim reads both as its own user.
    chown(dir.join("key"), Some(NOBODY), Some(NOBODY))?;
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o600))
}

/// The strictest Postfix there is: bare line feeds and commands sent out of turn end the connection.
fn postfix(master: &Path, dir: &Path, addr: SocketAddr, tls: bool) -> io::Result<Command> {
    let at = dir.display();
    let etc = dir.join("etc");
    for name in ["etc", "queue", "data"] {
        fs::create_dir(dir.join(name))?;
    }
    chown(dir.join("data"), Some(uid_of("postfix")?), None)?;
    let tls = match tls {
        true => format!(
            "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {at}/certificate\nsmtpd_tls_key_file = {at}/key\n\
             smtpd_tls_received_header = yes\nsmtpd_tls_loglevel = 1\n"
        ),
        false => String::new(),
    };
    fs::write(
        etc.join("main.cf"),
        format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
             maillog_file = {at}/log/log\nmaillog_file_prefixes = {at}\nmyhostname = postfix.example\n\
             mydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = loopback-only\ninet_protocols = ipv4\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\nnotify_classes =\n\
             virtual_mailbox_domains = postfix.example\nvirtual_mailbox_base = {at}/mail\n\
             virtual_mailbox_maps = static:all/\nvirtual_uid_maps = static:{NOBODY}\n\
             virtual_gid_maps = static:{NOBODY}\nsmtputf8_enable = yes\n\
             smtpd_forbid_bare_newline = yes\nsmtpd_forbid_unauth_pipelining = yes\n{tls}"
        ),
    )?;
    let mut services = format!("{addr} inet n - n - - smtpd\n");
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
        ("postlog", "unix-dgram", "n", "1", "postlogd"),
    ] {
        services.push_str(&format!("{name} {kind} {private} - n - {limit} {program}\n"));
    }
    services.push_str("virtual unix y n n - - virtual\n");
    fs::write(etc.join("master.cf"), services)?;
    // Makes the queue's directories.
    let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&etc).arg("check").output()?;
    if !check.status.success() {
        let told = fs::read_to_string(dir.join("log/log")).unwrap_or_default();
        let told = format!("postfix check: {told}{}", String::from_utf8_lossy(&check.stderr));
        return Err(io::Error::other(told));
    }
    let mut command = Command::new(master);
    command.arg("-c").arg(etc).arg("-d");
    Ok(command)
}

fn exim(program: &Path, dir: &Path, addr: SocketAddr, tls: bool) -> io::Result<Command> {
    let at = dir.display();
    let tls = match tls {
        true => {
            format!(
                "tls_advertise_hosts = *\ntls_certificate = {at}/certificate\ntls_privatekey = {at}/key\n"
            )
        }
        false => "tls_advertise_hosts =\n".to_string(),
    };
    // Limits that keep a fast client waiting are lifted: it is the dialogue that is to be tested.
    let text = format!(
        "primary_hostname = exim.example\nexim_path = {program}\nexim_user = {NOBODY}\nexim_group = {NOBODY}\n\
         spool_directory = {at}/spool\nlog_file_path = {at}/log/%slog\nlocal_interfaces = {ip}\nkeep_environment =\n\
         smtp_accept_max = 200\nsmtp_accept_queue_per_connection = 0\n{tls}acl_smtp_rcpt = all\n\
         begin acl\nall:\n  accept\nbegin routers\nall:\n  driver = accept\n  transport = mailbox\n\
         begin transports\nmailbox:\n  driver = appendfile\n  directory = {at}/mail\n  maildir_format\n  \
         user = {NOBODY}\n  group = {NOBODY}\n  envelope_to_add\n  return_path_add\n",
        program = program.display(),
        ip = addr.ip(),
    );
    let file = dir.join("configuration");
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("-C").arg(file).arg("-bdf").arg("-oX").arg(format!("{}.{}", addr.ip(), addr.port()));
    command.arg("-oP").arg(dir.join("pid"));
    Ok(command)
}

fn uid_of(user: &str) -> io::Result<u32> {
    let users = fs::read_to_string("/etc/passwd")?;
    let fields = users.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == user);
    let uid = fields.and_then(|f| f.get(2)?.parse().ok());
    uid.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user}")))
}
