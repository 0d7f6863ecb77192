//! The route table: what is known of each destination, for how long, and who waits for it. It asks each question once
//! however many queues want to know, a bounded number of them at a time (D12), and remembers failures too (D01).

use super::dns::{Answer, Destination, Query, RouteError};
use super::mx::{Candidates, Route, RoutePolicy};
use crate::base::Time;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Destinations remembered, at most, besides those that are being asked for. About 500 bytes each.
const REMEMBERED: usize = 200_000;
/// The wait after a first failure that may pass, and the longest; it doubles in between.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);

/// What the table says.
#[derive(Clone, Debug)]
pub enum Looked {
    Hit(Arc<Route>),
    /// No route; until [`Table::expires`] it is no use asking again.
    Failed(Arc<RouteError>),
    /// Asked for already, or as soon as there is room; the waiter is told by [`Table::answered`].
    Pending,
    /// The caller is to have this resolved; the waiter is told by [`Table::answered`].
    Ask(Query),
}

/// What to do after an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Those that looked and found it pending, each once.
    pub waiters: Vec<u32>,
    /// The next question, for which there is room now.
    pub next: Option<Query>,
}

enum Entry {
    Known {
        route: Result<Arc<Route>, Arc<RouteError>>,
        expires: Time,
        failures: u32,
    },
    /// `stale`: asked under a policy that is gone.
    Pending {
        waiters: Vec<u32>,
        failures: u32,
        stale: bool,
    },
}

/// Routes by destination. One per owner, no locks.
pub struct Table {
    policy: Arc<RoutePolicy>,
    entries: HashMap<Destination, Entry>,
    /// Questions that are out, and how many may be.
    asked: usize,
    most_asked: usize,
    /// Pending destinations that have not been asked for yet.
    backlog: VecDeque<Destination>,
    remembered: usize,
}

impl Table {
    /// With at most `most_asked` questions out at once.
    pub fn new(policy: Arc<RoutePolicy>, most_asked: usize) -> Table {
        let (entries, backlog) = (HashMap::new(), VecDeque::new());
        Table { policy, entries, asked: 0, most_asked: most_asked.max(1), backlog, remembered: REMEMBERED }
    }

    /// Looks `destination` up for `waiter`, a key of the caller's.
    pub fn lookup(&mut self, destination: &Destination, waiter: u32, now: Time) -> Looked {
        let failures = match self.entries.get_mut(destination) {
            Some(Entry::Known { route, expires, .. }) if *expires > now => {
                return match route {
                    Ok(route) => Looked::Hit(Arc::clone(route)),
                    Err(error) => Looked::Failed(Arc::clone(error)),
                };
            }
            Some(Entry::Pending { waiters, .. }) => {
                waiters.push(waiter);
                return Looked::Pending;
            }
            Some(Entry::Known { failures, .. }) => *failures,
            None => 0,
        };
        if destination.is_literal() {
            let route = Candidates::literal(destination, &self.policy);
            return self.know(destination.clone(), route, 0, now);
        }
        self.entries
            .insert(destination.clone(), Entry::Pending { waiters: vec![waiter], failures, stale: false });
        if self.asked == self.most_asked {
            self.backlog.push_back(destination.clone());
            return Looked::Pending;
        }
        self.asked += 1;
        Looked::Ask(Query { destination: destination.clone() })
    }

    /// Takes the answer to a [`Looked::Ask`] or to an [`Answered::next`]. Each must be answered.
    pub fn answered(&mut self, answer: Answer, now: Time) -> Answered {
        let Answer { destination, route } = answer;
        let Some(Entry::Pending { waiters, failures, stale }) = self.entries.get_mut(&destination) else {
            return Answered::default();
        };
        if std::mem::take(stale) {
            return Answered { waiters: Vec::new(), next: Some(Query { destination }) };
        }
        let (mut waiters, failures) = (std::mem::take(waiters), *failures);
        waiters.sort_unstable();
        waiters.dedup();
        self.know(destination, route, failures, now);
        let next = self.backlog.pop_front().map(|destination| Query { destination });
        if next.is_none() {
            self.asked = self.asked.saturating_sub(1);
        }
        Answered { waiters, next }
    }

    /// When what is known of `destination` ends.
    pub fn expires(&self, destination: &Destination) -> Option<Time> {
        match self.entries.get(destination) {
            Some(Entry::Known { expires, .. }) => Some(*expires),
            _ => None,
        }
    }

    /// Takes a new policy and forgets what the old one has led to. Questions that are out are asked again.
    pub fn set_policy(&mut self, policy: Arc<RoutePolicy>) {
        self.policy = policy;
        self.entries.retain(|_, entry| match entry {
            Entry::Known { .. } => false,
            Entry::Pending { stale, .. } => {
                *stale = true;
                true
            }
        });
        for unasked in &self.backlog {
            if let Some(Entry::Pending { stale, .. }) = self.entries.get_mut(unasked) {
                *stale = false;
            }
        }
    }

    /// Destinations in the table.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn know(
        &mut self,
        destination: Destination,
        route: Result<Route, RouteError>,
        failures: u32,
        now: Time,
    ) -> Looked {
        self.make_room(now);
        let (ttl, failures) = match &route {
            Ok(route) => (route.ttl, 0),
            Err(error) if error.permanent => (error.ttl, 0),
            Err(_) => (back_off(failures), failures + 1),
        };
        let route = route.map(Arc::new).map_err(Arc::new);
        let looked = match &route {
            Ok(route) => Looked::Hit(Arc::clone(route)),
            Err(error) => Looked::Failed(Arc::clone(error)),
        };
        self.entries.insert(destination, Entry::Known { route, expires: now + ttl, failures });
        looked
    }

    /// Forgets what has expired when the table is full, and if that is not enough whatever comes first: a quarter of it,
    /// so that the cost of looking is spread over many.
    fn make_room(&mut self, now: Time) {
        if self.entries.len() < self.remembered {
            return;
        }
        let known = |entry: &Entry| matches!(entry, Entry::Known { .. });
        self.entries.retain(|_, entry| !matches!(entry, Entry::Known { expires, .. } if *expires <= now));
        let mut surplus = self.entries.len().saturating_sub(self.remembered / 4 * 3);
        self.entries.retain(|_, entry| {
            let forget = surplus > 0 && known(entry);
            surplus -= usize::from(forget);
            !forget
        });
    }
}

fn back_off(failures: u32) -> Duration {
    (FIRST_BACK_OFF * (1 << failures.min(10))).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::mx::RouteHost;

    fn table(most_asked: usize) -> Table {
        Table::new(Arc::new(RoutePolicy::default()), most_asked)
    }

    fn secs(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    fn route(name: &str, ttl: u64) -> Answer {
        let host =
            RouteHost { name: "mx".into(), preference: 0, port: None, addresses: vec![[8, 8, 8, 8].into()] };
        let route =
            Ok(Route { hosts: vec![host], ttl: Duration::from_secs(ttl), no_mx: false, mx: Vec::new() });
        Answer { destination: Destination::domain(name), route }
    }

    fn failure(name: &str, permanent: bool) -> Answer {
        let ttl = Duration::from_secs(1000);
        let error = RouteError {
            permanent,
            status: if permanent { "5.1.2" } else { "4.4.3" },
            text: String::new(),
            ttl,
            no_mx: false,
        };
        Answer { destination: Destination::domain(name), route: Err(error) }
    }

    fn asks(looked: &Looked) -> bool {
        matches!(looked, Looked::Ask(_))
    }

    #[test]
    fn one_question_for_many_queues() {
        let mut table = table(10);
        let name = Destination::domain("example.com");
        assert!(asks(&table.lookup(&name, 3, secs(1))));
        assert!(matches!(table.lookup(&name, 1, secs(1)), Looked::Pending));
        assert!(matches!(table.lookup(&name, 3, secs(1)), Looked::Pending));
        assert_eq!(
            table.answered(route("example.com", 60), secs(2)),
            Answered { waiters: vec![1, 3], next: None }
        );
        assert!(matches!(table.lookup(&name, 1, secs(61)), Looked::Hit(_)));
        assert_eq!(table.expires(&name), Some(secs(62)));
        assert!(asks(&table.lookup(&name, 1, secs(62))));
    }

    #[test]
    fn an_answer_nobody_asked_for_is_ignored() {
        let mut table = table(10);
        assert_eq!(table.answered(route("example.com", 60), secs(1)), Answered::default());
        assert!(table.is_empty());
    }

    #[test]
    fn what_was_asked_under_another_policy_is_asked_again() {
        let mut table = table(1);
        let [first, second] = ["a.example", "b.example"].map(Destination::domain);
        assert!(asks(&table.lookup(&first, 1, secs(1))));
        assert!(matches!(table.lookup(&second, 2, secs(1)), Looked::Pending));
        table.set_policy(Arc::new(RoutePolicy::default()));
        let again = Answered { waiters: vec![], next: Some(Query { destination: first.clone() }) };
        assert_eq!(table.answered(route("a.example", 60), secs(2)), again);
        // The one that had not been asked yet is asked once.
        let next = Answered { waiters: vec![1], next: Some(Query { destination: second }) };
        assert_eq!(table.answered(route("a.example", 60), secs(3)), next);
        let done = Answered { waiters: vec![2], next: None };
        assert_eq!(table.answered(route("b.example", 60), secs(4)), done);
        assert!(matches!(table.lookup(&first, 1, secs(5)), Looked::Hit(_)));
    }

    #[test]
    fn passing_failures_back_off_and_lasting_ones_last() {
        let mut table = table(10);
        let name = Destination::domain("example.com");
        let mut now = secs(1);
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            assert!(asks(&table.lookup(&name, 1, now)));
            table.answered(failure("example.com", false), now);
            assert!(matches!(table.lookup(&name, 1, now), Looked::Failed(error) if !error.permanent));
            assert_eq!(table.expires(&name), Some(now + Duration::from_secs(wait)));
            now = now + Duration::from_secs(wait);
        }
        assert!(asks(&table.lookup(&name, 1, now)));
        table.answered(failure("example.com", true), now);
        assert_eq!(table.expires(&name), Some(now + Duration::from_secs(1000)));
    }

    #[test]
    fn d12_questions_are_bounded_and_the_rest_follow() {
        let mut table = table(2);
        let name = |i: u32| format!("d{i}.example");
        let asked =
            (0..100).filter(|&i| asks(&table.lookup(&Destination::domain(&name(i)), i, secs(1)))).count();
        assert_eq!(asked, 2);
        let mut answered = vec![0, 1];
        let mut i = 0;
        while i < answered.len() {
            let Answered { waiters, next } = table.answered(failure(&name(answered[i]), false), secs(2));
            assert_eq!(waiters, [answered[i]]);
            if let Some(Query { destination: Destination::Domain(domain) }) = next {
                let number = domain.trim_start_matches('d').trim_end_matches(".example").parse();
                answered.push(number.expect("a number"));
            }
            i += 1;
        }
        assert_eq!(answered, (0..100).collect::<Vec<_>>());
        assert!(asks(&table.lookup(&Destination::domain("one-more.example"), 7, secs(3))));
    }

    #[test]
    fn literals_are_known_at_once() {
        let mut table = table(1);
        let hosts = Destination::Hosts(Arc::new("127.0.0.1:2525".parse().expect("a list")));
        assert!(matches!(table.lookup(&hosts, 1, secs(1)), Looked::Hit(_)));
        assert!(matches!(table.lookup(&Destination::domain("[127.0.0.1]"), 1, secs(1)), Looked::Failed(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut table = Table { remembered: 100, ..table(10) };
        for i in 0..1000 {
            let name = format!("d{i}.example");
            table.lookup(&Destination::domain(&name), 0, secs(i));
            table.answered(route(&name, 10_000), secs(i));
            assert!(table.len() <= 101, "{}", table.len());
        }
        table.set_policy(Arc::new(RoutePolicy::default()));
        assert!(table.is_empty());
    }
}
