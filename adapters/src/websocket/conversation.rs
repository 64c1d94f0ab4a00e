use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::WebSocketSettings;
use super::client_frame::FromClient;
use super::close::{Late, close};
use super::close_frame::of_error;
use super::heartbeat::{Heartbeat, Pulse};
use crate::connections::{
    DeliveryLink, DisconnectReason, Frame, Outgoing, Registered, session_over, too_slow,
};

/// Whether the client acknowledges notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `doorstep.v1`: the client acknowledges.
    Acknowledging,
    /// `doorstep.plain.v1`: a written frame counts as delivered.
    Plain,
}

/// Sent with each ping to a client that acknowledges, because a browser hides pings from its page.
const HEARTBEAT: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"heartbeat"}"#);

/// A WebSocket as a sink and a stream.
pub(super) type SocketHalves<S> =
    (SplitSink<WebSocketStream<S>, Message>, SplitStream<WebSocketStream<S>>);

/// A WebSocket from its registration to its end.
pub(super) struct Conversation<'a> {
    pub(super) mode: Mode,
    /// When its session expires.
    pub(super) expires_at: Timestamp,
    pub(super) registered: Registered,
    pub(super) clock: &'a dyn Clock,
    pub(super) too_slow_after: Duration,
}

impl Conversation<'_> {
    /// Runs until the connection ends, and returns the reason.
    ///
    /// Reading, writing, pinging and expiry run concurrently in one task, so that a socket that takes no bytes
    /// delays only its own writes.
    ///
    /// Takes the two halves of the socket: the whole, as an argument, would take its room in the task to the end.
    pub(super) async fn run<S>(
        self,
        (mut sink, mut stream): SocketHalves<S>,
        settings: &WebSocketSettings,
    ) -> DisconnectReason
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mode, expires_at, registered, clock, too_slow_after } = self;
        let link = registered.link();
        let pulse = Pulse::default();
        let reason = {
            let reader = SocketReader { mode, link, pulse: &pulse };
            let writer = SocketWriter { mode, link, clock, pulse: &pulse, too_slow_after };
            let mut closed = pin!(link.connection().closed());
            let mut over = pin!(session_over(clock, expires_at));
            let mut reading = pin!(reader.run(&mut stream, settings.max_client_bytes));
            let mut writing = pin!(writer.run(&mut sink));
            let timer = pin!(tokio::time::sleep(settings.ping_interval));
            let mut heartbeat = Heartbeat::new(&pulse, settings, clock, timer);
            // The order matters: a client that sends without a pause, or one who is sent much, can use up what one
            // poll may do (tokio's cooperative budget). The end of the session and the heartbeat do not wait for
            // that, and the reader and the writer are first in turn.
            let mut reader_first = false;
            poll_fn(|cx| {
                if let Poll::Ready(reason) = closed.as_mut().poll(cx) {
                    return Poll::Ready(reason);
                }
                if over.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(DisconnectReason::SessionEnded);
                }
                if heartbeat.poll_unanswered(cx).is_ready() {
                    return Poll::Ready(DisconnectReason::Unanswered);
                }
                reader_first = !reader_first;
                if reader_first && let Poll::Ready(reason) = reading.as_mut().poll(cx) {
                    return Poll::Ready(reason);
                }
                if let Poll::Ready(reason) = writing.as_mut().poll(cx) {
                    return Poll::Ready(reason);
                }
                if !reader_first && let Poll::Ready(reason) = reading.as_mut().poll(cx) {
                    return Poll::Ready(reason);
                }
                heartbeat.move_on();
                Poll::Pending
            })
            .await
        };
        // Before the closing handshake, which may take a while: from here on nothing is pushed to this connection,
        // and delivery pushes unacknowledged notifications to other connections, or later.
        let link = link.clone();
        registered.end(reason);
        if let Ok(socket) = stream.reunite(sink) {
            let late = match (mode, link.connection().outbox.half_written()) {
                _ if !something_may_come_late(reason) => Late::Nothing,
                (Mode::Acknowledging, _) => Late::Acknowledgements(&link),
                (Mode::Plain, Some(id)) => Late::Rest(&link, id),
                (Mode::Plain, None) => Late::Nothing,
            };
            Box::pin(close(socket, reason, settings, late)).await;
        }
        reason
    }
}

struct SocketReader<'a> {
    mode: Mode,
    link: &'a DeliveryLink,
    pulse: &'a Pulse,
}

impl SocketReader<'_> {
    async fn run(
        self,
        stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        max_bytes: usize,
    ) -> DisconnectReason {
        while let Some(message) = stream.next().await {
            self.pulse.hear();
            match message {
                Ok(Message::Text(text)) if text.len() <= max_bytes => {
                    match FromClient::parse(&text) {
                        Ok(FromClient::Ack(id)) if self.mode == Mode::Acknowledging => {
                            self.link.acknowledged(id);
                        }
                        Ok(FromClient::Dismiss(id)) if self.mode == Mode::Acknowledging => {
                            self.link.dismissed(id);
                        }
                        // On a plain connection the writer acknowledges.
                        Ok(FromClient::Ack(_) | FromClient::Dismiss(_) | FromClient::Unknown) => {}
                        Err(_) => return DisconnectReason::Malformed,
                    }
                }
                Ok(Message::Text(_)) => return DisconnectReason::TooLarge,
                Ok(Message::Binary(_)) => return DisconnectReason::Binary,
                Ok(Message::Close(_)) => return DisconnectReason::Gone,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => return of_error(&error),
            }
        }
        DisconnectReason::Gone
    }
}

struct SocketWriter<'a> {
    mode: Mode,
    link: &'a DeliveryLink,
    clock: &'a dyn Clock,
    pulse: &'a Pulse,
    too_slow_after: Duration,
}

impl SocketWriter<'_> {
    async fn run(self, sink: &mut (impl Sink<Message> + Unpin)) -> DisconnectReason {
        loop {
            let written = tokio::select! {
                (frame, room) = self.link.connection().outbox.next() => {
                    self.link.report(room);
                    match frame {
                        Some(Outgoing::Notification(frame)) => self.write(sink, &frame).await,
                        Some(Outgoing::Retract(text)) => self.retract(sink, text).await,
                        None => Ok(()),
                    }
                }
                () = self.pulse.ping_is_due() => self.unless_too_slow(self.ping(sink)).await,
            };
            if let Err(reason) = written {
                return reason;
            }
        }
    }

    /// Each frame is flushed on its own: only then is it known which frames a plain client has been written.
    async fn write(
        &self,
        sink: &mut (impl Sink<Message> + Unpin),
        frame: &Frame,
    ) -> Result<(), DisconnectReason> {
        if self.clock.now() >= frame.deadline {
            return Ok(());
        }
        let Ok(text) = Utf8Bytes::try_from(frame.text.clone()) else { return Ok(()) };
        let is_plain = self.mode == Mode::Plain;
        let send = async {
            // From its first poll on, the frame is in the buffer of the socket and goes out whole or not at all.
            if is_plain {
                self.link.connection().outbox.begins(frame.id);
            }
            sink.send(Message::Text(text)).await.is_ok()
        };
        self.unless_too_slow(send).await?;
        self.link.written(frame.pushed_at);
        if is_plain {
            self.link.written_for_good(frame.id);
        }
        Ok(())
    }

    /// Only clients that acknowledge know what to do with it.
    async fn retract(
        &self,
        sink: &mut (impl Sink<Message> + Unpin),
        text: Bytes,
    ) -> Result<(), DisconnectReason> {
        match Utf8Bytes::try_from(text) {
            Ok(text) if self.mode == Mode::Acknowledging => {
                self.unless_too_slow(async { sink.send(Message::Text(text)).await.is_ok() }).await
            }
            _ => Ok(()),
        }
    }

    /// The heartbeat and the ping, in one write.
    async fn ping(&self, sink: &mut (impl Sink<Message> + Unpin)) -> bool {
        if self.mode == Mode::Acknowledging && sink.feed(Message::Text(HEARTBEAT)).await.is_err() {
            return false;
        }
        sink.send(Message::Ping(Bytes::new())).await.is_ok()
    }

    /// Waits for a write, but gives up when the connection is too slow.
    async fn unless_too_slow(
        &self,
        write: impl Future<Output = bool>,
    ) -> Result<(), DisconnectReason> {
        tokio::select! {
            biased;
            written = write => if written { Ok(()) } else { Err(DisconnectReason::Gone) },
            reason = too_slow(&self.link.connection().pace, self.too_slow_after) => Err(reason),
        }
    }
}

/// Whether what comes after this close counts: acknowledgements that the client sends before it has seen the close frame,
/// or the rest of a frame. The client has those notifications, and need not get them again. After an invalid message,
/// nothing more can be read.
fn something_may_come_late(reason: DisconnectReason) -> bool {
    use DisconnectReason::{Disconnected, Restart, TooSlow};
    matches!(reason, Restart | Disconnected | TooSlow)
}
