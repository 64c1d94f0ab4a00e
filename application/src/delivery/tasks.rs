use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
#[cfg(not(shuttle))]
use tokio_util::task::TaskTracker;

/// The pause before a loop that panicked is restarted: a repeated fault must not take a whole core.
const PAUSE: Duration = Duration::from_secs(1);

/// The background work of one delivery: counted, so that a stop can wait for it.
pub(super) struct Tasks {
    #[cfg(not(shuttle))]
    tracker: TaskTracker,
    /// The model checker has no tracker of its own.
    #[cfg(shuttle)]
    spawned: std::sync::Mutex<Vec<shuttle::future::JoinHandle<()>>>,
    /// Where the work runs, so that it can be requested from outside a runtime. `None` under the model checker.
    runtime: Option<Handle>,
    stop: CancellationToken,
    panics: AtomicU64,
}

impl Tasks {
    pub(super) fn new(runtime: Option<Handle>) -> Self {
        Self {
            #[cfg(not(shuttle))]
            tracker: TaskTracker::new(),
            #[cfg(shuttle)]
            spawned: std::sync::Mutex::default(),
            runtime,
            stop: CancellationToken::new(),
            panics: AtomicU64::new(0),
        }
    }

    /// Cancelled when the node stops; every loop and every sleep must watch it.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        #[cfg(not(shuttle))]
        match &self.runtime {
            Some(runtime) => drop(self.tracker.spawn_on(work, runtime)),
            None => drop(self.tracker.spawn(work)),
        }
        #[cfg(shuttle)]
        {
            // Another thread may run here, so not under the lock.
            let spawned = shuttle::future::spawn(work);
            self.spawned().push(spawned);
        }
    }

    /// Runs the work on the caller's stack until it has to wait, and the rest in the background. Usually this
    /// needs no task, and no caller waits for another user's socket. Returns true if the work is done.
    pub(super) fn now_or_later(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        let done = self.is_done_at_once(&mut work);
        if !done {
            self.spawn(work);
        }
        done
    }

    /// Runs the work on the caller's stack until it has to wait. Returns true if it is done; if not, it must be
    /// spawned.
    pub(super) fn is_done_at_once(
        &self,
        work: &mut Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> bool {
        // The caller's thread may have no runtime, and timers need one.
        let _entered = self.runtime.as_ref().map(Handle::enter);
        // This first poll needs no waker, because the task that takes over polls again.
        work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Runs a loop until it returns; restarts it after a panic.
    pub(super) async fn keep_going<F>(&self, name: &'static str, work: impl Fn() -> F)
    where
        F: Future<Output = ()>,
    {
        while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
            self.panicked(name);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Counts and logs a panic that was caught.
    pub(super) fn panicked(&self, what: &str) {
        self.panics.fetch_add(1, Relaxed);
        tracing::error!("the {what} panicked; delivery goes on without this result");
    }

    /// How many panics were caught.
    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Waits until everything that was spawned has ended.
    pub(super) async fn ended(&self) {
        #[cfg(not(shuttle))]
        {
            self.tracker.close();
            self.tracker.wait().await;
        }
        // What has ended may have spawned more.
        #[cfg(shuttle)]
        while let Some(one) = { self.spawned().pop() } {
            one.await.ok();
        }
    }

    #[cfg(shuttle)]
    fn spawned(&self) -> std::sync::MutexGuard<'_, Vec<shuttle::future::JoinHandle<()>>> {
        self.spawned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The future's value, if the first poll returns it.
pub(super) fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_counted_and_goes_on() {
        let (tasks, turns) = (Tasks::new(None), AtomicU32::new(0));
        let work =
            || async { assert!(turns.fetch_add(1, SeqCst) > 1, "this is the test's own panic") };
        tasks.keep_going("loop of a test", work).await;
        assert_eq!((turns.into_inner(), tasks.panics()), (3, 2));
    }
}
