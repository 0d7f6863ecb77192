//! Imports of small and large tables, whole and interrupted.

use super::super::plan::UsedField;
use super::super::table::{Format, Table};
use super::*;
use crate::mail::row::row_view;
use crate::mail::suppression::Suppression;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

struct Imported {
    chunks: Vec<Chunk>,
    rejected: Vec<(u64, String)>,
    end: Result<Counts, ImportError>,
    domains: Vec<String>,
}

fn vmtas(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("mta{n}")).collect()
}

fn field(name: &str, in_header: bool) -> UsedField {
    UsedField { name: name.to_owned(), in_header }
}

fn import(
    csv: &[u8],
    fields: &[UsedField],
    duplicates: Duplicates,
    pool: usize,
    resume: Option<Progress>,
) -> Imported {
    let mut table = Table::open(Format::Csv, csv).unwrap();
    let plan = Plan::new(table.columns(), "email", fields).unwrap();
    let settings = Settings { vmtas: &vmtas(pool), duplicates, domain_suffix: "", key: [3; 16], resume };
    let mut import = Import::new(plan, &settings).unwrap();
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    let mut end = Ok(());
    while end.is_ok() && table.read(&mut batch).unwrap() {
        end = import.take(&batch, &mut taken);
    }
    let end = end.and_then(|()| import.finish(&mut taken));
    let rejected =
        taken.rejected.iter().map(|rejected| (rejected.line, rejected.fault.to_string())).collect();
    let domains = import.domains().since(0).iter().map(|name| name.to_string()).collect();
    Imported { chunks: taken.chunks, rejected, end, domains }
}

/// Number, VMTA, domain, address and values of every row.
fn rows(imported: &Imported) -> Vec<(u64, String, String, Vec<String>)> {
    let mut rows = Vec::new();
    for chunk in &imported.chunks {
        let mut start = 0;
        for (index, end) in chunk.rows.ends.iter().enumerate() {
            let view = row_view(&chunk.rows.bytes[start..*end as usize]).unwrap();
            start = *end as usize;
            let mut cells = vec![view.address.to_owned()];
            cells.extend(view.values().map(|value| value.unwrap().to_owned()));
            let vmta = chunk.rows.vmtas[chunk.rows.vmta[index] as usize].clone();
            let domain = imported.domains[chunk.domains[index] as usize].clone();
            rows.push((chunk.rows.first_row + index as u64, vmta, domain, cells));
        }
    }
    rows
}

#[test]
fn rows_keep_their_order_and_only_the_values_that_are_used() {
    let csv = b"id,name,email,city\n1,Jim, Jim@Site.EXAMPLE ,Oslo\n2,\xc3\x89va,eva@other.example,\n3,JIM,jim@site.example,Rome\n";
    let imported = import(csv, &[field("city", false), field("name", true)], Duplicates::Drop, 1, None);
    let expected = [
        (
            0,
            "mta0".into(),
            "site.example".into(),
            vec!["Jim@Site.EXAMPLE".into(), "Oslo".into(), "Jim".into()],
        ),
        (
            1,
            "mta0".into(),
            "other.example".into(),
            vec!["eva@other.example".into(), String::new(), "Éva".into()],
        ),
    ];
    assert_eq!(rows(&imported), expected);
    assert_eq!(imported.end, Ok(Counts { read: 3, accepted: 2, duplicates: 1, rejected: 0 }));
    let kept = import(csv, &[], Duplicates::Keep, 1, None);
    assert_eq!(rows(&kept).len(), 3);
}

#[test]
fn a_bad_row_is_refused_with_its_line_and_reason() {
    let long = "x".repeat(MAX_VALUE + 1);
    let csv = [
        b"email,name,note\na@x.example,A,fine\nnobody,B,\n,C,\n\xffd@x.example,D,\ne@x.example,\xc3(,\n".as_slice(),
        b"f@x.example,\"F\r\nBcc: g@x.example\",\ng@x.example,G,\"two\nlines\"\nh@x.example,H\0,\ni@x.example,",
        long.as_bytes(),
        b",\nj@x.example,J\nk@-x.example,K,\nl@x.example,L,\n",
    ]
    .concat();
    let imported = import(&csv, &[field("name", true), field("note", false)], Duplicates::Drop, 1, None);
    let lines: Vec<_> = imported.rejected.iter().map(|(line, reason)| format!("{line} {reason}")).collect();
    assert_eq!(
        lines,
        [
            "3 `email` is not an e-mail address: there is no @ between a local part and a domain",
            "4 `email` is not an e-mail address: the address is empty",
            "5 `email` is not an e-mail address: the address is not valid UTF-8",
            "6 field `name` is not UTF-8 at byte 0",
            "7 field `name` holds a line break and is used in a header, where it could start another header",
            "11 field `name` holds a NUL character, which no message may carry",
            "12 field `name` is 65537 bytes long; at most 65536 are allowed",
            "13 has 2 columns where the header row has 3",
            "14 `email` is not an e-mail address: a label of the domain begins or ends with a hyphen at position 2",
        ]
    );
    let addresses: Vec<_> = rows(&imported).into_iter().map(|row| row.3[0].clone()).collect();
    assert_eq!(addresses, ["a@x.example", "g@x.example", "l@x.example"]);
    assert_eq!(imported.end, Ok(Counts { read: 12, accepted: 3, duplicates: 0, rejected: 9 }));
}

#[test]
fn a_row_that_is_refused_does_not_hide_a_good_one_with_its_address() {
    let imported = import(
        b"email,n\na@x.example,\"1\n2\"\na@x.example,3\n",
        &[field("n", true)],
        Duplicates::Drop,
        1,
        None,
    );
    assert_eq!(rows(&imported)[0].3, ["a@x.example", "3"]);
}

#[test]
fn a_table_without_recipients_is_an_error_and_stores_nothing() {
    for csv in ["email\n", "email\nnobody\n"] {
        let imported = import(csv.as_bytes(), &[], Duplicates::Drop, 1, None);
        assert!(matches!(imported.end, Err(ImportError::NoRecipients(_))), "{csv:?}");
        assert!(imported.chunks.is_empty());
    }
}

#[test]
fn a_pool_is_rotated_evenly_for_each_domain() {
    let mut csv = "email\n".to_owned();
    for n in 0..700 {
        csv += &format!("a{n}@one.example\nb{n}@{}.example\n", if n % 3 == 0 { "two" } else { "three" });
    }
    csv += &(0..70).map(|n| format!("c@single{n}.example\n")).collect::<String>();
    let imported = import(csv.as_bytes(), &[], Duplicates::Drop, 7, None);
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for (_, vmta, domain, _) in rows(&imported) {
        let domain = if domain.starts_with("single") { "single".to_owned() } else { domain };
        *counts.entry((domain, vmta)).or_default() += 1;
    }
    for domain in ["one.example", "two.example", "three.example", "single"] {
        let shares: Vec<u32> = (0..7).map(|n| counts[&(domain.to_owned(), format!("mta{n}"))]).collect();
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{domain}: {shares:?}");
    }
}

#[test]
fn chunks_stay_within_their_bounds_and_announce_each_domain_once() {
    let mut csv = "email,text\n".to_owned();
    for n in 0..5000 {
        let text = "x".repeat(if n < 2500 { 5 } else { n % 40 * 200 });
        csv += &format!("a{n}@d{}.example,{text}\n", n / 100);
    }
    csv += &format!("big@x.example,{}\n", "y".repeat(60_000));
    let imported =
        import(csv.as_bytes(), &[field("text", false), field("text", false)], Duplicates::Drop, 1, None);
    let mut next_row = 0;
    let mut domains = Vec::new();
    for chunk in &imported.chunks {
        let count = chunk.rows.ends.len();
        assert!(count <= 1024 && (count == 1 || chunk.rows.bytes.len() <= 96 * 1024));
        assert_eq!((count, count), (chunk.domains.len(), chunk.rows.vmta.len()));
        assert_eq!(chunk.rows.first_row, next_row);
        next_row += count as u64;
        assert_eq!(chunk.progress.next_row, next_row);
        assert_eq!(chunk.first_new_domain as usize, domains.len());
        domains.extend(chunk.new_domains.iter().map(|name| name.to_string()));
        assert!(chunk.domains.iter().all(|domain| (*domain as usize) < domains.len()));
    }
    assert_eq!(domains, imported.domains);
    assert_eq!(domains.iter().collect::<HashSet<_>>().len(), domains.len());
    assert_eq!(next_row, 5001);
}

#[test]
fn an_import_is_refused_when_the_file_has_changed_under_it() {
    let csv = (0..3000).fold("email\n".to_owned(), |csv, n| csv + &format!("a{n}@x.example\n"));
    let whole = import(csv.as_bytes(), &[], Duplicates::Drop, 1, None);
    let resume = Some(whole.chunks[1].progress);
    let shorter = import(&csv.as_bytes()[..csv.len() / 2], &[], Duplicates::Drop, 1, resume);
    assert!(matches!(shorter.end, Err(ImportError::Changed { .. })));
    let other = csv.replace("a5@", "a4@");
    let other = import(other.as_bytes(), &[], Duplicates::Drop, 1, resume);
    assert!(matches!(other.end, Err(ImportError::Changed { .. })), "{:?}", other.end);
    assert!(other.chunks.is_empty());
}

#[test]
fn an_import_whose_rows_are_all_stored_ends_without_a_chunk() {
    let csv = b"email\na@x.example\na@x.example\nb@x.example\nbad\n";
    let whole = import(csv, &[], Duplicates::Drop, 1, None);
    let rest = import(csv, &[], Duplicates::Drop, 1, Some(whole.chunks[0].progress));
    assert_eq!((rest.chunks.len(), rest.end), (0, whole.end));
}

#[test]
fn the_list_of_vmtas_has_its_bounds() {
    let plan = Plan::new(&["email".to_owned()], "email", &[]).unwrap();
    for (count, error) in [(0, MembersError::None), (256, MembersError::TooMany(256))] {
        let pool = vmtas(count);
        let settings = Settings {
            vmtas: &pool,
            duplicates: Duplicates::Drop,
            domain_suffix: "",
            key: [0; 16],
            resume: None,
        };
        assert_eq!(Import::new(plan.clone(), &settings).err(), Some(ImportError::Members(error)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_interrupted_import_goes_on_where_it_was(
        kinds in prop::collection::vec((0_u16..20_000, 0_u8..20), 1..4000),
        stop in any::<prop::sample::Index>(),
        pool in 1_usize..5,
    ) {
        let mut csv = "email,name\n".to_owned();
        for (n, kind) in kinds {
            csv += &match kind {
                0 => format!("bad{n},x\n"),
                1 => format!("a{n}@d{}.example\n", n % 7),
                _ => format!("a{n}@d{}.example,name {n}\n", n % 7),
            };
        }
        let whole = import(csv.as_bytes(), &[field("name", true)], Duplicates::Drop, pool, None);
        prop_assume!(whole.end.is_ok());
        let stored = stop.index(whole.chunks.len()) + 1;
        let progress = whole.chunks[stored - 1].progress;
        prop_assert_eq!(Progress::from_state(progress.next_row, &progress.state()), Ok(progress));
        let rest = import(csv.as_bytes(), &[field("name", true)], Duplicates::Drop, pool, Some(progress));
        let mut together = rows(&whole);
        together.truncate(progress.next_row as usize);
        together.extend(rows(&rest));
        prop_assert_eq!(together, rows(&whole));
        prop_assert_eq!(&rest.end, &whole.end);
        prop_assert_eq!(&rest.rejected, &whole.rejected);
    }

    #[test]
    fn any_bytes_are_imported_without_panic(tail in prop::collection::vec(any::<u8>(), 0..500)) {
        let csv = [b"email,name\n".as_slice(), &tail].concat();
        let imported = import(&csv, &[field("name", false)], Duplicates::Drop, 2, None);
        let good = rows(&imported).len() as u64;
        if let Ok(counts) = imported.end {
            prop_assert_eq!(counts.accepted, good);
            prop_assert_eq!(counts.read, counts.accepted + counts.duplicates + counts.rejected);
            prop_assert_eq!(counts.rejected, imported.rejected.len() as u64);
        }
    }
}

/// A CSV of six columns and about eighty bytes a row, made up as it is read.
struct Endless {
    row: u64,
    rows: u64,
    text: Vec<u8>,
    at: usize,
}

impl std::io::Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.text.len() && self.row < self.rows {
            self.text.clear();
            self.at = 0;
            while self.text.len() < 64 * 1024 && self.row < self.rows {
                let n = self.row;
                let domain =
                    ["mail.example", "post.example", "inbox.example", "web.example"][(n % 4) as usize];
                self.text.extend_from_slice(
                    format!(
                        "user{n:07}@{domain},Jim{:04},Miller{:05},Oslo,2026-11-23,https://s.example/{n:09}\n",
                        n % 9973,
                        n % 99_991
                    )
                    .as_bytes(),
                );
                self.row += 1;
            }
        }
        let count = (self.text.len() - self.at).min(out.len());
        out[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn made_up(rows: u64) -> Endless {
    Endless { row: 0, rows, text: b"email,first,last,city,date,link\n".to_vec(), at: 0 }
}

#[test]
fn a_file_of_any_length_takes_the_memory_of_a_batch_and_of_the_addresses_seen() {
    const ROWS: u64 = 300_000;
    let mut table = Table::open(Format::Csv, std::io::BufReader::new(made_up(ROWS))).unwrap();
    let plan = Plan::new(table.columns(), "email", &[field("city", false)]).unwrap();
    let settings = Settings {
        vmtas: &vmtas(3),
        duplicates: Duplicates::Drop,
        domain_suffix: "",
        key: [3; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).unwrap();
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).unwrap() {
        import.take(&batch, &mut taken).unwrap();
        assert!(batch.memory() < 512 * 1024 && taken.chunks.len() <= 1);
        taken.chunks.clear();
    }
    assert_eq!(import.finish(&mut taken).unwrap().accepted, ROWS);
    assert!(import.memory() as u64 <= 16 * ROWS, "{} bytes", import.memory());
}

#[test]
fn a_domain_of_one_label_gets_the_suffix_before_it_is_compared() {
    let csv = b"email\njim@host\njim@HOST.example.com\nann@site.example\nbob@[192.0.2.1]\n";
    let mut table = Table::open(Format::Csv, &csv[..]).unwrap();
    let plan = Plan::new(table.columns(), "email", &[]).unwrap();
    let (vmtas, duplicates) = (vmtas(1), Duplicates::Drop);
    let settings =
        Settings { vmtas: &vmtas, duplicates, domain_suffix: "example.com", key: [3; 16], resume: None };
    let mut import = Import::new(plan, &settings).unwrap();
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).unwrap() {
        import.take(&batch, &mut taken).unwrap();
    }
    let counts = import.finish(&mut taken).unwrap();
    assert_eq!((counts.accepted, counts.duplicates), (3, 1));
    let domains: Vec<_> = import.domains().since(0).iter().map(|name| name.to_string()).collect();
    assert_eq!(domains, ["host.example.com", "site.example", "[192.0.2.1]"]);
    let rows = &taken.chunks[0].rows;
    assert_eq!(row_view(&rows.bytes[..rows.ends[0] as usize]).unwrap().address, "jim@host.example.com");
}

#[test]
fn rows_of_people_who_get_no_mail_are_refused_with_the_name_of_the_list() {
    let csv = b"email\njim@a.example\ngone@a.example\nann@b.example\n";
    let mut table = Table::open(Format::Csv, &csv[..]).unwrap();
    let plan = Plan::new(table.columns(), "email", &[]).unwrap();
    let (vmtas, duplicates) = (vmtas(1), Duplicates::Drop);
    let settings = Settings { vmtas: &vmtas, duplicates, domain_suffix: "", key: [3; 16], resume: None };
    let lists = Suppression::new(|address| (address.local() == "gone").then(|| "a1".into()));
    let mut import = Import::new(plan, &settings).unwrap().suppressing(Some(lists));
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).unwrap() {
        import.take(&batch, &mut taken).unwrap();
    }
    let counts = import.finish(&mut taken).unwrap();
    assert_eq!((counts.accepted, counts.rejected), (2, 1));
    let refused = &taken.rejected[0];
    assert_eq!(
        (refused.line, refused.fault.to_string()),
        (3, "recipient is in suppression list \"a1\"".to_owned())
    );
}
