//! Everything that calls share: one object for each engine.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::eviction::{self, Eviction};
use super::figures::Allocator;
use super::gate::Gate;
use super::latency::{self, Latency};
use super::pause::Pause;
use super::row::{Command, Flags};
use super::shards::Shards;
use super::slowlog::Slowlog;
use super::stats::Stats;
use super::timer::Timer;
use super::times::{Ticks, bucket_of};
use super::walk::Walks;
use super::{Call, ShutdownOptions};
use crate::access::Users;
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::grammar::Words;
use crate::keyspace::access::{Access, Frequency, Random};
use crate::keyspace::hasher::KeyHasher;
use crate::keyspace::value::Value;
use crate::log::Log;
use crate::session::{Channels, Client, Registry, Trackers};
use crate::settings::{self, Id, Settings};

/// What an engine is made of. Handlers reach it through their contexts.
pub struct State {
    pub gate: Gate,
    pub shards: Shards,
    pub hasher: KeyHasher,
    pub log: Arc<Log>,
    pub clock: Box<dyn Clock>,
    /// Cheap ticks for durations.
    pub ticks: Ticks,
    pub settings: Settings,
    pub users: Users,
    pub registry: Registry,
    pub trackers: Trackers,
    pub channels: Channels,
    pub pause: Pause,
    pub walks: Walks,
    pub stats: Stats,
    pub slowlog: Slowlog,
    pub latency: Latency,
    pub table: &'static dyn Rows,
    pub expiry: ExpiryMode,
    pub timer: Timer,
    pub eviction: Eviction,
    pub dropper: Dropper,
    pub started_ms: i64,
    /// The memory that was in use when the program had started.
    pub memory_startup: AtomicU64,
    /// The data are not there yet: most calls are refused.
    pub loading: AtomicBool,
    /// How much of them is there.
    pub load_progress: LoadProgress,
    random: Random,
    host: OnceLock<Box<dyn Host>>,
    storage: OnceLock<Arc<dyn Storage>>,
    /// Itself, for what goes on when the call that began it has ended.
    me: Weak<State>,
}

/// How far a load is, for those who ask while it is on.
#[derive(Debug, Default)]
pub struct LoadProgress {
    /// Unix seconds.
    pub began_s: AtomicI64,
    /// Bytes of files, and how many of them have been read.
    pub total_bytes: AtomicU64,
    pub loaded_bytes: AtomicU64,
}

/// The list of rows, which stands above this module.
pub trait Rows: crate::access::Rows + Sync {
    /// The row of these words, or the error that answers them.
    fn find(&self, words: Words<'_>) -> Result<&'static Command>;
    fn all(&self) -> &'static [Command];
    /// Those whose names are not closed.
    fn open(&self) -> &'static [Command];
    /// What answers a call whose name nobody knows.
    fn unknown(&self, words: Words<'_>) -> Error;
    /// One line about a client, as CLIENT LIST has it.
    fn describe(&self, client: &Client, state: &State, now_ms: i64) -> String;
}

/// The program around the engine: the only call upward.
pub trait Host: Send + Sync {
    /// The program is to end. Called once the caller's turn has ended.
    fn shutdown(&self, options: ShutdownOptions);
    /// Settings have new values. An error names the one that cannot be followed; then all of them are taken back, and
    /// this is called again.
    fn settings_changed(&self, _: &Settings, _: &[Id]) -> Result<(), (Id, String)> {
        Ok(())
    }
    /// Writes what is in force into the configuration file that the program was started with.
    fn rewrite_config(&self, _: Rewrite) -> Rewriting {
        Box::pin(std::future::ready(Err(Error::err("The server is running without a config file"))))
    }
    /// Somebody at `addr` gave a wrong password for `user`, so many times within a short while.
    fn login_refused(&self, _user: &str, _addr: &str, _count: u32) {}
    /// Something went wrong that whoever runs the server should know.
    fn warn(&self, _message: &str) {}
    /// Lines of INFO that only the program knows, for `section` in small letters.
    fn info(&self, _section: &str, _out: &mut String) {}
    /// Sends keys to another server: the engine knows no sockets.
    fn transfer(&self, _: Transfer) -> Transferring {
        let error = Error::new(Code::IoErr, "error or timeout connecting to the client");
        Box::pin(std::future::ready(Arrived { taken: Vec::new(), error: Some(error) }))
    }
    /// What the allocator tells of itself, when the program knows it.
    fn allocator(&self) -> Option<Allocator> {
        None
    }
    /// All that the allocator tells, as text for people.
    fn allocator_report(&self) -> Option<String> {
        None
    }
    /// Has the allocator give back what nobody uses.
    fn purge_memory(&self) {}
}

/// What is in force.
pub struct Rewrite {
    pub values: Vec<(Id, String)>,
    /// Each user by its name, with the line `user name rules` that makes it; `None` leaves them as they are.
    pub users: Option<Vec<(Arc<str>, Vec<u8>)>>,
}

/// See [`Host::rewrite_config`].
pub type Rewriting = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What is to be sent to another server.
pub struct Transfer {
    pub host: String,
    pub port: u16,
    /// Milliseconds for each step: to connect, to write a piece, to hear an answer.
    pub timeout_ms: u64,
    /// Calls in RESP that must be answered well before the data are sent.
    pub greeting: Vec<Vec<u8>>,
    /// One for each key, made when it is asked for: nobody has to hold all of them.
    pub calls: Box<dyn Iterator<Item = Vec<u8>> + Send>,
}

/// What became of it.
pub struct Arrived {
    /// For each call that was answered, whether it was answered well.
    pub taken: Vec<bool>,
    /// What went wrong first.
    pub error: Option<Error>,
}

/// See [`Host::transfer`].
pub type Transferring = Pin<Box<dyn Future<Output = Arrived> + Send>>;

/// What keeps the data beyond the process: the log's files and the snapshots. An engine in memory has none.
pub trait Storage: Send + Sync {
    /// Has everything written that was appended. Called outside of the gate, after a turn that may have appended
    /// something and before its replies leave.
    fn write_pending(&self);
    /// So much is not on disk that those who write have to wait.
    fn is_behind(&self) -> bool;
    /// Why writes are refused for now.
    fn refusal(&self) -> Option<Error>;
    /// Makes a snapshot. The future is ready when it is made, or says why not.
    fn save(&self, kind: SaveKind) -> Result<Saved>;
    /// Unix seconds of the last snapshot, or of the start.
    fn last_save_s(&self) -> i64;
    /// A setting has a new value. Called with the gate closed.
    fn setting_changed(&self, id: Id);
    /// What is written of the log.
    fn kept_log(&self) -> KeptLog;
    /// Ready when the log is [`KeptLog::Whole`], or is not written any more.
    fn log_begun(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Drops all data and loads them again, from the newest snapshot and the log.
    fn reload(&self) -> Result<Saved>;
    /// Has everything fsynced soon that was appended.
    fn request_sync(&self);
    /// Lines of `INFO persistence`.
    fn info(&self, out: &mut String);
}

/// What is written of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptLog {
    /// `appendonly no`.
    None,
    /// It is written, but no snapshot stands under it yet: a start would not find it.
    Begun,
    /// A start finds everything in snapshot and log.
    Whole,
}

/// Who asks for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveKind {
    /// SAVE: whoever asks waits.
    Foreground,
    /// BGSAVE.
    Background,
    /// BGSAVE SCHEDULE: behind the one that is on, if there is one.
    Schedule,
    /// BGREWRITEAOF: the log begins at the snapshot then.
    Rewrite,
}

/// A snapshot that was asked for.
pub struct Saved {
    /// It begins when the one that is on has ended.
    pub scheduled: bool,
    pub done: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
}

/// The host of an engine that stands alone.
struct NoHost;

impl Host for NoHost {
    fn shutdown(&self, _: ShutdownOptions) {}
}

/// What happens to keys and fields whose time has come.
#[derive(Debug)]
pub struct ExpiryMode {
    mode: AtomicU8,
    /// `DEBUG SET-ACTIVE-EXPIRE`: the engine's thread removes due keys by itself.
    pub active: AtomicBool,
}

/// See [`ExpiryMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Due {
    /// A master removes them when it meets them, and logs it.
    Remove,
    /// A replica hides them until its master's DEL arrives.
    Hide,
    /// Replay sees everything: the log says what went.
    Show,
}

impl ExpiryMode {
    pub fn new(due: Due) -> ExpiryMode {
        ExpiryMode { mode: AtomicU8::new(due as u8), active: AtomicBool::new(true) }
    }

    #[inline]
    pub fn get(&self) -> Due {
        match self.mode.load(Ordering::Relaxed) {
            0 => Due::Remove,
            1 => Due::Hide,
            _ => Due::Show,
        }
    }

    /// Changed only with the gate closed.
    pub fn set(&self, due: Due) {
        self.mode.store(due as u8, Ordering::Relaxed);
    }
}

/// Drops large values away from the locks, on its own thread.
#[derive(Debug, Default)]
pub struct Dropper {
    sender: Mutex<Option<std::sync::mpsc::Sender<Trash>>>,
    /// Of what waits to be dropped, about.
    leaving_bytes: AtomicUsize,
    /// Values that wait to be dropped.
    leaving_values: AtomicUsize,
    /// Values that were dropped elsewhere, since the counters were reset.
    dropped_values: AtomicUsize,
}

/// Something large that nobody can reach any more.
pub enum Trash {
    Value(Value),
    Db(Box<crate::keyspace::db::Db>),
}

/// A collection of more elements is freed elsewhere: about what a message to another thread costs.
const DROP_HERE_MAX: usize = 256;

/// What a key takes with its value, when nobody looks: about that of a small string.
const KEY_BYTES: usize = 64;

impl Trash {
    /// Dropping it takes longer than telling another thread to.
    pub fn is_large(&self) -> bool {
        match self {
            Trash::Value(Value::Int(_) | Value::Bytes(_) | Value::Blob(_)) => false,
            Trash::Value(Value::List(list)) => list.len() > DROP_HERE_MAX,
            Trash::Value(Value::Set(set)) => set.len() > DROP_HERE_MAX,
            Trash::Value(Value::Hash(hash)) => hash.len() > DROP_HERE_MAX,
            Trash::Value(Value::ZSet(zset)) => zset.len() > DROP_HERE_MAX,
            Trash::Db(_) => true,
        }
    }

    fn value_count(&self) -> usize {
        match self {
            Trash::Value(_) => 1,
            Trash::Db(db) => db.len(),
        }
    }

    /// Memory that it gives back, about.
    fn bytes(&self) -> usize {
        match self {
            Trash::Value(value) => value.view().element_bytes(),
            Trash::Db(db) => db.len() * KEY_BYTES,
        }
    }
}

impl Dropper {
    pub fn attach(&self, sender: std::sync::mpsc::Sender<Trash>) {
        *self.sender.lock() = Some(sender);
    }

    /// Lets the thread come to its end.
    pub fn detach(&self) {
        *self.sender.lock() = None;
    }

    /// Drops something large: elsewhere, or here when there is no thread for it.
    pub fn drop(&self, trash: Trash) {
        let (values, bytes) = (trash.value_count(), trash.bytes());
        if let Some(sender) = &*self.sender.lock() {
            self.leaving_values.fetch_add(values, Ordering::Relaxed);
            self.leaving_bytes.fetch_add(bytes, Ordering::Relaxed);
            // A closed channel gives it back and it is dropped here.
            if sender.send(trash).is_err() {
                self.leaving_values.fetch_sub(values, Ordering::Relaxed);
                self.leaving_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    /// What the thread does with each.
    pub(crate) fn drop_now(&self, trash: Trash) {
        let (values, bytes) = (trash.value_count(), trash.bytes());
        drop(trash);
        crate::memory::fold_all();
        self.dropped_values.fetch_add(values, Ordering::Relaxed);
        self.leaving_values.fetch_sub(values, Ordering::Relaxed);
        self.leaving_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Values that are about to be dropped.
    pub fn leaving_values(&self) -> usize {
        self.leaving_values.load(Ordering::Relaxed)
    }

    /// Values that were dropped elsewhere since [`Dropper::reset`].
    pub fn dropped_values(&self) -> usize {
        self.dropped_values.load(Ordering::Relaxed)
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.dropped_values.store(0, Ordering::Relaxed);
    }

    /// Memory that is about to be given back, about.
    #[inline]
    pub fn leaving_bytes(&self) -> usize {
        self.leaving_bytes.load(Ordering::Relaxed)
    }
}

/// What it takes to make a [`State`].
pub struct Parts {
    pub table: &'static dyn Rows,
    pub clock: Box<dyn Clock>,
    pub seed: u64,
    pub log: Log,
    pub due: Due,
    pub settings: Settings,
}

impl State {
    /// Made within an [`Arc`] (`Arc::new_cyclic`), which `me` is.
    pub fn new(parts: Parts, me: Weak<State>) -> State {
        let hasher = KeyHasher::new(parts.seed);
        let told = me.clone();
        parts.log.times.tell_to(move |event, time| {
            if let Some(state) = told.upgrade() {
                state.latency.note(&state, event, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            }
        });
        let started_ms = parts.clock.now_ms();
        State {
            gate: Gate::new(),
            shards: Shards::new(hasher),
            hasher,
            log: Arc::new(parts.log),
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            ticks: Ticks::default(),
            settings: parts.settings,
            users: Users::default(),
            registry: Registry::default(),
            trackers: Trackers::default(),
            channels: Channels::default(),
            pause: Pause::default(),
            walks: Walks::default(),
            stats: Stats::new(parts.table.count()),
            table: parts.table,
            expiry: ExpiryMode::new(parts.due),
            timer: Timer::new(),
            eviction: Eviction::default(),
            dropper: Dropper::default(),
            started_ms,
            memory_startup: AtomicU64::new(0),
            random: Random::new(parts.seed),
            loading: AtomicBool::new(false),
            load_progress: LoadProgress::default(),
            host: OnceLock::new(),
            storage: OnceLock::new(),
            me,
            clock: parts.clock,
        }
    }

    /// The settings of SLOWLOG and LATENCY have new values: which calls are long.
    pub(crate) fn fold_long_ticks(&self) {
        let micros = |id, unit: u64| u64::try_from(self.settings.int(id)).ok().map(|value| value.saturating_mul(unit));
        let slow = micros(settings::SLOWLOG_LOG_SLOWER_THAN, 1);
        let latency = micros(settings::LATENCY_MONITOR_THRESHOLD, 1000).filter(|micros| *micros > 0);
        self.log.times.watch(latency.is_some());
        let long = slow.into_iter().chain(latency).min().map_or(u64::MAX, |micros| self.ticks.of_micros(micros));
        self.stats.long_ticks.store(long, Ordering::Relaxed);
    }

    /// Notes a call that took long, for SLOWLOG and LATENCY.
    #[cold]
    pub(super) fn note_long(&self, call: &Call<'_>, client: &Client, at_ms: i64, ticks: u64) {
        let micros = self.ticks.micros(ticks);
        let slower_than = u64::try_from(self.settings.int(settings::SLOWLOG_LOG_SLOWER_THAN)).unwrap_or(u64::MAX);
        if micros >= slower_than && !call.row.flags.has(Flags::SKIP_SLOWLOG) {
            self.slowlog.note(self, call, client, at_ms, micros);
        }
        let is_fast = call.row.flags.has(Flags::FAST);
        let event = if is_fast { latency::event::FAST_COMMAND } else { latency::event::COMMAND };
        self.latency.note(self, event, micros);
    }

    /// Counts and times a call that did not run in a turn of its own client: in a transaction, or after a wait.
    pub(super) fn count_elsewhere(&self, call: &Call<'_>, client: &Client, at_ms: i64, ticks: u64) {
        self.stats.ran(call.row.id, ticks, &[bucket_of(ticks)]);
        if ticks >= self.stats.long_ticks() {
            self.note_long(call, client, at_ms, ticks);
        }
    }

    /// The next number of the engine's own sequence: the seed replays a run.
    pub fn random(&self) -> u64 {
        self.random.next()
    }

    /// What accesses leave in entries at this time.
    #[inline]
    pub fn access_at(&self, now_ms: i64) -> Access<'_> {
        Access::new(now_ms, self.settings.counts_frequencies().then(|| self.frequency()))
    }

    #[cold]
    fn frequency(&self) -> Frequency<'_> {
        let number = |id| u32::try_from(self.settings.int(id)).unwrap_or(0);
        Frequency {
            log_factor: number(settings::LFU_LOG_FACTOR),
            decay_minutes: number(settings::LFU_DECAY_TIME),
            random: &self.random,
        }
    }

    /// Itself, to be kept beyond a call; none when the engine goes.
    pub fn shared(&self) -> Option<Arc<State>> {
        self.me.upgrade()
    }

    pub fn host(&self) -> &dyn Host {
        self.host.get().map_or(&NoHost, |host| &**host)
    }

    /// Said once, by the program that opens the engine.
    pub fn set_host(&self, host: Box<dyn Host>) {
        // The first host stays: an engine belongs to one program.
        let _ = self.host.set(host);
    }

    /// The files, if there are any.
    #[inline]
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.storage.get()
    }

    /// Said once, when the data are loaded.
    pub(crate) fn set_storage(&self, storage: Arc<dyn Storage>) {
        let _ = self.storage.set(storage);
    }

    /// What is written of the log.
    pub fn kept_log(&self) -> KeptLog {
        self.storage().map_or(KeptLog::None, |storage| storage.kept_log())
    }

    /// The disk, the walk of a snapshot, or the dropper does not keep up: calls that write wait before they run.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.storage.get().is_some_and(|storage| storage.is_behind())
            || self.walks.is_behind()
            || eviction::is_behind(self)
    }

    /// Takes a look at what goes on by itself. Said by the program a few times in a second.
    pub fn sample(&self) {
        self.stats.sample(self);
    }

    /// Has everything written that was appended: before replies leave, outside of the gate and with nothing locked.
    #[inline]
    pub fn write_pending(&self) {
        if let Some(storage) = self.storage.get() {
            storage.write_pending();
        }
    }
}
