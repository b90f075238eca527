//! A start: the newest snapshot, then the log from its place on.
//!
//! Calls of clients are refused meanwhile (`-LOADING`). Nothing is removed because of its time until all is there: a key
//! that is due in the snapshot may have been persisted behind it. The server never starts without data that it has: what
//! cannot be read stops it, and the message says how to go on.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::save::Saver;
use super::{Files, writer_options};
use crate::Engine;
use crate::access::User;
use crate::error::Error;
use crate::execute::state::Due;
use crate::execute::{Input, Outcome, Turn, WalkCx, execute};
use crate::keyspace::hasher::shard_of;
use crate::log::Position;
use crate::log::disk::{self, Disk, Folder, Manifest, Recovered, Writer, io::File, io::read_full_at, manifest};
use crate::log::reader::Call;
use crate::reply::{Mark, Reply};
use crate::session::{Door, Session};
use crate::snapshot::{self, Item, ReadOptions};
use crate::sync::block_on;

/// What whoever starts an engine may say.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Take the older snapshot when the newest cannot be read. All of the log behind it must be there.
    pub older_snapshot: bool,
}

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub snapshot: Option<manifest::Snapshot>,
    /// The newest snapshot could not be read, and an older one was taken.
    pub unread: Option<String>,
    pub keys: u64,
    pub log: Recovered,
    pub seconds: f64,
}

/// Why a start stops.
#[derive(Debug)]
pub enum LoadError {
    Folder {
        path: String,
        error: io::Error,
    },
    Disk(disk::Error),
    Snapshot {
        file: String,
        error: snapshot::ReadError,
        older: Option<String>,
    },
    Unopened {
        file: String,
        error: io::Error,
    },
    /// The system gives no thread.
    Thread {
        error: io::Error,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Folder { path, error } => write!(f, "the data folder {path:?} cannot be used: {error}"),
            LoadError::Disk(error) => write!(f, "{error}"),
            LoadError::Thread { error } => write!(f, "a thread cannot be started: {error}"),
            LoadError::Unopened { file, error } => write!(f, "the snapshot {file} cannot be opened: {error}"),
            LoadError::Snapshot { file, error, older } => {
                write!(f, "the snapshot {file} cannot be used: {error}")?;
                match older {
                    Some(older) => write!(
                        f,
                        ". There is an older one, {older}, and the log from its place on: \
                         start with --load-older-snapshot to take them"
                    ),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl From<disk::Error> for LoadError {
    fn from(error: disk::Error) -> LoadError {
        LoadError::Disk(error)
    }
}

/// Loads everything that `disk` has into an engine that was just opened, and keeps it there from now on.
pub fn load(engine: &Engine, disk: Arc<dyn Disk>, options: LoadOptions) -> Result<(Arc<Files>, Loaded), LoadError> {
    let state = engine.state();
    let due = state.expiry.get();
    state.loading.store(true, Ordering::Relaxed);
    block_on(engine.alone(|_| state.expiry.set(Due::Show)));

    let folder = Folder::open(disk)?;
    let loaded = read(engine, &**folder.disk(), &folder.manifest(), options)?;

    state.log.begin_at(loaded.log.end);
    let writer = Arc::new(Writer::begin(folder, &loaded.log, state.log.clone(), writer_options(state))?);
    let thread = |error| LoadError::Thread { error };
    writer.start().map_err(thread)?;
    let saver = Saver::start(engine, writer.clone(), loaded.snapshot.as_ref()).map_err(thread)?;
    let files = Arc::new(Files { writer, saver });
    state.set_storage(files.clone());
    block_on(engine.alone(|_| {
        state.expiry.set(due);
        state.stats.reset();
        state.loading.store(false, Ordering::Relaxed);
    }));
    state.timer.wake_by(i64::MIN);
    Ok((files, loaded))
}

/// Brings the data that the manifest names into an engine that shows what is due. The files stay as they are.
pub fn read(engine: &Engine, disk: &dyn Disk, manifest: &Manifest, options: LoadOptions) -> Result<Loaded, LoadError> {
    let began = Instant::now();
    let Found { snapshot, keys, unread } = load_snapshot(engine, disk, manifest, options)?;
    let start = match &snapshot {
        Some(snapshot) => Position { offset: snapshot.offset, db: snapshot.db },
        None => Position { offset: 0, db: None },
    };
    let mut replay = Replay::new(engine, start);
    let log = disk::replay(disk, manifest, start, &mut |piece| {
        let calls = piece.calls().map(|call| call.map_err(|flaw| piece.refuse(flaw.offset, flaw)));
        replay.run(calls, &mut |refused| Err(piece.refuse(refused.offset, &refused.why)))
    })?;
    replay.end();
    Ok(Loaded { snapshot, unread, keys, log, seconds: began.elapsed().as_secs_f64() })
}

/// The snapshot that was loaded.
#[derive(Default)]
struct Found {
    snapshot: Option<manifest::Snapshot>,
    keys: u64,
    unread: Option<String>,
}

/// Loads the newest snapshot that can be read.
fn load_snapshot(
    engine: &Engine,
    disk: &dyn Disk,
    manifest: &Manifest,
    options: LoadOptions,
) -> Result<Found, LoadError> {
    let mut candidates = manifest.snapshots.iter().rev();
    let Some(newest) = candidates.next() else { return Ok(Found::default()) };
    let older = candidates.next();
    let error = match read_snapshot(engine, disk, newest) {
        Ok(keys) => return Ok(Found { snapshot: Some(newest.clone()), keys, unread: None }),
        Err(error) => error,
    };
    match older {
        Some(older) if options.older_snapshot => {
            clear(engine);
            let keys = read_snapshot(engine, disk, older)?;
            Ok(Found { snapshot: Some(older.clone()), keys, unread: Some(error.to_string()) })
        }
        older => Err(match error {
            LoadError::Snapshot { file, error, .. } => {
                LoadError::Snapshot { file, error, older: older.map(|older| older.name.clone()) }
            }
            other => other,
        }),
    }
}

/// Forgets what was loaded of a snapshot that turned out to be bad.
fn clear(engine: &Engine) {
    block_on(engine.alone(|turn| {
        let mut cx = turn.shard_context(0);
        cx.flush(None);
        cx.forget_changes();
        cx.unlock();
    }));
}

/// Keys that are put in during one visit inside the gate.
const KEYS_A_TURN: usize = 64;

fn read_snapshot(engine: &Engine, disk: &dyn Disk, snapshot: &manifest::Snapshot) -> Result<u64, LoadError> {
    let unopened = |error| LoadError::Unopened { file: snapshot.name.clone(), error };
    let bad = |error| LoadError::Snapshot { file: snapshot.name.clone(), error, older: None };
    let options = ReadOptions { limits: *engine.state().settings.limits(), ..ReadOptions::default() };
    let source = FileReader::open(disk, &snapshot.name).map_err(unopened)?;
    let mut reader = snapshot::Reader::new(source, options).map_err(bad)?;
    // Fields and sizes are hints; what the manifest says of the file counts.
    put_keys(engine, &mut reader, &mut |_| ()).map_err(bad)
}

/// Brings the keys of a file into an engine; `other` is told what else stands there. Returns how many keys there were.
pub fn put_keys<R: Read>(
    engine: &Engine,
    reader: &mut snapshot::Reader<R>,
    other: &mut dyn FnMut(Item),
) -> Result<u64, snapshot::ReadError> {
    let state = engine.state();
    let mut keys = 0;
    let mut gathered = Vec::with_capacity(KEYS_A_TURN);
    let put = |gathered: &mut Vec<snapshot::Key>| {
        let turn = engine.enter_blocking();
        for key in gathered.drain(..) {
            let hash = state.hasher.hash(key.entry.key());
            let mut cx = turn.shard_context(shard_of(hash));
            cx.load(key.db, hash, key.entry, key.usage);
            cx.unlock();
        }
    };
    for item in reader {
        match item? {
            Item::Key(key) => {
                keys += 1;
                gathered.push(key);
                if gathered.len() == KEYS_A_TURN {
                    put(&mut gathered);
                }
            }
            item => other(item),
        }
    }
    put(&mut gathered);
    Ok(keys)
}

/// All data as a snapshot has them: made, and loaded in place of what is there. Nothing is logged: nothing changes.
/// `turn` is alone.
pub fn reload(turn: &Turn<'_>) -> Result<(), ReloadError> {
    let state = turn.state;
    let mut writer = snapshot::Writer::new(Vec::new(), snapshot::WriteOptions::default())?;
    let mut written = Ok(());
    let access = state.access_at(turn.now_ms);
    WalkCx::of_turn(turn, 0).each_db(|db, data| {
        for entry in data.table().iter() {
            if written.is_ok() {
                let usage = access.usage(entry);
                written = writer.key(db, entry.key(), entry.value(), entry.expires_at(), usage);
            }
        }
    });
    written?;
    let bytes = writer.finish()?;
    let options = ReadOptions { limits: *state.settings.limits(), ..ReadOptions::default() };
    // All of it is read before anything goes.
    let items = snapshot::Reader::new(&bytes[..], options)?.collect::<Result<Vec<Item>, _>>()?;
    let mut cx = turn.shard_context(0);
    cx.flush(None);
    cx.forget_changes();
    for item in items {
        if let Item::Key(key) = item {
            cx.load(key.db, state.hasher.hash(key.entry.key()), key.entry, key.usage);
        }
    }
    cx.unlock();
    Ok(())
}

/// Why [`reload`] left everything as it was.
pub type ReloadError = Box<dyn std::error::Error + Send + Sync>;

/// Reads a file of a folder from its beginning.
pub struct FileReader {
    file: Arc<dyn File>,
    at: u64,
}

impl FileReader {
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<FileReader> {
        Ok(FileReader { file: disk.open(name)?, at: 0 })
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = read_full_at(&*self.file, self.at, out)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Runs the calls of a log: ours, or one of Redis.
pub struct Replay<'e> {
    engine: &'e Engine,
    session: Session,
}

/// A call that cannot be replayed.
pub struct Refused<'a> {
    pub offset: u64,
    pub words: &'a [&'a [u8]],
    /// There is no such command.
    pub is_unknown: bool,
    pub why: String,
}

/// Calls that are run during one visit inside the gate.
const CALLS_A_TURN: usize = 64;

impl<'e> Replay<'e> {
    pub fn new(engine: &'e Engine, start: Position) -> Replay<'e> {
        let mut session = engine.session(Door::Log, "log".into(), "log".into());
        session.log_in(Arc::new(User::default_user()));
        session.select(start.db.unwrap_or(0));
        Replay { engine, session }
    }

    /// The database that is selected.
    pub fn db(&self) -> u32 {
        self.session.db
    }

    /// Runs calls in order. `refused` says whether to go on without one; an unknown one is not run at all.
    pub fn run<'c, E>(
        &mut self,
        calls: impl Iterator<Item = Result<Call<'c>, E>>,
        refused: &mut dyn FnMut(Refused<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let state = self.engine.state();
        let mut calls = calls.peekable();
        let mut batch = Vec::with_capacity(CALLS_A_TURN);
        let mut hashes = Vec::with_capacity(CALLS_A_TURN);
        while calls.peek().is_some() {
            for call in calls.by_ref().take(CALLS_A_TURN) {
                let call = call?;
                let row = state.table.find(&call.words);
                let key = row.as_ref().ok().filter(|row| row.first_key).and_then(|_| call.words.get(1));
                let hash = key.map(|key| state.hasher.hash(key));
                hashes.extend(hash);
                batch.push((call, row, hash));
            }
            let mut turn = self.engine.enter_blocking();
            turn.prefetch(&hashes, self.session.db);
            hashes.clear();
            for (call, row, hint) in batch.drain(..) {
                let refuse = |is_unknown, why| Refused { offset: call.offset, words: &call.words, is_unknown, why };
                let row = match row {
                    Ok(row) => row,
                    Err(error) => {
                        let why = format!("{} fails: {error}", name(&call.words));
                        refused(refuse(true, why))?;
                        continue;
                    }
                };
                let input = Input { words: &call.words, raw: None, row: Some(row), hint };
                let mut reply = FirstError(None);
                let mut outcome = execute(&mut turn, &mut self.session, &input, &mut reply);
                if matches!(outcome, Outcome::NeedAlone) {
                    drop(turn);
                    let alone = self.engine.alone(|turn| execute(turn, &mut self.session, &input, &mut reply));
                    outcome = block_on(alone);
                    turn = self.engine.enter_blocking();
                }
                if let Some(error) = reply.0 {
                    refused(refuse(false, format!("{} fails: {error}", name(&call.words))))?;
                }
                if !matches!(outcome, Outcome::Replied) {
                    refused(refuse(false, format!("{} does not belong into a log", name(&call.words))))?;
                }
            }
        }
        Ok(())
    }

    pub fn end(mut self) {
        self.engine.leave(&mut self.session);
    }
}

fn name(words: &[&[u8]]) -> String {
    words.first().map_or_else(String::new, |word| Error::quote(word))
}

/// Takes replies and keeps the first error.
struct FirstError(Option<Error>);

impl Reply for FirstError {
    fn status(&mut self, _: &str) {}
    fn int(&mut self, _: i64) {}
    fn double(&mut self, _: f64) {}
    fn boolean(&mut self, _: bool) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn verbatim(&mut self, _: &str, _: &str) {}
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn error(&mut self, error: &Error) {
        self.0.get_or_insert_with(|| error.clone());
    }
    fn resp3(&self) -> bool {
        true
    }
    fn mark(&self) -> Mark {
        Mark(0)
    }
    fn rollback(&mut self, _: Mark) {}
}
