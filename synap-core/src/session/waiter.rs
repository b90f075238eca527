//! A call that waits for a key to get something: one shared object, ended exactly once.

use std::sync::Arc;

use smallvec::SmallVec;

use super::client::Client;
use crate::access::User;
use crate::grammar::OwnedWords;
use crate::sync::atomic::{AtomicU8, Ordering};

/// How a wait ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WaitEnd {
    Waiting = 0,
    /// Its reply is in the client's inbox.
    Served = 1,
    TimedOut = 2,
    /// CLIENT UNBLOCK … ERROR, or the data set changed hands.
    Unblocked = 3,
    /// The connection was seen to close.
    Gone = 4,
}

/// What a call that waited in vain answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullKind {
    Null,
    NullArray,
}

/// One blocked call. Registered at each of its keys; whoever wins the compare-and-swap ends it.
#[derive(Debug)]
pub struct Waiter {
    pub client: Arc<Client>,
    /// Who it was when the wait began.
    pub user: Option<Arc<User>>,
    pub words: OwnedWords,
    pub db: u32,
    pub resp3: bool,
    /// The keys that it waits on: hash and name.
    pub keys: SmallVec<[(u64, Box<[u8]>); 1]>,
    /// Hash and name of keys that serving it touches besides: the destination of BLMOVE.
    pub reaches: SmallVec<[(u64, Box<[u8]>); 1]>,
    /// Unix time in milliseconds; `None` waits for ever.
    pub deadline_ms: Option<i64>,
    pub on_timeout: NullKind,
    end: AtomicU8,
}

impl Waiter {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        client: Arc<Client>,
        user: Option<Arc<User>>,
        words: OwnedWords,
        db: u32,
        resp3: bool,
        keys: SmallVec<[(u64, Box<[u8]>); 1]>,
        reaches: SmallVec<[(u64, Box<[u8]>); 1]>,
        deadline_ms: Option<i64>,
        on_timeout: NullKind,
    ) -> Waiter {
        Waiter { client, user, words, db, resp3, keys, reaches, deadline_ms, on_timeout, end: AtomicU8::new(0) }
    }

    /// Ends the wait; true for the one caller that did.
    pub fn claim(&self, end: WaitEnd) -> bool {
        self.end.compare_exchange(0, end as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub fn end(&self) -> WaitEnd {
        match self.end.load(Ordering::Acquire) {
            0 => WaitEnd::Waiting,
            1 => WaitEnd::Served,
            2 => WaitEnd::TimedOut,
            3 => WaitEnd::Unblocked,
            _ => WaitEnd::Gone,
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.end() == WaitEnd::Waiting
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_search {
    use shuttle::rand::Rng;

    use super::*;
    use crate::reply::Tape;
    use crate::session::{Door, Mail, Mailbox, Wake};
    use crate::sync::{Mutex, block_on, search, thread};

    /// One key of one shard: its elements, and who waits.
    #[derive(Default)]
    struct Key {
        elements: Vec<u64>,
        waiters: Vec<Arc<Waiter>>,
    }

    fn waiter() -> Arc<Waiter> {
        let client = Arc::new(Client::new(1, Door::Embedded, String::new(), String::new(), 0, Arc::default()));
        let words = OwnedWords::new(&[b"BLPOP"]);
        let (keys, reaches) = Default::default();
        Arc::new(Waiter::new(client, None, words, 0, true, keys, reaches, None, NullKind::Null))
    }

    /// What `execute::waiting` and the door do with a waiter on two keys: it registers under the locks under which it
    /// found nothing; pushes, CLIENT UNBLOCK and its own deadline end it at once. One reply, no element lost.
    #[test]
    fn a_wait_on_two_keys_ends_once() {
        search(|| {
            let keys: Arc<[Mutex<Key>; 2]> = Arc::new([Mutex::new(Key::default()), Mutex::new(Key::default())]);
            let (waiter, mailbox) = (waiter(), Arc::new(Mailbox::default()));
            let mut threads = Vec::new();
            for index in 0..2 {
                let (keys, mailbox) = (keys.clone(), mailbox.clone());
                threads.push(thread::spawn(move || {
                    let mut key = keys[index].lock();
                    key.elements.push(index as u64);
                    let mut waker = None;
                    while let Some(waiter) = key.waiters.pop() {
                        if waiter.claim(WaitEnd::Served) {
                            let element = key.elements.pop().expect("just pushed");
                            waker = mailbox.put(Mail::Served(Tape::new(true)), 10 + element, usize::MAX).waker;
                            break;
                        }
                    }
                    drop(key);
                    waker.into_iter().for_each(std::task::Waker::wake);
                }));
            }
            {
                let (waiter, mailbox) = (waiter.clone(), mailbox.clone());
                threads.push(thread::spawn(move || {
                    if waiter.claim(WaitEnd::Unblocked) {
                        let waker = mailbox.put(Mail::Served(Tape::new(true)), 1, usize::MAX).waker;
                        waker.into_iter().for_each(std::task::Waker::wake);
                    }
                }));
            }
            let (mut popped, mut replies) = (0, 0);
            let found = {
                let (mut one, mut other) = (keys[0].lock(), keys[1].lock());
                let found = one.elements.pop().or_else(|| other.elements.pop());
                if found.is_none() {
                    one.waiters.push(waiter.clone());
                    other.waiters.push(waiter.clone());
                }
                found
            };
            if found.is_some() {
                (popped, replies) = (1, 1);
                waiter.claim(WaitEnd::Gone);
            } else if shuttle::rand::thread_rng().gen_bool(0.5) && waiter.claim(WaitEnd::TimedOut) {
                replies = 1;
            } else {
                let woken = std::future::poll_fn(|cx| match mailbox.poll(cx.waker()) {
                    Some(wake) => std::task::Poll::Ready(wake),
                    None => std::task::Poll::Pending,
                });
                assert_eq!(block_on(woken), Wake::Mail);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            for (_, seen) in mailbox.take() {
                // When it never blocked, CLIENT UNBLOCK may have come first: to a waiter that nobody knows yet.
                replies += usize::from(found.is_none());
                popped += usize::from(seen >= 10);
            }
            let left: usize = keys.iter().map(|key| key.lock().elements.len()).sum();
            assert_eq!((replies, popped + left), (1, 2));
        });
    }
}
