//! How the page looks: in different colour schemes and sizes, and to assistive technology. The pictures in the
//! README are taken here.

use doorstep_tests::browser::target_dir;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};

use super::page::Page;

impl Page {
    /// Emulates the preferences of a person's system.
    async fn prefers(&self, scheme: &str, motion: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": motion },
        ]);
        self.browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn on_a_phone(&self, width: u32) {
        let phone =
            json!({ "width": width, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        self.browser.devtools("Emulation.setDeviceMetricsOverride", phone).await;
        let touch = json!({ "enabled": true });
        self.browser.devtools("Emulation.setTouchEmulationEnabled", touch).await;
    }

    async fn scroll_to(&self, css: &str) {
        let script =
            format!("document.querySelector('{css}').scrollIntoView({{ behavior: 'instant' }})");
        self.browser.run(&script).await;
    }
}

#[tokio::test]
async fn axe_finds_nothing_serious_in_any_state_or_colour() {
    let axe = target_dir().join("npm/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|e| panic!("no {}: {e}; tests/run.sh installs it", axe.display()));
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    let both = async |when: &str| {
        for scheme in ["light", "dark"] {
            page.prefers(scheme, "no-preference").await;
            check_axe(&page, &axe, &format!("{when}, {scheme}")).await;
        }
    };
    page.until("document.querySelectorAll('#instruments li').length > 0").await;
    both("at the door").await;
    page.begin("ada", 3).await;
    page.until("document.querySelector('#story').dataset.state === 'busy'").await;
    both("while the client is on its way").await;
    page.until("document.querySelector('#story').dataset.state === 'done'").await;
    both("with the story told").await;
    page.browser.fill("#quantity", "nothing").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#quantity-fault').textContent !== ''").await;
    page.browser.fill("#quantity", "0.1").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#positions [data-status=\"open\"]')").await;
    page.browser.fill("#quantity", "nothing").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#quantity-fault').textContent !== ''").await;
    both("at the desk, with a fault").await;
    page.on_a_phone(390).await;
    both("on a phone").await;
}

#[tokio::test]
async fn it_keeps_to_the_colours_and_the_calm_that_somebody_prefers() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    let paper = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)";
    page.prefers("light", "no-preference").await;
    assert!(page.browser.run(paper).await.as_u64().unwrap() > 600);
    page.register_late("ada", 0).await;
    let moves = "return getComputedStyle(document.querySelector('.popup')).animationName";
    assert_eq!(page.browser.run(moves).await, "knock");
    page.prefers("dark", "reduce").await;
    assert!(page.browser.run(paper).await.as_u64().unwrap() < 150);
    assert_eq!(page.browser.run(moves).await, "none");
    page.send("wake", "calmly").await;
    page.until("document.querySelector('#popups').textContent.includes('calmly')").await;
    assert_eq!(page.browser.run("return document.getAnimations().length").await, 0);
}

#[tokio::test]
async fn a_phone_shows_all_of_it_without_scrolling_sideways() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    // Not `innerWidth`: wide content makes the layout viewport of a phone wider, and everything smaller.
    let fits = async |when: &str, phone: u32| {
        page.on_a_phone(phone).await;
        let wide = page.browser.run("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64() <= Some(phone.into()), "{when}: {wide} on {phone}");
    };
    for phone in [390, 320] {
        fits("at the door", phone).await;
    }
    page.on_a_phone(390).await;
    page.browser.screenshot("phone-door").await;
    page.begin("somebody-with-a-name-that-is-long", 1).await;
    // Below the form, users would not see the story.
    page.until("document.querySelector('#story').getBoundingClientRect().top < innerHeight / 2")
        .await;
    page.until("document.querySelector('#story').dataset.state === 'done'").await;
    page.browser.screenshot("phone-story").await;
    let popup = "const { left, right, bottom } = document.querySelector('#popups').lastChild.getBoundingClientRect(); \
         return left >= 0 && right <= innerWidth && bottom <= innerHeight";
    assert_eq!(page.browser.run(popup).await, true);
    for phone in [390, 320] {
        fits("signed in", phone).await;
        page.send("wake", "Knock, knock").await;
        page.until("document.querySelector('#popups').lastChild?.textContent.includes('Knock')")
            .await;
        // When the popups arrive, nothing covers a lane, and no word is cut off.
        page.scroll_to("#story").await;
        let seen = "const box = (e) => e.getBoundingClientRect(); \
             const note = (e) => box(e).left >= box(e.closest('.row')).left && e.scrollWidth <= e.clientWidth + 1; \
             return [box(document.querySelector('#chart')).bottom <= box(document.querySelector('#popups')).top, \
                     [...document.querySelectorAll('.note')].every(note)]";
        assert_eq!(page.browser.run(seen).await, json!([true, true]), "{phone}");
    }
    page.on_a_phone(390).await;
    page.prefers("dark", "no-preference").await;
    page.until("document.querySelector('#popups').children.length === 0").await;
    page.scroll_to("#desk").await;
    page.browser.screenshot("phone-desk-dark").await;
}

#[tokio::test]
async fn with_the_system_s_colours_alone_lanes_and_choices_are_still_seen() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    page.browser.devtools("Emulation.setEmulatedMedia", forced).await;
    let choices = "const colour = (e) => getComputedStyle(e).backgroundColor; \
         const [chosen, other] = document.querySelectorAll('[name=way] + span'); return colour(chosen) !== colour(other)";
    assert_eq!(page.browser.run(choices).await, true);
    page.register_late("ada", 1).await;
    let lanes = "const style = (css) => getComputedStyle(document.querySelector(css)); \
         const ground = getComputedStyle(document.querySelector('#story')).backgroundColor; \
         const drawn = (css) => style(css).backgroundColor !== ground; \
         return [style('.lane.wake .track').borderStyle, drawn('.lane.wake .span'), drawn('.lane.wake .mark'), \
                 style('.lane.immediate .mark').rotate !== style('.lane.wake .mark').rotate]";
    assert_eq!(page.browser.run(lanes).await, json!(["solid", true, true, true]));
    page.browser.screenshot("forced-colours").await;
}

/// Takes the picture of the desk, once its charts have some history.
#[tokio::test]
async fn the_desk_draws_prices_as_they_come() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelectorAll('#symbol option').length > 3").await;
    for (symbol, side, quantity) in
        [("ACME", "long", "1.5"), ("EUR-USD", "short", "200"), ("ETH-USD", "long", "0.05")]
    {
        let choose = format!(
            "document.querySelector('#symbol').value = '{symbol}'; \
             document.querySelector('#order [value={side}]').click()"
        );
        page.browser.run(&choose).await;
        page.browser.fill("#quantity", quantity).await;
        page.browser.click("#order button").await;
        let row = format!(
            "[...document.querySelectorAll('#positions li')].some((li) => li.textContent.includes('{symbol} {side}'))"
        );
        page.until(&row).await;
    }
    let points =
        "document.querySelector('#instruments polyline').getAttribute('points').split(' ').length";
    page.until(&format!("{points} >= 15")).await;
    let closes = "document.querySelector('#positions [data-status=\"open\"] button').click()";
    page.browser.run(closes).await;
    page.until("document.querySelector('#positions [data-status=\"closed\"]')").await;
    page.until("document.querySelectorAll('#ledger li').length >= 5").await;
    page.until("document.querySelector('#popups').children.length === 0").await;
    page.scroll_to("#desk").await;
    page.browser.screenshot("desk").await;
    page.prefers("dark", "no-preference").await;
    page.browser.screenshot("desk-dark").await;
}

/// Fails on violations that axe calls serious or critical; prints the others.
async fn check_axe(page: &Page, axe: &str, when: &str) {
    // During a colour transition the contrast cannot be measured.
    page.until("document.getAnimations().length === 0").await;
    let script = format!(
        "{axe}; const done = arguments[arguments.length - 1]; \
         axe.run().then((found) => done(found.violations.map(({{ id, impact, nodes }}) => \
         ({{ id, impact, nodes: nodes.map((node) => node.html + ' ' + node.failureSummary) }}))), \
         (error) => done([{{ impact: 'critical', id: String(error) }}]));"
    );
    let violations = page.browser.run_async(&script).await;
    let all: Vec<&Value> = violations.as_array().unwrap().iter().collect();
    let serious: Vec<_> = all
        .iter()
        .filter(|violation| violation["impact"] == "serious" || violation["impact"] == "critical")
        .collect();
    eprintln!("{when}: {} violations, {} serious", all.len(), serious.len());
    assert!(serious.is_empty(), "{when}: {serious:#?}");
}
