//! Files that must not be imported at all, whole or packed, and that nothing else is refused.

use super::super::batch::Batch;
use super::super::compressed::tests::{gzip, text, zst};
use super::super::table::Table;
use super::*;
use proptest::prelude::*;

/// The same answer plain and packed.
fn check(format: Format, text: &[u8]) -> Result<u64, String> {
    let check = |bytes: &[u8], compression| {
        check_structure(bytes, compression, format, u64::MAX).map_err(|e| e.to_string())
    };
    let plain = check(text, Compression::Plain);
    assert_eq!(check(&gzip(text), Compression::Gzip), plain);
    assert_eq!(check(&zst(text), Compression::Zstd), plain);
    plain
}

#[test]
fn a_quote_that_is_never_closed_is_named_with_its_line() {
    for end in ["\n", "\r\n"] {
        let head = format!("email,name{end}a@x.example,\"A{end}A\"{end}b@x.example,");
        let short = format!("{head}\"B{end}c@x.example,C{end}");
        let said = check(Format::Csv, short.as_bytes()).unwrap_err();
        assert!(said.starts_with("line 4: the quote that opens on this line is never closed"), "{said}");
        let long = short + &format!("c@x.example,C{end}").repeat(3 * MAX_ROW / 14);
        let said = check(Format::Csv, long.as_bytes()).unwrap_err();
        assert!(
            said.starts_with("line 4: the quote that opens on this line is not closed within 1048576 bytes"),
            "{said}"
        );
    }
}

#[test]
fn a_row_that_is_too_long_is_named_with_its_line() {
    let long = "x".repeat(MAX_ROW);
    let csv = format!("email,name\na@x.example,A\nb@x.example,{long}\nc@x.example,C\n");
    let said = check(Format::Csv, csv.as_bytes()).unwrap_err();
    assert!(said.starts_with("line 3: the row that starts here is longer than 1048576 bytes"), "{said}");
    let commas = format!("email\n{}", ",".repeat(2 * MAX_ROW));
    assert!(check(Format::Csv, commas.as_bytes()).unwrap_err().starts_with("line 2: the row"));
    let jsonl = format!("{{\"email\":\"a@x.example\"}}\n\n{{\"email\":\"{long}\"}}\n");
    let said = check(Format::Jsonl, jsonl.as_bytes()).unwrap_err();
    assert!(said.starts_with("line 3: the row that starts here is longer"), "{said}");
    let fits = format!("email\n{}\n", "x".repeat(MAX_ROW - 1));
    assert_eq!(check(Format::Csv, fits.as_bytes()), Ok(fits.len() as u64));
}

#[test]
fn quotes_that_open_nothing_are_left_alone() {
    for csv in [
        "\u{feff}\"email\",\"na\nme\"\n",
        "email,name\na@x.example,5\" tall\nb@x.example,\"5\"\" tall\"\nc@x.example, \"C\n",
        "email,name\ra@x.example,\"\"\rb@x.example,\"B\"x\"\r",
        "",
    ] {
        assert!(check(Format::Csv, csv.as_bytes()).is_ok(), "{csv:?}");
    }
    assert!(check(Format::Jsonl, b"{\"email\":\"a@x.example}\n").is_ok(), "a bad line costs only itself");
}

#[test]
fn a_cut_or_damaged_archive_is_found() {
    let text = text();
    for (packed, compression) in [(gzip(&text), Compression::Gzip), (zst(&text), Compression::Zstd)] {
        let check = |bytes: &[u8], limit| check_structure(bytes, compression, Format::Csv, limit);
        for cut in [1, 3, packed.len() / 2, packed.len() - 1] {
            let error = check(&packed[..cut], u64::MAX);
            assert!(
                matches!(error, Err(TableError::Damaged { .. })),
                "{compression:?} cut at {cut}: {error:?}"
            );
        }
        let mut noise = packed.clone();
        noise[0] ^= 0xff;
        assert!(check(&noise, u64::MAX).is_err());
        assert!(matches!(check(&packed, 1000), Err(TableError::Endless { limit: 1000 })));
    }
    let mut flipped = gzip(&text);
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    assert!(check_structure(flipped.as_slice(), Compression::Gzip, Format::Csv, u64::MAX).is_err());
}

/// Whether a row put behind `csv` is read as a row of its own.
fn a_row_behind_it_is_read(csv: &[u8]) -> bool {
    let csv = [b"h\n", csv, b"\nbehind"].concat();
    let mut table = Table::open(Format::Csv, csv.as_slice()).unwrap();
    let (mut batch, mut last) = (Batch::new(), Vec::new());
    while table.read(&mut batch).unwrap() {
        last = batch.rows().last().unwrap().cells().map(<[u8]>::to_vec).collect();
    }
    last == [b"behind"]
}

proptest! {
    #[test]
    fn the_reader_of_rows_sees_the_same_quotes(csv in "[a,\"\n\r ]{0,60}", size in 1..8usize) {
        let mut structure = Structure::new(Format::Csv);
        for piece in csv.as_bytes().chunks(size) {
            structure.take(piece).unwrap();
        }
        prop_assert_eq!(structure.end().is_ok(), a_row_behind_it_is_read(csv.as_bytes()));
    }
}
