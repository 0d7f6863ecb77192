//! Delivery reports (RFC 3461): what a shard says may be due is looked into, made a message, and stored in one commit with
//! the outcome it is about.

use super::accounting_config::categories;
use super::failure_text::{FailureText, Values};
use super::intake::{Intake, Refused};
use super::profiles::Configured;
use crate::acct::{Categories, Record};
use crate::base::Wall;
use crate::mail::row::{RowView, row_view};
use crate::mail::{Content, Row, plain, verp};
use crate::report::{self, Action, Format, Notification, Original};
use crate::shard::Report;
use crate::smtp::dsn::{Notify, ROW_FIELDS};
use crate::spool::SpoolError;
use crate::spool::codec::decode_submission;
use crate::spool::record::{Draft, OutcomeBatch, Submission, Verp};
use crate::spool::rows::RowsView;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use vmta_config::{Config, DsnFormat};

/// Reports made at once: those of one commit, and what their messages may take of memory together, in KiB.
const AT_ONCE: u32 = 256;
const ROOM: u32 = 32 << 10;
/// When an outcome that storage had no room for is offered again.
const RETRY: Duration = Duration::from_millis(5);

/// Makes reports, until every shard is gone.
pub async fn serve(intake: Arc<Intake>, mut wanted: mpsc::UnboundedReceiver<(usize, Box<Report>)>) {
    let reporter = Arc::new(Reporter { intake, known: Mutex::new(None) });
    let room = Arc::new(Semaphore::new(ROOM as usize));
    while let Some((shard, report)) = wanted.recv().await {
        // It is never closed.
        let size = (report.size / 1024).clamp(ROOM / AT_ONCE, ROOM);
        let Ok(place) = room.clone().acquire_many_owned(size).await else { return };
        let reporter = reporter.clone();
        tokio::spawn(async move {
            reporter.report(&report).await;
            // Fails when the engine stops.
            let _ = reporter.intake.owners.reported(shard).await;
            drop(place);
        });
    }
}

struct Reporter {
    intake: Arc<Intake>,
    /// Bounce categories, of this configuration.
    known: Mutex<Option<(Arc<Config>, Categories)>>,
}

/// What a report is made from.
struct Found {
    submission: Submission,
    /// Who is told.
    sender: String,
    recipient: String,
    orcpt: String,
    /// None where it cannot be read or rendered.
    message: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
enum Unreported {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the recipient's record is damaged")]
    Row,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Reporter {
    async fn report(&self, report: &Report) {
        let sent = match self.find(report).await {
            Ok(Some(found)) => self.send(report, &found).await,
            Ok(None) => Ok(false),
            Err(e) => Err(e),
        };
        let stored = sent.unwrap_or_else(|error| {
            tracing::error!(submission = %report.submission, %error, "a delivery report could not be made");
            false
        });
        if !stored && let Some(batch) = report.batch() {
            self.settle(batch).await;
        }
    }

    /// Records an outcome without a report.
    async fn settle(&self, mut batch: OutcomeBatch) {
        while let Err(again) = self.intake.storage.settle(batch) {
            if self.intake.storage.status().failed.is_some() {
                return;
            }
            batch = again;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Looks up what the report is about; `None` when the recipient's sender does not want it.
    async fn find(&self, report: &Report) -> Result<Option<Found>, Unreported> {
        let storage = &self.intake.storage;
        let submission = decode_submission(report.submission, &storage.read(report.submission).await?)?;
        let record = storage.read(report.row.record).await?;
        let view = RowsView::new(&record).ok_or(Unreported::Row)?;
        let bytes = view.row(usize::from(report.row.index)).ok_or(Unreported::Row)?;
        let row = row_view(bytes).map_err(|_| Unreported::Row)?;
        let (notify, orcpt) = asked(&submission, &row);
        let sender = match submission.sender_field() {
            Some(field) => row.value(field).ok_or(Unreported::Row)?.to_owned(),
            None => submission.sender.clone(),
        };
        let wanted = !sender.is_empty()
            && match report.action {
                Action::Failed => notify.failure(),
                Action::Delayed => notify.delay(),
                Action::Relayed => notify.success(),
            };
        if !wanted {
            return Ok(None);
        }
        let content = storage.read(submission.content).await.ok();
        let number = view.first_row + u64::from(report.row.index);
        let message = content.and_then(|bytes| message(&bytes, &row, number));
        Ok(Some(Found { recipient: row.address.to_owned(), sender, orcpt, submission, message }))
    }

    /// True once the report is durable, and the outcome with it.
    async fn send(&self, report: &Report, found: &Found) -> Result<bool, Unreported> {
        let configured = self.intake.configured.load_full();
        let id = self.intake.storage.new_id();
        let now = report.at;
        let text = self.compose(report, found, &configured.config, &configured.host, id);
        let submission = Submission {
            id,
            virtual_mta: report.attempt.vmta.clone(),
            source_type: "api".to_owned(),
            accepted_at: now.0,
            smtputf8: !found.sender.is_ascii() || !found.recipient.is_ascii(),
            ..Submission::default()
        };
        let Some(to) = return_path(report, found, &configured) else { return Ok(false) };
        let content = Content::plain_utf8(text, submission.smtputf8);
        let outcome = report.batch().map(Draft::Outcomes);
        let split = self.intake.take_own(submission, &content, &to, outcome).await?;
        // Fails when the engine stops: it is durable, and queued by the next start.
        let _ = self.intake.owners.admit(split).await;
        Ok(true)
    }

    fn compose(&self, report: &Report, found: &Found, config: &Arc<Config>, host: &str, id: u64) -> Vec<u8> {
        let submission = &found.submission;
        let said = report.outcome.as_ref().and_then(|outcome| {
            let (attempt, rcpt) = (&report.attempt, found.recipient.as_str());
            Record::of_outcome(outcome, attempt, &report.said, Some(submission), rcpt)
        });
        let (status, diagnostic) = match &said {
            Some(record) => (record.status, record.diagnostic),
            None => (report.said.status.as_str(), report.said.diagnostic.as_str()),
        };
        let category = match report.action {
            Action::Failed => self.category(config, status, diagnostic),
            _ => String::new(),
        };
        let settings =
            config.queue(report.attempt.queue.split('/').next().unwrap_or_default(), &report.attempt.vmta);
        let (date, arrived) = (plain::date(report.at), plain::date(Wall(submission.accepted_at)));
        let told = match report.action {
            Action::Failed => FailureText::new(
                config,
                &Values {
                    host,
                    sender: &found.sender,
                    recipient: &found.recipient,
                    message: found.message.as_deref(),
                    date: &date,
                    arrived: &arrived,
                    status,
                    diagnostic,
                    settings: &settings,
                },
            ),
            Action::Delayed | Action::Relayed => FailureText::default(),
        };
        report::compose(&Notification {
            action: report.action,
            host,
            from: told.from.as_deref().or(config.global().custom_dsn_from_header.as_deref()),
            subject: told.subject.as_deref(),
            words: told.words.as_deref(),
            to: &found.sender,
            date: &date,
            arrived: &arrived,
            give_up: &plain::date(report.give_up),
            message_id: &format!("<{}@{host}>", plain::message_name(id, config.global().host_id)),
            boundary: &format!("{:08x}", fastrand::u32(..)),
            vmta: &report.attempt.vmta,
            source_mta: &submission.source_mta,
            envid: &submission.envid,
            recipient: &found.recipient,
            orcpt: &found.orcpt,
            status,
            diagnostic,
            mta: &report.attempt.mta,
            category: &category,
            original: found
                .message
                .as_deref()
                .map(|message| Original { message, full: submission.reports.full }),
            format: match settings.dsn_format {
                DsnFormat::Standard => Format::Standard,
                DsnFormat::PlainText => Format::PlainText,
            },
        })
    }

    fn category(&self, config: &Arc<Config>, status: &str, diagnostic: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, config)) {
            // What cannot be compiled has kept the configuration from being taken.
            *known = categories(config).ok().map(|found| (config.clone(), found));
        }
        let Some((_, categories)) = known.as_mut() else { return String::new() };
        let category = categories.of_text(status, diagnostic);
        categories.name(category).to_owned()
    }
}

/// Where the report goes: as bounces from elsewhere do, which know the sender as receivers were told of him. `None` where
/// they were told of none.
fn return_path(report: &Report, found: &Found, configured: &Configured) -> Option<String> {
    let rewrites = configured.rewrites(&report.attempt.vmta, &found.submission.at_delivery.rewrite_list);
    let rewritten = rewrites.and_then(|rewrites| rewrites.sender(&found.sender));
    let sender = rewritten.as_deref().unwrap_or(&found.sender);
    let to = match found.submission.verp {
        Verp::Named => verp::named(sender, &found.recipient),
        Verp::No | Verp::Signed => sender.to_owned(),
    };
    (!to.is_empty()).then_some(to)
}

/// NOTIFY and ORCPT of a recipient.
fn asked(submission: &Submission, row: &RowView<'_>) -> (Notify, String) {
    let Some(at) = submission.fields.iter().position(|name| name == ROW_FIELDS[0]) else {
        return (Notify::NOT_GIVEN, String::new());
    };
    let mut values = row.values().skip(at).map(|value| value.unwrap_or_default());
    let notify = values.next().and_then(Notify::parse).unwrap_or_default();
    (notify, values.next().unwrap_or_default().to_owned())
}

/// The message as it was sent, or to be sent, to one recipient.
fn message(content: &[u8], row: &RowView<'_>, number: u64) -> Option<Vec<u8>> {
    let content = Content::decode(content).ok()?;
    let values: Vec<&str> = row.values().take(content.fields().len()).collect::<Result<_, _>>().ok()?;
    let mut message = Vec::new();
    content.render(&Row { to: row.address, number, values: &values }, &mut message).ok()?;
    Some(message)
}
