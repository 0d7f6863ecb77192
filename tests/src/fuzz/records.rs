//! Records: what is stored reads back the same and keeps to the length promised for it; any other bytes are an error, or a
//! record that can be stored again.

use posthaste::mail::Content;
use posthaste::mail::row::{put_value, row_view, value_size};
use posthaste::spool::block::Blocks;
use posthaste::spool::codec::{
    control_bound, decode_control, decode_outcomes, decode_submission, encode_control, encode_outcomes,
    encode_submission, outcomes_bound, submission_bound,
};
use posthaste::spool::frame::Commit;
use posthaste::spool::header::SegmentHeader;
use posthaste::spool::record::{
    Attempt, Control, Disposition, Location, Outcome, OutcomeBatch, RowRef, RowsDraft, Said, SegmentEnd,
    Submission,
};
use posthaste::spool::rows::{self, RowsView};

use super::input::Input;

const AT: Location = Location { segment: 3, offset8: 1024 };

pub fn records(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(8) {
        0 => stored(&submission(&mut input)),
        1 => outcomes(&batch(&mut input)),
        2 => control(&some_control(&mut input)),
        3 => drafted(&mut input),
        4 => values(&mut input),
        5 => foreign_archives(input.rest()),
        6 => foreign_rows(input.rest()),
        _ => foreign_content(input.rest()),
    }
}

fn stored(value: &Submission) {
    let bytes = encode_submission(value).expect("stored");
    assert!(bytes.len() <= submission_bound(value), "{} bytes: {value:?}", bytes.len());
    assert_eq!(decode_submission(AT, &bytes).as_ref(), Ok(value));
}

fn outcomes(value: &OutcomeBatch) {
    let bytes = encode_outcomes(value).expect("stored");
    assert!(bytes.len() <= outcomes_bound(value), "{} bytes: {value:?}", bytes.len());
    assert_eq!(decode_outcomes(AT, &bytes).as_ref(), Ok(value));
}

fn control(value: &Control) {
    let bytes = encode_control(value).expect("stored");
    assert!(bytes.len() <= control_bound(value), "{} bytes: {value:?}", bytes.len());
    assert_eq!(decode_control(AT, &bytes).as_ref(), Ok(value));
}

fn location(input: &mut Input<'_>) -> Location {
    Location::from_u64(input.number())
}

fn submission(input: &mut Input<'_>) -> Submission {
    let flags = input.byte();
    Submission {
        id: input.number(),
        content: location(input),
        sender: input.string(),
        job: input.string(),
        virtual_mta: input.string(),
        source_mta: input.string(),
        pickup_identity: input.string(),
        accepted_at: input.number() as i64,
        fields: (0..flags >> 2).map(|_| input.string()).collect(),
        size: input.number() as u32,
        eight_bit: flags & 1 != 0,
        smtputf8: flags & 2 != 0,
        ..Submission::default()
    }
}

fn batch(input: &mut Input<'_>) -> OutcomeBatch {
    let mut batch = OutcomeBatch::default();
    while !input.is_empty() && batch.outcomes.len() < 100 {
        let disposition = match input.below(7) {
            0 => Disposition::Delivered,
            1 => Disposition::Bounced,
            2 => Disposition::Expired,
            3 => Disposition::Deleted { quiet: input.flag() },
            4 => Disposition::InDoubt,
            _ => Disposition::Deferred,
        };
        batch.attempts.push(Attempt { queue: input.string(), mta: input.string(), ..Attempt::default() });
        batch.said.push(Said { status: input.string(), diagnostic: input.string() });
        let number = input.number();
        batch.outcomes.push(Outcome {
            row: RowRef { record: Location::from_u64(number), ordinal: number as u32, index: number as u16 },
            submission: location(input),
            disposition,
            at: number as i64,
            attempt: batch.attempts.len() as u32 - 1,
            said: batch.said.len() as u32 - 1,
            size: number as u32,
            attempts: number as u16,
        });
    }
    batch
}

fn some_control(input: &mut Input<'_>) -> Control {
    let count = 1 + input.below(50);
    match input.below(8) {
        0 => Control::ImportProgress {
            identity: input.string(),
            submission: location(input),
            next_row: input.number(),
            state: input.text().to_vec(),
        },
        1 => Control::PickupDone { identity: input.string() },
        2 => Control::QueuePaused { queue: input.string(), paused: input.flag() },
        3 => Control::SettledRows { segment: input.number() as u32, bits: input.text().to_vec() },
        4 => {
            let end = |_| SegmentEnd { segment: input.number() as u32, end8: input.number() as u32 };
            Control::Segments { live: (0..count).map(end).collect() }
        }
        6 => Control::RouteLost { queue: input.string(), lost: input.flag() },
        5 => Control::Retired { segment: input.number() as u32 },
        _ => Control::Aborted { records: (0..count).map(|_| location(input)).collect() },
    }
}

/// A `Rows` record from texts.
fn drafted(input: &mut Input<'_>) {
    let mut draft = RowsDraft { first_row: input.number(), ..RowsDraft::default() };
    draft.vmtas = (0..=input.below(4)).map(|_| input.string()).collect();
    let mut texts = Vec::new();
    while !input.is_empty() {
        draft.vmta.push(input.below(draft.vmtas.len() + 1) as u8);
        let text = input.text();
        draft.bytes.extend_from_slice(text);
        texts.push(text);
        draft.ends.push(draft.bytes.len() as u32);
    }
    if rows::fault(&draft).is_some() {
        let good = draft.vmta.iter().all(|v| usize::from(*v) < draft.vmtas.len());
        assert!(texts.is_empty() || !good || draft.vmtas.iter().any(|name| name.len() > rows::VMTA_NAME_MAX));
        return;
    }
    let mut out = Blocks::with_capacity(64);
    rows::encode(&draft, AT, &mut out);
    assert!(out.len() <= rows::stored_len(&draft));
    let view = RowsView::new(out.as_slice()).expect("what was stored");
    assert_eq!((view.submission, view.first_row, view.len()), (AT, draft.first_row, texts.len()));
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(view.row(index), Some(*text));
        assert_eq!(view.vmta(index), Some(&*draft.vmtas[usize::from(draft.vmta[index])]));
    }
    assert_eq!((view.row(texts.len()), view.vmta(texts.len())), (None, None));
}

/// A row of values.
fn values(input: &mut Input<'_>) {
    let mut texts = vec![input.string()];
    while !input.is_empty() {
        texts.push(input.string());
    }
    let mut row = Vec::new();
    for text in &texts {
        let before = row.len();
        put_value(&mut row, text);
        assert_eq!(row.len() - before, value_size(text.len()));
    }
    let view = row_view(&row).expect("what was stored");
    let read: Vec<_> = std::iter::once(Ok(view.address)).chain(view.values()).collect();
    assert_eq!(read, texts.iter().map(|text| Ok(text.as_str())).collect::<Vec<_>>());
}

fn foreign_archives(bytes: &[u8]) {
    if let Ok(value) = decode_submission(AT, bytes) {
        stored(&value);
    }
    if let Ok(value) = decode_outcomes(AT, bytes) {
        outcomes(&value);
    }
    if let Ok(value) = decode_control(AT, bytes) {
        control(&value);
    }
    if let Some(commit) = Commit::decode(bytes) {
        assert_eq!(commit.encode(), bytes);
    }
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

fn foreign_rows(bytes: &[u8]) {
    if let Some(view) = RowsView::new(bytes) {
        let read: usize = (0..view.len()).filter_map(|index| view.row(index)).map(<[u8]>::len).sum();
        assert!(read <= bytes.len() * view.len(), "no row is longer than the record");
        assert_eq!((view.row(view.len()), view.vmta(view.len())), (None, None));
    }
    if let Ok(row) = row_view(bytes) {
        let read: usize = row.values().flatten().map(str::len).sum();
        assert!(row.address.len() + read <= bytes.len());
    }
}

/// Content that decodes is stored as the bytes it was read from, or as others that say the same.
fn foreign_content(bytes: &[u8]) {
    let Ok(content) = Content::decode(bytes) else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    content.encode(&mut once);
    Content::decode(&once).expect("what was stored").encode(&mut twice);
    assert_eq!(once, twice);
}
