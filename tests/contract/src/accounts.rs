//! The suite of the part of [`Accounts`] about users.

use std::sync::Arc;

use doorstep_domain::ports::{Accounts, RegisterError, StoreError};
use doorstep_domain::{EntryKind, Money, NewUser, Session, User, UserId};
use uuid::Uuid;

use crate::clause::clauses;
use crate::sample::{NOW, at_once, entry, name, registered, session, stranger, user};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Accounts`] about users that the suite checks.
    FOUND = "account found": "a user who registered is found by id and by name, with the password's hash, whatever the id is";
    NEW = "account new": "a user who registered has a balance of zero and no entries";
    UNKNOWN = "account unknown": "an unknown user is not found, and has no balance";
    SPELLING = "account spelling": "a name is taken and found without regard to case, and shown as it was spelled";
    WHOLE = "account whole": "a registration that fails leaves neither a user nor a name";
    ONE_NAME = "account name at once": "of any number of concurrent registrations with one name, one succeeds";
    OWED = "account reward owed": "`users_without` returns those who have no entry of the kind, oldest first, at most `limit`";
    DURABLE = "account durable": "who registered is found after the store was closed and opened again";
}

/// The part of [`Accounts`] about users: checks every promise of [`CLAUSES`] but the durability, for which see
/// [`durable_accounts`]. The part about money is in [`ledger`](crate::ledger()).
pub async fn accounts(store: Arc<dyn Accounts>) {
    registered_users_are_found(&*store).await;
    a_name_is_one_name_in_any_spelling(&*store).await;
    a_registration_is_whole_or_not_at_all(&*store).await;
    of_many_who_want_one_name_one_gets_it(&store).await;
    users_without_a_gift_are_found_oldest_first(&*store).await;
}

/// What [`Accounts`] promises to keep of users, in a store that can be closed and opened again.
pub async fn durable_accounts<R: Reopens<Store: Accounts>>(place: &mut R) {
    let ada = user(name());
    let store = place.reopen().await;
    DURABLE.done("register", store.register(&ada, &session(&ada.user.id, NOW)).await);
    drop(store);
    is_found(&*place.reopen().await, &ada, DURABLE).await;
}

async fn is_found(store: &dyn Accounts, user: &NewUser, clause: Clause) {
    let came = clause.done("user", store.user(&user.user.id).await);
    clause.same_one("by its id", came.as_ref(), Some(&user.user));
    let came = clause.done("by_username", store.by_username(&user.user.username).await);
    clause.same_one("by its name", came.as_ref(), Some(user));
}

async fn is_unknown(store: &dyn Accounts, user: &User, clause: Clause) {
    let came = clause.done("user", store.user(&user.id).await);
    clause.same_one("by its id", came.as_ref(), None);
    let came = clause.done("balance", store.balance(&user.id).await);
    clause.same("the balance of somebody unknown", &came, &None);
}

async fn registered_users_are_found(store: &dyn Accounts) {
    let ada = user(name());
    let theirs = user(name());
    let theirs = NewUser { user: User { id: stranger(), ..theirs.user }, ..theirs };
    for user in [ada, theirs] {
        let session = session(&user.user.id, NOW);
        FOUND.done("register", store.register(&user, &session).await);
        is_found(store, &user, FOUND).await;
        let balance = NEW.done("balance", store.balance(&user.user.id).await);
        NEW.same("the balance of a new user", &balance, &Some(Money::ZERO));
        let entries = NEW.done("entries", store.entries(&user.user.id, None, 10).await);
        NEW.same_all("the entries of a new user", &entries, &[]);
    }
    let nobody = User { id: UserId::from(Uuid::now_v7()), ..user(name()).user };
    is_unknown(store, &nobody, UNKNOWN).await;
    let came = UNKNOWN.done("by_username", store.by_username(&nobody.username).await);
    UNKNOWN.same_one("by an unknown name", came.as_ref(), None);
}

async fn a_name_is_one_name_in_any_spelling(store: &dyn Accounts) {
    let first = user(name());
    let shouted = first.user.username.as_str().to_uppercase().parse().expect("a username");
    SPELLING.done("register", store.register(&first, &session(&first.user.id, NOW)).await);

    let second = user(shouted);
    let came = store.register(&second, &session(&second.user.id, NOW)).await;
    let taken = matches!(came, Err(RegisterError::UsernameTaken));
    SPELLING.holds(
        taken,
        format_args!("the name in capitals: expected UsernameTaken, and got {came:?}"),
    );
    is_unknown(store, &second.user, WHOLE).await;
    let came = SPELLING.done("by_username", store.by_username(&second.user.username).await);
    SPELLING.same_one("by the name in capitals", came.as_ref(), Some(&first));
}

async fn a_registration_is_whole_or_not_at_all(store: &dyn Accounts) {
    let first = user(name());
    let taken = session(&first.user.id, NOW);
    WHOLE.done("register", store.register(&first, &taken).await);

    // A session whose token exists already cannot be stored, so the user must not be stored either.
    let second = user(name());
    let session = Session { user_id: second.user.id.clone(), ..taken };
    let came = store.register(&second, &session).await;
    let refused = matches!(came, Err(RegisterError::Store(StoreError::Corrupt(_))));
    WHOLE.holds(
        refused,
        format_args!("with a token that exists: expected Corrupt, and got {came:?}"),
    );
    is_unknown(store, &second.user, WHOLE).await;
    let came = WHOLE.done("by_username", store.by_username(&second.user.username).await);
    WHOLE.same_one("by the name of somebody whose registration failed", came.as_ref(), None);
}

async fn of_many_who_want_one_name_one_gets_it(store: &Arc<dyn Accounts>) {
    let name = name();
    let results = at_once((0..16).map(|_| {
        let (store, user) = (Arc::clone(store), user(name.clone()));
        async move {
            let result = store.register(&user, &session(&user.user.id, NOW)).await;
            (user, result)
        }
    }))
    .await;

    let mut winners = Vec::new();
    for (user, result) in results {
        match result {
            Ok(()) => winners.push(user),
            Err(RegisterError::UsernameTaken) => is_unknown(&**store, &user.user, ONE_NAME).await,
            Err(e) => ONE_NAME.broken(format_args!("expected UsernameTaken, and got: {e}")),
        }
    }
    ONE_NAME.same("how many of 16 at once got the name", &winners.len(), &1);
    let came = ONE_NAME.done("by_username", store.by_username(&name).await);
    ONE_NAME.same_one("by the name", came.as_ref(), winners.first());
}

async fn users_without_a_gift_are_found_oldest_first(store: &dyn Accounts) {
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(registered(store).await.id);
    }
    let given = registered(store).await.id;
    let gift = entry(&given, 100_000, &given.to_string());
    OWED.done("grant", store.grant(&gift).await);

    let without = async |limit| {
        OWED.done("users_without", store.users_without(EntryKind::WelcomeGift, limit).await)
    };
    let all = without(usize::MAX).await;
    let ours: Vec<_> = all.iter().filter(|id| left.contains(id)).cloned().collect();
    OWED.same("those of three users without a gift", &ours, &left);
    OWED.holds(!all.contains(&given), format_args!("{given} has a gift, and is listed as without"));
    OWED.same("with a limit of 2", &without(2).await, &all[..2].to_vec());
    OWED.same("with a limit of 0", &without(0).await, &vec![]);

    // Leaves nothing owed to a later suite.
    for id in all {
        let gift = entry(&id, 100_000, &id.to_string());
        OWED.done("grant", store.grant(&gift).await);
    }
    OWED.same("when all have a gift", &without(1).await, &vec![]);
}
