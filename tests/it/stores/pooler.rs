//! `PgBouncer` between the store and its server.

use doorstep_adapters::sql::{ConnectError, connect};
use doorstep_domain::ports::{Handover, Readiness};
use doorstep_tests::pgbouncer::PgBouncer;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::Doorstep;

use super::notifications;

const KNOWS_DRIVERS: &str = "ignore_startup_parameters = extra_float_digits";

#[tokio::test]
async fn one_that_lends_for_a_session_is_as_good_as_the_server() {
    let database = Postgres::shared().await.database().await;
    let pooler = PgBouncer::before(&database, &format!("pool_mode = session\n{KNOWS_DRIVERS}"));
    for _ in 0..2 {
        let store = connect(pooler.url()).await.unwrap();
        store.check().await.unwrap();
        store.leave(&notifications(3)).await.unwrap();
        assert_eq!(store.take(9).await.unwrap().len(), 3);
        store.disconnect().await;
    }
}

async fn check_refused(settings: &str, parts: &[&str]) {
    let database = Postgres::shared().await.database().await;
    let pooler = PgBouncer::before(&database, settings);
    let error = connect(pooler.url()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Pooler { .. }), "{error}");
    let call = Doorstep::serve(pooler.url()).run().await;
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    for part in parts {
        assert!(call.stderr.contains(part), "{}", call.stderr);
    }
    // Nothing has been begun.
    connect(&database).await.unwrap();
}

#[tokio::test]
async fn one_that_lends_for_a_transaction_is_refused_with_what_to_do() {
    let said = ["pooler at 127.0.0.1:", "per transaction", "pool_mode = session"];
    check_refused(&format!("pool_mode = transaction\n{KNOWS_DRIVERS}"), &said).await;
    let several = "server_round_robin = 1\nmin_pool_size = 4";
    check_refused(&format!("pool_mode = transaction\n{KNOWS_DRIVERS}\n{several}"), &said).await;
}

#[tokio::test]
async fn one_that_lends_for_a_statement_is_refused_with_what_to_do() {
    let said = ["pooler at 127.0.0.1:", "pool_mode = session"];
    check_refused(&format!("pool_mode = statement\n{KNOWS_DRIVERS}"), &said).await;
}

#[tokio::test]
async fn one_that_does_not_know_the_driver_s_parameters_is_told_them() {
    let said = ["pooler at 127.0.0.1:", "ignore_startup_parameters = extra_float_digits"];
    check_refused("pool_mode = session", &said).await;
}
