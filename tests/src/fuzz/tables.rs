//! Recipient tables: the rows of another reader of the same format, whatever the size of the reads; every row is imported,
//! a duplicate, or refused with its line; what is stored reads back.

use std::collections::HashMap;
use std::io::BufReader;

use posthaste::ingest::{Batch, Duplicates, Fault, Format, Import, Plan, Settings, Table, Taken, UsedField};
use posthaste::mail::check;
use posthaste::mail::row::row_view;

use super::input::assert_printable;

/// Line, cells, what is wrong.
type Row = (u64, Vec<Vec<u8>>, Option<Fault>);

fn read(format: Format, data: &[u8], buffer: usize) -> Result<(Vec<String>, Vec<Row>), String> {
    let mut table = Table::open(format, BufReader::with_capacity(buffer, data)).map_err(|e| e.to_string())?;
    let (mut batch, mut rows) = (Batch::new(), Vec::new());
    while table.read(&mut batch).map_err(|e| e.to_string())? {
        rows.extend(
            batch.rows().map(|row| (row.line, row.cells().map(<[u8]>::to_vec).collect(), row.fault.cloned())),
        );
    }
    Ok((table.columns().to_vec(), rows))
}

pub fn csv(data: &[u8]) {
    let Some((columns, rows)) = alike(Format::Csv, data) else { return };
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut other = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(data);
    let mut theirs = other
        .byte_records()
        .map(|record| record.expect("from memory").iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
    let names: Vec<_> =
        theirs.next().expect("a header row").iter().map(|n| n.trim_ascii().to_vec()).collect();
    assert_eq!(names.len(), columns.len());
    for (line, cells, fault) in &rows {
        assert_eq!(Some(cells), theirs.next().as_ref(), "line {line}");
        assert!(fault.is_some() || cells.len() == columns.len(), "line {line}");
    }
    assert_eq!(theirs.next(), None);
}

pub fn jsonl(data: &[u8]) {
    let Some((columns, rows)) = alike(Format::Jsonl, data) else { return };
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let lines: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    for (line, cells, fault) in rows {
        if fault.is_some() {
            continue;
        }
        let text = lines[line as usize - 1];
        // Values of no column are not looked into.
        let theirs: HashMap<String, &serde_json::value::RawValue> =
            serde_json::from_slice(text).expect("an object");
        assert_eq!(cells.len(), columns.len());
        for (name, cell) in columns.iter().zip(cells) {
            let theirs = theirs.get(name).map(|raw| serde_json::from_str(raw.get()).expect("a value"));
            match &theirs {
                Some(serde_json::Value::String(text)) => assert_eq!(text.as_bytes(), cell, "line {line}"),
                Some(serde_json::Value::Null) | None => assert!(cell.is_empty(), "line {line}"),
                Some(other) => {
                    let ours: serde_json::Value =
                        serde_json::from_slice(&cell).expect("the value as written");
                    assert_eq!(&ours, other, "line {line}");
                }
            }
        }
    }
}

/// The table, read with small and large buffers alike, and imported.
fn alike(format: Format, data: &[u8]) -> Option<(Vec<String>, Vec<Row>)> {
    let whole = read(format, data, 1 << 16);
    assert_eq!(whole, read(format, data, 1), "with small reads");
    assert_eq!(whole, read(format, data, 7), "with small reads");
    let (columns, rows) = match whole {
        Ok(read) => read,
        Err(error) => {
            assert_printable(&error);
            return None;
        }
    };
    let lines = data.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    assert!(rows.iter().all(|(line, ..)| (1..=lines).contains(line)));
    assert!(rows.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    for fault in rows.iter().filter_map(|(.., fault)| fault.as_ref()) {
        assert_printable(&fault.to_string());
    }
    imported(format, data, &columns, rows.len());
    Some((columns, rows))
}

/// The first column as the address, the others as values, each of which a header may use.
fn imported(format: Format, data: &[u8], columns: &[String], rows: usize) {
    let used = columns.iter().skip(1).map(|name| UsedField { name: name.clone(), in_header: true });
    let Some(email) = columns.first() else { return };
    let plan = match Plan::new(columns, email, &used.collect::<Vec<_>>()) {
        Ok(plan) => plan,
        Err(errors) => return errors.iter().for_each(|error| assert_printable(&error.to_string())),
    };
    let mut table = Table::open(format, data).expect("read before");
    table.require(plan.columns());
    let settings = Settings {
        vmtas: &["v".to_owned()],
        duplicates: Duplicates::Drop,
        domain_suffix: "",
        key: [3; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).expect("one VMTA");
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    while table.read(&mut batch).expect("read before") {
        import.take(&batch, &mut taken).expect("nothing to go on with");
    }
    let _ = import.finish(&mut taken);
    let counts = import.counts();
    assert_eq!(counts.read, rows as u64);
    assert_eq!(counts.read, counts.accepted + counts.duplicates + counts.rejected);
    assert_eq!(counts.rejected, taken.rejected.len() as u64);
    for rejected in &taken.rejected {
        assert_printable(&rejected.fault.to_string());
    }
    let mut stored = 0;
    for chunk in &taken.chunks {
        let mut start = 0;
        for end in chunk.rows.ends.iter().map(|end| *end as usize) {
            let row = row_view(&chunk.rows.bytes[start..end]).expect("a stored row");
            assert!(check(row.address.as_bytes()).is_ok());
            let values: Vec<&str> = row.values().map(|value| value.expect("a stored value")).collect();
            assert_eq!(values.len(), columns.len() - 1);
            assert!(!values.iter().any(|value| value.contains(['\r', '\n', '\0'])), "{values:?}");
            (start, stored) = (end, stored + 1);
        }
    }
    assert_eq!(stored, counts.accepted);
}
