//! The outbox in a backend's own database: consumed from the start of the node until delivery has stopped.

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::metrics::MetricsError;
use doorstep_adapters::outbox::PostgresOutbox;
use doorstep_application::StopSignal;
use doorstep_application::outbox::{Consumer, ConsumerParts, InTransit, Unended, Withdrawals};
use doorstep_application::publishing::{DraftBounds, Publishing};
use doorstep_domain::ports::{Outcomes, SourceError};
use tokio::task::JoinHandle;

use super::Core;
use crate::config::{Config, ConfigError};

/// The configured outbox, before delivery exists.
pub(super) struct ConfiguredOutbox {
    source: Arc<PostgresOutbox>,
    unended: Arc<Unended>,
    in_transit: Arc<InTransit>,
}

/// The consumer at work.
pub(crate) struct RunningOutbox {
    consumer: JoinHandle<()>,
    stopped: StopSignal,
}

impl ConfiguredOutbox {
    /// `None` if no outbox is configured. Fails if this
    /// version cannot consume the installed outbox; waits for an unreachable database.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = config.outbox.url() else { return Ok(None) };
        let wrong = |error| ConfigError::Wrong(vec![format!("outbox.url: {error}")]);
        let source = Arc::new(PostgresOutbox::new(url).map_err(wrong)?);
        match source.check().await {
            Ok(()) | Err(SourceError::Unavailable(_)) => {}
            Err(error) => anyhow::bail!("outbox.url: {error}"),
        }
        let (unended, in_transit) = (Arc::new(Unended::new()), Arc::new(InTransit::new()));
        Ok(Some(Self { source, unended, in_transit }))
    }

    /// Hears which notifications have ended.
    pub(super) fn observer(&self) -> Arc<dyn Outcomes> {
        self.unended.clone()
    }

    /// Takes back what a backend wrote.
    pub(super) fn withdrawals(&self) -> Withdrawals {
        Withdrawals {
            source: self.source.clone(),
            in_transit: self.in_transit.clone(),
            unended: self.unended.clone(),
        }
    }

    /// Starts consuming.
    pub(super) fn start(
        self,
        core: &Core,
        publishing: Publishing,
        bounds: DraftBounds,
    ) -> Result<RunningOutbox, MetricsError> {
        let stopped = StopSignal::new();
        let unended = self.unended.clone();
        // What waits at a stop is not handed over: the next consumer finds it in the outbox.
        core.delivery.keep_elsewhere(move |id| unended.contains(id));
        let consumer = Consumer::new(ConsumerParts {
            source: self.source,
            publishing,
            unended: self.unended,
            in_transit: self.in_transit,
            bounds,
            stopping: core.stop.clone(),
            stopped: stopped.clone(),
        });
        core.metrics.outbox(&consumer.state())?;
        Ok(RunningOutbox { consumer: tokio::spawn(consumer.run()), stopped })
    }
}

impl RunningOutbox {
    /// Forgets what has ended and gives the lease back. Call it when delivery has stopped.
    pub(super) async fn stop(self, within: Duration) {
        self.stopped.give();
        let mut consumer = self.consumer;
        if tokio::time::timeout(within, &mut consumer).await.is_err() {
            consumer.abort();
            tracing::warn!("the outbox's database did not reply before the stop");
        }
    }
}
