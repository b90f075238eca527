//! The Synap engine: typed data in 64 shards, one table of commands, one way to run them, one log.
//!
//! It knows no socket, no HTTP and no JSON; doors (`synap-protocols`) translate to and from words. Read
//! [`command`] for what a command is, and [`execute`] for the life of a call.

pub mod command;
pub mod error;
pub mod execute;
pub mod keyspace;
pub mod log;
pub mod reply;
pub mod sync;
pub mod types;

pub use error::{Code, Error, Result};
pub use reply::Reply;
