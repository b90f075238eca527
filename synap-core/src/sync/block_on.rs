//! Waiting for a future on a thread that has no runtime: the embedded library, the engine's timer, tests.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::atomic::{AtomicBool, Ordering};
use super::thread::{self, Thread};

/// Runs `future` to its end on this thread, which sleeps while there is nothing to do.
///
/// Never call it on a worker of a runtime: the task that the future waits for may need that very worker.
pub fn block_on<F: Future>(future: F) -> F::Output {
    run(future, || {
        thread::park();
        true
    })
    .expect("parking goes on for ever")
}

/// The same for at most `time`: `None` when the future was not ready by then.
pub fn block_on_for<F: Future>(future: F, time: Duration) -> Option<F::Output> {
    let end = Instant::now() + time;
    run(future, || {
        let rest = end.saturating_duration_since(Instant::now());
        thread::park_timeout(rest);
        !rest.is_zero()
    })
}

/// `park` sleeps and says whether to go on.
fn run<F: Future>(future: F, park: impl Fn() -> bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        // The flag tells our wake-up from a token that somebody else's `unpark` left behind.
        while !parker.woken.swap(false, Ordering::SeqCst) {
            if !park() {
                return None;
            }
        }
    }
}

struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Waking twice costs nothing: a system call is made for the first only.
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}
