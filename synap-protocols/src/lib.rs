//! The doors as translators: they turn what a client sends into the words of a call, and a reply into what the client
//! reads. No listener is opened and no data is held here.
//!
//! - [`resp`]: the Redis protocol, both ways.

#![forbid(unsafe_code)]

pub mod resp;
