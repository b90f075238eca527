//! The gate: everybody who touches data is inside it, and whoever must be alone closes it.
//!
//! A big-reader lock. Entering costs one atomic add on a cache line that the thread has (nearly) for itself and one
//! load of a line that rarely changes; closing looks at every slot. That is the right way round: calls enter a million
//! times a second, and a script, a FLUSHALL or a snapshot's cut closes a few times. Nobody ever blocks a thread here:
//! whoever has to wait spins for a few microseconds and then awaits.
//!
//! ```text
//!   enter:  slot += 1;  closed?  ──no──▶ inside          close:  closed = true;  every slot seen empty?  ──▶ alone
//!                          │ yes                                                      │ no
//!                          ▼                                                          ▼
//!           slot -= 1; wait for an open                       the last leaver of the last slot wakes the closer
//! ```
//!
//! **Why an entrant and a closer never miss each other.** The entrant writes its slot, then reads `closed`; the closer
//! writes `closed`, then reads the slots; all four are sequentially consistent, so at least one of them sees the
//! other. The same holds for a leaver (writes its slot, reads `closed`), which is why no wake-up is lost. A slot that
//! was seen empty once since the close stays empty of guests (newcomers step back), so the closer ticks slots off
//! one by one and is not disturbed by newcomers that are just stepping back.
//!
//! **Fairness is hand-off.** When a closer leaves, everybody who waits to enter at that moment is counted in *for
//! them*, before the next closer begins to wait for the slots to empty. So an entrant waits for at most one closer
//! after the one that it met, however many closers queue up; and a closer waits only for those who were inside when
//! it closed or were let in with it in the queue, however many entrants arrive. Closers go first in, first out.
//!
//! **Rules for users**, checked in debug builds: a thread does not enter twice, does not close while inside and does
//! not enter while it holds the gate closed. To upgrade, leave and then close. Guards are not `Send`, so the compiler
//! keeps a task of a runtime from carrying one across an `await`. The place of the gate among the locks is the first:
//! see `docs/LOCKS.md`.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::hint;

/// Threads take slots round robin; sharing one is correct, only slower. A power of two, and at most the bits of
/// [`Queue::occupied`]. Shuttle makes a step of each load, so its searches do with few slots.
const SLOTS: usize = if cfg!(shuttle) { 2 } else { 128 };

/// How often to look again before waiting in earnest: two to five microseconds, the price of a sleep and a wake-up.
const SPINS: usize = if cfg!(shuttle) { 1 } else { 64 };

/// [`Gate::holder`] when nobody is alone inside.
const NOBODY: u64 = u64::MAX;

/// Many inside, or one alone.
pub struct Gate {
    /// True from the moment a closer begins to wait until the last closer in the queue has left. Written only with
    /// `queue` locked.
    closed: Padded<AtomicBool>,
    slots: Box<[Padded<AtomicUsize>; SLOTS]>,
    /// The ticket of the closer that is alone inside. Written only with `queue` locked; closers spin on it.
    holder: AtomicU64,
    queue: Mutex<Queue>,
    /// How often somebody waited to enter, and to be alone: figures, which nothing depends on.
    waits: [std::sync::atomic::AtomicU64; 2],
}

/// Two lines, because processors fetch lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// Everybody who waits.
struct Queue {
    next_ticket: u64,
    /// Those who wait to enter, by ticket.
    entrants: BTreeMap<u64, (usize, Waker)>,
    /// All entrants with a smaller ticket that are not in `entrants` were counted in.
    admitted_below: u64,
    /// The front one is alone inside (when it is `holder`) or waits for `occupied` to become empty; the others wait
    /// for it. The gate is closed exactly while somebody is here.
    closers: VecDeque<Closer>,
    /// Bit *i*: the front closer has not yet seen slot *i* empty.
    occupied: u128,
}

struct Closer {
    ticket: u64,
    waker: Option<Waker>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

impl Gate {
    /// An open gate.
    pub fn new() -> Gate {
        Gate {
            closed: Padded(AtomicBool::new(false)),
            slots: Box::new(std::array::from_fn(|_| Padded(AtomicUsize::new(0)))),
            holder: AtomicU64::new(NOBODY),
            queue: Mutex::new(Queue {
                next_ticket: 0,
                entrants: BTreeMap::new(),
                admitted_below: 0,
                closers: VecDeque::new(),
                occupied: 0,
            }),
            waits: Default::default(),
        }
    }

    /// Goes inside unless a closer is there or waits. Any `slot` is right; [`thread_slot`] is the fast one.
    #[inline]
    pub fn try_enter(&self, slot: usize) -> Option<Entered<'_>> {
        nesting::check_outside(self);
        let slot = slot % SLOTS;
        // Without this look, newcomers would keep writing to slots that a closer waits to see empty.
        if self.is_closed() {
            return None;
        }
        self.slots[slot].0.fetch_add(1, Ordering::SeqCst);
        if self.closed.0.load(Ordering::SeqCst) {
            self.leave(slot);
            return None;
        }
        Some(Entered::new(self, slot))
    }

    /// Goes inside, waiting while the gate is closed. Dropping the future at any point is safe.
    pub fn enter(&self, slot: usize) -> Enter<'_> {
        Enter { gate: self, slot: slot % SLOTS, ticket: None }
    }

    /// Waits to be alone inside: first in, first out among closers. Newcomers wait from the first poll on.
    /// Dropping the future at any point is safe.
    pub fn close(&self) -> Close<'_> {
        Close { gate: self, ticket: None }
    }

    /// True while somebody is alone inside or waits to be. Whoever stays inside for long (a batch, a walk) looks here
    /// between steps and leaves.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.0.load(Ordering::Acquire)
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> Waiting {
        let queue = self.queue.lock();
        let alone = usize::from(self.holder.load(Ordering::SeqCst) != NOBODY);
        Waiting { entrants: queue.entrants.len(), closers: queue.closers.len() - alone }
    }

    /// How often somebody had to wait to enter, and to be alone.
    pub fn waits(&self) -> [u64; 2] {
        self.waits.each_ref().map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn count_wait(&self, kind: usize) {
        self.waits[kind].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    #[inline]
    fn leave(&self, slot: usize) {
        let before = self.slots[slot].0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "left more often than entered");
        // Only the last one out of a slot can be the one that a closer waits for.
        if before == 1 && self.closed.0.load(Ordering::SeqCst) {
            self.left_closed(slot);
        }
    }

    /// A slot became empty while the gate is closed.
    #[cold]
    fn left_closed(&self, slot: usize) {
        let mut queue = self.queue.lock();
        let bit = 1 << slot;
        // Empty at this very moment, or else whoever is there now will come by when leaving.
        if queue.occupied & bit == 0 || self.slots[slot].0.load(Ordering::SeqCst) != 0 {
            return;
        }
        queue.occupied &= !bit;
        if queue.occupied == 0 {
            let waker = self.hand_to_front(&mut queue);
            drop(queue);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Lets the front closer wait for those who are inside now. The gate must be closed already. Returns the closer's
    /// waker when it is alone at once.
    fn begin_drain(&self, queue: &mut Queue) -> Option<Waker> {
        debug_assert!(self.is_closed() && queue.occupied == 0);
        for (i, slot) in self.slots.iter().enumerate() {
            if slot.0.load(Ordering::SeqCst) != 0 {
                queue.occupied |= 1 << i;
            }
        }
        if queue.occupied == 0 { self.hand_to_front(queue) } else { None }
    }

    fn hand_to_front(&self, queue: &mut Queue) -> Option<Waker> {
        let front = queue.closers.front_mut()?;
        self.holder.store(front.ticket, Ordering::SeqCst);
        front.waker.take()
    }

    /// The front closer goes, whether it was alone inside or still waited for that. Everybody who waits to enter is
    /// counted in, then the next closer begins or the gate opens.
    fn release_front(&self) {
        let mut queue = self.queue.lock();
        // Wakers are woken and dropped without the lock: both may run code that comes back here.
        let closer = queue.closers.pop_front();
        self.holder.store(NOBODY, Ordering::SeqCst);
        queue.occupied = 0;
        let admitted = std::mem::take(&mut queue.entrants);
        queue.admitted_below = queue.next_ticket;
        for (slot, _) in admitted.values() {
            self.slots[*slot].0.fetch_add(1, Ordering::SeqCst);
        }
        let next = if queue.closers.is_empty() {
            self.closed.0.store(false, Ordering::SeqCst);
            None
        } else {
            self.begin_drain(&mut queue)
        };
        drop(queue);
        drop(closer);
        admitted.into_values().for_each(|(_, waker)| waker.wake());
        next.into_iter().for_each(Waker::wake);
    }
}

impl Queue {
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }
}

/// See [`Gate::waiting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub entrants: usize,
    pub closers: usize,
}

/// The slot of this thread: threads get them in the order in which they first ask.
pub fn thread_slot() -> usize {
    use std::sync::atomic::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static SLOT: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS);
    SLOT.with(|slot| *slot)
}

/// Proof of being inside with others. Leaves when dropped.
///
/// Not `Send`: it is held for one turn, never across an `await`.
#[must_use = "dropping it leaves the gate"]
pub struct Entered<'a> {
    gate: &'a Gate,
    slot: usize,
    not_send: PhantomData<*const ()>,
}

impl<'a> Entered<'a> {
    /// The slot has counted this guard already.
    #[inline]
    fn new(gate: &'a Gate, slot: usize) -> Entered<'a> {
        nesting::came_in(gate);
        Entered { gate, slot, not_send: PhantomData }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        nesting::went_out(self.gate);
        self.gate.leave(self.slot);
    }
}

/// Proof of being alone inside. Opens when dropped. Not `Send`, like [`Entered`].
#[must_use = "dropping it opens the gate"]
pub struct Closed<'a> {
    gate: &'a Gate,
    not_send: PhantomData<*const ()>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        nesting::went_out(self.gate);
        self.gate.release_front();
    }
}

/// The future of [`Gate::enter`]. It is `Send`, though what it yields is not.
#[must_use = "futures do nothing unless awaited"]
pub struct Enter<'a> {
    gate: &'a Gate,
    slot: usize,
    /// Set while waiting, and until an admission is picked up.
    ticket: Option<u64>,
}

impl<'a> Future for Enter<'a> {
    type Output = Entered<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Entered<'a>> {
        let (gate, slot) = (self.gate, self.slot);
        let Some(ticket) = self.ticket else {
            for _ in 0..=SPINS {
                if let Some(entered) = gate.try_enter(slot) {
                    return Poll::Ready(entered);
                }
                hint::spin_loop();
            }
            let mut queue = gate.queue.lock();
            if queue.closers.is_empty() {
                // It opened just now, and nobody closes while we have the queue.
                gate.slots[slot].0.fetch_add(1, Ordering::SeqCst);
                drop(queue);
                return Poll::Ready(Entered::new(gate, slot));
            }
            let ticket = queue.ticket();
            queue.entrants.insert(ticket, (slot, cx.waker().clone()));
            gate.count_wait(0);
            self.ticket = Some(ticket);
            return Poll::Pending;
        };

        nesting::check_outside(gate);
        let mut queue = gate.queue.lock();
        match queue.entrants.get_mut(&ticket) {
            Some((_, waker)) => {
                let old = replace_waker(waker, cx);
                drop(queue);
                drop(old);
                Poll::Pending
            }
            None => {
                debug_assert!(ticket < queue.admitted_below);
                drop(queue);
                self.ticket = None;
                Poll::Ready(Entered::new(gate, slot))
            }
        }
    }
}

impl Drop for Enter<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waiting = self.gate.queue.lock().entrants.remove(&ticket);
        if waiting.is_none() {
            self.gate.leave(self.slot); // admitted, but nobody will come
        }
    }
}

/// The future of [`Gate::close`]. It is `Send`, though what it yields is not.
#[must_use = "futures do nothing unless awaited"]
pub struct Close<'a> {
    gate: &'a Gate,
    /// Set while in the queue of closers.
    ticket: Option<u64>,
}

impl<'a> Future for Close<'a> {
    type Output = Closed<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed<'a>> {
        let gate = self.gate;
        nesting::check_outside(gate);
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                let mut queue = gate.queue.lock();
                let ticket = queue.ticket();
                queue.closers.push_back(Closer { ticket, waker: None });
                self.ticket = Some(ticket);
                if queue.closers.len() == 1 {
                    gate.closed.0.store(true, Ordering::SeqCst);
                    let none = gate.begin_drain(&mut queue);
                    debug_assert!(none.is_none(), "no waker was stored yet");
                }
                drop(queue);
                // Those inside are usually gone in less time than a sleep takes.
                for _ in 0..SPINS {
                    if gate.holder.load(Ordering::SeqCst) == ticket {
                        break;
                    }
                    hint::spin_loop();
                }
                ticket
            }
        };

        // Only we can end our own hold, so no lock is needed to see it.
        if gate.holder.load(Ordering::SeqCst) != ticket {
            let mut queue = gate.queue.lock();
            if gate.holder.load(Ordering::SeqCst) != ticket {
                let place = queue.place_of(ticket);
                let old = match &mut queue.closers[place].waker {
                    Some(waker) => replace_waker(waker, cx),
                    none => {
                        gate.count_wait(1);
                        none.replace(cx.waker().clone())
                    }
                };
                drop(queue);
                drop(old);
                return Poll::Pending;
            }
        }
        self.ticket = None;
        nesting::came_in(gate);
        Poll::Ready(Closed { gate, not_send: PhantomData })
    }
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut queue = self.gate.queue.lock();
        let place = queue.place_of(ticket);
        if place > 0 {
            let closer = queue.closers.remove(place);
            drop(queue);
            drop(closer);
        } else {
            // Nobody but us removes the front one, so it is still ours when the queue is locked again.
            drop(queue);
            self.gate.release_front();
        }
    }
}

impl Queue {
    /// Where the closer with this ticket stands. It must be there.
    fn place_of(&self, ticket: u64) -> usize {
        let place = self.closers.partition_point(|closer| closer.ticket < ticket);
        assert_eq!(self.closers[place].ticket, ticket, "a closer stays in the queue until its future or guard goes");
        place
    }
}

/// Stores the context's waker when it is another one, and returns the old one to be dropped without the lock.
fn replace_waker(waker: &mut Waker, cx: &Context<'_>) -> Option<Waker> {
    if waker.will_wake(cx.waker()) { None } else { Some(std::mem::replace(waker, cx.waker().clone())) }
}

/// Debug builds remember which gates a thread is inside of, to catch what would deadlock only now and then.
#[cfg(debug_assertions)]
mod nesting {
    use std::cell::RefCell;

    use super::Gate;

    crate::sync::thread_local! {
        static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn check_outside(gate: &Gate) {
        INSIDE.with(|inside| {
            let nested = inside.borrow().contains(&address(gate));
            assert!(!nested, "this thread is inside the gate already: leave, then enter or close");
        });
    }

    pub(super) fn came_in(gate: &Gate) {
        INSIDE.with(|inside| inside.borrow_mut().push(address(gate)));
    }

    pub(super) fn went_out(gate: &Gate) {
        INSIDE.with(|inside| {
            let mut inside = inside.borrow_mut();
            let place = inside.iter().rposition(|&at| at == address(gate)).expect("guards do not change threads");
            inside.swap_remove(place);
        });
    }

    /// Runs `f` as though another thread did, with the gates that this imagined thread is inside of.
    #[cfg(all(test, not(shuttle)))]
    pub(super) fn as_thread<R>(thread: &mut Vec<usize>, f: impl FnOnce() -> R) -> R {
        INSIDE.with(|inside| std::mem::swap(&mut *inside.borrow_mut(), thread));
        let result = f();
        INSIDE.with(|inside| std::mem::swap(&mut *inside.borrow_mut(), thread));
        result
    }

    fn address(gate: &Gate) -> usize {
        std::ptr::from_ref(gate).addr()
    }
}

#[cfg(not(debug_assertions))]
mod nesting {
    use super::Gate;

    #[inline(always)]
    pub(super) fn check_outside(_: &Gate) {}
    #[inline(always)]
    pub(super) fn came_in(_: &Gate) {}
    #[inline(always)]
    pub(super) fn went_out(_: &Gate) {}

    #[cfg(all(test, not(shuttle)))]
    pub(super) fn as_thread<R>(_: &mut Vec<usize>, f: impl FnOnce() -> R) -> R {
        f()
    }
}

#[cfg(test)]
mod tests;
