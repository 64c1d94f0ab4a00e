use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::Clock;
use futures_util::Stream;

use super::watch::EndOfBody;
use crate::connections::{DeliveryLink, DisconnectReason, Frame, Outgoing};

/// The events of one stream; makes the next bytes of its body.
pub(super) struct Events {
    pub(super) link: DeliveryLink,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) heartbeat: Duration,
    /// The event that was handed to the HTTP connection last, not acknowledged yet, and when it was pushed.
    pub(super) written: Option<(NotificationId, Instant)>,
    pub(super) end: EndOfBody,
}

/// What a stream writes next.
enum StreamOutput {
    Event(Arc<Frame>),
    Heartbeat,
    End(DisconnectReason),
}

/// How often a stream whose socket is blocked looks whether it takes bytes again.
const BLOCKED: Duration = Duration::from_millis(50);
/// Tells a browser's `EventSource` how long to wait before it reconnects. Sent at once, so that proxies and
/// clients see that the stream is open.
const OPENING: &str = "retry: 1000\n\n";
const HEARTBEAT: &str = "event: heartbeat\ndata: {}\n\n";

impl Events {
    /// The body, up to the closing event. Dropping it reports the departure.
    pub(super) fn into_body(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures_util::stream::unfold(StreamStage::Opening(self), |stage| async move {
            let (text, stage) = match stage {
                StreamStage::Opening(events) => (OPENING.into(), StreamStage::Live(events)),
                StreamStage::Live(events) => events.next().await?,
                StreamStage::Over => return None,
            };
            Some((Ok(Bytes::from(text)), stage))
        })
    }

    async fn next(mut self) -> Option<(String, StreamStage)> {
        self.acknowledge_written().await;
        loop {
            match self.wait().await {
                StreamOutput::Event(frame) if self.clock.now() >= frame.deadline => {}
                StreamOutput::Event(frame) => {
                    self.written = Some((frame.id, frame.pushed_at));
                    return Some((event(&frame), StreamStage::Live(self)));
                }
                StreamOutput::Heartbeat => {
                    return Some((HEARTBEAT.into(), StreamStage::Live(self)));
                }
                StreamOutput::End(reason) => {
                    let goodbye = reason
                        .code()
                        .map(|code| format!("event: closing\ndata: {{\"code\":{code}}}\n\n"));
                    // The stream is dropped here, before the closing event is written: nothing more is pushed to
                    // it.
                    return goodbye.map(|goodbye| (goodbye, StreamStage::Over));
                }
            }
        }
    }

    /// The HTTP connection asked for more, which it does while its buffer has room. It flushes before it polls a pending
    /// body again, so after being pending once, the last event has left our buffers, unless the socket is blocked: then
    /// what is in them would be lost with the process.
    async fn acknowledge_written(&mut self) {
        if let Some((id, pushed_at)) = self.written.take() {
            tokio::task::yield_now().await;
            while self.link.connection().pace.is_blocked() {
                tokio::time::sleep(BLOCKED).await;
            }
            self.link.written(pushed_at);
            self.link.written_for_good(id);
        }
    }

    async fn wait(&self) -> StreamOutput {
        let connection = &self.end.0;
        loop {
            tokio::select! {
                biased;
                reason = connection.closed() => return StreamOutput::End(reason),
                (frame, room) = connection.outbox.next() => {
                    self.link.report(room);
                    // A stream is for plain clients: they are not told to take anything away.
                    if let Some(Outgoing::Notification(frame)) = frame {
                        return StreamOutput::Event(frame);
                    }
                }
                () = tokio::time::sleep(self.heartbeat) => return StreamOutput::Heartbeat,
            }
        }
    }
}

/// A payload may be JSON over several lines. These line breaks are whitespace between tokens (within strings they
/// are escaped), and would end the event's `data` here.
fn event(frame: &Frame) -> String {
    let data = String::from_utf8_lossy(&frame.text).replace(['\n', '\r'], " ");
    format!("id: {}\ndata: {data}\n\n", frame.id)
}

enum StreamStage {
    Opening(Events),
    Live(Events),
    Over,
}
