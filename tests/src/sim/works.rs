//! What clients submit.

use super::plan::{Domain, Door, Vmta, Work};
use std::fmt::Write as _;
use std::time::Duration;

pub(super) fn works(
    rng: &mut fastrand::Rng,
    domains: &[Domain],
    vmtas: &[Vmta],
    pools: &[(String, Vec<String>)],
    calm: Duration,
    large: bool,
) -> Vec<Work> {
    let names: Vec<&String> =
        vmtas.iter().map(|v| &v.name).chain(pools.iter().map(|(name, _)| name)).collect();
    let mut works = Vec::new();
    for id in 0..rng.usize(4..40) {
        let door = match rng.u8(..4) {
            0 => Door::Campaign,
            1 => Door::Pickup,
            _ => Door::Smtp,
        };
        let most = if door == Door::Campaign { 60 } else { 12 };
        let rows = rng.usize(1..most);
        let recipients = (0..rows).map(|n| {
            let domain = &rng.choice(domains.iter()).expect("there are domains").name;
            format!("r{id}x{n}@{domain}")
        });
        let recipients = recipients.collect();
        let bytes = if large { rng.usize(..400_000) } else { rng.usize(..3000) };
        works.push(Work {
            id,
            at: calm.mul_f32(rng.f32() * rng.f32()),
            door,
            vmta: rng.choice(names.iter()).expect("there are VMTAs").to_string(),
            job: format!("job{}", rng.u8(..4)),
            recipients,
            message: message(rng, id, bytes),
            start_at: (door == Door::Campaign && rng.u8(..3) == 0).then(|| calm.mul_f32(rng.f32())),
        });
    }
    works
}

/// A message with lines that begin with dots, of about so many bytes.
fn message(rng: &mut fastrand::Rng, id: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        "From: News <news@sender.example>\r\nTo: list@sender.example\r\nSubject: work {id}\r\nX-Work: {id}\r\n\r\n"
    );
    let lines =
        [".", "..", ".x", "", "a line of text, and not the last one", "From here on", "250 ok", "QUIT"];
    while text.len() < bytes {
        text.push_str(rng.choice(lines.iter()).expect("not empty"));
        if rng.u8(..8) == 0 {
            let length = rng.usize(..900);
            let words = "!#$%&()*+,-/:;<=>@AZ[]^_`az{|} 0123456789 lorem ipsum = 3D ";
            text.extend(words.chars().cycle().skip(rng.usize(..60)).take(length));
        }
        text.push_str("\r\n");
    }
    let _ = write!(text, "the end of {id}\r\n");
    text.into_bytes()
}
