//! Sends keys to another server, for MIGRATE.

use std::io;
use std::time::Duration;

use synap_core::error::{Code, Error};
use synap_core::execute::state::{Arrived, Transfer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Calls that are sent before their answers are heard. Few answers fit into any buffer, so that neither side waits for
/// the other.
const CALLS_UNHEARD_MAX: usize = 64;

/// What is written in one step.
const PIECE_BYTES: usize = 64 << 10;

/// A longer answer is none to AUTH, SELECT or RESTORE.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

const CONNECTING: &str = "error or timeout connecting to the client";
const WRITING: &str = "error or timeout writing to target instance";
const READING: &str = "error or timeout reading to target instance";

pub async fn send(transfer: Transfer) -> Arrived {
    let mut arrived = Arrived { taken: Vec::new(), error: None };
    // What arrived before something went wrong has arrived all the same.
    if let Err(error) = send_all(transfer, &mut arrived).await {
        arrived.error.get_or_insert(error);
    }
    arrived
}

async fn send_all(transfer: Transfer, arrived: &mut Arrived) -> Result<(), Error> {
    let step = Duration::from_millis(transfer.timeout_ms);
    let connecting = TcpStream::connect((transfer.host.as_str(), transfer.port));
    let stream = in_time(step, connecting, CONNECTING).await?;
    // What is sent goes at once: an answer is waited for.
    let _ = stream.set_nodelay(true);
    let mut link = Link { stream: BufReader::new(stream), step };
    for call in &transfer.greeting {
        link.write(call).await?;
    }
    for _ in &transfer.greeting {
        link.answer().await?.map_err(refused)?;
    }
    let mut unheard = 0;
    for call in transfer.calls {
        if unheard == CALLS_UNHEARD_MAX {
            link.hear(arrived).await?;
            unheard -= 1;
        }
        link.write(&call).await?;
        unheard += 1;
    }
    for _ in 0..unheard {
        link.hear(arrived).await?;
    }
    Ok(())
}

fn refused(answer: String) -> Error {
    Error::fmt(format!("Target instance replied with error: {answer}"))
}

async fn in_time<T>(step: Duration, work: impl Future<Output = io::Result<T>>, what: &'static str) -> Result<T, Error> {
    match timeout(step, work).await {
        Ok(Ok(done)) => Ok(done),
        _ => Err(Error::new(Code::IoErr, what)),
    }
}

/// The connection to the target. Each step of it has its own time.
struct Link {
    stream: BufReader<TcpStream>,
    step: Duration,
}

impl Link {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(PIECE_BYTES) {
            in_time(self.step, self.stream.write_all(piece), WRITING).await?;
        }
        Ok(())
    }

    /// Hears the answer to the call that was sent first of those unheard.
    async fn hear(&mut self, arrived: &mut Arrived) -> Result<(), Error> {
        let answer = self.answer().await?;
        arrived.taken.push(answer.is_ok());
        if let Err(error) = answer {
            arrived.error.get_or_insert_with(|| refused(error));
        }
        Ok(())
    }

    /// One line: `Err` is what stands behind the minus of an error.
    async fn answer(&mut self) -> Result<Result<(), String>, Error> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(ANSWER_BYTES_MAX);
        in_time(self.step, limited.read_until(b'\n', &mut line), READING).await?;
        match line.strip_suffix(b"\r\n") {
            Some([b'+', ..]) => Ok(Ok(())),
            Some([b'-', error @ ..]) => Ok(Err(Error::quote(error))),
            // It closed the connection, or it speaks something else.
            _ => Err(Error::new(Code::IoErr, READING)),
        }
    }
}
