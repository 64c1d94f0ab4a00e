use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio_util::sync::CancellationToken;
#[cfg(not(feature = "shuttle"))]
use tokio_util::task::TaskTracker;

/// The background work of one delivery: counted, so that a stop can wait for it.
pub(super) struct Tasks {
    #[cfg(not(feature = "shuttle"))]
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(not(feature = "shuttle"))]
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Cancelled when the node stops; whatever sleeps must watch it.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        #[cfg(not(feature = "shuttle"))]
        self.tracker.spawn(work);
        #[cfg(feature = "shuttle")]
        drop(shuttle::future::spawn(work));
    }

    /// Does the work here and now as far as it goes without waiting, and the rest in the background: the
    /// usual case costs no task, and no caller ever waits for somebody else's socket. True if it is done.
    pub(super) fn now_or_later(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        // Polled again by the task that takes it over, so nobody need be woken by this first look.
        let done = work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if !done {
            self.spawn(work);
        }
        done
    }

    /// Waits until everything that was spawned has ended.
    pub(super) async fn ended(&self) {
        #[cfg(not(feature = "shuttle"))]
        {
            self.tracker.close();
            self.tracker.wait().await;
        }
    }
}

/// The future's value if it has one at once.
pub(super) fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
