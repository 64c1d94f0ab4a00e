//! `doorstep listen`: a terminal client. It prints a user's notifications, acknowledges them, and reconnects when the
//! connection ends, according to the close code (docs/wire.md).

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use crate::cli::{ListenArgs, Token};
use crate::client::{
    ClientConnection, DialError, Protocol, ServerFrame, ServerMessage, ShownNotification,
    websocket_uri,
};
use crate::output;

/// A connection that is silent for this long is dead, because the server pings every 25 s.
const SILENCE: Duration = Duration::from_mins(1);
/// A connection that lasted this long resets the backoff.
const GOOD: Duration = Duration::from_secs(10);

/// Listens until asked to stop, or until reconnecting cannot help.
pub(crate) async fn run(args: ListenArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let uri = websocket_uri(&args.url)?;
    let token = args.token.filter(|token| !token.0.is_empty()).ok_or(NoToken)?;
    let mut backoff = Backoff::default();
    let mut seen = RecentIds::default();
    loop {
        let connection = async {
            let began = Instant::now();
            let ended = converse(&uri, &token, args.json, &mut seen).await;
            (began.elapsed(), ended)
        };
        let (lasted, ended) = tokio::select! {
            ended = connection => ended,
            () = stop.cancelled() => return Ok(()),
        };
        let (why, not_before) = match ended {
            ConversationEnd::ComeBack(why, not_before) => (why, not_before),
            ConversationEnd::Reader => return Ok(()),
            ConversationEnd::Final(why) => bail!(why),
        };
        if lasted >= GOOD {
            backoff = Backoff::default();
        }
        let wait = backoff.next().max(not_before);
        output::remark(format_args!("{why}; reconnecting in {:.1} s", wait.as_secs_f64()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// No token was given.
#[derive(Debug, thiserror::Error)]
#[error(
    "listen needs a token: set DOORSTEP_TOKEN in the environment, or give --token TOKEN; \
     `doorstep listen --help` says how to get one"
)]
pub(crate) struct NoToken;

/// How a connection ended.
enum ConversationEnd {
    /// Reconnect, after at least this long.
    ComeBack(String, Duration),
    /// Reconnecting cannot help.
    Final(String),
    /// The reader of our output has closed the pipe.
    Reader,
}

async fn converse(uri: &Uri, token: &Token, json: bool, seen: &mut RecentIds) -> ConversationEnd {
    let mut connection =
        match timeout(SILENCE, ClientConnection::open(uri, token, Protocol::Acks)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => return refused(uri, &e),
            Err(_) => {
                return ConversationEnd::ComeBack(format!("{uri} does not answer"), Duration::ZERO);
            }
        };
    output::remark(format_args!("connected to {uri}"));
    loop {
        let Ok(received) = timeout(SILENCE, connection.next()).await else {
            return ConversationEnd::ComeBack("the server went silent".to_owned(), Duration::ZERO);
        };
        match received {
            ServerMessage::Frame(ServerFrame::Notification(notification)) => {
                // Printed before it is acknowledged, because in between it could be lost.
                if seen.is_new(&notification.id) && print(&notification, json).is_err() {
                    return ConversationEnd::Reader;
                }
                connection.acknowledge(&notification.id).await;
            }
            ServerMessage::Frame(ServerFrame::Unknown) | ServerMessage::Beat => {}
            ServerMessage::Closed(None) => {
                return ConversationEnd::ComeBack(
                    "the connection ended".to_owned(),
                    Duration::ZERO,
                );
            }
            ServerMessage::Closed(Some(frame)) => {
                return closed(frame.code, &format!("{} {}", frame.code, visible(&frame.reason)));
            }
            ServerMessage::Broken(why) => {
                return ConversationEnd::ComeBack(
                    format!("the connection broke: {why}"),
                    Duration::ZERO,
                );
            }
        }
    }
}

fn refused(uri: &Uri, error: &DialError) -> ConversationEnd {
    match error {
        DialError::Refused(StatusCode::UNAUTHORIZED) => ConversationEnd::Final(
            "the token is not valid, or has expired: sign in again for a new one".to_owned(),
        ),
        DialError::Refused(status)
            if status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS =>
        {
            ConversationEnd::Final(format!("{uri}: {error}"))
        }
        DialError::Url { .. } => ConversationEnd::Final(error.to_string()),
        DialError::Refused(_) | DialError::Unreachable(_) => {
            ConversationEnd::ComeBack(format!("{uri}: {error}"), Duration::ZERO)
        }
    }
}

fn closed(code: CloseCode, said: &str) -> ConversationEnd {
    let said = format!("the server closed the connection ({})", said.trim_end());
    match u16::from(code) {
        4401 => {
            ConversationEnd::Final("the session ended: sign in again for a new token".to_owned())
        }
        // Protocol error, unsupported, inconsistent, policy, too large: a new connection would end the same way.
        1002 | 1003 | 1007 | 1008 | 1009 => ConversationEnd::Final(said),
        // Try again later: a limit was reached.
        1013 => ConversationEnd::ComeBack(said, Duration::from_secs(5)),
        _ => ConversationEnd::ComeBack(said, Duration::ZERO),
    }
}

/// Prints a notification for people, or as its frame.
fn print(notification: &ShownNotification, json: bool) -> std::io::Result<()> {
    let ShownNotification { id, kind, topic, created_at, payload } = notification;
    if json {
        let r#type = "notification";
        let topic = topic.as_deref();
        let frame = NotificationFrame { r#type, id, kind, topic, created_at, payload };
        return output::write_line(output::one_line(&serde_json::to_string(&frame)?));
    }
    let line = format!("{created_at}  {kind}  {}  {id}", payload.get());
    output::write_line(visible(&line))
}

/// A notification as a line of JSON, with the fields of its frame on the wire.
#[derive(Serialize)]
struct NotificationFrame<'a> {
    r#type: &'static str,
    id: &'a str,
    kind: &'a str,
    topic: Option<&'a str>,
    created_at: &'a str,
    payload: &'a RawValue,
}

/// Escapes control characters, because a server must not control the terminal.
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_unicode());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// The recent ids. A notification that is pushed again is acknowledged again, and printed once.
#[derive(Default)]
struct RecentIds {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl RecentIds {
    const MOST: usize = 4096;

    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// Waits that double from half a second to half a minute. Each is shortened by up to half at random, so that the clients
/// of a restarted server do not all reconnect at the same moment.
#[derive(Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);

    fn next(&mut self) -> Duration {
        let full = Self::FIRST.saturating_mul(1 << self.tries.min(10)).min(Self::LONGEST);
        self.tries = self.tries.saturating_add(1);
        // Without randomness from the system there is no jitter.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        full.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_never_reach_zero() {
        let mut backoff = Backoff::default();
        let mut full = Backoff::FIRST;
        for _ in 0..40 {
            let wait = backoff.next();
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
            full = (full * 2).min(Backoff::LONGEST);
        }
    }

    #[test]
    fn a_repeat_is_recognised_and_old_ids_are_forgotten() {
        let mut seen = RecentIds::default();
        assert!(seen.is_new("a"));
        assert!(!seen.is_new("a"));
        for i in 0..RecentIds::MOST {
            assert!(seen.is_new(&i.to_string()));
        }
        assert!(seen.is_new("a"));
        assert!(seen.ids.len() <= RecentIds::MOST && seen.order.len() <= RecentIds::MOST);
    }

    #[test]
    fn nothing_that_is_printed_steers_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\u{9b}é"), "a\\u{1b}[2Jb\\u{9b}é");
    }

    #[test]
    fn close_codes_are_honoured() {
        for code in [1012, 1013, 4408, 1001, 1006] {
            assert!(matches!(closed(code.into(), ""), ConversationEnd::ComeBack(..)), "{code}");
        }
        for code in [4401, 1003, 1007, 1009] {
            assert!(matches!(closed(code.into(), ""), ConversationEnd::Final(_)), "{code}");
        }
    }
}
