//! Mails to operators about queues (`backoff-notify`, `disabled-source-ip-notify`): ordinary messages of the engine's own,
//! with the null sender, so that nothing comes back of them.

use super::intake::{Intake, Refused};
use crate::base::Wall;
use crate::io::clock::wall;
use crate::mail::{Content, plain};
use crate::shard::Notice;
use crate::spool::record::Submission;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Columns of the text.
const WIDTH: usize = 78;

/// Sends what is to be told, until every shard is gone.
pub async fn serve(intake: Arc<Intake>, mut notices: mpsc::UnboundedReceiver<Box<Notice>>) {
    while let Some(notice) = notices.recv().await {
        for address in recipients(&intake, &notice) {
            if let Err(error) = send(&intake, &notice, &address).await {
                tracing::error!(address, %error, "an operator could not be told: {notice}");
            }
        }
    }
}

fn recipients(intake: &Intake, notice: &Notice) -> Vec<String> {
    let queue = notice.queue();
    let settings = intake.configured.load().config.queue(&queue.domain, &queue.vmta);
    match notice {
        Notice::Mode { .. } => settings.backoff_notify.clone(),
        Notice::Source { .. } => settings.disabled_source_ip_notify.clone(),
        // Steps are too many for mails; they are in the log.
        Notice::Adapted { .. } => None,
    }
    .unwrap_or_default()
}

async fn send(intake: &Intake, notice: &Notice, address: &str) -> Result<(), Refused> {
    let (id, now) = (intake.storage.new_id(), wall());
    let host = intake.configured.load().host.clone();
    let smtputf8 = !address.is_ascii();
    let content = Content::plain_utf8(compose(notice, address, &host, id, now), smtputf8);
    let submission = Submission {
        id,
        source_type: "api".to_owned(),
        accepted_at: now.0,
        smtputf8,
        ..Submission::default()
    };
    let split = intake.take_own(submission, &content, address, None).await?;
    // Fails when the engine stops: it is durable, and queued by the next start.
    let _ = intake.owners.admit(split).await;
    Ok(())
}

/// The message: CR LF lines, not dot-stuffed.
fn compose(notice: &Notice, to: &str, host: &str, id: u64, now: Wall) -> Vec<u8> {
    let date = plain::date(now);
    let mut text = format!(
        "From: Mail Delivery System <mailer-daemon@{host}>\r\nTo: <{to}>\r\nSubject: {}\r\nDate: {date}\r\n\
         Message-ID: <{id:x}@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        notice.subject()
    );
    let mut column = 0;
    for word in format!("{date}: {notice}").split(' ') {
        let end = if column > 0 && column + word.len() >= WIDTH { "\r\n" } else { "" };
        column = if end.is_empty() { column } else { 0 };
        let blank = if column > 0 { " " } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{end}{blank}{word}");
        column += blank.len() + word.len();
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::QueueName;

    #[test]
    fn a_long_reply_is_told_in_lines_that_may_be_sent() {
        let reason = format!("421 4.7.0 {} fits /x/ of config:1", "slow down ".repeat(90));
        let notice = Notice::Mode { queue: QueueName::new("a.example", "v1"), backoff: true, reason };
        let text = compose(&notice, "ops@x.example", "mx.example", 7, Wall(0));
        let text = String::from_utf8(text).expect("text");
        let (header, body) = text.split_once("\r\n\r\n").expect("a header");
        assert!(header.contains("Subject: a.example/v1 is in backoff\r\n"), "{header}");
        assert!(body.lines().count() > 10 && body.lines().all(|line| line.len() <= WIDTH), "{body}");
        let begin = "Thu, 01 Jan 1970 00:00:00 +0000: queue a.example/v1 enters backoff: 421 4.7.0";
        assert!(body.starts_with(begin) && body.ends_with("/x/ of config:1\r\n"), "{body}");
    }
}
