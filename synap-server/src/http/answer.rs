//! Responses.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use synap_core::Error;
use synap_protocols::problem::{self, Problem};
use synap_protocols::rest::credentials::CHALLENGES;

pub type Answer = Response<Full<Bytes>>;

/// 200 with JSON that is true now and not later.
pub fn json(body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
