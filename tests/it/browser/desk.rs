//! The trading desk and the delivery story, while something happens in another tab or client.

use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};

use super::page::Page;

const OPEN: &str = "document.querySelectorAll('#positions [data-status=\"open\"]').length";

/// Opens a position from outside the browser.
async fn open_elsewhere(page: &Page) -> String {
    let order = json!({ "symbol": "EUR-USD", "side": "long", "quantity": "1" });
    let (status, position) = page.user().await.post("/v1/positions", &order).await;
    assert_eq!(status, 201, "{position}");
    position["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_reconnect_shows_what_was_opened_and_closed_elsewhere() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelectorAll('#symbol option').length > 0").await;
    let first = open_elsewhere(&page).await;
    for step in ["opened", "closed"] {
        page.browser.offline(true).await;
        page.until("document.querySelector('#link').dataset.state === 'sleeping'").await;
        if step == "closed" {
            // Another client acknowledges the popup first, so no popup brings the news to this page.
            let path = format!("/v1/positions/{first}/close");
            assert_eq!(page.user().await.post(&path, &Value::Null).await.0, 200);
        }
        page.browser.offline(false).await;
        page.until("document.querySelector('#link').dataset.state === 'open'").await;
        page.until(&format!("{OPEN} === {}", u8::from(step == "opened"))).await;
    }
    // Without an open position there is no close button.
    page.until("document.querySelector('#positions [data-status=\"closed\"]')").await;
    assert_eq!(
        page.browser.run("return document.querySelector('#positions button')").await,
        Value::Null
    );
}

#[tokio::test]
async fn a_position_opened_in_one_tab_shows_in_the_other() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    let first = page.browser.new_tab().await;
    page.browser.goto(server.url()).await;
    page.until("document.querySelectorAll('#symbol option').length > 0").await;
    page.browser.fill("#quantity", "0.1").await;
    page.browser.click("#order button").await;
    page.until(&format!("{OPEN} === 1")).await;
    page.browser.switch(&first).await;
    page.until(&format!("{OPEN} === 1")).await;
}

#[tokio::test]
async fn signing_out_during_the_story_ends_it_without_an_error() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.begin("ada", 2).await;
    page.until("document.querySelector('#story').dataset.state === 'busy'").await;
    page.browser.click("#sign-out").await;
    page.until("document.querySelector('#who').hidden && !document.querySelector('#go').disabled")
        .await;
    let said = "return [document.querySelector('#problem').textContent, document.querySelector('#story').dataset.state, \
         document.querySelector('#balance').textContent, document.querySelectorAll('#positions li').length, \
         document.querySelector('#example').hidden]";
    // The example plays again.
    assert_eq!(page.browser.run(said).await, json!(["", "idle", "-", 0, false]));
    // The next story runs to its end.
    page.browser.run("document.querySelector('[value=register]').click()").await;
    page.register_late("bert", 0).await;
    assert_eq!(page.lane("wake").await, "delivered");
}

/// The demonstration is for this machine only; a proxy forwards requests from other machines.
#[tokio::test]
async fn behind_a_proxy_that_the_demonstration_is_not_for_the_rest_of_the_story_is_told() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.browser.devtools("Network.enable", json!({})).await;
    let forwarded = json!({ "headers": { "x-forwarded-for": "192.0.2.1" } });
    page.browser.devtools("Network.setExtraHTTPHeaders", forwarded).await;
    page.register_late("ada", 1).await;
    assert_eq!(page.lane("own").await, "delivered");
    assert_eq!(page.lane("wake").await, "idle");
    let said = "return [document.querySelector('#problem').textContent, document.querySelector('#lanes-chosen').hidden, \
         document.querySelector('#verdict').textContent.startsWith('Nothing was lost')]";
    page.until("document.querySelector('#lanes-chosen').hidden").await;
    assert_eq!(page.browser.run(said).await, json!(["", true, true]));
}

#[tokio::test]
async fn the_back_button_finds_the_slider_and_its_label_in_agreement() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.until("document.querySelector('#go')?.disabled === false").await;
    let slide = "const late = document.querySelector('#late'); late.value = 8.5; \
         late.dispatchEvent(new Event('input', { bubbles: true }))";
    page.browser.run(slide).await;
    page.browser.goto(&format!("{}/doorstep.js", server.url())).await;
    page.browser.run("history.back()").await;
    page.until("document.querySelector('#late')?.value === '8.5'").await;
    page.until("document.querySelector('#late-shown').textContent === '8.5'").await;
    // Firefox restores a form after the scripts have run, without an event.
    let restored = "document.querySelector('#late').value = 2.5; \
         dispatchEvent(new PageTransitionEvent('pageshow'))";
    page.browser.run(restored).await;
    page.until("document.querySelector('#late-shown').textContent === '2.5'").await;
}

#[tokio::test]
async fn a_fault_of_an_order_is_said_in_words_and_moves_nothing_else() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelectorAll('#symbol option').length > 0").await;
    page.browser.fill("#stop_loss", "99999").await;
    page.browser.click("#order button").await;
    let fault = "document.querySelector('#stop_loss-fault').textContent";
    page.until(&format!("{fault}.startsWith('Must be below the price, which is ')")).await;
    let heights = "const box = (id) => document.getElementById(id).getBoundingClientRect(); \
         return [box('stop_loss').height - box('take_profit').height, box('stop_loss').top - box('take_profit').top]";
    assert_eq!(page.browser.run(heights).await, json!([0, 0]));
}
