//! The Redis protocol: bytes to words, replies to bytes.
//!
//! - [`decode`]: what a client sends, found in its read buffer without copying;
//! - [`encode`]: replies in RESP2 and RESP3, written as the handler says them;
//! - [`value`]: replies read back into a tree, for whoever is the client: tests, benchmarks, replication.

pub mod decode;
pub mod encode;
mod inline;
pub mod value;

pub use decode::{DecodeLimits, Decoded, Decoder, ProtocolError, Span};
pub use encode::RespWriter;
pub use inline::split_line;
pub use value::Value;
