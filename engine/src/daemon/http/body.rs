//! A request's body in pieces as they come, unpacked where it is gzip, and never more of it than asked for.

use super::reply::Refusal;
use aws_lc_rs::digest::{Context, SHA256};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// How long a client may take to the next piece of a body.
const PATIENCE: Duration = Duration::from_secs(60);
/// Compressed bytes unpacked at once: at most a thousand times as many come of it.
const UNPACKED_AT_ONCE: usize = 1024;
/// Lists of recipients shrink to a twentieth. What shrinks to less than this part is made to do harm.
const MOST_PACKED: u64 = 250;
/// Bytes of a body that `log-data` shows.
const LOGGED: usize = 4096;
/// So much may come of however little.
const UNSUSPICIOUS: u64 = 1 << 20;

pub struct Body {
    incoming: Incoming,
    packed: Option<Packed>,
    received: u64,
    /// Of what has been read so far, where it is wanted.
    print: Option<Context>,
    /// The client, until the beginning of its body is logged (`log-data`).
    logged: Option<Rc<str>>,
}

/// What is done with a body beside reading it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub print: bool,
    /// For the log.
    pub client: Option<Rc<str>>,
}

/// A gzip body that is being unpacked.
struct Packed {
    /// What has come and is not unpacked yet.
    rest: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    unpacked: u64,
}

impl Body {
    /// # Errors
    /// When the body is no JSON or is packed in a way that is not known.
    pub fn new(headers: &HeaderMap, incoming: Incoming, wanted: Wanted) -> Result<Body, Refusal> {
        let unsupported = |what: String| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
        if let Some(kind) = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()) {
            let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
            if !kind[..end].trim_ascii().eq_ignore_ascii_case(b"application/json") {
                return unsupported("Content-Type: application/json is needed".to_owned());
            }
        }
        let packed = match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().trim_ascii()) {
            None => false,
            Some(encoding) if encoding.eq_ignore_ascii_case(b"identity") => false,
            Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => true,
            Some(_) => return unsupported("Content-Encoding: only gzip is known".to_owned()),
        };
        let packed = packed.then(|| Packed {
            rest: Bytes::new(),
            decoder: MultiGzDecoder::new(Vec::new()),
            unpacked: 0,
        });
        let print = wanted.print.then(|| Context::new(&SHA256));
        Ok(Body { incoming, packed, received: 0, print, logged: wanted.client })
    }

    /// The length a client has announced, of a body that is not packed.
    pub fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact().filter(|_| self.packed.is_none())
    }

    /// The fingerprint of what has been read, where it was wanted.
    pub fn print(&self) -> u64 {
        let digest = self.print.clone().map(Context::finish);
        let first = digest.as_ref().and_then(|digest| digest.as_ref().first_chunk());
        first.map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let piece = self.unpacked().await?;
        if let (Some(client), Some(piece)) = (self.logged.take(), &piece) {
            let shown = String::from_utf8_lossy(&piece[..piece.len().min(LOGGED)]);
            tracing::info!(client = &*client, "http: body {shown:?}");
        }
        if let (Some(print), Some(piece)) = (&mut self.print, &piece) {
            print.update(piece);
        }
        Ok(piece)
    }

    async fn unpacked(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(packed) = &mut self.packed
                && let Some(piece) = packed.unpack(self.received)?
            {
                return Ok(Some(piece));
            }
            let Some(piece) = self.receive().await? else {
                return self.packed.as_mut().map_or(Ok(None), Packed::finish);
            };
            match &mut self.packed {
                Some(packed) => packed.rest = piece,
                None => return Ok(Some(piece)),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = match tokio::time::timeout(PATIENCE, self.incoming.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(e))) => return Err(Refusal::bad(format!("the body ended early: {e}"))),
                Ok(None) => return Ok(None),
                Err(_) => {
                    let seconds = PATIENCE.as_secs();
                    let why = format!("nothing of the body came for {seconds} seconds");
                    return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, why));
                }
            };
            // Trailers are of no use here.
            if let Ok(piece) = frame.into_data() {
                self.received += piece.len() as u64;
                return Ok(Some(piece));
            }
        }
    }

    /// Reads to the end, for the sake of the fingerprint.
    pub async fn drain(&mut self) -> Result<(), Refusal> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// All of the body, of which there are at most `limit` bytes.
    pub async fn whole(&mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let too_large = || {
            let why = format!("the body is larger than {limit} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        let announced = self.announced().unwrap_or(0);
        if announced > limit as u64 {
            return Err(too_large());
        }
        let mut whole = Vec::with_capacity(announced as usize);
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

impl Packed {
    /// Some of what has come; `None` when more has to come first. `received` counts the packed bytes.
    fn unpack(&mut self, received: u64) -> Result<Option<Bytes>, Refusal> {
        while !self.rest.is_empty() {
            let some = self.rest.split_to(self.rest.len().min(UNPACKED_AT_ONCE));
            self.decoder.write_all(&some).map_err(|e| damaged(&e))?;
            // What the decoder still holds back comes with a later piece or at the end.
            let piece = std::mem::take(self.decoder.get_mut());
            self.unpacked += piece.len() as u64;
            if self.unpacked > UNSUSPICIOUS.max(received * MOST_PACKED) {
                let why = format!("the body unpacks to more than {MOST_PACKED} times its size");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
        Ok(None)
    }

    /// What the decoder has held back; `None` when it is done.
    fn finish(&mut self) -> Result<Option<Bytes>, Refusal> {
        self.decoder.try_finish().map_err(|e| damaged(&e))?;
        let last = std::mem::take(self.decoder.get_mut());
        Ok(Some(last.into()).filter(|last: &Bytes| !last.is_empty()))
    }
}

fn damaged(error: &std::io::Error) -> Refusal {
    Refusal::bad(format!("the gzip body is damaged or cut off: {error}"))
}
