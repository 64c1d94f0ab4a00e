//! The whole page can be used without a pointer.

use doorstep_tests::browser::key;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;

use super::page::{PASSWORD, Page};

/// More than the number of focusable elements on the page.
const MAX_STOPS: usize = 100;

impl Page {
    /// Presses Tab until this element has the focus. The focus must be visible at each stop.
    async fn tab_to(&self, css: &str) {
        for _ in 0..MAX_STOPS {
            self.browser.press(key::TAB).await;
            let script = format!(
                "const now = document.activeElement, shown = (e) => e && getComputedStyle(e).outlineStyle !== 'none'; \
                 return [now.matches('{css}'), now === document.body || shown(now) || shown(now.nextElementSibling), now.outerHTML]"
            );
            let answer = self.browser.run(&script).await;
            assert_eq!(answer[1], true, "the focus is not visible: {}", answer[2]);
            if answer[0] == true {
                return;
            }
        }
        panic!("the Tab key does not lead to {css}");
    }

    async fn focused(&self) -> String {
        let script = "return document.activeElement.id";
        self.browser.run(script).await.as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_whole_page_can_be_used_with_keys_alone() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    let press = async |keys: &str| page.browser.press(keys).await;

    // The first stop is the link that skips all others.
    page.tab_to(".skip").await;
    let on_screen = "return document.activeElement.getBoundingClientRect().left >= 0";
    assert_eq!(page.browser.run(on_screen).await, true);
    press(key::ENTER).await;
    assert_eq!(page.focused().await, "story");

    // The arrow keys switch between signing in and registering, as in every radio group.
    page.tab_to("[name=way]").await;
    press(key::RIGHT).await;
    page.until("document.querySelector('#go').textContent === 'Sign in and come late'").await;
    press(key::RIGHT).await;
    page.until("document.querySelector('#go').textContent === 'Register and come late'").await;
    // The old value is selected, so typing replaces it.
    page.tab_to("#username").await;
    press("ada").await;
    page.tab_to("#password").await;
    press(PASSWORD).await;
    page.tab_to("#late").await;
    press(key::RIGHT).await;
    page.until("document.querySelector('#late-shown').textContent === '3.5'").await;
    press(key::HOME).await;
    page.tab_to("[name=lane][value=poll]").await;
    press(key::SPACE).await;
    page.tab_to("#go").await;
    press(key::ENTER).await;
    page.until("document.querySelector('#story').dataset.state === 'done'").await;
    assert_eq!(page.lane("poll").await, "absent");
    assert_eq!(page.lane("inbox").await, "delivered");
    page.until("document.querySelector('#who-name').textContent === 'ada'").await;
    page.until("document.activeElement.id === 'go'").await;

    page.until("document.querySelectorAll('#symbol option').length > 0").await;
    page.tab_to("#quantity").await;
    press("0.1").await;
    press(key::ENTER).await;
    page.until("document.querySelector('#positions [data-status=\"open\"]')").await;
    page.tab_to("#positions button").await;
    press(key::ENTER).await;
    page.until("document.querySelector('#positions [data-status=\"closed\"]')").await;

    page.until("document.querySelectorAll('#inbox .unread').length === 1").await;
    page.tab_to("#inbox button").await;
    // A notification that arrives does not move the focus.
    page.send("inbox", "another").await;
    page.until("document.querySelectorAll('#inbox .unread').length === 2").await;
    press(key::ENTER).await;
    page.until("document.querySelectorAll('#inbox .unread').length === 1").await;
    page.until("document.querySelector('#inbox .unread').textContent.includes('another')").await;

    // A popup stays while it contains the focus.
    page.tab_to("#popups button").await;
    let held = "return document.activeElement.closest('.popup').dataset.id";
    let held = page.browser.run(held).await;
    press(key::ENTER).await;
    let gone = format!("!document.querySelector('.popup[data-id={held}]')");
    page.until(&gone).await;

    page.tab_to("#sign-out").await;
    press(key::ENTER).await;
    page.until("document.querySelector('#who').hidden").await;
    assert_eq!(page.focused().await, "username");
}

#[tokio::test]
async fn a_screen_reader_is_told_what_happens() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    // Live regions must exist before they get text, or screen readers stay silent.
    let script = "return ['popups', 'link', 'verdict', 'problem', 'order-problem'].map((id) => { \
         const e = document.getElementById(id); return e.getAttribute('aria-live') ?? e.getAttribute('role'); })";
    let expected = json!(["polite", "status", "status", "alert", "alert"]);
    assert_eq!(page.browser.run(script).await, expected);
    page.begin("a", 0).await;
    // The browser's own message about a short value names the field; the server's message is linked to it.
    page.browser.run("document.querySelector('#door').noValidate = true").await;
    page.browser.click("#go").await;
    page.until("document.querySelector('#username-fault').textContent !== ''").await;
    let tied = "const e = document.querySelector('#username'); \
         return [e.getAttribute('aria-invalid'), e.getAttribute('aria-describedby')]";
    assert_eq!(page.browser.run(tied).await, json!(["true", "username-fault"]));
    page.register_late("ada", 0).await;
    page.until("document.querySelector('#popups').textContent.includes('Welcome, ada!')").await;
    page.until("document.querySelector('#verdict').textContent.includes('reached you')").await;
    // The chart is a picture; the list after it has the same content.
    page.until("document.querySelector('#chart').getAttribute('role') === 'img'").await;
    page.until("document.querySelector('#log').textContent.includes('nobody was there')").await;
}
