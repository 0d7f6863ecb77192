//! Files that are in the program: `include builtin:NAME` reads them wherever it stands.

use std::io;

use crate::nearest::nearest;

const PREFIX: &str = "builtin:";

/// Their names and texts.
const FILES: [(&str, &str); 2] = [
    ("builtin:providers", include_str!("../providers.conf")),
    ("builtin:replies", include_str!("../replies.conf")),
];

/// Whether a path names such a file, or tries to.
pub(crate) fn is_builtin(path: &str) -> bool {
    path.starts_with(PREFIX)
}

pub(crate) fn read(path: &str) -> io::Result<String> {
    if let Some((_, text)) = FILES.iter().find(|(name, _)| *name == path) {
        return Ok(text.to_string());
    }
    let names = FILES.map(|(name, _)| name);
    let why = match nearest(path, names) {
        Some(near) => format!("there is no such file in the program; did you mean {near}?"),
        None => format!("there is no such file in the program; there are {}", names.join(" and ")),
    };
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}
