//! Logs to standard error, for people or for programs.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::output;

/// Installs the subscriber. Only the first call in a process has an effect.
pub(crate) fn init(log: &LogConfig) {
    // The configuration has checked the filter already.
    let filter = EnvFilter::new(&log.filter.0);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Otherwise it reports to standard error that standard error cannot be written to, and panics.
        .log_internal_errors(false);
    let installed = match log.format {
        LogFormat::Human => builder.with_ansi(output::colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("logs were set up before");
    }
}
