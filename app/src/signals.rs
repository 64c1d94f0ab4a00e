//! Signals: requests to stop, and to read the keys and the certificate again.

use std::io;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Process managers and terminals send one request as several signals, such as SIGINT and SIGTERM together. A signal that
/// follows another this soon is part of the same request.
const SAME: Duration = Duration::from_secs(2);

/// The meaning of a later signal, while the stop is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// None, because the handover would be lost. The stop has a limit of its own (`server.stop_within`).
    GoesOn,
    /// It ends the process at once, because nothing can be lost.
    EndsAtOnce,
}

/// A token that is cancelled by the first SIGTERM or Ctrl-C. SIGQUIT ends the process at once, at any time.
pub(crate) fn stop_requested(later: Later) -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let requested = stop.clone();
    tokio::spawn(async move {
        let mut previous: Option<Instant> = None;
        loop {
            let signal = signals.next().await;
            if signal == Request::Quit {
                tracing::warn!("SIGQUIT: ended at once; what was not handed over is lost");
                std::process::exit(1);
            }
            let name = signal.name();
            match previous {
                None => {
                    tracing::info!("{name}: stopping; SIGQUIT ends at once, and loses what waits");
                    requested.cancel();
                }
                Some(before) if before.elapsed() < SAME => {
                    tracing::info!("{name}: the same request once more; stopping");
                }
                Some(_) if later == Later::EndsAtOnce => {
                    tracing::warn!("{name} again: ended at once");
                    std::process::exit(1);
                }
                Some(_) => tracing::warn!(
                    "{name} again: still stopping, and what waits is not given up for it; SIGQUIT ends at once"
                ),
            }
            previous = Some(Instant::now());
        }
    });
    Ok(stop)
}

/// Makes a write beyond the limit on the size of a file (`ulimit -f`) fail, as on a full disk. Without this, the signal
/// SIGXFSZ ends the process.
pub(crate) fn survive_size_limits() -> io::Result<()> {
    #[cfg(unix)]
    {
        use nix::sys::signal::Signal::SIGXFSZ;
        use tokio::signal::unix::{SignalKind, signal};
        // The handler stays when the stream is dropped.
        drop(signal(SignalKind::from_raw(SIGXFSZ as i32))?);
    }
    Ok(())
}

/// A request by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    #[cfg(unix)]
    Terminate,
    Interrupt,
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    Quit,
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            #[cfg(unix)]
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "Ctrl-C",
            Self::Quit => "SIGQUIT",
        }
    }
}

/// Requests to read the keys and the certificate again: SIGHUP, which would otherwise end the process.
pub(crate) struct Reloads {
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

impl Reloads {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hang_up: signal(SignalKind::hangup())? })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if self.hang_up.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.quit.recv() => Request::Quit,
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.interrupt.recv() => Request::Interrupt,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Request {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal can be received.
            std::future::pending::<()>().await;
        }
        Request::Interrupt
    }
}
