//! Requests to calls, and replies to responses.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Method, Request, StatusCode};
use parking_lot::Mutex;
use smallvec::SmallVec;
use synap_core::command::alias::Put;
use synap_core::execute::Input;
use synap_core::execute::rights::{self, Login};
use synap_core::execute::state::Rows;
use synap_core::session::{self, Client};
use synap_core::{Code, Engine, Error, Reply, command, settings};
use synap_protocols::json::{JsonReply, Words, text};
use synap_protocols::rest::credentials::{self, Credentials};
use synap_protocols::rest::openapi;
use synap_protocols::rest::operation::{Operation, Operations};
use synap_protocols::rest::raw::RawReply;
use synap_protocols::rest::route::{self, Miss, Route};
use tokio::time::error::Elapsed;

use super::answer::{self, Answer};
use super::{events, metrics, ndjson, safety};
use crate::drive::{self, End, Visitor};

/// Bytes of the body of a request at the most, and of a line of NDJSON.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;
/// A body must be here within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The header that chooses a numbered database.
const DATABASE: &str = "synap-database";

/// Everything that requests share.
pub struct Door {
    pub(super) engine: Engine,
    pub(super) operations: Operations,
    document: Bytes,
    #[cfg(feature = "mcp")]
    pub(super) agents: Option<super::mcp::Entrance>,
}

/// Who is at the other end of a connection.
pub struct Peer {
    addr: String,
    laddr: String,
    /// It came in over the loopback interface.
    pub is_loopback: bool,
    /// The client of the stream that it reads, if it does.
    streams: Mutex<Option<Arc<Client>>>,
    /// The server ends: calls that still wait are given up.
    given_up: AtomicBool,
}

impl Peer {
    pub fn new(addr: SocketAddr, local: SocketAddr) -> Peer {
        let is_loopback = local.ip().to_canonical().is_loopback();
        Peer {
            addr: addr.to_string(),
            laddr: local.to_string(),
            is_loopback,
            streams: Mutex::new(None),
            given_up: AtomicBool::new(false),
        }
    }

    /// What it still waits for is not waited for any longer. Its task is to look again.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// The answer to its request, unless that is given up.
    pub async fn answered(&self, answer: impl Future<Output = Answer>) -> Answer {
        let mut answer = pin!(answer);
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Pending if self.given_up.load(Ordering::Relaxed) => Poll::Ready(given_up()),
            answered => answered,
        })
        .await
    }

    /// True when the client of its stream was ended, and the connection is to end too. The task is woken for that: the
    /// stream itself is not asked for anything while its peer does not read.
    pub fn is_cut(&self, cx: &mut Context<'_>) -> bool {
        self.streams.lock().as_ref().is_some_and(|client| client.poll_killed(cx.waker()))
    }

    fn streams(&self, client: Option<Arc<Client>>) {
        *self.streams.lock() = client;
    }
}

/// Why there is no result: an answer is all that is left.
pub(super) type Refused<T> = Result<T, Box<Answer>>;

impl Door {
    pub fn new(engine: Engine) -> Door {
        let operations = Operations::of(engine.state().table.open());
        let document = operations.document(env!("CARGO_PKG_VERSION")).into();
        Door {
            #[cfg(feature = "mcp")]
            agents: super::mcp::Entrance::new(&engine),
            engine,
            operations,
            document,
        }
    }

    pub async fn answer(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Answer {
        if let Err(refused) =
            safety::check(self.engine.state(), peer, request.version(), request.uri(), request.headers())
        {
            return *refused;
        }
        let path = request.uri().path();
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let answered = match path {
            "/health" | "/ready" | "/metrics" | "/openapi.json" | "/docs" if !is_get => {
                Ok(answer::not_allowed("GET, HEAD"))
            }
            // The process lives, whatever else: a server that loads, or whose disk is full, is not to be ended for it.
            "/health" => Ok(answer::json(status_text(self.trouble().unwrap_or("ok")))),
            "/ready" => Ok(self.ready()),
            "/metrics" => self.metrics(peer, request.headers()).await,
            "/openapi.json" => Ok(answer::json(self.document.clone())),
            "/docs" => Ok(answer::page(include_str!("docs.html"))),
            #[cfg(feature = "mcp")]
            "/mcp" => self.mcp(peer, request).await,
            _ => match path.strip_prefix(route::PREFIX) {
                Some("/command") => self.envelopes(peer, request, Envelopes::Any).await,
                Some("/pipeline") => self.envelopes(peer, request, Envelopes::Array).await,
                Some("/transaction") => self.envelopes(peer, request, Envelopes::Transaction).await,
                Some("/events") => self.listened(peer, request).await,
                Some(_) => self.operation(peer, request).await,
                None => Ok(not_found()),
            },
        };
        answered.unwrap_or_else(|refused| *refused)
    }

    /// Whether calls are served: not while data are loaded, and not all of them while the disk does not take the log.
    fn ready(&self) -> Answer {
        match self.trouble() {
            Some(trouble) => answer::unavailable(status_text(trouble)),
            None => answer::json(status_text("ready")),
        }
    }

    fn trouble(&self) -> Option<&'static str> {
        let state = self.engine.state();
        if state.loading.load(Ordering::Relaxed) {
            return Some("loading");
        }
        state.log.is_failing().then_some("disk failing")
    }

    /// For whoever may call INFO, which tells the same.
    async fn metrics(&self, peer: &Peer, headers: &HeaderMap) -> Refused<Answer> {
        let visitor = self.visitor(peer, headers).await?;
        let Some(user) = &visitor.user else { return Err(not_found().into()) };
        let may = command::table().find(&[b"INFO"]).is_ok_and(|row| user.may_run(row.id));
        if !may {
            let text = format!("User {} has no permissions to run the 'info' command", user.name);
            return Err(answer::error(&Error { code: Code::NoPerm, text: text.into() }).into());
        }
        Ok(answer::text(metrics::text(&self.engine).await, metrics::CONTENT_TYPE))
    }

    /// `/api/v1/hash/set`.
    async fn operation(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Refused<Answer> {
        let (head, body) = request.into_parts();
        let mut visitor = self.visitor(peer, &head.headers).await?;
        let path = head.uri.path().strip_prefix(route::PREFIX).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default();
        if head.method == Method::PUT
            && let Some((put, operation, segment)) = self.put(path)
        {
            let value = read(&head.headers, body).await?;
            let words = operation.lower_put(segment, query, put.body, value.into());
            let words = words.map_err(|error| answer::error(&error))?;
            return self.called(&mut visitor, operation, &words).await;
        }
        let Route { operation, segments } = self.route(&head.method, path)?;
        if let Some(refusal) = operation.refusal() {
            return Err(answer::status(StatusCode::NOT_FOUND, &refusal).into());
        }
        let words = if head.method != Method::POST {
            operation.lower_query(&segments, query)
        } else if query.is_empty() {
            operation.lower(&read(&head.headers, body).await?)
        } else {
            Err(Error::err("the arguments of a POST stand in its body, not in the query"))
        };
        let words = words.map_err(|error| answer::error(&error))?;
        match accepted(&head.headers) {
            Accepted::Json => self.called(&mut visitor, operation, &words).await,
            Accepted::Raw => self.raw(&mut visitor, operation, &words).await,
            Accepted::Events if head.method != Method::POST => Err(events::no_stream().into()),
            Accepted::Events => {
                peer.streams(Some(visitor.client.clone()));
                Ok(self.awaited(visitor, operation.op, words))
            }
        }
    }

    async fn called(&self, visitor: &mut Visitor, operation: &Operation, words: &Words) -> Refused<Answer> {
        let reply = self.call(visitor, operation, words).await;
        self.settled(visitor).await?;
        reply.map(answer::json).map_err(|failure| failure.answer().into())
    }

    /// The value itself.
    async fn raw(&self, visitor: &mut Visitor, operation: &Operation, words: &Words) -> Refused<Answer> {
        if !RawReply::fits(&operation.row.returns) {
            let detail = "this operation does not answer with one string: only JSON can be had";
            return Err(answer::status(StatusCode::NOT_ACCEPTABLE, detail).into());
        }
        let mut reply = RawReply::default();
        let end = self.run(visitor, operation, words, &mut reply).await;
        self.settled(visitor).await?;
        if end == End::Killed {
            return Err(Failure::Killed.answer().into());
        }
        match reply.finish().map_err(|error| answer::error(&error))? {
            Some(bytes) => Ok(answer::raw(bytes)),
            None => Err(answer::status(StatusCode::NOT_FOUND, "there is no such value").into()),
        }
    }

    /// Calls in envelopes.
    async fn envelopes(
        self: &Arc<Self>,
        peer: &Peer,
        request: Request<Incoming>,
        wanted: Envelopes,
    ) -> Refused<Answer> {
        let (head, body) = request.into_parts();
        let mut visitor = self.visitor(peer, &head.headers).await?;
        if head.method != Method::POST {
            return Err(answer::not_allowed("POST").into());
        }
        if wanted == Envelopes::Any
            && media_type(&head.headers, header::CONTENT_TYPE).eq_ignore_ascii_case(ndjson::CONTENT_TYPE)
        {
            refuse_coded(&head.headers)?;
            peer.streams(Some(visitor.client.clone()));
            let door = self.clone();
            let serve = |out| async move { ndjson::serve(&door, visitor, body, out).await };
            return Ok(answer::pieces(ndjson::CONTENT_TYPE, serve));
        }
        let body = read(&head.headers, body).await?;
        let document = text::check(&body).map_err(|error| answer::error(&error))?;
        match wanted {
            Envelopes::Array if text::kind(document) != text::Kind::Array => {
                Err(answer::error(&Error::err("an array of calls is wanted")).into())
            }
            Envelopes::Any | Envelopes::Array => self.several(&mut visitor, document).await,
            Envelopes::Transaction => self.transaction(&mut visitor, document).await,
        }
    }

    /// `/api/v1/events`.
    async fn listened(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Refused<Answer> {
        let (head, _) = request.into_parts();
        let visitor = self.visitor(peer, &head.headers).await?;
        if head.method != Method::GET {
            return Err(answer::not_allowed("GET").into());
        }
        let (answer, client) = self.events(visitor, head.uri.query().unwrap_or_default()).await?;
        peer.streams(Some(client));
        Ok(answer)
    }

    /// Runs one call; its reply may be shown when the log has settled.
    pub(super) async fn call(
        &self,
        visitor: &mut Visitor,
        operation: &Operation,
        words: &Words,
    ) -> Result<Vec<u8>, Failure> {
        let mut reply = JsonReply::new(&operation.row.returns);
        match self.run(visitor, operation, words, &mut reply).await {
            End::Replied | End::Quit => reply.finish().map_err(Failure::Error),
            End::Killed => Err(Failure::Killed),
        }
    }

    async fn run(
        &self,
        visitor: &mut Visitor,
        operation: &Operation,
        words: &Words,
        reply: &mut (dyn Reply + Send),
    ) -> End {
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        words.as_slices(&mut slices);
        let input = Input { row: Some(operation.row_of(words)), ..Input::words(&slices) };
        drive::run(&self.engine, visitor, &input, reply).await
    }

    /// Waits until what the visitor saw may be told.
    pub(super) async fn settled(&self, visitor: &Visitor) -> Refused<()> {
        drive::settled(&self.engine, visitor).await.map_err(|error| answer::error(&error).into())
    }

    /// The operation whose value a PUT of this path is, and the rest of the path.
    fn put<'p>(&self, path: &'p str) -> Option<(&'static Put, &Operation, &'p str)> {
        let (of, segment) = path.strip_prefix('/')?.split_once('/')?;
        if segment.contains('/') || self.operations.find(&format!("{of}.{segment}")).is_some() {
            return None;
        }
        self.operations.put(of).map(|(operation, put)| (put, operation, segment))
    }

    fn route<'p>(&self, method: &Method, path: &'p str) -> Refused<Route<'p, &Operation>> {
        let find = |op: &str| self.operations.find(op).map(|operation| (operation, operation.verbs));
        let asked = match *method {
            Method::GET | Method::HEAD => Ok(route::Method::Get),
            Method::POST => Ok(route::Method::Post),
            Method::DELETE => Ok(route::Method::Delete),
            // Nothing takes it. Asked for as a GET, which may have arguments behind it, to learn what would be allowed.
            _ => Err(route::Method::Get),
        };
        match (route::parse(asked.unwrap_or_else(|method| method), path, find), asked) {
            (Ok(route), Ok(_)) => Ok(route),
            (Ok(route), Err(_)) => {
                Err(answer::not_allowed(route.operation.verbs.allow(!route.segments.is_empty())).into())
            }
            (Err(Miss::Method(allow)), _) => Err(answer::not_allowed(allow).into()),
            (Err(Miss::NotFound), _) if self.put(path).is_some() => Err(answer::not_allowed("PUT").into()),
            (Err(Miss::NotFound), _) => Err(not_found().into()),
        }
    }

    /// The session of one request.
    pub(super) async fn visitor(&self, peer: &Peer, headers: &HeaderMap) -> Refused<Visitor> {
        let session = self.engine.session(session::Door::Http, peer.addr.clone(), peer.laddr.clone());
        let mut visitor = Visitor::new(&self.engine, session);
        if let Err(error) = self.log_in(&mut visitor, headers) {
            let penalty = visitor.penalty;
            drop(visitor);
            tokio::time::sleep(penalty).await;
            return Err(answer::error(&error).into());
        }
        let db = self.database(headers).map_err(|error| answer::error(&error))?;
        visitor.select(db);
        Ok(visitor)
    }

    /// Logs in the user of the `Authorization` header. Without one it is the default one, where that needs no password.
    fn log_in(&self, visitor: &mut Visitor, headers: &HeaderMap) -> Result<(), Error> {
        const LOGIN: Error = Error::new(Code::NoAuth, "Authentication required.");
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return if visitor.user.is_some() { Ok(()) } else { Err(LOGIN) };
        };
        let given = credentials::read(value.as_bytes())?;
        let login = match &given {
            Credentials::Basic { name, password } => Login::Password { name, password },
            Credentials::Bearer(secret) => Login::Key(secret),
        };
        rights::log_in(self.engine.state(), visitor, login, b"Authorization")
    }

    fn database(&self, headers: &HeaderMap) -> Result<u32, Error> {
        const OUT_OF_RANGE: Error = Error::err("DB index is out of range");
        let Some(value) = headers.get(DATABASE) else { return Ok(0) };
        let number: Option<u32> = value.to_str().ok().and_then(|text| text.parse().ok());
        let count = self.engine.state().settings.int(settings::DATABASES);
        number.filter(|db| i64::from(*db) < count).ok_or(OUT_OF_RANGE)
    }
}

/// Why a call has no reply.
pub(super) enum Failure {
    Error(Error),
    Killed,
}

impl Failure {
    pub(super) fn answer(&self) -> Answer {
        match self {
            Failure::Error(error) => answer::error(error),
            Failure::Killed => answer::closing(answer::status(
                StatusCode::SERVICE_UNAVAILABLE,
                "the call was ended before it had an answer",
            )),
        }
    }
}

/// The answer to a call that was still waiting when the server ended.
fn given_up() -> Answer {
    answer::closing(answer::status(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"))
}

fn status_text(status: &str) -> String {
    format!("{{\"status\":\"{status}\"}}")
}

pub(super) fn not_found() -> Answer {
    answer::status(StatusCode::NOT_FOUND, "nothing is at this path; /openapi.json lists what there is")
}

/// What a route takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Envelopes {
    /// One call, an array of them, or lines.
    Any,
    Array,
    Transaction,
}

/// What the client wants to have.
enum Accepted {
    Json,
    /// The value itself.
    Raw,
    Events,
}

fn accepted(headers: &HeaderMap) -> Accepted {
    match media_type(headers, header::ACCEPT) {
        raw if raw.eq_ignore_ascii_case(openapi::RAW) => Accepted::Raw,
        events if events.eq_ignore_ascii_case(events::CONTENT_TYPE) => Accepted::Events,
        _ => Accepted::Json,
    }
}

/// The first media type of a header, without parameters.
pub(super) fn media_type(headers: &HeaderMap, name: HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split([',', ';']).next().unwrap_or_default().trim()
}

fn refuse_coded(headers: &HeaderMap) -> Refused<()> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let detail = "a body with a Content-Encoding is not taken";
        return Err(answer::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
    }
    Ok(())
}

/// The whole body.
pub(super) async fn read(headers: &HeaderMap, body: Incoming) -> Refused<Bytes> {
    refuse_coded(headers)?;
    let too_large = || {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        Box::new(answer::closing(answer::status(StatusCode::PAYLOAD_TOO_LARGE, &detail)))
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match within(BODY_TIMEOUT, collect(Limited::new(body, BODY_BYTES_MAX))).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(answer::closing(answer::status(StatusCode::BAD_REQUEST, "the body broke off")).into()),
        Err(_) => Err(answer::closing(answer::status(StatusCode::REQUEST_TIMEOUT, "the body took too long")).into()),
    }
}

/// The bytes of a body. Nearly every one comes as one piece, which is taken as it is.
async fn collect(mut body: Limited<Incoming>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        // Trailers say nothing here.
        let Ok(piece) = frame?.into_data() else { continue };
        if whole.is_empty() && joined.is_empty() {
            whole = piece;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&piece);
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}

/// As [`tokio::time::timeout`], for what is nearly always there at the second look: no timer is set before.
async fn within<F: Future>(time: Duration, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut looks = 0;
    let soon = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if looks > 0 => Poll::Ready(None),
        Poll::Pending => {
            looks += 1;
            // What brings it here runs in the same task, after this.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match soon.await {
        Some(output) => Ok(output),
        None => tokio::time::timeout(time, work).await,
    }
}
