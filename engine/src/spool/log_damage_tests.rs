//! Damage to the files of a log: it costs what it hits, and it is told (F16, F18, A74).

use super::*;
use crate::spool::scan::scan;

/// `commits` commits of one to three groups each, all of them vouched for; and where the last of them ends.
fn written(commits: usize, rolled: bool) -> (Model, u32, usize) {
    let mut model = Model::new();
    for n in 0..commits {
        for _ in 0..=n % 3 {
            model.append(3, n * 700 % 9000);
        }
        model.sync();
    }
    let (segment, end) = (model.log.segment(), model.log.end().byte_offset() as usize);
    if rolled {
        model.roll();
        model.sync();
    }
    if model.log.vouch() {
        model.sync();
    }
    (model, segment, end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn no_record_is_lost_without_a_word(
        commits in 1usize..9, at in any::<usize>(), len in 1usize..9000, rolled in any::<bool>()
    ) {
        let (mut model, segment, end) = written(commits, rolled);
        let intact = model.disk.recover();
        let at = DATA_START + at % (end - DATA_START);
        let file = model.disk.files.get_mut(&segment).expect("in use");
        file.current[at..end.min(at + len)].fill(0);
        let recovery = model.disk.recover();
        let missing = intact.records - recovery.records;
        prop_assert!(missing == 0 || recovery.damage.iter().any(Damage::is_loss), "{missing} records");
    }

    #[test]
    fn a_flip_costs_its_record_and_is_reported(groups in 1usize..30, at in any::<usize>(), bit in 0u8..8, rolled in any::<bool>()) {
        let mut model = Model::new();
        for n in 0..groups {
            model.append(3, n * 700);
            model.sync();
        }
        let segment = model.log.segment();
        let end = model.log.end().byte_offset() as usize;
        if rolled {
            model.roll();
            model.sync();
        }
        if model.log.vouch() {
            model.sync();
        }
        let before = model.live.clone();
        let at = DATA_START + at % (end - DATA_START);
        let file = model.disk.files.get_mut(&segment).expect("in use");
        file.current[at] ^= 1 << bit;
        let recovery = model.disk.recover();
        let after = model.disk.rows(&recovery);
        let lost: BTreeSet<Location> = before.iter().filter(|(n, _)| !after.contains_key(n)).map(|(_, r)| r.at.record).collect();
        let mut strangers = after.keys().filter(|number| !before.contains_key(number));
        prop_assert!(strangers.next().is_none());
        prop_assert!(lost.len() <= 1, "{:?}", lost);
        if let Some(record) = lost.first() {
            let hit = record.segment == segment && (record.byte_offset()..record.byte_offset() + 200).contains(&(at as u64));
            prop_assert!(hit, "a flip at {at} has lost {record}");
            prop_assert!(recovery.damage.iter().any(Damage::is_loss));
        }
    }

    #[test]
    fn any_bytes_are_scanned_without_panic(noise in prop::collection::vec(any::<u8>(), 0..40_000), nonce in any::<u8>()) {
        let header = SegmentHeader { number: 1, size: SIZE as u32, nonce: [nonce; 16] };
        let mut bytes = header.encode();
        bytes.extend_from_slice(&noise);
        let file = File { header, durable: Vec::new(), current: bytes };
        let mut disk = Disk { files: BTreeMap::from([(1, file)]), ..Disk::default() };
        let recovery = disk.recover();
        prop_assert!(recovery.rows.is_empty());
    }
}

#[test]
fn a_message_body_that_looks_like_records_is_not_taken_for_records() {
    let mut model = Model::new();
    model.append(1, 100);
    model.sync();
    // The bytes of a real segment, as the content of a message whose own frame is then damaged.
    let stolen: Vec<u8> = model.disk.files[&1].current[DATA_START..DATA_START + 8192].to_vec();
    let other = SegmentHeader { number: 9, size: SIZE as u32, nonce: [3; 16] };
    let mut log = Log::new(Ledger::default(), other);
    let drafts = vec![Draft::Content(stolen.into())];
    let at = log.append(Group { drafts }).expect("appended").places[0].at;
    let mut bytes = other.encode();
    bytes.extend_from_slice(log.take_write().expect("a write").blocks.as_slice());
    bytes[at.byte_offset() as usize] ^= 1;
    let scan = scan(&Key::new(9, [3; 16]), &bytes);
    let kinds: HashMap<Kind, usize> =
        scan.judge(bytes.len(), false).frames.iter().fold(HashMap::new(), |mut all, found| {
            *all.entry(found.header.kind).or_default() += 1;
            all
        });
    assert_eq!(kinds, HashMap::from([(Kind::Control, 1)]), "only the manifest is a record");
}

#[test]
fn a_cut_before_the_first_commit_is_told_too() {
    let (mut model, ..) = written(2, true);
    let last = model.log.segment();
    model.disk.files.get_mut(&last).expect("in use").current.truncate(DATA_START + 40);
    let recovery = model.disk.recover();
    let told = recovery
        .damage
        .iter()
        .any(|damage| matches!(damage, Damage::Short { segment, .. } if *segment == last));
    assert!(told, "{:?}", recovery.damage);
    assert_eq!(recovery.ledger.live_rows(), 9);
}
