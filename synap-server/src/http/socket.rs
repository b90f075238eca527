//! A connection's socket that gives up on a peer who does not read, and says what was wrong with a head that nobody could
//! read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use synap_protocols::problem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::stream::Stream;

/// How an answer begins that says what the client did wrong. Few do, so few are looked at.
const REFUSAL: &[u8] = b"HTTP/1.1 4";
/// How the library's own answers go on behind the first line. Ours have a type and a body.
const BARE: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n";

pub struct Socket {
    stream: Stream,
    patience: Duration,
    /// Since when nothing could be written; made when it is needed.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What goes out in the place of an answer without a body, as far as it has not gone.
    instead: Option<Instead>,
}

struct Instead {
    bytes: Vec<u8>,
    sent: usize,
    /// How long the answer is that it replaces.
    length: usize,
}

impl Socket {
    /// Writing fails when the peer takes nothing for so long.
    pub fn new(stream: Stream, patience: Duration) -> Socket {
        Socket { stream, patience, stalled: None, instead: None }
    }

    /// Writes the problem in the place of `bare`, which is taken as written when all of it is.
    fn poll_instead(&mut self, cx: &mut Context<'_>, bare: &[u8]) -> Poll<io::Result<usize>> {
        let mut instead = match self.instead.take() {
            Some(begun) => begun,
            None => Instead { bytes: explained(bare), sent: 0, length: bare.len() },
        };
        while instead.sent < instead.bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &instead.bytes[instead.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => instead.sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.instead = Some(instead);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(instead.length))
    }

    fn watched<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match is_bare(bytes) {
            false => Pin::new(&mut self.stream).poll_write(cx, bytes),
            true => self.poll_instead(cx, bytes),
        };
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match bytes {
            [bare] if is_bare(bare) => self.poll_instead(cx, bare),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bytes),
        };
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Such an answer is no longer.
const BARE_BYTES_MAX: usize = 256;

/// Whether this is an answer that the HTTP library gives by itself to a head that is none.
fn is_bare(bytes: &[u8]) -> bool {
    bytes.len() <= BARE_BYTES_MAX
        && bytes.ends_with(b"\r\n\r\n")
        && bytes.starts_with(REFUSAL)
        && memchr::memchr(b'\r', bytes).is_some_and(|end| bytes[end..].starts_with(BARE))
}

/// The same status with a body that programs and people can read.
fn explained(bare: &[u8]) -> Vec<u8> {
    let status = bare.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(400);
    let detail = match status {
        414 => "the first line of the request is too long",
        431 => "the head of the request is too large",
        _ => "this is no HTTP request",
    };
    let problem = problem::of_status(status, detail);
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        problem::title(status),
        problem::CONTENT_TYPE,
        problem.body.len()
    );
    [head.as_bytes(), problem.body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair(patience: Duration) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        (Socket::new(Stream::Tcp(listener.accept().await.expect("a connection").0), patience), peer)
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut socket, _peer) = pair(Duration::from_millis(50)).await;
        let ended = socket.write_all(&vec![0; 64 << 20]).await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_now_and_then_is_not() {
        let (mut socket, mut peer) = pair(Duration::from_millis(400)).await;
        let reads = tokio::spawn(async move {
            let mut bytes = vec![0; 1 << 20];
            let mut count = 0;
            while count < 16 << 20 {
                count += peer.read(&mut bytes).await.expect("bytes");
                sleep(Duration::from_millis(20)).await;
            }
        });
        socket.write_all(&vec![0; 16 << 20]).await.expect("all is taken");
        reads.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_bare_refusal_is_explained_and_others_are_left_alone() {
        const LIBRARY: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: x\r\n\r\n";
        const OURS: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx";
        let (mut socket, mut peer) = pair(Duration::from_secs(10)).await;
        socket.write_all(OURS).await.expect("room");
        // As the library writes it: it counts the bytes that it gave.
        let written = socket.write_vectored(&[IoSlice::new(LIBRARY)]).await.expect("room");
        assert_eq!(written, LIBRARY.len());
        drop(socket);
        let mut text = String::new();
        peer.read_to_string(&mut text).await.expect("text");
        let rest = text.strip_prefix(std::str::from_utf8(OURS).expect("text")).expect("ours comes as it is");
        let (head, body) = rest.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 431 ") && head.contains("application/problem+json"), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("the head of the request is too large"), "{body}");
    }
}
