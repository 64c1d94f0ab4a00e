use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use doorstep_application::publishing::ServiceKeys;
use tracing::Instrument as _;

use crate::http::{Problem, bearer_token};

/// Lets only requests with a service key through to these routes. Nothing of a request's body is read before.
pub(super) fn with_key(routes: Router, keys: Arc<ServiceKeys>) -> Router {
    routes.route_layer(from_fn_with_state(keys, require_key))
}

async fn require_key(
    State(keys): State<Arc<ServiceKeys>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = bearer_token(request.headers()).ok_or_else(Problem::no_token)?;
    let name = keys.name_of(key).ok_or_else(Problem::no_service_key)?;
    // Every log line about the request names the key.
    let span = tracing::info_span!("service", key = %name);
    Ok(next.run(request).instrument(span).await)
}
