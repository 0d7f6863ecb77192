//! Dialogues with the JSON Lines reader.

use super::super::table::{Format, Table};
use super::*;
use proptest::prelude::*;

type Row = (u64, Result<Vec<String>, String>);

fn read(jsonl: &[u8], required: &[&str]) -> Result<(Vec<String>, Vec<Row>), TableError> {
    let mut table = Table::open(Format::Jsonl, std::io::BufReader::with_capacity(3, jsonl))?;
    let columns = table.columns().to_vec();
    table.require(required.iter().filter_map(|name| columns.iter().position(|column| column == name)));
    let mut batch = Batch::new();
    let mut rows = Vec::new();
    while table.read(&mut batch)? {
        rows.extend(batch.rows().map(|row| {
            let cells = row.cells().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
            (row.line, row.fault.map_or(Ok(cells), |fault| Err(fault.to_string())))
        }));
    }
    Ok((columns, rows))
}

fn row(line: u64, cells: &[&str]) -> Row {
    (line, Ok(cells.iter().map(|cell| (*cell).to_owned()).collect()))
}

#[test]
fn values_are_text_whatever_their_type() {
    let jsonl = "\u{feff}{\"email\":\"a@x.example\",\"n\":1.50,\"b\":true}\r\n\n{\"b\":null,\"email\":\"b\\u0040x.example\",\"more\":[1]}";
    let (columns, rows) = read(jsonl.as_bytes(), &["email"]).unwrap();
    assert_eq!(columns, ["email", "n", "b"]);
    assert_eq!(rows, [row(1, &["a@x.example", "1.50", "true"]), row(3, &["b@x.example", "", ""])]);
}

#[test]
fn a_bad_line_costs_only_itself() {
    let jsonl = b"{\"email\":\"a@x.example\",\"n\":1}\n{\"email\":\n[1]\n{\"email\":\"b@x.example\"}\n{\"email\":\"c@x.example\",\"n\":{}}\n\
        {\"email\":\"d@x.example\",\"n\":1,\"n\":2}\n{\"email\":\"\xff\",\"n\":1}\n{\"email\":\"e@x.example\",\"n\":5} {}\n{\"email\":\"f@x.example\",\"n\":6}\n";
    let (_, rows) = read(jsonl, &["email", "n"]).unwrap();
    let said: Vec<_> = rows
        .iter()
        .map(|(line, row)| {
            format!("{line}: {}", row.as_ref().map_or_else(Clone::clone, |cells| cells.join(" ")))
        })
        .collect();
    assert_eq!(
        said,
        [
            "1: a@x.example 1",
            "2: is not one JSON object: EOF while parsing a value at column 0",
            "3: is not one JSON object: invalid type: sequence, expected an object at column 0",
            "4: has no field `n`",
            "5: field `n` is an array or object; a string, number, boolean or null is needed",
            "6: has the field `n` twice",
            "7: is not UTF-8 at byte 10",
            "8: is not one JSON object: trailing characters at column 31",
            "9: f@x.example 6",
        ]
    );
}

#[test]
fn the_first_line_has_to_be_an_object() {
    assert!(matches!(read(b"", &[]), Err(TableError::EmptyJsonl)));
    assert!(matches!(read(b" \n\r\n", &[]), Err(TableError::EmptyJsonl)));
    let error = read(b"\n\"email\"\n", &[]).unwrap_err().to_string();
    assert!(error.starts_with("line 2: the first row is not one JSON object"), "{error}");
    let error = read(b"{\"a\":1,\"a\":2}\n", &[]).unwrap_err().to_string();
    assert!(error.contains("has the field `a` twice"), "{error}");
}

#[test]
fn a_line_without_end_is_found_before_it_fills_the_memory() {
    let mut jsonl = b"{\"email\":\"a@x.example\"}\n{\"email\":\"".to_vec();
    jsonl.resize(jsonl.len() + 2 * MAX_ROW, b'x');
    jsonl.extend_from_slice(b"\"}\n{\"email\":\"b@x.example\"}\n");
    assert!(matches!(read(&jsonl, &["email"]), Err(TableError::RowTooLong { line: 2 })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut jsonl = b"{\"email\":\"a@x.example\"}\n".to_vec();
        jsonl.extend_from_slice(&tail);
        let (_, rows) = read(&jsonl, &["email"]).unwrap();
        let full: Vec<u64> = jsonl
            .split(|byte| *byte == b'\n')
            .zip(1..)
            .filter(|(line, _)| !line.trim_ascii().is_empty())
            .map(|(_, number)| number)
            .collect();
        prop_assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), full);
        let _ = read(&tail, &["email"]);
    }

    #[test]
    fn written_objects_come_back(rows in prop::collection::vec((".{0,20}", ".{0,20}"), 1..10)) {
        let mut jsonl = String::new();
        let mut expected = Vec::new();
        for (at, (a, b)) in rows.iter().enumerate() {
            jsonl += &serde_json::json!({ "a": a, "b": b }).to_string();
            jsonl.push('\n');
            expected.push(row(at as u64 + 1, &[a, b]));
        }
        prop_assert_eq!(read(jsonl.as_bytes(), &["a"]).unwrap().1, expected);
    }
}
