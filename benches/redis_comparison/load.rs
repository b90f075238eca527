//! The load: connections that each send a batch of calls, wait for its replies, check every one, and send the next.
//!
//! It must be cheaper than the server it drives, or it would measure itself: one thread, one `epoll`, one read and one
//! write for each batch, and calls that are copies of a template with the numbers written in.

use std::io::{ErrorKind, Read, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Result;
use super::client::{PATIENCE, Reply, parse, quote_call};
use super::histogram::Histogram;
use super::rows::{Draws, Expect, KEY_DIGITS, Row, Template};
use super::servers::Server;
use super::system::{self, Cores};

/// One measurement.
#[derive(Clone)]
pub struct Plan {
    pub row: Row,
    pub connections: u64,
    pub pipeline: u64,
    pub threads: u64,
    /// All calls of all threads; a multiple of `pipeline` × `threads`.
    pub operations: u64,
    pub seed: u64,
    pub keys: u64,
    /// Four bytes that begin the values which this measurement writes.
    pub tag: String,
}

impl Plan {
    /// The calls of each thread.
    pub fn draws(&self) -> impl Iterator<Item = Draws> {
        let elements = self.row.element_range();
        (0..self.threads).map(move |thread| Draws::new(self.seed ^ (thread << 56), self.keys, elements))
    }

    pub fn operations_each(&self) -> u64 {
        self.operations / self.threads
    }

    /// The least number of operations that is at least this and that the plan can share out.
    pub fn round_up(&self, operations: u64) -> u64 {
        operations.next_multiple_of(self.pipeline * self.threads)
    }
}

/// What one measurement found.
pub struct Outcome {
    pub operations: u64,
    pub elapsed: Duration,
    pub server_time: Duration,
    pub load_time: Duration,
    pub latency: Histogram,
    /// The sum of all integer replies; for [`Expect::SameAsTheirs`], with the elements of all others.
    pub sum: i64,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    pub fn server_us_each(&self) -> f64 {
        self.server_time.as_secs_f64() * 1e6 / self.operations as f64
    }
}

pub fn drive(server: &Server, plan: &Plan, cores: &Cores) -> Result<Outcome> {
    run(server, plan, cores, &AtomicBool::new(false), || Ok(())).map(|(outcome, ())| outcome)
}

/// The same load until `beside` returns, which runs meanwhile on the load's cores; there is no other end.
pub fn drive_beside<T: Send>(
    server: &Server,
    plan: &Plan,
    cores: &Cores,
    beside: impl FnOnce() -> Result<T> + Send,
) -> Result<(Outcome, T)> {
    // Far more than can be done, and still to be counted.
    let endless = Plan { operations: plan.round_up(u64::MAX >> 8), ..plan.clone() };
    let is_over = AtomicBool::new(false);
    run(server, &endless, cores, &is_over, || {
        let found = system::pin(&cores.load).map_err(cannot_pin).and_then(|()| beside());
        // Also when it failed: nobody else ends the load.
        is_over.store(true, Ordering::Relaxed);
        found
    })
}

fn cannot_pin(error: std::io::Error) -> String {
    format!("cannot bind the load to its cores: {error}")
}

fn run<T: Send>(
    server: &Server,
    plan: &Plan,
    cores: &Cores,
    is_over: &AtomicBool,
    beside: impl FnOnce() -> Result<T> + Send,
) -> Result<(Outcome, T)> {
    let mut threads = Vec::new();
    for (thread, draws) in plan.draws().enumerate() {
        let share = plan.connections / plan.threads + u64::from((thread as u64) < plan.connections % plan.threads);
        threads.push(LoadThread::new(server, plan, draws, share.max(1))?);
    }

    let barrier = Barrier::new(threads.len() + 1);
    let (results, found, elapsed, server_time) = std::thread::scope(|scope| {
        let handles: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let pinned = system::pin(&cores.load);
                    barrier.wait();
                    pinned.map_err(cannot_pin)?;
                    thread.run(is_over)
                })
            })
            .collect();
        let server_before = server.processor_time();
        barrier.wait();
        let start = Instant::now();
        let beside = scope.spawn(beside);
        let results: Vec<Result<Share>> = handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err("a thread of the load panicked".to_owned())))
            .collect();
        let elapsed = start.elapsed();
        let found = beside.join().unwrap_or_else(|_| Err("what ran beside the load panicked".to_owned()));
        (results, found, elapsed, server.processor_time().and_then(|after| Ok(after.saturating_sub(server_before?))))
    });

    let mut outcome = Outcome {
        operations: 0,
        elapsed,
        server_time: Duration::ZERO,
        load_time: Duration::ZERO,
        latency: Histogram::new(),
        sum: 0,
    };
    for share in results {
        let share =
            share.map_err(|error| server.explain(&format!("{} on {}: {error}", plan.row.name(), server.name)))?;
        outcome.operations += share.operations;
        outcome.latency.merge(&share.latency);
        outcome.load_time += share.time;
        outcome.sum += share.sum;
    }
    outcome.server_time = server_time?;
    Ok((outcome, found?))
}

/// What one thread of the load brings home.
struct Share {
    operations: u64,
    latency: Histogram,
    time: Duration,
    sum: i64,
}

struct LoadThread {
    poll: Poll,
    connections: Vec<Connection>,
    sender: Sender,
    receiver: Receiver,
}

struct Connection {
    stream: TcpStream,
    /// The batch as sent; replies are checked against it.
    request: Vec<u8>,
    /// How much of the batch has been written.
    written: usize,
    /// Replies that are still to come.
    awaited: usize,
    /// A reply that has not come to its end.
    partial: Vec<u8>,
    sent_at: Instant,
}

struct Sender {
    template: Template,
    draws: Draws,
    pipeline: usize,
    batches_left: u64,
}

struct Receiver {
    buffer: Box<[u8]>,
    expect: Expect,
    call_length: usize,
    key_at: usize,
    batches_left: u64,
    latency: Histogram,
    sum: i64,
}

impl LoadThread {
    fn new(server: &Server, plan: &Plan, draws: Draws, connections: u64) -> Result<LoadThread> {
        let fail = |error: std::io::Error| format!("cannot wait for connections: {error}");
        let template = plan.row.template(&plan.tag);
        let poll = Poll::new().map_err(fail)?;
        let mut opened = Vec::new();
        for index in 0..connections {
            // A call before the measurement: the server has accepted the connection and made its buffers.
            let mut client = server.client()?;
            client.ping()?;
            let stream = client.into_stream();
            stream.set_nonblocking(true).map_err(fail)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index as usize), interest).map_err(fail)?;
            let request = template.text().repeat(plan.pipeline as usize);
            let partial = Vec::new();
            opened.push(Connection { stream, request, written: 0, awaited: 0, partial, sent_at: Instant::now() });
        }
        let batches = plan.operations_each() / plan.pipeline;
        Ok(LoadThread {
            poll,
            connections: opened,
            receiver: Receiver {
                buffer: vec![0; 64 << 10].into(),
                expect: plan.row.expect(),
                call_length: template.len(),
                key_at: template.key_at(),
                batches_left: batches,
                latency: Histogram::new(),
                sum: 0,
            },
            sender: Sender { template, draws, pipeline: plan.pipeline as usize, batches_left: batches },
        })
    }

    fn run(mut self, is_over: &AtomicBool) -> Result<Share> {
        let start = system::thread_time();
        let mut batches = self.receiver.batches_left;
        for connection in &mut self.connections {
            self.sender.next_batch(connection)?;
        }
        let mut events = Events::with_capacity(self.connections.len());
        while self.receiver.batches_left > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("cannot wait for replies: {error}")),
                Ok(()) if events.is_empty() => return Err(format!("no reply for {} seconds", PATIENCE.as_secs())),
                Ok(()) => {}
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if connection.written < connection.request.len() && connection.awaited > 0 {
                    connection.flush()?;
                }
                if event.is_readable() && self.receiver.receive(connection)? {
                    self.sender.next_batch(connection)?;
                }
            }
            if is_over.load(Ordering::Relaxed) {
                // No more is sent; what was sent is still awaited.
                let unsent = std::mem::take(&mut self.sender.batches_left);
                batches -= unsent;
                self.receiver.batches_left -= unsent;
            }
        }
        let time = system::thread_time().saturating_sub(start);
        let operations = batches * self.sender.pipeline as u64;
        Ok(Share { operations, latency: self.receiver.latency, time, sum: self.receiver.sum })
    }
}

impl Sender {
    fn next_batch(&mut self, connection: &mut Connection) -> Result<()> {
        if self.batches_left == 0 {
            return Ok(());
        }
        self.batches_left -= 1;
        for (call, draw) in connection.request.chunks_exact_mut(self.template.len()).zip(&mut self.draws) {
            self.template.fill(call, draw);
        }
        connection.awaited = self.pipeline;
        connection.written = 0;
        connection.sent_at = Instant::now();
        connection.flush()
    }
}

impl Connection {
    /// Writes what the socket takes; the rest follows when it is writable again.
    fn flush(&mut self) -> Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot write: {error}")),
            }
        }
        Ok(())
    }
}

impl Receiver {
    /// Answers whether the batch is complete.
    fn receive(&mut self, connection: &mut Connection) -> Result<bool> {
        loop {
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("cannot read: {error}")),
            };
            let mut checker = Checker {
                expect: self.expect,
                call_length: self.call_length,
                key_at: self.key_at,
                request: &connection.request,
                awaited: &mut connection.awaited,
                sum: &mut self.sum,
            };
            if connection.partial.is_empty() {
                let used = checker.check_all(&self.buffer[..count])?;
                connection.partial.extend_from_slice(&self.buffer[used..count]);
            } else {
                connection.partial.extend_from_slice(&self.buffer[..count]);
                let used = checker.check_all(&connection.partial)?;
                connection.partial.drain(..used);
            }
            if connection.awaited == 0 {
                if !connection.partial.is_empty() {
                    return Err("more replies than calls".to_owned());
                }
                self.latency.add(connection.sent_at.elapsed());
                self.batches_left -= 1;
                return Ok(true);
            }
            // A short read has emptied the socket, and what comes later is a new event.
            if count < self.buffer.len() {
                return Ok(false);
            }
        }
    }
}

struct Checker<'a> {
    expect: Expect,
    call_length: usize,
    key_at: usize,
    request: &'a [u8],
    awaited: &'a mut usize,
    sum: &'a mut i64,
}

impl Checker<'_> {
    /// Checks all complete replies and answers how long they are. What is left over when none is awaited is the
    /// caller's to find.
    #[inline]
    fn check_all(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while *self.awaited > 0 {
            let Some((reply, length)) = parse(&bytes[at..])? else { break };
            let call_at = self.request.len() - *self.awaited * self.call_length;
            let call = &self.request[call_at..call_at + self.call_length];
            let right = match (self.expect, reply) {
                (Expect::Ok, Reply::Status(b"OK")) | (Expect::Bulk, Reply::Bulk(_)) => true,
                (Expect::Array(expected), Reply::Array(count)) => count == expected,
                (Expect::Int | Expect::SameAsTheirs, Reply::Int(number)) => {
                    *self.sum += number;
                    true
                }
                (Expect::SameAsTheirs, Reply::Array(count)) => {
                    *self.sum += count as i64;
                    true
                }
                (Expect::SameAsTheirs, Reply::Bulk(_)) => {
                    *self.sum += 1;
                    true
                }
                (Expect::SameAsTheirs, Reply::Null) => true,
                (Expect::ValueOfKey, Reply::Bulk(value)) => {
                    value.len() == 4 + KEY_DIGITS && value[4..] == call[self.key_at..self.key_at + KEY_DIGITS]
                }
                _ => false,
            };
            if !right {
                let call = quote_call(call);
                return Err(format!("the reply to {call:?} was {}", reply.quote()));
            }
            at += length;
            *self.awaited -= 1;
        }
        Ok(at)
    }
}
