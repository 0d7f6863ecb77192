//! HTTP submission: who is let in, which path leads where, and what is answered. A request is answered with 200 only
//! when its mail is on stable storage.

mod access;
mod body;
mod failures;
mod inject;
mod inject_run;
mod inject_vmtas;
mod keys;
pub mod listeners;
mod openapi;
mod reply;
mod transmissions;

use super::intake::Intake;
use super::profiles::Configured;
use crate::ingest::answered::Answered;
use crate::io::http_listener::{Answer, Ends};
use crate::io::reactor::Reactor;
use body::{Body, Wanted};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use keys::{Claimed, Keys};
use reply::Refusal;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use vmta_config::SourceSettings;

const TRANSMISSIONS: &str = "/api/v1/transmissions";
const INJECT: &str = "/api/inject/v1";
const OPENAPI: &str = "/api/openapi.json";
/// The source whose settings apply to all that comes in over HTTP.
const SOURCE: &str = "{transmissions-api}";
/// Bytes of a message where the source sets no limit.
const MAX_MESSAGE: usize = 25_000_000;

/// One configuration and what it says of HTTP submission.
struct Settings {
    configured: Arc<Configured>,
    source: SourceSettings,
}

impl Settings {
    fn max_message(&self) -> usize {
        self.source.max_message_size.map_or(MAX_MESSAGE, |n| usize::try_from(n).unwrap_or(MAX_MESSAGE))
    }

    /// What stands behind recipient domains of a single label; empty for nothing.
    fn domain_suffix(&self) -> &str {
        if self.source.auto_qualify_domain { self.configured.domain_suffix() } else { "" }
    }

    /// Bytes of a body that holds one message: written as JSON it grows.
    fn max_body(&self) -> usize {
        self.max_message().saturating_mul(2).saturating_add(1 << 20)
    }
}

/// The way from the HTTP clients on one reactor's thread to the spool.
struct Entrance {
    intake: Arc<Intake>,
    reactor: Rc<Reactor>,
    keys: Arc<Keys>,
    settings: RefCell<Option<Rc<Settings>>>,
}

impl Answer for Entrance {
    async fn answer(self: Rc<Self>, ends: Ends, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let settings = self.settings();
        let logged = settings.configured.config.api().log_requests;
        let line = logged.then(|| format!("{} {}", request.method(), request.uri().path()));
        let response = match self.carry_out(&ends, request, &settings).await {
            Ok(response) => response,
            Err(refusal) => refusal.response(),
        };
        if let Some(line) = line {
            tracing::info!(client = &*ends.client, status = response.status().as_u16(), "http: {line}");
        }
        response
    }
}

impl Entrance {
    /// The settings of the configuration that is in effect, read once.
    fn settings(&self) -> Rc<Settings> {
        let configured = self.intake.configured.load();
        let mut known = self.settings.borrow_mut();
        match &*known {
            Some(settings) if Arc::ptr_eq(&settings.configured, &configured) => settings.clone(),
            _ => {
                let source = configured.config.source_named(SOURCE);
                let settings = Rc::new(Settings { configured: configured.clone(), source });
                known.insert(settings).clone()
            }
        }
    }

    async fn carry_out(
        &self,
        ends: &Ends,
        request: Request<Incoming>,
        settings: &Settings,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let (head, incoming) = request.into_parts();
        let path = head.uri.path();
        match (path, &head.method) {
            (TRANSMISSIONS | INJECT, &Method::POST) => {}
            (TRANSMISSIONS | INJECT, _) => return Err(Refusal::method("POST")),
            (OPENAPI, &Method::GET) => return Ok(reply::json(StatusCode::OK, openapi::DOCUMENT)),
            (OPENAPI, _) => return Err(Refusal::method("GET")),
            _ => {
                let why = format!("there is no {path}; there are {TRANSMISSIONS}, {INJECT} and {OPENAPI}");
                return Err(Refusal::new(StatusCode::NOT_FOUND, why));
            }
        }
        let api_key = access::key(&head.headers, &settings.configured.config.api().api_keys)?;
        if self.intake.is_stopping() {
            return Err(Refusal::stopping());
        }
        self.intake.has_room().map_err(|e| Refusal::from(&e))?;
        self.keys.tidy(self.seconds());
        let key = keys::of_request(&head.headers, api_key, path)?;
        let client = settings.configured.config.api().log_data.then(|| ends.client.clone());
        let mut body = Body::new(&head.headers, incoming, Wanted { print: key.is_some(), client })?;
        let claim = match key {
            None => None,
            Some(key) => match self.keys.claim(key, self.seconds())? {
                Claimed::New(claim) => Some(claim),
                Claimed::Before(answered) => {
                    body.drain().await?;
                    return again(path, &answered, body.print());
                }
            },
        };
        match path {
            TRANSMISSIONS => self.transmission(ends, body, settings, claim).await,
            _ => self.inject(ends, body, settings, claim).await,
        }
    }

    /// The time of day in Unix seconds.
    fn seconds(&self) -> u64 {
        self.reactor.clock().now().wall.as_secs().cast_unsigned()
    }
}

/// The answer that the same request had before.
fn again(path: &str, answered: &Answered, print: u64) -> Result<Response<Full<Bytes>>, Refusal> {
    if answered.print != print {
        return Err(Refusal::other_request());
    }
    let answer = match path {
        TRANSMISSIONS => transmissions::answer(answered.accepted, answered.rejected),
        _ => inject::again(answered),
    };
    Ok(reply::json(StatusCode::OK, answer))
}
