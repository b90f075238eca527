//! What others have for a client, in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::reply::{Reply, Tape};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// One thing for a client.
#[derive(Clone, Debug)]
pub enum Mail {
    Message(Message),
    /// A line of MONITOR.
    Monitor(Arc<str>),
    /// The reply to the call that the client is blocked in.
    Served(Tape),
    /// Keys that somebody has read are others now; all of them when none is named.
    Invalidate(Option<Vec<Arc<[u8]>>>),
    /// The client with this id was to hear of changes, and has gone.
    RedirectBroken(u64),
    /// A key that the client listens to has changed.
    Change(Arc<Change>),
}

/// What happened to a key, or to all keys of a database.
#[derive(Clone, Debug)]
pub struct Change {
    /// `None` when it happened to all of them.
    pub key: Option<Box<[u8]>>,
    /// As keyspace notifications name it.
    pub event: &'static str,
    /// The name of the type of what is there now; `None` when nothing is.
    pub kind: Option<&'static str>,
    /// The bytes of a string that is short enough to be sent along.
    pub value: Option<Box<[u8]>>,
}

impl Change {
    /// Strings up to this many bytes are sent with their event: it is made while their shard is locked.
    pub const VALUE_BYTES_MAX: usize = 64 << 10;
}

/// A published message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The pattern that matched, for a pattern subscription.
    pub pattern: Option<Arc<[u8]>>,
    /// It came through a shard channel.
    pub is_shard: bool,
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
            Mail::Change(change) => {
                change.key.as_ref().map_or(0, |key| key.len())
                    + change.value.as_ref().map_or(0, |value| value.len())
                    + 96
            }
            Mail::Invalidate(keys) => 32 + keys.iter().flatten().map(|key| key.len() + 16).sum::<usize>(),
            Mail::RedirectBroken(_) => 16,
        }
    }

    /// Writes it in the receiver's protocol.
    pub fn write(&self, reply: &mut dyn Reply) {
        match self {
            Mail::Message(Message { pattern: None, is_shard, channel, payload }) => {
                reply.push(3);
                reply.bulk(if *is_shard { b"smessage" } else { b"message" });
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Mail::Message(Message { pattern: Some(pattern), channel, payload, .. }) => {
                reply.push(4);
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Mail::Monitor(line) => reply.status(line),
            Mail::Served(tape) => tape.play(reply),
            Mail::Change(change) => {
                reply.push(4);
                reply.text("change");
                reply.text(change.event);
                for bytes in [&change.key, &change.value] {
                    match bytes {
                        Some(bytes) => reply.bulk(bytes),
                        None => reply.null(),
                    }
                }
            }
            Mail::Invalidate(keys) => {
                if reply.resp3() {
                    reply.push(2);
                    reply.bulk(b"invalidate");
                } else {
                    // As a message of a channel: nothing else can come by itself in RESP2.
                    reply.push(3);
                    reply.bulk(b"message");
                    reply.bulk(b"__redis__:invalidate");
                }
                match keys {
                    Some(keys) => {
                        reply.array(keys.len());
                        keys.iter().for_each(|key| reply.bulk(key));
                    }
                    None => reply.null_array(),
                }
            }
            Mail::RedirectBroken(id) => {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.int(*id as i64);
            }
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

/// Why a client's task was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    Mail,
    Killed,
}

/// What [`Mailbox::put`] has come to.
#[must_use = "the client is asleep until it is woken"]
pub struct Put {
    pub waker: Option<Waker>,
    /// Of all mail that is there.
    pub bytes: usize,
    /// It was too much, and has ended the client.
    pub is_last: bool,
}

/// An inbox that others put into, with the bell of the one who takes out.
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    /// Set while the inbox is not empty: one load tells a session that it has no mail.
    has_mail: AtomicBool,
    killed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox {
            inbox: Mutex::new(Inbox::default()),
            has_mail: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("has_mail", &self.has_mail()).finish_non_exhaustive()
    }
}

impl Mailbox {
    /// Puts `mail` behind everything that is there. Whoever gets a waker wakes it once it holds no lock. More than
    /// `bytes_max` end the client, which does not read what it asked for; what comes then is dropped, but for what was
    /// popped for it.
    pub fn put(&self, mail: Mail, seen: u64, bytes_max: usize) -> Put {
        let is_last;
        let bytes = {
            let mut inbox = self.inbox.lock();
            if self.is_killed() && !matches!(mail, Mail::Served(_)) {
                return Put { waker: None, bytes: inbox.bytes(), is_last: false };
            }
            inbox.put(mail, seen);
            self.has_mail.store(true, Ordering::Release);
            is_last = inbox.bytes() > bytes_max && !self.killed.swap(true, Ordering::AcqRel);
            inbox.bytes()
        };
        Put { waker: self.waker.lock().take(), bytes, is_last }
    }

    /// Takes everything, each with the log offset that must be settled before it leaves.
    pub fn take(&self) -> VecDeque<(Mail, u64)> {
        let mut inbox = self.inbox.lock();
        self.has_mail.store(false, Ordering::Release);
        inbox.take()
    }

    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Items in the inbox.
    pub fn count(&self) -> usize {
        self.inbox.lock().len()
    }

    /// Bytes in the inbox.
    pub fn bytes(&self) -> usize {
        self.inbox.lock().bytes()
    }

    /// Ends the client: its task closes the connection as soon as it looks.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }

    #[inline]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Something to do: mail or the end. Registers `waker` for when there is nothing yet.
    pub fn poll(&self, waker: &Waker) -> Option<Wake> {
        if let Some(wake) = self.pending() {
            return Some(wake);
        }
        self.register(waker);
        // Looked at again after the waker stands: a sender in between found the old one.
        self.pending()
    }

    /// Whether it was ended. Registers `waker` for that, and for more mail, though there be some already.
    pub fn poll_killed(&self, waker: &Waker) -> bool {
        self.register(waker);
        self.is_killed()
    }

    fn register(&self, waker: &Waker) {
        let old = {
            let mut slot = self.waker.lock();
            let known = slot.as_ref().is_some_and(|known| known.will_wake(waker));
            if known { None } else { slot.replace(waker.clone()) }
        };
        drop(old); // without the lock
    }

    fn pending(&self) -> Option<Wake> {
        if self.is_killed() {
            Some(Wake::Killed)
        } else if self.has_mail() {
            Some(Wake::Mail)
        } else {
            None
        }
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_search {
    use super::*;
    use crate::sync::{block_on, search, thread};

    fn line(number: u64) -> Mail {
        Mail::Monitor(number.to_string().into())
    }

    async fn woken(mailbox: &Mailbox) -> Wake {
        std::future::poll_fn(|cx| mailbox.poll(cx.waker()).map_or(std::task::Poll::Pending, std::task::Poll::Ready))
            .await
    }

    /// No wake-up is lost (a schedule in which everybody sleeps fails), and each sender's mail comes in its order.
    #[test]
    fn all_mail_arrives_in_order_and_then_the_end() {
        search(|| {
            let mailbox = Arc::new(Mailbox::default());
            let senders: Vec<_> = (0..2)
                .map(|sender| {
                    let mailbox = mailbox.clone();
                    thread::spawn(move || {
                        for number in 0..2 {
                            let waker = mailbox.put(line(number), sender, usize::MAX).waker;
                            waker.into_iter().for_each(Waker::wake);
                        }
                    })
                })
                .collect();
            let mut next = [0, 0];
            while next != [2, 2] {
                assert_eq!(block_on(woken(&mailbox)), Wake::Mail);
                for (mail, sender) in mailbox.take() {
                    let Mail::Monitor(text) = mail else { panic!("a line") };
                    assert_eq!(*text, *next[sender as usize].to_string());
                    next[sender as usize] += 1;
                }
            }
            let killer = {
                let mailbox = mailbox.clone();
                thread::spawn(move || mailbox.kill())
            };
            assert_eq!(block_on(woken(&mailbox)), Wake::Killed);
            senders.into_iter().chain([killer]).for_each(|thread| thread.join().unwrap());
        });
    }
}
