//! Calls and replies as JSON, for REST, streamable HTTP and MCP alike.
//!
//! [`lower()`] turns an object of named arguments into words, guided by the command's argument specs; [`JsonReply`]
//! writes a reply as JSON, guided by its shape; [`schema`] describes both. [`bytes`] is the one place that says how
//! bytes look in JSON, and [`text`] reads JSON from its text, so that nothing passes through a float or a sorted map.

pub mod bytes;
pub mod lower;
pub mod members;
pub mod raise;
mod replies;
pub mod schema;
pub mod text;
mod words;

pub use lower::{lower, lower_query};
pub use raise::{JsonReply, LeftOut, Room};
pub use replies::Replies;
pub use words::Words;

#[cfg(any(test, feature = "testing"))]
pub mod render;
#[cfg(test)]
pub(crate) mod samples;
