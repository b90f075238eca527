//! The log's files: the sink of [`Log`](super::Log), and how it is read back.
//!
//! ```text
//!   connections' threads                the log's thread
//!     │ append, under shard locks         │
//!     ▼                                   │
//!   Log (ring) ──read_units──▶ Writer::write_pending ──▶ one frame, one write(2)
//!     ▲    ▲                        │     │
//!     │    └──────── settle ◀───────┘     ├─▶ fsync: each second, or for each group of calls
//!     └──────────── release ◀─────────────┤
//!                                         ├─▶ the next segment, when one is full or its fsync failed
//!                                         └─▶ tries again, when the disk did not take something
//!
//!   lock                         keeps other processes out
//!   manifest                     which files count, and where each segment ends
//!   log-00000000000000000000.synap    [header][frame][frame]…[frame]            ended: all of it is fsynced
//!   log-00000000000067108881.synap    [header][frame][frame][fra 00000000…]     open: its tail may be unsynced
//! ```
//!
//! - [`io`]: a folder and files, the system's. (`sim`: those of tests, which fail and forget.)
//! - [`frame`]: whole units of the stream with their checksums.
//! - [`segment`]: a file of frames.
//! - [`manifest`], [`folder`]: which files count; replaced as a whole.
//! - [`writer`]: [`Writer`], the sink.
//! - [`recover`]: reads it back at the start: [`replay`]; and for those who repair: [`check`], [`find_cut`],
//!   [`repair`].
//!
//! # How a server uses it
//!
//! ```text
//!   let folder = Folder::open(disk)?;                       // locked; has a manifest
//!   let start = …newest snapshot of folder.manifest(), loaded…;
//!   let recovered = replay(folder.disk(), &folder.manifest(), start, &mut |piece| …run its calls…)?;
//!   let log = Log::starting_at(recovered.end.offset, capacity, a new history);
//!   let writer = Writer::begin(folder, recovered, log, options)?;   // a new segment; the sink is attached
//!   writer.start();                                          // its thread
//!   …after each turn, outside of the gate:  writer.write_pending(); then await log.settled_or_failing(seen)
//!   writer.close()?;                                         // all is fsynced, and says so
//! ```
//!
//! **What is safe when.** Written means that a killed process cannot take it back; fsynced, that a power cut cannot.
//! `settled` follows the policy; `released` is always fsynced. After a failed fsync nothing since the last good one
//! counts: those bytes are still in the ring and are written again, into a new segment.
//!
//! **The lock of the files** is held across writes and fsyncs. Threads of connections only try it: whoever finds it
//! taken goes on, and the one who holds it writes what was appended meanwhile, or has the log's thread do it.

pub mod folder;
pub mod frame;
pub mod io;
pub mod manifest;
pub mod recover;
pub mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod writer;

use std::fmt;

pub use folder::{Folder, FolderFacts};
pub use io::{Disk, RealDisk};
pub use manifest::{Manifest, Snapshot};
pub use recover::{Cut, Piece, Recovered, check, find_cut, forget_snapshots, repair, replay};
pub use writer::{Facts, Health, Options, Policy, Writer};

/// What goes wrong with the files.
#[derive(Debug)]
pub enum Error {
    /// Another process has the folder.
    Locked,
    /// There are files of ours and no manifest: it was lost, or this is another folder.
    NoManifest { file: String },
    /// The folder is to be begun, and has files of ours.
    NotEmpty { file: String },
    /// The disk did not do what it was asked to.
    Io { doing: &'static str, file: String, error: std::io::Error },
    /// What was once safe on disk is not what it was. `at` is the byte in the file, `offset` the place in the stream.
    Corrupt { file: String, at: u64, offset: Option<u64>, what: &'static str },
    /// The log does not hold what is asked for: it begins later, or ends before.
    Missing { offset: u64, first: u64, end: u64 },
    /// A snapshot may not count before the log is fsynced up to it.
    NotSynced { offset: u64, synced: u64 },
    /// Whoever was given the log's units refused one.
    Refused { file: String, at: u64, offset: u64, why: String },
    /// A call is whole, and fails on this server.
    NotRun { file: String, at: u64, offset: u64, why: String },
}

impl Error {
    fn io(doing: &'static str, file: &str, error: std::io::Error) -> Error {
        Error::Io { doing, file: file.to_owned(), error }
    }

    fn corrupt(file: &str, at: u64, offset: Option<u64>, what: &'static str) -> Error {
        Error::Corrupt { file: file.to_owned(), at, offset, what }
    }
}

/// What to do about a flaw.
const ADVICE: &str = "`synap-server check` verifies all files; `synap-server repair --truncate` cuts the log here and \
                      keeps what follows aside";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Locked => write!(f, "another process uses this folder"),
            Error::NoManifest { file } => {
                write!(f, "there is {file}, but no manifest that names it: it was lost, or this is not the folder")
            }
            Error::NotEmpty { file } => write!(f, "the folder is not empty: there is {file}"),
            Error::Io { doing, file, error } => write!(f, "{doing} {file}: {error}"),
            Error::Corrupt { file, at, offset: Some(offset), what } => {
                write!(f, "{file} is damaged at byte {at}, offset {offset} of the log: {what}. {ADVICE}")
            }
            Error::Corrupt { file, at, offset: None, what } => {
                write!(f, "{file} is damaged at byte {at}: {what}")
            }
            Error::Missing { offset, first, end } => {
                write!(f, "offset {offset} is not in the log, which has {first} to {end}")
            }
            Error::NotSynced { offset, synced } => {
                write!(f, "a snapshot stands at {offset}, and the log is fsynced up to {synced} only")
            }
            Error::Refused { file, at, offset, why } => {
                write!(f, "{file}, byte {at}, offset {offset} of the log: {why}. {ADVICE}")
            }
            // To cut it off here would lose good data.
            Error::NotRun { file, at, offset, why } => {
                write!(
                    f,
                    "{file}, byte {at}, offset {offset} of the log: {why}. The file is whole, and the server that wrote \
                     it ran this call: start with the settings (as databases) and the version that it had"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
