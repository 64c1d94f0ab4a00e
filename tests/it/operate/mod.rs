//! What operators and their tools use: the health check as a command, the messages to systemd, the configuration as a
//! file and as a schema, completions and man pages, metrics with their alerts, traces, and the files under `app/deploy`.

mod alerts;
mod config;
pub(crate) mod everything;
mod healthcheck;
mod metrics;
mod paperwork;
mod reload;
mod systemd;
mod tracing;
