//! The data beyond the process: what brings an engine together with its log's files and its snapshots.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | at a start: the newest snapshot, then the log from its place |
//! | [`put`] | brings what is read of a snapshot into the shards, on several cores |
//! | [`save`] | snapshots: when they are made, and how; the log begins and ends there too |
//! | [`end`] | what comes before the end of a server |
//!
//! [`Files`] is what the engine has of it: the [`Storage`] behind SAVE, BGSAVE, INFO and the settings, and what has the
//! log written before a reply leaves. With `appendonly no` its writer is closed, and snapshots are all there is.

pub mod end;
pub mod load;
pub mod put;
pub mod save;

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::execute::gate::thread_slot;
use crate::execute::state::{KeptLog, SaveKind, Saved, Storage};
use crate::execute::{Pass, State, Turn};
use crate::log::disk::{self, Health, Policy, Writer};
use crate::settings::{self, Id, Settings};
use crate::sync::block_on;
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
        let text = match self.writer.health() {
            Health::Ok => self.saver.refusal()?,
            Health::Failing { error, .. } => format!("Errors writing to the AOF file: {error}"),
        };
        Some(Error { code: Code::Misconf, text: text.into() })
    }

    fn save(&self, kind: SaveKind) -> Result<Saved> {
        self.saver.ask(kind)
    }

    fn last_save_s(&self) -> i64 {
        self.saver.last_save_s()
    }

    fn setting_changed(&self, id: Id) {
        self.saver.with_state(|state| match id {
            settings::APPENDFSYNC => self.writer.set_policy(policy(&state.settings)),
            settings::APPENDONLY => self.saver.follow_setting(),
            settings::SAVE | settings::STOP_WRITES_ON_BGSAVE_ERROR => self.saver.judge(state),
            _ => {}
        });
    }

    fn kept_log(&self) -> KeptLog {
        let mut kept = KeptLog::None;
        self.saver.with_state(|state| kept = self.saver.kept_log(state));
        kept
    }

    fn log_begun(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.saver.log_begun()
    }

    fn reload(&self) -> Result<Saved> {
        self.saver.ask_to_reload()
    }

    fn request_sync(&self) {
        self.writer.request_sync();
    }

    fn info(&self, out: &mut String) {
        self.saver.info(out);
        self.saver.with_state(|state| {
            let (failing, since_ms) = match self.writer.health() {
                Health::Ok => (false, 0),
                Health::Failing { since_ms, .. } => (true, since_ms),
            };
            let status = if failing { "err" } else { "ok" };
            // Until it has ended, it is written.
            let is_on = wants_log(&state.settings) || self.writer.is_open();
            // Writing into a String cannot fail.
            let _ = write!(out, "aof_enabled:{}\r\naof_last_write_status:{status}\r\n", u8::from(is_on));
            if !is_on {
                return;
            }
            let (log, facts) = (&state.log, self.writer.folder().facts());
            let _ = write!(
                out,
                "aof_failing_since_ms:{since_ms}\r\naof_segments:{}\r\naof_current_size:{}\r\naof_pending_bytes:{}\r\n\
                 aof_unsynced_bytes:{}\r\n",
                facts.segments,
                log.end() - facts.log_begin,
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

fn wants_log(settings: &Settings) -> bool {
    settings.int(settings::APPENDONLY) != 0
}

/// Inside the gate, keeping the thread meanwhile.
fn enter(state: &State) -> Turn<'_> {
    Turn::new(state, Pass::Entered(block_on(state.gate.enter(thread_slot()))))
}

/// Runs `work` alone inside the gate, keeping the thread meanwhile.
fn alone<'s, R>(state: &'s State, work: impl FnOnce(&mut Turn<'s>) -> R) -> R {
    let closed = block_on(state.gate.close());
    let mut turn = Turn::new(state, Pass::Closed(closed));
    let result = work(&mut turn);
    drop(turn);
    state.log.notify();
    result
}
