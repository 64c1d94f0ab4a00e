//! The suite of [`PasswordHasher`].

use std::sync::Arc;

use doorstep_domain::PasswordHash;
use doorstep_domain::ports::{HasherError, PasswordHasher};

use crate::Clause;
use crate::clause::clauses;

clauses! {
    /// The promises of [`PasswordHasher`] that the suite checks.
    RIGHT = "password right": "a password matches its hash, whatever its characters are";
    WRONG = "password wrong": "another password does not match, also if it differs only in case or at its end";
    LENGTH = "password length": "all 128 characters count, of four bytes each as well";
    SALT = "password salt": "the same password has another hash each time";
    HIDDEN = "password hidden": "a hash does not contain the password";
    NOBODY = "password of nobody": "without a hash no password matches";
    UNREADABLE = "password unreadable": "a text that is no hash is Unreadable, and not a wrong password";
}

/// [`PasswordHasher`]: checks every promise of [`CLAUSES`]. Not how long it takes, and not when it is busy.
pub async fn passwords(hasher: Arc<dyn PasswordHasher>) {
    let password = "correct Horse é \u{1F381}";
    let hash = hashed(&*hasher, password, RIGHT).await;
    matches(&*hasher, password, Some(&hash), true, RIGHT).await;
    for wrong in ["", "correct horse é \u{1F381}", "correct Horse é", "correct Horse é \u{1F381} "]
    {
        matches(&*hasher, wrong, Some(&hash), false, WRONG).await;
    }
    let long = "\u{1F381}".repeat(127);
    let [one, two] = ["x", "y"].map(|last| format!("{long}{last}"));
    let hash = hashed(&*hasher, &one, LENGTH).await;
    matches(&*hasher, &one, Some(&hash), true, LENGTH).await;
    matches(&*hasher, &two, Some(&hash), false, LENGTH).await;

    let [first, second] =
        [hashed(&*hasher, "a password", SALT).await, hashed(&*hasher, "a password", SALT).await];
    SALT.holds(first != second, "expected two hashes of one password, and they are the same");
    let hidden = !first.as_str().contains("a password");
    HIDDEN.holds(hidden, "expected a hash, and it contains the password");
    for password in ["", "a password", "nobody's password"] {
        matches(&*hasher, password, None, false, NOBODY).await;
    }
    for text in ["", "plain", "$argon2id$v=19$"] {
        let came = hasher.verify("plain", Some(PasswordHash::new(text.to_owned()))).await;
        let unreadable = matches!(came, Err(HasherError::Unreadable(_)));
        UNREADABLE.holds(
            unreadable,
            format_args!("the hash {text:?}: expected Unreadable, and got {came:?}"),
        );
    }
}

async fn hashed(hasher: &dyn PasswordHasher, password: &str, clause: Clause) -> PasswordHash {
    clause.done("hash", hasher.hash(password).await)
}

async fn matches(
    hasher: &dyn PasswordHasher,
    password: &str,
    hash: Option<&PasswordHash>,
    expected: bool,
    clause: Clause,
) {
    let came = clause.done("verify", hasher.verify(password, hash.cloned()).await);
    let chars = password.chars().count();
    clause.same(format_args!("`verify` of a password of {chars} characters"), &came, &expected);
}
