use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::bus::Bus;
use doorstep_adapters::http::Address;
use doorstep_adapters::sql;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::backends::Backends;
use super::outbox::RunningOutbox;
use crate::config::Config;

/// One running service. `stop` ends it in order.
pub(crate) struct Node {
    pub(super) address: Address,
    /// None where nothing is kept.
    pub(super) store: Option<Arc<sql::Store>>,
    pub(super) core: Core,
    pub(super) bus: Bus,
    pub(super) backends: Backends,
    /// None where none is configured.
    pub(super) outbox: Option<RunningOutbox>,
    /// None without the simulation.
    pub(super) market: Option<RunningMarket>,
    pub(super) http: JoinHandle<()>,
    pub(super) stop_within: Duration,
}

/// The task that takes prices and settles what they cross.
pub(super) struct RunningMarket {
    pub(super) prices: JoinHandle<()>,
    pub(super) closing: CancellationToken,
}

impl Node {
    /// Where it serves.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// How often delivery has looked whether a user is there.
    pub(crate) fn presence_checks(&self) -> u64 {
        self.core.delivery.presence_checks()
    }

    /// Takes over what can be changed while serving.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.backends.reload(config)
    }
}
