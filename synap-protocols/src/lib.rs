//! The doors as translators: they turn what a client sends into the words of a call, and a reply into what the client
//! reads. No listener is opened and no data is held here.
//!
//! - [`resp`]: the Redis protocol, both ways;
//! - [`json`]: named arguments to words, replies to JSON, and the JSON Schemas of both;
//! - [`rest`]: operations as routes, and the OpenAPI document;
//! - [`mcp`]: operations as tools for agents;
//! - [`stream`]: calls in envelopes, alone or in arrays;
//! - [`problem`]: errors as problem documents.

#![forbid(unsafe_code)]

pub mod json;
pub mod mcp;
pub mod problem;
pub mod resp;
pub mod rest;
pub mod stream;

pub(crate) use synap_core::grammar::spec;
pub(crate) use synap_core::reply::follow;
