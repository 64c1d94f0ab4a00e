use doorstep_domain::{Timestamp, TokenHash, User, UserId, Username};

/// What a user signs in with, as a client typed it: not yet looked at.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password. Never printed.
    pub password: String,
}

impl Credentials {
    /// The shortest password, in characters (NIST SP 800-63B section 3.1.1.2 asks for no less).
    pub const MIN_PASSWORD_CHARS: usize = 8;
    /// The longest password, in characters; what is longer only costs time to hash.
    pub const MAX_PASSWORD_CHARS: usize = 128;
    /// The longest username, in characters.
    pub const MAX_USERNAME_CHARS: usize = 32;

    /// Whether a new user may have these; says everything that is wrong at once.
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

    /// Whether these can be tried at all. Looser than registration: whatever has a possible size is simply
    /// not the right password, and the answer for that is the same for everybody.
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

/// One field that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Which.
    pub field: &'static str,
    /// What it must be instead.
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
    /// Who.
    pub user: User,
    /// The session's token: shown this once, and never kept.
    pub token: String,
    /// From when on the token is dead.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Whoever showed a living token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub user_id: UserId,
    /// By which session.
    pub session: TokenHash,
    /// What kind of token that was.
    pub by: LetInBy,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What kind of token let a caller in: who gave it out is the one to ask whether it is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetInBy {
    /// That of a session of ours, which may be signed out at any moment.
    Session,
    /// One that a backend signed, which nothing but time ends.
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
