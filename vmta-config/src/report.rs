//! What became of every line: nothing that was written is ignored without being counted here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::source::Sources;
use crate::table::Status;

/// The directives and opening tags of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    pub file: Arc<str>,
    /// Lines that hold one; the sum of those below.
    pub lines: u32,
    pub in_effect: u32,
    /// Understood, and not in effect yet.
    pub planned: u32,
    /// Understood, without effect for good.
    pub without_effect: u32,
    /// In an older form, and read as the newer one.
    pub older: u32,
    /// Faulty, or inside a faulty tag. In strict mode there is no configuration then.
    pub left_out: u32,
    /// Findings about this file.
    pub errors: u32,
    pub warnings: u32,
}

impl FileReport {
    fn new(file: Arc<str>) -> FileReport {
        FileReport {
            file,
            lines: 0,
            in_effect: 0,
            planned: 0,
            without_effect: 0,
            older: 0,
            left_out: 0,
            errors: 0,
            warnings: 0,
        }
    }

    pub fn understood(&self) -> u32 {
        self.in_effect + self.planned + self.without_effect + self.older
    }

    fn add(&mut self, other: &FileReport) {
        self.lines += other.lines;
        self.in_effect += other.in_effect;
        self.planned += other.planned;
        self.without_effect += other.without_effect;
        self.older += other.older;
        self.left_out += other.left_out;
    }
}

/// Counts while files are read; a file is a number of [`Sources`].
#[derive(Debug, Default)]
pub(crate) struct Usage(Vec<FileReport>);

impl Usage {
    fn of(&mut self, file: u32) -> &mut FileReport {
        while self.0.len() <= file as usize {
            self.0.push(FileReport::new("".into()));
        }
        &mut self.0[file as usize]
    }

    pub fn line(&mut self, file: u32) {
        self.of(file).lines += 1;
    }

    pub fn understood(&mut self, file: u32, status: Status) {
        let of = self.of(file);
        *match status {
            Status::InEffect => &mut of.in_effect,
            Status::Planned => &mut of.planned,
            Status::NoEffect(_) => &mut of.without_effect,
            Status::Replaced(_) => &mut of.older,
        } += 1;
    }

    pub fn left_out(&mut self, file: u32) {
        self.of(file).left_out += 1;
    }

    /// One report a file, in the order of reading; a file that is included several times is counted each time.
    pub fn reports(mut self, sources: &Sources, diagnostics: &[Diagnostic]) -> Vec<FileReport> {
        let mut reports: Vec<FileReport> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        for file in 0..sources.len() as u32 {
            let counted = self.of(file).clone();
            let path = sources.path(file);
            let at = *places.entry(path.clone()).or_insert(reports.len());
            if at == reports.len() {
                reports.push(FileReport::new(path.clone()));
            }
            reports[at].add(&counted);
        }
        for diagnostic in diagnostics {
            let Some(at) = diagnostic.origin.as_ref().and_then(|o| places.get(&o.file)) else { continue };
            let report = &mut reports[*at];
            *if diagnostic.is_error() { &mut report.errors } else { &mut report.warnings } += 1;
        }
        reports
    }
}
