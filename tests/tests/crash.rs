//! Short crash campaigns. The long ones are the program `crash`.

use std::io;

use tests::crash::{self, Options, Runtime, Verdict, What};

/// Runs one; `None`, with the reason printed, where this machine cannot.
fn campaign(what: What, options: &Options) -> Option<Verdict> {
    match crash::run(what, options) {
        Ok(verdict) => Some(verdict),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {
            println!("skipped: {e}");
            None
        }
        Err(e) => panic!("{what:?}: {e}"),
    }
}

fn is_good(what: What, options: &Options) {
    let Some(verdict) = campaign(what, options) else { return };
    assert!(verdict.is_good(), "{}", verdict.table());
    assert!(verdict.acknowledged > 0, "mail came in: {}", verdict.table());
}

#[test]
fn nothing_acknowledged_is_lost_over_five_kills() {
    is_good(What::Kill, &Options::short(5, 7));
}

#[test]
fn nor_on_the_blocking_back_end() {
    is_good(What::Kill, &Options { runtime: Runtime::Blocking, ..Options::short(3, 8) });
}
