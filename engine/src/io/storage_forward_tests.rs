//! Segments with a few stubborn rows are emptied while the log runs; those who know the rows by their old places notice
//! nothing.

use super::tests::{BACK_ENDS, message, open, outcomes, spool, waiting};
use super::*;
use crate::spool::record::{Disposition, Place};
use crate::spool::rows::RowsView;

/// Rows of each message; the first is stubborn in the first message of a segment's worth.
const ROWS: usize = 16;
const CONTENT: usize = 60_000;
const MESSAGES: usize = 1_500;
/// One stubborn row for so many messages.
const EVERY: usize = 40;

struct Stubborn {
    submission: Location,
    rows: Place,
    content: Location,
}

/// Sends messages and settles all rows but a few, which are deferred once.
fn load(storage: &Storage) -> Vec<Stubborn> {
    let mut stubborn = Vec::new();
    for n in 0..MESSAGES {
        let names: Vec<String> = (0..ROWS).map(|row| format!("r{row}-{n:05}@x.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let places =
            storage.submit(message(&vec![n as u8; CONTENT], &names)).wait().expect("committed").places;
        let mut settled: Vec<_> = (1..ROWS as u16).map(|row| (row, Disposition::Delivered)).collect();
        if n % EVERY == 0 {
            settled.push((0, Disposition::Deferred));
            stubborn.push(Stubborn { submission: places[1].at, rows: places[2], content: places[0].at });
        } else {
            settled.push((0, Disposition::Delivered));
        }
        storage.settle(outcomes(places[1].at, places[2], &settled)).expect("room");
        storage.set_accounting_cursor(storage.segments().durable_end());
    }
    stubborn
}

/// Waits until every segment that can be emptied is, a commit at a time.
fn settle_down(storage: &Storage, most: u32) -> u32 {
    for n in 0..2_000 {
        if storage.status().segments_used <= most {
            break;
        }
        // Something to commit, and so a reason to look at the segments again.
        let name = format!("again-{n}@x.example");
        let places = storage.submit(message(b"x", &[&name])).wait().expect("committed").places;
        let done = outcomes(places[1].at, places[2], &[(0, Disposition::Delivered)]);
        storage.settle(done).expect("room");
        storage.set_accounting_cursor(storage.segments().durable_end());
    }
    storage.status().segments_used
}

#[test]
fn stubborn_rows_do_not_hold_their_segments_and_are_found_under_their_old_places() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let Some((storage, _)) = open(&dir, back_end) else { continue };
        let stubborn = load(&storage);
        let filled = (MESSAGES * CONTENT) as u32 / SEGMENT_MIN;
        let used = settle_down(&storage, filled / 2);
        assert!(used <= filled / 2, "{used} of {filled} segments are in use");

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        for (n, known) in stubborn.iter().enumerate() {
            let record = storage.segments().record(known.rows.at).expect("the rows");
            let view = RowsView::new(&record).expect("a view");
            let address = format!("\x12r0-{:05}@x.example", n * EVERY);
            assert_eq!(view.row(0), Some(address.as_bytes()));
            storage.segments().record(known.submission).expect("the submission");
            let content = runtime.block_on(storage.read(known.content)).expect("the content");
            assert!(content.len() == CONTENT && content[0] == (n * EVERY) as u8);
        }
        // The older half is settled, and spoken of as it was known.
        let (older, newer) = stubborn.split_at(stubborn.len() / 2);
        for known in older {
            storage
                .settle(outcomes(known.submission, known.rows, &[(0, Disposition::Delivered)]))
                .expect("room");
        }
        storage.stop();

        let (storage, recovered) = open(&dir, back_end).expect("opens again");
        assert_eq!(recovered.damage(), []);
        let mut left = waiting(&recovered);
        left.sort();
        let wanted = (older.len()..stubborn.len()).map(|n| format!("r0-{:05}@x.example 1", n * EVERY));
        assert_eq!(left, wanted.collect::<Vec<_>>(), "each once, with its attempt");
        assert_eq!(left.len(), newer.len());
        storage.stop();
    }
}
