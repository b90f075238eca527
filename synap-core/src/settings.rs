//! The engine's settings: one table, named as in `redis.conf`. CONFIG GET and SET, flags and documentation read it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::execute::notify::Classes;
use crate::keyspace::eviction::{Order, Policy};
use crate::types::Limits;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    /// Another name for it.
    pub alias: &'static str,
    pub doc: &'static str,
    pub kind: Kind,
    /// As it is written in a configuration file.
    pub default: &'static str,
    /// Cannot change while the server runs.
    pub fixed: bool,
}

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within bounds, inclusive.
    Int {
        min: i64,
        max: i64,
    },
    /// Bytes, also as `100mb`.
    Memory,
    /// The same, or a share of `maxmemory` as `5%`: a negative number then.
    MemoryOrShare,
    /// `yes` or `no`.
    Bool,
    /// One of several words.
    Choice(&'static [&'static str]),
    Text,
    /// Pairs of seconds and changes: see [`save_rules`].
    SaveRules,
    /// Letters, each a class of events: see [`Classes`].
    Events,
    /// Numbers from 0 to 100: see [`percentiles`].
    Percentiles,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $id:ident = $name:literal $(| $alias:literal)?, $kind:expr, $default:literal $(, $fixed:ident)?;)*) => {
        /// Every setting, by the number that its constant has.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            alias: concat!("" $(, $alias)?),
            doc: concat!($($doc),*),
            kind: $kind,
            default: $default,
            fixed: false $(|| stringify!($fixed).len() > 0)?,
        }),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(usize)]
        enum Index { $($id),* }

        $(#[doc = concat!("`", $name, "`")] pub const $id: Id = Id(Index::$id as usize);)*
    };
}

/// The number of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

impl Id {
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self.0]
    }
}

/// The numbers of all settings.
pub fn all() -> impl Iterator<Item = Id> {
    (0..SETTINGS.len()).map(Id)
}

const ANY: Kind = Kind::Int { min: i64::MIN, max: i64::MAX };
const COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };

/// In Redis' order, which its refusal lists them in.
const POLICIES: [(&str, Option<Policy>); 8] = [
    ("volatile-lru", Some(Policy { only_volatile: true, order: Order::LeastRecent })),
    ("volatile-lfu", Some(Policy { only_volatile: true, order: Order::LeastFrequent })),
    ("volatile-random", Some(Policy { only_volatile: true, order: Order::Random })),
    ("volatile-ttl", Some(Policy { only_volatile: true, order: Order::Deadline })),
    ("allkeys-lru", Some(Policy { only_volatile: false, order: Order::LeastRecent })),
    ("allkeys-lfu", Some(Policy { only_volatile: false, order: Order::LeastFrequent })),
    ("allkeys-random", Some(Policy { only_volatile: false, order: Order::Random })),
    ("noeviction", None),
];

const POLICY_NAMES: [&str; POLICIES.len()] = {
    let mut names = [""; POLICIES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = POLICIES[index].0;
        index += 1;
    }
    names
};

settings! {
    /// TCP port of the RESP door; 0 closes it.
    PORT = "port", Kind::Int { min: 0, max: 65535 }, "6379", fixed;
    /// Addresses of the RESP door, blank between them.
    BIND = "bind", Kind::Text, "127.0.0.1", fixed;
    /// TCP port of the HTTP door; 0 closes it.
    HTTP_PORT = "http-port", Kind::Int { min: 0, max: 65535 }, "15500", fixed;
    /// Addresses of the HTTP door, blank between them.
    HTTP_BIND = "http-bind", Kind::Text, "127.0.0.1", fixed;
    /// Names that the `Host` of a request may have beside those of the loopback interface, blank between them; `*` is any.
    HTTP_ALLOWED_HOSTS = "http-allowed-hosts", Kind::Text, "";
    /// The tools of agents at /mcp: essential, full, read-only, groups, operations, tools, blank between them; empty
    /// closes the door.
    MCP_TOOLS = "mcp-tools", Kind::Text, "essential", fixed;
    /// The data folder.
    DIR = "dir", Kind::Text, "data", fixed;
    /// Worker threads of the RESP door; 0 takes one for each core that the process may use.
    IO_THREADS = "io-threads", Kind::Int { min: 0, max: 128 }, "0", fixed;
    /// How many numbered databases there are.
    DATABASES = "databases", Kind::Int { min: 1, max: 65535 }, "16", fixed;
    /// Seconds after which an idle client is closed; 0 never.
    TIMEOUT = "timeout", Kind::Int { min: 0, max: i32::MAX as i64 }, "0";
    /// Seconds between TCP keep-alive probes; 0 sends none.
    TCP_KEEPALIVE = "tcp-keepalive", Kind::Int { min: 0, max: i32::MAX as i64 }, "300";
    /// Clients at the same time.
    MAXCLIENTS = "maxclients", Kind::Int { min: 1, max: u32::MAX as i64 }, "10000";
    /// The default user's password; empty asks for none.
    REQUIREPASS = "requirepass", Kind::Text, "";
    /// The file of users, in the data folder or anywhere; empty when there is none.
    ACLFILE = "aclfile", Kind::Text, "", fixed;
    /// The channels of new users: all, or none.
    ACL_PUBSUB_DEFAULT = "acl-pubsub-default", Kind::Choice(&["allchannels", "resetchannels"]), "resetchannels";
    /// Entries that ACL LOG keeps.
    ACLLOG_MAX_LEN = "acllog-max-len", COUNT, "128";
    /// The longest bulk string of a call.
    PROTO_MAX_BULK_LEN = "proto-max-bulk-len", Kind::Memory, "512mb";
    /// The most bytes of a call that wait to be complete.
    CLIENT_QUERY_BUFFER_LIMIT = "client-query-buffer-limit", Kind::Memory, "1gb";
    /// The most memory for data; 0 has no limit.
    MAXMEMORY = "maxmemory", Kind::Memory, "0";
    /// What happens at the limit.
    MAXMEMORY_POLICY = "maxmemory-policy", Kind::Choice(&POLICY_NAMES), "noeviction";
    /// Keys that are looked at for each that is removed: the more, the better is the choice, and the longer it takes.
    MAXMEMORY_SAMPLES = "maxmemory-samples", Kind::Int { min: 1, max: 64 }, "5";
    /// How long a call may be kept by removing keys: 0 not at all, 10 half a millisecond, 100 as long as it takes. The
    /// rest goes in the background.
    MAXMEMORY_EVICTION_TENACITY = "maxmemory-eviction-tenacity", Kind::Int { min: 0, max: 100 }, "10";
    /// The most memory for all clients together, in bytes or as a share of maxmemory (5%): the largest are closed. 0 has
    /// no limit.
    MAXMEMORY_CLIENTS = "maxmemory-clients", Kind::MemoryOrShare, "0";
    /// How many accesses it takes to raise the counter of a key's frequency: the larger, the more.
    LFU_LOG_FACTOR = "lfu-log-factor", Kind::Int { min: 0, max: i32::MAX as i64 }, "10";
    /// Minutes without an access that lower the counter of a key's frequency by one; 0 never.
    LFU_DECAY_TIME = "lfu-decay-time", Kind::Int { min: 0, max: i32::MAX as i64 }, "1";
    /// Whether the log is written to disk. Without it, snapshots alone outlive the server.
    APPENDONLY = "appendonly", Kind::Bool, "yes";
    /// When the disk has to follow: always (before each reply), everysec, no.
    APPENDFSYNC = "appendfsync", Kind::Choice(&["always", "everysec", "no"]), "everysec";
    /// A snapshot is made when the log has grown by this much since the last one, in percent of its size then; 0 never.
    AUTO_AOF_REWRITE_PERCENTAGE = "auto-aof-rewrite-percentage", COUNT, "100";
    /// But not for less than this.
    AUTO_AOF_REWRITE_MIN_SIZE = "auto-aof-rewrite-min-size", Kind::Memory, "64mb";
    /// When snapshots are made by themselves: seconds and changes, in pairs.
    SAVE = "save", Kind::SaveRules, "3600 1 300 100 60 10000";
    /// Without a log: writes are refused after a snapshot has failed that a rule of `save` had asked for.
    STOP_WRITES_ON_BGSAVE_ERROR = "stop-writes-on-bgsave-error", Kind::Bool, "yes";
    /// Strings in snapshots are compressed.
    RDBCOMPRESSION = "rdbcompression", Kind::Bool, "yes";
    /// Calls that take longer, in microseconds, are noted; negative notes none.
    SLOWLOG_LOG_SLOWER_THAN = "slowlog-log-slower-than", ANY, "10000";
    /// Noted slow calls that are kept.
    SLOWLOG_MAX_LEN = "slowlog-max-len", COUNT, "128";
    /// How much the program tells about itself.
    LOGLEVEL = "loglevel", Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"]), "notice";
    /// As lines of text for people, or of JSON for machines.
    LOG_FORMAT = "log-format", Kind::Choice(&["text", "json"]), "text";
    /// The file that it goes to; empty for the standard error.
    LOGFILE = "logfile", Kind::Text, "", fixed;
    /// Milliseconds: calls and other work that take as long or longer are noted for LATENCY; 0 notes none.
    LATENCY_MONITOR_THRESHOLD = "latency-monitor-threshold", COUNT, "0";
    /// Keys that are remembered for clients that keep what they have read (CLIENT TRACKING), about; 0 has no limit.
    TRACKING_TABLE_MAX_KEYS = "tracking-table-max-keys", COUNT, "1000000";
    /// Whether it is counted how long calls of each command take.
    LATENCY_TRACKING = "latency-tracking", Kind::Bool, "yes";
    /// The percentiles of those times that INFO shows.
    LATENCY_TRACKING_INFO_PERCENTILES = "latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9";
    /// Of which events in the keyspace subscribers hear: classes as letters, with K for channels of keys, E for channels
    /// of events, or both; empty of none.
    NOTIFY_KEYSPACE_EVENTS = "notify-keyspace-events", Kind::Events, "";
    /// Bytes of the stream that stay in memory for replicas.
    REPL_BACKLOG_SIZE = "repl-backlog-size", Kind::Memory, "1mb", fixed;
    /// Fields up to which a hash is a listpack.
    HASH_MAX_LISTPACK_ENTRIES = "hash-max-listpack-entries" | "hash-max-ziplist-entries", COUNT, "128";
    /// Bytes of a field or value up to which a hash is a listpack.
    HASH_MAX_LISTPACK_VALUE = "hash-max-listpack-value" | "hash-max-ziplist-value", COUNT, "64";
    /// Elements of a list's node when positive, 0 is 1; -1 to -5 for 4, 8, 16, 32, 64 kB, less is -5.
    LIST_MAX_LISTPACK_SIZE = "list-max-listpack-size" | "list-max-ziplist-size", Kind::Int { min: i32::MIN as i64, max: 1 << 20 }, "-2";
    /// Accepted for existing configurations; list nodes are not compressed.
    LIST_COMPRESS_DEPTH = "list-compress-depth", COUNT, "0";
    /// Integers up to which a set is an array of them.
    SET_MAX_INTSET_ENTRIES = "set-max-intset-entries", COUNT, "512";
    /// Members up to which a set is a listpack.
    SET_MAX_LISTPACK_ENTRIES = "set-max-listpack-entries", COUNT, "128";
    /// Bytes of a member up to which a set is a listpack.
    SET_MAX_LISTPACK_VALUE = "set-max-listpack-value", COUNT, "64";
    /// Members up to which a sorted set is a listpack.
    ZSET_MAX_LISTPACK_ENTRIES = "zset-max-listpack-entries" | "zset-max-ziplist-entries", COUNT, "128";
    /// Bytes of a member up to which a sorted set is a listpack.
    ZSET_MAX_LISTPACK_VALUE = "zset-max-listpack-value" | "zset-max-ziplist-value", COUNT, "64";
    /// Bytes up to which a HyperLogLog is sparse, its header included.
    HLL_SPARSE_MAX_BYTES = "hll-sparse-max-bytes", Kind::Memory, "3000";
}

/// The values in force.
#[derive(Debug)]
pub struct Settings {
    numbers: Box<[AtomicI64]>,
    texts: Box<[RwLock<String>]>,
    /// One of `known_limits`. A call reads it without a lock.
    limits: AtomicPtr<Limits>,
    /// Every combination that was ever in force; never freed, so that a reader may hold on to it.
    known_limits: Mutex<Vec<&'static Limits>>,
}

impl Default for Settings {
    fn default() -> Settings {
        let numbers = SETTINGS.iter().map(|s| AtomicI64::new(s.kind.parse(s.default).unwrap_or(0))).collect();
        let texts = SETTINGS.iter().map(|s| RwLock::new(s.default.to_string())).collect();
        let settings = Settings { numbers, texts, limits: AtomicPtr::default(), known_limits: Mutex::default() };
        settings.fold_limits();
        settings
    }
}

impl Settings {
    #[inline]
    pub fn int(&self, id: Id) -> i64 {
        self.numbers[id.0].load(Ordering::Relaxed)
    }

    /// Which keys go when memory is full; none when calls are refused instead.
    #[inline]
    pub fn policy(&self) -> Option<Policy> {
        POLICIES.get(self.int(MAXMEMORY_POLICY) as usize).and_then(|(_, policy)| *policy)
    }

    /// The policy of evictions asks how often keys are used, not when.
    #[inline]
    pub fn counts_frequencies(&self) -> bool {
        self.policy().is_some_and(|policy| policy.order == Order::LeastFrequent)
    }

    pub fn text(&self, id: Id) -> String {
        self.texts[id.0].read().clone()
    }

    /// When compact forms grow.
    #[inline]
    pub fn limits(&self) -> &'static Limits {
        // SAFETY: `fold_limits` has stored a leaked box before the first reader could be here, and never frees one.
        unsafe { &*self.limits.load(Ordering::Acquire) }
    }

    pub fn find(name: &str) -> Option<Id> {
        let is = |s: &Setting| {
            s.name.eq_ignore_ascii_case(name) || (!s.alias.is_empty() && s.alias.eq_ignore_ascii_case(name))
        };
        SETTINGS.iter().position(is).map(Id)
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, id: Id) -> String {
        match SETTINGS[id.0].kind {
            Kind::Text | Kind::SaveRules => self.text(id),
            Kind::Events => Classes::from_bits(self.int(id)).show(),
            Kind::Percentiles => {
                let numbers = percentiles(&self.text(id)).unwrap_or_default();
                numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
            }
            Kind::Choice(words) => words.get(self.int(id) as usize).copied().unwrap_or_default().to_string(),
            Kind::Bool => if self.int(id) != 0 { "yes" } else { "no" }.to_string(),
            Kind::MemoryOrShare if self.int(id) < 0 => format!("{}%", -self.int(id)),
            Kind::Int { .. } | Kind::Memory | Kind::MemoryOrShare => self.int(id).to_string(),
        }
    }

    /// Says why `value` cannot be the setting's, without setting it. The text goes behind the name.
    pub fn check(id: Id, value: &str) -> Result<(), Cow<'static, str>> {
        SETTINGS[id.0].kind.parse(value).map(|_| ())
    }

    /// Sets it; `check` has passed.
    pub fn set(&self, id: Id, value: &str) -> Result<()> {
        let setting = &SETTINGS[id.0];
        let number = setting.kind.parse(value).map_err(|why| Error::fmt(format!("{}: {why}", setting.name)))?;
        *self.texts[id.0].write() = value.to_string();
        self.numbers[id.0].store(number, Ordering::Relaxed);
        self.fold_limits();
        Ok(())
    }

    fn fold_limits(&self) {
        let count = |id| usize::try_from(self.int(id)).unwrap_or(usize::MAX);
        let limits = Limits {
            hash_entries: count(HASH_MAX_LISTPACK_ENTRIES),
            hash_value_bytes: count(HASH_MAX_LISTPACK_VALUE),
            list_size: self.int(LIST_MAX_LISTPACK_SIZE),
            set_intset_entries: count(SET_MAX_INTSET_ENTRIES),
            set_entries: count(SET_MAX_LISTPACK_ENTRIES),
            set_value_bytes: count(SET_MAX_LISTPACK_VALUE),
            zset_entries: count(ZSET_MAX_LISTPACK_ENTRIES),
            zset_value_bytes: count(ZSET_MAX_LISTPACK_VALUE),
        };
        let mut known = self.known_limits.lock();
        let limits = match known.iter().find(|l| ***l == limits) {
            Some(same) => same,
            None => {
                known.push(Box::leak(Box::new(limits)));
                known[known.len() - 1]
            }
        };
        self.limits.store(std::ptr::from_ref(limits).cast_mut(), Ordering::Release);
    }
}

/// When a snapshot is made: after so many seconds, if there were so many changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    pub seconds: u64,
    pub changes: u64,
}

/// The rules of the setting `save`; none when they are off.
pub fn save_rules(text: &str) -> Option<Vec<SaveRule>> {
    let numbers = text.trim_matches('"').split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    let is_valid = rest.is_empty() && pairs.iter().all(|[seconds, _]| *seconds > 0);
    is_valid.then(|| pairs.iter().map(|&[seconds, changes]| SaveRule { seconds, changes }).collect())
}

/// The numbers of the setting `latency-tracking-info-percentiles`.
pub fn percentiles(text: &str) -> Option<Vec<f64>> {
    let is_percentile = |number: &f64| (0.0..=100.0).contains(number);
    text.split_whitespace().map(|word| word.parse().ok().filter(is_percentile)).collect()
}

/// Snapshots are made by themselves.
pub fn has_save_rules(settings: &Settings) -> bool {
    save_rules(&settings.text(SAVE)).is_some_and(|rules| !rules.is_empty())
}

impl Kind {
    /// The number that stands for `text`; 0 for text itself.
    fn parse(self, text: &str) -> Result<i64, Cow<'static, str>> {
        match self {
            Kind::Text => Ok(0),
            Kind::SaveRules => {
                save_rules(text).map(|_| 0).ok_or_else(|| "argument must be pairs of seconds and changes".into())
            }
            Kind::Percentiles => {
                percentiles(text).map(|_| 0).ok_or_else(|| "the percentiles must be numbers from 0 to 100".into())
            }
            Kind::Events => match Classes::parse(text) {
                Some(classes) => Ok(classes.bits()),
                None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'.".into()),
            },
            Kind::Choice(words) => match words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
                Some(index) => Ok(index as i64),
                None => Err(format!("argument(s) must be one of the following: {}", words.join(", ")).into()),
            },
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(1),
                "no" => Ok(0),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Memory => parse_memory(text).ok_or("argument must be a memory value".into()),
            Kind::MemoryOrShare => match text.strip_suffix('%') {
                Some(share) => share.parse::<u8>().ok().filter(|share| *share <= 100).map(|share| -i64::from(share)),
                None => parse_memory(text),
            }
            .ok_or("argument must be a memory or percent value".into()),
            Kind::Int { min, max } => {
                let value = text.parse::<i64>().map_err(|_| "argument couldn't be parsed into an integer")?;
                if (min..=max).contains(&value) {
                    Ok(value)
                } else {
                    Err("argument must be within the setting's bounds".into())
                }
            }
        }
    }
}

/// `100mb`, `1gb`, `64k`: k, m, g are powers of 1000; kb, mb, gb of 1024, as in `redis.conf`.
pub fn parse_memory(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<i64>().ok().filter(|v| *v >= 0)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_every_name_unique() {
        let mut names = std::collections::BTreeSet::new();
        for setting in SETTINGS {
            assert!(setting.kind.parse(setting.default).is_ok(), "{}", setting.name);
            assert!(
                names.insert(setting.name) && (setting.alias.is_empty() || names.insert(setting.alias)),
                "{}",
                setting.name
            );
            assert!(!setting.doc.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn memory_is_read_as_in_redis_conf() {
        assert_eq!(parse_memory("1gb"), Some(1 << 30));
        assert_eq!(parse_memory("1k"), Some(1000));
        assert_eq!(parse_memory("12"), Some(12));
        assert_eq!(parse_memory("-1"), None);
        assert_eq!(parse_memory("1x"), None);
        assert_eq!(parse_memory("99999999999gb"), None);
    }
}
