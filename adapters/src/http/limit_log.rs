use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::client_address::ClientAddress;

/// Logs that a limit was reached, and which setting to change. At most one line per minute and limit, because a
/// flood of refusals must not become a flood of lines.
#[derive(Debug)]
pub(crate) struct LimitLog {
    setting: &'static str,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// How often the limit was reached since that line.
    silent: u64,
}

impl LimitLog {
    const EVERY: Duration = Duration::from_mins(1);

    /// The log of the limit that this setting sets, such as `limits.connections_per_address`.
    pub(crate) fn new(setting: &'static str) -> Self {
        Self { setting, said: Mutex::default() }
    }

    /// Records that this client was refused.
    pub(crate) fn reached(&self, client: &ClientAddress) {
        let Some(silent) = self.due() else { return };
        let (setting, shown) = (self.setting, client.shown());
        if client.may_be_proxy() {
            tracing::warn!(
                client = %shown, setting, refused_before = silent,
                "an address has reached the limit, and may be a proxy with many clients behind it: then list it in \
                 server.trusted_proxies, or raise the setting"
            );
        } else {
            tracing::warn!(
                client = %shown, setting, refused_before = silent,
                "an address has reached the limit that this setting sets"
            );
        }
    }

    /// Records a refusal that is not about an address, such as one more connection of a user.
    #[cfg(any(feature = "sse", feature = "websocket"))]
    pub(crate) fn reached_by(&self, who: impl std::fmt::Display) {
        let Some(silent) = self.due() else { return };
        tracing::warn!(
            %who, setting = self.setting, refused_before = silent,
            "the limit that this setting sets was reached"
        );
    }

    /// The number of refusals that were not logged since the last line, if another line is due.
    fn due(&self) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| last.elapsed() < Self::EVERY) {
            said.silent += 1;
            return None;
        }
        said.last = Some(Instant::now());
        Some(std::mem::take(&mut said.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_a_minute() {
        let log = LimitLog::new("limits.connections_per_address");
        assert_eq!(log.due(), Some(0));
        assert_eq!((log.due(), log.due()), (None, None));
        tokio::time::advance(LimitLog::EVERY).await;
        assert_eq!(log.due(), Some(2));
        assert_eq!(log.due(), None);
    }
}
