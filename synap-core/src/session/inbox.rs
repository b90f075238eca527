//! What others have for a client, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::reply::{Reply, Tape};

/// One thing for a client.
#[derive(Clone, Debug)]
pub enum Mail {
    Message(Message),
    /// A line of MONITOR.
    Monitor(Arc<str>),
    /// The reply to the call that the client is blocked in.
    Served(Tape),
}

/// A published message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The pattern that matched, for a pattern subscription.
    pub pattern: Option<Arc<[u8]>>,
    pub channel: Arc<[u8]>,
    pub payload: Arc<[u8]>,
}

impl Mail {
    /// Bytes that it holds on to, about.
    pub fn size(&self) -> usize {
        match self {
            Mail::Message(m) => m.channel.len() + m.payload.len() + 64,
            Mail::Monitor(line) => line.len() + 16,
            Mail::Served(tape) => tape.size(),
        }
    }

    /// Writes it in the receiver's protocol.
    pub fn write(&self, reply: &mut dyn Reply) {
        match self {
            Mail::Message(Message { pattern: None, channel, payload }) => {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Mail::Message(Message { pattern: Some(pattern), channel, payload }) => {
                reply.push(4);
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Mail::Monitor(line) => reply.status(line),
            Mail::Served(tape) => tape.play(reply),
        }
    }
}

/// The queue itself. Each item carries the log offset that must be settled before it leaves.
#[derive(Debug, Default)]
pub struct Inbox {
    items: VecDeque<(Mail, u64)>,
    bytes: usize,
}

impl Inbox {
    pub fn put(&mut self, mail: Mail, seen: u64) {
        self.bytes += mail.size();
        self.items.push_back((mail, seen));
    }

    pub fn take(&mut self) -> VecDeque<(Mail, u64)> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
