//! Accepted rows gathered into the records that hold them, each row with its VMTA and its domain.

use super::domains::Domains;
use super::progress::Progress;
use crate::spool::record::RowsDraft;
use std::sync::Arc;

/// Rows in a chunk at most.
pub const CHUNK_ROWS: usize = 1024;
/// Bytes of rows in a chunk at most, unless a single row is longer.
pub const CHUNK_BYTES: usize = 96 * 1024;
/// VMTAs that a pool may have: a row names its VMTA in one byte.
pub const MAX_VMTAS: usize = 255;

/// Rows that become durable together, and where each of them goes.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub rows: RowsDraft,
    /// Number of each row's domain.
    pub domains: Vec<u32>,
    /// Domains that no earlier chunk has used; the first of them has the number `first_new_domain`.
    pub new_domains: Vec<Arc<str>>,
    pub first_new_domain: u32,
    /// How far the import is when these rows are stored.
    pub progress: Progress,
}

impl Chunk {
    /// Makes room for as much as `other` holds: chunks are alike, so that appending hardly ever allocates.
    fn reserve_like(&mut self, other: &Chunk) {
        self.rows.bytes.reserve(other.rows.bytes.len());
        self.rows.ends.reserve(other.rows.ends.len());
        self.rows.vmta.reserve(other.rows.vmta.len());
        self.domains.reserve(other.domains.len());
    }
}

/// The list of VMTAs cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    #[error("the pool has no VMTAs")]
    None,
    #[error("the pool has {0} VMTAs; at most {MAX_VMTAS} are allowed")]
    TooMany(usize),
}

/// Gathers rows into chunks and rotates the VMTAs of a pool evenly for each domain.
pub struct Chunks {
    members: Vec<String>,
    domains: Domains,
    /// The member that the next row of each domain gets.
    turns: Vec<u8>,
    told: u32,
    open: Chunk,
}

impl Chunks {
    /// # Errors
    /// When there is no VMTA, or more than a row can name.
    pub fn new(members: &[String], domains: Domains, first_row: u64) -> Result<Chunks, MembersError> {
        match members.len() {
            0 => return Err(MembersError::None),
            1..=MAX_VMTAS => {}
            many => return Err(MembersError::TooMany(many)),
        }
        let (members, turns) = (members.to_vec(), Vec::new());
        let mut chunks = Chunks { members, domains, turns, told: 0, open: Chunk::default() };
        chunks.open_at(first_row);
        Ok(chunks)
    }

    /// The number of a domain and the VMTA that its next row gets. Each domain starts at another member, so that many
    /// domains with one recipient each use the whole pool as well.
    pub fn assign(&mut self, domain: &str) -> (u32, u8) {
        let number = self.domains.intern(domain);
        let members = self.members.len();
        if self.turns.len() == number as usize {
            self.turns.push((number as usize % members) as u8);
        }
        let turn = &mut self.turns[number as usize];
        let vmta = *turn;
        *turn = if vmta as usize + 1 == members { 0 } else { vmta + 1 };
        (number, vmta)
    }

    /// Whether `row` has to wait for the next chunk.
    pub fn is_full_for(&self, row: &[u8]) -> bool {
        let rows = self.open.domains.len();
        rows > 0 && (rows >= CHUNK_ROWS || self.open.rows.bytes.len() + row.len() > CHUNK_BYTES)
    }

    /// Appends a row in its stored form.
    pub fn push(&mut self, row: &[u8], domain: u32, vmta: u8) {
        self.open.rows.bytes.extend_from_slice(row);
        self.open.rows.ends.push(self.open.rows.bytes.len() as u32);
        self.open.rows.vmta.push(vmta);
        self.open.domains.push(domain);
    }

    /// Ends the open chunk. None when it has no rows.
    pub fn take(&mut self, progress: Progress) -> Option<Chunk> {
        if self.open.domains.is_empty() {
            return None;
        }
        let mut chunk = std::mem::take(&mut self.open);
        chunk.first_new_domain = self.told;
        chunk.new_domains = self.domains.since(self.told).to_vec();
        chunk.progress = progress;
        self.told = self.domains.len() as u32;
        self.open_at(chunk.rows.first_row + chunk.domains.len() as u64);
        self.open.reserve_like(&chunk);
        Some(chunk)
    }

    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    fn open_at(&mut self, first_row: u64) {
        self.open.rows.first_row = first_row;
        self.open.rows.vmtas.clone_from(&self.members);
    }
}
