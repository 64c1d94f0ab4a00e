//! Several nodes: the log in NATS, and what it means for the readiness of this one.

use std::sync::Arc;

use doorstep_application::delivery::{Delivery, SharedLog, Standing};
use doorstep_domain::ports::{Clock, Readiness, Ready, StoreError};

use crate::config::{Config, ConfigError};

/// Connects to the log of the cluster, if there is one.
#[cfg(feature = "cluster")]
pub(super) async fn join(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<SharedLog>> {
    use doorstep_adapters::nats::{LogStorage, NatsCredentials, NatsLog, NatsSettings, NatsTls};
    use doorstep_application::cluster::NodeId;

    use crate::config::cluster::{ReplicasChoice, StorageChoice};

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
    settings.replicas = match cluster.replicas {
        ReplicasChoice::One => 1,
        ReplicasChoice::Three => 3,
        ReplicasChoice::Five => 5,
    };
    let log = NatsLog::open(settings, clock.clone()).await;
    let log = log.map_err(|error| ConfigError::Wrong(vec![format!("cluster.nats: {error}")]))?;
    let mut node = [0; 16];
    getrandom::fill(&mut node)?;
    let servers = &cluster.nats.0;
    tracing::info!(cluster = name, servers, "joining the cluster");
    Ok(Some(SharedLog { log: Arc::new(log), node: NodeId(node), control: None }))
}

/// Without the feature there is no cluster; the configuration has refused one.
#[cfg(not(feature = "cluster"))]
pub(super) async fn join(_: &Config, _: &Arc<dyn Clock>) -> anyhow::Result<Option<SharedLog>> {
    Ok(None)
}

/// Ready is a node whose store answers, and that has read what the other nodes have accepted.
pub(super) struct NodeReadiness {
    pub(super) store: Arc<dyn Readiness>,
    pub(super) delivery: Arc<Delivery>,
}

#[async_trait::async_trait]
impl Readiness for NodeReadiness {
    async fn check(&self) -> Result<Ready, StoreError> {
        let store = self.store.check().await?;
        if !self.delivery.serves_arrivals() {
            return Ok(Ready::NotYet(
                "this node has not yet read what the other nodes have accepted".into(),
            ));
        }
        let standing = self.delivery.standing().map(|standing| standing.borrow().clone());
        Ok(match standing {
            Some(Standing::CutOff(why)) => {
                Ready::Degraded(format!("cut off from the log of the cluster: {why}"))
            }
            _ => store,
        })
    }
}

/// Tells in the log when this node is cut off, and when it is up to date.
pub(super) async fn watch(delivery: Arc<Delivery>) {
    let Some(mut standing) = delivery.standing() else { return };
    while standing.changed().await.is_ok() {
        if *standing.borrow_and_update() == Standing::UpToDate {
            let counts = delivery.cluster_counts().unwrap_or_default();
            tracing::info!(
                entries = counts.entries,
                open = counts.open,
                "up to date with the log of the cluster"
            );
        }
    }
}
