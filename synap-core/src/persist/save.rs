//! Snapshots: one thread makes them, asked by a command, by the rules of `save`, or by a log that has grown.
//!
//! It walks through the keys while everybody goes on ([`Walk`]), writes to a temporary name, has the file and the log up
//! to the cut fsynced, gives it its name, tells the manifest, and removes the segments that no snapshot needs any more.
//!
//! Without a log, a snapshot is all there is: in the change of the manifest that names it, segments that are still there
//! go. The same thread has the log begin and end when `appendonly` changes, so that no snapshot is on meanwhile, and loads
//! everything again for DEBUG LOADAOF.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{alone, enter, load, wants_log};
use crate::Engine;
use crate::error::{Error, Result};
use crate::execute::State;
use crate::execute::state::{KeptLog, SaveKind, Saved};
use crate::execute::walk::Walk;
use crate::execute::{Pass, Turn, eviction};
use crate::keyspace::entry::Entry;
use crate::keyspace::eviction::Policy;
use crate::log::disk::folder::UNFINISHED;
use crate::log::disk::io::{Disk, File, write_all_at};
use crate::log::disk::{Writer, manifest};
use crate::settings;
use crate::snapshot::{self, WriteOptions};
use crate::sync::block_on;

/// What is gathered in memory before it is written to the file.
const PIECE_BYTES: usize = 256 << 10;

/// How often the rules are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After a failure, no rule asks again for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Makes the snapshots of an engine.
pub struct Saver {
    state: Weak<State>,
    writer: Arc<Writer>,
    jobs: Mutex<Jobs>,
    bell: Condvar,
    closing: AtomicBool,
    last_save_s: AtomicU64,
    /// Entries written by the snapshot that is on, and keys that there were at its cut.
    progress: [AtomicU64; 2],
}

#[derive(Default)]
struct Jobs {
    /// Asked for and not begun.
    asked: VecDeque<Job>,
    running: Option<Running>,
    last: Outcome,
    /// The same of those that the log began at.
    last_rewrite: Outcome,
    /// Snapshots that were made since the start.
    saves: u64,
    /// Keys of the snapshot that was loaded.
    keys_loaded: u64,
    /// The newest snapshot, and calls in the log, and its size, when it was made.
    base: Option<String>,
    changes: u64,
    base_offset: u64,
    base_bytes: u64,
    retry_at: Option<Instant>,
    /// Ends when the log that has begun is whole.
    begun: Option<Arc<Done>>,
}

impl Jobs {
    fn is_on(&self, wanted: impl Fn(Work) -> bool) -> bool {
        self.is_asked(&wanted) || self.running.as_ref().is_some_and(|running| wanted(running.work))
    }

    fn is_asked(&self, wanted: impl Fn(Work) -> bool) -> bool {
        self.asked.iter().any(|job| wanted(job.work))
    }

    /// One that waits already serves for both.
    fn ask(&mut self, work: Work) -> Arc<Done> {
        if let Some(job) = self.asked.iter().find(|job| job.work == work) {
            return job.done.clone();
        }
        let done = Arc::<Done>::default();
        self.asked.push_back(Job { work, done: done.clone() });
        done
    }
}

/// What the thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Save(SaveKind),
    /// Has the log begin or end, as `appendonly` says it by then.
    FollowSetting,
    /// DEBUG LOADAOF.
    Reload,
}

impl Work {
    fn is_save(self) -> bool {
        matches!(self, Work::Save(_))
    }

    /// The log begins at what it makes.
    fn is_rewrite(self) -> bool {
        matches!(self, Work::Save(SaveKind::Rewrite) | Work::FollowSetting)
    }
}

struct Job {
    work: Work,
    done: Arc<Done>,
}

struct Running {
    work: Work,
    began: Instant,
}

/// What became of the last snapshot.
#[derive(Default)]
struct Outcome {
    error: Option<String>,
    took: Option<Duration>,
}

impl Outcome {
    fn status(&self) -> &'static str {
        if self.error.is_none() { "ok" } else { "err" }
    }

    fn took_s(&self) -> i64 {
        self.took.map_or(-1, |took| took.as_secs() as i64)
    }
}

/// The end of a job, for those who wait.
#[derive(Default)]
struct Done(Mutex<DoneState>);

#[derive(Default)]
struct DoneState {
    result: Option<Result<()>>,
    wakers: Vec<Waker>,
}

impl Done {
    fn finish(&self, result: Result<()>) {
        let wakers = {
            let mut state = self.0.lock();
            state.result = Some(result);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn wait(self: Arc<Self>) -> Result<()> {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            match &state.result {
                Some(result) => Poll::Ready(result.clone()),
                None => {
                    state.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// How much this thread gives way to those that serve clients, as `nice` counts it.
#[cfg(target_os = "linux")]
const NICE: libc::c_int = 10;

/// Where this thread and one that serves clients share a core, each waits at a shard that the other was stopped in: with
/// the same priority a tenth of the writes was left while a snapshot was made, with this more than half.
fn give_way() {
    #[cfg(target_os = "linux")]
    // SAFETY: a system call without pointers; on Linux it is about the calling thread. If it is refused, nothing changes.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE)
    };
}

impl Saver {
    /// Begins with what was loaded. Its thread ends with the engine.
    pub fn start(engine: &Engine, writer: Arc<Writer>, loaded: &load::Loaded) -> io::Result<Arc<Saver>> {
        let state = engine.state();
        let now_s = u64::try_from(state.clock.now_ms() / 1000).unwrap_or(0);
        let base_offset = loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.offset);
        let base = loaded.snapshot.as_ref().map(|snapshot| snapshot.name.clone());
        let saver = Arc::new(Saver {
            state: Arc::downgrade(engine.shared_state()),
            writer,
            jobs: Mutex::new(Jobs { base, base_offset, keys_loaded: loaded.keys, ..Jobs::default() }),
            bell: Condvar::new(),
            closing: AtomicBool::new(false),
            last_save_s: AtomicU64::new(now_s),
            progress: Default::default(),
        });
        let thread = saver.clone();
        engine.spawn("synap-save", move || {
            give_way();
            thread.run();
        })?;
        Ok(saver)
    }

    /// Asks for a snapshot. An error when one is on and the kind does not wait for it.
    pub fn ask(&self, kind: SaveKind) -> Result<Saved> {
        let mut jobs = self.jobs.lock();
        let is_on = jobs.is_on(|work| work.is_save() || work.is_rewrite());
        let is_refused = match kind {
            // It waits for its snapshot in any case, so it may wait for a log that begins or ends too.
            SaveKind::Foreground => jobs.is_on(|work| work.is_save() && !work.is_rewrite()),
            SaveKind::Background => is_on,
            SaveKind::Schedule | SaveKind::Rewrite => false,
        };
        if is_refused {
            return Err(Error::err("Background save already in progress"));
        }
        if kind == SaveKind::Rewrite && jobs.is_on(Work::is_rewrite) {
            return Err(Error::err("Background append only file rewriting already in progress"));
        }
        let done = jobs.ask(Work::Save(kind));
        drop(jobs);
        self.bell.notify_one();
        Ok(Saved { scheduled: is_on, done: Box::pin(done.wait()) })
    }

    /// `appendonly` has changed.
    pub fn follow_setting(&self) {
        let mut jobs = self.jobs.lock();
        jobs.begun.get_or_insert_default();
        jobs.ask(Work::FollowSetting);
        drop(jobs);
        self.bell.notify_one();
    }

    /// Asks for all data to be dropped and loaded again.
    pub fn ask_to_reload(&self) -> Result<Saved> {
        let done = self.jobs.lock().ask(Work::Reload);
        self.bell.notify_one();
        Ok(Saved { scheduled: true, done: Box::pin(done.wait()) })
    }

    pub fn kept_log(&self, state: &State) -> KeptLog {
        if !wants_log(&state.settings) {
            KeptLog::None
        } else if !self.writer.is_open() || self.writer.folder().facts().is_draft {
            KeptLog::Begun
        } else {
            KeptLog::Whole
        }
    }

    /// Ready when the log is whole, or has ended.
    pub fn log_begun(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let begun = self.jobs.lock().begun.clone();
        Box::pin(async move {
            if let Some(begun) = begun {
                // Whoever waits looks for himself what has become of it.
                let _ = begun.wait().await;
            }
        })
    }

    /// Why nothing may be written, without a log: what is written now is in no snapshot, and perhaps never will be.
    pub fn refusal(&self) -> Option<String> {
        let error = self.jobs.lock().last.error.clone()?;
        Some(format!(
            "a snapshot failed, and writes are refused until one succeeds (stop-writes-on-bgsave-error): {error}"
        ))
    }

    /// Has writes refused, or not.
    pub fn judge(&self, state: &State) {
        if !self.writer.is_open() {
            let stops = state.settings.int(settings::STOP_WRITES_ON_BGSAVE_ERROR) != 0;
            let has_failed = self.jobs.lock().last.error.is_some();
            state.log.set_failing(stops && has_failed && settings::has_save_rules(&state.settings));
        }
    }

    pub fn last_save_s(&self) -> i64 {
        self.last_save_s.load(Ordering::Relaxed) as i64
    }

    /// Runs `work` with the engine's state, while it is there.
    pub fn with_state(&self, work: impl FnOnce(&State)) {
        if let Some(state) = self.state.upgrade() {
            work(&state);
        }
    }

    /// The engine closes: no snapshot is begun any more, and the one that is on is given up.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    pub fn info(&self, out: &mut String) {
        let jobs = self.jobs.lock();
        let running_s = |wanted: fn(Work) -> bool| {
            let running = jobs.running.as_ref().filter(|running| wanted(running.work));
            running.map_or(-1, |running| running.began.elapsed().as_secs() as i64)
        };
        let is_saving = |work: Work| work.is_save() && !work.is_rewrite();
        let (save_s, rewrite_s) = (running_s(is_saving), running_s(Work::is_rewrite));
        let state = self.state.upgrade();
        // Whoever has said CONFIG SET appendonly yes waits for the end of this.
        let begins = state.as_ref().is_some_and(|state| wants_log(&state.settings));
        let is_rewriting = jobs.is_on(|work| work == Work::FollowSetting && begins)
            || jobs.running.as_ref().is_some_and(|running| running.work == Work::Save(SaveKind::Rewrite));
        let changes = state.map_or(0, |state| state.log.changes().saturating_sub(jobs.changes));
        let [written, keys] = &self.progress;
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "rdb_changes_since_last_save:{changes}\r\nrdb_bgsave_in_progress:{}\r\nrdb_last_save_time:{}\r\n\
             rdb_last_bgsave_status:{}\r\nrdb_last_bgsave_time_sec:{}\r\nrdb_current_bgsave_time_sec:{save_s}\r\n\
             rdb_saves:{}\r\nrdb_last_load_keys_expired:0\r\nrdb_last_load_keys_loaded:{}\r\n\
             current_save_keys_processed:{}\r\ncurrent_save_keys_total:{}\r\n\
             aof_rewrite_in_progress:{}\r\naof_rewrite_scheduled:{}\r\naof_last_rewrite_time_sec:{}\r\n\
             aof_current_rewrite_time_sec:{rewrite_s}\r\naof_last_bgrewrite_status:{}\r\naof_base_size:{}\r\n",
            u8::from(save_s >= 0),
            self.last_save_s(),
            jobs.last.status(),
            jobs.last.took_s(),
            jobs.saves,
            jobs.keys_loaded,
            written.load(Ordering::Relaxed),
            keys.load(Ordering::Relaxed),
            u8::from(is_rewriting),
            u8::from(jobs.is_asked(|work| work == Work::Save(SaveKind::Rewrite))),
            jobs.last_rewrite.took_s(),
            jobs.last_rewrite.status(),
            jobs.base_bytes,
        );
    }

    fn run(&self) {
        while !self.closing.load(Ordering::Acquire) {
            let job = {
                let mut jobs = self.jobs.lock();
                if jobs.asked.is_empty() {
                    self.bell.wait_for(&mut jobs, LOOK_EVERY);
                }
                let job = jobs.asked.pop_front();
                if let Some(job) = &job {
                    jobs.running = Some(Running { work: job.work, began: Instant::now() });
                }
                job
            };
            let Some(state) = self.state.upgrade() else { return };
            match job {
                Some(job) => {
                    let result = self.work(&state, job.work);
                    self.ended(&state, job.work, &result);
                    job.done.finish(result);
                }
                None => self.look(&state),
            }
        }
        let mut jobs = self.jobs.lock();
        let asked = std::mem::take(&mut jobs.asked);
        let begun = jobs.begun.take();
        drop(jobs);
        for done in asked.into_iter().map(|job| job.done).chain(begun) {
            done.finish(Err(Error::err("the server is closing")));
        }
    }

    fn work(&self, state: &State, work: Work) -> Result<()> {
        if state.loading.load(Ordering::Relaxed) {
            return Err(Error::err("not all data are there"));
        }
        match work {
            Work::Save(_) => self.save(state),
            Work::FollowSetting => match (wants_log(&state.settings), self.writer.is_open()) {
                (true, false) => self.begin_log(state).and_then(|()| self.save(state)),
                (true, true) if self.writer.folder().facts().is_draft => self.save(state),
                (false, true) => {
                    let stopped = self.writer.stop();
                    self.judge(state);
                    stopped.map_err(|error| Error::fmt(format!("the end of the log is not safe on disk: {error}")))
                }
                _ => Ok(()),
            },
            Work::Reload => self.reload(state),
        }
    }

    /// The log is written from now on. It counts with the snapshot that follows.
    fn begin_log(&self, state: &State) -> Result<()> {
        // Of a snapshot that failed: the log says how it does from here on.
        state.log.set_failing(false);
        let begun = self.writer.open_here().map_err(io::Error::other).and_then(|()| self.writer.start());
        begun.map_err(|error| Error::fmt(format!("the log could not be begun: {error}")))
    }

    fn ended(&self, state: &State, work: Work, result: &Result<()>) {
        let mut jobs = self.jobs.lock();
        let took = jobs.running.take().map(|running| running.began.elapsed());
        let outcome = |took| Outcome { error: result.as_ref().err().map(|error| error.text.to_string()), took };
        if work.is_rewrite() {
            jobs.last_rewrite = outcome(took);
        } else if work.is_save() {
            jobs.last = outcome(took);
        }
        jobs.retry_at = result.is_err().then(|| Instant::now() + RETRY_AFTER);
        let is_settled = self.kept_log(state) != KeptLog::Begun && !jobs.is_asked(|work| work == Work::FollowSetting);
        let begun = if is_settled { jobs.begun.take() } else { None };
        drop(jobs);
        if let Some(begun) = begun {
            begun.finish(Ok(()));
        }
        self.judge(state);
    }

    /// Asks for a snapshot when a rule says so.
    fn look(&self, state: &State) {
        let wanted = {
            let jobs = self.jobs.lock();
            if jobs.retry_at.is_some_and(|at| Instant::now() < at) {
                return;
            }
            let grown = state.log.end() - jobs.base_offset;
            let percent = u64::try_from(state.settings.int(settings::AUTO_AOF_REWRITE_PERCENTAGE)).unwrap_or(0);
            let min = u64::try_from(state.settings.int(settings::AUTO_AOF_REWRITE_MIN_SIZE)).unwrap_or(0);
            let changes = state.log.changes() - jobs.changes;
            let now_s = state.clock.now_ms() / 1000;
            let passed_s = u64::try_from(now_s - self.last_save_s()).unwrap_or(0);
            let rules = settings::save_rules(&state.settings.text(settings::SAVE)).unwrap_or_default();
            let is_large = percent > 0 && grown >= min.max(jobs.base_bytes.saturating_mul(percent) / 100);
            if wants_log(&state.settings) != self.writer.is_open() || self.kept_log(state) == KeptLog::Begun {
                // It has failed before.
                Some(Work::FollowSetting)
            } else if is_large && changes > 0 && self.writer.is_open() {
                Some(Work::Save(SaveKind::Rewrite))
            } else if changes > 0 && rules.iter().any(|rule| passed_s >= rule.seconds && changes >= rule.changes) {
                Some(Work::Save(SaveKind::Background))
            } else {
                None
            }
        };
        if let Some(work) = wanted {
            // Whoever asked in between gets one all the same.
            self.jobs.lock().ask(work);
        }
    }

    fn save(&self, state: &State) -> Result<()> {
        self.try_save(state).map_err(|error| Error::fmt(format!("the snapshot could not be made: {error}")))
    }

    fn try_save(&self, state: &State) -> io::Result<()> {
        let closed = block_on(state.gate.close());
        let turn = Turn::new(state, Pass::Closed(closed));
        // Read at the cut, so that what comes later counts for the next one.
        let changes = state.log.changes();
        let Some(mut walk) = Walk::begin(&turn) else { return Err(io::Error::other("another walk is on")) };
        drop(turn);
        let position = walk.position;
        self.progress[0].store(0, Ordering::Relaxed);
        self.progress[1].store(walk.key_count, Ordering::Relaxed);

        let disk = self.writer.folder().disk().clone();
        let name = format!("snapshot-{:020}.rdb", position.offset);
        let new_name = format!("snapshot-{:020}{UNFINISHED}", position.offset);
        let written = write(state, &*disk, &new_name, &mut walk, true, &mut |count| {
            self.progress[0].store(count, Ordering::Relaxed);
            if self.closing.load(Ordering::Acquire) { Err(io::Error::other("the engine closes")) } else { Ok(()) }
        });
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(error) => {
                walk.give_up(|| enter(state));
                // A rest that nothing names does no harm.
                let _ = disk.remove(&new_name);
                return Err(error);
            }
        };
        drop(walk);
        disk.rename(&new_name, &name)?;
        disk.sync_folder()?;
        let counted = manifest::Snapshot { name: name.clone(), offset: position.offset, db: position.db };
        self.count(state, counted)?;
        self.last_save_s.store(u64::try_from(state.clock.now_ms() / 1000).unwrap_or(0), Ordering::Relaxed);
        let mut jobs = self.jobs.lock();
        jobs.saves += 1;
        jobs.base = Some(name);
        jobs.changes = changes;
        jobs.base_offset = position.offset;
        jobs.base_bytes = bytes;
        Ok(())
    }

    /// Has a snapshot count that is whole.
    fn count(&self, state: &State, snapshot: manifest::Snapshot) -> io::Result<()> {
        let is_log_whole = self.writer.is_open() && !self.writer.folder().facts().is_draft;
        if self.writer.is_open() {
            // When the log is safe up to it.
            self.writer.request_sync();
            if self.wait_for_log(state, snapshot.offset).is_none() {
                return Err(io::Error::other("the log is not written"));
            }
        }
        if is_log_whole {
            self.writer.add_snapshot(snapshot).map_err(io::Error::other)?;
            return self.writer.folder().trim(u64::MAX).map(drop).map_err(io::Error::other);
        }
        let base = self.jobs.lock().base.clone();
        self.writer.begin_at(snapshot, base.as_deref()).map_err(io::Error::other)
    }

    /// Drops all data and loads them again. Others are refused meanwhile, as at a start.
    fn reload(&self, state: &State) -> Result<()> {
        if self.kept_log(state) != KeptLog::Whole || !self.writer.is_open() {
            return Err(Error::err("there is no log to load: appendonly is off, or has been on for a moment only"));
        }
        let loading = load::Loading::begin(state);
        let position = loading.end;
        self.writer.request_sync();
        let loaded = match self.wait_for_log(state, position) {
            None => Err("the server is closing".to_string()),
            Some(()) => {
                load::clear(state);
                let folder = self.writer.folder();
                let options = load::LoadOptions::default();
                load::read(state, &**folder.disk(), &folder.manifest(), options).map_err(|error| error.to_string())
            }
        };
        match loaded {
            Ok(loaded) if loaded.log.end.offset == position => {
                loading.end(state);
                Ok(())
            }
            // Half of the data are worse than none: nobody sees them.
            Ok(loaded) => Err(Error::fmt(format!(
                "the log ends at {}, and {position} was written; all calls are refused until the server is started again",
                loaded.log.end.offset
            ))),
            Err(error) => Err(Error::fmt(format!("{error}; all calls are refused until the server is started again"))),
        }
    }

    /// Waits until the log is fsynced up to `offset`; none when the engine closes before.
    fn wait_for_log(&self, state: &State, offset: u64) -> Option<()> {
        while state.log.released() < offset {
            if self.closing.load(Ordering::Acquire) {
                return None;
            }
            crate::sync::block_on_for(state.log.released_at(offset), LOOK_EVERY);
        }
        Some(())
    }
}

/// Writes all keys, which nobody else changes, into a file of `disk`, and has it fsynced; returns how many there are.
pub fn write_all(state: &State, disk: &dyn Disk, name: &str) -> io::Result<u64> {
    let walk = alone(state, |turn| Walk::begin(turn));
    let mut walk = walk.ok_or_else(|| io::Error::other("another walk is on"))?;
    let mut written = 0;
    write(state, disk, name, &mut walk, false, &mut |count| {
        written = count;
        Ok(())
    })?;
    Ok(written)
}

/// Writes the file, and has it fsynced; returns its size. `has_place`: it is for our own folder, and tells its place in
/// the log. `go_on` is told of the entries so far.
fn write<'e>(
    state: &'e State,
    disk: &dyn Disk,
    name: &str,
    walk: &mut Walk<'e>,
    has_place: bool,
    go_on: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<u64> {
    // One that a start before this one left.
    let _ = disk.remove(name);
    let sink = Sink { file: disk.create(name)?, at: 0, pending: Vec::with_capacity(PIECE_BYTES), may_wait: true };
    let compress = state.settings.int(settings::RDBCOMPRESSION) != 0;
    let mut writer = snapshot::Writer::new(sink, WriteOptions { compress, ..WriteOptions::default() })?;
    writer.header(&snapshot::Header {
        redis_version: crate::command::REDIS_VERSION,
        created_s: state.clock.now_ms() / 1000,
        used_memory: eviction::usage(state).used as u64,
        position: has_place.then(|| snapshot::Position {
            history: state.log.history().to_string(),
            offset: walk.position.offset,
            db: walk.position.db,
        }),
    })?;
    let access = state.access_at(state.clock.now_ms());
    // Nobody asks for it when another policy is in force: it would only make the file longer.
    let is_noted = state.settings.policy().is_some_and(Policy::goes_by_usage);
    let usage_of = |entry: &Entry| if is_noted { access.usage(entry) } else { snapshot::Usage::default() };
    let mut result = Ok(());
    let mut count = 0;
    let mut goes_on = true;
    while goes_on {
        goes_on = walk.step(
            || enter(state),
            |db, entry, may_wait| {
                writer.sink().may_wait = may_wait;
                let deadline_ms = entry.expires_at();
                let put = writer.key(db, entry.key(), entry.value(), deadline_ms, usage_of(entry));
                if result.is_ok() {
                    result = put;
                }
                count += 1;
            },
        );
        std::mem::replace(&mut result, Ok(()))?;
        go_on(count)?;
        let sink = writer.sink();
        if sink.pending.len() >= PIECE_BYTES {
            sink.write_pending()?;
        }
    }
    writer.sink().may_wait = true;
    let mut sink = writer.finish()?;
    sink.write_pending()?;
    sink.file.sync()?;
    Ok(sink.at)
}

/// The file, behind a piece in memory: under a lock nothing waits for a disk.
struct Sink {
    file: Arc<dyn File>,
    at: u64,
    pending: Vec<u8>,
    may_wait: bool,
}

impl Sink {
    fn write_pending(&mut self) -> io::Result<()> {
        write_all_at(&*self.file, self.at, &self.pending)?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.may_wait && self.pending.len() >= PIECE_BYTES {
            self.write_pending()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
