//! MONITOR: every call as a line, to those who asked.

use std::fmt::Write;
use std::sync::Arc;
use std::task::Waker;

use super::Call;
use super::context::WriteCx;
use super::row::{Command, Flags};
use super::state::State;
use crate::session::{Mail, Session};

/// Sends `call` to all monitors, which are woken when `cx` is unlocked. Words that are secret are not shown.
#[inline]
pub fn show(cx: &mut WriteCx<'_>, session: &Session, call: &Call<'_>) {
    if cx.state().registry.monitor_count() > 0 {
        let wakers = show_to_all(cx.state(), session, session.db, call);
        cx.wakers().extend(wakers);
    }
}

/// [`show`] for a caller that holds no lock, behind the call, which was made with database `db` selected.
#[inline]
pub fn show_now(state: &State, session: &Session, db: u32, call: &Call<'_>) {
    if state.registry.monitor_count() > 0 {
        show_to_all(state, session, db, call).into_iter().for_each(Waker::wake);
    }
}

#[cold]
fn show_to_all(state: &State, session: &Session, db: u32, call: &Call<'_>) -> Vec<Waker> {
    if call.row.flags.has(Flags::SKIP_MONITOR) || call.row.flags.has(Flags::ADMIN) {
        return Vec::new();
    }
    let now = state.clock.now_ms();
    let mut line = format!("{}.{:03}000 [{} {}]", now / 1000, now % 1000, db, session.client.addr);
    for (index, word) in call.words.iter().enumerate() {
        line.push_str(" \"");
        let is_secret = call.row.is_secret(call.words, index);
        for &byte in if is_secret { Command::REDACTED.as_bytes() } else { word } {
            match byte {
                b'"' => line.push_str("\\\""),
                b'\\' => line.push_str("\\\\"),
                b'\n' => line.push_str("\\n"),
                b'\r' => line.push_str("\\r"),
                b'\t' => line.push_str("\\t"),
                0x07 => line.push_str("\\a"),
                0x08 => line.push_str("\\b"),
                b' '..=b'~' => line.push(byte as char),
                _ => {
                    let _ = write!(line, "\\x{byte:02x}");
                }
            }
        }
        line.push('"');
    }
    let line: Arc<str> = line.into();
    let mut wakers = Vec::new();
    state.registry.for_each_monitor(|client| wakers.extend(client.put(Mail::Monitor(line.clone()), 0)));
    wakers
}
