use std::sync::Arc;

use doorstep_domain::ports::{Accounts, RegisterError, StoreError};
use doorstep_domain::{EntryKind, Money, NewUser, Session, User, UserId};
use uuid::Uuid;

use super::sample::{NOW, at_once, entry, name, registered, session, stranger, user};

/// The part of [`Accounts`] about users. The part about money is in [`ledger`](super::ledger()).
pub async fn accounts(store: Arc<dyn Accounts>) {
    registered_users_are_found(&*store).await;
    a_name_is_one_name_in_any_spelling(&*store).await;
    a_registration_is_whole_or_not_at_all(&*store).await;
    of_many_who_want_one_name_one_gets_it(&store).await;
    users_without_a_gift_are_found_oldest_first(&*store).await;
}

async fn registered_users_are_found(store: &dyn Accounts) {
    let ada = user(name());
    let session = session(&ada.user.id, NOW);
    store.register(&ada, &session).await.expect("a new user registers");

    assert_eq!(store.user(&ada.user.id).await.expect("answers"), Some(ada.user.clone()));
    let found = store.by_username(&ada.user.username).await.expect("answers").expect("is found");
    assert_eq!(found, ada);
    assert_eq!(found.password.as_str(), ada.password.as_str());
    assert_eq!(store.balance(&ada.user.id).await.expect("answers"), Some(Money::ZERO));
    assert_eq!(store.entries(&ada.user.id, None, 10).await.expect("answers"), []);

    let nobody = UserId::from(Uuid::now_v7());
    assert_eq!(store.user(&nobody).await.expect("answers"), None);
    assert_eq!(store.balance(&nobody).await.expect("answers"), None);
    assert_eq!(store.by_username(&name()).await.expect("answers"), None);

    let theirs = user(name());
    let theirs = NewUser { user: User { id: stranger(), ..theirs.user }, ..theirs };
    let session = super::sample::session(&theirs.user.id, NOW);
    store.register(&theirs, &session).await.expect("an id of a backend's own registers");
    assert_eq!(store.user(&theirs.user.id).await.expect("answers"), Some(theirs.user));
}

async fn a_name_is_one_name_in_any_spelling(store: &dyn Accounts) {
    let first = user(name());
    let shouted = first.user.username.as_str().to_uppercase().parse().expect("a username");
    store
        .register(&first, &session(&first.user.id, NOW))
        .await
        .expect("the first spelling registers");

    let second = user(shouted);
    let answer = store.register(&second, &session(&second.user.id, NOW)).await;
    assert!(matches!(answer, Err(RegisterError::UsernameTaken)), "{answer:?}");
    assert_eq!(store.user(&second.user.id).await.expect("answers"), None);
    let found = store.by_username(&second.user.username).await.expect("answers");
    assert_eq!(found, Some(first), "found in any spelling, shown as it was spelled");
}

async fn a_registration_is_whole_or_not_at_all(store: &dyn Accounts) {
    let first = user(name());
    let taken = session(&first.user.id, NOW);
    store.register(&first, &taken).await.expect("a new user registers");

    // A session whose token exists already cannot be stored, so the user must not be stored either.
    let second = user(name());
    let session = Session { user_id: second.user.id.clone(), ..taken };
    let answer = store.register(&second, &session).await;
    assert!(matches!(answer, Err(RegisterError::Store(StoreError::Corrupt(_)))), "{answer:?}");
    assert_eq!(store.user(&second.user.id).await.expect("answers"), None);
    assert_eq!(store.by_username(&second.user.username).await.expect("answers"), None);
}

async fn of_many_who_want_one_name_one_gets_it(store: &Arc<dyn Accounts>) {
    let name = name();
    let answers = at_once((0..16).map(|_| {
        let (store, user) = (Arc::clone(store), user(name.clone()));
        async move {
            let answer = store.register(&user, &session(&user.user.id, NOW)).await;
            (user, answer)
        }
    }))
    .await;

    let mut winners = Vec::new();
    for (user, answer) in answers {
        match answer {
            Ok(()) => winners.push(user),
            Err(RegisterError::UsernameTaken) => {
                assert_eq!(store.user(&user.user.id).await.expect("answers"), None);
            }
            Err(e) => panic!("a registration failed instead of losing: {e}"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one gets the name");
    assert_eq!(store.by_username(&name).await.expect("answers"), winners.pop());
}

async fn users_without_a_gift_are_found_oldest_first(store: &dyn Accounts) {
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(registered(store).await.id);
    }
    let given = registered(store).await.id;
    let gift = entry(&given, 100_000, &given.to_string());
    store.grant(&gift).await.expect("a gift is granted");

    let kind = EntryKind::WelcomeGift;
    let all = store.users_without(kind, usize::MAX).await.expect("answers");
    let ours: Vec<_> = all.iter().filter(|id| left.contains(id)).cloned().collect();
    assert_eq!(ours, left, "oldest first");
    assert!(!all.contains(&given));
    let some = store.users_without(kind, 2).await.expect("answers");
    assert_eq!(some, all[..2], "the limit keeps the oldest");
    assert_eq!(store.users_without(kind, 0).await.expect("answers"), []);

    // Leaves nothing owed to a later suite.
    for id in all {
        let gift = entry(&id, 100_000, &id.to_string());
        store.grant(&gift).await.expect("a gift is granted");
    }
    assert_eq!(store.users_without(kind, 1).await.expect("answers"), []);
}
