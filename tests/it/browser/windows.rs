//! One user at two devices: two browsers, which share nothing but the server.

use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;

use super::page::Page;
use crate::backends::Door;

/// Prepares a page before it connects: it records what it hears, holds its acknowledgements back while `holds` is true,
/// and popups stay until somebody closes them.
const PREPARED: &str = "window.heard = []; window.holds = true; const kept = []; \
     const Real = WebSocket; \
     window.WebSocket = class extends Real { \
         constructor(...args) { \
             super(...args); \
             this.addEventListener('message', ({ data }) => heard.push(JSON.parse(data))); \
         } \
     }; \
     const { send } = Real.prototype; \
     Real.prototype.send = function (text) { \
         if (holds && JSON.parse(text).type === 'ack') kept.push(() => send.call(this, text)); \
         else send.call(this, text); \
     }; \
     window.letGo = () => { \
         holds = false; \
         kept.splice(0).forEach((ack) => ack()); \
     }; \
     const { setTimeout } = window; \
     window.setTimeout = (call, ms, ...args) => (ms === 9000 ? 0 : setTimeout(call, ms, ...args))";

/// From now on this tab waits for the right to show a notification, until `goOn()`.
const HELD: &str = "const real = navigator.locks.request.bind(navigator.locks); const waiting = []; \
     window.waits = () => waiting.length; \
     navigator.locks.request = (...args) => new Promise((resolve, reject) => \
         waiting.push(() => real(...args).then(resolve, reject))); \
     window.goOn = () => { \
         navigator.locks.request = real; \
         waiting.splice(0).forEach((go) => go()); \
     }";

/// Ada, at her phone and her laptop, and a backend that sends to her.
struct Home {
    door: Door,
    // The laptop's browser ends before the phone's, which started the driver of both.
    laptop: Page,
    phone: Page,
    ada: String,
    _database: SqliteFile,
}

impl Home {
    async fn open() -> Self {
        let database = SqliteFile::new();
        // Only what this test sends, and nothing is pushed twice.
        let call = Doorstep::serve(&database.url())
            .env("DOORSTEP_DEMO__ENABLED", "false")
            .env("DOORSTEP_DELIVERY__ACK_TIMEOUT", "10m")
            .env("DOORSTEP_DELIVERY__TTL", "10m");
        let door = Door::of(call, "").await;
        let phone = Page::open(door.server.url()).await;
        phone.browser.run(PREPARED).await;
        phone.register_late("ada", 0).await;
        phone.until("document.querySelectorAll('#popups .popup').length === 2").await;
        phone.browser.run("letGo()").await;
        phone.browser.run("holds = true").await;
        let ada = phone.user().await.id;
        while door.backend.get(&format!("/v1/users/{ada}")).await.1["in_flight"] != 0 {}
        let laptop = phone.beside().await;
        laptop.browser.run(PREPARED).await;
        laptop.sign_in("ada").await;
        Self { door, laptop, phone, ada, _database: database }
    }

    /// Sends a popup.
    async fn send(&self) -> String {
        self.door.backend.send_to(&self.ada, json!({})).await
    }

    /// Waits until the sender is told that it was delivered.
    async fn until_delivered(&self, id: &str) {
        while self.door.backend.state(id).await["state"] != "delivered" {}
    }
}

/// Whether a popup is shown.
fn popup(id: &str) -> String {
    format!("document.querySelector('#popups [data-id=\"{id}\"]')")
}

/// Whether a page was told to take something away, or leave it, for this reason.
fn told(id: &str, reason: &str) -> String {
    format!("heard.some((f) => f.type === 'retract' && f.id === '{id}' && f.reason === '{reason}')")
}

#[tokio::test]
async fn acknowledged_at_one_device_before_the_other_has_shown_it_the_other_drops_it() {
    let home = Home::open().await;
    home.laptop.browser.run(HELD).await;
    let id = home.send().await;
    home.phone.until(&popup(&id)).await;
    home.laptop.until("waits() > 0").await;
    home.phone.browser.run("letGo()").await;
    home.until_delivered(&id).await;
    home.laptop.until(&told(&id, "acknowledged_elsewhere")).await;
    home.laptop.browser.run("goOn()").await;
    // They are shown in order, so the first one would be shown before this one.
    home.phone.browser.run("holds = true").await;
    let next = home.send().await;
    home.laptop.until(&popup(&next)).await;
    let ids = "return [...document.querySelectorAll('#seen li')].map((li) => li.dataset.id)";
    let seen = home.laptop.browser.run(ids).await;
    assert!(!seen.as_array().unwrap().contains(&json!(id)), "{seen}");
}

#[tokio::test]
async fn an_acknowledgement_leaves_a_popup_where_it_is_shown_and_a_dismissal_takes_it_away() {
    let home = Home::open().await;
    let id = home.send().await;
    for page in [&home.phone, &home.laptop] {
        page.until(&popup(&id)).await;
    }
    home.phone.browser.run("letGo()").await;
    home.until_delivered(&id).await;
    home.laptop.until(&told(&id, "acknowledged_elsewhere")).await;
    home.laptop.until(&popup(&id)).await;
    // The user closes it at the phone.
    home.phone.browser.click(&format!("#popups [data-id=\"{id}\"] button")).await;
    for page in [&home.phone, &home.laptop] {
        page.until(&format!("!{}", popup(&id))).await;
    }
    home.laptop.until(&told(&id, "dismissed_elsewhere")).await;
    assert_eq!(home.door.backend.state(&id).await["state"], "delivered");
}

#[tokio::test]
async fn what_is_recalled_while_it_is_shown_is_taken_away_from_both_and_from_the_inbox() {
    let home = Home::open().await;
    let id = home.door.backend.send_to(&home.ada, json!({"policy": "inbox"})).await;
    let listed = format!("document.querySelector('#inbox [data-id=\"{id}\"]')");
    for page in [&home.phone, &home.laptop] {
        page.until(&popup(&id)).await;
        page.until(&listed).await;
    }
    assert_eq!(home.door.backend.recall(&id).await, json!(["recalled", true]));
    for page in [&home.phone, &home.laptop] {
        page.until(&format!("!{}", popup(&id))).await;
        page.until(&format!("!{listed}")).await;
    }
}
