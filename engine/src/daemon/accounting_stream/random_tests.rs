//! Whatever happens, in whatever order: each line is there once.

use super::tests::*;
use super::*;
use crate::acct::Layout;
use std::fs;
use std::time::Duration;

/// What happens in the life of the accounting files.
#[derive(Clone, Debug)]
enum Happening {
    Deliver(u16),
    Step {
        entries: usize,
    },
    /// Seconds pass.
    Wait(i64),
    Rotate,
    /// The process dies; of what was not synced with the cursor, this share of the bytes (0..=100) is on the disk.
    Crash {
        share: u64,
    },
    Restart,
    /// A reload: other columns in the first file, another second file.
    Configure {
        other: bool,
    },
}

fn happening() -> impl proptest::strategy::Strategy<Value = Happening> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (1u16..8).prop_map(Happening::Deliver),
        4 => (1usize..4).prop_map(|entries| Happening::Step { entries }),
        2 => (0i64..400).prop_map(Happening::Wait),
        1 => Just(Happening::Rotate),
        2 => (0u64..=100).prop_map(|share| Happening::Crash { share }),
        1 => Just(Happening::Restart),
        2 => any::<bool>().prop_map(|other| Happening::Configure { other }),
    ]
}

/// Cuts every open file to a beginning that holds at least what its saved cursor vouches for.
fn lose_unsynced(place: &Place, share: u64) {
    let Some(cursor) = CursorFile::open(&place.path("spool")).unwrap().1 else { return };
    for mark in cursor.files {
        let Some(path) = mark.path.filter(|p| p.exists()) else { continue };
        let length = fs::metadata(&path).unwrap().len();
        let keep = mark.length + (length - mark.length) * share / 100;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 150, ..Default::default() })]

    #[test]
    fn each_line_appears_once_whatever_happens(
        happenings in proptest::collection::vec(happening(), 1..40),
        moving: bool,
    ) {
        let place = Place::new();
        let files = |other: bool| {
            let columns: &[(&str, &str)] = if other { &[("d", "rcpt,dsnStatus")] } else { &[] };
            let mut first = FileOptions {
                max_size: 2_000,
                move_interval: Duration::from_secs(300),
                layout: Layout::new(&["d"], columns, true, "").unwrap(),
                ..place.file("acct.csv", &[])
            };
            first.move_to = moving.then(|| place.path("moved"));
            vec![first, place.file(if other { "third.csv" } else { "second.csv" }, &["d"])]
        };
        let mut stream = place.start(files(false));
        let (mut delivered, mut seconds) = (0, 0);
        let (mut asked, mut taken) = (false, false);
        for happening in happenings {
            if stream.next.is_none() {
                taken = asked;
            }
            match happening {
                Happening::Deliver(n) => {
                    place.log.deliver(delivered..delivered + n);
                    delivered += n;
                }
                Happening::Step { entries } => {
                    stream.step(after(seconds), entries).unwrap();
                }
                Happening::Wait(passed) => seconds += passed,
                Happening::Rotate => stream.rotate(None),
                Happening::Crash { share } => {
                    drop(stream);
                    lose_unsynced(&place, share);
                    stream = place.start(files(taken));
                    asked = taken;
                }
                Happening::Restart => {
                    stream.finish(after(seconds)).unwrap();
                    stream = place.start(files(asked));
                }
                Happening::Configure { other } => {
                    stream.configure(place.options(files(other)));
                    asked = other;
                }
            }
        }
        stream.finish(after(seconds)).unwrap();
        for stems in [&["acct-"][..], &["second-", "third-"]] {
            let mut all = Vec::new();
            for directory in ["moved", "acct"] {
                for name in place.names(directory).iter().filter(|n| stems.iter().any(|stem| n.starts_with(stem))) {
                    all.extend(place.recipients(&format!("{directory}/{name}")));
                }
            }
            all.sort_unstable();
            proptest::prop_assert_eq!(all, (0..delivered).collect::<Vec<_>>());
        }
    }
}
