//! `synap-server load`: a folder that begins with what Redis or Valkey has kept.
//!
//! All of it is read into memory first, then written as a snapshot at offset 0. The manifest comes last, so no server
//! starts on half of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use synap_core::Engine;
use synap_core::log::disk::{self, Disk, Folder, Manifest, RealDisk, Snapshot};
use synap_core::log::{Position, Reader};
use synap_core::persist::load::{Refused, Replay};
use synap_core::persist::{put::put_keys, save};
use synap_core::snapshot::{self, Item, ReadOptions, Skipped, Unsupported};

use super::{Progress, memory_engine, text};

/// What is read at once of an append-only file, unless a call is larger.
const PIECE_BYTES: usize = 1 << 20;

/// A larger file does not say which append-only files there are.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

pub fn run(path: &Path, file: &Path, skip_unsupported: bool) -> Result<(), String> {
    let files = files_of(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let engine = memory_engine()?;
    let mut import = Import { engine: &engine, skip_unsupported, skipped: BTreeMap::new() };
    let disk = RealDisk::open(path).map_err(text)?;
    let mut keys = 0;
    let found = Folder::found(Arc::new(disk), |disk| -> Result<Manifest, Failure> {
        for (number, file) in files.iter().enumerate() {
            let is_last = number + 1 == files.len();
            import.file(file, is_last).map_err(|error| Failure(format!("{}: {error}", file.display())))?;
        }
        let name = format!("snapshot-{:020}.rdb", 0);
        keys = write(&engine, disk, &name).map_err(|error| Failure(format!("writing {name}: {error}")))?;
        Ok(Manifest { snapshots: vec![Snapshot { name, offset: 0, db: None }], ..Manifest::default() })
    });
    found.map_err(|Failure(error)| error)?;
    for (what, count) in &import.skipped {
        match count {
            1 => println!("left out: {what}"),
            count => println!("left out: {what}, {count} times"),
        }
    }
    println!("{keys} keys are loaded; {} things were left out", import.skipped.values().sum::<u64>());
    Ok(())
}

struct Failure(String);

impl From<disk::Error> for Failure {
    fn from(error: disk::Error) -> Failure {
        Failure(error.to_string())
    }
}

fn write(engine: &Engine, disk: &dyn Disk, name: &str) -> std::io::Result<u64> {
    let new_name = format!("{name}.new");
    let written = save::write_all(engine.state(), disk, &new_name).and_then(|keys| {
        disk.rename(&new_name, name)?;
        disk.sync_folder()?;
        Ok(keys)
    });
    if written.is_err() {
        // So that it can be tried again, as far as it goes.
        let _ = disk.remove(&new_name);
    }
    written
}

/// The files to read, in order: one, or those that a folder's manifest names.
fn files_of(file: &Path) -> Result<Vec<PathBuf>, String> {
    if !std::fs::metadata(file).map_err(text)?.is_dir() {
        return Ok(vec![file.to_owned()]);
    }
    let mut manifests = Vec::new();
    for entry in std::fs::read_dir(file).map_err(text)? {
        let path = entry.map_err(text)?.path();
        if path.extension().is_some_and(|extension| extension == "manifest") {
            manifests.push(path);
        }
    }
    let [manifest] = &manifests[..] else {
        return Err(format!("{} files in this folder end in .manifest, and there must be one", manifests.len()));
    };
    let mut lines = String::new();
    let opened = File::open(manifest).map_err(text)?;
    opened.take(MANIFEST_BYTES_MAX).read_to_string(&mut lines).map_err(text)?;
    let bad = |line: &str| format!("its manifest has a line that says nothing known: {line:?}");
    let (mut base, mut rest) = (Vec::new(), Vec::new());
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let ["file", name, "seq", _, "type", kind, ..] = words[..] else { return Err(bad(line)) };
        if name.contains(['/', '"', '\\']) {
            return Err(bad(line));
        }
        match kind {
            "b" => base.push(file.join(name)),
            "i" => rest.push(file.join(name)),
            // What a rewrite has replaced.
            "h" => {}
            _ => return Err(bad(line)),
        }
    }
    base.append(&mut rest);
    if base.is_empty() { Err("its manifest names no file".into()) } else { Ok(base) }
}

struct Import<'e> {
    engine: &'e Engine,
    skip_unsupported: bool,
    /// What was left out, and how often.
    skipped: BTreeMap<String, u64>,
}

impl Import<'_> {
    /// Reads one file, whatever it is. Only the last one of several may be cut off.
    fn file(&mut self, path: &Path, is_last: bool) -> Result<(), String> {
        let mut file = File::open(path).map_err(text)?;
        let total = file.metadata().map_err(text)?.len();
        let mut magic = Vec::new();
        file.by_ref().take(6).read_to_end(&mut magic).map_err(text)?;
        let is_rdb = magic.starts_with(b"REDIS") || magic.starts_with(b"VALKEY");
        let source = Cursor::new(magic).chain(file);
        if !is_rdb {
            return self.calls(source, 0, total, is_last);
        }
        let unsupported = if self.skip_unsupported { Unsupported::Skip } else { Unsupported::Refuse };
        let options = ReadOptions { unsupported, ..ReadOptions::default() };
        let mut reader = snapshot::Reader::new(source, options).map_err(text)?;
        let mut refused = None;
        let mut other = |item| {
            let Some((what, is_loss)) = left_out(item) else { return };
            if is_loss && !self.skip_unsupported {
                refused.get_or_insert(what);
            } else {
                *self.skipped.entry(what).or_default() += 1;
            }
        };
        let mut progress = Progress::new();
        let mut show = |bytes| progress.show("snapshot", bytes, total);
        let put = put_keys(self.engine.state(), &mut reader, &mut other, &mut show);
        drop(progress);
        put.map_err(|error| self.advise(error.to_string(), matches!(error.cause, snapshot::Cause::Unsupported(_))))?;
        if let Some(what) = refused {
            return Err(self.advise(format!("not supported: {what}"), true));
        }
        if reader.is_at_end().map_err(text)? {
            return Ok(());
        }
        // An append-only file that begins with a snapshot.
        let at = reader.offset();
        let (source, rest) = reader.into_rest();
        self.calls(Cursor::new(rest).chain(source), at, total, is_last)
    }

    fn advise(&self, error: String, may_be_skipped: bool) -> String {
        if may_be_skipped && !self.skip_unsupported {
            format!("{error}. --skip-unsupported leaves such things out")
        } else {
            error
        }
    }

    /// Runs the calls of an append-only file, which stand from byte `at` on.
    fn calls(&mut self, mut source: impl Read, mut at: u64, total: u64, is_last: bool) -> Result<(), String> {
        let mut replay = Replay::new(self.engine.state(), Position { offset: at, db: None });
        let mut progress = Progress::new();
        let mut buffer = Vec::new();
        let mut is_inside = false;
        loop {
            // Twice as much each time that a call does not fit.
            let wanted = buffer.len().max(PIECE_BYTES) as u64;
            let is_end = source.by_ref().take(wanted).read_to_end(&mut buffer).map_err(text)? == 0;
            let used = self.run(&mut replay, &buffer, at, &mut is_inside)?;
            buffer.drain(..used);
            at += used as u64;
            progress.show("append-only file", at, total);
            if is_end {
                break;
            }
        }
        // A call, or a transaction, that was being written when the machine stopped: Redis leaves it out too.
        replay.end();
        if buffer.is_empty() && !is_inside {
            return Ok(());
        }
        let what = match is_inside {
            true => "a transaction without an end, before byte",
            false => "the beginning of a call, at byte",
        };
        if !is_last {
            return Err(format!("it ends with {what} {at}, and another file follows"));
        }
        *self.skipped.entry(format!("{what} {at}, where the file is cut off")).or_default() += 1;
        Ok(())
    }

    /// Runs the whole calls in a piece of the file that begins at byte `at`; returns how many bytes they take.
    fn run(&mut self, replay: &mut Replay<'_>, piece: &[u8], at: u64, is_inside: &mut bool) -> Result<usize, String> {
        let mut used = 0;
        loop {
            let rest = &piece[used..];
            // A line of its own with the time, for instance.
            if rest.starts_with(b"#") {
                let Some(line) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(used) };
                used += line + 1;
                continue;
            }
            let mut reader = Reader::new(rest, at + used as u64);
            let calls = reader.by_ref().map_while(Result::ok).inspect(|call| {
                let is = |name: &[u8]| call.words[0].eq_ignore_ascii_case(name);
                *is_inside = is(b"MULTI") || (*is_inside && !is(b"EXEC") && !is(b"DISCARD"));
            });
            replay.run(calls.map(Ok), &mut |refused| self.refused(&refused))?;
            let end = reader.offset();
            used = (end - at) as usize;
            match Reader::new(&piece[used..], end).next() {
                _ if piece[used..].starts_with(b"#") => {}
                Some(Err(flaw)) => return Err(format!("damaged at byte {}: expected {}", flaw.offset, flaw.expected)),
                _ => return Ok(used),
            }
        }
    }

    fn refused(&mut self, call: &Refused<'_>) -> Result<(), String> {
        if !self.skip_unsupported {
            return Err(self.advise(format!("byte {}: {}", call.offset, call.why), true));
        }
        // XGROUP and the like have their key in the third place.
        let shown = if call.words[0].eq_ignore_ascii_case(b"XGROUP") { 3 } else { 2 };
        let words: Vec<_> = call.words.iter().take(shown).map(|word| word.escape_ascii().to_string()).collect();
        let why = if call.is_unknown { "unknown" } else { call.why.as_str() };
        *self.skipped.entry(format!("{} ({why})", words.join(" "))).or_default() += 1;
        Ok(())
    }
}

/// What of a file is not brought in, and whether somebody could miss it.
fn left_out(item: Item) -> Option<(String, bool)> {
    let key = |key: &[u8], db: u32| format!("\"{}\" of database {db}", key.escape_ascii());
    Some(match item {
        Item::Key(_) | Item::Aux { .. } | Item::Sizes { .. } => return None,
        Item::Function(_) => ("a library of functions".to_string(), true),
        Item::Skipped(skipped) => match skipped {
            Skipped::Empty { db, key: name } => (format!("the empty collection {}", key(&name, db)), false),
            Skipped::Stream { db, key: name } => (format!("the stream {}", key(&name, db)), true),
            Skipped::Module { db, key: name, name: module } => {
                (format!("the value of module type {module:?}, {}", key(&name, db)), true)
            }
            Skipped::ModuleData { name } => (format!("data of the module type {name:?}"), true),
            Skipped::SlotImport => ("slots that were about to be taken over".to_string(), false),
        },
    })
}
