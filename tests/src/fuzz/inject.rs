//! JSON requests: read in pieces of every size they give the same; where they are JSON it is the same JSON that another
//! reader sees; every recipient becomes a row or is refused, with a text that can be shown.

use posthaste::ingest::inject::InjectHead;
use posthaste::ingest::inject_rows::InjectRows;
use posthaste::ingest::json_stream::{Event, JsonStream};
use posthaste::ingest::transmission::Transmission;
use posthaste::ingest::{Batch, Duplicates, Import, Settings, Taken};
use posthaste::mail::row::row_view;
use posthaste::mail::{Fixed, check};
use serde_json::{Map, Value};

use super::input::assert_printable;

const LONGEST: usize = 1 << 16;

/// Members and elements as they come, and what is wrong in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    members: Vec<(String, Vec<u8>)>,
    elements: Vec<Vec<u8>>,
    wrong: Option<String>,
}

fn read(data: &[u8], piece: usize) -> Read {
    let mut stream = JsonStream::new("recipients", LONGEST, LONGEST);
    let mut read = Read::default();
    let mut pieces = data.chunks(piece);
    loop {
        match stream.event() {
            Ok(Some(Event::Member { key, value })) => read.members.push((key.into_owned(), value.to_vec())),
            Ok(Some(Event::Element(element))) => read.elements.push(element.to_vec()),
            Ok(Some(Event::End)) => {}
            Ok(None) => match pieces.next() {
                Some(piece) => stream.push(piece),
                None => break read.wrong = stream.finish().err().map(|e| e.to_string()),
            },
            Err(e) => break read.wrong = Some(e.to_string()),
        }
    }
    read
}

pub fn request(data: &[u8]) {
    let whole = read(data, LONGEST);
    assert_eq!(whole, read(data, 1), "in pieces of one");
    assert_eq!(whole, read(data, 7), "in pieces of seven");
    whole.wrong.iter().for_each(|wrong| assert_printable(wrong));
    same_json(data, &whole);
    carried_out(&whole);
    if let Err(e) = Transmission::parse(data) {
        assert_printable(&e.to_string());
    }
}

/// The other reader takes what ours takes, and sees the same in it.
fn same_json(data: &[u8], read: &Read) {
    let values = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes);
    let members: Result<Vec<_>, serde_json::Error> =
        read.members.iter().map(|(key, value)| Ok((key.clone(), values(value)?))).collect();
    let elements: Result<Vec<Value>, serde_json::Error> = read.elements.iter().map(|e| values(e)).collect();
    let (Ok(members), Ok(elements), None) = (members, elements, &read.wrong) else { return };
    let theirs: Map<String, Value> = serde_json::from_slice(data).expect("JSON all through");
    let listed = theirs.get("recipients").and_then(Value::as_array).cloned();
    assert_eq!(listed.clone().unwrap_or_default(), elements);
    assert_eq!(theirs.len(), members.len() + usize::from(listed.is_some()));
    for (key, value) in members {
        assert_eq!(theirs.get(&key), Some(&value));
    }
}

fn carried_out(read: &Read) {
    let mut head = InjectHead::default();
    for (key, value) in &read.members {
        if let Err(e) = head.take(key, value) {
            assert_printable(&e.to_string());
        }
    }
    let content = match head.compile(&Fixed::default(), &["x-job"]) {
        Ok(content) => content,
        Err(e) => return assert_printable(&e.to_string()),
    };
    let (rows, plan) = match InjectRows::new(&head, &content) {
        Ok(made) => made,
        Err(e) => return assert_printable(&e.to_string()),
    };
    let vmtas = ["v".to_owned()];
    let settings = Settings {
        vmtas: &vmtas,
        duplicates: Duplicates::Keep,
        domain_suffix: "",
        key: [3; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).expect("one VMTA");
    let (mut batch, mut taken) = (Batch::new(), Taken::default());
    for (number, element) in read.elements.iter().enumerate() {
        if let Err(e) = rows.read(number as u64, element, &mut batch) {
            return assert_printable(&e.to_string());
        }
    }
    import.take(&batch, &mut taken).expect("nothing to go on with");
    let _ = import.finish(&mut taken);
    let counts = import.counts();
    assert_eq!(counts.accepted + counts.rejected, read.elements.len() as u64);
    taken.rejected.iter().for_each(|rejected| assert_printable(&rejected.fault.to_string()));
    for chunk in &taken.chunks {
        let mut start = 0;
        for end in chunk.rows.ends.iter().map(|end| *end as usize) {
            let row = row_view(&chunk.rows.bytes[start..end]).expect("a stored row");
            assert!(check(row.address.as_bytes()).is_ok());
            assert_eq!(row.values().count(), content.fields().len());
            start = end;
        }
    }
}
