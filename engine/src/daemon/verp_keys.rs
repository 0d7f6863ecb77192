//! The file of keys for signed return paths, in the spool directory: made at the first start, read at every one.

use crate::mail::verp::{KeyFileError, VerpKeys};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The storage options know it as a file that belongs there.
const FILE: &str = "verp.keys";

#[derive(Debug, thiserror::Error)]
pub enum VerpKeysError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Keys { path: PathBuf, source: KeyFileError },
}

/// Whether the spool in `directory` has been used before: the keys are made with it.
pub fn are_there(directory: &Path) -> bool {
    directory.join(FILE).exists()
}

/// Reads the keys of the spool in `directory`, which is locked and whose files' owners and modes are checked.
///
/// # Errors
/// When the file cannot be read or made, or holds something else.
pub fn open(directory: &Path) -> Result<VerpKeys, VerpKeysError> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => make(directory, &path),
        read => read,
    };
    let text = text.map_err(|source| VerpKeysError::Io { path: path.clone(), source })?;
    VerpKeys::parse(&text).map_err(|source| VerpKeysError::Keys { path, source })
}

fn make(directory: &Path, path: &Path) -> io::Result<String> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let text = VerpKeys::file(&secret);
    let unfinished = directory.join(format!("{FILE}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::verp::Returned;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_made_at_the_first_start_is_used_at_every_one() {
        let dir = tempfile::tempdir().unwrap();
        let returned = Returned { submission: 1, row: 2 };
        let path = open(dir.path()).unwrap().return_path("b@x.example", returned, 0);
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let again = open(dir.path()).unwrap();
        assert_eq!(again.return_path("b@x.example", returned, 0), path);
        fs::write(dir.path().join(FILE), "1 secret\n").unwrap();
        let told = open(dir.path()).unwrap_err().to_string();
        assert!(told.ends_with(
            "verp.keys: line 1: a key is its number (0 to 255), a blank, and 64 hexadecimal digits"
        ));
    }
}
