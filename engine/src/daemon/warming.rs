//! Warm-up (reference 9.1): as mail comes in, recipients of a virtual MTA that has cold ones are given to those, as far as their
//! days have room. What is given is in the file before it is used, and the choice is in the spool with the recipient.

use super::profiles::Configured;
use super::warming_file::{Unknown, WarmingFile, WarmingFileError};
use crate::base::Wall;
use crate::limit::{Book, Candidate, Day, Outcomes, Pair, Terms, Warming};
use crate::spool::record::{Attempt, Disposition};
use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmta_config::DomainSettings;

/// All warm-ups of the engine.
pub struct Warmings {
    kept: Mutex<Kept>,
    /// Whether there is one at all: what becomes of attempts is of interest.
    any: AtomicBool,
    zone: TimeZone,
}

#[derive(Default)]
pub(super) struct Kept {
    pub book: Book,
    /// `None` where nothing outlasts the engine.
    file: Option<WarmingFile>,
    /// The file could not be written: nothing is given until it can be.
    failed: bool,
    /// The engine has stopped, and the file says exactly what was given.
    ended: bool,
    /// Outcomes have been counted that the file does not know.
    counted: bool,
}

/// The cold virtual MTAs that may take a recipient, and the settings of their queues for his domain.
type Colds = Vec<(Pair, Arc<DomainSettings>)>;

impl Warmings {
    /// Without a file: for an engine that does not end.
    pub fn in_memory() -> Warmings {
        Warmings { kept: Mutex::default(), any: AtomicBool::new(false), zone: TimeZone::UTC }
    }

    /// Those of the spool in `directory`, which is `new` or has been used before.
    ///
    /// # Errors
    /// When the file can be neither read nor written.
    pub fn open(
        directory: &Path,
        new: bool,
        configured: &Configured,
        now: Wall,
    ) -> Result<Warmings, WarmingFileError> {
        let zone = TimeZone::system();
        let (file, book, unknown) = WarmingFile::open(directory, new, day(now, &zone))?;
        if let Some(unknown) = unknown.filter(|_| configured.has_cold()) {
            let why = match unknown {
                Unknown::Missing => "its file is missing".to_owned(),
                Unknown::Broken(line) => format!("line {line} of its file is damaged"),
            };
            tracing::warn!(
                directory = %directory.display(),
                "warm-up: what was given today is not known, because {why}; cold virtual MTAs are given nothing until midnight"
            );
        }
        let any = AtomicBool::new(!book.is_empty());
        Ok(Warmings { kept: Mutex::new(Kept { book, file: Some(file), ..Kept::default() }), any, zone })
    }

    /// The rows, by their places in `rows`, that a cold virtual MTA takes, and which one. `rows` are domains and virtual MTAs.
    pub fn give<'r>(
        &self,
        configured: &Configured,
        now: Wall,
        rows: impl Iterator<Item = (&'r Arc<str>, &'r Arc<str>)>,
    ) -> Vec<(usize, Arc<str>)> {
        let today = self.day(now);
        let mut known: HashMap<(usize, usize), Colds> = HashMap::new();
        let mut kept = self.kept();
        if kept.ended || (kept.failed && !kept.write_anew()) {
            return Vec::new();
        }
        let mut given = Vec::new();
        for (row, (domain, vmta)) in rows.enumerate() {
            // Within a call equal names share an allocation, or are looked up once more.
            let key = (domain.as_ptr() as usize, vmta.as_ptr() as usize);
            let colds = known.entry(key).or_insert_with(|| colds(configured, domain, vmta, now));
            if colds.is_empty() {
                continue;
            }
            let candidates: smallvec::SmallVec<[Candidate<'_>; 4]> = colds
                .iter()
                .map(|(pair, settings)| Candidate { pair: pair.clone(), terms: terms(settings) })
                .collect();
            if let Some(number) = kept.book.take(&candidates, today) {
                given.push((row, colds[number].0.vmta.clone()));
            }
        }
        if given.is_empty() || !kept.reserve() {
            return Vec::new();
        }
        self.any.store(true, Ordering::Relaxed);
        given
    }

    /// Counts what became of an attempt.
    pub fn note(&self, attempt: &Attempt, disposition: Disposition, now: impl FnOnce() -> Wall) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let outcomes = match disposition {
            Disposition::Delivered => Outcomes { delivered: 1, ..Outcomes::default() },
            Disposition::Deferred | Disposition::InDoubt => Outcomes { deferred: 1, ..Outcomes::default() },
            Disposition::Bounced => Outcomes { bounced: 1, ..Outcomes::default() },
            // Nothing was tried.
            Disposition::Expired | Disposition::Deleted { .. } => return,
        };
        let domain = attempt.queue.split('/').next().unwrap_or_default();
        let mut kept = self.kept();
        kept.counted |= kept.book.note(&attempt.vmta, domain, self.day(now()), outcomes);
    }

    /// Writes down what has been counted since the last time; to be called now and then.
    pub fn save(&self) {
        let mut kept = self.kept();
        if !kept.ended && std::mem::take(&mut kept.counted) {
            kept.write_anew();
        }
    }

    /// The engine stops: writes down exactly what was given.
    pub fn end(&self) {
        let mut kept = self.kept();
        kept.ended = true;
        kept.book.settle();
        kept.write_anew();
    }

    /// That of the calendar here.
    pub(super) fn day(&self, now: Wall) -> Day {
        day(now, &self.zone)
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Makes durable what has been given; whether it may be used.
    fn reserve(&mut self) -> bool {
        let Kept { book, file: Some(file), failed, .. } = self else { return true };
        let changed = book.reserve();
        if changed.is_empty() {
            return true;
        }
        let written = file.append(&changed, book);
        if let Err(error) = &written {
            tracing::error!(%error, "warm-up: its file cannot be written; cold virtual MTAs are given nothing until it can be");
            *failed = true;
        }
        written.is_ok()
    }

    /// Changes a warm-up, in the file too.
    pub fn put(&mut self, pair: Pair, warming: Warming) -> io::Result<()> {
        self.book.put(pair, warming);
        self.file.as_mut().map_or(Ok(()), |file| file.rewrite(&self.book))
    }

    fn write_anew(&mut self) -> bool {
        let Kept { book, file: Some(file), failed, .. } = self else { return true };
        let written = file.rewrite(book).is_ok();
        if written && std::mem::take(failed) {
            tracing::info!("warm-up: its file can be written again");
        }
        written
    }
}

/// What the settings of its queue say of a warm-up.
pub(super) fn terms(settings: &DomainSettings) -> Terms<'_> {
    Terms {
        limits: &settings.max_cold_virtual_mta_msg,
        hold_above: settings.cold_virtual_mta_hold_above,
        lower_above: settings.cold_virtual_mta_lower_above,
    }
}

/// Those that a virtual MTA warms up, each with the queue that it has for the domain.
fn colds(configured: &Configured, domain: &Arc<str>, vmta: &Arc<str>, now: Wall) -> Colds {
    let named = configured.config.virtual_mta(vmta).map_or(&[][..], |vmta| &vmta.cold);
    let cold = |name: &String| {
        let vmta: Arc<str> = name.as_str().into();
        let domain = configured.queue_of(domain, &vmta, now).domain;
        let settings = configured.config.queue(&domain, &vmta);
        (Pair { vmta, domain }, settings)
    };
    named.iter().map(cold).collect()
}

fn day(now: Wall, zone: &TimeZone) -> Day {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    let now = Timestamp::from_millisecond(now.0).unwrap_or_default();
    let days = now.to_zoned(zone.clone()).date().duration_since(EPOCH).as_hours() / 24;
    Day(i32::try_from(days).unwrap_or(i32::MAX))
}
