//! Logs: to standard error, for people or for machines.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::output;

/// Installs the subscriber; the first call of a process counts.
pub(crate) fn init(log: &LogConfig) {
    // The configuration has checked the filter already.
    let filter = EnvFilter::new(&log.filter.0);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would say on standard error that it cannot write to standard error, and panic.
        .log_internal_errors(false);
    let installed = match log.format {
        LogFormat::Human => builder.with_ansi(output::colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("logs were set up before");
    }
}
