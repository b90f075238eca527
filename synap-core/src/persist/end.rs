//! What comes before the end of a server. With a log there is nothing to do: closing the engine has it fsynced. Without
//! one, nobody may write any more, and a last snapshot is made; if that fails, the server goes on.

use crate::error::{Error, Result};
use crate::execute::state::{KeptLog, SaveKind};
use crate::execute::{ShutdownOptions, State};
use crate::settings;

/// True when a snapshot is made before the end.
pub fn saves(state: &State, options: ShutdownOptions) -> bool {
    // Nothing has changed, and not all is there.
    if state.loading.load(std::sync::atomic::Ordering::Relaxed) {
        return false;
    }
    options.save.unwrap_or_else(|| match state.kept_log() {
        KeptLog::Whole => false,
        KeptLog::Begun => true,
        KeptLog::None => state.storage().is_some() && settings::has_save_rules(&state.settings),
    })
}

/// Does what comes before the end. When it is well, whoever called ends the program; writes wait until then. An error says
/// that the server is to go on.
pub async fn prepare(state: &State, options: ShutdownOptions) -> Result<()> {
    if !saves(state, options) {
        return Ok(());
    }
    let hold = match state.kept_log() {
        // What is written behind the snapshot is in the log.
        KeptLog::Whole => None,
        KeptLog::Begun | KeptLog::None => Some(Hold::begin(state).await),
    };
    let saved = match state.storage().map(|storage| storage.save(SaveKind::Schedule)) {
        Some(Ok(saved)) => saved.done.await,
        Some(Err(error)) => Err(error),
        None => Err(Error::err("there is no data folder")),
    };
    if saved.is_err() && !options.force {
        return Err(Error::err("Errors trying to SHUTDOWN. Check logs."));
    }
    hold.into_iter().for_each(Hold::keep);
    Ok(())
}

/// As long as it lives, nobody writes.
struct Hold<'s>(&'s State);

impl<'s> Hold<'s> {
    async fn begin(state: &'s State) -> Hold<'s> {
        // With the gate closed: no write is in flight.
        let closed = state.gate.close().await;
        state.pause.begin_end();
        drop(closed);
        Hold(state)
    }

    /// Nobody writes any more, for good.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.pause.call_off_end();
    }
}
