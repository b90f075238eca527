//! Who may do what: users, their passwords and rules, and the one check that every call passes.
//!
//! The rules are those of Redis ACL, <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.

mod user;

pub use user::Rows;

pub use user::{User, Users};

use crate::grammar::spec::Access;

/// What kind of thing a command is, for rules like `+@read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category(pub u32);

macro_rules! categories {
    ($($name:ident = $bit:literal $word:literal;)*) => {
        impl Category {
            $(pub const $name: Category = Category(1 << $bit);)*
            pub const NAMES: &'static [(&'static str, Category)] = &[$(($word, Category::$name)),*];
        }
    };
}

categories! {
    KEYSPACE = 0 "keyspace";
    READ = 1 "read";
    WRITE = 2 "write";
    SET = 3 "set";
    SORTED_SET = 4 "sortedset";
    LIST = 5 "list";
    HASH = 6 "hash";
    STRING = 7 "string";
    BITMAP = 8 "bitmap";
    HYPERLOGLOG = 9 "hyperloglog";
    GEO = 10 "geo";
    STREAM = 11 "stream";
    PUBSUB = 12 "pubsub";
    ADMIN = 13 "admin";
    FAST = 14 "fast";
    SLOW = 15 "slow";
    BLOCKING = 16 "blocking";
    DANGEROUS = 17 "dangerous";
    CONNECTION = 18 "connection";
    TRANSACTION = 19 "transaction";
    SCRIPTING = 20 "scripting";
    QUEUE = 21 "queue";
    TOPIC = 22 "topic";
}

impl Category {
    pub const NONE: Category = Category(0);

    pub const fn and(self, other: Category) -> Category {
        Category(self.0 | other.0)
    }
    pub const fn has(self, other: Category) -> bool {
        self.0 & other.0 == other.0
    }
    /// The names without the `@`, in Redis' order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Category::NAMES.iter().filter(move |(_, c)| self.has(*c)).map(|(name, _)| *name)
    }
    pub fn by_name(name: &str) -> Option<Category> {
        Category::NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, c)| *c)
    }
}

/// A pattern of keys with the rights on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    pub read: bool,
    pub write: bool,
    pub pattern: Box<[u8]>,
}

impl KeyRule {
    fn allows(&self, access: Access, key: &[u8]) -> bool {
        (self.read || !access.reads()) && (self.write || !access.writes()) && crate::glob::matches(&self.pattern, key)
    }
}
