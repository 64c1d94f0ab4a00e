use async_nats::client::{Request, RequestErrorKind};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use doorstep_domain::{Append, AppendRefusal, Appended, Expecting, Sequence};

use super::Shared;
use super::stream::MOST_BYTES;

/// Sends an append and judges the answer.
pub(super) async fn append(shared: &Shared, entry: Append) -> Appended {
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let bytes = entry.bytes.len();
    if bytes > most {
        return Appended::Refused(AppendRefusal::TooLarge { bytes, most });
    }
    // What is given to a client without a connection is sent when it has one, perhaps much later.
    if !shared.link.borrow().connected {
        return Appended::Refused(AppendRefusal::Away("there is no connection to NATS".into()));
    }
    let Ok(place) =
        tokio::time::timeout(shared.settings.answer_within, shared.places.acquire()).await
    else {
        let reason = "too many appends wait for an answer".into();
        return Appended::Refused(AppendRefusal::Away(reason));
    };
    let sent = shared.clock.now();
    let sampled = shared.known().estimate.samples(sent);
    let subject = shared.subjects.of(entry.key);
    let request = Request::new()
        .headers(headers(&entry))
        .payload(Bytes::from_owner(entry.bytes))
        // The time limit below includes the wait for a place in the client's queue.
        .timeout(None);
    let answer = tokio::time::timeout(
        shared.settings.answer_within,
        shared.client.send_request(subject, request),
    )
    .await;
    drop(place);
    if answer.is_ok() {
        shared.appends.count(shared.clock.now().since(sent));
    }
    let appended = match answer {
        Err(_) => Appended::Unknown,
        Ok(Ok(message)) => judge(&message.payload, bytes),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::NoResponders => Appended::Refused(AppendRefusal::Away(
                "its stream is not there, or has no leader".into(),
            )),
            RequestErrorKind::MaxPayloadExceeded => {
                let most = shared.client.max_payload();
                Appended::Refused(AppendRefusal::TooLarge { bytes, most })
            }
            _ => Appended::Unknown,
        },
    };
    if let (Appended::Won(sequence), true) = (&appended, sampled) {
        shared.known().estimate.appended(*sequence, sent, shared.clock.now());
    }
    appended
}

fn headers(entry: &Append) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let expected = match entry.expecting {
        Expecting::Nothing => 0,
        Expecting::Sequence(Sequence(sequence)) => sequence,
    };
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
    if let Some(kept) = entry.kept {
        // The server counts in whole seconds.
        let seconds = kept.as_secs() + u64::from(kept.subsec_nanos() > 0);
        headers.insert(header::NATS_MESSAGE_TTL, format!("{}s", seconds.max(1)));
    }
    headers
}

/// What an answer means. All that is neither an acknowledgement nor a refusal that we know is no answer.
fn judge(answer: &[u8], bytes: usize) -> Appended {
    let error = match serde_json::from_slice(answer) {
        Ok(Response::<PublishAck>::Ok(ack)) => return Appended::Won(Sequence(ack.sequence)),
        Ok(Response::Err { error }) => error,
        Err(_) => return Appended::Unknown,
    };
    match error.error_code() {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
            Appended::Lost
        }
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => {
            let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
            Appended::Refused(AppendRefusal::TooLarge { bytes, most })
        }
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
            Appended::Refused(AppendRefusal::Full(error.to_string()))
        }
        code => {
            tracing::warn!(?code, %error, "NATS answered an append with an error");
            Appended::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u64, text: &str) -> Appended {
        let json =
            format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"{text}"}}}}"#);
        judge(json.as_bytes(), 7)
    }

    #[test]
    fn only_an_acknowledgement_wins_and_only_a_lost_race_is_lost() {
        let ack = br#"{"stream":"DOORSTEP_x","seq":17}"#;
        assert_eq!(judge(ack, 7), Appended::Won(Sequence(17)));
        assert_eq!(error(10071, "wrong last sequence: 3"), Appended::Lost);
        assert_eq!(error(10164, "wrong last sequence"), Appended::Lost);
        let full = error(10077, "maximum bytes exceeded");
        assert!(matches!(full, Appended::Refused(AppendRefusal::Full(_))), "{full:?}");
        for unknown in [10008, 10009, 10060, 1] {
            assert_eq!(error(unknown, "not now"), Appended::Unknown, "{unknown}");
        }
        for bytes in [&b""[..], b"{", b"[]", b"{}", b"{\"seq\":\"x\"}"] {
            assert_eq!(judge(bytes, 7), Appended::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn a_time_to_keep_is_in_whole_seconds_and_not_too_short() {
        for (kept, header) in [(0, "1s"), (1, "1s"), (1000, "1s"), (1001, "2s")] {
            let entry = Append {
                key: doorstep_domain::LogKey::Passing(uuid::Uuid::nil()),
                expecting: Expecting::Nothing,
                bytes: [].into(),
                kept: Some(std::time::Duration::from_millis(kept)),
            };
            assert_eq!(
                headers(&entry).get("Nats-TTL").map(header::HeaderValue::as_str),
                Some(header)
            );
        }
    }
}
