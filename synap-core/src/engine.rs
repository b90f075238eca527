//! Opens and closes an engine: its state, its threads, and the ways in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::access;
use crate::clock::{Clock, SystemClock};
use crate::command::{Table, table};
use crate::execute::gate::thread_slot;
use crate::execute::pause::BEHIND_LOOK;
use crate::execute::state::{Due, Parts, State};
use crate::execute::{Input, Later, Outcome, Pass, Turn, eviction, execute, expiry, rights, waiting};
use crate::log::disk::{self, Disk, RealDisk};
use crate::log::{HistoryId, Log};
use crate::persist::{self, Files, LoadError, LoadOptions, Loaded};
use crate::reply::{Reply, Tape};
use crate::session::{Client, Door, Session, WaitEnd, Waiter, Wake};
use crate::settings::{self, Settings};
use crate::sync::{block_on, block_on_for};

/// How an engine is opened.
pub struct Options {
    pub clock: Box<dyn Clock>,
    /// Seeds the hash of keys and what is chosen by chance.
    pub seed: u64,
    /// The settings to begin with. Those that cannot change later act here.
    pub settings: Settings,
    /// The names that clients use: see [`Table::renamed`].
    pub table: &'static Table,
    /// Keeps the whole stream, for tests that replay it.
    pub keep_whole_log: bool,
    /// What happens to keys whose time has come.
    pub due: Due,
    /// Removes due keys by itself, on a thread of its own.
    pub active_expiry: bool,
}

impl Default for Options {
    /// The machine's clock and a seed from the system.
    fn default() -> Options {
        Options {
            clock: Box::new(SystemClock),
            seed: random_seed(),
            settings: Settings::default(),
            table: table(),
            keep_whole_log: false,
            due: Due::Remove,
            active_expiry: true,
        }
    }
}

/// Not to be guessed from outside: it comes from the system's random source, by way of the standard library.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// An open engine. Cloning it gives another handle to the same one; it closes with the last.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    state: Arc<State>,
    closing: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    files: OnceLock<Arc<Files>>,
}

impl Engine {
    /// An engine that lives in memory.
    pub fn open_memory(options: Options) -> Engine {
        let history = HistoryId::from_random(history_bytes(options.seed));
        let capacity = options.settings.int(settings::REPL_BACKLOG_SIZE);
        let log = Log::new(usize::try_from(capacity).unwrap_or(0), history);
        let log = if options.keep_whole_log { log.keeping_everything() } else { log };
        let parts = Parts {
            table: options.table,
            clock: options.clock,
            seed: options.seed,
            log,
            due: options.due,
            settings: options.settings,
        };
        let state = Arc::new_cyclic(|me| State::new(parts, me.clone()));
        settings::all().for_each(|id| crate::command::server::setting_changed(&state, id));
        let closing = Arc::new(AtomicBool::new(false));
        let mut threads = vec![start_dropper(&state)];
        if options.active_expiry {
            threads.push(start_timer(&state, &closing));
        }
        Engine {
            shared: Arc::new(Shared {
                state,
                closing,
                threads: Mutex::new(threads.into_iter().flatten().collect()),
                files: OnceLock::new(),
            }),
        }
    }

    /// An engine whose data are in a folder, which is made when it is not there.
    pub fn open(path: impl Into<PathBuf>, options: Options, load: LoadOptions) -> Result<(Engine, Loaded), LoadError> {
        let engine = Engine::open_memory(options);
        engine.load_users(&[]).map_err(LoadError::Users)?;
        let loaded = engine.load(path, load)?;
        Ok((engine, loaded))
    }

    /// Makes the users of a configuration (each the words behind `user`), or those of the file that the setting
    /// `aclfile` names. Before the first caller comes.
    pub fn load_users(&self, configured: &[Vec<Vec<u8>>]) -> Result<(), String> {
        let state = self.state();
        let path = crate::command::acl::file_of(state);
        if path.is_some() && !configured.is_empty() {
            return Err("Users are in the configuration and in an ACL file: only one of them can count".into());
        }
        for user in access::file::configured(configured, &rights::terms_of(state))? {
            state.users.put(user);
        }
        if let Some(path) = path {
            let text = access::file::read(&path);
            state.users.replace(crate::command::acl::read_users(state, &path, text)?);
        }
        Ok(())
    }

    /// The second half of [`Engine::open`], for an engine that has been opened in memory just now and that may have
    /// callers already: they are refused until all data are there.
    pub fn load(&self, path: impl Into<PathBuf>, options: LoadOptions) -> Result<Loaded, LoadError> {
        let path = path.into();
        let shown = path.display().to_string();
        let disk = RealDisk::open(path).map_err(|error| LoadError::Folder { path: shown, error })?;
        self.load_from(Arc::new(disk), options)
    }

    /// [`Engine::load`] from any disk.
    pub fn load_from(&self, disk: Arc<dyn Disk>, options: LoadOptions) -> Result<Loaded, LoadError> {
        let (files, loaded) = persist::load::load(self, disk, options)?;
        let _ = self.shared.files.set(files);
        Ok(loaded)
    }

    pub(crate) fn shared_state(&self) -> &Arc<State> {
        &self.shared.state
    }

    /// Starts a thread that [`Engine::close`] waits for.
    pub(crate) fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        self.shared.threads.lock().push(thread);
        Ok(())
    }

    pub fn state(&self) -> &State {
        &self.shared.state
    }

    /// A new session that came through `door`. Give it to [`Engine::leave`] when it ends.
    pub fn session(&self, door: Door, addr: String, laddr: String) -> Session {
        let state = self.state();
        let client = state.registry.add(door, addr, laddr, state.clock.now_ms());
        let user = Some(state.users.default_user()).filter(|user| user.is_open());
        client.info.lock().user = "default".into();
        Session::new(client, user)
    }

    /// Ends a session: what it subscribed, watched and waited for is forgotten. May keep the thread for a moment.
    pub fn leave(&self, session: &mut Session) {
        if !self.try_leave(session) {
            Engine::let_go(&mut self.enter_blocking(), session);
        }
    }

    /// [`Engine::leave`] for tasks of a runtime.
    pub async fn depart(&self, session: &mut Session) {
        if !self.try_leave(session) {
            self.inside(|turn| Engine::let_go(turn, session)).await;
        }
    }

    /// As [`Engine::leave`]; false when somebody is alone inside the gate. Nothing reaches the session any more then,
    /// but it still stands in queues: call again.
    pub fn try_leave(&self, session: &mut Session) -> bool {
        let state = self.state();
        state.registry.remove(session.client.id);
        crate::command::connection::leave_everything(state, session);
        let waiter = session.client.blocked.lock().clone();
        if waiter.is_none() && session.watches.flag.is_none() {
            return true;
        }
        if let Some(waiter) = waiter {
            // Nothing is popped for it from here on, however long the gate stays closed.
            waiter.claim(WaitEnd::Gone);
        }
        self.try_enter().map(|mut turn| Engine::let_go(&mut turn, session)).is_some()
    }

    /// The part of leaving that touches keys.
    fn let_go(turn: &mut Turn<'_>, session: &mut Session) {
        let waiter = session.client.blocked.lock().clone();
        if let Some(waiter) = waiter {
            waiting::leave(turn, session, &waiter, WaitEnd::Gone);
        }
        crate::execute::transaction::unwatch(turn, session);
    }

    /// Takes a blocked session out of the queues it waits in; see [`waiting::leave`].
    pub async fn stop_waiting(&self, session: &mut Session, waiter: &Arc<Waiter>, end: WaitEnd) -> bool {
        self.inside(|turn| waiting::leave(turn, session, waiter, end)).await
    }

    /// Goes inside the gate if nobody is alone there.
    #[inline]
    pub fn try_enter(&self) -> Option<Turn<'_>> {
        let state = self.state();
        state.gate.try_enter(thread_slot()).map(|pass| Turn::new(state, Pass::Entered(pass)))
    }

    /// Runs `work` inside the gate, after waiting for it in turn: at most one closer goes before that did not wait
    /// already. (To wait until the gate is open and then [`Engine::try_enter`] is not the same: under a flood of closers
    /// it is closed again each time.)
    pub async fn inside<R>(&self, work: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let state = self.state();
        let pass = state.gate.enter(thread_slot()).await;
        let mut turn = Turn::new(state, Pass::Entered(pass));
        let result = work(&mut turn);
        drop(turn);
        state.log.notify();
        result
    }

    /// Runs `work` alone inside the gate.
    pub async fn alone<'s, R>(&'s self, work: impl FnOnce(&mut Turn<'s>) -> R) -> R {
        let state = self.state();
        let closed = state.gate.close().await;
        let mut turn = Turn::new(state, Pass::Closed(closed));
        let result = work(&mut turn);
        drop(turn);
        state.log.notify();
        result
    }

    /// Goes inside the gate, keeping the thread meanwhile: for callers without a runtime.
    pub fn enter_blocking(&self) -> Turn<'_> {
        let state = self.state();
        Turn::new(state, Pass::Entered(block_on(state.gate.enter(thread_slot()))))
    }

    /// Runs one call to its end, keeping the thread while it waits: for the embedded door and for tests.
    pub fn call(&self, session: &mut Session, words: &[&[u8]], reply: &mut dyn Reply) {
        let input = Input::words(words);
        let mut turn = self.enter_blocking();
        let mut outcome = execute(&mut turn, session, &input, reply);
        drop(turn);
        loop {
            match outcome {
                Outcome::NeedAlone => {
                    outcome = block_on(self.alone(|turn| execute(turn, session, &input, reply)));
                }
                Outcome::Paused => {
                    self.wait_for_pause(session);
                    outcome = execute(&mut self.enter_blocking(), session, &input, reply);
                }
                Outcome::Blocked(waiter) => {
                    self.wait_blocking(session, &waiter, reply);
                    break;
                }
                Outcome::Sleep(time) => {
                    std::thread::sleep(time);
                    break;
                }
                Outcome::Shutdown(options) => {
                    self.state().host().shutdown(options);
                    break;
                }
                Outcome::Later(later) => {
                    Engine::wait_for(later).play(reply);
                    break;
                }
                Outcome::Replied | Outcome::Quit => break,
            }
        }
        self.settle_blocking(session);
    }

    /// Waits for a reply, as long as it may take.
    fn wait_for(later: Later) -> Tape {
        match later.timeout {
            None => block_on(later.reply),
            Some((ms, timed_out)) => block_on_for(later.reply, Duration::from_millis(ms)).unwrap_or_else(timed_out),
        }
    }

    /// Waits until what the session saw may be told.
    fn settle_blocking(&self, session: &Session) {
        let state = self.state();
        state.log.notify();
        if !state.log.is_settled(session.seen) {
            state.write_pending();
            block_on(state.log.settled_at(session.seen));
        }
    }

    /// Waits until the pause that stopped a call is over or another one.
    fn wait_for_pause(&self, session: &Session) {
        let state = self.state();
        let changed = state.pause.changed_since(session.paused_at);
        let now_ms = state.clock.now_ms();
        match state.pause.until(now_ms) {
            Some(until_ms) => drop(block_on_for(changed, wait_time(until_ms, now_ms))),
            None if state.is_behind() => std::thread::sleep(BEHIND_LOOK),
            None => {}
        }
    }

    /// Waits with a blocked call until it is served or its time is over, and writes its reply.
    fn wait_blocking(&self, session: &mut Session, waiter: &Arc<Waiter>, reply: &mut dyn Reply) {
        self.state().log.notify();
        let client = session.client.clone();
        let end = loop {
            if Client::take_mail(session, reply) {
                break WaitEnd::Served;
            }
            let now_ms = self.state().clock.now_ms();
            let deadline_ms = waiter.deadline_ms.unwrap_or(i64::MAX);
            if client.is_killed() {
                break WaitEnd::Gone;
            }
            if deadline_ms <= now_ms {
                break WaitEnd::TimedOut;
            }
            block_on_for(client.woken(), wait_time(deadline_ms, now_ms));
        };
        let ended_here = waiting::leave(&mut self.enter_blocking(), session, waiter, end);
        if ended_here {
            waiting::timeout_reply(waiter, reply);
        } else if end != WaitEnd::Served {
            // Somebody was quicker. The reply is in the inbox, or about to be; other mail is not it.
            while !Client::take_mail(session, reply) && block_on(client.woken()) == Wake::Mail {}
        }
    }

    /// Ends the engine's threads and has everything fsynced. Sessions that still run are not waited for. An error says
    /// that the end of the log is not safe on disk.
    pub fn close(&self) -> Result<(), disk::Error> {
        self.shared.close()
    }
}

impl Shared {
    fn close(&self) -> Result<(), disk::Error> {
        if self.closing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.state.timer.wake_by(i64::MIN);
        self.state.dropper.detach();
        if let Some(files) = self.files.get() {
            files.saver.close();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
        // Last of all: nobody appends any more.
        self.files.get().map_or(Ok(()), |files| files.writer.close())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know closes it.
        let _ = self.close();
    }
}

/// The longest wait by the clock without looking at it again: it may be set, or moved by a test.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn wait_time(until_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0)).min(LOOK_AGAIN)
}

/// Twenty bytes that no other start has: from the seed, the time and the process.
fn history_bytes(seed: u64) -> [u8; 20] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(SystemClock.now_ms().to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&hash.finalize()[..20]);
    bytes
}

/// The thread that frees large values.
fn start_dropper(state: &Arc<State>) -> Option<JoinHandle<()>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let own = state.clone();
    let run = move || receiver.into_iter().for_each(|trash| own.dropper.drop_now(trash));
    match std::thread::Builder::new().name("synap-drop".into()).spawn(run) {
        Ok(thread) => {
            state.dropper.attach(sender);
            Some(thread)
        }
        // Without it, values are freed where they are removed.
        Err(_) => None,
    }
}

/// The thread that removes what is due, and what does not fit into memory; asleep until the earliest deadline.
fn start_timer(state: &Arc<State>, closing: &Arc<AtomicBool>) -> Option<JoinHandle<()>> {
    let (state, closing) = (state.clone(), closing.clone());
    let run = move || {
        state.timer.attach(true);
        while !closing.load(Ordering::Acquire) {
            let enter = || Turn::new(&state, Pass::Entered(block_on(state.gate.enter(thread_slot()))));
            let next_ms = expiry::expire_all(&state, enter);
            while !closing.load(Ordering::Acquire) && eviction::relieve(&state, enter) {
                state.log.notify();
                state.write_pending();
            }
            state.log.notify();
            state.write_pending();
            if !closing.load(Ordering::Acquire) {
                state.timer.sleep(next_ms, state.clock.now_ms());
            }
        }
    };
    std::thread::Builder::new().name("synap-timer".into()).spawn(run).ok()
}
