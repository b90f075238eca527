//! An engine for many threads, and what the tests of this folder have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use synap_core::clock::{Clock, ManualClock, SystemClock};
use synap_core::session::{Door, Session};
use synap_core::testing::{self, START_MS, split};
use synap_core::{Engine, Options};

/// How long the threads of a test run.
pub const RUN: Duration = Duration::from_millis(1200);

/// A test that is not done by then hangs.
const HANGS: Duration = Duration::from_secs(40);

pub struct World {
    pub engine: Engine,
    /// Stands still unless it is moved; absent in a world with the machine's clock.
    pub clock: Option<Arc<ManualClock>>,
    pub seed: u64,
}

impl World {
    /// Time stands still and nothing goes by itself.
    pub fn still(name: &str) -> World {
        let clock = Arc::new(ManualClock::at(START_MS));
        World::open(name, Box::new(clock.clone()), Some(clock), false)
    }

    /// Time is the machine's and what is due goes by itself.
    pub fn alive(name: &str) -> World {
        World::open(name, Box::new(SystemClock), None, true)
    }

    fn open(name: &str, clock: Box<dyn Clock>, manual: Option<Arc<ManualClock>>, active_expiry: bool) -> World {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            SystemClock.now_ms() as u64 ^ NEXT.fetch_add(1, Ordering::Relaxed) << 48
        });
        eprintln!("{name}: SEED={seed}");
        let options = Options { clock, seed, keep_whole_log: true, active_expiry, ..Options::default() };
        World { engine: Engine::open_memory(options), clock: manual, seed }
    }

    pub fn user(&self) -> User {
        self.user_through(Door::Embedded)
    }

    pub fn user_through(&self, door: Door) -> User {
        let session = self.engine.session(door, "test".into(), "test".into());
        User { engine: self.engine.clone(), session }
    }

    pub fn random(&self, thread: u64) -> Random {
        Random(self.seed.wrapping_add(thread.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// So many keys with this beginning, no two in one shard, in an order that is not that of their shards.
    pub fn keys_apart(&self, beginning: &str, count: usize) -> Vec<String> {
        let mut taken = 0_u64;
        let mut keys = Vec::new();
        for number in 0.. {
            let key = format!("{beginning}{number}");
            let bit = 1 << self.shard(&key);
            if taken & bit == 0 {
                taken |= bit;
                keys.push(key);
            }
            if keys.len() == count {
                break;
            }
        }
        keys
    }

    pub fn shard(&self, key: &str) -> usize {
        synap_core::keyspace::hasher::shard_of(self.engine.state().hasher.hash(key.as_bytes()))
    }

    /// Waits until so many clients are blocked in a call.
    pub fn until_blocked(&self, count: usize) {
        let blocked = || {
            let clients = self.engine.state().registry.all();
            clients.iter().filter(|c| c.blocked.lock().as_ref().is_some_and(|w| w.is_waiting())).count()
        };
        until("clients to block", || blocked() >= count);
    }

    /// The end of every test: the log holds what the data hold.
    #[track_caller]
    pub fn check_twin(&self) {
        // What goes by itself stays from here on.
        self.engine.close().unwrap();
        testing::check_twin(&self.engine);
    }
}

/// Waits for something that is about to happen.
#[track_caller]
pub fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happens() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A session with its engine.
pub struct User {
    pub engine: Engine,
    pub session: Session,
}

impl User {
    /// Runs a call given as text and returns the reply as text.
    pub fn call(&mut self, line: &str) -> String {
        let words = split(line);
        self.words(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    pub fn words(&mut self, words: &[&[u8]]) -> String {
        testing::call_as(&self.engine, &mut self.session, words)
    }

    #[track_caller]
    pub fn ok(&mut self, line: &str) {
        assert_eq!(self.call(line), "OK", "{line}");
    }

    pub fn int(&mut self, line: &str) -> i64 {
        let reply = self.call(line);
        reply.trim_matches('"').parse().unwrap_or_else(|_| panic!("{line} answered {reply}"))
    }

    pub fn id(&self) -> u64 {
        self.session.client.id
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A thread that panicked may have left the engine in any state.
        if !std::thread::panicking() {
            self.engine.leave(&mut self.session);
        }
    }
}

/// xorshift: a seed replays a thread's choices.
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Says when the threads of a test are to end, and ends the process when they do not.
pub struct Stop {
    flag: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
}

impl Stop {
    /// The threads end after `time`.
    pub fn after(time: Duration) -> Stop {
        let (flag, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let stop = Stop { flag: flag.clone(), done: done.clone() };
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        std::thread::spawn(move || {
            std::thread::sleep(time);
            flag.store(true, Ordering::Release);
            let start = Instant::now();
            while !done.load(Ordering::Acquire) {
                if start.elapsed() > HANGS {
                    // The threads hang: only the process can be ended.
                    eprintln!("{name}: deadlock or lost wake-up: the threads do not come to an end");
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        stop
    }

    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    pub fn now(&self) {
        self.flag.store(true, Ordering::Release);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Release);
        self.done.store(true, Ordering::Release);
    }
}
