//! One campaign's import, from its directory to durable, queued recipients and a report. Runs on a thread of its own; the
//! first recipients are delivered while the last ones are still being read.

use super::at_delivery;
use super::campaign_directory::{self, CampaignDirectory};
use super::directory::Directory;
use super::import::FINISHED;
use super::intake::Intake;
use super::owners::Accepted;
use super::pickup;
use super::suppressed::suppression;
use crate::base::Wall;
use crate::ingest::batch::Batch;
use crate::ingest::campaign::Campaign;
use crate::ingest::chunk::Chunk;
use crate::ingest::import::{Import, ImportError, Settings, Taken};
use crate::ingest::prepare::{self, Prepared};
use crate::ingest::progress::Progress;
use crate::ingest::report::{RejectedRows, Report};
use crate::ingest::submission::{campaign_rows, campaign_start};
use crate::ingest::table::{Table, TableError};
use crate::io::clock;
use crate::io::failpoint::{Point, pass};
use crate::io::storage::Pending;
use crate::mail::schedule::Schedule;
use crate::mail::suppression::Suppression;
use crate::mail::{Content, Fixed, plain};
use crate::spool::SpoolError;
use crate::spool::ledger;
use crate::spool::record::{AtDelivery, Control, Draft, Group, Location, Ref, Submission};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Chunks committed together. The next group is read while one is on its way to the disk, and never overtakes it: what
/// the spool says about an import's progress is true whatever fails.
const GROUP: usize = 8;

/// What an import works with.
pub struct Job {
    pub intake: Arc<Intake>,
    pub aside: Arc<Directory>,
    pub reports: Arc<Directory>,
    /// The campaign's directory beneath `aside`.
    pub name: OsString,
    pub stop: Arc<AtomicBool>,
}

/// What the spool holds of an interrupted import.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    submission: Location,
    progress: Option<Progress>,
}

impl Stored {
    pub fn new(import: &ledger::Import) -> Stored {
        let progress = Progress::from_state(import.next_row, &import.state).ok();
        Stored { submission: import.submission, progress }
    }

    pub fn accepted(&self) -> u64 {
        self.progress.map_or(0, |progress| progress.counts.accepted)
    }
}

pub enum Outcome {
    /// Wholly stored; the directory is gone.
    Imported { identity: String },
    /// Goes to the bad directory.
    Rejected { identity: Option<String>, reason: String },
    /// To be gone on with.
    Interrupted { identity: String, stored: Option<Stored> },
}

/// Why an import ended early.
enum Stop {
    Reject(String),
    Interrupt,
}

impl From<TableError> for Stop {
    fn from(e: TableError) -> Stop {
        Stop::Reject(e.to_string())
    }
}

impl From<ImportError> for Stop {
    fn from(e: ImportError) -> Stop {
        Stop::Reject(e.to_string())
    }
}

impl From<SpoolError> for Stop {
    fn from(e: SpoolError) -> Stop {
        Stop::Reject(e.to_string())
    }
}

/// The reports cannot be written, which says nothing against the campaign.
impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Stop {
        tracing::warn!(error = %e, "import waits: its report cannot be written");
        Stop::Interrupt
    }
}

pub struct Run {
    job: Job,
    interrupted: HashMap<String, Stored>,
    done: HashSet<String>,
}

/// A campaign that was read and is right, before its rows.
struct Ready {
    campaign: Campaign,
    schedule: Schedule,
    identity: String,
    members: Vec<String>,
    domain_suffix: String,
    suppression: Option<Suppression>,
    at_delivery: AtDelivery,
    table: Table<Box<dyn BufRead + Send>>,
    prepared: Prepared,
    id: u64,
    started: Wall,
}

impl Run {
    pub fn new(job: Job, interrupted: &HashMap<String, Stored>, done: &HashSet<String>) -> Run {
        Run { job, interrupted: interrupted.clone(), done: done.clone() }
    }

    pub fn run(self) -> Outcome {
        let name = self.job.name.to_string_lossy().into_owned();
        let ready = match self.ready() {
            Ok(Ok(ready)) => ready,
            Ok(Err(identity)) => return self.remove(identity),
            Err(why) => {
                let dir = self.job.aside.subdirectory(&self.job.name);
                let identity = dir.ok().and_then(|dir| campaign_directory::identity(&dir, &self.job.name));
                let stored = identity.as_ref().and_then(|identity| self.interrupted.get_key_value(identity));
                return self.reject(&name, &why, stored);
            }
        };
        let identity = ready.identity.clone();
        let stored = self.interrupted.get(&identity).copied();
        let mut rows = Rows::new(&self.job, &ready, stored);
        match self.rows(ready, &mut rows) {
            Ok(()) => self.remove(identity),
            Err(Stop::Interrupt) => Outcome::Interrupted { identity, stored: rows.stored },
            Err(Stop::Reject(why)) => self.reject(
                &name,
                &format!("{why}\n"),
                rows.stored.as_ref().map(|stored| (&identity, stored)),
            ),
        }
    }

    /// The campaign goes to the bad directory; whoever reads why also learns what is on its way already.
    fn reject(&self, name: &str, why: &str, stored: Option<(&String, &Stored)>) -> Outcome {
        let mut reason = format!("{name}:\n{why}");
        match stored.map_or(0, |(_, stored)| stored.accepted()) {
            0 => reason.push_str(NOTHING_SENT),
            accepted => {
                let _ = writeln!(
                    reason,
                    "The first {accepted} recipients were imported before that and are being delivered. Take them out \
                     of the file before you send the rest."
                );
            }
        }
        let identity = stored.map(|(identity, _)| identity.clone());
        if let Some(identity) = &identity {
            forget(&self.job.intake, identity);
        }
        Outcome::Rejected { identity, reason }
    }

    /// Reads everything but the rows. `Ok(Err(identity))`: the campaign is wholly stored already.
    fn ready(&self) -> Result<Result<Ready, String>, String> {
        let dir = self.job.aside.subdirectory(&self.job.name).map_err(|e| format!("{e}\n"))?;
        let configured = self.job.intake.configured.load_full();
        let (id, started) = (self.job.intake.storage.new_id(), clock::wall());
        let domain_suffix = configured.domain_suffix().to_owned();
        let source = configured.config.source_named("{pickup}");
        let opened = CampaignDirectory::open(&dir, &domain_suffix, |campaign| Fixed {
            date: plain::date(started),
            submission_id: id,
            host_id: configured.config.global().host_id,
            dated_later: at_delivery::dated(&source),
            host: configured.host.to_string(),
            sender: campaign.envelope_sender.as_str().to_owned(),
        })?;
        let identity = pickup::identity(&opened.stat, &self.job.name);
        if self.done.contains(&identity) {
            return Ok(Err(identity));
        }
        let schedule = match self.interrupted.contains_key(&identity) {
            // What it was when the import began is in the spool.
            true => Schedule::default(),
            false => opened.schedule(started)?,
        };
        let CampaignDirectory { campaign, prepared, table, .. } = opened;
        let members = configured.members(&campaign.virtual_mta).ok_or_else(|| {
            format!(
                "campaign.toml: virtual-mta: there is no virtual MTA or pool {:?}\n",
                campaign.virtual_mta
            )
        })?;
        let suppression = suppression(&configured.config, &source);
        Ok(Ok(Ready {
            campaign,
            schedule,
            identity,
            members,
            domain_suffix,
            suppression,
            at_delivery: at_delivery::of_template(&source),
            table,
            prepared,
            id,
            started,
        }))
    }

    fn rows(&self, ready: Ready, rows: &mut Rows<'_>) -> Result<(), Stop> {
        let Ready {
            campaign,
            schedule,
            identity,
            members,
            domain_suffix,
            suppression,
            at_delivery,
            mut table,
            prepared,
            id,
            started,
        } = ready;
        let name = self.job.name.to_string_lossy();
        let short = name.split(".campaign").next().unwrap_or(&name).to_owned();
        let mut report = Report::new(&short, &campaign.job, id, started);
        let rejected_name = format!("{short}.rejected.csv");
        let unfinished = format!(".{name}.rejected");
        let rejected_path = self.job.reports.path().join(&unfinished);
        let out = BufWriter::new(File::create(&rejected_path)?);
        let mut rejected = RejectedRows::new(out, table.columns());
        let settings = Settings {
            vmtas: &members,
            duplicates: campaign.duplicates,
            domain_suffix: &domain_suffix,
            key: fastrand::u128(..).to_le_bytes(),
            resume: rows.stored.and_then(|s| s.progress),
        };
        rows.content = Some(prepared.content);
        rows.submission = prepare::submission(&campaign, id, started.0, &identity);
        rows.submission.schedule = schedule;
        rows.submission.at_delivery = at_delivery;
        let mut import = Import::new(prepared.plan, &settings)?.suppressing(suppression);
        let (mut batch, mut taken) = (Batch::new(), Taken::default());
        while table.read(&mut batch)? {
            import.take(&batch, &mut taken)?;
            for refused in taken.rejected.drain(..) {
                report.note(refused.line, &refused.fault);
                if let Some(row) = batch.row(refused.index) {
                    rejected.write(&row, &refused.fault)?;
                }
            }
            rows.take(&mut taken.chunks)?;
        }
        let counts = import.finish(&mut taken);
        let wrote_rejected = rejected.finish()?.is_some();
        let rejected_name = self.keep_rejected(&unfinished, &rejected_name, wrote_rejected)?;
        let counts = counts?;
        rows.finish(&mut taken.chunks)?;
        pass(Point::ImportReport);
        report.finish(counts, clock::wall(), &rejected_name);
        self.job.reports.write_new(OsStr::new(&format!("{short}.report.json")), report.json().as_bytes())?;
        pass(Point::ImportReported);
        tracing::info!(campaign = %short, job = %campaign.job, accepted = counts.accepted, duplicates = counts.duplicates,
            rejected = counts.rejected, "campaign imported");
        Ok(())
    }

    /// Gives the file of rejected rows its name, or removes it when it is empty.
    fn keep_rejected(&self, unfinished: &str, wanted: &str, wrote: bool) -> io::Result<String> {
        let reports = &self.job.reports;
        if !wrote {
            reports.remove_file(OsStr::new(unfinished))?;
            return Ok(String::new());
        }
        let name = reports.move_into(OsStr::new(unfinished), reports, OsStr::new(wanted))?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// The campaign is wholly stored: removes its directory, then its identity need not be known any longer (F26).
    fn remove(&self, identity: String) -> Outcome {
        let (aside, name) = (&self.job.aside, &self.job.name);
        let mut finished = OsString::from(FINISHED);
        finished.push(name);
        let removed = aside.move_into(name, aside, &finished).and_then(|finished| {
            aside.sync()?;
            aside.remove_directory(&finished)?;
            aside.sync()
        });
        match removed {
            Ok(()) => {
                pass(Point::ImportRemoved);
                forget(&self.job.intake, &identity);
                pass(Point::ImportForgotten);
            }
            Err(e) => {
                tracing::error!(campaign = %self.job.name.display(), error = %e,
                    "campaign was imported and its directory cannot be removed");
            }
        }
        Outcome::Imported { identity }
    }
}

/// Ends what the spool says of an import.
pub fn forget(intake: &Intake, identity: &str) {
    let done = Draft::Control(Control::PickupDone { identity: identity.to_owned() });
    let forgotten = Draft::Control(Control::PickupForgotten { identity: identity.to_owned() });
    if let Err(e) = intake.storage.submit(Group { drafts: vec![done, forgotten] }).wait() {
        tracing::warn!(error = %e, "the end of an import could not be noted; the next start notes it");
    }
}

const NOTHING_SENT: &str =
    "Nothing of this campaign was sent. Correct it and move it into the pickup directory again.\n";

/// Rows on their way to the spool and to their queues.
struct Rows<'j> {
    job: &'j Job,
    identity: String,
    vmtas: Vec<Arc<str>>,
    domains: Vec<Arc<str>>,
    submission: Submission,
    /// Until it is stored with the first group.
    content: Option<Content>,
    stored: Option<Stored>,
    accepted: Option<Accepted>,
    waiting: Vec<Chunk>,
    underway: Option<(Pending, Vec<Chunk>)>,
}

impl<'j> Rows<'j> {
    fn new(job: &'j Job, ready: &Ready, stored: Option<Stored>) -> Rows<'j> {
        Rows {
            job,
            identity: ready.identity.clone(),
            vmtas: ready.members.iter().map(|name| name.as_str().into()).collect(),
            domains: Vec::new(),
            submission: Submission::default(),
            content: None,
            stored,
            accepted: None,
            waiting: Vec::new(),
            underway: None,
        }
    }

    /// Takes chunks; submits a group when there are more than enough for one. (The last chunk is held back, since its
    /// group also says that it is the last.)
    fn take(&mut self, chunks: &mut Vec<Chunk>) -> Result<(), Stop> {
        self.waiting.append(chunks);
        if self.job.stop.load(Ordering::Relaxed) {
            self.land()?;
            return Err(Stop::Interrupt);
        }
        while self.waiting.len() > GROUP {
            let rest = self.waiting.split_off(GROUP);
            let group = std::mem::replace(&mut self.waiting, rest);
            self.submit(group, false)?;
        }
        Ok(())
    }

    fn finish(&mut self, chunks: &mut Vec<Chunk>) -> Result<(), Stop> {
        self.take(chunks)?;
        let last = std::mem::take(&mut self.waiting);
        if !last.is_empty() {
            self.submit(last, true)?;
        }
        self.land()
    }

    fn submit(&mut self, mut chunks: Vec<Chunk>, last: bool) -> Result<(), Stop> {
        self.land()?;
        for chunk in &chunks {
            self.domains.truncate(chunk.first_new_domain as usize);
            self.domains.extend(chunk.new_domains.iter().cloned());
        }
        let domains = &self.domains;
        self.job.intake.cool_chunks(&mut chunks, &mut self.vmtas, |n| domains.get(n as usize), clock::wall());
        let group = self.group(&mut chunks, last);
        pass(Point::ImportSubmit);
        self.underway = Some((self.job.intake.storage.submit(group), chunks));
        Ok(())
    }

    fn group(&mut self, chunks: &mut [Chunk], last: bool) -> Group {
        let progress = chunks.last().map(|c| c.progress).unwrap_or_default();
        let mut rows: Vec<_> = chunks.iter_mut().map(|chunk| keep_vmtas(&mut chunk.rows)).collect();
        let newest = rows.pop().unwrap_or_default();
        let (mut group, at, submission) = match self.stored {
            None => {
                let content = self.content.take().unwrap_or_else(|| Content::plain(Vec::new()));
                (campaign_start(self.submission.clone(), &content, newest, &progress, last), 2, Ref::Here(1))
            }
            Some(Stored { submission, .. }) => {
                (campaign_rows(submission, &self.identity, newest, &progress, last), 0, Ref::At(submission))
            }
        };
        group.drafts.splice(at..at, rows.into_iter().map(|rows| Draft::Rows { submission, rows }));
        group
    }

    /// Waits for the group that is under way and queues its recipients.
    fn land(&mut self) -> Result<(), Stop> {
        let Some((pending, chunks)) = self.underway.take() else { return Ok(()) };
        let committed = pending.wait().map_err(|e| match e {
            // Nothing is wrong with the campaign: the next start goes on with it.
            SpoolError::Stopped | SpoolError::Failed { .. } => Stop::Interrupt,
            e if e.is_transient() => {
                tracing::warn!(error = %e, "import waits");
                Stop::Interrupt
            }
            e => Stop::from(e),
        })?;
        pass(Point::ImportDurable);
        let (at, first) = match self.stored {
            None => (committed.places[1].at, 2),
            Some(stored) => (stored.submission, 0),
        };
        let accepted = match self.accepted.take() {
            Some(accepted) => accepted,
            None => self.accepted_at(at)?,
        };
        let mut split = self.job.intake.new_split(clock::wall());
        for (chunk, place) in chunks.iter().zip(&committed.places[first..]) {
            let rows = chunk.domains.iter().zip(&chunk.rows.vmta).enumerate();
            let rows = rows.map(|(index, (domain, vmta))| {
                (index as u16, 0, &self.domains[*domain as usize], &self.vmtas[usize::from(*vmta)])
            });
            split.add(&accepted, *place, rows);
        }
        let count = chunks.iter().map(|chunk| chunk.domains.len() as u64).sum::<u64>();
        self.job.intake.received.add(
            u64::from(self.stored.is_none()),
            count,
            count * u64::from(accepted.size),
        );
        self.accepted = Some(accepted);
        let progress = chunks.last().map(|chunk| chunk.progress);
        self.stored = Some(Stored { submission: at, progress });
        self.job.intake.owners.admit_blocking(split).map_err(|_| Stop::Interrupt)?;
        pass(Point::ImportQueued);
        Ok(())
    }

    /// What the queues have to know of the submission: as stored, since an interrupted import goes on with its old one.
    fn accepted_at(&self, at: Location) -> Result<Accepted, Stop> {
        let record = self.job.intake.storage.segments().record(at)?;
        let submission = crate::spool::codec::decode_submission(at, &record)?;
        Ok(Accepted::new(at, &submission, None))
    }
}

/// Takes the rows out of a chunk and leaves what queueing them needs: the VMTA of each.
fn keep_vmtas(rows: &mut crate::spool::record::RowsDraft) -> crate::spool::record::RowsDraft {
    let vmta = rows.vmta.clone();
    let taken = std::mem::take(rows);
    rows.vmta = vmta;
    taken
}
