//! The data beyond the process: what brings an engine together with its log's files and its snapshots.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | at a start: the newest snapshot, then the log from its place |
//! | [`save`] | snapshots: when they are made, and how |
//!
//! [`Files`] is what the engine has of it: the [`Storage`] behind SAVE, BGSAVE, INFO and the settings, and what has the
//! log written before a reply leaves.

pub mod load;
pub mod save;

use std::fmt::Write as _;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::execute::State;
use crate::execute::state::{SaveKind, Saved, Storage};
use crate::log::disk::{self, Health, Policy, Writer};
use crate::settings::{self, Id, Settings};
use save::Saver;

pub use load::{LoadError, LoadOptions, Loaded};

/// The files of an engine.
pub struct Files {
    pub writer: Arc<Writer>,
    pub saver: Arc<Saver>,
}

impl Storage for Files {
    #[inline]
    fn write_pending(&self) {
        self.writer.write_pending();
    }

    fn is_behind(&self) -> bool {
        self.writer.is_behind()
    }

    fn refusal(&self) -> Option<Error> {
        match self.writer.health() {
            Health::Ok => None,
            Health::Failing { error, .. } => {
                Some(Error { code: Code::Misconf, text: format!("Errors writing to the AOF file: {error}").into() })
            }
        }
    }

    fn save(&self, kind: SaveKind) -> Result<Saved> {
        self.saver.ask(kind)
    }

    fn last_save_s(&self) -> i64 {
        self.saver.last_save_s()
    }

    fn setting_changed(&self, id: Id) {
        if id == settings::APPENDFSYNC {
            self.saver.with_state(|state| self.writer.set_policy(policy(&state.settings)));
        }
    }

    fn request_sync(&self) {
        self.writer.request_sync();
    }

    fn info(&self, out: &mut String) {
        self.saver.info(out);
        let (failing, since_ms) = match self.writer.health() {
            Health::Ok => (0, 0),
            Health::Failing { since_ms, .. } => (1, since_ms),
        };
        let status = if failing == 0 { "ok" } else { "err" };
        let segments = self.writer.folder().manifest().segments;
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "aof_enabled:1\r\naof_last_write_status:{status}\r\naof_failing_since_ms:{since_ms}\r\naof_segments:{}\r\n",
            segments.len()
        );
        self.saver.with_state(|state| {
            let log = &state.log;
            let begin = segments.first().map_or(0, |segment| segment.first);
            let _ = write!(
                out,
                "aof_current_size:{}\r\naof_pending_bytes:{}\r\naof_unsynced_bytes:{}\r\n",
                log.end() - begin,
                log.end().saturating_sub(log.settled()),
                log.unreleased_bytes()
            );
        });
    }
}

/// `appendfsync` as the writer takes it.
fn policy(settings: &Settings) -> Policy {
    match settings.text(settings::APPENDFSYNC).as_str() {
        "always" => Policy::Always,
        "no" => Policy::No,
        _ => Policy::EverySecond,
    }
}

/// How the settings have the files written.
fn writer_options(state: &State) -> disk::writer::Options {
    disk::writer::Options { policy: policy(&state.settings), seed: state.random(), ..Default::default() }
}
