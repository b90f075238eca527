//! Streamable HTTP: calls in envelopes, `{"command":"hash.set","payload":{…},"request_id":…}`.
//!
//! | member | what it is |
//! |---|---|
//! | `command` | the operation |
//! | `payload` | its named arguments, as [`crate::json::lower`](mod@crate::json::lower) reads them; none when absent |
//! | `request_id` | any JSON value, given back with the answer; `null` when absent |
//!
//! The answer is `{"request_id":…,"success":true,"payload":{…}}` or
//! `{"request_id":…,"success":false,"error":{"code":"…","message":"…","status":409}}`.

use std::borrow::Cow;

use synap_core::session::{Condition, Wanted};
use synap_core::{Code, Error, Result};

use crate::json::bytes;
use crate::json::text::{self, Kind};

/// Calls of one array at the most.
pub const BATCH_COUNT_MAX: usize = 10_000;
/// Bytes of one `request_id` at the most.
pub const ID_BYTES_MAX: usize = 1024;

/// One call, as slices of a checked document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub command: Cow<'a, str>,
    /// The JSON text of the arguments.
    pub payload: &'a str,
    /// The JSON text of the `request_id`; `null` when there is none.
    pub id: &'a str,
}

/// The envelopes of a document: its items when it is an array, or itself.
pub fn envelopes(document: &str) -> Result<Vec<&str>> {
    match text::kind(document) {
        Kind::Object => Ok(vec![document]),
        Kind::Array => {
            let all: Vec<&str> = text::items(document).take(BATCH_COUNT_MAX + 1).collect();
            if all.len() > BATCH_COUNT_MAX {
                return Err(Error::fmt(format!("more than {BATCH_COUNT_MAX} calls in one array")));
            }
            Ok(all)
        }
        _ => Err(Error::err("an object with a `command`, or an array of such objects, is wanted")),
    }
}

/// Calls that are run as one, and what must hold for it.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub calls: Vec<&'a str>,
    pub conditions: Vec<Condition>,
}

/// A transaction: an array of envelopes, or `{"calls":[…],"watch":[…]}`.
pub fn transaction(document: &str) -> Result<Transaction<'_>> {
    const WANTED: Error = Error::err("an array of calls, or an object with `calls` and perhaps `watch`, is wanted");
    match text::kind(document) {
        Kind::Array => return Ok(Transaction { calls: envelopes(document)?, conditions: Vec::new() }),
        Kind::Object => {}
        _ => return Err(WANTED),
    }
    let (mut calls, mut watch) = (None, None);
    for (name, value) in text::members(document) {
        let slot = match &*name {
            "calls" => &mut calls,
            "watch" => &mut watch,
            _ => return Err(unknown_member(&name)),
        };
        if slot.replace(value).is_some() {
            return Err(twice(&name));
        }
    }
    let calls = calls.filter(|calls| text::kind(calls) == Kind::Array).ok_or(WANTED)?;
    let conditions = match watch {
        None => Vec::new(),
        Some(watch) if text::kind(watch) == Kind::Array => {
            let all: Vec<Condition> =
                text::items(watch).take(BATCH_COUNT_MAX + 1).map(condition).collect::<Result<_>>()?;
            if all.len() > BATCH_COUNT_MAX {
                return Err(Error::fmt(format!("more than {BATCH_COUNT_MAX} conditions")));
            }
            all
        }
        Some(_) => return Err(Error::err("`watch` must be an array of conditions")),
    };
    Ok(Transaction { calls: envelopes(calls)?, conditions })
}

/// `{"key":…,"equals":…}`, `{"key":…,"exists":true}`, and the same of a `field`. `"equals":null` is `"exists":false`.
fn condition(value: &str) -> Result<Condition> {
    if text::kind(value) != Kind::Object {
        return Err(Error::err("a condition is an object with a `key` and `equals` or `exists`"));
    }
    let (mut key, mut field, mut equals, mut exists) = (None, None, None, None);
    for (name, value) in text::members(value) {
        let slot = match &*name {
            "key" => &mut key,
            "field" => &mut field,
            "equals" => &mut equals,
            "exists" => &mut exists,
            _ => return Err(unknown_member(&name)),
        };
        if slot.replace(value).is_some() {
            return Err(twice(&name));
        }
    }
    let lowered = |name: &str, value: &str| {
        let mut out = Vec::new();
        bytes::lower(value, &mut out).map_err(|error| Error::fmt(format!("`{name}` {}", error.text)))?;
        Ok::<_, Error>(out.into_boxed_slice())
    };
    let wanted = match (equals, exists.map(text::kind)) {
        (Some(equals), None) if text::kind(equals) == Kind::Null => Wanted::Exists(false),
        (Some(equals), None) => Wanted::Equals(lowered("equals", equals)?),
        (None, Some(Kind::True)) => Wanted::Exists(true),
        (None, Some(Kind::False)) => Wanted::Exists(false),
        (None, Some(_)) => return Err(Error::err("`exists` must be true or false")),
        _ => return Err(Error::err("a condition has either `equals` or `exists`")),
    };
    let key = lowered("key", key.ok_or(Error::err("a condition has no `key`"))?)?;
    let field = field.map(|field| lowered("field", field)).transpose()?;
    Ok(Condition { key, field, wanted })
}

fn unknown_member(name: &str) -> Error {
    Error::fmt(format!("unknown member `{}`", Error::quote(name.as_bytes())))
}

fn twice(name: &str) -> Error {
    Error::fmt(format!("`{name}` is given twice"))
}

/// The JSON text of the `request_id`, readable also where the rest is not.
pub fn request_id(envelope: &str) -> &str {
    let mut found = "null";
    if text::kind(envelope) == Kind::Object {
        for (name, value) in text::members(envelope) {
            if name == "request_id" && value.len() <= ID_BYTES_MAX {
                found = value;
            }
        }
    }
    found
}

/// What an envelope asks for.
pub fn read(envelope: &str) -> Result<Envelope<'_>> {
    if text::kind(envelope) != Kind::Object {
        return Err(Error::err("a call is an object with a `command`"));
    }
    let (mut command, mut payload, mut id) = (None, None, None);
    for (name, value) in text::members(envelope) {
        let slot = match &*name {
            "command" => &mut command,
            "payload" => &mut payload,
            "request_id" => &mut id,
            _ => return Err(unknown_member(&name)),
        };
        if slot.replace(value).is_some() {
            return Err(twice(&name));
        }
    }
    if id.is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err(Error::fmt(format!("`request_id` is longer than {ID_BYTES_MAX} bytes")));
    }
    let command = command.ok_or(Error::err("`command` is missing"))?;
    if text::kind(command) != Kind::String {
        return Err(Error::err("`command` must be a string"));
    }
    let payload = payload.filter(|payload| text::kind(payload) != Kind::Null).unwrap_or("{}");
    Ok(Envelope { command: text::string(command), payload, id: id.unwrap_or("null") })
}

/// Appends the answer of a call: its reply as JSON text, or its error with an HTTP status.
pub fn write(id: &str, answer: &Result<Vec<u8>, (u16, Error)>, out: &mut Vec<u8>) {
    match answer {
        Ok(payload) => {
            begin(id, out);
            out.extend_from_slice(payload);
            end(out);
        }
        Err((http_status, error)) => write_error(id, *http_status, error, out),
    }
}

/// Appends the beginning of a good answer; its reply as JSON text follows, and then [`end`].
pub fn begin(id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"request_id\":");
    text::compact(id, out);
    out.extend_from_slice(b",\"success\":true,\"payload\":");
}

pub fn end(out: &mut Vec<u8>) {
    out.push(b'}');
}

/// Appends the answer of a call that failed.
pub fn write_error(id: &str, http_status: u16, error: &Error, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"request_id\":");
    text::compact(id, out);
    out.extend_from_slice(b",\"success\":false,\"error\":{\"code\":");
    text::write_string(error.code.word(), out);
    out.extend_from_slice(b",\"message\":");
    text::write_string(&error.text, out);
    out.extend_from_slice(format!(",\"status\":{http_status}}}}}").as_bytes());
}

/// The answer to a command that does not exist.
pub fn unknown(command: &str) -> (u16, Error) {
    let text = format!("unknown command `{}`", Error::quote(command.as_bytes()));
    (404, Error { code: Code::Err, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(envelope: &str, sentence: &str) {
        assert_eq!(read(envelope).map_err(|error| error.text.into_owned()), Err(sentence.into()));
    }

    #[test]
    fn envelopes_are_read_in_any_order() {
        let read = read(r#"{"request_id":[1, 2],"payload":{"key":"k"},"command":"string.get"}"#);
        assert_eq!(read, Ok(Envelope { command: "string.get".into(), payload: r#"{"key":"k"}"#, id: "[1, 2]" }));
    }

    #[test]
    fn a_payload_may_be_missing() {
        for text in [r#"{"command":"connection.ping"}"#, r#"{"command":"connection.ping","payload":null}"#] {
            assert_eq!(read(text).map(|envelope| envelope.payload), Ok("{}"));
        }
    }

    #[test]
    fn other_objects_are_refused() {
        refused("[]", "a call is an object with a `command`");
        refused("{}", "`command` is missing");
        refused(r#"{"command":1}"#, "`command` must be a string");
        refused(r#"{"command":"a","command":"b"}"#, "`command` is given twice");
        refused(r#"{"command":"a","args":[]}"#, "unknown member `args`");
    }

    #[test]
    fn answers_carry_the_id_as_it_was() {
        let written = |id: &str, answer| {
            let mut out = Vec::new();
            write(id, &answer, &mut out);
            String::from_utf8(out).expect("JSON is UTF-8")
        };
        assert_eq!(
            written(request_id(r#"{"request_id":1e400}"#), Ok(b"{\"added\":1}".to_vec())),
            r#"{"request_id":1e400,"success":true,"payload":{"added":1}}"#
        );
        assert_eq!(
            written(request_id("7"), Err((409, Error::WRONG_TYPE))),
            concat!(
                r#"{"request_id":null,"success":false,"error":{"code":"WRONGTYPE","#,
                r#""message":"Operation against a key holding the wrong kind of value","status":409}}"#
            )
        );
    }

    #[test]
    fn a_transaction_has_calls_and_conditions() {
        let read = |text: &str| {
            let read = transaction(text).map_err(|error| error.text.into_owned())?;
            Ok::<_, String>((read.calls.len(), read.conditions))
        };
        assert_eq!(read("[{}, {}]"), Ok((2, Vec::new())));
        let key =
            |field: Option<&[u8]>, wanted| Condition { key: b"k"[..].into(), field: field.map(Into::into), wanted };
        let text = r#"{"watch":[{"key":"k","equals":1.0},{"key":"k","field":"f","exists":true},
            {"key":"k","equals":null},{"equals":{"base64":"/w=="},"key":"k"}],"calls":[{}]}"#;
        let conditions = vec![
            key(None, Wanted::Equals(b"1.0"[..].into())),
            key(Some(b"f"), Wanted::Exists(true)),
            key(None, Wanted::Exists(false)),
            key(None, Wanted::Equals(b"\xff"[..].into())),
        ];
        assert_eq!(read(text), Ok((1, conditions)));
        for (text, sentence) in [
            ("7", "an array of calls"),
            ("{}", "an array of calls"),
            (r#"{"calls":{}}"#, "an array of calls"),
            (r#"{"calls":[],"calls":[]}"#, "given twice"),
            (r#"{"calls":[],"atomic":true}"#, "unknown member `atomic`"),
            (r#"{"calls":[],"watch":{}}"#, "must be an array"),
            (r#"{"calls":[],"watch":[7]}"#, "is an object"),
            (r#"{"calls":[],"watch":[{"key":"k"}]}"#, "either `equals` or `exists`"),
            (r#"{"calls":[],"watch":[{"exists":true}]}"#, "no `key`"),
            (r#"{"calls":[],"watch":[{"key":true,"exists":true}]}"#, "`key` is true"),
            (r#"{"calls":[],"watch":[{"key":"k","exists":1}]}"#, "must be true or false"),
            (r#"{"calls":[],"watch":[{"key":"k","exists":true,"equals":""}]}"#, "either"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn a_document_is_one_call_or_an_array_of_them() {
        assert_eq!(envelopes(r#"{"command":"a"}"#), Ok(vec![r#"{"command":"a"}"#]));
        assert_eq!(envelopes(r#"[1, {}]"#), Ok(vec!["1", "{}"]));
        assert!(envelopes("1").is_err());
        assert!(envelopes(&format!("[1{}]", ",1".repeat(BATCH_COUNT_MAX))).is_err());
    }
}
