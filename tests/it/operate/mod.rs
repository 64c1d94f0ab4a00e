//! What operators and their tools use: the health check as a command, the messages to systemd, the configuration as a
//! file and as a schema, completions and man pages, and the files under `app/deploy`.

mod config;
mod healthcheck;
mod paperwork;
mod reload;
mod systemd;
