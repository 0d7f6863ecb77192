//! `posthaste-spool`: looks into a stopped spool. Changes nothing in it but the name of the lock's holder.
//!
//! Exit status of `verify`: 0 sound, 1 something acknowledged is missing or damaged, 2 could not look.

use clap::{Parser, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use posthaste::io::storage::StorageOptions;
use posthaste::io::storage_files::Directory;
use posthaste::spool::codec;
use posthaste::spool::frame::Kind;
use posthaste::spool::record::{Location, OutcomeBatch, Submission};
use posthaste::spool::recover::Recovery;
use posthaste::spool::rows::RowsView;
use posthaste::spool::segments::{RecordRef, Segments};
use posthaste::spool::{SpoolError, reader::LogReader};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Parser)]
#[command(name = "posthaste-spool", version, about = "Lists, verifies and exports a stopped spool")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The segments, and what is in each.
    List {
        dir: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// Reads every record. Status 0: sound; 1: damaged; 2: could not look.
    Verify { dir: PathBuf },
    /// Writes records to standard output, one JSON object a line.
    Export {
        dir: PathBuf,
        /// What to write.
        #[arg(long, value_enum, default_value_t = What::Rows)]
        what: What,
        /// Settled rows too.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Recipients that wait, with their submission.
    Rows,
    /// Submissions and where their content is; content in base-16.
    Messages,
    /// Outcomes.
    Outcomes,
}

/// A spool that has been locked and read.
struct Spool {
    recovery: Recovery,
    segments: Arc<Segments>,
    directory: Directory,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::List { dir, json } => open(&dir).and_then(|spool| list(&spool, json)),
        Command::Verify { dir } => open(&dir).and_then(|spool| verify(&spool)),
        Command::Export { dir, what, all } => open(&dir).and_then(|spool| export(&spool, what, all)),
    };
    match done {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("posthaste-spool: {failure}");
            ExitCode::from(2)
        }
    }
}

enum Failure {
    Spool(SpoolError),
    Output(io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Spool(error) => error.fmt(f),
            Failure::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Failure {
        Failure::Spool(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

fn open(dir: &Path) -> Result<Spool, Failure> {
    let directory = Directory::open(dir, &StorageOptions::default().known_files, false)?;
    let recovery = directory.recover();
    let segments = Arc::new(Segments::new(dir, 0));
    let ends = recovery.ledger.ends();
    for end in &ends {
        if let Some(header) = directory.headers.get(&end.segment) {
            segments.add(*header, Some(end.end8));
        }
    }
    if let Some(last) = ends.last() {
        segments.set_durable(Location { segment: last.segment, offset8: last.end8 });
    }
    Ok(Spool { recovery, segments, directory })
}

/// What a segment holds, counted.
#[derive(Default)]
struct Count {
    contents: u64,
    accepted: u64,
    rows: u64,
    live: u64,
    outcomes: u64,
    controls: u64,
}

fn counts(spool: &Spool) -> Result<BTreeMap<u32, Count>, Failure> {
    let mut counts: BTreeMap<u32, Count> = BTreeMap::new();
    let mut reader = LogReader::new(Arc::clone(&spool.segments), Location::START);
    while let Some(record) = reader.next()? {
        let count = counts.entry(record.at.segment).or_default();
        match record.kind {
            Kind::Content => count.contents += 1,
            Kind::Accepted => count.accepted += 1,
            Kind::Rows => {
                let rows = RowsView::new(&record).map_or(0, |view| view.len());
                count.rows += rows as u64;
                count.live += (0..rows).filter(|&index| is_live(spool, &record, index)).count() as u64;
            }
            Kind::Outcomes => {
                count.outcomes += codec::decode_outcomes(record.at, &record)?.outcomes.len() as u64;
            }
            Kind::Control => count.controls += 1,
            Kind::Commit => {}
        }
    }
    Ok(counts)
}

fn is_live(spool: &Spool, record: &RecordRef, index: usize) -> bool {
    spool.recovery.ledger.is_live(record.at.segment, record.first_ordinal + index as u32)
}

fn list(spool: &Spool, as_json: bool) -> Result<ExitCode, Failure> {
    let counts = counts(spool)?;
    let mut out = io::stdout().lock();
    let ends = spool.recovery.ledger.ends();
    let none = Count::default();
    if as_json {
        for end in &ends {
            let count = counts.get(&end.segment).unwrap_or(&none);
            let line = json!({
                "segment": end.segment, "bytes": u64::from(end.end8) * 8, "contents": count.contents,
                "submissions": count.accepted, "rows": count.rows, "waiting": count.live,
                "outcomes": count.outcomes, "controls": count.controls,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "segment",
        "bytes",
        "contents",
        "submissions",
        "rows",
        "waiting",
        "outcomes",
        "controls",
    ]);
    for end in &ends {
        let count = counts.get(&end.segment).unwrap_or(&none);
        let numbers = [
            u64::from(end.segment),
            u64::from(end.end8) * 8,
            count.contents,
            count.accepted,
            count.rows,
            count.live,
            count.outcomes,
            count.controls,
        ];
        table.add_row(numbers.map(|number| number.to_string()));
    }
    writeln!(out, "{table}")?;
    let (live, free) =
        (spool.recovery.ledger.live_rows(), spool.directory.free.len() + spool.recovery.free.len());
    writeln!(out, "{live} recipients wait in {} segments; {free} segments are free", ends.len())?;
    for (identity, import) in spool.recovery.ledger.imports() {
        writeln!(out, "import in progress: {identity}, next row {}", import.next_row)?;
    }
    for (queue, paused) in spool.recovery.ledger.pauses() {
        writeln!(out, "{}: {queue}", if paused { "paused" } else { "resumed since" })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(spool: &Spool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let mut sound = true;
    for damage in &spool.recovery.damage {
        sound &= !damage.is_loss();
        writeln!(out, "{}: {damage}", if damage.is_loss() { "DAMAGED" } else { "note" })?;
    }
    for rows in &spool.recovery.rows {
        if let Err(error) = submission(spool, rows.submission).and_then(|s| spool.segments.record(s.content))
        {
            sound = false;
            let count = rows.count;
            writeln!(
                out,
                "DAMAGED: record {}: up to {count} recipients cannot be delivered: {error}",
                rows.at
            )?;
        }
    }
    let (records, live) = (spool.recovery.records, spool.recovery.ledger.live_rows());
    writeln!(
        out,
        "{records} records read, {live} recipients wait: {}",
        if sound { "sound" } else { "damaged" }
    )?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn submission(spool: &Spool, at: Location) -> Result<Submission, SpoolError> {
    codec::decode_submission(at, &spool.segments.record(at)?)
}

fn export(spool: &Spool, what: What, all: bool) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut reader = LogReader::new(Arc::clone(&spool.segments), Location::START);
    let mut latest: Option<(Location, Value)> = None;
    while let Some(record) = reader.next()? {
        match (what, record.kind) {
            (What::Rows, Kind::Rows) => export_rows(spool, &record, all, &mut latest, &mut out)?,
            (What::Messages, Kind::Accepted) => {
                let header = codec::decode_submission(record.at, &record)?;
                let mut line = describe(record.at, &header);
                line["content"] = match spool.segments.record(header.content) {
                    Ok(content) => {
                        content.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
                    }
                    Err(error) => json!({ "error": error.to_string() }),
                };
                writeln!(out, "{line}")?;
            }
            (What::Outcomes, Kind::Outcomes) => {
                export_outcomes(record.at, &codec::decode_outcomes(record.at, &record)?, &mut out)?;
            }
            _ => {}
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn describe(at: Location, header: &Submission) -> Value {
    json!({
        "at": at.to_string(), "id": header.id, "sender": header.sender, "job": header.job, "envid": header.envid,
        "virtualMta": header.virtual_mta, "source": header.source_type, "acceptedAt": header.accepted_at,
        "startAt": header.start_at, "priority": header.priority.get(), "scheduleEnd": header.schedule.end().map(|end| end.0),
        "fields": header.fields, "size": header.size,
        "contentAt": header.content.to_string(),
    })
}

fn export_rows(
    spool: &Spool,
    record: &RecordRef,
    all: bool,
    latest: &mut Option<(Location, Value)>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let Some(view) = RowsView::new(record) else { return Ok(()) };
    if latest.as_ref().is_none_or(|(at, _)| *at != view.submission) {
        let described = match submission(spool, view.submission) {
            Ok(header) => describe(view.submission, &header),
            Err(error) => json!({ "at": view.submission.to_string(), "error": error.to_string() }),
        };
        *latest = Some((view.submission, described));
    }
    for index in 0..view.len() {
        let live = is_live(spool, record, index);
        let row = view.row(index).unwrap_or_default();
        if live || (all && !row.is_empty()) {
            let mut values = values(row);
            let address = if values.is_empty() { Value::Null } else { values.remove(0).into() };
            let ordinal = record.first_ordinal + index as u32;
            let attempts =
                spool.recovery.tried.get(&(record.at.segment, ordinal)).map_or(0, |tried| tried.attempts);
            let line = json!({
                "at": record.at.to_string(), "row": view.first_row + index as u64, "address": address, "values": values,
                "virtualMta": view.vmta(index), "waiting": live, "attempts": attempts,
                "submission": latest.as_ref().map(|(_, described)| described),
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Splits a row into its length-prefixed values; what does not add up ends it.
fn values(mut row: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while !row.is_empty() {
        let (mut len, mut shift) = (0usize, 0);
        while let [byte, rest @ ..] = row {
            row = rest;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 || shift > 28 {
                break;
            }
        }
        let Some((value, rest)) = row.split_at_checked(len) else { break };
        values.push(String::from_utf8_lossy(value).into_owned());
        row = rest;
    }
    values
}

fn export_outcomes(at: Location, batch: &OutcomeBatch, out: &mut impl Write) -> Result<(), Failure> {
    for outcome in &batch.outcomes {
        let attempt = batch.attempts.get(outcome.attempt as usize);
        let said = batch.said.get(outcome.said as usize);
        let line = json!({
            "at": at.to_string(), "rows": outcome.row.record.to_string(), "index": outcome.row.index,
            "submission": outcome.submission.to_string(), "disposition": format!("{:?}", outcome.disposition),
            "time": outcome.at, "attempts": outcome.attempts, "queue": attempt.map(|a| &a.queue),
            "mta": attempt.map(|a| &a.mta), "status": said.map(|s| &s.status),
            "diagnostic": said.map(|s| &s.diagnostic),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
