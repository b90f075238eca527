//! Who is connected: the part of a connection that its own task owns ([`Session`]), the part that others may reach
//! ([`Client`]), and the registry of them all.
//!
//! **One ordered output.** The replies of a session's own calls go to its connection's buffer, untouched by others.
//! What others have for it (messages, served waiters, monitor lines) goes to the client's [`Inbox`]. The session takes
//! its mail *between* calls and at the end of a turn, never inside one, so a push stands behind every reply that was
//! computed before it was sent, and the reply of the call that caused it comes first.

mod channels;
mod client;
mod inbox;
mod output;
mod registry;
mod tracking;
mod transaction;
mod waiter;
mod watch;

pub use channels::{Channels, Kind, Subscriptions, key_name, key_of};
pub use client::{Client, ClientInfo, Door, OutputState};
pub use inbox::{Change, Inbox, Mail, Mailbox, Message, Wake};
pub use output::{Limit, Limits};
pub use registry::Registry;
pub use tracking::{Mode as TrackingMode, Tracker, Trackers, Tracking};
pub use transaction::{Condition, Transaction, Wanted};
pub use waiter::{NullKind, WaitEnd, Waiter};
pub use watch::{WatchFlag, Watched, Watches};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::access::User;

/// The part of a connection that only its own task touches.
pub struct Session {
    pub client: Arc<Client>,
    /// The selected database. [`Session::select`] changes it.
    pub db: u32,
    /// `None` until logged in. It may be superseded: `execute::rights` looks, and finds the one of now.
    pub user: Option<Arc<User>>,
    /// Speaks RESP3 (or a door with the same vocabulary). [`Session::speak`] changes it.
    pub resp3: bool,
    /// Between MULTI and EXEC.
    pub transaction: Option<Box<Transaction>>,
    pub watches: Watches,
    pub subscriptions: Subscriptions,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<Tracking>>,
    /// The largest log offset among the shards that this session's unsent replies saw: they leave when it is settled.
    pub seen: u64,
    pub replies: ReplyMode,
    /// How often the pause had been changed when it stopped the last call that it stopped.
    pub paused_at: u64,
    /// How long the answer to the call waits: it had a wrong password.
    pub penalty: Duration,
}

/// `CLIENT REPLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The call after this one is not answered.
    SkipNext,
    /// This call is not answered.
    Skip,
}

impl Session {
    pub fn new(client: Arc<Client>, user: Option<Arc<User>>) -> Session {
        let mut session = Session {
            client,
            db: 0,
            user,
            resp3: false,
            transaction: None,
            watches: Watches::default(),
            subscriptions: Subscriptions::default(),
            tracking: None,
            seen: 0,
            replies: ReplyMode::On,
            paused_at: 0,
            penalty: Duration::ZERO,
        };
        session.speak(false);
        session
    }

    /// Selects a database, and shows it in CLIENT LIST.
    pub fn select(&mut self, db: u32) {
        self.db = db;
        self.client.db.store(db, Ordering::Relaxed);
    }

    /// Speaks RESP3 from now on, or RESP2. Doors other than RESP always have the vocabulary of RESP3.
    pub fn speak(&mut self, resp3: bool) {
        self.resp3 = resp3 || self.client.door != Door::Resp;
        self.client.resp3.store(self.resp3, Ordering::Relaxed);
    }

    /// Acts for `user` from now on.
    pub fn log_in(&mut self, user: Arc<User>) {
        self.client.info.lock().user = user.name.clone();
        self.user = Some(user);
    }

    /// A RESP2 connection with subscriptions may only use the commands of publish/subscribe.
    pub fn is_subscriber_only(&self) -> bool {
        !self.resp3 && !self.subscriptions.is_empty()
    }
}
