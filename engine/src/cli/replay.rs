//! `replay ACCT-FILE --config FILE`: the mail of an accounting file once more, under a configuration.

use super::args::Cli;
use super::forecast::{assumptions, configured};
use super::number::{date_time, grouped, span};
use super::outlook::{Forecast, Line};
use super::table::{Side, table};
use super::{FAILED, complain, print};
use crate::base::{Time, Wall};
use crate::forecast::{Arrival, Outlook, Receivers};

use crate::ingest::compressed::{Compression, open_compressed};
use crate::mail::priority::Priority;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a message where the file does not say.
const USUAL_SIZE: u64 = 20_000;

/// What the file says of one day's mail.
#[derive(Debug, Default)]
struct Recorded {
    /// Recipients that left the queue: domain, virtual MTA, when they came and when they left, in seconds.
    ends: Vec<(Arc<str>, Arc<str>, i64, i64)>,
    deferrals: u64,
    /// Bytes of all messages whose size is known, and their number.
    sizes: (u64, u64),
}

pub fn replay(cli: &Cli, file: &Path) -> ExitCode {
    let configured = match configured(cli) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    let recorded = match read(file) {
        Ok(recorded) => recorded,
        Err(why) => {
            complain(cli.json, &format!("{}: {why}", file.display()));
            return ExitCode::from(FAILED);
        }
    };
    let Some(start) = recorded.ends.iter().map(|(_, _, came, _)| *came).min() else {
        complain(cli.json, &format!("{}: it has no record of type d or b", file.display()));
        return ExitCode::from(FAILED);
    };
    let attempts = recorded.ends.len() as u64 + recorded.deferrals;
    let receivers = Receivers {
        deferred: u32::try_from(recorded.deferrals * 1000 / attempts).unwrap_or(0).min(900),
        ..Receivers::default()
    };
    let wall = Wall::from_secs(start);
    let mut forecast = Forecast::new(configured.clone(), wall, receivers);
    let (before, unknown) = fill(&mut forecast, &recorded, start);
    let mut notes = assumptions(&configured, &receivers);
    if unknown > 0 {
        notes.push(format!(
            "Not replayed: {unknown} recipient(s) whose virtual MTA the configuration does not have."
        ));
    }
    let lines = compared(forecast.lines(), before);
    print(&if cli.json { as_json(lines, wall, &notes) } else { as_text(lines, wall, &notes) });
    ExitCode::SUCCESS
}

/// Gives the forecast what came when it came; returns what became of it then, by domain, and how many go nowhere now.
fn fill(forecast: &mut Forecast, recorded: &Recorded, start: i64) -> (HashMap<Arc<str>, Outlook>, u64) {
    let size = recorded.sizes.0.checked_div(recorded.sizes.1).unwrap_or(USUAL_SIZE);
    let (mut before, mut unknown) = (HashMap::<Arc<str>, Outlook>::new(), 0);
    let mut arrivals: BTreeMap<(i64, u32), u32> = BTreeMap::new();
    for (domain, vmta, came, left) in &recorded.ends {
        let Some(lane) = forecast.lane(domain, vmta) else {
            unknown += 1;
            continue;
        };
        *arrivals.entry((*came, lane)).or_default() += 1;
        let outlook = before.entry(forecast.domain(lane)).or_default();
        outlook.delivered += 1;
        let at = Time::from_millis(((left - start).max(0) * 1000) as u64);
        outlook.last = outlook.last.max(Some(at));
        outlook.waits.push(u32::try_from((left - came).max(0) * 1000).unwrap_or(u32::MAX));
    }
    for ((came, lane), recipients) in arrivals {
        forecast.arrive(Arrival {
            at: Time::from_millis(((came - start) * 1000) as u64),
            lane,
            recipients,
            priority: Priority::default(),
            schedule: Arc::default(),
            size,
            together: false,
        });
    }
    (before, unknown)
}

/// Columns by their names in the header line.
struct Columns {
    kind: usize,
    logged: usize,
    queued: usize,
    rcpt: usize,
    vmta: usize,
    size: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Columns, String> {
        let find = |name: &str| header.iter().position(|cell| cell == name);
        let needed = |name: &str| {
            find(name).ok_or_else(|| {
                format!(
                    "its header line has no column {name}; records-fields of the <acct-file> must name it"
                )
            })
        };
        Ok(Columns {
            kind: needed("type")?,
            logged: needed("timeLogged")?,
            queued: needed("timeQueued")?,
            rcpt: needed("rcpt")?,
            vmta: needed("vmta")?,
            size: find("dlvSize"),
        })
    }
}

fn read(path: &Path) -> Result<Recorded, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let gzip = path.extension().is_some_and(|ending| ending == "gz");
    let compression = if gzip { Compression::Gzip } else { Compression::Plain };
    read_from(open_compressed(file, compression).map_err(|e| e.to_string())?)
}

fn read_from(input: impl BufRead) -> Result<Recorded, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    let (mut columns, mut recorded) = (None, Recorded::default());
    let mut names: HashMap<String, Arc<str>> = HashMap::new();
    let (mut record, mut line) = (csv::StringRecord::new(), 0);
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        // Every record is one line (reference 4.3).
        line += 1;
        if record.get(0) == Some("type") {
            columns = Some(Columns::of(&record)?);
            continue;
        }
        let Some(columns) = &columns else { return Err("it does not begin with a header line".to_owned()) };
        let cell = |at: usize| record.get(at).unwrap_or_default();
        match cell(columns.kind) {
            "t" => recorded.deferrals += 1,
            "d" | "b" => {
                let time = |at: usize, name: &str| {
                    moment(cell(at)).ok_or_else(|| format!("line {line}: {name}: {:?} is no time", cell(at)))
                };
                let (came, left) = (time(columns.queued, "timeQueued")?, time(columns.logged, "timeLogged")?);
                let domain =
                    cell(columns.rcpt).rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
                let domain = domain
                    .ok_or_else(|| format!("line {line}: rcpt: {:?} is no address", cell(columns.rcpt)))?;
                if let Some(size) =
                    columns.size.and_then(|at| cell(at).parse::<u64>().ok()).filter(|n| *n > 0)
                {
                    recorded.sizes = (recorded.sizes.0 + size, recorded.sizes.1 + 1);
                }
                let mut name = |text: &str| match names.get(text) {
                    Some(name) => name.clone(),
                    None => names.entry(text.to_owned()).or_insert_with(|| text.into()).clone(),
                };
                recorded.ends.push((name(&domain), name(cell(columns.vmta)), came, left));
            }
            _ => {}
        }
    }
    Ok(recorded)
}

/// Seconds since 1970, from either form that accounting files have (reference 4.3).
fn moment(cell: &str) -> Option<i64> {
    if let Ok(seconds) = cell.parse::<i64>() {
        return Some(seconds);
    }
    let zoned = Zoned::strptime("%Y-%m-%d %H:%M:%S%z", cell).map(|at| at.timestamp());
    zoned.or_else(|_| Timestamp::strptime("%Y-%m-%d %H:%M:%S%z", cell)).ok().map(Timestamp::as_second)
}

/// A provider as it was and as it would have been.
struct Compared {
    then: Outlook,
    now: Line,
}

fn compared(lines: Vec<Line>, mut before: HashMap<Arc<str>, Outlook>) -> Vec<Compared> {
    // What has no line of its own is in the last one.
    let mut rest = Outlook::default();
    let named: Vec<Option<Outlook>> =
        lines.iter().map(|line| before.remove(line.provider.as_str())).collect();
    before.into_values().for_each(|outlook| rest.add(outlook));
    let then = |found: Option<Outlook>| found.unwrap_or_else(|| std::mem::take(&mut rest));
    named.into_iter().map(then).zip(lines).map(|(then, now)| Compared { then, now }).collect()
}

fn seconds(millis: Option<u32>) -> String {
    millis.map_or("-".to_owned(), |millis| span(Duration::from_millis(u64::from(millis))))
}

fn as_text(lines: Vec<Compared>, start: Wall, notes: &[String]) -> String {
    let zone = TimeZone::system();
    let columns = [
        ("provider", Side::Left),
        ("recipients", Side::Right),
        ("last then", Side::Left),
        ("last now", Side::Left),
        ("50 % then", Side::Right),
        ("now", Side::Right),
        ("99 % then", Side::Right),
        ("now", Side::Right),
        ("limited by", Side::Left),
    ];
    let mut table = table(&columns, comfy_table::Table::new().width());
    let date = |time: Option<Time>| {
        time.map_or("-".to_owned(), |at| date_time(start.0 + at.as_millis() as i64, &zone))
    };
    for Compared { mut then, mut now } in lines {
        let from = if now.origin.is_empty() { String::new() } else { format!(", {}", now.origin) };
        table.add_row([
            now.provider,
            grouped(now.outlook.recipients),
            date(then.last),
            date(now.outlook.last),
            seconds(then.percentile(50)),
            seconds(now.outlook.percentile(50)),
            seconds(then.percentile(99)),
            seconds(now.outlook.percentile(99)),
            format!("{}{from}", now.limit),
        ]);
    }
    let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
    format!("{}\n\n{notes}", table.trim_fmt())
}

fn as_json(lines: Vec<Compared>, start: Wall, notes: &[String]) -> String {
    let last = |outlook: &Outlook| outlook.last.map(|at| start.0 + at.as_millis() as i64);
    let side = |outlook: &mut Outlook| json!({"last": last(outlook), "p50": outlook.percentile(50), "p99": outlook.percentile(99)});
    let mut providers = Vec::new();
    for Compared { mut then, mut now } in lines {
        providers.push(json!({
            "provider": now.provider,
            "recipients": now.outlook.recipients,
            "then": side(&mut then),
            "now": side(&mut now.outlook),
            "limitedBy": now.limit,
            "origin": now.origin,
        }));
    }
    format!("{:#}\n", json!({"start": start.0, "providers": providers, "notes": notes}))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "type,timeLogged,timeQueued,rcpt,vmta,dlvSize\r\n\
        d,2026-11-27 10:00:05+0100,2026-11-27 10:00:00+0100,a@B.example,v1,1000\r\n\
        t,2026-11-27 10:00:06+0100,2026-11-27 10:00:00+0100,b@b.example,v1,\r\n\
        b,1795770010,1795770000,c@c.example,v2,3000\r\n";

    #[test]
    fn records_are_read_by_the_names_of_their_columns() {
        let recorded = read_from(FILE.as_bytes()).expect("a file");
        assert_eq!((recorded.deferrals, recorded.sizes), (1, (4000, 2)));
        let ends: Vec<_> = recorded.ends.iter().map(|(d, v, came, left)| (&**d, &**v, left - came)).collect();
        assert_eq!(ends, [("b.example", "v1", 5), ("c.example", "v2", 10)]);
        assert_eq!(recorded.ends[0].2, 1_795_770_000);
    }

    #[test]
    fn a_file_that_cannot_be_replayed_says_why() {
        let said = |text: &str| read_from(text.as_bytes()).expect_err("refused");
        assert!(said("type,timeLogged,rcpt\r\n").contains("no column timeQueued"));
        assert!(said("d,1,2,a@b.example\r\n").contains("header line"));
        let wrong = FILE.replace("1795770010", "soon");
        assert_eq!(said(&wrong), "line 4: timeLogged: \"soon\" is no time");
    }
}
