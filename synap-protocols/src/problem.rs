//! Errors as `application/problem+json` (RFC 9457).

use serde_json::json;
use synap_core::{Code, Error};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// An HTTP error: its status and the document of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub http_status: u16,
    pub body: String,
}

/// The problem document of an error that a call was answered with.
pub fn of_error(error: &Error) -> Problem {
    of(error.code.http_status(), error.code.word(), &error.text)
}

/// A problem of HTTP itself (404, 405, 413 …), before there was a call.
pub fn of_status(http_status: u16, detail: &str) -> Problem {
    of(http_status, Code::Err.word(), detail)
}

fn of(http_status: u16, code: &str, detail: &str) -> Problem {
    let body = json!({
        // The code says what happened; no page says more.
        "type": "about:blank",
        "title": title(http_status),
        "status": http_status,
        "detail": detail,
        "code": code,
    });
    Problem { http_status, body: body.to_string() }
}

/// The phrase of RFC 9110, which a problem of type `about:blank` has for its title.
pub fn title(http_status: u16) -> &'static str {
    match http_status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_document_with_its_code() {
        let problem = of_error(&Error::WRONG_TYPE);
        assert_eq!(problem.http_status, 409);
        assert_eq!(
            problem.body,
            concat!(
                r#"{"type":"about:blank","title":"Conflict","status":409,"#,
                r#""detail":"Operation against a key holding the wrong kind of value","code":"WRONGTYPE"}"#
            )
        );
    }

    #[test]
    fn every_code_has_a_titled_status() {
        for code in Code::ALL {
            assert_ne!(title(code.http_status()), "Error", "{code:?}");
        }
    }
}
