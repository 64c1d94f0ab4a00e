use std::collections::VecDeque;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::RawMessageErrorKind;
use doorstep_domain::{LogKey, ReadFrom, Sequence};

use super::stream::{Found, StreamIdentity};
use super::{NatsError, Shared};

/// How many of the entries that were read last are looked for again.
const LOOKED_FOR: usize = 4;

/// Where a tail has come to, and in which stream.
pub(super) struct Place {
    /// The sequence of the entry that was read last.
    pub(super) after: u64,
    identity: StreamIdentity,
    last: VecDeque<(u64, i128, LogKey)>,
}

impl Place {
    pub(super) fn new(from: ReadFrom, identity: StreamIdentity) -> Self {
        let after = match from {
            ReadFrom::Start => 0,
            ReadFrom::After(Sequence(sequence)) => sequence,
        };
        Self { after, identity, last: VecDeque::with_capacity(LOOKED_FOR) }
    }

    /// An entry was read.
    pub(super) fn went_on(&mut self, sequence: u64, time_nanos: i128, key: LogKey) {
        self.after = sequence;
        if self.last.len() == LOOKED_FOR {
            self.last.pop_front();
        }
        self.last.push_back((sequence, time_nanos, key));
    }

    /// The tail begins again, in this stream.
    pub(super) fn start_again(&mut self, identity: StreamIdentity) {
        *self = Self::new(ReadFrom::Start, identity);
    }

    /// Whether the stream is not the one in which this place is.
    ///
    /// An entry that is gone proves nothing: a newer one may have taken its place. One with another time does.
    pub(super) async fn is_elsewhere(
        &self,
        shared: &Shared,
        found: &Found,
    ) -> Result<bool, NatsError> {
        if found.identity != self.identity || found.last_sequence < self.after {
            return Ok(true);
        }
        let unavailable = |error: &dyn std::fmt::Display| NatsError::Unavailable(error.to_string());
        let stream = shared.context.get_stream_no_info(&shared.subjects.stream).await;
        let stream = stream.map_err(|error| unavailable(&error))?;
        for (sequence, time_nanos, key) in self.last.iter().rev() {
            match stream.get_raw_message(*sequence).await {
                Ok(message) => {
                    return Ok(message.time.unix_timestamp_nanos() != *time_nanos
                        || shared.subjects.key(&message.subject) != Some(*key));
                }
                Err(error) if is_gone(&error.kind()) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(false)
    }
}

fn is_gone(error: &RawMessageErrorKind) -> bool {
    match error {
        RawMessageErrorKind::NoMessageFound => true,
        RawMessageErrorKind::JetStream(error) => error.error_code() == ErrorCode::NO_MESSAGE_FOUND,
        _ => false,
    }
}
