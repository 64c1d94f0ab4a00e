//! The suite of [`Tokens`].

use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_domain::ports::Tokens;

use crate::clause::clauses;

clauses! {
    /// The promises of [`Tokens`] that the suite checks.
    NEW = "token new": "each token is new";
    LONG = "token long": "a token is long enough for 256 bits: 43 characters";
    CHARACTERS = "token characters": "a token has letters, digits, hyphens, underscores, points and tildes only";
    SAME = "token hash same": "a token has the same hash each time";
    OTHER = "token hash other": "another token has another hash, also if it differs only at its end";
}

/// How many characters 256 bits need, of 64 different ones.
const LEAST_CHARS: usize = 43;

/// [`Tokens`]: checks every promise of [`CLAUSES`]. Whether the bits are random, no suite can see.
pub fn tokens(tokens: &Arc<dyn Tokens>) {
    let all: BTreeSet<_> = (0..1_000).map(|_| tokens.mint()).collect();
    NEW.same("how many different tokens there are of 1,000", &all.len(), &1_000);
    for token in &all {
        let chars = token.len();
        LONG.holds(
            chars >= LEAST_CHARS,
            format_args!("expected {LEAST_CHARS} characters or more, and got {chars}"),
        );
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "-_.~".contains(*c);
        let other = token.chars().find(|c| !allowed(c));
        CHARACTERS.same("a character that is not allowed", &other, &None);
        let same = tokens.hash(token) == tokens.hash(token);
        SAME.holds(same, "expected the same hash for the same token, and got two");
        let [one, two] = ["x", "y"].map(|last| tokens.hash(&format!("{token}{last}")));
        let differ = one != two && one != tokens.hash(token);
        OTHER.holds(differ, "expected other hashes for other tokens, and two are the same");
    }
}
