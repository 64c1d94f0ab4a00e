use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use doorstep_domain::ports::Clock;
use doorstep_domain::{NotificationId, Timestamp};
use futures_util::Stream;
use tokio::sync::mpsc;

use super::handle::{Closing, Event};
use super::streams::Registered;

/// One stream on its way: what makes the next bytes of the body.
pub(super) struct Events {
    pub(super) registered: Registered,
    pub(super) queue: mpsc::Receiver<Arc<Event>>,
    pub(super) clock: Arc<dyn Clock>,
    /// When its session expires.
    pub(super) expires_at: Timestamp,
    pub(super) heartbeat: Duration,
    /// Handed to the HTTP connection with the last bytes.
    pub(super) written: Option<NotificationId>,
}

/// What comes next.
enum Next {
    Event(Arc<Event>),
    Heartbeat,
    End(Option<Closing>),
}

/// What a browser's `EventSource` would wait before it comes back; and bytes at once, so that a proxy or a
/// client knows that the stream stands.
const OPENING: &str = "retry: 1000\n\n";
const HEARTBEAT: &str = ":\n\n";

impl Events {
    /// The body, up to the goodbye. Dropping it, whoever does, is the departure.
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
                Next::Event(event) if self.clock.now() >= event.deadline => {}
                Next::Event(event) => {
                    self.written = Some(event.id);
                    return Some((event.text.clone(), Stage::Live(self)));
                }
                Next::Heartbeat => return Some((HEARTBEAT.into(), Stage::Live(self))),
                Next::End(None) => return None,
                Next::End(Some(why)) => {
                    // Dropped here, with the goodbye still to be written: nothing is pushed any more.
                    let code = why.code();
                    let goodbye = format!("event: closing\ndata: {{\"code\":{code}}}\n\n");
                    return Some((goodbye, Stage::Over));
                }
            }
        }
    }

    /// The HTTP connection came back for more. It flushes before it asks a body again that had nothing, so
    /// having nothing once is how to know that the last event is not in a buffer of ours.
    async fn acknowledge_written(&mut self) {
        if let Some(id) = self.written.take() {
            tokio::task::yield_now().await;
            self.registered.delivery().acknowledged(self.registered.user(), id);
        }
    }

    async fn wait(&mut self) -> Next {
        let left = self.expires_at.since(self.clock.now());
        tokio::select! {
            biased;
            why = self.registered.handle().closed() => Next::End(Some(why)),
            event = self.queue.recv() => event.map_or(Next::End(None), Next::Event),
            () = tokio::time::sleep(left.min(self.heartbeat)) => {
                let over = self.expires_at.since(self.clock.now()).is_zero();
                if over { Next::End(Some(Closing::SessionEnded)) } else { Next::Heartbeat }
            }
        }
    }
}

enum Stage {
    Opening(Events),
    Live(Events),
    Over,
}
