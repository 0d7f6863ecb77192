//! Where configuration text comes from. The loader asks this trait, so that tests and the simulator read from memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Most bytes accepted in one configuration file.
pub const MAX_FILE: u64 = 64 << 20;
/// Most files one wildcard may name.
const MAX_MATCHES: usize = 10_000;

/// Read access to configuration files. Paths use forward slashes.
pub trait Files {
    /// The whole text of one file. A path may be a URL where an `include` named one (see [`is_url`]).
    fn read(&self, path: &str) -> io::Result<String>;
    /// The files that match `pattern` (`*` and `?` within one path component), in the order of their names.
    fn glob(&self, pattern: &str) -> io::Result<Vec<String>>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &str) -> io::Result<String> {
        if is_url(path) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it is on the network"));
        }
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
        }
        text_of(std::fs::read(path)?)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        let (mut found, rest) = match pattern.strip_prefix('/') {
            Some(rest) => (vec!["/".to_string()], rest),
            None => (vec![String::new()], pattern),
        };
        let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
        for (i, part) in parts.iter().enumerate() {
            found = expand(&found, part, i + 1 == parts.len())?;
        }
        Ok(found)
    }
}

/// The text of a file that was read; an error names the line that is not UTF-8.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        let why = format!("line {line} is not UTF-8; save the file as UTF-8");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// Whether a path is to be fetched by HTTP.
pub fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// One path component of a wildcard: every directory in `found`, each with every entry that matches `part`.
fn expand(found: &[String], part: &str, last: bool) -> io::Result<Vec<String>> {
    let mut next = Vec::new();
    for directory in found {
        if !is_wildcard(part) {
            let path = join(directory, part);
            if Path::new(&path).exists() {
                next.push(path);
            }
            continue;
        }
        let listed = if directory.is_empty() { "." } else { directory };
        if !Path::new(listed).is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(listed)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_string) else { continue };
            let hidden = name.starts_with('.') && !part.starts_with('.');
            let path = join(directory, &name);
            if !hidden && matches_wildcard(part, &name) && (!last || Path::new(&path).is_file()) {
                next.push(path);
            }
        }
        if next.len() > MAX_MATCHES {
            return Err(io::Error::other(format!("matches more than {MAX_MATCHES} files")));
        }
    }
    next.sort();
    Ok(next)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() || directory.ends_with('/') {
        format!("{directory}{name}")
    } else {
        format!("{directory}/{name}")
    }
}

pub(crate) fn is_wildcard(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// `*` stands for any run of characters, `?` for one. Linear in both lengths but for one backtrack point.
pub(crate) fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        if i < p.len() && p[i] == '*' {
            star = Some((i, j));
            i += 1;
        } else if i < p.len() && (p[i] == '?' || p[i] == n[j]) {
            i += 1;
            j += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (i, j) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// Files held in memory, by path.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(BTreeMap<String, String>);

impl MemoryFiles {
    pub fn new<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> MemoryFiles {
        MemoryFiles(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        let same_depth = |p: &str| p.matches('/').count() == pattern.matches('/').count();
        Ok(self.0.keys().filter(|p| same_depth(p) && matches_wildcard(pattern, p)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_one_component() {
        assert!(matches_wildcard("*.conf", "a.conf"));
        assert!(matches_wildcard("a*b*c", "axxbyyc"));
        assert!(!matches_wildcard("a*b*c", "axxbyy"));
        assert!(matches_wildcard("?.conf", "x.conf"));
        assert!(!matches_wildcard("?.conf", "xy.conf"));
        assert!(matches_wildcard("*", ""));
    }

    #[test]
    fn the_file_system_lists_matches_by_name_and_leaves_hidden_files_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let pattern = format!("{}/*.conf", dir.path().display());
        let found = OsFiles.glob(&pattern).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert_eq!(OsFiles.read(&found[0]).unwrap(), "a.conf");
    }

    #[test]
    fn a_file_that_is_not_utf8_says_on_which_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latin1");
        std::fs::write(&path, b"ok\nd\xe9j\xe0\n").unwrap();
        let error = OsFiles.read(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("line 2 is not UTF-8"), "{error}");
    }
}
