//! The HTTP/JSON interface of DESIGN section 5.
//!
//! Each endpoint family is a file with a `router` of its own over the few things it needs; [`api`] puts the
//! families together under what all of them share: problems for everything wrong, a limit on bodies,
//! panics turned into answers, and a request id. To add a family: one file with a `router`, one
//! [`Router::merge`] in the composition root.
//!
//! ```text
//! api(users::router(..).merge(sessions::router(..)).merge(signed_in(accounts::router(..), sign_ins)))
//! ```

pub mod accounts;
pub mod assets;
mod auth;
pub mod demo;
mod fields;
pub mod health;
pub mod inbox;
mod limit;
#[cfg(feature = "metrics")]
pub mod metrics;
mod observe;
pub mod openapi;
mod origins;
mod parameters;
mod problem;
mod server;
pub mod sessions;
pub mod trading;
pub mod users;
pub mod wire;

#[cfg(feature = "websocket")]
pub(crate) use auth::authenticate;
pub use auth::{bearer_token, signed_in};
pub use axum::Router;
pub use fields::Fields;
#[cfg(feature = "publish")]
pub(crate) use fields::json_bytes;
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) use limit::peer;
pub use limit::{AddressLimit, Rate};
pub use origins::for_origins;
pub use parameters::Parameters;
pub use problem::{FieldError, Problem};
pub use server::{ServerSettings, serve};

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn;
use tower_http::catch_panic::CatchPanicLayer;

/// The largest request body, in bytes, unless a route sets its own: 16 KiB.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Puts endpoint families together under what all of them share. Give it all routes at once: what is added
/// afterwards has none of it.
pub fn api(families: Router) -> Router {
    families
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn(observe::observe))
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
