use doorstep_domain::{Timestamp, TokenHash, User, UserId, Username};

/// A username and password as the client sent them, not checked yet.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password. Never printed.
    pub password: String,
}

impl Credentials {
    /// The shortest password, in characters (the minimum in NIST SP 800-63B section 3.1.1.2).
    pub const MIN_PASSWORD_CHARS: usize = 8;
    /// The longest password, in characters; a longer one only costs time to hash.
    pub const MAX_PASSWORD_CHARS: usize = 128;
    /// The longest username, in characters.
    pub const MAX_USERNAME_CHARS: usize = 32;

    /// Checks the credentials of a new user; returns all faults at once.
    pub(crate) fn for_registration(&self) -> Result<Username, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let username =
            self.username.parse::<Username>().map_err(|e| faults.push(FieldFault::username(e)));
        let chars = self.password.chars().count();
        if !(Self::MIN_PASSWORD_CHARS..=Self::MAX_PASSWORD_CHARS).contains(&chars) {
            faults.push(FieldFault {
                field: "password",
                detail: format!(
                    "a password has {} to {} characters",
                    Self::MIN_PASSWORD_CHARS,
                    Self::MAX_PASSWORD_CHARS
                ),
            });
        }
        match username {
            Ok(username) if faults.is_empty() => Ok(username),
            _ => Err(faults),
        }
    }

    /// Checks only sizes. Looser than registration, so that a password of any possible size gets the same result,
    /// 'wrong'.
    pub(crate) fn for_sign_in(&self) -> Result<(), Vec<FieldFault>> {
        let fields = [
            ("username", &self.username, Self::MAX_USERNAME_CHARS),
            ("password", &self.password, Self::MAX_PASSWORD_CHARS),
        ];
        let faults: Vec<_> = fields
            .into_iter()
            .filter(|(_, text, max)| !(1..=*max).contains(&text.chars().count()))
            .map(|(field, _, max)| FieldFault {
                field,
                detail: format!("has 1 to {max} characters"),
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A field with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field's name.
    pub field: &'static str,
    /// What is required.
    pub detail: String,
}

impl FieldFault {
    fn username(error: impl std::fmt::Display) -> Self {
        Self { field: "username", detail: error.to_string() }
    }
}

/// A user with a fresh session.
#[derive(Clone)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The session's token: shown once, and never stored.
    pub token: String,
    /// When the token expires.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A user who showed a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The session: the hash of the token.
    pub session: TokenHash,
    /// The kind of the token.
    pub by: LetInBy,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// The kind of token that authenticated a caller. Its issuer decides whether it is still valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetInBy {
    /// The token of one of our sessions, which may end at any moment.
    Session,
    /// A token that a backend signed, which is valid until it expires.
    SignedToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(username: &str, password: &str) -> Vec<&'static str> {
        let credentials = Credentials { username: username.into(), password: password.into() };
        let faults = credentials.for_registration().err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn registration_names_every_field_at_fault() {
        assert_eq!(faults("ada", "12345678"), [""; 0]);
        assert_eq!(faults("ada", "1234567"), ["password"]);
        // Characters, not bytes: a password may be eight letters of any alphabet.
        assert_eq!(faults("ada", &"é".repeat(128)), [""; 0]);
        assert_eq!(faults("ada", &"é".repeat(129)), ["password"]);
        assert_eq!(faults("a b", ""), ["username", "password"]);
    }

    #[test]
    fn a_password_is_never_printed() {
        let credentials = Credentials { username: "ada".into(), password: "secret-thing".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
