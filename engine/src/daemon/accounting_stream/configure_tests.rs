//! Files and categories that a reload changes.

use super::tests::*;
use super::*;
use crate::acct::Layout;
use crate::spool::record::Disposition;
use std::fs;

const SECOND: &str = "acct/acct-2026-10-29-0001.csv";

#[test]
fn other_columns_begin_another_file() {
    let place = Place::new();
    let few = || {
        let columns = [("d", "rcpt,dsnStatus")];
        FileOptions {
            layout: Layout::new(&["d"], &columns, true, "").unwrap(),
            ..place.file("acct.csv", &[])
        }
    };
    let mut stream = place.start(vec![place.file("acct.csv", &["d"])]);
    place.log.deliver(0..3);
    stream.step(NOON, 9).unwrap();
    place.log.deliver(3..5);
    stream.configure(place.options(vec![few()]));
    stream.step(NOON, 9).unwrap();
    place.log.deliver(5..7);
    stream.finish(NOON).unwrap();
    assert_eq!((place.recipients(FIRST), place.recipients(SECOND)), (vec![0, 1, 2], vec![3, 4, 5, 6]));
    assert!(place.read(SECOND).starts_with("type,rcpt,dsnStatus\r\n"), "{}", place.read(SECOND));

    // The same after a restart with other columns.
    let mut stream = place.start(vec![place.file("acct.csv", &["d"])]);
    place.log.deliver(7..8);
    stream.finish(NOON).unwrap();
    assert_eq!(place.recipients("acct/acct-2026-10-29-0002.csv"), [7]);

    // The same columns go on in the same file.
    stream.configure(place.options(vec![place.file("acct.csv", &["d"])]));
    place.log.deliver(8..9);
    stream.finish(NOON).unwrap();
    assert_eq!(place.recipients("acct/acct-2026-10-29-0002.csv"), [7, 8]);
}

#[test]
fn a_file_that_is_gone_is_finished_and_a_new_one_goes_on_from_there() {
    let place = Place::new();
    let moving = || FileOptions { move_to: Some(place.path("moved")), ..place.file("acct.csv", &["d"]) };
    let mut stream = place.start(vec![moving()]);
    place.log.deliver(0..3);
    stream.step(NOON, 9).unwrap();
    stream.configure(place.options(vec![place.file("other.csv", &["d"])]));
    stream.step(NOON, 9).unwrap();
    place.log.deliver(3..5);
    stream.finish(NOON).unwrap();
    assert_eq!(place.names("moved"), ["acct-2026-10-29-0000.csv"]);
    assert_eq!(place.recipients("moved/acct-2026-10-29-0000.csv"), [0, 1, 2]);
    assert_eq!(place.recipients("acct/other-2026-10-29-0000.csv"), [3, 4]);
}

#[test]
fn a_reload_helps_where_a_file_cannot_be_written() {
    let place = Place::new();
    let mut stream = place.start(vec![place.file("acct.csv", &["d"])]);
    place.log.deliver(0..2);
    stream.finish(NOON).unwrap();
    place.log.deliver(2..4);
    fs::rename(place.path("acct"), place.path("gone")).unwrap();
    stream.step(after(2), 9).unwrap_err();
    stream.recover().unwrap();
    stream.step(after(3), 9).unwrap_err();
    let elsewhere = FileOptions { target: place.path("moved/acct.csv"), ..place.file("acct.csv", &["d"]) };
    stream.configure(place.options(vec![elsewhere]));
    stream.recover().unwrap();
    stream.finish(after(4)).unwrap();
    assert_eq!(place.recipients("gone/acct-2026-10-29-0000.csv"), [0, 1]);
    assert_eq!(place.recipients("moved/acct-2026-10-29-0000.csv"), [2, 3]);
}

#[test]
fn categories_count_from_the_next_line_on() {
    let place = Place::new();
    let mut stream = place.start(vec![place.file("acct.csv", &["b"])]);
    place.log.push(vec![(0, Disposition::Bounced)]);
    stream.step(NOON, 9).unwrap();
    let categories = Categories::new(&[("user unknown", "nobody-there")]).unwrap();
    stream.configure(StreamOptions { categories, ..place.options(vec![place.file("acct.csv", &["b"])]) });
    stream.step(NOON, 9).unwrap();
    place.log.push(vec![(1, Disposition::Bounced)]);
    stream.finish(NOON).unwrap();
    let text = place.read(FIRST);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains(",bad-mailbox,") && lines[2].contains(",nobody-there,"), "{text}");
}
