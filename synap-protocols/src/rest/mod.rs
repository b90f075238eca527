//! REST: an operation *is* a route, and the OpenAPI document is computed from the same rows.
//!
//! `hash.set` is `POST /api/v1/hash/set` with a JSON object of named arguments; a read is also
//! `GET /api/v1/hash/get/{key}/{field}?option=…`, a deletion also `DELETE`. How members, segments and queries become
//! words is said in [`crate::json::lower`](mod@crate::json::lower).

pub mod credentials;
mod envelopes;
pub mod openapi;
pub mod operation;
pub mod raw;
pub mod route;
