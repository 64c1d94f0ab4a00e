use std::num::NonZeroU64;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Close, Closing, Grant, HeldLease, IdempotencyKey, Open, OpenError, Opening, Positions, Status,
    StoreError,
};
use doorstep_domain::{
    CloseReason, Closed, EarnedBy, EntryId, EntryKind, Money, Order, Position, PositionId, Price,
    Quantity, Side, Timestamp, UserId,
};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::accounts::{at_most, below_if_unknown};
use super::error::{failed, unreadable};
use super::run::Write;
use super::{Store, money, text};

/// The columns that [`read`] expects, in this order.
const COLUMNS: &str = "id, user_id, symbol, side, quantity, fill_price, stop_loss, take_profit, \
     cost, opened_at, exit_price, realised_pnl, close_reason, closed_at";

#[async_trait]
impl Positions for Store {
    async fn open(&self, opening: &Opening) -> Result<Open, OpenError> {
        let Opening { position, entry, key, max_open } = opening;
        let mut transaction = self.begin().await?;
        let held = self.hold_balance(&mut transaction, &position.user_id).await?;
        if let Some(key) = key
            && let Some(before) = take_key(&mut transaction, position, key).await?
        {
            return Ok(Open::Before(Box::new(before)));
        }
        if held.balance < position.cost {
            return Err(OpenError::NotEnough);
        }
        let user = text::kept(&position.user_id.to_string());
        let query =
            sqlx::query("SELECT COUNT(*) FROM positions WHERE user_id = $1 AND closed_at IS NULL")
                .bind(&user);
        let row = transaction.one(query).await?;
        if row.try_get::<i64, _>(0).map_err(failed)? >= at_most(max_open.get()) {
            return Err(OpenError::TooMany);
        }
        insert(&mut transaction, &user, opening).await?;
        let grant =
            money::move_money(&mut transaction, held, &position.reservation(*entry)).await?;
        only_once(grant, position)?;
        transaction.commit().await?;
        Ok(Open::Opened)
    }

    async fn opened_with(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Position>, StoreError> {
        let user = text::kept(&user.to_string());
        let sql = format!(
            "SELECT {COLUMNS} FROM positions \
             WHERE user_id = $1 AND idempotency_key = $2 AND opened_at > $3"
        );
        let since = now - IdempotencyKey::KEPT;
        let query = || {
            sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(&user)
                .bind(key.as_str())
                .bind(since.as_micros())
        };
        self.row(query).await?.as_ref().map(read).transpose()
    }

    async fn close(&self, position: &Position, entry: EntryId) -> Result<Close, StoreError> {
        let mut transaction = self.begin().await?;
        let close = self.close_in(&mut transaction, position, entry).await?;
        if let Close::Closed(_) = close {
            transaction.commit().await?;
        }
        Ok(close)
    }

    async fn close_all(
        &self,
        closings: &[Closing],
        lease: Option<HeldLease>,
    ) -> Result<Vec<Close>, StoreError> {
        let mut closes = vec![Close::AlreadyClosed; closings.len()];
        let mut transaction = self.begin().await?;
        for place in money::in_order_of_users(closings, |closing| &closing.position.user_id) {
            let Closing { position, entry } = &closings[place];
            closes[place] = self.close_in(&mut transaction, position, *entry).await?;
        }
        // At the end, because the transaction may have waited for balances that others held.
        if let Some(HeldLease { name, fence }) = lease
            && !self.holds_lease(&mut transaction, &name, fence).await?
        {
            return Ok(vec![Close::LeaseLost; closings.len()]);
        }
        transaction.commit().await?;
        Ok(closes)
    }

    async fn find(&self, user: &UserId, id: PositionId) -> Result<Option<Position>, StoreError> {
        let (user, id) = (text::kept(&user.to_string()), id.to_string());
        let sql = format!("SELECT {COLUMNS} FROM positions WHERE id = $1 AND user_id = $2");
        let query = || sqlx::query(AssertSqlSafe(sql.as_str())).bind(&id).bind(&user);
        self.row(query).await?.as_ref().map(read).transpose()
    }

    async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let (user, before) = (text::kept(&user.to_string()), before.map(|id| id.to_string()));
        let of_status = match status {
            None => "",
            Some(Status::Open) => "AND closed_at IS NULL ",
            Some(Status::Closed) => "AND closed_at IS NOT NULL ",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM positions WHERE user_id = $1 {of_status}\
             AND seq < COALESCE((SELECT seq FROM positions WHERE id = $2 AND user_id = $1), $3) \
             ORDER BY seq DESC LIMIT $4"
        );
        let rows = self.rows(|| {
            sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(&user)
                .bind(before.clone())
                .bind(below_if_unknown(before.is_some()))
                .bind(at_most(limit))
        });
        rows.await?.iter().map(read).collect()
    }

    async fn all_open(
        &self,
        after: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        // An empty string sorts before every id.
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let sql = format!(
            "SELECT {COLUMNS} FROM positions WHERE closed_at IS NULL AND id > $1 \
             ORDER BY id LIMIT $2"
        );
        let query = || sqlx::query(AssertSqlSafe(sql.as_str())).bind(&after).bind(at_most(limit));
        self.rows(query).await?.iter().map(read).collect()
    }

    async fn closed_without(
        &self,
        reward: EntryKind,
        earned_by: EarnedBy,
        limit: usize,
    ) -> Result<Vec<(UserId, PositionId)>, StoreError> {
        let Some(earned) = earned_sql(earned_by) else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT id, user_id FROM positions WHERE {earned} AND NOT EXISTS \
             (SELECT 1 FROM ledger WHERE ledger.user_id = positions.user_id \
             AND ledger.kind = $1 AND ledger.reference = positions.id) ORDER BY seq LIMIT $2"
        );
        let query =
            || sqlx::query(AssertSqlSafe(sql.as_str())).bind(reward.as_str()).bind(at_most(limit));
        self.rows(query).await?.iter().map(|row| Ok((read_user(row)?, read_id(row)?))).collect()
    }
}

impl Store {
    /// Closes a position, if it is open.
    async fn close_in(
        &self,
        transaction: &mut Write,
        position: &Position,
        entry: EntryId,
    ) -> Result<Close, StoreError> {
        let (Some(closed), Some(settlement)) = (position.closed, position.settlement(entry)) else {
            return Err(unreadable("positions", format!("{} is to be closed open", position.id)));
        };
        let user = text::kept(&position.user_id.to_string());
        let held = self.hold_balance(transaction, &position.user_id).await?;
        let sql = "SELECT COALESCE(MAX(close_number), 0) FROM positions WHERE user_id = $1";
        let row = transaction.one(sqlx::query(sql).bind(&user)).await?;
        let number = row.try_get::<i64, _>(0).map_err(failed)? + 1;
        let query = sqlx::query(
            "UPDATE positions SET exit_price = $1, realised_pnl = $2, close_reason = $3, \
             closed_at = $4, close_number = $5 WHERE id = $6 AND user_id = $7 AND closed_at IS NULL",
        )
        .bind(closed.exit_price.as_micros())
        .bind(closed.realised_pnl.minor_units())
        .bind(closed.reason.as_str())
        .bind(closed.at.as_micros())
        .bind(number)
        .bind(position.id.to_string())
        .bind(&user);
        if transaction.execute(query).await? == 0 {
            return Ok(Close::AlreadyClosed);
        }
        let grant = money::move_money(transaction, held, &settlement).await?;
        only_once(grant, position)?;
        let number = u64::try_from(number).ok().and_then(NonZeroU64::new);
        number.map(Close::Closed).ok_or_else(|| unreadable("positions", "a negative close_number"))
    }
}

/// The condition for positions that earn a reward by being closed; `None` if no position does.
pub(super) fn earned_sql(by: EarnedBy) -> Option<String> {
    match by {
        EarnedBy::Registering => None,
        EarnedBy::FirstClose => Some("close_number = 1".to_owned()),
        EarnedBy::EveryClose(every) => Some(format!("close_number % {every} = 0")),
    }
}

/// Returns the position that was opened with this key. If that was too long ago, frees the key for the new one.
async fn take_key(
    transaction: &mut Write,
    new: &Position,
    key: &IdempotencyKey,
) -> Result<Option<Position>, StoreError> {
    let user = text::kept(&new.user_id.to_string());
    let sql =
        format!("SELECT {COLUMNS} FROM positions WHERE user_id = $1 AND idempotency_key = $2");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&user).bind(key.as_str());
    let Some(row) = transaction.optional(query).await? else {
        return Ok(None);
    };
    let before = read(&row)?;
    if before.opened_at > new.opened_at - IdempotencyKey::KEPT {
        return Ok(Some(before));
    }
    let query = sqlx::query("UPDATE positions SET idempotency_key = NULL WHERE id = $1")
        .bind(before.id.to_string());
    transaction.execute(query).await?;
    Ok(None)
}

async fn insert(
    transaction: &mut Write,
    user: &str,
    Opening { position, key, .. }: &Opening,
) -> Result<(), StoreError> {
    let order = &position.order;
    let query = sqlx::query(
        "INSERT INTO positions (id, user_id, symbol, side, quantity, fill_price, stop_loss, \
         take_profit, cost, opened_at, idempotency_key) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(position.id.to_string())
    .bind(user.to_owned())
    .bind(order.symbol.as_str())
    .bind(order.side.as_str())
    .bind(order.quantity.as_micros())
    .bind(position.fill_price.as_micros())
    .bind(order.stop_loss.map(Price::as_micros))
    .bind(order.take_profit.map(Price::as_micros))
    .bind(position.cost.minor_units())
    .bind(position.opened_at.as_micros())
    .bind(key.as_ref().map(|key| key.as_str().to_owned()));
    transaction.execute(query).await?;
    Ok(())
}

/// Fails if the entry exists: a new position, or one that was open until now, has none yet.
fn only_once(grant: Grant, position: &Position) -> Result<(), StoreError> {
    match grant {
        Grant::Granted => Ok(()),
        Grant::AlreadyGranted => {
            Err(unreadable("ledger", format!("position {} was entered before", position.id)))
        }
    }
}

fn read_id(row: &AnyRow) -> Result<PositionId, StoreError> {
    let id: &str = row.try_get(0).map_err(failed)?;
    id.parse().map_err(|e| unreadable("positions, id", e))
}

fn read_user(row: &AnyRow) -> Result<UserId, StoreError> {
    let user_id: String = row.try_get(1).map_err(failed)?;
    text::unkept(user_id).parse().map_err(|e| unreadable("positions, user_id", e))
}

/// Reads a position from [`COLUMNS`].
fn read(row: &AnyRow) -> Result<Position, StoreError> {
    let id = read_id(row)?;
    let bad = |what: &str, why: &dyn std::fmt::Display| {
        unreadable(&format!("position {id}, {what}"), why)
    };
    let price = |column: usize, name: &str| -> Result<Option<Price>, StoreError> {
        let micros: Option<i64> = row.try_get(column).map_err(failed)?;
        micros.map(|m| Price::from_micros(m).ok_or_else(|| bad(name, &m))).transpose()
    };
    let symbol: &str = row.try_get(2).map_err(failed)?;
    let side: &str = row.try_get(3).map_err(failed)?;
    let quantity: i64 = row.try_get(4).map_err(failed)?;
    let closed = match price(10, "exit_price")? {
        None => None,
        Some(exit_price) => {
            let reason: &str = row.try_get(12).map_err(failed)?;
            Some(Closed {
                exit_price,
                realised_pnl: Money::from_minor(row.try_get(11).map_err(failed)?),
                reason: CloseReason::from_word(reason)
                    .ok_or_else(|| bad("close_reason", &reason))?,
                at: Timestamp::from_micros(row.try_get(13).map_err(failed)?),
            })
        }
    };
    Ok(Position {
        id,
        user_id: read_user(row)?,
        order: Order {
            symbol: symbol.parse().map_err(|e| bad("symbol", &e))?,
            side: Side::from_word(side).ok_or_else(|| bad("side", &side))?,
            quantity: Quantity::from_micros(quantity).ok_or_else(|| bad("quantity", &quantity))?,
            stop_loss: price(6, "stop_loss")?,
            take_profit: price(7, "take_profit")?,
        },
        fill_price: price(5, "fill_price")?.ok_or_else(|| bad("fill_price", &"none"))?,
        cost: Money::from_minor(row.try_get(8).map_err(failed)?),
        opened_at: Timestamp::from_micros(row.try_get(9).map_err(failed)?),
        closed,
    })
}
