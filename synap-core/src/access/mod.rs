//! Who may do what: users, their passwords and rules, and the one check that every call passes.
//!
//! The rules are those of Redis ACL, <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.
//!
//! | module | what it is |
//! |---|---|
//! | [`selector`] | a set of rights: commands, keys, channels |
//! | [`user`] | a name, its passwords and its selectors; immutable |
//! | [`users`] | all of them, and the keys of programs |
//! | [`file`] | users and keys as lines of text: `aclfile` |
//! | [`refusals`] | who was refused what: ACL LOG, counters, and the patience with wrong passwords |
//! | [`secret`] | digests, and randomness that nobody can guess |
//!
//! The check itself is in `execute::rights`, which every call passes.

pub mod file;
pub mod refusals;
pub mod secret;
pub mod selector;
pub mod user;
pub mod users;

pub use selector::{Asked, Denial, RuleError};
pub use user::{Terms, User};
pub use users::{ApiKey, Users};

/// What a rule needs to know of the table: how a word selects rows.
pub trait Rows {
    /// The ids of the rows that `name` names (`config|get`), subcommands included; empty when there is none.
    fn by_name(&self, name: &str) -> Vec<usize>;
    fn by_category(&self, category: Category) -> Vec<usize>;
    /// True when `name` is a container of subcommands that rules may name. Behind a bar, any other command has a first
    /// argument.
    fn has_subcommands(&self, name: &str) -> bool;
    fn count(&self) -> usize;
}

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
