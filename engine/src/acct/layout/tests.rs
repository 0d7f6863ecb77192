//! Columns and lines, against the samples of the reference.

use super::*;
use crate::spool::record::{Attempt, Disposition, Outcome, QueueFailure, Said, Submission};
use jiff::tz::TimeZone;

fn layout(records: &[&str], fields: &[(&str, &str)]) -> Layout {
    Layout::new(records, fields, true, "node-7").unwrap()
}

fn header(layout: &Layout) -> String {
    let mut out = Vec::new();
    layout.push_header(&mut out);
    String::from_utf8(out).unwrap()
}

fn line(layout: &Layout, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    layout.push_line(record, &mut Stamp::new(TimeZone::UTC), &mut out);
    String::from_utf8(out).unwrap()
}

fn submission() -> Submission {
    Submission {
        sender: "b@bounce.ex".into(),
        job: "JOB1".into(),
        source_type: "api".into(),
        source_mta: "feeder.ex (127.0.0.1)".into(),
        received_from_ip: "192.168.25.56".into(),
        received_on_ip: "192.168.25.11".into(),
        smtp_user: "shop".into(),
        accepted_at: 1_549_662_840_000,
        ..Submission::default()
    }
}

fn attempt() -> Attempt {
    Attempt {
        queue: "1181.ex/vmta48".into(),
        vmta: "vmta48".into(),
        vmta_pool: "pool-a".into(),
        delivery_type: "smtp".into(),
        source_ip: "10.1.2.3".into(),
        destination_ip: "10.1.2.4".into(),
        mta: "mx.ex (10.1.2.4)".into(),
        esmtp: "ENHANCEDSTATUSCODES,8BITMIME,SMTPUTF8".into(),
        ..Attempt::default()
    }
}

fn outcome(disposition: Disposition) -> Outcome {
    Outcome {
        row: Default::default(),
        submission: Default::default(),
        disposition,
        at: 1_549_662_845_000,
        attempt: 0,
        said: 0,
        size: 41159,
        attempts: 1,
    }
}

#[test]
fn the_default_file_has_powermtas_columns() {
    assert_eq!(
        header(&layout(&[], &[])),
        "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,\
         dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,vmtaPool\r\n"
    );
    assert_eq!(
        header(&layout(&["tq"], &[])),
        "type,timeLogged,dsnStatus,dsnDiag,dsnMta,dlvType,dlvSourceIp,dlvDestinationIp,vmta,queue\r\n"
    );
    assert_eq!(
        header(&layout(&["receipt"], &[])),
        "type,timeLogged,orig,rcpt,orcpt,srcType,srcMta,rcvSourceIp,rcvDestinationIp,vmta,jobId,envId\r\n"
    );
}

#[test]
fn a_delivery_and_a_bounce() {
    let (submission, attempt) = (submission(), attempt());
    let ok = Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 DATA ok".into() };
    let file = layout(&["d", "b"], &[]);
    let record =
        Record::of_outcome(&outcome(Disposition::Delivered), &attempt, &ok, Some(&submission), "D@1181.ex")
            .unwrap();
    assert_eq!(
        line(&file, &record),
        "d,2019-02-08 21:54:05+0000,2019-02-08 21:54:00+0000,b@bounce.ex,D@1181.ex,,relayed,2.0.0 (success),\
         smtp;250 DATA ok,mx.ex (10.1.2.4),,api,feeder.ex (127.0.0.1),smtp,10.1.2.3,10.1.2.4,\
         \"ENHANCEDSTATUSCODES,8BITMIME,SMTPUTF8\",41159,vmta48,JOB1,,1181.ex/vmta48,pool-a\r\n"
    );
    let no = Said { status: "5.1.1 (x)".into(), diagnostic: "smtp;550 5.1.1 \"who\"\r\n".into() };
    let mut record =
        Record::of_outcome(&outcome(Disposition::Bounced), &attempt, &no, Some(&submission), "x@1181.ex")
            .unwrap();
    record.category = "bad-mailbox";
    let text = line(&file, &record);
    assert!(text.starts_with("b,2019-02-08 21:54:05+0000,"), "{text}");
    assert!(
        text.contains(
            ",failed,5.1.1 (x),\"smtp;550 5.1.1 \"\"who\"\"\\x0d\\x0a\",mx.ex (10.1.2.4),bad-mailbox,api,"
        ),
        "{text}"
    );
    assert!(text.contains("\",,vmta48,JOB1,"), "dlvSize is for deliveries: {text}");
    assert_eq!(text.matches('\n').count(), 1);
}

#[test]
fn a_queue_failure_and_a_receipt() {
    let (submission, attempt) = (submission(), attempt());
    let said = Said { status: "4.4.1 (no answer from host)".into(), diagnostic: String::new() };
    let failure = QueueFailure { at: 1_549_662_819_000, attempt: 0, said: 0 };
    assert_eq!(
        line(&layout(&["tq"], &[]), &Record::of_queue_failure(&failure, &attempt, &said)),
        "tq,2019-02-08 21:53:39+0000,4.4.1 (no answer from host),,mx.ex (10.1.2.4),smtp,10.1.2.3,10.1.2.4,vmta48,1181.ex/vmta48\r\n"
    );
    assert_eq!(
        line(&layout(&["r"], &[]), &Record::of_receipt(&submission, "b@ex", "vmta1")),
        "r,2019-02-08 21:54:00+0000,b@bounce.ex,b@ex,,api,feeder.ex (127.0.0.1),192.168.25.56,192.168.25.11,vmta1,JOB1,\r\n"
    );
}

#[test]
fn several_types_share_one_header_and_leave_empty_what_they_lack() {
    let file = layout(&["d", "tq", "r"], &[("d", "*,header_X-Job,dlvTlsCipher")]);
    let columns = header(&file);
    assert!(
        columns.ends_with(",vmtaPool,dlvTlsCipher,header_X-Job,rcvSourceIp,rcvDestinationIp\r\n"),
        "{columns}"
    );
    let (attempt, said) = (attempt(), Said::default());
    let failure = QueueFailure { at: 0, attempt: 0, said: 0 };
    let text = line(&file, &Record::of_queue_failure(&failure, &attempt, &said));
    assert_eq!(text.matches(',').count(), columns.matches(',').count(), "{text}");
    assert!(text.ends_with(",vmta48,,,1181.ex/vmta48,,,,,\r\n"), "{text}");
    assert_eq!(file.notes().len(), 1);
}

#[test]
fn fields_are_added_and_left_out() {
    assert_eq!(header(&layout(&["d"], &[("d", "rcpt, timeLogged")])), "type,timeLogged,rcpt\r\n");
    assert!(!header(&layout(&["d"], &[("delivery", "!dlvSize")])).contains("dlvSize"));
    let file = layout(&["d"], &[("d", "timeLogged totalSecondsQueued rcvSmtpUser userString")]);
    let (submission, attempt, said) = (submission(), attempt(), Said::default());
    let record =
        Record::of_outcome(&outcome(Disposition::Delivered), &attempt, &said, Some(&submission), "a@b")
            .unwrap();
    assert_eq!(line(&file, &record), "d,2019-02-08 21:54:05+0000,5,shop,node-7\r\n");
    let unix = Layout::new(&["d"], &[("d", "timeLogged")], false, "").unwrap();
    assert_eq!(line(&unix, &record), "d,1549662845\r\n");
}

#[test]
fn mistakes_name_the_type_the_word_and_what_would_be_right() {
    let error = |records: &[&str], fields: &[(&str, &str)]| {
        Layout::new(records, fields, true, "").unwrap_err().to_string()
    };
    assert_eq!(error(&["x"], &[]), "records: `x` is no record type; write d, b, t, tq, r, rb, rs or f");
    assert_eq!(
        error(&["d"], &[("d", "*,dlvSourceAddress")]),
        "record-fields d: `dlvSourceAddress` is no field; did you mean `dlvSourceIp`?"
    );
    assert_eq!(
        error(&["tq"], &[("tq", "rcpt")]),
        "record-fields tq: records of this type have no field `rcpt`"
    );
    assert_eq!(error(&["d"], &[("d", "!type")]), "record-fields d: field `type` cannot be left out");
    assert_eq!(
        error(&["d"], &[("d", "header_")]),
        "record-fields d: `header_` needs a header name after `header_`, at most 200 characters"
    );
    assert!(Layout::new(&["d", "rb", "f"], &[("rb", "*")], true, "").is_ok());
}
