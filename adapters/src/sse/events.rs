use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::Clock;
use futures_util::Stream;

use super::watch::EndOfBody;
use crate::connections::{CloseReason, Frame, Line, Outgoing};

/// The events of one stream: what makes the next bytes of its body.
pub(super) struct Events {
    pub(super) line: Line,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) heartbeat: Duration,
    /// Handed to the HTTP connection with the last bytes.
    pub(super) written: Option<NotificationId>,
    pub(super) end: EndOfBody,
}

/// What comes next.
enum Next {
    Event(Arc<Frame>),
    Heartbeat,
    End(CloseReason),
}

/// How long a browser's `EventSource` waits before it comes back. Sent at once, so that proxies and clients see
/// that the stream stands.
const OPENING: &str = "retry: 1000\n\n";
const HEARTBEAT: &str = "event: heartbeat\ndata: {}\n\n";

impl Events {
    /// The body, up to the goodbye. Dropping it is the departure.
    pub(super) fn into_body(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures_util::stream::unfold(Stage::Opening(self), |stage| async move {
            let (text, stage) = match stage {
                Stage::Opening(events) => (OPENING.into(), Stage::Live(events)),
                Stage::Live(events) => events.next().await?,
                Stage::Over => return None,
            };
            Some((Ok(Bytes::from(text)), stage))
        })
    }

    async fn next(mut self) -> Option<(String, Stage)> {
        self.acknowledge_written().await;
        loop {
            match self.wait().await {
                Next::Event(frame) if self.clock.now() >= frame.deadline => {}
                Next::Event(frame) => {
                    self.written = Some(frame.id);
                    return Some((event(&frame), Stage::Live(self)));
                }
                Next::Heartbeat => return Some((HEARTBEAT.into(), Stage::Live(self))),
                Next::End(reason) => {
                    let goodbye = reason
                        .code()
                        .map(|code| format!("event: closing\ndata: {{\"code\":{code}}}\n\n"));
                    // Dropped here, with the goodbye still to be written: nothing is pushed any more.
                    return goodbye.map(|goodbye| (goodbye, Stage::Over));
                }
            }
        }
    }

    /// The HTTP connection asked for more. It flushes before it asks a body again that had nothing, so having
    /// nothing once shows that the last event is not in a buffer of ours any more.
    async fn acknowledge_written(&mut self) {
        if let Some(id) = self.written.take() {
            tokio::task::yield_now().await;
            self.line.acknowledged(id);
        }
    }

    async fn wait(&self) -> Next {
        let connection = &self.end.0;
        loop {
            tokio::select! {
                biased;
                reason = connection.closed() => return Next::End(reason),
                (frame, room) = connection.outbox.next() => {
                    self.line.report(room);
                    // A stream is for plain clients: they are not told to take anything away.
                    if let Some(Outgoing::Notification(frame)) = frame {
                        return Next::Event(frame);
                    }
                }
                () = tokio::time::sleep(self.heartbeat) => return Next::Heartbeat,
            }
        }
    }
}

/// A payload may be JSON over several lines. Those breaks are space between its parts (within its strings they
/// are escaped), and here they would end the event's `data`.
fn event(frame: &Frame) -> String {
    let data = String::from_utf8_lossy(&frame.text).replace(['\n', '\r'], " ");
    format!("id: {}\ndata: {data}\n\n", frame.id)
}

enum Stage {
    Opening(Events),
    Live(Events),
    Over,
}
