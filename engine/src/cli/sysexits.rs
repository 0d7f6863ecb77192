//! How `sendmail` ends: the statuses of sysexits.h, by which the programs that call it tell what to do next.

use std::io::ErrorKind;
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sysexit {
    /// The command was used wrongly.
    Usage = 64,
    /// The message or an address cannot be taken as it is.
    DataErr = 65,
    /// There is no such user.
    NoUser = 67,
    /// What is asked for is not to be had here.
    Unavailable = 69,
    /// A file cannot be made.
    CantCreat = 73,
    /// Reading or writing failed.
    IoErr = 74,
    /// It may go well later.
    TempFail = 75,
    NoPerm = 77,
    /// The configuration does not say what is needed.
    Config = 78,
}

/// Why nothing was sent.
#[derive(Debug)]
pub struct Failure {
    pub exit: Sysexit,
    pub text: String,
}

impl Sysexit {
    pub fn because(self, text: impl Into<String>) -> Failure {
        Failure { exit: self, text: text.into() }
    }

    /// What a failed write to a disk amounts to.
    pub fn of_write(cause: ErrorKind) -> Sysexit {
        match cause {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Sysexit::NoPerm,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Sysexit::CantCreat,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Sysexit::TempFail,
            _ => Sysexit::IoErr,
        }
    }
}

impl From<Sysexit> for ExitCode {
    fn from(exit: Sysexit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
