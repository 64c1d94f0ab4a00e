//! `GET /v1/me` and `GET /v1/ledger`: what a user has, and how it came to be.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::accounts::{AccountViews, LedgerPage, Me};
use doorstep_application::sign_ins::SignIns;
use doorstep_domain::{EntryId, Money};
use serde::Serialize;

use super::wire::{UserBody, private_json, rfc3339};
use super::{Parameters, Problem, signed_in};

/// The routes.
pub fn router(views: AccountViews, sign_ins: SignIns) -> Router {
    let routes =
        Router::new().route("/v1/me", get(me)).route("/v1/ledger", get(ledger)).with_state(views);
    signed_in(routes, sign_ins)
}

#[derive(Serialize)]
struct MeBody {
    #[serde(flatten)]
    user: UserBody,
    balance: Money,
    unread: u64,
}

async fn me(
    State(views): State<AccountViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let Me { user, balance, unread } = views.me(&caller.user_id).await?;
    Ok(private_json(&MeBody { user: user.into(), balance, unread }))
}

#[derive(Serialize)]
struct LedgerBody {
    entries: Vec<EntryBody>,
    next: Option<String>,
}

#[derive(Serialize)]
struct EntryBody {
    id: String,
    kind: &'static str,
    amount: Money,
    reference: String,
    created_at: String,
}

/// So many entries a page, unless the client says otherwise.
const PAGE: usize = 50;

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
