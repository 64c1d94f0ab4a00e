use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::error::said;

/// What `doorstep.publish` notifies.
pub(super) const CHANNEL: &str = "doorstep_outbox";

/// How often rows are looked for where nobody wakes the consumer.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// The pause before listening again.
const AGAIN: Duration = Duration::from_secs(1);

const UNKNOWN: u8 = 0;
const WORKS: u8 = 1;
const SILENT: u8 = 2;

/// LISTEN on a connection of its own, and what proves that it works: a NOTIFY that comes back.
pub(super) struct Listening {
    shared: Arc<ListenState>,
    task: JoinHandle<()>,
}

struct ListenState {
    bell: Notify,
    again: Notify,
    /// Tells this consumer's own notifications from those of others.
    token: String,
    sent: AtomicU64,
    came_back: AtomicU64,
    state: AtomicU8,
}

impl Listening {
    pub(super) fn start(options: PgConnectOptions, token: String) -> Self {
        let shared = Arc::new(ListenState {
            bell: Notify::new(),
            again: Notify::new(),
            token,
            sent: AtomicU64::new(0),
            came_back: AtomicU64::new(0),
            state: AtomicU8::new(UNKNOWN),
        });
        let task = tokio::spawn(listen(options, shared.clone()));
        Self { shared, task }
    }

    /// The payload of the next notification to itself, to be sent now. If the one before has not come back by now,
    /// LISTEN does not work.
    pub(super) fn next_proof(&self) -> String {
        let shared = &self.shared;
        let sent = shared.sent.load(Relaxed);
        if sent > shared.came_back.load(Relaxed) {
            if shared.state.swap(SILENT, Relaxed) != SILENT {
                tracing::warn!(
                    "a NOTIFY to itself did not come back, as behind a pooler that lends connections for a \
                     transaction: polling the outbox every 100 ms"
                );
            }
            // The connection may be dead without a word.
            if sent.is_multiple_of(5) {
                shared.again.notify_one();
            }
        }
        let next = shared.sent.fetch_add(1, Relaxed) + 1;
        format!("{} {next}", shared.token)
    }

    /// Waits until something may have been written.
    pub(super) async fn heard(&self, at_most: Duration) {
        let works = self.shared.state.load(Relaxed) == WORKS;
        let patience = if works { at_most } else { at_most.min(POLL_EVERY) };
        tokio::time::timeout(patience, self.shared.bell.notified()).await.ok();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Without anybody to wake the consumer.
pub(super) async fn poll(at_most: Duration) {
    tokio::time::sleep(at_most.min(POLL_EVERY)).await;
}

async fn listen(options: PgConnectOptions, shared: Arc<ListenState>) {
    loop {
        tokio::select! {
            end = hear(&options, &shared) => if let Err(error) = end {
                tracing::debug!(error = %said(&error), "LISTEN ended");
            },
            () = shared.again.notified() => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear(options: &PgConnectOptions, shared: &ListenState) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    // Something may have been written before.
    shared.bell.notify_one();
    while let Some(notification) = listener.try_recv().await? {
        match notification.payload().rsplit_once(' ') {
            Some((token, number)) => {
                if token == shared.token {
                    shared.came_back(number.parse().unwrap_or(0));
                }
            }
            None => shared.bell.notify_one(),
        }
    }
    Ok(())
}

impl ListenState {
    fn came_back(&self, number: u64) {
        self.came_back.fetch_max(number, Relaxed);
        if number == self.sent.load(Relaxed) && self.state.swap(WORKS, Relaxed) != WORKS {
            tracing::info!("the outbox wakes this node by NOTIFY");
        }
    }
}
