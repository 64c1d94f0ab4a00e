use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Problem;
use super::body::{PATIENCE, broke_off, check_begin, check_headers, too_large, too_slow};

/// How much of a body is read before it needs a place.
const SMALL_BYTES: usize = 256 * 1024;
/// The slowest rate at which a body in a place may arrive, after its first second; a slower one is cut off.
const BYTES_PER_SECOND: usize = 64 * 1024;

/// Bounds how many large bodies are in memory at a time. A body whose bytes do not arrive keeps no other body out.
#[derive(Debug, Clone)]
pub(crate) struct LargeBodies {
    places: Arc<Semaphore>,
    max_bytes: usize,
}

/// The place of a large body, which becomes free when this is dropped.
#[derive(Debug)]
pub(crate) struct LargeBodyPlace {
    _permit: OwnedSemaphorePermit,
}

/// When the next bytes must have arrived.
struct ChunkDeadline {
    begun: Instant,
    before: usize,
}

impl ChunkDeadline {
    fn after(&self, received: usize) -> Instant {
        let millis = received.saturating_sub(self.before) * 1000 / BYTES_PER_SECOND;
        let earned = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.begun + PATIENCE.min(Duration::from_secs(1) + earned)
    }
}

impl LargeBodies {
    /// At most `places` large bodies at a time, each of at most `max_bytes`.
    pub(crate) fn new(places: usize, max_bytes: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), max_bytes }
    }

    /// Reads the body of a request that declares JSON. A large one comes with the place that it holds.
    pub(crate) async fn json_bytes(
        &self,
        request: Request,
    ) -> Result<(Bytes, Option<LargeBodyPlace>), Problem> {
        check_headers(request.headers())?;
        let mut body = request.into_body();
        if body.size_hint().lower() > self.max_bytes as u64 {
            return Err(too_large());
        }
        let (mut bytes, mut place) = (Vec::new(), None);
        let mut due = ChunkDeadline { begun: Instant::now(), before: 0 };
        loop {
            let deadline = match &place {
                None => due.begun + PATIENCE,
                Some(_) => due.after(bytes.len()),
            };
            let chunk = timeout_at(deadline, next(&mut body)).await.map_err(|_| too_slow())?;
            let Some(chunk) = chunk? else { break };
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            if place.is_none() && bytes.len() + chunk.len() > SMALL_BYTES {
                place = Some(self.place().await?);
                due = ChunkDeadline { begun: Instant::now(), before: bytes.len() + chunk.len() };
            }
            bytes.extend_from_slice(&chunk);
        }
        check_begin(&bytes)?;
        Ok((bytes.into(), place))
    }

    async fn place(&self) -> Result<LargeBodyPlace, Problem> {
        let permit = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        match permit {
            Ok(Ok(permit)) => Ok(LargeBodyPlace { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Problem::try_later("too many large bodies at once")),
        }
    }
}

/// The next bytes of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await else {
            return Ok(None);
        };
        // Trailers are ignored.
        if let Ok(data) = frame.map_err(|_| broke_off())?.into_data() {
            return Ok(Some(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures_util::StreamExt as _;
    use futures_util::stream;

    use super::*;

    /// A request whose body has these chunks, each after a pause. If `ends` is false, the body then stalls.
    fn request(chunks: Vec<(Duration, usize)>, ends: bool) -> Request {
        let chunks = stream::iter(chunks).then(|(pause, size)| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; size]))
        });
        let body = if ends {
            Body::from_stream(chunks)
        } else {
            Body::from_stream(chunks.chain(stream::pending()))
        };
        Request::post("/").header("content-type", "application/json").body(body).unwrap()
    }

    fn status(read: Result<(Bytes, Option<LargeBodyPlace>), Problem>) -> u16 {
        read.err().map_or(200, |problem| problem.into_response().status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_bodies_keep_no_other_body_out() {
        let bodies = LargeBodies::new(2, 4 * SMALL_BYTES);
        let stalled: Vec<_> = (0..4)
            .map(|_| {
                let bodies = bodies.clone();
                let request = request(vec![(Duration::ZERO, SMALL_BYTES + 1)], false);
                tokio::spawn(async move { status(bodies.json_bytes(request).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let good = request(vec![(Duration::ZERO, SMALL_BYTES); 3], true);
        let (bytes, place) = bodies.json_bytes(good).await.unwrap();
        assert!(bytes.len() == 3 * SMALL_BYTES && place.is_some());
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        for stalled in stalled {
            assert_eq!(stalled.await.unwrap(), 408);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_arrives_too_slowly_is_cut_off() {
        let bodies = LargeBodies::new(1, 4 * SMALL_BYTES);
        let second = Duration::from_secs(1);
        let cases = [
            // Small bodies have all the time there is, and need no place.
            (vec![(Duration::from_secs(9), 10)], 200),
            (vec![(Duration::from_secs(11), 10)], 408),
            (vec![(Duration::ZERO, SMALL_BYTES + 1), (second / 2, 10)], 200),
            (vec![(Duration::ZERO, SMALL_BYTES + 1), (second * 2, 10)], 408),
            (vec![(Duration::ZERO, 4 * SMALL_BYTES + 1)], 413),
        ];
        for (chunks, expected) in cases {
            let read = bodies.json_bytes(request(chunks.clone(), true)).await;
            assert_eq!(status(read), expected, "{chunks:?}");
        }
        // A byte now and then earns no more time.
        let trickle =
            std::iter::once((Duration::ZERO, SMALL_BYTES + 1)).chain(vec![(second / 4, 1); 100]);
        let begun = Instant::now();
        assert_eq!(status(bodies.json_bytes(request(trickle.collect(), true)).await), 408);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        // The place is free again, and a body waits for a place only for a limited time.
        let good = || request(vec![(Duration::ZERO, SMALL_BYTES); 2], true);
        let (_, _place) = bodies.json_bytes(good()).await.unwrap();
        assert_eq!(status(bodies.json_bytes(good()).await), 503);
    }
}
