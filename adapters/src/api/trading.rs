//! `/v1/instruments` and `/v1/positions`: the instruments, and the positions in them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use doorstep_application::Caller;
use doorstep_application::sign_ins::SignIns;
use doorstep_application::trading::{CloseError, Market, OrderError, PositionPage, Trading};
use doorstep_domain::ports::{IdempotencyKey, Status};
use doorstep_domain::{
    CloseReason, Money, Order, OrderFault, Position, PositionId, Price, Quantity, Quote, Side,
    Symbol,
};
use serde::Serialize;

use utoipa::openapi::schema::Schema;
use utoipa::{OpenApi, ToSchema};

use crate::http::openapi::{ProblemBody, one_of, one_of_or_null};
use crate::http::{FieldError, Fields, Parameters, Problem, private_json, rfc3339, signed_in};

/// The routes.
pub fn router(trading: Trading, market: Arc<Market>, sign_ins: SignIns) -> Router {
    let positions = Router::new()
        .route("/v1/positions", get(list).post(open))
        .route("/v1/positions/{id}/close", post(close))
        .with_state(trading);
    let open_to_all = Router::new().route("/v1/instruments", get(instruments)).with_state(market);
    open_to_all.merge(signed_in(positions, sign_ins))
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(instruments, open, list, close))]
pub struct Description;

/// All instruments.
#[derive(Serialize, ToSchema)]
#[schema(as = Instruments)]
struct InstrumentsBody {
    instruments: Vec<InstrumentBody>,
}

/// An instrument and its last price.
#[derive(Serialize, ToSchema)]
#[schema(as = Instrument)]
struct InstrumentBody {
    symbol: String,
    price: String,
    at: String,
}

/// The instruments and their prices
#[utoipa::path(
    get, path = "/v1/instruments", tag = "trading",
    responses((status = 200, description = "The instruments.", body = InstrumentsBody)),
)]
async fn instruments(
    State(market): State<Arc<Market>>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let body = |quote: Quote| InstrumentBody {
        symbol: quote.symbol.to_string(),
        price: quote.price.to_string(),
        at: rfc3339(quote.at),
    };
    Ok(Json(InstrumentsBody { instruments: market.quotes().into_iter().map(body).collect() }))
}

/// A position; its closing fields are `null` while it is open.
#[derive(Serialize, ToSchema)]
#[schema(as = Position)]
struct PositionBody {
    id: String,
    symbol: String,
    #[schema(schema_with = sides)]
    side: &'static str,
    quantity: String,
    fill_price: String,
    #[schema(required)]
    stop_loss: Option<String>,
    #[schema(required)]
    take_profit: Option<String>,
    #[schema(value_type = String)]
    cost: Money,
    #[schema(schema_with = statuses)]
    status: &'static str,
    opened_at: String,
    #[schema(required)]
    exit_price: Option<String>,
    #[schema(value_type = Option<String>, required)]
    realised_pnl: Option<Money>,
    #[schema(schema_with = close_reasons, required)]
    close_reason: Option<&'static str>,
    #[schema(required)]
    closed_at: Option<String>,
}

impl From<Position> for PositionBody {
    fn from(position: Position) -> Self {
        let Position { id, order, fill_price, cost, opened_at, closed, .. } = position;
        Self {
            id: id.to_string(),
            symbol: order.symbol.to_string(),
            side: order.side.as_str(),
            quantity: order.quantity.to_string(),
            fill_price: fill_price.to_string(),
            stop_loss: order.stop_loss.map(|price| price.to_string()),
            take_profit: order.take_profit.map(|price| price.to_string()),
            cost,
            status: if closed.is_some() { "closed" } else { "open" },
            opened_at: rfc3339(opened_at),
            exit_price: closed.map(|closed| closed.exit_price.to_string()),
            realised_pnl: closed.map(|closed| closed.realised_pnl),
            close_reason: closed.map(|closed| closed.reason.as_str()),
            closed_at: closed.map(|closed| rfc3339(closed.at)),
        }
    }
}

fn sides() -> Schema {
    one_of(&[Side::Long.as_str(), Side::Short.as_str()])
}

fn statuses() -> Schema {
    one_of(&["open", "closed"])
}

fn close_reasons() -> Schema {
    let words: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.as_str()).collect();
    one_of_or_null(&words)
}

/// One of the two states of a position.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the description of a word in a query")]
enum StatusWord {
    Open,
    Closed,
}

/// An order.
#[derive(ToSchema)]
#[schema(as = Order)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the description of what `order` reads")]
struct OrderBody {
    #[schema(min_length = 1)]
    symbol: String,
    #[schema(schema_with = sides)]
    side: String,
    /// A decimal number above zero.
    #[schema(min_length = 1)]
    quantity: String,
    stop_loss: Option<String>,
    take_profit: Option<String>,
}

/// Open a position
#[utoipa::path(
    post, path = "/v1/positions", tag = "trading", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeating an order with the same key opens no second position.")),
    request_body = OrderBody,
    responses((status = 201, description = "The position, filled.", body = PositionBody)),
)]
async fn open(
    State(trading): State<Trading>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
    headers: HeaderMap,
    body: Fields,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let key = idempotency_key(&headers)?;
    let position = trading.open(caller.user_id, order(body)?, key).await?;
    Ok((StatusCode::CREATED, private_json(&PositionBody::from(position))).into_response())
}

/// Reads an order; a problem names all faults of the body at once.
fn order(body: Fields) -> Result<Order, Problem> {
    let order = body.read(|fields| {
        let symbol = fields.parsed::<Symbol>("symbol");
        let side = fields.word("side", &[("long", Side::Long), ("short", Side::Short)]);
        let quantity = fields.parsed::<Quantity>("quantity");
        let stop_loss = fields.optional_parsed::<Price>("stop_loss");
        let take_profit = fields.optional_parsed::<Price>("take_profit");
        Some(Order { symbol: symbol?, side: side?, quantity: quantity?, stop_loss, take_profit })
    })?;
    // Missing fields have been reported as faults.
    order.ok_or_else(Problem::internal)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.parse().ok());
    match key {
        Some(key) if values.next().is_none() => Ok(Some(key)),
        _ => Err(key_fault("must be one value of 1 to 128 printable ASCII characters")),
    }
}

/// draft-ietf-httpapi-idempotency-key-header.
const KEY: &str = "Idempotency-Key";

fn key_fault(detail: &str) -> Problem {
    let field = KEY.to_owned();
    Problem::fields(vec![FieldError { place: "header", field, detail: detail.to_owned() }])
}

/// A page of positions, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Positions)]
struct PositionsBody {
    positions: Vec<PositionBody>,
    /// The `before` of the next page; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// The positions per page, unless the client asks for another number.
const PAGE: usize = 50;

/// Your positions
#[utoipa::path(
    get, path = "/v1/positions", tag = "trading", security(("token" = [])),
    params(
        ("status" = inline(Option<StatusWord>), Query, description = "Only open or only closed positions."),
        ("limit" = Option<u32>, Query, description = "The most positions to return.", minimum = 1, maximum = 100),
        ("before" = Option<String>, Query, format = "uuid", description = "Older than this one: the `next` of a page."),
    ),
    responses((status = 200, description = "A page.", body = PositionsBody)),
)]
async fn list(
    State(trading): State<Trading>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    let (status, limit, before) = query.read(|query| {
        (
            query.word("status", &[("open", Status::Open), ("closed", Status::Closed)]),
            query.number("limit", 1..=Trading::MAX_PAGE, PAGE),
            query.id("before").map(PositionId::new),
        )
    })?;
    let PositionPage { positions, next } =
        trading.page(&caller.user_id, status, before, limit).await?;
    let positions = positions.into_iter().map(PositionBody::from).collect();
    Ok(private_json(&PositionsBody { positions, next: next.map(|id| id.to_string()) }))
}

/// Close a position
#[utoipa::path(
    post, path = "/v1/positions/{id}/close", tag = "trading", security(("token" = [])),
    params(("id" = String, Path, description = "The position.")),
    responses(
        (status = 200, description = "The closed position.", body = PositionBody),
        (status = 404, description = "There is no such position.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is closed already.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn close(
    State(trading): State<Trading>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    // An invalid id belongs to no position.
    let id = id.parse().map_err(|_| CloseError::NoSuchPosition)?;
    let position = trading.close(&caller.user_id, id).await?;
    Ok(private_json(&PositionBody::from(position)))
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let said = error.to_string();
        let field = match error {
            OrderError::Store(error) => return error.into(),
            OrderError::OldPrice => return Self::try_later(&said),
            OrderError::KeyReused => return key_fault("was used for another order"),
            OrderError::TooMany => return Self::new(StatusCode::UNPROCESSABLE_ENTITY, said),
            OrderError::UnknownSymbol => "symbol",
            OrderError::NotEnough
            | OrderError::Fault(OrderFault::TooSmall | OrderFault::TooLarge) => "quantity",
            OrderError::Fault(OrderFault::StopLoss { .. }) => "stop_loss",
            OrderError::Fault(OrderFault::TakeProfit { .. }) => "take_profit",
        };
        Self::fields(vec![FieldError { place: "body", field: field.to_owned(), detail: said }])
    }
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        let status = match error {
            CloseError::NoSuchPosition => StatusCode::NOT_FOUND,
            CloseError::AlreadyClosed => StatusCode::CONFLICT,
            CloseError::NotTraded | CloseError::OldPrice => {
                return Self::try_later(&error.to_string());
            }
            CloseError::Store(error) => return error.into(),
        };
        Self::new(status, error.to_string())
    }
}
