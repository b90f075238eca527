//! The log: the Redis replication stream, one total order of words, one number.
