//! The drafts of one request.

use std::collections::HashSet;
use std::future::poll_fn;
use std::task::Poll;

use doorstep_domain::UserId;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::{Draft, Published, Publishing};
use crate::delivery::Policy;

/// The most drafts of one request that wait for the store or for other nodes at a time.
const AT_A_TIME: usize = 256;

impl Publishing {
    /// Sends several drafts, and returns the result of each, in their order.
    ///
    /// **A user's drafts are sent in order**: the next one when the result of the one before is known. Those of different
    /// users share their wait for the inbox or for the log of a cluster, which else would be as long as all of them
    /// together.
    pub async fn publish_all(&self, drafts: Vec<Draft>) -> Vec<Published> {
        let mut results: Vec<Option<Published>> = drafts.iter().map(|_| None).collect();
        let mut left: Vec<(usize, Draft)> = drafts.into_iter().enumerate().collect();
        while !left.is_empty() {
            left = self.publish_some(left, &mut results).await;
        }
        results.into_iter().flatten().collect()
    }

    /// Sends the next drafts of each user, and returns those that come after them.
    async fn publish_some(
        &self,
        drafts: Vec<(usize, Draft)>,
        results: &mut [Option<Published>],
    ) -> Vec<(usize, Draft)> {
        let (mut waiting, mut later) = (Vec::new(), Vec::new());
        let mut users: HashSet<UserId> = HashSet::new();
        for (place, draft) in drafts {
            if waiting.len() >= AT_A_TIME || users.contains(&draft.user_id) {
                users.insert(draft.user_id.clone());
                later.push((place, draft));
                continue;
            }
            if waiting.is_empty() && !self.waits(&draft) {
                results[place] = Some(self.publish(draft).await);
                continue;
            }
            let user = draft.user_id.clone();
            let mut sending = self.publish(draft).boxed();
            // What waits is polled again together with the others.
            match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
                Poll::Ready(published) => results[place] = Some(published),
                Poll::Pending => {
                    users.insert(user);
                    waiting.push(sending.map(move |published| (place, published)));
                }
            }
        }
        for (place, published) in join_all(waiting).await {
            results[place] = Some(published);
        }
        later
    }

    /// Whether this draft waits for something outside of this process.
    fn waits(&self, draft: &Draft) -> bool {
        self.parts.delivery.standing().is_some() || self.policy_of(draft) == Policy::Inbox
    }
}
