use doorstep_tests::browser::Browser;
use doorstep_tests::client::User;
use serde_json::{Value, json};

pub(super) const PASSWORD: &str = "correct horse battery";

/// The page of one server, in its own browser.
pub(super) struct Page {
    pub(super) browser: Browser,
    url: String,
}

impl Page {
    pub(super) async fn open(url: &str) -> Self {
        let browser = Browser::start().await;
        browser.goto(url).await;
        Self { browser, url: url.to_owned() }
    }

    /// The same page on another device of the same person.
    pub(super) async fn beside(&self) -> Self {
        let browser = self.browser.beside().await;
        browser.goto(&self.url).await;
        Self { browser, url: self.url.clone() }
    }

    pub(super) async fn until(&self, expression: &str) {
        self.browser.until(expression).await;
    }

    /// Fills in the form and presses the button.
    pub(super) async fn begin(&self, username: &str, late_s: u32) {
        self.until("document.querySelector('#go')?.disabled === false").await;
        self.browser.fill("#username", username).await;
        self.browser.fill("#password", PASSWORD).await;
        let slide = format!(
            "const late = document.querySelector('#late'); late.value = {late_s}; \
             late.dispatchEvent(new Event('input', {{ bubbles: true }}))"
        );
        self.browser.run(&slide).await;
        self.browser.click("#go").await;
    }

    /// Signs in and connects at once.
    pub(super) async fn sign_in(&self, username: &str) {
        self.browser.run("document.querySelector('[value=sign-in]').click()").await;
        self.register_late(username, 0).await;
    }

    /// Registers, connects this late, and waits for the story to end.
    pub(super) async fn register_late(&self, username: &str, late_s: u32) {
        self.begin(username, late_s).await;
        self.until("document.querySelector('#story').dataset.state === 'done'").await;
    }

    /// The result of a lane.
    pub(super) async fn lane(&self, name: &str) -> String {
        let script = format!(
            "return document.querySelector('[data-lane=\"{name}\"]')?.dataset.result ?? 'absent'"
        );
        self.browser.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// The kinds of the popups that were shown in this tab, sorted.
    pub(super) async fn seen(&self) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll('#seen li')].map((li) => li.dataset.kind).sort()";
        serde_json::from_value(self.browser.run(script).await).unwrap()
    }

    /// Sends the signed-in user a notification with this policy, from outside the browser.
    pub(super) async fn send(&self, policy: &str, text: &str) {
        let token = self.token().await;
        self.send_with(&token, policy, text).await;
    }

    /// Like [`send`](Self::send), with its own session.
    pub(super) async fn sign_in_and_send(&self, username: &str, policy: &str, text: &str) {
        let body = json!({ "username": username, "password": PASSWORD });
        let session = reqwest::Client::new().post(format!("{}/v1/sessions", self.url)).json(&body);
        let session: Value = session.send().await.unwrap().json().await.unwrap();
        self.send_with(session["token"].as_str().unwrap(), policy, text).await;
    }

    async fn send_with(&self, token: &str, policy: &str, text: &str) {
        let body = json!({ "policy": policy, "text": text });
        let request = reqwest::Client::new()
            .post(format!("{}/v1/demo/notifications", self.url))
            .bearer_auth(token)
            .json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 202);
    }

    /// Waits until the last notification of this kind has this outcome on the server.
    pub(super) async fn until_ended(&self, kind: &str, outcome: &str) {
        let token = self.token().await;
        let url = format!("{}/v1/demo/record", self.url);
        for _ in 0..600 {
            let record = reqwest::Client::new().get(&url).bearer_auth(&token);
            let record: Value = record.send().await.unwrap().json().await.unwrap();
            let is = |step: &Value| {
                step["what"] == "ended" && step["kind"] == kind && step["detail"] == outcome
            };
            if record["steps"].as_array().unwrap().iter().any(is) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{kind} did not end with {outcome}");
    }

    /// The signed-in user, for use without the browser.
    pub(super) async fn user(&self) -> User {
        let token = self.token().await;
        let script = "return JSON.parse(localStorage.getItem('doorstep.session')).user.id";
        let id = self.browser.run(script).await.as_str().unwrap().to_owned();
        User::with_token(&self.url, &id, &token)
    }

    async fn token(&self) -> String {
        let script = "return JSON.parse(localStorage.getItem('doorstep.session')).token";
        self.browser.run(script).await.as_str().unwrap().to_owned()
    }
}
