use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use doorstep_domain::ports::{
    Backlog, Bad, Fence, NotificationSource, SourceError, Withdrawal, Written,
};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::RwLock;
use uuid::Uuid;

use super::error::OutboxError;
use super::install::{Installation, VERSION};
use super::session::{Commit, DatabaseSession, holds, within};
use super::steps::{self, Steps};
use super::unseen::Unseen;
use super::wake::{Listening, poll};
use super::{lease, row, withdrawal};

/// How many rejected rows are kept.
const KEEP_REJECTED: u32 = 10_000;
/// More waiting rows than this are not counted while a node consumes.
const COUNT_UP_TO: u32 = 1_000_000;
/// How often an idle consumer looks at all sequence numbers again, in case somebody has set the sequence back.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_mins(1);

/// A read in steps that takes less time than this is done in one statement the next time.
const ONE_STATEMENT: Duration = Duration::from_millis(500);

/// The columns that move with a row between tables.
const COLUMNS: &str = "seq, id, user_id, kind, payload, topic, ttl, policy, traceparent, called_at";

/// The outbox in a PostgreSQL database. It connects when it is needed.
pub struct PostgresOutbox {
    options: PgConnectOptions,
    /// For the rows.
    work: DatabaseSession,
    /// For the lease, so that it never waits for a batch.
    lease: DatabaseSession,
    /// For what is taken back, on every node.
    withdrawals: DatabaseSession,
    /// For the figures, which may take long.
    figures: DatabaseSession,
    /// Tells this consumer from others.
    name: String,
    unseen: Mutex<(Unseen, Instant)>,
    /// The latest read took too long for one statement.
    in_steps: AtomicBool,
    /// Set while this node has the lease and publishing notifies.
    listening: RwLock<Option<Listening>>,
}

impl PostgresOutbox {
    /// The outbox in the database of this URL.
    pub fn new(url: &str) -> Result<Self, OutboxError> {
        let options = PgConnectOptions::from_str(url).map_err(|e| OutboxError::url(&e))?;
        let options = options.application_name("doorstep outbox");
        Ok(Self {
            work: DatabaseSession::new(options.clone()),
            lease: DatabaseSession::new(options.clone()),
            withdrawals: DatabaseSession::new(options.clone()),
            figures: DatabaseSession::new(options.clone()),
            options,
            name: Uuid::now_v7().to_string(),
            unseen: Mutex::new((Unseen::everything(), Instant::now())),
            in_steps: AtomicBool::new(false),
            listening: RwLock::new(None),
        })
    }

    /// Fails when there is no outbox that this version can consume.
    pub async fn check(&self) -> Result<(), SourceError> {
        self.installation().await.map(drop)
    }

    async fn installation(&self) -> Result<Installation, SourceError> {
        let found = "SELECT version, notify FROM doorstep.installation";
        let rows = self.lease.run(Commit::Fast, found).await?;
        let installation = rows.first().map(Installation::read).transpose()?;
        let installation = installation.ok_or(OutboxError::NotInstalled)?;
        match installation.version {
            VERSION => Ok(installation),
            version if version > VERSION => Err(OutboxError::Newer(version).into()),
            version => Err(OutboxError::Older(version).into()),
        }
    }

    /// Runs a query about what is taken back, while no consumer moves rows.
    async fn find(&self, query: String, which: &Withdrawal) -> Result<Vec<Written>, OutboxError> {
        let mut transaction = self.withdrawals.begin_alone().await?;
        let query = withdrawal::bind(sqlx::query(AssertSqlSafe(query)), which);
        let rows =
            within(async { Ok(query.fetch_all(&mut transaction.connection).await?) }).await?;
        transaction.commit().await?;
        read_all(&rows)
    }

    /// The first rows of a table with a number in one of these ranges.
    async fn read(
        &self,
        table: &str,
        ranges: &[RangeInclusive<i64>],
        limit: usize,
    ) -> Result<Found, OutboxError> {
        if !self.in_steps.load(Relaxed) {
            match self.work.run(Commit::Fast, &first_rows(table, ranges, limit)).await {
                Err(OutboxError::TooSlow(_)) => self.in_steps.store(true, Relaxed),
                rows => return Found::new(rows?, limit, i64::MAX),
            }
            tracing::info!(
                table,
                "many deleted rows are kept for an old snapshot: reading the outbox in steps"
            );
        }
        let begun = Instant::now();
        let found = self.read_in_steps(table, ranges, limit).await?;
        if begun.elapsed() < ONE_STATEMENT {
            self.in_steps.store(false, Relaxed);
        }
        Ok(found)
    }

    async fn read_in_steps(
        &self,
        table: &str,
        ranges: &[RangeInclusive<i64>],
        limit: usize,
    ) -> Result<Found, OutboxError> {
        let first = ranges.first().map_or(0, |range| (*range.start()).max(0));
        let mut steps = Steps::from(first);
        let mut snapshot = self.work.begin_steps().await?;
        let found = loop {
            let begun = Instant::now();
            let some = steps::within(ranges, &steps.range());
            match snapshot.step(&first_rows(table, &some, limit)).await? {
                Some(rows) => {
                    let found = Found::new(rows, limit, *steps.range().end())?;
                    // The next call reads the rows after these.
                    if !found.rows.is_empty() || !steps.read(begun.elapsed()) {
                        break found;
                    }
                }
                None if steps.too_wide() => {}
                None => return Err(OutboxError::TooSlow("one row takes too long".to_owned())),
            }
        };
        snapshot.commit().await?;
        Ok(found)
    }

    fn unseen(&self) -> MutexGuard<'_, (Unseen, Instant)> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records as seen the rows that this node has moved or put aside.
    fn seen(&self, moved: &[PgRow]) -> Result<Vec<i64>, OutboxError> {
        let mut seqs = Vec::with_capacity(moved.len());
        for row in moved {
            seqs.push(row.try_get::<i64, _>("seq")?);
        }
        if let Some(row) = moved.first() {
            seqs.sort_unstable();
            self.unseen().0.seen(&seqs, row.try_get("by")?);
        }
        Ok(seqs)
    }
}

fn first_rows(table: &str, ranges: &[RangeInclusive<i64>], limit: usize) -> String {
    let columns = row::columns();
    let (from, to): (Vec<i64>, Vec<i64>) =
        ranges.iter().map(|range| (*range.start(), *range.end())).unzip();
    let (from, to) = (array(&from), array(&to));
    format!(
        "SELECT s.oldest, r.* FROM \
         (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) s \
         LEFT JOIN LATERAL (SELECT {columns} FROM (\
             SELECT t.* FROM unnest({from}, {to}) AS unseen(first, last) \
             CROSS JOIN LATERAL (SELECT * FROM {table} \
                 WHERE seq BETWEEN first AND last ORDER BY seq LIMIT {limit}) t \
             ORDER BY seq LIMIT {limit}) o) r ON true \
         ORDER BY r.seq"
    )
}

/// What [`first_rows`] found.
struct Found {
    rows: Vec<Written>,
    /// Every transaction with a smaller id had ended in the snapshot in which they were read.
    oldest: i64,
    /// Nothing else was visible with a number up to this one.
    up_to: i64,
}

impl Found {
    /// Reads the rows of [`first_rows`], of which there are at most `limit`, in ranges up to `end`.
    fn new(mut rows: Vec<PgRow>, limit: usize, end: i64) -> Result<Self, OutboxError> {
        let oldest = rows.first().map(|row| row.try_get("oldest")).transpose()?.unwrap_or(0);
        rows.retain(|row| row.try_get::<Option<i64>, _>("seq").is_ok_and(|seq| seq.is_some()));
        let rows = read_all(&rows)?;
        let last = rows.last().filter(|_| rows.len() >= limit);
        let up_to = last.map_or(end, |row| i64::try_from(row.place).unwrap_or(i64::MAX));
        Ok(Self { rows, oldest, up_to })
    }
}

fn seqs(places: &[u64]) -> Vec<i64> {
    places.iter().filter_map(|place| i64::try_from(*place).ok()).collect()
}

/// Formats an SQL array.
fn array(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("'{{{}}}'::bigint[]", numbers.join(","))
}

fn read_all(rows: &[PgRow]) -> Result<Vec<Written>, OutboxError> {
    rows.iter().map(row::read).collect()
}

#[async_trait]
impl NotificationSource for PostgresOutbox {
    async fn lease(&self) -> Result<Option<Fence>, SourceError> {
        let installation = self.installation().await?;
        let mut listening = self.listening.write().await;
        *listening = None;
        let Some(fence) = lease::take(&self.lease, &self.name).await? else { return Ok(None) };
        if installation.notify {
            *listening = Some(Listening::start(self.options.clone(), self.name.clone()));
        } else {
            tracing::info!("the outbox was installed without NOTIFY: polling it every 100 ms");
        }
        *self.unseen() = (Unseen::everything(), Instant::now());
        Ok(Some(fence))
    }

    async fn renew(&self, fence: Fence) -> Result<(), SourceError> {
        let proof = self.listening.read().await.as_ref().map(Listening::next_proof);
        lease::renew(&self.lease, fence, proof).await
    }

    async fn release(&self, fence: Fence) -> Result<(), SourceError> {
        *self.listening.write().await = None;
        lease::release(&self.lease, fence).await
    }

    async fn accepted(&self, after: u64, limit: usize) -> Result<Vec<Written>, SourceError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let all = [after.saturating_add(1)..=i64::MAX];
        Ok(self.read("doorstep.accepted", &all, limit).await?.rows)
    }

    async fn take(&self, limit: usize) -> Result<Vec<Written>, SourceError> {
        let ranges = self.unseen().0.ranges().to_vec();
        let Found { rows, oldest, up_to } = self.read("doorstep.outbox", &ranges, limit).await?;
        let mut unseen = self.unseen();
        unseen.0.read(up_to, oldest);
        // Reading everything again in steps takes long, and delays rows that are written in the meantime.
        let cheap = !self.in_steps.load(Relaxed);
        if rows.is_empty() && cheap && unseen.1.elapsed() >= LOOK_AT_ALL_EVERY {
            *unseen = (Unseen::everything(), Instant::now());
        }
        Ok(rows)
    }

    async fn accept(&self, fence: Fence, places: &[u64]) -> Result<Vec<u64>, SourceError> {
        let (seqs, holds) = (array(&seqs(places)), holds(fence));
        let statement = format!(
            "WITH moved AS (DELETE FROM doorstep.outbox WHERE seq = ANY({seqs}) AND {holds} \
                 RETURNING {COLUMNS}), \
             kept AS (INSERT INTO doorstep.accepted ({COLUMNS}) SELECT {COLUMNS} FROM moved) \
             SELECT seq, pg_current_xact_id()::text::bigint AS by FROM moved"
        );
        let rows = self.work.run_under(fence, &statement).await?;
        let moved = self.seen(&rows)?;
        Ok(moved.into_iter().filter_map(|seq| u64::try_from(seq).ok()).collect())
    }

    async fn reject(&self, fence: Fence, bad: &[Bad]) -> Result<(), SourceError> {
        let kept = "seq, id, left(user_id, 1000), left(kind, 1000), \
             CASE WHEN octet_length(payload::text) <= 65536 THEN payload END, left(topic, 1000), ttl, \
             left(policy, 1000), left(traceparent, 1000), called_at, errors";
        let query = format!(
            "WITH bad AS (SELECT * FROM unnest($1::bigint[], $2::text[]) AS bad(place, errors)), \
             waited AS (DELETE FROM doorstep.outbox o USING bad WHERE o.seq = bad.place \
                 RETURNING o.*, bad.errors::jsonb AS errors), \
             accepted AS (DELETE FROM doorstep.accepted o USING bad WHERE o.seq = bad.place \
                 RETURNING o.*, bad.errors::jsonb AS errors), \
             kept AS (INSERT INTO doorstep.rejected ({COLUMNS}, errors) \
                 SELECT {kept} FROM (SELECT * FROM waited UNION ALL SELECT * FROM accepted) all_bad) \
             SELECT seq, pg_current_xact_id()::text::bigint AS by FROM waited"
        );
        let trim = format!(
            "DELETE FROM doorstep.rejected WHERE seq IN \
             (SELECT seq FROM doorstep.rejected ORDER BY seq DESC OFFSET {KEEP_REJECTED})"
        );
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        for one in bad {
            places.push(one.place);
            let each = one
                .errors
                .iter()
                .map(|(field, detail)| serde_json::json!({ "field": field, "detail": detail }));
            errors.push(serde_json::Value::Array(each.collect()).to_string());
        }
        let mut transaction = self.work.begin_under(fence).await?;
        let rows = within(async {
            let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
            let query = query.bind(seqs(&places)).bind(errors);
            let rows = query.fetch_all(&mut transaction.connection).await?;
            sqlx::raw_sql(AssertSqlSafe(trim)).execute(&mut transaction.connection).await?;
            Ok(rows)
        });
        let rows = rows.await?;
        transaction.commit().await?;
        self.seen(&rows)?;
        Ok(())
    }

    async fn forget(&self, fence: Fence, places: &[u64]) -> Result<(), SourceError> {
        let (seqs, holds) = (array(&seqs(places)), holds(fence));
        let statement =
            format!("DELETE FROM doorstep.accepted WHERE seq = ANY({seqs}) AND {holds}");
        self.work.run_under(fence, &statement).await?;
        Ok(())
    }

    async fn withdraw(
        &self,
        which: &Withdrawal,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        let (columns, matches) = (row::columns(), withdrawal::matches(which));
        let delete = format!(
            "WITH gone AS (DELETE FROM doorstep.outbox WHERE seq IN \
                 (SELECT seq FROM doorstep.outbox WHERE {matches} LIMIT {limit}) RETURNING *) \
             SELECT {columns} FROM gone"
        );
        Ok(self.find(delete, which).await?)
    }

    async fn accepted_of(
        &self,
        which: &Withdrawal,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        let (columns, matches) = (row::columns(), withdrawal::matches(which));
        let select = format!(
            "SELECT {columns} FROM (SELECT * FROM doorstep.accepted WHERE {matches} \
             AND seq > {after} LIMIT {limit}) r"
        );
        Ok(self.find(select, which).await?)
    }

    async fn written(&self, at_most: Duration) {
        match &*self.listening.read().await {
            Some(listening) => listening.heard(at_most).await,
            None => poll(at_most).await,
        }
    }

    async fn backlog(&self) -> Result<Backlog, SourceError> {
        // From the first number that was not seen: before it there are only deleted rows, perhaps millions.
        let first = self.unseen().0.ranges().first().map_or(0, |range| *range.start());
        let count = format!(
            "SELECT count(*)::text, coalesce(extract(epoch FROM clock_timestamp() - min(called_at)) \
             * 1000000, 0)::bigint::text FROM (SELECT called_at FROM doorstep.outbox \
             WHERE seq >= {first} ORDER BY seq LIMIT {COUNT_UP_TO}) o"
        );
        let rows = self.figures.run(Commit::Fast, &count).await?;
        let number = |column: usize| {
            let text: Option<String> = rows.first().and_then(|row| row.try_get(column).ok());
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Ok(Backlog { waiting: number(0), oldest: Duration::from_micros(number(1)) })
    }
}
