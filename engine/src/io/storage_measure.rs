//! What storage costs. Not checks: run with
//! `cargo test --release -p posthaste --lib storage::measure -- --ignored --nocapture --test-threads 1`.

use super::tests::{BACK_ENDS, message, options, outcomes, spool};
use super::*;
use crate::spool::record::{Disposition, Draft, Ref, RowsDraft};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::time::Instant;

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn large(back_end: BackEnd) -> StorageOptions {
    StorageOptions { segment_size: 32 << 20, ..options(back_end) }
}

#[test]
#[ignore = "measures"]
fn commits_of_2_kib_messages() {
    let body = vec![b'x'; 2048];
    for back_end in BACK_ENDS {
        for submitters in [1, 16, 64, 256] {
            let dir = spool();
            let Ok((storage, _)) = Storage::open(dir.path(), &large(back_end)) else { continue };
            std::thread::sleep(Duration::from_secs(2));
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let local = tokio::task::LocalSet::new();
            let (begun, burnt, until) = (Instant::now(), cpu(), Instant::now() + Duration::from_secs(2));
            let done = local.block_on(&runtime, async {
                let submit = |storage: Storage, body: Vec<u8>| async move {
                    let mut done = 0u64;
                    while Instant::now() < until {
                        let group = message(&body, &["somebody@somewhere.example"]);
                        let places = storage.submit_async(group).await.await.expect("committed").places;
                        let batch = outcomes(places[1].at, places[2], &[(0, Disposition::Delivered)]);
                        if done.is_multiple_of(64) {
                            let _ = storage.settle(batch);
                        }
                        done += 1;
                    }
                    done
                };
                let tasks: Vec<_> = (0..submitters)
                    .map(|_| tokio::task::spawn_local(submit(storage.clone(), body.clone())))
                    .collect();
                let mut done = 0;
                for task in tasks {
                    done += task.await.expect("runs");
                }
                done
            });
            let (wall, burnt) = (begun.elapsed().as_secs_f64(), cpu() - burnt);
            let status = storage.status();
            println!(
                "{:>8} direct={} submitters {submitters:>3}: {:>7.0} messages/s, {:>5.2} CPU us each, {:>5.1} per sync, {} B/message",
                status.back_end,
                status.direct,
                done as f64 / wall,
                burnt / done as f64,
                done as f64 / status.syncs as f64,
                status.bytes_written / done,
            );
            storage.stop();
        }
    }
}

#[test]
#[ignore = "measures"]
fn a_million_rows() {
    const ROWS: u64 = 1_000_000;
    for back_end in BACK_ENDS {
        let dir = spool();
        let Ok((storage, _)) = Storage::open(dir.path(), &large(back_end)) else { continue };
        let mut start = message(b"template", &["first@x.example"]);
        start.drafts.truncate(2);
        let submission = storage.submit(start).wait().expect("committed").places[1].at;
        let mut chunk = RowsDraft { vmtas: vec!["a".into(), "b".into()], ..RowsDraft::default() };
        for n in 0..512u32 {
            chunk.vmta.push((n % 2) as u8);
            chunk.bytes.extend_from_slice(&[b'r'; 80]);
            chunk.ends.push(chunk.bytes.len() as u32);
        }
        let (begun, burnt) = (Instant::now(), cpu());
        let before = storage.status().bytes_written;
        let mut pending = VecDeque::new();
        for _ in 0..ROWS / 512 {
            let drafts = vec![Draft::Rows { submission: Ref::At(submission), rows: chunk.clone() }];
            pending.push_back(storage.submit(Group { drafts }));
            if pending.len() >= 16 {
                pending.pop_front().expect("16 of them").wait().expect("committed");
            }
        }
        pending.into_iter().for_each(|pending| drop(pending.wait().expect("committed")));
        let (wall, burnt) = (begun.elapsed().as_secs_f64(), cpu() - burnt);
        let written = storage.status().bytes_written - before;
        println!(
            "{:?}: {:.0} rows/s, {:.3} CPU us a row, {:.3} bytes written per row byte",
            back_end,
            ROWS as f64 / wall,
            burnt / ROWS as f64,
            written as f64 / (ROWS * 80) as f64
        );
        storage.stop();
        let (begun, burnt) = (Instant::now(), cpu());
        let (storage, recovered) = Storage::open(dir.path(), &large(back_end)).expect("opens again");
        let opened = begun.elapsed();
        let mut seen = 0u64;
        recovered.each_live(|rows| {
            seen += rows.live().filter(|(row, _)| rows.rows.row(row.index.into()).is_some()).count() as u64;
        });
        println!(
            "{:?}: recovered {seen} rows in {:?}, handed out after {:?}, {:.0} CPU ms",
            back_end,
            opened,
            begun.elapsed(),
            (cpu() - burnt) / 1e3
        );
        storage.stop();
    }
}
