//! The engine's settings: one table, named as in `redis.conf`. CONFIG GET and SET, flags and documentation read it.

use std::borrow::Cow;
use std::fmt;
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
    /// Known for existing configurations; nothing follows from it.
    pub inert: bool,
    /// Its value is shown to those who ask for it, and nowhere else.
    pub secret: bool,
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
    /// Permissions of a file, as `chmod` takes them.
    Octal,
    /// The same, or a share of `maxmemory` as `5%`: a negative number then.
    MemoryOrShare,
    /// `yes` or `no`.
    Bool,
    /// One of several words.
    Choice(&'static [&'static str]),
    /// Several of these words. The first of them stands alone, for none of the others.
    Choices(&'static [&'static str]),
    Text,
    /// Words with blanks between them.
    Words,
    /// Pairs of seconds and changes: see [`save_rules`].
    SaveRules,
    /// Letters, each a class of events: see [`Classes`].
    Events,
    /// What may wait for clients that do not read: see [`OutputLimits`].
    OutputLimits,
    /// Numbers from 0 to 100: see [`percentiles`].
    Percentiles,
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])*
        $id:ident = $name:literal $(| $alias:literal)?, $kind:expr, $default:literal $(, $flag:ident)*;
    )*) => {
        /// Every setting, by the number that its constant has.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            alias: concat!("" $(, $alias)?),
            doc: concat!($($doc),*),
            kind: $kind,
            default: $default,
            fixed: false $(|| is_same(stringify!($flag), "fixed"))*,
            inert: false $(|| is_same(stringify!($flag), "inert"))*,
            secret: false $(|| is_same(stringify!($flag), "secret"))*,
        }),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(usize)]
        enum Index { $($id),* }

        $(#[doc = concat!("`", $name, "`")] pub const $id: Id = Id(Index::$id as usize);)*
    };
}

/// Compares while the program is compiled.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
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
/// A number that Redis keeps as a C `int`: seconds, mostly.
const SMALL: Kind = Kind::Int { min: 0, max: i32::MAX as i64 };
const PORT_NUMBER: Kind = Kind::Int { min: 0, max: 65535 };

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
    PORT = "port", PORT_NUMBER, "6379";
    /// IP addresses of the RESP door, blank between them. `*` is every IPv4 address, `::*` every IPv6 address; one
    /// behind a minus may be missing on this machine.
    BIND = "bind", Kind::Words, "127.0.0.1";
    /// A Unix socket that is a RESP door too; empty of none.
    UNIXSOCKET = "unixsocket", Kind::Text, "", fixed;
    /// Permissions of the Unix socket, as chmod takes them; 0 leaves them to the umask.
    UNIXSOCKETPERM = "unixsocketperm", Kind::Octal, "0", fixed;
    /// TCP port of the HTTP door; 0 closes it.
    HTTP_PORT = "http-port", PORT_NUMBER, "15500", fixed;
    /// Addresses of the HTTP door, as in `bind`.
    HTTP_BIND = "http-bind", Kind::Words, "127.0.0.1", fixed;
    /// Names that the `Host` of a request may have beside those of the loopback interface, blank between them; `*` is any.
    HTTP_ALLOWED_HOSTS = "http-allowed-hosts", Kind::Text, "";
    /// The tools of agents at /mcp: essential, full, read-only, groups, operations, tools, blank between them; empty
    /// closes the door.
    MCP_TOOLS = "mcp-tools", Kind::Text, "essential", fixed;
    /// TCP port of the RESP door for clients that speak TLS; 0 closes it.
    TLS_PORT = "tls-port", PORT_NUMBER, "0";
    /// TCP port of the HTTP door for clients that speak TLS; 0 closes it.
    HTTP_TLS_PORT = "http-tls-port", PORT_NUMBER, "0", fixed;
    /// The server's certificate in PEM, with those that lead to its root behind it. Setting it, to the same too, reads
    /// the files again: connections that come then see the new one.
    TLS_CERT_FILE = "tls-cert-file", Kind::Text, "";
    /// The key of the certificate, in PEM.
    TLS_KEY_FILE = "tls-key-file", Kind::Text, "";
    /// Certificates in PEM that those of clients must lead to.
    TLS_CA_CERT_FILE = "tls-ca-cert-file", Kind::Text, "";
    /// Whether clients that speak TLS must have a certificate: yes, no, or optional (one that is shown must be good).
    TLS_AUTH_CLIENTS = "tls-auth-clients", Kind::Choice(&["no", "yes", "optional"]), "yes";
    /// Versions of TLS that are spoken; empty of all that are safe.
    TLS_PROTOCOLS = "tls-protocols", Kind::Choices(&["", "TLSv1.2", "TLSv1.3"]), "";
    /// As `max-new-connections-per-cycle`, of connections with TLS: each costs far more.
    MAX_NEW_TLS_CONNECTIONS_PER_CYCLE = "max-new-tls-connections-per-cycle", Kind::Int { min: 1, max: 1000 }, "1";
    /// Clients from other machines are refused as long as the default user has no password.
    PROTECTED_MODE = "protected-mode", Kind::Bool, "yes";
    /// New connections that a listener takes in before it lets those who are in go on.
    MAX_NEW_CONNECTIONS_PER_CYCLE = "max-new-connections-per-cycle", Kind::Int { min: 1, max: 1000 }, "10";
    /// Connections that the system holds for a listener until they are taken in.
    TCP_BACKLOG = "tcp-backlog", SMALL, "511", fixed;
    /// The data folder. Relative to where the server was started.
    DIR = "dir", Kind::Text, "data", fixed;
    /// Worker threads of the RESP door; 0 takes one for each core that the process may use.
    IO_THREADS = "io-threads", Kind::Int { min: 0, max: 128 }, "0", fixed;
    /// How many numbered databases there are.
    DATABASES = "databases", Kind::Int { min: 1, max: 65535 }, "16", fixed;
    /// Seconds after which an idle client is closed; 0 never.
    TIMEOUT = "timeout", SMALL, "0";
    /// Seconds between TCP keep-alive probes; 0 sends none.
    TCP_KEEPALIVE = "tcp-keepalive", SMALL, "300";
    /// Clients at the same time.
    MAXCLIENTS = "maxclients", Kind::Int { min: 1, max: u32::MAX as i64 }, "10000";
    /// The default user's password; empty asks for none.
    REQUIREPASS = "requirepass", Kind::Text, "", secret;
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
    /// How much may wait for a client that does not read, by class (normal, replica, pubsub): bytes at which it is
    /// closed at once, bytes at which it is closed after so many seconds; 0 is without limit.
    CLIENT_OUTPUT_BUFFER_LIMIT = "client-output-buffer-limit",
        Kind::OutputLimits, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
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
    /// Of which events in the keyspace subscribers hear: classes as letters, with K for channels of keys, E for
    /// channels of events, or both; empty of none.
    NOTIFY_KEYSPACE_EVENTS = "notify-keyspace-events", Kind::Events, "";
    /// Bytes of the stream that stay in memory for replicas.
    REPL_BACKLOG_SIZE = "repl-backlog-size", Kind::Memory, "1mb", fixed;
    /// Fields up to which a hash is a listpack.
    HASH_MAX_LISTPACK_ENTRIES = "hash-max-listpack-entries" | "hash-max-ziplist-entries", COUNT, "128";
    /// Bytes of a field or value up to which a hash is a listpack.
    HASH_MAX_LISTPACK_VALUE = "hash-max-listpack-value" | "hash-max-ziplist-value", COUNT, "64";
    /// Elements of a list's node when positive, 0 is 1; -1 to -5 for 4, 8, 16, 32, 64 kB, less is -5.
    LIST_MAX_LISTPACK_SIZE = "list-max-listpack-size" | "list-max-ziplist-size",
        Kind::Int { min: i32::MIN as i64, max: 1 << 20 }, "-2";
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
    // What follows is known, checked and shown, and changes nothing.
    /// The server stays in the foreground: whatever supervises it sends it to the background.
    DAEMONIZE = "daemonize", Kind::Bool, "no", fixed, inert;
    /// The supervisor knows the process.
    PIDFILE = "pidfile", Kind::Text, "", fixed, inert;
    /// Readiness is told to whoever has set NOTIFY_SOCKET.
    SUPERVISED = "supervised", Kind::Choice(&["upstart", "systemd", "auto", "no"]), "no", fixed, inert;
    /// What is told goes to standard error.
    SYSLOG_ENABLED = "syslog-enabled", Kind::Bool, "no", fixed, inert;
    /// What is told goes to standard error.
    SYSLOG_IDENT = "syslog-ident", Kind::Text, "redis", fixed, inert;
    /// What is told goes to standard error.
    SYSLOG_FACILITY = "syslog-facility",
        Kind::Choice(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]),
        "local0", fixed, inert;
    /// There is no logo.
    ALWAYS_SHOW_LOGO = "always-show-logo", Kind::Bool, "no", fixed, inert;
    /// The title of the process stays.
    SET_PROC_TITLE = "set-proc-title", Kind::Bool, "yes", fixed, inert;
    /// The title of the process stays.
    PROC_TITLE_TEMPLATE = "proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}", inert;
    /// Text is ordered by its bytes.
    LOCALE_COLLATE = "locale-collate", Kind::Text, "", inert;
    /// A panic is told with its place.
    CRASH_LOG_ENABLED = "crash-log-enabled", Kind::Bool, "yes", inert;
    /// Memory is not tested.
    CRASH_MEMCHECK_ENABLED = "crash-memcheck-enabled", Kind::Bool, "yes", inert;
    /// Nothing of what clients send is logged.
    HIDE_USER_DATA_FROM_LOG = "hide-user-data-from-log", Kind::Bool, "yes", inert;
    /// Warnings stay.
    IGNORE_WARNINGS = "ignore-warnings", Kind::Text, "", fixed, inert;
    /// The system chooses who is ended when memory runs out.
    OOM_SCORE_ADJ = "oom-score-adj", Kind::Choice(&["no", "yes", "relative", "absolute"]), "no", inert;
    /// The system chooses who is ended when memory runs out.
    OOM_SCORE_ADJ_VALUES = "oom-score-adj-values", Kind::Words, "0 200 800", inert;
    /// The server does not fork: large pages are good for it.
    DISABLE_THP = "disable-thp", Kind::Bool, "yes", fixed, inert;
    /// The scheduler chooses the cores.
    SERVER_CPULIST = "server-cpulist" | "server_cpulist", Kind::Text, "", fixed, inert;
    /// The scheduler chooses the cores.
    BIO_CPULIST = "bio-cpulist" | "bio_cpulist", Kind::Text, "", fixed, inert;
    /// The scheduler chooses the cores.
    AOF_REWRITE_CPULIST = "aof-rewrite-cpulist" | "aof_rewrite_cpulist", Kind::Text, "", fixed, inert;
    /// The scheduler chooses the cores.
    BGSAVE_CPULIST = "bgsave-cpulist" | "bgsave_cpulist", Kind::Text, "", fixed, inert;
    /// Threads that run calls read them, too.
    IO_THREADS_DO_READS = "io-threads-do-reads", Kind::Bool, "yes", fixed, inert;
    /// There is no one loop with a pulse.
    HZ = "hz", SMALL, "10", inert;
    /// There is no one loop with a pulse.
    DYNAMIC_HZ = "dynamic-hz", Kind::Bool, "yes", inert;
    /// The table grows by itself, in steps.
    ACTIVEREHASHING = "activerehashing", Kind::Bool, "yes", inert;
    /// Due keys go when they are due.
    ACTIVE_EXPIRE_EFFORT = "active-expire-effort", Kind::Int { min: 1, max: 10 }, "1", inert;
    /// Large values are always freed in the background.
    LAZYFREE_LAZY_EVICTION = "lazyfree-lazy-eviction", Kind::Bool, "yes", inert;
    /// Large values are always freed in the background.
    LAZYFREE_LAZY_EXPIRE = "lazyfree-lazy-expire", Kind::Bool, "yes", inert;
    /// Large values are always freed in the background.
    LAZYFREE_LAZY_SERVER_DEL = "lazyfree-lazy-server-del", Kind::Bool, "yes", inert;
    /// Large values are always freed in the background.
    LAZYFREE_LAZY_USER_DEL = "lazyfree-lazy-user-del", Kind::Bool, "yes", inert;
    /// Large values are always freed in the background.
    LAZYFREE_LAZY_USER_FLUSH = "lazyfree-lazy-user-flush", Kind::Bool, "yes", inert;
    /// Large values are always freed in the background.
    REPLICA_LAZY_FLUSH = "replica-lazy-flush" | "slave-lazy-flush", Kind::Bool, "yes", inert;
    /// Memory is not moved together.
    ACTIVEDEFRAG = "activedefrag", Kind::Bool, "no", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_IGNORE_BYTES = "active-defrag-ignore-bytes", Kind::Memory, "100mb", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_THRESHOLD_LOWER = "active-defrag-threshold-lower", Kind::Int { min: 0, max: 1000 }, "10", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_THRESHOLD_UPPER = "active-defrag-threshold-upper", Kind::Int { min: 0, max: 1000 }, "100", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_CYCLE_MIN = "active-defrag-cycle-min", Kind::Int { min: 1, max: 99 }, "1", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_CYCLE_MAX = "active-defrag-cycle-max", Kind::Int { min: 1, max: 99 }, "25", inert;
    /// Memory is not moved together.
    ACTIVE_DEFRAG_MAX_SCAN_FIELDS = "active-defrag-max-scan-fields", COUNT, "1000", inert;
    /// The allocator gives memory back by itself.
    JEMALLOC_BG_THREAD = "jemalloc-bg-thread", Kind::Bool, "yes", inert;
    /// Names in the data folder are chosen by the server, and stand in its manifest.
    DBFILENAME = "dbfilename", Kind::Text, "dump.rdb", inert;
    /// Names in the data folder are chosen by the server, and stand in its manifest.
    APPENDFILENAME = "appendfilename", Kind::Text, "appendonly.aof", fixed, inert;
    /// Names in the data folder are chosen by the server, and stand in its manifest.
    APPENDDIRNAME = "appenddirname", Kind::Text, "appendonlydir", fixed, inert;
    /// Snapshots have a checksum.
    RDBCHECKSUM = "rdbchecksum", Kind::Bool, "yes", fixed, inert;
    /// No file is left from a synchronisation.
    RDB_DEL_SYNC_FILES = "rdb-del-sync-files", Kind::Bool, "no", inert;
    /// Snapshots are fsynced as they are written.
    RDB_SAVE_INCREMENTAL_FSYNC = "rdb-save-incremental-fsync", Kind::Bool, "yes", inert;
    /// Whatever comes in from outside is checked.
    SANITIZE_DUMP_PAYLOAD = "sanitize-dump-payload", Kind::Choice(&["no", "yes", "clients"]), "no", inert;
    /// The log is fsynced while a snapshot is made, too.
    NO_APPENDFSYNC_ON_REWRITE = "no-appendfsync-on-rewrite", Kind::Bool, "no", inert;
    /// The end of a log that had not reached the disk is cut; anything else is an error.
    AOF_LOAD_TRUNCATED = "aof-load-truncated", Kind::Bool, "yes", inert;
    /// Snapshots stand beside the log.
    AOF_USE_RDB_PREAMBLE = "aof-use-rdb-preamble", Kind::Bool, "yes", inert;
    /// The log has no times of its own.
    AOF_TIMESTAMP_ENABLED = "aof-timestamp-enabled", Kind::Bool, "no", inert;
    /// The log is not written anew: snapshots shorten it.
    AOF_REWRITE_INCREMENTAL_FSYNC = "aof-rewrite-incremental-fsync", Kind::Bool, "yes", inert;
    /// SHUTDOWN waits for nobody.
    SHUTDOWN_TIMEOUT = "shutdown-timeout", SMALL, "10", inert;
    /// Options of the SHUTDOWN that SIGINT stands for.
    SHUTDOWN_ON_SIGINT = "shutdown-on-sigint",
        Kind::Choices(&["default", "save", "nosave", "now", "force"]), "default";
    /// Options of the SHUTDOWN that SIGTERM stands for.
    SHUTDOWN_ON_SIGTERM = "shutdown-on-sigterm",
        Kind::Choices(&["default", "save", "nosave", "now", "force"]), "default";
    /// DEBUG is a matter of rights.
    ENABLE_DEBUG_COMMAND = "enable-debug-command", Kind::Choice(&["no", "yes", "local"]), "no", fixed, inert;
    /// Settings that could harm the machine cannot change while the server runs.
    ENABLE_PROTECTED_CONFIGS = "enable-protected-configs", Kind::Choice(&["no", "yes", "local"]), "no", fixed, inert;
    /// There are no modules.
    ENABLE_MODULE_COMMAND = "enable-module-command", Kind::Choice(&["no", "yes", "local"]), "no", fixed, inert;
    /// A key with a passphrase is not read: the file's permissions protect it.
    TLS_KEY_FILE_PASS = "tls-key-file-pass", Kind::Text, "", inert, secret;
    /// The server is nobody's client with TLS yet.
    TLS_CLIENT_CERT_FILE = "tls-client-cert-file", Kind::Text, "", inert;
    /// The server is nobody's client with TLS yet.
    TLS_CLIENT_KEY_FILE = "tls-client-key-file", Kind::Text, "", inert;
    /// The server is nobody's client with TLS yet.
    TLS_CLIENT_KEY_FILE_PASS = "tls-client-key-file-pass", Kind::Text, "", inert, secret;
    /// Certificates that those of clients must lead to stand in one file, `tls-ca-cert-file`.
    TLS_CA_CERT_DIR = "tls-ca-cert-dir", Kind::Text, "", inert;
    /// Keys are exchanged over elliptic curves.
    TLS_DH_PARAMS_FILE = "tls-dh-params-file", Kind::Text, "", inert;
    /// All ciphers that are spoken are safe.
    TLS_CIPHERS = "tls-ciphers", Kind::Text, "", inert;
    /// All ciphers that are spoken are safe.
    TLS_CIPHERSUITES = "tls-ciphersuites", Kind::Text, "", inert;
    /// All ciphers that are spoken are safe.
    TLS_PREFER_SERVER_CIPHERS = "tls-prefer-server-ciphers", Kind::Bool, "no", inert;
    /// Sessions are kept for those who come again.
    TLS_SESSION_CACHING = "tls-session-caching", Kind::Bool, "yes", inert;
    /// Sessions are kept for those who come again.
    TLS_SESSION_CACHE_SIZE = "tls-session-cache-size", SMALL, "20480", inert;
    /// Sessions are kept for those who come again.
    TLS_SESSION_CACHE_TIMEOUT = "tls-session-cache-timeout", SMALL, "300", inert;
    /// There is no replication yet.
    TLS_REPLICATION = "tls-replication", Kind::Bool, "no", inert;
    /// There is no cluster yet.
    TLS_CLUSTER = "tls-cluster", Kind::Bool, "no", inert;
    /// There is no replication yet.
    REPLICAOF = "replicaof" | "slaveof", Kind::Words, "", fixed, inert;
    /// There is no replication yet.
    MASTERAUTH = "masterauth" | "primaryauth", Kind::Text, "", inert, secret;
    /// There is no replication yet.
    MASTERUSER = "masteruser" | "primaryuser", Kind::Text, "", inert, secret;
    /// There is no replication yet.
    REPLICA_SERVE_STALE_DATA = "replica-serve-stale-data" | "slave-serve-stale-data", Kind::Bool, "yes", inert;
    /// There is no replication yet.
    REPLICA_READ_ONLY = "replica-read-only" | "slave-read-only", Kind::Bool, "yes", inert;
    /// There is no replication yet.
    REPLICA_IGNORE_MAXMEMORY = "replica-ignore-maxmemory" | "slave-ignore-maxmemory", Kind::Bool, "yes", inert;
    /// There is no replication yet.
    REPLICA_PRIORITY = "replica-priority" | "slave-priority", SMALL, "100", inert;
    /// There is no replication yet.
    REPLICA_ANNOUNCED = "replica-announced", Kind::Bool, "yes", inert;
    /// There is no replication yet.
    REPLICA_ANNOUNCE_IP = "replica-announce-ip" | "slave-announce-ip", Kind::Text, "", inert;
    /// There is no replication yet.
    REPLICA_ANNOUNCE_PORT = "replica-announce-port" | "slave-announce-port", PORT_NUMBER, "0", inert;
    /// There is no replication yet.
    REPL_DISKLESS_SYNC = "repl-diskless-sync", Kind::Bool, "yes", inert;
    /// There is no replication yet.
    REPL_DISKLESS_SYNC_DELAY = "repl-diskless-sync-delay", SMALL, "5", inert;
    /// There is no replication yet.
    REPL_DISKLESS_SYNC_MAX_REPLICAS = "repl-diskless-sync-max-replicas", SMALL, "0", inert;
    /// There is no replication yet.
    REPL_DISKLESS_LOAD = "repl-diskless-load", Kind::Choice(&["disabled", "on-empty-db", "swapdb"]), "disabled", inert;
    /// There is no replication yet.
    DUAL_CHANNEL_REPLICATION_ENABLED = "dual-channel-replication-enabled", Kind::Bool, "no", inert;
    /// There is no replication yet.
    REPL_DISABLE_TCP_NODELAY = "repl-disable-tcp-nodelay", Kind::Bool, "no", inert;
    /// There is no replication yet.
    REPL_PING_REPLICA_PERIOD = "repl-ping-replica-period" | "repl-ping-slave-period",
        Kind::Int { min: 1, max: i32::MAX as i64 }, "10", inert;
    /// There is no replication yet.
    REPL_TIMEOUT = "repl-timeout", Kind::Int { min: 1, max: i32::MAX as i64 }, "60", inert;
    /// There is no replication yet.
    REPL_BACKLOG_TTL = "repl-backlog-ttl", COUNT, "3600", inert;
    /// There is no replication yet.
    MIN_REPLICAS_TO_WRITE = "min-replicas-to-write" | "min-slaves-to-write", SMALL, "0", inert;
    /// There is no replication yet.
    MIN_REPLICAS_MAX_LAG = "min-replicas-max-lag" | "min-slaves-max-lag", SMALL, "10", inert;
    /// There is no replication yet.
    PROPAGATION_ERROR_BEHAVIOR = "propagation-error-behavior",
        Kind::Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore", inert;
    /// There is no replication yet.
    REPLICA_IGNORE_DISK_WRITE_ERRORS = "replica-ignore-disk-write-errors", Kind::Bool, "no", inert;
    /// There is no cluster yet.
    CLUSTER_ENABLED = "cluster-enabled", Kind::Bool, "no", fixed, inert;
    /// There is no cluster yet.
    CLUSTER_CONFIG_FILE = "cluster-config-file", Kind::Text, "nodes.conf", fixed, inert;
    /// There is no cluster yet.
    CLUSTER_NODE_TIMEOUT = "cluster-node-timeout", COUNT, "15000", inert;
    /// There is no cluster yet.
    CLUSTER_REQUIRE_FULL_COVERAGE = "cluster-require-full-coverage", Kind::Bool, "yes", inert;
    /// There are no scripts yet.
    BUSY_REPLY_THRESHOLD = "busy-reply-threshold" | "lua-time-limit", COUNT, "5000", inert;
    /// There are no streams yet.
    STREAM_NODE_MAX_BYTES = "stream-node-max-bytes", Kind::Memory, "4096", inert;
    /// There are no streams yet.
    STREAM_NODE_MAX_ENTRIES = "stream-node-max-entries", COUNT, "100", inert;
    /// No address is chosen for connections that the server makes.
    BIND_SOURCE_ADDR = "bind-source-addr", Kind::Text, "", inert;
    /// Connections carry no mark.
    SOCKET_MARK_ID = "socket-mark-id", Kind::Int { min: 0, max: u32::MAX as i64 }, "0", fixed, inert;
    /// Nobody asks where the machine stands.
    AVAILABILITY_ZONE = "availability-zone", Kind::Text, "", inert;
    /// Answers are those of Redis.
    EXTENDED_REDIS_COMPATIBILITY = "extended-redis-compatibility", Kind::Bool, "no", inert;
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
        let shown = |s: &Setting| s.kind.show(s.default, s.kind.parse(s.default).unwrap_or(0));
        let texts = SETTINGS.iter().map(|s| RwLock::new(shown(s))).collect();
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
        self.text(id)
    }

    /// Says why `value` cannot be the setting's, without setting it. The text goes behind the name.
    pub fn check(id: Id, value: &str) -> Result<(), Cow<'static, str>> {
        id.setting().kind.parse(value).map(|_| ())
    }

    /// Whether `value` is what the setting has already.
    pub fn has(&self, id: Id, value: &str) -> bool {
        let kind = id.setting().kind;
        kind.parse(value).is_ok_and(|number| kind.show(value, number) == self.text(id))
    }

    /// Sets it; `check` has passed.
    pub fn set(&self, id: Id, value: &str) -> Result<()> {
        let setting = id.setting();
        let number = setting.kind.parse(value).map_err(|why| Error::fmt(format!("{}: {why}", setting.name)))?;
        let text = match setting.kind {
            // Classes that are not named stay as they are.
            Kind::OutputLimits => self.output_limits().with(value).map_err(Error::err)?.to_string(),
            kind => kind.show(value, number),
        };
        *self.texts[id.0].write() = text;
        self.numbers[id.0].store(number, Ordering::Relaxed);
        self.fold_limits();
        Ok(())
    }

    /// What may wait for clients that do not read.
    pub fn output_limits(&self) -> OutputLimits {
        OutputLimits::NONE.with(&self.text(CLIENT_OUTPUT_BUFFER_LIMIT)).unwrap_or(OutputLimits::NONE)
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

/// How much may wait for a client of some class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which it is closed at once; 0 never.
    pub hard_bytes: u64,
    /// Bytes at which it is closed when they stay for longer than `soft_seconds`; 0 never.
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// `client-output-buffer-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    /// Of clients that subscribe.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    pub const NONE: OutputLimits = {
        let none = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
        OutputLimits { normal: none, replica: none, pubsub: none }
    };

    /// These, with the classes that `text` names changed: `pubsub 32mb 8mb 60`, again and again.
    fn with(mut self, text: &str) -> Result<OutputLimits, &'static str> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (classes, rest) = words.as_chunks::<4>();
        if classes.is_empty() || !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.");
        }
        for [class, hard, soft, seconds] in classes {
            let limit = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration."),
            };
            const WRONG: &str = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            let bytes = |text| parse_memory(text).and_then(|bytes| u64::try_from(bytes).ok()).ok_or(WRONG);
            let soft_seconds = seconds.parse::<u32>().map_err(|_| WRONG)?.into();
            *limit = OutputLimit { hard_bytes: bytes(hard)?, soft_bytes: bytes(soft)?, soft_seconds };
        }
        Ok(self)
    }
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = [("normal", self.normal), (" slave", self.replica), (" pubsub", self.pubsub)];
        for (class, OutputLimit { hard_bytes, soft_bytes, soft_seconds }) in classes {
            write!(f, "{class} {hard_bytes} {soft_bytes} {soft_seconds}")?;
        }
        Ok(())
    }
}

impl Kind {
    /// The number that stands for `text`; 0 for text itself.
    fn parse(self, text: &str) -> Result<i64, Cow<'static, str>> {
        match self {
            Kind::Text | Kind::Words => Ok(0),
            Kind::SaveRules => save_rules(text).map(|_| 0).ok_or_else(|| "Invalid save parameters".into()),
            Kind::OutputLimits => OutputLimits::NONE.with(text).map(|_| 0).map_err(Into::into),
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
            Kind::Choices(words) => {
                let bit = |text: &str| match words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
                    // The first is none of the others.
                    Some(index) => Ok((1_i64 << index) & !1),
                    None => Err(format!("argument(s) must be one of the following: {}", words.join(", "))),
                };
                let bits = text.split_whitespace().map(bit).collect::<Result<Vec<_>, _>>()?;
                Ok(bits.into_iter().fold(0, |all, bit| all | bit))
            }
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(1),
                "no" => Ok(0),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Memory => parse_memory(text).ok_or("argument must be a memory value".into()),
            Kind::Octal => match i64::from_str_radix(text, 8) {
                Ok(mode @ 0..=0o777) => Ok(mode),
                Ok(_) => Err("argument must be between 0 and 777 inclusive".into()),
                Err(_) => Err("argument couldn't be parsed as an octal number".into()),
            },
            Kind::MemoryOrShare => match text.strip_suffix('%') {
                Some(share) => match share.parse::<u32>() {
                    Ok(0..=100) | Err(_) => share.parse::<u8>().ok().map(|share| -i64::from(share)),
                    Ok(_) => return Err("percentage argument must be less or equal to 100".into()),
                },
                None => parse_memory(text),
            }
            .ok_or("argument must be a memory or percent value".into()),
            Kind::Int { min, max } => {
                let value = text.parse::<i64>().map_err(|_| "argument couldn't be parsed into an integer")?;
                if (min..=max).contains(&value) {
                    Ok(value)
                } else {
                    Err(format!("argument must be between {min} and {max} inclusive").into())
                }
            }
        }
    }

    /// The one way in which a value is shown, whichever way it was written.
    fn show(self, text: &str, number: i64) -> String {
        match self {
            Kind::Text => text.to_string(),
            Kind::Words => text.split_whitespace().collect::<Vec<_>>().join(" "),
            Kind::SaveRules => text.trim_matches('"').split_whitespace().collect::<Vec<_>>().join(" "),
            Kind::OutputLimits => OutputLimits::NONE.with(text).unwrap_or(OutputLimits::NONE).to_string(),
            Kind::Percentiles => {
                let numbers = percentiles(text).unwrap_or_default();
                numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
            }
            Kind::Events => Classes::from_bits(number).show(),
            Kind::Choice(words) => words.get(number as usize).copied().unwrap_or_default().to_string(),
            Kind::Choices(words) => {
                let has = |(index, word): (usize, &&'static str)| (number >> index & 1 == 1).then_some(*word);
                let shown: Vec<&str> = words.iter().enumerate().filter_map(has).collect();
                if shown.is_empty() { words[0].to_string() } else { shown.join(" ") }
            }
            Kind::Bool => if number != 0 { "yes" } else { "no" }.to_string(),
            Kind::Octal => format!("{number:o}"),
            Kind::MemoryOrShare if number < 0 => format!("{}%", -number),
            Kind::Int { .. } | Kind::Memory | Kind::MemoryOrShare => number.to_string(),
        }
    }

    /// A value may be several words: a line of a configuration file has them without quotes.
    pub fn takes_words(self) -> bool {
        matches!(self, Kind::Words | Kind::Choices(_) | Kind::SaveRules | Kind::Percentiles | Kind::OutputLimits)
    }

    /// What a value looks like, for people.
    pub fn describe(self) -> String {
        match self {
            Kind::Int { min, max } => match (min > i64::MIN, max < i64::from(i32::MAX)) {
                (_, true) => format!("{min} to {max}"),
                (true, false) => format!("number from {min}"),
                (false, false) => "number".into(),
            },
            Kind::Memory => "bytes, as 100mb".into(),
            Kind::MemoryOrShare => "bytes, as 100mb, or 5% of maxmemory".into(),
            Kind::Octal => "permissions, as 700".into(),
            Kind::Bool => "yes, no".into(),
            Kind::Choice(words) => words.join(", "),
            Kind::Choices(words) => {
                let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
                format!("some of {}", words.join(", "))
            }
            Kind::Text => "text".into(),
            Kind::Words => "words".into(),
            Kind::SaveRules => "pairs of seconds and changes".into(),
            Kind::Events => "letters".into(),
            Kind::Percentiles => "numbers from 0 to 100".into(),
            Kind::OutputLimits => "class, bytes, bytes, seconds".into(),
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
    fn values_are_shown_in_one_way() {
        let settings = Settings::default();
        let check = |id, value: &str, shown: &str| {
            settings.set(id, value).unwrap();
            assert_eq!(settings.show(id), shown);
        };
        check(APPENDFSYNC, "ALWAYS", "always");
        check(MAXMEMORY, "1kb", "1024");
        check(SAVE, " 3600  1 ", "3600 1");
        check(SAVE, "", "");
        check(BIND, "127.0.0.1   -::1", "127.0.0.1 -::1");
        check(UNIXSOCKETPERM, "0700", "700");
        check(SHUTDOWN_ON_SIGTERM, "now NOSAVE", "nosave now");
        check(SHUTDOWN_ON_SIGTERM, "default", "default");
        check(
            CLIENT_OUTPUT_BUFFER_LIMIT,
            "pubsub 1mb 0 0 normal 10 5 1",
            "normal 10 5 1 slave 268435456 67108864 60 pubsub 1048576 0 0",
        );
        check(CLIENT_OUTPUT_BUFFER_LIMIT, "replica 0 0 0", "normal 10 5 1 slave 0 0 0 pubsub 1048576 0 0");
        for id in all() {
            let (shown, is_default) = (settings.show(id), Settings::default().show(id));
            settings.set(id, &shown).unwrap();
            assert_eq!(settings.show(id), shown, "{}", id.setting().name);
            settings.set(id, id.setting().default).unwrap();
            assert_eq!(settings.show(id), is_default, "{}", id.setting().name);
        }
    }

    #[test]
    fn wrong_values_are_told_in_redis_words() {
        let check = |id, value: &str, why: &str| assert_eq!(Settings::check(id, value).unwrap_err(), why, "{value}");
        check(PORT, "65536", "argument must be between 0 and 65535 inclusive");
        check(PORT, "x", "argument couldn't be parsed into an integer");
        check(PROTECTED_MODE, "1", "argument must be 'yes' or 'no'");
        check(MAXMEMORY, "-1", "argument must be a memory value");
        check(UNIXSOCKETPERM, "8", "argument couldn't be parsed as an octal number");
        check(SAVE, "1", "Invalid save parameters");
        check(SAVE, "0 1", "Invalid save parameters");
        check(CLIENT_OUTPUT_BUFFER_LIMIT, "", "Wrong number of arguments in buffer limit configuration.");
        let class = "Invalid client class specified in buffer limit configuration.";
        check(CLIENT_OUTPUT_BUFFER_LIMIT, "master 0 0 0", class);
        let number = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        check(CLIENT_OUTPUT_BUFFER_LIMIT, "normal 1 2 -3", number);
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
