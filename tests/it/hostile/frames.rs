//! Frames that no honest client sends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{Healthy, assert_grown_less, door, open, open_all, until_connected};

/// How many connections send a message that does not end.
const UNENDING: usize = 2000;
/// How many pings and acks one client sends.
const FLOOD: usize = 100_000;

#[tokio::test]
async fn fragments_that_never_end_are_bounded_on_each_connection() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let mut sockets = open_all(door.server.address(), UNENDING).await;
    until_connected(&door, UNENDING).await;
    let before = door.server.resident();
    // Each sends up to 256 KiB, of which the first 4 KiB are allowed: 500 MiB if they were kept.
    stream::iter(&mut sockets)
        .for_each_concurrent(64, async |socket| {
            for n in 0..128 {
                let code = OpCode::Data(if n == 0 { Data::Text } else { Data::Continue });
                let frame = Message::Frame(Frame::message(vec![b' '; 2048], code, false));
                if socket.send(frame).await.is_err() {
                    break;
                }
            }
            // The server has read all that it will: a connection that it lets go on stays open.
            let end = async { while let Some(Ok(_)) = socket.next().await {} };
            let ended = tokio::time::timeout(Duration::from_secs(30), end).await;
            assert!(ended.is_ok(), "a message that does not end goes on");
        })
        .await;
    assert_grown_less(&door, before, 128);
    until_connected(&door, 0).await;
    healthy.has_everything().await;
}

#[tokio::test]
async fn floods_of_pings_and_acks_whose_answers_nobody_reads_are_bounded() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let mut pings = open(door.server.address(), 0).await;
    let mut acks = open(door.server.address(), 1).await;
    let before = door.server.resident();
    let pinging = async {
        for _ in 0..FLOOD {
            // Once the server has no room for pongs, it reads no pings: then this does not end by itself.
            if pings.feed(Message::Ping(vec![0; 125].into())).await.is_err() {
                return;
            }
        }
    };
    let acking = async {
        let ack = json!({"type": "ack", "id": "01890a5d-ac96-774b-bcce-b302099a8057"}).to_string();
        for _ in 0..FLOOD {
            acks.feed(Message::text(ack.clone())).await.unwrap();
        }
        acks.send(Message::Ping("all read".into())).await.unwrap();
        while !matches!(acks.next().await, Some(Ok(Message::Pong(_)))) {}
    };
    tokio::select! {
        () = acking => {}
        () = async { pinging.await; std::future::pending().await } => {}
    }
    // A trace of 125 bytes that each ping left would be 12 MiB.
    assert_grown_less(&door, before, 8);
    healthy.has_everything().await;
}

#[tokio::test]
async fn a_wrong_mask_and_reserved_bits_close_with_1002_and_split_bad_text_with_1007() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let cases: [(&str, &[u8], u16); 5] = [
        ("no mask", &[0x81, 0x02, b'{', b'}'], 1002),
        ("the first reserved bit", &[0xc1, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        ("a reserved code", &[0x83, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0], 1002),
        // The first half of a character, and then not its second.
        (
            "bad text",
            &[0x01, 0x82, 0, 0, 0, 0, b'"', 0xc3, 0x80, 0x82, 0, 0, 0, 0, b'(', b'"'],
            1007,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut stream = open(door.server.address(), 0).await.into_inner();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let expected = [&[0x88][..], &code.to_be_bytes()].concat();
        let got = [answer.get(..1), answer.get(2..4)].map(Option::unwrap_or_default).concat();
        assert_eq!(got, expected, "{what}: {answer:?}");
    }
    healthy.has_everything().await;
}
