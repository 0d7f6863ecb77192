//! From the log to the files: reads entries, makes lines, writes them out, keeps the cursor (reliability R6, F24).
//!
//! There is one way to continue, at start as after any failure: go back to the saved cursor and make the lines
//! again. Lines that are in a file already are recognised there, so each appears once.

use super::accounting_cursor::{Cursor, CursorFile, Mark};
use super::accounting_file::{AcctFile, FileError, FileOptions, failed};
use super::accounting_log::{Entry, Log, RowFields, RowText};
use crate::acct::{Categories, Category, Record, RecordType, Stamp};
use crate::base::Wall;
use crate::io::failpoint::{Point, pass};
use crate::spool::record::{Attempt, Location, Outcome, OutcomeBatch, Submission};
use hashbrown::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A buffer this large is written out before more lines are made, bytes.
const BUFFER: usize = 256 << 10;
/// The cursor is saved at least this often while there are lines, milliseconds.
const SAVE_EVERY: i64 = 1_000;
/// And after this many bytes, which bounds what is made again after a crash.
const SAVE_BYTES: u64 = 16 << 20;
/// Finished files are looked after this often, milliseconds.
const SWEEP_EVERY: i64 = 60_000;
/// Submissions kept decoded; one campaign is one submission.
const SUBMISSIONS: usize = 4_096;

/// What is accounted, and how.
pub struct StreamOptions {
    /// Directory of the cursor: the spool's.
    pub cursor_directory: PathBuf,
    pub files: Vec<FileOptions>,
    pub categories: Categories,
    pub stamp: Stamp,
}

/// Accounting without its thread and clock.
pub struct Stream<L> {
    log: L,
    files: Vec<AcctFile>,
    lines: Lines,
    cursor_directory: PathBuf,
    /// Both copies; `None` until [`Stream::recover`] succeeds.
    cursor_file: Option<CursorFile>,
    /// As last saved.
    cursor: Cursor,
    /// The cursor saved before that: the log is kept from there, in case the last copy is damaged.
    kept_from: Location,
    saved_at: Wall,
    swept_at: Wall,
    checked_at: Wall,
    rotate: Vec<Option<PathBuf>>,
    /// No longer configured; finished, and to be swept once more.
    leaving: Vec<AcctFile>,
    /// A new configuration that waits for its turn.
    next: Option<StreamOptions>,
    wants_rows: bool,
}

/// Makes lines from entries.
struct Lines {
    categories: Categories,
    stamp: Stamp,
    submissions: HashMap<Location, Option<Arc<Submission>>>,
    /// Category of each `said` of the batch at hand.
    said: Vec<Option<Category>>,
    row: RowText,
}

impl<L: Log> Stream<L> {
    pub fn new(options: StreamOptions, log: L) -> Stream<L> {
        let files: Vec<AcctFile> = options.files.into_iter().map(AcctFile::new).collect();
        let wants_rows = want_rows(&files);
        Stream {
            log,
            files,
            lines: Lines {
                categories: options.categories,
                stamp: options.stamp,
                submissions: HashMap::new(),
                said: Vec::new(),
                row: RowText::default(),
            },
            cursor_directory: options.cursor_directory,
            cursor_file: None,
            cursor: Cursor::default(),
            kept_from: Location::default(),
            saved_at: Wall(i64::MIN),
            swept_at: Wall(i64::MIN),
            checked_at: Wall(i64::MIN),
            rotate: Vec::new(),
            leaving: Vec::new(),
            next: None,
            wants_rows,
        }
    }

    /// Where accounting has got to, for status.
    pub fn position(&self) -> Location {
        self.log.position()
    }

    /// Goes to the saved cursor: at start, and after an error of any other call.
    pub fn recover(&mut self) -> Result<(), FileError> {
        // What cannot be written may be just what the new configuration is for.
        self.take_configuration();
        let directory = &self.cursor_directory;
        let (file, cursor) =
            CursorFile::open(directory).map_err(failed(directory, "read the accounting cursor"))?;
        self.cursor_file = Some(file);
        self.cursor = cursor.unwrap_or_default();
        self.kept_from = self.kept_from.min(self.cursor.location());
        // Files newly configured begin at the cursor; files no longer configured are forgotten.
        let marks: Vec<Mark> = self.files.iter().map(|f| mark_of(&self.cursor, &f.options.target)).collect();
        self.cursor.files.clone_from(&marks);
        for (file, mark) in self.files.iter_mut().zip(marks) {
            file.reopen(mark)?;
        }
        self.log.seek(self.cursor.location());
        Ok(())
    }

    /// Takes other files and categories. Every line of the log is in those of before or in these.
    pub fn configure(&mut self, options: StreamOptions) {
        self.next = Some(options);
    }

    fn take_configuration(&mut self) {
        let Some(options) = self.next.take() else { return };
        let mut before = std::mem::take(&mut self.files);
        for options in options.files {
            let kept = before.iter().position(|file| file.options.target == options.target);
            let mut file = match kept {
                Some(at) => before.swap_remove(at),
                None => AcctFile::new(options.clone()),
            };
            file.options = options;
            self.files.push(file);
        }
        before.iter_mut().for_each(AcctFile::close);
        self.leaving.append(&mut before);
        self.leaving.retain(|gone| self.files.iter().all(|f| f.options.target != gone.options.target));
        self.swept_at = Wall(i64::MIN);
        self.lines.categories = options.categories;
        self.wants_rows = want_rows(&self.files);
    }

    /// Finishes the file with this target, or all files, before the next line.
    pub fn rotate(&mut self, target: Option<PathBuf>) {
        self.rotate.push(target);
    }

    /// Makes and writes the lines of up to `entries` entries and does what is due. Gives `true` when the log may
    /// hold more. After an error [`Stream::recover`] must be called before anything else.
    pub fn step(&mut self, now: Wall, entries: usize) -> Result<bool, FileError> {
        if self.next.is_some() && !self.files.iter().any(AcctFile::is_comparing) {
            // The cursor stands behind the last line of the old files: the new ones go on from there.
            self.save(now)?;
            self.recover()?;
        }
        let mut more = true;
        for _ in 0..entries {
            let entry = self.log.next(self.wants_rows);
            let unread = |e| failed(&self.cursor_directory, "read the log")(io::Error::other(e));
            let Some(entry) = entry.map_err(unread)? else {
                more = false;
                break;
            };
            pass(Point::AccountingRead);
            self.lines.push_entry(&entry, &mut self.log, &mut self.files);
            if self.files.iter().any(|f| f.buffer.len() >= BUFFER) {
                self.write_out(now)?;
                self.rotate_due(now)?;
            }
        }
        self.write_out(now)?;
        if !more {
            self.files.iter_mut().try_for_each(AcctFile::end_of_comparison)?;
        }
        if now.0 >= self.checked_at.0.saturating_add(SAVE_EVERY) || !self.rotate.is_empty() {
            self.checked_at = now;
            self.rotate_due(now)?;
        }
        let unsynced: u64 = self.files.iter().map(AcctFile::unsynced).sum();
        if now.0 >= self.saved_at.0.saturating_add(SAVE_EVERY) || unsynced >= SAVE_BYTES {
            self.save(now)?;
        }
        if now.0 >= self.swept_at.0.saturating_add(SWEEP_EVERY) {
            self.swept_at = now;
            self.sweep(now);
        }
        Ok(more)
    }

    /// Writes and saves everything: before stopping.
    pub fn finish(&mut self, now: Wall) -> Result<(), FileError> {
        while self.step(now, 1_000)? {}
        self.save(now)
    }

    /// Empties the buffers into the files, beginning new files where needed.
    fn write_out(&mut self, now: Wall) -> Result<(), FileError> {
        // Twice, because a file may turn out to hold something else and a new one must be begun.
        for _ in 0..2 {
            for file in self.files.iter_mut().filter(|f| !f.buffer.is_empty()) {
                file.check_replaced();
            }
            if self.files.iter().any(AcctFile::needs_name) {
                self.name_files(now)?;
            }
            for file in &mut self.files {
                file.write_out()?;
            }
        }
        Ok(())
    }

    /// Chooses names and saves them in the cursor before any such file is created: after a crash it is then known
    /// which file to compare with. Only the names change: the lines made since are not yet anywhere.
    fn name_files(&mut self, now: Wall) -> Result<(), FileError> {
        let today = self.lines.stamp.day(now);
        for (file, saved) in self.files.iter_mut().zip(&mut self.cursor.files) {
            if file.needs_name() {
                file.choose_name(&today, now)?;
                saved.clone_from(&file.mark);
            }
        }
        self.save_cursor()?;
        pass(Point::AccountingNamed);
        Ok(())
    }

    /// Makes all written lines durable, then the cursor that says so, then lets go of the log before it.
    fn save(&mut self, now: Wall) -> Result<(), FileError> {
        self.write_out(now)?;
        self.saved_at = now;
        for file in &mut self.files {
            file.sync()?;
        }
        pass(Point::AccountingSynced);
        let mut cursor =
            Cursor { files: self.files.iter().map(|f| f.mark.clone()).collect(), ..Cursor::default() };
        cursor.set_location(self.log.position());
        if cursor == self.cursor && self.kept_from == self.cursor.location() {
            return Ok(());
        }
        // With nothing new the second copy is brought up to the first, so that the log can be let go of.
        let before = std::mem::replace(&mut self.cursor, cursor);
        self.save_cursor()?;
        pass(Point::AccountingCursor);
        self.kept_from = before.location();
        self.log.consumed(self.kept_from);
        Ok(())
    }

    fn save_cursor(&mut self) -> Result<(), FileError> {
        let directory = &self.cursor_directory;
        match &mut self.cursor_file {
            Some(file) => file.save(&self.cursor).map_err(failed(directory, "save the accounting cursor")),
            None => Ok(()),
        }
    }

    /// Finishes the files that are due or were asked for.
    fn rotate_due(&mut self, now: Wall) -> Result<(), FileError> {
        if self.files.iter().any(AcctFile::is_comparing) {
            return Ok(());
        }
        let today = self.lines.stamp.day(now);
        let asked = std::mem::take(&mut self.rotate);
        let due = |f: &AcctFile| {
            f.is_due(&today, now) || asked.iter().any(|t| t.as_ref().is_none_or(|t| *t == f.options.target))
        };
        if !self.files.iter().any(due) {
            return Ok(());
        }
        // First the cursor behind the last line of the old file, so that no line of it is made again.
        self.save(now)?;
        pass(Point::AccountingRotate);
        for file in &mut self.files {
            if due(file) {
                file.close();
            }
        }
        pass(Point::AccountingRotated);
        self.swept_at = now;
        self.sweep(now);
        Ok(())
    }

    /// Trouble with finished files stops nothing; it is tried again.
    fn sweep(&mut self, now: Wall) {
        let today = self.lines.stamp.day(now);
        for file in self.files.iter().chain(&self.leaving) {
            if let Err(e) = file.sweep(&today) {
                tracing::warn!("accounting: {e}");
            }
        }
        self.leaving.clear();
    }
}

fn want_rows(files: &[AcctFile]) -> bool {
    files.iter().any(|f| f.options.layout.takes(RecordType::Receipt))
}

fn mark_of(cursor: &Cursor, target: &Path) -> Mark {
    let known = cursor.files.iter().find(|m| m.target == target).cloned();
    known.unwrap_or_else(|| Mark { target: target.to_owned(), ..Mark::default() })
}

impl Lines {
    fn push_entry(&mut self, entry: &Entry, log: &mut impl Log, files: &mut [AcctFile]) {
        match entry {
            Entry::Outcomes(batch) => self.push_batch(batch, log, files),
            Entry::Rows { at, submission, rows } => self.push_receipts(*at, *submission, *rows, log, files),
        }
    }

    fn submission(&mut self, at: Location, log: &mut impl Log) -> Option<Arc<Submission>> {
        if let Some(known) = self.submissions.get(&at) {
            return known.clone();
        }
        let submission = log.submission(at);
        if self.submissions.len() >= SUBMISSIONS {
            self.submissions.clear();
        }
        self.submissions.insert(at, submission.clone());
        submission
    }

    fn push_batch(&mut self, batch: &OutcomeBatch, log: &mut impl Log, files: &mut [AcctFile]) {
        self.said.clear();
        self.said.resize(batch.said.len(), None);
        for failure in &batch.queue_failures {
            let (attempt, said) =
                (batch.attempts.get(failure.attempt as usize), batch.said.get(failure.said as usize));
            if let (Some(attempt), Some(said)) = (attempt, said) {
                push_record(&Record::of_queue_failure(failure, attempt, said), &mut self.stamp, files);
            }
        }
        for outcome in &batch.outcomes {
            self.push_outcome(outcome, batch, log, files);
        }
    }

    fn push_outcome(
        &mut self,
        outcome: &Outcome,
        batch: &OutcomeBatch,
        log: &mut impl Log,
        files: &mut [AcctFile],
    ) {
        let (attempt, said) =
            (batch.attempts.get(outcome.attempt as usize), batch.said.get(outcome.said as usize));
        // The batch passed its checksum, so indices out of range are a mistake of ours: better no line than a stop.
        let (Some(attempt), Some(said)) = (attempt, said) else { return };
        let Some(plain) = Record::of_outcome(outcome, attempt, said, None, "") else { return };
        if !files.iter().any(|f| f.options.layout.takes(plain.kind)) {
            return;
        }
        let submission = self.submission(outcome.submission, log);
        let fields = submission.as_deref().map(RowFields::of).unwrap_or_default();
        log.row(outcome.row.record, outcome.row.index, fields, &mut self.row);
        let category = plain.wants_category().then(|| {
            if !plain.speaks_for(said) {
                // Our own conclusion: the last reply's words do not explain it.
                return self.categories.of_text(plain.status, "");
            }
            let known = &mut self.said[outcome.said as usize];
            *known.get_or_insert_with(|| self.categories.of_said(said))
        });
        let record = Record {
            submission: submission.as_deref(),
            rcpt: &self.row.address,
            orcpt: &self.row.orcpt,
            orig: fields.sender.map(|_| self.row.sender.as_str()),
            category: category.map_or("", |c| self.categories.name(c)),
            ..plain
        };
        push_record(&record, &mut self.stamp, files);
    }

    fn push_receipts(
        &mut self,
        at: Location,
        submission: Location,
        rows: u32,
        log: &mut impl Log,
        files: &mut [AcctFile],
    ) {
        let known = self.submission(submission, log).unwrap_or_default();
        let fields = RowFields::of(&known);
        for index in 0..u16::try_from(rows).unwrap_or(u16::MAX) {
            log.row(at, index, fields, &mut self.row);
            let RowText { address, vmta, orcpt, sender } = &self.row;
            let orig = fields.sender.map(|_| sender.as_str());
            let record = Record { orcpt, orig, ..Record::of_receipt(&known, address, vmta) };
            push_record(&record, &mut self.stamp, files);
        }
    }
}

/// Puts the line into every file that takes it. Receipts are not filtered by queue (reference 2.7).
fn push_record(record: &Record<'_>, stamp: &mut Stamp, files: &mut [AcctFile]) {
    let queue = record.attempt.map_or("", |a: &Attempt| &a.queue);
    let (domain, vmta) = queue.split_once('/').unwrap_or((queue, "{default}"));
    for file in files {
        let filtered = || {
            record.kind != RecordType::Receipt
                && file.options.queue_filter.as_ref().is_some_and(|f| !f.admits(domain, vmta))
        };
        if file.options.layout.takes(record.kind) && !filtered() {
            file.options.layout.push_line(record, stamp, &mut file.buffer);
        }
    }
}

#[cfg(test)]
impl<L> Stream<L> {
    fn swap_in_full_device(&mut self) {
        self.files.iter_mut().for_each(AcctFile::swap_in_full_device);
    }
}

#[cfg(test)]
mod configure_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
