//! What arbitrary bytes must never do to the code that reads them: one property a target, each a function of bytes that
//! panics when the property does not hold. The fuzzer (`tests/fuzz`) and the ordinary test (`tests/tests/fuzz.rs`) run the
//! same functions.

mod accounting;
mod address;
mod config;
mod dots;
mod inject;
pub mod input;
mod lines;
mod merge;
mod mutate;
mod pickup;
mod records;
mod replies;
mod reports;
mod routes;
mod segments;
mod server;
mod tables;
mod templates;

pub use mutate::Mutator;

/// A property and the name of its corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// Panics when the property does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Inputs that the ordinary test makes from the corpus: fewer where one takes longer.
    pub smoke: u32,
}

const fn target(name: &'static str, check: fn(&[u8]), smoke: u32) -> Target {
    Target { name, check, smoke }
}

pub const TARGETS: [Target; 18] = [
    target("smtp_reply", replies::reply, 2000),
    target("smtp_server_session", server::session, 1000),
    target("ehlo_keywords", replies::keywords, 2000),
    target("address", address::address, 2000),
    target("dot_stuff", dots::stuffing, 400),
    target("line_normalise", lines::line_ends, 2000),
    target("record_codec", records::records, 2000),
    target("segment_recovery", segments::recovery, 100),
    target("pickup_file", pickup::file, 1000),
    target("recipients_csv", tables::csv, 300),
    target("recipients_jsonl", tables::jsonl, 300),
    target("template_merge", templates::merge, 300),
    target("config", config::configuration, 200),
    target("mx_policy", routes::policy, 1000),
    target("csv_line", accounting::line, 1000),
    target("json_inject", inject::request, 300),
    target("dsn", reports::report, 1000),
    target("merge", merge::merge, 1000),
];

/// Checks `data` against the target called `name`: what the programs of the fuzzer call.
///
/// # Panics
/// When the property does not hold, or when there is no such target.
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of the list");
    (target.check)(data);
}
