use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorstep_domain::ports::{Backlog, Fence, NotificationSource, SourceError};
use tokio::time::{Instant, MissedTickBehavior};

use super::Unended;
use super::in_transit::{InTransit, Transit};
use crate::StopSignal;
use crate::publishing::{DraftBounds, Publishing};

/// The largest batch.
pub(super) const BATCH: usize = 500;
/// How often the lease is extended.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// A lease that could not be extended for this long may be another node's.
const LEASE: Duration = Duration::from_secs(5);
/// How often a node without the lease tries to take it.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// The longest wait before the source is asked again, whatever it says.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long rows that have ended wait for others, to be forgotten together.
const LINGER: Duration = Duration::from_millis(50);
/// How often the backlog is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Consumes an outbox while it has the lease.
pub struct Consumer {
    pub(super) parts: ConsumerParts,
    pub(super) state: Arc<ConsumerState>,
    /// When the lease was last extended, and whether it is lost.
    held: Mutex<Option<Instant>>,
}

opaque!(Consumer);

/// The parts of a consumer.
pub struct ConsumerParts {
    /// Where notifications come from.
    pub source: Arc<dyn NotificationSource>,
    /// Where they go.
    pub publishing: Publishing,
    /// The rows that have not ended; it must be among the observers of outcomes.
    pub unended: Arc<Unended>,
    /// What is on its way to delivery.
    pub in_transit: Arc<InTransit>,
    /// The limits that drafts must respect.
    pub bounds: DraftBounds,
    /// Given when the node stops: nothing more is taken then.
    pub stopping: StopSignal,
    /// Given when delivery has stopped: what has ended is forgotten, and the lease is given back.
    pub stopped: StopSignal,
}

opaque!(ConsumerParts);

/// Figures of a consumer, for metrics.
#[derive(Debug, Default)]
pub struct ConsumerState {
    backlog: Mutex<Option<Backlog>>,
    consumed: AtomicU64,
    pub(super) rejected: AtomicU64,
    consumes: AtomicBool,
}

impl ConsumerState {
    /// How much waits, as measured within the last seconds; `None` where this node does not consume.
    pub fn backlog(&self) -> Option<Backlog> {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows were taken since the start, bad ones included.
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Relaxed)
    }

    /// How many rows were put aside since the start.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Whether this node has the lease.
    pub fn consumes(&self) -> bool {
        self.consumes.load(Relaxed)
    }

    fn set(&self, backlog: Option<Backlog>) {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner) = backlog;
    }
}

impl Consumer {
    /// Puts the parts together.
    pub fn new(parts: ConsumerParts) -> Self {
        Self { parts, state: Arc::default(), held: Mutex::new(None) }
    }

    /// What can be seen of it while it runs.
    pub fn state(&self) -> Arc<ConsumerState> {
        self.state.clone()
    }

    /// Consumes until the node has stopped.
    pub async fn run(self) {
        let mut complaint = String::new();
        while !self.parts.stopping.is_given() {
            match self.parts.source.lease().await {
                Ok(Some(fence)) => {
                    complaint.clear();
                    tracing::info!(fence = fence.0, "consumes the outbox");
                    self.extended(Instant::now());
                    self.state.consumes.store(true, Relaxed);
                    let end = self.hold(fence).await;
                    self.state.consumes.store(false, Relaxed);
                    self.state.set(None);
                    if let Err(error) = end {
                        tracing::warn!(%error, "stopped consuming the outbox");
                    }
                }
                Ok(None) => {}
                // Each reason is logged once.
                Err(error) => {
                    let reason = error.to_string();
                    if reason != complaint {
                        tracing::warn!(%error, "cannot consume the outbox; trying again");
                        complaint = reason;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(TRY_EVERY) => {}
                () = self.parts.stopping.given() => {}
            }
        }
    }

    /// Consumes while the lease lasts. Returns without an error when the node has stopped.
    async fn hold(&self, fence: Fence) -> Result<(), SourceError> {
        let end = tokio::select! {
            lost = self.keep(fence) => Err(lost),
            end = self.consume(fence) => end,
            never = self.measure() => match never {},
        };
        // What was not published stays accepted, for the next consumer.
        *self.parts.in_transit.lock().await = Transit::default();
        end
    }

    /// Extends the lease until it is lost.
    async fn keep(&self, fence: Fence) -> SourceError {
        let mut ticks = tokio::time::interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            match self.parts.source.renew(fence).await {
                Ok(()) => self.extended(begun),
                Err(SourceError::Unavailable(reason)) => {
                    if let Err(lost) = self.still_mine() {
                        return lost;
                    }
                    tracing::warn!(%reason, "the lease of the outbox was not extended");
                }
                Err(error) => return error,
            }
        }
    }

    fn extended(&self, at: Instant) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Fails when another node may have the lease by now.
    pub(super) fn still_mine(&self) -> Result<(), SourceError> {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held {
            Some(at) if at.elapsed() < LEASE => Ok(()),
            _ => Err(SourceError::LeaseLost),
        }
    }

    async fn consume(&self, fence: Fence) -> Result<(), SourceError> {
        self.take_up_accepted(fence).await?;
        let mut forgotten = Instant::now();
        while !self.parts.stopping.is_given() {
            self.still_mine()?;
            if forgotten.elapsed() >= LINGER || self.parts.unended.ended() >= BATCH {
                self.forget(fence).await?;
                forgotten = Instant::now();
            }
            let rows = self.parts.source.take(BATCH).await?;
            if rows.is_empty() {
                self.idle(fence).await?;
                continue;
            }
            let count = rows.len().try_into().unwrap_or(u64::MAX);
            self.take(fence, rows).await?;
            self.state.consumed.fetch_add(count, Relaxed);
        }
        self.wind_up(fence).await
    }

    /// Measures the backlog now and then. Figures that cannot be had stop nothing.
    async fn measure(&self) -> Infallible {
        loop {
            let backlog = self.parts.source.backlog().await;
            if let Err(error) = &backlog {
                tracing::debug!(%error, "the backlog of the outbox is not known");
            }
            self.state.set(backlog.ok());
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }

    /// First of all, what an earlier consumer had accepted.
    async fn take_up_accepted(&self, fence: Fence) -> Result<(), SourceError> {
        let (mut after, mut count) = (0, 0);
        while !self.parts.stopping.is_given() {
            let Some((some, last)) = self.take_up(fence, after).await? else { break };
            (after, count) = (last, count + some);
        }
        if count > 0 {
            tracing::info!(count, "took up what an earlier consumer of the outbox had accepted");
        }
        Ok(())
    }

    /// Waits until there may be rows. Deletes ended rows while it waits.
    async fn idle(&self, fence: Fence) -> Result<(), SourceError> {
        let written = self.parts.source.written(LOOK_EVERY);
        tokio::pin!(written);
        loop {
            tokio::select! {
                () = &mut written => return Ok(()),
                () = self.parts.stopping.given() => return Ok(()),
                () = self.parts.unended.some_ended() => {}
            }
            tokio::select! {
                () = &mut written => return Ok(()),
                () = self.parts.stopping.given() => return Ok(()),
                () = tokio::time::sleep(LINGER) => {}
            }
            self.forget(fence).await?;
        }
    }

    /// Forgets the rows that have ended.
    pub(super) async fn forget(&self, fence: Fence) -> Result<(), SourceError> {
        while self.parts.unended.ended() > 0 {
            let places = self.parts.unended.take_ended(BATCH);
            let forgotten = self.parts.source.forget(fence, &places).await;
            if forgotten.is_err() {
                self.parts.unended.put_back(places);
            }
            forgotten?;
        }
        Ok(())
    }

    /// The node is stopping: rows that end before delivery has
    /// stopped are deleted. The rest stays accepted, for the next consumer.
    async fn wind_up(&self, fence: Fence) -> Result<(), SourceError> {
        while !self.parts.stopped.is_given() {
            tokio::select! {
                () = self.parts.stopped.given() => {}
                () = self.parts.unended.some_ended() => self.forget(fence).await?,
            }
        }
        self.forget(fence).await?;
        self.parts.source.release(fence).await
    }
}
