//! Replies read back into a tree: for tests, benchmarks and whoever of us is a client.
//!
//! A reply that is cut off is read from its beginning again when more has come, so this is not for large streams.

use std::fmt;

use memchr::memchr;

/// A reply. RESP2 uses the first seven kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Status(String),
    /// Code and sentence, as they stand on the line.
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Array(Vec<Value>),
    /// `$-1` and `_`.
    Null,
    /// `*-1`.
    NullArray,
    Boolean(bool),
    Double(f64),
    BigNumber(String),
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
}

/// What a server may send.
#[derive(Clone, Copy, Debug)]
pub struct ValueLimits {
    /// Aggregates within aggregates; also bounds the stack.
    pub depth_max: usize,
    /// Longest string.
    pub bulk_bytes_max: usize,
    /// Most items of one aggregate.
    pub item_count_max: usize,
}

impl ValueLimits {
    pub const DEFAULT: ValueLimits = ValueLimits { depth_max: 128, bulk_bytes_max: 512 << 20, item_count_max: 1 << 28 };
}

/// The bytes are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// Where in the bytes.
    pub at: usize,
    pub expected: &'static str,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the reply is malformed at byte {}: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for ValueError {}

impl Value {
    /// Reads the reply at the beginning of `bytes`: the reply and its length, or nothing when it is cut off.
    pub fn parse(bytes: &[u8], limits: &ValueLimits) -> Result<Option<(Value, usize)>, ValueError> {
        let mut cursor = Cursor { bytes, at: 0, limits };
        match cursor.value(0) {
            Ok(value) => Ok(Some((value, cursor.at))),
            Err(Stop::CutOff) => Ok(None),
            Err(Stop::Expected(expected)) => Err(ValueError { at: cursor.at, expected }),
        }
    }

    /// The bytes of a string of any kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Status(text) | Value::BigNumber(text) => Some(text.as_bytes()),
            Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// The items of an array, set or push.
    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => Some(items),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a ValueLimits,
}

enum Stop {
    CutOff,
    Expected(&'static str),
}

impl<'a> Cursor<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > self.limits.depth_max {
            return Err(Stop::Expected("less depth"));
        }
        let kind = *self.bytes.get(self.at).ok_or(Stop::CutOff)?;
        let start = self.at;
        self.at += 1;
        Ok(match kind {
            b'+' => Value::Status(self.text()?),
            b'-' => Value::Error(self.text()?),
            b'(' => Value::BigNumber(self.text()?),
            b':' => Value::Int(self.parsed("an integer")?),
            b',' => Value::Double(self.parsed("a double")?),
            b'#' => match self.line()? {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return self.expected(start, "'t' or 'f'"),
            },
            b'_' => match self.line()? {
                b"" => Value::Null,
                _ => return self.expected(start, "nothing"),
            },
            b'$' => self.bulk()?.map_or(Value::Null, |bytes| Value::Bulk(bytes.to_vec())),
            b'!' => match self.bulk()? {
                Some(bytes) => Value::Error(String::from_utf8_lossy(bytes).into_owned()),
                None => return self.expected(start, "an error"),
            },
            b'=' => match self.bulk()? {
                Some([a, b, c, b':', text @ ..]) => Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() },
                _ => return self.expected(start, "a format and a text"),
            },
            b'*' => match self.len(self.limits.item_count_max)? {
                Some(len) => Value::Array(self.items(len, depth)?),
                None => Value::NullArray,
            },
            b'~' => Value::Set(self.some_items(depth)?),
            b'>' => Value::Push(self.some_items(depth)?),
            b'%' => Value::Map(self.pairs(depth)?),
            b'|' => {
                // Attributes say something about the reply that follows; nobody here wants to know it.
                self.pairs(depth)?;
                self.value(depth + 1)?
            }
            _ => return self.expected(start, "the type of a reply"),
        })
    }

    fn items(&mut self, len: usize, depth: usize) -> Result<Vec<Value>, Stop> {
        // Grows with what is found, not with what is announced.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn some_items(&mut self, depth: usize) -> Result<Vec<Value>, Stop> {
        let len = self.len(self.limits.item_count_max)?.ok_or(Stop::Expected("items"))?;
        self.items(len, depth)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let len = self.len(self.limits.item_count_max)?.ok_or(Stop::Expected("pairs"))?;
        let mut pairs = Vec::new();
        for _ in 0..len {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn bulk(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let Some(len) = self.len(self.limits.bulk_bytes_max)? else { return Ok(None) };
        let rest = &self.bytes[self.at..];
        let bytes = rest.get(..len).ok_or(Stop::CutOff)?;
        let after = rest.get(len..len + 2).ok_or(Stop::CutOff)?;
        self.at += len;
        if after != b"\r\n" {
            return Err(Stop::Expected("the end of a string"));
        }
        self.at += 2;
        Ok(Some(bytes))
    }

    /// A length; none for -1.
    fn len(&mut self, max: usize) -> Result<Option<usize>, Stop> {
        let start = self.at;
        match self.parsed::<i64>("a length")? {
            -1 => Ok(None),
            len => match usize::try_from(len) {
                Ok(len) if len <= max => Ok(Some(len)),
                _ => self.expected(start, "a length within limits"),
            },
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T, Stop> {
        let start = self.at;
        match std::str::from_utf8(self.line()?).ok().and_then(|text| text.parse().ok()) {
            Some(value) => Ok(value),
            None => self.expected(start, expected),
        }
    }

    fn text(&mut self) -> Result<String, Stop> {
        Ok(String::from_utf8_lossy(self.line()?).into_owned())
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let cr = memchr(b'\r', rest).ok_or(Stop::CutOff)?;
        match rest.get(cr + 1) {
            Some(b'\n') => {}
            Some(_) => return Err(Stop::Expected("the end of a line")),
            None => return Err(Stop::CutOff),
        }
        self.at += cr + 2;
        Ok(&rest[..cr])
    }

    /// Stops at a place that was passed already.
    fn expected<T>(&mut self, at: usize, expected: &'static str) -> Result<T, Stop> {
        self.at = at;
        Err(Stop::Expected(expected))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synap_core::{Error, Reply};

    use super::super::RespWriter;
    use super::*;

    fn parse(bytes: &[u8]) -> Value {
        let (value, len) = Value::parse(bytes, &ValueLimits::DEFAULT).unwrap().expect("complete");
        assert_eq!(len, bytes.len());
        value
    }

    fn flaw(bytes: &[u8]) -> (usize, &'static str) {
        let error = Value::parse(bytes, &ValueLimits::DEFAULT).unwrap_err();
        (error.at, error.expected)
    }

    #[test]
    fn kinds_that_only_others_send() {
        assert_eq!(parse(b"(12345678901234567890\r\n"), Value::BigNumber("12345678901234567890".into()));
        assert_eq!(parse(b"!5\r\nERR x\r\n"), Value::Error("ERR x".into()));
        assert_eq!(parse(b"|1\r\n+ttl\r\n:3\r\n*1\r\n:1\r\n"), Value::Array(vec![Value::Int(1)]));
        assert_eq!(parse(b",inf\r\n"), Value::Double(f64::INFINITY));
    }

    #[test]
    fn malformed_replies_are_refused() {
        assert_eq!(flaw(b"?"), (0, "the type of a reply"));
        assert_eq!(flaw(b":x\r\n"), (1, "an integer"));
        assert_eq!(flaw(b"$-2\r\n"), (1, "a length within limits"));
        assert_eq!(flaw(b"$1\r\nab\r\n"), (5, "the end of a string"));
        assert_eq!(flaw(b"+a\rb"), (1, "the end of a line"));
        assert_eq!(flaw(b"#x\r\n"), (0, "'t' or 'f'"));
        assert_eq!(flaw(b"=3\r\ntxt\r\n"), (0, "a format and a text"));
        assert_eq!(flaw(&b"*1\r\n".repeat(200)).1, "less depth");
        assert_eq!(flaw(&b"|0\r\n".repeat(200)).1, "less depth");
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        assert_eq!(Value::parse(b"*100000000\r\n$500000000\r\nx", &ValueLimits::DEFAULT), Ok(None));
    }

    /// Says a value; what RESP2 cannot say is left out of [`any_value`]'s RESP2 run.
    fn say(value: &Value, reply: &mut RespWriter) {
        let all = |items: &[Value], reply: &mut RespWriter| items.iter().for_each(|item| say(item, reply));
        match value {
            Value::Status(text) => reply.status(text),
            Value::Error(text) => reply.error(&Error::fmt(text.trim_start_matches("ERR ").to_owned())),
            Value::Int(value) => reply.int(*value),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::NullArray => reply.null_array(),
            Value::Boolean(value) => reply.boolean(*value),
            Value::Double(value) => reply.double(*value),
            Value::BigNumber(_) => unreachable!("we never say one"),
            Value::Verbatim { text, .. } => reply.verbatim("txt", std::str::from_utf8(text).unwrap()),
            Value::Array(items) => {
                reply.array(items.len());
                all(items, reply);
            }
            Value::Set(items) => {
                reply.set(items.len());
                all(items, reply);
            }
            Value::Push(items) => {
                reply.push(items.len());
                all(items, reply);
            }
            Value::Map(pairs) => {
                reply.map(pairs.len());
                pairs.iter().for_each(|(key, value)| {
                    say(key, reply);
                    say(value, reply);
                });
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-zA-Z ]{0,9}".prop_map(Value::Status),
            "ERR [a-z ]{0,9}".prop_map(Value::Error),
            any::<i64>().prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bulk),
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<f64>().prop_filter("equal to itself", |value| !value.is_nan()).prop_map(Value::Double),
            "[a-z\r\n]{0,12}".prop_map(|text| Value::Verbatim { format: *b"txt", text: text.into_bytes() }),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..5);
            prop_oneof![
                items.clone().prop_map(Value::Array),
                items.clone().prop_map(Value::Set),
                items.prop_map(Value::Push),
                prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_said_in_resp3_is_heard(value in any_value()) {
            let mut bytes = Vec::new();
            say(&value, &mut RespWriter::new(&mut bytes, true));
            prop_assert_eq!(parse(&bytes), value);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Value::parse(&bytes[..cut], &ValueLimits::DEFAULT), Ok(None));
            }
        }

        #[test]
        fn what_is_said_in_resp2_is_one_reply(value in any_value()) {
            let mut bytes = Vec::new();
            say(&value, &mut RespWriter::new(&mut bytes, false));
            parse(&bytes);
        }

        #[test]
        fn noise_does_no_harm(bytes in "[-+:$*%~>|=!#,_(t0-9a\r\n]{0,30}") {
            let _ = Value::parse(bytes.as_bytes(), &ValueLimits::DEFAULT);
        }
    }
}
