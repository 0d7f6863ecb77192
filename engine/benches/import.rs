//! How fast a CSV becomes rows as the spool takes them (parsed, checked, without duplicates), on one core and without the
//! disk, how much longer the look through the file before it takes, and how many bytes are stored for it.
//!
//! Goals (performance, part A): at least 1,000,000 rows a second on two cores, committing included, so 500,000 a second
//! here at the very least; at most 1.3 bytes stored for a byte of rows.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use posthaste::ingest::{
    Batch, Compression, Duplicates, Format, Import, Plan, Settings, Table, Taken, UsedField, check_structure,
};
use std::fmt::Write;
use std::time::Duration;

const ROWS: u64 = 500_000;

/// Six columns, about eighty bytes a row.
fn table() -> String {
    let mut text = String::from("email,first,last,city,date,link\n");
    for n in 0..ROWS {
        let domain = ["mail.example", "post.example", "inbox.example", "web.example"][(n % 4) as usize];
        let (first, last) = (n % 9973, n % 99_991);
        writeln!(
            text,
            "user{n:07}@{domain},Jim{first:04},Miller{last:05},Oslo,2026-11-23,https://s.example/{n:09}"
        )
        .expect("a string takes everything");
    }
    text
}

/// Imports the table; gives the bytes that go to the spool.
fn import(csv: &[u8]) -> usize {
    let fields = ["first", "last", "city", "date", "link"]
        .map(|name| UsedField { name: name.to_owned(), in_header: name == "first" });
    let vmtas = ["mta0", "mta1", "mta2"].map(str::to_owned);
    let mut table = Table::open(Format::Csv, csv).expect("a table");
    let plan = Plan::new(table.columns(), "email", &fields).expect("a plan");
    let settings = Settings {
        vmtas: &vmtas,
        duplicates: Duplicates::Drop,
        domain_suffix: "",
        key: [3; 16],
        resume: None,
    };
    let mut import = Import::new(plan, &settings).expect("an import");
    let (mut batch, mut taken, mut stored) = (Batch::new(), Taken::default(), 0);
    while table.read(&mut batch).expect("rows") {
        import.take(&batch, &mut taken).expect("taken");
        // A row has its bytes, and one for its VMTA and four for its end beside them.
        stored += taken.chunks.drain(..).map(|c| c.rows.bytes.len() + 5 * c.domains.len()).sum::<usize>();
    }
    assert_eq!(import.finish(&mut taken).expect("finished").accepted, ROWS);
    stored + taken.chunks.drain(..).map(|c| c.rows.bytes.len() + 5 * c.domains.len()).sum::<usize>()
}

fn csv(c: &mut Criterion) {
    let csv = table();
    let stored = import(csv.as_bytes()) as f64 / csv.len() as f64;
    println!(
        "import: {} bytes a row, {stored:.3} bytes stored for each (goal: 1.3)",
        csv.len() as u64 / ROWS
    );
    let mut group = c.benchmark_group("import");
    group.throughput(Throughput::Elements(ROWS)).sampling_mode(SamplingMode::Flat);
    group.bench_function("csv rows", |b| b.iter(|| import(csv.as_bytes())));
    group.bench_function("csv structure", |b| {
        b.iter(|| check_structure(csv.as_bytes(), Compression::Plain, Format::Csv, u64::MAX));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(6));
    targets = csv
}
criterion_main!(benches);
