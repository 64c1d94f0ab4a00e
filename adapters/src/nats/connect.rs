use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;

use super::{NatsCredentials, NatsError, NatsSettings};

/// The oldest nats-server that was tried: the contract suite and the tests with three replicas pass on 2.12.0 and 2.15.1.
const OLDEST: (u32, u32, u32) = (2, 12, 0);
/// How often the server is asked whether it is there. A line that is dead is noticed after two of these.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to connect.
const MOST_PAUSE: Duration = Duration::from_millis(500);
/// How many messages may wait in one subscription. A tail asks for far fewer at a time.
const SUBSCRIPTION_ROOM: usize = 4096;
/// How many commands may wait to be sent.
const COMMANDS: usize = 4096;

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) connected: bool,
    /// How often it has changed.
    pub(super) changes: u64,
}

/// Connects, and keeps connecting again for as long as the client lives.
pub(super) async fn connect(
    settings: &NatsSettings,
) -> Result<(Client, watch::Receiver<Link>), NatsError> {
    let (sender, link) = watch::channel(Link { connected: true, changes: 0 });
    let mut options = ConnectOptions::new()
        .name("doorstep")
        .ping_interval(PING_EVERY)
        .connection_timeout(CONNECT_WITHIN)
        .request_timeout(Some(settings.answer_within))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            if attempt <= 1 {
                Duration::ZERO
            } else {
                MOST_PAUSE.min(PING_EVERY / 20 * attempt.min(100))
            }
        })
        .subscription_capacity(SUBSCRIPTION_ROOM)
        .client_capacity(COMMANDS)
        .require_tls(settings.tls.required)
        .event_callback(move |event| {
            match event {
                Event::Connected => change(&sender, true),
                Event::Disconnected | Event::Closed => change(&sender, false),
                Event::SlowConsumer(_) | Event::ServerError(_) => {
                    tracing::warn!(%event, "the connection to NATS");
                }
                _ => tracing::debug!(%event, "the connection to NATS"),
            }
            std::future::ready(())
        });
    if let Some(file) = &settings.tls.authorities {
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &settings.tls.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options = match &settings.credentials {
        NatsCredentials::None => options,
        NatsCredentials::Password(user, password) => {
            options.user_and_password(user.clone(), password.clone())
        }
        NatsCredentials::Nkey(seed) => options.nkey(seed.clone()),
        NatsCredentials::File(file) => options
            .credentials_file(file)
            .await
            .map_err(|error| NatsError::Credentials(format!("{}: {error}", file.display())))?,
    };
    let client =
        options.connect(settings.servers.as_slice()).await.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                NatsError::Credentials(error.to_string())
            }
            _ => NatsError::Unreachable(error.to_string()),
        })?;
    check_server(&client)?;
    Ok((client, link))
}

fn change(link: &watch::Sender<Link>, connected: bool) {
    link.send_modify(|link| *link = Link { connected, changes: link.changes + 1 });
}

/// Checks the server that we are connected to. To be repeated after each reconnect: it may be another.
pub(super) fn check_server(client: &Client) -> Result<(), NatsError> {
    let server = client.server_info();
    if version(&server.version).is_none_or(|version| version < OLDEST) {
        let (major, minor, patch) = OLDEST;
        let needed = format!("{major}.{minor}.{patch}");
        return Err(NatsError::TooOld { found: server.version, needed });
    }
    if !server.jetstream {
        return Err(NatsError::NoJetStream(format!("on {}:{}", server.host, server.port)));
    }
    Ok(())
}

/// The version without what comes behind it, such as `-RC.1`.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.split(['-', '+']).next()?;
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        assert_eq!(version("2.15.1"), Some((2, 15, 1)));
        assert_eq!(version("2.12.0-RC.1"), Some((2, 12, 0)));
        for bad in ["", "2", "2.12", "latest", "2.x.1"] {
            assert_eq!(version(bad), None, "{bad}");
        }
        assert!(version("2.9.10").unwrap() < OLDEST && version("3.0.0").unwrap() > OLDEST);
    }
}
