use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NODE: NodeId = NodeId([7; 16]);

fn id() -> NotificationId {
    NotificationId::new(Uuid::from_u128(42))
}

fn notification(payload: &str, topic: Option<&str>, ttl: Option<u32>) -> Notification {
    Notification {
        id: id(),
        user_id: "ada".parse().unwrap(),
        kind: "order.shipped".parse().unwrap(),
        topic: topic.map(|topic| topic.parse().unwrap()),
        payload: Payload::new(payload).unwrap(),
        created_at: Timestamp::from_micros(1_800_000_000_000_000),
        ttl: ttl.map(Ttl::from_secs),
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
    }
}

fn end(outcome: Option<Outcome>) -> ClusterEntry {
    ClusterEntry::Ended {
        outcome,
        by: NODE,
        user: "ada".parse().unwrap(),
        kind: "order.shipped".parse().unwrap(),
        created_at: Timestamp::from_micros(1_800_000_000_000_000),
        trace: None,
    }
}

fn samples() -> Vec<ClusterEntry> {
    let user = || "ada".parse().unwrap();
    let mut all = vec![
        ClusterEntry::Accepted {
            notification: notification("x", Some("t"), Some(60)),
            origin: NODE,
            age: Duration::from_micros(7),
            now_or_never: false,
        },
        ClusterEntry::Accepted {
            notification: notification("", None, None),
            origin: NODE,
            age: Duration::ZERO,
            now_or_never: true,
        },
        ClusterEntry::Promoting { notification: notification("x", None, Some(0)), by: NODE },
        ClusterEntry::Barrier { by: NODE },
        ClusterEntry::SignedOut { user: user(), token: TokenHash::new([9; 32]) },
        ClusterEntry::Disconnect { user: user() },
        ClusterEntry::Look { user: user() },
    ];
    all.extend(Outcome::ALL.map(Some).into_iter().chain([None]).map(end));
    for reason in RetractReason::ALL {
        all.push(ClusterEntry::Retract { user: user(), id: id(), reason: Some(reason) });
    }
    all
}

#[test]
fn what_is_written_is_read() {
    for entry in samples() {
        let bytes = entry.encode();
        assert_eq!(ClusterEntry::decode(LogKey::Notification(id()), &bytes), Ok(entry));
    }
}

#[test]
fn what_a_newer_version_adds_is_ignored_or_skipped() {
    let key = LogKey::Notification(id());
    // A field with the tag 99 behind all others, and inside of an end.
    for entry in samples() {
        let mut bytes = entry.encode().to_vec();
        bytes.extend([0x9a, 0x06, 3, b'n', b'e', b'w']);
        assert_eq!(ClusterEntry::decode(key, &bytes), Ok(entry));
    }
    let end = end(Some(Outcome::Expired));
    let mut bytes = end.encode().to_vec();
    bytes[2] += 2;
    bytes.extend([0x50, 1]);
    assert_eq!(ClusterEntry::decode(key, &bytes), Ok(end));
    // A kind with the tag 50; another format.
    assert_eq!(ClusterEntry::decode(key, &[FORMAT, 0x92, 0x03, 0]), Err(Unreadable::Newer));
    assert_eq!(ClusterEntry::decode(key, &[FORMAT]), Err(Unreadable::Newer));
    assert_eq!(ClusterEntry::decode(key, &[FORMAT + 1, 1, 2, 3]), Err(Unreadable::Newer));
    assert!(matches!(ClusterEntry::decode(key, &[]), Err(Unreadable::Damaged(_))));
}

#[test]
fn an_end_is_small() {
    let end = end(Some(Outcome::Delivered));
    assert_eq!(end.encode().len(), 52);
}

#[test]
fn what_is_about_a_notification_has_its_key() {
    let passing = LogKey::Passing(Uuid::from_u128(1));
    let end = end(Some(Outcome::Delivered));
    assert!(matches!(ClusterEntry::decode(passing, &end.encode()), Err(Unreadable::Damaged(_))));
}

proptest! {
    /// Bytes of strangers are refused or read, and never more than that.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        ClusterEntry::decode(LogKey::Notification(id()), &bytes).ok();
    }

    /// Neither do ours with something changed, cut off or put in.
    #[test]
    fn no_damage_panics(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        how in 0..3,
    ) {
        let samples = samples();
        let mut bytes = which.get(&samples).encode().to_vec();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.truncate(at),
            _ => bytes.insert(at, byte),
        }
        if let Ok(read) = ClusterEntry::decode(LogKey::Notification(id()), &bytes) {
            let again = ClusterEntry::decode(LogKey::Notification(id()), &read.encode());
            prop_assert_eq!(again, Ok(read));
        }
    }
}
