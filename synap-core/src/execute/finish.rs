//! What follows a handler: log, tell, unlock, answer.

use super::context::WriteCx;
use super::{Call, Flow, Outcome, waiting};
use crate::error::Result;
use crate::grammar::Keys;
use crate::reply::{Mark, Reply};
use crate::session::Session;

/// Ends the life of a call whose handler has run. `mark` is where its reply began.
#[inline]
pub fn finish(
    cx: &mut WriteCx<'_>,
    call: &Call<'_>,
    keys: &Keys,
    session: &mut Session,
    flow: Result<Flow>,
    mark: Mark,
    reply: &mut dyn Reply,
) -> Outcome {
    let outcome = match flow {
        Ok(Flow::Block { keys: count, timeout_ms, on_timeout, .. }) => {
            Outcome::Blocked(waiting::block(cx, call, keys, session, count, timeout_ms, on_timeout))
        }
        Ok(Flow::Later(later)) => Outcome::Later(later),
        Ok(_) => Outcome::Replied,
        Err(error) => {
            debug_assert!(!cx.is_changed(), "{} failed after it had changed something: {error}", call.row.name);
            reply.rollback(mark);
            cx.state().stats.failed(call.row, &error);
            reply.error(&error);
            Outcome::Replied
        }
    };
    cx.record(call);
    cx.tell_events();
    waiting::serve(cx);
    session.seen = session.seen.max(cx.seen());
    cx.unlock();
    outcome
}
