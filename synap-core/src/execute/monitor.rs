//! MONITOR: every call as a line, to those who asked.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Call;
use super::row::Flags;
use super::state::State;
use crate::session::{Mail, Session};

/// Sends `call` to all monitors. Words that are secret are not shown. The caller wakes the monitors once it holds no
/// lock.
#[inline]
pub fn show(state: &State, session: &Session, call: &Call<'_>, wakers: &mut Vec<Waker>) {
    if state.registry.monitors.load(Ordering::Relaxed) > 0 {
        show_to_all(state, session, call, wakers);
    }
}

/// [`show`] for a caller that holds no lock.
#[inline]
pub fn show_now(state: &State, session: &Session, call: &Call<'_>) {
    let mut wakers = Vec::new();
    show(state, session, call, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

#[cold]
fn show_to_all(state: &State, session: &Session, call: &Call<'_>, wakers: &mut Vec<Waker>) {
    if call.row.flags.has(Flags::SKIP_MONITOR) || call.row.flags.has(Flags::ADMIN) {
        return;
    }
    let now = state.clock.now_ms();
    let mut line = format!("{}.{:03}000 [{} {}]", now / 1000, now % 1000, session.db, session.client.addr);
    for word in call.words {
        line.push_str(" \"");
        for &byte in *word {
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
    for client in state.registry.all() {
        if client.monitor.load(Ordering::Relaxed) {
            wakers.extend(client.put(Mail::Monitor(line.clone()), 0));
        }
    }
}
