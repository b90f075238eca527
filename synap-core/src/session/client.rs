//! The part of a connection that other threads may reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::inbox::{Inbox, Mail};
use super::waiter::Waiter;
use super::{ReplyMode, Session};

/// How a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Resp,
    Http,
    Embedded,
}

/// Mail beyond this many bytes ends the client: it does not read what it asked for. Redis' hard limit for `pubsub`.
pub const INBOX_BYTES_MAX: usize = 32 << 20;

/// One client, as the registry and other sessions see it.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    pub door: Door,
    /// Peer and local address as text.
    pub addr: String,
    pub laddr: String,
    pub created_ms: i64,
    pub last_active_ms: AtomicI64,
    pub db: AtomicU32,
    pub resp3: AtomicBool,
    /// Id of the row that ran last; `u32::MAX` before the first.
    pub last_row: AtomicU32,
    pub subscriptions: AtomicU32,
    pub patterns: AtomicU32,
    /// Calls queued in MULTI; -1 outside.
    pub queued: AtomicI64,
    pub watches: AtomicU32,
    pub monitor: AtomicBool,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// Bytes waiting unparsed, and unsent; kept by the connection.
    pub query_bytes: AtomicUsize,
    pub output_bytes: AtomicUsize,
    pub total_in: AtomicU64,
    pub total_out: AtomicU64,
    pub calls: AtomicU64,
    pub info: Mutex<ClientInfo>,
    inbox: Mutex<Inbox>,
    /// Set while the inbox is not empty: one load tells a session that it has no mail.
    has_mail: AtomicBool,
    killed: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// The blocking call that it waits in.
    pub blocked: Mutex<Option<Arc<Waiter>>>,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    pub name: String,
    pub lib_name: String,
    pub lib_ver: String,
    pub user: Arc<str>,
}

/// Why a client's task was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    Mail,
    Killed,
}

impl Client {
    pub fn new(id: u64, door: Door, addr: String, laddr: String, now_ms: i64) -> Client {
        Client {
            id,
            door,
            addr,
            laddr,
            created_ms: now_ms,
            last_active_ms: AtomicI64::new(now_ms),
            db: AtomicU32::new(0),
            resp3: AtomicBool::new(false),
            last_row: AtomicU32::new(u32::MAX),
            subscriptions: AtomicU32::new(0),
            patterns: AtomicU32::new(0),
            queued: AtomicI64::new(-1),
            watches: AtomicU32::new(0),
            monitor: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            query_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            total_in: AtomicU64::new(0),
            total_out: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            info: Mutex::new(ClientInfo::default()),
            inbox: Mutex::new(Inbox::default()),
            has_mail: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            waker: Mutex::new(None),
            blocked: Mutex::new(None),
        }
    }

    /// Puts `mail` behind everything that is in the inbox, and wakes the client's task. `seen` is the log offset that
    /// must be settled before the mail leaves.
    pub fn send(&self, mail: Mail, seen: u64) {
        let full = {
            let mut inbox = self.inbox.lock();
            if inbox.bytes() > INBOX_BYTES_MAX {
                // It is ended already.
                return;
            }
            inbox.put(mail, seen);
            self.has_mail.store(true, Ordering::Release);
            inbox.bytes() > INBOX_BYTES_MAX
        };
        if full {
            self.kill();
        } else {
            self.wake();
        }
    }

    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Takes all mail and writes it with `reply`; the session's `seen` rises with it.
    pub fn take_mail(session: &mut Session, reply: &mut dyn crate::Reply) {
        let items = {
            let mut inbox = session.client.inbox.lock();
            session.client.has_mail.store(false, Ordering::Release);
            inbox.take()
        };
        for (mail, seen) in items {
            // CLIENT REPLY OFF is about answers, not about messages.
            if session.replies == ReplyMode::On || !matches!(mail, Mail::Served(_)) {
                mail.write(reply);
            }
            session.seen = session.seen.max(seen);
        }
    }

    /// Items in the inbox.
    pub fn mail_count(&self) -> usize {
        self.inbox.lock().len()
    }

    /// Ends the connection: its task closes it as soon as it looks.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake();
    }

    #[inline]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Something to do: mail or the end. Registers `waker` for when there is nothing yet.
    pub fn poll_wake(&self, waker: &Waker) -> Option<Wake> {
        if let Some(wake) = self.pending() {
            return Some(wake);
        }
        self.register(waker);
        // Looked at again after the waker stands: a sender in between found the old one.
        self.pending()
    }

    /// Whether it was ended, for a task that cannot take mail now. Registers `waker` for that, and for more mail.
    pub fn poll_killed(&self, waker: &Waker) -> bool {
        self.register(waker);
        self.is_killed()
    }

    fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
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

    /// Waits until there is mail or the client was killed.
    pub fn woken(&self) -> impl Future<Output = Wake> + Send + '_ {
        std::future::poll_fn(|cx| match self.poll_wake(cx.waker()) {
            Some(wake) => std::task::Poll::Ready(wake),
            None => std::task::Poll::Pending,
        })
    }
}
