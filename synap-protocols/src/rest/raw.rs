//! The value itself as a body: replies that are one string, without JSON around them.

use synap_core::reply::{Mark, Reply};
use synap_core::{Error, Result};

use crate::spec::{Shape, ShapeKind};

/// A reply of one string, or none.
#[derive(Debug, Default)]
pub struct RawReply {
    bytes: Option<Vec<u8>>,
    error: Option<Error>,
}

impl RawReply {
    /// True for replies that are nothing but bytes, which may be missing.
    pub fn fits(shape: &Shape) -> bool {
        match shape.kind {
            ShapeKind::Bytes | ShapeKind::Text => true,
            ShapeKind::Optional(inner) => RawReply::fits(inner),
            _ => false,
        }
    }

    /// The bytes, or `None` where the reply is that nothing is there.
    pub fn finish(self) -> Result<Option<Vec<u8>>> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.bytes),
        }
    }
}

// A reply that is no string does not come: `fits` was asked before.
impl Reply for RawReply {
    fn status(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }
    fn int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }
    fn double(&mut self, value: f64) {
        self.bulk(value.to_string().as_bytes());
    }
    fn boolean(&mut self, value: bool) {
        self.int(value.into());
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.bytes = Some(bytes.to_vec());
    }
    fn verbatim(&mut self, _format: &str, text: &str) {
        self.bulk(text.as_bytes());
    }
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _len: usize) {}
    fn map(&mut self, _len: usize) {}
    fn set(&mut self, _len: usize) {}
    fn push(&mut self, _len: usize) {}
    fn error(&mut self, error: &Error) {
        self.error = Some(error.clone());
    }
    fn resp3(&self) -> bool {
        true
    }
    fn mark(&self) -> Mark {
        Mark(0)
    }
    fn rollback(&mut self, _mark: Mark) {
        *self = RawReply::default();
    }
}
