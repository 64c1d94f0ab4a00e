//! Where the node's figures are served: beside everything else, or at an address of their own.

use std::sync::Arc;

use anyhow::Context as _;
use doorstep_adapters::api;
use doorstep_adapters::http::{self, Router};
use doorstep_adapters::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The address of its own, taken before anything else is begun; none where there is no such setting.
pub(super) struct Figures(Option<TcpListener>);

impl Figures {
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let Some(address) = config.metrics.listen.0 else { return Ok(Self(None)) };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("metrics.listen: cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        tracing::info!(url = %format_args!("http://{address}/metrics"), "metrics are served apart");
        Ok(Self(Some(listener)))
    }

    /// Whether they are served beside everything else.
    pub(super) fn are_public(&self) -> bool {
        self.0.is_none()
    }

    /// The routes to serve beside everything else. At an address of their own, they are served from now on.
    pub(super) fn serve(
        self,
        config: &Config,
        metrics: Arc<Metrics>,
        stopping: &CancellationToken,
    ) -> Router {
        let routes = api::metrics::router(metrics);
        let Some(listener) = self.0 else { return routes };
        let routes = http::with_shared_layers(routes);
        tokio::spawn(http::serve(listener, routes, config.http(), stopping.clone()));
        Router::new()
    }
}
