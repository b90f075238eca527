//! The data: shards, their tables, entries, expiry.

pub mod entry;
pub mod hasher;
pub mod table;
