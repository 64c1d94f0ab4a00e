//! The migrations of the schema: running them, and saying beforehand what they would do.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Row, SqlSafeStr};

use super::connect::{ConnectError, Tables, said};

/// What a migration is about, in every database.
struct MigrationTopic {
    /// Kept in the database. Those of the inbox and the handover have [`OF_DELIVERY`].
    name: &'static str,
    effect: &'static str,
    locks: Option<&'static str>,
}

/// The topic of the migrations for the inbox and the handover.
const OF_DELIVERY: &str = "notifications";

/// How many migrations there are.
const COUNT: usize = 8;

const TOPICS: [MigrationTopic; COUNT] = [
    MigrationTopic { name: "accounts", effect: "creates users, ledger and sessions", locks: None },
    MigrationTopic { name: OF_DELIVERY, effect: "creates inbox and handover", locks: None },
    MigrationTopic { name: "positions", effect: "creates positions", locks: None },
    MigrationTopic { name: OF_DELIVERY, effect: "creates readiness", locks: None },
    MigrationTopic {
        name: OF_DELIVERY,
        effect: "builds an index on handover",
        locks: Some("handover"),
    },
    MigrationTopic {
        name: OF_DELIVERY,
        effect: "builds the index inbox_read on inbox",
        locks: Some("inbox"),
    },
    MigrationTopic {
        name: OF_DELIVERY,
        effect: "adds a column for traces to inbox and handover",
        locks: None,
    },
    MigrationTopic { name: "leases", effect: "creates leases", locks: None },
];

/// The SQL of each migration, the first first. Never edited once it is released.
pub(crate) type MigrationScripts = [&'static str; COUNT];

/// What a start would do to the schema of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationPlan {
    /// In the order of their numbers.
    pub migrations: Vec<PlannedMigration>,
}

/// A migration, and what would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMigration {
    /// Its number; the first is 1.
    pub number: i64,
    /// What it does, in words. `None` if this program does not know it.
    pub effect: Option<&'static str>,
    /// The table to which nobody can write while it runs. It takes longer the more rows that table has.
    pub locks: Option<&'static str>,
    /// Whether it has run.
    pub state: MigrationState,
}

/// Whether a migration has run, or would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// It has run.
    Applied,
    /// It would run at the next start.
    Pending,
    /// It is about tables that are not wanted.
    NotNeeded,
    /// It has run, and this program does not know it: a newer version has used the database.
    Unknown,
    /// It has run with other content than this program knows, so this program does not start.
    Changed,
    /// It began and did not end, so this program does not start.
    Unfinished,
}

/// What a start would do, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanVerdict {
    /// Nothing: the schema is up to date.
    UpToDate,
    /// Run migrations.
    Pending,
    /// Refuse: the database is newer than this program.
    Newer,
    /// Refuse: somebody has changed the schema.
    Broken,
}

impl MigrationPlan {
    /// The number of the newest migration that has run.
    pub fn schema(&self) -> Option<i64> {
        let ran = |one: &&PlannedMigration| {
            !matches!(one.state, MigrationState::Pending | MigrationState::NotNeeded)
        };
        self.migrations.iter().filter(ran).map(|one| one.number).max()
    }

    /// The number of the newest migration that this program knows.
    pub fn program(&self) -> i64 {
        number_of(COUNT - 1)
    }

    /// What a start would do.
    pub fn verdict(&self) -> PlanVerdict {
        let has = |state| self.migrations.iter().any(|one| one.state == state);
        if has(MigrationState::Unknown) {
            PlanVerdict::Newer
        } else if has(MigrationState::Changed) || has(MigrationState::Unfinished) {
            PlanVerdict::Broken
        } else if has(MigrationState::Pending) {
            PlanVerdict::Pending
        } else {
            PlanVerdict::UpToDate
        }
    }

    /// The plan for a database in which these migrations have run.
    pub(crate) fn new(scripts: &MigrationScripts, tables: Tables, ran: &[RanMigration]) -> Self {
        let find = |number| ran.iter().find(|one| one.number == number);
        let known = all(scripts).zip(&TOPICS).map(|(migration, topic)| PlannedMigration {
            number: migration.version,
            effect: Some(topic.effect),
            locks: topic.locks,
            state: match find(migration.version) {
                None if wanted(topic, tables) => MigrationState::Pending,
                None => MigrationState::NotNeeded,
                Some(one) if !one.finished => MigrationState::Unfinished,
                // One that is not wanted is not looked at by a start either.
                Some(one) if one.checksum != *migration.checksum && wanted(topic, tables) => {
                    MigrationState::Changed
                }
                Some(_) => MigrationState::Applied,
            },
        });
        let mut migrations: Vec<_> = known.collect();
        let strange = ran.iter().filter(|one| !migrations.iter().any(|m| m.number == one.number));
        let strange = strange.map(|one| PlannedMigration {
            number: one.number,
            effect: None,
            locks: None,
            state: MigrationState::Unknown,
        });
        let strange: Vec<_> = strange.collect();
        migrations.extend(strange);
        migrations.sort_by_key(|one| one.number);
        Self { migrations }
    }
}

/// A migration that the database says has run.
pub(crate) struct RanMigration {
    number: i64,
    checksum: Vec<u8>,
    finished: bool,
}

/// Reads which migrations have run. `find_table` is a query for the name of the table that says so; it returns NULL if
/// there is none.
pub(crate) async fn ran(
    connection: &mut AnyConnection,
    find_table: &'static str,
) -> Result<Vec<RanMigration>, sqlx::Error> {
    let table: Option<String> = sqlx::query_scalar(find_table).fetch_one(&mut *connection).await?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, checksum, CAST(CASE WHEN success THEN 1 ELSE 0 END AS BIGINT) \
               FROM _sqlx_migrations ORDER BY version";
    let read = |row: sqlx::any::AnyRow| {
        let finished: i64 = row.try_get(2)?;
        Ok(RanMigration {
            number: row.try_get(0)?,
            checksum: row.try_get(1)?,
            finished: finished == 1,
        })
    };
    sqlx::query(sql).fetch_all(connection).await?.into_iter().map(read).collect()
}

/// Migrates the schema. Safe to call again and, if the connection holds a lock, from two processes at once.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    scripts: &MigrationScripts,
    tables: Tables,
) -> Result<(), ConnectError> {
    let wanted = all(scripts).zip(&TOPICS).filter(|(_, topic)| wanted(topic, tables));
    let mut migrator = Migrator::with_migrations(wanted.map(|(migration, _)| migration).collect());
    // Another process may have run the migrations that are not wanted here.
    migrator.set_ignore_missing(tables != Tables::All);
    // Not `run`: the compiler cannot tell that its future is `Send`.
    migrator.run_direct(None, connection, false).await.map_err(|e| match e {
        MigrateError::VersionMissing(number) => ConnectError::Newer(number),
        e => ConnectError::Schema(said(&e)),
    })?;
    let latest = "SELECT MAX(version) FROM _sqlx_migrations";
    let latest: Option<i64> = sqlx::query_scalar(latest)
        .fetch_one(connection)
        .await
        .map_err(|e| ConnectError::Schema(said(&e)))?;
    match latest {
        Some(number) if number > number_of(COUNT - 1) => Err(ConnectError::Newer(number)),
        _ => Ok(()),
    }
}

fn all(scripts: &MigrationScripts) -> impl Iterator<Item = Migration> {
    scripts.iter().zip(&TOPICS).enumerate().map(|(place, (&sql, topic))| {
        let sql = sql.into_sql_str();
        Migration::new(number_of(place), topic.name.into(), MigrationType::Simple, sql, false)
    })
}

fn wanted(topic: &MigrationTopic, tables: Tables) -> bool {
    tables == Tables::All || topic.name == OF_DELIVERY
}

/// The number of the migration at this place of the list.
fn number_of(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS: MigrationScripts = ["SELECT 1"; COUNT];

    /// These have run.
    fn ran(numbers: impl IntoIterator<Item = i64>) -> Vec<RanMigration> {
        let checksum = all(&SCRIPTS).next().unwrap().checksum.to_vec();
        let one = |number| RanMigration { number, checksum: checksum.clone(), finished: true };
        numbers.into_iter().map(one).collect()
    }

    fn verdict(tables: Tables, ran: &[RanMigration]) -> (PlanVerdict, Option<i64>) {
        let plan = MigrationPlan::new(&SCRIPTS, tables, ran);
        (plan.verdict(), plan.schema())
    }

    #[test]
    fn a_plan_says_what_a_start_would_do() {
        let newest = number_of(COUNT - 1);
        let all = || 1..=newest;
        assert_eq!(verdict(Tables::All, &[]), (PlanVerdict::Pending, None));
        assert_eq!(verdict(Tables::All, &ran([1, 2])), (PlanVerdict::Pending, Some(2)));
        assert_eq!(verdict(Tables::All, &ran(all())), (PlanVerdict::UpToDate, Some(newest)));
        // Without the simulation, its tables are not needed.
        let of_delivery = ran(all().filter(|number| ![1, 3, 8].contains(number)));
        let up_to_date = (PlanVerdict::UpToDate, Some(7));
        assert_eq!(verdict(Tables::OfDelivery, &of_delivery), up_to_date);
        assert_eq!(verdict(Tables::All, &of_delivery), (PlanVerdict::Pending, Some(7)));
        let newer = ran(all().chain([99]));
        assert_eq!(verdict(Tables::All, &newer), (PlanVerdict::Newer, Some(99)));
        for spoil in [
            |one: &mut RanMigration| one.checksum.clear(),
            |one: &mut RanMigration| one.finished = false,
        ] {
            let mut spoilt = ran(all());
            spoil(&mut spoilt[3]);
            assert_eq!(verdict(Tables::All, &spoilt), (PlanVerdict::Broken, Some(newest)));
        }
    }
}
