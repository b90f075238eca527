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

use synap_core::{Code, Error, Result};

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
            _ => return Err(Error::fmt(format!("unknown member `{}`", Error::quote(name.as_bytes())))),
        };
        if slot.replace(value).is_some() {
            return Err(Error::fmt(format!("`{name}` is given twice")));
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
    Ok(Envelope { command: text::string(command), payload })
}

/// Appends the answer of a call: its reply as JSON text, or its error with an HTTP status.
pub fn write(id: &str, answer: &Result<Vec<u8>, (u16, Error)>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"request_id\":");
    text::compact(id, out);
    match answer {
        Ok(payload) => {
            out.extend_from_slice(b",\"success\":true,\"payload\":");
            out.extend_from_slice(payload);
        }
        Err((http_status, error)) => {
            out.extend_from_slice(b",\"success\":false,\"error\":{\"code\":");
            text::write_string(error.code.word(), out);
            out.extend_from_slice(b",\"message\":");
            text::write_string(&error.text, out);
            out.extend_from_slice(format!(",\"status\":{http_status}}}").as_bytes());
        }
    }
    out.push(b'}');
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
        assert_eq!(read, Ok(Envelope { command: "string.get".into(), payload: r#"{"key":"k"}"# }));
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
    fn a_document_is_one_call_or_an_array_of_them() {
        assert_eq!(envelopes(r#"{"command":"a"}"#), Ok(vec![r#"{"command":"a"}"#]));
        assert_eq!(envelopes(r#"[1, {}]"#), Ok(vec!["1", "{}"]));
        assert!(envelopes("1").is_err());
        assert!(envelopes(&format!("[1{}]", ",1".repeat(BATCH_COUNT_MAX))).is_err());
    }
}
