//! HTTP submission: who is let in, which path leads where, and what is answered. A request is answered with 200 only
//! when its mail is on stable storage.

mod access;
mod body;
pub mod listeners;
mod reply;
mod transmissions;

use super::intake::Intake;
use super::profiles::Configured;
use crate::io::http_listener::{Answer, Ends};
use crate::io::reactor::Reactor;
use body::Body;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use reply::Refusal;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use vmta_config::SourceSettings;

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

    /// Bytes of a body that holds one message: written as JSON it grows.
    fn max_body(&self) -> usize {
        self.max_message().saturating_mul(2).saturating_add(1 << 20)
    }
}

/// The way from the HTTP clients on one reactor's thread to the spool.
struct Entrance {
    intake: Arc<Intake>,
    reactor: Rc<Reactor>,
    settings: RefCell<Option<Rc<Settings>>>,
}

impl Answer for Entrance {
    async fn answer(&self, ends: &Ends, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let settings = self.settings();
        let logged = settings.configured.config.api().log_requests;
        let line = logged.then(|| format!("{} {}", request.method(), request.uri().path()));
        let response = match self.carry_out(ends, request, &settings).await {
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
        let post = head.method == Method::POST;
        match head.uri.path() {
            "/api/v1/transmissions" if !post => return Err(Refusal::method("POST")),
            "/api/v1/transmissions" => {}
            path => {
                let why = format!("there is no {path}; there is /api/v1/transmissions");
                return Err(Refusal::new(StatusCode::NOT_FOUND, why));
            }
        }
        access::key(&head.headers, &settings.configured.config.api().api_keys)?;
        if self.intake.is_stopping() {
            return Err(Refusal::stopping());
        }
        let body = Body::new(&head.headers, incoming)?;
        self.transmission(ends, body, settings).await
    }

    fn log_data(&self, ends: &Ends, settings: &Settings, body: &[u8]) {
        const SHOWN: usize = 4096;
        if settings.configured.config.api().log_data {
            let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
            tracing::info!(client = &*ends.client, "http: body {shown:?}");
        }
    }
}
