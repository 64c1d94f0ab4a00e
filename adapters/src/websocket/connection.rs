use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_domain::UserId;
use doorstep_domain::ports::Clock;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::connections::Registered;
use super::frame::{Frame, FromClient};
use super::{CloseReason, Settings};
use doorstep_domain::Timestamp;

/// Whether a client says what it has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `doorstep.v1`: the client does.
    Acknowledging,
    /// `doorstep.plain.v1`: writing the frame has to do.
    Plain,
}

/// What a connection lives with.
pub(super) struct Connection {
    pub(super) mode: Mode,
    /// When its session expires.
    pub(super) expires_at: Timestamp,
    pub(super) registered: Registered,
    pub(super) frames: mpsc::Receiver<Arc<Frame>>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Connection {
    /// Lives until something ends it, and says what.
    ///
    /// Reading, writing, pinging and expiring go on beside each other in one task: a socket that takes no
    /// more bytes holds up none of the rest.
    pub(super) async fn run<S>(self, socket: WebSocketStream<S>, settings: &Settings) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mode, expires_at, registered, mut frames, delivery, clock } = self;
        let user = registered.user().clone();
        let (ping, heard) = (Notify::new(), AtomicBool::new(true));
        let (mut sink, mut stream) = socket.split();
        let reason = {
            let reader = Reader { mode, user: &user, delivery: &delivery, heard: &heard };
            let writer =
                Writer { mode, user: &user, delivery: &delivery, clock: &*clock, ping: &ping };
            tokio::select! {
                reason = registered.handle().closed() => reason,
                reason = reader.run(&mut stream, settings.max_client_bytes) => reason,
                reason = writer.run(&mut sink, &mut frames) => reason,
                reason = heartbeat(&ping, &heard, settings) => reason,
                reason = expiry(&*clock, expires_at) => reason,
            }
        };
        // Before the goodbye, which may take its time: from here on nothing is pushed to this connection,
        // and delivery pushes elsewhere, or later, what this one has not acknowledged.
        drop(registered);
        // The two are halves of one socket.
        if let Ok(socket) = stream.reunite(sink) {
            close(socket, reason, settings.close_grace).await;
        }
        reason
    }
}

struct Reader<'a> {
    mode: Mode,
    user: &'a UserId,
    delivery: &'a Delivery,
    heard: &'a AtomicBool,
}

impl Reader<'_> {
    async fn run(
        self,
        stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        max_bytes: usize,
    ) -> CloseReason {
        while let Some(message) = stream.next().await {
            // Whatever it is, somebody is there.
            self.heard.store(true, Ordering::Relaxed);
            match message {
                Ok(Message::Text(text)) if text.len() <= max_bytes => {
                    match FromClient::parse(&text) {
                        Ok(FromClient::Ack(id)) if self.mode == Mode::Acknowledging => {
                            self.delivery.acknowledged(self.user, id);
                        }
                        // A plain connection's acks are its writer's business.
                        Ok(FromClient::Ack(_) | FromClient::Unknown) => {}
                        Err(_) => return CloseReason::Malformed,
                    }
                }
                Ok(Message::Text(_)) => return CloseReason::TooLarge,
                Ok(Message::Binary(_)) => return CloseReason::Binary,
                Ok(Message::Close(_)) => return CloseReason::Gone,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => return CloseReason::of(&error),
            }
        }
        CloseReason::Gone
    }
}

struct Writer<'a> {
    mode: Mode,
    user: &'a UserId,
    delivery: &'a Delivery,
    clock: &'a dyn Clock,
    ping: &'a Notify,
}

impl Writer<'_> {
    async fn run(
        self,
        sink: &mut (impl Sink<Message> + Unpin),
        frames: &mut mpsc::Receiver<Arc<Frame>>,
    ) -> CloseReason {
        loop {
            let written = tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => self.write(sink, &frame).await,
                    None => return CloseReason::Gone,
                },
                () = self.ping.notified() => sink.send(Message::Ping(Bytes::new())).await.is_ok(),
            };
            if !written {
                return CloseReason::Gone;
            }
        }
    }

    /// Frame by frame, flushed each: only so is it known which of them a plain client has been written.
    async fn write(&self, sink: &mut (impl Sink<Message> + Unpin), frame: &Frame) -> bool {
        if self.clock.now() >= frame.deadline {
            return true;
        }
        let written = sink.send(Message::Text(frame.text.clone())).await.is_ok();
        if written && self.mode == Mode::Plain {
            self.delivery.acknowledged(self.user, frame.id);
        }
        written
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

/// Ends when the session does.
async fn expiry(clock: &dyn Clock, expires_at: Timestamp) -> CloseReason {
    /// A timer may not reach further; and the two clocks may drift apart over days.
    const STRIDE: Duration = Duration::from_hours(1);
    loop {
        let left = expires_at.since(clock.now());
        if left.is_zero() {
            return CloseReason::SessionEnded;
        }
        tokio::time::sleep(left.min(STRIDE)).await;
    }
}

/// Says goodbye: the close frame, then the end of our side, then reading on until the client has ended its
/// own. Closing with something unread would reset the connection, and take the close frame with it.
pub(super) async fn close<S>(mut socket: WebSocketStream<S>, reason: CloseReason, grace: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if reason == CloseReason::Unanswered {
        return;
    }
    let goodbye = async {
        // Where the client has said goodbye first, its frame has been answered, and this only fails.
        let _ = socket.close(reason.frame()).await;
        let _ = socket.flush().await;
        // From here on past the WebSocket layer: after a frame that is too large or makes no sense, it no
        // longer knows where the next one begins.
        let socket = socket.get_mut();
        let _ = socket.shutdown().await;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    };
    // A client that does not read does not hold its connection open any longer than this.
    let _ = tokio::time::timeout(grace, goodbye).await;
}
