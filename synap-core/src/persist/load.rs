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

use super::put::put_keys;
use super::save::Saver;
use super::{Files, alone, enter, wants_log, writer_options};
use crate::Engine;
use crate::access::User;
use crate::error::Error;
use crate::execute::state::Due;
use crate::execute::{Input, Outcome, State, Turn, WalkCx, execute};
use crate::log::Position;
use crate::log::disk::{self, Disk, Folder, Manifest, Recovered, Writer, io::File, io::read_full_at, manifest};
use crate::log::reader::Call;
use crate::reply::{Mark, Reply};
use crate::session::{Door, Session};
use crate::settings;
use crate::snapshot::{self, Item, ReadOptions};

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
        older: Option<Older>,
    },
    Unopened {
        file: String,
        error: io::Error,
    },
    /// The system gives no thread.
    Thread {
        error: io::Error,
    },
    /// The file of users has mistakes.
    Users(String),
}

/// The snapshot before one that cannot be read.
#[derive(Debug)]
pub struct Older {
    pub file: String,
    /// The log goes on from its place: it makes all data.
    pub has_log: bool,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Folder { path, error } => write!(f, "the data folder {path:?} cannot be used: {error}"),
            LoadError::Disk(error) => write!(f, "{error}"),
            LoadError::Users(error) => write!(f, "{error}"),
            LoadError::Thread { error } => write!(f, "a thread cannot be started: {error}"),
            LoadError::Unopened { file, error } => write!(f, "the snapshot {file} cannot be opened: {error}"),
            LoadError::Snapshot { file, error, older } => {
                write!(f, "the snapshot {file} cannot be used: {error}")?;
                match older {
                    Some(Older { file, has_log: true }) => write!(
                        f,
                        ". There is an older one, {file}, and the log from its place on: \
                         start with --load-older-snapshot to take them"
                    ),
                    Some(Older { file, has_log: false }) => write!(
                        f,
                        ". There is an older one, {file}, but no log behind it: \
                         start with --load-older-snapshot to take it, and lose what was changed since"
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
    let loading = Loading::begin(state);
    let folder = Folder::open(disk)?;
    folder.sweep()?;
    let loaded = read(state, &**folder.disk(), &folder.manifest(), options)?;

    state.log.begin_at(loaded.log.end);
    let writer = Arc::new(Writer::closed(folder, &loaded.log, state.log.clone(), writer_options(state)));
    let thread = |error| LoadError::Thread { error };
    // Not before all is read: until then nobody knows what may be of use.
    writer.folder().sweep_old()?;
    // Otherwise the folder stays as it is, until the first snapshot.
    if wants_log(&state.settings) {
        writer.open(&loaded.log)?;
        writer.start().map_err(thread)?;
    }
    let saver = Saver::start(engine, writer.clone(), &loaded).map_err(thread)?;
    let files = Arc::new(Files { writer, saver });
    state.set_storage(files.clone());
    state.stats.reset();
    loading.end(state);
    Ok((files, loaded))
}

/// A load that is on: calls are refused, and what is due is shown, because the log says what went. When it is given up,
/// that stays so.
pub(super) struct Loading {
    due: Due,
    /// The end of the log when it began: nothing is appended meanwhile.
    pub end: u64,
}

impl Loading {
    pub fn begin(state: &State) -> Loading {
        let progress = &state.load_progress;
        progress.began_s.store(state.clock.now_ms() / 1000, Ordering::Relaxed);
        for bytes in [&progress.total_bytes, &progress.loaded_bytes] {
            bytes.store(0, Ordering::Relaxed);
        }
        alone(state, |_| {
            state.loading.store(true, Ordering::Relaxed);
            let due = state.expiry.get();
            state.expiry.set(Due::Show);
            Loading { due, end: state.log.end() }
        })
    }

    /// All is there.
    pub fn end(self, state: &State) {
        alone(state, |_| {
            state.expiry.set(self.due);
            state.loading.store(false, Ordering::Relaxed);
        });
        state.timer.wake_by(i64::MIN);
    }
}

/// Brings the data that the manifest names into an engine that shows what is due. The files stay as they are.
pub fn read(state: &State, disk: &dyn Disk, manifest: &Manifest, options: LoadOptions) -> Result<Loaded, LoadError> {
    let began = Instant::now();
    let Found { snapshot, keys, unread } = load_snapshot(state, disk, manifest, options)?;
    let start = match &snapshot {
        Some(snapshot) => Position { offset: snapshot.offset, db: snapshot.db },
        None => Position { offset: 0, db: None },
    };
    let progress = &state.load_progress;
    let before = progress.loaded_bytes.load(Ordering::Relaxed);
    let mut replay = Replay::new(state, start);
    let log = disk::replay(disk, manifest, start, &mut |piece| {
        progress.total_bytes.store(before + piece.total_bytes, Ordering::Relaxed);
        progress.loaded_bytes.store(before + piece.read_bytes, Ordering::Relaxed);
        let calls = piece.calls().map(|call| call.map_err(|flaw| piece.refuse(flaw.offset, flaw)));
        replay.run(calls, &mut |refused| Err(piece.not_run(refused.offset, &refused.why)))
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
    state: &State,
    disk: &dyn Disk,
    manifest: &Manifest,
    options: LoadOptions,
) -> Result<Found, LoadError> {
    let mut candidates = manifest.snapshots.iter().rev();
    let Some(newest) = candidates.next() else { return Ok(Found::default()) };
    let older = candidates.next();
    let error = match read_snapshot(state, disk, newest) {
        Ok(keys) => return Ok(Found { snapshot: Some(newest.clone()), keys, unread: None }),
        Err(error) => error,
    };
    match older {
        Some(older) if options.older_snapshot => {
            clear(state);
            let keys = read_snapshot(state, disk, older)?;
            Ok(Found { snapshot: Some(older.clone()), keys, unread: Some(error.to_string()) })
        }
        older => Err(match error {
            // The older one is of the same server.
            LoadError::Snapshot {
                error: snapshot::ReadError { cause: snapshot::Cause::Database { .. }, .. }, ..
            } => error,
            LoadError::Snapshot { file, error, .. } => {
                let has_log = |snapshot: &manifest::Snapshot| {
                    manifest.segments.first().is_some_and(|segment| segment.first <= snapshot.offset)
                };
                let older = older.map(|older| Older { file: older.name.clone(), has_log: has_log(older) });
                LoadError::Snapshot { file, error, older }
            }
            other => other,
        }),
    }
}

/// Drops all data, without a word in the log.
pub(super) fn clear(state: &State) {
    alone(state, |turn| {
        let mut cx = turn.shard_context(0);
        cx.flush(None);
        cx.forget_changes();
        cx.unlock();
    });
}

fn read_snapshot(state: &State, disk: &dyn Disk, snapshot: &manifest::Snapshot) -> Result<u64, LoadError> {
    let unopened = |error| LoadError::Unopened { file: snapshot.name.clone(), error };
    let bad = |error| LoadError::Snapshot { file: snapshot.name.clone(), error, older: None };
    let databases = state.settings.int(settings::DATABASES) as u32;
    let options = ReadOptions { limits: *state.settings.limits(), databases, ..ReadOptions::default() };
    let source = FileReader::open(disk, &snapshot.name).map_err(unopened)?;
    let progress = &state.load_progress;
    let total = source.file.len().map_err(unopened)?;
    progress.total_bytes.store(total, Ordering::Relaxed);
    let mut reader = snapshot::Reader::new(source, options).map_err(bad)?;
    // Fields and sizes are hints; what the manifest says of the file counts.
    let mut note = |bytes| progress.loaded_bytes.store(bytes, Ordering::Relaxed);
    let keys = put_keys(state, &mut reader, &mut |_| (), &mut note).map_err(bad)?;
    note(total);
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
    state: &'e State,
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
    pub fn new(state: &'e State, start: Position) -> Replay<'e> {
        let client = state.registry.add(Door::Log, "log".into(), "log".into(), state.clock.now_ms());
        let mut session = Session::new(client, None);
        session.log_in(Arc::new(User::default_user()));
        session.select(start.db.unwrap_or(0));
        Replay { state, session }
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
        let state = self.state;
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
            let mut turn = enter(state);
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
                    outcome = alone(state, |turn| execute(turn, &mut self.session, &input, &mut reply));
                    turn = enter(state);
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

    /// It watches nothing and waits for nothing, so nothing else knows of it.
    pub fn end(self) {
        self.state.registry.remove(self.session.client.id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Reader;
    use crate::testing::TestEngine;

    /// CLIENT PAUSE is answered during a start, and the log is not a client.
    #[test]
    fn a_pause_does_not_hold_the_log() {
        let mut test = TestEngine::replaying(1);
        let state = test.engine.state();
        state.pause.begin(i64::MAX, true, 0);
        let calls = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n$5\r\nMULTI\r\n\
            *2\r\n$4\r\nINCR\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n";
        let mut replay = Replay::new(state, Position { offset: 0, db: None });
        let calls = Reader::new(calls, 0).map(|call| call.map_err(|flaw| flaw.to_string()));
        replay.run(calls, &mut |refused| Err(refused.why)).expect("it runs");
        replay.end();
        state.pause.end();
        assert_eq!(test.call("GET a"), "\"2\"");
    }
}
