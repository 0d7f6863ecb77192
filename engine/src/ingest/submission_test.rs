//! Groups of finished messages and of campaigns.

use super::super::progress::Counts;
use super::*;
use crate::mail::row::row_view;
use std::collections::BTreeMap;

fn message() -> Content {
    Content::plain("From: a@x.example\r\n\r\nCafé\r\n".into())
}

fn pool(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("mta{n}")).collect()
}

fn rows(draft: &Draft) -> &RowsDraft {
    match draft {
        Draft::Rows { submission: Ref::Here(1), rows } => rows,
        other => panic!("not rows of this group: {other:?}"),
    }
}

#[test]
fn a_message_with_recipients_is_content_header_and_rows() {
    let submission = Submission { id: 7, sender: "a@x.example".into(), ..Submission::default() };
    let mut rotation = Rotation::new(&pool(1), &[1; 16]).unwrap();
    let submitted = plain(
        submission,
        &message(),
        ["Jim@Site.Example", "eva@site.example", "b@bücher.example"],
        &[],
        &mut rotation,
    )
    .unwrap();
    let [Draft::Content(content), Draft::Accepted { submission, content: Ref::Here(0) }, third] =
        submitted.group.drafts.as_slice()
    else {
        panic!("{:?}", submitted.group);
    };
    assert_eq!(Content::decode(content).unwrap().as_plain(), message().as_plain());
    assert_eq!((submission.id, submission.size as usize), (7, message().size_estimate()));
    assert!(submission.eight_bit && !submission.smtputf8 && submission.fields.is_empty());
    let rows = rows(third);
    assert_eq!(
        (rows.vmtas.as_slice(), rows.vmta.as_slice(), rows.first_row),
        (&pool(1)[..], &[0, 0, 0][..], 0)
    );
    assert_eq!(row_view(&rows.bytes[..rows.ends[0] as usize]).unwrap().address, "Jim@Site.Example");
    let domains: Vec<_> =
        submitted.routes.iter().map(|route| (route.draft, route.index, &*route.domain)).collect();
    assert_eq!(domains, [(2, 0, "site.example"), (2, 1, "site.example"), (2, 2, "xn--bcher-kva.example")]);
}

#[test]
fn many_recipients_fill_several_records_of_one_group() {
    let recipients: Vec<String> = (0..2500).map(|n| format!("r{n}@d{}.example", n % 5)).collect();
    let submission = Submission { pickup_identity: "1:2:3:4:a.eml".into(), ..Submission::default() };
    let mut rotation = Rotation::new(&pool(3), &[1; 16]).unwrap();
    let submitted =
        plain(submission, &message(), recipients.iter().map(String::as_str), &[], &mut rotation).unwrap();
    let drafts = &submitted.group.drafts;
    assert_eq!(drafts.len(), 6);
    assert!(
        matches!(&drafts[5], Draft::Control(Control::PickupDone { identity }) if identity == "1:2:3:4:a.eml")
    );
    let mut shares: BTreeMap<(&str, u8), i32> = BTreeMap::new();
    for (recipient, route) in recipients.iter().zip(&submitted.routes) {
        let rows = rows(&drafts[route.draft]);
        let index = route.index as usize;
        let start = if index == 0 { 0 } else { rows.ends[index - 1] as usize };
        assert_eq!(row_view(&rows.bytes[start..rows.ends[index] as usize]).unwrap().address, recipient);
        *shares.entry((&route.domain, rows.vmta[index])).or_default() += 1;
    }
    assert_eq!(rows(&drafts[4]).first_row, 2048);
    for n in 0..5 {
        let domain = format!("d{n}.example");
        let counts: Vec<i32> = (0..3).map(|vmta| shares[&(domain.as_str(), vmta)]).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{domain}: {counts:?}");
    }
}

#[test]
fn a_message_for_nobody_is_refused() {
    let mut rotation = Rotation::new(&pool(1), &[1; 16]).unwrap();
    let none = plain(Submission::default(), &message(), [], &[], &mut rotation);
    assert_eq!(none.unwrap_err(), SubmissionError::NoRecipients);
    let bad = plain(Submission::default(), &message(), ["a@x.example", "nobody"], &[], &mut rotation);
    assert!(bad.unwrap_err().to_string().starts_with("recipient 2 is not an address"));
    assert_eq!(Rotation::new(&[], &[1; 16]).err(), Some(MembersError::None));
    assert_eq!(Rotation::new(&pool(256), &[1; 16]).err(), Some(MembersError::TooMany(256)));
}

#[test]
fn groups_of_a_campaign_carry_how_far_it_is() {
    let submission = Submission { pickup_identity: "id".into(), ..Submission::default() };
    let progress =
        Progress { next_row: 3, counts: Counts { read: 5, accepted: 3, duplicates: 1, rejected: 1 } };
    let first = campaign_start(submission, &message(), RowsDraft::default(), &progress, false);
    let [
        Draft::Content(_),
        Draft::Accepted { .. },
        Draft::Rows { submission: Ref::Here(1), .. },
        Draft::Control(control),
    ] = first.drafts.as_slice()
    else {
        panic!("{first:?}");
    };
    let Control::ImportProgress { identity, submission, next_row, state } = control else {
        panic!("{control:?}")
    };
    assert_eq!((identity.as_str(), *submission), ("id", Location { segment: 0, offset8: 1 }));
    assert_eq!(Progress::from_state(*next_row, state), Ok(progress));
    let at = Location { segment: 4, offset8: 2 };
    let last = campaign_rows(at, "id", RowsDraft::default(), &progress, true);
    assert!(matches!(
        last.drafts.as_slice(),
        [
            Draft::Rows { submission: Ref::At(rows_of), .. },
            Draft::Control(Control::ImportProgress { submission, .. }),
            Draft::Control(Control::PickupDone { identity }),
        ] if *rows_of == at && *submission == at && identity == "id"
    ));
}

#[test]
fn who_bounces_is_a_row_that_says_why() {
    let why = address::check(b"jim").expect_err("no address");
    let mut asked = RecipientDsn::default();
    asked.take("NOTIFY", "FAILURE").expect("a NOTIFY");
    let jim = RefusedRecipient::malformed("jim", &why, false, asked);
    let many = RefusedRecipient::malformed("a b@X.example", &why, false, RecipientDsn::default());
    let everybody: Vec<_> = std::iter::once(jim.clone()).chain(vec![many; CHUNK_ROWS]).collect();
    let (submission, records) = refused(Submission::default(), &message(), &everybody, "v1");
    assert_eq!(submission.refused_field(), Some(2));
    assert!(submission.size > 0);
    let numbers: Vec<_> = records.iter().map(|rows| (rows.draft.first_row, rows.domains.len())).collect();
    assert_eq!(numbers, [(0, CHUNK_ROWS), (CHUNK_ROWS as u64, 1)]);
    assert_eq!((&*records[0].domains[0], &*records[0].domains[1]), ("invalid", "x.example"));
    assert_eq!(records[1].draft.vmtas, ["v1"]);
    let first = row_view(&records[0].draft.bytes[..records[0].draft.ends[0] as usize]).expect("a row");
    let values: Vec<_> = first.values().collect::<Result<_, _>>().expect("values");
    assert_eq!((first.address, values), ("jim", vec!["FAILURE", "", jim.reply.as_str()]));
}
