//! Requests to calls, and replies to responses.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header;
use hyper::{HeaderMap, Method, Request, StatusCode};
use smallvec::SmallVec;
use synap_core::execute::Input;
use synap_core::execute::rights::{self, Login};
use synap_core::execute::state::Rows;
use synap_core::session;
use synap_core::{Code, Engine, Error, command, settings};
use synap_protocols::json::{JsonReply, Words, text};
use synap_protocols::rest::credentials::{self, Credentials};
use synap_protocols::rest::operation::{Operation, Operations};
use synap_protocols::rest::route::{self, Miss, Route, Verbs};
use synap_protocols::stream;

use super::answer::{self, Answer};
use crate::drive::{self, End, Visitor};

/// Bytes of the body of a request at the most.
const BODY_BYTES_MAX: usize = 64 << 20;
/// A body must be here within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The header that chooses a numbered database.
const DATABASE: &str = "synap-database";

/// Everything that requests share.
pub struct Door {
    engine: Engine,
    operations: Operations,
    document: Bytes,
}

/// Who is at the other end of a connection.
pub struct Peer {
    pub addr: String,
    pub laddr: String,
}

/// Why there is no result: an answer is all that is left.
type Refused<T> = Result<T, Box<Answer>>;

impl Door {
    pub fn new(engine: Engine) -> Door {
        let operations = Operations::of(command::table().all());
        let document = operations.document(env!("CARGO_PKG_VERSION")).into();
        Door { engine, operations, document }
    }

    pub async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let answered = match path {
            "/health" | "/openapi.json" if !is_get => Ok(answer::not_allowed("GET, HEAD")),
            "/health" => Ok(answer::json(r#"{"status":"ok"}"#)),
            "/openapi.json" => Ok(answer::json(self.document.clone())),
            _ => match path.strip_prefix(route::PREFIX) {
                Some("/command") => self.command(peer, request).await,
                Some(_) => self.operation(peer, request).await,
                None => Ok(not_found()),
            },
        };
        answered.unwrap_or_else(|refused| *refused)
    }

    /// `/api/v1/hash/set`.
    async fn operation(&self, peer: &Peer, request: Request<Incoming>) -> Refused<Answer> {
        let (head, body) = request.into_parts();
        let mut visitor = self.visitor(peer, &head.headers).await?;
        let path = head.uri.path().strip_prefix(route::PREFIX).unwrap_or_default();
        let Route { operation, segments } = self.route(&head.method, path)?;
        if let Some(refusal) = operation.refusal() {
            return Err(answer::status(StatusCode::NOT_FOUND, &refusal).into());
        }
        let query = head.uri.query().unwrap_or_default();
        let words = if head.method != Method::POST {
            operation.lower_query(&segments, query)
        } else if query.is_empty() {
            operation.lower(&read(&head.headers, body).await?)
        } else {
            Err(Error::err("the arguments of a POST stand in its body, not in the query"))
        };
        let words = words.map_err(|error| answer::error(&error))?;
        let reply = self.call(&mut visitor, operation, &words).await;
        drive::settled(&self.engine, &visitor).await.map_err(|error| answer::error(&error))?;
        reply.map(answer::json).map_err(|failure| failure.answer().into())
    }

    /// `/api/v1/command`: one call or many in one body, answered in order.
    async fn command(&self, peer: &Peer, request: Request<Incoming>) -> Refused<Answer> {
        let (head, body) = request.into_parts();
        let mut visitor = self.visitor(peer, &head.headers).await?;
        if head.method != Method::POST {
            return Err(answer::not_allowed(Verbs::default().allow()).into());
        }
        let body = read(&head.headers, body).await?;
        let document = text::check(&body).map_err(|error| answer::error(&error))?;
        let envelopes = stream::envelopes(document).map_err(|error| answer::error(&error))?;
        let is_array = text::kind(document) == text::Kind::Array;
        let mut out = Vec::with_capacity(256);
        if is_array {
            out.push(b'[');
        }
        for (index, envelope) in envelopes.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let answer = self.envelope(&mut visitor, envelope).await?;
            stream::write(stream::request_id(envelope), &answer, &mut out);
        }
        if is_array {
            out.push(b']');
        }
        drive::settled(&self.engine, &visitor).await.map_err(|error| answer::error(&error))?;
        Ok(answer::json(out))
    }

    async fn envelope(&self, visitor: &mut Visitor, envelope: &str) -> Refused<Result<Vec<u8>, (u16, Error)>> {
        let with_status = |error: Error| (error.code.http_status(), error);
        let stream::Envelope { command, payload } = match stream::read(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(with_status(error))),
        };
        let Some(operation) = self.operations.find(&command) else { return Ok(Err(stream::unknown(&command))) };
        if let Some(refusal) = operation.refusal() {
            return Ok(Err((404, Error::fmt(refusal))));
        }
        let words = match operation.lower_checked(payload) {
            Ok(words) => words,
            Err(error) => return Ok(Err(with_status(error))),
        };
        match self.call(visitor, operation, &words).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(Failure::Error(error)) => Ok(Err(with_status(error))),
            Err(Failure::Killed) => Err(Failure::Killed.answer().into()),
        }
    }

    /// Runs one call; its reply may be shown when the log has settled.
    async fn call(&self, visitor: &mut Visitor, operation: &Operation, words: &Words) -> Result<Vec<u8>, Failure> {
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        words.as_slices(&mut slices);
        let input = Input { row: Some(operation.row), ..Input::words(&slices) };
        let mut reply = JsonReply::new(&operation.row.returns);
        match drive::run(&self.engine, visitor, &input, &mut reply).await {
            End::Replied | End::Quit => reply.finish().map_err(Failure::Error),
            End::Killed => Err(Failure::Killed),
        }
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
            (Ok(route), Err(_)) => Err(answer::not_allowed(route.operation.verbs.allow()).into()),
            (Err(Miss::Method(verbs)), _) => Err(answer::not_allowed(verbs.allow()).into()),
            (Err(Miss::NotFound), _) => Err(not_found().into()),
        }
    }

    /// The session of one request.
    async fn visitor(&self, peer: &Peer, headers: &HeaderMap) -> Refused<Visitor> {
        refuse_other_sites(headers)?;
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
enum Failure {
    Error(Error),
    Killed,
}

impl Failure {
    fn answer(&self) -> Answer {
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
pub fn given_up() -> Answer {
    answer::closing(answer::status(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"))
}

fn not_found() -> Answer {
    answer::status(StatusCode::NOT_FOUND, "nothing is at this path; /openapi.json lists what there is")
}

/// A browser says which site a call comes from. A page of another site must not reach a server that only trusts its
/// network; programs send no `Origin`.
fn refuse_other_sites(headers: &HeaderMap) -> Refused<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).map_or(&[][..], |host| host.as_bytes());
    let own = origin.as_bytes().splitn(2, |byte| *byte == b':').nth(1).and_then(|rest| rest.strip_prefix(b"//"));
    if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(answer::status(StatusCode::FORBIDDEN, "calls from pages of other sites are not taken").into())
}

/// The whole body.
async fn read(headers: &HeaderMap, body: Incoming) -> Refused<Bytes> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let detail = "a body with a Content-Encoding is not taken";
        return Err(answer::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
    }
    let too_large = || {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        Box::new(answer::closing(answer::status(StatusCode::PAYLOAD_TOO_LARGE, &detail)))
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(answer::closing(answer::status(StatusCode::BAD_REQUEST, "the body broke off")).into()),
        Err(_) => Err(answer::closing(answer::status(StatusCode::REQUEST_TIMEOUT, "the body took too long")).into()),
    }
}
