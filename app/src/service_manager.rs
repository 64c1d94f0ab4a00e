//! The messages to systemd (`sd_notify`): one datagram each, to the socket that `NOTIFY_SOCKET` names. Without that
//! variable nothing is sent.
//!
//! The watchdog is fed by a task on the node's own runtime. Before each message, a new task takes every lock of delivery
//! once. So a message means: timers fire, the scheduler runs new tasks, and no lock of delivery is stuck. Whether the
//! database answers is not part of it, because a restart would not help; `/health/ready` says that.

#[cfg(unix)]
use std::io;
use std::time::Duration;

/// The connection to the service manager, if there is one.
pub(crate) struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The service manager of this process, as its environment says.
    pub(crate) fn of_this_process() -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        #[cfg(unix)]
        {
            use anyhow::Context as _;
            let name = variable("NOTIFY_SOCKET");
            let socket = name.map(|name| {
                connect(&name).with_context(|| format!("NOTIFY_SOCKET={name} cannot be used"))
            });
            Ok(Self { socket: socket.transpose()?, watchdog })
        }
        #[cfg(not(unix))]
        Ok(Self { watchdog })
    }

    /// The node serves.
    pub(crate) fn ready(&self, address: &str) {
        self.tell(&format!("READY=1\nSTATUS=serving at {address}"));
    }

    /// The node stops, which takes at most this long, whatever the unit file says.
    pub(crate) fn stopping(&self, within: Duration) {
        let within = within.saturating_add(Duration::from_secs(5)).as_micros();
        self.tell(&format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={within}"));
    }

    /// Feeds the watchdog, if the unit has one: twice per interval, as long as `alive` returns. Never ends.
    pub(crate) async fn feed(&self, alive: impl Fn() + Clone + Send + 'static) {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        feed(interval / 2, alive, || self.tell("WATCHDOG=1")).await;
    }

    fn tell(&self, message: &str) {
        #[cfg(unix)]
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::warn!("the service manager was not told {message:?}: {error}");
        }
        #[cfg(not(unix))]
        let _ = message;
    }
}

/// The watchdog's interval, if it is meant for this process.
fn watchdog(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    micros?.parse().ok().filter(|micros| *micros >= 2).map(Duration::from_micros)
}

async fn feed(every: Duration, alive: impl Fn() + Clone + Send + 'static, tell: impl Fn()) {
    loop {
        let alive = alive.clone();
        // A check that hangs or panics ends the messages, and the service manager acts.
        if tokio::spawn(async move { alive() }).await.is_err() {
            std::future::pending::<()>().await;
        }
        tell();
        tokio::time::sleep(every).await;
    }
}

#[cfg(unix)]
fn connect(name: &str) -> io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::unix::net::UnixDatagram;
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not stop the node.
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(abstract_name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name)?;
            socket.connect_addr(&address)?;
        }
        _ => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn the_watchdog_of_another_process_is_not_fed() {
        assert_eq!(watchdog(Some("2000000"), None, 7), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("7"), 7), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_until_a_check_fails() {
        let (checks, fed) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let alive = move || assert!(checks.fetch_add(1, SeqCst) < 3, "the fourth check fails");
        let feeding = feed(Duration::from_secs(1), alive, || {
            fed.fetch_add(1, SeqCst);
        });
        let ended = tokio::time::timeout(Duration::from_hours(1), feeding).await;
        assert!(ended.is_err());
        assert_eq!(fed.load(SeqCst), 3);
    }
}
