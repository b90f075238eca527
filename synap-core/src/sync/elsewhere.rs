//! Work that waits for a disk, on a thread of its own, for those who may not wait.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;

use parking_lot::Mutex;

enum Slot<T> {
    Pending(Option<Waker>),
    /// None when the work has panicked.
    Done(Option<T>),
}

/// What becomes of the slot when the work ends, in whatever way.
struct Promise<T>(Arc<Mutex<Slot<T>>>, Option<T>);

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let old = std::mem::replace(&mut *self.0.lock(), Slot::Done(self.1.take()));
        if let Slot::Pending(Some(waker)) = old {
            waker.wake();
        }
    }
}

/// Begins `work` on a thread called `name`. The future is what it returns; none when it has panicked.
pub fn elsewhere<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<impl Future<Output = Option<T>> + Send + 'static> {
    let slot = Arc::new(Mutex::new(Slot::Pending(None)));
    let promise = Promise(slot.clone(), None);
    thread::Builder::new().name(name.into()).spawn(move || {
        let mut promise = promise;
        promise.1 = Some(work());
    })?;
    Ok(std::future::poll_fn(move |cx| {
        let mut slot = slot.lock();
        match &mut *slot {
            Slot::Done(result) => Poll::Ready(result.take()),
            Slot::Pending(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::super::block_on;
    use super::*;

    #[test]
    fn work_is_done_and_told_of() {
        assert_eq!(block_on(elsewhere("test", || 7).expect("a thread")), Some(7));
        let panics = elsewhere("test", || {
            std::panic::resume_unwind(Box::new(()));
        });
        assert_eq!(block_on(panics.expect("a thread")), None);
    }
}
