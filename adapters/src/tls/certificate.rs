use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::files::{Pair, TlsError, TlsFiles};
use super::stamp::Stamp;
use super::validity::Validity;
use crate::http::rfc3339;

/// How often the files are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(10);

/// The certificate of the server with its key, read again when its files change.
pub struct ServerCertificate {
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    current: watch::Sender<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What was seen when the files were read last, whether they could be used or not.
struct Seen {
    stamps: Stamps,
    /// Until when the certificate in use is valid.
    ends: Option<Timestamp>,
}

type Stamps = [Option<Stamp>; 2];

impl ServerCertificate {
    /// Reads both files. A certificate that is not valid now is used, with a warning: clients that check it will say
    /// so, and others are served.
    pub fn load(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let Pair { config, validity } = files.read()?;
        report(validity, clock.wall(), "serving TLS");
        let seen = Seen { stamps, ends: validity.map(|validity| validity.ends) };
        Ok(Self { files, clock, current: watch::Sender::new(config), seen: Mutex::new(seen) })
    }

    /// The TLS configuration for the next connection.
    pub fn configs(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// For how many seconds the certificate is still valid; negative after its end. `None` if it does not say.
    pub fn expires_in(&self) -> Option<i64> {
        let ends = self.seen().ends?;
        Some((ends.as_micros() - self.clock.wall().as_micros()).div_euclid(1_000_000))
    }

    /// Reads both files again. If they cannot be used, the certificate in use stays, and the log says why.
    pub fn reload(&self) {
        self.reload_into(&mut self.seen());
    }

    /// Reads the files again whenever they have changed, until `stopping` is cancelled.
    pub async fn follow(self: Arc<Self>, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            // The files may be on a disk that does not respond.
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || this.reload_if_changed()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the files of the certificate could not be looked at");
            }
        }
    }

    /// Returns whether they have changed. So a pair that cannot be used is reported once, and not at each look.
    pub(super) fn reload_if_changed(&self) -> bool {
        let mut seen = self.seen();
        let changed = stamps(&self.files) != seen.stamps;
        if changed {
            self.reload_into(&mut seen);
        }
        changed
    }

    fn reload_into(&self, seen: &mut Seen) {
        // Taken first: what changes while the files are read is seen at the next look.
        seen.stamps = stamps(&self.files);
        match self.files.read() {
            Ok(Pair { config, validity }) => {
                seen.ends = validity.map(|validity| validity.ends);
                self.current.send_replace(config);
                // Logged last, because operators rely on this line.
                report(validity, self.clock.wall(), "reloaded the certificate");
            }
            Err(error) => tracing::error!("{error}; the certificate in use stays"),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [Stamp::of(&files.certificate), Stamp::of(&files.key)]
}

fn report(validity: Option<Validity>, now: Timestamp, what: &str) {
    let Some(Validity { begins, ends }) = validity else {
        tracing::info!("{what}; the certificate does not say until when it is valid");
        return;
    };
    let (begins_at, ends_at) = (rfc3339(begins), rfc3339(ends));
    if now > ends {
        tracing::warn!(expired = ends_at, "{what}, but the certificate has expired: renew it");
    } else if now < begins {
        tracing::warn!(begins = begins_at, "{what}, but the certificate is not valid yet");
    } else {
        tracing::info!(expires = ends_at, "{what}");
    }
}
