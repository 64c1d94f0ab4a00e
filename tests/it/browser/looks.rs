//! How the page looks: in different colour schemes and sizes, and to assistive technology. The pictures in the
//! README are taken here.

use doorstep_tests::browser::target_dir;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};

use super::page::Page;

impl Page {
    /// Emulates the preferences of a person's system.
    pub(super) async fn prefers(&self, scheme: &str, motion: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": motion },
        ]);
        self.browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub(super) async fn on_a_phone(&self, width: u32) {
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
    let axe = axe();
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

#[tokio::test]
async fn before_anything_is_typed_the_race_plays_by_itself() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    let lane = |name: &str, result: &str| {
        format!("document.querySelector('[data-lane={name}]')?.dataset.result === '{result}'")
    };
    // The first example: the immediate popup is lost at once, and the others wait for the client.
    page.until(&lane("immediate", "lost")).await;
    page.until(&lane("wake", "delivered")).await;
    // The second: the client comes after the TTL.
    page.until(&lane("promote", "promoted")).await;
    page.until("!document.querySelector('#lens').hidden").await;
    // It moves for longer than five seconds, so it can be stopped, and nothing is read out again and again.
    page.browser.click("#pause").await;
    page.until("document.querySelector('#pause').textContent === 'Play'").await;
    page.until(&lane("client", "done")).await;
    let quiet = "return [document.querySelector('#verdict').textContent, document.querySelector('#example').closest('[aria-live], [role=status]')]";
    assert_eq!(page.browser.run(quiet).await, json!(["", null]));
    page.browser.click("#pause").await;
    page.until("document.querySelector('#pause').textContent === 'Pause'").await;
    page.browser.screenshot("first-page").await;
    // Whoever wants no motion gets the end of an example, which stands still.
    page.prefers("dark", "reduce").await;
    page.browser.reload().await;
    page.until(&lane("wake", "delivered")).await;
    let still = "return [document.querySelector('#pause').hidden, document.querySelector('[data-lane=client]').dataset.result]";
    assert_eq!(page.browser.run(still).await, json!([true, "done"]));
    page.browser.screenshot("first-page-still-dark").await;
    page.register_late("ada", 1).await;
    let mine = "return [document.querySelector('#example').hidden, document.querySelector('#lens').hidden, \
         document.querySelector('#story-title').textContent]";
    assert_eq!(page.browser.run(mine).await, json!([true, false, "What happened"]));
}

#[tokio::test]
async fn on_a_phone_popups_wait_for_the_verdict() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.on_a_phone(390).await;
    // Every moment of the story is looked at, in the page itself.
    let watch = "window.covered = 0; new MutationObserver(() => { \
         const popups = document.querySelector('#popups'), busy = !['idle', 'done'].includes(document.querySelector('#story').dataset.state); \
         if (popups.children.length && busy && getComputedStyle(popups).visibility !== 'hidden') window.covered += 1; \
         if (popups.children.length && busy) window.waited = true; \
         }).observe(document.body, { subtree: true, childList: true, attributes: true })";
    page.browser.run(watch).await;
    page.register_late("ada", 1).await;
    page.until("getComputedStyle(document.querySelector('#popups')).visibility === 'visible'")
        .await;
    page.until("document.querySelector('#popups').children.length > 0").await;
    assert_eq!(page.browser.run("return [window.covered, window.waited]").await, json!([0, true]));
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

/// The script that looks for what keeps people from using a page.
pub(super) fn axe() -> String {
    let axe = target_dir().join("npm/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&axe)
        .unwrap_or_else(|e| panic!("no {}: {e}; tests/run.sh installs it", axe.display()))
}

/// Fails on violations that axe calls serious or critical; prints the others.
pub(super) async fn check_axe(page: &Page, axe: &str, when: &str) {
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
