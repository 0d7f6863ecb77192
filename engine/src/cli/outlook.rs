//! What a forecast says, as a table and as JSON: a line for each provider, that is for each domain that queues are for.

use super::number::{date_time, grouped, span};
use super::table::{Side, table};
use crate::base::{Time, Wall};
use crate::daemon::profiles::{ConfigProfiles, Configured};
use crate::forecast::{Arrival, Cause, Course, Outlook, Receivers};
use crate::queue::QueueName;
use crate::shard::Profiles;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Providers that have a line of their own at most, and the part of all recipients that such a one has at least.
const SHOWN: usize = 25;
const WORTH_A_LINE: f64 = 0.005;

/// Queues of a configuration, and what is to come into them.
pub struct Forecast {
    configured: Arc<Configured>,
    profiles: ConfigProfiles,
    course: Course,
    start: Wall,
    names: Vec<QueueName>,
    lanes: HashMap<QueueName, u32>,
}

/// One line.
pub struct Line {
    pub provider: String,
    pub outlook: Outlook,
    /// What limits it, and where that is said.
    pub limit: String,
    pub origin: String,
}

impl Forecast {
    pub fn new(configured: Arc<Configured>, start: Wall, receivers: Receivers) -> Forecast {
        let total = configured.config.global().total_max_smtp_out;
        Forecast {
            profiles: ConfigProfiles::new(configured.clone()),
            configured,
            course: Course::new(start, total, receivers),
            start,
            names: Vec::new(),
            lanes: HashMap::new(),
        }
    }

    /// The number of the queue that takes mail for a domain through a virtual MTA; `None` without such a virtual MTA.
    pub fn lane(&mut self, domain: &Arc<str>, vmta: &Arc<str>) -> Option<u32> {
        let name = self.configured.queue_of(domain, vmta, self.start);
        if let Some(lane) = self.lanes.get(&name) {
            return Some(*lane);
        }
        let profile = self.profiles.queue(&name.domain, &name.vmta);
        let vmta = self.profiles.vmta(&name.vmta)?;
        let lane = self.course.queue(name.clone(), profile, vmta);
        self.names.push(name.clone());
        self.lanes.insert(name, lane);
        Some(lane)
    }

    pub fn domain(&self, lane: u32) -> Arc<str> {
        self.names[lane as usize].domain.clone()
    }

    pub fn queue(&mut self, lane: u32) -> &mut crate::queue::Queue {
        self.course.lane(lane)
    }

    /// What applies to the queue in backoff.
    pub fn set_backoff(&mut self, lane: u32) {
        let name = &self.names[lane as usize];
        let settings = self.profiles.queue(&name.domain, &name.vmta).backoff.scheduling.clone();
        self.course.lane(lane).set_mode(settings);
    }

    pub fn arrive(&mut self, arrival: Arrival) {
        self.course.arrive(arrival);
    }

    /// Runs it, and puts the queues of a domain together: those with the most recipients first, many small ones in one.
    pub fn lines(self) -> Vec<Line> {
        let Forecast { configured, course, names, .. } = self;
        let mut providers: BTreeMap<Arc<str>, (Outlook, Vec<Arc<str>>)> = BTreeMap::new();
        for (name, outlook) in names.iter().zip(course.run()) {
            let (sum, vmtas) = providers.entry(name.domain.clone()).or_default();
            sum.add(outlook);
            vmtas.push(name.vmta.clone());
        }
        let mut providers: Vec<_> = providers.into_iter().collect();
        providers.sort_by_key(|(_, (outlook, _))| Reverse(outlook.recipients));
        let all: u64 = providers.iter().map(|(_, (outlook, _))| outlook.recipients).sum();
        let small = |recipients: u64| (recipients as f64) < all as f64 * WORTH_A_LINE;
        let large = providers.iter().take(SHOWN).take_while(|(_, (outlook, _))| !small(outlook.recipients));
        let shown = if providers.len() > SHOWN { large.count() } else { providers.len() };
        let rest = providers.split_off(shown);
        let line = |(domain, (outlook, vmtas)): (Arc<str>, (Outlook, Vec<Arc<str>>))| {
            let limit = outlook.cause().map(ToString::to_string).unwrap_or_default();
            let origins =
                vmtas.iter().filter_map(|vmta| origin(&configured, &domain, vmta, outlook.cause()?));
            let origin = origins.max_by_key(|origin| origin != DEFAULT).unwrap_or_default();
            Line { provider: domain.to_string(), outlook, limit, origin }
        };
        let mut lines: Vec<Line> = providers.into_iter().map(line).collect();
        if !rest.is_empty() {
            let provider = format!("{} others", rest.len());
            let outlook = sum(rest.into_iter().map(|(_, (outlook, _))| outlook));
            let limit = outlook.cause().map(ToString::to_string).unwrap_or_default();
            lines.push(Line { provider, outlook, limit, origin: String::new() });
        }
        lines
    }
}

pub fn sum(outlooks: impl Iterator<Item = Outlook>) -> Outlook {
    let mut all = Outlook::default();
    outlooks.for_each(|outlook| all.add(outlook));
    all
}

/// Where a value is that nobody has written.
const DEFAULT: &str = "default";

/// Where the directive that limits a queue stands.
fn origin(configured: &Configured, domain: &str, vmta: &str, cause: &Cause) -> Option<String> {
    let (directive, of_vmta) = cause.directive()?;
    let config = &configured.config;
    let explained = if of_vmta { config.explain_vmta(vmta) } else { config.explain_queue(domain, vmta) };
    let effective = explained.into_iter().find(|e| !e.overridden && e.usual == directive);
    Some(effective?.origin.map_or(DEFAULT.to_owned(), |at| at.to_string()))
}

/// Recipients a second between the first and the last delivery.
fn rate(outlook: &Outlook) -> f64 {
    let took = outlook.last.zip(outlook.first).map_or(Duration::ZERO, |(last, first)| last.since(first));
    let gaps = outlook.delivered.saturating_sub(1) as f64;
    if took.is_zero() { outlook.delivered as f64 } else { gaps / took.as_secs_f64() }
}

fn at(start: Wall, time: Option<Time>) -> Option<i64> {
    time.map(|time| start.0 + time.as_millis() as i64)
}

/// The whole answer as text.
pub fn text(lines: &[Line], start: Wall, notes: &[String], width: Option<u16>) -> String {
    let zone = TimeZone::system();
    let columns = [
        ("provider", Side::Left),
        ("recipients", Side::Right),
        ("first delivery", Side::Left),
        ("last delivery", Side::Left),
        ("a second", Side::Right),
        ("limited by", Side::Left),
    ];
    let mut table = table(&columns, width);
    let date = |time| at(start, time).map_or("-".to_owned(), |at| date_time(at, &zone));
    for Line { provider, outlook, limit, origin } in lines {
        let from = if origin.is_empty() { String::new() } else { format!(", {origin}") };
        table.add_row([
            provider.clone(),
            grouped(outlook.recipients),
            date(outlook.first),
            date(outlook.last),
            format!("{:.1}", rate(outlook)),
            format!("{limit}{from}"),
        ]);
    }
    let mut text = table.trim_fmt() + "\n\n";
    let (delivered, recipients) = totals(lines);
    let last = lines.iter().filter_map(|line| line.outlook.last).max();
    let took = last.map_or("-".to_owned(), |last| span(last.since(Time::ZERO)));
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} of {} recipients delivered by {}, {took} after {}.",
        grouped(delivered),
        grouped(recipients),
        date(last),
        date(Some(Time::ZERO)),
    );
    for (count, what) in lost(lines) {
        let _ = writeln!(text, "{} {what}", grouped(count));
    }
    notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
    text
}

fn totals(lines: &[Line]) -> (u64, u64) {
    let sum = |of: fn(&Outlook) -> u64| lines.iter().map(|line| of(&line.outlook)).sum();
    (sum(|outlook| outlook.delivered), sum(|outlook| outlook.recipients))
}

fn lost(lines: &[Line]) -> Vec<(u64, &'static str)> {
    let sum = |of: fn(&Outlook) -> u64| lines.iter().map(|line| of(&line.outlook)).sum::<u64>();
    let lost = [
        (sum(|outlook| outlook.expired), "too old before they can be delivered (bounce-after, send-until)."),
        (sum(|outlook| outlook.left), "in queues that are paused."),
    ];
    lost.into_iter().filter(|(count, _)| *count > 0).collect()
}

/// The same for programs.
pub fn json(lines: &[Line], start: Wall, notes: &[String]) -> Value {
    let one = |line: &Line| {
        json!({
            "provider": line.provider,
            "recipients": line.outlook.recipients,
            "delivered": line.outlook.delivered,
            "deferrals": line.outlook.deferred,
            "expired": line.outlook.expired,
            "left": line.outlook.left,
            "first": at(start, line.outlook.first),
            "last": at(start, line.outlook.last),
            "perSecond": rate(&line.outlook),
            "limitedBy": line.limit,
            "origin": line.origin,
        })
    };
    let last = lines.iter().filter_map(|line| line.outlook.last).max();
    let (delivered, recipients) = totals(lines);
    json!({
        "start": start.0,
        "last": at(start, last),
        "recipients": recipients,
        "delivered": delivered,
        "providers": lines.iter().map(one).collect::<Vec<Value>>(),
        "notes": notes,
    })
}
