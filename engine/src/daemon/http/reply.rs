//! What HTTP clients are told (reference 6.6): every refusal is JSON with a message for programs and a description for
//! people.

use crate::daemon::intake::Refused;
use crate::spool::SpoolError;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Seconds after which a client whose mail could not be taken for now may come again.
const LATER: HeaderValue = HeaderValue::from_static("10");

/// Why a request is not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {description}")]
pub struct Refusal {
    pub status: StatusCode,
    pub description: String,
    /// The methods there are, where the one asked for is none of them.
    pub allowed: Option<&'static str>,
}

impl Refusal {
    pub fn new(status: StatusCode, description: impl Into<String>) -> Refusal {
        Refusal { status, description: description.into(), allowed: None }
    }

    pub fn bad(description: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, description)
    }

    pub fn method(allowed: &'static str) -> Refusal {
        let description = format!("this path takes {allowed} only");
        Refusal { allowed: Some(allowed), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, description) }
    }

    pub fn stopping() -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping")
    }

    pub fn other_request() -> Refusal {
        let why = "this Idempotency-Key was used with another request";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    }

    pub fn response(&self) -> Response<Full<Bytes>> {
        let message = self.status.canonical_reason().unwrap_or("error").to_ascii_lowercase();
        let (message, description) = (quoted(&message), quoted(&self.description));
        let error = format!(r#"{{"errors":[{{"message":{message},"description":{description}}}]}}"#);
        let mut response = json(self.status, error);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, LATER);
        }
        if let Some(allowed) = self.allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl From<&Refused> for Refusal {
    fn from(refused: &Refused) -> Refusal {
        let status = match refused {
            Refused::NoSuchVmta(_)
            | Refused::Message(_)
            | Refused::Header { .. }
            | Refused::Merged(_)
            | Refused::Recipients(_) => StatusCode::BAD_REQUEST,
            Refused::Spool(e) if e.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Memory | Refused::Crowded | Refused::Stopping | Refused::Spool(SpoolError::Stopped) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refused::Pool(_) | Refused::Spool(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, refused.to_string())
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
