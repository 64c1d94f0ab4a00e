//! `doorstep serve`: from a free port to a clean stop.

use std::io::{self, Write};
use std::pin::pin;

use anyhow::Context;
use doorstep_adapters::http::{Address, Listener};
use doorstep_adapters::tls::ServerCertificate;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::composition::{self, Options, RunningNode, Stores};
use crate::config::{Config, Listen, Loaded, LogFormat, SettingChange, Sources};
use crate::output;
use crate::service_manager::ServiceManager;
use crate::signals::Reloads;

/// Serves until asked to stop.
///
/// `sources` are the layers of the configuration, which are read again on SIGHUP.
pub(crate) async fn run(
    loaded: &Loaded,
    sources: Sources,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = &loaded.config;
    let mut reloads = Reloads::new()?;
    let manager = ServiceManager::of_this_process()?;
    let certificate = composition::certificate(config)?;
    let listener = bind(&config.listen, certificate.as_deref()).await?;
    let stores = tokio::select! {
        store = composition::open_store(config) => Stores::all_in(store?),
        // Ctrl-C must work while a store does not respond.
        () = stop.cancelled() => return Ok(()),
    };
    // From here on the node holds what an earlier process left, so a start is always completed, and then stopped.
    let node =
        composition::start_with(config, stores, listener, certificate, Options::default()).await?;
    let announced = announce(node.address(), config).context("standard output is closed");
    if announced.is_ok() {
        manager.ready(&node.address().to_string());
    }
    let mut reloaded: Option<Loaded> = None;
    let mut watchdog = pin!(manager.feed(node.liveness()));
    while announced.is_ok() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = reloads.next() => match reload(&node, loaded, reloaded.as_ref(), sources.clone()) {
                Ok(newer) => reloaded = Some(newer),
                Err(error) => {
                    tracing::error!("nothing was reloaded from the configuration: {error:#}");
                }
            },
            () = &mut watchdog => {}
        }
    }
    manager.stopping(config.server.stop_within.0);
    let mut end = pin!(node.stop());
    let lost = loop {
        tokio::select! {
            lost = &mut end => break lost,
            () = &mut watchdog => {}
        }
    };
    announced?;
    // Without a handover, losing what waits is what the configuration asks for.
    anyhow::ensure!(
        lost == 0 || !config.handover.enabled,
        "{lost} {} lost: the store did not take them before the stop",
        if lost == 1 { "notification was" } else { "notifications were" }
    );
    Ok(())
}

/// Reads the certificate and the configuration again, each by itself: a renewed certificate must not wait until a mistake
/// in the configuration is corrected. A file that is unreadable or empty changes nothing, because a mistake must not lock
/// every backend out.
///
/// `started` is what the node runs with, and `last` what the last reload read.
fn reload(
    node: &RunningNode,
    started: &Loaded,
    last: Option<&Loaded>,
    sources: Sources,
) -> anyhow::Result<Loaded> {
    node.reload_certificate();
    let loaded = Config::load_again(started, sources)?;
    node.reload(&loaded.config)?;
    for change in
        last.unwrap_or(started).changes(&loaded).into_iter().filter(SettingChange::is_live)
    {
        tell(&change, "taken over");
    }
    for change in started.changes(&loaded).into_iter().filter(|change| !change.is_live()) {
        tell(&change, "needs a restart");
    }
    Ok(loaded)
}

fn tell(change: &SettingChange, what: &str) {
    let SettingChange { key, before, after } = change;
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    tracing::info!("{key} changed from {} to {}: {what}", shown(before), shown(after));
}

async fn bind(
    listen: &Listen,
    certificate: Option<&ServerCertificate>,
) -> anyhow::Result<Listener> {
    let address = match listen {
        Listen::Tcp(address) => *address,
        Listen::Unix(path) => return Ok(Listener::unix(path).await?),
    };
    let listener = TcpListener::bind(address).await.map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use: stop the process that listens there, or choose another with --listen \
             (port 0 picks a free one)"
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "you may not listen on {address}: ports below 1024 are privileged; choose another with \
             --listen"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{address} is not an address of this machine: choose another with --listen, such as 0.0.0.0:{}",
            address.port()
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {e}"),
    })?;
    Ok(match certificate {
        Some(certificate) => Listener::tls(listener, certificate.configs()),
        None => listener.into(),
    })
}

const DEMO: &str = "Or:      doorstep demo             every delivery policy side by side";
const API: &str = "Or:      GET /openapi.json         the API of this node";

/// Prints one line for programs, and a few for people.
fn announce(address: &Address, config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()?;
    // A reader of JSON logs is a program, and needs no suggestions.
    if config.log.format == LogFormat::Human
        && let Some(page) = page(address)
    {
        let (try_it, or) = if config.trading.enabled {
            (format!("open {page} in a browser, and come late"), DEMO)
        } else {
            ("doorstep key new NAME     a key with which a backend publishes".to_owned(), API)
        };
        output::remark(format_args!(
            "\n  Try it:  {try_it}\n  {or}\n           \
             doorstep listen --help    a user's notifications, in your terminal\n\n  \
             Ctrl-C stops it.\n"
        ));
    }
    Ok(())
}

/// Where a browser on this machine finds the page.
fn page(address: &Address) -> Option<String> {
    let (scheme, address) = match address {
        Address::Tcp(address) => ("http", address),
        Address::Tls(address) => ("https", address),
        Address::Unix(_) => return None,
    };
    Some(match address.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://localhost:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    })
}
