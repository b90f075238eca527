//! Bodies of responses: whole ones, and those that come piece by piece.
//!
//! A body in pieces is a future that sends them, and it is polled only when the connection takes more: whoever does not
//! read holds it up (back-pressure), and what it does ends with the request. No task of its own is left behind.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What a response carries.
pub enum Body {
    Whole(Full<Bytes>),
    Pieces(Pieces),
}

type Running = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

pub struct Pieces {
    /// None when it has ended.
    running: Option<Running>,
    pieces: Receiver<Bytes>,
}

/// Where a running body sends its pieces to.
pub struct Out(Sender<Bytes>);

impl Out {
    /// Waits until the connection takes it. Whoever does not take it has gone, and with it the caller.
    pub async fn send(&self, piece: impl Into<Bytes>) {
        let _ = self.0.send(piece.into()).await;
    }
}

impl Body {
    /// A body that `run` sends. When it ends with an error, the connection is cut, so that nobody takes what came for the
    /// whole.
    pub fn pieces<F>(run: impl FnOnce(Out) -> F) -> Body
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (sender, pieces) = channel(1);
        Body::Pieces(Pieces { running: Some(Box::pin(run(Out(sender)))), pieces })
    }
}

impl Pieces {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Poll::Ready(piece) = self.pieces.poll_recv(cx) {
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            // The sender is gone with the future: without it there would have been an end.
            let Some(running) = &mut self.running else { return Poll::Ready(None) };
            match running.as_mut().poll(cx) {
                Poll::Ready(ended) => {
                    self.running = None;
                    if let Err(error) = ended {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                // What it has sent meanwhile has woken us.
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(cx).map_err(|never| match never {}),
            Body::Pieces(pieces) => pieces.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(whole) => whole.is_end_stream(),
            Body::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Pieces(_) => SizeHint::default(),
        }
    }
}
