//! The clients: a message by SMTP or from a pickup file, through the engine's own intake; a campaign, by the engine's own
//! reading, checking and encoding, committed group by group and gone on with after a crash.

use super::content;
use super::plan::{Door, Work};
use super::post::{News, Post, Refusal};
use posthaste::base::Wall;
use posthaste::daemon::handed::Handed;
use posthaste::daemon::intake::{Intake, Refused};
use posthaste::daemon::owners::{Accepted, Split};
use posthaste::ingest::Campaign;
use posthaste::ingest::batch::Batch;
use posthaste::ingest::import::{Import, Settings, Taken};
use posthaste::ingest::prepare::{self, Prepared, TemplateBytes, prepare};
use posthaste::ingest::progress::Progress;
use posthaste::ingest::submission::{campaign_rows, campaign_start};
use posthaste::ingest::table::{Format, Table};
use posthaste::io::reactor::Message;
use posthaste::mail::{Content, Fixed, plain};
use posthaste::spool::codec::decode_submission;
use posthaste::spool::ledger;
use posthaste::spool::record::{Control, Draft, Group, Location};
use std::rc::Rc;
use std::sync::Arc;

/// Recipients on their way to their shards.
fn hand_over(split: Split, post: &Post) {
    for (shard, batch) in split.into_shards().into_iter().enumerate().filter(|(_, batch)| !batch.is_empty()) {
        post.send(News::Message(shard, Message::Admit(batch)));
    }
}

/// The identity of a pickup file or campaign.
pub fn identity(work: usize) -> String {
    format!("file-{work}")
}

/// Hands over one submission and tells what became of it.
pub async fn submit(
    intake: Arc<Intake>,
    post: Rc<Post>,
    work: Work,
    wall: Wall,
    began: Option<ledger::Import>,
) {
    let answer = match work.door {
        Door::Smtp | Door::Pickup => message(&intake, &post, &work, wall).await,
        Door::Campaign => campaign(&intake, &post, &work, wall, began).await,
    };
    let taken = answer.is_ok();
    let answer = answer.map_err(|refused| Refusal {
        transient: match &refused {
            Refused::Spool(error) => error.is_transient() || log_ended(&refused),
            Refused::Stopping => true,
            _ => false,
        },
        text: refused.to_string(),
    });
    // A file is removed now.
    post.send(News::Told { work: work.id, answer });
    if taken && work.door != Door::Smtp {
        forget(&intake, &work).await;
    }
}

fn log_ended(refused: &Refused) -> bool {
    use posthaste::spool::SpoolError::{Failed, Stopped};
    matches!(refused, Refused::Spool(Failed { .. } | Stopped))
}

async fn message(intake: &Intake, post: &Post, work: &Work, wall: Wall) -> Result<(), Refused> {
    let by_file = work.door == Door::Pickup;
    let handed = Handed {
        sender: "bounce@sender.example",
        recipients: &work.recipients,
        message: &work.message,
        job: Some(&work.job),
        virtual_mta: Some(&work.vmta),
        source_type: if by_file { "api" } else { "smtp" },
        client_name: "client.example",
        client_ip: "127.0.0.9",
        local_ip: "127.0.0.1",
        pickup_identity: if by_file { identity(work.id) } else { String::new() },
        ..Handed::default()
    };
    let configured = intake.configured.load_full();
    let source = configured.config.source_for([127, 0, 0, 9].into(), None, None);
    // Not blocking while the spool is full: it is this thread that empties it.
    let underway = intake.take_waiting(&handed, &source, wall).await?;
    hand_over(intake.durable(underway).await?, post);
    Ok(())
}

/// The campaign as its directory would describe it.
fn description(work: &Work, start_at: i64) -> Campaign {
    let text = format!(
        "job = \"{}\"\nenvelope-sender = \"bounce@sender.example\"\nvirtual-mta = \"{}\"\ntext = \"message.txt\"\n\
         recipients = \"recipients.csv\"\nemail-column = \"email\"\n\n[headers]\n\
         From = \"News <news@sender.example>\"\nTo = \"{{{{ email }}}}\"\nSubject = \"Hello {{{{ name }}}}\"\n",
        work.job, work.vmta
    );
    let campaign = Campaign::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    Campaign { start_at, ..campaign }
}

async fn campaign(
    intake: &Intake,
    post: &Post,
    work: &Work,
    wall: Wall,
    began: Option<ledger::Import>,
) -> Result<(), Refused> {
    let start_at = work.start_at.map_or(0, |at| super::world::START.0 + at.as_millis() as i64);
    let campaign = description(work, start_at);
    let rows = content::rows(work);
    let mut table = Table::open(Format::Csv, rows.as_bytes()).expect("a table");
    let id = intake.storage.new_id();
    let fixed = Fixed {
        date: plain::date(wall),
        submission_id: id,
        host_id: 0,
        dated_later: false,
        host: "mail.sender.example".to_owned(),
        sender: campaign.envelope_sender.as_str().to_owned(),
    };
    let template = content::template(work.id);
    let parts = TemplateBytes::Parts { html: None, text: Some(template.as_bytes()) };
    let Prepared { content, plan } =
        prepare(&campaign, parts, table.columns(), &fixed).unwrap_or_else(|errors| panic!("{errors:?}"));
    let members = intake.configured.load().members(&work.vmta).expect("the plan's VMTAs are configured");
    let resume = began.as_ref().map(|b| Progress::from_state(b.next_row, &b.state).expect("our own state"));
    let settings = Settings {
        vmtas: &members,
        duplicates: campaign.duplicates,
        domain_suffix: "",
        key: [9; 16],
        resume,
    };
    let mut import = Import::new(plan, &settings).expect("members");
    let mut submission = prepare::submission(&campaign, id, wall.0, &identity(work.id));
    submission.virtual_mta.clone_from(&work.vmta);
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).expect("readable rows") {
        import.take(&batch, &mut taken).expect("the same rows");
    }
    import.finish(&mut taken).expect("rows");
    let mut groups =
        Groups { intake, post, content: Some(content), submission, at: began.map(|b| b.submission), members };
    let chunks = std::mem::take(&mut taken.chunks);
    let (count, mut domains) = (chunks.len(), Vec::new());
    for (n, chunk) in chunks.into_iter().enumerate() {
        domains.truncate(chunk.first_new_domain as usize);
        domains.extend(chunk.new_domains.iter().cloned());
        groups.commit(chunk, &domains, n + 1 == count, &identity(work.id)).await?;
    }
    Ok(())
}

/// The groups of one campaign, in order.
struct Groups<'i> {
    intake: &'i Intake,
    post: &'i Post,
    content: Option<Content>,
    submission: posthaste::spool::record::Submission,
    /// Where its header stands, once it does.
    at: Option<Location>,
    members: Vec<String>,
}

impl Groups<'_> {
    async fn commit(
        &mut self,
        chunk: posthaste::ingest::chunk::Chunk,
        domains: &[Arc<str>],
        last: bool,
        identity: &str,
    ) -> Result<(), Refused> {
        let vmta = chunk.rows.vmta.clone();
        let first = self.at.is_none();
        let group = match self.at {
            None => {
                let content = self.content.take().expect("stored once");
                campaign_start(self.submission.clone(), &content, chunk.rows, &chunk.progress, last)
            }
            Some(at) => campaign_rows(at, identity, chunk.rows, &chunk.progress, last),
        };
        let committed = self.intake.storage.submit_async(group).await.await?;
        let at = *self.at.get_or_insert_with(|| committed.places[1].at);
        let record = self.intake.storage.segments().record(at)?;
        let accepted = Accepted::new(at, &decode_submission(at, &record)?, None);
        let vmtas: Vec<Arc<str>> = self.members.iter().map(|name| name.as_str().into()).collect();
        let rows = chunk.domains.iter().zip(&vmta).enumerate();
        let rows = rows.map(|(index, (domain, vmta))| {
            (index as u16, 0, &domains[*domain as usize], &vmtas[usize::from(*vmta)])
        });
        let mut split = self.intake.new_split(Wall(accepted.accepted_at.0));
        split.add(&accepted, committed.places[if first { 2 } else { 0 }], rows);
        hand_over(split, self.post);
        Ok(())
    }
}

/// The file is gone: it need not be known any longer.
async fn forget(intake: &Intake, work: &Work) {
    let done = Draft::Control(Control::PickupDone { identity: identity(work.id) });
    let forgotten = Draft::Control(Control::PickupForgotten { identity: identity(work.id) });
    // Where it cannot be noted, the next start notes it.
    let _ = intake.storage.submit_async(Group { drafts: vec![done, forgotten] }).await.await;
}
