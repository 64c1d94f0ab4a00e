//! The page: files that are part of the binary.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// One file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Where it is served, beginning with a slash.
    pub path: &'static str,
    /// Its media type, with the charset where it is text.
    pub content_type: &'static str,
    /// What is in it.
    pub body: &'static [u8],
}

/// Scripts, styles and connections from here and nowhere else, and nobody frames the page: what a user name
/// or a payload may smuggle into it cannot run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The routes. A path is given once, and not one that a parameter is part of.
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
        // A new binary has new files under the old names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, asset.body)
}
