//! Where `/metrics` is served: with everything else, or at an address of its own.

use anyhow::Context as _;
use doorstep_adapters::api;
use doorstep_adapters::http;
use doorstep_adapters::http::openapi::OpenApi as _;
use tokio::net::TcpListener;

use super::{Core, Routes};
use crate::config::Config;

/// The separate listener, if `metrics.listen` is set. Bound before anything is started.
pub(super) struct MetricsEndpoint(Option<TcpListener>);

impl MetricsEndpoint {
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let Some(address) = config.metrics.listen.0 else { return Ok(Self(None)) };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("metrics.listen: cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        tracing::info!(url = %format_args!("http://{address}/metrics"), "metrics are served at an address of their own");
        Ok(Self(Some(listener)))
    }

    /// The routes to serve with everything else. With a separate listener there are none, and serving there begins now.
    pub(super) fn routes(self, config: &Config, core: &Core) -> Routes {
        let routes = core.metrics_router();
        let Some(listener) = self.0 else {
            return Routes::described(routes, api::metrics::Description::openapi());
        };
        let routes = http::Endpoints::new(routes);
        tokio::spawn(http::serve(listener, routes, config.http(), core.stopping.clone()));
        Routes::default()
    }
}
