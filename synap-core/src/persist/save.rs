//! Snapshots: one thread makes them, asked by a command, by the rules of `save`, or by a log that has grown.
//!
//! It walks through the keys while everybody goes on ([`Walk`]), writes to a temporary name, has the file and the log up
//! to the cut fsynced, gives it its name, tells the manifest, and removes the segments that no snapshot needs any more.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::Engine;
use crate::error::{Error, Result};
use crate::execute::State;
use crate::execute::gate::thread_slot;
use crate::execute::state::{SaveKind, Saved};
use crate::execute::walk::Walk;
use crate::execute::{Pass, Turn, eviction};
use crate::keyspace::entry::Entry;
use crate::keyspace::eviction::Policy;
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
    /// Calls in the log, and its size, at the last snapshot.
    changes: u64,
    base_offset: u64,
    base_bytes: u64,
    retry_at: Option<Instant>,
}

struct Job {
    kind: SaveKind,
    done: Arc<Done>,
}

struct Running {
    kind: SaveKind,
    began: Instant,
}

/// What became of the last snapshot.
struct Outcome {
    is_ok: bool,
    took: Option<Duration>,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome { is_ok: true, took: None }
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

impl Saver {
    /// Begins with the snapshot that was loaded. Its thread ends with the engine.
    pub fn start(engine: &Engine, writer: Arc<Writer>, loaded: Option<&manifest::Snapshot>) -> io::Result<Arc<Saver>> {
        let state = engine.state();
        let now_s = u64::try_from(state.clock.now_ms() / 1000).unwrap_or(0);
        let base_offset = loaded.map_or(0, |snapshot| snapshot.offset);
        let saver = Arc::new(Saver {
            state: Arc::downgrade(engine.shared_state()),
            writer,
            jobs: Mutex::new(Jobs { base_offset, ..Jobs::default() }),
            bell: Condvar::new(),
            closing: AtomicBool::new(false),
            last_save_s: AtomicU64::new(now_s),
            progress: Default::default(),
        });
        let thread = saver.clone();
        engine.spawn("synap-save", move || thread.run())?;
        Ok(saver)
    }

    /// Asks for a snapshot. An error when one is on and the kind does not wait for it.
    pub fn ask(&self, kind: SaveKind) -> Result<Saved> {
        let mut jobs = self.jobs.lock();
        let is_on = jobs.running.is_some() || !jobs.asked.is_empty();
        if is_on && matches!(kind, SaveKind::Foreground | SaveKind::Background) {
            return Err(Error::err("Background save already in progress"));
        }
        let is_rewriting = jobs.running.as_ref().is_some_and(|running| running.kind == SaveKind::Rewrite)
            || jobs.asked.iter().any(|job| job.kind == SaveKind::Rewrite);
        if kind == SaveKind::Rewrite && is_rewriting {
            return Err(Error::err("Background append only file rewriting already in progress"));
        }
        let done = Arc::<Done>::default();
        // One that waits already serves for both.
        let done = match jobs.asked.iter().find(|job| job.kind == kind) {
            Some(job) => job.done.clone(),
            None => {
                jobs.asked.push_back(Job { kind, done: done.clone() });
                done
            }
        };
        drop(jobs);
        self.bell.notify_one();
        Ok(Saved { scheduled: is_on, done: Box::pin(done.wait()) })
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
        let kind = jobs.running.as_ref().map(|running| running.kind);
        let is_rewrite = kind == Some(SaveKind::Rewrite);
        let flag = u8::from;
        let status = if jobs.last.is_ok { "ok" } else { "err" };
        let took_s = jobs.last.took.map_or(-1, |took| took.as_secs() as i64);
        let now_s = jobs.running.as_ref().map_or(-1, |running| running.began.elapsed().as_secs() as i64);
        let changes = self.state.upgrade().map_or(0, |state| state.log.changes().saturating_sub(jobs.changes));
        let [written, keys] = &self.progress;
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "rdb_changes_since_last_save:{changes}\r\nrdb_bgsave_in_progress:{}\r\nrdb_last_save_time:{}\r\n\
             rdb_last_bgsave_status:{status}\r\nrdb_last_bgsave_time_sec:{took_s}\r\nrdb_current_bgsave_time_sec:{now_s}\r\n\
             current_save_keys_processed:{}\r\ncurrent_save_keys_total:{}\r\n\
             aof_rewrite_in_progress:{}\r\naof_rewrite_scheduled:{}\r\naof_base_size:{}\r\n",
            flag(kind.is_some() && !is_rewrite),
            self.last_save_s(),
            written.load(Ordering::Relaxed),
            keys.load(Ordering::Relaxed),
            flag(is_rewrite),
            flag(jobs.asked.iter().any(|job| job.kind == SaveKind::Rewrite)),
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
                    jobs.running = Some(Running { kind: job.kind, began: Instant::now() });
                }
                job
            };
            let Some(state) = self.state.upgrade() else { return };
            match job {
                Some(job) => {
                    let result = self.save(&state);
                    self.ended(&result);
                    job.done.finish(result);
                }
                None => self.look(&state),
            }
        }
        let asked = std::mem::take(&mut self.jobs.lock().asked);
        for job in asked {
            job.done.finish(Err(Error::err("the server is closing")));
        }
    }

    fn ended(&self, result: &Result<()>) {
        let mut jobs = self.jobs.lock();
        let took = jobs.running.take().map(|running| running.began.elapsed());
        jobs.last = Outcome { is_ok: result.is_ok(), took };
        jobs.retry_at = result.is_err().then(|| Instant::now() + RETRY_AFTER);
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
            if percent > 0 && grown >= min.max(jobs.base_bytes.saturating_mul(percent) / 100) && changes > 0 {
                Some(SaveKind::Rewrite)
            } else if changes > 0 && rules.iter().any(|rule| passed_s >= rule.seconds && changes >= rule.changes) {
                Some(SaveKind::Background)
            } else {
                None
            }
        };
        if let Some(kind) = wanted {
            // Whoever asked in between gets one all the same.
            drop(self.ask(kind));
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
        let new_name = format!("snapshot-{:020}.new", position.offset);
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
        // A snapshot counts when the log is safe up to it.
        self.writer.request_sync();
        if self.wait_for_log(state, position.offset).is_none() {
            return Err(io::Error::other("the log is not written"));
        }
        let counted = manifest::Snapshot { name, offset: position.offset, db: position.db };
        self.writer.add_snapshot(counted).map_err(io::Error::other)?;
        self.writer.folder().trim(u64::MAX).map_err(io::Error::other)?;
        self.last_save_s.store(u64::try_from(state.clock.now_ms() / 1000).unwrap_or(0), Ordering::Relaxed);
        let mut jobs = self.jobs.lock();
        jobs.changes = changes;
        jobs.base_offset = position.offset;
        jobs.base_bytes = bytes;
        Ok(())
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

/// Writes all keys of an engine that nobody else changes into a file of `disk`, and has it fsynced; returns how many.
pub fn write_all(engine: &Engine, disk: &dyn Disk, name: &str) -> io::Result<u64> {
    let state = engine.state();
    let walk = block_on(engine.alone(|turn| Walk::begin(turn)));
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

fn enter(state: &State) -> Turn<'_> {
    Turn::new(state, Pass::Entered(block_on(state.gate.enter(thread_slot()))))
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
