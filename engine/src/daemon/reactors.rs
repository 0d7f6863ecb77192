//! The reactors: a thread and a shard each.

use super::owners::Owners;
use super::profiles::{ConfigProfiles, Configured};
use super::routing::Routing;
use super::warming::Warmings;
use crate::io::clock::{self, Clock};
use crate::io::reactor::{Message, Reactor, Seen, Services};
use crate::io::storage::Storage;
use crate::limit::Shared;
use crate::mail::verp::VerpKeys;
use crate::queue::QueueName;
use crate::shard::{Notice, QueuePattern, Report, Settings, Shard, owner};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;

/// Batches that may wait for a reactor.
const INBOX: usize = 64;

/// What every reactor is started with.
pub(super) struct Start {
    pub clock: Clock,
    pub reports: mpsc::UnboundedSender<(usize, Box<Report>)>,
    pub notices: mpsc::UnboundedSender<Box<Notice>>,
    pub configured: Arc<Configured>,
    pub storage: Storage,
    pub shared: Arc<Shared>,
    pub routing: Arc<Routing>,
    pub pauses: Vec<(QueuePattern, bool)>,
    pub routes_lost: Vec<QueueName>,
    pub verp: Arc<VerpKeys>,
    pub warming: Arc<Warmings>,
}

impl Start {
    pub fn reactors(
        self,
        control: &tokio::runtime::Handle,
        count: usize,
    ) -> io::Result<(Owners, Vec<JoinHandle<()>>)> {
        let policy = self.routing.policy();
        let (inboxes, taken): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel::<Message>(INBOX)).unzip();
        let peers: Arc<[_]> = inboxes.iter().map(mpsc::Sender::downgrade).collect();
        let mut reactors = Vec::new();
        for (number, messages) in taken.into_iter().enumerate() {
            let services = Services {
                clock: self.clock,
                storage: self.storage.clone(),
                resolver: self.routing.resolver().clone(),
                control: control.clone(),
                reports: self.reports.clone(),
                notices: self.notices.clone(),
                seen: seen(&self.warming),
                number,
                peers: peers.clone(),
            };
            let settings = Settings {
                profiles: Box::new(ConfigProfiles::new(self.configured.clone())),
                segments: self.storage.segments().clone(),
                routes: policy.clone(),
                number: number as u32,
                shared: self.shared.clone(),
                pauses: self.pauses.clone(),
                routes_lost: own(&self.routes_lost, number, count),
                verp: self.verp.clone(),
            };
            let run = move || {
                // A reactor without its runtime can do nothing at all.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build_local(LocalOptions::default())
                    .expect("a reactor's runtime can be built");
                let reactor = Reactor::new(Shard::new(services.clock.now(), settings), services);
                runtime.block_on(reactor.run(messages));
            };
            reactors.push(thread::Builder::new().name(format!("reactor-{number}")).spawn(run)?);
        }
        Ok((Owners::new(inboxes), reactors))
    }
}

/// What becomes of attempts decides on warm-ups.
fn seen(warming: &Arc<Warmings>) -> Seen {
    let warming = warming.clone();
    Arc::new(move |attempt, disposition| warming.note(attempt, disposition, clock::wall))
}

/// The queues that this shard of `count` owns.
fn own(queues: &[QueueName], number: usize, count: usize) -> BTreeSet<QueueName> {
    queues.iter().filter(|name| owner(&name.domain, &name.vmta, count) == number).cloned().collect()
}
