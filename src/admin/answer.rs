//! One request to one answer.

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{STATE_AGE_MAX, Sources};

/// The live page; everything it needs is in it.
pub(super) const PAGE: &str = include_str!("page.html");

/// Stands in [`PAGE`] where the number goes that lets its own script run, and no other.
pub(super) const NONCE: &str = "{{nonce}}";

const TEXT: &str = "text/plain; charset=utf-8";

/// The version of the format is part of its media type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer; always small enough to be made at once.
pub(super) type Answer = Response<Full<Bytes>>;

/// What the connections share.
pub(super) struct Server {
    sources: Arc<Sources>,
    /// It listens on the loopback address: whoever asks by a name from the web was led here by a
    /// page of strangers (DNS rebinding).
    is_local: bool,
    state: Mutex<Option<(Instant, Bytes)>>,
}

impl Server {
    pub(super) fn new(sources: Arc<Sources>, is_local: bool) -> Self {
        Self { sources, is_local, state: Mutex::new(None) }
    }

    /// The route table.
    pub(super) async fn answer<B>(self: &Arc<Self>, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz" | "/state") {
            return text(
                StatusCode::NOT_FOUND,
                "no such page; there are / /metrics /healthz /readyz /state",
            );
        }
        if self.is_local && !matches!(path, "/healthz" | "/readyz") && !is_local(request) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "ask by an address or as localhost, or set admin.listen to another address",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/" => page(),
            "/metrics" => answer(StatusCode::OK, METRICS, (self.sources.metrics)()),
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => self.ready(),
            _ => self.state().await,
        }
    }

    fn ready(&self) -> Answer {
        let readiness = (self.sources.ready)();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, &readiness.detail)
    }

    async fn state(self: &Arc<Self>) -> Answer {
        let server = Arc::clone(self);
        match tokio::task::spawn_blocking(move || server.fresh_state()).await {
            Ok(Ok(json)) => answer(StatusCode::OK, "application/json", json),
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error),
        }
    }

    /// The JSON of a snapshot that is young enough. Those who ask at the same time wait for one.
    fn fresh_state(&self) -> serde_json::Result<Bytes> {
        let mut state = self.state.lock();
        if let Some((made, json)) = &*state
            && made.elapsed() < STATE_AGE_MAX
        {
            return Ok(json.clone());
        }
        let json = Bytes::from(serde_json::to_vec(&(self.sources.snapshot)())?);
        *state = Some((Instant::now(), json.clone()));
        Ok(json)
    }
}

/// Whether a request names as its host an address, a host of this network, or none: nobody on the web has
/// a name without a dot, or one of `.localhost` (RFC 6761).
fn is_local<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else {
        return false;
    };
    let name =
        authority.host().trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
    !name.contains('.') || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

/// The live page. Names and statements come from clients: should one ever slip into the page as
/// markup, the policy keeps it from running or fetching anything.
fn page() -> Answer {
    let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace(NONCE, &nonce));
    match HeaderValue::from_str(&policy) {
        Ok(policy) => {
            page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            page
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Answer {
    tracing::error!(%error, "cannot answer an admin request");
    text(StatusCode::INTERNAL_SERVER_ERROR, "this failed; the log says why")
}

fn text(status: StatusCode, line: &str) -> Answer {
    answer(status, TEXT, format!("{line}\n"))
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
