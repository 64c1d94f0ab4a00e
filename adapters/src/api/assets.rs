//! The web page: files that are part of the binary.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// One file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// The path at which it is served, beginning with a slash.
    pub path: &'static str,
    /// Its media type, with the charset where it is text.
    pub content_type: &'static str,
    /// The content.
    pub body: &'static [u8],
}

/// Scripts, styles and connections only from this server, and no frames around the page: markup in a user name or
/// a payload cannot run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The routes. Each path occurs once, and has no parameters.
pub fn router(assets: &[Asset]) -> Router {
    assets.iter().fold(Router::new(), |router, asset| {
        let asset = *asset;
        router.route(asset.path, get(move || async move { answer(asset) }))
    })
}

fn answer(asset: Asset) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new binary has new files with the old names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, asset.body)
}
