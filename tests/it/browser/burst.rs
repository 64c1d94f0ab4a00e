//! A burst larger than any queue, into a real browser.

use serde_json::json;

use super::page::Page;
use crate::backends::{BARE, Door, token};
use crate::node::eventually;

/// Shows and acknowledges what comes, and counts.
const CLIENT: &str = "const token = TOKEN; const done = arguments[0]; \
    import('/doorstep.js').then(({ Doorstep }) => { \
        window.shown = []; window.opened = 0; \
        window.door = new Doorstep({ token }); \
        door.on('burst', ({ payload }) => { shown.push(payload); }); \
        door.on(':state', (state) => { if (state === 'open') { opened += 1; done(state); } }); \
        door.connect(); \
    })";

#[tokio::test]
async fn a_burst_reaches_a_browser_in_order_on_one_connection() {
    let door = Door::with(BARE).await;
    let page = Page::open(&format!("{}/doorstep.d.ts", door.server.url())).await;
    let client = CLIENT.replace("TOKEN", &json!(token("ada")).to_string());
    let opened = page.browser.run_async(&client).await;
    assert_eq!(opened, "open");
    let mut sent = 0_usize;
    for batches in [1, 5] {
        for _ in 0..batches {
            let batch: Vec<_> = (sent..sent + 1000)
                .map(|n| json!({"user_id": "ada", "kind": "burst", "payload": n, "ttl": 3600}))
                .collect();
            door.backend.publish(&json!(batch)).await;
            sent += 1000;
        }
        until_shown(&page, sent).await;
    }
    let all = format!("return shown.length === {sent} && shown.every((n, at) => n === at)");
    assert_eq!(page.browser.run(&all).await, true, "in order, each once");
    assert_eq!(page.browser.run("return opened").await, 1, "on one connection");
    // The last acknowledgements are on their way.
    eventually("all are delivered", async || delivered(door.server.url()).await == sent).await;
}

/// Waits as long as there is progress.
async fn until_shown(page: &Page, count: usize) {
    let mut shown = 0;
    while shown < count {
        page.until(&format!("shown.length > {shown}")).await;
        let now = page.browser.run("return shown.length").await;
        shown = usize::try_from(now.as_u64().unwrap()).unwrap();
    }
}

async fn delivered(url: &str) -> usize {
    let metrics = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    let lines = metrics.lines().filter(|line| {
        line.starts_with("doorstep_notifications_ended_total{") && line.contains("\"delivered\"")
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}
