//! The drafts of one request.

use std::collections::HashMap;
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
    /// **A user's drafts are sent in order**: the next one when the result of the one before is known, except that items of
    /// the inbox follow each other in one write. Drafts of different users share their wait for the inbox or for the log
    /// of a cluster, which else would be as long as all of them together.
    pub async fn publish_all(&self, drafts: Vec<Draft>) -> Vec<Published> {
        // Of most requests nothing waits, or there is nothing to share the wait with.
        if drafts.len() == 1 || !drafts.iter().any(|draft| self.waits(draft)) {
            let mut results = Vec::with_capacity(drafts.len());
            for draft in drafts {
                results.push(self.publish(draft).await);
            }
            return results;
        }
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
        // Of the users for whom something waits: whether that is for the inbox only.
        let mut users: HashMap<UserId, bool> = HashMap::new();
        for (place, draft) in drafts {
            let kept = self.policy_of(&draft) == Policy::Inbox;
            let follows = users.get(&draft.user_id).is_none_or(|only_kept| *only_kept && kept);
            if waiting.len() >= AT_A_TIME || !follows {
                users.insert(draft.user_id.clone(), false);
                later.push((place, draft));
                continue;
            }
            if waiting.is_empty() && !self.waits(&draft) {
                results[place] = Some(self.publish(draft).await);
                continue;
            }
            let user = draft.user_id.clone();
            let mut sending = self.publish(draft).boxed();
            // A draft that has to wait is polled again with the others.
            match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
                Poll::Ready(published) => results[place] = Some(published),
                Poll::Pending => {
                    users.insert(user, kept);
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
