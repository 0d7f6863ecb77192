//! Warm-ups together, and what no order of events brings about.

use super::*;
use proptest::prelude::*;

fn pair(vmta: &str) -> Pair {
    Pair { vmta: vmta.into(), domain: "a.example".into() }
}

fn candidates<'a>(limits: &'a [u64], vmtas: &[&str]) -> Vec<Candidate<'a>> {
    under(Terms { limits, ..Terms::default() }, vmtas)
}

fn under<'a>(terms: Terms<'a>, vmtas: &[&str]) -> Vec<Candidate<'a>> {
    vmtas.iter().map(|vmta| Candidate { pair: pair(vmta), terms }).collect()
}

#[test]
fn several_share_evenly_and_each_has_the_limit() {
    let mut book = Book::default();
    let two = candidates(&[3], &["a", "b"]);
    let turns: Vec<_> = (0..7).map(|_| book.take(&two, Day(1))).collect();
    assert_eq!(turns, [Some(0), Some(1), Some(0), Some(1), Some(0), Some(1), None]);
    assert_eq!(book.reserve().len(), 2);
    assert_eq!(book.take(&two, Day(2)), Some(0));
}

#[test]
fn nothing_is_given_on_a_day_of_which_nothing_is_known() {
    let mut book = Book::resume([], Some(Day(5)));
    let one = candidates(&[3], &["a"]);
    assert_eq!(book.take(&one, Day(5)), None);
    assert_eq!(book.take(&one, Day(4)), None);
    assert_eq!(book.take(&one, Day(6)), Some(0));
}

#[test]
fn a_limit_of_nothing_begins_no_warm_up() {
    let mut book = Book::default();
    assert_eq!(book.take(&candidates(&[0], &["a"]), Day(1)), None);
    assert_eq!(book.take(&candidates(&[], &["a"]), Day(1)), None);
    assert!(book.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A message for so many recipients.
    Message(u8),
    /// One whose reservation cannot be written: it is not used.
    Unwritten(u8),
    /// So many attempts of the first one are delivered, and so many fail.
    Attempts(u8, u8),
    /// Days go by.
    Days(u8),
    /// The engine stops in order and starts again.
    Restart,
    /// The machine fails: only what was written is known.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1..9u8).prop_map(Event::Message),
        1 => (1..9u8).prop_map(Event::Unwritten),
        2 => (0..20u8, 0..9u8).prop_map(|(delivered, failed)| Event::Attempts(delivered, failed)),
        2 => (0..3u8).prop_map(Event::Days),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ];
    proptest::collection::vec(event, 1..80)
}

proptest! {
    /// A day of the calendar has at most what stands in the list for it, whatever happens in which order.
    #[test]
    fn no_day_gets_more_than_its_limit(
        events in events(),
        limits in proptest::collection::vec(0..40u64, 1..5),
        hold_above in proptest::option::of(0..30u32),
        lower_above in proptest::option::of(0..60u32),
    ) {
        let all = under(Terms { limits: &limits, hold_above, lower_above }, &["a", "b"]);
        let (mut book, mut disk) = (Book::default(), BTreeMap::<Pair, Warming>::new());
        let (mut today, mut used, mut first) = (Day(100), [0u64; 2], [None; 2]);
        for event in events {
            match event {
                Event::Message(recipients) | Event::Unwritten(recipients) => {
                    let taken: Vec<_> = (0..recipients).filter_map(|_| book.take(&all, today)).collect();
                    taken.iter().for_each(|number: &usize| first[*number] = first[*number].or(Some(today)));
                    let written = book.reserve();
                    if matches!(event, Event::Unwritten(_)) && !written.is_empty() {
                        // The daemon writes all of it anew before it goes on.
                        disk = book.entries().into_iter().collect();
                        continue;
                    }
                    disk.extend(written);
                    taken.into_iter().for_each(|number| used[number] += 1);
                }
                Event::Attempts(delivered, bounced) => {
                    let outcomes = Outcomes { delivered: delivered.into(), bounced: bounced.into(), ..Outcomes::default() };
                    book.note("a", "a.example", today, outcomes);
                }
                Event::Days(0) => {}
                Event::Days(days) => {
                    today.0 += i32::from(days);
                    used = [0; 2];
                }
                Event::Restart => {
                    book.settle();
                    disk = book.entries().into_iter().collect();
                    book = Book::resume(disk.clone(), None);
                }
                Event::Crash => book = Book::resume(disk.clone(), None),
            }
            for (used, first) in used.iter().zip(first) {
                let days = first.map_or(0, |first: Day| (today.0 - first.0) as usize);
                let highest = limits.iter().take(days + 1).max().copied().unwrap_or(0);
                prop_assert!(*used <= highest, "{used} of at most {highest}");
                if first.is_some() && limits.is_sorted() {
                    prop_assert!(*used <= limits[days.min(limits.len() - 1)]);
                }
            }
        }
    }
}
