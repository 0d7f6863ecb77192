//! Limits that several shards keep together: never exceeded, used, and a share for each.

use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::limit::{Rate, VolumeRate};
use crate::queue::QueueSettings;
use crate::shard::{Input, ShardReply, ShardRequest, VmtaProfile};
use std::sync::Arc;
use std::time::Duration;

/// Shards of one engine, in one time.
pub struct Shards(pub Vec<World>);

impl Shards {
    /// `count` shards whose virtual MTA v1 is `limited`; each has a queue of its own.
    fn new(count: u32, limited: impl Fn(&mut VmtaProfile)) -> Shards {
        Shards::to("[10.0.0.1]", count, |profiles| {
            limited(Arc::get_mut(&mut profiles.vmtas[0]).expect("not shared yet"));
        })
    }

    fn to(hosts: &str, count: u32, limited: impl Fn(&mut TestProfiles)) -> Shards {
        let mut usual = profile(hosts);
        usual.scheduling =
            QueueSettings { max_rcpt_per_message: 1, max_msg_per_connection: 3, ..QueueSettings::default() }
                .into();
        let mut profiles = TestProfiles::new(usual);
        limited(&mut profiles);
        Shards(World::shards(&profiles, count, &Arc::default()))
    }

    fn submit(&mut self, shard: usize, count: usize) {
        self.0[shard].submit(&Mail::many(count, &format!("d{shard}.example")));
        self.nudge();
    }

    pub fn nudge(&mut self) {
        let told = |world: &World| !world.nudges.is_empty() || !world.wishes.is_empty();
        while let Some(from) = self.0.iter().position(told) {
            let now = self.0[from].now.mono;
            for (to, wish) in std::mem::take(&mut self.0[from].wishes) {
                let to = &mut self.0[to as usize];
                to.pass(now);
                to.input(Input::Asked(wish));
            }
            for (to, place) in std::mem::take(&mut self.0[from].nudges) {
                let to = &mut self.0[to as usize];
                to.pass(now);
                to.input(Input::Nudged(place));
            }
        }
    }

    pub fn run(&mut self, time: Duration, mut look: impl FnMut(&Shards)) {
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

    pub fn open(&self) -> usize {
        self.0.iter().map(|world| world.open.len()).sum()
    }

    pub fn reached(&self) -> Vec<usize> {
        self.0.iter().map(|world| world.site.reached().len()).collect()
    }

    pub fn why(&mut self, shard: usize) -> String {
        self.why_of(shard, 0)
    }

    pub fn why_of(&mut self, shard: usize, queue: usize) -> String {
        match self.0[shard].request(ShardRequest::Queues) {
            ShardReply::Queues(queues) => queues[queue].waits_for.clone(),
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

/// The most of what `size` says in a window of the length `per`.
fn most_in(mut events: Vec<(Time, u64)>, per: Duration) -> u64 {
    events.sort_unstable();
    let from = |first: usize| {
        let window = events[first..].iter().take_while(|(at, _)| *at <= events[first].0 + per);
        window.map(|(_, n)| n).sum()
    };
    (0..events.len()).map(from).max().unwrap_or(0)
}

#[test]
fn max_smtp_msg_rate_of_a_virtual_mta_is_shared_and_used() {
    for (rate, time) in [(Rate::per_second(200), 4), (Rate { count: 30, per: Duration::from_secs(60) }, 240)]
    {
        let mut shards = Shards::new(3, |vmta| vmta.max_msg_rate = Some(rate));
        (0..3).for_each(|shard| shards.submit(shard, 1000));
        shards.run(Duration::from_secs(time), |_| {});
        let why = shards.why(1);
        let wanted =
            format!("message rate limit of its virtual MTA reached (max-smtp-msg-rate {rate}) (until");
        assert!(why.starts_with(&wanted), "{why}");
        let times = shards.0.iter().flat_map(|world| world.site.recipients.iter());
        let most = most_in(times.map(|(at, _)| (*at, 1)).collect(), rate.per);
        assert!(most <= u64::from(rate.count) + 1, "{most} in a window of {rate}");
        let reached = shards.reached();
        let permitted = u64::from(rate.count) * time / rate.per.as_secs();
        let all: usize = reached.iter().sum();
        assert!(all as u64 * 100 >= permitted * 96, "{all} of {permitted} at {rate}");
        assert!(reached.iter().all(|one| one * 3 * 4 >= all), "{reached:?} at {rate}");
    }
}

#[test]
fn many_queues_have_their_turn_at_a_rate_of_their_virtual_mta() {
    let mut shards = Shards::new(1, |vmta| vmta.max_msg_rate = Some(Rate::per_second(10)));
    for n in 0..50 {
        shards.0[0].submit(&Mail::many(20, &format!("q{n}.example")));
    }
    shards.run(Duration::from_secs(30), |_| {});
    let reached = shards.0[0].site.reached();
    assert!(reached.len() >= 290, "{}", reached.len());
    let domains: std::collections::BTreeSet<&str> =
        reached.iter().filter_map(|to| to.split('@').nth(1)).collect();
    assert_eq!(domains.len(), 50);
}

#[test]
fn max_smtp_data_volume_rate_counts_the_bytes_that_were_delivered() {
    let size = super::spool::TEXT.len() as u64;
    let rate = VolumeRate { bytes: 200 * size, per: Duration::from_secs(1) };
    let mut shards = Shards::new(2, |vmta| vmta.max_data_volume_rate = Some(rate));
    (0..2).for_each(|shard| shards.submit(shard, 1000));
    shards.run(Duration::from_secs(3), |_| {});
    let why = shards.why(0);
    assert!(why.contains(&format!("(max-smtp-data-volume-rate {rate})")), "{why}");
    let all: usize = shards.reached().iter().sum();
    assert!((576..=800).contains(&all), "{all}");
    let times = shards.0.iter().flat_map(|world| world.site.recipients.iter());
    let most = most_in(times.map(|(at, _)| (*at, size)).collect(), rate.per);
    assert!(most <= rate.bytes, "{most} in a window of {rate}");
    shards.run(Duration::from_secs(60), |_| {});
    assert_eq!(shards.reached(), [1000, 1000]);
}

#[test]
fn max_data_volume_rate_of_a_queue() {
    let size = super::spool::TEXT.len() as u64;
    let rate = VolumeRate { bytes: 100 * size, per: Duration::from_secs(1) };
    let mut usual = profile("[10.0.0.1]");
    let settings = QueueSettings { max_rcpt_per_message: 1, ..QueueSettings::default() };
    usual.scheduling = QueueSettings { max_data_volume_rate: Some(rate), ..settings }.into();
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::many(1000, "a.example"));
    let begun = world.now.mono;
    world.run(Duration::from_secs(1));
    let ShardReply::Queues(queues) = world.request(ShardRequest::Queues) else { panic!("not queues") };
    assert!(queues[0].waits_for.contains(&format!("(max-data-volume-rate {rate})")), "{queues:?}");
    world.finish();
    let times: Vec<(Time, u64)> = world.site.recipients.iter().map(|(at, _)| (*at, size)).collect();
    let took = times[999].0.since(begun).as_secs_f64();
    assert!(most_in(times, rate.per) <= rate.bytes);
    assert!(took * 97.0 <= 1000.0, "{took} s for 1000 at 100/s");
}

#[test]
fn connections_to_a_host_are_counted_by_host_and_over_shards() {
    let limited = |profiles: &mut TestProfiles| {
        profiles.address_limits.extend([("10.0.0.1".parse().expect("an address"), 2)]);
        profiles.host_limits.insert("10.0.0.2".into(), 1);
        profiles.host_limits.insert("[10.0.0.2]".into(), 1);
    };
    let mut shards = Shards::to("[10.0.0.1],[10.0.0.2];[10.0.0.3]", 2, limited);
    (0..2).for_each(|shard| shards.submit(shard, 300));
    let why = shards.why(1);
    assert!(why.contains("connection-limit") && why.contains("from 10.1.0.1"), "{why}");
    let to = |shards: &Shards, host: &str| {
        let open = |world: &World| world.open.values().filter(|at| at.ip().to_string() == host).count();
        shards.0.iter().map(open).sum::<usize>()
    };
    let mut most = [0; 3];
    shards.run(Duration::from_secs(60), |shards| {
        for (most, host) in most.iter_mut().zip(["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
            *most = to(shards, host).max(*most);
        }
    });
    // Both that are as good are used, and not the worse one.
    assert_eq!(most, [2, 1, 0]);
    assert_eq!(shards.reached(), [300, 300]);
}

#[test]
fn connections_are_opened_one_by_one() {
    let mut usual = profile("[10.0.0.1]");
    let interval = Duration::from_millis(200);
    let settings = QueueSettings { max_rcpt_per_message: 1, ..QueueSettings::default() };
    usual.scheduling =
        QueueSettings { smtp_out_rampup: interval, max_msg_per_connection: 100, ..settings }.into();
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::many(1000, "a.example"));
    let ShardReply::Queues(queues) = world.request(ShardRequest::Queues) else { panic!("not queues") };
    let why = &queues[0].waits_for;
    assert!(why.contains("(smtp-out-rampup-interval 200ms)"), "{why}");
    world.finish();
    let times: Vec<Time> = world.site.connects.iter().map(|(at, ..)| *at).collect();
    assert!(times.len() > 1 && times.windows(2).all(|two| two[1].since(two[0]) >= interval), "{times:?}");
}
