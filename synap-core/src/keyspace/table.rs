//! The table of one database in one shard.
