//! Several positions are closed at once.

use std::num::NonZeroU64;

use doorstep_domain::ports::{Close, Closing, StoreError};
use doorstep_domain::{EntryId, Position};
use uuid::Uuid;

use super::{ALL_OR_NONE, Both, TOGETHER, gained};

fn closing(position: &Position) -> Closing {
    Closing { position: position.clone(), entry: EntryId::new(Uuid::now_v7()) }
}

impl Both {
    pub(super) async fn several_are_closed_together(&self) {
        let none = TOGETHER.done("close_all", self.store.close_all(&[], None).await);
        TOGETHER.same("the results of no closings", &none, &vec![]);
        let [ada, ben] = [self.somebody(5000, TOGETHER).await, self.somebody(5000, TOGETHER).await];
        let mut closed = Vec::new();
        for user in [&ben, &ada, &ben, &ada] {
            closed.push(gained(&self.opened(user, TOGETHER).await));
        }
        self.close(&closed[2], TOGETHER).await;
        let all: Vec<_> = closed.iter().map(closing).collect();
        let came = TOGETHER.done("close_all", self.store.close_all(&all, None).await);
        let number = |number: u64| Close::Closed(NonZeroU64::MIN.saturating_add(number - 1));
        let expected = vec![number(2), number(1), Close::AlreadyClosed, number(2)];
        TOGETHER.same("the results of four closings", &came, &expected);
        for position in &closed {
            self.is(position, TOGETHER).await;
        }
        self.has_exactly(&ada, 5200, TOGETHER).await;
        self.has_exactly(&ben, 5200, TOGETHER).await;
    }

    pub(super) async fn one_that_cannot_be_closed_keeps_all_open(&self) {
        let user = self.somebody(5000, ALL_OR_NONE).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(self.opened(&user, ALL_OR_NONE).await);
        }
        // It is given as open, and so there is nothing to settle.
        let all = [closing(&gained(&open[0])), closing(&open[1]), closing(&gained(&open[2]))];
        let came = self.store.close_all(&all, None).await;
        let refused = matches!(came, Err(StoreError::Corrupt(_)));
        let what = "one of three is to be closed open";
        ALL_OR_NONE.holds(refused, format_args!("{what}: expected Corrupt, and got {came:?}"));
        for position in &open {
            self.is(position, ALL_OR_NONE).await;
        }
        self.has_exactly(&user, 2000, ALL_OR_NONE).await;
    }
}
