//! The suite of [`Authenticator`].

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_application::{Authenticator, Caller, LetInBy};
use doorstep_domain::{TokenHash, UserId};
use uuid::Uuid;

use crate::Clause;
use crate::clause::clauses;

clauses! {
    /// The promises of [`Authenticator`] that the suite checks.
    CALLER = "authenticator caller": "a valid token identifies its user, each time";
    INVALID = "authenticator invalid": "every token that was not issued is None and no error, also one that nearly was";
    ALIVE = "authenticator alive": "the caller of a valid token is alive";
    FOREIGN = "authenticator foreign": "a caller of another authenticator is not alive";
    ENDED = "authenticator ended": "a token that has ended identifies nobody, and its caller is not alive";
}

/// What the suite needs of an adapter: who issues the tokens.
#[async_trait]
pub trait AuthenticatorUnderTest: Send + Sync {
    /// The adapter.
    fn authenticator(&self) -> Arc<dyn Authenticator>;

    /// Issues a token that is valid for a minute or more, to a new user.
    async fn issue(&self) -> (UserId, String);

    /// Ends a token. Returns false if tokens cannot be ended; then the clause `authenticator ended` is not checked.
    async fn end(&self, token: &str) -> bool {
        let _ = token;
        false
    }
}

/// [`Authenticator`]: checks every promise of [`CLAUSES`].
pub async fn authenticator(issuer: &impl AuthenticatorUnderTest) {
    let it = issuer.authenticator();
    let [(ada, hers), (ben, his)] = [issuer.issue().await, issuer.issue().await];
    for (user, token) in [(&ada, &hers), (&ben, &his), (&ada, &hers)] {
        identifies(&*it, token, Some(user), CALLER).await;
    }
    let Some(caller) = CALLER.done("authenticate", it.authenticate(&hers).await) else {
        CALLER.broken("expected a caller, and got None")
    };
    is_alive(&*it, &caller, true, ALIVE).await;

    for token in nearly(&hers) {
        identifies(&*it, &token, None, INVALID).await;
    }
    let by = match caller.by {
        LetInBy::Session => LetInBy::SignedToken,
        LetInBy::SignedToken => LetInBy::Session,
    };
    let foreign = Caller { by, session: TokenHash::new([0xAB; 32]), ..caller.clone() };
    is_alive(&*it, &foreign, false, FOREIGN).await;

    if issuer.end(&hers).await {
        identifies(&*it, &hers, None, ENDED).await;
        is_alive(&*it, &caller, false, ENDED).await;
        identifies(&*it, &his, Some(&ben), ENDED).await;
    }
}

/// Tokens that were not issued.
fn nearly(token: &str) -> Vec<String> {
    let middle = token.len() / 2;
    let other = if token[middle..].starts_with('A') { "B" } else { "A" };
    vec![
        String::new(),
        "x".to_owned(),
        "é \0 \u{1F381}".to_owned(),
        Uuid::now_v7().to_string(),
        "x".repeat(10_000),
        "a.b.c".to_owned(),
        format!("{token}x"),
        format!(" {token}"),
        token[..token.len() - 1].to_owned(),
        format!("{}{other}{}", &token[..middle], &token[middle + 1..]),
    ]
}

async fn identifies(
    it: &dyn Authenticator,
    token: &str,
    expected: Option<&UserId>,
    clause: Clause,
) {
    let came = clause.done("authenticate", it.authenticate(token).await);
    let chars = token.chars().count();
    let what = format_args!("the user of a token of {chars} characters");
    clause.same(what, &came.map(|caller| caller.user_id).as_ref(), &expected);
}

async fn is_alive(it: &dyn Authenticator, caller: &Caller, expected: bool, clause: Clause) {
    clause.same("`is_alive`", &clause.done("is_alive", it.is_alive(caller).await), &expected);
}
