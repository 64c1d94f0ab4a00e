//! `GET /v1/me` and `GET /v1/ledger`: a user's balance and its history.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::accounts::{AccountSummary, AccountViews, LedgerPage};
use doorstep_application::sign_ins::SignIns;
use doorstep_domain::{EntryId, Money};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::user_body::UserBody;
use crate::http::{Parameters, Problem, private_json, rfc3339, signed_in};

/// The routes.
pub fn router(views: AccountViews, sign_ins: SignIns) -> Router {
    let routes =
        Router::new().route("/v1/me", get(me)).route("/v1/ledger", get(ledger)).with_state(views);
    signed_in(routes, sign_ins)
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(me, ledger))]
pub struct Description;

/// The caller's account.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct MeBody {
    #[serde(flatten)]
    user: UserBody,
    #[schema(value_type = String)]
    balance: Money,
    unread: u64,
}

/// Your account
#[utoipa::path(
    get, path = "/v1/me", tag = "users", security(("token" = [])),
    responses((status = 200, description = "The user.", body = MeBody)),
)]
async fn me(
    State(views): State<AccountViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let AccountSummary { user, balance, unread } = views.me(&caller.user_id).await?;
    Ok(private_json(&MeBody { user: user.into(), balance, unread }))
}

/// A page of the ledger, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Ledger)]
struct LedgerBody {
    entries: Vec<EntryBody>,
    /// The `before` of the next page; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// A ledger entry.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerEntry)]
struct EntryBody {
    id: String,
    kind: &'static str,
    #[schema(value_type = String)]
    amount: Money,
    reference: String,
    #[schema(format = "date-time")]
    created_at: String,
}

/// The entries per page, unless the client asks for another number.
const PAGE: usize = 50;

/// Your ledger: payments and their reasons
#[utoipa::path(
    get, path = "/v1/ledger", tag = "users", security(("token" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "The most entries to return.", minimum = 1, maximum = 100),
        ("before" = Option<String>, Query, format = "uuid", description = "Older than this entry: the `next` of a page."),
    ),
    responses((status = 200, description = "A page.", body = LedgerBody)),
)]
async fn ledger(
    State(views): State<AccountViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    let (limit, before) = query.read(|query| {
        (query.number("limit", 1..=AccountViews::MAX_PAGE, PAGE), query.id("before"))
    })?;
    let page = views.ledger(&caller.user_id, before.map(EntryId::new), limit).await?;
    Ok(private_json(&LedgerBody::from(page)))
}

impl From<LedgerPage> for LedgerBody {
    fn from(page: LedgerPage) -> Self {
        let entries = page.entries.into_iter().map(|entry| EntryBody {
            id: entry.id.to_string(),
            kind: entry.kind.as_str(),
            amount: entry.amount,
            reference: entry.reference,
            created_at: rfc3339(entry.created_at),
        });
        Self { entries: entries.collect(), next: page.next.map(|id| id.to_string()) }
    }
}
