//! [`Writer`]: brings the log into its files, and makes the disk follow as configured.
//!
//! Two kinds of threads do it. Those of connections write what was appended, one frame with one `write`, when a turn is
//! over and before its replies leave ([`Writer::write_pending`]). The log's own thread does all that may take long: it
//! fsyncs, begins segments, tries again after a failure ([`Writer::step`] is one round of it). Only it fsyncs, so no
//! two fsyncs of a file are under way and no error is reported to the wrong one.
//!
//! A writer may be *closed*: `appendonly no`. Then it is nobody's sink, all is settled at once, and its `written` stands
//! beyond every offset, so that nobody finds anything to write. It is opened and stopped by one thread.
//!
//! **Nobody waits for the files' lock, and nothing is forgotten.** Whoever finds it taken leaves. The one who holds it
//! looks again after it has let go: either it sees what was appended, or the other one saw the lock free (a fence on
//! both sides makes that so).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{Failed, Folder};
use super::frame::Packer;
use super::io::{File, write_all_at};
use super::manifest::{Manifest, SegmentLine, Snapshot};
use super::recover::{self, Recovered};
use super::segment::Segment;
use super::{Error, io};
use crate::clock::{Clock, SystemClock};
use crate::log::{HistoryId, Log, Position, times};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use crate::sync::thread::{self, JoinHandle, Thread};

/// When a reply may leave: `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// When its call is fsynced.
    Always,
    /// When its call is written; the disk follows within a second.
    EverySecond,
    /// When its call is written; the disk follows when it likes, or when much has gathered.
    No,
}

/// How the files are written.
#[derive(Clone, Debug)]
pub struct Options {
    pub policy: Policy,
    /// The next segment begins when this much is in one.
    pub segment_bytes: u64,
    /// Compresses frames with this level of zstd.
    pub zstd_level: Option<i32>,
    /// Fsyncs as soon as this much was written since the last time, whatever the policy: until then the ring holds it.
    pub unsynced_bytes_max: u64,
    /// Writers are to wait while more than this is not fsynced.
    pub backlog_bytes_max: u64,
    /// Makes the salts of segments unguessable.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            policy: Policy::EverySecond,
            segment_bytes: 64 << 20,
            zstd_level: None,
            unsynced_bytes_max: 8 << 20,
            backlog_bytes_max: 256 << 20,
            seed: 0,
        }
    }
}

/// Does the disk take the log?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// Nothing is settled for now. It is tried again until the disk takes it.
    Failing {
        /// Unix milliseconds.
        since_ms: i64,
        error: String,
    },
}

/// How far the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What stands before these offsets is in the files, and is fsynced.
    pub written: u64,
    pub synced: u64,
    /// Bytes of the segment that is being written.
    pub segment_bytes: u64,
    /// Why the next segment could not begin, though this one takes more.
    pub next_segment_error: Option<String>,
}

/// A frame takes about this much, or one larger unit: what a reader has in memory.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// How many frames a connection's thread writes for others, before it leaves the rest to the log's thread.
const ROUNDS_MAX: usize = 4;

/// What `everysec` means; and how often the log's thread looks around when nobody wakes it.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a failure: doubled each time, between these.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// `written` of a writer that is closed.
const CLOSED: u64 = u64::MAX;

/// The sink of a log.
pub struct Writer {
    log: Arc<Log>,
    folder: Folder,
    pub(super) options: Options,
    policy: AtomicU8,
    /// Copies of what `files` knows, for looks without the lock. Stored with it held.
    written: AtomicU64,
    position: AtomicU64,
    /// Everything before it is fsynced, in segments that the manifest names. Stored by the log's thread.
    synced: AtomicU64,
    /// Where the history of `log` begins: up to here it is the one before it.
    history_begin: u64,
    /// An fsync is wanted now.
    sync_wanted: AtomicBool,
    /// None when it is closed.
    files: Mutex<Option<Files>>,
    health: Mutex<Health>,
    next_segment_error: Mutex<Option<String>>,
    /// Held by the log's thread during a step.
    pace: Mutex<Pace>,
    bell: Bell,
    closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the lock of the files guards.
struct Files {
    segment: Segment,
    /// Everything before it stands in frames.
    written: u64,
    /// The database that is selected there.
    db: Option<u32>,
    packer: Packer,
    trouble: Option<Trouble>,
}

/// What went wrong, and with it what has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// A write failed. The segment's position is where the frame begins: it is overwritten.
    Write,
    /// An fsync of the segment failed. What it holds after `synced` goes into a new one.
    Sync,
    /// The manifest could not be made safe; until it is, nothing is fsynced that only the new one names.
    Manifest,
}

/// When to do what next.
struct Pace {
    last_sync: Duration,
    retry_at: Duration,
    retry_delay: Duration,
    /// Beginning a segment failed; the one before it is still good to write on.
    next_segment_at: Duration,
}

impl Default for Pace {
    /// Of a thread that begins.
    fn default() -> Pace {
        let zero = Duration::ZERO;
        Pace { last_sync: zero, retry_at: zero, retry_delay: RETRY_MIN, next_segment_at: zero }
    }
}

impl Writer {
    /// [`Writer::closed`], and [`Writer::open`].
    pub fn begin(folder: Folder, recovered: &Recovered, log: Arc<Log>, options: Options) -> Result<Writer, Error> {
        let writer = Writer::closed(folder, recovered, log, options);
        writer.open(recovered)?;
        Ok(writer)
    }

    /// Writes nothing yet. The folder is as it was `recovered`; the history of `log` begins behind that.
    pub fn closed(folder: Folder, recovered: &Recovered, log: Arc<Log>, options: Options) -> Writer {
        Writer {
            policy: AtomicU8::new(options.policy as u8),
            written: AtomicU64::new(CLOSED),
            position: AtomicU64::new(0),
            synced: AtomicU64::new(recovered.end.offset),
            history_begin: recovered.end.offset,
            sync_wanted: AtomicBool::new(false),
            files: Mutex::new(None),
            health: Mutex::new(Health::Ok),
            next_segment_error: Mutex::new(None),
            pace: Mutex::new(Pace::default()),
            bell: Bell::new(),
            closing: AtomicBool::new(false),
            thread: Mutex::new(None),
            log,
            folder,
            options,
        }
    }

    /// Goes on behind what was recovered: ends the segment that was open, begins a new one, in the history of `log`
    /// (which stands at the recovered end), and becomes its sink.
    pub fn open(&self, recovered: &Recovered) -> Result<(), Error> {
        let end = recovered.end.offset;
        if let Some(position) = recovered.open_end
            && let Some(open) = self.folder.manifest().segments.last()
        {
            make_safe(&**self.folder.disk(), &open.name, position, recovered.clean)?;
        }
        let range = |range: crate::log::OutOfRange| Error::Missing { offset: end, first: range.oldest, end: range.end };
        self.log.attach_sink(end).map_err(range)?;
        self.open_at(Position { offset: end, db: None })
    }

    /// Becomes the sink in the middle of a run: what is appended from now on is written, into a log of its own. It counts
    /// when a snapshot stands under it: [`Writer::begin_at`].
    pub fn open_here(&self) -> Result<(), Error> {
        self.folder.begin_draft();
        let result = self.open_at(self.log.attach_sink_at_end());
        if result.is_err() {
            self.log.detach_sink();
            self.folder.drop_draft();
        }
        result
    }

    /// Begins the first segment of a run.
    fn open_at(&self, begin: Position) -> Result<(), Error> {
        let first = begin.offset;
        let (disk, history) = (&**self.folder.disk(), self.log.history());
        let segment = Segment::create(disk, first, history, self.options.seed, self.options.segment_bytes)?;
        let line = line_of(&segment, history);
        let emptied = self.folder.change(|manifest| {
            let emptied = manifest.end_last(first);
            self.enter_history(manifest);
            manifest.segments.push(line);
            emptied
        });
        let emptied = emptied.map_err(Failed::into_error)?;
        self.folder.remove_all(emptied.as_slice());
        let mut files = self.files.lock();
        self.position.store(segment.position, Ordering::Release);
        self.synced.store(first, Ordering::Release);
        let packer = Packer::new(self.options.zstd_level);
        *files = Some(Files { segment, written: first, db: begin.db, packer, trouble: None });
        // Last of all: from here on others write.
        self.written.store(first, Ordering::Release);
        Ok(())
    }

    fn enter_history(&self, manifest: &mut Manifest) {
        if let Some(history) = manifest.history.filter(|history| *history != self.log.history()) {
            manifest.previous = Some((history, self.history_begin));
        }
        manifest.history = Some(self.log.history());
    }

    /// Nothing is written when this is false.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.written.load(Ordering::Acquire) != CLOSED
    }

    /// Starts the log's thread.
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        self.closing.store(false, Ordering::Release);
        // Its clock begins anew.
        *self.pace.lock() = Pace::default();
        let writer = Arc::clone(self);
        let run = move || {
            writer.bell.attach();
            let begin = Instant::now();
            while !writer.closing.load(Ordering::Acquire) {
                let sleep = writer.step(begin.elapsed());
                writer.bell.wait(sleep);
            }
        };
        *self.thread.lock() = Some(thread::Builder::new().name("synap-log".into()).spawn(run)?);
        Ok(())
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn policy(&self) -> Policy {
        match self.policy.load(Ordering::Acquire) {
            0 => Policy::Always,
            1 => Policy::EverySecond,
            _ => Policy::No,
        }
    }

    /// Takes effect for every call that is appended after this returns. Takes no lock: it may be called inside the gate.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Release);
        self.bell.ring();
    }

    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// For INFO and the like. Waits for no disk.
    pub fn facts(&self) -> Facts {
        Facts {
            written: self.written.load(Ordering::Acquire),
            synced: self.synced.load(Ordering::Acquire),
            segment_bytes: self.position.load(Ordering::Acquire),
            next_segment_error: self.next_segment_error.lock().clone(),
        }
    }

    /// So much is not fsynced that those who write should wait, before the gate, for [`Writer::caught_up`].
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.log.unreleased_bytes() > self.options.backlog_bytes_max
    }

    /// Waits until enough is fsynced of what there was when it was called.
    pub fn caught_up(&self) -> impl Future<Output = u64> + '_ {
        self.log.released_at(self.log.end().saturating_sub(self.options.backlog_bytes_max / 2))
    }

    /// Has everything that was appended fsynced soon; await [`Log::released_at`] to know when.
    pub fn request_sync(&self) {
        self.sync_wanted.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Counts a snapshot that is whole and fsynced in the folder. The log must be fsynced up to it (await
    /// [`Log::released_at`]), or a power cut could leave a log that ends before it.
    pub fn add_snapshot(&self, snapshot: Snapshot) -> Result<Vec<String>, Error> {
        let synced = self.synced.load(Ordering::Acquire);
        if snapshot.offset > synced {
            return Err(Error::NotSynced { offset: snapshot.offset, synced });
        }
        self.folder.add_snapshot(snapshot)
    }

    /// Counts a snapshot that all data begin at: the log before it is dropped, and the one that [`Writer::open_here`] has
    /// begun, if it is open, counts from here on. `kept` is a snapshot that may stay.
    pub fn begin_at(&self, snapshot: Snapshot, kept: Option<&str>) -> Result<(), Error> {
        let synced = self.synced.load(Ordering::Acquire);
        if self.is_open() && snapshot.offset > synced {
            return Err(Error::NotSynced { offset: snapshot.offset, synced });
        }
        self.folder.begin_at(snapshot, kept, |manifest| self.enter_history(manifest)).map_err(|failed| {
            if let (Failed::Unsure(_), Some(files)) = (&failed, &mut *self.files.lock()) {
                files.trouble = Some(Trouble::Manifest);
                self.bell.ring();
            }
            failed.into_error()
        })
    }

    /// Writes what was appended, by this thread or others. Called outside of the gate, with no lock held, after every
    /// turn that may have appended something and before its replies leave. When it returns, what was appended before is
    /// written, or another thread is about to write it: await [`Log::settled_or_failing`].
    #[inline]
    pub fn write_pending(&self) {
        if self.log.end() > self.written.load(Ordering::Acquire) {
            self.write_what_is_pending();
        }
    }

    fn write_what_is_pending(&self) {
        if self.policy() == Policy::Always {
            self.bell.ring();
            return;
        }
        for _ in 0..ROUNDS_MAX {
            // Together with the fence below: see the top of the file.
            fence(Ordering::SeqCst);
            let Some(mut held) = self.files.try_lock() else { return };
            let Some(files) = held.as_mut().filter(|files| files.trouble.is_none()) else {
                return; // the log's thread tries again, in its own time
            };
            let result = self.write_frame(files);
            let full = files.segment.position >= self.options.segment_bytes;
            drop(held);
            match result {
                Ok(settled) => self.settle(settled),
                Err(error) => self.report(&error),
            }
            // Both move on meanwhile, and the second may overtake what was read of the first.
            let unsynced = self.written.load(Ordering::Acquire).saturating_sub(self.synced.load(Ordering::Acquire));
            if full || unsynced >= self.options.unsynced_bytes_max {
                self.bell.ring();
            }
            fence(Ordering::SeqCst);
            if self.log.end() <= self.written.load(Ordering::Acquire) {
                return;
            }
        }
        self.bell.ring();
    }

    /// Writes one frame. Returns up to where replies may leave, for when the lock is gone; none when fsync decides.
    fn write_frame(&self, files: &mut Files) -> Result<Option<u64>, Error> {
        let synced = self.synced.load(Ordering::Acquire);
        let from = files.written;
        let to = self
            .log
            .read_units(from, FRAME_BYTES_MAX, files.packer.begin())
            .expect("the log keeps what is not released");
        if to.offset == from {
            return Ok(None);
        }
        // Read after the bytes: whoever appended them after a change of the policy is under the new one.
        let policy = self.policy();
        let frame = files.packer.finish(from, synced, to.db, false, files.segment.salt);
        let began = self.log.times.begin();
        let result = write_all_at(&*files.segment.file, files.segment.position, frame);
        self.log.times.end(times::WRITE, began);
        if let Err(error) = result {
            files.trouble = Some(Trouble::Write);
            return Err(Error::io("writing", &files.segment.name, error));
        }
        files.segment.position += frame.len() as u64;
        (files.written, files.db) = (to.offset, to.db);
        self.position.store(files.segment.position, Ordering::Release);
        self.written.store(to.offset, Ordering::Release);
        Ok((policy != Policy::Always).then_some(to.offset))
    }

    fn settle(&self, offset: Option<u64>) {
        if let Some(offset) = offset {
            self.log.settle(offset);
        }
    }

    /// One round of the log's thread at a time of its own clock: does what is due, and returns how long it may sleep
    /// when nobody rings.
    pub fn step(&self, now: Duration) -> Duration {
        let mut pace = self.pace.lock();
        if self.is_troubled() {
            if now < pace.retry_at {
                return pace.retry_at - now;
            }
            if let Err(error) = self.heal() {
                return self.wait_after(&error, &mut pace, now);
            }
        }
        match self.work(&mut pace, now) {
            Ok(()) => {
                pace.retry_delay = RETRY_MIN;
                self.say_healthy();
                // What was appended meanwhile by threads that found the lock taken: see the top of the file.
                fence(Ordering::SeqCst);
                if self.log.end() > self.written.load(Ordering::Acquire) {
                    return Duration::ZERO;
                }
                SYNC_EVERY.saturating_sub(now.saturating_sub(pace.last_sync)).max(Duration::from_millis(1))
            }
            Err(error) => self.wait_after(&error, &mut pace, now),
        }
    }

    /// How long to wait before the next try.
    fn wait_after(&self, error: &Error, pace: &mut Pace, now: Duration) -> Duration {
        self.report(error);
        let wait = pace.retry_delay;
        pace.retry_at = now + wait;
        pace.retry_delay = (wait * 2).min(RETRY_MAX);
        wait
    }

    /// What there is to do when nothing is wrong.
    fn work(&self, pace: &mut Pace, now: Duration) -> Result<(), Error> {
        self.write_all()?;
        let (written, synced) = (self.written.load(Ordering::Acquire), self.synced.load(Ordering::Acquire));
        let policy = self.policy();
        if policy != Policy::Always {
            self.log.settle(written); // it may have been another one when this was written
        }
        let time = now.saturating_sub(pace.last_sync) >= SYNC_EVERY;
        let wanted = self.sync_wanted.swap(false, Ordering::AcqRel) || policy == Policy::Always;
        let much = written - synced >= self.options.unsynced_bytes_max;
        if written > synced && (wanted || much || (time && policy == Policy::EverySecond)) {
            self.sync()?;
            pace.last_sync = now;
        } else if time {
            pace.last_sync = now;
            self.log.release(synced); // gives memory back
        }
        if self.position.load(Ordering::Acquire) >= self.options.segment_bytes && now >= pace.next_segment_at {
            self.next_segment(pace, now)?;
        }
        Ok(())
    }

    /// Writes everything that is appended when it begins.
    fn write_all(&self) -> Result<(), Error> {
        let end = self.log.end();
        while self.written.load(Ordering::Acquire) < end {
            let settled = {
                let mut held = self.files.lock();
                let Some(files) = held.as_mut().filter(|files| files.trouble.is_none()) else {
                    break; // of another thread, since the step began
                };
                self.write_frame(files)?
            };
            self.settle(settled);
        }
        Ok(())
    }

    /// Has the disk follow up to what is written, while others write on.
    fn sync(&self) -> Result<(), Error> {
        let (file, name, target) = {
            let held = self.files.lock();
            let Some(files) = &*held else { return Ok(()) };
            (Arc::clone(&files.segment.file), files.segment.name.clone(), files.written)
        };
        let began = self.log.times.begin();
        let result = file.sync();
        let event = if self.policy() == Policy::Always { times::FSYNC_ALWAYS } else { times::FSYNC };
        self.log.times.end(event, began);
        if let Err(error) = result {
            if let Some(files) = &mut *self.files.lock() {
                files.trouble = Some(Trouble::Sync);
            }
            return Err(Error::io("fsync of", &name, error));
        }
        self.has_synced(target);
        Ok(())
    }

    fn has_synced(&self, offset: u64) {
        self.synced.store(offset, Ordering::Release);
        // In this order: with `always`, whoever sees it settled sees it released.
        self.log.release(offset);
        self.log.settle(offset);
    }

    /// Ends the segment and begins the next one.
    fn next_segment(&self, pace: &mut Pace, now: Duration) -> Result<(), Error> {
        // Most of it without the lock, so that those who write are stopped for a moment only.
        self.sync()?;
        let mut held = self.files.lock();
        let is_ready = |files: &&mut Files| files.trouble.is_none() && files.written > files.segment.first;
        let Some(files) = held.as_mut().filter(is_ready) else { return Ok(()) };
        // What was set aside and not used is given back; the segment is as good if not.
        let _ = files.segment.file.set_len(files.segment.position);
        if let Err(error) = files.segment.file.sync() {
            files.trouble = Some(Trouble::Sync);
            return Err(Error::io("fsync of", &files.segment.name, error));
        }
        let end = files.written;
        let result = self.begin_segment(files, end);
        drop(held);
        self.has_synced(end);
        match result {
            Ok(()) => {
                *self.next_segment_error.lock() = None;
                Ok(())
            }
            Err(Failed::Unsure(error)) => Err(error),
            Err(Failed::Unchanged(error)) => {
                // The segment takes more. If the disk is full, writing will say so.
                *self.next_segment_error.lock() = Some(error.to_string());
                pace.next_segment_at = now + RETRY_MAX;
                Ok(())
            }
        }
    }

    /// Ends the present segment at `first`, and writes on in a new one that begins there and holds what was written
    /// after it.
    fn begin_segment(&self, files: &mut Files, first: u64) -> Result<(), Failed> {
        let (disk, history) = (&**self.folder.disk(), self.log.history());
        let create = Segment::create(disk, first, history, self.options.seed, self.options.segment_bytes);
        let mut segment = create.map_err(Failed::Unchanged)?;
        let name = segment.name.clone();
        let written = match self.write_again(files, &mut segment, first) {
            Ok(written) => written,
            Err(error) => {
                self.folder.remove_all(&[name]);
                return Err(Failed::Unchanged(error));
            }
        };
        let line = line_of(&segment, history);
        let change = self.folder.change(|manifest| {
            let emptied = manifest.end_last(first);
            manifest.segments.push(line);
            emptied
        });
        let result = match change {
            Ok(emptied) => {
                self.folder.remove_all(emptied.as_slice());
                Ok(())
            }
            Err(Failed::Unchanged(error)) => {
                self.folder.remove_all(&[name]);
                return Err(Failed::Unchanged(error));
            }
            Err(unsure) => Err(unsure),
        };
        files.trouble = result.is_err().then_some(Trouble::Manifest);
        files.segment = segment;
        files.written = written;
        self.position.store(files.segment.position, Ordering::Release);
        self.written.store(written, Ordering::Release);
        result
    }

    /// Writes what a segment that cannot be trusted holds after `from` into another one, and has the disk follow.
    fn write_again(&self, files: &mut Files, segment: &mut Segment, from: u64) -> Result<u64, Error> {
        let mut at = from;
        while at < files.written {
            let bytes = files.packer.begin();
            let to = self.log.read_units(at, FRAME_BYTES_MAX, bytes).expect("the log keeps what is not released");
            let frame = files.packer.finish(at, from, to.db, false, segment.salt);
            write_all_at(&*segment.file, segment.position, frame)
                .map_err(|error| Error::io("writing", &segment.name, error))?;
            segment.position += frame.len() as u64;
            at = to.offset;
        }
        if at > from {
            segment.file.sync().map_err(|error| Error::io("fsync of", &segment.name, error))?;
        }
        Ok(at)
    }

    /// Does what the trouble asks for.
    fn heal(&self) -> Result<(), Error> {
        let mut held = self.files.lock();
        let Some(files) = &mut *held else { return Ok(()) };
        match files.trouble {
            None => return Ok(()),
            Some(Trouble::Write) => {
                files.trouble = None;
                let settled = self.write_frame(files)?;
                drop(held);
                self.settle(settled);
            }
            Some(Trouble::Sync) => {
                let from = self.synced.load(Ordering::Acquire);
                self.begin_segment(files, from).map_err(Failed::into_error)?;
                let written = files.written;
                drop(held);
                self.has_synced(written);
            }
            Some(Trouble::Manifest) => {
                self.folder.confirm()?;
                files.trouble = None;
            }
        }
        Ok(())
    }

    fn is_troubled(&self) -> bool {
        self.files.lock().as_ref().is_some_and(|files| files.trouble.is_some())
    }

    fn report(&self, error: &Error) {
        {
            let mut health = self.health.lock();
            if !self.is_open() {
                return; // it was stopped meanwhile
            }
            let since_ms = match &*health {
                Health::Ok => SystemClock.now_ms(),
                Health::Failing { since_ms, .. } => *since_ms,
            };
            *health = Health::Failing { since_ms, error: error.to_string() };
            self.log.set_failing(true);
        }
        self.log.wake_unsettled();
        self.bell.ring();
    }

    fn say_healthy(&self) {
        if self.log.is_failing() {
            // Looked at with the lock held: whoever meets new trouble reports it after this.
            let mut health = self.health.lock();
            if !self.is_troubled() {
                *health = Health::Ok;
                self.log.set_failing(false);
            }
        }
    }

    /// Ends the log's thread, has everything fsynced and says so in the files. Nothing may be appended any more.
    pub fn close(&self) -> Result<(), Error> {
        if !self.end_thread() {
            return Ok(());
        }
        self.heal()?;
        self.write_all()?;
        self.sync()?;
        let mut held = self.files.lock();
        let Some(files) = held.as_mut() else { return Ok(()) };
        self.end_segment(files)?;
        let (first, end) = (files.segment.first, files.written);
        if end > first {
            // What is cut off such a segment is missed at the next start. If the manifest cannot be written, it stays one
            // that was being written: nothing is lost.
            let _ = self.folder.change(|manifest| manifest.end_last(end));
        }
        Ok(())
    }

    /// Closes it in the middle of a run: what was appended until now is fsynced, and what comes is not written. It is
    /// closed even when the disk does not take the end: an error says so.
    pub fn stop(&self) -> Result<(), Error> {
        self.end_thread();
        let written = self.heal().and_then(|()| self.write_all()).and_then(|()| self.sync());
        let mut held = self.files.lock();
        // What others have written meanwhile is in it too.
        let ended = written.and_then(|()| held.as_mut().map_or(Ok(()), |files| self.end_segment(files)));
        *held = None;
        self.written.store(CLOSED, Ordering::Release);
        drop(held);
        // A log that has come to nothing.
        self.folder.drop_draft();
        self.log.detach_sink();
        *self.health.lock() = Health::Ok;
        self.log.set_failing(false);
        ended
    }

    /// False when it was ended before.
    fn end_thread(&self) -> bool {
        let was_closing = self.closing.swap(true, Ordering::AcqRel);
        self.bell.ring();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
        !was_closing
    }

    /// Writes that all is fsynced behind the last frame.
    fn end_segment(&self, files: &mut Files) -> Result<(), Error> {
        let Files { segment, written, db, packer, trouble } = files;
        if let Some(trouble) = trouble {
            let what = format!("{trouble:?}");
            return Err(Error::io("closing", &segment.name, std::io::Error::other(what)));
        }
        let error = |error| Error::io("closing", &segment.name, error);
        if *written > self.synced.load(Ordering::Acquire) {
            segment.file.sync().map_err(error)?;
        }
        packer.begin();
        let frame = packer.finish(*written, *written, *db, true, segment.salt);
        write_all_at(&*segment.file, segment.position, frame).and_then(|()| segment.file.sync()).map_err(error)
    }
}

fn line_of(segment: &Segment, history: HistoryId) -> SegmentLine {
    SegmentLine { name: segment.name.clone(), history, first: segment.first, end: None }
}

/// Makes the good part of a segment that was open safe, so that its end can be put down in the manifest, and cuts the
/// rest. A killed process leaves bytes that only the system's memory holds, and after a failed fsync the system takes
/// such bytes for safe; so they are written once more.
fn make_safe(disk: &dyn io::Disk, name: &str, position: u64, clean: bool) -> Result<(), Error> {
    let file = disk.open(name).map_err(|error| Error::io("opening", name, error))?;
    if !clean {
        recover::copy(&*file, &*file, position).map_err(|error| Error::io("writing again", name, error))?;
    }
    let file: &dyn File = &*file;
    file.set_len(position).and_then(|()| file.sync()).map_err(|error| Error::io("fsync of", name, error))
}

/// Wakes one thread. Ringing while it is awake, or twice, costs no system call.
struct Bell {
    rung: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Bell {
    fn new() -> Bell {
        Bell { rung: AtomicBool::new(false), thread: Mutex::new(None) }
    }

    /// This thread is the one to wake.
    fn attach(&self) {
        *self.thread.lock() = Some(thread::current());
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }

    fn wait(&self, time: Duration) {
        if !self.rung.swap(false, Ordering::SeqCst) {
            thread::park_timeout(time);
            // Not a store: what was done before the ring is to be seen.
            self.rung.swap(false, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_search {
    use super::super::replay;
    use super::super::sim::SimDisk;
    use super::*;
    use crate::sync::{block_on, search};

    /// Nobody but those who append writes: whoever finds another one writing is not forgotten, or sleeps for ever.
    #[test]
    fn who_finds_another_one_writing_is_not_forgotten() {
        search(|| {
            let folder = Folder::open(Arc::new(SimDisk::new(1))).unwrap();
            let start = Position { offset: 0, db: None };
            let recovered = replay(&**folder.disk(), &folder.manifest(), start, &mut |_| Ok(())).unwrap();
            let log = Arc::new(Log::new(1 << 10, HistoryId::from_random([1; 20])));
            let options = Options { segment_bytes: 4096, ..Options::default() };
            let writer = Arc::new(Writer::begin(folder, &recovered, Arc::clone(&log), options).unwrap());
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (log, writer) = (Arc::clone(&log), Arc::clone(&writer));
                    thread::spawn(move || {
                        let offset = log.append_words(0, &["PING"]);
                        writer.write_pending();
                        block_on(log.settled_at(offset));
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(log.settled(), log.end());
        });
    }

    /// With `always`, the log's thread does everything.
    #[test]
    fn the_logs_thread_is_woken() {
        search(|| {
            let folder = Folder::open(Arc::new(SimDisk::new(1))).unwrap();
            let start = Position { offset: 0, db: None };
            let recovered = replay(&**folder.disk(), &folder.manifest(), start, &mut |_| Ok(())).unwrap();
            let log = Arc::new(Log::new(1 << 10, HistoryId::from_random([1; 20])));
            let options = Options { policy: Policy::Always, segment_bytes: 4096, ..Options::default() };
            let writer = Arc::new(Writer::begin(folder, &recovered, Arc::clone(&log), options).unwrap());
            writer.start().unwrap();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (log, writer) = (Arc::clone(&log), Arc::clone(&writer));
                    thread::spawn(move || {
                        let offset = log.append_words(0, &["PING"]);
                        writer.write_pending();
                        block_on(log.settled_at(offset));
                        assert!(log.released() >= offset);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            writer.close().unwrap();
        });
    }
}
