use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::Settings;
use super::client_frame::FromClient;
use super::close::{close_frame, of_error};
use crate::connections::{CloseReason, Frame, Line, Outgoing, Registered, session_over};

/// Whether a client says what it has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `doorstep.v1`: the client does.
    Acknowledging,
    /// `doorstep.plain.v1`: writing the frame has to do.
    Plain,
}

/// Sent with each ping to a client that acknowledges: a browser hides pings from its page.
const HEARTBEAT: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"heartbeat"}"#);

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
    /// Lives until something ends it, and says what.
    ///
    /// Reading, writing, pinging and expiring go on beside each other in one task: a socket that takes no
    /// more bytes holds up none of the rest.
    pub(super) async fn run<S>(self, socket: WebSocketStream<S>, settings: &Settings) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mode, expires_at, registered, clock, too_slow_after } = self;
        let line = registered.line();
        let (ping, heard) = (Notify::new(), AtomicBool::new(true));
        let (mut sink, mut stream) = socket.split();
        let reason = {
            let reader = Reader { mode, line, heard: &heard };
            let writer = Writer { mode, line, clock, ping: &ping, too_slow_after };
            tokio::select! {
                reason = line.connection().closed() => reason,
                reason = reader.run(&mut stream, settings.max_client_bytes) => reason,
                reason = writer.run(&mut sink) => reason,
                reason = heartbeat(&ping, &heard, settings) => reason,
                () = session_over(clock, expires_at) => CloseReason::SessionEnded,
            }
        };
        // Before the goodbye, which may take its time: from here on nothing is pushed to this connection,
        // and delivery pushes what this one has not acknowledged to others, or later.
        registered.end(reason);
        // The two are halves of one socket.
        if let Ok(socket) = stream.reunite(sink) {
            close(socket, reason, settings).await;
        }
        reason
    }
}

struct Reader<'a> {
    mode: Mode,
    line: &'a Line,
    heard: &'a AtomicBool,
}

impl Reader<'_> {
    async fn run(
        self,
        stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        max_bytes: usize,
    ) -> CloseReason {
        while let Some(message) = stream.next().await {
            // Any message shows that the client is there.
            self.heard.store(true, Ordering::Relaxed);
            match message {
                Ok(Message::Text(text)) if text.len() <= max_bytes => {
                    match FromClient::parse(&text) {
                        Ok(FromClient::Ack(id)) if self.mode == Mode::Acknowledging => {
                            self.line.acknowledged(id);
                        }
                        Ok(FromClient::Dismiss(id)) if self.mode == Mode::Acknowledging => {
                            self.line.dismissed(id);
                        }
                        // For a plain connection the writer acknowledges.
                        Ok(FromClient::Ack(_) | FromClient::Dismiss(_) | FromClient::Unknown) => {}
                        Err(_) => return CloseReason::Malformed,
                    }
                }
                Ok(Message::Text(_)) => return CloseReason::TooLarge,
                Ok(Message::Binary(_)) => return CloseReason::Binary,
                Ok(Message::Close(_)) => return CloseReason::Gone,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => return of_error(&error),
            }
        }
        CloseReason::Gone
    }
}

struct Writer<'a> {
    mode: Mode,
    line: &'a Line,
    clock: &'a dyn Clock,
    ping: &'a Notify,
    too_slow_after: Duration,
}

impl Writer<'_> {
    async fn run(self, sink: &mut (impl Sink<Message> + Unpin)) -> CloseReason {
        loop {
            let written = tokio::select! {
                (frame, room) = self.line.connection().outbox.next() => {
                    self.line.report(room);
                    match frame {
                        Some(Outgoing::Notification(frame)) => self.write(sink, &frame).await,
                        Some(Outgoing::Retract(text)) => self.retract(sink, text).await,
                        None => Ok(()),
                    }
                }
                () = self.ping.notified() => self.unless_too_slow(self.ping(sink)).await,
            };
            if let Err(reason) = written {
                return reason;
            }
        }
    }

    /// Frame by frame, each flushed: only so is it known which of them a plain client has been written.
    async fn write(
        &self,
        sink: &mut (impl Sink<Message> + Unpin),
        frame: &Frame,
    ) -> Result<(), CloseReason> {
        if self.clock.now() >= frame.deadline {
            return Ok(());
        }
        let Ok(text) = Utf8Bytes::try_from(frame.text.clone()) else { return Ok(()) };
        self.unless_too_slow(async { sink.send(Message::Text(text)).await.is_ok() }).await?;
        if self.mode == Mode::Plain {
            self.line.acknowledged(frame.id);
        }
        Ok(())
    }

    /// Only clients that acknowledge know what to do with it.
    async fn retract(
        &self,
        sink: &mut (impl Sink<Message> + Unpin),
        text: Bytes,
    ) -> Result<(), CloseReason> {
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

    /// Waits for a write, unless the socket takes no byte for too long.
    async fn unless_too_slow(&self, write: impl Future<Output = bool>) -> Result<(), CloseReason> {
        tokio::select! {
            biased;
            written = write => if written { Ok(()) } else { Err(CloseReason::Gone) },
            () = self.line.connection().blocked_for(self.too_slow_after) => Err(CloseReason::TooSlow),
        }
    }
}

/// Pings, and ends when a ping has not been answered in time. It does so too when the ping could not even
/// be written.
async fn heartbeat(ping: &Notify, heard: &AtomicBool, settings: &Settings) -> CloseReason {
    let pause = settings.ping_interval.saturating_sub(settings.pong_timeout);
    tokio::time::sleep(settings.ping_interval).await;
    loop {
        heard.store(false, Ordering::Relaxed);
        ping.notify_one();
        tokio::time::sleep(settings.pong_timeout).await;
        if !heard.load(Ordering::Relaxed) {
            return CloseReason::Unanswered;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Says goodbye: the close frame, then the end of our side, then reading on until the client has ended its
/// own. Closing with something unread would reset the connection, and take the close frame with it.
pub(super) async fn close<S>(
    mut socket: WebSocketStream<S>,
    reason: CloseReason,
    settings: &Settings,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if reason == CloseReason::Unanswered {
        return;
    }
    let goodbye = async {
        // Where the client has said goodbye first, its frame has been answered, and this only fails.
        let _ = socket.close(close_frame(reason)).await;
        let _ = socket.flush().await;
        // From here on past the WebSocket layer: after a frame that is too large or makes no sense, it no
        // longer knows where the next one begins.
        let socket = socket.get_mut();
        let _ = socket.shutdown().await;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    };
    // A client that does not read does not hold its connection open any longer than this. One that was too slow
    // must first read what its socket holds already.
    let grace = match reason {
        CloseReason::TooSlow => settings.slow_close_grace,
        _ => settings.close_grace,
    };
    let _ = tokio::time::timeout(grace, goodbye).await;
}
