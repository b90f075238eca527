//! One RESP connection: reads, has its calls run, writes.
//!
//! Calls run in the poll in which they were read, from a buffer of the thread; a connection that is idle holds no
//! buffer. It leaves the gate before it waits for anything. Replies leave when what they saw is settled in the log.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use synap_core::execute::pause::BEHIND_LOOK;
use synap_core::execute::{Later, Outcome, waiting};
use synap_core::session::{Client, ReplyMode, Session, WaitEnd, Waiter, Wake};
use synap_core::{Code, Engine, Error, Reply as _};
use synap_protocols::resp::{Decoder, RespWriter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::batch::{self, Scratch, Stop};
use crate::drive;
use crate::stream::Stream;

/// What one read takes at most.
const READ_BYTES: usize = 64 << 10;

/// The same in the middle of a long call.
const READ_BYTES_LONG: usize = 1 << 20;

/// Shorter beginnings of calls are read by way of the thread's buffer.
const OWN_BUFFER_BYTES_MIN: usize = 256 << 10;

/// A buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// Fewer bytes of replies are sent at once: to come back for them costs as much as waking the other side.
const GATHER_BYTES_MIN: usize = 64;

/// Buffers that a thread keeps for replies.
const SPARE_MAX: usize = 64;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::default());
}

/// What a thread lends to the connection that it runs.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    /// More of them, empty: replies wait in one until they leave.
    spare: Vec<Vec<u8>>,
    scratch: Scratch,
}

impl Buffers {
    fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

pub struct Connection {
    engine: Engine,
    stream: Stream,
    session: Session,
    decoder: Decoder,
    /// Read and not yet run: the beginning of a call, or calls behind one that waits.
    input: Vec<u8>,
    /// The input may begin with whole calls: they are run before more is read.
    has_calls: bool,
    /// Computed and not yet written, but for its first `sent` bytes.
    output: Vec<u8>,
    sent: usize,
    /// What of the output the engine knows that it waits: it does not count against `maxmemory`.
    waiting_bytes: usize,
    /// The client has sent all that it will send.
    eof: bool,
    /// The engine has forgotten the session.
    departed: bool,
}

impl Drop for Connection {
    /// For a task that panicked: the engine must not go on sending to nobody.
    fn drop(&mut self) {
        self.engine.state().eviction.change_outputs(self.waiting_bytes, 0);
        if !self.departed {
            self.engine.leave(&mut self.session);
        }
    }
}

/// What a connection must wait for outside of a poll.
enum Wait {
    Stop(Stop),
    /// The log has to settle what the replies in `output` saw.
    Settle,
    Close,
}

/// How long the last replies of a connection that ends may take to leave.
const CLOSE_TIME: Duration = Duration::from_secs(2);

impl Connection {
    pub fn new(engine: Engine, stream: Stream, session: Session) -> Connection {
        Connection {
            engine,
            stream,
            session,
            decoder: Decoder::default(),
            input: Vec::new(),
            has_calls: false,
            output: Vec::new(),
            sent: 0,
            waiting_bytes: 0,
            eof: false,
            departed: false,
        }
    }

    /// Serves the connection to its end.
    pub async fn run(mut self) {
        if let Err(error) = self.serve().await {
            tracing::debug!("connection {}: {error}", self.session.client.id);
        }
        self.engine.depart(&mut self.session).await;
        self.departed = true;
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            match poll_fn(|cx| self.poll_turn(cx)).await? {
                Wait::Settle | Wait::Stop(Stop::Starved | Stop::OutputFull) => self.flush().await?,
                Wait::Stop(Stop::GateClosed) => {
                    self.flush().await?;
                    if !self.run_inside().await? {
                        return self.close().await;
                    }
                }
                Wait::Stop(Stop::Invalid) | Wait::Close => return self.close().await,
                Wait::Stop(Stop::Outcome(outcome)) => {
                    if !self.after(outcome).await? {
                        return self.close().await;
                    }
                }
            }
        }
    }

    // ---- within one poll ----

    /// Takes mail, reads, runs, writes: all that can be done without waiting for anything but this client.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wait>> {
        loop {
            if !self.output.is_empty() {
                if !self.settles_now() {
                    self.weigh();
                    return Poll::Ready(Ok(Wait::Settle));
                }
                if self.poll_flush(cx)?.is_pending() {
                    // Mail comes in meanwhile, for which this task is woken too.
                    self.weigh();
                    // Nothing more is read from a client that does not read. It can be ended, though.
                    let is_killed = self.session.client.poll_killed(cx.waker());
                    return if is_killed { Poll::Ready(Ok(Wait::Close)) } else { Poll::Pending };
                }
            }
            match self.session.client.poll_wake(cx.waker()) {
                Some(Wake::Killed) => return Poll::Ready(Ok(Wait::Close)),
                Some(Wake::Mail) => {
                    self.take_mail();
                    continue;
                }
                None => {}
            }
            if !self.has_calls && self.eof {
                return Poll::Ready(Ok(Wait::Close));
            }
            let stop = BUFFERS.with_borrow_mut(|buffers| self.poll_calls(cx, buffers));
            match ready!(stop)? {
                Stop::Starved if self.output.is_empty() => {}
                Stop::Starved => {
                    if self.output.len() >= GATHER_BYTES_MIN || !self.is_settled() {
                        // They leave when the other connections that are ready have had their turn: a client that holds
                        // several of them is woken once for all, and one write brings all their calls into the log.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                stop => return Poll::Ready(Ok(Wait::Stop(stop))),
            }
        }
    }

    /// Runs the calls that are there, or those that one read completes.
    fn poll_calls(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<Stop>> {
        let Buffers { input, output, scratch, spare } = buffers;
        // What another connection left here when it failed is nobody's.
        output.clear();
        let stop = if self.input.is_empty() {
            input.resize(READ_BYTES, 0);
            let count = ready!(self.poll_read(cx, input))?;
            let data = &mut input[..count];
            let (done, stop) = batch::run(&self.engine, &mut self.session, &mut self.decoder, data, output, scratch);
            self.input.extend_from_slice(&data[done..]);
            stop
        } else {
            if !self.has_calls {
                ready!(self.poll_read_more(cx, input))?;
                // A call that is too long for what clients may take ends its client before it runs.
                self.session.client.note_query(&self.input);
                self.weigh();
                if self.session.client.is_killed() {
                    return Poll::Ready(Ok(Stop::Outcome(Outcome::Quit)));
                }
            }
            let (done, stop) =
                batch::run(&self.engine, &mut self.session, &mut self.decoder, &mut self.input, output, scratch);
            self.consume(done);
            stop
        };
        self.has_calls = !matches!(stop, Stop::Starved) && !self.input.is_empty();
        let state = self.engine.state();
        state.log.notify();
        let client = &self.session.client;
        client.note_query(&self.input);
        if !output.is_empty() {
            if self.output.is_empty() {
                self.output = std::mem::replace(output, spare.pop().unwrap_or_default());
            } else {
                self.output.append(output);
                output.shrink_to(KEPT_BYTES);
            }
            self.note_output()?;
            if self.output.len() > KEPT_BYTES {
                // Before others take it for data that have grown.
                self.note_waiting();
            }
        }
        self.weigh();
        Poll::Ready(Ok(stop))
    }

    /// Shows how much waits to be sent; an error when it is more than the client may have waiting.
    fn note_output(&self) -> io::Result<()> {
        let client = &self.session.client;
        let unsent = self.output.len() - self.sent;
        if client.note_output(unsent) {
            return Ok(());
        }
        tracing::warn!("client {} at {}: {unsent} bytes wait for it, closed at its limit", client.id, client.addr);
        Err(io::Error::other("more than client-output-buffer-limit waits for the client"))
    }

    /// Tells the engine what this client takes, which may end it or others.
    fn weigh(&mut self) {
        let state = self.engine.state();
        let closed = state.registry.weigh(&self.session.client);
        if closed > 0 {
            state.stats.evicted_clients.fetch_add(closed, Ordering::Relaxed);
        }
    }

    /// Tells the engine how much output waits, if it has to wait at all.
    fn note_waiting(&mut self) {
        let bytes = if self.output.is_empty() { 0 } else { self.output.capacity() };
        if bytes != self.waiting_bytes {
            self.engine.state().eviction.change_outputs(self.waiting_bytes, bytes);
            self.waiting_bytes = bytes;
        }
    }

    /// The client did something: it is not idle.
    fn touch(&self) {
        self.session.client.last_active_ms.store(self.engine.state().clock.now_ms(), Ordering::Relaxed);
    }

    fn is_settled(&self) -> bool {
        self.engine.state().log.is_settled(self.session.seen)
    }

    /// [`Connection::is_settled`], after the log was written as far as that goes without waiting.
    fn settles_now(&self) -> bool {
        self.is_settled() || {
            self.engine.state().write_pending();
            self.is_settled()
        }
    }

    /// True when the reply to the call that waits was among it.
    fn take_mail(&mut self) -> bool {
        let mut writer = RespWriter::new(&mut self.output, self.session.resp3);
        Client::take_mail(&mut self.session, &mut writer)
    }

    /// Forgets the first `count` bytes of the input.
    fn consume(&mut self, count: usize) {
        if count == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..count);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.eof = count == 0;
        self.session.client.total_in.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    /// Reads behind what is in the input already.
    fn poll_read_more(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let len = self.input.len();
        if len < OWN_BUFFER_BYTES_MIN {
            // By way of the thread's buffer: who waits in the middle of a call holds no more than what came.
            buffer.resize(READ_BYTES, 0);
            let count = ready!(self.poll_read(cx, buffer))?;
            self.input.extend_from_slice(&buffer[..count]);
            return Poll::Ready(Ok(()));
        }
        // The vector doubles by itself when it grows. More room than a read can fill would be made zero in vain.
        let room = len.clamp(READ_BYTES, READ_BYTES_LONG);
        let mut input = std::mem::take(&mut self.input);
        input.resize(len + room, 0);
        let result = self.poll_read(cx, &mut input[len..]);
        input.truncate(len + if let Poll::Ready(Ok(count)) = result { count } else { 0 });
        self.input = input;
        result.map_ok(|_| ())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.sent;
        let result = loop {
            if self.sent == self.output.len() {
                // A stream that encrypts may still hold some of it.
                break Pin::new(&mut self.stream).poll_flush(cx);
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        let done = self.sent - before;
        if self.sent == self.output.len() && result.is_ready() {
            self.sent = 0;
            let output = std::mem::take(&mut self.output);
            BUFFERS.with_borrow_mut(|buffers| buffers.give_back(output));
        } else if self.sent < self.output.len() && self.sent > self.output.len() / 2 {
            // Not each time: a large reply would be moved once for every piece of it that the socket takes.
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        if done > 0 && result.is_pending() {
            self.touch();
        }
        self.session.client.total_out.fetch_add(done as u64, Ordering::Relaxed);
        self.session.client.output_bytes.store(self.output.len() - self.sent, Ordering::Relaxed);
        self.note_waiting();
        result
    }

    // ---- between polls ----

    /// Sends what was computed, once the log has settled what it saw. Gives up when the client is killed, which it
    /// may be because it does not read.
    async fn flush(&mut self) -> io::Result<()> {
        if !self.settles_now() {
            self.note_waiting();
            let is_safe = tokio::select! {
                is_safe = self.settled() => is_safe,
                () = self.session.client.killed() => return Ok(()),
            };
            if !is_safe {
                return self.refuse_to_tell();
            }
        }
        poll_fn(|cx| {
            if !self.output.is_empty() && self.session.client.poll_killed(cx.waker()) {
                return Poll::Ready(Ok(()));
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// False when the disk does not take the log: nobody knows when the replies may leave.
    async fn settled(&self) -> bool {
        self.settles_now() || self.engine.state().log.settled_or_failing(self.session.seen).await.is_ok()
    }

    /// The calls that wait for their replies were applied, and a kill could take them back: instead of the replies the
    /// client hears that, and the connection ends.
    fn refuse_to_tell(&mut self) -> io::Result<()> {
        let refusal = self.engine.state().storage().and_then(|storage| storage.refusal());
        let why = refusal.map_or_else(String::new, |error| format!(": {}", error.text));
        self.output.truncate(self.sent);
        if self.sent == 0 {
            let text = format!("the last calls were applied, and are not safe{why}").into();
            RespWriter::new(&mut self.output, self.session.resp3).error(&Error { code: Code::Misconf, text });
            // Best effort: a client that does not read it is closed all the same.
            let _ = self.stream.write_now(&self.output);
        }
        self.output.clear();
        self.sent = 0;
        Err(io::Error::other("the log cannot be written"))
    }

    /// Sends what was computed, whatever has ended the connection, but not for long.
    async fn close(&mut self) -> io::Result<()> {
        let last_words = async {
            match self.settled().await {
                true => {
                    poll_fn(|cx| self.poll_flush(cx)).await?;
                    poll_fn(|cx| self.stream.poll_end(cx)).await
                }
                false => self.refuse_to_tell(),
            }
        };
        match tokio::time::timeout(CLOSE_TIME, last_words).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        }
    }

    /// What an outcome asks for; false when the connection is to be closed.
    async fn after(&mut self, outcome: Outcome) -> io::Result<bool> {
        match outcome {
            Outcome::Replied => {}
            Outcome::NeedAlone => return self.run_alone().await,
            Outcome::Paused => {
                let client = self.session.client.clone();
                client.held.store(true, Ordering::Relaxed);
                let goes_on = self.wait_for_pause().await;
                client.held.store(false, Ordering::Relaxed);
                return goes_on;
            }
            Outcome::Blocked(waiter) => return self.wait_blocked(&waiter).await,
            Outcome::Sleep(time) => return Ok(self.sleep(time).await),
            Outcome::Quit => return Ok(false),
            Outcome::Later(later) => return self.wait_for(later).await,
            Outcome::Shutdown(options) => {
                self.engine.state().host().shutdown(options);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for a reply that comes from outside of the gate. False when the client was ended, or has gone, meanwhile.
    async fn wait_for(&mut self, later: Later) -> io::Result<bool> {
        // Begun before anything else: a client that is gone already calls nothing off that is to be carried through.
        let reply = drive::later(later);
        self.flush().await?;
        let client = self.session.client.clone();
        let tape = tokio::select! {
            tape = reply => tape,
            () = client.killed() => return Ok(false),
            closed = poll_fn(|cx| self.poll_closed(cx)) => {
                closed?;
                return Ok(false);
            }
        };
        if self.session.replies == ReplyMode::On {
            tape.play(&mut RespWriter::new(&mut self.output, self.session.resp3));
        }
        if self.session.replies == ReplyMode::Skip {
            self.session.replies = ReplyMode::On;
        }
        self.flush().await?;
        Ok(true)
    }

    /// DEBUG SLEEP: what was answered leaves behind it. False when the client was ended meanwhile.
    async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.session.client.killed() => false,
        }
    }

    /// Runs the first calls of the input when the gate lets this task in, before the next who closes it: whoever only
    /// waits until it is open finds it closed again, as long as others come to close it.
    async fn run_inside(&mut self) -> io::Result<bool> {
        let limits = batch::limits(&self.engine, &self.session);
        let Connection { engine, session, input, output, .. } = self;
        let (used, stop) = engine.inside(|turn| batch::run_inside(turn, session, &limits, input, output)).await;
        self.consume(used);
        self.note_output()?;
        self.has_calls = !self.input.is_empty();
        match stop {
            Some(Stop::Outcome(outcome)) => self.after(outcome).await,
            _ => Ok(true),
        }
    }

    /// Runs the first call of the input with the gate closed.
    async fn run_alone(&mut self) -> io::Result<bool> {
        let limits = batch::limits(&self.engine, &self.session);
        let Connection { engine, session, input, output, .. } = self;
        let (used, stop) = engine.alone(|turn| batch::run_alone(turn, session, &limits, input, output)).await;
        self.consume(used);
        self.note_output()?;
        self.has_calls = !self.input.is_empty();
        match stop {
            // A call that is alone already has nothing more to ask for.
            Some(Stop::Outcome(Outcome::NeedAlone)) => Ok(false),
            Some(Stop::Outcome(outcome)) => Box::pin(self.after(outcome)).await,
            _ => {
                self.flush().await?;
                Ok(true)
            }
        }
    }

    /// CLIENT PAUSE: waits until the first call of the input may be tried again.
    async fn wait_for_pause(&mut self) -> io::Result<bool> {
        self.flush().await?;
        // Not the next change: the pause that is on now may be another one, which does not hold the call.
        let paused_at = self.session.paused_at;
        let engine = self.engine.clone();
        let state = engine.state();
        loop {
            let now_ms = state.clock.now_ms();
            let Some(until_ms) = state.pause.until(now_ms) else {
                if state.is_behind() {
                    sleep(BEHIND_LOOK).await;
                }
                return Ok(!self.session.client.is_killed());
            };
            let rest = Duration::from_millis(until_ms.abs_diff(now_ms));
            let changed = state.pause.changed_since(paused_at);
            let client = self.session.client.clone();
            let wake = tokio::select! {
                () = changed => return Ok(true),
                () = sleep(rest) => return Ok(true),
                wake = client.woken() => wake,
                closed = poll_fn(|cx| self.poll_closed(cx)) => {
                    closed?;
                    return Ok(false);
                }
            };
            if wake == Wake::Killed {
                return Ok(false);
            }
            self.take_mail();
            self.flush().await?;
        }
    }

    /// Waits with a blocked call until it is served, its time is over, or the client is gone.
    async fn wait_blocked(&mut self, waiter: &Arc<Waiter>) -> io::Result<bool> {
        self.flush().await?;
        // The reply may come with other mail, just after we have seen that nobody has ended the wait.
        let mut answered = false;
        let end = loop {
            if !waiter.is_waiting() {
                break WaitEnd::Served;
            }
            let now_ms = self.engine.state().clock.now_ms();
            let rest = match waiter.deadline_ms {
                None => Duration::MAX,
                Some(deadline_ms) if deadline_ms <= now_ms => break WaitEnd::TimedOut,
                Some(deadline_ms) => Duration::from_millis(deadline_ms.abs_diff(now_ms)),
            };
            let client = self.session.client.clone();
            let wake = tokio::select! {
                biased;
                wake = client.woken() => Some(wake),
                closed = poll_fn(|cx| self.poll_closed(cx)) => {
                    closed?;
                    break WaitEnd::Gone;
                }
                () = sleep(rest) => None,
            };
            match wake {
                Some(Wake::Killed) => break WaitEnd::Gone,
                Some(Wake::Mail) if waiter.is_waiting() => {
                    answered |= self.take_mail();
                    self.flush().await?;
                }
                Some(Wake::Mail) | None => {}
            }
        };
        // Whoever waited was not idle.
        self.touch();
        let ended_here = self.engine.stop_waiting(&mut self.session, waiter, end).await;
        match (end, ended_here) {
            (WaitEnd::Gone, _) => return Ok(false),
            (_, true) if self.session.replies == ReplyMode::On => {
                let mut writer = RespWriter::new(&mut self.output, self.session.resp3);
                waiting::timeout_reply(waiter, &mut writer);
            }
            (_, true) => {}
            // Whoever ended it has put the reply into the inbox, or is about to; other mail is not it.
            (_, false) => {
                while !answered {
                    if self.session.client.woken().await == Wake::Killed {
                        return Ok(false);
                    }
                    answered = self.take_mail();
                }
            }
        }
        if self.session.replies == ReplyMode::Skip {
            self.session.replies = ReplyMode::On;
        }
        self.flush().await?;
        Ok(true)
    }

    /// Ready when the client has closed. What it sends ahead meanwhile is kept; too much of it ends the client.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let bytes_max = batch::limits(&self.engine, &self.session).call_bytes_max;
        loop {
            ready!(BUFFERS.with_borrow_mut(|buffers| self.poll_read_more(cx, &mut buffers.input)))?;
            self.has_calls = !self.input.is_empty();
            self.session.client.note_query(&self.input);
            self.weigh();
            if self.eof {
                return Poll::Ready(Ok(()));
            }
            if self.input.len() > bytes_max {
                let error = "the client has sent more ahead than client-query-buffer-limit";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

/// Longest sleep that a timer takes; whoever waits longer looks again in between.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

async fn sleep(time: Duration) {
    tokio::time::sleep(time.min(SLEEP_MAX)).await;
}
