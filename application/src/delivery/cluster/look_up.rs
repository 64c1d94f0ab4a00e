use doorstep_domain::ports::StoreError;
use doorstep_domain::{LogKey, NotificationId, Outcome, Timestamp, UserId};

use super::Cluster;
use super::recall::away;
use crate::cluster::ClusterEntry;
use crate::delivery::endings::Acceptance;

/// What the log says of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Its user.
    pub user_id: UserId,
    /// When it was created, as time of day.
    pub created_at: Timestamp,
    /// Its state, or its outcome and when it ended.
    pub progress: Result<Acceptance, (Outcome, Timestamp)>,
}

impl Cluster {
    /// What the log says, not older than what any node had accepted when this was called.
    pub(in crate::delivery) async fn look_up(
        &self,
        id: NotificationId,
    ) -> Result<Option<ClusterRecord>, StoreError> {
        let key = LogKey::Notification(id);
        let Some(entry) = self.log.get(key).await.map_err(away)? else { return Ok(None) };
        let open = |n: doorstep_domain::Notification| ClusterRecord {
            progress: Ok(self.so_far(&n)),
            user_id: n.user_id,
            created_at: n.created_at,
        };
        Ok(match ClusterEntry::decode(key, &entry.bytes) {
            Ok(
                ClusterEntry::Accepted { notification, .. }
                | ClusterEntry::Promoting { notification, .. },
            ) => Some(open(notification)),
            Ok(ClusterEntry::Ended { outcome: Some(outcome), user, created_at, .. }) => {
                Some(ClusterRecord {
                    user_id: user,
                    created_at,
                    progress: Err((outcome, entry.time)),
                })
            }
            _ => None,
        })
    }

    /// Waits until its end is read here, if it is open.
    pub(in crate::delivery) async fn wait_for_end(&self, id: NotificationId) {
        let receipt = self.cx.endings.receipts.open(id);
        if self.is_open(id) {
            receipt.outcome().await;
        }
    }
}
