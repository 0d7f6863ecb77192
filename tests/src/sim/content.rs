//! What each recipient must find in the message, worked out from the plan and not from the engine.

use super::plan::{Door, Work};
use memchr::memmem;

/// Headers that the engine declares to add.
const ADDED: [&str; 3] = ["received", "date", "message-id"];

/// The template of a campaign.
pub fn template(work: usize) -> String {
    format!(
        "Dear {{{{ name }}}},\nyour code is {{{{ code }}}}.\n.a line with a dot\nFrom here on {work}.\nSent to {{{{ email }}}}.\n"
    )
}

/// The values of a campaign's row: name and code.
pub fn values(work: usize, row: usize) -> (String, String) {
    (format!("Name {row}"), format!("{:x}", (work * 7919 + row * 104_729) % 0xffff_ffff))
}

/// The recipients file of a campaign.
pub fn rows(work: &Work) -> String {
    let mut text = "email,name,code\n".to_owned();
    for (row, address) in work.recipients.iter().enumerate() {
        let (name, code) = values(work.id, row);
        text.push_str(&format!("{address},{name},{code}\n"));
    }
    text
}

/// Checks a message that a receiver took for row `row` of `work`.
pub fn check(work: &Work, row: usize, message: &[u8]) -> Result<(), String> {
    let Some(end) = memmem::find(message, b"\r\n\r\n") else { return Err("no end of its header".into()) };
    let (header, body) = (&message[..end + 2], &message[end + 4..]);
    let header = String::from_utf8(header.to_vec()).map_err(|_| "a header that is not text")?;
    match work.door {
        Door::Campaign => {
            let (name, code) = values(work.id, row);
            let wanted = template(work.id)
                .replace("{{ name }}", &name)
                .replace("{{ code }}", &code)
                .replace("{{ email }}", &work.recipients[row])
                .replace('\n', "\r\n");
            if body != wanted.as_bytes() {
                return Err(format!("its body is {:?}", String::from_utf8_lossy(body)));
            }
            let subject = format!("Subject: Hello {name}\r\n");
            if header.contains(&subject) { Ok(()) } else { Err(format!("its header is {header:?}")) }
        }
        Door::Smtp | Door::Pickup => {
            let submitted = memmem::find(&work.message, b"\r\n\r\n").unwrap_or(0);
            let wanted = String::from_utf8_lossy(&work.message[..submitted + 2]);
            if body != &work.message[submitted + 4..] {
                return Err(format!("its body has {} bytes and was altered", body.len()));
            }
            if kept(&header) == wanted { Ok(()) } else { Err(format!("its header is {header:?}")) }
        }
    }
}

/// The header without what the engine may add.
fn kept(header: &str) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in header.split_inclusive("\r\n") {
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            keep = !ADDED.contains(&name.as_str());
        }
        if keep {
            kept.push_str(line);
        }
    }
    kept
}
