//! Responses.

use super::body::{Body, Out};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use synap_core::Error;
use synap_protocols::problem::{self, Problem};
use synap_protocols::rest::credentials::CHALLENGES;
use synap_protocols::rest::openapi::RAW;

pub type Answer = Response<Body>;

/// 200 with JSON that is true now and not later.
pub fn json(body: impl Into<Bytes>) -> Answer {
    with_type("application/json", Body::Whole(Full::new(body.into())))
}

/// 200 with bytes as they are.
pub fn raw(body: Vec<u8>) -> Answer {
    with_type(RAW, Body::Whole(Full::new(body.into())))
}

/// 200 with a body that comes piece by piece.
pub fn pieces<F>(content_type: &'static str, run: impl FnOnce(Out) -> F) -> Answer
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    with_type(content_type, Body::pieces(run))
}

/// The page that shows the document. It loads nothing from elsewhere.
pub fn page(html: &'static str) -> Answer {
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut answer = with_type("text/html; charset=utf-8", Body::Whole(Full::new(Bytes::from_static(html.as_bytes()))));
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

fn with_type(content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What a browser shows must not depend on what it guesses from stored bytes.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// 200 with text that is true now and not later.
pub fn text(body: String, content_type: &'static str) -> Answer {
    let mut answer = json(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// [`json`] for a server that cannot do what it is asked for now.
pub fn unavailable(body: impl Into<Bytes>) -> Answer {
    let mut answer = json(body);
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// The error that a call was answered with.
pub fn error(error: &Error) -> Answer {
    of_problem(problem::of_error(error))
}

/// A problem of HTTP itself.
pub fn status(status: StatusCode, detail: &str) -> Answer {
    of_problem(problem::of_status(status.as_u16(), detail))
}

/// 405. `allow` lists what is.
pub fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = status(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {allow}"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

/// Lets the connection close behind the answer.
pub fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn of_problem(problem: Problem) -> Answer {
    let mut answer = json(problem.body);
    // The table of codes holds valid ones; 500 is what a wrong one would be.
    *answer.status_mut() = StatusCode::from_u16(problem.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if problem.http_status == 401 {
        for challenge in CHALLENGES {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
    answer
}
