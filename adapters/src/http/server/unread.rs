use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::connection::Service;

/// How much of an unwanted body is read and discarded, and for how long. Beyond that the connection is closed.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(10);

/// A request's body. If it is dropped before its end, the rest is read and discarded: many clients read no
/// response before they have sent everything, and would see a broken connection instead of a 413 or a 401.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    /// The client waits for `100 Continue` (`Expect: 100-continue`), which has not been sent yet.
    unasked: bool,
    service: Arc<Service>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, unasked: bool, service: Arc<Service>) -> Self {
        Self { incoming: Some(incoming), unasked, service }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.unasked = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = Pin::new(incoming).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.incoming = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // A client that waits for `100 Continue` need not send its body: the next bytes may be another request, so
        // the connection is closed instead.
        if self.is_end_stream() || self.unasked {
            return;
        }
        if let (Some(incoming), Ok(runtime)) = (self.incoming.take(), Handle::try_current()) {
            let service = Arc::clone(&self.service);
            runtime.spawn(async move {
                tokio::select! {
                    () = discard(incoming) => {}
                    () = tokio::time::sleep(MAX_TIME) => {}
                    () = service.stopping.cancelled() => {}
                }
                service.watch.idle();
            });
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) =
        std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await
    {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}
