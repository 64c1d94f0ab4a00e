//! Frames at the limits of RFC 6455 and of this server.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Healthy, door, open};
use crate::backends::Door;

/// The most bytes that a client's message may have.
const MOST: usize = 4096;
const TEXT: u8 = 0x01;
const CONTINUES: u8 = 0x00;
const LAST: u8 = 0x80;

/// A masked frame with this first byte; the mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut bytes = vec![first];
    match u8::try_from(length) {
        Ok(short) if short < 126 => bytes.push(0x80 | short),
        _ => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// A JSON object of this many bytes.
fn object(size: usize) -> Vec<u8> {
    format!("{{{}}}", " ".repeat(size - 2)).into_bytes()
}

/// Sends these bytes on a new connection, and a ping. Returns the code with which the server closes it; `None` if it
/// sends the pong.
async fn code_after(door: &Door, bytes: &[u8]) -> Option<u16> {
    let mut stream = open(door.server.address(), 0).await.into_inner();
    stream.write_all(bytes).await.unwrap();
    // Fails if the server has closed already.
    stream.write_all(&frame(LAST | 0x09, b"")).await.ok();
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    match head {
        [0x8a, 0] => None,
        [0x88, length] if length >= 2 => Some(stream.read_u16().await.unwrap()),
        other => panic!("neither a pong nor a close frame with a code: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_may_have_4096_bytes_and_not_one_more() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    for size in [MOST - 1, MOST] {
        assert_eq!(code_after(&door, &frame(LAST | TEXT, &object(size))).await, None, "{size}");
    }
    assert_eq!(code_after(&door, &frame(LAST | TEXT, &object(MOST + 1))).await, Some(1009));
    // Fragments count together.
    for (more, code) in [(0, None), (1, Some(1009))] {
        let whole = object(MOST + more);
        let (first, rest) = whole.split_at(MOST / 2);
        let (second, third) = rest.split_at(MOST / 4);
        let fragments =
            [frame(TEXT, first), frame(CONTINUES, second), frame(LAST | CONTINUES, third)];
        assert_eq!(code_after(&door, &fragments.concat()).await, code, "{more}");
    }
    // The length that a head claims is enough; nothing has to come.
    for length in [u64::try_from(MOST).unwrap() + 1, u64::from(u32::MAX), u64::MAX >> 1] {
        let claims = [&[LAST | TEXT, 0x80 | 0x7f][..], &length.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(code_after(&door, &claims).await, Some(1009), "{length}");
    }
    healthy.has_everything().await;
}

#[tokio::test]
async fn each_reserved_bit_closes_with_1002() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    for bit in [0x40, 0x20, 0x10] {
        for (what, first) in [("text", LAST | TEXT), ("a fragment", TEXT), ("a ping", LAST | 0x09)]
        {
            let code = code_after(&door, &frame(first | bit, b"{}")).await;
            assert_eq!(code, Some(1002), "{what} with {bit:#x}");
        }
        // In a later frame of a message too.
        let frames = [frame(TEXT, b"{"), frame(LAST | CONTINUES | bit, b"}")].concat();
        assert_eq!(code_after(&door, &frames).await, Some(1002), "{bit:#x}");
    }
    healthy.has_everything().await;
}

#[tokio::test]
async fn utf8_is_judged_over_the_borders_of_frames() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let split = |text: &[u8], at: usize| {
        let (one, other) = text.split_at(at);
        [frame(TEXT, one), frame(LAST | CONTINUES, other)].concat()
    };
    let text = "{\"\u{fc}\u{20ac}\u{1f6aa}\":1}".as_bytes();
    // Wherever it is cut, it is the same text.
    for at in 0..=text.len() {
        assert_eq!(code_after(&door, &split(text, at)).await, None, "cut at {at}");
    }
    let bad: [(&str, &[u8]); 5] = [
        ("half a character", b"\"\xc3\""),
        ("a surrogate", b"\"\xed\xa0\x80\""),
        ("an overlong slash", b"\"\xe0\x80\xaf\""),
        ("beyond the last character", b"\"\xf4\x90\x80\x80\""),
        ("it ends in a character", b"\"\xf0\x9f\x9a"),
    ];
    for (what, text) in bad {
        for at in 0..=text.len() {
            let code = code_after(&door, &split(text, at)).await;
            assert_eq!(code, Some(1007), "{what}, cut at {at}");
        }
    }
    healthy.has_everything().await;
}
