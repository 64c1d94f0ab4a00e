//! The client in many tabs of one browser.

use doorstep_tests::browser::Tab;
use doorstep_tests::server::{Doorstep, SqliteFile};

use super::page::Page;

/// More tabs than the connections that a browser opens to one server over HTTP/1.1.
const TABS: usize = 7;

impl Page {
    /// Opens an event stream in this tab.
    async fn stream(&self) {
        let script = "const done = arguments[0]; import('/doorstep.js').then(({ Doorstep }) => { \
             window.shown = []; \
             const { token } = JSON.parse(localStorage.getItem('doorstep.session')); \
             window.stream = new Doorstep({ token, transport: 'sse', baseDelay: 10 }); \
             stream.on('demo.wake', ({ payload }) => shown.push(payload.text)); \
             stream.on(':state', (state) => state === 'open' && done(state)); \
             stream.connect(); })";
        assert_eq!(self.browser.run_async(script).await, "open");
    }

    /// Waits until one of these tabs shows the text. Returns how many do.
    async fn shown(&self, tabs: &[Tab], text: &str) -> usize {
        for _ in 0..1200 {
            let mut shown = 0;
            for tab in tabs {
                self.browser.switch(tab).await;
                let here = format!("return shown.includes('{text}')");
                shown += usize::from(self.browser.run(&here).await == true);
            }
            if shown > 0 {
                return shown;
            }
        }
        panic!("{text} was shown nowhere");
    }
}

#[tokio::test]
async fn seven_tabs_share_one_stream_and_leave_connections_for_everything_else() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    // A page without its own client: the test creates the only ones.
    let bare = format!("{}/doorstep.d.ts", server.url());
    page.browser.goto(&bare).await;
    page.stream().await;
    let mut tabs = vec![page.browser.tab().await];
    for _ in 1..TABS {
        page.browser.new_tab().await;
        page.browser.goto(&bare).await;
        page.stream().await;
        tabs.push(page.browser.tab().await);
    }
    // Other requests still get a response.
    let ask =
        "const done = arguments[0]; fetch('/v1/instruments').then(({ status }) => done(status))";
    assert_eq!(page.browser.run_async(ask).await, 200);
    page.send("wake", "one").await;
    assert_eq!(page.shown(&tabs, "one").await, 1);
    // The tab with the stream closes, and another tab takes over.
    page.browser.switch(&tabs[0]).await;
    page.browser.run("stream.close()").await;
    tabs.remove(0);
    for tab in &tabs {
        page.browser.switch(tab).await;
        page.until("stream.state === 'open'").await;
    }
    page.send("wake", "two").await;
    assert_eq!(page.shown(&tabs, "two").await, 1);
}
