//! The commands: one file per group, each a row, an argument struct and a handler side by side; [`table`] lists them.

pub mod acl;
pub mod alias;
pub mod api_key;
pub mod bitmap;
pub mod client;
pub mod connection;
pub mod counter;
pub mod dump;
pub mod facts;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hash_expiry;
pub mod help;
pub mod hyperloglog;
pub mod info;
pub mod latency;
pub mod list;
pub mod memory;
pub mod migrate;
pub mod persistence;
pub mod pubsub;
pub mod server;
pub mod set;
pub mod set_algebra;
pub mod slowlog;
pub mod sort;
pub mod status;
pub mod string;
pub mod substring;
pub mod table;
pub mod tracking;
pub mod transaction;
pub mod zset;
pub mod zset_algebra;
pub mod zset_pop;
pub mod zset_range;

mod deadline;

use crate::error::{Error, Result};
use crate::grammar::Pattern;
pub use crate::grammar::spec;
use crate::types::Elem;
pub use table::{Table, table};

/// What a file of commands begins with.
pub(crate) mod prelude {
    pub use crate::access::Category;
    pub use crate::error::{Code, Error, Result};
    pub use crate::execute::notify::{Classes, Event};
    pub use crate::execute::row::{
        BlockingCommand, Command, Flags, Group, KeepingCommand, ReadCommand, SessionCommand, Tool, WalkCommand,
        WriteCommand,
    };
    pub use crate::execute::{Flow, ReadCx, SessionCx, WalkCx, WriteCx};
    pub use crate::grammar::args::{
        Channel, Counted, Each, Key, KeyPattern, Many, NumKeys, Pattern, PerItem, Sentences, Word,
    };
    pub use crate::grammar::numbers::{CardLimit, Count, Cursor, Database, Effort, Int, Picks, PopCount, Timeout};
    pub use crate::grammar::spec::Shape;
    pub use crate::grammar::{Arg, Args, Words};
    pub use crate::reply::Reply;
}

/// What clients are told: the version whose behaviour this server has.
pub const REDIS_VERSION: &str = "7.2.4";

/// The number of an existing database.
pub fn database(state: &crate::execute::State, db: crate::grammar::numbers::Database) -> Result<u32> {
    u32::try_from(db.0)
        .ok()
        .filter(|db| i64::from(*db) < state.settings.int(crate::settings::DATABASES))
        .ok_or(Error::err("DB index is out of range"))
}

/// True when the pattern of an iteration takes a name.
pub(crate) fn takes(pattern: Option<Pattern<'_>>, name: Elem<'_>) -> bool {
    pattern.is_none_or(|Pattern(pattern)| crate::glob::matches(pattern, name.bytes(&mut itoa::Buffer::new())))
}

/// The bytes that an answer may still have, when it can be longer than the data that it is made from.
pub(crate) struct Budget(usize);

impl Budget {
    pub const ENDLESS: Budget = Budget(usize::MAX);

    /// As much as one string may have.
    pub fn of_answer() -> Budget {
        Budget(512 << 20)
    }

    pub fn spend(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or(Error::err("value is out of range"))?;
        Ok(())
    }
}

/// The indexes that `start..=stop` mean for `len` items, negative ones counted from the end.
pub(crate) fn index_range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len_i = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index.saturating_add(len_i) } else { index };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len_i - 1);
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

#[cfg(test)]
mod tests {
    use super::index_range;

    #[test]
    fn negative_indexes_count_from_the_end() {
        assert_eq!(index_range(0, -1, 3), 0..3);
        assert_eq!(index_range(-2, -1, 3), 1..3);
        assert_eq!(index_range(-100, 100, 3), 0..3);
        assert_eq!(index_range(2, 1, 3), 0..0);
        assert_eq!(index_range(3, 9, 3), 0..0);
        assert_eq!(index_range(i64::MIN, i64::MAX, 0), 0..0);
    }
}
