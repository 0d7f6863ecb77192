//! Steps and counts of one warm-up, day by day.

use super::*;

fn terms(limits: &[u64]) -> Terms<'_> {
    Terms { limits, ..Terms::default() }
}

#[test]
fn a_day_has_its_place_in_the_list_and_the_last_one_stays() {
    let terms = terms(&[50, 100, 200]);
    let mut warming = Warming::begin(Day(10));
    let mut limit_on = |day| {
        warming.turn(Day(day), &terms);
        (warming.limit(&terms), warming.step)
    };
    assert_eq!([10, 11, 12, 13, 20].map(&mut limit_on), [(50, 0), (100, 1), (200, 2), (200, 2), (200, 2)]);
    assert_eq!(Warming::begin(Day(1)).limit(&Terms::default()), 0);
}

#[test]
fn a_clock_that_was_set_back_gives_no_second_share() {
    let mut warming = Warming { given: 7, reserved: 7, ..Warming::begin(Day(10)) };
    warming.turn(Day(9), &terms(&[10]));
    assert_eq!((warming.day, warming.given), (Day(10), 7));
}

#[test]
fn a_tenth_of_the_day_is_reserved_at_a_time_and_never_more_than_the_day() {
    let mut warming = Warming { given: 1, ..Warming::begin(Day(1)) };
    assert!(warming.reserve(100));
    assert_eq!(warming.reserved, 11);
    warming.given = 11;
    assert!(!warming.reserve(100));
    warming.given = 95;
    assert!(warming.reserve(100));
    assert_eq!(warming.resumed().given, 100);
    assert_eq!(warming.settled().reserved, 95);
}

/// The step and its reason on the day after one with these outcomes, on the third step of four, and after days without mail.
fn next(outcomes: [u64; 3], passed: i32) -> (usize, Course) {
    let [delivered, deferred, bounced] = outcomes;
    let mut warming = Warming { step: 2, ..Warming::begin(Day(10)) };
    warming.note(Day(10), Outcomes { delivered, deferred, bounced });
    let terms = Terms { hold_above: Some(5), lower_above: Some(20), ..terms(&[1, 2, 3, 4]) };
    warming.turn(Day(10 + passed), &terms);
    (warming.step, warming.course)
}

#[test]
fn a_day_is_judged_by_the_one_before() {
    assert_eq!(next([95, 3, 2], 1), (3, Course::Raised));
    assert_eq!(next([94, 4, 2], 1), (2, Course::Held));
    assert_eq!(next([80, 10, 10], 1), (2, Course::Held));
    assert_eq!(next([79, 0, 21], 1), (1, Course::Lowered));
    assert_eq!(next([0, 0, 0], 1), (2, Course::Untried));
    // A week without mail raises by no more than a day's mail has earned.
    assert_eq!(next([95, 3, 2], 7), (3, Course::Raised));
}

#[test]
fn what_the_operator_holds_stays_whatever_was_delivered() {
    let mut warming = Warming { step: 1, kept: true, ..Warming::begin(Day(10)) };
    warming.turn(Day(12), &terms(&[1, 2, 3]));
    assert_eq!((warming.step, warming.course), (1, Course::Kept));
}

#[test]
fn what_happens_after_midnight_counts_for_the_new_day_even_before_its_first_recipient() {
    let mut warming = Warming::begin(Day(10));
    warming.note(Day(10), Outcomes { delivered: 9, ..Outcomes::default() });
    warming.note(Day(11), Outcomes { bounced: 5, ..Outcomes::default() });
    let terms = Terms { hold_above: Some(10), ..terms(&[1, 2, 3]) };
    warming.turn(Day(11), &terms);
    assert_eq!((warming.step, warming.outcomes.bounced), (1, 5));
    warming.turn(Day(12), &terms);
    assert_eq!((warming.step, warming.course), (1, Course::Held));
}
