//! A segment: one file of the log, a header and then frames. `docs/FORMAT.md` draws the bytes.
//!
//! A segment is begun by [`Segment::create`], which returns when it would survive a power cut, and is read by
//! [`SegmentReader`], which believes nothing.

use std::io;
use std::sync::Arc;

use super::Error;
use super::frame::{self, Header, Salt};
use super::io::{Disk, File, read_full_at, write_all_at};
use crate::log::HistoryId;

/// The first bytes of a segment.
const MAGIC: &[u8; 8] = b"SYNAPLOG";
const VERSION: u32 = 1;

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 72;

/// The file name of a segment, by the offset of its first frame. `attempt` is not zero when the name is taken: by a
/// segment that holds nothing, or that could not be written on.
pub fn name(first: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("log-{first:020}.synap"),
        attempt => format!("log-{first:020}.{attempt}.synap"),
    }
}

/// Looks like [`name`].
pub fn is_name(name: &str) -> bool {
    name.starts_with("log-") && name.ends_with(".synap")
}

/// True of a segment that was created and never written to.
pub(super) fn has_no_frame(disk: &dyn Disk, name: &str) -> bool {
    let mut frame = [0; frame::HEADER_BYTES];
    let read = disk.open(name).and_then(|file| read_full_at(&*file, HEADER_BYTES as u64, &mut frame));
    is_name(name) && read.is_ok() && frame.iter().all(|byte| *byte == 0)
}

/// A segment that is being written.
pub struct Segment {
    pub name: String,
    pub first: u64,
    pub salt: Salt,
    pub file: Arc<dyn File>,
    /// Where the next frame goes.
    pub position: u64,
}

/// More names than this for one offset are not tried.
const ATTEMPTS_MAX: u32 = 10_000;

impl Segment {
    /// Makes an empty segment that would survive a power cut: only the manifest does not know it yet.
    pub fn create(disk: &dyn Disk, first: u64, history: HistoryId, seed: u64, bytes: u64) -> Result<Segment, Error> {
        let (name, file, attempt) = create_file(disk, first)?;
        let salt = make_salt(seed, first, attempt, history);
        let segment = Segment { name, first, salt, file, position: HEADER_BYTES as u64 };
        let fill = || -> Result<(), (&'static str, io::Error)> {
            let header = encode_header(first, salt, history);
            match segment.file.preallocate(bytes.max(HEADER_BYTES as u64)) {
                // What is left may do for a while: the file grows as it is written.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                result => result.map_err(|error| ("setting space aside", error))?,
            }
            write_all_at(&*segment.file, 0, &header).map_err(|error| ("writing the header", error))?;
            segment.file.sync().map_err(|error| ("fsync", error))?;
            disk.sync_folder().map_err(|error| ("fsync of the folder", error))
        };
        match fill() {
            Ok(()) => Ok(segment),
            Err((doing, error)) => {
                // As far as it goes: a file that the manifest does not name is never read.
                let _ = disk.remove(&segment.name);
                Err(Error::io(doing, &segment.name, error))
            }
        }
    }
}

/// Another one for each file, not to be guessed by who does not know the seed.
fn make_salt(seed: u64, first: u64, attempt: u32, history: HistoryId) -> Salt {
    let mut bytes = history.as_str().as_bytes().to_vec();
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&attempt.to_le_bytes());
    Salt(xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, seed))
}

/// Makes a file with the first free name for a segment that begins at `first`.
pub(super) fn create_file(disk: &dyn Disk, first: u64) -> Result<(String, Arc<dyn File>, u32), Error> {
    let mut attempt = 0;
    loop {
        let name = name(first, attempt);
        match disk.create(&name) {
            Ok(file) => return Ok((name, file, attempt)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(Error::io("creating", &name, error)),
        }
    }
}

fn encode_header(first: u64, salt: Salt, history: HistoryId) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&first.to_le_bytes());
    out[24..32].copy_from_slice(&salt.0.to_le_bytes());
    out[32..72].copy_from_slice(history.as_str().as_bytes());
    let crc = header_crc(&out);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Of everything but the checksum itself.
fn header_crc(header: &[u8; HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(&header[16..]);
    hasher.finalize()
}

fn decode_header(header: &[u8; HEADER_BYTES]) -> Result<(u64, Salt, HistoryId), &'static str> {
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    if &header[..8] != MAGIC {
        return Err("this is not a log segment");
    }
    if u32_at(12) != header_crc(header) {
        return Err("the checksum of the segment's header is wrong");
    }
    if u32_at(8) != VERSION {
        return Err("the segment was written by another version, which this one cannot read");
    }
    let history = HistoryId::parse(&header[32..]).ok_or("the segment's history has no name")?;
    Ok((u64_at(16), Salt(u64_at(24)), history))
}

/// Reads a segment from its beginning, frame by frame.
pub struct SegmentReader {
    window: Window,
    salt: Salt,
    /// Where the next frame begins, in the file and in the stream.
    pub position: u64,
    pub offset: u64,
    unpacked: Vec<u8>,
}

/// What stands where a frame could begin.
pub enum Step {
    Frame(Header),
    /// No frame that goes on from here.
    Flaw(&'static str),
}

impl SegmentReader {
    /// Opens a segment that begins at `first` in `history`.
    pub fn open(disk: &dyn Disk, name: &str, first: u64, history: HistoryId) -> Result<SegmentReader, Error> {
        let file = disk.open(name).map_err(|error| Error::io("opening", name, error))?;
        let mut window = Window::new(name, file)?;
        let header = window.array::<HEADER_BYTES>(0)?;
        let decoded = header.ok_or("the segment's header is cut off").and_then(|header| decode_header(&header));
        let expected = |(found_first, salt, found_history)| {
            if found_first == first && found_history == history {
                Ok(salt)
            } else {
                Err("this is another segment than the manifest says")
            }
        };
        match decoded.and_then(expected) {
            Ok(salt) => {
                Ok(SegmentReader { window, salt, position: HEADER_BYTES as u64, offset: first, unpacked: Vec::new() })
            }
            Err(what) => Err(Error::corrupt(name, 0, Some(first), what)),
        }
    }

    pub fn name(&self) -> &str {
        &self.window.name
    }

    pub fn file_bytes(&self) -> u64 {
        self.window.len
    }

    /// The header of the next frame, if there is one that continues the stream.
    pub fn peek(&mut self) -> Result<Step, Error> {
        let Some(bytes) = self.window.array::<{ frame::HEADER_BYTES }>(self.position)? else {
            return Ok(Step::Flaw("the segment ends here"));
        };
        let Some(header) = Header::decode(&bytes, self.salt) else {
            return Ok(Step::Flaw("there is no frame here"));
        };
        if header.start != self.offset {
            return Ok(Step::Flaw("the frame here has another offset"));
        }
        let end = self.position.checked_add(header.frame_bytes());
        if end.is_none_or(|end| end > self.window.len) {
            return Ok(Step::Flaw("the frame here is cut off"));
        }
        Ok(Step::Frame(header))
    }

    /// The bytes of the stream in the frame that was just peeked at; none when they are not what was written.
    pub fn read(&mut self, header: &Header) -> Result<Option<&[u8]>, Error> {
        let payload = self.window.get(self.position + frame::HEADER_BYTES as u64, header.stored_bytes)?;
        Ok(payload.and_then(|payload| header.unpack(payload, &mut self.unpacked)))
    }

    /// Goes behind the frame that was just peeked at.
    pub fn skip(&mut self, header: &Header) {
        self.position += header.frame_bytes();
        self.offset = header.end();
    }

    /// Goes to the frame that holds or begins at `offset`, behind a place where the frames cannot be followed. False,
    /// and nothing has changed, when there is none.
    pub fn find(&mut self, offset: u64) -> Result<bool, Error> {
        let mut found = None;
        self.scan(|at, header| {
            if header.start <= offset && (offset < header.end() || offset == header.start) {
                found = Some((at, header.start));
            }
        })?;
        if let Some((position, start)) = found {
            (self.position, self.offset) = (position, start);
        }
        Ok(found.is_some())
    }

    /// What stands from the present position on, where no frame continues the stream.
    pub fn look_behind(&mut self) -> Result<Behind, Error> {
        let mut synced = 0;
        let end = self.scan(|_, header| synced = synced.max(header.synced))?;
        Ok(Behind { synced, end })
    }

    /// Calls `each` for every header from the present position on, wherever it stands. Returns where zeros begin that
    /// go to the end of the file.
    fn scan(&mut self, mut each: impl FnMut(u64, Header)) -> Result<u64, Error> {
        let finder = memchr::memmem::Finder::new(&frame::MAGIC);
        let (mut at, mut zeros_from) = (self.position, self.position);
        let file_bytes = self.window.len;
        while at < file_bytes {
            let bytes = self.window.get_up_to(at, WINDOW_BYTES as u64)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                zeros_from = at + last as u64 + 1;
            }
            for hit in finder.find_iter(bytes) {
                if let Some(header) = bytes[hit..].first_chunk().and_then(|header| Header::decode(header, self.salt)) {
                    each(at + hit as u64, header);
                }
            }
            if at + bytes.len() as u64 == file_bytes || bytes.len() < frame::HEADER_BYTES {
                break;
            }
            // A header may stand across the edge.
            at += (bytes.len() - (frame::HEADER_BYTES - 1)) as u64;
        }
        Ok(zeros_from)
    }
}

/// What was found behind a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The highest offset that a later frame says was fsynced.
    pub synced: u64,
    /// Where zeros begin that go to the end of the file.
    pub end: u64,
}

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// The part of a file that is in memory.
struct Window {
    name: String,
    file: Arc<dyn File>,
    len: u64,
    /// Where `bytes` begins in the file.
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(name: &str, file: Arc<dyn File>) -> Result<Window, Error> {
        let len = file.len().map_err(|error| Error::io("reading", name, error))?;
        Ok(Window { name: name.to_owned(), file, len, start: 0, bytes: Vec::new() })
    }

    fn array<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>, Error> {
        Ok(self.get(at, N as u64)?.and_then(|bytes| bytes.first_chunk().copied()))
    }

    /// `len` bytes, or none when the file ends before.
    fn get(&mut self, at: u64, len: u64) -> Result<Option<&[u8]>, Error> {
        // Held against the file before anything is allocated for it.
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let bytes = self.get_up_to(at, len)?;
        Ok((bytes.len() as u64 == len).then_some(bytes))
    }

    /// As many of `len` bytes as the file has.
    fn get_up_to(&mut self, at: u64, len: u64) -> Result<&[u8], Error> {
        let len = len.min(self.len.saturating_sub(at)) as usize;
        let inside = at >= self.start && at + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let wanted = len.max(WINDOW_BYTES).min(self.len.saturating_sub(at) as usize);
            self.bytes.clear();
            if self.bytes.capacity() > wanted.max(4 * WINDOW_BYTES) {
                self.bytes = Vec::new(); // of a frame that was very large
            }
            self.bytes.resize(wanted, 0);
            self.start = at;
            let filled = read_full_at(&*self.file, at, &mut self.bytes)
                .map_err(|error| Error::io("reading", &self.name, error))?;
            self.bytes.truncate(filled);
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }
}
