//! The recipients of an injection that were not accepted, as its answer lists them.

use crate::ingest::fault::Fault;

/// Bytes of the lists; what is over is counted.
const MOST: usize = 4 << 20;

#[derive(Debug, Default)]
pub struct Failures {
    recipients: Vec<String>,
    errors: Vec<String>,
    bytes: usize,
    more: u64,
}

impl Failures {
    pub fn note(&mut self, recipient: &str, fault: &Fault) {
        if self.bytes > MOST {
            self.more += 1;
            return;
        }
        let error = format!("{recipient}: {fault}");
        self.bytes += 2 * recipient.len() + error.len();
        self.recipients.push(recipient.to_owned());
        self.errors.push(error);
    }

    /// Two members of JSON; nothing when nobody failed.
    pub fn lists(&self) -> String {
        if self.recipients.is_empty() {
            return String::new();
        }
        let mut errors = self.errors.clone();
        if self.more > 0 {
            errors.push(format!("and {} more, which are not listed", self.more));
        }
        let (recipients, errors) =
            (serde_json::Value::from(self.recipients.clone()), serde_json::Value::from(errors));
        format!(r#""failed_recipients":{recipients},"errors":{errors}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_do_not_grow_for_ever() {
        let mut failures = Failures::default();
        assert_eq!(failures.lists(), "");
        failures.note("a\"b", &Fault::Recipient("x".to_owned()));
        assert_eq!(failures.lists(), r#""failed_recipients":["a\"b"],"errors":["a\"b: x"]"#);
        let long = "x".repeat(1 << 20);
        (0..9).for_each(|_| failures.note(&long, &Fault::JsonUtf8 { at: 1 }));
        assert!(failures.lists().ends_with(r#"more, which are not listed"]"#));
        assert!(failures.lists().len() < 3 * MOST);
    }
}
