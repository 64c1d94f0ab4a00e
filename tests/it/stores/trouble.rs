//! Stores whose data is changed by others, or whose server goes away.

use std::num::NonZeroUsize;

use doorstep_domain::ports::{
    Accounts, Audit, Close, Closing, Grant, Handover, Opening, Positions, Readiness, RegisterError,
};
use doorstep_domain::{
    CloseReason, EntryId, LedgerEntry, Order, Position, PositionId, RewardRules, Side, Timestamp,
};
use sqlx::{AnyConnection, Connection, Row};
use uuid::Uuid;

use super::{Fresh, connect, entry, notifications, user_with_session};

#[tokio::test]
async fn the_ledger_refuses_to_be_rewritten() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        let (ada, session) = user_with_session();
        fresh.store.register(&ada, &session).await.unwrap();
        fresh.store.grant(&entry(&ada.user.id)).await.unwrap();
        let mut connection = AnyConnection::connect(&fresh.raw_url()).await.unwrap();
        for sql in ["UPDATE ledger SET amount = 1", "DELETE FROM ledger"] {
            let error = sqlx::query(sql).execute(&mut connection).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        let error = sqlx::query("UPDATE users SET balance = -1").execute(&mut connection).await;
        assert!(error.is_err(), "no balance below zero");
    }
}

#[tokio::test]
async fn an_audit_finds_what_was_tampered_with() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        let mut users = Vec::new();
        for _ in 0..3 {
            let (user, session) = user_with_session();
            fresh.store.register(&user, &session).await.unwrap();
            fresh.store.grant(&entry(&user.user.id)).await.unwrap();
            users.push(user.user.id);
        }
        assert_eq!(fresh.store.audit(&RewardRules::default()).await.unwrap().findings, [""; 0]);

        let mut connection = AnyConnection::connect(&fresh.raw_url()).await.unwrap();
        let tamper = if fresh.url.starts_with("sqlite") {
            ["PRAGMA ignore_check_constraints = ON", "PRAGMA foreign_keys = OFF"]
        } else {
            [
                "ALTER TABLE users DROP CONSTRAINT users_balance_check",
                "ALTER TABLE ledger DROP CONSTRAINT ledger_user_id_fkey",
            ]
        };
        for sql in tamper {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        for (sql, id) in [
            ("UPDATE users SET balance = balance + 1 WHERE id = $1", users[0].to_string()),
            ("UPDATE users SET balance = -5 WHERE id = $1", users[1].to_string()),
            (
                "INSERT INTO ledger (id, user_id, kind, amount, reference, created_at) \
                 VALUES ('x', $1, 'bribe', 0, 'dark', 0)",
                "a ghost".to_owned(),
            ),
        ] {
            sqlx::query(sql).bind(id).execute(&mut connection).await.unwrap();
        }

        let report = fresh.store.audit(&RewardRules::default()).await.unwrap();
        assert_eq!((report.users, report.entries), (3, 4));
        let says = |parts: &[&str]| {
            let found = |finding: &&String| parts.iter().all(|part| finding.contains(part));
            assert_eq!(report.findings.iter().filter(found).count(), 1, "{parts:?}: {report:?}");
        };
        says(&[&users[0].to_string(), "balance of 100001", "entries of 100000"]);
        says(&[&users[1].to_string(), "balance of -5", "entries of 100000"]);
        says(&[&users[1].to_string(), "below zero: -5"]);
        says(&["entry x", "a ghost", "no user"]);
        says(&["entry x", "unknown kind bribe"]);
        says(&["all balances", "are 199996", "gains are 300000"]);
        assert_eq!(report.findings.len(), 6, "{report:?}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stays_where_it_is() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        fresh.store.leave(&notifications(3)).await.unwrap();
        let mut connection = AnyConnection::connect(&fresh.raw_url()).await.unwrap();
        sqlx::query("UPDATE handover SET payload = '{' WHERE seq = 2")
            .execute(&mut connection)
            .await
            .unwrap();
        let error = fresh.store.take(9).await.unwrap_err();
        assert!(matches!(error, doorstep_domain::ports::StoreError::Corrupt(_)), "{error}");
        let row = sqlx::query("SELECT COUNT(*) FROM handover").fetch_one(&mut connection).await;
        assert_eq!(row.unwrap().get::<i64, _>(0), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_file_wait_for_each_other() {
    let fresh = Fresh::sqlite_file().await;
    let other = connect(&fresh.url).await.unwrap();
    let stores = [(*fresh.store).clone(), other];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let store = stores[number % 2].clone();
        tasks.spawn(async move {
            let (user, session) = user_with_session();
            store.register(&user, &session).await.unwrap();
            assert_eq!(store.grant(&entry(&user.user.id)).await.unwrap(), Grant::Granted);
            store.balance(&user.user.id).await.unwrap().unwrap()
        });
    }
    for balance in tasks.join_all().await {
        assert_eq!(balance.minor_units(), 100_000);
    }
    let report = stores[1].audit(&RewardRules::default()).await.unwrap();
    assert_eq!((report.users, report.entries, report.findings), (100, 100, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_are_replaced_unnoticed() {
    let fresh = Fresh::postgres().await;
    let (ada, session) = user_with_session();
    // Several at once, so that the pool holds several.
    let warm = || async {
        let checks = (0..8).map(|_| {
            let store = fresh.store();
            async move { store.check().await }
        });
        futures_util::future::try_join_all(checks).await.unwrap();
    };
    let mut admin = AnyConnection::connect(&fresh.raw_url()).await.unwrap();
    for round in 0..4 {
        warm().await;
        let killed = sqlx::query(
            "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()) AS killed",
        );
        let killed = killed.fetch_one(&mut admin).await.unwrap();
        assert!(killed.get::<i64, _>(0) > 1);
        match round {
            0 => fresh.store.register(&ada, &session).await.unwrap(),
            1 => assert!(fresh.store.user(&ada.user.id).await.unwrap().is_some()),
            2 => assert_eq!(fresh.store.grant(&entry(&ada.user.id)).await.unwrap(), Grant::Granted),
            _ => fresh.store.leave(&notifications(2)).await.unwrap(),
        }
    }
    let answer = fresh.store.register(&ada, &session).await;
    assert!(matches!(answer, Err(RegisterError::UsernameTaken)), "{answer:?}");
    assert_eq!(fresh.store.take(9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn ten_thousand_are_handed_over() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        let left = notifications(10_000);
        for some in left.chunks(1_000) {
            fresh.store.leave(some).await.unwrap();
        }
        let mut taken = Vec::new();
        while taken.len() < left.len() {
            taken.extend(fresh.store.take(1_000).await.unwrap());
        }
        assert_eq!(taken, left);
    }
}

/// Rewards and closings of several users are each one transaction, at the same time, and their users stand in any order.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_several_users_never_wait_for_each_other_in_a_circle() {
    let fresh = Fresh::postgres().await;
    let mut users = Vec::new();
    for _ in 0..20 {
        let (user, session) = user_with_session();
        fresh.store.register(&user, &session).await.unwrap();
        fresh.store.grant(&entry(&user.user.id)).await.unwrap();
        users.push(user.user.id);
    }
    let order = Order {
        symbol: "BTC-USD".parse().unwrap(),
        side: Side::Long,
        quantity: "0.1".parse().unwrap(),
        stop_loss: None,
        take_profit: None,
    };
    let (now, price) = (Timestamp::from_micros(9), "100".parse().unwrap());
    for round in 0..10 {
        let (mut closings, mut rewards) = (Vec::new(), Vec::new());
        for user in &users {
            let id = PositionId::new(Uuid::now_v7());
            let position = Position::open(id, user.clone(), order.clone(), price, now).unwrap();
            let new = || EntryId::new(Uuid::now_v7());
            let (key, max_open) = (None, NonZeroUsize::MAX);
            let opening = Opening { position: position.clone(), entry: new(), key, max_open };
            Positions::open(&*fresh.store, &opening).await.unwrap();
            let position = position.closed_at(price, CloseReason::TakeProfit, now);
            closings.push(Closing { position, entry: new() });
            rewards.push(LedgerEntry { reference: format!("{round}"), ..entry(user) });
        }
        rewards.reverse();
        let (closed, granted) =
            tokio::join!(fresh.store.close_all(&closings, None), fresh.store.grant_all(&rewards));
        assert!(closed.unwrap().iter().all(|close| matches!(close, Close::Closed(_))));
        assert_eq!(granted.unwrap(), [Grant::Granted; 20]);
    }
}
