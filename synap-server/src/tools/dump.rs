//! `synap-server dump`: the data as others take them.

use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::path::Path;

use synap_core::keyspace::entry::Entry;
use synap_core::keyspace::value::ValueRef;
use synap_core::log::disk::{self, Disk, Piece, RealDisk, Snapshot};
use synap_core::log::wire::{put_call, put_select};
use synap_core::log::{Position, reader::Call};
use synap_core::persist::{LoadOptions, load, save};
use synap_core::snapshot::{self, Flavour, Item};

use super::{Look, Progress, memory_engine, text};

/// Writes everything into one file.
pub fn rdb(path: &Path, file: &Path, older_snapshot: bool) -> Result<(), String> {
    let in_file = |error: &dyn Display| format!("{}: {error}", file.display());
    let look = Look::open(path)?;
    let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| in_file(&"this is not a file's name"))?;
    if file.exists() {
        return Err(in_file(&"it is there already"));
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(in_file(&"there is no such folder"));
    }
    let engine = memory_engine()?;
    let loaded =
        load::read(engine.state(), &look.disk, &look.manifest, LoadOptions { older_snapshot }).map_err(text)?;
    if let Some(error) = &loaded.unread {
        eprintln!("{error}; the older snapshot is taken");
    }
    let target = RealDisk::open(parent).map_err(|error| in_file(&error))?;
    let new_name = format!("{name}.new");
    let write = || {
        let keys = save::write_all(engine.state(), &target, &new_name)?;
        target.rename(&new_name, name)?;
        target.sync_folder()?;
        Ok(keys)
    };
    let keys = write().map_err(|error: std::io::Error| {
        // As far as it goes: the error is told.
        let _ = target.remove(&new_name);
        in_file(&error)
    })?;
    eprintln!("{keys} keys, as of offset {} of the log", loaded.log.end.offset);
    Ok(())
}

/// Writes commands to standard output: the newest snapshot's keys, unless the log is whole, and the log behind it.
pub fn commands(path: &Path, from: Option<u64>, older_snapshot: bool) -> Result<(), String> {
    let look = Look::open(path)?;
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    match from {
        Some(from) => records_from(&look, from, &mut out)?,
        None => {
            let start = match base(&look, older_snapshot)? {
                Some(snapshot) => {
                    keys(&look, snapshot, &mut out)?;
                    Position { offset: snapshot.offset, db: snapshot.db }
                }
                None => Position { offset: 0, db: None },
            };
            if let Some(db) = start.db {
                select(&mut out, db)?;
            }
            records(&look, start, &mut out)?;
        }
    }
    out.flush().map_err(text)
}

/// The snapshot to begin with. It is read to its end before anything is written.
fn base(look: &Look, older_snapshot: bool) -> Result<Option<&Snapshot>, String> {
    if look.log_is_whole() || look.manifest.snapshots.is_empty() {
        return Ok(None);
    }
    let (newest, bad) = look.newest_good();
    for (_, error) in bad {
        match newest {
            Some(_) if older_snapshot => eprintln!("{error}; the older snapshot is taken"),
            Some(_) => return Err(format!("{error}. There is an older one: --load-older-snapshot takes it")),
            None => return Err(error),
        }
    }
    Ok(newest)
}

fn keys(look: &Look, snapshot: &Snapshot, out: &mut impl Write) -> Result<(), String> {
    let mut selected = None;
    look.read_snapshot(snapshot, &mut |item| {
        let Item::Key(key) = item else { return Ok(()) };
        if selected != Some(key.db) {
            selected = Some(key.db);
            select(out, key.db)?;
        }
        restore(&key.entry, out)
    })
    .map(|_| ())
}

/// RESTORE, and the deadlines of fields in words of their own: Redis does not look for ours in a payload.
fn restore(entry: &Entry, out: &mut impl Write) -> Result<(), String> {
    let payload = snapshot::dump(entry.value(), Flavour::default());
    // Zero would be no deadline, and less is refused; both are long over.
    let deadline = entry.expires_at().map_or(0, |deadline_ms| deadline_ms.max(1)).to_string();
    let words: [&[u8]; 6] = [b"RESTORE", entry.key(), deadline.as_bytes(), &payload, b"REPLACE", b"ABSTTL"];
    put(out, &words)?;
    if let ValueRef::Hash(hash) = entry.value()
        && hash.has_ttl()
    {
        for (field, _, deadline_ms) in hash.iter() {
            let Some(deadline_ms) = deadline_ms else { continue };
            let deadline = deadline_ms.max(1).to_string();
            let field = field.to_vec();
            put(out, &[b"HPEXPIREAT", entry.key(), deadline.as_bytes(), b"FIELDS", b"1", &field])?;
        }
    }
    Ok(())
}

/// The log from a place on.
fn records(look: &Look, start: Position, out: &mut impl Write) -> Result<(), String> {
    each_piece(look, start, &mut |piece, calls| {
        let end = calls.last().map_or(piece.offset, |call| call.end);
        let bytes = usize::try_from(end - piece.offset).unwrap_or(usize::MAX);
        out.write_all(piece.bytes.get(..bytes).unwrap_or(piece.bytes)).map_err(text)
    })
}

/// The log from any call on, with the database that is selected there.
fn records_from(look: &Look, from: u64, out: &mut impl Write) -> Result<(), String> {
    let segments = &look.manifest.segments;
    let Some(first) = segments.first() else { return Err("there is no log".into()) };
    if from < first.first {
        return Err(format!("the log begins at offset {}", first.first));
    }
    // One that begins before it tells of the database.
    let begin = segments.iter().rfind(|segment| segment.first < from).unwrap_or(first).first;
    let mut db = look.manifest.snapshots.iter().find(|snapshot| snapshot.offset == begin).and_then(|found| found.db);
    let (mut end, mut unit, mut has_begun) = (begin, None, false);
    each_piece(look, Position { offset: begin, db }, &mut |piece, calls| {
        for call in calls {
            end = call.end;
            let is = |name: &[u8]| call.words[0].eq_ignore_ascii_case(name);
            if call.offset >= from {
                if !has_begun {
                    if call.offset > from {
                        return Err(format!("no call begins at offset {from}; the next one is at {}", call.offset));
                    }
                    if let Some(unit) = unit {
                        return Err(format!("offset {from} is within a transaction, which begins at {unit}"));
                    }
                    match db {
                        Some(db) => select(out, db)?,
                        None if is(b"SELECT") => {}
                        None => return Err(format!("the database at offset {from} is not known; begin before it")),
                    }
                    has_begun = true;
                }
                put(out, &call.words)?;
            } else if is(b"SELECT") {
                db = call.words.get(1).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
            } else if is(b"MULTI") {
                unit = Some(call.offset);
            } else if is(b"EXEC") {
                unit = None;
            }
        }
        if !has_begun {
            db = piece.db;
        }
        Ok(())
    })?;
    if from > end { Err(format!("the log ends at offset {end}")) } else { Ok(()) }
}

/// Takes a frame and the calls in it.
type Each<'a> = dyn FnMut(&Piece<'_>, &[Call<'_>]) -> Result<(), String> + 'a;

/// Gives out the calls of the log, a frame at a time. What `each` says ends it.
fn each_piece(look: &Look, start: Position, each: &mut Each<'_>) -> Result<(), String> {
    if look.manifest.segments.is_empty() {
        return Ok(());
    }
    let mut progress = Progress::new();
    let mut stopped = None;
    let result = disk::replay(&look.disk, &look.manifest, start, &mut |piece| {
        progress.show(piece.file, piece.read_bytes, piece.total_bytes);
        let calls: Result<Vec<_>, _> = piece.calls().collect();
        let calls = calls.map_err(|flaw| piece.refuse(flaw.offset, flaw))?;
        each(&piece, &calls).map_err(|error| {
            let refused = piece.refuse(piece.offset, &error);
            stopped = Some(error);
            refused
        })
    });
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(log)) => {
            if let Some(tail) = log.tail {
                eprintln!("{}: {} bytes from byte {} on did not reach the disk whole", tail.file, tail.bytes, tail.at);
            }
            Ok(())
        }
    }
}

fn select(out: &mut impl Write, db: u32) -> Result<(), String> {
    let mut bytes = Vec::new();
    put_select(&mut bytes, db);
    out.write_all(&bytes).map_err(text)
}

fn put(out: &mut impl Write, words: &[&[u8]]) -> Result<(), String> {
    let mut bytes = Vec::new();
    put_call(&mut bytes, words);
    out.write_all(&bytes).map_err(text)
}
