//! The port's contract, against one server. Three replicas are in `replicas.rs`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_adapters::nats::NatsSettings;
use doorstep_domain::ports::Log;
use doorstep_tests::contract::log::{LogUnderTest, check_log};
use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::nats::NatsServer;
use tokio::sync::Mutex;

use super::{open, operator};

/// One server, and a network before it.
struct OneServer {
    server: Mutex<NatsServer>,
    proxy: FreezingProxy,
    direct: String,
}

#[async_trait]
impl LogUnderTest for OneServer {
    async fn node(&self) -> Arc<dyn Log> {
        let mut settings = NatsSettings::new(self.proxy.url(), "contract");
        settings.answer_within = Duration::from_secs(2);
        Arc::new(open(&settings).await)
    }

    async fn silence(&self) {
        self.proxy.freeze(true);
    }

    async fn speak(&self) {
        self.proxy.freeze(false);
    }

    async fn restart(&self) {
        self.server.lock().await.start_again();
    }

    async fn lose(&self) {
        operator(&self.direct).await.delete_stream("DOORSTEP_contract").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_nats_keeps_the_contract() {
    let server = NatsServer::start();
    let direct = server.url();
    let proxy = FreezingProxy::before_nats(&direct).await;
    check_log(&OneServer { server: Mutex::new(server), proxy, direct }).await;
}
