use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use doorstep_application::publishing::ServiceKeys;
use doorstep_application::{Authenticator, Caller};

use super::Problem;

/// Lets only callers with a user's token through to these routes. Handlers find the caller as an
/// `Extension<doorstep_application::Caller>`.
pub fn signed_in(routes: Router, authenticator: impl Into<Arc<dyn Authenticator>>) -> Router {
    routes.route_layer(from_fn_with_state(authenticator.into(), require_token))
}

async fn require_token(
    State(authenticator): State<Arc<dyn Authenticator>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = bearer_token(request.headers()).ok_or_else(Problem::no_token)?;
    let caller = authenticate(&*authenticator, token).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Returns the caller whose token this is, or a problem.
pub(crate) async fn authenticate(
    authenticator: &dyn Authenticator,
    token: &str,
) -> Result<Caller, Problem> {
    if token.starts_with(ServiceKeys::PREFIX) {
        return Err(Problem::key_for_token());
    }
    authenticator.authenticate(token).await?.ok_or_else(Problem::dead_token)
}

/// The token in `Authorization: Bearer <token>` (RFC 6750 section 2.1); `None` if there is no such header, or more
/// than one, or another scheme.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_one_bearer_header_has_a_token() {
        let cases = [
            (vec!["Bearer abc"], Some("abc")),
            (vec!["bearer  abc "], Some("abc")),
            (vec![], None),
            (vec!["abc"], None),
            (vec!["Basic abc"], None),
            (vec!["Bearer "], None),
            (vec!["Bearer a", "Bearer b"], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer_token(&headers), expected, "{values:?}");
        }
    }
}
