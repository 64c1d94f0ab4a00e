//! A node that has joined a cluster.

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::metrics::MetricsError;
use doorstep_adapters::nats::{
    LogStorage, NatsCredentials, NatsError, NatsLog, NatsPeers, NatsSettings, NatsTls,
};
use doorstep_adapters::publish::{ClusterNodes, ClusterOverview, NodeOverview};
use doorstep_application::cluster::NodeId;
use doorstep_application::delivery::{SharedLog, Standing};
use doorstep_domain::ports::{Clock, Presence};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::Core;
use crate::config::cluster::StorageChoice;
use crate::config::{Config, ConfigError};

/// The log that the nodes share, and the other nodes.
pub(in super::super) struct ClusterNode {
    log: Arc<NatsLog>,
    peers: Arc<NatsPeers>,
    node: NodeId,
}

/// Several servers of NATS that have just started need some seconds until one of them leads.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// Connects to the log of the cluster, if there is one. `address` is where this node serves.
pub(in super::super) async fn join(
    config: &Config,
    clock: &Arc<dyn Clock>,
    address: &str,
) -> anyhow::Result<Option<ClusterNode>> {
    let cluster = &config.cluster;
    if !cluster.is_on() {
        return Ok(None);
    }
    let name = cluster.name.text().unwrap_or_default();
    let mut settings = NatsSettings::new("", &name);
    settings.servers = cluster.nats.0.split(',').map(|server| server.trim().to_owned()).collect();
    settings.credentials = match (cluster.credentials.text(), cluster.user.text()) {
        (Some(file), _) => NatsCredentials::File(file.into()),
        (None, Some(user)) => NatsCredentials::Password(user, cluster.password.0.clone()),
        (None, None) if !cluster.nkey.0.is_empty() => NatsCredentials::Nkey(cluster.nkey.0.clone()),
        (None, None) => NatsCredentials::None,
    };
    let certificate = cluster.cert.text().zip(cluster.key.text());
    settings.tls = NatsTls {
        required: settings.servers.iter().any(|server| server.starts_with("tls://")),
        authorities: cluster.ca_file.text().map(Into::into),
        certificate: certificate.map(|(certificate, key)| (certificate.into(), key.into())),
    };
    settings.storage = match cluster.storage {
        StorageChoice::File => LogStorage::File,
        StorageChoice::Memory => LogStorage::Memory,
    };
    settings.replicas = cluster.replicas.0;
    let log = Arc::new(open(&settings, clock).await?);
    let mut node = [0; 16];
    getrandom::fill(&mut node)?;
    let id = Uuid::from_bytes(node).simple().to_string();
    let servers = &cluster.nats.0;
    tracing::info!(cluster = name, servers, node = id, "joining the cluster");
    let peers = Arc::new(NatsPeers::of(&log, id, address.to_owned()));
    Ok(Some(ClusterNode { log, peers, node: NodeId(node) }))
}

/// Opens the log. What can pass by itself is no fault of the configuration, so that whoever restarts the node goes on
/// to try.
async fn open(settings: &NatsSettings, clock: &Arc<dyn Clock>) -> anyhow::Result<NatsLog> {
    let begun = Instant::now();
    loop {
        match NatsLog::open(settings.clone(), clock.clone()).await {
            Ok(log) => return Ok(log),
            Err(error @ NatsError::Unavailable(_)) if begun.elapsed() < LEADER_WITHIN => {
                tracing::warn!(%error, "the log of the cluster is not there yet: tries again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error @ (NatsError::Unavailable(_) | NatsError::Unreachable(_))) => {
                anyhow::bail!("cluster.nats: {error}")
            }
            Err(error) => {
                return Err(ConfigError::Wrong(vec![format!("cluster.nats: {error}")]).into());
            }
        }
    }
}

impl ClusterNode {
    /// What delivery needs of it.
    pub(in super::super) fn shared(&self) -> SharedLog {
        SharedLog {
            log: self.log.clone(),
            node: self.node,
            control: None,
            elsewhere: Some(self.elsewhere()),
        }
    }

    /// Whether users are connected to other nodes.
    pub(in super::super) fn elsewhere(&self) -> Arc<dyn Presence> {
        self.peers.clone()
    }

    /// Begins to talk to the other nodes, and adds its figures to the metrics.
    pub(in super::super) fn begin(&self, core: &Core) -> Result<(), MetricsError> {
        let status = self.status(core);
        self.peers.begin(core.connections.clone(), status);
        let log = self.log.clone();
        core.metrics.cluster(&core.delivery, move || log.figures())
    }

    /// What `GET /v1/cluster` shows.
    pub(in super::super) fn nodes(&self, core: &Core) -> ClusterNodes {
        let (peers, status) = (self.peers.clone(), self.status(core));
        Arc::new(move || {
            let (node, others) = peers.nodes();
            let (status, lag_entries) = status();
            let this = NodeOverview {
                id: node.id.clone(),
                name: node.name.clone(),
                version: node.version.clone(),
                status: status.into(),
                lag_entries,
            };
            let others = others.into_iter().map(|other| NodeOverview {
                id: other.id,
                name: other.name,
                version: other.version,
                status: other.status,
                lag_entries: other.lag_entries,
            });
            ClusterOverview {
                node: node.id.clone(),
                nodes: [this].into_iter().chain(others).collect(),
            }
        })
    }

    /// Tells the other nodes that this one is gone.
    pub(in super::super) async fn leave(&self) {
        self.peers.leave().await;
    }

    /// How this node stands to the log, and how many entries it has still to read.
    fn status(&self, core: &Core) -> impl Fn() -> (&'static str, u64) + Send + Sync + 'static {
        let (log, delivery) = (self.log.clone(), core.delivery.clone());
        move || {
            let standing = delivery.standing().map(|standing| standing.borrow().clone());
            let word = match standing {
                Some(Standing::UpToDate) => "up_to_date",
                Some(Standing::CutOff(_)) => "cut_off",
                Some(Standing::CatchingUp) | None => "catching_up",
            };
            (word, log.figures().lag)
        }
    }
}
