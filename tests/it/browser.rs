//! The page in a real browser, used as a person would use it.

mod burst;
mod desk;
mod keyboard;
mod looks;
mod ops;
mod page;
mod safety;
mod tabs;
mod unseen;
mod windows;

use std::fmt::Write as _;

use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;

use page::Page;

/// Whether the popup that was sent while the page was offline has been seen.
const SEEN_AWAY: &str = "[...document.querySelectorAll('#seen li')].some((li) => li.textContent.includes('while you were away'))";

#[tokio::test]
async fn a_late_user_sees_each_popup_once_except_the_immediate_one() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 3).await;
    for lane in ["own", "poll", "wake", "promote", "inbox"] {
        assert_eq!(page.lane(lane).await, "delivered", "{lane}");
    }
    assert_eq!(page.lane("immediate").await, "lost");
    let kinds =
        ["demo.inbox", "demo.poll", "demo.promote", "demo.wake", "reward.granted", "welcome"];
    assert_eq!(page.seen().await, kinds, "each once");
    page.until("document.getElementById('balance').textContent === '1,000.00'").await;
    page.browser.run("scrollTo(0, 0)").await;
    page.browser.screenshot("late-3s").await;
    assert_eq!(page.browser.console_errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn after_the_ttl_a_user_finds_the_rest_in_the_inbox() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 10).await;
    let lanes = ["own", "immediate", "poll", "wake", "promote", "inbox"];
    let ends = ["delivered", "lost", "lost", "lost", "promoted", "delivered"];
    for (lane, end) in lanes.into_iter().zip(ends) {
        assert_eq!(page.lane(lane).await, end, "{lane}");
    }
    page.browser.run("scrollTo(0, 0)").await;
    page.browser.screenshot("late-10s").await;
}

#[tokio::test]
async fn the_policy_immediate_loses_the_popup_and_never_the_money() {
    let database = SqliteFile::new();
    let call = Doorstep::serve(&database.url())
        .env("DOORSTEP_DELIVERY__POLICY", "immediate")
        .env("DOORSTEP_DEMO__ENABLED", "false");
    let server = call.start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 3).await;
    assert_eq!(page.lane("own").await, "lost");
    assert_eq!(page.seen().await, Vec::<String>::new());
    page.until("document.getElementById('balance').textContent === '1,000.00'").await;
    let hidden = page.browser.run("return document.getElementById('lanes-chosen').hidden").await;
    assert_eq!(hidden, true, "without the demonstration there is no choice");
    let said = "const e = document.getElementById('demo-off'); return !e.hidden && e.textContent.includes('demo.enabled')";
    assert_eq!(page.browser.run(said).await, true, "and the page says why");
}

/// Reloads the tab after the frame has arrived and before it is acknowledged. Depending on `freeze` the popup has
/// been shown or not.
async fn reload_between_frame_and_ack(freeze: &str, arrived: &str, seen_after: &[&str]) {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelectorAll('#seen li').length >= 2").await;
    page.browser.run("WebSocket.prototype.send = () => {}").await;
    page.browser.run(freeze).await;
    page.send("wake", "between").await;
    page.until(arrived).await;
    page.browser.reload().await;
    page.until_ended("demo.wake", "delivered").await;
    page.until("document.querySelector('#link').dataset.state === 'open'").await;
    page.until(match seen_after {
        [] => "document.querySelector('#seen-elsewhere').dataset.count === '1'",
        _ => "document.querySelectorAll('#seen li').length > 0",
    })
    .await;
    assert_eq!(page.seen().await, seen_after);
}

#[tokio::test]
async fn a_popup_seen_before_a_reload_is_not_shown_again() {
    let arrived =
        "[...document.querySelectorAll('#seen li')].some((li) => li.dataset.kind === 'demo.wake')";
    reload_between_frame_and_ack("", arrived, &[]).await;
}

#[tokio::test]
async fn a_popup_not_seen_before_a_reload_is_shown_after_it() {
    let freeze =
        "navigator.locks.request = () => { window.held = true; return new Promise(() => {}); }";
    reload_between_frame_and_ack(freeze, "window.held", &["demo.wake"]).await;
}

#[tokio::test]
async fn two_tabs_show_a_popup_once() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    let first = page.browser.new_tab().await;
    page.browser.goto(server.url()).await;
    page.until("document.querySelector('#link').dataset.state === 'open'").await;
    let second = page.browser.tab().await;
    page.send("wake", "for both").await;
    let here = "[...document.querySelectorAll('#seen li')].filter((li) => li.innerText.includes('for both')).length";
    let mut shown = 0;
    for tab in [&first, &second] {
        page.browser.switch(tab).await;
        // It was shown here, or this tab knows that it was shown in the other one.
        let elsewhere = "Number(document.querySelector('#seen-elsewhere').dataset.count) > 0";
        page.until(&format!("{here} > 0 || {elsewhere}")).await;
        shown += page.browser.run(&format!("return {here}")).await.as_u64().unwrap();
    }
    assert_eq!(shown, 1);
}

#[tokio::test]
async fn a_page_whose_server_restarts_comes_back_and_gets_what_waited() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    // Disconnected, so that the next notification has to wait.
    page.browser.offline(true).await;
    page.until("document.querySelector('#link').dataset.state === 'sleeping'").await;
    page.send("inbox", "while you were away").await;
    server.terminate();
    server.wait().await;
    // Back online it finds no server, and retries by itself until there is one.
    page.browser.offline(false).await;
    page.until("document.querySelector('#link').dataset.state === 'waiting'").await;
    let server = Doorstep::new(&["serve", "--listen", &address])
        .env("DATABASE_URL", &database.url())
        .start()
        .await;
    page.until(SEEN_AWAY).await;
    // The server also restarts while the page is connected.
    server.terminate();
    server.wait().await;
    page.until("document.querySelector('#link').dataset.state === 'waiting'").await;
    let server = Doorstep::new(&["serve", "--listen", &address])
        .env("DATABASE_URL", &database.url())
        .start()
        .await;
    page.until("document.querySelector('#link').dataset.state === 'open'").await;
    drop(server);
}

#[tokio::test]
async fn offline_it_sleeps_and_wakes_with_what_waited() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.browser.offline(true).await;
    page.until("document.querySelector('#link').dataset.state === 'sleeping'").await;
    page.send("inbox", "while you were away").await;
    page.browser.offline(false).await;
    page.until(SEEN_AWAY).await;
    page.until("document.querySelector('#link').dataset.state === 'open'").await;
}

#[tokio::test]
async fn a_stop_loss_that_fires_while_the_tab_is_closed_is_told_on_return() {
    let mut prices = "symbol,time,price\nSTILL,2026-01-01T00:00:00Z,100\n".to_owned();
    for tick in 0..1200 {
        let price = if tick % 2 == 0 { 100 } else { 80 };
        let (minute, second, millis) = (tick / 240, tick / 4 % 60, tick % 4 * 250);
        writeln!(prices, "SAW,2026-01-01T00:{minute:02}:{second:02}.{millis:03}Z,{price}").unwrap();
    }
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url())
        .env("DOORSTEP_MARKET__SOURCE", "replay")
        .env("DOORSTEP_MARKET__FILE", "prices.csv")
        .file("prices.csv", &prices)
        .start()
        .await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelector('#balance').textContent === '1,000.00'").await;
    page.until("document.querySelectorAll('#symbol option').length === 2").await;
    page.browser.run("document.querySelector('#symbol').value = 'STILL'").await;
    page.browser.fill("#quantity", "2").await;
    page.browser.fill("#stop_loss", "120").await;
    page.browser.run("document.querySelector('#desk').scrollIntoView()").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#stop_loss-fault').textContent !== ''").await;
    page.browser.fill("#stop_loss", "90").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#positions [data-status=\"open\"]')").await;
    page.until("document.querySelector('#balance').textContent === '800.00'").await;

    let ada = page.user().await;
    page.browser.goto("about:blank").await;
    // The stop-loss has to be below the price, which is true every other quarter of a second.
    let order = json!({ "symbol": "SAW", "side": "long", "quantity": "1", "stop_loss": "90" });
    while ada.post("/v1/positions", &order).await.0 != 201 {}
    while ada.get("/v1/positions?status=closed").await.1["positions"][0].is_null() {}
    page.browser.goto(server.url()).await;
    page.until("document.querySelector('#seen [data-kind=\"position.closed\"]')").await;
    let said = "document.querySelector('#seen [data-kind=\"position.closed\"]').innerText";
    page.until(&format!("{said}.includes('SAW long closed')")).await;
    page.until("document.querySelector('#positions [data-status=\"closed\"]')").await;
    // It stays in the inbox until it is read.
    page.until("document.querySelector('#inbox .unread[data-kind=\"position.closed\"]')").await;
    page.until("document.querySelector('#unread').textContent === '2 unread'").await;
    page.browser.click("#read-all").await;
    page.until("document.querySelector('#inbox .read[data-kind=\"position.closed\"]')").await;
    page.until("document.querySelector('#unread').hidden").await;
}

#[tokio::test]
async fn a_session_that_expires_leads_back_to_sign_in_and_loses_nothing() {
    let database = SqliteFile::new();
    let call = Doorstep::serve(&database.url()).env("DOORSTEP_SESSIONS__TTL", "10s");
    let server = call.start().await;
    let page = Page::open(server.url()).await;
    page.begin("ada", 0).await;
    page.until("!document.querySelector('#who').hidden").await;
    page.until("document.querySelector('#who').hidden").await;
    page.until("document.querySelector('#problem').textContent.includes('has ended')").await;
    page.sign_in_and_send("ada", "inbox", "while you were away").await;
    page.browser.fill("#password", page::PASSWORD).await;
    page.browser.click("#go").await;
    page.until(SEEN_AWAY).await;
}
