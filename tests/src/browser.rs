//! A real Chromium with a fresh profile, driven through chromedriver (W3C `WebDriver`).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

/// How long a test waits for a page: generous, because two cores may be compiling.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the awaited condition is checked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How `WebDriver` names an element (W3C `WebDriver`, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Only one test has browsers at a time: several would only compete for the CPU.
static ONE: Semaphore = Semaphore::const_new(1);

/// A browser window; closed when dropped.
pub struct Browser {
    driver: Arc<Driver>,
    session: String,
    http: reqwest::Client,
}

/// What drives the browsers of one test; killed with the last of them.
struct Driver {
    process: Child,
    address: SocketAddr,
    _place: SemaphorePermit<'static>,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// When it is not installed; `tests/run.sh` installs it.
    pub async fn start() -> Self {
        let place = ONE.acquire().await.expect("never closed");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts; tests/run.sh installs it");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("readable").expect("chromedriver serves");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().expect("a port");
            }
        };
        // Keep reading, so that its pipe never fills up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let driver = Driver { process: driver, address, _place: place };
        Self::of(Arc::new(driver)).await
    }

    /// Another device of the same person: a browser of its own, which shares nothing with this one.
    pub async fn beside(&self) -> Self {
        Self::of(self.driver.clone()).await
    }

    async fn of(driver: Arc<Driver>) -> Self {
        let http = reqwest::Client::new();
        let mut browser = Self { driver, session: String::new(), http };
        let options = json!({ "args": ARGUMENTS });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" } });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let session = browser.command("", wanted).await;
        browser.session = format!("/{}", session["sessionId"].as_str().expect("a session"));
        browser.size(1280, 1100).await;
        browser
    }

    /// Opens a page.
    ///
    /// # Panics
    /// Like every method here, when the browser does not carry out the command.
    pub async fn goto(&self, url: &str) {
        self.command("/url", json!({ "url": url })).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.command("/refresh", json!({})).await;
    }

    /// Sets the window's size in CSS pixels.
    pub async fn size(&self, width: u32, height: u32) {
        self.command("/window/rect", json!({ "width": width, "height": height })).await;
    }

    /// Opens another tab and drives it from now on. Returns the previous one.
    pub async fn new_tab(&self) -> Tab {
        let before = self.get("/window").await;
        let tab = self.command("/window/new", json!({ "type": "tab" })).await;
        self.switch(&Tab(tab["handle"].clone())).await;
        Tab(before)
    }

    /// Drives this tab from now on.
    pub async fn switch(&self, tab: &Tab) {
        self.command("/window", json!({ "handle": tab.0 })).await;
    }

    /// The tab that is being driven.
    pub async fn tab(&self) -> Tab {
        Tab(self.get("/window").await)
    }

    /// Clicks the element that this selector finds.
    pub async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.command(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Replaces the text of a field, key by key.
    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.command(&format!("/element/{element}/clear"), json!({})).await;
        self.command(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses these keys one after the other, wherever the focus is. Keys without a character are in the
    /// [`key`] module.
    pub async fn press(&self, keys: &str) {
        let stroke = |key: char| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let strokes: Vec<Value> = keys.chars().flat_map(stroke).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.command("/actions", json!({ "actions": [keyboard] })).await;
    }

    /// Runs a script in the page. Returns what the script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs an asynchronous script. Returns what the script passes to its last argument.
    pub async fn run_async(&self, script: &str) -> Value {
        self.command("/execute/async", json!({ "script": script, "args": [] })).await
    }

    /// Waits until this expression is true in the page, across any number of reloads.
    ///
    /// # Panics
    /// When it is not true within a minute.
    pub async fn until(&self, expression: &str) {
        let begun = Instant::now();
        let script = json!({ "script": format!("return Boolean({expression})"), "args": [] });
        let mut last = None;
        while begun.elapsed() < PATIENCE {
            // A page that is still loading returns an error.
            match self.try_command("/execute/sync", script.clone()).await {
                Ok(Value::Bool(true)) => return,
                other => last = Some(other),
            }
            sleep(LOOK_EVERY).await;
        }
        let page = self.run("return document.body.innerText").await;
        panic!("not true within a minute: {expression} ({last:?}); the page says:\n{page}");
    }

    /// Disconnects the browser from the network, or connects it again.
    pub async fn offline(&self, offline: bool) {
        let bandwidth = if offline { 0 } else { -1 };
        let conditions = json!({ "network_conditions": {
            "offline": offline, "latency": 0, "throughput": bandwidth,
        }});
        self.command("/chromium/network_conditions", conditions).await;
    }

    /// Sends a command of the Chrome `DevTools` protocol.
    pub async fn devtools(&self, command: &str, params: Value) {
        self.command("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
    }

    /// Every address that pages have requested, or opened a WebSocket to, since the last call.
    pub async fn requested(&self) -> Vec<String> {
        let entries = self.command("/se/log", json!({ "type": "performance" })).await;
        let mut requested = Vec::new();
        for entry in entries.as_array().into_iter().flatten() {
            let event: Value =
                entry["message"].as_str().unwrap_or_default().parse().unwrap_or_default();
            let params = &event["message"]["params"];
            let url = match event["message"]["method"].as_str() {
                Some("Network.requestWillBeSent") => &params["request"]["url"],
                Some("Network.webSocketCreated") => &params["url"],
                _ => continue,
            };
            requested.push(url.as_str().unwrap_or_default().to_owned());
        }
        requested
    }

    /// The errors in Chromium's console: exceptions of the page, and resources that it could not load.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.command("/se/log", json!({ "type": "browser" })).await;
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().into_iter().flatten().filter(severe).map(message).collect()
    }

    /// Saves a picture of the window in `TARGET/screenshots`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.get("/screenshot").await;
        let picture = Base64::decode_vec(picture.as_str().expect("base64")).expect("base64");
        let folder = target_dir().join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder for screenshots");
        std::fs::write(folder.join(name).with_extension("png"), picture).expect("a screenshot");
    }

    async fn find(&self, css: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.command("/element", wanted).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        match self.try_command(path, body).await {
            Ok(value) => value,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    async fn try_command(&self, path: &str, body: Value) -> Result<Value, String> {
        answer(self.http.post(self.url(path)).json(&body)).await
    }

    async fn get(&self, path: &str) -> Value {
        answer(self.http.get(self.url(path))).await.expect("an answer")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/session{}{path}", self.driver.address, self.session)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.timeout(PATIENCE).send().await.map_err(|error| error.to_string())?;
    let good = response.status().is_success();
    let mut body: Value = response.json().await.map_err(|error| error.to_string())?;
    let value = body["value"].take();
    if good { Ok(value) } else { Err(value["message"].as_str().unwrap_or("no reason").to_owned()) }
}

/// Keys without a character, as `WebDriver` encodes them.
pub mod key {
    /// Moves the focus to the next element.
    pub const TAB: &str = "\u{e004}";
    /// Activates the focused element.
    pub const ENTER: &str = "\u{e007}";
    /// Closes a dialog.
    pub const ESCAPE: &str = "\u{e00c}";
    /// Selects the focused element.
    pub const SPACE: &str = "\u{e00d}";
    /// Sets a slider to its lowest value.
    pub const HOME: &str = "\u{e011}";
    /// Moves to the next choice, or a slider by one step.
    pub const RIGHT: &str = "\u{e014}";
}

/// One of a browser's tabs.
pub struct Tab(Value);

/// The target folder that this test was built in.
///
/// # Panics
/// Outside a test that cargo built.
pub fn target_dir() -> PathBuf {
    // TARGET/PROFILE/deps/it-0123456789abcdef
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(3).map(Path::to_owned).expect("a test is in TARGET/PROFILE/deps")
}

impl Drop for Browser {
    /// Ends the session first: the browser would outlive a driver that is killed.
    fn drop(&mut self) {
        let address = self.driver.address;
        let goodbye = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(
                stream,
                "DELETE /session{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                self.session, address
            )?;
            stream.read_exact(&mut [0; 12])
        };
        if !self.session.is_empty()
            && let Err(error) = goodbye()
        {
            eprintln!("the browser session did not end: {error}");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.start_kill().ok();
    }
}
