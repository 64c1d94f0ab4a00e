//! Selects, in SQL, what a backend takes back.

use doorstep_domain::Topic;
use doorstep_domain::ports::Withdrawal;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// The condition; [`bind`] gives it its values. Both forms use an index of the table `outbox`.
pub(super) fn matches(which: &Withdrawal) -> &'static str {
    match which {
        Withdrawal::One(_) => "id = $1::uuid",
        Withdrawal::AllOf(..) => "left(user_id, 129) = $1 AND ($2::text IS NULL OR topic = $2)",
    }
}

/// A query with the condition above. It is not prepared, because connection poolers may not keep that.
pub(super) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    which: &Withdrawal,
) -> Query<'q, Postgres, PgArguments> {
    let query = query.persistent(false);
    match which {
        Withdrawal::One(id) => query.bind(id.to_string()),
        Withdrawal::AllOf(user, topic) => {
            query.bind(user.to_string()).bind(topic.as_ref().map(Topic::to_string))
        }
    }
}
