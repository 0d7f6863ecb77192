//! `explain DOMAIN[/VMTA]`: every setting of a queue, where it comes from, and what it overrides.

use super::args::Cli;
use super::show::View;
use super::start::configuration;
use super::table::{Side, table};
use super::{FAILED, complain, print, why};
use crate::daemon::ceiling::{self, Present};
use crate::daemon::control::{Limit, Reply, Request, WhyQueue};
use crate::daemon::control_socket::ask;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use vmta_config::{Config, Explained, Resolved, Status};

use Side::Left;

/// A queue's settings, and those of its virtual MTA.
struct Subject {
    domain: String,
    vmta: String,
    /// A sentence about the virtual MTA or pool.
    about: String,
    queue: Vec<Explained>,
    of_vmta: Vec<Explained>,
    /// What the configuration alone allows.
    limits: Vec<Limit>,
    present: Running,
}

/// What the engine says of the queue.
enum Running {
    /// No engine answers.
    No,
    /// It has had no mail for the queue since the start.
    NoQueue,
    Queue(Box<WhyQueue>),
}

/// Explains what the configuration says about a queue: exit status 1 when it has no such virtual MTA.
pub fn explain(cli: &Cli, queue: &str, lenient: bool) -> ExitCode {
    let config = match configuration(cli, &cli.config, lenient) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match subject(&config, queue) {
        Ok(mut subject) => {
            subject.present = running(&super::control_socket(cli), &subject);
            print(&if cli.json { as_json(&subject) } else { as_text(&subject) });
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(cli.json, &why);
            ExitCode::from(FAILED)
        }
    }
}

fn running(socket: &Path, subject: &Subject) -> Running {
    let name = format!("{}/{}", subject.domain, subject.vmta);
    match ask(socket, &Request::Why { what: name.clone() }) {
        Ok(Reply::Why(report)) => {
            let queue = report.queues.into_iter().find(|queue| queue.row.name.eq_ignore_ascii_case(&name));
            queue.map_or(Running::NoQueue, |queue| Running::Queue(Box::new(queue)))
        }
        _ => Running::No,
    }
}

fn subject(config: &Config, queue: &str) -> Result<Subject, String> {
    let (domain, vmta) = queue.rsplit_once('/').unwrap_or((queue, "{default}"));
    let (domain, vmta) = (domain.to_ascii_lowercase(), vmta.to_owned());
    let about = match config.resolve_vmta(&vmta) {
        Resolved::Default => "the addresses of the top level".to_owned(),
        Resolved::Vmta(v) if v.pools.is_empty() => format!("virtual MTA {}, in no pool", v.name),
        Resolved::Vmta(v) => format!("virtual MTA {}, in pool {}", v.name, v.pools.join(", ")),
        Resolved::Pool(p) => {
            format!("pool {}: its mail goes to the queues of {}, in turn", p.name, p.members.join(", "))
        }
        Resolved::Unknown => {
            return Err(format!("there is no virtual MTA or pool `{vmta}` in the configuration"));
        }
    };
    let queue = config.explain_queue(&domain, &vmta);
    let of_vmta = config.explain_vmta(&vmta);
    let about = match ceiling::adapts_in_vain(config, &domain, &vmta) {
        true => format!("{about}\nIt eases itself {}.", ceiling::IN_VAIN),
        false => about,
    };
    let limits = ceiling::limits(config, &domain, &vmta, &Present::default());
    Ok(Subject { domain, vmta, about, queue, of_vmta, limits, present: Running::No })
}

fn as_text(subject: &Subject) -> String {
    let mut text = format!("{}/{}\n{}\n", subject.domain, subject.vmta, subject.about);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nCeiling as configured: {}", ceiling::ceiling(&subject.limits));
    text.push_str(&match &subject.present {
        Running::No => "No engine is running here: this is what the configuration says.\n".to_owned(),
        Running::NoQueue => "The running engine has had no mail for this queue since its start.\n".to_owned(),
        Running::Queue(queue) => {
            format!("\nThe running engine\n{}", why::present(queue, &View::of_terminal()))
        }
    });
    let _ = write!(text, "\n{}", settings(&subject.queue));
    if !subject.of_vmta.is_empty() {
        let _ = write!(text, "\nThe virtual MTA itself\n\n{}", settings(&subject.of_vmta));
    }
    text
}

/// One row a value: the effective one, below it those it overrides.
fn settings(explained: &[Explained]) -> String {
    let mut table = table(&[("directive", Left), ("value", Left), ("from", Left)], None);
    for group in explained.chunk_by(|a, b| a.usual == b.usual) {
        let (overridden, effective): (Vec<_>, Vec<_>) = group.iter().partition(|e| e.overridden);
        for (i, e) in effective.iter().enumerate() {
            let name = if i == 0 { e.directive.to_owned() } else { String::new() };
            table.add_row([name, value(e), origin(e)]);
        }
        for e in overridden.iter().rev() {
            table.add_row(["  overrides".to_owned(), value(e), origin(e)]);
        }
    }
    table.trim_fmt() + "\n"
}

fn value(e: &Explained) -> String {
    let value = e.value.clone().unwrap_or_else(|| "-".to_owned());
    match e.status {
        Status::Planned => format!("{value} (not in effect yet)"),
        Status::NoEffect(_) => format!("{value} (no effect)"),
        Status::InEffect | Status::Replaced(_) => value,
    }
}

fn origin(e: &Explained) -> String {
    match (&e.origin, e.entry.as_str()) {
        (None, _) => "default".to_owned(),
        (Some(origin), "") => format!("{origin}"),
        (Some(origin), entry) => format!("{origin} {entry}"),
    }
}

fn as_json(subject: &Subject) -> String {
    let one = |e: &Explained| {
        json!({
            "directive": e.directive,
            "value": e.value,
            "file": e.origin.as_ref().map(|o| o.file.to_string()),
            "line": e.origin.as_ref().map(|o| o.line),
            "entry": e.entry,
            "overridden": e.overridden,
            "inEffect": e.status == Status::InEffect,
        })
    };
    let all = json!({
        "domain": subject.domain,
        "vmta": subject.vmta,
        "about": subject.about,
        "ceiling": ceiling::ceiling(&subject.limits),
        "limits": subject.limits,
        "running": match &subject.present {
            Running::Queue(queue) => json!(queue),
            Running::No | Running::NoQueue => Value::Null,
        },
        "settings": subject.queue.iter().map(one).collect::<Vec<Value>>(),
        "virtualMta": subject.of_vmta.iter().map(one).collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    const TEXT: &str = "log-file /l\n<spool /s>\n</spool>\nsmtp-source-host 192.0.2.9 top.example\n\
        <domain *>\n max-smtp-out 5\n dkim-sign yes\n</domain>\n\
        <virtual-mta a>\n smtp-source-host 192.0.2.1 a.example\n <domain b.com>\n max-smtp-out 2\n </domain>\n</virtual-mta>\n\
        <virtual-mta-pool p>\n virtual-mta a\n</virtual-mta-pool>\n";

    fn config() -> Config {
        load("c", &MemoryFiles::new([("c", TEXT)]), false).config.unwrap()
    }

    #[test]
    fn the_effective_value_stands_above_what_it_overrides() {
        let text = as_text(&subject(&config(), "B.com/a").unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["b.com/a", "virtual MTA a, in pool p"]);
        assert_eq!(
            lines[3],
            "Ceiling as configured: no limit of the rate; 2 connections (max-smtp-out 2, c:12)"
        );
        let at = lines.iter().position(|l| l.starts_with("max-smtp-out")).expect("the limit");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[at]), "max-smtp-out 2 c:12 <virtual-mta a> <domain b.com>");
        assert_eq!(words(lines[at + 1]), "overrides 5 c:6 <domain *>");
        assert!(text.contains("yes (not in effect yet)"), "{text}");
        let own = text.split("The virtual MTA itself").nth(1).expect("a second part");
        assert!(own.contains("192.0.2.1 a.example") && !own.contains("192.0.2.9"), "{own}");
    }

    #[test]
    fn what_is_nobody_s_is_told_as_default_or_from_the_top() {
        let subject = subject(&config(), "x.org").unwrap();
        assert_eq!((subject.vmta.as_str(), subject.of_vmta.len()), ("{default}", 1));
        let text = as_text(&subject);
        assert!(
            text.contains("c:4")
                && text.lines().any(|l| l.starts_with("retry-after") && l.ends_with("default"))
        );
        let json: Value = serde_json::from_str(&as_json(&subject)).unwrap();
        assert_eq!((&json["settings"][0]["inEffect"], &json["vmta"]), (&json!(true), &json!("{default}")));
    }

    #[test]
    fn an_unknown_virtual_mta_is_said() {
        assert!(subject(&config(), "b.com/nosuch").err().unwrap().contains("`nosuch`"));
        assert!(subject(&config(), "b.com/p").unwrap().about.contains("queues of a"));
    }
}
