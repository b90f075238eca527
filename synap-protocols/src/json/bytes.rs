//! How bytes look in JSON: the one rule, both ways.
//!
//! | in JSON | the bytes |
//! |---|---|
//! | a string | its UTF-8 bytes |
//! | a number | its text as written: `9007199254740993`, `1.0` and `1e400` stay what they are |
//! | `{"base64":"…"}`, an object with this single member | what the base64 text (RFC 4648, padded or not) decodes to |
//! | any other object or array | its own text without the blanks between its tokens |
//! | `null` | nothing was given |
//! | `true`, `false` | an error: they set flags |
//!
//! Going out, bytes that are UTF-8 are a string and all others are `{"base64":"…"}`.
//!
//! The *name of a member* cannot be an object. Where names are data (the fields of a hash), bytes that are not
//! UTF-8 are the name `base64:…`. So that no name has two meanings, text that begins with `base64:`, and the name
//! `base64` itself, are written in this form as well: an object with the single member `base64` is always bytes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use synap_core::{Error, Result};

use super::text::{self, Kind};

/// The member that marks bytes, and with a colon the beginning of a name that is bytes.
pub const MARK: &str = "base64";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends the bytes that a checked JSON value stands for; the error is the end of a sentence about the argument.
pub fn lower(value: &str, out: &mut Vec<u8>) -> Result<()> {
    match text::kind(value) {
        Kind::String => out.extend_from_slice(text::string(value).as_bytes()),
        Kind::Number => out.extend_from_slice(value.as_bytes()),
        Kind::Object => match marked(value) {
            Some(encoded) => decode(encoded?, out)?,
            None => text::compact(value, out),
        },
        Kind::Array => text::compact(value, out),
        Kind::True | Kind::False => {
            return Err(Error::fmt(format!("is {value} where a value is wanted: put it in quotes to send the text")));
        }
        Kind::Null => return Err(Error::err("is null where a value is wanted")),
    }
    Ok(())
}

/// Appends the bytes that the name of a member stands for where names are data.
pub fn lower_name(name: &str, out: &mut Vec<u8>) -> Result<()> {
    match name.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(':')) {
        Some(encoded) => decode(Cow::Borrowed(encoded), out),
        None => {
            out.extend_from_slice(name.as_bytes());
            Ok(())
        }
    }
}

/// Appends `bytes` as a JSON value.
pub fn raise(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => text::write_string(text, out),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":\"");
            encode(bytes, out);
            out.extend_from_slice(b"\"}");
        }
    }
}

/// Appends `bytes` as the name of a member, in quotes.
pub fn raise_name(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.strip_prefix(MARK).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) => {
            text::write_string(text, out);
        }
        _ => {
            out.extend_from_slice(b"\"base64:");
            encode(bytes, out);
            out.push(b'"');
        }
    }
}

/// The text of the single member `base64` of a checked object, if it is such an object.
pub fn marked(object: &str) -> Option<Result<Cow<'_, str>>> {
    let mut members = text::members(object);
    let (name, value) = members.next()?;
    if name != MARK || members.next().is_some() {
        return None;
    }
    Some(match text::kind(value) {
        Kind::String => Ok(text::string(value)),
        _ => Err(Error::err("has a member `base64` that is not a string")),
    })
}

fn decode(encoded: Cow<str>, out: &mut Vec<u8>) -> Result<()> {
    BASE64.decode_vec(encoded.as_bytes(), out).map_err(|fault| Error::fmt(format!("is not base64: {fault}")))
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start), "four letters for three bytes");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn lowers(value: &str, bytes: &[u8]) {
        let mut out = Vec::new();
        assert_eq!(lower(text::check(value.as_bytes()).expect("it is JSON"), &mut out), Ok(()));
        assert_eq!(out, bytes);
    }

    #[track_caller]
    fn refused(value: &str, sentence: &str) {
        let error = lower(value, &mut Vec::new()).expect_err("no bytes");
        assert_eq!(error.text, sentence);
    }

    #[test]
    fn json_stands_for_bytes() {
        lowers(r#""caf\u00e9""#, "café".as_bytes());
        lowers("9007199254740993", b"9007199254740993");
        lowers("1.0", b"1.0");
        lowers("1e400", b"1e400");
        lowers(r#"{"base64":"/w=="}"#, b"\xff");
        lowers(r#"{"base64":"/w"}"#, b"\xff");
        lowers(r#"{"b\u0061se64":""}"#, b"");
        lowers(r#"{ "b" : [ 1 , " " ] , "a" : 1.50 }"#, br#"{"b":[1," "],"a":1.50}"#);
        lowers(r#"{"base64": "x", "more": 1}"#, br#"{"base64":"x","more":1}"#);
        lowers("[ ]", b"[]");
    }

    #[test]
    fn what_stands_for_no_bytes_is_refused() {
        refused("true", "is true where a value is wanted: put it in quotes to send the text");
        refused("null", "is null where a value is wanted");
        refused(r#"{"base64":1}"#, "has a member `base64` that is not a string");
        refused(r#"{"base64":"%"}"#, "is not base64: Invalid symbol 37, offset 0.");
    }

    #[test]
    fn names_of_members_have_one_meaning() {
        let raised = |name: &[u8]| {
            let mut out = Vec::new();
            raise_name(name, &mut out);
            String::from_utf8(out).expect("JSON is UTF-8")
        };
        assert_eq!(raised(b"name"), r#""name""#);
        assert_eq!(raised(b"\xff"), r#""base64:/w==""#);
        assert_eq!(raised(b"base64"), r#""base64:YmFzZTY0""#);
        assert_eq!(raised(b"base64:"), r#""base64:YmFzZTY0Og==""#);
        assert_eq!(raised(b"base64x"), r#""base64x""#);
    }

    proptest! {
        #[test]
        fn what_is_raised_lowers_to_the_same_bytes(
            bytes in prop_oneof![any::<Vec<u8>>(), "(base64:?)?.{0,5}".prop_map(String::into_bytes)],
        ) {
            let mut value = Vec::new();
            raise(&bytes, &mut value);
            lowers(std::str::from_utf8(&value).expect("JSON is UTF-8"), &bytes);

            let mut name = Vec::new();
            raise_name(&bytes, &mut name);
            let name = text::string(text::check(&name).expect("it is JSON")).into_owned();
            let mut out = Vec::new();
            prop_assert_eq!(lower_name(&name, &mut out), Ok(()));
            prop_assert_eq!(out, bytes);
        }
    }
}
