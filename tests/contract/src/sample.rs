//! Values to write into a store: new in every call, and awkward on purpose.

use std::future::Future;

use doorstep_domain::ports::Accounts;
use doorstep_domain::{
    EntryId, EntryKind, LedgerEntry, Money, NewUser, Notification, NotificationId, PasswordHash,
    Payload, Session, Timestamp, TokenHash, Ttl, User, UserId, Username,
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The current time of the suites. Its odd microseconds reveal a store that rounds.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_123_457);

pub(super) fn name() -> Username {
    let unique = Uuid::now_v7().simple().to_string();
    // The last digits are the random ones. The capital makes the spelling matter.
    format!("Ada-{}", &unique[12..]).parse().expect("a username")
}

pub(super) fn user(username: Username) -> NewUser {
    let id = UserId::from(Uuid::now_v7());
    let password = PasswordHash::new(format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdA${id}"));
    NewUser { user: User { id, username, created_at: NOW }, password }
}

pub(super) fn session(user_id: &UserId, expires_at: Timestamp) -> Session {
    let [a, b] = [Uuid::now_v7(), Uuid::now_v7()].map(Uuid::into_bytes);
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&a);
    digest[16..].copy_from_slice(&b);
    Session { token: TokenHash::new(digest), user_id: user_id.clone(), expires_at }
}

/// A registered user.
pub(super) async fn registered(store: &dyn Accounts) -> User {
    let user = user(name());
    let session = session(&user.user.id, NOW);
    store.register(&user, &session).await.expect("a new user registers");
    user.user
}

/// The welcome gift, or one that its rules allow, with another reference.
pub(super) fn entry(user_id: &UserId, minor: i64, reference: &str) -> LedgerEntry {
    LedgerEntry {
        id: EntryId::new(Uuid::now_v7()),
        user_id: user_id.clone(),
        kind: EntryKind::WelcomeGift,
        amount: Money::from_minor(minor),
        reference: reference.to_owned(),
        created_at: NOW,
    }
}

/// A user unknown to every store: not a UUID but a backend's own string, with characters that need care in SQL.
pub(super) fn stranger() -> UserId {
    format!("zoë's \"cart\"/{}\\0\0%", Uuid::now_v7()).parse().expect("a user id")
}

pub(super) fn notification(user_id: &UserId) -> Notification {
    let id = NotificationId::new(Uuid::now_v7());
    Notification {
        id,
        user_id: user_id.clone(),
        kind: "reward.granted".parse().expect("a kind"),
        topic: None,
        payload: Payload::new(&format!("for {id}: 'naïve' \u{1F381} \0 \\ \"")).expect("a payload"),
        created_at: NOW,
        ttl: Some(Ttl::from_secs(60)),
        trace: None,
    }
}

pub(super) fn notifications(user_id: &UserId, count: usize) -> Vec<Notification> {
    (0..count).map(|_| notification(user_id)).collect()
}

/// Two notifications of the same user: one has every optional field, the other none.
pub(super) fn full_and_bare(user_id: &UserId) -> [Notification; 2] {
    let full = Notification {
        topic: Some("order/7".parse().expect("a topic")),
        payload: Payload::parse(&format!("\"{}\"", "x".repeat(Payload::MAX_BYTES - 2)))
            .expect("the largest payload"),
        ttl: Some(Ttl::MAX),
        trace: Some(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a trace"),
        ),
        ..notification(user_id)
    };
    let bare = Notification {
        kind: "w".parse().expect("a kind"),
        payload: Payload::parse("null").expect("a payload"),
        created_at: Timestamp::from_micros(-1),
        ttl: None,
        ..notification(user_id)
    };
    [full, bare]
}

/// Runs all of them at once, on all threads of the runtime. Returns their results.
pub(super) async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    tasks.into_iter().collect::<JoinSet<T>>().join_all().await
}
