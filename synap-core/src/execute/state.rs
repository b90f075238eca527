//! Everything that calls share: one object for each engine.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ShutdownOptions;
use super::gate::Gate;
use super::pause::Pause;
use super::row::Command;
use super::shards::Shards;
use super::stats::{Slowlog, Stats};
use super::timer::Timer;
use super::walk::Walks;
use crate::access::Users;
use crate::clock::Clock;
use crate::error::Result;
use crate::grammar::Words;
use crate::keyspace::hasher::KeyHasher;
use crate::keyspace::value::Value;
use crate::log::Log;
use crate::session::{Channels, Registry};
use crate::settings::Settings;

/// What an engine is made of. Handlers reach it through their contexts.
pub struct State {
    pub gate: Gate,
    pub shards: Shards,
    pub hasher: KeyHasher,
    pub log: Log,
    pub clock: Box<dyn Clock>,
    /// Cheap ticks for durations.
    pub ticks: quanta::Clock,
    pub settings: Settings,
    pub users: Users,
    pub registry: Registry,
    pub channels: Channels,
    pub pause: Pause,
    pub walks: Walks,
    pub stats: Stats,
    pub slowlog: Slowlog,
    pub table: &'static dyn Rows,
    pub expiry: ExpiryMode,
    pub timer: Timer,
    pub dropper: Dropper,
    pub started_ms: i64,
    random: AtomicU64,
    host: OnceLock<Box<dyn Host>>,
}

/// The list of rows, which stands above this module.
pub trait Rows: crate::access::Rows + Sync {
    /// The row of these words, or the error that answers them.
    fn find(&self, words: Words<'_>) -> Result<&'static Command>;
    fn all(&self) -> &'static [Command];
}

/// The program around the engine: the only call upward.
pub trait Host: Send + Sync {
    /// The program is to end. Called once the caller's turn has ended.
    fn shutdown(&self, options: ShutdownOptions);
    /// A setting has a new value.
    fn setting_changed(&self, _name: &str) {}
    /// Lines of INFO that only the program knows, for `section` in small letters.
    fn info(&self, _section: &str, _out: &mut String) {}
    /// Bytes of memory in use, when the program counts them.
    fn memory_used(&self) -> Option<u64> {
        None
    }
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
#[derive(Debug)]
pub struct Dropper(Mutex<Option<std::sync::mpsc::Sender<Trash>>>);

/// Something large that nobody can reach any more.
pub enum Trash {
    Value(Value),
    Db(Box<crate::keyspace::db::Db>),
}

/// A collection of more elements is freed elsewhere: about what a message to another thread costs.
const DROP_HERE_MAX: usize = 256;

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
}

impl Dropper {
    pub fn attach(&self, sender: std::sync::mpsc::Sender<Trash>) {
        *self.0.lock() = Some(sender);
    }

    /// Lets the thread come to its end.
    pub fn detach(&self) {
        *self.0.lock() = None;
    }

    /// Drops something large: elsewhere, or here when there is no thread for it.
    pub fn drop(&self, trash: Trash) {
        if let Some(sender) = &*self.0.lock() {
            // A closed channel gives it back and it is dropped here.
            let _ = sender.send(trash);
        }
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
    pub fn new(parts: Parts) -> State {
        let hasher = KeyHasher::new(parts.seed);
        let started_ms = parts.clock.now_ms();
        let ticks = quanta::Clock::new();
        State {
            gate: Gate::new(),
            shards: Shards::new(hasher),
            hasher,
            log: parts.log,
            slowlog: Slowlog::new(&ticks),
            ticks,
            settings: parts.settings,
            users: Users::default(),
            registry: Registry::default(),
            channels: Channels::default(),
            pause: Pause::default(),
            walks: Walks::default(),
            stats: Stats::new(parts.table.count()),
            table: parts.table,
            expiry: ExpiryMode::new(parts.due),
            timer: Timer::new(),
            dropper: Dropper(Mutex::new(None)),
            started_ms,
            random: AtomicU64::new(parts.seed),
            host: OnceLock::new(),
            clock: parts.clock,
        }
    }

    /// The next number of the engine's own sequence (splitmix64): the seed replays a run.
    pub fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn host(&self) -> &dyn Host {
        self.host.get().map_or(&NoHost, |host| &**host)
    }

    /// Said once, by the program that opens the engine.
    pub fn set_host(&self, host: Box<dyn Host>) {
        // The first host stays: an engine belongs to one program.
        let _ = self.host.set(host);
    }
}
