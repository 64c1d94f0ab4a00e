use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::subjects::Subjects;
use super::{LogStorage, NatsError, NatsSettings};

/// The largest entry, in bytes. A notification has at most 40 KiB.
pub(super) const MOST_BYTES: i32 = 128 * 1024;
/// How often the mark is looked for while another node writes it.
const TRIES: usize = 5;

/// The stream as it was found.
pub(super) struct Found {
    pub(super) identity: StreamIdentity,
    pub(super) last_sequence: u64,
    /// The server that leads it, in a cluster.
    pub(super) leader: Option<String>,
}

/// By what a stream is known. A stream in memory whose servers have all started again may have its old creation time, but
/// not its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamIdentity {
    created_nanos: i128,
    /// A random text that the first who opened it has written into it.
    mark: Vec<u8>,
}

/// Creates the stream if there is none, and checks it if there is.
pub(super) async fn open(
    context: &Context,
    subjects: &Subjects,
    settings: &NatsSettings,
) -> Result<Found, NatsError> {
    let wanted = wanted(subjects, settings);
    let stream = &subjects.stream;
    let info: Info = match call(context, format!("STREAM.INFO.{stream}"), &()).await {
        Err(CallError::Refused(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            call(context, format!("STREAM.CREATE.{stream}"), &wanted).await?
        }
        other => other?,
    };
    check(&info.config, &wanted)?;
    let mark = mark(context, subjects).await?;
    Ok(Found {
        identity: StreamIdentity { created_nanos: info.created.unix_timestamp_nanos(), mark },
        last_sequence: info.state.last_sequence,
        leader: info.cluster.and_then(|cluster| cluster.leader),
    })
}

/// Reads the stream's mark, and writes it if there is none.
async fn mark(context: &Context, subjects: &Subjects) -> Result<Vec<u8>, NatsError> {
    let unavailable = |error: &dyn std::fmt::Display| NatsError::Unavailable(error.to_string());
    let stream =
        context.get_stream_no_info(&subjects.stream).await.map_err(|error| unavailable(&error))?;
    for _ in 0..TRIES {
        match stream.get_last_raw_message_by_subject(&subjects.mark()).await {
            Ok(message) => return Ok(message.payload.to_vec()),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(unavailable(&error)),
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let mark = Uuid::now_v7().to_string();
        // Whether it wins or another node does: the next look shows it.
        if let Ok(answer) =
            context.publish_with_headers(subjects.mark(), headers, mark.into()).await
        {
            answer.await.ok();
        }
    }
    Err(NatsError::Unavailable("its mark cannot be written".into()))
}

/// The stream as we need it.
fn wanted(subjects: &Subjects, settings: &NatsSettings) -> Config {
    Config {
        name: subjects.stream.clone(),
        subjects: vec![subjects.all()],
        retention: RetentionPolicy::Limits,
        storage: match settings.storage {
            LogStorage::File => StorageType::File,
            LogStorage::Memory => StorageType::Memory,
        },
        num_replicas: settings.replicas,
        max_messages: -1,
        max_messages_per_subject: 1,
        max_bytes: settings.max_bytes.unwrap_or(-1),
        max_message_size: MOST_BYTES,
        discard: DiscardPolicy::New,
        allow_direct: true,
        allow_message_ttl: true,
        description: Some("The log between nodes of Doorstep".into()),
        ..Config::default()
    }
}

/// Compares what decides whether the log keeps its promises.
fn check(found: &Config, wanted: &Config) -> Result<(), NatsError> {
    let (mut differences, mut flags, mut fixed) = (Vec::new(), Vec::new(), false);
    let mut compare = |what: &str, found: String, wanted: String, flag: Option<&str>| {
        if found == wanted {
            return;
        }
        differences.push(format!("{what} is {found} and must be {wanted}"));
        match flag {
            Some(flag) => flags.push(format!("{flag}={wanted}")),
            None => fixed = true,
        }
    };
    let storage = |config: &Config| format!("{:?}", config.storage).to_lowercase();
    let discard = |config: &Config| format!("{:?}", config.discard).to_lowercase();
    let retention = |config: &Config| format!("{:?}", config.retention).to_lowercase();
    compare("storage", storage(found), storage(wanted), None);
    compare("retention", retention(found), retention(wanted), None);
    compare("subjects", found.subjects.join(","), wanted.subjects.join(","), Some("--subjects"));
    compare(
        "replicas",
        found.num_replicas.to_string(),
        wanted.num_replicas.to_string(),
        Some("--replicas"),
    );
    for (what, found, wanted, flag) in [
        (
            "max_msgs_per_subject",
            found.max_messages_per_subject,
            wanted.max_messages_per_subject,
            "--max-msgs-per-subject",
        ),
        ("max_msgs", found.max_messages, wanted.max_messages, "--max-msgs"),
        ("max_bytes", found.max_bytes, wanted.max_bytes, "--max-bytes"),
        (
            "max_msg_size",
            found.max_message_size.into(),
            wanted.max_message_size.into(),
            "--max-msg-size",
        ),
    ] {
        compare(what, found.to_string(), wanted.to_string(), Some(flag));
    }
    compare("discard", discard(found), discard(wanted), Some("--discard"));
    let age = |config: &Config| format!("{}s", config.max_age.as_secs());
    compare("max_age", age(found), age(wanted), Some("--max-age"));
    for (what, found, flag) in [
        ("allow_direct", found.allow_direct, "--allow-direct"),
        ("allow_msg_ttl", found.allow_message_ttl, "--allow-msg-ttl"),
    ] {
        compare(what, found.to_string(), "true".into(), Some(flag));
    }
    if found.sealed || found.no_ack || found.discard_new_per_subject {
        compare("sealed, no_ack or discard_new_per_subject", "set".into(), "unset".into(), None);
    }
    if differences.is_empty() {
        return Ok(());
    }
    let stream = wanted.name.clone();
    let mend = if fixed {
        format!(
            "this cannot be changed: set what it has, or remove it with all that it holds: nats stream rm {stream}"
        )
    } else {
        // A flag that is on or off has no value.
        let flags = flags.join(" ").replace("=true", "");
        format!("run `nats stream edit {stream} {flags}`")
    };
    Err(NatsError::OtherStream { stream, differences: differences.join(", "), mend })
}

/// Why a call of the `JetStream` API failed.
enum CallError {
    Refused(async_nats::jetstream::Error),
    Away(String),
}

impl From<CallError> for NatsError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(error)
                if [
                    ErrorCode::JETSTREAM_NOT_ENABLED,
                    ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
                ]
                .contains(&error.error_code()) =>
            {
                Self::NoJetStream(error.to_string())
            }
            CallError::Refused(error) => Self::Unavailable(error.to_string()),
            CallError::Away(text) => Self::Unavailable(text),
        }
    }
}

async fn call<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    payload: &impl Serialize,
) -> Result<T, CallError> {
    match context.request(subject, payload).await {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(CallError::Refused(error)),
        Err(error) => Err(CallError::Away(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl Fn(&mut Config)) -> String {
        let settings = NatsSettings::new("nats://127.0.0.1", "here");
        let wanted = wanted(&Subjects::new("here"), &settings);
        let mut found = wanted.clone();
        change(&mut found);
        check(&found, &wanted).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_stream_with_other_limits_is_refused_with_what_mends_it() {
        assert_eq!(checked(|_| ()), "");
        let text = checked(|found| {
            found.max_messages_per_subject = -1;
            found.allow_message_ttl = false;
        });
        assert!(
            text.ends_with(
                "run `nats stream edit DOORSTEP_here --max-msgs-per-subject=1 --allow-msg-ttl`"
            ),
            "{text}"
        );
        let text = checked(|found| found.storage = StorageType::Memory);
        assert!(text.contains("storage is memory and must be file"), "{text}");
        assert!(text.contains("nats stream rm DOORSTEP_here"), "{text}");
    }
}
