//! The part of a connection that other threads may reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::inbox::{Mail, Mailbox, Wake};
use super::output::{Limit, Limits};
use super::waiter::Waiter;
use super::{ReplyMode, Session};
use crate::access::secret::Digest;

/// How a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Resp,
    Http,
    Embedded,
    /// The log, replayed at a start.
    Log,
}

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
    pub shard_subscriptions: AtomicU32,
    /// Calls queued in MULTI; -1 outside.
    pub queued: AtomicI64,
    pub watches: AtomicU32,
    /// Who hears of changes to what it has read: 0 is itself, -1 nobody.
    pub redirect: AtomicI64,
    pub monitor: AtomicBool,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// Its call waits for the end of a pause.
    pub held: AtomicBool,
    /// Bytes waiting unparsed, and unsent; kept by the connection.
    pub query_bytes: AtomicUsize,
    /// Bytes that the buffer of the first has beyond them.
    pub query_free_bytes: AtomicUsize,
    pub output_bytes: AtomicUsize,
    /// Bytes that the session holds: calls queued in MULTI, names of watched keys, names of subscriptions, prefixes of
    /// keys that it hears of.
    pub multi_bytes: AtomicUsize,
    pub watch_bytes: AtomicUsize,
    pub subscription_bytes: AtomicUsize,
    pub prefix_bytes: AtomicUsize,
    /// What the registry has counted for it; none when it counts no more.
    pub(super) counted_bytes: Mutex<Option<usize>>,
    pub total_in: AtomicU64,
    pub total_out: AtomicU64,
    pub calls: AtomicU64,
    pub info: Mutex<ClientInfo>,
    mailbox: Mailbox,
    output_limits: Arc<Limits>,
    /// Since when more waits for it than its soft limit; 0 when it does not.
    large_since_ms: AtomicI64,
    /// The blocking call that it waits in.
    pub blocked: Mutex<Option<Arc<Waiter>>>,
}

/// What a client takes that has nothing: this, its session, and the door's part, which is about as large.
const CLIENT_BYTES: usize = 2 * (size_of::<Client>() + size_of::<Session>());

/// What [`Client::look_at_output`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputState {
    Small,
    /// It is looked at again.
    Large,
    /// The client is to be ended.
    TooLarge,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    pub name: String,
    pub lib_name: String,
    pub lib_ver: String,
    pub user: Arc<str>,
    /// Of the API key that it came with.
    pub key: Option<Digest>,
}

impl Client {
    pub fn new(id: u64, door: Door, addr: String, laddr: String, now_ms: i64, output_limits: Arc<Limits>) -> Client {
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
            shard_subscriptions: AtomicU32::new(0),
            queued: AtomicI64::new(-1),
            watches: AtomicU32::new(0),
            redirect: AtomicI64::new(-1),
            monitor: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            held: AtomicBool::new(false),
            query_bytes: AtomicUsize::new(0),
            query_free_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            multi_bytes: AtomicUsize::new(0),
            watch_bytes: AtomicUsize::new(0),
            subscription_bytes: AtomicUsize::new(0),
            prefix_bytes: AtomicUsize::new(0),
            counted_bytes: Mutex::new(Some(0)),
            total_in: AtomicU64::new(0),
            total_out: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            info: Mutex::new(ClientInfo::default()),
            mailbox: Mailbox::default(),
            output_limits,
            large_since_ms: AtomicI64::new(0),
            blocked: Mutex::new(None),
        }
    }

    /// What its connection has read and not run yet.
    #[inline]
    pub fn note_query(&self, input: &Vec<u8>) {
        self.query_bytes.store(input.len(), Ordering::Relaxed);
        self.query_free_bytes.store(input.capacity() - input.len(), Ordering::Relaxed);
    }

    /// Memory that it takes, about.
    pub fn memory_bytes(&self) -> usize {
        let parts = [
            &self.query_bytes,
            &self.output_bytes,
            &self.multi_bytes,
            &self.watch_bytes,
            &self.subscription_bytes,
            &self.prefix_bytes,
        ];
        let mail_bytes = if self.has_mail() { self.mailbox.bytes() } else { 0 };
        CLIENT_BYTES + mail_bytes + parts.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>()
    }

    /// Bytes in the inbox.
    pub fn mail_bytes(&self) -> usize {
        self.mailbox.bytes()
    }

    /// True when its call waits: for keys, or for the end of a pause.
    pub fn waits(&self) -> bool {
        self.held.load(Ordering::Relaxed) || self.blocked.lock().is_some()
    }

    /// True when it has subscriptions.
    pub fn listens(&self) -> bool {
        [&self.subscriptions, &self.patterns, &self.shard_subscriptions]
            .iter()
            .any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Puts `mail` behind everything that is in the inbox, and wakes the client's task. `seen` is the log offset that
    /// must be settled before the mail leaves.
    pub fn send(&self, mail: Mail, seen: u64) {
        self.put(mail, seen).into_iter().for_each(Waker::wake);
    }

    /// [`Client::send`] for a caller that holds locks: it wakes the client's task when they are gone.
    #[must_use = "the client is asleep until it is woken"]
    pub fn put(&self, mail: Mail, seen: u64) -> Option<Waker> {
        let unsent = self.output_bytes.load(Ordering::Relaxed);
        let bytes_max = match (&mail, self.is_listener()) {
            (_, true) => self.output_limits.pubsub.hard_bytes().saturating_sub(unsent),
            (Mail::Served(_), false) => self.output_limits.normal.hard_bytes().saturating_sub(unsent),
            // It did not subscribe, and hears things all the same (CLIENT TRACKING, events): they count alone.
            (_, false) => self.output_limits.pubsub.hard_bytes(),
        };
        let put = self.mailbox.put(mail, seen, bytes_max);
        if put.is_last {
            self.output_limits.note_closed();
        }
        self.output_limits.note(put.bytes + unsent);
        put.waker
    }

    fn is_listener(&self) -> bool {
        self.listens() || self.monitor.load(Ordering::Relaxed)
    }

    /// The limit of its class, for all that waits for it.
    fn output_limit(&self) -> &Limit {
        if self.is_listener() { &self.output_limits.pubsub } else { &self.output_limits.normal }
    }

    /// Notes how much is unsent; false when it is too much to go on.
    #[inline]
    pub fn note_output(&self, bytes: usize) -> bool {
        self.output_bytes.store(bytes, Ordering::Relaxed);
        let is_within = !self.output_limits.note(bytes) || bytes <= self.output_limit().hard_bytes();
        if !is_within {
            self.output_limits.note_closed();
        }
        is_within
    }

    /// Looks, from time to time, whether too much waits for it: at all, or for too long.
    pub fn look_at_output(&self, now_ms: i64) -> OutputState {
        let waiting = self.output_bytes.load(Ordering::Relaxed) + self.mailbox.bytes();
        let limit = self.output_limit();
        if waiting > limit.hard_bytes() {
            return OutputState::TooLarge;
        }
        if waiting <= limit.soft_bytes() {
            self.large_since_ms.store(0, Ordering::Relaxed);
            return OutputState::Small;
        }
        match self.large_since_ms.load(Ordering::Relaxed) {
            0 => self.large_since_ms.store(now_ms, Ordering::Relaxed),
            since_ms if now_ms.saturating_sub(since_ms).unsigned_abs() > limit.soft_ms() => {
                return OutputState::TooLarge;
            }
            _ => {}
        }
        OutputState::Large
    }

    #[inline]
    pub fn has_mail(&self) -> bool {
        self.mailbox.has_mail()
    }

    /// Takes all mail and writes it with `reply`; the session's `seen` rises with it. True when the reply to the call
    /// that the client is blocked in was among it: other mail may come before and after that reply.
    pub fn take_mail(session: &mut Session, reply: &mut dyn crate::Reply) -> bool {
        let mut is_served = false;
        for (mail, seen) in session.client.mailbox.take() {
            let answers = matches!(mail, Mail::Served(_));
            is_served |= answers;
            // CLIENT REPLY OFF is about answers, not about messages.
            if !answers || session.replies == ReplyMode::On {
                mail.write(reply);
            }
            session.seen = session.seen.max(seen);
        }
        is_served
    }

    /// Takes all mail, for a door that writes it in its own way; the session's `seen` rises with it.
    pub fn take_each(session: &mut Session, mut take: impl FnMut(Mail)) {
        for (mail, seen) in session.client.mailbox.take() {
            session.seen = session.seen.max(seen);
            take(mail);
        }
    }

    /// Items in the inbox.
    pub fn mail_count(&self) -> usize {
        self.mailbox.count()
    }

    /// Ends the connection: its task closes it as soon as it looks. What it waits for is not served any more.
    pub fn kill(&self) {
        self.mailbox.kill();
    }

    #[inline]
    pub fn is_killed(&self) -> bool {
        self.mailbox.is_killed()
    }

    /// Something to do: mail or the end. Registers `waker` for when there is nothing yet.
    pub fn poll_wake(&self, waker: &Waker) -> Option<Wake> {
        self.mailbox.poll(waker)
    }

    /// Whether it was ended, for a task that cannot take mail now. Registers `waker` for that, and for more mail.
    pub fn poll_killed(&self, waker: &Waker) -> bool {
        self.mailbox.poll_killed(waker)
    }

    /// Waits until the client was killed, whatever mail it has.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + '_ {
        std::future::poll_fn(|cx| match self.poll_killed(cx.waker()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
    }

    /// Waits until there is mail or the client was killed.
    pub fn woken(&self) -> impl Future<Output = Wake> + Send + '_ {
        std::future::poll_fn(|cx| match self.poll_wake(cx.waker()) {
            Some(wake) => std::task::Poll::Ready(wake),
            None => std::task::Poll::Pending,
        })
    }
}
