//! Pages that nobody sees, in a real Chromium: in the back/forward cache, and prerendered.

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use doorstep_tests::server::Doorstep;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::page::Page;
use crate::backends::{BARE, Door, token};
use crate::node::eventually;

/// A client in a page that can be kept and prerendered: the server's own page has `no-store`, and a policy against inline
/// scripts. It records whether it was kept or prerendered, and what it was shown.
const CLIENT: &str = "<!doctype html><title>Client</title><script type=module>
    import { Doorstep } from 'SERVER/doorstep.js';
    window.shown = [];
    window.prerendered = document.prerendering === true;
    addEventListener('pageshow', ({ persisted }) => { window.persisted = persisted; });
    const transport = new URLSearchParams(location.search).get('transport');
    window.door = new Doorstep({ url: 'SERVER', token: 'TOKEN', transport, baseDelay: 10 });
    door.on('order.shipped', ({ id }) => shown.push(id));
    door.connect();
    fetch('/connects', { method: 'POST', body: `${window.prerendered} ${door.state}` });
</script>";
const OTHER: &str = "<!doctype html><title>Other</title>";
/// Has a client prerendered before anybody goes there.
const BEFORE: &str = "<!doctype html><title>Before</title><script type=speculationrules>
    {\"prerender\": [{\"urls\": [\"/client?transport=TRANSPORT\"], \"eagerness\": \"immediate\"}]}
</script><a id=on href='/client?transport=TRANSPORT'>On</a>";

/// A door for pages of a site, the site, and a browser.
struct Site {
    door: Door,
    page: Page,
    origin: String,
    /// What the latest client said after its call of `connect`: whether it was being prerendered, and its state.
    connects: watch::Receiver<String>,
    serving: AbortHandle,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Site {
    async fn open(transport: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        // Nothing is pushed twice.
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .env("DOORSTEP_SERVER__ALLOWED_ORIGINS", &origin)
            .env("DOORSTEP_DELIVERY__ACK_TIMEOUT", "10m")
            .env("DOORSTEP_DELIVERY__TTL", "10m");
        let door = Door::of(call, BARE).await;
        let client = CLIENT.replace("SERVER", door.server.url()).replace("TOKEN", &token("ada"));
        let (say, connects) = watch::channel(String::new());
        let said = post(async move |said: String| drop(say.send_replace(said)));
        let routes = Router::new()
            .route("/client", get(Html(client)))
            .route("/other", get(Html(OTHER)))
            .route("/before", get(Html(BEFORE.replace("TRANSPORT", transport))))
            .route("/connects", said);
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let page = Page::open(&format!("{origin}/other")).await;
        Self { door, page, origin, connects, serving: serving.abort_handle() }
    }

    async fn is_online(&self) -> bool {
        self.door.backend.get("/v1/users/ada/presence").await.1["online"] == true
    }

    /// The client shows this one, and nothing else.
    async fn shows_only(&self, id: &str) {
        self.page.until("shown.length > 0").await;
        assert_eq!(self.page.browser.run("return shown").await, json!([id]));
        while self.door.backend.state(id).await["state"] != "delivered" {}
    }
}

#[tokio::test]
async fn a_page_in_the_back_forward_cache_takes_nothing_and_shows_it_when_it_comes_back() {
    for transport in ["websocket", "sse"] {
        let site = Site::open(transport).await;
        site.page.browser.goto(&format!("{}/client?transport={transport}", site.origin)).await;
        site.page.until("door.state === 'open'").await;
        site.page.browser.goto(&format!("{}/other", site.origin)).await;
        eventually("nobody is there", async || !site.is_online().await).await;
        let id = site.door.backend.send_to("ada", json!({})).await;
        assert_eq!(site.door.backend.state(&id).await["state"], "waiting", "{transport}");
        site.page.browser.run("history.back()").await;
        site.page.until("window.door").await;
        site.shows_only(&id).await;
        let kept = site.page.browser.run("return window.persisted").await;
        assert_eq!(kept, true, "{transport}: Chromium did not keep the page");
    }
}

#[tokio::test]
async fn a_page_that_is_prerendered_takes_nothing_before_it_is_shown() {
    for transport in ["websocket", "sse"] {
        let mut site = Site::open(transport).await;
        site.page.browser.goto(&format!("{}/before", site.origin)).await;
        let said = site.connects.wait_for(|said| !said.is_empty()).await.unwrap().clone();
        assert_eq!(
            said, "true sleeping",
            "{transport}: `false` is a page that was not prerendered"
        );
        let id = site.door.backend.send_to("ada", json!({})).await;
        assert_eq!(site.door.backend.state(&id).await["state"], "waiting", "{transport}");
        assert!(!site.is_online().await, "{transport}");
        site.page.browser.click("#on").await;
        site.page.until("window.door").await;
        site.shows_only(&id).await;
        let prerendered = site.page.browser.run("return window.prerendered").await;
        assert_eq!(prerendered, true, "{transport}: the page was loaded again");
    }
}
