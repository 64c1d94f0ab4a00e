//! Frames that nobody has written down: mutated valid ones, as text, as messages and as bytes of the socket.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use doorstep_domain::NotificationId;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::client_frame::{FromClient, Malformed};
use super::conversation::Mode;
use super::tests::{Node, ada};
use crate::connections::DisconnectReason;
use crate::http::mutated::{Mutated, mutated};

const EXAMPLES: &[&str] = &[
    r#"{"type":"ack","id":"01949c2e-7a5b-7cc0-8d4e-0123456789ab"}"#,
    r#"{"type":"dismiss","id":"01949c2e-7a5b-7cc0-8d4e-0123456789ab","more":[{"a":null}]}"#,
    r#" { "id" : "01949C2E-7A5B-7CC0-8D4E-0123456789AB", "type" : "\u0061ck" } "#,
    r#"["ack","01949c2e-7a5b-7cc0-8d4e-0123456789ab"]"#,
    r#"{"type":"hello","id":{"deep":[1,2.5e3,true,"\ud83d\ude00"]}}"#,
];

const WORDS: &[&str] = &[
    "\"type\":",
    "\"id\":",
    "\"ack\"",
    "\"dismiss\"",
    "null",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0061",
    "\\ud800",
    "1e999",
    "-0",
    " ",
    "\n",
    "\u{0}",
    "\u{feff}",
    "é",
    "{\"a\":",
];

/// The members of an object with those that are given twice, which [`Value`] would merge.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a frame means, read by the tree of `serde_json`. `None` if the tree cannot say: it refuses numbers that are too
/// large, half surrogates and deep nesting, which are well-formed.
fn meaning(text: &str) -> Option<Result<FromClient, Malformed>> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(_)) => {}
        Ok(_) => return Some(Err(Malformed)),
        Err(error) => {
            let why = error.to_string();
            let well_formed = ["number out of range", "surrogate", "hex escape", "recursion limit"];
            return if well_formed.iter().any(|known| why.contains(known)) {
                None
            } else {
                Some(Err(Malformed))
            };
        }
    }
    let Members(members) = serde_json::from_str(text).expect("an object");
    let mut by_name = BTreeMap::new();
    for (name, value) in members {
        let twice = by_name.insert(name.clone(), value).is_some();
        if twice && (name == "type" || name == "id") {
            return Some(Ok(FromClient::Unknown));
        }
    }
    let of: fn(NotificationId) -> FromClient = match by_name.get("type").and_then(Value::as_str) {
        Some("ack") => FromClient::Ack,
        Some("dismiss") => FromClient::Dismiss,
        _ => return Some(Ok(FromClient::Unknown)),
    };
    Some(match by_name.get("id").and_then(Value::as_str) {
        Some(id) => Ok(id.parse().map_or(FromClient::Unknown, of)),
        None => Err(Malformed),
    })
}

pub(crate) fn check_text(text: &str) {
    let read = FromClient::parse(text);
    match meaning(text) {
        Some(expected) => assert_eq!(read, expected, "{text:?}"),
        // An acknowledgement is never read out of what another parser cannot read.
        None if read.is_ok() => {
            let skipped = serde_json::from_str::<serde::de::IgnoredAny>(text);
            assert!(skipped.is_ok() || text.contains("\\u"), "{text:?}");
        }
        None => {}
    }
}

/// One message of a client.
#[derive(Debug, Clone)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Close,
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let frame = || mutated(EXAMPLES, WORDS);
    let good =
        "[ -~]{0,30}".prop_map(|word| Message::Text(serde_json::json!({"type": word}).to_string()));
    let message = prop_oneof![
        6 => good,
        4 => frame().prop_map(|Mutated(bytes)| Message::Text(String::from_utf8_lossy(&bytes).into_owned())),
        1 => frame().prop_map(|Mutated(bytes)| Message::Binary(bytes)),
        2 => prop::collection::vec(any::<u8>(), 0..125).prop_map(Message::Ping),
        1 => Just(Message::Close),
    ];
    prop::collection::vec(message, 0..8)
}

/// Why a connection with these messages ends, if their client does not wait for it.
fn end(messages: &[Message]) -> DisconnectReason {
    let fatal = messages.iter().find_map(|message| match message {
        Message::Text(text) if text.len() > 4096 => Some(DisconnectReason::TooLarge),
        Message::Text(text) => FromClient::parse(text).err().map(|_| DisconnectReason::Malformed),
        Message::Binary(_) => Some(DisconnectReason::Binary),
        Message::Ping(_) => None,
        Message::Close => Some(DisconnectReason::Gone),
    });
    fatal.unwrap_or(DisconnectReason::Gone)
}

/// A frame of a client with this opcode, masked with zeros (RFC 6455 section 5.2).
fn raw(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => frame.push(0x80 | u8::try_from(short).expect("below 126")),
        Ok(longer) => {
            frame.push(0x80 + 126);
            frame.extend(longer.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 + 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn raw_message(message: &Message) -> Vec<u8> {
    match message {
        Message::Text(text) => raw(1, text.as_bytes()),
        Message::Binary(bytes) => raw(2, bytes),
        Message::Close => raw(8, &[]),
        Message::Ping(bytes) => raw(9, bytes),
    }
}

/// Sends these bytes, ends the socket, and returns why the connection ended.
async fn ended_by(bytes: Vec<u8>) -> DisconnectReason {
    let node = Node::new();
    let (client, task) = node.connect(&ada(), Mode::Acknowledging, 1 << 20).await;
    let mut socket = client.into_inner();
    // Fails if the connection has ended before the last byte.
    let _ = socket.write_all(&bytes).await;
    let _ = socket.shutdown().await;
    let ended = tokio::time::timeout(Duration::from_mins(10), task).await;
    ended.expect("every connection ends").expect("no connection panics")
}

fn in_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_frame_is_read_as_another_parser_reads_it(Mutated(bytes) in mutated(EXAMPLES, WORDS)) {
        check_text(&String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn the_first_wrong_message_ends_a_connection_with_its_reason(messages in messages()) {
        let bytes = messages.iter().flat_map(raw_message).collect();
        prop_assert_eq!(in_virtual_time(ended_by(bytes)), end(&messages));
    }

    #[test]
    fn any_bytes_end_a_connection_without_a_panic(
        messages in messages(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes: Vec<u8> = messages.iter().flat_map(raw_message).collect();
        for (at, byte) in edits {
            bytes.insert(at.index(bytes.len() + 1), byte);
        }
        in_virtual_time(ended_by(bytes));
    }
}
