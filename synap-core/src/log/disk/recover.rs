//! Reads the log back: at the start of a server, and for those who check and repair.
//!
//! **What a flaw means.** A segment that the manifest ends was fsynced up to there, so any flaw in it is corruption.
//! The last segment may be open. A flaw in it, at an offset that a *later* frame says was fsynced when it was written,
//! is corruption too. Before the offset where reading is to begin a flaw is stepped over, if the frame is there that
//! holds this offset; if not, that is corruption: a snapshot counts only when the log is fsynced up to it. Every other flaw is the unsynced tail: the power failed before the disk followed, nobody was
//! promised these bytes, and they are cut. Frames that look good behind it (pages reach a disk in any order) go too.

use std::fmt;

use super::Error;
use super::folder::Failed;
use super::io::{Disk, File, read_full_at, write_all_at};
use super::manifest::{Manifest, SegmentLine};
use super::segment::{self, SegmentReader, Step};
use crate::log::reader::Flaw;
use crate::log::{Position, Reader};

/// Whole units of the stream.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The offset of the first byte.
    pub offset: u64,
    pub bytes: &'a [u8],
    /// The database that is selected after it.
    pub db: Option<u32>,
    /// Where it was read from.
    pub file: &'a str,
    pub at: u64,
    /// For a progress bar: bytes of files behind us, and bytes of files altogether.
    pub read_bytes: u64,
    pub total_bytes: u64,
}

impl Piece<'_> {
    /// The calls in it.
    pub fn calls(&self) -> Reader<'_> {
        Reader::new(self.bytes, self.offset)
    }

    /// Says that what stands here cannot be used.
    pub fn refuse(&self, offset: u64, why: impl fmt::Display) -> Error {
        Error::Refused { file: self.file.to_owned(), at: self.at, offset, why: why.to_string() }
    }

    /// Says that a call that stands here was written whole, and that this server does not run it.
    pub fn not_run(&self, offset: u64, why: impl fmt::Display) -> Error {
        Error::NotRun { file: self.file.to_owned(), at: self.at, offset, why: why.to_string() }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The end of the data, where a new history begins.
    pub end: Position,
    /// Bytes of the stream, and frames, that were given out.
    pub bytes: u64,
    pub frames: u64,
    pub segments: usize,
    /// The log was closed in order; nothing can have been lost.
    pub clean: bool,
    /// The unsynced tail: what it cost.
    pub tail: Option<Tail>,
    /// Where the open segment's last good frame ends, in the file.
    pub(super) open_end: Option<u64>,
}

/// What was written after the last fsync and did not reach the disk whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    pub file: String,
    /// Where it begins in the file.
    pub at: u64,
    /// Bytes that are not zero stand in this many bytes of the file.
    pub bytes: u64,
}

/// Gives out everything from `start` on, in order; `start` is the place of a snapshot, or the beginning.
///
/// In memory are a window of the file and one frame: a mebibyte, or the largest unit.
pub fn replay(
    disk: &dyn Disk,
    manifest: &Manifest,
    start: Position,
    each: &mut dyn FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<Recovered, Error> {
    let mut recovered =
        Recovered { end: start, bytes: 0, frames: 0, segments: 0, clean: false, tail: None, open_end: None };
    let (Some(first), Some(last)) = (manifest.segments.first(), manifest.segments.last()) else {
        return Ok(recovered);
    };
    // The end of an open segment is not known yet.
    let end = last.end.unwrap_or(u64::MAX);
    if start.offset < first.first || start.offset > end {
        return Err(Error::Missing { offset: start.offset, first: first.first, end });
    }
    let needed: Vec<&SegmentLine> =
        manifest.segments.iter().filter(|segment| segment.end.is_none_or(|end| end > start.offset)).collect();
    let mut progress = Progress { read: 0, total: 0 };
    for line in &needed {
        progress.total += file_bytes(disk, &line.name)?; // and none is missing, before anything is given out
    }
    for line in needed {
        let mut reader = SegmentReader::open(disk, &line.name, line.first, line.history)?;
        read_segment(line, &mut reader, start.offset, &mut progress, &mut recovered, each)?;
        progress.read += reader.file_bytes();
        recovered.segments += 1;
    }
    Ok(recovered)
}

struct Progress {
    read: u64,
    total: u64,
}

fn read_segment(
    line: &SegmentLine,
    reader: &mut SegmentReader,
    start: u64,
    progress: &mut Progress,
    recovered: &mut Recovered,
    each: &mut dyn FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    recovered.clean = false;
    let mut searched = false;
    loop {
        if line.end == Some(reader.offset) {
            // The last one is ended only when the log was closed.
            recovered.clean = true;
            return Ok(());
        }
        let header = match reader.peek()? {
            Step::Frame(header) => header,
            // Nobody needs what stands here. Once is enough: behind it there is no gap.
            Step::Flaw(_) if !searched && reader.offset < start && reader.find(start)? => {
                searched = true;
                continue;
            }
            Step::Flaw(what) => return at_flaw(line, reader, start, what, recovered),
        };
        if line.end.is_some_and(|end| header.end() > end) {
            return Err(flaw_error(line, reader, "the frame here goes beyond the end of the segment"));
        }
        if header.end() > start {
            let (offset, at) = (reader.offset.max(start), reader.position);
            let skipped = (offset - reader.offset) as usize;
            let file = line.name.as_str();
            let Some(bytes) = reader.read(&header)? else {
                return at_flaw(line, reader, start, "the frame here fails its checksum", recovered);
            };
            let bytes = &bytes[skipped..];
            let (read_bytes, total_bytes) = (progress.read + at, progress.total);
            each(Piece { offset, bytes, db: header.db, file, at, read_bytes, total_bytes })?;
            recovered.bytes += bytes.len() as u64;
            recovered.frames += 1;
            recovered.end = Position { offset: header.end(), db: header.db };
        }
        recovered.clean = header.clean;
        reader.skip(&header);
    }
}

/// No frame goes on from here: the end, the unsynced tail, or corruption.
fn at_flaw(
    line: &SegmentLine,
    reader: &mut SegmentReader,
    start: u64,
    what: &'static str,
    recovered: &mut Recovered,
) -> Result<(), Error> {
    if line.end.is_some() {
        return Err(flaw_error(line, reader, what));
    }
    let behind = reader.look_behind()?;
    if behind.synced > reader.offset || reader.offset < start {
        return Err(flaw_error(line, reader, what));
    }
    let bytes = behind.end - reader.position;
    if bytes > 0 {
        recovered.tail = Some(Tail { file: line.name.clone(), at: reader.position, bytes });
        recovered.clean = false;
    }
    recovered.open_end = Some(reader.position);
    Ok(())
}

fn flaw_error(line: &SegmentLine, reader: &SegmentReader, what: &'static str) -> Error {
    Error::corrupt(&line.name, reader.position, Some(reader.offset), what)
}

/// Verifies every segment: checksums, order, and that frames hold whole units of canonical calls. Returns what is
/// wrong, at most one thing for each segment. An unsynced tail is not wrong: the next start cuts it.
pub fn check(disk: &dyn Disk, manifest: &Manifest, progress: &mut dyn FnMut(&Piece<'_>)) -> Vec<Error> {
    let mut wrong = Vec::new();
    let size = |line: &SegmentLine| file_bytes(disk, &line.name).unwrap_or(0);
    let sizes: Vec<u64> = manifest.segments.iter().map(size).collect();
    let (mut behind, total_bytes) = (0, sizes.iter().sum());
    for (line, bytes) in manifest.segments.iter().zip(sizes) {
        let alone = Manifest { segments: vec![line.clone()], ..Manifest::default() };
        let start = Position { offset: line.first, db: None };
        let mut db = None;
        let result = replay(disk, &alone, start, &mut |piece| {
            progress(&Piece { read_bytes: behind + piece.read_bytes, total_bytes, ..piece });
            db = whole_units(&piece, db)?;
            Ok(())
        });
        wrong.extend(result.err());
        behind += bytes;
    }
    wrong
}

fn file_bytes(disk: &dyn Disk, name: &str) -> Result<u64, Error> {
    disk.open(name).and_then(|file| file.len()).map_err(|error| Error::io("opening", name, error))
}

/// Holds a piece against what the writer promises: whole units, and the right database. Returns the database.
fn whole_units(piece: &Piece<'_>, before: Option<u32>) -> Result<Option<u32>, Error> {
    let (mut db, mut inside) = (before, false);
    let mut calls = piece.calls();
    for call in calls.by_ref() {
        let call = call.map_err(|flaw: Flaw| piece.refuse(flaw.offset, flaw))?;
        match call.words[..] {
            [b"SELECT", number] => db = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()),
            [b"MULTI"] if inside => return Err(piece.refuse(call.offset, "MULTI inside MULTI")),
            [b"MULTI"] => inside = true,
            [b"EXEC"] if !inside => return Err(piece.refuse(call.offset, "EXEC without MULTI")),
            [b"EXEC"] => inside = false,
            _ => {}
        }
    }
    if inside || !calls.rest().is_empty() {
        return Err(piece.refuse(calls.offset(), "a unit that goes beyond its frame"));
    }
    if db.is_some() && piece.db.is_some() && db != piece.db {
        return Err(piece.refuse(calls.offset(), "the frame tells of another database than its calls"));
    }
    Ok(piece.db.or(db))
}

/// What [`repair`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The log ends here now.
    pub end: u64,
    /// Where the removed part is kept.
    pub aside: Vec<String>,
}

/// Where a damaged log has to be cut, so that the rest can be used.
#[derive(Debug)]
pub struct Cut {
    /// What is wrong there.
    pub flaw: Error,
    /// The log ends here then.
    pub end: u64,
    /// Segments from the flaw's on.
    pub gone: Vec<String>,
    /// Segments that stay, and how much of the flaw's is copied into one of its own.
    kept: Vec<SegmentLine>,
    copied: Option<(SegmentLine, u64, u64)>,
}

/// Looks for the first flaw behind `start`, the place of the newest good snapshot. None when all of it can be used.
pub fn find_cut(
    disk: &dyn Disk,
    manifest: &Manifest,
    start: u64,
    progress: &mut dyn FnMut(&Piece<'_>),
) -> Result<Option<Cut>, Error> {
    let Err(flaw) = replay(disk, manifest, Position { offset: start, db: None }, &mut |piece| {
        progress(&piece);
        whole_units(&piece, None).map(|_| ())
    }) else {
        return Ok(None);
    };
    let (file, at, offset) = match &flaw {
        Error::Corrupt { file, at, offset: Some(offset), .. } => (file, *at, *offset),
        // The frame is as it was written, and still nobody can use it.
        Error::Refused { file, at, offset, .. } => (file, *at, *offset),
        _ => return Err(flaw),
    };
    let Some(place) = manifest.segments.iter().position(|segment| segment.name == *file) else {
        return Err(Error::corrupt(file, at, Some(offset), "the manifest does not name this segment"));
    };
    let damaged = &manifest.segments[place];
    let good_end = good_end(disk, damaged, at, start);
    // A log that ends before the snapshot says nothing about what came after it.
    let (kept, gone) = manifest.segments.split_at(if good_end >= start { place } else { 0 });
    let copied = (good_end >= start && good_end > damaged.first).then(|| (damaged.clone(), at, good_end));
    let gone = gone.iter().map(|segment| segment.name.clone()).collect();
    Ok(Some(Cut { end: good_end.max(start), gone, kept: kept.to_vec(), copied, flaw }))
}

/// Cuts the log at the first flaw behind `start`, the place of the newest good snapshot. What stood from the flaw's
/// segment on is kept aside under other names. None when there is nothing to repair.
pub fn repair(folder: &super::Folder, start: u64) -> Result<Option<Repaired>, Error> {
    let disk = &**folder.disk();
    let Some(cut) = find_cut(disk, &folder.manifest(), start, &mut |_| ())? else { return Ok(None) };
    let mut segments = cut.kept;
    if let Some((damaged, at, good_end)) = cut.copied {
        segments.push(copy_until(disk, &damaged, at, good_end)?);
    }
    folder.change(|manifest| manifest.segments = segments).map_err(Failed::into_error)?;
    Ok(Some(Repaired { end: cut.end, aside: set_aside(disk, &cut.gone)? }))
}

/// Takes snapshots that cannot be read out of the manifest, and keeps them aside.
pub fn forget_snapshots(folder: &super::Folder, names: &[String]) -> Result<Vec<String>, Error> {
    let forget = |manifest: &mut Manifest| manifest.snapshots.retain(|snapshot| !names.contains(&snapshot.name));
    folder.change(forget).map_err(Failed::into_error)?;
    set_aside(&**folder.disk(), names)
}

/// Gives files that the manifest does not name any more other names, and returns these. What is not there is left out.
fn set_aside(disk: &dyn Disk, names: &[String]) -> Result<Vec<String>, Error> {
    let mut aside = Vec::new();
    for name in names {
        let new_name = format!("{name}.damaged");
        match disk.rename(name, &new_name) {
            Ok(()) => aside.push(new_name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("renaming", name, error)),
        }
    }
    disk.sync_folder().map_err(|error| Error::io("fsync of the folder", ".", error))?;
    Ok(aside)
}

/// The offset of what stands at a position of a segment; the segment's first when it cannot be read that far.
fn good_end(disk: &dyn Disk, line: &SegmentLine, position: u64, start: u64) -> u64 {
    let Ok(mut reader) = SegmentReader::open(disk, &line.name, line.first, line.history) else { return line.first };
    let mut searched = false;
    while reader.position < position {
        match reader.peek() {
            Ok(Step::Frame(header)) => reader.skip(&header),
            Ok(Step::Flaw(_)) if !searched && reader.offset < start && reader.find(start).is_ok_and(|found| found) => {
                searched = true;
            }
            _ => return line.first,
        }
    }
    reader.offset
}

/// A new segment with the bytes of a file up to a position, where the stream has come to `end`.
fn copy_until(disk: &dyn Disk, line: &SegmentLine, position: u64, end: u64) -> Result<SegmentLine, Error> {
    let from = disk.open(&line.name).map_err(|error| Error::io("opening", &line.name, error))?;
    let (name, to, _) = segment::create_file(disk, line.first)?;
    copy(&*from, &*to, position).map_err(|error| Error::io("copying to", &name, error))?;
    to.sync().and_then(|()| disk.sync_folder()).map_err(|error| Error::io("fsync of", &name, error))?;
    Ok(SegmentLine { name, end: Some(end), ..line.clone() })
}

/// Copies the first `len` bytes of a file to the same place of another one, or of itself.
pub(super) fn copy(from: &dyn File, to: &dyn File, len: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    while at < len {
        let wanted = (len - at).min(buffer.len() as u64) as usize;
        let filled = read_full_at(from, at, &mut buffer[..wanted])?;
        if filled == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        write_all_at(to, at, &buffer[..filled])?;
        at += filled as u64;
    }
    Ok(())
}
