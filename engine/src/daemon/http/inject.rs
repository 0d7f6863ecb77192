//! `POST /api/inject/v1`: one content and its recipients, as KumoMTA takes it. The body is read as it comes: recipients are
//! held until the request is complete or there are too many of them, and from then on stored in groups while the rest is
//! still being received.

use super::body::Body;
use super::inject_run::{Run, Start};
use super::keys::Claim;
use super::reply::{Refusal, json};
use super::{Entrance, Settings};
use crate::ingest::answered::Answered;
use crate::ingest::inject::{InjectError, InjectHead};
use crate::ingest::inject_rows::MAX_RECIPIENT;
use crate::ingest::json_stream::{Event, JsonStream, StreamError};
use crate::io::http_listener::Ends;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Bytes of recipients that are held before the first of them is stored. What is wrong with a request that has no more
/// than these is found before any of it is accepted.
const HELD: usize = 1 << 20;

/// Recipients as they came.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Held {
    fn push(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
    }

    fn is_full(&self) -> bool {
        self.bytes.len() + self.ends.len() * size_of::<usize>() >= HELD
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

impl From<StreamError> for Refusal {
    fn from(e: StreamError) -> Refusal {
        Refusal::bad(e.to_string())
    }
}

impl From<InjectError> for Refusal {
    fn from(e: InjectError) -> Refusal {
        Refusal::bad(e.to_string())
    }
}

/// The body as a stream of events.
struct Reading {
    body: Body,
    stream: JsonStream,
}

impl Reading {
    /// Gets more of the body.
    async fn more(&mut self) -> Result<(), Refusal> {
        match self.body.next().await? {
            Some(piece) => self.stream.push(&piece),
            None => self.stream.finish()?,
        }
        Ok(())
    }

    /// What is behind the object, which is nothing.
    async fn rest(&mut self) -> Result<(), Refusal> {
        while let Some(piece) = self.body.next().await? {
            self.stream.push(&piece);
            self.stream.event()?;
        }
        Ok(self.stream.finish()?)
    }
}

impl Entrance {
    pub(super) async fn inject(
        &self,
        ends: &Ends,
        body: Body,
        settings: &Settings,
        claim: Option<Claim>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let mut print = SipHasher13::new();
        print.write_u64(body.announced().unwrap_or(0));
        let stream = JsonStream::new("recipients", settings.max_body(), MAX_RECIPIENT);
        let mut reading = Reading { body, stream };
        let (mut head, mut held, mut complete) = (InjectHead::default(), Held::default(), false);
        while !complete && !held.is_full() {
            match reading.stream.event()? {
                Some(Event::Member { key, value }) => {
                    print.write(key.as_bytes());
                    print.write(value);
                    head.take(&key, value)?;
                }
                Some(Event::Element(element)) => held.push(element),
                Some(Event::End) => {
                    reading.rest().await?;
                    complete = true;
                }
                None => reading.more().await?,
            }
        }
        let start = Start { ends, settings, head: &head, print: print.finish(), claim };
        let mut run = Run::new(self, start)?;
        held.each().try_for_each(|element| run.row(element))?;
        drop(held);
        if !complete && let Err(refusal) = self.flow(&mut reading, &mut run).await {
            return Err(run.broken(refusal));
        }
        let (accepted, rejected, lists) = run.finish(reading.body.print()).await?;
        Ok(json(StatusCode::OK, answer(accepted, rejected, Some(&lists))))
    }

    /// Stores recipients while more of them come.
    async fn flow(&self, reading: &mut Reading, run: &mut Run<'_>) -> Result<(), Refusal> {
        loop {
            match reading.stream.event()? {
                Some(Event::Element(element)) => run.row(element)?,
                Some(Event::Member { key, .. }) => {
                    let why = format!(
                        "{key}: it comes behind many recipients; `recipients` has to be the last member"
                    );
                    return Err(Refusal::bad(why));
                }
                Some(Event::End) => return reading.rest().await,
                None => {
                    run.store().await?;
                    reading.more().await?;
                }
            }
        }
    }
}

/// The answer to a request that was carried out before.
pub(super) fn again(answered: &Answered) -> String {
    answer(answered.accepted, answered.rejected, answered.lists.as_deref())
}

pub(super) fn answer(accepted: u64, rejected: u64, lists: Option<&str>) -> String {
    let lists = match lists {
        Some("") => r#""failed_recipients":[],"errors":[]"#,
        Some(lists) => lists,
        None => {
            r#""failed_recipients":[],"errors":["the first answer named the failed recipients; they are too many to be remembered"]"#
        }
    };
    format!(r#"{{"success_count":{accepted},"fail_count":{rejected},{lists}}}"#)
}
