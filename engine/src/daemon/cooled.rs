//! Cold virtual MTAs instead of warm ones in what is about to be stored, for every way in.

use super::intake::{Intake, Ready};
use super::profiles::Configured;
use crate::base::Wall;
use crate::ingest::chunk::{Chunk, MAX_VMTAS};
use crate::spool::record::{Draft, Group, RowsDraft};
use std::sync::Arc;

impl Intake {
    /// Of messages, ready for the spool. Those who bounce at once stay where they are.
    pub(super) fn cool(&self, group: &mut Group, readies: &mut [Ready], now: Wall) {
        let configured = self.configured.load();
        if !configured.has_cold() {
            return;
        }
        let mut readies: Vec<&mut Ready> =
            readies.iter_mut().filter(|ready| ready.submission.refused_field().is_none()).collect();
        let rows = readies.iter().flat_map(|ready| ready.routes.iter().flatten());
        let given = self.warming.give(&configured, now, rows.map(|(domain, vmta)| (domain, vmta)));
        let mut given = given.into_iter().peekable();
        let mut row = 0;
        for ready in &mut readies {
            for (number, routes) in ready.routes.iter_mut().enumerate() {
                let draft = &mut group.drafts[ready.header_at + 1 + number];
                let Draft::Rows { rows, .. } = draft else { continue };
                for (index, (_, vmta)) in routes.iter_mut().enumerate() {
                    if let Some((_, cold)) = given.next_if(|(at, _)| *at == row)
                        && let Some(number) = numbered(&mut rows.vmtas, &cold)
                    {
                        rows.vmta[index] = number;
                        *vmta = cold;
                    }
                    row += 1;
                }
            }
        }
    }

    /// Of rows in chunks; `vmtas` is what their numbers mean, and gets those that are new.
    pub(super) fn cool_chunks<'d>(
        &self,
        chunks: &mut [Chunk],
        vmtas: &mut Vec<Arc<str>>,
        domain_of: impl Fn(u32) -> Option<&'d Arc<str>>,
        now: Wall,
    ) {
        let configured: &Configured = &self.configured.load();
        if !configured.has_cold() {
            return;
        }
        let rows = chunks.iter().flat_map(|chunk| chunk.domains.iter().zip(&chunk.rows.vmta));
        let nameless: Arc<str> = "".into();
        let rows =
            rows.map(|(domain, vmta)| (domain_of(*domain).unwrap_or(&nameless), &vmtas[usize::from(*vmta)]));
        let mut given = self.warming.give(configured, now, rows).into_iter().peekable();
        let mut names: Vec<String> = vmtas.iter().map(|name| name.to_string()).collect();
        let mut row = 0;
        for Chunk { rows, .. } in chunks.iter_mut() {
            for vmta in &mut rows.vmta {
                if let Some((_, cold)) = given.next_if(|(at, _)| *at == row)
                    && let Some(number) = numbered(&mut names, &cold)
                {
                    *vmta = number;
                }
                row += 1;
            }
        }
        vmtas.extend(names[vmtas.len()..].iter().map(|name| Arc::from(name.as_str())));
        chunks.iter_mut().for_each(|Chunk { rows: RowsDraft { vmtas, .. }, .. }| vmtas.clone_from(&names));
    }
}

/// The number of a name, which is added where it has none; `None` where no further one can be named.
fn numbered(names: &mut Vec<String>, name: &str) -> Option<u8> {
    let at = names.iter().position(|known| known == name).unwrap_or(names.len());
    if at == names.len() {
        if at == MAX_VMTAS {
            return None;
        }
        names.push(name.to_owned());
    }
    u8::try_from(at).ok()
}
