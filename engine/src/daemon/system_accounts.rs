//! Passwords of the system's accounts, for `authentication-method system`: the program that `pam_unix` asks knows them, so
//! that we neither read nor keep any.

use crate::smtp::password::Password;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Where the program is.
const HELPERS: [&str; 2] = ["/usr/sbin/unix_chkpwd", "/sbin/unix_chkpwd"];
/// Programs at once: a password is made expensive to check, and who guesses is not to have all processors.
const AT_ONCE: usize = 4;
/// For one password, waiting for its turn included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest name of an account (`LOGIN_NAME_MAX`, with its NUL).
const MAX_NAME: usize = 255;
/// What PAM's results are as exit codes: `PAM_AUTH_ERR`, `PAM_AUTHINFO_UNAVAIL`, `PAM_USER_UNKNOWN`, `PAM_NEW_AUTHTOK_REQD`,
/// `PAM_ACCT_EXPIRED`. The second is how PAM 1.5 says to root that there is no such account.
const NOT_HIM: [i32; 5] = [7, 9, 10, 12, 13];

/// Why a password could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("only root may check passwords of accounts: the engine has to be started by root")]
    NotRoot,
    #[error("there is no {}: install PAM", HELPERS[0])]
    NoHelper,
    #[error("{0} could not be run: {1}")]
    NotRun(String, io::Error),
    #[error("{0} ended with {1}")]
    Ended(String, ExitStatus),
    #[error("no result in time")]
    Late,
}

#[derive(Debug)]
pub struct SystemAccounts {
    room: Semaphore,
    patience: Duration,
}

impl Default for SystemAccounts {
    fn default() -> SystemAccounts {
        SystemAccounts { room: Semaphore::new(AT_ONCE), patience: PATIENCE }
    }
}

impl SystemAccounts {
    /// Whether this is the password of an account that may be used.
    pub async fn knows(&self, account: &str, password: &Password) -> Result<bool, Unavailable> {
        // To others the program tells only of themselves.
        if !rustix::process::getuid().is_root() {
            return Err(Unavailable::NotRoot);
        }
        let helper = HELPERS.iter().find(|path| Path::new(path).exists()).ok_or(Unavailable::NoHelper)?;
        self.ask(helper, account, password).await
    }

    async fn ask(&self, helper: &str, account: &str, password: &Password) -> Result<bool, Unavailable> {
        if !can_be_name(account) || password.as_bytes().is_empty() || password.as_bytes().contains(&0) {
            return Ok(false);
        }
        let asked = async {
            let _room = self.room.acquire().await.expect("the semaphore is never closed");
            let mut said = Zeroizing::new(Vec::with_capacity(password.as_bytes().len() + 1));
            said.extend_from_slice(password.as_bytes());
            said.push(0);
            // A password may be right and its account closed.
            Ok(says_yes(helper, &[account, "nonull"], &said).await?
                && says_yes(helper, &[account, "chkexpiry"], &[]).await?)
        };
        tokio::time::timeout(self.patience, asked).await.unwrap_or(Err(Unavailable::Late))
    }
}

/// Whether it may be handed to a program.
fn can_be_name(account: &str) -> bool {
    (1..=MAX_NAME).contains(&account.len())
        && !account.starts_with('-')
        && !account.contains(|c: char| c.is_control())
}

/// Runs the program with `said` for its standard input.
async fn says_yes(helper: &str, arguments: &[&str], said: &[u8]) -> Result<bool, Unavailable> {
    match run(helper, arguments, said).await {
        Ok(status) if status.success() => Ok(true),
        Ok(status) if status.code().is_some_and(|code| NOT_HIM.contains(&code)) => Ok(false),
        Ok(status) => Err(Unavailable::Ended(helper.to_owned(), status)),
        Err(e) => Err(Unavailable::NotRun(helper.to_owned(), e)),
    }
}

async fn run(helper: &str, arguments: &[&str], said: &[u8]) -> io::Result<ExitStatus> {
    let mut command = Command::new(helper);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe takes so little at once. A program that does not want to hear it says by its exit code what that means.
        let _ = stdin.write_all(said);
    }
    let _running = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(program) => Running(program),
        Err(e) => {
            child.kill()?;
            child.wait()?;
            return Err(e.into());
        }
    };
    tokio::task::spawn_blocking(move || child.wait()).await?
}

/// A program that does not outlive our interest in it.
struct Running(OwnedFd);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to be ended once it has been waited for.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told_by(script: &str, password: &str) -> Result<bool, Unavailable> {
        told_within(Duration::MAX, script, password).await
    }

    /// What comes of a program that does this: `sh` with the account for its script, which knows what it was called with.
    async fn told_within(patience: Duration, script: &str, password: &str) -> Result<bool, Unavailable> {
        let directory = tempfile::tempdir().unwrap();
        let account = directory.path().join("account");
        std::fs::write(&account, script).unwrap();
        let accounts = SystemAccounts { patience, ..SystemAccounts::default() };
        accounts.ask("/bin/sh", account.to_str().unwrap(), &Password::new(password)).await
    }

    #[tokio::test]
    async fn the_exit_code_says_it() {
        for code in [7, 9, 10, 12, 13] {
            assert!(!told_by(&format!("exit {code}"), "secret").await.unwrap(), "{code}");
        }
        for script in ["exit 1", "exit 4", "kill -9 $$"] {
            assert!(matches!(told_by(script, "secret").await, Err(Unavailable::Ended(..))), "{script}");
        }
        let gone = SystemAccounts::default().ask("/nowhere", "ann", &Password::new("secret")).await;
        assert!(matches!(gone, Err(Unavailable::NotRun(..))));
    }

    const SECRET: &str = "[ $1 = chkexpiry ] && exit EXPIRY\n[ $1 = nonull ] && [ $# = 1 ] && \
                          [ \"$(/usr/bin/od -An -c | /usr/bin/tr -d ' \\n')\" = 'secret\\0' ] || exit 7";

    #[tokio::test]
    async fn the_password_is_said_and_the_account_must_be_open() {
        let with = |expiry: &str| SECRET.replace("EXPIRY", expiry);
        assert!(told_by(&with("0"), "secret").await.unwrap());
        assert!(!told_by(&with("0"), "secrets").await.unwrap());
        assert!(!told_by(&with("13"), "secret").await.unwrap());
    }

    /// The runtime of the test waits for it too.
    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended() {
        let told = told_within(Duration::from_millis(10), "exec sleep 1000", "secret").await;
        assert!(matches!(told, Err(Unavailable::Late)));
    }

    #[tokio::test]
    async fn no_program_is_run_for_what_is_no_name_or_password() {
        let accounts = SystemAccounts::default();
        let (long, longest) = ("x".repeat(256), "x".repeat(255));
        for (account, password) in
            [("", "x"), ("-h", "x"), ("a\nb", "x"), (&long, "x"), ("ann", ""), ("ann", "x\0y")]
        {
            assert!(!accounts.ask("/nowhere", account, &Password::new(password)).await.unwrap(), "{account}");
        }
        assert!(accounts.ask("/nowhere", &longest, &Password::new("x")).await.is_err());
    }
}
