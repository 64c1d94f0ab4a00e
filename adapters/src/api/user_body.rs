use axum::response::{IntoResponse, Response};
use doorstep_application::SignedIn;
use doorstep_domain::User;
use serde::Serialize;

use crate::http::{private_json, rfc3339};

/// A user, as shown to that user.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = User)]
pub(super) struct UserBody {
    /// The id, a UUID.
    pub(super) id: String,
    /// The name as the user spelled it.
    pub(super) username: String,
    /// When the user registered.
    #[schema(format = "date-time")]
    pub(super) created_at: String,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.to_string(),
            created_at: rfc3339(user.created_at),
        }
    }
}

/// A user and a new session.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SignedIn)]
pub(super) struct SignedInBody {
    user: UserBody,
    token: String,
    #[schema(format = "date-time")]
    expires_at: String,
}

impl From<SignedIn> for SignedInBody {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            user: signed_in.user.into(),
            token: signed_in.token,
            expires_at: rfc3339(signed_in.expires_at),
        }
    }
}

impl IntoResponse for SignedInBody {
    fn into_response(self) -> Response {
        private_json(&self)
    }
}
