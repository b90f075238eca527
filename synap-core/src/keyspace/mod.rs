//! The data: shards, their tables, entries, expiry.

pub mod access;
pub mod cut;
pub mod db;
mod edit;
pub mod entry;
pub mod eviction;
pub mod hasher;
mod segment;
pub mod table;
pub mod timers;
pub mod value;

pub use edit::EntryMut;
