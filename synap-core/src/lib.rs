//! The Synap engine: typed data in 64 shards, one table of commands, one way to run them, one log.
//!
//! It knows no socket, no HTTP and no JSON; doors (`synap-protocols`) translate to and from words. From top to bottom:
//!
//! | module | what it is |
//! |---|---|
//! | [`engine`] | opens and closes an engine |
//! | [`command`] | the rows, one file per group, and the table of them |
//! | [`execute`] | the life of a call |
//! | [`session`], [`access`], [`settings`] | who calls, what they may, how it is set |
//! | [`log`] | the stream of changes |
//! | [`snapshot`] | RDB: values and whole files as bytes |
//! | [`keyspace`] | tables, entries, timers |
//! | [`types`] | pure structures |
//! | [`memory`] | how much of it is in use |
//! | [`grammar`], [`reply`], [`error`] | words in, answers out |

pub mod access;
pub mod clock;
pub mod command;
pub mod engine;
pub mod error;
pub mod execute;
pub mod glob;
pub mod grammar;
pub mod keyspace;
pub mod log;
pub mod memory;
pub mod persist;
pub mod reply;
pub mod session;
pub mod settings;
pub mod snapshot;
pub mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod types;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: memory::Counting<std::alloc::System> = memory::Counting(std::alloc::System);

pub use engine::{Engine, Options};
pub use error::{Code, Error, Result};
pub use reply::Reply;
