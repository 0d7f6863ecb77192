//! Headers of a message that speak to the engine (reference 6.2): what they say, where the source lets them, and which are
//! taken out. A source lets them speak by `process-…` and leave with the message by `retain-…`.

use super::intake::Refused;
use crate::mail::header::Header;
use crate::mail::plain::CONTROL_HEADERS;
use crate::mail::schedule::Schedule;
use jiff::tz::TimeZone;
use vmta_config::SourceSettings;

/// What a message asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    pub virtual_mta: Option<String>,
    pub job: Option<String>,
    pub envid: Option<String>,
    pub schedule: Schedule,
}

impl Spoken {
    /// # Errors
    /// When a header that counts says what nobody can do.
    pub fn read(message: &[u8], source: &SourceSettings) -> Result<Spoken, Refused> {
        let header = Header::scan(message);
        let value = |field: &str, counts: bool| match counts {
            true => read(&header, field),
            false => Ok(None),
        };
        let virtual_mta = match value("x-virtual-mta", source.process_x_virtual_mta)? {
            Some(name) if !name.is_empty() => Some(name),
            Some(_) if source.allow_empty_x_virtual_mta => Some("{default}".to_owned()),
            Some(_) if source.reject_invalid_virtual_mta => return Err(Refused::NoSuchVmta(String::new())),
            Some(_) | None => None,
        };
        let named = |job: Option<String>| job.filter(|job| !job.is_empty());
        let mut job = named(value("x-job", source.process_x_job)?);
        if let (None, Some(other)) = (&job, &source.jobid_header) {
            job = named(read(&header, other)?);
        }
        let envid = named(value("x-envid", source.process_x_envid)?);
        let schedule = match header.find("x-schedule").filter(|_| source.process_x_schedule) {
            Some(found) => schedule("x-schedule", &String::from_utf8_lossy(&header.unfolded(found)))?,
            None => Schedule::default(),
        };
        Ok(Spoken { virtual_mta, job, envid, schedule })
    }
}

/// The times that `field` names, by the clock on the wall here.
pub fn schedule(field: &str, times: &str) -> Result<Schedule, Refused> {
    Schedule::parse(times, &TimeZone::system())
        .map_err(|error| Refused::Header { field: field.to_owned(), problem: error.to_string() })
}

/// The value of a header, without white space inside.
fn read(header: &Header<'_>, field: &str) -> Result<Option<String>, Refused> {
    let Some(found) = header.find(field) else { return Ok(None) };
    let refuse = |problem| Refused::Header { field: field.to_owned(), problem };
    let text = String::from_utf8(header.unfolded(found)).map_err(|_| refuse("is not UTF-8".to_owned()))?;
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse(format!("{text:?} holds white space or control characters")));
    }
    Ok(Some(text))
}

/// The job of a message: what its envelope says goes before what its headers say; `jobid-prefix` stands before either.
pub fn job(envelope: Option<&str>, spoken: Option<String>, source: &SourceSettings, user: &str) -> String {
    let job = envelope.map(str::to_owned).or(spoken).unwrap_or_default();
    match source.jobid_prefix.as_deref() {
        Some(prefix) if !job.is_empty() => prefix.replace("{auth}", user) + &job,
        _ => job,
    }
}

/// The headers that a message loses on its way in.
pub fn removed(source: &SourceSettings) -> Vec<&str> {
    let retained = [
        ("x-virtual-mta", source.retain_x_virtual_mta),
        ("x-job", source.retain_x_job),
        ("x-schedule", source.retain_x_schedule),
        ("x-dkim-options", source.retain_x_dkim_options),
        ("x-dkim-key", source.retain_x_dkim_key),
    ];
    let mut remove: Vec<&str> = CONTROL_HEADERS.to_vec();
    remove.retain(|name| !retained.contains(&(name, true)));
    if source.add_x_virtual_mta_header && source.retain_x_virtual_mta {
        // What it says is replaced by what is so.
        remove.push("x-virtual-mta");
    }
    if source.remove_received_headers {
        remove.push("received");
    }
    remove.extend(source.remove_headers.iter().flatten().map(String::as_str));
    remove
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    fn source(directives: &str) -> SourceSettings {
        let text = format!(
            "log-file /l\n<spool /s>\n</spool>\n<source 0/0>\n{directives}\n</source>\n\
             <virtual-mta a>\n smtp-source-host 192.0.2.1 a.example\n</virtual-mta>"
        );
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        config.source_for([192, 0, 2, 9].into(), None, None)
    }

    fn spoken(directives: &str, header: &str) -> Result<Spoken, String> {
        let message = format!("{header}\r\n\r\ntext\r\n");
        Spoken::read(message.as_bytes(), &source(directives)).map_err(|e| e.to_string())
    }

    #[test]
    fn headers_speak_only_where_they_are_listened_to() {
        let header = "X-Virtual-MTA: a\r\nx-job: j1\r\nX-Envid: e1\r\nX-Campaign: c1";
        assert_eq!(spoken("", header), Ok(Spoken::default()));
        let all =
            "process-x-virtual-mta yes\nprocess-x-job yes\nprocess-x-envid yes\njobid-header X-Campaign";
        let said = spoken(all, header).unwrap();
        assert_eq!(
            (said.virtual_mta.as_deref(), said.job.as_deref(), said.envid.as_deref()),
            (Some("a"), Some("j1"), Some("e1"))
        );
        // The header of one's own choice counts where x-job says nothing.
        assert_eq!(spoken("jobid-header X-Campaign", header).unwrap().job.as_deref(), Some("c1"));
        assert_eq!(spoken(all, "X-Job:\r\nX-Campaign: c1").unwrap().job.as_deref(), Some("c1"));
        assert_eq!(
            spoken("process-x-job yes", "X-Job: a b"),
            Err("x-job: \"a b\" holds white space or control characters".to_owned())
        );
    }

    #[test]
    fn a_schedule_is_obeyed_or_refused_but_never_overlooked() {
        let header = "X-Schedule: 2026-12-01 09:00:00/2026-12-01 10:00:00,\r\n\t2026-12-02 09:00:00/2026-12-02 10:00:00";
        assert_eq!(spoken("", header), Ok(Spoken::default()));
        assert!(!spoken("process-x-schedule yes", header).unwrap().schedule.is_empty());
        let refused = spoken("process-x-schedule yes", "X-Schedule: tomorrow").unwrap_err();
        assert!(refused.starts_with("x-schedule: \"tomorrow\" is no time to deliver in"), "{refused}");
    }

    #[test]
    fn an_empty_virtual_mta() {
        let said = |directives: &str| {
            let directives = format!("process-x-virtual-mta yes\n{directives}");
            spoken(&directives, "X-Virtual-MTA:  ").map(|said| said.virtual_mta)
        };
        assert_eq!(said("allow-empty-x-virtual-mta yes"), Ok(Some("{default}".to_owned())));
        assert_eq!(said(""), Err("specified Virtual MTA '' does not exist".to_owned()));
        assert_eq!(said("reject-invalid-virtual-mta no"), Ok(None));
    }

    #[test]
    fn the_name_of_a_job() {
        let with = |directives: &str, envelope, said: Option<&str>| {
            job(envelope, said.map(str::to_owned), &source(directives), "ann")
        };
        assert_eq!(with("", Some("e"), Some("h")), "e");
        assert_eq!(with("", None, Some("h")), "h");
        assert_eq!(with("jobid-prefix s1-", None, Some("h")), "s1-h");
        assert_eq!(with("jobid-prefix {auth}/", Some("e"), None), "ann/e");
        assert_eq!(with("jobid-prefix s1-", None, None), "");
    }

    #[test]
    fn what_leaves_with_no_message() {
        let removed = |directives: &str| removed(&source(directives)).join(" ");
        assert_eq!(
            removed(""),
            "x-virtual-mta x-job x-envid x-schedule x-sender-override x-dkim-options x-dkim-key"
        );
        let retained = "retain-x-virtual-mta yes\nretain-x-job yes\nretain-x-schedule yes\nretain-x-dkim-options yes\n\
                        retain-x-dkim-key yes";
        assert_eq!(removed(retained), "x-envid x-sender-override");
        assert!(removed("remove-received-headers yes\nremove-header X-A,X-B").ends_with("received X-A X-B"));
        assert!(removed("remove-header X-A\nremove-header \"\"").ends_with("x-dkim-key"));
    }
}
