//! The certificate of the listener, where it speaks TLS.

use std::sync::Arc;

use doorstep_adapters::tls::ServerCertificate;
use doorstep_domain::SystemClock;

use super::Core;
use crate::config::{Config, ConfigError};

/// Reads the certificate and its key, if they are configured.
pub(crate) fn certificate(config: &Config) -> Result<Option<Arc<ServerCertificate>>, ConfigError> {
    let Some(files) = config.server.tls.files() else { return Ok(None) };
    let certificate = ServerCertificate::load(files, Arc::new(SystemClock::start()));
    let certificate = certificate.map_err(|error| ConfigError::Wrong(vec![error.to_string()]))?;
    Ok(Some(Arc::new(certificate)))
}

/// Measures the certificate, and reads it again when its files change, until the node stops.
pub(super) fn follow(certificate: &Arc<ServerCertificate>, core: &Core) -> anyhow::Result<()> {
    let measured = Arc::clone(certificate);
    core.metrics.certificate(move || measured.expires_in())?;
    tokio::spawn(Arc::clone(certificate).follow(core.stopping.clone()));
    Ok(())
}
