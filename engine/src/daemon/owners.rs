//! The way from intake to the owners of queues: recipients that have just become durable are split by the shard
//! that owns their queue and handed over in batches.

use super::profiles::Configured;
use crate::base::Wall;
use crate::io::reactor::{Message, Reactor};
use crate::mail::priority::Priority;
use crate::mail::schedule::Schedule;
use crate::shard::{Admit, AdmitRow, ShardReply, ShardRequest, owner};
use crate::spool::record::{Location, Place, Reports, Submission};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The reactors, by shard number.
#[derive(Clone)]
pub struct Owners {
    inboxes: Vec<mpsc::Sender<Message>>,
}

/// The engine is stopping: a reactor is gone.
#[derive(Debug, thiserror::Error)]
#[error("the engine is stopping")]
pub struct Stopping;

impl Owners {
    pub fn new(inboxes: Vec<mpsc::Sender<Message>>) -> Owners {
        assert!(!inboxes.is_empty(), "an engine has at least one shard");
        Owners { inboxes }
    }

    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Hands over split recipients, blocking where an owner's channel is full.
    pub fn admit_blocking(&self, split: Split) -> Result<(), Stopping> {
        for (shard, batch) in split.by_shard.into_iter().enumerate() {
            if !batch.is_empty() {
                self.inboxes[shard].blocking_send(Message::Admit(batch)).map_err(|_| Stopping)?;
            }
        }
        Ok(())
    }

    /// The same for whoever must not block its thread.
    pub async fn admit(&self, split: Split) -> Result<(), Stopping> {
        for (shard, batch) in split.by_shard.into_iter().enumerate() {
            if !batch.is_empty() {
                self.inboxes[shard].send(Message::Admit(batch)).await.map_err(|_| Stopping)?;
            }
        }
        Ok(())
    }

    /// Tells a shard that one of its reports is done with.
    pub async fn reported(&self, shard: usize) -> Result<(), Stopping> {
        self.inboxes[shard].send(Message::Reported).await.map_err(|_| Stopping)
    }

    /// Begins something on the thread of each shard.
    pub async fn begin<B>(&self, mut begin: impl FnMut() -> B) -> Result<(), Stopping>
    where
        B: FnOnce(&Rc<Reactor>) + Send + 'static,
    {
        for inbox in &self.inboxes {
            inbox.send(Message::Begin(Box::new(begin()))).await.map_err(|_| Stopping)?;
        }
        Ok(())
    }

    /// Asks every shard the same thing.
    pub async fn ask(&self, request: &ShardRequest) -> Result<Vec<ShardReply>, Stopping> {
        let mut waiting = Vec::with_capacity(self.inboxes.len());
        for inbox in &self.inboxes {
            let (reply, answer) = oneshot::channel();
            inbox.send(Message::Request(request.clone(), reply)).await.map_err(|_| Stopping)?;
            waiting.push(answer);
        }
        let mut replies = Vec::with_capacity(waiting.len());
        for answer in waiting {
            replies.push(answer.await.map_err(|_| Stopping)?);
        }
        Ok(replies)
    }

    /// Lets every shard finish its transactions and take nothing new.
    pub async fn drain(&self) {
        let mut waiting = Vec::new();
        for inbox in &self.inboxes {
            let (done, drained) = oneshot::channel();
            if inbox.send(Message::Drain(done)).await.is_ok() {
                waiting.push(drained);
            }
        }
        for drained in waiting {
            // An error means that the reactor is already gone: drained as well.
            let _ = drained.await;
        }
    }
}

/// What all recipients of one hand-over have in common.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub at: Location,
    pub size: u32,
    pub accepted_at: Wall,
    pub start_at: Wall,
    pub schedule: Schedule,
    pub priority: Priority,
    pub reports: Reports,
    /// Its recipients were taken in only to be bounced.
    pub refused: bool,
    pub job: Arc<str>,
    /// The stored content, where it is still at hand.
    pub content: Option<(Location, Arc<[u8]>)>,
}

impl Accepted {
    pub fn new(at: Location, submission: &Submission, content: Option<Arc<[u8]>>) -> Accepted {
        Accepted {
            at,
            size: submission.size,
            accepted_at: Wall(submission.accepted_at),
            start_at: Wall(submission.start_at),
            schedule: submission.schedule.clone(),
            priority: submission.priority,
            reports: submission.reports,
            refused: submission.refused_field().is_some(),
            job: submission.job.as_str().into(),
            content: content.map(|bytes| (submission.content, bytes)),
        }
    }
}

/// Recipients split by owner.
pub struct Split {
    configured: Arc<Configured>,
    now: Wall,
    by_shard: Vec<Vec<Admit>>,
    /// (domain, vmta) of the record being split, to shard and index into its admit's queues. Keyed by the
    /// addresses of the interned names: within a record equal names share one allocation.
    queues: HashMap<(usize, usize), (usize, u32)>,
    /// The one last looked for, which is not in `queues`: most often it is the next one too, or the only one.
    last: Option<((usize, usize), (usize, u32))>,
}

impl Split {
    /// By the queues that take mail `now`.
    pub fn new(shards: usize, configured: Arc<Configured>, now: Wall) -> Split {
        let by_shard = (0..shards).map(|_| Vec::new()).collect();
        Split { configured, now, by_shard, queues: HashMap::new(), last: None }
    }

    /// The recipients, by shard.
    pub fn into_shards(self) -> Vec<Vec<Admit>> {
        self.by_shard
    }

    /// Adds the rows of one `Rows` record: index, attempts made so far, domain and VMTA of each.
    pub fn add<'n>(
        &mut self,
        accepted: &Accepted,
        place: Place,
        rows: impl Iterator<Item = (u16, u16, &'n Arc<str>, &'n Arc<str>)>,
    ) {
        self.queues.clear();
        self.last = None;
        let open: SmallVec<[usize; 16]> = self.by_shard.iter().map(Vec::len).collect();
        for (index, attempts, domain, vmta) in rows {
            let key = (domain.as_ptr() as usize, vmta.as_ptr() as usize);
            let (shard, queue) = match self.last {
                Some((last, found)) if last == key => found,
                _ => {
                    let found = match self.queues.get(&key) {
                        Some(&found) => found,
                        None => self.open_queue(accepted, place, &open, domain, vmta),
                    };
                    if let Some((other, of_other)) = self.last.replace((key, found)) {
                        self.queues.insert(other, of_other);
                    }
                    found
                }
            };
            let admit = self.by_shard[shard].last_mut().expect("opened with the queue");
            admit.rows.push(AdmitRow { index, attempts, queue });
        }
    }

    fn open_queue(
        &mut self,
        accepted: &Accepted,
        place: Place,
        open: &[usize],
        domain: &Arc<str>,
        vmta: &Arc<str>,
    ) -> (usize, u32) {
        let queue = self.configured.queue_of(domain, vmta, self.now);
        let shard = owner(&queue.domain, &queue.vmta, self.by_shard.len());
        let admits = &mut self.by_shard[shard];
        if admits.len() == open[shard] {
            admits.push(Admit {
                submission: accepted.at,
                size: accepted.size,
                accepted_at: accepted.accepted_at,
                start_at: accepted.start_at,
                schedule: accepted.schedule.clone(),
                priority: accepted.priority,
                reports: accepted.reports,
                refused: accepted.refused,
                job: accepted.job.clone(),
                record: place.at,
                first_ordinal: place.first_ordinal,
                queues: Vec::new(),
                rows: Vec::new(),
                content: accepted.content.clone(),
            });
        }
        let queues = &mut admits.last_mut().expect("just opened").queues;
        queues.push(queue);
        (shard, (queues.len() - 1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> Arc<Configured> {
        let text = format!("<spool /s>\n</spool>\nlog-file /l\n{text}");
        let loaded = vmta_config::load("config", &vmta_config::MemoryFiles::new([("config", text)]), false);
        let config = loaded.config.map(Arc::new).expect("a configuration");
        Arc::new(Configured::new(config, "mta.example").expect("configured"))
    }

    #[test]
    fn mail_goes_into_the_queue_that_another_one_names() {
        let configured = configured(
            "<virtual-mta v>\n smtp-source-host 127.0.0.1 v.example\n <domain b.example>\n  queue-to \"\"\n </domain>\n\
             </virtual-mta>\n<domain *.example>\n queue-to Relay.example\n</domain>\n\
             <domain relay.example>\n queue-to \"\"\n smtp-hosts 127.0.0.1\n</domain>\n",
        );
        let queue =
            |domain: &str, vmta: &str| configured.queue_of(&domain.into(), &vmta.into(), Wall(0)).to_string();
        assert_eq!(queue("a.example", "v"), "relay.example/v");
        assert_eq!(queue("b.example", "v"), "b.example/v");
        assert_eq!(queue("b.example", "{default}"), "relay.example/{default}");
        assert_eq!(queue("relay.example", "v"), "relay.example/v");
        assert_eq!(queue("a.test", "v"), "a.test/v");
    }

    #[test]
    fn rows_reach_the_owner_of_their_queue_in_order() {
        let domains: Vec<Arc<str>> =
            ["a.example", "b.example", "c.example", "d.example"].map(Arc::from).into();
        let vmta: Arc<str> = "v".into();
        let accepted = Accepted::new(Location::default(), &Submission::default(), None);
        let place = Place { at: Location { segment: 3, offset8: 9 }, first_ordinal: 100 };
        let mut split = Split::new(3, configured(""), Wall(0));
        split.add(&accepted, place, (0..40u16).map(|i| (i, 0, &domains[i as usize % 4], &vmta)));
        let mut seen = Vec::new();
        for (shard, admits) in split.by_shard.iter().enumerate() {
            assert!(admits.len() <= 1);
            for row in admits.iter().flat_map(|a| a.rows.iter().map(move |r| (a, r))) {
                let name = &row.0.queues[row.1.queue as usize];
                assert_eq!(owner(&name.domain, &name.vmta, 3), shard);
                assert_eq!(*name.domain, *domains[row.1.index as usize % 4]);
                seen.push(row.1.index);
            }
            assert!(admits.iter().all(|a| a.rows.is_sorted_by_key(|r| r.index)));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }
}
