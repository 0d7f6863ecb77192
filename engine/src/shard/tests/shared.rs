//! Limits that several shards keep together: never exceeded, used, and a share for each.

use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::queue::QueueSettings;
use crate::shard::{Input, ShardReply, ShardRequest, VmtaProfile};
use std::sync::Arc;
use std::time::Duration;

/// Shards of one engine, in one time.
struct Shards(Vec<World>);

impl Shards {
    /// `count` shards whose virtual MTA v1 is `limited`; each has a queue of its own.
    fn new(count: u32, limited: impl Fn(&mut VmtaProfile)) -> Shards {
        let mut usual = profile("[10.0.0.1]");
        usual.scheduling =
            QueueSettings { max_rcpt_per_message: 1, max_msg_per_connection: 3, ..QueueSettings::default() }
                .into();
        let mut profiles = TestProfiles::new(usual);
        limited(Arc::get_mut(&mut profiles.vmtas[0]).expect("not shared yet"));
        Shards(World::shards(&profiles, count))
    }

    fn submit(&mut self, shard: usize, count: usize) {
        self.0[shard].submit(&Mail::many(count, &format!("d{shard}.example")));
        self.nudge();
    }

    fn nudge(&mut self) {
        while let Some(from) = self.0.iter().position(|world| !world.nudges.is_empty()) {
            let now = self.0[from].now.mono;
            for (to, place) in std::mem::take(&mut self.0[from].nudges) {
                let to = &mut self.0[to as usize];
                to.pass(now);
                to.input(Input::Nudged(place));
            }
        }
    }

    fn run(&mut self, time: Duration, mut look: impl FnMut(&Shards)) {
        let until = self.0[0].now.mono + time;
        loop {
            let next = |world: &World| world.next().filter(|at| *at <= until);
            let first = (0..self.0.len()).filter_map(|n| Some((next(&self.0[n])?, n))).min();
            let Some((_, first)) = first else { break };
            self.0[first].step(until);
            self.nudge();
            look(self);
        }
        self.0.iter_mut().for_each(|world| world.pass(until));
    }

    fn open(&self) -> usize {
        self.0.iter().map(|world| world.open.len()).sum()
    }

    fn reached(&self) -> Vec<usize> {
        self.0.iter().map(|world| world.site.reached().len()).collect()
    }

    fn why(&mut self, shard: usize) -> String {
        match self.0[shard].request(ShardRequest::Queues) {
            ShardReply::Queues(queues) => queues[0].waits_for.clone(),
            other => panic!("not queues: {other:?}"),
        }
    }
}

#[test]
fn max_smtp_out_of_a_virtual_mta_is_shared_and_used() {
    let mut shards = Shards::new(3, |vmta| vmta.max_smtp_out = Some(2));
    (0..3).for_each(|shard| shards.submit(shard, 300));
    assert_eq!(shards.why(2), "all connections are in use (max-smtp-out 2 of virtual-mta v1)");
    let (mut used, mut last) = (Duration::ZERO, (Time::ZERO, 2));
    shards.run(Duration::from_millis(500), |shards| {
        let now = shards.0.iter().map(|world| world.now.mono).max().unwrap_or_default();
        used += now.since(last.0) * last.1 as u32;
        last = (now, shards.open());
        assert!(shards.open() <= 2, "{} connections", shards.open());
    });
    assert!(used.as_secs_f64() >= 0.97, "two connections for half a second are {used:?}");
    let reached = shards.reached();
    assert!(reached.iter().all(|one| one * 4 > *reached.iter().max().expect("three")), "{reached:?}");
    shards.run(Duration::from_secs(60), |shards| assert!(shards.open() <= 2));
    assert_eq!(shards.reached(), [300, 300, 300]);
    assert_eq!(shards.open(), 0);
}

#[test]
fn a_connection_that_waits_for_mail_is_given_up_for_one_that_has_some() {
    let mut shards = Shards::new(1, |vmta| vmta.max_smtp_out = Some(1));
    shards.0[0].submit(&Mail::many(1, "a.example"));
    shards.run(Duration::from_millis(20), |_| {});
    assert_eq!((shards.open(), shards.reached()), (1, vec![1]));
    shards.0[0].submit(&Mail::many(1, "b.example"));
    shards.run(Duration::from_millis(20), |_| {});
    assert_eq!(shards.reached(), [2]);
}
