//! JSON-RPC messages taken apart before the SDK reads them.
//!
//! The arguments of a tool call are values to be stored. They go to the engine as they were sent (2^53 + 1, 1.0 and the
//! order of members survive) and never become a tree, so the SDK gets the message without them.

use std::borrow::Cow;

use synap_core::{Error, Result};

use crate::json::text::{self, Kind};

/// Bytes of a message at the most, without the arguments of a tool call.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the id of a request at the most.
pub const ID_BYTES_MAX: usize = 256;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The message as the SDK is to see it.
    pub envelope: Cow<'a, str>,
    /// The JSON text of the arguments of a tool call.
    pub arguments: Option<&'a str>,
    pub method: Option<Cow<'a, str>>,
    /// The JSON text of its id, when it is a request.
    pub id: Option<&'a str>,
    /// The JSON text of the id of the request that it cancels.
    pub cancels: Option<&'a str>,
}

/// Takes a message apart, which [`text::check`] has read.
pub fn read(document: &str) -> Result<Message<'_>> {
    let mut message =
        Message { envelope: Cow::Borrowed(document), arguments: None, method: None, id: None, cancels: None };
    if text::kind(document) == Kind::Object {
        let method = member(document, "method")?.filter(|method| text::kind(method) == Kind::String);
        let params = member(document, "params")?.filter(|params| text::kind(params) == Kind::Object);
        message.id = member(document, "id")?;
        message.method = method.map(text::string);
        match (message.method.as_deref(), params) {
            (Some("tools/call"), Some(params)) => {
                if let Some(arguments) = member(params, "arguments")?.filter(|given| text::kind(given) != Kind::Null) {
                    if text::kind(arguments) != Kind::Object {
                        return Err(Error::err("the arguments must be a JSON object"));
                    }
                    message.envelope = Cow::Owned(without(document, arguments));
                    message.arguments = Some(arguments);
                }
            }
            (Some("notifications/cancelled"), Some(params)) => message.cancels = member(params, "requestId")?,
            _ => {}
        }
    }
    if message.id.is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err(Error::fmt(format!("the id of the message is longer than {ID_BYTES_MAX} bytes")));
    }
    if message.envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(Error::fmt(format!("the message is longer than {ENVELOPE_BYTES_MAX} bytes without its arguments")));
    }
    Ok(message)
}

/// The value of a member, which must not be given twice: whoever reads it after us could take the other one.
fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>> {
    let mut found = None;
    for (known, value) in text::members(object) {
        if known == name && found.replace(value).is_some() {
            return Err(Error::fmt(format!("`{name}` is given twice")));
        }
    }
    Ok(found)
}

/// `document` with an empty object in the place of `part`, which is a slice of it.
fn without(document: &str, part: &str) -> String {
    let start = part.as_ptr() as usize - document.as_ptr() as usize;
    [&document[..start], "{}", &document[start + part.len()..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_out_as_they_are() {
        let document =
            r#"{"id": "7", "method":"tools\/call","params":{"name":"a","arguments": {"v": 1e400, "v": 1.0} }}"#;
        let message = read(document).expect("a message");
        assert_eq!(message.arguments, Some(r#"{"v": 1e400, "v": 1.0}"#));
        assert_eq!(message.envelope, r#"{"id": "7", "method":"tools\/call","params":{"name":"a","arguments": {} }}"#);
        assert_eq!((message.id, message.cancels), (Some(r#""7""#), None));
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        for document in
            ["[]", "1", "{}", r#"{"method":"tools/list","params":{"arguments":{}}}"#, r#"{"method":1,"params":2}"#]
        {
            let message = read(document).expect("a message");
            assert_eq!((message.envelope.as_ref(), message.arguments), (document, None));
        }
        let cancelled = read(r#"{"method":"notifications/cancelled","params":{"requestId":12}}"#).expect("a message");
        assert_eq!(cancelled.cancels, Some("12"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for document in [
            r#"{"method":"tools/call","method":"tools/list"}"#,
            r#"{"id":1,"id":2}"#,
            r#"{"method":"tools/call","params":{"arguments":[]}}"#,
            r#"{"method":"tools/call","params":{"arguments":{},"arguments":{}}}"#,
        ] {
            assert!(read(document).is_err(), "{document}");
        }
    }

    #[test]
    fn messages_are_limited_and_arguments_have_limits_of_their_own() {
        let long = "x".repeat(ENVELOPE_BYTES_MAX);
        assert!(read(&format!(r#"{{"method":"{long}"}}"#)).is_err());
        assert!(read(&format!(r#"{{"method":"tools/call","params":{{"arguments":{{"v":"{long}"}}}}}}"#)).is_ok());
        assert!(read(&format!(r#"{{"id":"{}"}}"#, "x".repeat(ID_BYTES_MAX))).is_err());
    }
}
