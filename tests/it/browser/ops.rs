//! The operator's page, used as an operator would use it.

use doorstep_tests::browser::key;
use doorstep_tests::client::Socket;
use serde_json::{Value, json};

use super::looks::{axe, check_axe};
use super::page::Page;
use crate::backends::Door;

const INSIDE: &str =
    "document.body.dataset.state === 'open' && document.querySelectorAll('#tiles li').length > 5";
const GATE: &str = "!document.querySelector('#gate').hidden";

/// A node, and its operator's page.
struct Office {
    door: Door,
    page: Page,
}

impl Office {
    async fn open() -> Self {
        Self::at(Door::open().await).await
    }

    async fn at(door: Door) -> Self {
        let page = Page::open(&format!("{}/ops", door.server.url())).await;
        Self { door, page }
    }

    async fn enter(&self) {
        self.page.browser.fill("#key", &self.door.backend.key).await;
        self.page.browser.click("#open").await;
        self.page.until(INSIDE).await;
    }

    async fn search(&self, text: &str) {
        self.page.browser.fill("#whom", text).await;
        self.page.browser.press(key::ENTER).await;
    }

    async fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector('{css}').textContent");
        self.page.browser.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// A notification for Ada that two of her devices got, and one acknowledged.
    async fn delivered(&self) -> (String, [Socket; 2]) {
        let id = self.door.backend.send_to("ada", json!({})).await;
        let mut laptop = self.door.user("ada").connect("doorstep.v1").await;
        let frame = laptop.notification().await;
        let mut phone = self.door.user("ada").connect("doorstep.v1").await;
        phone.notification().await;
        laptop.acknowledge(&frame).await;
        phone.frame().await;
        (id, [laptop, phone])
    }
}

#[tokio::test]
async fn it_shows_nothing_without_a_key_and_forgets_the_key() {
    let office = Office::open().await;
    let (page, url) = (&office.page, office.door.server.url());
    page.until(GATE).await;
    for wrong in ["dsk_wrong", "nonsense"] {
        page.browser.fill("#key", wrong).await;
        page.browser.press(key::ENTER).await;
        page.until("document.querySelector('#key-fault').textContent.includes('not accept')").await;
        page.browser.run("document.querySelector('#key-fault').textContent = ''").await;
    }
    office.enter().await;
    assert_eq!(office.text("#pulse-text").await, "live");
    page.browser.reload().await;
    page.until(INSIDE).await;
    let stored = "return [Object.keys(sessionStorage), Object.keys(localStorage), document.cookie, location.href]";
    let expected = json!([["doorstep.ops.key"], [], "", format!("{url}/ops")]);
    assert_eq!(page.browser.run(stored).await, expected);

    page.browser.new_tab().await;
    page.browser.goto(&format!("{url}/ops")).await;
    page.until(GATE).await;
    office.enter().await;
    office.search("ada").await;
    page.until("!document.querySelector('#found').hidden").await;
    page.browser.click("#lock").await;
    page.until(GATE).await;
    let left = "return [Object.keys(sessionStorage).length, document.querySelectorAll('#tiles li').length, \
         document.querySelector('#person').textContent, document.querySelector('#key').value]";
    assert_eq!(page.browser.run(left).await, json!([0, 0, "", ""]));
    // Everything comes from the node, and the key is in no address.
    for requested in page.browser.requested().await {
        let own = requested.starts_with(url) || !requested.starts_with("http");
        assert!(own && !requested.contains("dsk_"), "{requested}");
    }
}

#[tokio::test]
async fn an_operator_reads_whether_it_arrived_recalls_and_disconnects() {
    let office = Office::open().await;
    let page = &office.page;
    let (delivered, [mut laptop, _phone]) = office.delivered().await;
    let waits = office.door.backend.send_to("bob", json!({"kind": "news"})).await;
    office.enter().await;
    page.until("document.querySelector('[data-tile=connections] .value').textContent === '2'")
        .await;
    page.until("document.querySelector('[data-kind=news] .amount').textContent === '1'").await;

    office.search(&delivered).await;
    page.until("document.querySelectorAll('.steps li').length === 6").await;
    let story = office.text("#stories").await;
    for part in ["Delivered", "received from key shop", "acknowledged by", "retracted on"] {
        assert!(story.contains(part), "{part} is not in {story}");
    }
    office.search("bob").await;
    page.until("document.querySelector('.story')?.dataset.state === 'waiting'").await;
    assert_eq!(office.text("#person .who-is").await, "bob");
    // Nothing happens without a confirmation.
    for (action, choice) in [("Recall", key::ENTER), ("Recall", key::ESCAPE)] {
        page.browser.click(".story button").await;
        page.until("document.querySelector('#sure').open").await;
        assert!(office.text("#sure-title").await.starts_with(action));
        page.browser.press(choice).await;
        page.until("!document.querySelector('#sure').open").await;
    }
    assert_eq!(office.door.backend.state(&waits).await["state"], "waiting");
    page.browser.click(".story button").await;
    page.browser.click("#sure-yes").await;
    page.until("document.querySelector('.story')?.dataset.state === 'recalled'").await;
    assert_eq!(office.door.backend.state(&waits).await["state"], "recalled");

    office.search("ada").await;
    page.until("document.querySelector('[data-action=disconnect]')").await;
    page.browser.click("[data-action=disconnect]").await;
    page.until("document.querySelector('#sure-text').textContent.includes('All 2 connections')")
        .await;
    page.browser.click("#sure-yes").await;
    assert_eq!(laptop.close_code().await, 4403);
    page.until("document.querySelector('#person').textContent.includes('not connected')").await;

    office.search("0192f0c1-2345-7abc-8def-0123456789ab").await;
    page.until("document.querySelector('#search-fault').textContent.includes('remembered')").await;
    // Looking for an id that is not remembered is answered with 404, which Chromium reports.
    let errors = page.browser.console_errors().await;
    assert!(
        errors.iter().all(|error| error.contains("/story") && error.contains("404")),
        "{errors:?}"
    );
}

#[tokio::test]
async fn markup_in_a_name_is_only_text() {
    let office = Office::open().await;
    let evil = "<img src=x onerror=alert(1)>";
    office.door.backend.send_to(evil, json!({})).await;
    office.enter().await;
    office.search(evil).await;
    office.page.until("document.querySelectorAll('.story').length === 1").await;
    assert_eq!(office.text("#person .who-is").await, evil);
    let images = "return document.querySelectorAll('main img').length";
    assert_eq!(office.page.browser.run(images).await, 0);
}

#[tokio::test]
async fn a_node_that_goes_away_and_a_key_that_is_revoked_are_said() {
    let office = Office::open().await;
    office.enter().await;
    office.door.server.terminate();
    office
        .page
        .until("document.querySelector('#pulse-text').textContent.startsWith('no answer since')")
        .await;
    let faded = "return document.body.classList.contains('stale')";
    assert_eq!(office.page.browser.run(faded).await, true);

    drop(office);

    let office = Office::open().await;
    office.enter().await;
    // As if the key had been taken off the ring, and the page asked again.
    office.page.browser.run("sessionStorage.setItem('doorstep.ops.key', 'dsk_revoked')").await;
    office.page.browser.reload().await;
    office.page.until(GATE).await;
    office
        .page
        .until("document.querySelector('#key-fault').textContent.includes('not any more')")
        .await;
}

#[tokio::test]
async fn it_is_used_with_the_keyboard_alone() {
    let office = Office::open().await;
    let page = &office.page;
    let (_, _sockets) = office.delivered().await;
    page.until("document.activeElement.id === 'key' || document.querySelector('#key')").await;
    page.browser.run("document.querySelector('#key').focus()").await;
    page.browser.press(&format!("{}{}", office.door.backend.key, key::ENTER)).await;
    page.until(INSIDE).await;
    page.until("document.activeElement.id === 'whom'").await;
    page.browser.press(&format!("ada{}", key::ENTER)).await;
    page.until("document.querySelectorAll('.story').length === 1").await;
    // The button, the actions, the story, its link, its recall.
    let mut passed = Vec::new();
    for _ in 0..6 {
        page.browser.press(key::TAB).await;
        let script = "const e = document.activeElement; return e.dataset.action?.split('-')[0] ?? e.tagName.toLowerCase()";
        passed.push(page.browser.run(script).await.as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(passed, ["button", "disconnect", "summary", "a", "recall", "div"]);
    page.browser.run("document.querySelector('[data-action=disconnect]').focus()").await;
    page.browser.press(key::ENTER).await;
    page.until("document.querySelector('#sure').open").await;
    // The safe choice has the focus first.
    let focused = "return document.activeElement.value";
    assert_eq!(page.browser.run(focused).await, "no");
    page.browser.press(key::TAB).await;
    assert_eq!(page.browser.run(focused).await, "yes");
    page.browser.press(key::ENTER).await;
    page.until("document.querySelector('#person').textContent.includes('not connected')").await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_and_nothing_is_cut_off() {
    let (office, axe) = (Office::open().await, axe());
    let page = &office.page;
    let (_, _sockets) = office.delivered().await;
    for kind in ["order.shipped", "news", "offer"] {
        office.door.backend.send_to("bob", json!({ "kind": kind })).await;
    }
    let both = async |when: &str| {
        for scheme in ["light", "dark"] {
            page.prefers(scheme, "no-preference").await;
            check_axe(page, &axe, &format!("{when}, {scheme}")).await;
            page.browser.screenshot(&format!("ops-{when}-{scheme}")).await;
        }
    };
    both("locked").await;
    office.enter().await;
    let points =
        "document.querySelector('#tiles polyline').getAttribute('points').split(' ').length >= 6";
    page.until(points).await;
    both("open").await;
    office.search("ada").await;
    page.until("document.querySelectorAll('.steps li').length === 6").await;
    both("story").await;
    page.browser.click("[data-action=disconnect]").await;
    page.until("document.querySelector('#sure').open").await;
    both("sure").await;
    page.browser.press(key::ESCAPE).await;
    for phone in [390, 320] {
        page.on_a_phone(phone).await;
        let wide = page.browser.run("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64() <= Some(phone.into()), "{wide} on {phone}");
        both(&format!("phone-{phone}")).await;
    }
    page.prefers("light", "reduce").await;
    assert_eq!(page.browser.run("return document.getAnimations().length").await, 0);
    let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    page.browser.devtools("Emulation.setEmulatedMedia", forced).await;
    let drawn = "const style = (css) => getComputedStyle(document.querySelector(css)); \
         return [style('.state').borderStyle, style('.tile').borderStyle, style('#tiles polyline').stroke !== 'none']";
    assert_eq!(
        page.browser.run(drawn).await,
        Value::from(vec![json!("solid"), json!("solid"), json!(true)])
    );
    page.browser.screenshot("ops-forced-colours").await;
}
