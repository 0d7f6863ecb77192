//! The ground an engine stands on: a directory with everything in it, a port, a configuration. Outlives the engine,
//! so that one can be killed and another started on the same spool.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

use crate::engine::Engine;

/// Grounds made by this process; each listens on an address of its own.
static GROUNDS: AtomicU8 = AtomicU8::new(0);

/// The directories that the engine and those who feed it keep things in.
const KEPT: [&str; 6] = ["spool", "pickup", "bad", "reports", "acct", "staging"];

/// Directory, port and configuration.
#[derive(Debug)]
pub struct Ground {
    dir: TempDir,
    /// Where mail and accounts lie: a directory of `dir`'s, or a volume that is to fail.
    volume: PathBuf,
    /// Where the engine takes mail by SMTP.
    pub listen: SocketAddr,
    /// `auto`, `uring` or `blocking`.
    pub runtime: &'static str,
    /// Lines of configuration beyond the basic ones.
    extra: String,
}

impl Drop for Ground {
    /// What a failed test leaves is kept where `POSTHASTE_KEEP` asks for it.
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("POSTHASTE_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}

impl Ground {
    /// Empty directories below the build directory, which is on a real disk where `/tmp` may not be.
    pub fn new() -> io::Result<Ground> {
        Ground::with(None)
    }

    /// The same, with all that has to outlast the engine on `volume`, a mounted file system.
    pub fn on(volume: &Path) -> io::Result<Ground> {
        Ground::with(Some(volume))
    }

    fn with(volume: Option<&Path>) -> io::Result<Ground> {
        let dir = tempfile::Builder::new().prefix("ground-").tempdir_in(scratch()?)?;
        let volume = volume.unwrap_or(dir.path()).to_path_buf();
        for name in KEPT {
            // Others may read along elsewhere; a spool that they can enter is refused.
            fs::DirBuilder::new().mode(0o700).create(volume.join(name))?;
        }
        // They were there long before whatever happens to the volume.
        rustix::fs::syncfs(fs::File::open(&volume)?)?;
        // Tests of one program run side by side, and so do programs: the address tells the first apart, the port
        // that the kernel chooses the second.
        let ip = Ipv4Addr::new(127, 0, 77, GROUNDS.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let listen = TcpListener::bind((ip, 0))?.local_addr()?;
        Ok(Ground { dir, volume, listen, runtime: "auto", extra: String::new() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if KEPT.contains(&name) { self.volume.join(name) } else { self.dir.path().join(name) }
    }

    /// Leaves the directory on disk, for somebody to look into, with what lies on a volume of its own.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        if self.volume != self.dir.path() {
            // As much as can be had: the volume may be broken on purpose.
            let kept = KEPT.map(|name| self.volume.join(name));
            let _ = Command::new("cp").arg("-a").args(kept).arg(self.dir.path()).status();
        }
        self.dir.path().to_path_buf()
    }

    /// Adds lines of configuration.
    pub fn add(&mut self, lines: &str) -> &mut Ground {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Sends `domain` to `to`, with further directives, one per line.
    pub fn route(&mut self, domain: &str, to: SocketAddr, directives: &str) -> &mut Ground {
        let host = match to.ip() {
            IpAddr::V4(ip) => format!("[{ip}]"),
            IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        };
        self.add(&format!("<domain {domain}>\n  smtp-hosts {host}:{}\n{directives}\n</domain>", to.port()))
    }

    /// A virtual MTA that sends from `ip`.
    pub fn vmta(&mut self, name: &str, ip: Ipv4Addr) -> &mut Ground {
        self.add(&format!(
            "<virtual-mta {name}>\n  smtp-source-host {ip} {name}.sender.example\n</virtual-mta>"
        ))
    }

    /// The whole configuration.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let (dir, volume) = (self.dir.path().display(), self.volume.display());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "host-name mail.sender.example\n\
             log-file {dir}/log\n\
             <spool {volume}/spool>\n</spool>\n\
             pickup {volume}/pickup {volume}/bad\n\
             reports {volume}/reports\n\
             control-socket {dir}/control\n\
             runtime {}\n\
             smtp-listener {}\n\
             <source 127.0.0.0/8>\n  smtp-service yes\n  always-allow-relaying yes\n  process-x-virtual-mta yes\n  \
             process-x-job yes\n  process-x-envid yes\n  suppress-local-dsn yes\n</source>\n\
             <source {{pickup}}>\n  process-x-virtual-mta yes\n  process-x-job yes\n  process-x-envid yes\n  \
             suppress-local-dsn yes\n</source>\n\
             <acct-file {volume}/acct/acct.csv>\n  records d,b,t,tq\n</acct-file>\n\
             {}",
            self.runtime, self.listen, self.extra
        );
        text
    }

    /// Starts an engine here and waits until it takes mail.
    pub fn start(&self) -> io::Result<Engine> {
        self.start_with(&self.text())
    }

    /// The same with another configuration, which listens where this ground's does.
    pub fn start_with(&self, configuration: &str) -> io::Result<Engine> {
        fs::write(self.path("config"), configuration)?;
        Engine::start(Command::new(engine_program()?), self.dir.path(), self.listen)
    }

    /// The same through a program that starts its further arguments in some special way.
    pub fn start_through(&self, mut launcher: Command) -> io::Result<Engine> {
        launcher.arg(engine_program()?);
        fs::write(self.path("config"), self.text())?;
        Engine::start(launcher, self.dir.path(), self.listen)
    }

    /// Starts an engine with this configuration and a variable in its environment, and waits for nothing.
    pub fn spawn_with(&self, configuration: &str, variable: &str, value: &str) -> io::Result<Engine> {
        fs::write(self.path("config"), configuration)?;
        let mut command = Command::new(engine_program()?);
        command.env(variable, value);
        Engine::spawn(command, self.dir.path())
    }

    /// Starts an engine and waits for nothing.
    pub fn spawn(&self) -> io::Result<Engine> {
        fs::write(self.path("config"), self.text())?;
        Engine::spawn(Command::new(engine_program()?), self.dir.path())
    }

    /// Puts a file into the pickup directory the way it is to be done: written elsewhere, renamed in.
    pub fn pick_up(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let staged = self.path("staging").join(name);
        let mut file = fs::File::create(&staged)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(staged, self.path("pickup").join(name))
    }

    /// Files and campaigns that wait in the pickup directory. Hidden names are the engine's own.
    pub fn waiting_files(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.path("pickup")) else { return 0 };
        entries.flatten().filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).count()
    }
}

/// A directory below the build directory for what programs leave for a while.
pub fn scratch() -> io::Result<PathBuf> {
    let scratch = programs()?.join("tmp");
    fs::create_dir_all(&scratch)?;
    Ok(scratch)
}

/// The directory that cargo builds programs into.
pub fn programs() -> io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().unwrap_or(Path::new("/"));
    // Tests lie one directory below the programs.
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_path_buf())
}

/// The engine: what `POSTHASTE_ENGINE` names, else the one built last beside this program: `posthaste`, or the copy that
/// is built together with the tests.
pub fn engine_program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTHASTE_ENGINE") {
        return Ok(PathBuf::from(path));
    }
    let beside = programs()?;
    let built = ["posthaste", "engine-under-test"].into_iter().filter_map(|name| {
        let path = beside.join(name);
        Some((fs::metadata(&path).ok()?.modified().ok()?, path))
    });
    match built.max() {
        Some((_, path)) => Ok(path),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "no engine in {}: build it with `cargo build -p posthaste` and this program's profile, or name one in \
                 POSTHASTE_ENGINE",
                beside.display()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    #[test]
    fn the_configuration_of_a_ground_is_one_the_language_accepts() {
        let mut ground = Ground::new().expect("the build directory is writable");
        ground.vmta("a", Ipv4Addr::new(127, 0, 0, 11)).route(
            "x.example",
            SocketAddr::from(([127, 0, 0, 1], 2525)),
            "  max-smtp-out 5\n  max-msg-rate 100/s",
        );
        let files = MemoryFiles::new([("config", ground.text().as_str())]);
        let loaded = load("config", &files, false);
        let told: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
        let config = loaded.config.expect("no errors, so a configuration");
        assert_eq!(config.queue("x.example", "a").max_smtp_out, 5);
        let notes: Vec<_> = config.notes().iter().map(|n| format!("{n:?}")).collect();
        assert!(notes.is_empty(), "directives without effect: {notes:#?}");
    }
}
