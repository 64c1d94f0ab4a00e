//! The keys with which a repeated order opens one position.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{IdempotencyKey, Open, Opening};
use doorstep_domain::{Position, Timestamp, UserId};
use uuid::Uuid;

use super::{
    Both, KEY_CLOSED, KEY_KEPT, KEY_ONCE, KEY_OWN, KEY_REFUSED, gained, opening, position,
};
use crate::Clause;
use crate::sample::{NOW, at_once, entry};

impl Both {
    async fn keyed(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
        expected: Option<&Position>,
        clause: Clause,
    ) {
        let came = clause.done("opened_with", self.store.opened_with(user, key, now).await);
        clause.same_one("`opened_with`", came.as_ref(), expected);
    }

    pub(super) async fn a_key_opens_one_position(&self) {
        let ada = self.somebody(100_000, KEY_ONCE).await;
        let ben = self.somebody(100_000, KEY_ONCE).await;
        let key = key();
        let with_key = |position| Opening { key: Some(key.clone()), ..opening(&position) };

        // Many at once: one opens a position, all others get that position.
        let openings: Vec<_> = (0..16).map(|_| with_key(position(&ada))).collect();
        let store = &self.store;
        let results = at_once(openings.into_iter().map(|opening| {
            let store = Arc::clone(store);
            async move { (opening.position.clone(), store.open(&opening).await) }
        }))
        .await;
        let (mut opened, mut before) = (Vec::new(), Vec::new());
        for (position, result) in results {
            match KEY_ONCE.done("open", result) {
                Open::Opened => opened.push(position),
                Open::Before(other) => before.push(*other),
            }
        }
        KEY_ONCE.same("how many of 16 with one key opened", &opened.len(), &1);
        let first = opened.remove(0);
        for before in before {
            KEY_ONCE.same_one("what the others return", Some(&before), Some(&first));
        }
        self.has_exactly(&ada, 99_000, KEY_ONCE).await;
        self.keyed(&ada, &key, NOW, Some(&first), KEY_ONCE).await;

        self.keyed(&ben, &key, NOW, None, KEY_OWN).await;
        self.opens(&with_key(position(&ben)), "Opened", KEY_OWN).await;

        let closed = gained(&first);
        self.close(&closed, KEY_CLOSED).await;
        match KEY_CLOSED.done("open", store.open(&with_key(position(&ada))).await) {
            Open::Before(before) => {
                KEY_CLOSED.same_one("what the key finds", Some(&*before), Some(&closed));
            }
            Open::Opened => KEY_CLOSED.broken("expected the position of before, and got Opened"),
        }

        let poor = self.somebody(0, KEY_REFUSED).await;
        self.opens(&with_key(position(&poor)), "NotEnough", KEY_REFUSED).await;
        self.keyed(&poor, &key, NOW, None, KEY_REFUSED).await;
        let grant = self.accounts.grant(&entry(&poor, 9000, "enough")).await;
        KEY_REFUSED.done("grant", grant);
        self.opens(&with_key(position(&poor)), "Opened", KEY_REFUSED).await;
    }

    pub(super) async fn a_key_is_kept_for_a_day(&self) {
        let ada = self.somebody(100_000, KEY_KEPT).await;
        let key = key();
        let with_key = |position| Opening { key: Some(key.clone()), ..opening(&position) };
        let first = position(&ada);
        self.opens(&with_key(first.clone()), "Opened", KEY_KEPT).await;
        let tomorrow = NOW + IdempotencyKey::KEPT;
        let just = tomorrow - Duration::from_micros(1);
        self.keyed(&ada, &key, just, Some(&first), KEY_KEPT).await;
        self.keyed(&ada, &key, tomorrow, None, KEY_KEPT).await;
        let new = |opened_at| Position { opened_at, ..position(&ada) };
        self.opens(&with_key(new(just)), "Before", KEY_KEPT).await;
        let second = new(tomorrow);
        self.opens(&with_key(second.clone()), "Opened", KEY_KEPT).await;
        self.keyed(&ada, &key, tomorrow, Some(&second), KEY_KEPT).await;
    }
}

fn key() -> IdempotencyKey {
    format!("order '{}'", Uuid::now_v7()).parse().expect("a key")
}
