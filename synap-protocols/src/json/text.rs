//! JSON read from its text.
//!
//! [`check`] reads a document once, from outside, and refuses whatever is not JSON, too deep or too long. All other
//! functions take text that was checked and are simple because of it: members and items come in order as slices of
//! the text, numbers as they are written, strings without a copy unless they hold escapes.

use std::borrow::Cow;

use synap_core::{Error, Result};

/// Bytes of one document at the most.
pub const TEXT_BYTES_MAX: usize = 512 << 20;
/// Arrays and objects inside each other at the most.
pub const DEPTH_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// Reads a whole document and returns its one value without the blanks around it.
pub fn check(text: &[u8]) -> Result<&str> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::fmt(format!("the JSON text is longer than {TEXT_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| Error::fmt(format!("the JSON text is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    reader.blanks();
    reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.fault("the end of the text was expected"));
    }
    Ok(text.trim_matches(is_blank_char))
}

/// What a checked value is.
pub fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The items of a checked array.
pub fn items(array: &str) -> impl Iterator<Item = &str> {
    debug_assert_eq!(kind(array), Kind::Array);
    let mut rest = &array[1..];
    std::iter::from_fn(move || {
        let value = next_value(rest)?;
        rest = value.1;
        Some(value.0)
    })
}

/// The names, unescaped, and values of a checked object.
pub fn members(object: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    debug_assert_eq!(kind(object), Kind::Object);
    let mut rest = &object[1..];
    std::iter::from_fn(move || {
        let (name, after) = next_value(rest)?;
        let (value, after) = next_value(after)?;
        rest = after;
        Some((string(name), value))
    })
}

/// What a checked string holds.
pub fn string(value: &str) -> Cow<'_, str> {
    debug_assert_eq!(kind(value), Kind::String);
    let inside = &value[1..value.len() - 1];
    let Some(first) = memchr::memchr(b'\\', inside.as_bytes()) else { return Cow::Borrowed(inside) };
    let mut out = String::with_capacity(inside.len());
    out.push_str(&inside[..first]);
    let mut rest = &inside[first..];
    while let Some(letter) = rest.as_bytes().get(1) {
        let plain = match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = hex4(&rest.as_bytes()[2..]).unwrap_or(0);
                let mut used = 6;
                let mut code = u32::from(high);
                if (0xd800..0xdc00).contains(&high) {
                    let low = hex4(&rest.as_bytes()[8..]).unwrap_or(0);
                    code = 0x10000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(low).wrapping_sub(0xdc00) & 0x3ff);
                    used = 12;
                }
                rest = &rest[used - 2..]; // the two that all escapes have are taken below
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(*other),
        };
        out.push(plain);
        rest = &rest[2..];
        let next = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(out)
}

/// Appends a checked value without the blanks that mean nothing.
pub fn compact(value: &str, out: &mut Vec<u8>) {
    let bytes = value.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' => string_end(bytes, at),
            byte => {
                if !is_blank(byte) {
                    out.push(byte);
                }
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[at..end]);
        at = end;
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let [high, low] = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// The next value of checked text, past blanks, commas and colons, and what follows it; `None` at a closing bracket.
fn next_value(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|byte| !is_blank(*byte) && !matches!(byte, b',' | b':'))?;
    let end = match bytes[start] {
        b']' | b'}' => return None,
        b'"' => string_end(bytes, start),
        b'[' | b'{' => {
            let (mut at, mut depth) = (start, 0);
            loop {
                match bytes[at] {
                    b'"' => {
                        at = string_end(bytes, at);
                        continue;
                    }
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth -= 1,
                    _ => (),
                }
                at += 1;
                if depth == 0 {
                    break at;
                }
            }
        }
        _ => {
            let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b']' | b'}' | b':');
            start + bytes[start..].iter().position(ends).unwrap_or(bytes.len() - start)
        }
    };
    Some((&text[start..end], &text[end..]))
}

/// Behind the string that begins at `start` of checked text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1; // the escaped byte
    }
    bytes.len()
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_blank_char(letter: char) -> bool {
    u8::try_from(letter).is_ok_and(is_blank)
}

fn hex4(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// Reads text that nobody has checked.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn fault(&self, what: &str) -> Error {
        Error::fmt(format!("the text is not JSON at byte {}: {what}", self.at))
    }

    fn value(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH_MAX => Err(self.fault("arrays and objects are nested too deeply")),
            Some(b'{') => self.list(b'}', |reader| {
                if reader.peek() != Some(b'"') {
                    return Err(reader.fault("a name in quotes was expected"));
                }
                reader.string()?;
                reader.blanks();
                if !reader.take(b':') {
                    return Err(reader.fault("`:` was expected"));
                }
                reader.blanks();
                reader.value(depth + 1)
            }),
            Some(b'[') => self.list(b']', |reader| reader.value(depth + 1)),
            Some(b'"') => self.string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault("a value was expected")),
        }
    }

    fn list(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.at += 1;
        self.blanks();
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.blanks();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.fault(&format!("`,` or `{}` was expected", char::from(close))));
            }
            self.blanks();
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fault("a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.fault("a digit was expected"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.fault("the string does not end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..b' ') => return Err(self.fault("a control character must be escaped")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match self.code_unit() {
                Some(0xd800..0xdc00) => {
                    self.at += 6;
                    if !matches!(self.code_unit(), Some(0xdc00..0xe000)) {
                        return Err(self.fault("half of a surrogate pair is missing"));
                    }
                    self.at += 6;
                    Ok(())
                }
                Some(0xdc00..0xe000) => Err(self.fault("half of a surrogate pair is missing")),
                Some(_) => {
                    self.at += 6;
                    Ok(())
                }
                None => Err(self.fault("four hexadecimal digits were expected")),
            },
            _ => Err(self.fault("no such escape")),
        }
    }

    /// The `\uXXXX` here.
    fn code_unit(&self) -> Option<u16> {
        let escape = self.bytes.get(self.at..self.at + 6)?;
        if escape.starts_with(b"\\u") { hex4(&escape[2..]) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn refused(text: &[u8], sentence: &str) {
        assert_eq!(check(text).map_err(|e| e.text.into_owned()), Err(sentence.into()));
    }

    #[test]
    fn blanks_around_the_document_are_cut() {
        assert_eq!(check(b" \n [1, 2]\t\r"), Ok("[1, 2]"));
    }

    #[test]
    fn members_come_in_order_and_more_than_once() {
        let all: Vec<_> = members(r#"{ "b" : [1, {"x":"]"}] ,"a":"\"","\u0062": 1.0e5 }"#).collect();
        assert_eq!(all, [("b".into(), r#"[1, {"x":"]"}]"#), ("a".into(), r#""\"""#), ("b".into(), "1.0e5")]);
    }

    #[test]
    fn numbers_keep_their_text() {
        let all: Vec<_> = items("[9007199254740993,1.0 , 1e400,-0]").collect();
        assert_eq!(all, ["9007199254740993", "1.0", "1e400", "-0"]);
        assert_eq!(items("[ ]").count(), 0);
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(string(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00x\u0000""#), "\"\\/\u{8}\u{c}\n\r\té😀x\0");
    }

    #[test]
    fn compact_text_keeps_what_means_something() {
        let mut out = Vec::new();
        compact("{ \"a b\" : [ 1 , \"\\u0041 \\\" \" , 2.50 ] }", &mut out);
        assert_eq!(out, br#"{"a b":[1,"\u0041 \" ",2.50]}"#);
    }

    #[test]
    fn faults_name_their_place() {
        refused(b"", "the text is not JSON at byte 0: a value was expected");
        refused(b"{} x", "the text is not JSON at byte 3: the end of the text was expected");
        refused(b"{\"a\" 1}", "the text is not JSON at byte 5: `:` was expected");
        refused(b"{a:1}", "the text is not JSON at byte 1: a name in quotes was expected");
        refused(b"[1 2]", "the text is not JSON at byte 3: `,` or `]` was expected");
        refused(b"[1,]", "the text is not JSON at byte 3: a value was expected");
        refused(b"\"a\nb\"", "the text is not JSON at byte 2: a control character must be escaped");
        refused(b"\"a", "the text is not JSON at byte 2: the string does not end");
        refused(b"01", "the text is not JSON at byte 1: the end of the text was expected");
        refused(b"1.", "the text is not JSON at byte 2: a digit was expected");
        refused(b"nul", "the text is not JSON at byte 0: a value was expected");
        refused(b"\"\xff\"", "the JSON text is not UTF-8 at byte 1");
        refused(b"\xef\xbb\xbf{}", "the text is not JSON at byte 0: a value was expected");
    }

    #[test]
    fn lone_surrogates_are_refused() {
        const HALF: &str = "half of a surrogate pair is missing";
        refused(br#""\ud800""#, &format!("the text is not JSON at byte 7: {HALF}"));
        refused(br#""\ud800\u0041""#, &format!("the text is not JSON at byte 7: {HALF}"));
        refused(br#""\udc00""#, &format!("the text is not JSON at byte 1: {HALF}"));
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(DEPTH_MAX).as_bytes()).is_ok());
        refused(
            "[".repeat(1_000_000).as_bytes(),
            "the text is not JSON at byte 64: arrays and objects are nested too deeply",
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Builds the same tree as `serde_json` with the functions of this module.
    fn tree(value: &str) -> Value {
        match kind(value) {
            Kind::Array => items(value).map(tree).collect(),
            Kind::Object => {
                Value::Object(members(value).map(|(name, value)| (name.into_owned(), tree(value))).collect())
            }
            Kind::String => string(value).into_owned().into(),
            _ => serde_json::from_str(value).expect("a scalar"),
        }
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_the_same(value in any_value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("it has no other keys than strings");
            let checked = check(text.as_bytes()).expect("it is JSON");
            // Floats are compared as read back from text, which may differ in the last place from the original.
            prop_assert_eq!(tree(checked), serde_json::from_str::<Value>(&text).expect("it is JSON"));
            let mut out = Vec::new();
            compact(checked, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&value).expect("as above"));
        }

        #[test]
        fn any_text_is_json_here_when_it_is_json_for_serde_json(
            text in r#"[\[\]{}",:0-9.eE+\\ud8cnaltrfs \-]{0,12}"#,
        ) {
            // Out-of-range numbers are no error here.
            let theirs = match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
                // A raw value is not checked for surrogates.
                Ok(_) if text.contains("\\ud8") || text.contains("\\udc") => return Ok(()),
                theirs => theirs.is_ok(),
            };
            prop_assert_eq!(check(text.as_bytes()).is_ok(), theirs);
        }

        #[test]
        fn strings_are_written_as_they_are_read(text: String) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(string(check(&out).expect("it is JSON")), &*text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("it is JSON"), text);
        }
    }
}
