//! Runs one call to its end, waiting wherever it has to: for doors whose calls come one at a time (HTTP; MCP and event
//! streams later). The RESP door runs batches and has a loop of its own.
//!
//! ```text
//! let mut visitor = Visitor::new(&engine, engine.session(…));
//! let end = drive::run(&engine, &mut visitor, &input, &mut reply).await;   // for each call
//! drive::settled(&engine, &visitor).await;                                 // before replies leave
//! ```
//!
//! No permission of the gate is held across an await: turns are not `Send`, so the compiler sees to it. The futures may
//! be dropped at any point, and the [`Visitor`] then leaves the engine by itself.
//!
//! A session that waits here has no subscriptions and is no monitor, so the only mail that it gets is the answer to its
//! call. (Event streams subscribe, and then run nothing more.)

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synap_core::execute::pause::BEHIND_LOOK;
use synap_core::execute::{Input, Later, Outcome, execute, waiting};
use synap_core::reply::Tape;
use synap_core::session::{Client, Session, WaitEnd, Waiter, Wake};
use synap_core::{Code, Engine, Error, Reply};
use tokio::time::sleep;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The reply is complete, as a result or as an error.
    Replied,
    /// As `Replied`; the connection should close behind it.
    Quit,
    /// CLIENT KILL ended the session while the call waited. There is no reply.
    Killed,
}

/// Runs one call. `reply` has received the whole answer when it returns [`End::Replied`] or [`End::Quit`], and may be
/// shown once [`settled`] has returned.
pub async fn run(engine: &Engine, session: &mut Session, input: &Input<'_>, reply: &mut (dyn Reply + Send)) -> End {
    run_within(engine, session, input, reply, None).await
}

/// As [`run`]. A call that waits gives up after `wait_max`, in the way that it does when its own time is over.
pub async fn run_within(
    engine: &Engine,
    session: &mut Session,
    input: &Input<'_>,
    reply: &mut (dyn Reply + Send),
    wait_max: Option<Duration>,
) -> End {
    let outcome = engine.inside(|turn| execute(turn, session, input, reply)).await;
    go_on(engine, session, input, outcome, reply, wait_max).await
}

/// The rest of [`run`], for a call that somebody else has begun.
pub async fn resume(
    engine: &Engine,
    session: &mut Session,
    input: &Input<'_>,
    outcome: Outcome,
    reply: &mut (dyn Reply + Send),
) -> End {
    go_on(engine, session, input, outcome, reply, None).await
}

async fn go_on(
    engine: &Engine,
    session: &mut Session,
    input: &Input<'_>,
    mut outcome: Outcome,
    reply: &mut (dyn Reply + Send),
    wait_max: Option<Duration>,
) -> End {
    loop {
        outcome = match outcome {
            Outcome::Replied => return End::Replied,
            Outcome::Quit => return End::Quit,
            Outcome::NeedAlone => engine.alone(|turn| execute(turn, session, input, reply)).await,
            Outcome::Paused => {
                session.client.held.store(true, Ordering::Relaxed);
                let goes_on = unpaused(engine, session).await;
                session.client.held.store(false, Ordering::Relaxed);
                if !goes_on {
                    return End::Killed;
                }
                engine.inside(|turn| execute(turn, session, input, reply)).await
            }
            Outcome::Blocked(waiter) => return wait(engine, session, &waiter, reply, wait_max).await,
            Outcome::Sleep(time) => {
                engine.state().log.notify();
                return tokio::select! {
                    () = sleep(time) => End::Replied,
                    () = session.client.killed() => End::Killed,
                };
            }
            Outcome::Shutdown(options) => {
                engine.state().host().shutdown(options);
                return End::Replied;
            }
            Outcome::Later(mut wanted) => {
                if let (Some((ms, _)), Some(wait_max)) = (&mut wanted.timeout, wait_max) {
                    *ms = (*ms).min(to_ms(wait_max));
                }
                let tape = tokio::select! {
                    tape = later(wanted) => tape,
                    () = session.client.killed() => return End::Killed,
                };
                tape.play(reply);
                return End::Replied;
            }
        }
    }
}

/// Waits for a reply that comes from outside of the gate. Work that is to be carried through begins with this call,
/// and does not end with the future.
pub fn later(later: Later) -> impl Future<Output = Tape> + Send {
    let Later { reply, timeout, goes_on } = later;
    let reply = if goes_on { carried_through(reply) } else { reply };
    async move {
        match timeout {
            None => reply.await,
            Some((ms, timed_out)) => {
                let in_time = tokio::time::timeout(Duration::from_millis(ms), reply).await;
                in_time.unwrap_or_else(|_| timed_out())
            }
        }
    }
}

type Replying = Pin<Box<dyn Future<Output = Tape> + Send>>;

fn carried_through(work: Replying) -> Replying {
    let task = tokio::spawn(work);
    Box::pin(async move {
        task.await.unwrap_or_else(|_| {
            // It has panicked, and said so; or the runtime has ended.
            let mut tape = Tape::new(false);
            tape.error(&Error::err("the call was not carried through"));
            tape
        })
    })
}

/// Waits until everything that the session's replies depend on is safe to show. An error when the disk does not take the
/// log: the calls were applied, and nobody may be told of it.
pub async fn settled(engine: &Engine, session: &Session) -> Result<(), Error> {
    let state = engine.state();
    let log = &state.log;
    log.notify();
    if !log.is_settled(session.seen) {
        state.write_pending();
        if log.settled_or_failing(session.seen).await.is_err() {
            let refusal = state.storage().and_then(|storage| storage.refusal());
            return Err(refusal.unwrap_or(Error::new(Code::Misconf, "the log cannot be written")));
        }
    }
    Ok(())
}

/// Waits for the end of the CLIENT PAUSE that stopped a call; false when the session was killed meanwhile.
async fn unpaused(engine: &Engine, session: &Session) -> bool {
    let (state, client) = (engine.state(), &session.client);
    // Not the next change: the pause that is on now may be another one, which does not hold the call.
    let changed = state.pause.changed_since(session.paused_at);
    let now_ms = state.clock.now_ms();
    let Some(until_ms) = state.pause.until(now_ms) else {
        if state.is_behind() {
            sleep(BEHIND_LOOK).await;
        }
        return !client.is_killed();
    };
    tokio::select! {
        () = changed => true,
        () = sleep(from_ms(until_ms - now_ms)) => true,
        () = client.killed() => false,
    }
}

/// Waits with a blocked call until it is served, its time is over or its session is killed.
async fn wait(
    engine: &Engine,
    session: &mut Session,
    waiter: &Arc<Waiter>,
    reply: &mut (dyn Reply + Send),
    wait_max: Option<Duration>,
) -> End {
    let state = engine.state();
    let latest_ms = wait_max.map(|wait_max| state.clock.now_ms().saturating_add_unsigned(to_ms(wait_max)));
    let deadline_ms = [waiter.deadline_ms, latest_ms].into_iter().flatten().min();
    state.log.notify(); // what the call found due is logged
    let client = session.client.clone();
    let end = loop {
        let left_ms = deadline_ms.map(|deadline_ms| deadline_ms - state.clock.now_ms());
        if left_ms.is_some_and(|left_ms| left_ms <= 0) {
            break WaitEnd::TimedOut;
        }
        let time_over = async {
            match left_ms {
                Some(left_ms) => sleep(from_ms(left_ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Served, unblocked or killed. Whoever sent mail has ended the wait before.
            _ = client.woken() => break WaitEnd::Gone,
            // The clock says whether it is: it need not go as fast as the timer.
            () = time_over => {}
        }
    };
    debug_assert!(client.is_killed() || end == WaitEnd::TimedOut || !waiter.is_waiting(), "mail that answers nothing");
    // Whatever ended the wait, it still stands in the queues of its other keys.
    if engine.stop_waiting(session, waiter, end).await {
        if end == WaitEnd::TimedOut {
            waiting::timeout_reply(waiter, reply);
            return End::Replied;
        }
        return End::Killed;
    }
    // Whoever ended it has sent the answer, or is about to. It is shown even to a session that was killed since: what
    // it tells of is no longer in its key.
    while !client.has_mail() {
        if client.woken().await == Wake::Killed {
            tokio::task::yield_now().await;
        }
    }
    Client::take_mail(session, reply);
    End::Replied
}

fn from_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A session that leaves the engine when it is dropped, also when the task that ran it was cancelled.
pub struct Visitor {
    engine: Engine,
    /// None only while it is dropped.
    session: Option<Session>,
}

impl Visitor {
    pub fn new(engine: &Engine, session: Session) -> Visitor {
        Visitor { engine: engine.clone(), session: Some(session) }
    }
}

impl Deref for Visitor {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a visitor has its session until it is dropped")
    }
}

impl DerefMut for Visitor {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a visitor has its session until it is dropped")
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if self.engine.try_leave(&mut session) {
            return;
        }
        // Somebody is alone inside the gate, perhaps for long: no worker of a runtime waits for that.
        let engine = self.engine.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { engine.depart(&mut session).await });
            }
            Err(_) => engine.leave(&mut session),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use synap_core::Options;
    use synap_core::session::Door;
    use synap_core::sync::block_on;
    use synap_core::testing::{Text, call_as};

    use super::*;

    struct House {
        engine: Engine,
    }

    impl House {
        fn open() -> House {
            House { engine: Engine::open_memory(Options::default()) }
        }

        fn visitor(&self) -> Visitor {
            Visitor::new(&self.engine, self.engine.session(Door::Http, "a".into(), "b".into()))
        }

        async fn call(&self, line: &str) -> (End, String) {
            let mut visitor = self.visitor();
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let mut text = Text::new(true);
            let end = run(&self.engine, &mut visitor, &Input::words(&words), &mut text).await;
            settled(&self.engine, &visitor).await.expect("nothing fails");
            (end, text.out)
        }

        async fn reply(&self, line: &str) -> String {
            self.call(line).await.1
        }

        /// Waits until so many sessions are there.
        async fn until_clients(&self, count: usize) {
            let begin = Instant::now();
            while self.engine.state().registry.len() != count {
                assert!(begin.elapsed() < Duration::from_secs(10), "{count} clients never came");
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_call_is_answered_and_its_session_leaves() {
        let house = House::open();
        assert_eq!(house.call("SET k v").await, (End::Replied, "OK".into()));
        assert_eq!(house.call("GET").await.1, "-ERR wrong number of arguments for 'get' command");
        assert_eq!(house.engine.state().registry.len(), 0);
    }

    #[tokio::test]
    async fn a_call_that_must_be_alone_is() {
        let house = House::open();
        house.reply("SET k v").await;
        assert_eq!(house.reply("FLUSHALL").await, "OK");
        assert_eq!(house.reply("EXISTS k").await, "0");
    }

    #[tokio::test]
    async fn a_blocked_call_is_served_by_another() {
        let house = House::open();
        let (popped, ()) = tokio::join!(house.reply("BLPOP a b 10"), async {
            house.until_clients(1).await;
            assert_eq!(house.reply("RPUSH b 1 2").await, "2");
        });
        assert_eq!(popped, r#"["b", "1"]"#);
        assert_eq!(house.reply("LRANGE b 0 -1").await, r#"["2"]"#);
        // It left the queue of the other key.
        assert_eq!(house.reply("RPUSH a 3").await, "1");
        assert_eq!(house.reply("LRANGE a 0 -1").await, r#"["3"]"#);
    }

    #[tokio::test]
    async fn a_blocked_call_gives_up_in_time() {
        let house = House::open();
        let begin = Instant::now();
        assert_eq!(house.reply("BLPOP a 0.05").await, "nil");
        assert!(begin.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn a_blocked_call_gives_up_when_its_door_does() {
        let house = House::open();
        let mut visitor = house.visitor();
        let mut text = Text::new(true);
        let begin = Instant::now();
        let input = Input::words(&[b"BLPOP", b"a", b"0"]);
        let end = run_within(&house.engine, &mut visitor, &input, &mut text, Some(Duration::from_millis(50))).await;
        assert_eq!((end, text.out.as_str()), (End::Replied, "nil"));
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert_eq!(house.reply("RPUSH a 1").await, "1");
        assert_eq!(house.reply("LLEN a").await, "1");
    }

    #[tokio::test]
    async fn a_blocked_call_that_is_dropped_takes_nothing() {
        let house = House::open();
        tokio::select! {
            _ = house.reply("BLPOP a 0") => panic!("nothing was there"),
            () = house.until_clients(1) => {}
        }
        house.until_clients(0).await;
        house.reply("RPUSH a 1").await;
        assert_eq!(house.reply("LRANGE a 0 -1").await, r#"["1"]"#);
    }

    #[tokio::test]
    async fn a_blocked_call_that_is_dropped_while_somebody_is_alone_takes_nothing() {
        let house = House::open();
        let mut popped = Box::pin(house.reply("BLPOP a 0"));
        tokio::select! {
            _ = &mut popped => panic!("nothing was there"),
            () = house.until_clients(1) => {}
        }
        let client = house.engine.state().registry.all().remove(0);
        let (enter, entered) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let engine = house.engine.clone();
        let alone = thread::spawn(move || {
            block_on(engine.alone(|_| {
                enter.send(()).expect("the test waits");
                released.recv().expect("the test goes on");
            }));
        });
        entered.recv().expect("the thread is alone");
        let waiter = client.blocked.lock().clone().expect("it waits");
        drop(popped);
        assert_eq!(waiter.end(), WaitEnd::Gone, "nobody serves it from here on");
        release.send(()).expect("the thread waits");
        alone.join().expect("the thread ends well");
        house.reply("RPUSH a 1").await;
        assert_eq!(house.reply("LRANGE a 0 -1").await, r#"["1"]"#);
        // The task that takes it out of the queue has its turn.
        while client.blocked.lock().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn unblock_and_kill_end_a_wait() {
        let house = House::open();
        let id = || house.engine.state().registry.all().last().map(|client| client.id).expect("a client");
        let (unblocked, ()) = tokio::join!(house.call("BLPOP a 0"), async {
            house.until_clients(1).await;
            assert_eq!(house.reply(&format!("CLIENT UNBLOCK {} ERROR", id())).await, "1");
        });
        assert_eq!(unblocked, (End::Replied, "-UNBLOCKED client unblocked via CLIENT UNBLOCK".into()));
        let (killed, ()) = tokio::join!(house.call("BLPOP a 0"), async {
            house.until_clients(1).await;
            assert_eq!(house.reply(&format!("CLIENT KILL ID {}", id())).await, "1");
        });
        assert_eq!(killed, (End::Killed, String::new()));
    }

    #[tokio::test]
    async fn a_pause_holds_writes_until_it_ends() {
        let house = House::open();
        house.reply("CLIENT PAUSE 60000 WRITE").await;
        assert_eq!(house.reply("GET k").await, "nil");
        let begin = Instant::now();
        let (set, ()) = tokio::join!(house.reply("SET k v"), async {
            sleep(Duration::from_millis(30)).await;
            house.reply("CLIENT UNPAUSE").await;
        });
        assert_eq!(set, "OK");
        assert!(begin.elapsed() >= Duration::from_millis(30));
        house.reply("CLIENT PAUSE 40 WRITE").await;
        let begin = Instant::now();
        assert_eq!(house.reply("SET k w").await, "OK");
        assert!(begin.elapsed() >= Duration::from_millis(30), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn replies_wait_for_the_log() {
        let house = House::open();
        let log = &house.engine.state().log;
        log.attach_sink(log.end()).expect("the end is there");
        let write = house.reply("SET k v");
        tokio::pin!(write);
        tokio::select! {
            biased;
            _ = &mut write => panic!("nothing is settled"),
            () = sleep(Duration::from_millis(20)) => {}
        }
        log.settle(log.end());
        assert_eq!(write.await, "OK");
        // The blocking door agrees.
        let mut session = house.engine.session(Door::Embedded, "a".into(), "b".into());
        assert_eq!(call_as(&house.engine, &mut session, &[b"GET", b"k"]), r#""v""#);
        house.engine.leave(&mut session);
    }
}
