//! The log between nodes, with real servers of NATS.

mod contract;
mod refusals;
mod replicas;
mod survival;

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::nats::{NatsError, NatsLog, NatsSettings};
use doorstep_domain::SystemClock;

/// How long a cluster may take until it has a leader.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Opens a log, as soon as it can be.
pub(crate) async fn open(settings: &NatsSettings) -> NatsLog {
    let opened = async {
        loop {
            match try_to_open(settings).await {
                Ok(log) => return log,
                Err(NatsError::Unavailable(_) | NatsError::Unreachable(_)) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(READY_WITHIN, opened).await.expect("the log is opened")
}

async fn try_to_open(settings: &NatsSettings) -> Result<NatsLog, NatsError> {
    NatsLog::open(settings.clone(), Arc::new(SystemClock::start())).await
}

/// An operator's connection.
async fn operator(server: &str) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server).await.unwrap())
}
