//! Idempotency keys (F27): a request that comes again with its key gets the answer it had, and nothing is sent twice, over a
//! restart too. What is remembered stands in the spool as identities like those of pickup files: that of an answer in
//! the same group as the mail.

use super::reply::Refusal;
use crate::ingest::answered::{Answered, Begun};
use crate::ingest::progress::Progress;
use crate::io::storage::{Recovered, Storage};
use crate::spool::ledger::Import;
use crate::spool::record::{Control, Location};
use aws_lc_rs::digest::{Context, SHA256};
use hyper::{HeaderMap, StatusCode};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seconds for which a key is remembered.
pub const LIFETIME: u64 = 24 * 3600;
/// Keys that are remembered; with more, the oldest are forgotten earlier.
pub const MOST: usize = 250_000;
/// Longest key.
const MAX_KEY: usize = 255;

/// What the spool holds of a request that was broken off.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub begun: Begun,
    pub submission: Location,
    pub progress: Progress,
}

#[derive(Clone, Debug)]
enum Known {
    Underway,
    Broken(Stored),
    Answered(Answered),
}

#[derive(Default)]
struct State {
    known: HashMap<u128, Known>,
    /// Keys by the time at which they were remembered, the oldest first.
    order: VecDeque<(u64, u128)>,
}

/// See the module's text.
pub struct Keys {
    storage: Storage,
    state: Mutex<State>,
}

/// A key, held while its request is carried out.
pub struct Claim {
    keys: Arc<Keys>,
    pub key: u128,
    pub stored: Option<Stored>,
}

/// What comes of a key.
pub enum Claimed {
    /// To be carried out, from the beginning or on from where it was broken off.
    New(Claim),
    Before(Answered),
}

/// The key of a request, made one with who sends it and where: others may use the same.
pub fn of_request(headers: &HeaderMap, api_key: &str, path: &str) -> Result<Option<u128>, Refusal> {
    let Some(given) = headers.get("idempotency-key") else { return Ok(None) };
    let given = given.as_bytes();
    if given.is_empty() || given.len() > MAX_KEY || !given.iter().all(|b| matches!(b, b' '..=b'~')) {
        let why = format!("Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters are needed");
        return Err(Refusal::bad(why));
    }
    let mut digest = Context::new(&SHA256);
    for part in [api_key.as_bytes(), path.as_bytes(), given] {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&digest.finish().as_ref()[..16]);
    Ok(Some(u128::from_le_bytes(key)))
}

impl Keys {
    /// What a start finds in the spool. Requests that had no key cannot be gone on with: what was accepted of them is
    /// delivered.
    pub fn new(storage: Storage, recovered: &Recovered, now: u64) -> Keys {
        let mut all = Vec::new();
        for answered in recovered.pickup_done().filter_map(Answered::parse) {
            all.push((answered.at, answered.key, Known::Answered(answered)));
        }
        for (identity, Import { submission, next_row, state, .. }) in recovered.imports() {
            let Some(begun) = Begun::parse(identity) else { continue };
            match (begun.key, Progress::from_state(*next_row, state)) {
                (Some(key), Ok(progress)) => {
                    let stored = Stored { begun, submission: *submission, progress };
                    all.push((begun.at, key, Known::Broken(stored)));
                }
                _ => end(&storage, begun),
            }
        }
        all.sort_by_key(|(at, key, _)| (*at, *key));
        let order = all.iter().map(|(at, key, _)| (*at, *key)).collect();
        let known = all.into_iter().map(|(_, key, known)| (key, known)).collect();
        let keys = Keys { storage, state: Mutex::new(State { known, order }) };
        keys.tidy(now);
        keys
    }

    /// Forgets what is too old.
    pub fn tidy(&self, now: u64) {
        self.forget(&mut self.state(), now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single step: what a panic elsewhere leaves is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a key for a request.
    ///
    /// # Errors
    /// While another request with it is being carried out.
    pub fn claim(self: &Arc<Keys>, key: u128, now: u64) -> Result<Claimed, Refusal> {
        let mut state = self.state();
        self.forget(&mut state, now);
        let stored = match state.known.entry(key) {
            Entry::Vacant(new) => {
                new.insert(Known::Underway);
                None
            }
            Entry::Occupied(mut known) => match known.get() {
                Known::Answered(answered) => return Ok(Claimed::Before(answered.clone())),
                Known::Broken(stored) => {
                    let stored = *stored;
                    known.insert(Known::Underway);
                    Some(stored)
                }
                Known::Underway => {
                    let why = "a request with this Idempotency-Key is being carried out; ask again later";
                    return Err(Refusal::new(StatusCode::CONFLICT, why));
                }
            },
        };
        Ok(Claimed::New(Claim { keys: self.clone(), key, stored }))
    }

    /// Forgets what is too old or too much. Requests that are being carried out are remembered anew when they end.
    fn forget(&self, state: &mut State, now: u64) {
        while let Some(&(at, key)) = state.order.front()
            && (at + LIFETIME <= now || state.order.len() > MOST)
        {
            state.order.pop_front();
            let Entry::Occupied(known) = state.known.entry(key) else { continue };
            match known.get() {
                Known::Answered(answered) if answered.at == at => {
                    self.storage.note(Control::PickupForgotten { identity: answered.to_string() });
                    known.remove();
                }
                Known::Broken(stored) if stored.begun.at == at => {
                    end(&self.storage, stored.begun);
                    known.remove();
                }
                _ => {}
            }
        }
    }
}

/// Nobody will go on with this request.
pub fn end(storage: &Storage, begun: Begun) {
    let identity = begun.to_string();
    storage.note(Control::PickupDone { identity: identity.clone() });
    storage.note(Control::PickupForgotten { identity });
}

impl Claim {
    /// Some of the request is on stable storage.
    pub fn stored(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }

    /// The group with the answer came too late: nothing of it is delivered, and the answer must not be given again.
    pub fn taken_back(&self, answered: &Answered) {
        self.keys.storage.note(Control::PickupForgotten { identity: answered.to_string() });
    }

    /// All of it is, and so is the answer.
    pub fn answered(self, answered: Answered) {
        let mut state = self.keys.state();
        state.order.push_back((answered.at, self.key));
        state.known.insert(self.key, Known::Answered(answered));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.keys.state();
        let Entry::Occupied(mut known) = state.known.entry(self.key) else { return };
        match (known.get(), self.stored) {
            (Known::Underway, Some(stored)) => {
                known.insert(Known::Broken(stored));
                state.order.push_back((stored.begun.at, self.key));
            }
            (Known::Underway, None) => drop(known.remove()),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "keys_test.rs"]
mod test;
