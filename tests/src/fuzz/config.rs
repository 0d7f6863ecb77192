//! Configuration texts: refused with file and line, or read into settings that a comment does not change and that lenient
//! reading agrees with.

use vmta_config::{Diagnostic, Loaded, MemoryFiles, load};

const FILE: &str = "/etc/config";
const INCLUDED: &str = "/etc/more";

fn read(text: &str, included: &str, lenient: bool) -> Loaded {
    let files = MemoryFiles::new([(FILE, text), (INCLUDED, included)]);
    load(FILE, &files, lenient)
}

/// What is in effect for a few queues and clients.
fn in_effect(loaded: &Loaded) -> Option<Vec<String>> {
    let config = loaded.config.as_ref()?;
    let mut told = vec![format!("{:?}", config.global())];
    for (domain, vmta) in [("a.example", "v"), ("[10.0.0.1]", "{default}"), ("b.a.example", "pool")] {
        told.push(format!("{:?}", config.queue(domain, vmta)));
        told.push(format!("{:?}", config.resolve_vmta(vmta)));
        assert!(!config.explain_queue(domain, vmta).is_empty());
    }
    told.push(format!("{:?}", config.source_for([127, 0, 0, 1].into(), None, None)));
    told.push(format!("{:?}", config.source_for([192, 0, 2, 1].into(), Some("x"), Some("x"))));
    Some(told)
}

pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (main, included) = text.split_once('\u{fffd}').unwrap_or((&text, ""));
    let strict = read(main, included, false);
    let lenient = read(main, included, true);
    for loaded in [&strict, &lenient] {
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.iter().any(Diagnostic::is_error));
        loaded.diagnostics.iter().for_each(|finding| told(finding, main, included));
    }
    let settings = in_effect(&strict);
    if settings.is_some() {
        assert_eq!(settings, in_effect(&lenient), "lenient");
        assert_eq!(settings, in_effect(&read(main, included, false)), "twice");
        let commented = format!("{main}\n\n# the end\n");
        assert_eq!(settings, in_effect(&read(&commented, included, false)), "with a comment");
    }
}

/// A finding names a line that is there and shows nothing that a terminal acts on.
fn told(finding: &Diagnostic, main: &str, included: &str) {
    let shown = finding.to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(!finding.message.is_empty() && finding.column >= 1 && finding.length >= 1);
    if let Some(origin) = &finding.origin {
        let text = if &*origin.file == FILE { main } else { included };
        let lines = text.split('\n').count();
        assert!((1..=lines).contains(&(origin.line as usize)), "{origin} of {lines}: {shown}");
    }
}
