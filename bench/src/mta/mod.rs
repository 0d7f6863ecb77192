//! Real mail servers on loopback: those that Debian packages, each with a private configuration and queue in a directory of
//! its own, storing what it accepts in one maildir or passing it on. Where a server is not installed, or this process may
//! not give files to other users, there is none.

mod exim;
mod namespace;
mod opensmtpd;
mod postfix;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(20);
/// Who mail is stored as; no server delivers as root.
const NOBODY: u32 = 65534;

static STARTED: AtomicU8 = AtomicU8::new(0);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postfix,
    Exim,
    OpenSmtpd,
}

/// What becomes of the mail that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It stores the mail for one domain.
    Store { tls: bool },
    /// It passes everything on to this server, set up for as much mail as it can take.
    Relay(SocketAddr),
    /// It passes everything on to this server as `ann`, whose password is `secret`, proved by this mechanism of SASL. Only
    /// Postfix does.
    Submit { to: SocketAddr, mechanism: &'static str, tls: bool },
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

/// What a server's configuration is written from.
struct Setup<'a> {
    program: &'a Path,
    dir: &'a Path,
    addr: SocketAddr,
    role: Role,
}

impl Kind {
    /// The server's program; `POSTHASTE_POSTFIX`, `POSTHASTE_EXIM` and `POSTHASTE_OPENSMTPD` name others. (Debian's
    /// packages of them exclude each other: unpack the others with `dpkg -x`.)
    fn program(self) -> Option<PathBuf> {
        let (variable, usual) = match self {
            Kind::Postfix => {
                ("POSTHASTE_POSTFIX", &["/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"][..])
            }
            Kind::Exim => ("POSTHASTE_EXIM", &["/usr/sbin/exim4", "/usr/sbin/exim"][..]),
            Kind::OpenSmtpd => ("POSTHASTE_OPENSMTPD", &["/usr/sbin/smtpd"][..]),
        };
        let named = std::env::var_os(variable).map(PathBuf::from);
        named.into_iter().chain(usual.iter().map(PathBuf::from)).find(|p| p.is_file())
    }
}

impl Mta {
    /// Starts one. `Ok(None)`, with the reason told, where it cannot run here.
    pub fn start(kind: Kind, role: Role) -> io::Result<Option<Mta>> {
        Mta::start_through(kind, role, &[])
    }

    /// The same through a program that starts its further arguments in some special way.
    pub fn start_through(kind: Kind, role: Role, launcher: &[String]) -> io::Result<Option<Mta>> {
        let Some(program) = kind.program() else {
            eprintln!("skipped: {kind:?} is not installed");
            return Ok(None);
        };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can run {kind:?} with users of its own");
            return Ok(None);
        }
        if kind != Kind::Postfix && matches!(role, Role::Submit { .. }) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{kind:?} does not log in")));
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
        if role == (Role::Store { tls: true }) {
            certify(dir.path())?;
        }
        let setup = Setup { program: &program, dir: dir.path(), addr, role };
        let (command, domain) = match kind {
            Kind::Postfix => (postfix::command(&setup)?, "postfix.example"),
            Kind::Exim => (exim::command(&setup)?, "exim.example"),
            Kind::OpenSmtpd => (opensmtpd::command(&setup)?, "opensmtpd.example"),
        };
        let output = File::create(dir.path().join("output"))?;
        // Postfix's master ends its whole process group with itself.
        let child = launched(launcher, &command)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mta = Mta { child, dir, kind, addr, domain };
        match until(PATIENCE, || TcpStream::connect(addr).ok()) {
            Ok(_) => Ok(Some(mta)),
            Err(waited) => Err(io::Error::other(format!("{kind:?} silent after {waited:?}\n{}", mta.log()))),
        }
    }

    /// Where its configuration and its queue lie.
    pub fn directory(&self) -> &Path {
        self.dir.path()
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

    /// Whether no message waits in its queue.
    pub fn is_empty(&self) -> bool {
        // In the order that messages go through them.
        let queues: &[&str] = match self.kind {
            Kind::Postfix => &["queue/maildrop", "queue/incoming", "queue/active", "queue/deferred"],
            Kind::Exim => &["spool/input"],
            Kind::OpenSmtpd => &["spool/incoming", "spool/queue"],
        };
        !queues.iter().any(|below| holds_files(&self.dir.path().join(below)))
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

/// `command` through the program and arguments of `launcher`.
fn launched(launcher: &[String], command: &Command) -> Command {
    let mut words =
        launcher.iter().map(AsRef::as_ref).chain([command.get_program()]).chain(command.get_args());
    let mut whole = Command::new(words.next().unwrap_or_default());
    whole.args(words);
    whole
}

fn holds_files(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_files(&entry.path()),
        Ok(_) => true,
        // Gone meanwhile.
        Err(_) => false,
    })
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
