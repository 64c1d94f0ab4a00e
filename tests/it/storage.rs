//! A node whose database cannot be written to, is gone, or belongs to another process.

mod alone;
mod full;
mod gone;
mod read_only;
mod signals;

use doorstep_tests::server::{Doorstep, Server};
use serde_json::json;

use crate::backends::Door;

/// A server with inbox and handover, without the simulation, and with a TTL of an hour.
const KEEPS: &str = "
    [trading]\nenabled = false
    [server]\nstop_within = \"2s\"
    [delivery]\nttl = \"1h\"
";

async fn door(database: &str) -> Door {
    Door::of(Doorstep::serve(database), KEEPS).await
}

impl Door {
    /// Publishes one notification into the inbox, with a payload of 20 KiB. Returns its state and reason.
    async fn keeps(&self) -> String {
        let body = json!({
            "user_id": "ada", "kind": "news", "policy": "inbox", "payload": "x".repeat(20 * 1024),
        });
        let answer = self.backend.publish(&body).await.remove(0);
        let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("state"), word("reason"))
    }

    /// Publishes this many notifications, which wait in memory.
    async fn wait_for(&self, user: &str, count: usize) {
        let one = |n| json!({"user_id": user, "kind": "news", "payload": n});
        let answers = self.backend.publish(&(0..count).map(one).collect()).await;
        assert_eq!(answers.len(), count);
    }
}

async fn readiness(server: &Server) -> u16 {
    reqwest::get(format!("{}/health/ready", server.url())).await.unwrap().status().as_u16()
}

async fn until_ready(server: &Server) {
    crate::node::eventually("the node is ready", async || readiness(server).await == 200).await;
}

/// The configured limit exceeds the memory of any machine.
#[tokio::test]
async fn a_limit_above_the_machine_s_memory_is_warned_of() {
    let call = Doorstep::serve("sqlite::memory:");
    let mut server = call.env("DOORSTEP_DELIVERY__MAX_PENDING_BYTES", "900TiB").start().await;
    server.logged("delivery.max_pending_bytes is 900.0 TiB", 1).await;
}
