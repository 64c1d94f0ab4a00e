//! How values look on the wire.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use doorstep_application::SignedIn;
use doorstep_domain::{Notification, Timestamp, User};
use serde::Serialize;

/// A moment as RFC 3339 in UTC, with microseconds. What lies beyond the year 9999 is shown as its end.
///
/// ```
/// # use doorstep_adapters::http::wire::rfc3339;
/// # use doorstep_domain::Timestamp;
/// assert_eq!(rfc3339(Timestamp::from_micros(1_000_001)), "1970-01-01T00:00:01.000001Z");
/// ```
pub fn rfc3339(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.6}")
}

/// A notification as every transport that pushes carries it (DESIGN section 5), on one line.
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) fn notification_frame(notification: &Notification) -> String {
    let Notification { id, kind, topic, payload, created_at, .. } = notification;
    // Ids, kinds and times have no characters that JSON would escape; a topic may have.
    let topic = match topic {
        Some(topic) => serde_json::Value::from(topic.as_str()).to_string(),
        None => "null".into(),
    };
    let (created_at, payload) = (rfc3339(*created_at), payload.as_str());
    format!(
        r#"{{"type":"notification","id":"{id}","kind":"{kind}","topic":{topic},"created_at":"{created_at}","payload":{payload}}}"#
    )
}

/// A user, as everybody who is one sees it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = User)]
pub struct UserBody {
    /// The id, a UUID.
    pub id: String,
    /// The name as they spelled it.
    pub username: String,
    /// When they registered.
    #[schema(format = "date-time")]
    pub created_at: String,
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

/// A user and their fresh session.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SignedIn)]
pub(crate) struct SignedInBody {
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

/// A JSON answer that is for this caller only: no cache between here and there may keep it.
pub fn private_json<T: Serialize>(body: &T) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
