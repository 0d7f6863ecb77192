//! From a path to a configuration, or to everything that is wrong with it.

use crate::build::build;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::files::Files;
use crate::report::FileReport;
use crate::tree::Reader;

/// The outcome of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// `None` if there is an error among the diagnostics.
    pub config: Option<Config>,
    /// In the order of the files, those about no line in particular last; warnings too.
    pub diagnostics: Vec<Diagnostic>,
    /// What became of the lines of each file that was read, the main one first.
    pub files: Vec<FileReport>,
}

/// Reads the configuration at `path` with everything it includes, and reports all faults at once. In `lenient` mode a
/// faulty line is left out with a warning instead of being an error.
pub fn load(path: &str, files: &dyn Files, lenient: bool) -> Loaded {
    let mut reader = Reader::new(files, lenient);
    let items = reader.main(path);
    let Reader { sources, mut findings, mut usage, .. } = reader;
    let config = items.map(|items| build(&sources, &mut findings, &mut usage, &items, files));
    let diagnostics = findings.finish();
    let files = usage.reports(&sources, &diagnostics);
    let config = config.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
    Loaded { config, diagnostics, files }
}
