//! What the gate promises, as single steps, as real threads, and (under `--cfg shuttle`) as searched interleavings.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as PlainUsize; // not a step of shuttle's schedule
use std::task::{Context, Poll, Wake, Waker};

use super::*;

/// Counts wake-ups.
#[derive(Default)]
struct Bell(PlainUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, bell: &Arc<Bell>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell))))
}

/// What must hold whenever somebody is inside: many guests, or one owner.
#[derive(Default)]
struct House {
    guests: PlainUsize,
    owners: PlainUsize,
    /// How often somebody was alone.
    closings: PlainUsize,
}

impl House {
    fn visit(&self, meanwhile: impl FnOnce()) {
        self.guests.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.owners.load(Ordering::SeqCst), 0, "a guest came in while somebody was alone");
        meanwhile();
        assert_eq!(self.owners.load(Ordering::SeqCst), 0, "somebody was alone beside a guest");
        self.guests.fetch_sub(1, Ordering::SeqCst);
    }

    fn own(&self, meanwhile: impl FnOnce()) {
        assert_eq!(self.owners.fetch_add(1, Ordering::SeqCst), 0, "two were alone");
        assert_eq!(self.guests.load(Ordering::SeqCst), 0, "somebody was alone beside a guest");
        meanwhile();
        assert_eq!(self.guests.load(Ordering::SeqCst), 0, "a guest came in while somebody was alone");
        self.closings.fetch_add(1, Ordering::SeqCst);
        self.owners.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Nobody is inside and nobody waits.
fn assert_idle(gate: &Gate) {
    assert!(!gate.is_closed());
    assert_eq!(gate.waiting(), Waiting { entrants: 0, closers: 0 });
    assert!(gate.slots.iter().all(|slot| slot.0.load(Ordering::SeqCst) == 0));
    let queue = gate.queue.lock();
    assert!(queue.closers.is_empty() && queue.occupied == 0);
}

#[cfg(not(shuttle))]
mod steps {
    use super::*;

    /// Each actor is a thread of its own to the debug checks, so that one test can play all parts.
    #[derive(Default)]
    struct Actor(Vec<usize>);

    impl Actor {
        fn plays<R>(&mut self, f: impl FnOnce() -> R) -> R {
            nesting::as_thread(&mut self.0, f)
        }
    }

    #[test]
    fn futures_are_send_though_guards_are_not() {
        fn send<T: Send>(_: T) {}
        let gate = Gate::new();
        send(gate.enter(0));
        send(gate.close());
        send(async {
            let inside = gate.enter(0).await;
            drop(inside);
            let alone = gate.close().await;
            drop(alone);
            std::future::ready(()).await;
        });
    }

    #[test]
    fn an_open_gate_lets_everybody_in_at_once() {
        let gate = Gate::new();
        let (mut a, mut b) = (Actor::default(), Actor::default());
        let first = a.plays(|| gate.try_enter(0)).expect("open");
        let second = b.plays(|| gate.try_enter(0)).expect("a slot may be shared");
        a.plays(|| drop(first));
        b.plays(|| drop(second));
        assert_idle(&gate);
    }

    #[test]
    fn closing_waits_for_those_inside_and_holds_newcomers() {
        let gate = Gate::new();
        let bell = Arc::new(Bell::default());
        let (mut guest, mut owner) = (Actor::default(), Actor::default());
        let inside = guest.plays(|| gate.try_enter(3)).expect("open");
        let mut close = gate.close();
        assert!(owner.plays(|| poll_with(&mut close, &bell)).is_pending());
        assert!(gate.try_enter(4).is_none(), "a newcomer waits as soon as a closer does");
        guest.plays(|| drop(inside));
        assert_eq!(bell.0.load(Ordering::SeqCst), 1, "the last one out wakes the closer");
        let Poll::Ready(alone) = owner.plays(|| poll_with(&mut close, &bell)) else { panic!("everybody has left") };
        assert!(gate.try_enter(4).is_none());
        owner.plays(|| drop(alone));
        assert!(gate.try_enter(4).is_some());
        assert_idle(&gate);
    }

    #[test]
    fn who_waits_to_enter_is_counted_in_before_the_next_closer() {
        let gate = Gate::new();
        let (bell_in, bell_two) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let (mut owner, mut guest) = (Actor::default(), Actor::default());
        let Poll::Ready(alone) = owner.plays(|| poll_with(&mut gate.close(), &bell_two)) else { panic!("was open") };
        let mut second = gate.close();
        assert!(poll_with(&mut second, &bell_two).is_pending());
        let mut enter = gate.enter(0);
        assert!(poll_with(&mut enter, &bell_in).is_pending());
        assert_eq!(gate.waiting(), Waiting { entrants: 1, closers: 1 });

        owner.plays(|| drop(alone));
        assert_eq!(bell_in.0.load(Ordering::SeqCst), 1);
        assert_eq!(bell_two.0.load(Ordering::SeqCst), 0);
        assert!(poll_with(&mut second, &bell_two).is_pending(), "somebody was let in, though not polled yet");
        let Poll::Ready(inside) = guest.plays(|| poll_with(&mut enter, &bell_in)) else { panic!("was let in") };
        guest.plays(|| drop(inside));
        assert_eq!(bell_two.0.load(Ordering::SeqCst), 1);
        assert!(poll_with(&mut second, &bell_two).is_ready());
        assert_idle(&gate);
    }

    #[test]
    fn an_entrant_that_gives_up_changes_nothing_or_gives_its_place_back() {
        let gate = Gate::new();
        let bell = Arc::new(Bell::default());
        let mut owner = Actor::default();
        let Poll::Ready(alone) = owner.plays(|| poll_with(&mut gate.close(), &bell)) else { panic!("was open") };
        let mut early = gate.enter(0);
        let mut late = gate.enter(1);
        assert!(poll_with(&mut early, &bell).is_pending());
        assert!(poll_with(&mut late, &bell).is_pending());
        drop(gate.enter(2)); // never polled
        drop(early);
        assert_eq!(gate.waiting().entrants, 1);
        owner.plays(|| drop(alone));
        assert_eq!(gate.slots[1].0.load(Ordering::SeqCst), 1, "counted in");
        let mut close = gate.close();
        let closing = Arc::new(Bell::default());
        assert!(poll_with(&mut close, &closing).is_pending());
        drop(late);
        assert_eq!(closing.0.load(Ordering::SeqCst), 1);
        assert!(poll_with(&mut close, &closing).is_ready());
        assert_idle(&gate);
    }

    #[test]
    fn a_closer_that_gives_up_lets_the_others_go_on() {
        let gate = Gate::new();
        let bell = Arc::new(Bell::default());
        let mut guest = Actor::default();
        let inside = guest.plays(|| gate.try_enter(0)).expect("open");
        let mut closers: Vec<_> = (0..4).map(|_| gate.close()).collect();
        closers.iter_mut().for_each(|closer| assert!(poll_with(closer, &bell).is_pending()));
        let mut enter = gate.enter(7);
        assert!(poll_with(&mut enter, &bell).is_pending());
        drop(closers.remove(1)); // from the middle
        drop(closers.remove(0)); // while it waits for those inside
        assert!(poll_with(&mut enter, &bell).is_ready(), "the front closer's leaving lets the waiting in");
        drop(enter);
        guest.plays(|| drop(inside)); // the next one is alone now, but is not polled
        assert!(gate.try_enter(0).is_none());
        drop(closers.remove(0));
        assert!(poll_with(&mut closers[0], &bell).is_ready());
        drop(closers);
        drop(gate.close()); // never polled
        assert_idle(&gate);
    }

    #[test]
    fn closers_are_served_in_order() {
        let gate = Gate::new();
        let bell = Arc::new(Bell::default());
        let mut closers: VecDeque<_> = (0..5).map(|_| gate.close()).collect();
        let mut owner = Actor::default();
        let Poll::Ready(mut alone) = owner.plays(|| poll_with(&mut closers[0], &bell)) else { panic!("was open") };
        closers.pop_front();
        closers.iter_mut().for_each(|closer| assert!(poll_with(closer, &bell).is_pending()));
        while let Some(mut next) = closers.pop_front() {
            owner.plays(|| drop(alone));
            closers.iter_mut().for_each(|closer| assert!(poll_with(closer, &bell).is_pending()));
            alone = match owner.plays(|| poll_with(&mut next, &bell)) {
                Poll::Ready(alone) => alone,
                Poll::Pending => panic!("its turn"),
            };
        }
        owner.plays(|| drop(alone));
        assert_idle(&gate);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "inside the gate already")]
    fn entering_twice_is_caught() {
        let gate = Gate::new();
        let _inside = gate.try_enter(0);
        let _again = gate.try_enter(0);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "inside the gate already")]
    fn closing_from_inside_is_caught() {
        let gate = Gate::new();
        let _inside = gate.try_enter(0);
        let _ = poll_with(&mut gate.close(), &Arc::default());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "inside the gate already")]
    fn entering_while_alone_is_caught() {
        let gate = Gate::new();
        let _alone = crate::sync::block_on(gate.close());
        let _inside = gate.try_enter(0);
    }

    #[test]
    fn two_gates_may_be_entered_at_once() {
        let (a, b) = (Gate::new(), Gate::new());
        let _in_a = a.try_enter(0).expect("open");
        let _in_b = b.try_enter(0).expect("open");
    }
}

#[cfg(not(shuttle))]
mod threads {
    use std::thread;

    use super::*;
    use crate::sync::block_on;

    /// A future that is polled a few times and then dropped, wherever it stands.
    fn abandon<F: Future + Unpin>(mut future: F, polls: usize) {
        let bell = Arc::new(Bell::default());
        for _ in 0..polls {
            if poll_with(&mut future, &bell).is_ready() {
                return;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn many_threads_stay_exclusive_and_all_finish() {
        let (gate, house) = (Gate::new(), House::default());
        thread::scope(|scope| {
            for t in 0..6 {
                let (gate, house) = (&gate, &house);
                scope.spawn(move || {
                    for i in 0..3_000 {
                        let slot = if t < 2 { 0 } else { t };
                        if let Some(_inside) = gate.try_enter(slot) {
                            house.visit(|| ());
                        }
                        let _inside = block_on(gate.enter(slot));
                        house.visit(|| {
                            if i % 64 == 0 {
                                thread::yield_now()
                            }
                        });
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for i in 0..1_000 {
                        let _alone = block_on(gate.close());
                        house.own(|| {
                            if i % 16 == 0 {
                                thread::yield_now()
                            }
                        });
                    }
                });
            }
            scope.spawn(|| {
                for i in 0..2_000 {
                    abandon(gate.enter(i), i % 4);
                    abandon(gate.close(), i % 4);
                }
            });
        });
        assert_eq!(house.closings.into_inner(), 2_000);
        assert_idle(&gate);
    }

    #[test]
    fn a_closer_gets_through_a_flood_of_entrants_and_the_other_way_round() {
        let (gate, house) = (Gate::new(), House::default());
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for t in 0..3 {
                let (gate, house, stop) = (&gate, &house, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _inside = block_on(gate.enter(t));
                        house.visit(|| ());
                    }
                });
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _alone = block_on(gate.close());
                        house.own(|| ());
                    }
                });
            }
            // Among the flood, one thread must finish a bounded number of both.
            for _ in 0..500 {
                drop(block_on(gate.close()));
                drop(block_on(gate.enter(9)));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_idle(&gate);
    }
}

#[cfg(shuttle)]
mod shuttle_search {
    use shuttle::rand::Rng;

    use super::*;
    use crate::sync::{block_on, thread};

    fn search(scenario: impl Fn() + Send + Sync + 'static) {
        let scenario = Arc::new(scenario);
        let again = Arc::clone(&scenario);
        shuttle::check_random(move || scenario(), 4_000);
        shuttle::check_pct(move || again(), 4_000, 3);
    }

    fn spawn(f: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
        thread::spawn(f)
    }

    fn join(threads: Vec<thread::JoinHandle<()>>) {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Mutual exclusion and no lost wake-up: shuttle fails a schedule in which everybody sleeps.
    #[test]
    fn guests_and_owners_exclude_each_other() {
        search(|| {
            let gate = Arc::new(Gate::new());
            let house = Arc::new(House::default());
            let mut threads = Vec::new();
            for slot in [0, 0, 1] {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    for _ in 0..2 {
                        let _inside = block_on(gate.enter(slot));
                        house.visit(thread::yield_now);
                    }
                }));
            }
            for _ in 0..2 {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    for _ in 0..2 {
                        let _alone = block_on(gate.close());
                        house.own(thread::yield_now);
                    }
                }));
            }
            join(threads);
            assert_idle(&gate);
        });
    }

    /// Polls up to `polls` times with a real waker in between (or none), and drops the future where it stands.
    fn abandon<F: Future + Unpin>(mut future: F, polls: usize, seen: impl Fn()) {
        let bell = Arc::new(Bell::default());
        for _ in 0..polls {
            if poll_with(&mut future, &bell).is_ready() {
                return seen();
            }
            thread::yield_now();
        }
    }

    #[test]
    fn giving_up_anywhere_leaves_no_trace() {
        search(|| {
            let gate = Arc::new(Gate::new());
            let house = Arc::new(House::default());
            let mut threads = Vec::new();
            for slot in 0..2 {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    abandon(gate.enter(slot), shuttle::rand::thread_rng().gen_range(0..4), || ());
                    let _inside = block_on(gate.enter(slot));
                    house.visit(thread::yield_now);
                }));
            }
            for _ in 0..2 {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    abandon(gate.close(), shuttle::rand::thread_rng().gen_range(0..4), || ());
                    let _alone = block_on(gate.close());
                    house.own(thread::yield_now);
                }));
            }
            join(threads);
            assert_eq!(house.closings.load(Ordering::SeqCst), 2);
            assert_idle(&gate);
        });
    }

    /// However many closers there are, whoever is registered as waiting sees at most one of them pass.
    #[test]
    fn an_entrant_waits_for_one_closer_at_most() {
        search(|| {
            let gate = Arc::new(Gate::new());
            let house = Arc::new(House::default());
            let mut threads = Vec::new();
            for _ in 0..4 {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    let _alone = block_on(gate.close());
                    house.own(thread::yield_now);
                }));
            }
            for slot in 0..2 {
                let (gate, house) = (Arc::clone(&gate), Arc::clone(&house));
                threads.push(spawn(move || {
                    let mut enter = gate.enter(slot);
                    let mut registered_at = None;
                    let _inside = block_on(std::future::poll_fn(|cx| {
                        let polled = Pin::new(&mut enter).poll(cx);
                        if polled.is_pending() && registered_at.is_none() {
                            registered_at = Some(house.closings.load(Ordering::SeqCst));
                        }
                        polled
                    }));
                    if let Some(before) = registered_at {
                        let passed = house.closings.load(Ordering::SeqCst) - before;
                        assert!(passed <= 1, "{passed} closers overtook a waiting entrant");
                    }
                    house.visit(thread::yield_now);
                }));
            }
            join(threads);
            assert_idle(&gate);
        });
    }

    /// However many entrants there are, none comes in between a closer's first poll and its turn.
    #[test]
    fn a_closer_waits_only_for_those_inside() {
        search(|| {
            let gate = Arc::new(Gate::new());
            let visits = Arc::new(PlainUsize::new(0));
            let mut threads = Vec::new();
            for slot in [0, 1, 1] {
                let (gate, visits) = (Arc::clone(&gate), Arc::clone(&visits));
                threads.push(spawn(move || {
                    for _ in 0..3 {
                        let _inside = block_on(gate.enter(slot));
                        visits.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                    }
                }));
            }
            let (owner_gate, visits) = (Arc::clone(&gate), Arc::clone(&visits));
            threads.push(spawn(move || {
                let mut close = owner_gate.close();
                let mut closed_at = None;
                let _alone = block_on(std::future::poll_fn(|cx| {
                    let polled = Pin::new(&mut close).poll(cx);
                    if polled.is_pending() && closed_at.is_none() {
                        closed_at = Some(visits.load(Ordering::SeqCst));
                    }
                    polled
                }));
                if let Some(before) = closed_at {
                    let came_in = visits.load(Ordering::SeqCst) - before;
                    // Each of the three may have been past the check and not yet at the counter.
                    assert!(came_in <= 3, "{came_in} visits began after the close");
                }
            }));
            join(threads);
            assert_idle(&gate);
        });
    }

    #[test]
    fn closers_go_in_the_order_of_their_tickets() {
        search(|| {
            let gate = Arc::new(Gate::new());
            let served = Arc::new(std::sync::Mutex::new(Vec::new()));
            let threads = (0..3).map(|_| {
                let (gate, served) = (Arc::clone(&gate), Arc::clone(&served));
                spawn(move || {
                    let mut close = gate.close();
                    let mut ticket = None;
                    let _alone = block_on(std::future::poll_fn(|cx| {
                        let polled = Pin::new(&mut close).poll(cx);
                        ticket = ticket.or(close.ticket);
                        polled
                    }));
                    served.lock().unwrap().extend(ticket);
                })
            });
            join(threads.collect());
            assert!(served.lock().unwrap().is_sorted());
            assert_idle(&gate);
        });
    }
}
