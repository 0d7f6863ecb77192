//! Proves from a system call trace that a segment's name is durable before anything is written into it that somebody could be
//! told of (R1c, F06): between the rename that gives it its name and the first write lies a sync of the directory that began
//! after the rename had ended. The same for a retired segment's name as a free file: a power cut must not bring the old
//! name back to a new header.
//!
//! Reads what [`crate::strace`] writes.

use std::collections::HashMap;

use crate::trace::{Call, Calls, descriptor, path, unhex};

/// The system calls to be traced.
pub const CALLS: &str = "trace=rename,renameat,renameat2,pwrite64,fsync";

/// How far a segment's name has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Given,
    Syncing { thread: String },
    Durable,
}

#[derive(Debug, Default)]
pub struct NameChecker {
    calls: Calls,
    /// By the file's name.
    names: HashMap<String, Name>,
    /// Segments that were written into, their names durable before.
    pub proven: u64,
    /// Segments that were written into too early.
    pub violations: Vec<String>,
}

impl NameChecker {
    pub fn line(&mut self, line: &str) {
        for call in self.calls.line(line) {
            match call {
                Call::Began { thread, call, arguments } => self.began(&thread, &call, &arguments),
                Call::Ended { thread, call, arguments } => self.ended(&thread, &call, &arguments),
            }
        }
    }

    fn began(&mut self, thread: &str, call: &str, arguments: &str) {
        match call {
            "fsync" => {
                let begun = self.names.values_mut().filter(|name| **name == Name::Given);
                begun.for_each(|name| *name = Name::Syncing { thread: thread.into() });
            }
            "pwrite64" => {
                let file = path(descriptor(arguments));
                match self.names.remove(&file) {
                    Some(Name::Durable) => self.proven += 1,
                    Some(name) => {
                        let file = file.rsplit('/').next().unwrap_or(&file);
                        self.violations.push(format!("{file} is written into while its name is {name:?}"));
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, by: &str, call: &str, arguments: &str) {
        let good = arguments.trim_end().ends_with("= 0");
        if call.starts_with("rename") && good {
            let name = arguments.split('"').nth(3).map(unhex).unwrap_or_default();
            let name = String::from_utf8_lossy(&name).into_owned();
            if name.ends_with(".seg") || name.ends_with(".free") {
                self.names.insert(name, Name::Given);
            }
        } else if call == "fsync" {
            let syncing = Name::Syncing { thread: by.into() };
            let directory = path(descriptor(arguments));
            for (_, name) in self.names.iter_mut().filter(|(_, name)| **name == syncing) {
                let of_them = directory.ends_with("/spool");
                *name = if good && of_them { Name::Durable } else { Name::Given };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|b| format!("\\x{b:02x}")).collect()
    }

    fn check(lines: &[String]) -> (u64, usize) {
        let mut checker = NameChecker::default();
        lines.iter().for_each(|line| checker.line(line));
        (checker.proven, checker.violations.len())
    }

    #[test]
    fn named_then_synced_then_written_is_proven_and_nothing_else() {
        let (free, segment) = (hex("/x/spool/1.free"), hex("/x/spool/2.seg"));
        let named = format!("5 rename(\"{free}\", \"{segment}\") = 0");
        let synced = format!("5 fsync(3<{}>) = 0", hex("/x/spool"));
        let failed = synced.replace("= 0", "= -1 EIO (Input/output error)");
        let elsewhere = format!("5 fsync(4<{}>) = 0", hex("/x/spool/1.new"));
        let written = format!("6 pwrite64(9<{segment}>, \"\\x00\", 4096, 8192) = 4096");
        assert_eq!(check(&[named.clone(), synced.clone(), written.clone()]), (1, 0));
        assert_eq!(check(&[named.clone(), written.clone()]), (0, 1));
        assert_eq!(check(&[synced.clone(), named.clone(), written.clone()]), (0, 1));
        assert_eq!(check(&[named.clone(), failed, written.clone()]), (0, 1));
        assert_eq!(check(&[named, elsewhere, written]), (0, 1));
    }

    /// What a power cut found: segment 211 with the header of 218.
    #[test]
    fn a_retired_segment_gets_its_new_header_once_the_old_name_has_gone_for_good() {
        let (segment, free) = (hex("/x/spool/1.seg"), hex("/x/spool/1.free"));
        let retired = format!("5 rename(\"{segment}\", \"{free}\") = 0");
        let synced = format!("5 fsync(3<{}>) = 0", hex("/x/spool"));
        let headed = format!("5 pwrite64(9<{free}>, \"\\x00\", 12288, 0) = 12288");
        assert_eq!(check(&[retired.clone(), synced, headed.clone()]), (1, 0));
        assert_eq!(check(&[retired, headed]), (0, 1));
    }
}
