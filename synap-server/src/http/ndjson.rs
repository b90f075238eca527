//! Calls and answers as lines of JSON, any number of them in one request.
//!
//! What has come is run in batches, many calls in one visit inside the gate, and answered in order. Lines are read only
//! when their predecessors were answered and the answers were taken, so nothing is held but one line that is not whole,
//! the calls that came with it, and the answers to one batch.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use smallvec::SmallVec;
use synap_core::execute::{Input, Outcome, execute};
use synap_core::session::Session;
use synap_core::{Code, Error};
use synap_protocols::json::{JsonReply, Words, text};
use synap_protocols::rest::operation::Operation;
use synap_protocols::stream;
use tokio::time::timeout;

use super::batch::Fault;
use super::body::Out;
use super::door::{BODY_BYTES_MAX, Door};
use crate::drive::{self, End, Visitor};

pub const CONTENT_TYPE: &str = "application/x-ndjson";
/// Calls in one visit inside the gate at the most: whoever wants to be alone waits for its end.
const BATCH_CALLS_MAX: usize = 64;
/// Answers are sent when they are so long, or when there is nothing more to run.
const PIECE_BYTES: usize = 32 << 10;
/// Bytes that are read while a call waits, at the most: reading tells whether the client is still there.
const AHEAD_BYTES_MAX: usize = 256 << 10;
/// The next piece of the request must come within this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// One line as it is to be run or answered.
struct Line<'a> {
    id: &'a str,
    call: Result<(&'a Operation, Words), Fault>,
}

/// The answers to the lines of `body`, until it ends.
pub async fn serve(door: &Door, mut visitor: Visitor, body: Incoming, out: Out) -> io::Result<()> {
    let source = Source { body, ahead: Vec::new(), has_ended: false };
    let mut answers = Answers { door, source, out, text: Vec::with_capacity(PIECE_BYTES * 2) };
    let mut lines: Vec<u8> = Vec::new();
    // Up to here there is no end of a line.
    let mut looked = 0;
    loop {
        match timeout(IDLE_TIMEOUT, answers.source.read(&mut lines)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => break,
            Ok(Err(error)) => return Err(error),
            Err(_) => return answers.give_up(408, "the next call took too long").await,
        }
        let Some(end) = memchr::memrchr(b'\n', &lines[looked..]) else {
            looked = lines.len();
            if lines.len() > BODY_BYTES_MAX {
                return answers.give_up(413, &format!("a line is longer than {BODY_BYTES_MAX} bytes")).await;
            }
            continue;
        };
        let end = looked + end + 1;
        answers.run(&mut visitor, &lines[..end]).await?;
        lines.drain(..end);
        looked = lines.len();
    }
    answers.run(&mut visitor, &lines).await
}

/// Where lines come from.
struct Source {
    body: Incoming,
    /// What came while a call waited.
    ahead: Vec<u8>,
    has_ended: bool,
}

impl Source {
    /// Appends what comes next; false when nothing does. An error when it broke off: what came whole was run.
    async fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if !self.ahead.is_empty() {
            out.append(&mut self.ahead);
            return Ok(true);
        }
        loop {
            if self.has_ended {
                return Ok(false);
            }
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                out.extend_from_slice(&data);
                return Ok(true);
            }
        }
    }

    /// Reads on while a call waits. Returns only when the client has gone.
    async fn gone(&mut self) -> io::Error {
        while !self.has_ended && self.ahead.len() < AHEAD_BYTES_MAX {
            match self.body.frame().await {
                Some(Ok(frame)) => self.ahead.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return io::Error::other(error),
                None => self.has_ended = true,
            }
        }
        std::future::pending().await
    }
}

struct Answers<'d> {
    door: &'d Door,
    source: Source,
    out: Out,
    /// Answers that were not sent yet.
    text: Vec<u8>,
}

impl Answers<'_> {
    /// Runs whole lines and sends their answers.
    async fn run(&mut self, visitor: &mut Visitor, lines: &[u8]) -> io::Result<()> {
        let mut lines = Lines(lines);
        loop {
            let door = self.door;
            let batch: SmallVec<[Line; BATCH_CALLS_MAX]> =
                lines.by_ref().take(BATCH_CALLS_MAX).map(|line| read(door, line)).collect();
            if batch.is_empty() {
                return self.send(visitor).await;
            }
            let mut next = 0;
            while next < batch.len() {
                let stopped = self.run_inside(visitor, &batch, &mut next).await;
                if let Some(outcome) = stopped {
                    self.finish(visitor, &batch[next], outcome).await?;
                    next += 1;
                }
                if self.text.len() >= PIECE_BYTES {
                    self.send(visitor).await?;
                }
            }
        }
    }

    /// Runs calls in one visit inside the gate, until one cannot end there: what is to become of it is returned.
    async fn run_inside(&mut self, session: &mut Session, batch: &[Line<'_>], next: &mut usize) -> Option<Outcome> {
        let text = &mut self.text;
        self.door
            .engine
            .inside(|turn| {
                while let Some(Line { id, call }) = batch.get(*next)
                    && text.len() < PIECE_BYTES
                {
                    match call {
                        Err((http_status, error)) => write_error(id, *http_status, error, text),
                        Ok((operation, words)) => {
                            let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
                            words.as_slices(&mut slices);
                            let input = input(operation, words, &slices);
                            let before = text.len();
                            stream::begin(id, text);
                            let mut reply = JsonReply::behind(&operation.row.returns, std::mem::take(text));
                            let outcome = execute(turn, session, &input, &mut reply);
                            let (buffer, result) = reply.into_buffer();
                            *text = buffer;
                            if is_answered(&outcome) {
                                end(id, before, result, text);
                            } else {
                                text.truncate(before);
                            }
                            if !matches!(outcome, Outcome::Replied) {
                                return Some(outcome);
                            }
                        }
                    }
                    *next += 1;
                }
                None
            })
            .await
    }

    /// Goes on with a call that does not end inside the gate. What was answered before does not wait for it.
    async fn finish(&mut self, visitor: &mut Visitor, line: &Line<'_>, outcome: Outcome) -> io::Result<()> {
        let Line { id, call: Ok((operation, words)) } = line else { return Ok(()) };
        if !matches!(outcome, Outcome::NeedAlone) {
            self.send(visitor).await?;
        }
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        words.as_slices(&mut slices);
        let input = input(operation, words, &slices);
        let before = self.text.len();
        let was_answered = is_answered(&outcome);
        stream::begin(id, &mut self.text);
        let mut reply = JsonReply::behind(&operation.row.returns, std::mem::take(&mut self.text));
        let ended = tokio::select! {
            ended = drive::resume(&self.door.engine, visitor, &input, outcome, &mut reply) => ended,
            error = self.source.gone() => return Err(error),
        };
        let (buffer, result) = reply.into_buffer();
        self.text = buffer;
        match ended {
            End::Killed => return Err(io::Error::other("the client was ended")),
            _ if was_answered => self.text.truncate(before),
            End::Replied | End::Quit => end(id, before, result, &mut self.text),
        }
        Ok(())
    }

    /// Sends what was answered, when it may be told.
    async fn send(&mut self, visitor: &Visitor) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        if let Err(error) = drive::settled(&self.door.engine, visitor).await {
            // The calls were applied, and nobody may be told of what they saw.
            self.text.clear();
            write_error("null", error.code.http_status(), &error, &mut self.text);
            self.out.send(std::mem::take(&mut self.text)).await;
            return Err(io::Error::other(error));
        }
        let next = Vec::with_capacity(PIECE_BYTES * 2);
        self.out.send(std::mem::replace(&mut self.text, next)).await;
        Ok(())
    }

    /// Tells why no more lines are read, and ends.
    async fn give_up(mut self, http_status: u16, why: &str) -> io::Result<()> {
        let error = Error { code: Code::Err, text: why.to_string().into() };
        write_error("null", http_status, &error, &mut self.text);
        self.out.send(self.text).await;
        Err(io::Error::other(error))
    }
}

/// The lines of a text that are not blank.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let end = memchr::memchr(b'\n', self.0);
            let (line, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest.get(1..).unwrap_or_default();
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        None
    }
}

fn read<'a>(door: &'a Door, line: &'a [u8]) -> Line<'a> {
    match text::check(line) {
        Ok(envelope) => {
            let (id, call) = door.prepare(envelope);
            Line { id, call }
        }
        Err(error) => Line { id: "null", call: Err((error.code.http_status(), error)) },
    }
}

fn input<'a>(operation: &Operation, words: &Words, slices: &'a [&'a [u8]]) -> Input<'a> {
    Input { row: Some(operation.row_of(words)), ..Input::words(slices) }
}

/// True for outcomes that come with a reply.
fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Replied | Outcome::Sleep(_) | Outcome::Quit | Outcome::Shutdown(_))
}

/// Ends the line that began at `before`: its reply stands there, or it failed.
fn end(id: &str, before: usize, result: Result<(), Error>, text: &mut Vec<u8>) {
    match result {
        Ok(()) => {
            stream::end(text);
            text.push(b'\n');
        }
        Err(error) => {
            text.truncate(before);
            write_error(id, error.code.http_status(), &error, text);
        }
    }
}

fn write_error(id: &str, http_status: u16, error: &Error, text: &mut Vec<u8>) {
    stream::write_error(id, http_status, error, text);
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_no_calls() {
        let lines: Vec<&[u8]> = Lines(b"\n a \r\n\n \nb").collect();
        assert_eq!(lines, [&b" a \r"[..], b"b"]);
    }
}
