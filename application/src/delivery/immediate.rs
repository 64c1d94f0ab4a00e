use std::sync::Arc;

use doorstep_domain::ports::{Attempt, Pushed};
use doorstep_domain::{Notification, Outcome};

use super::NotAccepted;
use super::context::Context;
use super::endings::Acceptance;

/// The policy `immediate`, and every TTL of 0 (RFC 8030 section 5.2): the notification is delivered if a
/// connection takes it now, and otherwise expires.
pub(super) fn now_or_never(cx: &Arc<Context>, n: Notification) -> Result<Acceptance, NotAccepted> {
    if let Err(full) = cx.admit(&n) {
        return Err(full.of(n));
    }
    let here = cx.clone();
    cx.tasks.now_or_later(async move {
        let cx = here;
        let deadline = cx.clock.now() + cx.limits.push_timeout;
        let taken = async {
            cx.is_online(&n.user_id).await
                && matches!(
                    cx.push(&n, Attempt::FIRST, deadline).await,
                    Ok(Pushed::Written | Pushed::InFlight)
                )
        };
        let taken = tokio::select! {
            biased;
            taken = taken => taken,
            () = cx.tasks.stop().cancelled() => false,
        };
        cx.capacity.leave(&n.kind, n.payload.as_str().len());
        let outcome = if taken { Outcome::Delivered } else { Outcome::Expired };
        cx.tell(vec![cx.endings.end_here(&n, outcome)]);
    });
    Ok(Acceptance::Waiting)
}
