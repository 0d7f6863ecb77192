//! From a path to a configuration, or to everything that is wrong with it.

use crate::build::build;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::files::Files;
use crate::tree::Reader;

/// The outcome of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// `None` if there is an error among the diagnostics.
    pub config: Option<Config>,
    /// In the order of the files, those about no line in particular last; warnings too.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the configuration at `path` with everything it includes, and reports all faults at once. In `lenient` mode a
/// faulty line is left out with a warning instead of being an error.
pub fn load(path: &str, files: &dyn Files, lenient: bool) -> Loaded {
    let mut reader = Reader::new(files, lenient);
    let Some(items) = reader.main(path) else {
        return Loaded { config: None, diagnostics: reader.findings.finish() };
    };
    let Reader { sources, mut findings, .. } = reader;
    let config = build(&sources, &mut findings, &items);
    let diagnostics = findings.finish();
    let config = (!diagnostics.iter().any(Diagnostic::is_error)).then_some(config);
    Loaded { config, diagnostics }
}
