//! Without the feature `cluster` there is no cluster; the configuration has refused one.

use std::sync::Arc;

use doorstep_adapters::metrics::MetricsError;
use doorstep_adapters::publish::ClusterNodes;
use doorstep_application::delivery::SharedLog;
use doorstep_application::trading::SharedPrices;
use doorstep_domain::ports::{Clock, Lease, Presence};

use super::super::Core;
use crate::config::Config;

/// There is none.
pub(in super::super) enum ClusterNode {}

pub(in super::super) async fn join(
    _: &Config,
    _: &Arc<dyn Clock>,
    _: &str,
) -> anyhow::Result<Option<ClusterNode>> {
    Ok(None)
}

#[expect(clippy::unused_async, reason = "like those of a node of a cluster")]
impl ClusterNode {
    pub(in super::super) fn shared(&self) -> SharedLog {
        match *self {}
    }

    pub(in super::super) fn elsewhere(&self) -> Arc<dyn Presence> {
        match *self {}
    }

    pub(in super::super) fn share_prices(
        &mut self,
        _: Arc<dyn Lease>,
        _: std::time::Duration,
    ) -> Arc<SharedPrices> {
        match *self {}
    }

    pub(in super::super) fn begin(&self, _: &Core) -> Result<(), MetricsError> {
        match *self {}
    }

    pub(in super::super) fn nodes(&self, _: &Core) -> ClusterNodes {
        match *self {}
    }

    pub(in super::super) async fn leave(&self) {
        match *self {}
    }
}
