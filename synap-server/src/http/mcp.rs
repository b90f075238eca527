//! `/mcp`: agents over streamable HTTP.
//!
//! Every POST is a request of its own, in the current revision of the protocol and in the ones before it; an `initialize`
//! is answered, and nothing is kept after it. Clients of the older revisions cancel a call by another message. So that
//! this finds the call, they are given a session id: calls that run are known by it, and by nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use rmcp::model::{ErrorCode, ErrorData};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use synap_core::Engine;
use synap_protocols::json::text;
use synap_protocols::mcp::message;
use tokio::sync::Notify;

use super::answer::{self, Answer};
use super::body::Body;
use super::door::{self, Door, Peer, Refused};
use crate::mcp::{self, Agents, Caller};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Bytes of a session's id at the most; ours have 32.
const SESSION_BYTES_MAX: usize = 64;

/// What requests of agents share.
pub struct Entrance {
    service: StreamableHttpService<Agents, NeverSessionManager>,
    running: Mutex<HashMap<RunningId, Arc<Notify>>>,
}

/// A user's name, the id of a session and that of a request.
type RunningId = (Arc<str>, Vec<u8>, String);

impl Entrance {
    /// None when the settings let agents have nothing.
    pub fn new(engine: &Engine) -> Option<Entrance> {
        // Whoever starts the server has looked at it before.
        let tools =
            mcp::tools(engine.state().table, &engine.state().settings).ok().filter(|tools| !tools.is_empty())?;
        let agents = Agents::new(engine.clone(), tools);
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // `safety` looks at Host and Origin, as for all of HTTP; the body has been read and measured.
            .disable_allowed_hosts()
            .with_max_request_body_bytes(message::ENVELOPE_BYTES_MAX);
        let service = StreamableHttpService::new(move || Ok(agents.clone()), Arc::default(), config);
        Some(Entrance { service, running: Mutex::default() })
    }

    /// Ends a call that runs.
    fn cancel(&self, id: &RunningId) {
        let found = self.running.lock().get(id).cloned();
        if let Some(running) = found {
            running.notify_one();
        }
    }
}

/// A call that can be cancelled as long as this lives.
struct Running<'e> {
    entrance: &'e Entrance,
    id: RunningId,
    cancelled: Arc<Notify>,
}

impl<'e> Running<'e> {
    fn new(entrance: &'e Entrance, id: RunningId) -> Running<'e> {
        let cancelled = Arc::new(Notify::new());
        entrance.running.lock().insert(id.clone(), cancelled.clone());
        Running { entrance, id, cancelled }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = self.entrance.running.lock();
        // A client that gives two calls one id has replaced the first.
        if running.get(&self.id).is_some_and(|known| Arc::ptr_eq(known, &self.cancelled)) {
            running.remove(&self.id);
        }
    }
}

impl Door {
    pub(super) async fn mcp(&self, peer: &Peer, request: Request<Incoming>) -> Refused<Answer> {
        let Some(entrance) = &self.agents else { return Ok(door::not_found()) };
        let (mut head, body) = request.into_parts();
        let visitor = self.visitor(peer, &head.headers).await?;
        if head.method != Method::POST {
            return Err(answer::not_allowed("POST").into());
        }
        let body = door::read(&head.headers, body).await?;
        let document = text::check(&body).map_err(|error| rejected(ErrorCode::PARSE_ERROR, error))?;
        let message = message::read(document).map_err(|error| rejected(ErrorCode::INVALID_REQUEST, error))?;

        let session = session_of(&head.headers);
        let name = visitor.user.as_ref().map(|user| user.name.clone());
        let running = |id: &str| Some((name.clone()?, session.clone()?, id.to_string()));
        if let Some(id) = message.cancels.and_then(running) {
            entrance.cancel(&id);
        }
        let running = message.id.and_then(running).map(|id| Running::new(entrance, id));
        if let Some(caller) = Caller::new(visitor, message.arguments) {
            head.extensions.insert(caller);
        }
        let is_json = door::media_type(&head.headers, header::CONTENT_TYPE).eq_ignore_ascii_case("application/json");
        let begins_session = message.method.as_deref() == Some("initialize");
        let envelope = Bytes::from(message.envelope.into_owned());
        let handled = entrance.service.handle(Request::from_parts(head, Full::new(envelope)));
        let response = match &running {
            Some(running) => tokio::select! {
                response = handled => response,
                () = running.cancelled.notified() => return Ok(cancelled(&running.id.2)),
            },
            None => handled.await,
        };
        let (mut head, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        let body = body.to_bytes();
        if head.status.is_client_error() && !head.headers.contains_key(header::CONTENT_TYPE) {
            // The SDK says that the type is wrong, too, when the message is no message.
            let is_no_message = head.status == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json;
            let status = if is_no_message { StatusCode::BAD_REQUEST } else { head.status };
            return Err(refused(status, &String::from_utf8_lossy(&body)));
        }
        if begins_session && head.status == StatusCode::OK {
            head.headers.insert(SESSION, self.new_session());
        }
        head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        head.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(Response::from_parts(head, Body::Whole(Full::new(body))))
    }

    /// Two numbers of the engine's own sequence.
    fn new_session(&self) -> HeaderValue {
        let state = self.engine.state();
        let id = format!("{:016x}{:016x}", state.random(), state.random());
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"))
    }
}

fn session_of(headers: &HeaderMap) -> Option<Vec<u8>> {
    let id = headers.get(SESSION)?.as_bytes();
    (id.len() <= SESSION_BYTES_MAX).then(|| id.to_vec())
}

/// An error of JSON-RPC for a message that the SDK does not see.
fn rejected(code: ErrorCode, error: synap_core::Error) -> Box<Answer> {
    let mut answer = rpc_error("null", &ErrorData::new(code, error.text, None));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    Box::new(answer)
}

/// What the SDK refuses in plain words.
fn refused(status: StatusCode, why: &str) -> Box<Answer> {
    let mut answer = rpc_error("null", &ErrorData::invalid_request(why.to_string(), None));
    *answer.status_mut() = status;
    Box::new(answer)
}

/// Nobody reads it: whoever cancels a request ignores its answer.
fn cancelled(id: &str) -> Answer {
    rpc_error(id, &ErrorData::internal_error("the call was cancelled", None))
}

/// `id` is JSON text. Not as the SDK writes it: without an id there is a null, which clients look for.
fn rpc_error(id: &str, error: &ErrorData) -> Answer {
    let error = serde_json::to_string(error).unwrap_or_default();
    answer::json(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}
