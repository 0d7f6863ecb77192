//! `forecast CAMPAIGN` and `forecast --now`: when mail will be delivered under a configuration.

use super::args::{Cli, Forecasted};
use super::outlook::{self, Forecast};
use super::start::configuration;
use super::{FAILED, UNUSABLE, complain, control_socket, print};
use crate::base::{Time, Wall};
use crate::daemon::campaign_directory::CampaignDirectory;
use crate::daemon::control::{Mode, QueueQuery, QueueRow, Reply, Request};
use crate::daemon::control_socket::ask;
use crate::daemon::directory::Directory;
use crate::daemon::profiles::{Configured, host_name};
use crate::forecast::{Arrival, Receivers};
use crate::ingest::batch::Batch;
use crate::ingest::import::{Import, Settings, Taken};
use crate::io::clock;
use crate::mail::Fixed;
use crate::mail::priority::Priority;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a message where nothing is known of it.
const USUAL_SIZE: u64 = 20_000;

pub fn forecast(cli: &Cli, asked: &Forecasted) -> ExitCode {
    let configured = match configured(cli) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    let start = asked.at.unwrap_or_else(clock::wall);
    let mut forecast = Forecast::new(configured.clone(), start, receivers(asked));
    let filled = match &asked.campaign {
        Some(campaign) => of_campaign(&mut forecast, &configured, campaign, start),
        None => match ask(&control_socket(cli), &Request::Queues(QueueQuery::default())) {
            Ok(Reply::Queues(list)) => Ok(of_queues(&mut forecast, &list.rows, start)),
            Ok(_) => Err("the engine gave no list of queues".to_owned()),
            Err(e) => {
                complain(cli.json, &e.to_string());
                return ExitCode::from(UNUSABLE);
            }
        },
    };
    let mut notes = match filled {
        Ok(notes) => notes,
        Err(why) => {
            complain(cli.json, why.trim_end());
            return ExitCode::from(FAILED);
        }
    };
    notes.extend(assumptions(&configured, &receivers(asked)));
    let lines = forecast.lines();
    print(&if cli.json {
        format!("{:#}\n", outlook::json(&lines, start, &notes))
    } else {
        outlook::text(&lines, start, &notes, comfy_table::Table::new().width())
    });
    ExitCode::SUCCESS
}

pub(super) fn configured(cli: &Cli) -> Result<Arc<Configured>, ExitCode> {
    let config = configuration(cli, &cli.config, false)?;
    let host = host_name(&config);
    Configured::new(config, &host).map(Arc::new).map_err(|e| {
        complain(cli.json, &e.to_string());
        ExitCode::from(UNUSABLE)
    })
}

fn receivers(asked: &Forecasted) -> Receivers {
    let millis = |millis: u32| Duration::from_millis(u64::from(millis));
    Receivers {
        round_trip: millis(asked.round_trip),
        message: millis(asked.message_time),
        deferred: asked.deferred * 10,
    }
}

/// What the forecast rests on.
pub(super) fn assumptions(configured: &Configured, receivers: &Receivers) -> Vec<String> {
    let mut notes = vec![format!(
        "Assumed: {} ms to a receiver and back, {} ms for a message, {:.1} % put off; no reply that changes the mode of a \
         queue, and DNS at once.",
        receivers.round_trip.as_millis(),
        receivers.message.as_millis(),
        f64::from(receivers.deferred) / 10.0,
    )];
    let global = configured.config.global();
    if !(global.mx_connection_limits.is_empty() && global.ip_connection_limits.is_empty()) {
        notes.push("Not taken into account: mx-connection-limit and ip-connection-limit.".to_owned());
    }
    if configured.has_cold() {
        notes.push("Not taken into account: what cold virtual MTAs take over (cold-virtual-mta).".to_owned());
    }
    notes
}

/// The rows of a campaign, counted by queue.
fn of_campaign(
    forecast: &mut Forecast,
    configured: &Configured,
    campaign: &Path,
    start: Wall,
) -> Result<Vec<String>, String> {
    let named = |e: String| format!("{}:\n{e}", campaign.display());
    let dir = Directory::open(campaign).map_err(|e| named(e.to_string()))?;
    let suffix = configured.domain_suffix();
    let fixed = |_: &_| Fixed { submission_id: 1, host: "localhost".to_owned(), ..Fixed::default() };
    let mut opened = CampaignDirectory::open(&dir, suffix, fixed).map_err(named)?;
    let schedule = Arc::new(opened.schedule(start).map_err(named)?);
    let name = opened.campaign.virtual_mta.clone();
    let members = configured.members(&name).ok_or_else(|| {
        named(format!("campaign.toml: virtual-mta: there is no virtual MTA or pool {name:?}"))
    })?;
    let together = opened.prepared.content.is_plain() && !opened.campaign.verp;
    let size = opened.prepared.content.size_estimate() as u64;
    let settings = Settings {
        vmtas: &members,
        duplicates: opened.campaign.duplicates,
        domain_suffix: suffix,
        key: [0; 16],
        resume: None,
    };
    let mut import = Import::new(opened.prepared.plan, &settings).map_err(|e| named(e.to_string()))?;
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    let (mut domains, mut counts) = (Vec::<Arc<str>>::new(), BTreeMap::<(u32, u8), u32>::new());
    let file = &opened.campaign.recipients.name;
    let of_file = |e: String| named(format!("{file}: {e}"));
    let mut rejected = 0;
    let mut count = |taken: &mut Taken| {
        rejected += taken.rejected.drain(..).count();
        for chunk in taken.chunks.drain(..) {
            domains.extend(chunk.new_domains.iter().cloned());
            for row in chunk.domains.iter().copied().zip(chunk.rows.vmta.iter().copied()) {
                *counts.entry(row).or_default() += 1;
            }
        }
    };
    while opened.table.read(&mut batch).map_err(|e| of_file(e.to_string()))? {
        import.take(&batch, &mut taken).map_err(|e| of_file(e.to_string()))?;
        count(&mut taken);
    }
    import.finish(&mut taken).map_err(|e| of_file(e.to_string()))?;
    count(&mut taken);
    let members: Vec<Arc<str>> = members.iter().map(|name| name.as_str().into()).collect();
    for ((domain, vmta), recipients) in counts {
        let lane = forecast.lane(&domains[domain as usize], &members[usize::from(vmta)]);
        let Some(lane) = lane else { continue };
        let (priority, schedule) = (opened.campaign.priority, schedule.clone());
        forecast.arrive(Arrival { at: Time::ZERO, lane, recipients, priority, schedule, size, together });
    }
    Ok(if rejected == 0 {
        Vec::new()
    } else {
        vec![format!("{rejected} row(s) of {file} would be rejected.")]
    })
}

/// The queues of the running engine, as they stand.
fn of_queues(forecast: &mut Forecast, rows: &[QueueRow], start: Wall) -> Vec<String> {
    let mut unknown = 0;
    for row in rows {
        let (domain, vmta) = row.name.rsplit_once('/').unwrap_or((&row.name, "{default}"));
        let Some(lane) = forecast.lane(&domain.into(), &vmta.into()) else {
            unknown += row.rcpts;
            continue;
        };
        if row.mode == Mode::Backoff {
            forecast.set_backoff(lane);
        }
        forecast.queue(lane).set_paused(row.paused);
        let wait = row.retry_at.map_or(0, |at| at.saturating_sub(start.0).max(0));
        forecast.arrive(Arrival {
            at: Time::from_millis(wait as u64),
            lane,
            recipients: u32::try_from(row.rcpts).unwrap_or(u32::MAX),
            priority: Priority::default(),
            schedule: Arc::default(),
            size: row.bytes.checked_div(row.rcpts).unwrap_or(USUAL_SIZE),
            together: false,
        });
    }
    if unknown == 0 {
        return Vec::new();
    }
    vec![format!(
        "Not taken into account: {unknown} recipient(s) whose virtual MTA the configuration does not have."
    )]
}

/// A moment as `YYYY-MM-DD HH:MM[:SS]` of the system's time zone, or with a zone as in RFC 3339.
pub fn moment(text: &str) -> Result<Wall, String> {
    let wrong =
        || format!("{text:?} is no moment; write YYYY-MM-DD HH:MM, or with a zone as 2026-12-01T08:00Z");
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Wall(at.as_millisecond()));
    }
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let zoned: Zoned = civil.to_zoned(TimeZone::system()).map_err(|_| wrong())?;
    Ok(Wall(zoned.timestamp().as_millisecond()))
}
