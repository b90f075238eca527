//! The hot path: calls from a read buffer to replies in a write buffer, in batches of a turn each.
//!
//! A batch is decoded as a whole, its keys are hashed and prefetched, then its calls run in order. At a pipeline of 64
//! the prefetching alone makes a call three times cheaper: the fetches of a batch overlap.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use synap_core::execute::{Command, Input, Outcome, Turn, execute};
use synap_core::grammar::WordList;
use synap_core::grammar::spec::ShapeKind;
use synap_core::session::{Client, ReplyMode, Session};
use synap_core::{Engine, Reply};
use synap_protocols::resp::{DecodeLimits, Decoded, Decoder, ProtocolError, RespWriter, Span};

/// Calls of one turn: enough for fetches to overlap, few enough that nobody waits long for the gate.
const BATCH: usize = 64;

/// Words that a thread keeps room for.
const SPANS_KEPT: usize = 4096;

/// Replies beyond this many bytes are sent before more calls are looked at.
const OUTPUT_BYTES_PAUSE: usize = 256 << 10;

/// Why the calls of a buffer stopped running.
pub enum Stop {
    /// All that is there was run; the rest is not a whole call.
    Starved,
    /// The gate is closed.
    GateClosed,
    /// Replies should go out first.
    OutputFull,
    /// The client broke the protocol; it was told.
    Invalid,
    /// This outcome of the call before the rest; of the first call of the rest when the outcome asks for a repetition.
    Outcome(Outcome),
}

/// Room for one batch, kept by the thread.
#[derive(Default)]
pub struct Scratch {
    spans: Vec<Span>,
    calls: Vec<Pending>,
    hashes: Vec<u64>,
    /// Inline calls with quotes, and where they stand: decoding writes over them.
    quoted: Vec<(usize, Vec<u8>)>,
}

impl Scratch {
    /// Puts back the inline calls from `used` on, for when they are decoded again.
    fn restore(&self, input: &mut [u8], used: usize) {
        for (at, line) in self.quoted.iter().filter(|(at, _)| *at >= used) {
            input[*at..at + line.len()].copy_from_slice(line);
        }
    }

    #[cold]
    fn keep_line(&mut self, at: usize, input: &[u8]) {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
        if input[..end].iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            self.quoted.push((at, input[..end].to_vec()));
        }
    }
}

/// A decoded call.
struct Pending {
    /// Where it stands in the buffer.
    start: usize,
    end: usize,
    /// Where its words stand among the spans of the batch.
    spans: (u32, u32),
    canonical: bool,
    row: Option<&'static Command>,
    hash: Option<u64>,
}

/// The limits for what this session may send.
pub fn limits(engine: &Engine, session: &Session) -> DecodeLimits {
    use synap_core::settings;
    let settings = &engine.state().settings;
    let bytes = |id| usize::try_from(settings.int(id)).unwrap_or(usize::MAX);
    DecodeLimits {
        bulk_bytes_max: bytes(settings::PROTO_MAX_BULK_LEN),
        call_bytes_max: bytes(settings::CLIENT_QUERY_BUFFER_LIMIT).min(u32::MAX as usize),
        authenticated: session.user.is_some(),
        ..DecodeLimits::DEFAULT
    }
}

/// Runs the calls of `input`; returns how many of its bytes are done with, and why it stopped.
pub fn run(
    engine: &Engine,
    session: &mut Session,
    decoder: &mut Decoder,
    input: &mut [u8],
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> (usize, Stop) {
    let mut done = 0;
    loop {
        let limits = limits(engine, session);
        let end = decode(decoder, &mut input[done..], &limits, scratch);
        if scratch.calls.is_empty() {
            done += end.skipped;
            return match end.invalid {
                None => (done, Stop::Starved),
                Some(error) => {
                    if matches!(error, ProtocolError::BigCall) {
                        engine.state().stats.query_limit_closed.fetch_add(1, Ordering::Relaxed);
                    }
                    RespWriter::new(out, session.resp3).error(&error.to_error());
                    (done, Stop::Invalid)
                }
            };
        }
        let Some(mut turn) = engine.try_enter() else {
            scratch.restore(&mut input[done..], 0);
            *decoder = Decoder::default();
            return (done, Stop::GateClosed);
        };
        let (used, stop) = run_batch(&mut turn, session, &input[done..], out, scratch);
        drop(turn);
        scratch.restore(&mut input[done..], used);
        done += used;
        if let Some(stop) = stop {
            *decoder = Decoder::default();
            return (done, stop);
        }
        if end.invalid.is_none() && end.skipped > used {
            // Empty calls behind the last one.
            done += end.skipped - used;
        }
        if out.len() > OUTPUT_BYTES_PAUSE {
            *decoder = Decoder::default();
            return (done, Stop::OutputFull);
        }
        if end.starved && end.invalid.is_none() {
            return (done, Stop::Starved);
        }
    }
}

/// Runs the first call of `input` in a turn that has the gate closed.
pub fn run_alone(
    turn: &mut Turn<'_>,
    session: &mut Session,
    limits: &DecodeLimits,
    input: &mut [u8],
    out: &mut Vec<u8>,
) -> (usize, Option<Stop>) {
    run_first(turn, session, limits, input, out, 1)
}

/// Runs the first calls of `input` in a turn that had to be waited for.
pub fn run_inside(
    turn: &mut Turn<'_>,
    session: &mut Session,
    limits: &DecodeLimits,
    input: &mut [u8],
    out: &mut Vec<u8>,
) -> (usize, Option<Stop>) {
    run_first(turn, session, limits, input, out, BATCH)
}

fn run_first(
    turn: &mut Turn<'_>,
    session: &mut Session,
    limits: &DecodeLimits,
    input: &mut [u8],
    out: &mut Vec<u8>,
    calls_max: usize,
) -> (usize, Option<Stop>) {
    let mut scratch = Scratch::default();
    decode(&mut Decoder::default(), input, limits, &mut scratch);
    scratch.calls.truncate(calls_max);
    let (used, stop) = run_batch(turn, session, input, out, &mut scratch);
    scratch.restore(input, used);
    (used, stop)
}

struct DecodeEnd {
    /// Bytes up to the end of the last call or empty call.
    skipped: usize,
    /// What follows is not a whole call.
    starved: bool,
    invalid: Option<ProtocolError>,
}

fn decode(decoder: &mut Decoder, input: &mut [u8], limits: &DecodeLimits, scratch: &mut Scratch) -> DecodeEnd {
    scratch.spans.clear();
    // After a call of very many words.
    scratch.spans.shrink_to(SPANS_KEPT);
    scratch.calls.clear();
    scratch.quoted.clear();
    let mut at = 0;
    while scratch.calls.len() < BATCH && at < input.len() {
        if input[at] != b'*' {
            scratch.keep_line(at, &input[at..]);
        }
        let first_span = scratch.spans.len() as u32;
        match decoder.decode(&mut input[at..], limits, &mut scratch.spans) {
            Decoded::Call { consumed, canonical } => {
                let spans = (first_span, scratch.spans.len() as u32);
                scratch.calls.push(Pending { start: at, end: at + consumed, spans, canonical, row: None, hash: None });
                at += consumed;
            }
            Decoded::Empty { consumed } => at += consumed,
            Decoded::Incomplete { .. } => return DecodeEnd { skipped: at, starved: true, invalid: None },
            Decoded::Invalid(error) => return DecodeEnd { skipped: at, starved: true, invalid: Some(error) },
        }
    }
    DecodeEnd { skipped: at, starved: at == input.len(), invalid: None }
}

/// Runs the decoded calls in order, until one of them stops the rest.
fn run_batch(
    turn: &mut Turn<'_>,
    session: &mut Session,
    input: &[u8],
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> (usize, Option<Stop>) {
    let Scratch { spans, calls, hashes, .. } = scratch;
    if calls.len() > 1 {
        prefetch(turn, session, input, spans, calls, hashes);
    }
    session.client.last_active_ms.store(turn.now_ms, Ordering::Relaxed);
    let mut used = 0;
    for call in calls.iter() {
        if session.client.has_mail() {
            Client::take_mail(session, &mut RespWriter::new(out, session.resp3));
        }
        let bytes = &input[call.start..call.end];
        let words: WordList<'_> =
            spans[call.spans.0 as usize..call.spans.1 as usize].iter().map(|span| span.of(bytes)).collect();
        let raw = call.canonical.then_some(bytes);
        let input = Input { words: &words, raw, row: call.row, hint: call.hash };
        let before = (out.len(), session.replies);
        let outcome = execute(turn, session, &input, &mut RespWriter::new(out, session.resp3));
        match outcome {
            Outcome::NeedAlone | Outcome::Paused => return (used, Some(Stop::Outcome(outcome))),
            _ => used = call.end,
        }
        if session.replies != ReplyMode::On || before.1 != ReplyMode::On {
            let waits = matches!(outcome, Outcome::Blocked(_) | Outcome::Later(_));
            // Confirmations of subscriptions are messages, which come all the same.
            let row = turn.state.table.all().get(session.client.last_row.load(Ordering::Relaxed) as usize);
            let is_message = row.is_some_and(|row| matches!(row.returns.kind, ShapeKind::Nothing))
                && out.get(before.0).is_some_and(|&first| first != b'-');
            unanswer(session, before, waits, is_message, out);
        }
        if !matches!(outcome, Outcome::Replied) {
            return (used, Some(Stop::Outcome(outcome)));
        }
        if out.len() > OUTPUT_BYTES_PAUSE {
            return (used, Some(Stop::OutputFull));
        }
    }
    (used, None)
}

/// `CLIENT REPLY OFF` and `SKIP`: takes back what the call has answered.
/// A call that waits is answered, or not, when its wait ends.
fn unanswer(session: &mut Session, (len, mode): (usize, ReplyMode), waits: bool, is_message: bool, out: &mut Vec<u8>) {
    let silent = match (mode, session.replies) {
        (_, ReplyMode::Off | ReplyMode::SkipNext) | (ReplyMode::Skip, ReplyMode::Skip) => true,
        // CLIENT REPLY ON is answered, also when it was the call to be skipped.
        (_, ReplyMode::On | ReplyMode::Skip) => false,
    };
    if silent && !is_message {
        out.truncate(len);
    }
    session.replies = match session.replies {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip if !waits => ReplyMode::On,
        other => other,
    };
}

/// Finds the rows of a batch and has the processor fetch what their first keys lead to.
fn prefetch(
    turn: &Turn<'_>,
    session: &Session,
    input: &[u8],
    spans: &[Span],
    calls: &mut [Pending],
    hashes: &mut Vec<u64>,
) {
    let state = turn.state;
    hashes.clear();
    let mut last: Option<(&[u8], &'static Command)> = None;
    for call in calls.iter_mut() {
        let bytes = &input[call.start..call.end];
        let words: SmallVec<[&[u8]; 2]> =
            spans[call.spans.0 as usize..call.spans.1 as usize].iter().take(2).map(|span| span.of(bytes)).collect();
        // A wrong name is answered when its turn comes.
        let row = match last {
            Some((name, row)) if words.first().is_some_and(|word| *word == name) => row,
            _ => match state.table.find(&words) {
                Ok(row) => row,
                Err(_) => continue,
            },
        };
        last = row.first_key.then(|| (words[0], row));
        call.row = Some(row);
        if row.first_key
            && let Some(key) = words.get(1)
        {
            let hash = state.hasher.hash(key);
            call.hash = Some(hash);
            hashes.push(hash);
        }
    }
    turn.prefetch(hashes, session.db);
}
