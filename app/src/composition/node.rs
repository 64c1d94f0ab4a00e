//! A running service. The order of its stop is in `stop`.

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::bus::Bus;
use doorstep_adapters::http::Address;
use doorstep_adapters::tls::ServerCertificate;
use doorstep_application::StopSignal;
use doorstep_application::trading::Watcher;
use tokio::task::JoinHandle;

use super::Core;
use super::backends::Backends;
use super::cluster::ClusterNode;
use super::outbox::RunningOutbox;
use super::stores::Stores;
use crate::config::Config;

/// A running service. [`stop`](Self::stop) ends it in order.
pub(crate) struct RunningNode {
    pub(super) address: Address,
    /// `None` without TLS.
    pub(super) certificate: Option<Arc<ServerCertificate>>,
    pub(super) stores: Stores,
    pub(super) core: Core,
    pub(super) bus: Bus,
    pub(super) backends: Backends,
    /// `None` when no outbox is configured.
    pub(super) outbox: Option<RunningOutbox>,
    /// `None` for a node alone.
    pub(super) cluster: Option<ClusterNode>,
    /// `None` without the simulation.
    pub(super) market: Option<RunningMarket>,
    pub(super) http: JoinHandle<()>,
    pub(super) stop_within: Duration,
    pub(super) drain: Duration,
}

/// The task that takes prices and settles the positions whose triggers they cross.
pub(super) struct RunningMarket {
    pub(super) prices: JoinHandle<()>,
    pub(super) closing: StopSignal,
    pub(super) watcher: Arc<Watcher>,
}

impl RunningNode {
    /// The address on which it serves.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// How often delivery has checked whether a user is online.
    pub(crate) fn presence_checks(&self) -> u64 {
        self.core.delivery.presence_checks()
    }

    /// Takes every lock of delivery once, and so does not return while one of them is stuck.
    pub(crate) fn liveness(&self) -> impl Fn() + Clone + Send + 'static + use<> {
        let delivery = self.core.delivery.clone();
        move || {
            delivery.held();
        }
    }

    /// Reads the certificate again, if the listener speaks TLS.
    pub(crate) fn reload_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            certificate.reload();
        }
    }

    /// Applies the settings that can change while serving.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.backends.reload(config)
    }
}
